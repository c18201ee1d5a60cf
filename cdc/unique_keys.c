#include "cdc/unique_keys.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "cdc/table_name.h"

enum { MAX_TABLES = 10000, MAX_COLUMNS = 32 };

typedef struct table_key {
    char *names; /* owns the bytes of every name below */
    dp_slice schema;
    dp_slice table;
    dp_slice columns[MAX_COLUMNS]; /* ordered by name */
    size_t column_count;
} table_key;

struct dp_unique_keys {
    table_key **tables;
    size_t table_count;
    size_t table_capacity;
};

dp_unique_keys *dp_unique_keys_new(void)
{
    return calloc(1, sizeof(dp_unique_keys));
}

static void table_key_free(table_key *key)
{
    if (key == NULL) return;
    free(key->names);
    free(key);
}

void dp_unique_keys_free(dp_unique_keys *keys)
{
    if (keys == NULL) return;
    for (size_t i = 0; i < keys->table_count; i++) {
        table_key_free(keys->tables[i]);
    }
    free(keys->tables);
    free(keys);
}

static bool take_byte(dp_slice *rest, char expected)
{
    if (rest->length == 0 || rest->data[0] != expected) return false;
    *rest = (dp_slice){rest->data + 1, rest->length - 1};
    return true;
}

/* Inserts in order; false for a name that is there already. */
static bool insert_column(table_key *key, dp_slice name)
{
    size_t at = key->column_count;
    while (at > 0 && dp_slice_compare(key->columns[at - 1], name) >= 0) {
        if (dp_slice_equal(key->columns[at - 1], name)) return false;
        at--;
    }
    memmove(key->columns + at + 1, key->columns + at, (key->column_count - at) * sizeof(dp_slice));
    key->columns[at] = name;
    key->column_count++;
    return true;
}

/* Returns what is wrong with the specification, or NULL. */
static const char *parse(table_key *key, dp_slice rest)
{
    static const char form[] = "expected schema.table=column[,column...]";
    char *store = key->names;
    if (memchr(rest.data, '\0', rest.length) != NULL) return "a NUL byte in a name";
    if (!dp_table_name_take(&rest, &store, &key->schema) || !take_byte(&rest, '.')) return form;
    if (!dp_table_name_take(&rest, &store, &key->table) || !take_byte(&rest, '=')) return form;
    do {
        dp_slice column;
        if (!dp_table_name_take(&rest, &store, &column)) return form;
        if (key->column_count == MAX_COLUMNS) return "more than 32 key columns";
        if (!insert_column(key, column)) return "a column is given twice";
    } while (take_byte(&rest, ','));
    return rest.length == 0 ? NULL : form;
}

static bool make_room(dp_unique_keys *keys)
{
    if (keys->table_count < keys->table_capacity) return true;
    size_t capacity = keys->table_capacity == 0 ? 16 : keys->table_capacity * 2;
    table_key **tables = realloc(keys->tables, capacity * sizeof *tables);
    if (tables == NULL) return false;
    keys->tables = tables;
    keys->table_capacity = capacity;
    return true;
}

dp_status dp_unique_keys_add(dp_unique_keys *keys, dp_slice specification, dp_error *error)
{
    if (keys->table_count == MAX_TABLES) {
        return dp_error_set(error, DP_STATUS_USAGE, "more than %d unique keys", MAX_TABLES);
    }
    table_key *key = calloc(1, sizeof *key);
    if (key != NULL) key->names = malloc(specification.length + 1);
    if (key == NULL || key->names == NULL || !make_room(keys)) {
        table_key_free(key);
        return dp_error_no_memory(error, "a unique key");
    }
    size_t existing = 0;
    const char *fault =
        specification.length == 0 ? "expected schema.table=column[,column...]" : parse(key, specification);
    if (fault == NULL) {
        dp_unique_keys_find(keys, key->schema, key->table, &existing);
        if (existing > 0) fault = "the table has a key already";
    }
    if (fault != NULL) {
        table_key_free(key);
        return dp_error_set(error, DP_STATUS_USAGE, "--unique-key '%.*s': %s", DP_SLICE_PRINT(specification),
                            fault);
    }
    keys->tables[keys->table_count++] = key;
    return DP_STATUS_OK;
}

const dp_slice *dp_unique_keys_find(const dp_unique_keys *keys, dp_slice schema, dp_slice table,
                                    size_t *count)
{
    for (size_t i = 0; i < keys->table_count; i++) {
        const table_key *key = keys->tables[i];
        if (dp_slice_equal(key->table, table) && dp_slice_equal(key->schema, schema)) {
            *count = key->column_count;
            return key->columns;
        }
    }
    *count = 0;
    return NULL;
}
