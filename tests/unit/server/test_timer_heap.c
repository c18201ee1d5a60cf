/* Timers come out in order, whatever was set, moved and cancelled before. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/timer_heap.h"

enum { TIMERS = 500 };

static void timers_come_due_in_order(void **state)
{
    (void)state;
    static dp_timer timers[TIMERS];
    dp_timer_heap heap = {0};
    uint32_t random = 1;
    for (size_t round = 0; round < 3000; round++) {
        random = random * 1103515245u + 12345u;
        dp_timer *timer = &timers[random / 65536 % TIMERS];
        if (random / 8 % 4 == 0) {
            dp_timer_heap_cancel(&heap, timer);
        } else {
            assert_true(dp_timer_heap_set(&heap, timer, (int64_t)(random / 7 % 1000)));
        }
    }
    size_t set = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        set += timers[i].place > 0;
    }
    assert_int_equal(set, heap.count);
    int64_t last = 0;
    dp_timer *timer;
    assert_null(dp_timer_heap_take_due(&heap, -1));
    while ((timer = dp_timer_heap_take_due(&heap, 1000)) != NULL) {
        assert_true(timer->at_us >= last);
        assert_int_equal(timer->place, 0);
        last = timer->at_us;
        set--;
    }
    assert_int_equal(set, 0);
    assert_null(dp_timer_heap_first(&heap));
    dp_timer_heap_release(&heap);
}

static void only_what_is_due_is_taken(void **state)
{
    (void)state;
    dp_timer early = {0};
    dp_timer late = {0};
    dp_timer_heap heap = {0};
    dp_timer_heap_set(&heap, &late, 20);
    dp_timer_heap_set(&heap, &early, 10);
    assert_ptr_equal(dp_timer_heap_first(&heap), &early);
    assert_null(dp_timer_heap_take_due(&heap, 9));
    assert_ptr_equal(dp_timer_heap_take_due(&heap, 10), &early);
    assert_null(dp_timer_heap_take_due(&heap, 19));
    dp_timer_heap_set(&heap, &late, 5); /* moved forward */
    assert_ptr_equal(dp_timer_heap_take_due(&heap, 19), &late);
    dp_timer_heap_cancel(&heap, &late); /* not set: harmless */
    dp_timer_heap_release(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_due_in_order),
        cmocka_unit_test(only_what_is_due_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
