/* The client against a peer on real sockets: pooling, request ids, bulkhead, breaker, cancellation, closing.
 */
#include "tests/unit/support/cmocka_includes.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "client/client.h"
#include "tests/unit/support/loopback_peer.h"

static dp_client_config quick_config(const peer *server)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = server->base_url;
    config.retry.min_wait_ms = 1;
    config.retry.max_wait_ms = 5;
    config.retry.multiplier_ms = 2;
    config.proxy = "";
    return config;
}

static dp_client *new_client(const dp_client_config *config)
{
    dp_client *client = NULL;
    dp_error error = DP_ERROR_INIT;
    dp_status status = dp_client_new(config, &client, &error);
    if (status != DP_STATUS_OK) fail_msg("%s", error.message);
    return client;
}

/* --- peers --- */

static void say_ok(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number, (void)request;
    peer_say_status(reply, 200, "Content-Type: application/json\r\nX-Two:  b \r\n", "{\"a\":1}");
}

static void say_ok_slowly(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    say_ok(self, number, request, reply);
    reply->delay_ms = 20;
}

typedef struct plan {
    unsigned fail_count; /* the first so many fail with 500 */
    char ids[512][64];
} plan;

static void fail_then_succeed(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    plan *script = self->context;
    if (number < 512) peer_field(request, "X-Request-ID", script->ids[number], sizeof script->ids[0]);
    peer_say_status(reply, number < script->fail_count ? 500 : 200, "", "{}");
}

static void echo_request(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", request);
}

static void never_reply(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number, (void)request, (void)reply;
}

/* --- blocking calls --- */

static void a_reply_has_status_fields_body_and_attempts(void **state)
{
    (void)state;
    peer *server = peer_start(say_ok, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_OK);
    assert_int_equal(response.kind, DP_CLIENT_OK);
    assert_int_equal(response.http_status, 200);
    assert_int_equal(response.http_version, 11);
    assert_int_equal(response.attempts, 1);
    assert_int_equal(strlen(response.request_id), 36);
    assert_true(dp_slice_equal_text(response.body, "{\"a\":1}"));
    assert_true(
        dp_slice_equal_text(dp_client_response_header(&response, "content-type"), "application/json"));
    assert_true(dp_slice_equal_text(dp_client_response_header(&response, "X-TWO"), "b"));
    assert_null(dp_client_response_header(&response, "Missing").data);
    assert_true(response.timing.total_us > 0);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void many_requests_use_one_connection(void **state)
{
    (void)state;
    peer *server = peer_start(say_ok, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(dp_client_post(client, "/x", DP_SLICE_LITERAL("{}"), &response, &error),
                         DP_STATUS_OK);
        assert_int_equal(dp_client_get(client, "/x", &response, &error), DP_STATUS_OK);
    }
    assert_int_equal(server->connection_count, 1);
    assert_int_equal(server->request_count, 200);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void redirect_from_or_echo(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    if (strncmp(request, "GET /from ", 10) == 0) {
        peer_say_status(reply, 302, "Location: to\r\n", "");
    } else {
        echo_request(self, number, request, reply);
    }
}

static void a_connection_that_is_used_again_asks_for_what_is_wanted_now(void **state)
{
    (void)state;
    const struct {
        const char *url;
        const char *asks; /* NULL: libcurl cannot use the URL */
    } rows[] = {
        {"/one", "GET /one "}, {"/two?x=1", "GET /two?x=1 "}, {"/from", "GET /to "},
        {"/from", "GET /to "}, {"http://[zz]/", NULL},        {"/two?x=1", "GET /two?x=1 "},
        {"/", "GET / "},       {"/from", "GET /to "},         {"/one#part", "GET /one "},
    };
    peer *server = peer_start(redirect_from_or_echo, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error error = DP_ERROR_INIT;
        dp_status status = dp_client_get(client, rows[i].url, &response, &error);
        assert_int_equal(response.kind, rows[i].asks == NULL ? DP_CLIENT_UNUSABLE_REQUEST : DP_CLIENT_OK);
        if (status == DP_STATUS_OK && !dp_slice_starts_with(response.body, dp_slice_of_text(rows[i].asks)))
            fail_msg("%s asks %.30s", rows[i].url, response.body.data);
        dp_client_response_release(&response);
    }
    assert_int_equal(server->request_count, 8 + 3); /* each redirect is two */
    dp_client_free(client);
    peer_stop(server);
}

static void one_request_id_serves_all_attempts_of_an_operation(void **state)
{
    (void)state;
    plan script = {.fail_count = 2};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_OK);
    assert_int_equal(response.attempts, 3);
    assert_string_equal(script.ids[0], response.request_id);
    assert_string_equal(script.ids[1], script.ids[0]);
    assert_string_equal(script.ids[2], script.ids[0]);
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_OK);
    assert_string_not_equal(script.ids[3], script.ids[0]);

    dp_client_request own = {.url = "/msg", .request_id = "mine-1"};
    assert_int_equal(dp_client_request_send(client, &own, &response, &error), DP_STATUS_OK);
    assert_string_equal(script.ids[4], "mine-1");
    assert_string_equal(response.request_id, "mine-1");
    dp_client_header header = {"x-request-id", "mine-2"};
    dp_client_request own_header = {.url = "/msg", .headers = &header, .header_count = 1};
    assert_int_equal(dp_client_request_send(client, &own_header, &response, &error), DP_STATUS_OK);
    assert_string_equal(script.ids[5], "mine-2");
    assert_string_equal(response.request_id, "mine-2");
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void an_exhausted_operation_reports_the_last_error(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_get(client, "/msg?token=secret", &response, &error), DP_STATUS_REMOTE);
    assert_int_equal(response.kind, DP_CLIENT_SERVER_ERROR);
    assert_int_equal(response.http_status, 500);
    assert_true(response.retryable);
    assert_int_equal(response.attempts, 3);
    assert_true(dp_slice_equal_text(response.body, "{}"));
    assert_string_equal(error.code, "ServerError");
    assert_non_null(strstr(error.message, "no attempts left"));
    assert_non_null(strstr(error.message, response.request_id));
    assert_null(strstr(error.message, "secret"));
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void fail_differently(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)request;
    const int statuses[] = {500, 408, 502};
    peer_say_status(reply, statuses[number % 3], "", "{}");
}

