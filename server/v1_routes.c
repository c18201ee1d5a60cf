#include "server/v1_routes.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json_scanner.h"
#include "server/access.h"
#include "server/events_route.h"
#include "server/v1_job.h"

enum {
    MAX_JSON_BODY_BYTES = 1 << 20,
    /* A refused request with a body up to this is read to its end first, so that its sender can read why. */
    MAX_DISCARDED_BODY_BYTES = 1 << 16,
    MAX_POISON_BYTES = 32 << 20,
    MAX_AFTER_BYTES = 255,
    FAULT_LOG_US = 1000000,
    FOLLOW_MS = 5000,   /* how long a batch waits for the one before it */
    FOLLOW_LOOK_MS = 50 /* how often it looks whether another server has stored that one */
};

bool dp_v1_owns(dp_route route)
{
    switch (route) {
    case DP_ROUTE_READY:
    case DP_ROUTE_PIPELINES:
    case DP_ROUTE_PIPELINE:
    case DP_ROUTE_BATCHES:
    case DP_ROUTE_EVENTS:
    case DP_ROUTE_CONSUMERS:
    case DP_ROUTE_CONSUMER_GET:
    case DP_ROUTE_CONSUMER_PUT:
    case DP_ROUTE_CONSUMER_DELETE:
    case DP_ROUTE_OFFSETS:
    case DP_ROUTE_OFFSET_GET:
    case DP_ROUTE_OFFSET_PUT:
    case DP_ROUTE_OFFSET_DELETE:
    case DP_ROUTE_SOURCE_PUT:
    case DP_ROUTE_QUARANTINE:
    case DP_ROUTE_QUARANTINE_ADD:
    case DP_ROUTE_QUARANTINE_RESOLVE:
    case DP_ROUTE_AUDIT:
    case DP_ROUTE_AUDIT_ADD:
    case DP_ROUTE_REPLAY_PLANS:
    case DP_ROUTE_COMMIT_DECISIONS: return true;
    case DP_ROUTE_MSG:
    case DP_ROUTE_HEALTH:
    case DP_ROUTE_FAIL_COUNT:
    case DP_ROUTE_FAIL_DURATION:
    case DP_ROUTE_FAIL_RESET:
    case DP_ROUTE_FAIL_STATUS:
    case DP_ROUTE_METRICS:
    case DP_ROUTE_OPENAPI:
    case DP_ROUTE_DOCS:
    case DP_ROUTE_REDOC:
    case DP_ROUTE_COUNT: break;
    }
    return false;
}

static bool writes(dp_route route)
{
    return strcmp(dp_route_method(route), "GET") != 0;
}

/* ---- before the body ---- */

static bool was_forwarded(const dp_http_request *request)
{
    dp_slice ignored;
    return dp_http_request_header(request, "Forwarded", &ignored) ||
           dp_http_request_has_header_prefix(request, "X-Forwarded-");
}

static dp_access decide_access(const dp_exchange *exchange)
{
    const dp_http_request *request = exchange->request;
    dp_slice ignored;
    dp_access_facts facts = {.peer_is_loopback = dp_http_request_is_loopback(request),
                             .was_forwarded = was_forwarded(request),
                             .has_origin = dp_http_request_header(request, "Origin", &ignored),
                             .authorization_count = dp_http_request_header_count(request, "Authorization")};
    dp_http_request_header(request, "Host", &facts.host);
    dp_http_request_header(request, "Authorization", &facts.authorization);
    return dp_access_decide(dp_slice_of_text(exchange->application->token), &facts);
}

static bool has_media_type(const dp_exchange *exchange, const char *wanted)
{
    dp_slice value;
    dp_slice type;
    dp_slice parameters;
    if (dp_http_request_header_count(exchange->request, "Content-Type") != 1 ||
        !dp_http_request_header(exchange->request, "Content-Type", &value))
        return false;
    dp_slice_split(value, ';', &type, &parameters);
    return dp_slice_equal_ignoring_case(dp_slice_trim(type), dp_slice_of_text(wanted));
}

static const char *media_type_of(dp_route route)
{
    return route == DP_ROUTE_BATCHES ? "application/x-ndjson" : "application/json";
}

