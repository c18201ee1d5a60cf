/* The gate decides every combination of its five inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "replay/commit_gate.h"

static const struct {
    const char *text;
    bool success;
} sink_statuses[] = {
    {"success", true},   {"succeeded", true},   {"completed", true},     {"committed", true},
    {"SUCCESS", true},   {" Committed ", true}, {"\tCompleted\n", true}, {"", false},
    {" ", false},        {"failed", false},     {"ok", false},           {"successful", false},
    {"suc cess", false}, {"partial", false},    {"success,", false},
};

static const struct {
    const char *text;
    bool committed;
} load_statuses[] = {
    {"committed", true}, {"COMMITTED", true},   {" committed\r\n", true},
    {"", false},         {"staged", false},     {"success", false},
    {"commit", false},   {"committed!", false}, {"rolled_back", false},
};

enum { NO_OFFSET, OWN_OFFSET, FOREIGN_OFFSET, OFFSET_COUNT };

static void check(int offset_input, dp_backend backend, size_t sink, size_t load, bool passed)
{
    dp_offset offset = {.backend = backend, .token = "x"};
    if (offset_input == FOREIGN_OFFSET) offset.backend = (dp_backend)(((int)backend + 1) % 3);
    dp_gate_input input = {
        .next_offset = offset_input == NO_OFFSET ? NULL : &offset,
        .expected_backend = backend,
        .sink_status = dp_slice_of_text(sink_statuses[sink].text),
        .load_status = dp_slice_of_text(load_statuses[load].text),
        .idempotency_passed = passed,
    };
    dp_gate_result result = dp_commit_gate_evaluate(&input);
    const bool expected[DP_GATE_BLOCKER_COUNT] = {
        offset_input == NO_OFFSET,
        offset_input == FOREIGN_OFFSET,
        !sink_statuses[sink].success,
        !load_statuses[load].committed,
        !passed,
        false,
    };
    assert_memory_equal(result.blockers, expected, sizeof expected);
    assert_int_equal(result.can_commit, memchr(expected, true, sizeof expected) == NULL);
    assert_ptr_equal(result.next_offset, input.next_offset);
}

static void decides_every_combination(void **state)
{
    (void)state;
    size_t sinks = sizeof sink_statuses / sizeof sink_statuses[0];
    size_t loads = sizeof load_statuses / sizeof load_statuses[0];
    for (int offset = 0; offset < OFFSET_COUNT; offset++)
        for (int backend = 0; backend < 3; backend++)
            for (size_t sink = 0; sink < sinks; sink++)
                for (size_t load = 0; load < loads; load++)
                    for (int passed = 0; passed < 2; passed++)
                        check(offset, (dp_backend)backend, sink, load, passed == 1);
}

static void the_texts_of_blockers_are_stable_and_in_order(void **state)
{
    (void)state;
    static const char *const texts[] = {"offset_missing",     "offset_backend_mismatch", "sink_not_success",
                                        "load_not_committed", "idempotency_failed",      "offset_regression"};
    assert_int_equal(DP_GATE_BLOCKER_COUNT, sizeof texts / sizeof texts[0]);
    for (size_t i = 0; i < DP_GATE_BLOCKER_COUNT; i++) {
        assert_string_equal(dp_gate_blocker_text((dp_gate_blocker)i), texts[i]);
        assert_true(strlen(dp_gate_blocker_description((dp_gate_blocker)i)) > 20);
    }
}

static void a_service_can_add_a_regression(void **state)
{
    (void)state;
    dp_offset offset = {.backend = DP_BACKEND_POSTGRES_LOGICAL};
    dp_gate_input input = {&offset, DP_BACKEND_POSTGRES_LOGICAL, DP_SLICE_LITERAL("success"),
                           DP_SLICE_LITERAL("committed"), true};
    dp_gate_result result = dp_commit_gate_evaluate(&input);
    assert_true(result.can_commit);
    dp_gate_result_block(&result, DP_GATE_BLOCKER_OFFSET_REGRESSION);
    assert_false(result.can_commit);
    assert_true(result.blockers[DP_GATE_BLOCKER_OFFSET_REGRESSION]);
}

static void a_status_may_hold_any_byte(void **state)
{
    (void)state;
    dp_offset offset = {.backend = DP_BACKEND_POSTGRES_LOGICAL};
    dp_gate_input input = {
        &offset, DP_BACKEND_POSTGRES_LOGICAL, {"success\0x", 9}, {"committed\0", 10}, true};
    dp_gate_result result = dp_commit_gate_evaluate(&input);
    assert_true(result.blockers[DP_GATE_BLOCKER_SINK_NOT_SUCCESS]);
    assert_true(result.blockers[DP_GATE_BLOCKER_LOAD_NOT_COMMITTED]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_every_combination),
        cmocka_unit_test(the_texts_of_blockers_are_stable_and_in_order),
        cmocka_unit_test(a_service_can_add_a_regression),
        cmocka_unit_test(a_status_may_hold_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
