/* GET /msg: validation, slot, failure check, cache (join or lead), delay, answer. In this order.
 *
 * A request that joins another gives its slot back while it waits and keeps its own deadline. Everything that
 * other requests can see changes under the application's lock; a request of another event thread is only
 * marked and woken, it answers on its own thread.
 */
#include "server/exchange.h"
#include "server/request_target.h"

enum { MAX_DELAY_MS = 30000 };

#define OF_ADMISSION(waiter)   ((dp_exchange *)(void *)((char *)(waiter)-offsetof(dp_exchange, admission)))
#define OF_IDEMPOTENCY(waiter) ((dp_exchange *)(void *)((char *)(waiter)-offsetof(dp_exchange, idempotency)))

static dp_log_field id_field(const dp_exchange *exchange)
{
    return dp_log_slice("request_id", exchange->request_id);
}

static dp_log_field correlation_field(const dp_exchange *exchange)
{
    return dp_log_text("correlation_id", exchange->correlation_id);
}

static void respond_value(dp_exchange *exchange)
{
    /* Formatting by hand: this is the answer whose rate people measure. */
    char json[] = "{\"message_id\":\"00000000-0000-0000-0000-000000000000\"}";
    memcpy(json + strlen("{\"message_id\":\""), exchange->value, DP_UUID_TEXT_BYTES - 1);
    dp_exchange_respond_json(exchange, 200, dp_slice_make(json, sizeof json - 1));
}

static void respond_timeout(dp_exchange *exchange)
{
    dp_metric_add(&exchange->application->metrics.request_timeouts, 1);
    dp_exchange_respond_detail(exchange, 408, "Request timeout");
}

/* ---- with the lock held ---- */

static void admit(dp_exchange *exchange)
{
    exchange->holds_slot = true;
    exchange->stage = DP_MSG_ADMITTED;
    dp_http_wake(exchange->request);
}

void dp_msg_admit_waiting(dp_application *application)
{
    dp_admission_waiter *waiter;
    while ((waiter = dp_admission_next(&application->admission)) != NULL) {
        admit(OF_ADMISSION(waiter));
    }
}

static void leave_slot(dp_exchange *exchange)
{
    if (!exchange->holds_slot) return;
    exchange->holds_slot = false;
    dp_admission_waiter *next = dp_admission_leave(&exchange->application->admission);
    if (next != NULL) admit(OF_ADMISSION(next));
}

/* The next in line leads now; it needs a slot for that and has waited longest. */
static void promote(dp_application *application, dp_idempotency_waiter *heir)
{
    if (heir == NULL) return;
    dp_exchange *exchange = OF_IDEMPOTENCY(heir);
    exchange->stage = DP_MSG_HEIR;
    exchange->was_heir = true;
    if (dp_admission_enter_front(&application->admission, &exchange->admission) == DP_ADMISSION_ADMITTED)
        admit(exchange);
}

/* Takes the request out of everything it is part of. */
static void detach(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    exchange->stage = DP_MSG_NONE;
    dp_admission_cancel(&application->admission, &exchange->admission);
    leave_slot(exchange);
    promote(application, dp_idempotency_cache_abandon(application->cache, &exchange->idempotency));
}

static void finish(dp_exchange *exchange, int64_t now_us)
{
    dp_application *application = exchange->application;
    dp_uuid_v4(exchange->value);
    exchange->stage = DP_MSG_NONE;
    if (exchange->idempotency.leads) {
        dp_idempotency_waiter *follower =
            dp_idempotency_cache_finish(application->cache, &exchange->idempotency, exchange->value, now_us);
        while (follower != NULL) {
            dp_exchange *other = OF_IDEMPOTENCY(follower);
            follower = follower->next;
            memcpy(other->value, exchange->value, sizeof other->value);
            other->stage = DP_MSG_GIVEN;
            dp_http_wake(other->request);
        }
    }
    leave_slot(exchange);
}

typedef enum msg_result { MSG_WAITS, MSG_FAILS, MSG_HAS_VALUE, MSG_TIMED_OUT } msg_result;

static msg_result start_work(dp_exchange *exchange, int64_t now_us)
{
    if (exchange->delay_ms > 0) {
        exchange->stage = DP_MSG_DELAYED;
        exchange->delay_end_us = now_us + (int64_t)exchange->delay_ms * 1000;
        return MSG_WAITS;
    }
    finish(exchange, now_us);
    return MSG_HAS_VALUE;
}

