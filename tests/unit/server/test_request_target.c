/* Targets, query parameters, numbers. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/request_target.h"

static void splits_targets(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        bool valid;
        const char *path;
        const char *query;
    } rows[] = {
        {"/", true, "/", ""},
        {"/msg?", true, "/msg", ""},
        {"/msg?a=1?b=2", true, "/msg", "a=1?b=2"},
        {"/msg#part", true, "/msg", ""},
        {"/a%2Fb", true, "/a%2Fb", ""},
        {"http://host:1/msg?x", true, "/msg", "x"},
        {"HTTPS://host/", true, "/", ""},
        {"http://host", true, "/", ""},
        {"http://host?x=/msg", true, "/", "x=/msg"},
        {"http://host#/msg", true, "/", ""},
        {"http:///msg", false, "", ""},
        {"http://", false, "", ""},
        {"?x", false, "", ""},
        {"", false, "", ""},
        {"*", false, "", ""},
        {"msg", false, "", ""},
        {"/a b", false, "", ""},
        {"/a\tb", false, "", ""},
        {"/a\x80", false, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_request_target target;
        assert_int_equal(dp_request_target_parse(dp_slice_of_text(rows[i].raw), &target), rows[i].valid);
        if (!rows[i].valid) continue;
        assert_true(dp_slice_equal_text(target.path, rows[i].path));
        assert_true(dp_slice_equal_text(target.query, rows[i].query));
    }
}

static void the_last_of_repeated_parameters_counts(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *value; /* NULL: not there */
    } rows[] = {
        {"delay=1", "1"},     {"delay=1&delay=2", "2"}, {"x=1&delay=2&y", "2"}, {"delay", ""},
        {"delay=", ""},       {"xdelay=1", NULL},       {"Delay=1", NULL},      {"", NULL},
        {"&&", NULL},         {"d%65lay=3", "3"},       {"delay=a=b", "a=b"},   {"delay=%31", "%31"},
        {"=1&delay=5&", "5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_slice value;
        bool found = dp_query_last(dp_slice_of_text(rows[i].query), "delay", &value);
        assert_int_equal(found, rows[i].value != NULL);
        if (found) assert_true(dp_slice_equal_text(value, rows[i].value));
    }
}

static void decodes_percent_and_plus(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool plus;
        const char *decoded;
    } rows[] = {
        {"a%41b", false, "aAb"}, {"a+b", false, "a+b"}, {"a+b", true, "a b"},  {"%", false, "%"},
        {"%4", false, "%4"},     {"%zz", false, "%zz"}, {"%%41", false, "%A"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[32];
        size_t length = dp_percent_decode(dp_slice_of_text(rows[i].text), rows[i].plus, out);
        assert_true(dp_slice_equal_text(dp_slice_make(out, length), rows[i].decoded));
    }
}

static void names_what_is_wrong_with_a_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        dp_number_fault fault;
        uint32_t value;
    } rows[] = {
        {"0", DP_NUMBER_OK, 0},
        {"30000", DP_NUMBER_OK, 30000},
        {"007", DP_NUMBER_OK, 7},
        {"%31", DP_NUMBER_OK, 1},
        {"30001", DP_NUMBER_TOO_LARGE, 0},
        {"99999999999999999999", DP_NUMBER_TOO_LARGE, 0},
        {"-1", DP_NUMBER_TOO_SMALL, 0},
        {"-0", DP_NUMBER_TOO_SMALL, 0},
        {"", DP_NUMBER_NOT_A_NUMBER, 0},
        {"-", DP_NUMBER_NOT_A_NUMBER, 0},
        {"1.5", DP_NUMBER_NOT_A_NUMBER, 0},
        {"0x10", DP_NUMBER_NOT_A_NUMBER, 0},
        {"1e2", DP_NUMBER_NOT_A_NUMBER, 0},
        {"+1", DP_NUMBER_NOT_A_NUMBER, 0},
        {"1%00", DP_NUMBER_NOT_A_NUMBER, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t value = 0;
        assert_int_equal(dp_request_number(dp_slice_of_text(rows[i].text), 30000, &value), rows[i].fault);
        assert_int_equal(value, rows[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_targets),
        cmocka_unit_test(the_last_of_repeated_parameters_counts),
        cmocka_unit_test(decodes_percent_and_plus),
        cmocka_unit_test(names_what_is_wrong_with_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