static void the_last_of_different_errors_is_the_one_that_is_told(void **state)
{
    (void)state;
    peer *server = peer_start(fail_differently, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_REMOTE);
    assert_int_equal(response.kind, DP_CLIENT_SERVICE_UNAVAILABLE);
    assert_int_equal(response.http_status, 502);
    assert_non_null(strstr(error.message, "status 502"));
    assert_null(strstr(error.message, "status 500"));
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void a_deadline_is_never_slept_past(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    config.retry.min_wait_ms = config.retry.max_wait_ms = 60000;
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_request request = {.url = "/msg", .total_timeout_ms = 30000};
    int64_t begin_us = dp_clock_monotonic_us();
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_REMOTE);
    assert_true(dp_clock_monotonic_us() - begin_us < 15 * 1000000);
    assert_int_equal(response.attempts, 1);
    assert_non_null(strstr(error.message, "deadline"));
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void a_total_timeout_ends_a_silent_exchange(void **state)
{
    (void)state;
    peer *server = peer_start(never_reply, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_request request = {.url = "/msg", .total_timeout_ms = 50};
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_TIMEOUT);
    assert_int_equal(response.kind, DP_CLIENT_TIMEOUT);
    assert_int_equal(response.attempts, 1);
    assert_int_equal(response.http_status, 0);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void unusable_requests_are_named_before_anything_is_sent(void **state)
{
    (void)state;
    peer *server = peer_start(say_ok, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    const dp_client_header split = {"X-A", "b\r\nX-Evil: 1"};
    const dp_client_header no_token = {"X A", "b"};
    const dp_client_header length = {"Content-Length", "3"};
    const struct {
        dp_client_request request;
        const char *says;
    } rows[] = {
        {{.url = NULL}, "no URL"},
        {{.url = "ftp://127.0.0.1/"}, "http:// or https://"},
        {{.url = "http:///x"}, "names no host"},
        {{.url = "/a b"}, "blank or control"},
        {{.url = "/a\nb"}, "blank or control"},
        {{.url = "/", .method = "GE T"}, "not a token"},
        {{.url = "/", .headers = &split, .header_count = 1}, "control character"},
        {{.url = "/", .headers = &no_token, .header_count = 1}, "not a token"},
        {{.url = "/", .headers = &length, .header_count = 1}, "set by the client"},
        {{.url = "/", .headers = &split, .header_count = 65}, "at most 64"},
        {{.url = "/", .request_id = "a\nb"}, "control character"},
        {{.url = "/", .content_type = "a\nb"}, "control character"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_client_request_send(client, &rows[i].request, &response, &error),
                         DP_STATUS_USAGE);
        print_message("  %s\n", error.message);
        assert_int_equal(response.kind, DP_CLIENT_UNUSABLE_REQUEST);
        assert_string_equal(error.code, "RequestError");
        assert_non_null(strstr(error.message, rows[i].says));
        dp_client_response_release(&response);
    }
    assert_int_equal(server->request_count, 0);
    dp_client_free(client);
    peer_stop(server);
}

static void the_defaults_are_the_documented_ones(void **state)
{
    (void)state;
    const dp_client_config is = dp_client_config_defaults();
    const struct {
        const char *name;
        uint64_t value;
        uint64_t expected;
    } rows[] = {
        {"retry.max_attempts", is.retry.max_attempts, 3},
        {"retry.min_wait_ms", is.retry.min_wait_ms, 1000},
        {"retry.max_wait_ms", is.retry.max_wait_ms, 60000},
        {"retry.multiplier_ms", is.retry.multiplier_ms, 2000},
        {"retry.jitter", is.retry.jitter, true},
        {"retry.retry_after_max_ms", is.retry.retry_after_max_ms, 300000},
        {"retry.budget", is.retry.budget, true},
        {"retry.budget_percent", is.retry.budget_percent, 20},
        {"retry.budget_per_second", is.retry.budget_per_second, 10},
        {"breaker.enabled", is.breaker.enabled, true},
        {"breaker.failure_threshold", is.breaker.failure_threshold, 5},
        {"breaker.recovery_ms", is.breaker.recovery_ms, 30000},
        {"bulkhead.max_concurrency", is.bulkhead.max_concurrency, 50},
        {"bulkhead.max_waiting", is.bulkhead.max_waiting, 10000},
        {"bulkhead.acquire_timeout_ms", is.bulkhead.acquire_timeout_ms, 30000},
        {"timeouts.connect_ms", is.timeouts.connect_ms, 60000},
        {"timeouts.read_ms", is.timeouts.read_ms, 15000},
        {"timeouts.write_ms", is.timeouts.write_ms, 15000},
        {"timeouts.pool_ms", is.timeouts.pool_ms, 0},
        {"timeouts.total_ms", is.timeouts.total_ms, 0},
        {"tls.verify", is.tls.verify, true},
        {"follow_redirects", is.follow_redirects, true},
        {"max_redirects", is.max_redirects, 10},
        {"http_version", is.http_version, DP_CLIENT_HTTP_AUTO},
        {"max_response_bytes", is.max_response_bytes, 64U << 20},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].value == rows[i].expected) continue;
        fail_msg("%s is %llu, not %llu", rows[i].name, (unsigned long long)rows[i].value,
                 (unsigned long long)rows[i].expected);
    }
}

static void a_configuration_out_of_range_is_refused_by_name(void **state)
{
    (void)state;
    const dp_client_config good = dp_client_config_defaults();
    dp_client_config bad[8];
    const char *names[] = {"retry.max_attempts",
                           "retry.min_wait_ms",
                           "breaker.failure_threshold",
                           "bulkhead.max_concurrency",
                           "timeouts.read_ms",
                           "base_url",
                           "private_key",
                           "User-Agent"};
    for (size_t i = 0; i < 8; i++) {
        bad[i] = good;
    }
    bad[0].retry.max_attempts = 0;
    bad[1].retry.min_wait_ms = 70000;
    bad[2].breaker.failure_threshold = 0;
    bad[3].bulkhead.max_concurrency = 0;
    bad[4].timeouts.read_ms = 0;
    bad[5].base_url = "localhost:8000";
    bad[6].tls.private_key = "key.pem";
    bad[7].user_agent = "a\nb";
    for (size_t i = 0; i < 8; i++) {
        dp_client *client = NULL;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_client_new(&bad[i], &client, &error), DP_STATUS_USAGE);
        print_message("  %s\n", error.message);
        assert_null(client);
        assert_non_null(strstr(error.message, names[i]));
    }
}

