/* Man pages made from the command tables. */
#include "cli/command.h"

/* roff treats a leading '.' or ''' as a request and '\' and '-' specially. */
static void append_roff(dp_buffer *out, const char *text)
{
    bool line_start = true;
    for (const char *at = text; *at != '\0'; at++) {
        if (line_start && (*at == '.' || *at == '\'')) dp_buffer_append_text(out, "\\&");
        if (*at == '\\') {
            dp_buffer_append_text(out, "\\e");
        } else if (*at == '-') {
            dp_buffer_append_text(out, "\\-");
        } else {
            dp_buffer_append_byte(out, *at);
        }
        line_start = *at == '\n';
    }
}

static void append_paragraph(dp_buffer *out, const char *heading, const char *text)
{
    if (text[0] == '\0') return;
    dp_buffer_append_format(out, ".SH %s\n", heading);
    append_roff(out, text);
    dp_buffer_append_byte(out, '\n');
}

static void append_preformatted(dp_buffer *out, const char *heading, const char *text)
{
    if (text[0] == '\0') return;
    dp_buffer_append_format(out, ".SH %s\n.nf\n", heading);
    append_roff(out, text);
    dp_buffer_append_text(out, ".fi\n");
}

static void append_page_name(dp_buffer *out, const dp_command *command)
{
    dp_buffer_append_text(out, "dpone");
    if (command == NULL) return;
    dp_buffer_append_byte(out, '-');
    for (const char *at = command->path; *at != '\0'; at++) {
        dp_buffer_append_byte(out, *at == ' ' ? '-' : *at);
    }
}

static void append_option(dp_buffer *out, const dp_option *option)
{
    dp_buffer_append_text(out, ".TP\n\\fB\\-\\-");
    append_roff(out, option->name);
    dp_buffer_append_text(out, "\\fR");
    if (option->argument != NULL) {
        dp_buffer_append_text(out, " \\fI");
        append_roff(out, option->argument);
        dp_buffer_append_text(out, "\\fR");
    }
    dp_buffer_append_byte(out, '\n');
    append_roff(out, option->help);
    if (option->choices != NULL) {
        dp_buffer_append_text(out, "; one of ");
        append_roff(out, option->choices);
    }
    if (option->default_text != NULL) {
        dp_buffer_append_text(out, " (default: ");
        append_roff(out, option->default_text);
        dp_buffer_append_byte(out, ')');
    }
    if (option->environment != NULL) dp_buffer_append_format(out, " (environment: %s)", option->environment);
    dp_buffer_append_byte(out, '\n');
}

static void append_head(dp_buffer *out, const dp_command *command, const char *summary)
{
    dp_buffer_append_text(out, ".TH ");
    append_page_name(out, command);
    dp_buffer_append_text(out, " 1 \"\" \"dpone " DPONE_VERSION "\" \"User Commands\"\n.SH NAME\n");
    append_page_name(out, command);
    dp_buffer_append_text(out, " \\- ");
    append_roff(out, summary);
    dp_buffer_append_byte(out, '\n');
}

static void append_program_page(dp_buffer *out)
{
    append_head(out, NULL, "change data capture with deterministic ids, a durable journal and safe replay");
    dp_buffer_append_text(out,
                          ".SH SYNOPSIS\n\\fBdpone\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH COMMANDS\n");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        dp_buffer_append_text(out, ".TP\n\\fB");
        append_roff(out, (*command)->path);
        dp_buffer_append_text(out, "\\fR\n");
        append_roff(out, (*command)->summary);
        dp_buffer_append_byte(out, '\n');
    }
}

static const char exit_codes[] = "0 done, 1 blocked or refused by policy, 2 usage or configuration, "
                                 "3 I/O or remote failure, 4 data error.";

void dp_man_page(const dp_command *command, dp_buffer *out)
{
    if (command == NULL) {
        append_program_page(out);
        append_paragraph(out, "EXIT STATUS", exit_codes);
        return;
    }
    append_head(out, command, command->summary);
    dp_buffer_append_text(out, ".SH SYNOPSIS\n\\fBdpone ");
    append_roff(out, command->path);
    dp_buffer_append_text(out, "\\fR [\\fIOPTIONS\\fR] ");
    append_roff(out, command->arguments);
    dp_buffer_append_byte(out, '\n');
    append_paragraph(out, "DESCRIPTION", command->description);
    dp_buffer_append_text(out, ".SH OPTIONS\n");
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        append_option(out, option);
    }
    append_preformatted(out, "EXAMPLES", command->examples);
    append_paragraph(out, "EXIT STATUS", command->exit_codes[0] == '\0' ? exit_codes : command->exit_codes);
    dp_buffer_append_text(out, ".SH SEE ALSO\n\\fBdpone\\fR(1)\n");
}
