/* Answers to batches: what many of them add up to. */
#include "tests/unit/support/cmocka_includes.h"

#include "services/batch_answer.h"

/* One batch after the other: what was answered, and the tally after it. */
typedef struct step {
    dp_batch_counts answer;
    bool is_replayed;
    uint64_t accepted;
    uint64_t duplicates;
} step;

static void assert_tally(const step *steps, size_t count)
{
    dp_batch_tally tally = {.accepted_count = 0};
    for (size_t i = 0; i < count; i++) {
        dp_batch_tally_add(&tally, &steps[i].answer, steps[i].is_replayed);
        assert_int_equal(tally.accepted_count, steps[i].accepted);
        assert_int_equal(tally.duplicate_count, steps[i].duplicates);
    }
}

#define ASSERT_TALLY(steps) assert_tally(steps, sizeof(steps) / sizeof(steps)[0])

static void parts_of_a_new_transaction_are_accepted(void **state)
{
    (void)state;
    static const step steps[] = {{{4, 0, 0, true}, false, 4, 0}, {{2, 0, 0, false}, false, 6, 0}};
    ASSERT_TALLY(steps);
}

static void rows_of_a_known_transaction_are_duplicates_although_they_were_staged(void **state)
{
    (void)state;
    static const step steps[] = {{{3, 0, 0, false}, false, 3, 0},
                                 {{4, 0, 0, true}, false, 7, 0},
                                 {{4, 0, 0, true}, false, 11, 0},
                                 {{0, 2, 8, false}, false, 3, 10}};
    ASSERT_TALLY(steps);
}

static void rows_that_are_staged_again_count_once(void **state)
{
    (void)state;
    static const step steps[] = {
        {{4, 0, 0, true}, false, 4, 0}, {{6, 0, 4, true}, false, 6, 4}, {{1, 0, 0, false}, false, 7, 4}};
    ASSERT_TALLY(steps);
}

static void what_another_run_staged_is_not_taken_off(void **state)
{
    (void)state;
    static const step steps[] = {{{2, 0, 4, true}, false, 2, 0}, {{1, 0, 0, false}, false, 3, 0}};
    ASSERT_TALLY(steps);
}

static void a_replayed_answer_stored_nothing_and_neither_did_the_parts_before_it(void **state)
{
    (void)state;
    static const step steps[] = {{{4, 0, 0, true}, false, 4, 0},
                                 {{2, 1, 0, false}, true, 0, 7},
                                 {{4, 0, 0, true}, true, 0, 11},
                                 {{2, 0, 0, false}, false, 2, 11}};
    ASSERT_TALLY(steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_a_new_transaction_are_accepted),
        cmocka_unit_test(rows_of_a_known_transaction_are_duplicates_although_they_were_staged),
        cmocka_unit_test(rows_that_are_staged_again_count_once),
        cmocka_unit_test(what_another_run_staged_is_not_taken_off),
        cmocka_unit_test(a_replayed_answer_stored_nothing_and_neither_did_the_parts_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