/* --- bodies --- */

typedef struct text_source {
    const char *text;
    size_t at;
    unsigned rewinds;
} text_source;

static bool read_text(void *context, char *out, size_t capacity, size_t *length)
{
    text_source *source = context;
    size_t left = strlen(source->text) - source->at;
    *length = left < capacity ? left : capacity;
    if (*length > 3) *length = 3;
    memcpy(out, source->text + source->at, *length);
    source->at += *length;
    return true;
}

static bool rewind_text(void *context)
{
    text_source *source = context;
    source->at = 0;
    source->rewinds++;
    return true;
}

static void bodies_are_streamed_with_and_without_a_length(void **state)
{
    (void)state;
    peer *server = peer_start(echo_request, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    for (int known = 0; known < 2; known++) {
        text_source text = {.text = "streamed body"};
        dp_client_body_source source = {
            .context = &text, .read = read_text, .rewind = rewind_text, .length = known ? 13 : -1};
        dp_client_request request = {.method = known ? "PUT" : "POST",
                                     .url = "/up",
                                     .body_source = &source,
                                     .content_type = "text/plain"};
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_OK);
        char *echoed = strndup(response.body.data, response.body.length);
        print_message("%s\n", echoed);
        assert_non_null(strstr(echoed, known ? "Content-Length: 13\r\n" : "Transfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(echoed, known ? "\r\n\r\nstreamed body" : "3\r\nstr\r\n"));
        assert_non_null(strstr(echoed, "Content-Type: text/plain\r\n"));
        assert_null(strstr(echoed, "Expect"));
        free(echoed);
        dp_client_response_release(&response);
    }
    dp_client_free(client);
    peer_stop(server);
}

static void a_streamed_body_is_rewound_for_a_retry(void **state)
{
    (void)state;
    plan script = {.fail_count = 1};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    text_source text = {.text = "again"};
    dp_client_body_source source = {.context = &text, .read = read_text, .rewind = rewind_text, .length = -1};
    dp_client_request request = {.method = "POST", .url = "/up", .body_source = &source};
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_OK);
    assert_int_equal(text.rewinds, 1);
    assert_int_equal(response.attempts, 2);

    pthread_mutex_lock(&server->lock);
    server->request_count = 0; /* the next one fails again */
    pthread_mutex_unlock(&server->lock);
    source.rewind = NULL;
    text.at = 0;
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_REMOTE);
    assert_int_equal(response.attempts, 1);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

typedef struct collector {
    char text[256];
    size_t length;
    unsigned restarts;
} collector;

static bool collect(void *context, dp_slice part)
{
    collector *sink = context;
    if (sink->length + part.length > sizeof sink->text) return false;
    memcpy(sink->text + sink->length, part.data, part.length);
    sink->length += part.length;
    return true;
}

static bool start_again(void *context)
{
    collector *sink = context;
    sink->length = 0;
    sink->restarts++;
    return true;
}

static void cut_then_complete(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)request;
    peer_say_status(reply, 200, "", "whole body");
    if (number % 2 == 0) {
        reply->length -= 4;
        reply->close_after = true;
    }
}