static dp_v1_refusal decide(const dp_exchange *exchange)
{
    dp_route route = exchange->route;
    if (route == DP_ROUTE_READY) return DP_V1_ACCEPTED;
    switch (decide_access(exchange)) {
    case DP_ACCESS_GRANTED: break;
    case DP_ACCESS_TOKEN_REQUIRED: return DP_V1_TOKEN_REQUIRED;
    case DP_ACCESS_TOKEN_MISSING:
    case DP_ACCESS_TOKEN_WRONG: return DP_V1_UNAUTHORIZED;
    }
    if (exchange->application->journal == NULL) return DP_V1_NO_STATE;
    bool may_be_empty = strcmp(dp_route_method(route), "DELETE") == 0;
    bool needs_type = writes(route) && (!may_be_empty || dp_http_request_has_body(exchange->request));
    return needs_type && !has_media_type(exchange, media_type_of(route)) ? DP_V1_MEDIA_TYPE : DP_V1_ACCEPTED;
}

static void respond_refusal(dp_exchange *exchange)
{
    dp_http_response response = {.status = 401};
    char text[120];
    switch (exchange->refusal) {
    case DP_V1_ACCEPTED: break;
    case DP_V1_TOKEN_REQUIRED:
        dp_exchange_respond_code(
            exchange, 403, "token_required",
            "Without a configured token only plain requests from this machine are answered");
        break;
    case DP_V1_UNAUTHORIZED:
        dp_http_response_add(&response, "WWW-Authenticate", "Bearer");
        dp_exchange_respond(exchange, &response, "application/json",
                            DP_SLICE_LITERAL("{\"detail\":\"A valid bearer token is required\","
                                             "\"code\":\"unauthorized\"}"));
        break;
    case DP_V1_NO_STATE:
        dp_exchange_respond_code(exchange, 503, "no_state", "The server runs without a state (--state none)");
        break;
    case DP_V1_MEDIA_TYPE:
        snprintf(text, sizeof text, "Content-Type must be %s", media_type_of(exchange->route));
        dp_exchange_respond_code(exchange, 415, "unsupported_media_type", text);
        break;
    }
}

void dp_v1_on_headers(dp_exchange *exchange)
{
    exchange->refusal = decide(exchange);
    bool carries_events = exchange->route == DP_ROUTE_BATCHES || exchange->route == DP_ROUTE_QUARANTINE_ADD;
    /* A change is in quarantine because it was too large, perhaps. */
    bool is_poison = exchange->route == DP_ROUTE_QUARANTINE_ADD &&
                     exchange->application->max_batch_bytes < MAX_POISON_BYTES;
    size_t limit = is_poison        ? MAX_POISON_BYTES
                   : carries_events ? exchange->application->max_batch_bytes
                                    : (size_t)MAX_JSON_BODY_BYTES;
    if (exchange->refusal == DP_V1_ACCEPTED) {
        dp_http_accept_body(exchange->request, writes(exchange->route) ? limit : MAX_DISCARDED_BODY_BYTES);
    } else if (dp_http_request_body_length(exchange->request) <= MAX_DISCARDED_BODY_BYTES) {
        dp_http_accept_body(exchange->request, MAX_DISCARDED_BODY_BYTES);
    } else {
        respond_refusal(exchange);
    }
}

/* ---- on a worker ---- */

static dp_offset_name offset_name(dp_v1_job *job)
{
    return (dp_offset_name){.pipeline = job->pipeline,
                            .backend = dp_v1_job_parameter(job, 1),
                            .source_schema = dp_v1_job_parameter(job, 2),
                            .source_table = dp_v1_job_parameter(job, 3)};
}

static dp_consumer_choice consumer_choice(dp_v1_job *job)
{
    return (dp_consumer_choice){.pipeline = job->pipeline,
                                .consumer = dp_v1_job_parameter(job, 1),
                                .source = dp_v1_job_query(job, "source"),
                                .backend = dp_v1_job_query(job, "backend")};
}

/* Adds what a receipt says to the counters. */
static void count_receipt(dp_metrics *metrics, const dp_api_reply *reply)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, dp_buffer_slice(&reply->body));
    dp_json_kind kind;
    _Atomic uint64_t *counter = NULL;
    while ((kind = dp_json_next(&scanner, &token)) != DP_JSON_END && kind != DP_JSON_ERROR) {
        uint64_t value;
        if (kind == DP_JSON_NUMBER && counter != NULL && dp_slice_to_u64(token.text, UINT64_MAX, &value))
            dp_metric_add(counter, value);
        counter = NULL;
        if (kind == DP_JSON_KEY && dp_slice_equal_text(token.text, "accepted"))
            counter = &metrics->events_ingested;
        if (kind == DP_JSON_KEY && dp_slice_equal_text(token.text, "duplicates"))
            counter = &metrics->events_duplicate;
    }
    dp_metric_add(&metrics->batches_committed, 1);
}

