/* The decision after a failed attempt, as a table; and the bounds and distribution of waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/retry_policy.h"

#define SECOND INT64_C(1000000)

static const dp_retry_policy defaults = {
    .attempt_count = 3,
    .min_wait_us = SECOND,
    .max_wait_us = 60 * SECOND,
    .multiplier_us = 2 * SECOND,
    .retry_after_max_us = 300 * SECOND,
    .jitter = true,
};

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void decides_as_the_table_says(void **state)
{
    (void)state;
    const int64_t now = 1000 * SECOND;
    static const struct {
        const char *name;
        unsigned attempt;
        bool retryable;
        bool probe;
        int64_t retry_after_us;
        int64_t deadline_in_us; /* 0: none */
        dp_retry_verdict verdict;
        int64_t wait_us;
    } rows[] = {
        {"first failure", 1, true, false, -1, 0, DP_RETRY_AGAIN, 2 * SECOND},
        {"second failure waits twice as long", 2, true, false, -1, 0, DP_RETRY_AGAIN, 4 * SECOND},
        {"third is the last", 3, true, false, -1, 0, DP_RETRY_ATTEMPTS, 0},
        {"not retryable", 1, false, false, -1, 0, DP_RETRY_NOT_RETRYABLE, 0},
        {"not retryable wins over no attempts", 3, false, false, -1, 0, DP_RETRY_NOT_RETRYABLE, 0},
        {"a probe is one attempt", 1, true, true, -1, 0, DP_RETRY_PROBE, 0},
        {"Retry-After of 0", 1, true, false, 0, 0, DP_RETRY_AGAIN, 2 * SECOND},
        {"Retry-After below the wait changes nothing", 1, true, false, SECOND, 0, DP_RETRY_AGAIN, 2 * SECOND},
        {"Retry-After above the wait is a lower bound", 1, true, false, 7 * SECOND, 0, DP_RETRY_AGAIN,
         7 * SECOND},
        {"Retry-After may exceed max_wait", 1, true, false, 100 * SECOND, 0, DP_RETRY_AGAIN, 100 * SECOND},
        {"Retry-After of exactly the limit", 1, true, false, 300 * SECOND, 0, DP_RETRY_AGAIN, 300 * SECOND},
        {"Retry-After beyond the limit", 1, true, false, 300 * SECOND + 1, 0, DP_RETRY_RETRY_AFTER, 0},
        {"deadline after the wait", 1, true, false, -1, 2 * SECOND + 1, DP_RETRY_AGAIN, 2 * SECOND},
        {"deadline at the end of the wait", 1, true, false, -1, 2 * SECOND, DP_RETRY_DEADLINE, 0},
        {"deadline passed", 1, true, false, -1, -SECOND, DP_RETRY_DEADLINE, 0},
        {"Retry-After past the deadline", 1, true, false, 5 * SECOND, 3 * SECOND, DP_RETRY_DEADLINE, 0},
    };
    dp_retry_policy policy = defaults;
    policy.jitter = false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        dp_retry_question question = {
            .attempt = rows[i].attempt,
            .retryable = rows[i].retryable,
            .probe = rows[i].probe,
            .retry_after_us = rows[i].retry_after_us,
            .now_us = now,
            .deadline_us = rows[i].deadline_in_us == 0 ? INT64_MAX : now + rows[i].deadline_in_us,
        };
        int64_t wait_us = 0;
        assert_int_equal(dp_retry_decide(&policy, &question, &wait_us), rows[i].verdict);
        assert_int_equal(wait_us, rows[i].wait_us);
    }
}

static void ceiling_doubles_between_min_and_max(void **state)
{
    (void)state;
    static const int64_t seconds[] = {2, 4, 8, 16, 32, 60, 60};
    for (unsigned attempt = 1; attempt <= 7; attempt++) {
        assert_int_equal(dp_retry_ceiling_us(&defaults, attempt), seconds[attempt - 1] * SECOND);
    }
    assert_int_equal(dp_retry_ceiling_us(&defaults, 4000000000U), 60 * SECOND);
    dp_retry_policy policy = defaults;
    policy.multiplier_us = SECOND / 10;
    assert_int_equal(dp_retry_ceiling_us(&policy, 1), SECOND);
    assert_int_equal(dp_retry_ceiling_us(&policy, 5), 1600000);
    policy.multiplier_us = 0;
    assert_int_equal(dp_retry_ceiling_us(&policy, 100), SECOND);
    policy = (dp_retry_policy){.max_wait_us = INT64_MAX, .multiplier_us = INT64_MAX / 3};
    assert_int_equal(dp_retry_ceiling_us(&policy, 90), INT64_MAX);
}

static void jitter_is_uniform_between_min_and_ceiling(void **state)
{
    (void)state;
    enum { DRAWS = 200000, CELLS = 10 };
    uint64_t seed = 20260102;
    for (unsigned attempt = 1; attempt <= 6; attempt++) {
        dp_retry_policy policy = defaults;
        policy.attempt_count = 10;
        int64_t ceiling = dp_retry_ceiling_us(&policy, attempt);
        unsigned cells[CELLS] = {0};
        for (int i = 0; i < DRAWS; i++) {
            dp_retry_question question = {.attempt = attempt,
                                          .retryable = true,
                                          .retry_after_us = -1,
                                          .deadline_us = INT64_MAX,
                                          .random = next_random(&seed)};
            int64_t wait_us = -1;
            assert_int_equal(dp_retry_decide(&policy, &question, &wait_us), DP_RETRY_AGAIN);
            assert_in_range(wait_us, policy.min_wait_us, ceiling);
            cells[(wait_us - policy.min_wait_us) * CELLS / (ceiling - policy.min_wait_us + 1)]++;
        }
        double chi_squared = 0;
        for (int i = 0; i < CELLS; i++) {
            double difference = (double)cells[i] - (double)DRAWS / CELLS;
            chi_squared += difference * difference / ((double)DRAWS / CELLS);
        }
        assert_true(chi_squared < 27.9); /* 9 degrees of freedom, p = 0.001; the seed is fixed */
    }
}

static void jitter_reaches_both_ends(void **state)
{
    (void)state;
    dp_retry_question question = {
        .attempt = 1, .retryable = true, .retry_after_us = -1, .deadline_us = INT64_MAX, .random = 0};
    int64_t wait_us = 0;
    dp_retry_decide(&defaults, &question, &wait_us);
    assert_int_equal(wait_us, SECOND);
    question.random = (uint64_t)SECOND; /* the width is SECOND + 1 values */
    dp_retry_decide(&defaults, &question, &wait_us);
    assert_int_equal(wait_us, 2 * SECOND);
}

static void every_verdict_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(dp_retry_verdict_text(DP_RETRY_ATTEMPTS), "no attempts left");
    assert_string_equal(dp_retry_verdict_text((dp_retry_verdict)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_the_table_says),
        cmocka_unit_test(ceiling_doubles_between_min_and_max),
        cmocka_unit_test(jitter_is_uniform_between_min_and_ceiling),
        cmocka_unit_test(jitter_reaches_both_ends),
        cmocka_unit_test(every_verdict_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
