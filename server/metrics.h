/* What the server counts, and its rendering as Prometheus text.
 *
 * Counters may be moved from any thread (relaxed atomics). Gauges that belong to other modules are given to
 * the rendering as numbers, so that this module reads no clock and no state of others. docs/monitoring.md
 * describes every metric; a test compares.
 */
#ifndef DPONE_SERVER_METRICS_H
#define DPONE_SERVER_METRICS_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "server/idempotency_cache.h"
#include "server/router.h"

/* The statuses this server answers with; anything else is counted as "other". */
#define DP_METRIC_STATUS_LIST(X)                                                                             \
    X(200)                                                                                                   \
    X(204)                                                                                                   \
    X(307)                                                                                                   \
    X(400)                                                                                                   \
    X(401) X(403) X(404) X(405) X(408) X(409) X(410) X(413) X(414) X(415) X(422) X(431) X(500) X(503) X(505)

enum {
#define DP_METRIC_STATUS_ONE(status) +1
    DP_METRIC_STATUS_COUNT = 1 DP_METRIC_STATUS_LIST(DP_METRIC_STATUS_ONE),
#undef DP_METRIC_STATUS_ONE
    DP_METRIC_BUCKET_COUNT = 14
};

typedef struct dp_metric_histogram {
    _Atomic uint64_t buckets[DP_METRIC_BUCKET_COUNT + 1]; /* not cumulative; the last is +Inf */
    _Atomic uint64_t sum_us;
} dp_metric_histogram;

typedef struct dp_metrics {
    /* By route, the last row for requests that meet none. */
    _Atomic uint64_t requests[DP_ROUTE_COUNT + 1][DP_METRIC_STATUS_COUNT];
    dp_metric_histogram latency[DP_ROUTE_COUNT + 1];
    dp_metric_histogram queue_wait;
    _Atomic uint64_t injected_failures;
    _Atomic uint64_t queue_refused;
    _Atomic uint64_t request_timeouts;
    _Atomic uint64_t malformed_requests;
    _Atomic uint64_t connections_accepted;
    _Atomic uint64_t connections_timed_out;
    _Atomic uint64_t batches_committed;
    _Atomic uint64_t events_ingested;
    _Atomic uint64_t events_duplicate;
    _Atomic uint64_t readers_suspended;
    _Atomic uint64_t readers_refused;
    _Atomic uint64_t waiting_batches; /* rises and falls */
} dp_metrics;

/* What others know at the moment of rendering. */
typedef struct dp_metric_gauges {
    uint64_t queue_depth;
    uint64_t active_requests;
    uint64_t max_concurrency;
    uint64_t open_connections;
    uint64_t waiting_readers;
    dp_idempotency_counts cache;
    uint64_t log_lines_dropped;
    double uptime_seconds;
    double start_time_seconds;
    double cpu_seconds;
    uint64_t resident_bytes;
    uint64_t open_files;
    uint64_t max_files;
    uint64_t threads;
} dp_metric_gauges;

void dp_metrics_count_request(dp_metrics *metrics, dp_route route, unsigned status, int64_t duration_us);
void dp_metrics_observe_wait(dp_metrics *metrics, int64_t wait_us);

static inline void dp_metric_add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

/* Appends everything in the text format 0.0.4. */
void dp_metrics_render(const dp_metrics *metrics, const dp_metric_gauges *gauges, dp_buffer *out);

/* One "# HELP" and "# TYPE" pair, for those who append samples of their own. */
void dp_metrics_render_head(dp_buffer *out, const char *name, const char *type, const char *help);

/* A label value with '\', '"' and newlines escaped. */
void dp_metrics_put_label(dp_buffer *out, dp_slice text);

#endif
