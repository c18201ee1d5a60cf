/* Who may use /v1. */
#include "tests/unit/support/cmocka_includes.h"

#include <stdlib.h>
#include <unistd.h>

#include "server/access.h"

static void loopback_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool loopback;
    } rows[] = {
        {"localhost", true},       {"LOCALHOST:8000", true},
        {"127.0.0.1", true},       {"127.1.2.3:80", true},
        {"[::1]", true},           {"[::1]:8000", true},
        {"app.localhost", true},   {"example.com", false},
        {"localhost.evil", false}, {"127.0.0.1.evil", false},
        {"0.0.0.0", false},        {"128.0.0.1", false},
        {"[::2]", false},          {"", false},
        {"localhost:port", false}, {"localhost:1:2", false},
        {"127.1", false},          {"evil-localhost", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dp_access_is_loopback_host(dp_slice_of_text(rows[i].host)), rows[i].loopback);
    }
}

static void without_a_token_only_plain_local_requests(void **state)
{
    (void)state;
    const dp_slice none = {"", 0};
    const dp_slice local = DP_SLICE_LITERAL("localhost");
    const dp_access_facts plain = {.peer_is_loopback = true, .host = local};
    const dp_access_facts others[] = {
        {.peer_is_loopback = false, .host = local},
        {.peer_is_loopback = true, .host = local, .was_forwarded = true},
        {.peer_is_loopback = true, .host = local, .has_origin = true},
        {.peer_is_loopback = true, .host = DP_SLICE_LITERAL("evil.example")},
        {.peer_is_loopback = true, .host = none},
    };
    assert_int_equal(dp_access_decide(none, &plain), DP_ACCESS_GRANTED);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(dp_access_decide(none, &others[i]), DP_ACCESS_TOKEN_REQUIRED);
    }
}

static void with_a_token_only_the_token_counts(void **state)
{
    (void)state;
    const dp_slice token = DP_SLICE_LITERAL("0123456789abcdef");
    static const struct {
        const char *header;
        size_t count;
        dp_access expected;
    } rows[] = {
        {"", 0, DP_ACCESS_TOKEN_MISSING},
        {"Bearer 0123456789abcdef", 1, DP_ACCESS_GRANTED},
        {"bearer  0123456789abcdef", 1, DP_ACCESS_GRANTED},
        {"Bearer 0123456789abcdef", 2, DP_ACCESS_TOKEN_MISSING},
        {"Bearer 0123456789abcdeF", 1, DP_ACCESS_TOKEN_WRONG},
        {"Bearer 0123456789abcde", 1, DP_ACCESS_TOKEN_WRONG},
        {"Bearer 0123456789abcdef0", 1, DP_ACCESS_TOKEN_WRONG},
        {"Bearer ", 1, DP_ACCESS_TOKEN_WRONG},
        {"Basic 0123456789abcdef", 1, DP_ACCESS_TOKEN_MISSING},
        {"0123456789abcdef", 1, DP_ACCESS_TOKEN_MISSING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_access_facts facts = {.has_origin = true,
                                 .authorization = dp_slice_of_text(rows[i].header),
                                 .authorization_count = rows[i].count};
        assert_int_equal(dp_access_decide(token, &facts), rows[i].expected);
    }
}

static void token_files(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        bool valid;
    } rows[] = {
        {"0123456789abcdef\n", true}, {"  0123456789abcdef \r\n", true},
        {"short\n", false},           {"", false},
        {"0123456789 abcdef", false}, {"0123456789abcdef\nsecond-line-here", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[] = "/tmp/dpone-token-XXXXXX";
        int file = mkstemp(path);
        assert_true(file >= 0);
        assert_int_equal(write(file, rows[i].content, strlen(rows[i].content)), strlen(rows[i].content));
        close(file);
        char token[4097] = "";
        dp_error error = DP_ERROR_INIT;
        dp_status status = dp_access_read_token(path, token, &error);
        unlink(path);
        assert_int_equal(status, rows[i].valid ? DP_STATUS_OK : DP_STATUS_USAGE);
        if (rows[i].valid) assert_string_equal(token, "0123456789abcdef");
        assert_null(strstr(error.message, "0123456789"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_hosts),
        cmocka_unit_test(without_a_token_only_plain_local_requests),
        cmocka_unit_test(with_a_token_only_the_token_counts),
        cmocka_unit_test(token_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
