/* Every policy set by hand, log lines and events, a deadline, and twenty requests in flight from one thread.
 *
 *   ./client_advanced http://127.0.0.1:8000
 */
#include <stdio.h>
#include <string.h>

#include "client/client.h"

enum { REQUESTS = 20 };

static void print_log_line(void *context, dp_client_log_level level, const char *message)
{
    static const char *const names[] = {"debug", "info", "warning", "off"};
    (void)context;
    fprintf(stderr, "[%s] %s\n", names[level], message);
}

static void count_attempts(void *context, const dp_client_event *event)
{
    unsigned *attempts = context;
    if (event->type == DP_CLIENT_EVENT_ATTEMPT) (*attempts)++;
}

static dp_client_config advanced_config(const char *base_url, unsigned *attempts)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = base_url;
    config.retry.max_attempts = 5;
    config.retry.min_wait_ms = 50;
    config.retry.multiplier_ms = 100;
    config.breaker.failure_threshold = 3;
    config.breaker.recovery_ms = 5000;
    config.bulkhead.max_concurrency = 8;
    config.timeouts.read_ms = 5000;
    config.timeouts.total_ms = 30000;
    config.log = print_log_line;
    config.log_level = DP_CLIENT_LOG_INFO;
    config.on_event = count_attempts;
    config.event_context = attempts;
    return config;
}

/* A POST with a header and a deadline of its own. What went wrong is a kind, not a text to be searched. */
static void reset_failures(dp_client *client)
{
    const dp_client_header headers[] = {{"X-Reason", "example"}};
    dp_client_request request = {.method = "POST",
                                 .url = "/fail/reset",
                                 .headers = headers,
                                 .header_count = 1,
                                 .total_timeout_ms = 2000};
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    if (dp_client_request_send(client, &request, &response, &error) == DP_STATUS_OK) {
        printf("reset: status %d after %u attempt(s)\n", response.http_status, response.attempts);
    } else if (response.kind == DP_CLIENT_NOT_FOUND) {
        printf("reset: the server knows no such path\n");
    } else {
        printf("reset: %s, %s\n", dp_client_kind_name(response.kind),
               response.retryable ? "worth another try later" : "not worth another try");
    }
    dp_client_response_release(&response);
}

/* Keeps all of them in flight; the bulkhead lets eight through at a time. Calls come back as they end. */
static unsigned get_many(dp_client *client, dp_error *error)
{
    dp_client_queue *queue = NULL;
    unsigned good = 0;
    if (dp_client_queue_new(client, &queue, error) != DP_STATUS_OK) return 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        dp_client_request request = {.url = "/msg?delay=10"};
        if (dp_client_submit(queue, &request, NULL, error) != DP_STATUS_OK) break;
    }
    while (dp_client_queue_in_flight(queue) > 0) {
        if (dp_client_wait(queue, -1, -1, NULL, error) != DP_STATUS_OK) break;
        dp_client_call *call;
        while ((call = dp_client_queue_next(queue)) != NULL) {
            if (dp_client_call_response(call)->kind == DP_CLIENT_OK) good++;
            dp_client_call_free(call);
        }
    }
    dp_client_queue_free(queue);
    return good;
}

int main(int argc, char **argv)
{
    unsigned attempts = 0;
    dp_client_config config = advanced_config(argc > 1 ? argv[1] : "http://127.0.0.1:8000", &attempts);
    dp_error error = DP_ERROR_INIT;
    dp_client *client = NULL;
    if (dp_client_new(&config, &client, &error) != DP_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return dp_status_exit_code(error.status);
    }
    reset_failures(client);
    unsigned good = get_many(client, &error);

    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    printf("%u of %d replies, %u attempts, breaker %s\n", good, REQUESTS, attempts, stats.breaker_state);
    dp_client_free(client);
    return good == REQUESTS ? 0 : 3;
}
