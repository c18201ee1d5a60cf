/* The client against a peer on real sockets: pooling, request ids, retries, bodies, callbacks, redirects. */
#include "tests/unit/support/client_rig.h"

#include "base/clock.h"

static void echo_request(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", request);
}

/* --- blocking calls --- */

static void a_reply_has_status_fields_body_and_attempts(void **state)
{
    (void)state;
    client_rig rig = connected_rig(say_ok, NULL);
    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_OK);
    assert_int_equal(rig.response.kind, DP_CLIENT_OK);
    assert_int_equal(rig.response.http_status, 200);
    assert_int_equal(rig.response.http_version, 11);
    assert_int_equal(rig.response.attempts, 1);
    assert_int_equal(strlen(rig.response.request_id), 36);
    assert_true(dp_slice_equal_text(rig.response.body, "{\"a\":1}"));
    assert_true(
        dp_slice_equal_text(dp_client_response_header(&rig.response, "content-type"), "application/json"));
    assert_true(dp_slice_equal_text(dp_client_response_header(&rig.response, "X-TWO"), "b"));
    assert_null(dp_client_response_header(&rig.response, "Missing").data);
    assert_true(rig.response.timing.total_us > 0);
    rig_end(&rig);
}

static void many_requests_use_one_connection(void **state)
{
    (void)state;
    client_rig rig = connected_rig(say_ok, NULL);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(dp_client_post(rig.client, "/x", DP_SLICE_LITERAL("{}"), &rig.response, &rig.error),
                         DP_STATUS_OK);
        assert_int_equal(dp_client_get(rig.client, "/x", &rig.response, &rig.error), DP_STATUS_OK);
    }
    assert_int_equal(rig.server->connection_count, 1);
    assert_int_equal(rig.server->request_count, 200);
    rig_end(&rig);
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
    client_rig rig = connected_rig(redirect_from_or_echo, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error error = DP_ERROR_INIT;
        dp_status status = dp_client_get(rig.client, rows[i].url, &response, &error);
        assert_int_equal(response.kind, rows[i].asks == NULL ? DP_CLIENT_UNUSABLE_REQUEST : DP_CLIENT_OK);
        if (status == DP_STATUS_OK && !dp_slice_starts_with(response.body, dp_slice_of_text(rows[i].asks)))
            fail_msg("%s asks %.30s", rows[i].url, response.body.data);
        dp_client_response_release(&response);
    }
    assert_int_equal(rig.server->request_count, 8 + 3); /* each redirect is two */
    rig_end(&rig);
}

static void one_request_id_serves_all_attempts_of_an_operation(void **state)
{
    (void)state;
    plan script = {.fail_count = 2};
    client_rig rig = connected_rig(fail_then_succeed, &script);
    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_OK);
    assert_int_equal(rig.response.attempts, 3);
    assert_string_equal(script.ids[0], rig.response.request_id);
    assert_string_equal(script.ids[1], script.ids[0]);
    assert_string_equal(script.ids[2], script.ids[0]);
    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_OK);
    assert_string_not_equal(script.ids[3], script.ids[0]);

    dp_client_request own = {.url = "/msg", .request_id = "mine-1"};
    assert_int_equal(dp_client_request_send(rig.client, &own, &rig.response, &rig.error), DP_STATUS_OK);
    assert_string_equal(script.ids[4], "mine-1");
    assert_string_equal(rig.response.request_id, "mine-1");
    dp_client_header header = {"x-request-id", "mine-2"};
    dp_client_request own_header = {.url = "/msg", .headers = &header, .header_count = 1};
    assert_int_equal(dp_client_request_send(rig.client, &own_header, &rig.response, &rig.error),
                     DP_STATUS_OK);
    assert_string_equal(script.ids[5], "mine-2");
    assert_string_equal(rig.response.request_id, "mine-2");
    rig_end(&rig);
}

static void an_exhausted_operation_reports_the_last_error(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    client_rig rig = connected_rig(fail_then_succeed, &script);
    assert_int_equal(dp_client_get(rig.client, "/msg?token=secret", &rig.response, &rig.error),
                     DP_STATUS_REMOTE);
    assert_int_equal(rig.response.kind, DP_CLIENT_SERVER_ERROR);
    assert_int_equal(rig.response.http_status, 500);
    assert_true(rig.response.retryable);
    assert_int_equal(rig.response.attempts, 3);
    assert_true(dp_slice_equal_text(rig.response.body, "{}"));
    assert_string_equal(rig.error.code, "ServerError");
    assert_non_null(strstr(rig.error.message, "no attempts left"));
    assert_non_null(strstr(rig.error.message, rig.response.request_id));
    assert_null(strstr(rig.error.message, "secret"));
    rig_end(&rig);
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
    client_rig rig = connected_rig(fail_differently, NULL);
    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_REMOTE);
    assert_int_equal(rig.response.kind, DP_CLIENT_SERVICE_UNAVAILABLE);
    assert_int_equal(rig.response.http_status, 502);
    assert_non_null(strstr(rig.error.message, "status 502"));
    assert_null(strstr(rig.error.message, "status 500"));
    rig_end(&rig);
}

static void a_deadline_is_never_slept_past(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    client_rig rig = prepared_rig(fail_then_succeed, &script);
    rig.config.retry.min_wait_ms = rig.config.retry.max_wait_ms = 60000;
    rig_connect(&rig);
    dp_client_request request = {.url = "/msg", .total_timeout_ms = 30000};
    int64_t begin_us = dp_clock_monotonic_us();
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error),
                     DP_STATUS_REMOTE);
    assert_true(dp_clock_monotonic_us() - begin_us < 15 * 1000000);
    assert_int_equal(rig.response.attempts, 1);
    assert_non_null(strstr(rig.error.message, "deadline"));
    rig_end(&rig);
}

