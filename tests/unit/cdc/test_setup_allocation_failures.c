/* Each allocation of a setup plan is made to fail in turn: NO_MEMORY or the whole plan, never half of one. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/setup_sql.h"
#include "tests/unit/support/failing_allocator.h"

static const dp_table_name tables[] = {{DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("orders")},
                                       {DP_SLICE_LITERAL("o\"dd"), DP_SLICE_LITERAL("i'tems")}};

static const dp_setup_request requests[] = {
    {.backend = DP_BACKEND_POSTGRES_LOGICAL,
     .tables = tables,
     .table_count = 2,
     .slot = DP_SLICE_LITERAL("orders"),
     .publication = DP_SLICE_LITERAL("orders"),
     .plugin = DP_SLICE_LITERAL("pgoutput"),
     .role = DP_SLICE_LITERAL("reader")},
    {.backend = DP_BACKEND_MSSQL_CDC,
     .tables = tables,
     .table_count = 2,
     .database = DP_SLICE_LITERAL("shop"),
     .role = DP_SLICE_LITERAL("reader"),
     .retention_hours = 24},
    {.backend = DP_BACKEND_MSSQL_CHANGE_TRACKING,
     .tables = tables,
     .table_count = 2,
     .database = DP_SLICE_LITERAL("shop"),
     .role = DP_SLICE_LITERAL("reader")},
};

typedef struct attempt {
    const dp_setup_request *request;
    size_t full_length; /* of the script without a failure */
} attempt;

static bool make_plan(void *context)
{
    attempt *expected = context;
    dp_arena *arena = dp_arena_new(1024, 1 << 20);
    if (arena == NULL) return false;
    dp_setup_plan plan = {.step_count = 4711};
    dp_error error = DP_ERROR_INIT;
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    bool succeeded = false;
    if (dp_setup_plan_make(expected->request, arena, &plan, &error) != DP_STATUS_OK) {
        assert_int_equal(error.status, DP_STATUS_NO_MEMORY);
        assert_int_equal(plan.step_count, 4711);
    } else {
        dp_setup_plan_write_sql(&plan, &out);
        succeeded = !out.failed;
        if (out.failed) assert_true(out.out_of_memory);
        if (succeeded && expected->full_length != 0) assert_int_equal(out.length, expected->full_length);
        if (succeeded) expected->full_length = out.length;
    }
    dp_buffer_release(&out);
    dp_arena_free(arena);
    return succeeded;
}

static void every_failure_is_reported(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        attempt expected = {.request = &requests[i]};
        assert_true(make_plan(&expected));
        assert_in_range(fail_each_allocation(make_plan, &expected), 10, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_failure_is_reported)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
