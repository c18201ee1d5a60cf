/* --unique-key specifications: which are understood, how they are ordered, which are refused and why. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/unique_keys.h"

typedef struct good_case {
    const char *specification;
    const char *schema;
    const char *table;
    const char *columns[4]; /* in the order of names */
} good_case;

static const good_case good[] = {
    {"public.orders=id", "public", "orders", {"id"}},
    {"public.orders=line,id", "public", "orders", {"id", "line"}},
    {"\"My Schema\".\"a.b=c\"=\"x,y\",z", "My Schema", "a.b=c", {"x,y", "z"}},
    {"s.\"quote\"\"d\"=\"\"\"\"", "s", "quote\"d", {"\""}},
    {"schéma.täble=ключ", "schéma", "täble", {"ключ"}},
};

static void good_specifications_are_found_with_ordered_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        dp_unique_keys *keys = dp_unique_keys_new();
        dp_error error = DP_ERROR_INIT;
        if (dp_unique_keys_add(keys, dp_slice_of_text(good[i].specification), &error) != DP_STATUS_OK)
            fail_msg("%s", error.message);
        size_t count;
        const dp_slice *columns = dp_unique_keys_find(keys, dp_slice_of_text(good[i].schema),
                                                      dp_slice_of_text(good[i].table), &count);
        size_t expected_count = 0;
        while (good[i].columns[expected_count] != NULL) {
            expected_count++;
        }
        assert_int_equal(count, expected_count);
        for (size_t k = 0; k < count; k++) {
            assert_true(dp_slice_equal_text(columns[k], good[i].columns[k]));
        }
        dp_unique_keys_find(keys, DP_SLICE_LITERAL("other"), DP_SLICE_LITERAL("orders"), &count);
        assert_int_equal(count, 0);
        dp_unique_keys_free(keys);
    }
}

static const struct {
    const char *specification;
    const char *reason;
} bad[] = {
    {"", "expected schema.table=column"},
    {"orders=id", "expected schema.table=column"},
    {"public.orders", "expected schema.table=column"},
    {"public.orders=", "expected schema.table=column"},
    {"public.orders=id,", "expected schema.table=column"},
    {"public.orders=id,,x", "expected schema.table=column"},
    {".orders=id", "expected schema.table=column"},
    {"public.=id", "expected schema.table=column"},
    {"a.b.c=id", "expected schema.table=column"},
    {"public.orders=id=x", "expected schema.table=column"},
    {"public.\"orders=id", "expected schema.table=column"},
    {"public.orders=id,id", "a column is given twice"},
    {"public.taken=id", "the table has a key already"},
};

static void bad_specifications_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dp_unique_keys *keys = dp_unique_keys_new();
        dp_error error = DP_ERROR_INIT;
        dp_unique_keys_add(keys, DP_SLICE_LITERAL("public.taken=x"), &error);
        if (dp_unique_keys_add(keys, dp_slice_of_text(bad[i].specification), &error) != DP_STATUS_USAGE) {
            fail_msg("'%s' was accepted", bad[i].specification);
        }
        assert_non_null(strstr(error.message, bad[i].reason));
        dp_unique_keys_free(keys);
    }
}

static void thousands_of_tables_are_kept(void **state)
{
    (void)state;
    dp_unique_keys *keys = dp_unique_keys_new();
    dp_error error = DP_ERROR_INIT;
    char text[64];
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "s.t%d=c%d", i, i);
        assert_int_equal(dp_unique_keys_add(keys, dp_slice_of_text(text), &error), DP_STATUS_OK);
    }
    size_t count;
    const dp_slice *columns =
        dp_unique_keys_find(keys, DP_SLICE_LITERAL("s"), DP_SLICE_LITERAL("t1234"), &count);
    assert_int_equal(count, 1);
    assert_true(dp_slice_equal_text(columns[0], "c1234"));
    dp_unique_keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_specifications_are_found_with_ordered_columns),
        cmocka_unit_test(bad_specifications_are_refused_by_name),
        cmocka_unit_test(thousands_of_tables_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
