/* The retry budget: 20 % of the requests of the last ten seconds plus ten a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/retry_budget.h"

#define SECOND INT64_C(1000000)

static uint64_t take_all(dp_retry_budget *budget, int64_t now_us)
{
    uint64_t taken = 0;
    while (dp_retry_budget_take(budget, now_us)) {
        taken++;
    }
    return taken;
}

static void allows_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned percent;
        unsigned per_second;
        unsigned requests;
        uint64_t allowed;
    } rows[] = {
        {"nothing sent yet: the floor of ten seconds", 20, 10, 0, 100},
        {"a fifth of the requests beside it", 20, 10, 1000, 300},
        {"fractions do not count", 20, 0, 9, 1},
        {"no floor, no requests, no retries", 20, 0, 0, 0},
        {"only a floor", 0, 1, 1000, 10},
        {"nothing at all", 0, 0, 1000, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        dp_retry_budget budget = dp_retry_budget_make(rows[i].percent, rows[i].per_second, 10 * SECOND);
        for (unsigned n = 0; n < rows[i].requests; n++) {
            dp_retry_budget_request(&budget, 5 * SECOND);
        }
        assert_int_equal(dp_retry_budget_left(&budget, 5 * SECOND), rows[i].allowed);
        assert_int_equal(take_all(&budget, 5 * SECOND), rows[i].allowed);
    }
}

static void forgets_after_the_window(void **state)
{
    (void)state;
    dp_retry_budget budget = dp_retry_budget_make(20, 10, 10 * SECOND);
    assert_int_equal(take_all(&budget, 0), 100);
    assert_int_equal(take_all(&budget, 9 * SECOND), 0);
    assert_int_equal(take_all(&budget, 10 * SECOND), 100);
    assert_int_equal(take_all(&budget, 5000 * SECOND), 100);
}

static void a_clock_that_goes_back_gives_nothing(void **state)
{
    (void)state;
    dp_retry_budget budget = dp_retry_budget_make(20, 10, 10 * SECOND);
    assert_int_equal(take_all(&budget, 100 * SECOND), 100);
    assert_int_equal(take_all(&budget, 50 * SECOND), 0);
    assert_int_equal(take_all(&budget, 100 * SECOND), 0);
}

/* Any ten-second stretch of any history keeps to the bound, up to the tenth by which the window moves. */
static void never_exceeds_the_bound_over_random_histories(void **state)
{
    (void)state;
    enum { STEPS = 20000 };
    static int64_t request_at[STEPS];
    static int64_t retry_at[STEPS];
    size_t request_count = 0;
    size_t retry_count = 0;
    uint64_t seed = 7;
    int64_t now = 0;
    dp_retry_budget budget = dp_retry_budget_make(20, 2, 10 * SECOND);
    for (int i = 0; i < STEPS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        now += (int64_t)((seed >> 33) % 20000);
        if ((seed >> 60) < 6) {
            dp_retry_budget_request(&budget, now);
            request_at[request_count++] = now;
        } else if (dp_retry_budget_take(&budget, now)) {
            retry_at[retry_count++] = now;
        }
    }
    assert_true(retry_count > 100);
    size_t first_retry = 0;
    size_t first_request = 0;
    size_t last_request = 0;
    for (size_t last = 0; last < retry_count; last++) {
        while (retry_at[first_retry] <= retry_at[last] - 9 * SECOND) {
            first_retry++;
        }
        while (first_request < request_count && request_at[first_request] <= retry_at[last] - 10 * SECOND) {
            first_request++;
        }
        while (last_request < request_count && request_at[last_request] <= retry_at[last]) {
            last_request++;
        }
        assert_true(last - first_retry + 1 <= (last_request - first_request) / 5 + 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_what_the_table_says),
        cmocka_unit_test(forgets_after_the_window),
        cmocka_unit_test(a_clock_that_goes_back_gives_nothing),
        cmocka_unit_test(never_exceeds_the_bound_over_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
