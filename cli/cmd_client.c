/* dpone client get, dpone client post: one request, or many, through the resilient client. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client_load.h"
#include "cli/client_report.h"
#include "cli/commands.h"
#include "client/client.h"

enum { MAX_DATA_BYTES = 1 << 30, MAX_TOKEN_BYTES = 64 * 1024 };

/* clang-format off */
#define COMMON_CLIENT_OPTIONS                                                                                          \
    {.name = "base-url", .argument = "URL", .help = "put before a URL that is only a path",                            \
     .environment = "DPONE_CLIENT_BASE_URL"},                                                                          \
    {.name = "header", .argument = "NAME:VALUE", .help = "send a header field", .repeatable = true},                   \
    {.name = "request-id", .argument = "ID", .help = "X-Request-ID to send instead of a fresh UUID"},                  \
    {.name = "token-file", .argument = "FILE", .help = "send Authorization: Bearer with the token in the file",        \
     .environment = "DPONE_TOKEN_FILE"},                                                                               \
    {.name = "retries", .argument = "N", .help = "attempts after the first", .default_text = "2"},                     \
    {.name = "retry-min-wait", .argument = "SECONDS", .help = "shortest wait before a retry", .default_text = "1"},    \
    {.name = "retry-max-wait", .argument = "SECONDS", .help = "longest wait before a retry, but for Retry-After",      \
     .default_text = "60"},                                                                                            \
    {.name = "retry-multiplier", .argument = "SECONDS", .help = "ceiling of the first wait, doubled for each further one",\
     .default_text = "2"},                                                                                             \
    {.name = "no-jitter", .help = "wait exactly the ceiling instead of a random part of it"},                          \
    {.name = "no-retry-budget", .help = "retry however many operations fail"},                                         \
    {.name = "timeout", .argument = "SECONDS", .help = "for the whole operation, retries and waits included; 0: none", \
     .default_text = "0"},                                                                                             \
    {.name = "connect-timeout", .argument = "SECONDS", .help = "until connected, TLS included", .default_text = "60"}, \
    {.name = "read-timeout", .argument = "SECONDS", .help = "without a byte of the reply", .default_text = "15"},      \
    {.name = "write-timeout", .argument = "SECONDS", .help = "without a byte of the request accepted",                 \
     .default_text = "15"},                                                                                            \
    {.name = "breaker-threshold", .argument = "N", .help = "failed operations in a row that open the circuit breaker", \
     .default_text = "5"},                                                                                             \
    {.name = "breaker-recovery", .argument = "SECONDS", .help = "until an open breaker lets a probe through",          \
     .default_text = "30"},                                                                                            \
    {.name = "no-breaker", .help = "no circuit breaker"},                                                              \
    {.name = "bulkhead-slots", .argument = "N", .help = "attempts at once", .default_text = "50"},                     \
    {.name = "bulkhead-timeout", .argument = "SECONDS", .help = "wait for a slot", .default_text = "30"},              \
    {.name = "repeat", .argument = "N", .help = "make so many operations and print a table", .default_text = "1"},     \
    {.name = "concurrency", .argument = "N", .help = "so many operations at once", .default_text = "1"},               \
    {.name = "ca-file", .argument = "FILE", .help = "certificates to trust (PEM) instead of the system's"},            \
    {.name = "cert", .argument = "FILE", .help = "the client's own certificate (PEM)"},                                \
    {.name = "key", .argument = "FILE", .help = "its private key (PEM)"},                                              \
    {.name = "insecure", .help = "do not verify the server's certificate"},                                            \
    {.name = "proxy", .argument = "URL", .help = "proxy; an empty value: none, whatever the environment says"},        \
    {.name = "no-redirects", .help = "return a redirect instead of following it"},                                     \
    {.name = "http", .argument = "VERSION", .help = "auto: HTTP/2 where TLS offers it; 2: HTTP/2 also without TLS",    \
     .default_text = "auto", .choices = "auto|1.1|2"},                                                                 \
    {.name = "json", .help = "print what happened as one JSON object"},                                                \
    {.name = "log-level", .argument = "LEVEL", .help = "lowest level of log lines on standard error",                  \
     .default_text = "OFF", .choices = "DEBUG|INFO|WARNING|OFF"},                                                  \
    {.name = NULL}

