/* Which waiting is a stall, and what it is called. */
#include "tests/unit/support/cmocka_includes.h"

#include "services/lag_clock.h"
#include "services/stall.h"

enum { SECOND = 1000000, NOW = 1000 * SECOND, LIMIT = 60 * SECOND };

static int64_t ago(int64_t seconds)
{
    return NOW - seconds * SECOND;
}

static void the_first_cause_that_has_lasted_long_enough_is_told(void **state)
{
    (void)state;
    const struct {
        dp_stall_facts facts;
        dp_stall wanted;
        const char *text;
    } cases[] = {
        {{.sink_trouble = "x"}, DP_STALL_NONE, ""},
        {{.sink_since_us = ago(59)}, DP_STALL_NONE, ""},
        {{.sink_since_us = ago(60)}, DP_STALL_SERVER, "waiting for the server since 60 s"},
        {{.sink_since_us = ago(62), .sink_trouble = "refused", .source_trouble = "gone"},
         DP_STALL_SERVER,
         "waiting for the server since 62 s: refused"},
        {{.sink_since_us = ago(1), .source_since_us = ago(61), .source_trouble = "gone"},
         DP_STALL_SOURCE,
         "waiting for the source since 61 s: gone"},
        {{.sink_since_us = ago(60), .source_since_us = ago(90), .source_trouble = "gone"},
         DP_STALL_SERVER,
         "waiting for the server since 60 s"},
        {{.source_since_us = ago(61), .is_slot_held = true, .holder_pid = 42},
         DP_STALL_SLOT,
         "slot held by pid 42 since 61 s"},
        {{.source_since_us = ago(61), .is_slot_held = true, .source_trouble = "x"},
         DP_STALL_SLOT,
         "slot held by another connection since 61 s"},
        {{.source_since_us = ago(30), .is_slot_held = true}, DP_STALL_NONE, ""},
        {{.open_since_us = ago(70), .open_row_count = 12},
         DP_STALL_TRANSACTION,
         "one transaction open since 70 s, 12 rows so far"},
        {{.open_since_us = ago(70), .quiet_since_us = ago(70)},
         DP_STALL_TRANSACTION,
         "one transaction open since 70 s, 0 rows so far"},
        {{.quiet_since_us = ago(60), .lag_bytes = 9},
         DP_STALL_SENDER,
         "the source sends nothing since 60 s though the slot is 9 bytes behind"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[DP_STALL_TEXT_BYTES];
        dp_stall_state found = dp_stall_judge(&cases[i].facts, NOW, LIMIT);
        assert_int_equal(found.stall, cases[i].wanted);
        dp_stall_text(found, &cases[i].facts, NOW, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void a_long_reason_is_cut(void **state)
{
    (void)state;
    char reason[2000];
    char text[DP_STALL_TEXT_BYTES];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    dp_stall_facts facts = {.source_since_us = ago(60), .source_trouble = reason};
    dp_stall_text(dp_stall_judge(&facts, NOW, LIMIT), &facts, NOW, text);
    assert_true(strlen(text) < sizeof text);
}

static double look(dp_lag_clock *clock, int64_t second, uint64_t end, uint64_t confirmed)
{
    return dp_lag_clock_look(clock, second * SECOND, (dp_lsn){end}, (dp_lsn){confirmed});
}

static void lag_is_the_time_since_the_log_first_ended_beyond_what_is_confirmed(void **state)
{
    (void)state;
    dp_lag_clock clock = {.count = 0};
    assert_true(look(&clock, 10, 100, 100) == 0);
    assert_true(look(&clock, 15, 200, 100) == 0); /* seen for the first time */
    assert_true(look(&clock, 20, 300, 100) == 5);
    assert_true(look(&clock, 25, 300, 100) == 10);
    assert_true(look(&clock, 30, 400, 200) == 10); /* 300 was seen at 20 */
    assert_true(look(&clock, 35, 400, 399) == 5);
    assert_true(look(&clock, 40, 400, 400) == 0);
    assert_true(look(&clock, 45, 100, 400) == 0); /* a server that lost its tail */
}

static void lag_survives_more_looks_than_are_kept(void **state)
{
    (void)state;
    dp_lag_clock clock = {.count = 0};
    for (int64_t second = 1; second <= 10000; second++) {
        assert_true(look(&clock, second, (uint64_t)second * 10, 5) == (double)(second - 1));
    }
    assert_true(clock.count <= DP_LAG_CLOCK_SAMPLES);
    /* Half of it confirmed: right but for the looks that were forgotten. */
    double seconds = look(&clock, 10001, 100010, 50000);
    assert_true(seconds > 4600 && seconds <= 5001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_cause_that_has_lasted_long_enough_is_told),
        cmocka_unit_test(a_long_reason_is_cut),
        cmocka_unit_test(lag_is_the_time_since_the_log_first_ended_beyond_what_is_confirmed),
        cmocka_unit_test(lag_survives_more_looks_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