/* The request holds a slot. */
static msg_result run_admitted(dp_exchange *exchange, int64_t now_us)
{
    dp_application *application = exchange->application;
    if (exchange->was_heir) return start_work(exchange, now_us);
    if (dp_failure_state_take(&application->failure, now_us)) {
        exchange->stage = DP_MSG_NONE;
        leave_slot(exchange);
        return MSG_FAILS;
    }
    if (exchange->request_id.length == 0) return start_work(exchange, now_us);
    switch (dp_idempotency_cache_begin(application->cache, exchange->request_id, now_us,
                                       &exchange->idempotency, exchange->value)) {
    case DP_IDEMPOTENCY_HIT:
        exchange->stage = DP_MSG_NONE;
        leave_slot(exchange);
        return MSG_HAS_VALUE;
    case DP_IDEMPOTENCY_JOIN:
        exchange->stage = DP_MSG_JOINED;
        leave_slot(exchange);
        return MSG_WAITS;
    case DP_IDEMPOTENCY_LEAD:
    case DP_IDEMPOTENCY_REFUSED: break;
    }
    return start_work(exchange, now_us);
}

/* ---- without it ---- */

static int64_t next_time_us(const dp_exchange *exchange)
{
    bool delayed = exchange->stage == DP_MSG_DELAYED;
    return delayed && exchange->delay_end_us < exchange->deadline_us ? exchange->delay_end_us
                                                                     : exchange->deadline_us;
}

static void log_cache(const dp_exchange *exchange, const dp_idempotency_counts *before,
                      const dp_idempotency_counts *after)
{
    const char *text = after->hits > before->hits     ? "idempotency cache hit"
                       : after->joins > before->joins ? "joined the request in flight with the same id"
                                                      : "idempotency cache miss";
    dp_log_entry(exchange->application->log, DP_LOG_DEBUG, "server.cache", text, id_field(exchange),
                 correlation_field(exchange));
}

static void log_evictions(dp_application *application, const dp_idempotency_counts *before,
                          const dp_idempotency_counts *after)
{
    uint64_t by_size = after->evictions_size - before->evictions_size;
    uint64_t by_age = after->evictions_age - before->evictions_age;
    if (by_size + by_age == 0) return;
    dp_log_entry(application->log, DP_LOG_DEBUG, "server.cache", "idempotency cache eviction",
                 dp_log_integer("by_size", (int64_t)by_size), dp_log_integer("by_age", (int64_t)by_age),
                 dp_log_integer("entries", (int64_t)after->entries));
}

/* `at_us` is when to look again, for MSG_WAITS. */
static void apply(dp_exchange *exchange, msg_result result, int64_t at_us)
{
    dp_application *application = exchange->application;
    exchange->is_engaged = result == MSG_WAITS;
    switch (result) {
    case MSG_WAITS:
        dp_http_defer(exchange->request);
        dp_http_set_timer(exchange->request, at_us);
        break;
    case MSG_HAS_VALUE: respond_value(exchange); break;
    case MSG_TIMED_OUT: respond_timeout(exchange); break;
    case MSG_FAILS:
        dp_metric_add(&application->metrics.injected_failures, 1);
        dp_log_entry(application->log, DP_LOG_DEBUG, "server.failure", "injected a failure",
                     id_field(exchange), correlation_field(exchange));
        dp_exchange_respond_detail(exchange, 500, "Induced server failure");
        break;
    }
}

/* Goes on with a slot; the lock is held and released here. */
static void go_on_and_unlock(dp_exchange *exchange, int64_t now_us)
{
    dp_application *application = exchange->application;
    bool logs = dp_log_enabled(application->log, DP_LOG_DEBUG);
    bool asks_cache = !exchange->was_heir && exchange->request_id.length > 0;
    dp_idempotency_counts before = {0};
    dp_idempotency_counts after = {0};
    if (logs) before = dp_idempotency_cache_counts(application->cache);
    msg_result result = run_admitted(exchange, now_us);
    int64_t at_us = next_time_us(exchange);
    if (logs) after = dp_idempotency_cache_counts(application->cache);
    pthread_mutex_unlock(&application->lock);
    if (logs && asks_cache && result != MSG_FAILS) log_cache(exchange, &before, &after);
    if (logs) log_evictions(application, &before, &after);
    apply(exchange, result, at_us);
}