static void a_sink_starts_again_after_a_cut_body_or_ends_the_operation(void **state)
{
    (void)state;
    peer *server = peer_start(cut_then_complete, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    collector collected = {.length = 0};
    dp_client_body_sink sink = {.context = &collected, .write = collect, .restart = start_again};
    dp_client_request request = {.url = "/down", .body_sink = &sink};
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_OK);
    assert_int_equal(collected.restarts, 1);
    assert_int_equal(collected.length, 10);
    assert_memory_equal(collected.text, "whole body", 10);
    assert_int_equal(response.body.length, 0);

    sink.restart = NULL;
    assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_REMOTE);
    assert_int_equal(response.kind, DP_CLIENT_CONNECTION_ERROR);
    assert_int_equal(response.attempts, 1);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

/* --- threads --- */

enum { CROWD = 64 };

typedef struct crowd {
    dp_client *client;
    pthread_barrier_t start;
    pthread_mutex_t lock;
    unsigned kinds[DP_CLIENT_KIND_COUNT];
    unsigned requests_each;
} crowd;

static void *run_requests(void *context)
{
    crowd *all = context;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    pthread_barrier_wait(&all->start);
    for (unsigned i = 0; i < all->requests_each; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_client_get(all->client, "/msg", &response, &error);
        pthread_mutex_lock(&all->lock);
        all->kinds[response.kind]++;
        pthread_mutex_unlock(&all->lock);
    }
    dp_client_response_release(&response);
    return NULL;
}

static void run_crowd(crowd *all)
{
    pthread_t threads[CROWD];
    pthread_barrier_init(&all->start, NULL, CROWD);
    pthread_mutex_init(&all->lock, NULL);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_requests, all), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&all->start);
    pthread_mutex_destroy(&all->lock);
}

static void the_bulkhead_bounds_what_64_threads_do_at_once(void **state)
{
    (void)state;
    peer *server = peer_start(say_ok_slowly, NULL);
    dp_client_config config = quick_config(server);
    config.bulkhead.max_concurrency = 8;
    dp_client *client = new_client(&config);
    crowd all = {.client = client, .requests_each = 5};
    run_crowd(&all);
    assert_int_equal(all.kinds[DP_CLIENT_OK], CROWD * 5);
    assert_true(server->most_busy_count <= 8);
    assert_true(server->most_busy_count >= 2);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_int_equal(stats.operations, CROWD * 5);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(stats.waiting, 0);
    dp_client_free(client);
    peer_stop(server);
}

static void a_full_bulkhead_is_a_pool_timeout(void **state)
{
    (void)state;
    peer *server = peer_start(never_reply, NULL);
    dp_client_config config = quick_config(server);
    config.bulkhead.max_concurrency = 1;
    config.bulkhead.max_waiting = 1;
    config.timeouts.pool_ms = 30;
    config.timeouts.total_ms = 60000;
    dp_client *client = new_client(&config);
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_queue_new(client, &queue, &error), DP_STATUS_OK);
    dp_client_request request = {.url = "/msg"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dp_client_submit(queue, &request, NULL, &error), DP_STATUS_OK);
    }
    dp_client_call *refused = dp_client_queue_next(queue); /* the third finds no place to wait */
    assert_non_null(refused);
    assert_int_equal(dp_client_call_response(refused)->kind, DP_CLIENT_POOL_TIMEOUT);
    dp_client_call_free(refused);
    assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &error), DP_STATUS_OK);
    dp_client_call *late = dp_client_queue_next(queue);
    assert_non_null(late);
    assert_int_equal(dp_client_call_response(late)->kind, DP_CLIENT_POOL_TIMEOUT);
    assert_int_equal(dp_client_call_response(late)->attempts, 0);
    assert_string_equal(dp_client_call_error(late)->code, "PoolTimeoutError");
    assert_true(dp_client_call_response(late)->timing.pool_us >= 30000);
    dp_client_call_free(late);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_int_equal(stats.slots_used, 1);
    dp_client_queue_free(queue);
    dp_client_stats_read(client, &stats);
    assert_int_equal(stats.slots_used, 0);
    dp_client_free(client);
    peer_stop(server);
}

typedef struct probed {
    _Atomic(dp_client *) client;
} probed;

static bool others_were_refused(peer *self)
{
    probed *context = self->context;
    dp_client_stats stats;
    dp_client_stats_read(atomic_load(&context->client), &stats);
    return stats.ended[DP_CLIENT_CIRCUIT_OPEN] >= CROWD; /* one before the crowd, and all of it but one */
}

static void fail_twice_then_wait_for_the_others(peer *self, unsigned number, const char *request,
                                                peer_reply *reply)
{
    (void)self, (void)request;
    peer_say_status(reply, number < 2 ? 500 : 200, "", "{}");
    if (number >= 2) reply->may_go = others_were_refused;
}

