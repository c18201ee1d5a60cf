#include "cli/client_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/json_writer.h"
#include "base/utf8.h"

void dp_client_trace_note(void *context, const dp_client_event *event)
{
    dp_client_trace *trace = context;
    if (trace->count++ >= DP_CLIENT_TRACE_EVENTS) return;
    trace->events[trace->count - 1] = (struct dp_client_trace_event){
        .type = event->type,
        .kind = event->kind,
        .http_status = event->http_status,
        .attempt = event->attempt,
        .duration_us = event->duration_us,
        .breaker_from = event->breaker_from, /* names of states live for ever */
        .breaker_to = event->breaker_to,
    };
}

static void put_seconds(dp_json_writer *json, const char *key, int64_t us)
{
    char text[48];
    int length =
        snprintf(text, sizeof text, "%lld.%06lld", (long long)(us / 1000000), (long long)(us % 1000000));
    dp_json_key(json, key);
    dp_json_raw(json, dp_slice_make(text, (size_t)length));
}

/* 0: there was no reply. */
static void put_http_status(dp_json_writer *json, int http_status)
{
    dp_json_key(json, "status");
    if (http_status == 0) {
        dp_json_null(json);
    } else {
        dp_json_i64(json, http_status);
    }
}

static void put_kind(dp_json_writer *json, dp_client_kind kind)
{
    dp_json_key(json, "kind");
    dp_json_text(json, kind == DP_CLIENT_OK ? NULL : dp_client_kind_name(kind));
}

/* Header fields may hold any byte; JSON may not. */
static void put_field_text(dp_json_writer *json, const char *key, dp_slice text)
{
    dp_json_key(json, key);
    if (dp_utf8_valid(text, NULL)) {
        dp_json_string(json, text);
        return;
    }
    char *shown = malloc(text.length);
    if (shown == NULL) {
        dp_json_null(json);
        return;
    }
    for (size_t i = 0; i < text.length; i++) {
        shown[i] = (unsigned char)text.data[i] < 0x80 ? text.data[i] : '?';
    }
    dp_json_string(json, dp_slice_make(shown, text.length));
    free(shown);
}

static void put_headers(dp_json_writer *json, const dp_client_response *response)
{
    dp_json_key(json, "headers");
    dp_json_begin_array(json);
    for (size_t i = 0; i < response->field_count; i++) {
        dp_json_begin_object(json);
        put_field_text(json, "name", response->fields[i].name);
        put_field_text(json, "value", response->fields[i].value);
        dp_json_end_object(json);
    }
    dp_json_end_array(json);
}

/* "body" where it is text, "body_hex" where it is not. */
static void put_body(dp_json_writer *json, dp_slice body)
{
    if (dp_utf8_valid(body, NULL)) {
        dp_json_key(json, "body");
        dp_json_string(json, body);
        return;
    }
    char *hex = malloc(2 * body.length);
    dp_json_key(json, "body_hex");
    if (hex == NULL) {
        dp_json_null(json);
        return;
    }
    dp_hex_encode((const uint8_t *)body.data, body.length, hex);
    dp_json_string(json, dp_slice_make(hex, 2 * body.length));
    free(hex);
}

static void put_timing(dp_json_writer *json, const dp_client_timing *timing)
{
    dp_json_key(json, "timing_seconds");
    dp_json_begin_object(json);
    put_seconds(json, "total", timing->total_us);
    put_seconds(json, "backoff", timing->backoff_us);
    put_seconds(json, "pool", timing->pool_us);
    put_seconds(json, "last_attempt", timing->attempt_us);
    put_seconds(json, "last_connect", timing->connect_us);
    put_seconds(json, "last_first_byte", timing->first_byte_us);
    dp_json_end_object(json);
}

static void put_event(dp_json_writer *json, const struct dp_client_trace_event *event)
{
    dp_json_begin_object(json);
    dp_json_key(json, "event");
    switch (event->type) {
    case DP_CLIENT_EVENT_ATTEMPT:
        dp_json_text(json, "attempt");
        dp_json_key(json, "attempt");
        dp_json_u64(json, event->attempt);
        put_kind(json, event->kind);
        put_http_status(json, event->http_status);
        put_seconds(json, "duration_seconds", event->duration_us);
        break;
    case DP_CLIENT_EVENT_RETRY:
        dp_json_text(json, "retry");
        put_seconds(json, "wait_seconds", event->duration_us);
        break;
    case DP_CLIENT_EVENT_DONE:
        dp_json_text(json, "done");
        put_kind(json, event->kind);
        break;
    case DP_CLIENT_EVENT_BREAKER:
        dp_json_text(json, "breaker");
        dp_json_key(json, "from");
        dp_json_text(json, event->breaker_from);
        dp_json_key(json, "to");
        dp_json_text(json, event->breaker_to);
        break;
    }
    dp_json_end_object(json);
}

static void put_trace(dp_json_writer *json, const dp_client_trace *trace)
{
    size_t kept = trace->count < DP_CLIENT_TRACE_EVENTS ? trace->count : DP_CLIENT_TRACE_EVENTS;
    dp_json_key(json, "events");
    dp_json_begin_array(json);
    for (size_t i = 0; i < kept; i++) {
        put_event(json, &trace->events[i]);
    }
    dp_json_end_array(json);
}

static const char *http_version_text(int version)
{
    if (version == 10) return "1.0";
    if (version == 11) return "1.1";
    return version == 20 ? "2" : NULL;
}

void dp_client_report_json(dp_buffer *out, const dp_client_response *response, const dp_error *error,
                           const dp_client_trace *trace, const dp_client_stats *stats)
{
    dp_json_writer writer = dp_json_writer_compact(out);
    dp_json_writer *json = &writer;
    dp_json_begin_object(json);
    dp_json_key(json, "ok");
    dp_json_bool(json, response->kind == DP_CLIENT_OK);
    put_kind(json, response->kind);
    dp_json_key(json, "retryable");
    dp_json_bool(json, response->retryable);
    put_http_status(json, response->http_status);
    put_field_text(json, "request_id", dp_slice_of_text(response->request_id));
    dp_json_key(json, "attempts");
    dp_json_u64(json, response->attempts);
    dp_json_key(json, "error");
    dp_json_text(json, response->kind == DP_CLIENT_OK ? NULL : error->message);
    dp_json_key(json, "http_version");
    dp_json_text(json, http_version_text(response->http_version));
    put_headers(json, response);
    put_body(json, response->body);
    if (response->retry_after_us >= 0) put_seconds(json, "retry_after_seconds", response->retry_after_us);
    put_timing(json, &response->timing);
    dp_json_key(json, "breaker");
    dp_json_text(json, stats->breaker_state);
    put_trace(json, trace);
    dp_json_end_object(json);
    dp_buffer_append_byte(out, '\n');
}