static void refuse(dp_exchange *exchange)
{
    dp_http_response response = {.status = 503};
    dp_http_response_add(&response, "Retry-After", "1");
    dp_metric_add(&exchange->application->metrics.queue_refused, 1);
    dp_exchange_respond(exchange, &response, "application/json",
                        DP_SLICE_LITERAL(
                            "{\"detail\":\"The request queue is full\",\"code\":\"queue_full\"}"));
}

static bool read_parameters(dp_exchange *exchange)
{
    dp_slice text;
    if (dp_query_last(dp_http_request_query(exchange->request), "delay", &text)) {
        dp_number_fault fault = dp_request_number(text, MAX_DELAY_MS, &exchange->delay_ms);
        if (fault != DP_NUMBER_OK) {
            dp_exchange_respond_invalid(exchange, "query", "delay", fault, MAX_DELAY_MS);
            return false;
        }
    }
    if (!dp_http_request_header(exchange->request, "X-Request-ID", &exchange->request_id))
        exchange->request_id = dp_slice_make("", 0);
    return true;
}

void dp_msg_begin(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    int64_t now_us = dp_http_request_now_us(exchange->request);
    if (!read_parameters(exchange)) return;
    pthread_mutex_lock(&application->lock);
    exchange->deadline_us =
        dp_http_request_started_us(exchange->request) + application->limits.request_timeout_us;
    exchange->queued_us = now_us;
    switch (dp_admission_enter(&application->admission, &exchange->admission)) {
    case DP_ADMISSION_ADMITTED:
        exchange->holds_slot = true;
        go_on_and_unlock(exchange, now_us);
        break;
    case DP_ADMISSION_QUEUED:
        exchange->stage = DP_MSG_QUEUED;
        pthread_mutex_unlock(&application->lock);
        apply(exchange, MSG_WAITS, exchange->deadline_us);
        dp_log_entry(application->log, DP_LOG_DEBUG, "server.concurrency", "waiting for a slot",
                     id_field(exchange), correlation_field(exchange));
        break;
    case DP_ADMISSION_REFUSED:
        pthread_mutex_unlock(&application->lock);
        refuse(exchange);
        break;
    }
}

void dp_msg_continue(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    int64_t now_us = dp_http_request_now_us(exchange->request);
    pthread_mutex_lock(&application->lock);
    if (exchange->stage == DP_MSG_GIVEN) {
        exchange->stage = DP_MSG_NONE;
        pthread_mutex_unlock(&application->lock);
        apply(exchange, MSG_HAS_VALUE, 0);
    } else if (exchange->stage == DP_MSG_ADMITTED) {
        dp_metrics_observe_wait(&application->metrics, now_us - exchange->queued_us);
        dp_log_entry(application->log, DP_LOG_DEBUG, "server.concurrency", "acquired a slot",
                     id_field(exchange), correlation_field(exchange),
                     dp_log_real("waited_ms", (double)(now_us - exchange->queued_us) / 1000));
        go_on_and_unlock(exchange, now_us);
    } else {
        pthread_mutex_unlock(&application->lock);
    }
}

void dp_msg_timer(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    int64_t now_us = dp_http_request_now_us(exchange->request);
    msg_result result = MSG_WAITS;
    pthread_mutex_lock(&application->lock);
    if (exchange->stage == DP_MSG_GIVEN) {
        exchange->stage = DP_MSG_NONE;
        result = MSG_HAS_VALUE;
    } else if (exchange->stage == DP_MSG_DELAYED && next_time_us(exchange) <= now_us &&
               exchange->delay_end_us <= exchange->deadline_us) {
        finish(exchange, now_us);
        result = MSG_HAS_VALUE;
    } else if (now_us >= exchange->deadline_us) {
        detach(exchange);
        result = MSG_TIMED_OUT;
    }
    int64_t at_us = next_time_us(exchange);
    pthread_mutex_unlock(&application->lock);
    apply(exchange, result, at_us);
}

void dp_msg_end(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    if (!exchange->is_engaged) return;
    pthread_mutex_lock(&application->lock);
    detach(exchange);
    pthread_mutex_unlock(&application->lock);
}
