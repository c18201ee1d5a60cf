#include "server/application.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/json_writer.h"
#include "server/assets.h"
#include "server/events_route.h"
#include "server/exchange.h"
#include "server/process_figures.h"
#include "server/request_target.h"
#include "server/v1_routes.h"

enum {
    MAX_FAIL_COUNT = 1000,
    MAX_FAIL_SECONDS = 3600,
    MAX_IGNORED_BODY_BYTES = 65536,
    LEAST_READER_THREADS = 4,
    LEAST_WRITER_THREADS = 3, /* also where one stores at a time: batches are parsed side by side */
    MAX_WAITING_JOBS = 1024
};

/* ---- answers ---- */

static bool origin_allowed(const char *list, dp_slice origin)
{
    if (list == NULL) return true;
    dp_slice rest = dp_slice_of_text(list);
    bool more = true;
    while (more) {
        dp_slice one;
        more = dp_slice_split(rest, ',', &one, &rest);
        one = dp_slice_trim(one);
        if (dp_slice_equal_text(one, "*") || dp_slice_equal_ignoring_case(one, origin)) return true;
    }
    return false;
}

/* Copies the request's origin into `out` when it may read our answers. */
static bool allowed_origin(dp_exchange *exchange, char *out, size_t capacity)
{
    dp_application *application = exchange->application;
    dp_slice origin;
    if (!atomic_load_explicit(&application->cors_enabled, memory_order_relaxed)) return false;
    if (!dp_http_request_header(exchange->request, "Origin", &origin) || origin.length >= capacity)
        return false;
    pthread_mutex_lock(&application->lock);
    bool allowed = origin_allowed(application->limits.cors_origins, origin);
    pthread_mutex_unlock(&application->lock);
    if (allowed) {
        memcpy(out, origin.data, origin.length);
        out[origin.length] = '\0';
    }
    return allowed;
}

void dp_exchange_add_headers(dp_exchange *exchange, dp_http_response *response, const char *content_type,
                             char *origin, size_t origin_capacity)
{
    dp_http_response_add(response, "X-Correlation-ID", exchange->correlation_id);
    if (content_type != NULL) dp_http_response_add(response, "Content-Type", content_type);
    if (atomic_load_explicit(&exchange->application->cors_enabled, memory_order_relaxed))
        dp_http_response_add(response, "Vary", "Origin");
    if (!allowed_origin(exchange, origin, origin_capacity)) return;
    dp_http_response_add(response, "Access-Control-Allow-Origin", origin);
    dp_http_response_add(response, "Access-Control-Expose-Headers",
                         "X-Correlation-ID, Dpone-Keeps-Order, Idempotency-Replayed, Retry-After");
}

void dp_exchange_respond(dp_exchange *exchange, dp_http_response *response, const char *content_type,
                         dp_slice body)
{
    char origin[512];
    dp_exchange_add_headers(exchange, response, content_type, origin, sizeof origin);
    response->body = body;
    dp_http_respond(exchange->request, response);
}

void dp_exchange_respond_json(dp_exchange *exchange, unsigned status, dp_slice json)
{
    dp_http_response response = {.status = status};
    dp_exchange_respond(exchange, &response, "application/json", json);
}

static void respond_code(dp_exchange *exchange, dp_http_response *response, const char *code,
                         const char *detail)
{
    dp_buffer json = DP_BUFFER_INIT(8192);
    dp_buffer_append_text(&json, "{\"detail\":");
    dp_json_put_string(&json, dp_slice_of_text(detail));
    if (code != NULL) {
        dp_buffer_append_text(&json, ",\"code\":");
        dp_json_put_string(&json, dp_slice_of_text(code));
    }
    dp_buffer_append_byte(&json, '}');
    dp_exchange_respond(exchange, response, "application/json", dp_buffer_slice(&json));
    dp_buffer_release(&json);
}

void dp_exchange_respond_code(dp_exchange *exchange, unsigned status, const char *code, const char *detail)
{
    dp_http_response response = {.status = status};
    respond_code(exchange, &response, code, detail);
}

void dp_exchange_respond_busy(dp_exchange *exchange, const char *code, const char *detail)
{
    dp_http_response response = {.status = 503};
    dp_http_response_add(&response, "Retry-After", "1");
    respond_code(exchange, &response, code, detail);
}

