/* Each allocation of parsing a receipt is made to fail in turn: never a receipt that was half read. */
#include "tests/unit/support/cmocka_includes.h"

#include <jansson.h>

#include "services/receipt.h"
#include "tests/unit/support/failing_allocator.h"

static int no_memory_count;

static bool parse(void *context)
{
    (void)context;
    dp_receipt receipt = {.sink_status = "untouched"};
    dp_error error = DP_ERROR_INIT;
    dp_status status = dp_receipt_parse(
        DP_SLICE_LITERAL(
            "{\"sink_status\":\"success\",\"load_status\":\"committed\",\"idempotency_passed\":true,"
            "\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":\"0/1\"},"
            "\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":[1,2.5,null]}"),
        "receipt", &receipt, &error);
    if (status == DP_STATUS_OK) return true;
    assert_true(status == DP_STATUS_NO_MEMORY || status == DP_STATUS_DATA); /* jansson cannot always tell */
    no_memory_count += status == DP_STATUS_NO_MEMORY;
    assert_string_equal(receipt.sink_status, "untouched");
    return false;
}

static void every_failure_is_reported(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free); /* the wrapped malloc: the library's own calls are not relinked */
    assert_in_range(fail_each_allocation(parse, NULL), 10, 1000);
    assert_true(no_memory_count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_failure_is_reported)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
