/* What a pipeline decides from values alone, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "services/run_decisions.h"

static void a_part_passes_when_its_rows_are_staged_or_stored(void **state)
{
    (void)state;
    static const struct {
        const char *sink_status;
        const char *load_status;
        bool idempotency_passed;
        bool has_duplicates;
        const char *blocker; /* the only one; NULL: none */
    } cases[] = {
        {"success", "staged", true, false, NULL},
        {"success", " STAGED ", true, false, NULL},
        {"success", "committed", true, false, NULL},
        {"success", "pending", true, false, "load_not_committed"},
        {"failed", "staged", true, false, "sink_not_success"},
        {"success", "staged", false, false, "idempotency_failed"},
        {"success", "staged", true, true, "idempotency_failed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_receipt receipt = {.idempotency_passed = cases[i].idempotency_passed};
        snprintf(receipt.sink_status, sizeof receipt.sink_status, "%s", cases[i].sink_status);
        snprintf(receipt.load_status, sizeof receipt.load_status, "%s", cases[i].load_status);
        dp_gate_result result =
            dp_run_judge_part(&receipt, DP_BACKEND_POSTGRES_LOGICAL, cases[i].has_duplicates);
        for (int blocker = 0; blocker < DP_GATE_BLOCKER_COUNT; blocker++) {
            const char *text = dp_gate_blocker_text((dp_gate_blocker)blocker);
            bool expected = cases[i].blocker != NULL && strcmp(text, cases[i].blocker) == 0;
            if (result.blockers[blocker] != expected) fail_msg("case %zu: %s", i, text);
        }
    }
}

static void only_what_may_pass_is_delivered_again(void **state)
{
    (void)state;
    static const char in_flight[] = "{\"code\":\"request_in_flight\",\"detail\":\"wait\"}";
    static const char conflict[] = "{\"code\":\"event_conflict\",\"detail\":\"no\"}";
    static const struct {
        dp_status status;
        unsigned http_status;
        const char *body;
        bool again;
    } cases[] = {
        {DP_STATUS_OK, 200, "{}", false},     {DP_STATUS_OK, 400, "{}", false},
        {DP_STATUS_OK, 401, "{}", false},     {DP_STATUS_OK, 408, "{}", true},
        {DP_STATUS_OK, 409, in_flight, true}, {DP_STATUS_OK, 409, conflict, false},
        {DP_STATUS_OK, 413, "{}", false},     {DP_STATUS_OK, 422, "{}", false},
        {DP_STATUS_OK, 425, "{}", true},      {DP_STATUS_OK, 429, "{}", true},
        {DP_STATUS_OK, 500, "{}", true},      {DP_STATUS_OK, 503, "{}", true},
        {DP_STATUS_REMOTE, 0, "", true},      {DP_STATUS_USAGE, 0, "", false},
        {DP_STATUS_CANCELLED, 0, "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_batch_answer answer = {.http_status = cases[i].http_status,
                                  .body = dp_slice_of_text(cases[i].body)};
        if (dp_run_is_worth_repeating(cases[i].status, &answer) != cases[i].again) fail_msg("case %zu", i);
    }
}

static void waits_double_up_to_five_seconds_and_heed_the_sink_below_that(void **state)
{
    (void)state;
    static const unsigned steps[] = {500, 1000, 2000, 4000, 5000, 5000};
    unsigned backoff_ms = DP_RUN_FIRST_BACKOFF_MS;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(backoff_ms, steps[i]);
        assert_int_equal(dp_run_wait_ms(backoff_ms, 0), steps[i]);
        backoff_ms = dp_run_next_backoff_ms(backoff_ms);
    }
    assert_int_equal(dp_run_wait_ms(500, 3), 3000);
    assert_int_equal(dp_run_wait_ms(4000, 3), 4000);
    assert_int_equal(dp_run_wait_ms(500, 60), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_passes_when_its_rows_are_staged_or_stored),
        cmocka_unit_test(only_what_may_pass_is_delivered_again),
        cmocka_unit_test(waits_double_up_to_five_seconds_and_heed_the_sink_below_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