void dp_exchange_respond_detail(dp_exchange *exchange, unsigned status, const char *detail)
{
    dp_exchange_respond_code(exchange, status, NULL, detail);
}

void dp_exchange_respond_invalid(dp_exchange *exchange, const char *place, const char *name,
                                 dp_number_fault fault, uint32_t maximum)
{
    dp_buffer json = DP_BUFFER_INIT(1024);
    dp_buffer_append_format(&json, "{\"detail\":[{\"loc\":[\"%s\",\"%s\"],\"msg\":\"", place, name);
    switch (fault) {
    case DP_NUMBER_OK:
    case DP_NUMBER_NOT_A_NUMBER:
        dp_buffer_append_text(&json,
                              "Input should be a whole number in decimal digits\",\"type\":\"int_parsing");
        break;
    case DP_NUMBER_TOO_SMALL:
        dp_buffer_append_text(&json,
                              "Input should be greater than or equal to 0\",\"type\":\"greater_than_equal");
        break;
    case DP_NUMBER_TOO_LARGE:
        dp_buffer_append_format(
            &json, "Input should be less than or equal to %u\",\"type\":\"less_than_equal", maximum);
        break;
    }
    dp_buffer_append_text(&json, "\"}]}");
    dp_exchange_respond_json(exchange, 422, dp_buffer_slice(&json));
    dp_buffer_release(&json);
}

/* ---- the failure endpoints ---- */

/* The number in the path, or false after a 422. */
static bool path_number(dp_exchange *exchange, const char *name, uint32_t maximum, uint32_t *value)
{
    dp_number_fault fault = dp_request_number(exchange->match.parameters[0], maximum, value);
    if (fault == DP_NUMBER_OK) return true;
    dp_exchange_respond_invalid(exchange, "path", name, fault, maximum);
    return false;
}

static void answer_fail_count(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    uint32_t count;
    if (!path_number(exchange, "count", MAX_FAIL_COUNT, &count)) return;
    pthread_mutex_lock(&application->lock);
    dp_failure_state_set_count(&application->failure, count);
    pthread_mutex_unlock(&application->lock);
    dp_log_entry(application->log, DP_LOG_INFO, "server.failure", "failure mode activated",
                 dp_log_text("mode", "count"), dp_log_integer("count", count),
                 dp_log_text("correlation_id", exchange->correlation_id));
    char json[128];
    int length =
        snprintf(json, sizeof json,
                 "{\"message\":\"Server will fail the next %u requests\",\"fail_requests_count\":%u}", count,
                 count);
    dp_exchange_respond_json(exchange, 200, dp_slice_make(json, (size_t)length));
}

static void answer_fail_duration(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    uint32_t seconds;
    if (!path_number(exchange, "seconds", MAX_FAIL_SECONDS, &seconds)) return;
    pthread_mutex_lock(&application->lock);
    dp_failure_state_set_duration(&application->failure, seconds, dp_clock_monotonic_us(),
                                  dp_clock_wall_us());
    pthread_mutex_unlock(&application->lock);
    dp_log_entry(application->log, DP_LOG_INFO, "server.failure", "failure mode activated",
                 dp_log_text("mode", "duration"), dp_log_integer("seconds", seconds),
                 dp_log_text("correlation_id", exchange->correlation_id));
    char json[160];
    int length = snprintf(
        json, sizeof json,
        "{\"message\":\"Server will fail requests for the next %u seconds\",\"duration_seconds\":%u}",
        seconds, seconds);
    dp_exchange_respond_json(exchange, 200, dp_slice_make(json, (size_t)length));
}

static void answer_fail_reset(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    pthread_mutex_lock(&application->lock);
    dp_failure_state_reset(&application->failure);
    pthread_mutex_unlock(&application->lock);
    dp_log_entry(application->log, DP_LOG_INFO, "server.failure", "failure modes reset",
                 dp_log_text("correlation_id", exchange->correlation_id));
    dp_exchange_respond_json(exchange, 200,
                             DP_SLICE_LITERAL("{\"message\":\"All failure modes have been reset\","
                                              "\"status\":\"normal_operation\"}"));
}

