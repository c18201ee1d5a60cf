/* Slices hold any byte, compare by byte, and parse numbers strictly. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/slice.h"

#define S(text) DP_SLICE_LITERAL(text)

static void equality_and_order_are_by_bytes(void **state)
{
    (void)state;
    static const dp_slice ascending[] = {{NULL, 0}, S("\0"),   S("\0a"),      S("A"),
                                         S("Z"),    S("a"),    S("a\0"),      S("aa"),
                                         S("b"),    S("\x7f"), S("\xc3\xa4"), S("\xf0\x9f\x98\x80")};
    for (size_t i = 0; i < sizeof ascending / sizeof ascending[0]; i++) {
        for (size_t j = 0; j < sizeof ascending / sizeof ascending[0]; j++) {
            int order = dp_slice_compare(ascending[i], ascending[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(dp_slice_equal(ascending[i], ascending[j]), i == j);
        }
    }
    assert_true(dp_slice_equal((dp_slice){NULL, 0}, S("")));
    assert_true(dp_slice_equal(dp_slice_of_text(NULL), S("")));
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
    (void)state;
    static const struct {
        dp_slice left;
        dp_slice right;
        bool equal;
    } cases[] = {
        {S("Content-Type"), S("content-TYPE"), true},
        {S(""), {NULL, 0}, true},
        {S("a"), S("b"), false},
        {S("a"), S("aa"), false},
        {S("@"), S("`"), false}, /* differ by 0x20 and are no letters */
        {S("["), S("{"), false},
        {S("Z"), S("z"), true},
        {S("a\0b"), S("A\0B"), true},
        {S("a\0b"), S("a\0c"), false}, /* a NUL is a byte like any other */
        {S("\xc3\x84"), S("\xc3\xa4"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dp_slice_equal_ignoring_case(cases[i].left, cases[i].right), cases[i].equal);
    }
}

static void prefixes_and_trimming(void **state)
{
    (void)state;
    assert_true(dp_slice_starts_with(S("abc"), S("ab")));
    assert_true(dp_slice_starts_with(S("abc"), S("")));
    assert_true(dp_slice_starts_with((dp_slice){NULL, 0}, S("")));
    assert_false(dp_slice_starts_with(S("ab"), S("abc")));
    static const struct {
        const char *text;
        const char *trimmed;
    } cases[] = {{"", ""},    {" \t\r\n\v\f", ""},       {"a", "a"}, {" a b ", "a b"}, {"\na\n", "a"},
                 {"a ", "a"}, {"\xc2\xa0z", "\xc2\xa0z"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(dp_slice_equal_text(dp_slice_trim(dp_slice_of_text(cases[i].text)), cases[i].trimmed));
    }
    assert_int_equal(dp_slice_trim((dp_slice){NULL, 0}).length, 0);
}

static void splitting_stops_at_the_first_separator(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *head;
        const char *tail;
        bool found;
    } cases[] = {
        {"a.b.c", "a", "b.c", true}, {"abc", "abc", "", false}, {"", "", "", false},
        {".", "", "", true},         {".a", "", "a", true},     {"a.", "a", "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_slice head;
        dp_slice tail;
        assert_int_equal(dp_slice_split(dp_slice_of_text(cases[i].text), '.', &head, &tail), cases[i].found);
        assert_true(dp_slice_equal_text(head, cases[i].head));
        assert_true(dp_slice_equal_text(tail, cases[i].tail));
    }
    dp_slice head;
    dp_slice tail;
    assert_false(dp_slice_split((dp_slice){NULL, 0}, '.', &head, &tail));
    assert_int_equal(head.length + tail.length, 0);
    /* The tail may be written over the text: that is how a loop consumes it. */
    dp_slice rest = S("a.b");
    assert_true(dp_slice_split(rest, '.', &head, &rest));
    assert_true(dp_slice_equal_text(rest, "b"));
}

static void numbers_are_digits_within_the_maximum(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t maximum;
        bool accepted;
        uint64_t value;
    } cases[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"007", 7, true, 7},
        {"8", 7, false, 0},
        {"9", 8, false, 0},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"255", 255, true, 255},
        {"256", 255, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"18446744073709551625", UINT64_MAX, false, 0},
        {"99999999999999999999999999", UINT64_MAX, false, 0},
        {"9223372036854775807", INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", INT64_MAX, false, 0},
        {"", 10, false, 0},
        {"-1", 10, false, 0},
        {"+1", 10, false, 0},
        {" 1", 10, false, 0},
        {"1 ", 10, false, 0},
        {"1.0", 10, false, 0},
        {"0x1", 10, false, 0},
        {"\xd9\xa1", 10, false, 0}, /* an Arabic digit */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 4711;
        bool accepted = dp_slice_to_u64(dp_slice_of_text(cases[i].text), cases[i].maximum, &value);
        if (accepted != cases[i].accepted)
            fail_msg("'%s' up to %llu", cases[i].text, (unsigned long long)cases[i].maximum);
        assert_true(value == (accepted ? cases[i].value : 4711));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_and_order_are_by_bytes),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(prefixes_and_trimming),
        cmocka_unit_test(splitting_stops_at_the_first_separator),
        cmocka_unit_test(numbers_are_digits_within_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