static void a_half_open_breaker_lets_exactly_one_of_64_threads_through(void **state)
{
    (void)state;
    probed context = {NULL};
    peer *server = peer_start(fail_twice_then_wait_for_the_others, &context);
    dp_client_config config = quick_config(server);
    config.retry.max_attempts = 1;
    config.breaker.failure_threshold = 2;
    config.breaker.recovery_ms = 800;
    dp_client *client = new_client(&config);
    atomic_store(&context.client, client);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        dp_error_clear(&error);
        assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_REMOTE);
    }
    dp_error_clear(&error);
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_BUSY);
    assert_int_equal(response.kind, DP_CLIENT_CIRCUIT_OPEN);
    assert_int_equal(response.attempts, 0);
    assert_non_null(strstr(error.message, "for another 0."));
    assert_in_range(response.retry_after_us, 1, 880000);
    usleep(900 * 1000);
    crowd all = {.client = client, .requests_each = 1};
    run_crowd(&all);
    assert_int_equal(all.kinds[DP_CLIENT_OK], 1);
    assert_int_equal(all.kinds[DP_CLIENT_CIRCUIT_OPEN], CROWD - 1);
    assert_int_equal(server->request_count, 3);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_string_equal(stats.breaker_state, "closed");
    assert_int_equal(stats.breaker_opened, 1);
    assert_int_equal(stats.breaker_half_opened, 1);
    assert_int_equal(stats.breaker_closed, 1);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

typedef struct background {
    dp_client *client;
    dp_client_request request;
    dp_client_kind kind;
    unsigned attempts;
} background;

static void *run_in_background(void *context)
{
    background *job = context;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_request_send(job->client, &job->request, &response, &error);
    job->kind = response.kind;
    job->attempts = response.attempts;
    dp_client_response_release(&response);
    return NULL;
}

static bool has_requests(peer *server, unsigned count)
{
    pthread_mutex_lock(&server->lock);
    bool seen = server->request_count >= count;
    pthread_mutex_unlock(&server->lock);
    return seen;
}

static void wait_for_requests(peer *server, unsigned count)
{
    while (!has_requests(server, count)) {
        usleep(1000);
    }
}

static void cancelling_ends_an_exchange_a_backoff_and_a_wait_for_a_slot(void **state)
{
    (void)state;
    static const peer_function functions[] = {never_reply, fail_then_succeed};
    for (int round = 0; round < 2; round++) {
        plan script = {.fail_count = 1000};
        peer *server = peer_start(functions[round], &script);
        dp_client_config config = quick_config(server);
        config.retry.min_wait_ms = config.retry.max_wait_ms = 60000;
        config.bulkhead.max_concurrency = 1;
        dp_client *client = new_client(&config);
        dp_client_cancellation *cancellation = dp_client_cancellation_new();
        background jobs[2];
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            jobs[i] =
                (background){.client = client, .request = {.url = "/msg", .cancellation = cancellation}};
            pthread_create(&threads[i], NULL, run_in_background, &jobs[i]);
        }
        wait_for_requests(server, round == 0 ? 1 : 2);
        usleep(20 * 1000);
        dp_client_cancel(cancellation);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(jobs[i].kind, DP_CLIENT_CANCELLED);
        }
        assert_int_equal(jobs[0].attempts + jobs[1].attempts, round == 0 ? 1 : 2);
        dp_client_stats stats;
        dp_client_stats_read(client, &stats);
        assert_int_equal(stats.slots_used, 0);
        assert_int_equal(stats.ended[DP_CLIENT_CANCELLED], 2);
        background late = {.client = client, .request = {.url = "/msg", .cancellation = cancellation}};
        run_in_background(&late);
        assert_int_equal(late.kind, DP_CLIENT_CANCELLED);
        assert_int_equal(late.attempts, 0);
        dp_client_cancellation_free(cancellation);
        dp_client_free(client);
        peer_stop(server);
    }
}

static void fail_once_then_hang_once(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)request;
    if (number != 1) peer_say_status(reply, number == 0 ? 500 : 200, "", "");
}

