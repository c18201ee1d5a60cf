#include "cli/common_options.h"

#include "base/file.h"

bool dp_wants_json(const dp_invocation *invocation)
{
    return strcmp(dp_invocation_text(invocation, "format"), "json") == 0;
}

dp_status dp_check_pipeline(const dp_invocation *invocation, dp_error *error)
{
    const char *pipeline = dp_invocation_text(invocation, "pipeline");
    if (pipeline == NULL || pipeline[0] != '\0') return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "--pipeline: '' is empty; expected NAME");
}

dp_status dp_token_of_option(const dp_invocation *invocation, const char *option, dp_buffer *token,
                             dp_error *error)
{
    const char *path = dp_invocation_text(invocation, option);
    if (path == NULL) return DP_STATUS_OK;
    dp_status status = dp_file_read(path, 4096, token, error);
    if (status != DP_STATUS_OK) return status;
    dp_slice line = dp_slice_trim(dp_buffer_slice(token));
    if (line.length == 0 || memchr(line.data, '\n', line.length) != NULL) {
        return dp_error_set(error, DP_STATUS_USAGE, "--%s: '%s' must hold one line, the token", option, path);
    }
    memmove(token->data, line.data, line.length);
    token->length = line.length;
    return dp_buffer_text(token) == NULL ? dp_error_no_memory(error, "the token") : DP_STATUS_OK;
}

static volatile sig_atomic_t stop_requested;

static void on_stop_signal(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

const volatile sig_atomic_t *dp_stop_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    return &stop_requested;
}