static void answer_fail_status(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    int64_t now_us = dp_clock_monotonic_us();
    pthread_mutex_lock(&application->lock);
    dp_failure_state state = application->failure;
    pthread_mutex_unlock(&application->lock);
    const char *failing = dp_failure_state_is_failing(&state, now_us) ? "true" : "false";
    char until[40] = "null";
    if (state.has_until) snprintf(until, sizeof until, "%.3f", (double)state.until_wall_us / 1e6);
    char json[320];
    int length = snprintf(json, sizeof json,
                          "{\"failure_status\":{\"fail_requests_count\":%u,\"fail_until_timestamp\":%s,"
                          "\"duration_remaining_seconds\":%.3f,\"currently_failing\":%s},"
                          "\"currently_failing\":%s}",
                          state.remaining_count, until,
                          (double)dp_failure_state_remaining_us(&state, now_us) / 1e6, failing, failing);
    dp_exchange_respond_json(exchange, 200, dp_slice_make(json, (size_t)length));
}

/* ---- health and metrics ---- */

static void answer_health(dp_exchange *exchange)
{
    char json[80];
    int64_t up_us = dp_clock_monotonic_us() - exchange->application->started_us;
    int length =
        snprintf(json, sizeof json, "{\"status\":\"ok\",\"uptime_seconds\":%.2f}", (double)up_us / 1e6);
    dp_exchange_respond_json(exchange, 200, dp_slice_make(json, (size_t)length));
}

static void answer_metrics(dp_exchange *exchange)
{
    dp_application *application = exchange->application;
    dp_metric_gauges gauges = {0};
    dp_process_figures_read(&gauges);
    gauges.uptime_seconds = (double)(dp_clock_monotonic_us() - application->started_us) / 1e6;
    gauges.start_time_seconds = (double)application->started_wall_us / 1e6;
    if (application->waiting != NULL) gauges.waiting_readers = dp_waiting_readers_count(application->waiting);
    gauges.log_lines_dropped = dp_log_dropped_count(application->log);
    dp_http_server *http = atomic_load(&application->http);
    if (http != NULL) gauges.open_connections = dp_http_server_connection_count(http);
    pthread_mutex_lock(&application->lock);
    gauges.queue_depth = application->admission.queued;
    gauges.active_requests = application->admission.active;
    gauges.max_concurrency = application->admission.limit;
    gauges.cache = dp_idempotency_cache_counts(application->cache);
    pthread_mutex_unlock(&application->lock);
    dp_buffer text = DP_BUFFER_INIT(4 << 20);
    dp_metrics_render(&application->metrics, &gauges, &text);
    if (application->journal_metrics != NULL) {
        dp_journal_metrics_render(application->journal_metrics, &text);
        dp_journal_metrics_refresh(application->journal_metrics, application->readers,
                                   dp_clock_monotonic_us());
    }
    dp_http_response response = {.status = 200};
    dp_exchange_respond(exchange, &response, "text/plain; version=0.0.4; charset=utf-8",
                        dp_buffer_slice(&text));
    dp_buffer_release(&text);
}

/* ---- documents ---- */