static void a_cancelled_probe_gives_its_permit_back(void **state)
{
    (void)state;
    peer *server = peer_start(fail_once_then_hang_once, NULL);
    dp_client_config config = quick_config(server);
    config.retry.max_attempts = 1;
    config.breaker.failure_threshold = 1;
    config.breaker.recovery_ms = 10;
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_get(client, "/msg", &response, &error);
    usleep(20 * 1000);
    dp_client_cancellation *cancellation = dp_client_cancellation_new();
    background probe = {.client = client, .request = {.url = "/msg", .cancellation = cancellation}};
    pthread_t thread;
    pthread_create(&thread, NULL, run_in_background, &probe);
    wait_for_requests(server, 2);
    dp_client_get(client, "/msg", &response, &error);
    assert_int_equal(response.kind, DP_CLIENT_CIRCUIT_OPEN);
    dp_client_cancel(cancellation);
    pthread_join(thread, NULL);
    assert_int_equal(probe.kind, DP_CLIENT_CANCELLED);
    dp_client_get(client, "/msg", &response, &error);
    assert_int_equal(response.kind, DP_CLIENT_OK);
    dp_client_cancellation_free(cancellation);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void a_probe_is_one_attempt(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    config.breaker.failure_threshold = 1;
    config.breaker.recovery_ms = 10;
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_get(client, "/msg", &response, &error);
    assert_int_equal(response.attempts, 3);
    usleep(20 * 1000);
    dp_error_clear(&error);
    dp_client_get(client, "/msg", &response, &error);
    assert_int_equal(response.kind, DP_CLIENT_SERVER_ERROR);
    assert_int_equal(response.attempts, 1);
    assert_non_null(strstr(error.message, "probe"));
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void one_exhausted_operation_is_one_breaker_failure_and_refusals_are_none(void **state)
{
    (void)state;
    plan script = {.fail_count = 12};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    for (int i = 0; i < 4; i++) { /* four operations of three attempts: one below the threshold of five */
        dp_client_get(client, "/msg", &response, &error);
        assert_int_equal(response.kind, DP_CLIENT_SERVER_ERROR);
        assert_int_equal(response.attempts, 3);
    }
    dp_client_get(client, "/msg", &response, &error);
    assert_int_equal(response.kind, DP_CLIENT_OK);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_string_equal(stats.breaker_state, "closed");
    assert_int_equal(stats.breaker_opened, 0);
    assert_int_equal(stats.retries, 8);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

static void the_retry_budget_ends_a_storm(void **state)
{
    (void)state;
    plan script = {.fail_count = 100000};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    config.breaker.enabled = false;
    config.retry.budget_percent = 20;
    config.retry.budget_per_second = 1;
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    unsigned refused = 0;
    int64_t begin_us = dp_clock_monotonic_us();
    for (int i = 0; i < 100; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_client_get(client, "/msg", &response, &error);
        refused += strstr(error.message, "budget") != NULL;
    }
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    int64_t seconds = (dp_clock_monotonic_us() - begin_us) / 1000000;
    assert_true((int64_t)stats.retries <= 100 / 5 + 10 + 10 + seconds);
    assert_true(stats.retries >= 20);
    assert_true(refused > 60);
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

/* --- queues --- */

typedef struct turns {
    _Atomic unsigned taken;
} turns;

static bool one_was_taken(peer *self)
{
    turns *context = self->context;
    return atomic_load(&context->taken) >= 1;
}

static bool two_were_taken(peer *self)
{
    turns *context = self->context;
    return atomic_load(&context->taken) >= 2;
}

static void answer_in_turn(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", "");
    if (strstr(request, "/middle") != NULL) reply->may_go = one_was_taken;
    if (strstr(request, "/slow") != NULL) reply->may_go = two_were_taken;
}

static void delay_by_path(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", "");
    const char *at = strstr(request, "/delay/");
    reply->delay_ms = at == NULL ? 0 : (unsigned)strtoul(at + 7, NULL, 10);
}

static void a_queue_keeps_several_in_flight_and_hands_them_back_as_they_end(void **state)
{
    (void)state;
    turns context = {0};
    peer *server = peer_start(answer_in_turn, &context);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_queue_new(client, &queue, &error), DP_STATUS_OK);
    static const char *const paths[] = {"/slow", "/middle", "/quick"};
    static const char *const names[] = {"slow", "middle", "quick"};
    for (int i = 0; i < 3; i++) {
        /* the context is only compared */
        dp_client_request request = {.url = paths[i], .context = (void *)(uintptr_t)names[i]};
        assert_int_equal(dp_client_submit(queue, &request, NULL, &error), DP_STATUS_OK);
    }
    assert_int_equal(dp_client_queue_in_flight(queue), 3);
    for (int i = 2; i >= 0; i--) {
        dp_client_call *call;
        while ((call = dp_client_queue_next(queue)) == NULL) {
            assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &error), DP_STATUS_OK);
        }
        assert_string_equal(dp_client_call_context(call), names[i]);
        assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_OK);
        assert_int_equal(dp_client_call_error(call)->status, DP_STATUS_OK);
        dp_client_call_free(call);
        atomic_fetch_add(&context.taken, 1);
    }
    assert_int_equal(dp_client_queue_in_flight(queue), 0);
    assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &error), DP_STATUS_OK); /* nothing to wait for */
    dp_client_queue_free(queue);
    dp_client_free(client);
    peer_stop(server);
}

static void waiting_ends_for_a_descriptor_and_for_the_time(void **state)
{
    (void)state;
    peer *server = peer_start(never_reply, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dp_client_queue_new(client, &queue, &error), DP_STATUS_OK);
    dp_client_request request = {.url = "/msg"};
    dp_client_call *call = NULL;
    assert_int_equal(dp_client_submit(queue, &request, &call, &error), DP_STATUS_OK);
    bool ready = true;
    int64_t begin_us = dp_clock_monotonic_us();
    assert_int_equal(dp_client_wait(queue, ends[0], 30, &ready, &error), DP_STATUS_OK);
    assert_false(ready);
    assert_true(dp_clock_monotonic_us() - begin_us >= 30000);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(dp_client_wait(queue, ends[0], -1, &ready, &error), DP_STATUS_OK);
    assert_true(ready);
    assert_null(dp_client_queue_next(queue));
    dp_client_call_cancel(call);
    assert_ptr_equal(dp_client_queue_next(queue), call);
    assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_CANCELLED);
    dp_client_call_free(call);
    dp_client_queue_free(queue);
    dp_client_free(client);
    close(ends[0]);
    close(ends[1]);
    peer_stop(server);
}

