#include "cdc/table_cache.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/json_writer.h"
#include "base/utf8.h"

enum { MAX_COLUMNS = 1664, KEPT_VERSIONS = 8, FIRST_BUCKETS = 64 };

/* One description and everything it points to. The cache holds one reference while it lists the version, a
 * decoder may hold more. */
typedef struct table_version {
    dp_table table;              /* first: a dp_table pointer is a table_version pointer */
    struct table_version *older; /* used longer ago */
    unsigned references;
    char *text; /* every name and escaped name */
    uint32_t *sorted;
    int32_t *key_columns;
} table_version;

/* One table name. Lives as long as the cache, with its sequence counter. */
typedef struct table_entry {
    struct table_entry *next; /* in its bucket */
    uint64_t hash;
    dp_slice schema;
    dp_slice name;
    dp_slice source_json;
    dp_buffer text; /* both names, then source_json */
    dp_table_sequence sequence;
    table_version *last_used;
    unsigned version_count;
} table_entry;

struct dp_table_cache {
    const dp_unique_keys *keys;
    table_entry **buckets;
    size_t bucket_count;
    size_t entry_count;
    bool has_surplus; /* some entry lists more versions than are kept */
};

dp_table_cache *dp_table_cache_new(const dp_unique_keys *keys)
{
    dp_table_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return NULL;
    cache->keys = keys;
    cache->bucket_count = FIRST_BUCKETS;
    cache->buckets = calloc(FIRST_BUCKETS, sizeof *cache->buckets);
    if (cache->buckets == NULL) {
        free(cache);
        return NULL;
    }
    return cache;
}

void dp_table_retain(const dp_table *table)
{
    ((table_version *)(uintptr_t)table)->references++;
}

void dp_table_release(const dp_table *table)
{
    if (table == NULL) return;
    table_version *version = (table_version *)(uintptr_t)table;
    if (--version->references > 0) return;
    free(version->text);
    free(version->table.columns);
    free(version->sorted);
    free(version->key_columns);
    free(version);
}

static void entry_free(table_entry *entry)
{
    while (entry->last_used != NULL) {
        table_version *older = entry->last_used->older;
        dp_table_release(&entry->last_used->table);
        entry->last_used = older;
    }
    dp_buffer_release(&entry->text);
    free(entry);
}

void dp_table_cache_free(dp_table_cache *cache)
{
    if (cache == NULL) return;
    for (size_t i = 0; i < cache->bucket_count; i++) {
        while (cache->buckets[i] != NULL) {
            table_entry *next = cache->buckets[i]->next;
            entry_free(cache->buckets[i]);
            cache->buckets[i] = next;
        }
    }
    free(cache->buckets);
    free(cache);
}

