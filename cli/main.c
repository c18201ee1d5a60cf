/* Finds the command, parses its options, runs it, and turns its status into one line and an exit code. */
#include <signal.h>

#include "cli/commands.h"
#include "cli/suggest.h"

/* How many of `words` make up the command's path, or 0 when they do not. */
static int match_path(const char *path, int count, char **words)
{
    dp_slice rest = dp_slice_of_text(path);
    int matched = 0;
    bool more = true;
    while (more) {
        dp_slice word;
        more = dp_slice_split(rest, ' ', &word, &rest);
        if (matched == count || !dp_slice_equal_text(word, words[matched])) return 0;
        matched++;
    }
    return matched;
}

static const dp_command *find_command(int count, char **words, int *matched)
{
    const dp_command *found = NULL;
    *matched = 0;
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        int length = match_path((*command)->path, count, words);
        if (length > *matched) {
            *matched = length;
            found = *command;
        }
    }
    return found;
}

/* Whether `words` begin with the first words of some command, such as "cdc". */
static bool is_group(const char *word)
{
    size_t length = strlen(word);
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        if (strncmp((*command)->path, word, length) == 0 && (*command)->path[length] == ' ') return true;
    }
    return false;
}

static int report(const dp_error *error)
{
    fprintf(stderr, "dpone: %s\n",
            error->message[0] == '\0' ? dp_status_text(error->status) : error->message);
    if (error->hint[0] != '\0') fprintf(stderr, "hint: %s\n", error->hint);
    return dp_status_exit_code(error->status);
}

static int print_and_release(dp_buffer *text)
{
    dp_error error = DP_ERROR_INIT;
    dp_status status =
        text->failed ? dp_error_no_memory(&error, "the help text") : dp_print(dp_buffer_slice(text), &error);
    dp_buffer_release(text);
    return status == DP_STATUS_OK ? 0 : report(&error);
}

static bool asks_for_help(int count, char **words)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--") == 0) return false;
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return true;
    }
    return false;
}

static int run_command(const dp_command *command, int count, char **words)
{
    dp_error error = DP_ERROR_INIT;
    dp_invocation invocation;
    int exit_code = -1;
    dp_status status = dp_command_parse(command, count, words, &invocation, &error);
    if (status == DP_STATUS_OK) status = command->run(&invocation, &exit_code, &error);
    if (status != DP_STATUS_OK) {
        if (error.status == DP_STATUS_OK) error.status = status;
        int own = report(&error);
        return exit_code >= 0 ? exit_code : own;
    }
    return exit_code >= 0 ? exit_code : 0;
}

/* The command that was probably meant: one that is spelled nearly so, or whose last word is what was typed,
 * as in `dpone decode`. */
static const char *guess_command(int count, char **words)
{
    char typed[128];
    bool two_words = count > 1 && words[1][0] != '-';
    snprintf(typed, sizeof typed, "%s%s%s", words[0], two_words ? " " : "", two_words ? words[1] : "");
    dp_suggestion suggestion = {.best = NULL};
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        const char *last_word = strrchr((*command)->path, ' ');
        if (last_word != NULL && strcmp(last_word + 1, words[0]) == 0) return (*command)->path;
        dp_suggest(&suggestion, dp_slice_of_text(typed), (*command)->path);
        dp_suggest(&suggestion, dp_slice_of_text(words[0]), (*command)->path);
    }
    return suggestion.best;
}

static int unknown_command(int count, char **words)
{
    dp_error error = DP_ERROR_INIT;
    bool grouped = count > 1 && is_group(words[0]);
    if (grouped) {
        dp_error_set(&error, DP_STATUS_USAGE, "unknown command '%.100s %.100s'", words[0], words[1]);
    } else {
        dp_error_set(&error, DP_STATUS_USAGE, "unknown command '%.100s'", words[0]);
    }
    const char *guess = guess_command(count, words);
    if (guess != NULL) {
        dp_error_hint(&error, "did you mean 'dpone %s'?", guess);
    } else {
        dp_error_hint(&error, "see 'dpone %s%s--help'", grouped ? words[0] : "", grouped ? " " : "");
    }
    return report(&error);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error with a message, not a silent death */
    int count = argc - 1;
    char **words = argv + 1;
    dp_buffer help = DP_BUFFER_INIT(1 << 20);
    if (count > 0 && strcmp(words[0], "--version") == 0) {
        dp_buffer_append_text(&help, "dpone " DPONE_VERSION "\n");
        return print_and_release(&help);
    }
    int matched;
    const dp_command *command = find_command(count, words, &matched);
    if (command != NULL && asks_for_help(count - matched, words + matched)) {
        dp_help_command(command, &help);
        return print_and_release(&help);
    }
    if (command != NULL) return run_command(command, count - matched, words + matched);
    bool wants_help = count == 0 || asks_for_help(count, words);
    if (count > 0 && words[0][0] != '-' && is_group(words[0]) && (count == 1 || wants_help)) {
        dp_help_group(words[0], &help);
        int code = print_and_release(&help);
        return wants_help ? code : 2;
    }
    if (wants_help) {
        dp_help_program(&help);
        int code = print_and_release(&help);
        return count == 0 ? 2 : code;
    }
    return unknown_command(count, words);
}