/* The batch that this one comes after. False when the reply refuses the header. */
static bool read_after(const dp_exchange *exchange, dp_slice *after, dp_api_reply *reply)
{
    if (!dp_http_request_header(exchange->request, "Dpone-After", after)) return true;
    bool valid = dp_http_request_header_count(exchange->request, "Dpone-After") == 1 && after->length > 0 &&
                 after->length <= MAX_AFTER_BYTES;
    for (size_t i = 0; valid && i < after->length; i++) {
        valid = after->data[i] >= 0x21 && after->data[i] <= 0x7e;
    }
    if (!valid)
        dp_api_reply_error(reply, 400, "after_invalid",
                           "Dpone-After must be one header of 1 to 255 visible ASCII characters");
    return valid;
}

static void wake_follower(dp_batch_waiter *waiter)
{
    dp_exchange *exchange = (dp_exchange *)(void *)((char *)waiter - offsetof(dp_exchange, waiter));
    dp_worker_pool_submit(exchange->application->writers, exchange->follower, true);
}

typedef enum follow { FOLLOW_NOW, FOLLOW_LATER, FOLLOW_NEVER } follow;

/* LATER: the exchange is parked, perhaps even at work again on another thread, and not to be touched. */
static follow ask_to_follow(dp_v1_job *job, dp_slice after, dp_slice body, dp_api_reply *reply)
{
    dp_exchange *exchange = job->exchange;
    dp_journal_api *journal = exchange->application->journal;
    exchange->waiter.after = after;
    if (dp_http_request_has_left(exchange->request)) {
        /* Nobody reads the answer, and a later sender may have cut the stream elsewhere. */
        dp_journal_api_refuse_follower(&exchange->waiter, reply);
        return FOLLOW_NEVER;
    }
    bool is_late =
        dp_clock_monotonic_us() >= exchange->follow_until_us || atomic_load(&exchange->application->stopping);
    if (dp_journal_api_may_follow(journal, &exchange->waiter, body, !is_late)) return FOLLOW_NOW;
    if (!is_late) return FOLLOW_LATER;
    dp_journal_api_refuse_follower(&exchange->waiter, reply);
    return FOLLOW_NEVER;
}

void dp_v1_on_timer(dp_exchange *exchange)
{
    dp_http_set_timer(exchange->request, dp_http_request_now_us(exchange->request) + FOLLOW_LOOK_MS * 1000);
    if (dp_journal_api_unpark(exchange->application->journal, &exchange->waiter))
        dp_worker_pool_submit(exchange->application->writers, exchange->follower, true);
}

static bool ingest(dp_v1_job *job, dp_slice body, dp_api_reply *reply)
{
    dp_exchange *exchange = job->exchange;
    dp_slice after = {NULL, 0};
    if (!read_after(exchange, &after, reply)) return true;
    if (after.data != NULL) {
        follow how = ask_to_follow(job, after, body, reply);
        if (how != FOLLOW_NOW) return how == FOLLOW_NEVER;
    }
    dp_slice key = {NULL, 0};
    size_t count = dp_http_request_header_count(exchange->request, "Idempotency-Key");
    dp_http_request_header(exchange->request, "Idempotency-Key", &key);
    dp_application *application = exchange->application;
    dp_journal_api_ingest(application->journal, job->pipeline, key, (unsigned)count, body, reply);
    if (reply->http_status != 200 || reply->replayed) return true;
    count_receipt(&application->metrics, reply);
    dp_events_route_wake(application, dp_waiting_readers_wake(application->waiting, job->pipeline));
    return true;
}

