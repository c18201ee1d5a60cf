#include "server/run_endpoint.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/http.h"
#include "server/metrics.h"

enum {
    MAX_TEXT_BYTES = 1 << 20,
    MAX_HOST_BYTES = 256,
    CONNECTIONS = 32,
    HEADER_BYTES = 16384,
    SILENCE_S = 60
};

struct dp_run_endpoint {
    dp_http_server *http;
    dp_run_monitor *monitor;
    char host[MAX_HOST_BYTES];
    char *pipeline;
    char *slot;
};

/* --- rendering --- */

typedef struct rendering {
    dp_buffer *out;
    const char *pipeline;
    const char *slot;
} rendering;

static void put_labels(const rendering *self, const char *name, bool has_slot, const char *reason)
{
    dp_buffer_append_format(self->out, "%s{pipeline=\"", name);
    dp_metrics_put_label(self->out, dp_slice_of_text(self->pipeline));
    if (reason != NULL) dp_buffer_append_format(self->out, "\",reason=\"%s", reason);
    if (has_slot) {
        dp_buffer_append_text(self->out, "\",slot=\"");
        dp_metrics_put_label(self->out, dp_slice_of_text(self->slot));
    }
    dp_buffer_append_text(self->out, "\"} ");
}

static void put(const rendering *self, bool has_slot, const char *name, const char *type, const char *help,
                double value)
{
    dp_metrics_render_head(self->out, name, type, help);
    put_labels(self, name, has_slot, NULL);
    dp_buffer_append_format(self->out, "%.15g\n", value);
}

static void put_run(const rendering *self, const dp_run_picture *picture)
{
    const dp_cdc_run_summary *summary = &picture->summary;
    const struct {
        const char *name;
        const char *help;
        uint64_t value;
    } counters[] = {
        {"dpone_run_events_total", "Events answered with a receipt.", summary->event_count},
        {"dpone_run_duplicate_events_total", "Of these, known before.", summary->duplicate_count},
        {"dpone_run_batches_total", "Batches answered with a receipt.", summary->batch_count},
        {"dpone_run_transactions_total", "Transactions delivered.", summary->transaction_count},
        {"dpone_run_quarantined_total", "Changes put into quarantine.", summary->poison_count},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        put(self, false, counters[i].name, "counter", counters[i].help, (double)counters[i].value);
    }
    dp_lsn stored = {0};
    if (summary->has_offset) dp_offset_lsn(&summary->offset, &stored);
    put(self, false, "dpone_run_offset_position", "gauge", "Stored offset as a number.",
        (double)stored.value);
    put(self, false, "dpone_run_last_receipt_timestamp_seconds", "gauge",
        "When the last receipt came; 0: none yet.", (double)picture->state.receipt_wall_us / 1e6);
}

static void put_stalls(const rendering *self, const dp_run_picture *picture)
{
    dp_metrics_render_head(self->out, "dpone_run_stalled", "gauge", "Whether the run stands still, and why.");
    for (size_t i = 0; i < DP_STALL_COUNT; i++) {
        put_labels(self, "dpone_run_stalled", false, dp_stall_label((dp_stall)i));
        dp_buffer_append_format(self->out, "%d\n", picture->stall.stall == (dp_stall)i);
    }
    dp_metrics_render_head(self->out, "dpone_run_stalls_total", "counter", "Stalls that were told.");
    for (size_t i = 0; i < DP_STALL_COUNT; i++) {
        put_labels(self, "dpone_run_stalls_total", false, dp_stall_label((dp_stall)i));
        dp_buffer_append_format(self->out, "%llu\n", (unsigned long long)picture->stall_counts[i]);
    }
}

static void put_slot(const rendering *self, const dp_run_picture *picture)
{
    const dp_slot_look *slot = &picture->slot;
    bool is_seen = picture->has_look;
    put(self, true, "dpone_source_up", "gauge", "Whether the source answered when last asked.", is_seen);
    if (!is_seen) return;
    bool is_usable = slot->exists && !slot->is_invalidated;
    put(self, true, "dpone_slot_usable", "gauge", "Whether the slot exists and has all its log.", is_usable);
    put(self, true, "dpone_slot_active", "gauge", "Whether some connection reads the slot.", slot->is_active);
    put(self, true, "dpone_slot_confirmed_position", "gauge", "What the slot has confirmed, as a number.",
        (double)slot->confirmed.value);
    put(self, true, "dpone_source_end_position", "gauge", "Where the source's log ends, as a number.",
        (double)slot->server_end.value);
    put(self, true, "dpone_slot_lag_bytes", "gauge", "Log between what is confirmed and its end.",
        (double)slot->lag_bytes);
    put(self, true, "dpone_slot_lag_seconds", "gauge", "How long ago the log ended where it is confirmed.",
        picture->lag_seconds);
    put(self, true, "dpone_slot_retained_bytes", "gauge", "Log that the source keeps for the slot.",
        (double)slot->retained_bytes);
    put(self, true, "dpone_source_oldest_transaction_seconds", "gauge",
        "Age of the oldest open transaction that writes; 0: none.", slot->oldest_transaction_seconds);
}

void dp_run_metrics_render(const dp_run_picture *picture, const char *pipeline, const char *slot,
                           dp_buffer *out)
{
    rendering self = {out, pipeline, slot};
    put_run(&self, picture);
    put_stalls(&self, picture);
    if (slot != NULL) put_slot(&self, picture);
}

/* --- serving --- */

static void answer(dp_http_request *request, unsigned status, const char *type, dp_slice body)
{
    dp_http_response response = {.status = status, .body = body};
    dp_http_response_add(&response, "Content-Type", type);
    dp_http_response_add(&response, "Cache-Control", "no-store");
    dp_http_respond(request, &response);
}