static void a_total_timeout_ends_a_silent_exchange(void **state)
{
    (void)state;
    client_rig rig = connected_rig(never_reply, NULL);
    dp_client_request request = {.url = "/msg", .total_timeout_ms = 50};
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error),
                     DP_STATUS_TIMEOUT);
    assert_int_equal(rig.response.kind, DP_CLIENT_TIMEOUT);
    assert_int_equal(rig.response.attempts, 1);
    assert_int_equal(rig.response.http_status, 0);
    rig_end(&rig);
}

static void unusable_requests_are_named_before_anything_is_sent(void **state)
{
    (void)state;
    client_rig rig = connected_rig(say_ok, NULL);
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
        assert_int_equal(dp_client_request_send(rig.client, &rows[i].request, &response, &error),
                         DP_STATUS_USAGE);
        print_message("  %s\n", error.message);
        assert_int_equal(response.kind, DP_CLIENT_UNUSABLE_REQUEST);
        assert_string_equal(error.code, "RequestError");
        assert_non_null(strstr(error.message, rows[i].says));
        dp_client_response_release(&response);
    }
    assert_int_equal(rig.server->request_count, 0);
    rig_end(&rig);
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
    client_rig rig = connected_rig(echo_request, NULL);
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
        assert_int_equal(dp_client_request_send(rig.client, &request, &response, &error), DP_STATUS_OK);
        char *echoed = strndup(response.body.data, response.body.length);
        print_message("%s\n", echoed);
        assert_non_null(strstr(echoed, known ? "Content-Length: 13\r\n" : "Transfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(echoed, known ? "\r\n\r\nstreamed body" : "3\r\nstr\r\n"));
        assert_non_null(strstr(echoed, "Content-Type: text/plain\r\n"));
        assert_null(strstr(echoed, "Expect"));
        free(echoed);
        dp_client_response_release(&response);
    }
    rig_end(&rig);
}

static void a_streamed_body_is_rewound_for_a_retry(void **state)
{
    (void)state;
    plan script = {.fail_count = 1};
    client_rig rig = connected_rig(fail_then_succeed, &script);
    text_source text = {.text = "again"};
    dp_client_body_source source = {.context = &text, .read = read_text, .rewind = rewind_text, .length = -1};
    dp_client_request request = {.method = "POST", .url = "/up", .body_source = &source};
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error), DP_STATUS_OK);
    assert_int_equal(text.rewinds, 1);
    assert_int_equal(rig.response.attempts, 2);

    pthread_mutex_lock(&rig.server->lock);
    rig.server->request_count = 0; /* the next one fails again */
    pthread_mutex_unlock(&rig.server->lock);
    source.rewind = NULL;
    text.at = 0;
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error),
                     DP_STATUS_REMOTE);
    assert_int_equal(rig.response.attempts, 1);
    rig_end(&rig);
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
    client_rig rig = connected_rig(cut_then_complete, NULL);
    collector collected = {.length = 0};
    dp_client_body_sink sink = {.context = &collected, .write = collect, .restart = start_again};
    dp_client_request request = {.url = "/down", .body_sink = &sink};
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error), DP_STATUS_OK);
    assert_int_equal(collected.restarts, 1);
    assert_int_equal(collected.length, 10);
    assert_memory_equal(collected.text, "whole body", 10);
    assert_int_equal(rig.response.body.length, 0);

    sink.restart = NULL;
    assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &rig.error),
                     DP_STATUS_REMOTE);
    assert_int_equal(rig.response.kind, DP_CLIENT_CONNECTION_ERROR);
    assert_int_equal(rig.response.attempts, 1);
    rig_end(&rig);
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
    journal events = {""};
    journal lines = {""};
    client_rig rig = prepared_rig(fail_then_succeed, &script);
    rig.config.retry.max_attempts = 2;
    rig.config.breaker.failure_threshold = 1;
    rig.config.breaker.recovery_ms = 10;
    rig.config.on_event = note_event;
    rig.config.event_context = &events;
    rig.config.log = note_log;
    rig.config.log_context = &lines;
    rig_connect(&rig);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    usleep(20 * 1000);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_string_equal(events.text, "attempt 1 500|retry|attempt 2 500|closed>open|done ServerError|"
                                     "open>half_open|attempt 1 200|half_open>closed|done |");
    assert_non_null(strstr(lines.text, "2 circuit breaker opened"));
    assert_non_null(strstr(lines.text, "1 circuit breaker closed"));
    assert_null(strstr(lines.text, "attempt 1"));
    rig_end(&rig);
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
    client_rig rig = connected_rig(redirect_once,
                                   &seen); /* one connection and one handle for all, so that nothing sticks */
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char expected[64];
        dp_error error = DP_ERROR_INIT;
        dp_client_request request = {.method = table[i].method, .url = "/from"};
        if (table[i].has_body) request.body = DP_SLICE_LITERAL("{}");
        pthread_mutex_lock(&rig.server->lock);
        seen.status = table[i].status;
        rig.server->request_count = 0;
        pthread_mutex_unlock(&rig.server->lock);
        assert_int_equal(dp_client_request_send(rig.client, &request, &rig.response, &error), DP_STATUS_OK);
        snprintf(expected, sizeof expected, "%s /from HTTP/1.1", table[i].method);
        assert_string_equal(seen.lines[0], expected);
        snprintf(expected, sizeof expected, "%s /to HTTP/1.1", table[i].then);
        assert_string_equal(seen.lines[1], expected);
        assert_int_equal(rig.response.http_status, 200);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(events_and_log_lines_tell_what_happened),
        cmocka_unit_test(see_other_goes_on_as_get_and_the_other_redirects_keep_the_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
