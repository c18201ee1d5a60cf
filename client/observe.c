#include "client/observe.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4))) static void log_line(const dp_client *client, dp_client_log_level level,
                                                           const char *format, ...)
{
    if (client->config.log == NULL || level < client->config.log_level) return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    dp_error line = DP_ERROR_INIT; /* makes the text bounded and printable */
    dp_error_set(&line, DP_STATUS_INTERNAL, "%s", text);
    client->config.log(client->config.log_context, level, line.message);
}

static void send_event(const dp_client *client, const dp_client_event *event)
{
    if (client->config.on_event != NULL) client->config.on_event(client->config.event_context, event);
}

void dp_observe_attempt(const dp_operation *operation, dp_client_kind kind)
{
    const dp_client *client = operation->driver->client;
    const dp_client_response *response = operation->response;
    const dp_transport_exchange *exchange = &operation->exchange;
    dp_client_event event = {
        .type = DP_CLIENT_EVENT_ATTEMPT,
        .request_id = response->request_id,
        .kind = kind,
        .http_status = dp_client_kind_has_status(kind) ? exchange->http_status : 0,
        .attempt = response->attempts,
        .duration_us = operation->attempt_us,
    };
    send_event(client, &event);
    log_line(client, DP_CLIENT_LOG_DEBUG, "%s: attempt %u: %s%sstatus %d, %.3f ms%s, request id %s",
             operation->text.shown, response->attempts, dp_client_kind_name(kind),
             kind == DP_CLIENT_OK ? "" : ", ", event.http_status, (double)operation->attempt_us / 1000,
             exchange->reused ? ", pooled connection" : "", response->request_id);
}

void dp_observe_retry(const dp_operation *operation, dp_client_kind kind, int64_t wait_us)
{
    const dp_client *client = operation->driver->client;
    dp_client_event event = {
        .type = DP_CLIENT_EVENT_RETRY,
        .request_id = operation->response->request_id,
        .kind = kind,
        .http_status = operation->exchange.http_status,
        .attempt = operation->response->attempts,
        .duration_us = wait_us,
    };
    send_event(client, &event);
    log_line(client, DP_CLIENT_LOG_DEBUG, "%s: retry in %.3f s after %s (%s), request id %s",
             operation->text.shown, (double)wait_us / 1e6, dp_client_kind_name(kind), operation->last_failure,
             operation->response->request_id);
}

void dp_observe_end(const dp_operation *operation)
{
    const dp_client *client = operation->driver->client;
    const dp_client_response *response = operation->response;
    dp_client_event event = {
        .type = DP_CLIENT_EVENT_DONE,
        .request_id = response->request_id,
        .kind = response->kind,
        .http_status = response->http_status,
        .attempt = response->attempts,
        .duration_us = response->timing.total_us,
    };
    send_event(client, &event);
    if (response->kind != DP_CLIENT_OK) {
        log_line(client, DP_CLIENT_LOG_WARNING, "%s", operation->error->message);
    }
}

void dp_observe_breaker(const dp_operation *operation, dp_breaker_state from, dp_breaker_state to)
{
    const dp_client *client = operation->driver->client;
    dp_client_event event = {
        .type = DP_CLIENT_EVENT_BREAKER,
        .request_id = operation->response->request_id,
        .attempt = operation->response->attempts,
        .breaker_from = dp_breaker_state_name(from),
        .breaker_to = dp_breaker_state_name(to),
    };
    send_event(client, &event);
    switch (to) {
    case DP_BREAKER_OPEN:
        log_line(client, DP_CLIENT_LOG_WARNING, "circuit breaker opened (was %s) at %s, request id %s",
                 event.breaker_from, operation->text.shown, event.request_id);
        return;
    case DP_BREAKER_CLOSED:
        log_line(client, DP_CLIENT_LOG_INFO, "circuit breaker closed at %s", operation->text.shown);
        return;
    case DP_BREAKER_HALF_OPEN:
        log_line(client, DP_CLIENT_LOG_DEBUG, "circuit breaker lets a probe through: %s",
                 operation->text.shown);
        return;
    }
}
