#include "cli/client_load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_writer.h"

enum { MAX_OUTCOMES = 256, PROGRESS_EVERY_US = 200000 };

typedef struct outcome_count {
    dp_client_kind kind;
    int http_status;
    uint64_t count;
} outcome_count;

typedef struct load_run {
    const dp_client_load *load;
    dp_client *client;
    dp_client_queue *queue;
    uint64_t submitted;
    uint64_t ended;
    uint64_t failed;
    uint32_t *latencies_us; /* of every operation, ended or failed; capped at 2^32-1 */
    outcome_count outcomes[MAX_OUTCOMES];
    size_t outcome_count;
    int64_t begun_us;
    int64_t took_us;
    int64_t progress_due_us;
    int worst;
} load_run;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* The first signal ends the load with its table, a second one the program. */
static void install_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* --- running --- */

static void count_outcome(load_run *run, const dp_client_response *response)
{
    for (size_t i = 0; i < run->outcome_count; i++) {
        outcome_count *known = &run->outcomes[i];
        if (known->kind == response->kind && known->http_status == response->http_status) {
            known->count++;
            return;
        }
    }
    if (run->outcome_count == MAX_OUTCOMES) return;
    run->outcomes[run->outcome_count++] = (outcome_count){response->kind, response->http_status, 1};
}

static void take_ended(load_run *run)
{
    dp_client_call *call;
    while ((call = dp_client_queue_next(run->queue)) != NULL) {
        const dp_client_response *response = dp_client_call_response(call);
        int64_t took_us = response->timing.total_us;
        run->latencies_us[run->ended++] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
        count_outcome(run, response);
        int code = dp_status_exit_code(dp_client_call_error(call)->status);
        if (code > run->worst) run->worst = code;
        if (code != 0) run->failed++;
        dp_client_call_free(call);
    }
}

static void show_progress(load_run *run, bool last)
{
    int64_t now_us = dp_clock_monotonic_us();
    if (!run->load->progress || (now_us < run->progress_due_us && !last)) return;
    run->progress_due_us = now_us + PROGRESS_EVERY_US;
    dp_client_stats stats;
    dp_client_stats_read(run->client, &stats);
    double seconds = (double)(now_us - run->begun_us) / 1e6;
    fprintf(stderr, "\r%llu/%llu done, %llu failed, %llu retries, breaker %s, %.0f/s\x1b[K",
            (unsigned long long)run->ended, (unsigned long long)run->load->repeat,
            (unsigned long long)run->failed, (unsigned long long)stats.retries, stats.breaker_state,
            seconds > 0 ? (double)run->ended / seconds : 0);
    if (last) fputs("\r\x1b[K", stderr);
    fflush(stderr);
}

static dp_status run_all(load_run *run, const dp_client_request *request, dp_error *error)
{
    const dp_client_load *load = run->load;
    while (run->ended < load->repeat && !interrupted) {
        while (run->submitted < load->repeat && dp_client_queue_in_flight(run->queue) < load->concurrency) {
            dp_status status = dp_client_submit(run->queue, request, NULL, error);
            if (status != DP_STATUS_OK) return status;
            run->submitted++;
        }
        dp_status status = dp_client_wait(run->queue, -1, PROGRESS_EVERY_US / 1000, NULL, error);
        if (status != DP_STATUS_OK) return status;
        take_ended(run);
        show_progress(run, false);
    }
    return DP_STATUS_OK;
}

/* --- the result --- */

static int compare_latencies(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static int compare_outcomes(const void *left, const void *right)
{
    const outcome_count *a = left;
    const outcome_count *b = right;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    return (a->http_status > b->http_status) - (a->http_status < b->http_status);
}

static const struct {
    const char *name;
    const char *key;
    unsigned per_mille;
} percentiles[] = {
    {"min", "min", 0},   {"p50", "p50", 500},     {"p90", "p90", 900},
    {"p99", "p99", 990}, {"p99.9", "p99_9", 999}, {"max", "max", 1000},
};
enum { PERCENTILE_COUNT = sizeof percentiles / sizeof percentiles[0] };

/* The smallest latency that at least so many per mille do not exceed (nearest rank). */
static double percentile_ms(const load_run *run, unsigned per_mille)
{
    uint64_t rank = (run->ended * per_mille + 999) / 1000;
    if (rank == 0) rank = 1;
    return (double)run->latencies_us[rank - 1] / 1000;
}

static void outcome_name(const outcome_count *outcome, char *out, size_t capacity)
{
    if (outcome->kind == DP_CLIENT_OK) {
        snprintf(out, capacity, "%d", outcome->http_status);
    } else if (outcome->http_status != 0) {
        snprintf(out, capacity, "%d %s", outcome->http_status, dp_client_kind_name(outcome->kind));
    } else {
        snprintf(out, capacity, "%s", dp_client_kind_name(outcome->kind));
    }
}

static void append_table(const load_run *run, const dp_client_stats *stats, dp_buffer *out)
{
    double seconds = (double)run->took_us / 1e6;
    if (run->ended < run->load->repeat) {
        dp_buffer_append_format(out, "interrupted after %llu of %llu operations\n",
                                (unsigned long long)run->ended, (unsigned long long)run->load->repeat);
    }
    dp_buffer_append_format(out, "operations  %llu in %.3f s, %.1f/s, %llu at once\n",
                            (unsigned long long)run->ended, seconds,
                            seconds > 0 ? (double)run->ended / seconds : 0,
                            (unsigned long long)run->load->concurrency);
    for (size_t i = 0; i < run->outcome_count; i++) {
        char name[80];
        outcome_name(&run->outcomes[i], name, sizeof name);
        dp_buffer_append_format(out, "%-10s  %-30s %12llu\n", i == 0 ? "outcomes" : "", name,
                                (unsigned long long)run->outcomes[i].count);
    }
    for (size_t i = 0; i < PERCENTILE_COUNT; i++) {
        dp_buffer_append_format(out, "%-10s  %-30s %12.3f\n", i == 0 ? "latency ms" : "", percentiles[i].name,
                                percentile_ms(run, percentiles[i].per_mille));
    }
    dp_buffer_append_format(out, "attempts    %llu, of which %llu retries\n",
                            (unsigned long long)stats->attempts, (unsigned long long)stats->retries);
    dp_buffer_append_format(out, "breaker     %s; opened %llu, half-opened %llu, closed %llu times\n",
                            stats->breaker_state, (unsigned long long)stats->breaker_opened,
                            (unsigned long long)stats->breaker_half_opened,
                            (unsigned long long)stats->breaker_closed);
}

static void put_real(dp_json_writer *json, const char *key, double value)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%.3f", value);
    dp_json_key(json, key);
    dp_json_raw(json, dp_slice_make(text, (size_t)length));
}

