/* Commands and their options as data, and one invocation of a command.
 *
 * Parsing, help, man pages and shell completion all read the same tables, so they cannot disagree. A command
 * file (cmd_<name>.c) holds a dp_command and a run function: it reads the invocation, calls a service or a
 * pure module, and renders. No reader, policy or SQL in this folder.
 */
#ifndef DPONE_CLI_COMMAND_H
#define DPONE_CLI_COMMAND_H

#include <stdio.h>

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_option {
    const char *name;         /* without dashes; NULL ends a table */
    const char *argument;     /* placeholder such as "TOKEN"; NULL for a switch */
    const char *help;         /* one sentence, no full stop needed */
    const char *default_text; /* the value in force when nothing else gives one; NULL: none */
    const char *environment;  /* variable that gives the value when the flag does not; NULL: none */
    const char *choices;      /* "a|b|c": the only accepted values; NULL: any */
    bool repeatable;
    bool required;
} dp_option;

typedef struct dp_invocation dp_invocation;

typedef struct dp_command {
    const char *path;      /* words separated by one blank: "cdc replay-plan" */
    const char *summary;   /* one line */
    const char *arguments; /* positional arguments as shown in usage, or "" */
    unsigned min_arguments;
    unsigned max_arguments;
    const char *description; /* paragraphs for --help and the man page; may be "" */
    const char *examples;    /* lines "command\n  what it does" shown under EXAMPLES */
    const dp_option *options;
    const char
        *exit_codes; /* what 0 and 1 mean here, such as "0 safe, 1 blocked"; "" for the common meaning */
    /* Returns DP_STATUS_OK, or the status of `error`; *exit_code overrides the status's own when not
     * negative. */
    dp_status (*run)(dp_invocation *invocation, int *exit_code, dp_error *error);
} dp_command;

struct dp_invocation {
    const dp_command *command;
    size_t value_count;
    struct dp_option_value {
        const dp_option *option;
        const char *text;
    } values[256];
    size_t argument_count;
    const char *arguments[64];
};

/* Every command, ended by NULL, in the order in which help lists them. */
extern const dp_command *const dp_commands[];

/* The value in force: the last flag, else the environment, else .env, else the default, else NULL. */
const char *dp_invocation_text(const dp_invocation *invocation, const char *option);

/* Whether the flag itself was given (not through environment or default). */
bool dp_invocation_given(const dp_invocation *invocation, const char *option);

/* Whether a switch is on: given, or its environment variable is 1, true, yes or on. */
bool dp_invocation_switch(const dp_invocation *invocation, const char *option);

/* The values of a repeatable option in the order given: calls with index 0, 1, ... until NULL. */
const char *dp_invocation_nth(const dp_invocation *invocation, const char *option, size_t index);

/* A whole number within [minimum, maximum]; the option must have a default or be given. USAGE names option,
 * value and range. */
dp_status dp_invocation_u64(const dp_invocation *invocation, const char *option, uint64_t minimum,
                            uint64_t maximum, uint64_t *value, dp_error *error);

/* Parses argv after the program name into an invocation; environment and .env are read through the process.
 */
dp_status dp_command_parse(const dp_command *command, int count, char **words, dp_invocation *invocation,
                           dp_error *error);

/* Writes everything to standard output, or IO with the reason (a full disk, a closed pipe). */
dp_status dp_print(dp_slice text, dp_error *error);

/* Prints what a renderer wrote and releases the buffer; a buffer that failed is LIMIT or NO_MEMORY. */
dp_status dp_print_and_release(dp_buffer *text, dp_error *error);

/* Texts made from the tables. */
void dp_help_program(dp_buffer *out);
void dp_help_group(const char *group, dp_buffer *out);
void dp_help_command(const dp_command *command, dp_buffer *out);
void dp_man_page(const dp_command *command, dp_buffer *out); /* NULL: the page of the program itself */
bool dp_completion_script(dp_slice shell, dp_buffer *out);   /* bash, zsh, fish; false for another */

/* Columns of the options and commands lists shared by all commands. */
extern const dp_option dp_common_options[];

#endif
