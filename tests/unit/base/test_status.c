/* The list of outcomes: names, texts, exit codes and what may be tried again. */
#include "tests/unit/support/cmocka_includes.h"

#include <string.h>

#include "base/status.h"

static void every_status_has_a_name_a_text_and_an_exit_code(void **state)
{
    (void)state;
    for (int i = 0; i < DP_STATUS_COUNT; i++) {
        dp_status status = (dp_status)i;
        assert_true(strlen(dp_status_name(status)) > 1);
        assert_true(strlen(dp_status_text(status)) > 1);
        assert_in_range(dp_status_exit_code(status), 0, 4);
        assert_int_equal(dp_status_exit_code(status) == 0, status == DP_STATUS_OK);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(dp_status_name(status), dp_status_name((dp_status)j));
        }
    }
}

static void exit_codes_are_what_scripts_depend_on(void **state)
{
    (void)state;
    static const struct {
        dp_status status;
        int exit_code;
        bool retryable;
    } cases[] = {
        {DP_STATUS_OK, 0, false},        {DP_STATUS_BLOCKED, 1, false},       {DP_STATUS_CONFLICT, 1, false},
        {DP_STATUS_NOT_FOUND, 1, false}, {DP_STATUS_USAGE, 2, false},         {DP_STATUS_IO, 3, false},
        {DP_STATUS_REMOTE, 3, true},     {DP_STATUS_TIMEOUT, 3, true},        {DP_STATUS_BUSY, 3, true},
        {DP_STATUS_FULL, 3, true},       {DP_STATUS_COMMIT_UNKNOWN, 3, true}, {DP_STATUS_CANCELLED, 3, false},
        {DP_STATUS_NO_MEMORY, 3, true},  {DP_STATUS_DATA, 4, false},          {DP_STATUS_LIMIT, 4, false},
        {DP_STATUS_POISON, 4, false},    {DP_STATUS_INTERNAL, 3, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dp_status_exit_code(cases[i].status), cases[i].exit_code);
        assert_int_equal(dp_status_retryable(cases[i].status), cases[i].retryable);
    }
}

static void a_number_that_is_no_status_is_an_internal_error(void **state)
{
    (void)state;
    assert_string_equal(dp_status_name((dp_status)DP_STATUS_COUNT), "INTERNAL");
    assert_string_equal(dp_status_name((dp_status)-1), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_a_text_and_an_exit_code),
        cmocka_unit_test(exit_codes_are_what_scripts_depend_on),
        cmocka_unit_test(a_number_that_is_no_status_is_an_internal_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