/* FNV-1a over both names with a separator that no name contains. */
static uint64_t hash_names(dp_slice schema, dp_slice name)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < schema.length; i++) {
        hash = (hash ^ (unsigned char)schema.data[i]) * UINT64_C(1099511628211);
    }
    hash = (hash ^ 0xFF) * UINT64_C(1099511628211);
    for (size_t i = 0; i < name.length; i++) {
        hash = (hash ^ (unsigned char)name.data[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static void grow_buckets(dp_table_cache *cache)
{
    size_t bucket_count = cache->bucket_count * 2;
    table_entry **buckets = calloc(bucket_count, sizeof *buckets);
    if (buckets == NULL) return; /* longer chains are slower, not wrong */
    for (size_t i = 0; i < cache->bucket_count; i++) {
        while (cache->buckets[i] != NULL) {
            table_entry *entry = cache->buckets[i];
            cache->buckets[i] = entry->next;
            entry->next = buckets[entry->hash % bucket_count];
            buckets[entry->hash % bucket_count] = entry;
        }
    }
    free(cache->buckets);
    cache->buckets = buckets;
    cache->bucket_count = bucket_count;
}

static table_entry *entry_new(dp_table_cache *cache, uint64_t hash, dp_slice schema, dp_slice name)
{
    table_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) return NULL;
    entry->text = (dp_buffer)DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_buffer_append_slice(&entry->text, schema);
    dp_buffer_append_slice(&entry->text, name);
    dp_buffer_append_slice(&entry->text, DP_SLICE_LITERAL("\"source_schema\":"));
    dp_json_put_string(&entry->text, schema);
    dp_buffer_append_slice(&entry->text, DP_SLICE_LITERAL(",\"source_table\":"));
    dp_json_put_string(&entry->text, name);
    if (entry->text.failed) {
        dp_buffer_release(&entry->text);
        free(entry);
        return NULL;
    }
    const char *text = entry->text.data;
    entry->schema = (dp_slice){text, schema.length};
    entry->name = (dp_slice){text + schema.length, name.length};
    size_t names_length = schema.length + name.length;
    entry->source_json = (dp_slice){text + names_length, entry->text.length - names_length};
    entry->hash = hash;
    if (cache->entry_count >= cache->bucket_count) grow_buckets(cache);
    entry->next = cache->buckets[hash % cache->bucket_count];
    cache->buckets[hash % cache->bucket_count] = entry;
    cache->entry_count++;
    return entry;
}

static table_entry *find_entry(dp_table_cache *cache, dp_slice schema, dp_slice name)
{
    uint64_t hash = hash_names(schema, name);
    table_entry *entry = cache->buckets[hash % cache->bucket_count];
    for (; entry != NULL; entry = entry->next) {
        if (entry->hash == hash && dp_slice_equal(entry->name, name) && dp_slice_equal(entry->schema, schema))
            return entry;
    }
    return entry_new(cache, hash, schema, name);
}

static bool matches(const table_version *version, const dp_column_spec *columns, size_t column_count)
{
    if (version->table.column_count != column_count) return false;
    for (size_t i = 0; i < column_count; i++) {
        const dp_column *column = &version->table.columns[i];
        if (column->type_class != columns[i].type_class || column->is_identity != columns[i].is_identity ||
            !dp_slice_equal(column->name, columns[i].name)) {
            return false;
        }
    }
    return true;
}

/* Copies the names and their escaped forms into one block. */
static bool copy_names(table_version *version, const dp_column_spec *columns)
{
    dp_table *table = &version->table;
    dp_buffer text = DP_BUFFER_INIT(SIZE_MAX / 2);
    for (size_t i = 0; i < table->column_count; i++) {
        dp_buffer_append_slice(&text, columns[i].name);
        dp_json_put_string(&text, columns[i].name);
        dp_buffer_append_byte(&text, ':');
        table->columns[i].name.length = columns[i].name.length;
        table->columns[i].name_json.length = text.length; /* the end, made a length below */
    }
    if (text.failed) {
        dp_buffer_release(&text);
        return false;
    }
    size_t start = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        dp_column *column = &table->columns[i];
        size_t end = column->name_json.length;
        column->name.data = text.data + start;
        column->name_json.data = text.data + start + column->name.length;
        column->name_json.length = end - start - column->name.length;
        column->type_class = columns[i].type_class;
        column->is_identity = columns[i].is_identity;
        start = end;
    }
    version->text = text.data;
    return true;
}

static int compare_columns(const void *left, const void *right, void *columns)
{
    const dp_column *all = columns;
    return dp_slice_compare(all[*(const uint32_t *)left].name, all[*(const uint32_t *)right].name);
}

static void sort_columns(table_version *version)
{
    dp_table *table = &version->table;
    for (size_t i = 0; i < table->column_count; i++) {
        version->sorted[i] = (uint32_t)i;
    }
    qsort_r(version->sorted, table->column_count, sizeof *version->sorted, compare_columns, table->columns);
    table->sorted = version->sorted;
    table->is_sorted = true;
    for (size_t i = 0; i < table->column_count && table->is_sorted; i++) {
        table->is_sorted = version->sorted[i] == i;
    }
}

static void resolve_key(table_version *version)
{
    dp_table *table = &version->table;
    for (size_t k = 0; k < table->key_count; k++) {
        version->key_columns[k] = -1;
        for (size_t i = 0; i < table->column_count; i++) {
            if (dp_slice_equal(table->columns[i].name, table->key_names[k]))
                version->key_columns[k] = (int32_t)i;
        }
    }
    table->key_columns = version->key_columns;
}

static table_version *version_new(const dp_table_cache *cache, table_entry *entry,
                                  const dp_column_spec *columns, size_t column_count)
{
    table_version *version = calloc(1, sizeof *version);
    if (version == NULL) return NULL;
    version->references = 1;
    dp_table *table = &version->table;
    table->schema = entry->schema;
    table->name = entry->name;
    table->source_json = entry->source_json;
    table->sequence = &entry->sequence;
    table->column_count = column_count;
    if (cache->keys != NULL)
        table->key_names = dp_unique_keys_find(cache->keys, entry->schema, entry->name, &table->key_count);
    table->columns = calloc(column_count + 1, sizeof *table->columns);
    version->sorted = calloc(column_count + 1, sizeof *version->sorted);
    version->key_columns = calloc(table->key_count + 1, sizeof *version->key_columns);
    bool complete = table->columns != NULL && version->sorted != NULL && version->key_columns != NULL;
    if (!complete || !copy_names(version, columns)) {
        dp_table_release(table);
        return NULL;
    }
    sort_columns(version);
    resolve_key(version);
    return version;
}

static dp_status check_names(dp_slice schema, dp_slice name, const dp_column_spec *columns,
                             size_t column_count, dp_error *error)
{
    if (column_count > MAX_COLUMNS) {
        return dp_error_set(error, DP_STATUS_LIMIT, "table '%.*s.%.*s' has %zu columns; PostgreSQL allows %d",
                            DP_SLICE_PRINT(schema), DP_SLICE_PRINT(name), column_count, MAX_COLUMNS);
    }
    bool valid = dp_utf8_valid(schema, NULL) && dp_utf8_valid(name, NULL);
    for (size_t i = 0; i < column_count && valid; i++) {
        valid = dp_utf8_valid(columns[i].name, NULL);
    }
    if (!valid) {
        dp_error_set(error, DP_STATUS_DATA, "a name of table '%.*s.%.*s' or its columns is not valid UTF-8",
                     DP_SLICE_PRINT(schema), DP_SLICE_PRINT(name));
        dp_error_hint(error, "read the slot with client_encoding = 'UTF8'");
        return DP_STATUS_DATA;
    }
    return DP_STATUS_OK;
}

/* A repeated name would make two members of one JSON object. */
static dp_status check_repeats(const dp_table *table, dp_error *error)
{
    for (size_t i = 1; i < table->column_count; i++) {
        dp_slice name = table->columns[table->sorted[i]].name;
        if (dp_slice_equal(name, table->columns[table->sorted[i - 1]].name)) {
            return dp_error_set(error, DP_STATUS_DATA, "table '%.*s.%.*s' names column '%.*s' twice",
                                DP_SLICE_PRINT(table->schema), DP_SLICE_PRINT(table->name),
                                DP_SLICE_PRINT(name));
        }
    }
    return DP_STATUS_OK;
}

/* What is found goes to the front: most rows look like the one before, and what is used is what is kept. */
static table_version *find_version(table_entry *entry, const dp_column_spec *columns, size_t column_count)
{
    for (table_version **link = &entry->last_used; *link != NULL; link = &(*link)->older) {
        table_version *version = *link;
        if (!matches(version, columns, column_count)) continue;
        *link = version->older;
        version->older = entry->last_used;
        entry->last_used = version;
        return version;
    }
    return NULL;
}

dp_status dp_table_cache_intern(dp_table_cache *cache, dp_slice schema, dp_slice name,
                                const dp_column_spec *columns, size_t column_count, const dp_table **table,
                                dp_error *error)
{
    table_entry *entry = find_entry(cache, schema, name);
    if (entry == NULL) return dp_error_no_memory(error, "a table description");
    table_version *known = find_version(entry, columns, column_count);
    if (known != NULL) {
        *table = &known->table;
        return DP_STATUS_OK;
    }
    dp_status status = check_names(schema, name, columns, column_count, error);
    if (status != DP_STATUS_OK) return status;
    table_version *version = version_new(cache, entry, columns, column_count);
    if (version == NULL) return dp_error_no_memory(error, "a table description");
    status = check_repeats(&version->table, error);
    if (status != DP_STATUS_OK) {
        dp_table_release(&version->table);
        return status;
    }
    version->older = entry->last_used;
    entry->last_used = version;
    if (++entry->version_count > KEPT_VERSIONS) cache->has_surplus = true;
    *table = &version->table;
    return DP_STATUS_OK;
}

static void drop_surplus(table_entry *entry)
{
    if (entry->version_count <= KEPT_VERSIONS) return;
    table_version *last_kept = entry->last_used;
    for (unsigned i = 1; i < KEPT_VERSIONS; i++) {
        last_kept = last_kept->older;
    }
    table_version *surplus = last_kept->older;
    last_kept->older = NULL;
    entry->version_count = KEPT_VERSIONS;
    while (surplus != NULL) {
        table_version *older = surplus->older;
        dp_table_release(&surplus->table);
        surplus = older;
    }
}

void dp_table_cache_collect(dp_table_cache *cache)
{
    if (!cache->has_surplus) return;
    for (size_t i = 0; i < cache->bucket_count; i++) {
        for (table_entry *entry = cache->buckets[i]; entry != NULL; entry = entry->next) {
            drop_surplus(entry);
        }
    }
    cache->has_surplus = false;
}

uint64_t dp_table_next_sequence(const dp_table *table, uint64_t transaction_number, bool has_position,
                                dp_lsn position)
{
    dp_table_sequence *sequence = table->sequence;
    bool same = sequence->transaction_number == transaction_number &&
                sequence->has_position == has_position && sequence->position.value == position.value;
    if (!same) *sequence = (dp_table_sequence){transaction_number, position, has_position, 0};
    return sequence->next++;
}
