/* What `dpone client` shows of one operation: its result as JSON, and the events on the way to it. */
#ifndef DPONE_CLI_CLIENT_REPORT_H
#define DPONE_CLI_CLIENT_REPORT_H

#include "base/buffer.h"
#include "client/client.h"

enum { DP_CLIENT_TRACE_EVENTS = 1000 };

/* The events of one operation, in order; further ones are only counted. */
typedef struct dp_client_trace {
    struct dp_client_trace_event {
        dp_client_event_type type;
        dp_client_kind kind;
        int http_status;
        unsigned attempt;
        int64_t duration_us;
        const char *breaker_from;
        const char *breaker_to;
    } events[DP_CLIENT_TRACE_EVENTS];
    size_t count;
} dp_client_trace;

/* A dp_client_event_function; the context is the trace. */
void dp_client_trace_note(void *trace, const dp_client_event *event);

/* One JSON object and a newline. `stats` are the client's after the operation. */
void dp_client_report_json(dp_buffer *out, const dp_client_response *response, const dp_error *error,
                           const dp_client_trace *trace, const dp_client_stats *stats);

#endif
