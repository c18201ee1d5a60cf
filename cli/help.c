/* --help of the program, of a group such as `dpone cdc`, and of one command. */
#include "cli/command.h"

/* Appends `text` wrapped at 96 columns, each line indented; a newline in the text starts a new line. */
static void append_wrapped(dp_buffer *out, const char *text, size_t indent, size_t column)
{
    const size_t width = 96;
    const char *at = text;
    while (*at != '\0') {
        size_t word = strcspn(at, " \n");
        if (column > indent && column + 1 + word > width) {
            dp_buffer_append_byte(out, '\n');
            column = 0;
        } else if (column > indent) {
            dp_buffer_append_byte(out, ' ');
            column++;
        }
        for (; column < indent; column++) {
            dp_buffer_append_byte(out, ' ');
        }
        dp_buffer_append(out, at, word);
        column += word;
        at += word;
        if (*at == '\n') {
            dp_buffer_append_byte(out, '\n');
            column = 0;
            at++;
        } else if (*at == ' ') {
            at++;
        }
    }
    dp_buffer_append_byte(out, '\n');
}

static void append_row(dp_buffer *out, const char *left, const char *right)
{
    const size_t column = 34;
    size_t used = 2 + strlen(left);
    dp_buffer_append_text(out, "  ");
    dp_buffer_append_text(out, left);
    if (used + 1 >= column) {
        dp_buffer_append_byte(out, '\n');
        used = 0;
    }
    for (; used < column; used++) {
        dp_buffer_append_byte(out, ' ');
    }
    append_wrapped(out, right, column, column);
}

static void append_command_rows(dp_buffer *out, const char *group)
{
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        dp_slice path = dp_slice_of_text((*command)->path);
        dp_slice prefix = dp_slice_of_text(group);
        bool member =
            prefix.length == 0 || (dp_slice_starts_with(path, prefix) && path.data[prefix.length] == ' ');
        if (member) append_row(out, (*command)->path, (*command)->summary);
    }
}

void dp_help_program(dp_buffer *out)
{
    dp_buffer_append_text(
        out,
        "dpone: reads a database's change stream, gives every change a deterministic id, carries it to a\n"
        "durable journal, and moves an offset only when the data behind it is durable.\n\n"
        "Usage: dpone COMMAND [OPTIONS]\n\nCommands:\n");
    append_command_rows(out, "");
    dp_buffer_append_text(out, "\nOptions:\n");
    append_row(out, "--help", "show this help, or that of a command: dpone COMMAND --help");
    append_row(out, "--version", "print the version");
    dp_buffer_append_text(
        out,
        "\nExit codes: 0 done, 1 blocked or refused by policy, 2 usage or configuration, 3 I/O or remote\n"
        "failure, 4 data error.\n");
}

void dp_help_group(const char *group, dp_buffer *out)
{
    dp_buffer_append_format(out, "Usage: dpone %s COMMAND [OPTIONS]\n\nCommands:\n", group);
    append_command_rows(out, group);
}

static void append_option_help(dp_buffer *out, const dp_option *option)
{
    char left[128];
    snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument == NULL ? "" : " ",
             option->argument == NULL ? "" : option->argument);
    dp_buffer right = DP_BUFFER_INIT(8192);
    dp_buffer_append_text(&right, option->help);
    if (option->choices != NULL) dp_buffer_append_format(&right, "; one of %s", option->choices);
    if (option->required) dp_buffer_append_text(&right, " (required)");
    if (option->repeatable) dp_buffer_append_text(&right, " (may be repeated)");
    if (option->default_text != NULL) dp_buffer_append_format(&right, " [default: %s]", option->default_text);
    if (option->environment != NULL) dp_buffer_append_format(&right, " [env: %s]", option->environment);
    const char *text = dp_buffer_text(&right);
    append_row(out, left, text == NULL ? option->help : text);
    dp_buffer_release(&right);
}

void dp_help_command(const dp_command *command, dp_buffer *out)
{
    append_wrapped(out, command->summary, 0, 0);
    dp_buffer_append_format(out, "\nUsage: dpone %s%s%s%s\n", command->path,
                            command->options[0].name == NULL ? "" : " [OPTIONS]",
                            command->arguments[0] == '\0' ? "" : " ", command->arguments);
    if (command->description[0] != '\0') {
        dp_buffer_append_byte(out, '\n');
        append_wrapped(out, command->description, 0, 0);
    }
    dp_buffer_append_text(out, "\nOptions:\n");
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        append_option_help(out, option);
    }
    for (const dp_option *option = dp_common_options; option->name != NULL; option++) {
        append_option_help(out, option);
    }
    if (command->examples[0] != '\0') {
        dp_buffer_append_text(out, "\nExamples:\n");
        dp_buffer_append_text(out, command->examples);
    }
    const char *codes = command->exit_codes;
    if (codes[0] == '\0') {
        codes =
            "0 done, 1 blocked or refused, 2 usage or configuration, 3 I/O or remote failure, 4 data error";
    }
    dp_buffer_append_text(out, "\nExit codes:");
    append_wrapped(out, codes, 0, strlen("Exit codes:"));
}
