/* Parsing the words of a command line into an invocation, and reading values from it. */
#include <errno.h>
#include <stdlib.h>

#include "base/dotenv.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/suggest.h"

const dp_option dp_common_options[] = {
    {.name = "help", .help = "show this help and exit"},
    {.name = NULL},
};

static const dp_option *find_option(const dp_command *command, dp_slice name)
{
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        if (dp_slice_equal_text(name, option->name)) return option;
    }
    return NULL;
}

static const dp_option *known_option(const dp_invocation *invocation, const char *name)
{
    const dp_option *option = find_option(invocation->command, dp_slice_of_text(name));
    if (option == NULL) abort(); /* a command asked for an option that it does not declare */
    return option;
}

static bool is_choice(const char *choices, const char *value)
{
    dp_slice rest = dp_slice_of_text(choices);
    bool more = true;
    while (more) {
        dp_slice choice;
        more = dp_slice_split(rest, '|', &choice, &rest);
        if (dp_slice_equal_text(choice, value)) return true;
    }
    return false;
}

static dp_status check_choice(const dp_option *option, const char *origin, const char *value, dp_error *error)
{
    if (option->choices == NULL || is_choice(option->choices, value)) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "%s: '%s' is not one of %s", origin, value, option->choices);
}

static dp_status add_value(dp_invocation *invocation, const dp_option *option, const char *text,
                           dp_error *error)
{
    size_t capacity = sizeof invocation->values / sizeof invocation->values[0];
    if (invocation->value_count == capacity) {
        return dp_error_set(error, DP_STATUS_USAGE, "more than %zu options", capacity);
    }
    if (text != NULL) {
        char origin[80];
        snprintf(origin, sizeof origin, "--%s", option->name);
        dp_status status = check_choice(option, origin, text, error);
        if (status != DP_STATUS_OK) return status;
    }
    invocation->values[invocation->value_count++] = (struct dp_option_value){option, text};
    return DP_STATUS_OK;
}

static dp_status suggest_option(const dp_command *command, dp_slice name, dp_error *error)
{
    dp_suggestion suggestion = {.best = NULL};
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        dp_suggest(&suggestion, name, option->name);
    }
    if (suggestion.best != NULL) {
        dp_error_hint(error, "did you mean --%s? See 'dpone %s --help'", suggestion.best, command->path);
    } else {
        dp_error_hint(error, "see 'dpone %s --help'", command->path);
    }
    return error->status;
}

static dp_status parse_flag(dp_invocation *invocation, int count, char **words, int *at, dp_error *error)
{
    const char *word = words[*at];
    dp_slice name;
    dp_slice value;
    bool has_value = dp_slice_split(dp_slice_of_text(word + 2), '=', &name, &value);
    const dp_option *option = find_option(invocation->command, name);
    if (option == NULL) {
        dp_error_set(error, DP_STATUS_USAGE, "unknown option '--%.*s' for 'dpone %s'", DP_SLICE_PRINT(name),
                     invocation->command->path);
        return suggest_option(invocation->command, name, error);
    }
    if (option->argument == NULL) {
        if (has_value) return dp_error_set(error, DP_STATUS_USAGE, "--%s takes no value", option->name);
        return add_value(invocation, option, NULL, error);
    }
    if (has_value) return add_value(invocation, option, value.data, error);
    if (*at + 1 >= count) {
        return dp_error_set(error, DP_STATUS_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                            option->argument);
    }
    (*at)++;
    return add_value(invocation, option, words[*at], error);
}

static dp_status add_argument(dp_invocation *invocation, const char *word, dp_error *error)
{
    size_t capacity = sizeof invocation->arguments / sizeof invocation->arguments[0];
    size_t allowed =
        invocation->command->max_arguments < capacity ? invocation->command->max_arguments : capacity;
    if (invocation->argument_count == allowed) {
        dp_error_set(error, DP_STATUS_USAGE, "unexpected argument '%.200s' for 'dpone %s'", word,
                     invocation->command->path);
        dp_error_hint(error, "see 'dpone %s --help'", invocation->command->path);
        return DP_STATUS_USAGE;
    }
    invocation->arguments[invocation->argument_count++] = word;
    return DP_STATUS_OK;
}

/* Names and texts are stored and answered as JSON, where one malformed byte would make a whole list
 * unreadable. Paths may have any. */
static dp_status check_utf8(const dp_option *option, const char *value, dp_error *error)
{
    bool is_text = strcmp(option->argument, "NAME") == 0 || strcmp(option->argument, "TEXT") == 0;
    if (!is_text || dp_utf8_valid(dp_slice_of_text(value), NULL)) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "--%s: '%.100s' is not valid UTF-8", option->name, value);
}

/* Values that come from the environment are held to the same choices as flags; required options must have
 * one. */
