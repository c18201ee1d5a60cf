#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cdc/idempotency.h"

static dp_event_id id_of(unsigned number)
{
    dp_event_id id = {.bytes = {0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static void add(dp_idempotency *check, unsigned number, size_t index, size_t expected_first)
{
    dp_error error = DP_ERROR_INIT;
    dp_event_id id = id_of(number);
    size_t first = SIZE_MAX;
    assert_int_equal(dp_idempotency_add(check, &id, index, &first, &error), DP_STATUS_OK);
    assert_int_equal(first, expected_first);
}

static void duplicates_are_listed_once_in_order_of_first_repetition(void **state)
{
    (void)state;
    dp_idempotency *check = dp_idempotency_new(1, 1000);
    static const unsigned numbers[] = {1, 2, 3, 3, 1, 3, 4, 1};
    static const size_t firsts[] = {0, 1, 2, 2, 0, 2, 6, 0};
    for (size_t i = 0; i < 8; i++) {
        add(check, numbers[i], i, firsts[i]);
    }
    dp_idempotency_result result = dp_idempotency_evaluate(check);
    assert_false(result.passed);
    assert_int_equal(result.total_events, 8);
    assert_int_equal(result.unique_events, 4);
    assert_int_equal(result.duplicate_count, 4);
    assert_int_equal(result.duplicate_id_count, 2);
    assert_int_equal(result.duplicate_ids[0].bytes[0], 3);
    assert_int_equal(result.duplicate_ids[1].bytes[0], 1);
    dp_idempotency_reset(check);
    add(check, 3, 0, 0);
    assert_true(dp_idempotency_evaluate(check).passed);
    dp_idempotency_free(check);
}

static void an_empty_batch_passes(void **state)
{
    (void)state;
    dp_idempotency *check = dp_idempotency_new(1, 1000);
    dp_idempotency_result result = dp_idempotency_evaluate(check);
    dp_buffer text = DP_BUFFER_INIT(1000);
    dp_json_writer writer = dp_json_writer_compact(&text);
    dp_idempotency_write_json(&result, &writer);
    assert_string_equal(dp_buffer_text(&text),
                        "{\"passed\":true,\"total_events\":0,\"unique_events\":0,\"duplicate_count\":0,"
                        "\"duplicate_event_ids\":[]}");
    dp_buffer_release(&text);
    dp_idempotency_free(check);
}

static void many_ids_are_told_apart_and_bounded(void **state)
{
    (void)state;
    dp_idempotency *check = dp_idempotency_new(77, 50000);
    for (unsigned i = 0; i < 50000; i++) {
        add(check, i, i, i);
    }
    for (unsigned i = 0; i < 50000; i += 7) {
        add(check, i, 99999, i);
    }
    dp_error error = DP_ERROR_INIT;
    dp_event_id id = id_of(50000);
    size_t first;
    assert_int_equal(dp_idempotency_add(check, &id, 0, &first, &error), DP_STATUS_LIMIT);
    dp_idempotency_free(check);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duplicates_are_listed_once_in_order_of_first_repetition),
        cmocka_unit_test(an_empty_batch_passes),
        cmocka_unit_test(many_ids_are_told_apart_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
