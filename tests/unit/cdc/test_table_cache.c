/* Descriptions of tables: the same pointer for the same columns, a bound on how many of a table are kept. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/table_cache.h"

enum { KEPT = 8, MANY = 40 };

/* public.t with the columns a, b and one whose name is the number. */
static dp_status intern(dp_table_cache *cache, unsigned number, const dp_table **table, dp_error *error)
{
    char last[16];
    snprintf(last, sizeof last, "c%u", number);
    const dp_column_spec columns[] = {{.name = DP_SLICE_LITERAL("a"), .type_class = DP_TYPE_INTEGER},
                                      {.name = DP_SLICE_LITERAL("b"), .type_class = DP_TYPE_TEXT},
                                      {.name = dp_slice_of_text(last), .type_class = DP_TYPE_TEXT}};
    return dp_table_cache_intern(cache, DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("t"), columns, 3, table,
                                 error);
}

static const dp_table *interned(dp_table_cache *cache, unsigned number)
{
    dp_error error = DP_ERROR_INIT;
    const dp_table *table = NULL;
    if (intern(cache, number, &table, &error) != DP_STATUS_OK) fail_msg("%s", error.message);
    return table;
}

static bool is_of(const dp_table *table, unsigned number)
{
    char last[16];
    snprintf(last, sizeof last, "c%u", number);
    return table->column_count == 3 && dp_slice_equal_text(table->columns[2].name, last);
}

static void the_same_columns_are_the_same_description(void **state)
{
    (void)state;
    dp_table_cache *cache = dp_table_cache_new(NULL);
    const dp_table *first = interned(cache, 1);
    const dp_table *second = interned(cache, 2);
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(interned(cache, 1), first);
    assert_ptr_equal(interned(cache, 2), second);
    dp_table_cache_free(cache);
}

static void between_transactions_only_the_descriptions_used_last_are_kept(void **state)
{
    (void)state;
    dp_table_cache *cache = dp_table_cache_new(NULL);
    const dp_table *tables[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        tables[i] = interned(cache, i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        assert_ptr_equal(interned(cache, i), tables[i]); /* all of them, until the transaction ends */
    }
    dp_table_retain(tables[3]); /* as a decoder does, by relation id */
    const dp_lsn position = {7};
    assert_int_equal(dp_table_next_sequence(tables[3], 1, true, position), 0);
    dp_table_cache_collect(cache);
    for (unsigned i = MANY - KEPT; i < MANY; i++) {
        assert_ptr_equal(interned(cache, i), tables[i]);
    }
    assert_true(is_of(tables[3], 3));
    const dp_table *again = interned(cache, 3);
    assert_ptr_not_equal(again, tables[3]);
    assert_true(is_of(again, 3));
    assert_int_equal(dp_table_next_sequence(again, 1, true, position),
                     1); /* the table's, not the description's */
    dp_table_release(tables[3]);
    dp_table_cache_collect(cache);
    assert_true(is_of(interned(cache, 3), 3));
    dp_table_cache_free(cache);
}

static void what_cannot_be_a_table_is_refused(void **state)
{
    (void)state;
    static dp_column_spec columns[1665];
    static char names[1665][8];
    for (unsigned i = 0; i < 1665; i++) {
        snprintf(names[i], sizeof names[i], "c%u", i);
        columns[i].name = dp_slice_of_text(names[i]);
    }
    dp_table_cache *cache = dp_table_cache_new(NULL);
    const dp_slice schema = DP_SLICE_LITERAL("public"), name = DP_SLICE_LITERAL("t");
    const dp_table *table = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_table_cache_intern(cache, schema, name, columns, 1664, &table, &error), DP_STATUS_OK);
    assert_int_equal(dp_table_cache_intern(cache, schema, name, columns, 1665, &table, &error),
                     DP_STATUS_LIMIT);
    dp_error_clear(&error);
    columns[1].name = columns[0].name;
    assert_int_equal(dp_table_cache_intern(cache, schema, name, columns, 2, &table, &error), DP_STATUS_DATA);
    assert_non_null(strstr(error.message, "c0"));
    dp_error_clear(&error);
    assert_int_equal(dp_table_cache_intern(cache, schema, DP_SLICE_LITERAL("\xFF"), columns, 1, &table,
                                           &error),
                     DP_STATUS_DATA);
    assert_non_null(strstr(error.message, "UTF-8"));
    dp_table_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_columns_are_the_same_description),
        cmocka_unit_test(between_transactions_only_the_descriptions_used_last_are_kept),
        cmocka_unit_test(what_cannot_be_a_table_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
