#include "server/events_route.h"

#include "server/events_stream.h"
#include "server/v1_job.h"

enum { LOOK_INTERVAL_US = 1000000 };

static void respond_nothing(dp_exchange *exchange)
{
    dp_http_response response = {.status = 200};
    dp_exchange_respond(exchange, &response, "application/x-ndjson", dp_slice_make("", 0));
}

/* Whoever frees the job has answered, or answers next: nothing else knows of it any more. */
static dp_exchange *end_job(dp_waiting_reader *waiting)
{
    dp_v1_job *job = waiting->context;
    dp_exchange *exchange = job->exchange;
    dp_v1_job_free(job);
    return exchange;
}

/* Nothing was found. False: something was written meanwhile. */
static bool park(dp_v1_job *job, uint64_t generation, uint64_t mark)
{
    dp_exchange *exchange = job->exchange;
    dp_application *application = exchange->application;
    exchange->waiting.context = job;
    switch (
        dp_waiting_readers_park(application->waiting, &exchange->waiting, job->pipeline, generation, mark)) {
    case DP_WAITING_PARKED: /* `job` and `exchange` may be gone by now */
        dp_metric_add(&application->metrics.readers_suspended, 1);
        dp_journal_watch_begin(application->watch);
        return true;
    case DP_WAITING_CHANGED: return false;
    case DP_WAITING_OVER: respond_nothing(exchange); break;
    case DP_WAITING_FULL:
        dp_metric_add(&application->metrics.readers_refused, 1);
        dp_exchange_respond_busy(exchange, "too_many_waiting", "Too many readers wait for events");
        break;
    }
    dp_v1_job_free(job);
    return true;
}

static dp_events_query query_of(dp_v1_job *job)
{
    return (dp_events_query){.consumer = dp_v1_job_query(job, "consumer"),
                             .from = dp_v1_job_query(job, "from"),
                             .to = dp_v1_job_query(job, "to"),
                             .limit = dp_v1_job_query(job, "limit"),
                             .source = dp_v1_job_query(job, "source"),
                             .backend = dp_v1_job_query(job, "backend")};
}

static void run(dp_worker_job *own)
{
    dp_v1_job *job = (dp_v1_job *)(void *)own;
    dp_exchange *exchange = job->exchange;
    dp_waiting_readers *readers = exchange->application->waiting;
    size_t decoded_bytes = job->decoded.length;
    bool is_done = false;
    while (!is_done) {
        uint64_t mark;
        uint64_t generation = dp_waiting_readers_generation(readers, job->pipeline);
        const dp_events_query query = query_of(job);
        bool is_answered =
            dp_events_stream_answer(exchange, job->pipeline, &query, exchange->may_wait ? &mark : NULL);
        job->decoded.length = decoded_bytes; /* for the next time */
        if (is_answered) dp_v1_job_free(job);
        is_done = is_answered || park(job, generation, mark);
    }
}

/* False after a 400. */
static bool read_wait(dp_exchange *exchange, uint32_t *wait_s)
{
    dp_slice text;
    *wait_s = 0;
    if (!dp_query_last(dp_http_request_query(exchange->request), "wait", &text)) return true;
    if (dp_request_number(text, DP_EVENTS_MAX_WAIT_S, wait_s) == DP_NUMBER_OK) return true;
    dp_exchange_respond_code(exchange, 400, "wait_malformed", "wait: expected whole seconds from 0 to 60");
    return false;
}

/* A suspended connection is not watched, so it is looked at now and then whether the reader is still there.
 */
static void set_timer(dp_exchange *exchange)
{
    int64_t at_us = dp_http_request_now_us(exchange->request) + LOOK_INTERVAL_US;
    dp_http_set_timer(exchange->request, at_us < exchange->wait_until_us ? at_us : exchange->wait_until_us);
}

void dp_events_route_begin(dp_exchange *exchange)
{
    uint32_t wait_s;
    if (!read_wait(exchange, &wait_s)) return;
    exchange->may_wait = wait_s > 0;
    dp_v1_job *job = dp_v1_job_new(exchange, run);
    if (job == NULL) {
        dp_exchange_respond_code(exchange, 503, "out_of_memory", "Out of memory");
        return;
    }
    dp_http_request *request = exchange->request;
    dp_http_hand_over(request);
    exchange->wait_until_us = dp_http_request_now_us(request) + wait_s * INT64_C(1000000);
    if (wait_s > 0) set_timer(exchange);
    if (dp_worker_pool_submit(exchange->application->readers, &job->job, false)) return;
    dp_v1_job_free(job);
    dp_exchange_respond_busy(exchange, "busy", "Too many requests wait for the state");
}

void dp_events_route_timer(dp_exchange *exchange)
{
    bool is_over = dp_http_request_now_us(exchange->request) >= exchange->wait_until_us ||
                   dp_http_request_has_left(exchange->request);
    if (!is_over) {
        set_timer(exchange);
        return;
    }
    if (dp_waiting_readers_expire(exchange->application->waiting, &exchange->waiting))
        respond_nothing(end_job(&exchange->waiting));
}

void dp_events_route_wake(dp_application *application, dp_waiting_reader *list)
{
    while (list != NULL) {
        dp_v1_job *job = list->context;
        list = list->next; /* the job may end it at once */
        dp_worker_pool_submit(application->readers, &job->job, true);
    }
}

void dp_events_route_stop(dp_application *application)
{
    if (application->waiting == NULL) return;
    dp_waiting_reader *list = dp_waiting_readers_stop(application->waiting);
    while (list != NULL) {
        dp_waiting_reader *next = list->next;
        respond_nothing(end_job(list));
        list = next;
    }
}