static void a_slot_is_free_during_backoff(void **state)
{
    (void)state;
    plan script = {.fail_count = 1};
    peer *server = peer_start(fail_then_succeed, &script);
    dp_client_config config = quick_config(server);
    config.bulkhead.max_concurrency = 1;
    config.retry.min_wait_ms = config.retry.max_wait_ms = 400;
    dp_client *client = new_client(&config);
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_queue_new(client, &queue, &error), DP_STATUS_OK);
    dp_client_request first = {.url = "/msg", .context = &first};
    dp_client_request second = {.url = "/msg", .context = &second};
    assert_int_equal(dp_client_submit(queue, &first, NULL, &error), DP_STATUS_OK);
    assert_int_equal(dp_client_submit(queue, &second, NULL, &error), DP_STATUS_OK);
    dp_client_call *call;
    while ((call = dp_client_queue_next(queue)) == NULL) {
        dp_client_wait(queue, -1, -1, NULL, &error);
    }
    assert_ptr_equal(dp_client_call_context(call), &second); /* overtook the first during its backoff */
    dp_client_call_free(call);
    while ((call = dp_client_queue_next(queue)) == NULL) {
        dp_client_wait(queue, -1, -1, NULL, &error);
    }
    assert_ptr_equal(dp_client_call_context(call), &first);
    assert_int_equal(dp_client_call_response(call)->attempts, 2);
    assert_true(dp_client_call_response(call)->timing.backoff_us >= 400000);
    dp_client_call_free(call);
    dp_client_queue_free(queue);
    dp_client_free(client);
    peer_stop(server);
}

/* --- closing --- */

static void closing_waits_for_what_is_in_flight_and_may_be_repeated(void **state)
{
    (void)state;
    peer *server = peer_start(delay_by_path, NULL);
    dp_client_config config = quick_config(server);
    dp_client *client = new_client(&config);
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_client_queue_new(client, &queue, &error), DP_STATUS_OK);
    dp_client_request request = {.url = "/delay/100"};
    assert_int_equal(dp_client_submit(queue, &request, NULL, &error), DP_STATUS_OK);
    while (!has_requests(server, 1)) {
        dp_client_wait(queue, -1, 10, NULL, &error);
    }
    background job = {.client = client, .request = {.url = "/delay/200"}};
    pthread_t thread;
    pthread_create(&thread, NULL, run_in_background, &job);
    wait_for_requests(server, 2);
    dp_client_close(client);
    dp_client_close(client);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_int_equal(stats.ended[DP_CLIENT_OK], 2);
    pthread_join(thread, NULL);
    assert_int_equal(job.kind, DP_CLIENT_OK);
    dp_client_call *call = dp_client_queue_next(queue);
    assert_non_null(call);
    assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_OK);
    dp_client_call_free(call);

    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    assert_int_equal(dp_client_get(client, "/msg", &response, &error), DP_STATUS_USAGE);
    assert_int_equal(response.kind, DP_CLIENT_UNUSABLE_REQUEST);
    assert_non_null(strstr(error.message, "closed"));
    dp_client_response_release(&response);
    dp_client_queue_free(queue);
    dp_client_free(client);
    dp_client_free(NULL);
    dp_client_close(NULL);
    peer_stop(server);
}

/* --- callbacks --- */

typedef struct journal {
    char text[4096];
} journal;

static void note_event(void *context, const dp_client_event *event)
{
    journal *book = context;
    size_t used = strlen(book->text);
    char *at = book->text + used;
    size_t left = sizeof book->text - used;
    switch (event->type) {
    case DP_CLIENT_EVENT_ATTEMPT:
        snprintf(at, left, "attempt %u %d|", event->attempt, event->http_status);
        break;
    case DP_CLIENT_EVENT_RETRY: snprintf(at, left, "retry|"); break;
    case DP_CLIENT_EVENT_DONE: snprintf(at, left, "done %s|", dp_client_kind_name(event->kind)); break;
    case DP_CLIENT_EVENT_BREAKER: snprintf(at, left, "%s>%s|", event->breaker_from, event->breaker_to); break;
    }
}

static void note_log(void *context, dp_client_log_level level, const char *message)
{
    journal *book = context;
    size_t used = strlen(book->text);
    snprintf(book->text + used, sizeof book->text - used, "%d %s\n", (int)level, message);
}

