/* What the end of an attempt means, as a table over transport results and every status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/outcome.h"

static void ends_mean_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        dp_exchange_end end;
        int status;
        const char *body;
        const char *kind;
        bool retryable;
        dp_breaker_event breaker;
    } rows[] = {
        {DP_EXCHANGE_REPLIED, 200, "", "", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 204, "", "", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 299, "", "", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 301, "", "APIStatusError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 400, "", "InvalidRequestError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 401, "", "AuthenticationError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 403, "", "AuthenticationError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 404, "", "NotFoundError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 405, "", "APIStatusError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 408, "", "ServerTimeoutError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 409, "", "APIStatusError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 409, "{\"code\":\"event_conflict\"}", "APIStatusError", false,
         DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 409, "{\"detail\":{\"code\":\"x\"},\"code\":\"request_in_flight\"}",
         "APIStatusError", true, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 409, "{\"detail\":{\"code\":\"request_in_flight\"}}", "APIStatusError", false,
         DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 409, "{\"detail\":tru", "APIStatusError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 413, "", "APIStatusError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 422, "", "InvalidRequestError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 425, "", "APIStatusError", true, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 429, "", "APIStatusError", true, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 500, "", "ServerError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 501, "", "ServerError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 502, "", "ServiceUnavailableError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 503, "", "ServiceUnavailableError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 504, "", "ServiceUnavailableError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 505, "", "ServerError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REPLIED, 507, "", "ServerError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 599, "", "ServerError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 100, "", "APIConnectionError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 600, "", "APIConnectionError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_REPLIED, 0, "", "APIConnectionError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_NO_CONNECTION, 200, "", "APIConnectionError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_UNTRUSTED, 0, "", "APIConnectionError", false, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_TIMED_OUT, 0, "", "APITimeoutError", true, DP_BREAKER_FAILURE},
        {DP_EXCHANGE_TOO_LARGE, 200, "", "ResponseTooLargeError", false, DP_BREAKER_SUCCESS},
        {DP_EXCHANGE_REFUSED, 200, "", "RequestCancelledError", false, DP_BREAKER_GIVE_BACK},
        {DP_EXCHANGE_CANCELLED, 0, "", "RequestCancelledError", false, DP_BREAKER_GIVE_BACK},
        {DP_EXCHANGE_UNUSABLE, 0, "", "RequestError", false, DP_BREAKER_GIVE_BACK},
        {DP_EXCHANGE_NO_MEMORY, 0, "", "OutOfMemoryError", false, DP_BREAKER_GIVE_BACK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  end %d, status %d, body '%s'\n", (int)rows[i].end, rows[i].status, rows[i].body);
        dp_outcome outcome = dp_outcome_of(rows[i].end, rows[i].status, dp_slice_of_text(rows[i].body));
        assert_string_equal(dp_client_kind_name(outcome.kind), rows[i].kind);
        assert_int_equal(outcome.retryable, rows[i].retryable);
        assert_int_equal(outcome.breaker, rows[i].breaker);
    }
}

/* What the breaker counts is exactly what is retryable in general and not refused by a healthy server. */
static void no_refusal_counts_against_the_server(void **state)
{
    (void)state;
    for (int status = 200; status < 600; status++) {
        dp_outcome outcome = dp_outcome_of(DP_EXCHANGE_REPLIED, status, DP_SLICE_LITERAL(""));
        if (outcome.breaker != DP_BREAKER_FAILURE) continue;
        assert_true(dp_client_kind_retryable(outcome.kind));
        assert_true(outcome.retryable);
    }
}

static void kinds_have_the_names_users_match_on(void **state)
{
    (void)state;
    static const struct {
        dp_client_kind kind;
        const char *name;
        bool retryable;
        bool timeout;
        bool has_status;
        bool local;
    } rows[] = {
        {DP_CLIENT_OK, "", false, false, true, false},
        {DP_CLIENT_CONNECTION_ERROR, "APIConnectionError", true, false, false, false},
        {DP_CLIENT_TIMEOUT, "APITimeoutError", true, true, false, false},
        {DP_CLIENT_SERVER_TIMEOUT, "ServerTimeoutError", true, true, true, false},
        {DP_CLIENT_SERVICE_UNAVAILABLE, "ServiceUnavailableError", true, false, true, false},
        {DP_CLIENT_SERVER_ERROR, "ServerError", true, false, true, false},
        {DP_CLIENT_AUTHENTICATION_ERROR, "AuthenticationError", false, false, true, false},
        {DP_CLIENT_NOT_FOUND, "NotFoundError", false, false, true, false},
        {DP_CLIENT_INVALID_REQUEST, "InvalidRequestError", false, false, true, false},
        {DP_CLIENT_STATUS_ERROR, "APIStatusError", false, false, true, false},
        {DP_CLIENT_POOL_TIMEOUT, "PoolTimeoutError", false, true, false, true},
        {DP_CLIENT_CIRCUIT_OPEN, "CircuitOpenError", false, false, false, true},
        {DP_CLIENT_CANCELLED, "RequestCancelledError", false, false, false, true},
        {DP_CLIENT_RESPONSE_TOO_LARGE, "ResponseTooLargeError", false, false, true, false},
        {DP_CLIENT_UNUSABLE_REQUEST, "RequestError", false, false, false, true},
        {DP_CLIENT_NO_MEMORY, "OutOfMemoryError", false, false, false, true},
    };
    assert_int_equal(sizeof rows / sizeof rows[0], DP_CLIENT_KIND_COUNT);
    for (size_t i = 0; i < DP_CLIENT_KIND_COUNT; i++) {
        assert_string_equal(dp_client_kind_name(rows[i].kind), rows[i].name);
        assert_int_equal(dp_client_kind_retryable(rows[i].kind), rows[i].retryable);
        assert_int_equal(dp_client_kind_is_timeout(rows[i].kind), rows[i].timeout);
        assert_int_equal(dp_client_kind_has_status(rows[i].kind), rows[i].has_status);
        assert_int_equal(dp_client_kind_is_local(rows[i].kind), rows[i].local);
        assert_true(strlen(dp_client_kind_text(rows[i].kind)) > 0);
    }
    assert_string_equal(dp_client_kind_name((dp_client_kind)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_mean_what_the_table_says),
        cmocka_unit_test(no_refusal_counts_against_the_server),
        cmocka_unit_test(kinds_have_the_names_users_match_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
