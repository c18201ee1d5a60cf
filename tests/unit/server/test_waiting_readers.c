/* Readers that wait: parked once, given back once, and nothing written in between is missed. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/waiting_readers.h"

#define ORDERS  DP_SLICE_LITERAL("orders")
#define CLIENTS DP_SLICE_LITERAL("clients")

static dp_waiting_readers *readers;

static int make(void **state)
{
    (void)state;
    readers = dp_waiting_readers_new(3);
    return readers == NULL ? -1 : 0;
}

static int release(void **state)
{
    (void)state;
    dp_waiting_readers_free(readers);
    return 0;
}

static dp_waiting_outcome park(dp_waiting_reader *reader, dp_slice pipeline, uint64_t mark)
{
    return dp_waiting_readers_park(readers, reader, pipeline,
                                   dp_waiting_readers_generation(readers, pipeline), mark);
}

static size_t length_of(const dp_waiting_reader *list)
{
    size_t length = 0;
    for (; list != NULL; list = list->next) {
        length++;
    }
    return length;
}

static void those_of_the_pipeline_are_woken_and_no_others(void **state)
{
    (void)state;
    dp_waiting_reader waiting[3] = {{.context = NULL}};
    assert_int_equal(park(&waiting[0], ORDERS, 1), DP_WAITING_PARKED);
    assert_int_equal(park(&waiting[1], CLIENTS, 1), DP_WAITING_PARKED);
    assert_int_equal(park(&waiting[2], ORDERS, 1), DP_WAITING_PARKED);
    assert_int_equal(length_of(dp_waiting_readers_wake(readers, ORDERS)), 2);
    assert_int_equal(dp_waiting_readers_count(readers), 1);
    assert_null(dp_waiting_readers_wake(readers, ORDERS));
    assert_ptr_equal(dp_waiting_readers_wake(readers, CLIENTS), &waiting[1]);
    assert_int_equal(park(&waiting[1], CLIENTS, 2), DP_WAITING_PARKED);
}

static void what_is_written_between_reading_and_parking_is_not_missed(void **state)
{
    (void)state;
    dp_waiting_reader waiting = {.context = NULL};
    uint64_t generation = dp_waiting_readers_generation(readers, ORDERS);
    assert_null(dp_waiting_readers_wake(readers, ORDERS));
    assert_int_equal(dp_waiting_readers_park(readers, &waiting, ORDERS, generation, 0), DP_WAITING_CHANGED);
    assert_int_equal(dp_waiting_readers_count(readers), 0);
    assert_int_equal(park(&waiting, ORDERS, 0), DP_WAITING_PARKED);
}

static void a_reader_whose_time_is_over_is_given_back_once(void **state)
{
    (void)state;
    dp_waiting_reader parked = {.context = NULL};
    dp_waiting_reader reading = {.context = NULL};
    assert_int_equal(park(&parked, ORDERS, 0), DP_WAITING_PARKED);
    assert_true(dp_waiting_readers_expire(readers, &parked));
    assert_false(dp_waiting_readers_expire(readers, &parked));
    assert_null(dp_waiting_readers_wake(readers, ORDERS));
    assert_false(dp_waiting_readers_expire(readers, &reading));
    assert_int_equal(park(&reading, ORDERS, 0), DP_WAITING_OVER);
}

static void only_so_many_wait(void **state)
{
    (void)state;
    dp_waiting_reader waiting[4] = {{.context = NULL}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(park(&waiting[i], ORDERS, 0), DP_WAITING_PARKED);
    }
    assert_int_equal(park(&waiting[3], ORDERS, 0), DP_WAITING_FULL);
    dp_waiting_readers_configure(readers, 4);
    assert_int_equal(park(&waiting[3], ORDERS, 0), DP_WAITING_PARKED);
}

static void stopping_gives_everyone_back_and_nobody_parks_again(void **state)
{
    (void)state;
    dp_waiting_reader waiting[3] = {{.context = NULL}};
    park(&waiting[0], ORDERS, 0);
    park(&waiting[1], CLIENTS, 0);
    assert_int_equal(length_of(dp_waiting_readers_stop(readers)), 2);
    assert_int_equal(park(&waiting[2], ORDERS, 0), DP_WAITING_OVER);
    assert_null(dp_waiting_readers_stop(readers));
}

static void a_round_meets_every_pipeline_once_and_wakes_those_who_have_seen_less(void **state)
{
    (void)state;
    char name[16];
    size_t length;
    size_t met = 0;
    dp_waiting_reader waiting[3] = {{.context = NULL}};
    park(&waiting[0], ORDERS, 7);
    park(&waiting[1], ORDERS, 8);
    park(&waiting[2], CLIENTS, 7);
    for (uint64_t round = 1; round <= 2; round++) {
        while (dp_waiting_readers_next(readers, round, name, sizeof name, &length)) {
            met++;
            dp_slice pipeline = dp_slice_make(name, length);
            dp_waiting_reader *woken = dp_waiting_readers_wake_changed(readers, round, pipeline, 7);
            bool expected = round == 1 && dp_slice_equal(pipeline, ORDERS);
            assert_ptr_equal(woken, expected ? &waiting[1] : NULL);
        }
    }
    assert_int_equal(met, 4);
    assert_int_equal(dp_waiting_readers_count(readers), 2);
    assert_false(dp_waiting_readers_next(readers, 3, name, 3, &length));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(those_of_the_pipeline_are_woken_and_no_others),
        TEST(what_is_written_between_reading_and_parking_is_not_missed),
        TEST(a_reader_whose_time_is_over_is_given_back_once),
        TEST(only_so_many_wait),
        TEST(stopping_gives_everyone_back_and_nobody_parks_again),
        TEST(a_round_meets_every_pipeline_once_and_wakes_those_who_have_seen_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