static const dp_option get_options[] = {COMMON_CLIENT_OPTIONS};
static const dp_option post_options[] = {
    {.name = "data", .argument = "TEXT", .help = "the body; @FILE reads it from a file, @- from standard input; "
                                                 "Content-Type is application/json unless a header says otherwise"},
    COMMON_CLIENT_OPTIONS};
/* clang-format on */

/* Everything one invocation needs, released at its end. */
typedef struct client_job {
    dp_client_config config;
    dp_client_request request;
    dp_client_header headers[66];
    size_t header_count;
    char *header_texts[64];
    dp_buffer body;
    dp_buffer token;
    dp_client *client;
    dp_client_load load;
} client_job;

/* --- reading options --- */

static dp_status read_seconds(const dp_invocation *invocation, const char *option, uint32_t *ms,
                              dp_error *error)
{
    const char *text = dp_invocation_text(invocation, option);
    char *end = NULL;
    double seconds = -1;
    if (text[0] >= '0' && text[0] <= '9' && strpbrk(text, "xXpPeE") == NULL) seconds = strtod(text, &end);
    if (end == NULL || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 86400) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--%s: '%.100s' is not a number of seconds from 0 to 86400", option, text);
    }
    *ms = (uint32_t)llround(seconds * 1000);
    return DP_STATUS_OK;
}

static dp_status read_count(const dp_invocation *invocation, const char *option, uint64_t maximum,
                            unsigned *value, dp_error *error)
{
    uint64_t number = 0;
    dp_status status = dp_invocation_u64(invocation, option, 0, maximum, &number, error);
    if (status == DP_STATUS_OK) *value = (unsigned)number;
    return status;
}

static dp_status read_policies(const dp_invocation *invocation, dp_client_config *config, dp_error *error)
{
    const struct {
        const char *option;
        uint32_t *ms;
    } times[] = {
        {"retry-min-wait", &config->retry.min_wait_ms},
        {"retry-max-wait", &config->retry.max_wait_ms},
        {"retry-multiplier", &config->retry.multiplier_ms},
        {"timeout", &config->timeouts.total_ms},
        {"connect-timeout", &config->timeouts.connect_ms},
        {"read-timeout", &config->timeouts.read_ms},
        {"write-timeout", &config->timeouts.write_ms},
        {"breaker-recovery", &config->breaker.recovery_ms},
        {"bulkhead-timeout", &config->bulkhead.acquire_timeout_ms},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        dp_status status = read_seconds(invocation, times[i].option, times[i].ms, error);
        if (status != DP_STATUS_OK) return status;
    }
    unsigned retries = 0;
    dp_status status = read_count(invocation, "retries", 99, &retries, error);
    config->retry.max_attempts = retries + 1;
    if (status == DP_STATUS_OK) {
        status =
            read_count(invocation, "breaker-threshold", 1000000, &config->breaker.failure_threshold, error);
    }
    if (status == DP_STATUS_OK) {
        status = read_count(invocation, "bulkhead-slots", 10000, &config->bulkhead.max_concurrency, error);
    }
    config->retry.jitter = !dp_invocation_switch(invocation, "no-jitter");
    config->retry.budget = !dp_invocation_switch(invocation, "no-retry-budget");
    config->breaker.enabled = !dp_invocation_switch(invocation, "no-breaker");
    return status;
}

static void log_line(void *context, dp_client_log_level level, const char *message)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "OFF"};
    (void)context;
    fprintf(stderr, "%s %s\n", names[level], message);
}

static dp_client_log_level level_of(const char *name)
{
    if (strcmp(name, "DEBUG") == 0) return DP_CLIENT_LOG_DEBUG;
    if (strcmp(name, "INFO") == 0) return DP_CLIENT_LOG_INFO;
    return strcmp(name, "WARNING") == 0 ? DP_CLIENT_LOG_WARNING : DP_CLIENT_LOG_OFF;
}

static void read_transport(const dp_invocation *invocation, dp_client_config *config)
{
    const char *version = dp_invocation_text(invocation, "http");
    config->base_url = dp_invocation_text(invocation, "base-url");
    config->tls.ca_file = dp_invocation_text(invocation, "ca-file");
    config->tls.certificate = dp_invocation_text(invocation, "cert");
    config->tls.private_key = dp_invocation_text(invocation, "key");
    config->tls.verify = !dp_invocation_switch(invocation, "insecure");
    config->proxy = dp_invocation_text(invocation, "proxy");
    config->follow_redirects = !dp_invocation_switch(invocation, "no-redirects");
    if (strcmp(version, "1.1") == 0) config->http_version = DP_CLIENT_HTTP_1_1;
    if (strcmp(version, "2") == 0) config->http_version = DP_CLIENT_HTTP_2_CLEARTEXT;
    config->log = log_line;
    config->log_level = level_of(dp_invocation_text(invocation, "log-level"));
}

