#include "server/metrics.h"

#include <stdio.h>

static const unsigned statuses[DP_METRIC_STATUS_COUNT - 1] = {
#define DP_METRIC_STATUS_VALUE(status) status,
    DP_METRIC_STATUS_LIST(DP_METRIC_STATUS_VALUE)
#undef DP_METRIC_STATUS_VALUE
};

static const struct {
    int64_t at_most_us;
    const char *label;
} bounds[DP_METRIC_BUCKET_COUNT] = {
    {100, "0.0001"}, {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"}, {10000, "0.01"},  {25000, "0.025"}, {100000, "0.1"},  {250000, "0.25"},
    {1000000, "1"},  {5000000, "5"},   {15000000, "15"}, {60000000, "60"},
};

static size_t status_index(unsigned status)
{
    size_t i = 0;
    while (i < DP_METRIC_STATUS_COUNT - 1 && statuses[i] != status) {
        i++;
    }
    return i;
}

static void observe(dp_metric_histogram *histogram, int64_t value_us)
{
    size_t i = 0;
    while (i < DP_METRIC_BUCKET_COUNT && value_us > bounds[i].at_most_us) {
        i++;
    }
    dp_metric_add(&histogram->buckets[i], 1);
    dp_metric_add(&histogram->sum_us, value_us < 0 ? 0 : (uint64_t)value_us);
}

void dp_metrics_count_request(dp_metrics *metrics, dp_route route, unsigned status, int64_t duration_us)
{
    dp_metric_add(&metrics->requests[route][status_index(status)], 1);
    observe(&metrics->latency[route], duration_us);
}

void dp_metrics_observe_wait(dp_metrics *metrics, int64_t wait_us)
{
    observe(&metrics->queue_wait, wait_us);
}

void dp_metrics_render_head(dp_buffer *out, const char *name, const char *type, const char *help)
{
    dp_buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void dp_metrics_put_label(dp_buffer *out, dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c == '\\' || c == '"') dp_buffer_append_byte(out, '\\');
        if (c == '\n') {
            dp_buffer_append_text(out, "\\n");
        } else {
            dp_buffer_append_byte(out, c);
        }
    }
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static const char *route_label(size_t route)
{
    return route == DP_ROUTE_COUNT ? "other" : dp_route_pattern((dp_route)route);
}

static const char *method_label(size_t route)
{
    return route == DP_ROUTE_COUNT ? "other" : dp_route_method((dp_route)route);
}

static void render_requests(const dp_metrics *metrics, dp_buffer *out)
{
    dp_metrics_render_head(out, "dpone_http_requests_total", "counter", "Requests answered.");
    for (size_t route = 0; route <= DP_ROUTE_COUNT; route++) {
        for (size_t i = 0; i < DP_METRIC_STATUS_COUNT; i++) {
            uint64_t count = load(&metrics->requests[route][i]);
            if (count == 0) continue;
            dp_buffer_append_format(out, "dpone_http_requests_total{method=\"%s\",route=\"%s\",status=\"",
                                    method_label(route), route_label(route));
            if (i < DP_METRIC_STATUS_COUNT - 1) {
                dp_buffer_append_u64(out, statuses[i]);
            } else {
                dp_buffer_append_text(out, "other");
            }
            dp_buffer_append_format(out, "\"} %llu\n", (unsigned long long)count);
        }
    }
}

/* `labels` is empty or ends with a comma. */
static void render_histogram(dp_buffer *out, const char *name, const char *labels,
                             const dp_metric_histogram *histogram)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= DP_METRIC_BUCKET_COUNT; i++) {
        total += load(&histogram->buckets[i]);
        dp_buffer_append_format(out, "%s_bucket{%sle=\"%s\"} %llu\n", name, labels,
                                i < DP_METRIC_BUCKET_COUNT ? bounds[i].label : "+Inf",
                                (unsigned long long)total);
    }
    size_t length = strlen(labels);
    char own[200] = "";
    if (length > 0) snprintf(own, sizeof own, "{%.*s}", (int)(length - 1), labels);
    dp_buffer_append_format(out, "%s_sum%s %.6f\n%s_count%s %llu\n", name, own,
                            (double)load(&histogram->sum_us) / 1e6, name, own, (unsigned long long)total);
}

static bool is_untouched(const dp_metric_histogram *histogram)
{
    for (size_t i = 0; i <= DP_METRIC_BUCKET_COUNT; i++) {
        if (load(&histogram->buckets[i]) > 0) return false;
    }
    return true;
}

static void render_latencies(const dp_metrics *metrics, dp_buffer *out)
{
    const char *name = "dpone_http_request_duration_seconds";
    dp_metrics_render_head(out, name, "histogram", "Time from the complete header to the answer.");
    for (size_t route = 0; route <= DP_ROUTE_COUNT; route++) {
        if (is_untouched(&metrics->latency[route])) continue;
        char labels[160];
        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",", method_label(route),
                 route_label(route));
        render_histogram(out, name, labels, &metrics->latency[route]);
    }
}

