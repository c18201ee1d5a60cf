/* A table `public.orders` and changes of it, for tests of what comes after decoding. */
#ifndef DPONE_TESTS_CHANGE_FIXTURE_H
#define DPONE_TESTS_CHANGE_FIXTURE_H

#include "cdc/table_cache.h"

enum { FIXTURE_COLUMN_COUNT = 4 };

typedef struct change_fixture {
    dp_unique_keys *keys;
    dp_table_cache *cache;
    const dp_table *table;
    dp_value data[FIXTURE_COLUMN_COUNT];
} change_fixture;

static inline dp_value present(const char *text)
{
    return (dp_value){DP_VALUE_PRESENT, dp_slice_of_text(text)};
}

/* Columns id integer, price numeric, document jsonb, note text. `unique_key` may be NULL. */
static inline change_fixture change_fixture_new(const char *unique_key)
{
    static const dp_column_spec columns[FIXTURE_COLUMN_COUNT] = {{{"id", 2}, DP_TYPE_INTEGER, true},
                                                                 {{"price", 5}, DP_TYPE_NUMERIC, false},
                                                                 {{"document", 8}, DP_TYPE_JSON, false},
                                                                 {{"note", 4}, DP_TYPE_TEXT, false}};
    change_fixture f = {.keys = dp_unique_keys_new()};
    dp_error error = DP_ERROR_INIT;
    if (unique_key != NULL) dp_unique_keys_add(f.keys, dp_slice_of_text(unique_key), &error);
    f.cache = dp_table_cache_new(f.keys);
    dp_table_cache_intern(f.cache, DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("orders"), columns,
                          FIXTURE_COLUMN_COUNT, &f.table, &error);
    f.data[0] = present("10");
    f.data[1] = present("1.50");
    f.data[2] = present("{\"a\": [1, 2],\n \"b\": \"x y\"}");
    f.data[3] = present("plain");
    return f;
}

static inline void change_fixture_free(change_fixture *f)
{
    dp_table_cache_free(f->cache);
    dp_unique_keys_free(f->keys);
}

static inline dp_change change_fixture_insert(const change_fixture *f, uint64_t position, uint64_t ordinal)
{
    return (dp_change){.operation = DP_OPERATION_INSERT,
                       .table = f->table,
                       .data = f->data,
                       .has_position = true,
                       .position = {position},
                       .has_transaction_id = true,
                       .transaction_id = 900,
                       .ordinal = ordinal};
}

#endif