static dp_status check_options(const dp_invocation *invocation, dp_error *error)
{
    for (const dp_option *option = invocation->command->options; option->name != NULL; option++) {
        const char *value = option->argument == NULL ? NULL : dp_invocation_text(invocation, option->name);
        if (option->required && value == NULL) {
            dp_error_set(error, DP_STATUS_USAGE, "missing required option --%s %s", option->name,
                         option->argument);
            dp_error_hint(error, "see 'dpone %s --help'", invocation->command->path);
            return DP_STATUS_USAGE;
        }
        dp_status status = value == NULL ? DP_STATUS_OK : check_utf8(option, value, error);
        bool is_of_environment =
            value != NULL && !dp_invocation_given(invocation, option->name) && option->environment != NULL;
        if (status == DP_STATUS_OK && is_of_environment)
            status = check_choice(option, option->environment, value, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (invocation->argument_count < invocation->command->min_arguments) {
        dp_error_set(error, DP_STATUS_USAGE, "missing argument: dpone %s %s", invocation->command->path,
                     invocation->command->arguments);
        return DP_STATUS_USAGE;
    }
    return DP_STATUS_OK;
}

dp_status dp_command_parse(const dp_command *command, int count, char **words, dp_invocation *invocation,
                           dp_error *error)
{
    *invocation = (dp_invocation){.command = command};
    bool only_arguments = false;
    for (int at = 0; at < count; at++) {
        const char *word = words[at];
        dp_status status;
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = true;
            continue;
        }
        if (!only_arguments && word[0] == '-' && word[1] == '-') {
            status = parse_flag(invocation, count, words, &at, error);
        } else if (!only_arguments && word[0] == '-' && word[1] != '\0') {
            status = dp_error_set(error, DP_STATUS_USAGE, "unknown option '%.100s': options have two dashes",
                                  word);
        } else {
            status = add_argument(invocation, word, error);
        }
        if (status != DP_STATUS_OK) return status;
    }
    return check_options(invocation, error);
}

/* .env of the working directory, read once; a malformed one is reported by the first command that needs it.
 */
static const char *environment_value(const char *name)
{
    static dp_dotenv *dotenv;
    const char *value = getenv(name);
    if (value != NULL) return value;
    if (dotenv == NULL) {
        dp_error error = DP_ERROR_INIT;
        if (dp_dotenv_load(".env", &dotenv, &error) != DP_STATUS_OK) {
            fprintf(stderr, "dpone: %s\n", error.message);
            exit(dp_status_exit_code(error.status));
        }
    }
    return dp_dotenv_get(dotenv, name);
}

const char *dp_invocation_text(const dp_invocation *invocation, const char *option)
{
    const dp_option *known = known_option(invocation, option);
    for (size_t i = invocation->value_count; i > 0; i--) {
        if (invocation->values[i - 1].option == known) return invocation->values[i - 1].text;
    }
    if (known->environment != NULL) {
        const char *value = environment_value(known->environment);
        if (value != NULL && value[0] != '\0') return value;
    }
    return known->default_text;
}

bool dp_invocation_given(const dp_invocation *invocation, const char *option)
{
    return dp_invocation_nth(invocation, option, 0) != NULL || dp_invocation_switch(invocation, option);
}

static bool is_true(const char *text)
{
    static const char *const words[] = {"1", "true", "yes", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (dp_slice_equal_ignoring_case(dp_slice_of_text(text), dp_slice_of_text(words[i]))) return true;
    }
    return false;
}

bool dp_invocation_switch(const dp_invocation *invocation, const char *option)
{
    const dp_option *known = known_option(invocation, option);
    if (known->argument != NULL) return false;
    for (size_t i = 0; i < invocation->value_count; i++) {
        if (invocation->values[i].option == known) return true;
    }
    const char *value = known->environment == NULL ? NULL : environment_value(known->environment);
    return value != NULL && is_true(value);
}

const char *dp_invocation_nth(const dp_invocation *invocation, const char *option, size_t index)
{
    const dp_option *known = known_option(invocation, option);
    for (size_t i = 0; i < invocation->value_count; i++) {
        if (invocation->values[i].option != known) continue;
        if (index-- == 0) return invocation->values[i].text;
    }
    return NULL;
}

dp_status dp_invocation_u64(const dp_invocation *invocation, const char *option, uint64_t minimum,
                            uint64_t maximum, uint64_t *value, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, option);
    uint64_t parsed = 0;
    if (text == NULL || !dp_slice_to_u64(dp_slice_of_text(text), UINT64_MAX, &parsed) || parsed < minimum ||
        parsed > maximum) {
        return dp_error_set(error, DP_STATUS_USAGE, "--%s: '%.100s' is not a whole number from %llu to %llu",
                            option, text == NULL ? "" : text, (unsigned long long)minimum,
                            (unsigned long long)maximum);
    }
    *value = parsed;
    return DP_STATUS_OK;
}

dp_status dp_print(dp_slice text, dp_error *error)
{
    bool written = text.length == 0 || fwrite(text.data, 1, text.length, stdout) == text.length;
    if (!written || fflush(stdout) != 0) {
        return dp_error_set(error, DP_STATUS_IO, "unable to write to standard output: %s", strerror(errno));
    }
    return DP_STATUS_OK;
}

dp_status dp_print_and_release(dp_buffer *text, dp_error *error)
{
    dp_status status;
    if (text->out_of_memory) {
        status = dp_error_no_memory(error, "the output");
    } else if (text->failed) {
        status = dp_error_set(error, DP_STATUS_LIMIT, "the output is larger than %zu bytes", text->max_bytes);
    } else {
        status = dp_print(dp_buffer_slice(text), error);
    }
    dp_buffer_release(text);
    return status;
}