static void on_headers(void *context, dp_http_request *request)
{
    (void)context;
    (void)request; /* no request has a body here */
}

static void on_request(void *context, dp_http_request *request)
{
    dp_run_endpoint *self = context;
    dp_slice path = dp_http_request_path(request);
    bool is_get = dp_slice_equal_text(dp_http_request_method(request), "GET");
    if (is_get && dp_slice_equal_text(path, "/metrics")) {
        dp_run_picture picture;
        dp_buffer text = DP_BUFFER_INIT(MAX_TEXT_BYTES);
        dp_run_monitor_picture(self->monitor, &picture);
        dp_run_metrics_render(&picture, self->pipeline, self->slot, &text);
        answer(request, text.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8",
               text.failed ? (dp_slice){"", 0} : dp_buffer_slice(&text));
        dp_buffer_release(&text);
    } else if (is_get && dp_slice_equal_text(path, "/health")) {
        answer(request, 200, "application/json", DP_SLICE_LITERAL("{\"status\":\"ok\"}"));
    } else {
        answer(request, is_get ? 404 : 405, "application/json",
               is_get ? DP_SLICE_LITERAL("{\"detail\":\"Not Found\"}")
                      : DP_SLICE_LITERAL("{\"detail\":\"Method Not Allowed\"}"));
    }
}

static void on_nothing(void *context, dp_http_request *request)
{
    (void)context;
    (void)request;
}

static void on_done(void *context, dp_http_request *request, unsigned status)
{
    (void)context;
    (void)request;
    (void)status;
}

static void on_malformed(void *context, dp_http_request *request, unsigned status, const char *detail)
{
    (void)context;
    char json[320];
    int length = snprintf(json, sizeof json, "{\"detail\":\"%.200s\"}", detail);
    dp_http_response response = {.status = status, .close = true, .body = {json, (size_t)length}};
    dp_http_response_add(&response, "Content-Type", "application/json");
    dp_http_respond(request, &response);
}

static void on_event(void *context)
{
    (void)context;
}

/* HOST:PORT, [HOST]:PORT; what precedes the last colon is the host. */
static dp_status parse_address(const char *address, char host[MAX_HOST_BYTES], uint16_t *port,
                               dp_error *error)
{
    const char *colon = strrchr(address, ':');
    dp_slice name = {address, colon == NULL ? 0 : (size_t)(colon - address)};
    bool is_bracketed = name.length > 2 && name.data[0] == '[' && name.data[name.length - 1] == ']';
    if (is_bracketed) name = (dp_slice){name.data + 1, name.length - 2};
    uint64_t number = 0;
    bool is_good = colon != NULL && name.length > 0 && name.length < MAX_HOST_BYTES &&
                   dp_slice_to_u64(dp_slice_of_text(colon + 1), UINT16_MAX, &number);
    if (!is_good)
        return dp_error_set(error, DP_STATUS_USAGE, "--metrics-listen: '%s'; expected HOST:PORT", address);
    memcpy(host, name.data, name.length);
    host[name.length] = '\0';
    *port = (uint16_t)number;
    return DP_STATUS_OK;
}

static dp_status start_http(dp_run_endpoint *self, uint16_t port, dp_error *error)
{
    const dp_http_options options = {
        .host = self->host,
        .port = port,
        .thread_count = 1,
        .max_connections = CONNECTIONS,
        .max_header_bytes = HEADER_BYTES,
        .silence_timeout_s = SILENCE_S,
        .request_user_bytes = sizeof(int),
    };
    const dp_http_handlers handlers = {
        .context = self,
        .on_headers = on_headers,
        .on_request = on_request,
        .on_timer = on_nothing,
        .on_wake = on_nothing,
        .on_done = on_done,
        .on_malformed = on_malformed,
        .on_connection_timeout = on_event,
        .on_connection = on_event,
    };
    dp_status status = dp_http_server_start(&options, &handlers, &self->http, error);
    if (status == DP_STATUS_OK) dp_http_server_set_timeouts(self->http, 10000000, 10000000);
    return status;
}

dp_status dp_run_endpoint_start(const dp_run_endpoint_options *options, dp_run_endpoint **endpoint,
                                dp_error *error)
{
    dp_run_endpoint *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "the endpoint");
    uint16_t port = 0;
    self->monitor = options->monitor;
    self->pipeline = strdup(options->pipeline);
    self->slot = options->slot == NULL ? NULL : strdup(options->slot);
    bool is_copied = self->pipeline != NULL && (options->slot == NULL || self->slot != NULL);
    dp_status status = is_copied ? parse_address(options->address, self->host, &port, error)
                                 : dp_error_no_memory(error, "the endpoint");
    if (status == DP_STATUS_OK) status = start_http(self, port, error);
    if (status != DP_STATUS_OK) {
        dp_run_endpoint_stop(self);
        return status;
    }
    *endpoint = self;
    return DP_STATUS_OK;
}

void dp_run_endpoint_stop(dp_run_endpoint *endpoint)
{
    if (endpoint == NULL) return;
    if (endpoint->http != NULL) {
        dp_http_server_stop(endpoint->http, 0, 0);
        dp_http_server_free(endpoint->http);
    }
    free(endpoint->pipeline);
    free(endpoint->slot);
    free(endpoint);
}

uint16_t dp_run_endpoint_port(const dp_run_endpoint *endpoint)
{
    return dp_http_server_port(endpoint->http);
}

const char *dp_run_endpoint_host(const dp_run_endpoint *endpoint)
{
    return endpoint->host;
}