/* False: there is no answer yet, and the job may be at work on another thread by now. */
static bool call_journal(dp_v1_job *job, dp_api_reply *reply)
{
    dp_exchange *exchange = job->exchange;
    dp_journal_api *journal = exchange->application->journal;
    dp_slice body = dp_http_request_body(exchange->request);
    dp_offset_name name;
    dp_consumer_choice consumer;
    switch (exchange->route) {
    case DP_ROUTE_READY: dp_journal_api_check_ready(journal, reply); return true;
    case DP_ROUTE_PIPELINES: dp_journal_api_list_pipelines(journal, reply); return true;
    case DP_ROUTE_PIPELINE: dp_journal_api_show_pipeline(journal, job->pipeline, reply); return true;
    case DP_ROUTE_BATCHES: return ingest(job, body, reply);
    case DP_ROUTE_OFFSETS: dp_journal_api_list_offsets(journal, job->pipeline, reply); return true;
    case DP_ROUTE_SOURCE_PUT: dp_journal_api_put_source(journal, job->pipeline, body, reply); return true;
    case DP_ROUTE_QUARANTINE:
        dp_journal_api_list_quarantine(journal, job->pipeline, dp_v1_job_query(job, "after"), reply);
        return true;
    case DP_ROUTE_QUARANTINE_ADD:
        dp_journal_api_add_quarantine(journal, job->pipeline, body, reply);
        return true;
    case DP_ROUTE_QUARANTINE_RESOLVE:
        dp_journal_api_resolve_quarantine(journal, job->pipeline, body, reply);
        return true;
    case DP_ROUTE_AUDIT:
        dp_journal_api_list_audit(journal, job->pipeline, dp_v1_job_query(job, "before"), reply);
        return true;
    case DP_ROUTE_AUDIT_ADD: dp_journal_api_add_audit(journal, job->pipeline, body, reply); return true;
    case DP_ROUTE_REPLAY_PLANS: dp_journal_api_plan_replay(journal, body, reply); return true;
    case DP_ROUTE_COMMIT_DECISIONS: dp_journal_api_decide_commit(journal, body, reply); return true;
    case DP_ROUTE_OFFSET_GET:
        name = offset_name(job);
        dp_journal_api_get_offset(journal, &name, reply);
        return true;
    case DP_ROUTE_OFFSET_PUT:
        name = offset_name(job);
        dp_journal_api_put_offset(journal, &name, body, reply);
        return true;
    case DP_ROUTE_OFFSET_DELETE:
        name = offset_name(job);
        dp_journal_api_delete_offset(journal, &name, body, reply);
        return true;
    case DP_ROUTE_CONSUMERS: dp_journal_api_list_consumers(journal, job->pipeline, reply); return true;
    case DP_ROUTE_CONSUMER_GET:
        consumer = consumer_choice(job);
        dp_journal_api_get_consumer(journal, &consumer, reply);
        return true;
    case DP_ROUTE_CONSUMER_PUT:
        consumer = consumer_choice(job);
        dp_journal_api_put_consumer(journal, &consumer, body, reply);
        return true;
    case DP_ROUTE_CONSUMER_DELETE:
        consumer = consumer_choice(job);
        dp_journal_api_delete_consumer(journal, &consumer, body, reply);
        return true;
    case DP_ROUTE_EVENTS:
    case DP_ROUTE_MSG:
    case DP_ROUTE_HEALTH:
    case DP_ROUTE_FAIL_COUNT:
    case DP_ROUTE_FAIL_DURATION:
    case DP_ROUTE_FAIL_RESET:
    case DP_ROUTE_FAIL_STATUS:
    case DP_ROUTE_METRICS:
    case DP_ROUTE_OPENAPI:
    case DP_ROUTE_DOCS:
    case DP_ROUTE_REDOC:
    case DP_ROUTE_COUNT: break;
    }
    dp_api_reply_error(reply, 500, "internal", "A route without an action");
    return true;
}

/* One line a second: every sender meets the same fault, again and again. */
static void log_fault(dp_exchange *exchange, const dp_api_reply *reply)
{
    dp_application *application = exchange->application;
    int64_t now_us = dp_clock_monotonic_us();
    int64_t due_us = atomic_load(&application->fault_log_due_us);
    if (now_us < due_us ||
        !atomic_compare_exchange_strong(&application->fault_log_due_us, &due_us, now_us + FAULT_LOG_US))
        return;
    dp_log_entry(application->log, DP_LOG_ERROR, "server.state", "the state does not serve",
                 dp_log_text("code", reply->code), dp_log_text("error", reply->fault),
                 dp_log_text("correlation_id", exchange->correlation_id));
}

