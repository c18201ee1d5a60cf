/* Slots, a bounded queue, first come, first served. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/admission_queue.h"

static dp_admission_waiter waiters[6];

static dp_admission_queue queue_with(uint32_t limit, uint32_t max_queue, size_t arrivals)
{
    dp_admission_queue queue = {.limit = limit, .max_queue = max_queue};
    for (size_t i = 0; i < arrivals; i++) {
        dp_admission_enter(&queue, &waiters[i]);
    }
    return queue;
}

static void admits_up_to_the_limit_then_queues_then_refuses(void **state)
{
    (void)state;
    dp_admission_queue queue = queue_with(2, 2, 0);
    const dp_admission expected[] = {DP_ADMISSION_ADMITTED, DP_ADMISSION_ADMITTED, DP_ADMISSION_QUEUED,
                                     DP_ADMISSION_QUEUED, DP_ADMISSION_REFUSED};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(dp_admission_enter(&queue, &waiters[i]), expected[i]);
    }
    assert_int_equal(queue.active, 2);
    assert_int_equal(queue.queued, 2);
}

static void hands_slots_out_in_the_order_of_arrival(void **state)
{
    (void)state;
    dp_admission_queue queue = queue_with(1, 10, 4);
    for (size_t i = 1; i < 4; i++) {
        assert_ptr_equal(dp_admission_leave(&queue), &waiters[i]);
        assert_int_equal(queue.active, 1);
    }
    assert_null(dp_admission_leave(&queue));
    assert_int_equal(queue.active, 0);
}

static void a_cancelled_waiter_is_skipped_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t cancelled = 1; cancelled < 4; cancelled++) {
        dp_admission_queue queue = queue_with(1, 10, 4);
        assert_true(dp_admission_cancel(&queue, &waiters[cancelled]));
        assert_false(dp_admission_cancel(&queue, &waiters[cancelled]));
        for (size_t i = 1; i < 4; i++) {
            if (i != cancelled) assert_ptr_equal(dp_admission_leave(&queue), &waiters[i]);
        }
        assert_null(dp_admission_leave(&queue));
    }
}

static void a_newcomer_does_not_overtake_after_the_limit_was_raised(void **state)
{
    (void)state;
    dp_admission_queue queue = queue_with(1, 10, 2);
    queue.limit = 2;
    assert_int_equal(dp_admission_enter(&queue, &waiters[2]), DP_ADMISSION_QUEUED);
    assert_ptr_equal(dp_admission_next(&queue), &waiters[1]);
    assert_null(dp_admission_next(&queue));
}

static void a_lowered_limit_lets_nobody_in_until_enough_have_left(void **state)
{
    (void)state;
    dp_admission_queue queue = queue_with(3, 10, 4);
    queue.limit = 1;
    assert_null(dp_admission_leave(&queue));
    assert_null(dp_admission_leave(&queue));
    assert_ptr_equal(dp_admission_leave(&queue), &waiters[3]);
}

static void one_that_has_waited_goes_to_the_front_and_is_never_refused(void **state)
{
    (void)state;
    dp_admission_queue queue = queue_with(1, 1, 2);
    assert_int_equal(dp_admission_enter_front(&queue, &waiters[2]), DP_ADMISSION_QUEUED);
    assert_ptr_equal(dp_admission_leave(&queue), &waiters[2]);
    assert_ptr_equal(dp_admission_leave(&queue), &waiters[1]);
    assert_null(dp_admission_leave(&queue));
    assert_int_equal(dp_admission_enter_front(&queue, &waiters[3]), DP_ADMISSION_ADMITTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(admits_up_to_the_limit_then_queues_then_refuses),
        cmocka_unit_test(hands_slots_out_in_the_order_of_arrival),
        cmocka_unit_test(a_cancelled_waiter_is_skipped_wherever_it_stands),
        cmocka_unit_test(a_newcomer_does_not_overtake_after_the_limit_was_raised),
        cmocka_unit_test(a_lowered_limit_lets_nobody_in_until_enough_have_left),
        cmocka_unit_test(one_that_has_waited_goes_to_the_front_and_is_never_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
