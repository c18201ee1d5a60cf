/* Which requests fail: by count, by time, both side by side. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/failure_state.h"

#define SECOND INT64_C(1000000)

static void fails_exactly_the_next_n(void **state)
{
    (void)state;
    dp_failure_state failure = {0};
    dp_failure_state_set_count(&failure, 5);
    dp_failure_state_set_count(&failure, 2); /* replaces */
    assert_true(dp_failure_state_take(&failure, 0));
    assert_true(dp_failure_state_take(&failure, 0));
    assert_false(dp_failure_state_take(&failure, 0));
}

static void fails_until_the_moment_and_not_at_it(void **state)
{
    (void)state;
    dp_failure_state failure = {0};
    dp_failure_state_set_duration(&failure, 3, 10 * SECOND, 1000 * SECOND);
    assert_true(dp_failure_state_take(&failure, 13 * SECOND - 1));
    assert_false(dp_failure_state_take(&failure, 13 * SECOND));
    assert_int_equal(dp_failure_state_remaining_us(&failure, 11 * SECOND), 2 * SECOND);
    assert_int_equal(dp_failure_state_remaining_us(&failure, 99 * SECOND), 0);
}

static void a_passed_moment_stays_visible_until_reset(void **state)
{
    (void)state;
    dp_failure_state failure = {0};
    dp_failure_state_set_duration(&failure, 0, 10 * SECOND, 1000 * SECOND);
    assert_false(dp_failure_state_is_failing(&failure, 10 * SECOND));
    assert_true(failure.has_until);
    assert_int_equal(failure.until_wall_us, 1000 * SECOND);
    dp_failure_state_reset(&failure);
    assert_false(failure.has_until);
}

static void the_count_goes_down_while_a_duration_runs(void **state)
{
    (void)state;
    dp_failure_state failure = {0};
    dp_failure_state_set_count(&failure, 2);
    dp_failure_state_set_duration(&failure, 1, 0, 0);
    assert_true(dp_failure_state_take(&failure, 0));
    assert_int_equal(failure.remaining_count, 1);
    assert_true(dp_failure_state_is_failing(&failure, 2 * SECOND)); /* looking changes nothing */
    assert_true(dp_failure_state_take(&failure, 2 * SECOND));
    assert_false(dp_failure_state_take(&failure, 2 * SECOND));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fails_exactly_the_next_n),
        cmocka_unit_test(fails_until_the_moment_and_not_at_it),
        cmocka_unit_test(a_passed_moment_stays_visible_until_reset),
        cmocka_unit_test(the_count_goes_down_while_a_duration_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
