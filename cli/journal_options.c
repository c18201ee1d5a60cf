#include "cli/journal_options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

dp_status dp_journal_of_options(const dp_invocation *invocation, bool writes, dp_journal_link **link,
                                dp_error *error)
{
    bool has_state = dp_invocation_text(invocation, "state") != NULL;
    if (has_state && dp_invocation_given(invocation, "server")) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--state and --server name two journals; expected one of them");
    }
    dp_buffer token = DP_BUFFER_INIT(8192);
    dp_status status = dp_check_pipeline(invocation, error);
    if (status == DP_STATUS_OK && !has_state)
        status = dp_token_of_option(invocation, "token-file", &token, error);
    dp_journal_link_options options = {
        .server_url = dp_invocation_text(invocation, "server"),
        .token = token.length > 0 ? token.data : NULL,
        .ca_file = dp_invocation_text(invocation, "ca-file"),
        .state_dsn = dp_invocation_text(invocation, "state"),
        .writes = writes,
    };
    if (status == DP_STATUS_OK) status = dp_journal_link_open(&options, link, error);
    dp_buffer_release(&token);
    return status;
}

dp_stream_choice dp_journal_stream_choice(const dp_invocation *invocation)
{
    return (dp_stream_choice){
        .pipeline = dp_slice_of_text(dp_invocation_text(invocation, "pipeline")),
        .source = dp_slice_of_text(dp_invocation_text(invocation, "source-id")),
        .backend = dp_slice_of_text(dp_invocation_text(invocation, "backend")),
    };
}

dp_status dp_journal_offset(const dp_invocation *invocation, const char *option, dp_backend backend,
                            dp_offset *storage, const dp_offset **target, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, option);
    if (text == NULL) return DP_STATUS_OK;
    dp_status status = dp_offset_parse(dp_slice_of_text(text), backend, option, storage, error);
    if (status == DP_STATUS_OK) *target = storage;
    return status;
}

const char *dp_journal_who(const dp_invocation *invocation, char storage[64])
{
    const char *who = dp_invocation_text(invocation, "who");
    if (who == NULL) who = getenv("USER");
    if (who == NULL) who = getenv("LOGNAME");
    if (who != NULL && who[0] != '\0') return who;
    snprintf(storage, 64, "uid %u", (unsigned)getuid());
    return storage;
}

/* --- progress --- */

dp_progress_line dp_progress_line_of_stderr(void)
{
    return (dp_progress_line){.is_terminal = isatty(STDERR_FILENO) == 1};
}

void dp_progress_line_show(dp_progress_line *line, const char *format, ...)
{
    int64_t now_us = dp_clock_monotonic_us();
    if (!line->is_terminal || (line->is_shown && now_us - line->shown_at_us < 200000)) return;
    line->shown_at_us = now_us;
    line->is_shown = true;
    va_list arguments;
    va_start(arguments, format);
    fputc('\r', stderr);
    vfprintf(stderr, format, arguments);
    fputs("\033[K", stderr);
    va_end(arguments);
}

void dp_progress_line_end(dp_progress_line *line)
{
    if (line->is_shown) fputc('\n', stderr);
    line->is_shown = false;
}