static void append_json(const load_run *run, const dp_client_stats *stats, dp_buffer *out)
{
    dp_json_writer writer = dp_json_writer_compact(out);
    dp_json_writer *json = &writer;
    dp_json_begin_object(json);
    dp_json_member_u64(json, "operations", run->ended);
    dp_json_member_bool(json, "interrupted", run->ended < run->load->repeat);
    dp_json_member_u64(json, "failed", run->failed);
    dp_json_member_u64(json, "concurrency", run->load->concurrency);
    put_real(json, "seconds", (double)run->took_us / 1e6);
    dp_json_key(json, "outcomes");
    dp_json_begin_array(json);
    for (size_t i = 0; i < run->outcome_count; i++) {
        const outcome_count *outcome = &run->outcomes[i];
        dp_json_begin_object(json);
        dp_json_member_text(json, "kind",
                            outcome->kind == DP_CLIENT_OK ? NULL : dp_client_kind_name(outcome->kind));
        dp_json_key(json, "status");
        if (outcome->http_status == 0) {
            dp_json_null(json);
        } else {
            dp_json_i64(json, outcome->http_status);
        }
        dp_json_member_u64(json, "count", outcome->count);
        dp_json_end_object(json);
    }
    dp_json_end_array(json);
    dp_json_key(json, "latency_ms");
    dp_json_begin_object(json);
    for (size_t i = 0; i < PERCENTILE_COUNT; i++) {
        put_real(json, percentiles[i].key, percentile_ms(run, percentiles[i].per_mille));
    }
    dp_json_end_object(json);
    dp_json_member_u64(json, "attempts", stats->attempts);
    dp_json_member_u64(json, "retries", stats->retries);
    dp_json_key(json, "breaker");
    dp_json_begin_object(json);
    dp_json_member_text(json, "state", stats->breaker_state);
    dp_json_member_u64(json, "opened", stats->breaker_opened);
    dp_json_member_u64(json, "half_opened", stats->breaker_half_opened);
    dp_json_member_u64(json, "closed", stats->breaker_closed);
    dp_json_end_object(json);
    dp_json_end_object(json);
    dp_buffer_append_byte(out, '\n');
}

dp_status dp_client_load_run(dp_client *client, const dp_client_request *request, const dp_client_load *load,
                             dp_buffer *out, int *worst, dp_error *error)
{
    load_run *run = calloc(1, sizeof *run);
    uint32_t *latencies_us = calloc(load->repeat, sizeof *latencies_us);
    dp_status status =
        run == NULL || latencies_us == NULL ? dp_error_no_memory(error, "the latencies") : DP_STATUS_OK;
    if (status == DP_STATUS_OK) {
        *run = (load_run){.load = load,
                          .client = client,
                          .latencies_us = latencies_us,
                          .begun_us = dp_clock_monotonic_us()};
        status = dp_client_queue_new(client, &run->queue, error);
    }
    if (status == DP_STATUS_OK) {
        install_interrupt();
        status = run_all(run, request, error);
        run->took_us = dp_clock_monotonic_us() - run->begun_us;
        show_progress(run, true);
        dp_client_queue_free(run->queue);
    }
    if (status == DP_STATUS_OK) {
        dp_client_stats stats;
        dp_client_stats_read(client, &stats);
        qsort(latencies_us, run->ended, sizeof *latencies_us, compare_latencies);
        qsort(run->outcomes, run->outcome_count, sizeof run->outcomes[0], compare_outcomes);
        if (load->json) {
            append_json(run, &stats, out);
        } else {
            append_table(run, &stats, out);
        }
        *worst = run->worst;
    }
    free(latencies_us);
    free(run);
    return status;
}
