/* dpone man, dpone completion: pages and scripts made from the command tables. */
#include <errno.h>

#include "cli/commands.h"

static const dp_option no_options[] = {{.name = NULL}};

static const dp_option man_options[] = {
    {.name = "output-directory",
     .argument = "DIR",
     .help = "write every page into this directory instead, as dpone-COMMAND.1"},
    {.name = NULL},
};

/* "cdc-replay-plan" or "cdc replay-plan" names the command "cdc replay-plan". */
static const dp_command *find_by_page_name(const char *name)
{
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        const char *path = (*command)->path;
        size_t at = 0;
        while (path[at] != '\0' && (name[at] == path[at] || (path[at] == ' ' && name[at] == '-'))) {
            at++;
        }
        if (path[at] == '\0' && name[at] == '\0') return *command;
    }
    return NULL;
}

/* Writes one page as DIRECTORY/dpone[-command].1. */
static dp_status write_page(const char *directory, const dp_command *command, dp_error *error)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/dpone%s%s.1", directory, command == NULL ? "" : "-",
                          command == NULL ? "" : command->path);
    if (length < 0 || (size_t)length >= sizeof path) {
        return dp_error_set(error, DP_STATUS_USAGE, "--output-directory: the path is too long");
    }
    for (char *at = path + strlen(directory); *at != '\0'; at++) {
        if (*at == ' ') *at = '-';
    }
    dp_buffer page = DP_BUFFER_INIT(1 << 20);
    dp_man_page(command, &page);
    FILE *file = page.failed ? NULL : fopen(path, "we");
    bool written = file != NULL && fwrite(page.data, 1, page.length, file) == page.length;
    if (file != NULL && fclose(file) != 0) written = false;
    dp_buffer_release(&page);
    return written ? DP_STATUS_OK
                   : dp_error_set(error, DP_STATUS_IO, "unable to write '%.500s': %s", path, strerror(errno));
}

static dp_status write_pages(const char *directory, dp_error *error)
{
    dp_status status = write_page(directory, NULL, error);
    for (const dp_command *const *command = dp_commands; *command != NULL && status == DP_STATUS_OK;
         command++) {
        status = write_page(directory, *command, error);
    }
    return status;
}

static dp_status run_man(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    const dp_command *command = NULL;
    const char *directory = dp_invocation_text(invocation, "output-directory");
    if (directory != NULL) return write_pages(directory, error);
    if (invocation->argument_count == 1) {
        command = find_by_page_name(invocation->arguments[0]);
        if (command == NULL) {
            return dp_error_set(error, DP_STATUS_USAGE,
                                "no command '%.100s'; expected a name such as cdc-decode",
                                invocation->arguments[0]);
        }
    }
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_man_page(command, &out);
    return dp_print_and_release(&out, error);
}

const dp_command dp_command_man = {
    .path = "man",
    .summary = "print a man page in roff, for man -l or for packaging",
    .arguments = "[COMMAND-NAME]",
    .max_arguments = 1,
    .description =
        "Without an argument: the page of dpone itself. The name of a command joins its words with '-'.",
    .examples = "  dpone man cdc-decode | man -l -\n",
    .options = man_options,
    .exit_codes = "",
    .run = run_man,
};

static dp_status run_completion(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    if (!dp_completion_script(dp_slice_of_text(invocation->arguments[0]), &out)) {
        return dp_error_set(error, DP_STATUS_USAGE, "no completion for '%.100s'; expected bash, zsh or fish",
                            invocation->arguments[0]);
    }
    return dp_print_and_release(&out, error);
}

const dp_command dp_command_completion = {
    .path = "completion",
    .summary = "print a completion script for bash, zsh or fish",
    .arguments = "bash|zsh|fish",
    .min_arguments = 1,
    .max_arguments = 1,
    .description = "",
    .examples = "  source <(dpone completion bash)\n"
                "  dpone completion fish > ~/.config/fish/completions/dpone.fish\n",
    .options = no_options,
    .exit_codes = "",
    .run = run_completion,
};