void dp_exchange_respond_reply(dp_exchange *exchange, const dp_api_reply *reply)
{
    char retry_after[16], batch_bytes[24], event_bytes[24];
    dp_http_response response = {.status = reply->http_status};
    if (reply->fault[0] != '\0') log_fault(exchange, reply);
    if (reply->body.failed) {
        dp_exchange_respond_code(exchange, 503, "out_of_memory", "The answer did not fit into memory");
        return;
    }
    if (reply->retry_after_s > 0) {
        snprintf(retry_after, sizeof retry_after, "%u", reply->retry_after_s);
        dp_http_response_add(&response, "Retry-After", retry_after);
    }
    if (reply->replayed) dp_http_response_add(&response, "Idempotency-Replayed", "true");
    if (exchange->route == DP_ROUTE_OFFSET_GET) { /* where a sender begins: it learns what it may send */
        const dp_journal_api *journal = exchange->application->journal;
        snprintf(batch_bytes, sizeof batch_bytes, "%zu", dp_journal_api_max_batch_bytes(journal));
        snprintf(event_bytes, sizeof event_bytes, "%zu", dp_journal_api_max_event_bytes(journal));
        dp_http_response_add(&response, "Dpone-Max-Batch-Bytes", batch_bytes);
        dp_http_response_add(&response, "Dpone-Max-Event-Bytes", event_bytes);
    }
    if (exchange->route == DP_ROUTE_BATCHES) dp_http_response_add(&response, "Dpone-Keeps-Order", "true");
    dp_exchange_respond(exchange, &response, reply->content_type, dp_buffer_slice(&reply->body));
}

/* One that follows another has a time limit of its own. */
static bool waited_too_long(const dp_v1_job *job)
{
    int64_t most_us = (int64_t)dp_journal_api_wait_ms(job->exchange->application->journal) * 1000;
    return !job->exchange->follows && dp_clock_monotonic_us() - job->made_at_us > most_us;
}

static void run_job(dp_worker_job *own)
{
    dp_v1_job *job = (dp_v1_job *)(void *)own;
    dp_api_reply reply = DP_API_REPLY_INIT;
    if (waited_too_long(job)) {
        reply.retry_after_s = 1;
        dp_api_reply_error(&reply, 503, "store_busy", "the journal is busy with other requests");
    } else if (!call_journal(job, &reply)) {
        dp_api_reply_release(&reply);
        return;
    }
    dp_exchange_respond_reply(job->exchange, &reply);
    dp_api_reply_release(&reply);
    dp_v1_job_free(job);
}

void dp_v1_on_request(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    if (exchange->refusal != DP_V1_ACCEPTED) {
        respond_refusal(exchange);
        return;
    }
    if (application->journal == NULL) {
        dp_exchange_respond_json(
            exchange, 200,
            DP_SLICE_LITERAL("{\"status\":\"ready\",\"state\":\"none\",\"version\":\"" DPONE_VERSION "\"}"));
        return;
    }
    if (exchange->route == DP_ROUTE_EVENTS) {
        dp_events_route_begin(exchange);
        return;
    }
    dp_v1_job *job = dp_v1_job_new(exchange, run_job);
    if (job == NULL) {
        dp_exchange_respond_code(exchange, 503, "out_of_memory", "Out of memory");
        return;
    }
    dp_worker_pool *pool = writes(exchange->route) ? application->writers : application->readers;
    dp_slice after;
    exchange->follows = exchange->route == DP_ROUTE_BATCHES &&
                        dp_http_request_header(exchange->request, "Dpone-After", &after);
    if (exchange->follows) {
        exchange->waiter = (dp_batch_waiter){.pipeline = job->pipeline, .wake = wake_follower};
        dp_metric_add(&application->metrics.waiting_batches, 1);
        exchange->follower = &job->job;
        int64_t now_us = dp_http_request_now_us(exchange->request);
        exchange->follow_until_us = now_us + FOLLOW_MS * 1000;
        dp_http_set_timer(exchange->request, now_us + FOLLOW_LOOK_MS * 1000);
    }
    dp_http_hand_over(exchange->request);
    if (dp_worker_pool_submit(pool, &job->job, false)) return;
    dp_v1_job_free(job);
    dp_exchange_respond_busy(exchange, "busy", "Too many requests wait for the state");
}