static void events_and_log_lines_tell_what_happened(void **state)
{
    (void)state;
    plan script = {.fail_count = 2};
    peer *server = peer_start(fail_then_succeed, &script);
    journal events = {""};
    journal lines = {""};
    dp_client_config config = quick_config(server);
    config.retry.max_attempts = 2;
    config.breaker.failure_threshold = 1;
    config.breaker.recovery_ms = 10;
    config.on_event = note_event;
    config.event_context = &events;
    config.log = note_log;
    config.log_context = &lines;
    dp_client *client = new_client(&config);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_get(client, "/msg", &response, &error);
    usleep(20 * 1000);
    dp_client_get(client, "/msg", &response, &error);
    assert_string_equal(events.text, "attempt 1 500|retry|attempt 2 500|closed>open|done ServerError|"
                                     "open>half_open|attempt 1 200|half_open>closed|done |");
    assert_non_null(strstr(lines.text, "2 circuit breaker opened"));
    assert_non_null(strstr(lines.text, "1 circuit breaker closed"));
    assert_null(strstr(lines.text, "attempt 1"));
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

/* --- redirects --- */

typedef struct seen_methods {
    char lines[16][64];
    int status;
} seen_methods;

static void redirect_once(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    seen_methods *seen = self->context;
    size_t length = strcspn(request, "\r");
    if (number < 16)
        snprintf(seen->lines[number], sizeof seen->lines[0], "%.*s", (int)(length < 60 ? length : 60),
                 request);
    bool first = strncmp(request + strcspn(request, " "), " /from", 6) == 0;
    peer_say_status(reply, first ? seen->status : 200, first ? "Location: /to\r\n" : "", "");
}

static void see_other_goes_on_as_get_and_the_other_redirects_keep_the_method(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *method;
        bool has_body;
        const char *then;
    } table[] = {
        {303, "PUT", true, "GET"},  {303, "DELETE", false, "GET"},    {303, "PATCH", true, "GET"},
        {303, "POST", true, "GET"}, {303, "GET", false, "GET"},       {303, "HEAD", false, "HEAD"},
        {307, "PUT", true, "PUT"},  {308, "DELETE", false, "DELETE"}, {307, "POST", true, "POST"},
        {302, "POST", true, "GET"}, {302, "PUT", true, "PUT"},        {301, "DELETE", false, "DELETE"},
    };
    seen_methods seen = {.status = 0};
    peer *server = peer_start(redirect_once, &seen);
    dp_client_config config = quick_config(server);
    dp_client *client =
        new_client(&config); /* one connection and one handle for all, so that nothing sticks */
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char expected[64];
        dp_error error = DP_ERROR_INIT;
        dp_client_request request = {.method = table[i].method, .url = "/from"};
        if (table[i].has_body) request.body = DP_SLICE_LITERAL("{}");
        pthread_mutex_lock(&server->lock);
        seen.status = table[i].status;
        server->request_count = 0;
        pthread_mutex_unlock(&server->lock);
        assert_int_equal(dp_client_request_send(client, &request, &response, &error), DP_STATUS_OK);
        snprintf(expected, sizeof expected, "%s /from HTTP/1.1", table[i].method);
        assert_string_equal(seen.lines[0], expected);
        snprintf(expected, sizeof expected, "%s /to HTTP/1.1", table[i].then);
        assert_string_equal(seen.lines[1], expected);
        assert_int_equal(response.http_status, 200);
    }
    dp_client_response_release(&response);
    dp_client_free(client);
    peer_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(see_other_goes_on_as_get_and_the_other_redirects_keep_the_method),
        cmocka_unit_test(a_reply_has_status_fields_body_and_attempts),
        cmocka_unit_test(many_requests_use_one_connection),
        cmocka_unit_test(a_connection_that_is_used_again_asks_for_what_is_wanted_now),
        cmocka_unit_test(one_request_id_serves_all_attempts_of_an_operation),
        cmocka_unit_test(an_exhausted_operation_reports_the_last_error),
        cmocka_unit_test(the_last_of_different_errors_is_the_one_that_is_told),
        cmocka_unit_test(a_deadline_is_never_slept_past),
        cmocka_unit_test(a_total_timeout_ends_a_silent_exchange),
        cmocka_unit_test(unusable_requests_are_named_before_anything_is_sent),
        cmocka_unit_test(the_defaults_are_the_documented_ones),
        cmocka_unit_test(a_configuration_out_of_range_is_refused_by_name),
        cmocka_unit_test(bodies_are_streamed_with_and_without_a_length),
        cmocka_unit_test(a_streamed_body_is_rewound_for_a_retry),
        cmocka_unit_test(a_sink_starts_again_after_a_cut_body_or_ends_the_operation),
        cmocka_unit_test(the_bulkhead_bounds_what_64_threads_do_at_once),
        cmocka_unit_test(a_full_bulkhead_is_a_pool_timeout),
        cmocka_unit_test(a_half_open_breaker_lets_exactly_one_of_64_threads_through),
        cmocka_unit_test(cancelling_ends_an_exchange_a_backoff_and_a_wait_for_a_slot),
        cmocka_unit_test(a_cancelled_probe_gives_its_permit_back),
        cmocka_unit_test(a_probe_is_one_attempt),
        cmocka_unit_test(one_exhausted_operation_is_one_breaker_failure_and_refusals_are_none),
        cmocka_unit_test(the_retry_budget_ends_a_storm),
        cmocka_unit_test(a_queue_keeps_several_in_flight_and_hands_them_back_as_they_end),
        cmocka_unit_test(waiting_ends_for_a_descriptor_and_for_the_time),
        cmocka_unit_test(a_slot_is_free_during_backoff),
        cmocka_unit_test(closing_waits_for_what_is_in_flight_and_may_be_repeated),
        cmocka_unit_test(events_and_log_lines_tell_what_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
