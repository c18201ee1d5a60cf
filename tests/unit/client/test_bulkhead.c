/* The bulkhead: a bounded number inside, a bounded queue outside, first come, first served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/bulkhead.h"

/* A script a row: "a" asks for waiter a, "-a" makes it leave. The places after it, one letter a waiter:
 * o outside, w waiting, g granted. */
static void scripts_end_as_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned slots;
        unsigned max_waiting;
        const char *script;
        const char *places; /* of a, b, c, d */
    } rows[] = {
        {"slots are granted at once", 2, 2, "ab", "ggoo"},
        {"then the next ones wait", 2, 2, "abcd", "ggww"},
        {"beyond the bound they are refused", 1, 1, "abc", "gwoo"},
        {"no waiting at all", 1, 0, "ab", "gooo"},
        {"a released slot goes to the first in the queue", 1, 3, "abcd-a", "ogww"},
        {"and then to the second", 1, 3, "abcd-a-b", "oogw"},
        {"one who withdraws is passed over", 1, 3, "abcd-b-a", "oogw"},
        {"withdrawing from the middle keeps the order", 1, 3, "abcd-c-a-b", "ooog"},
        {"withdrawing from the end keeps the order", 1, 3, "abcd-d-a-b", "oogo"},
        {"a newcomer does not overtake", 1, 3, "ab-aa", "wgoo"},
        {"a free slot is granted again", 1, 3, "a-ab", "ogoo"},
        {"leaving twice does nothing", 1, 3, "ab-b-b-a", "oooo"},
        {"a place in the queue becomes free again", 1, 1, "abc-bc", "gowo"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        dp_bulkhead bulkhead = dp_bulkhead_make(rows[i].slots, rows[i].max_waiting);
        dp_bulkhead_waiter waiters[4] = {{0}};
        for (const char *at = rows[i].script; *at != '\0'; at++) {
            if (*at == '-') {
                dp_bulkhead_waiter *heir = dp_bulkhead_leave(&bulkhead, &waiters[*++at - 'a']);
                if (heir != NULL) assert_int_equal(heir->place, DP_BULKHEAD_GRANTED);
            } else {
                dp_bulkhead_enter(&bulkhead, &waiters[*at - 'a']);
            }
        }
        for (int n = 0; n < 4; n++) {
            static const char letters[] = {'o', 'w', 'g'};
            assert_int_equal(letters[waiters[n].place], rows[i].places[n]);
        }
    }
}

static void random_histories_keep_order_and_bounds(void **state)
{
    (void)state;
    enum { WAITERS = 30, STEPS = 200000, SLOTS = 4, QUEUE = 10 };
    dp_bulkhead bulkhead = dp_bulkhead_make(SLOTS, QUEUE);
    dp_bulkhead_waiter waiters[WAITERS] = {{0}};
    int64_t came_at[WAITERS] = {0};
    uint64_t seed = 99;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        size_t pick = (size_t)((seed >> 33) % WAITERS);
        dp_bulkhead_waiter *waiter = &waiters[pick];
        if (waiter->place == DP_BULKHEAD_OUTSIDE) {
            came_at[pick] = step;
            dp_bulkhead_enter(&bulkhead, waiter);
        } else {
            dp_bulkhead_waiter *heir = dp_bulkhead_leave(&bulkhead, waiter);
            for (size_t n = 0; heir != NULL && n < WAITERS; n++) {
                if (waiters[n].place != DP_BULKHEAD_WAITING) continue;
                assert_true(came_at[n] > came_at[heir - waiters]);
            }
        }
        unsigned granted = 0;
        unsigned waiting = 0;
        for (size_t n = 0; n < WAITERS; n++) {
            granted += waiters[n].place == DP_BULKHEAD_GRANTED;
            waiting += waiters[n].place == DP_BULKHEAD_WAITING;
        }
        assert_int_equal(granted, bulkhead.used_count);
        assert_int_equal(waiting, bulkhead.waiting_count);
        assert_true(granted <= SLOTS && waiting <= QUEUE);
        assert_true(waiting == 0 || granted == SLOTS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts_end_as_the_table_says),
        cmocka_unit_test(random_histories_keep_order_and_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