static void answer_document(dp_exchange *exchange)
{
    dp_http_response response = {.status = 200};
    if (!atomic_load_explicit(&exchange->application->docs_enabled, memory_order_relaxed)) {
        dp_exchange_respond_detail(exchange, 404, "Not Found");
    } else if (exchange->route == DP_ROUTE_REDOC) {
        response.status = 307;
        dp_http_response_add(&response, "Location", "/docs");
        dp_exchange_respond(exchange, &response, NULL, dp_slice_make("", 0));
    } else if (exchange->route == DP_ROUTE_OPENAPI) {
        dp_exchange_respond(exchange, &response, "application/json", dp_asset_openapi());
    } else {
        /* The page needs nothing but itself and this server. */
        dp_http_response_add(
            &response, "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
        dp_exchange_respond(exchange, &response, "text/html; charset=utf-8", dp_asset_docs());
    }
}

/* ---- routing ---- */

static void answer_redirect(dp_exchange *exchange)
{
    dp_slice path = dp_http_request_path(exchange->request);
    dp_slice query = dp_http_request_query(exchange->request);
    dp_buffer location = DP_BUFFER_INIT(16384);
    dp_buffer_append(&location, path.data, path.length - 1);
    if (query.length > 0) dp_buffer_append_byte(&location, '?');
    dp_buffer_append_slice(&location, query);
    const char *text = dp_buffer_text(&location);
    dp_http_response response = {.status = 307};
    if (text != NULL) dp_http_response_add(&response, "Location", text);
    dp_exchange_respond(exchange, &response, NULL, dp_slice_make("", 0));
    dp_buffer_release(&location);
}

/* What a browser asks before it sends a request of another origin. Paths that do not exist, too: it shows the
 * 404 only to a script whose preflight it has seen granted. */
static bool answer_preflight(dp_exchange *exchange)
{
    char origin[512];
    dp_slice wanted;
    if (!dp_slice_equal_text(dp_http_request_method(exchange->request), "OPTIONS") ||
        !dp_http_request_header(exchange->request, "Access-Control-Request-Method", &wanted) ||
        !allowed_origin(exchange, origin, sizeof origin))
        return false;
    dp_http_response response = {.status = 204};
    dp_http_response_add(&response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
    dp_http_response_add(&response, "Access-Control-Allow-Headers",
                         "Authorization, Content-Type, Dpone-After, Idempotency-Key, X-Request-ID");
    dp_http_response_add(&response, "Access-Control-Max-Age", "600");
    dp_exchange_respond(exchange, &response, NULL, dp_slice_make("", 0));
    return true;
}

static void answer_route(dp_exchange *exchange)
{
    switch (exchange->match.route) {
    case DP_ROUTE_MSG: dp_msg_begin(exchange); return;
    case DP_ROUTE_HEALTH: answer_health(exchange); return;
    case DP_ROUTE_FAIL_COUNT: answer_fail_count(exchange); return;
    case DP_ROUTE_FAIL_DURATION: answer_fail_duration(exchange); return;
    case DP_ROUTE_FAIL_RESET: answer_fail_reset(exchange); return;
    case DP_ROUTE_FAIL_STATUS: answer_fail_status(exchange); return;
    case DP_ROUTE_METRICS: answer_metrics(exchange); return;
    case DP_ROUTE_OPENAPI:
    case DP_ROUTE_DOCS:
    case DP_ROUTE_REDOC: answer_document(exchange); return;
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
    case DP_ROUTE_COMMIT_DECISIONS: dp_v1_on_request(exchange); return;
    case DP_ROUTE_COUNT: break;
    }
    dp_exchange_respond_detail(exchange, 404, "Not Found");
}

/* ---- the handlers ---- */

static dp_exchange *begin_exchange(dp_application *application, dp_http_request *request)
{
    dp_exchange *exchange = dp_http_request_user(request);
    exchange->application = application;
    exchange->request = request;
    exchange->route = DP_ROUTE_COUNT;
    dp_uuid_v4(exchange->correlation_id);
    return exchange;
}

static void on_headers(void *context, dp_http_request *request)
{
    dp_exchange *exchange = begin_exchange(context, request);
    dp_route_find(dp_http_request_method(request), dp_http_request_path(request), &exchange->match);
    if (exchange->match.outcome == DP_ROUTE_FOUND) exchange->route = exchange->match.route;
    if (dp_v1_owns(exchange->route)) {
        dp_v1_on_headers(exchange);
    } else {
        dp_http_accept_body(request, MAX_IGNORED_BODY_BYTES);
    }
}

static void on_request(void *context, dp_http_request *request)
{
    dp_exchange *exchange = dp_http_request_user(request);
    dp_http_response response = {.status = 405};
    (void)context;
    if (exchange->match.outcome != DP_ROUTE_FOUND && answer_preflight(exchange)) return;
    switch (exchange->match.outcome) {
    case DP_ROUTE_FOUND: answer_route(exchange); return;
    case DP_ROUTE_UNKNOWN_PATH: dp_exchange_respond_detail(exchange, 404, "Not Found"); return;
    case DP_ROUTE_TRAILING_SLASH: answer_redirect(exchange); return;
    case DP_ROUTE_WRONG_METHOD:
        dp_http_response_add(&response, "Allow", exchange->match.allow);
        dp_exchange_respond(exchange, &response, "application/json",
                            DP_SLICE_LITERAL("{\"detail\":\"Method Not Allowed\"}"));
        return;
    }
}

static void on_timer(void *context, dp_http_request *request)
{
    dp_exchange *exchange = dp_http_request_user(request);
    (void)context;
    if (exchange->route == DP_ROUTE_EVENTS) {
        dp_events_route_timer(exchange);
    } else if (exchange->follows) {
        dp_v1_on_timer(exchange);
    } else {
        dp_msg_timer(exchange);
    }
}

static void on_wake(void *context, dp_http_request *request)
{
    (void)context;
    dp_msg_continue(dp_http_request_user(request));
}

static void on_done(void *context, dp_http_request *request, unsigned status)
{
    dp_application *application = context;
    dp_exchange *exchange = dp_http_request_user(request);
    int64_t duration_us = dp_clock_monotonic_us() - dp_http_request_started_us(request);
    dp_msg_end(exchange);
    if (exchange->follows) dp_metric_add(&application->metrics.waiting_batches, UINT64_MAX); /* one less */
    if (status != 0) dp_metrics_count_request(&application->metrics, exchange->route, status, duration_us);
    if (!dp_log_enabled(application->log, DP_LOG_DEBUG)) return;
    dp_slice id = {"", 0};
    dp_http_request_header(request, "X-Request-ID", &id);
    dp_log_entry(application->log, DP_LOG_DEBUG, "server.request",
                 status == 0 ? "connection ended before the answer" : "request",
                 dp_log_slice("method", dp_http_request_method(request)),
                 dp_log_slice("path", dp_http_request_path(request)), dp_log_slice("request_id", id),
                 dp_log_text("correlation_id", exchange->correlation_id),
                 dp_log_integer("status", (int64_t)status),
                 dp_log_real("duration_ms", (double)duration_us / 1000));
}

static void on_malformed(void *context, dp_http_request *request, unsigned status, const char *detail)
{
    dp_application *application = context;
    dp_exchange *exchange = dp_http_request_user(request);
    if (exchange->application == NULL) begin_exchange(application, request);
    if (status != 503) dp_metric_add(&application->metrics.malformed_requests, 1);
    const char *code = status == 413 ? "body_too_large" : status == 503 ? "unavailable" : "malformed_request";
    char json[320];
    int length = snprintf(json, sizeof json, "{\"detail\":\"%s\",\"code\":\"%s\"}", detail, code);
    dp_http_response response = {.status = status, .close = true};
    if (status == 503) dp_http_response_add(&response, "Retry-After", "1");
    dp_exchange_respond(exchange, &response, "application/json", dp_slice_make(json, (size_t)length));
}

static void on_connection(void *context)
{
    dp_metric_add(&((dp_application *)context)->metrics.connections_accepted, 1);
}

static void on_connection_timeout(void *context)
{
    dp_metric_add(&((dp_application *)context)->metrics.connections_timed_out, 1);
}

/* ---- life ---- */

dp_http_handlers dp_application_handlers(dp_application *application)
{
    return (dp_http_handlers){.context = application,
                              .on_headers = on_headers,
                              .on_request = on_request,
                              .on_timer = on_timer,
                              .on_wake = on_wake,
                              .on_done = on_done,
                              .on_malformed = on_malformed,
                              .on_connection = on_connection,
                              .on_connection_timeout = on_connection_timeout};
}

size_t dp_application_request_bytes(void)
{
    return sizeof(dp_exchange);
}

void dp_application_attach(dp_application *application, dp_http_server *server)
{
    atomic_store(&application->http, server);
}

void dp_application_configure(dp_application *application, const dp_settings *settings)
{
    const char *origins = dp_settings_text(settings, DP_SETTING_CORS_ORIGINS);
    pthread_mutex_lock(&application->lock);
    free(application->limits.cors_origins);
    application->limits.cors_origins = origins == NULL ? NULL : strdup(origins);
    application->limits.request_timeout_us =
        (int64_t)dp_settings_number(settings, DP_SETTING_REQUEST_TIMEOUT) * 1000000;
    application->admission.limit = (uint32_t)dp_settings_number(settings, DP_SETTING_MAX_CONCURRENCY);
    application->admission.max_queue = (uint32_t)dp_settings_number(settings, DP_SETTING_MAX_QUEUE);
    dp_idempotency_cache_configure(
        application->cache, (uint32_t)dp_settings_number(settings, DP_SETTING_CACHE_MAX_SIZE),
        (int64_t)dp_settings_number(settings, DP_SETTING_CACHE_TTL_SECONDS) * 1000000);
    dp_msg_admit_waiting(application);
    pthread_mutex_unlock(&application->lock);
    if (application->waiting != NULL)
        dp_waiting_readers_configure(application->waiting,
                                     (size_t)dp_settings_number(settings, DP_SETTING_MAX_WAITING_READERS));
    atomic_store(&application->docs_enabled, dp_settings_number(settings, DP_SETTING_ENABLE_DOCS) != 0);
    atomic_store(&application->cors_enabled, dp_settings_number(settings, DP_SETTING_CORS_ENABLED) != 0);
}

static void wake_waiting(void *context, dp_waiting_reader *list)
{
    dp_events_route_wake(context, list);
}

static dp_status start_watch(dp_application *application, dp_error *error)
{
    application->waiting = dp_waiting_readers_new(0);
    if (application->waiting == NULL) return dp_error_no_memory(error, "the waiting readers");
    const dp_journal_watch_options options = {.journal = application->journal,
                                              .readers = application->waiting,
                                              .pool = application->readers,
                                              .context = application,
                                              .wake = wake_waiting};
    return dp_journal_watch_new(&options, &application->watch, error);
}

static dp_status start_workers(dp_application *application, dp_error *error)
{
    application->journal_metrics = dp_journal_metrics_new(application->journal);
    if (application->journal_metrics == NULL) return dp_error_no_memory(error, "the journal's figures");
    unsigned readers = dp_journal_api_reader_count(application->journal);
    unsigned writers = dp_journal_api_writer_count(application->journal);
    if (readers < LEAST_READER_THREADS) readers = LEAST_READER_THREADS;
    if (writers < LEAST_WRITER_THREADS) writers = LEAST_WRITER_THREADS;
    dp_status status = dp_worker_pool_new(readers, MAX_WAITING_JOBS, &application->readers, error);
    if (status == DP_STATUS_OK)
        status = dp_worker_pool_new(writers, MAX_WAITING_JOBS, &application->writers, error);
    return status == DP_STATUS_OK ? start_watch(application, error) : status;
}

dp_status dp_application_new(const dp_application_options *options, dp_application **out, dp_error *error)
{
    uint8_t key[DP_SIPHASH_KEY_BYTES];
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return dp_error_set(error, DP_STATUS_IO, "the kernel gives no random bytes");
    dp_application *application = calloc(1, sizeof *application);
    if (application == NULL) return dp_error_no_memory(error, "the server");
    pthread_mutex_init(&application->lock, NULL);
    application->log = options->log;
    application->journal = options->journal;
    application->token = options->token;
    application->max_batch_bytes = (size_t)dp_settings_number(options->settings, DP_SETTING_MAX_BATCH_BYTES);
    application->started_us = dp_clock_monotonic_us();
    application->started_wall_us = dp_clock_wall_us();
    application->cache = dp_idempotency_cache_new(1, 1, key);
    dp_status status =
        application->cache == NULL ? dp_error_no_memory(error, "the idempotency cache") : DP_STATUS_OK;
    if (status == DP_STATUS_OK && options->journal != NULL) status = start_workers(application, error);
    if (status != DP_STATUS_OK) {
        dp_application_free(application);
        return status;
    }
    dp_application_configure(application, options->settings);
    *out = application;
    return DP_STATUS_OK;
}

void dp_application_end_waiting(dp_application *application)
{
    atomic_store(&application->stopping, true);
    dp_journal_watch_stop(application->watch);
    dp_events_route_stop(application);
}

bool dp_application_finish_work(dp_application *application, int64_t give_up_us)
{
    dp_journal_watch_stop(application->watch);
    bool writers_ended = dp_worker_pool_end(application->writers, give_up_us);
    return dp_worker_pool_end(application->readers, give_up_us) && writers_ended;
}

void dp_application_free(dp_application *application)
{
    if (application == NULL) return;
    dp_journal_watch_stop(application->watch);
    dp_worker_pool_free(application->writers);
    dp_worker_pool_free(application->readers);
    dp_journal_watch_free(application->watch);
    dp_waiting_readers_free(application->waiting);
    dp_journal_metrics_free(application->journal_metrics);
    dp_idempotency_cache_free(application->cache);
    pthread_mutex_destroy(&application->lock);
    free(application->limits.cors_origins);
    free(application);
}
