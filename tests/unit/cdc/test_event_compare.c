#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cdc/event_compare.h"

static void documents_are_equal_when_they_say_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *left;
        const char *right;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1}", "{ \"a\" : 1 }", true},
        {"{\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
        {"{\"a\":null}", "{}", false},
        {"{\"a\":1}", "{\"a\":\"1\"}", false},
        {"{\"a\":true}", "{\"a\":false}", false},
        {"[1,2]", "[2,1]", false},
        {"\"\\u0041\"", "\"A\"", true},
        {"{\"\\u0041\":\"\\/\"}", "{\"A\":\"/\"}", true},
        {"1", "1.0", true},
        {"100", "1e2", true},
        {"0.05", "5E-2", true},
        {"0.10", "0.1", true},
        {"12.5", "125e-1", true},
        {"1", "10", false},
        {"1", "-1", false},
        {"0", "-0.0", true},
        {"1.05", "10.5", false},
        {"123456789012345678901234567890", "123456789012345678901234567891", false},
        {"{\"a\":{\"x\":[1,{\"y\":2,\"z\":3}]}}", "{\"a\":{\"x\":[1,{\"z\":3,\"y\":2.0}]}}", true},
    };
    dp_arena *arena = dp_arena_new(4096, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        bool equal;
        assert_int_equal(dp_json_equal(dp_slice_of_text(cases[i].left), dp_slice_of_text(cases[i].right),
                                       arena, &equal, &error),
                         DP_STATUS_OK);
        if (equal != cases[i].equal) fail_msg("%s against %s", cases[i].left, cases[i].right);
    }
    dp_arena_free(arena);
}

static void content_leaves_out_before_unchanged_and_metadata(void **state)
{
    (void)state;
    dp_arena *arena = dp_arena_new(4096, 1 << 20);
    dp_event left = {.has_id = true,
                     .source_schema = DP_SLICE_LITERAL("s"),
                     .source_table = DP_SLICE_LITERAL("t"),
                     .position = DP_SLICE_LITERAL("0/1"),
                     .data = DP_SLICE_LITERAL("{\"a\":1}")};
    dp_event right = left;
    bool equal = false;
    dp_error error = DP_ERROR_INIT;
    right.before = DP_SLICE_LITERAL("{}");
    right.unchanged = DP_SLICE_LITERAL("[\"b\"]");
    right.metadata = DP_SLICE_LITERAL("{}");
    right.line_number = 9;
    assert_int_equal(dp_event_equal_content(&left, &right, arena, &equal, &error), DP_STATUS_OK);
    assert_true(equal);
    right.transaction_id = DP_SLICE_LITERAL("9");
    assert_int_equal(dp_event_equal_content(&left, &right, arena, &equal, &error), DP_STATUS_OK);
    assert_false(equal);
    dp_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_equal_when_they_say_the_same),
        cmocka_unit_test(content_leaves_out_before_unchanged_and_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