static dp_status add_header(client_job *job, const char *text, dp_error *error)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL) {
        return dp_error_set(error, DP_STATUS_USAGE, "--header: '%.100s' is not of the form NAME:VALUE", text);
    }
    char *copy = strdup(text);
    if (copy == NULL) return dp_error_no_memory(error, "the headers");
    job->header_texts[job->header_count] = copy;
    copy[colon - text] = '\0';
    const char *value = copy + (colon - text) + 1;
    while (*value == ' ' || *value == '\t') {
        value++;
    }
    job->headers[job->header_count++] = (dp_client_header){copy, value};
    return DP_STATUS_OK;
}

static dp_status read_token(const dp_invocation *invocation, client_job *job, dp_error *error)
{
    const char *path = dp_invocation_text(invocation, "token-file");
    if (path == NULL) return DP_STATUS_OK;
    dp_buffer file = DP_BUFFER_INIT(MAX_TOKEN_BYTES);
    dp_status status = dp_file_read(path, MAX_TOKEN_BYTES, &file, error);
    if (status == DP_STATUS_OK) {
        dp_buffer_append_text(&job->token, "Bearer ");
        dp_buffer_append_slice(&job->token, dp_slice_trim(dp_buffer_slice(&file)));
        const char *value = dp_buffer_text(&job->token);
        if (value == NULL) status = dp_error_no_memory(error, "the token");
        job->headers[job->header_count++] = (dp_client_header){"Authorization", value};
    }
    dp_buffer_release(&file);
    return status;
}

static dp_status read_headers(const dp_invocation *invocation, client_job *job, dp_error *error)
{
    const char *text;
    for (size_t i = 0; (text = dp_invocation_nth(invocation, "header", i)) != NULL; i++) {
        if (i == 63) return dp_error_set(error, DP_STATUS_USAGE, "--header: at most 63 are allowed");
        dp_status status = add_header(job, text, error);
        if (status != DP_STATUS_OK) return status;
    }
    return read_token(invocation, job, error);
}

static dp_status read_data(const dp_invocation *invocation, client_job *job, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, "data");
    if (text == NULL) return DP_STATUS_OK;
    if (text[0] != '@') {
        job->request.body = dp_slice_of_text(text);
        return DP_STATUS_OK;
    }
    dp_status status = dp_file_read(text + 1, MAX_DATA_BYTES, &job->body, error);
    job->request.body = dp_buffer_slice(&job->body);
    return status;
}

static dp_status read_load(const dp_invocation *invocation, client_job *job, dp_error *error)
{
    dp_status status = dp_invocation_u64(invocation, "repeat", 1, 10000000, &job->load.repeat, error);
    if (status == DP_STATUS_OK) {
        status = dp_invocation_u64(invocation, "concurrency", 1, 10000, &job->load.concurrency, error);
    }
    job->load.json = dp_invocation_switch(invocation, "json");
    job->load.progress = isatty(STDERR_FILENO) == 1;
    return status;
}

static dp_status read_job(const dp_invocation *invocation, const char *method, client_job *job,
                          dp_error *error)
{
    job->config = dp_client_config_defaults();
    read_transport(invocation, &job->config);
    dp_status status = read_policies(invocation, &job->config, error);
    if (status == DP_STATUS_OK) status = read_headers(invocation, job, error);
    if (status == DP_STATUS_OK && strcmp(method, "POST") == 0) status = read_data(invocation, job, error);
    if (status == DP_STATUS_OK) status = read_load(invocation, job, error);
    job->request.method = method;
    job->request.url = invocation->arguments[0];
    job->request.headers = job->headers;
    job->request.header_count = job->header_count;
    job->request.request_id = dp_invocation_text(invocation, "request-id");
    return status;
}

/* --- running --- */