static void render_number(dp_buffer *out, const char *name, const char *type, const char *help, double value)
{
    dp_metrics_render_head(out, name, type, help);
    dp_buffer_append_format(out, "%s %.15g\n", name, value);
}

void dp_metrics_render(const dp_metrics *m, const dp_metric_gauges *g, dp_buffer *out)
{
    const struct {
        const char *name;
        const char *type;
        const char *help;
        double value;
    } rows[] = {
        {"dpone_active_requests", "gauge", "Requests to /msg that hold a slot.", (double)g->active_requests},
        {"dpone_max_concurrency", "gauge", "Slots.", (double)g->max_concurrency},
        {"dpone_queue_depth", "gauge", "Requests to /msg that wait for a slot.", (double)g->queue_depth},
        {"dpone_queue_refused_total", "counter", "Requests refused because the queue was full.",
         (double)load(&m->queue_refused)},
        {"dpone_request_timeouts_total", "counter", "Requests answered with 408.",
         (double)load(&m->request_timeouts)},
        {"dpone_cache_hits_total", "counter", "Request ids found in the idempotency cache.",
         (double)g->cache.hits},
        {"dpone_cache_misses_total", "counter", "Request ids not found.", (double)g->cache.misses},
        {"dpone_cache_joins_total", "counter", "Requests that joined one in flight with the same id.",
         (double)g->cache.joins},
        {"dpone_cache_entries", "gauge", "Entries in the idempotency cache.", (double)g->cache.entries},
        {"dpone_cache_in_flight", "gauge", "Executions that others may join.", (double)g->cache.in_flight},
        {"dpone_injected_failures_total", "counter", "Failures injected on request of /fail/*.",
         (double)load(&m->injected_failures)},
        {"dpone_malformed_requests_total", "counter", "Requests refused for their form.",
         (double)load(&m->malformed_requests)},
        {"dpone_connections", "gauge", "Open connections.", (double)g->open_connections},
        {"dpone_connections_accepted_total", "counter", "Connections accepted.",
         (double)load(&m->connections_accepted)},
        {"dpone_connections_timed_out_total", "counter", "Connections closed at a header or body deadline.",
         (double)load(&m->connections_timed_out)},
        {"dpone_batches_committed_total", "counter", "Batches committed to the journal.",
         (double)load(&m->batches_committed)},
        {"dpone_events_ingested_total", "counter", "Events stored in the journal.",
         (double)load(&m->events_ingested)},
        {"dpone_events_duplicate_total", "counter", "Events received again and not stored again.",
         (double)load(&m->events_duplicate)},
        {"dpone_waiting_readers", "gauge", "Requests for events that wait for some.",
         (double)g->waiting_readers},
        {"dpone_readers_suspended_total", "counter", "Times that a request for events began to wait.",
         (double)load(&m->readers_suspended)},
        {"dpone_readers_refused_total", "counter", "Requests for events refused because too many wait.",
         (double)load(&m->readers_refused)},
        {"dpone_waiting_batches", "gauge", "Batches with Dpone-After that have no answer yet.",
         (double)load(&m->waiting_batches)},
        {"dpone_log_lines_dropped_total", "counter", "Log lines dropped because nobody read them.",
         (double)g->log_lines_dropped},
        {"dpone_uptime_seconds", "gauge", "Time since the start.", g->uptime_seconds},
        {"process_start_time_seconds", "gauge", "Start time since the epoch.", g->start_time_seconds},
        {"process_cpu_seconds_total", "counter", "User and system CPU time.", g->cpu_seconds},
        {"process_resident_memory_bytes", "gauge", "Resident memory.", (double)g->resident_bytes},
        {"process_open_fds", "gauge", "Open file descriptors.", (double)g->open_files},
        {"process_max_fds", "gauge", "Limit of open file descriptors.", (double)g->max_files},
        {"process_threads", "gauge", "Threads.", (double)g->threads},
    };
    render_requests(m, out);
    render_latencies(m, out);
    dp_metrics_render_head(out, "dpone_queue_wait_seconds", "histogram",
                           "Time that requests to /msg waited for a slot.");
    render_histogram(out, "dpone_queue_wait_seconds", "", &m->queue_wait);
    dp_metrics_render_head(out, "dpone_cache_evictions_total", "counter",
                           "Entries evicted, by size limit or age.");
    dp_buffer_append_format(out,
                            "dpone_cache_evictions_total{reason=\"size\"} %llu\n"
                            "dpone_cache_evictions_total{reason=\"age\"} %llu\n",
                            (unsigned long long)g->cache.evictions_size,
                            (unsigned long long)g->cache.evictions_age);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        render_number(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    }
}