static dp_status run_one(client_job *job, dp_client_trace *trace, dp_error *error)
{
    job->config.on_event = dp_client_trace_note;
    job->config.event_context = trace;
    dp_status status = dp_client_new(&job->config, &job->client, error);
    if (status != DP_STATUS_OK) return status;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error outcome = DP_ERROR_INIT;
    status = dp_client_request_send(job->client, &job->request, &response, &outcome);
    dp_buffer out = DP_BUFFER_INIT(SIZE_MAX / 2);
    if (job->load.json) {
        dp_client_stats stats;
        dp_client_stats_read(job->client, &stats);
        dp_client_report_json(&out, &response, &outcome, trace, &stats);
    } else {
        dp_buffer_append_slice(&out, response.body);
    }
    dp_error printing = DP_ERROR_INIT;
    dp_print_and_release(&out, &printing);
    dp_client_response_release(&response);
    if (printing.status != DP_STATUS_OK) {
        return dp_error_set(error, printing.status, "%s", printing.message);
    }
    if (status != DP_STATUS_OK) dp_error_set_code(error, outcome.status, outcome.code, "%s", outcome.message);
    return status;
}

static dp_status run_many(client_job *job, int *exit_code, dp_error *error)
{
    dp_status status = dp_client_new(&job->config, &job->client, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    status = dp_client_load_run(job->client, &job->request, &job->load, &out, exit_code, error);
    if (status != DP_STATUS_OK) {
        dp_buffer_release(&out);
        return status;
    }
    return dp_print_and_release(&out, error);
}

static dp_status run_method(const dp_invocation *invocation, const char *method, int *exit_code,
                            dp_error *error)
{
    client_job job = {.body = DP_BUFFER_INIT(MAX_DATA_BYTES), .token = DP_BUFFER_INIT(MAX_TOKEN_BYTES + 16)};
    dp_client_trace *trace = calloc(1, sizeof *trace);
    dp_status status = trace == NULL ? dp_error_no_memory(error, "the events") : DP_STATUS_OK;
    if (status == DP_STATUS_OK) status = read_job(invocation, method, &job, error);
    bool many = dp_invocation_given(invocation, "repeat") || dp_invocation_given(invocation, "concurrency");
    if (status == DP_STATUS_OK)
        status = many ? run_many(&job, exit_code, error) : run_one(&job, trace, error);
    dp_client_free(job.client);
    for (size_t i = 0; i < sizeof job.header_texts / sizeof job.header_texts[0]; i++) {
        free(job.header_texts[i]);
    }
    dp_buffer_release(&job.body);
    dp_buffer_release(&job.token);
    free(trace);
    return status;
}

static dp_status run_get(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    return run_method(invocation, "GET", exit_code, error);
}

static dp_status run_post(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    return run_method(invocation, "POST", exit_code, error);
}

#define CLIENT_DESCRIPTION                                                                                   \
    "Makes the request through the resilient client: pooled connections, retries with backoff, a circuit "   \
    "breaker, a bulkhead, and one X-Request-ID for all attempts of an operation. The body of the reply "     \
    "goes "                                                                                                  \
    "to standard output. With --json: kind, status, attempts, request id, headers, body, timing and the "    \
    "events on the way. With --repeat or --concurrency: a table of outcomes, latencies, retries and "        \
    "breaker "                                                                                               \
    "transitions, and a live line while standard error is a terminal."
#define CLIENT_EXIT_CODES                                                                                    \
    "0 a 2xx reply, 1 any other status that is not worth a retry, 2 usage or configuration, 3 connection "   \
    "errors, timeouts, 408, 5xx, 425, 429, an open breaker or a full bulkhead, 4 a reply that is too "       \
    "large; "                                                                                                \
    "with --repeat the highest of all"

const dp_command dp_command_client_get = {
    .path = "client get",
    .summary = "make a GET request through the resilient client",
    .arguments = "URL|PATH",
    .min_arguments = 1,
    .max_arguments = 1,
    .description = CLIENT_DESCRIPTION,
    .examples = "  dpone client get /msg --base-url http://127.0.0.1:8000 --json\n"
                "  dpone client get http://127.0.0.1:8000/msg --repeat 1000 --concurrency 50\n",
    .options = get_options,
    .exit_codes = CLIENT_EXIT_CODES,
    .run = run_get,
};

const dp_command dp_command_client_post = {
    .path = "client post",
    .summary = "make a POST request through the resilient client",
    .arguments = "URL|PATH",
    .min_arguments = 1,
    .max_arguments = 1,
    .description = CLIENT_DESCRIPTION,
    .examples = "  dpone client post http://127.0.0.1:8000/fail/count/3\n"
                "  dpone client post /orders --base-url https://api.example.org --data @order.json\n",
    .options = post_options,
    .exit_codes = CLIENT_EXIT_CODES,
    .run = run_post,
};
