#include "cdc/event_identity.h"

#include <stdlib.h>

#include "base/json_writer.h"
#include "cdc/python_number.h"
#include "cdc/row_json.h"

/* A canonical object is at most the row twice, escaped. */
#define CANONICAL_MAX_BYTES ((size_t)6 << 30)

struct dp_event_identity {
    dp_identity_kind kind;
    dp_sha256 *hash;
    dp_buffer canonical;
};

static const dp_slice identity_texts[] = {DP_IDENTITY_LIST(DP_SLICE_ENTRY)};

dp_slice dp_identity_text(dp_identity_kind kind)
{
    return identity_texts[kind];
}

bool dp_identity_parse(dp_slice text, dp_identity_kind *kind)
{
    int found = dp_slice_find(text, identity_texts, sizeof identity_texts / sizeof identity_texts[0]);
    if (found >= 0) *kind = (dp_identity_kind)found;
    return found >= 0;
}

dp_event_identity *dp_event_identity_new(dp_identity_kind kind)
{
    dp_event_identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL) return NULL;
    identity->kind = kind;
    identity->canonical = (dp_buffer)DP_BUFFER_INIT(CANONICAL_MAX_BYTES);
    identity->hash = dp_sha256_new();
    if (identity->hash == NULL || !dp_buffer_reserve(&identity->canonical, 4096)) {
        dp_event_identity_free(identity);
        return NULL;
    }
    return identity;
}

void dp_event_identity_free(dp_event_identity *identity)
{
    if (identity == NULL) return;
    dp_sha256_free(identity->hash);
    dp_buffer_release(&identity->canonical);
    free(identity);
}

dp_slice dp_event_identity_canonical(const dp_event_identity *identity)
{
    return dp_buffer_slice(&identity->canonical);
}

/* Column by column: data, else before (also for an unchanged TOAST column). NULL in data counts as found. */
static const dp_value *key_value(const dp_change *change, int32_t column)
{
    const dp_value *sources[] = {change->data, change->before};
    for (size_t i = 0; column >= 0 && i < 2; i++) {
        if (sources[i] == NULL) continue;
        const dp_value *value = &sources[i][column];
        if (value->state == DP_VALUE_PRESENT || value->state == DP_VALUE_NULL) return value;
    }
    return NULL;
}

typedef dp_status (*put_value_function)(dp_buffer *out, const dp_column *column, const dp_value *value,
                                        dp_error *error);

static dp_status put_v1_value(dp_buffer *out, const dp_column *column, const dp_value *value, dp_error *error)
{
    return dp_row_put_value(out, column, value, DP_ROW_EXACT, error);
}

/* dpone-py made numbers of float and numeric before hashing. */
static dp_status put_python_value(dp_buffer *out, const dp_column *column, const dp_value *value,
                                  dp_error *error)
{
    bool is_number = column->type_class == DP_TYPE_FLOAT || column->type_class == DP_TYPE_NUMERIC;
    if (value->state != DP_VALUE_PRESENT || !is_number) return put_v1_value(out, column, value, error);
    bool written = column->type_class == DP_TYPE_FLOAT ? dp_python_put_float(out, value->text)
                                                       : dp_python_put_numeric(out, value->text);
    if (written) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA, "column '%.*s' holds '%.*s'; expected a number",
                        DP_SLICE_PRINT(column->name), DP_SLICE_PRINT(value->text));
}

static dp_status put_key(dp_buffer *out, const dp_change *change, put_value_function put_value,
                         dp_error *error)
{
    const dp_table *table = change->table;
    if (change->operation == DP_OPERATION_TRUNCATE) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
        return DP_STATUS_OK;
    }
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; i < table->key_count; i++) {
        const dp_value *value = key_value(change, table->key_columns[i]);
        if (value == NULL || value->state == DP_VALUE_NULL) {
            return dp_error_set_code(error, DP_STATUS_POISON, "key_missing",
                                     "key column '%.*s' of table '%.*s.%.*s' is %s",
                                     DP_SLICE_PRINT(table->key_names[i]), DP_SLICE_PRINT(table->schema),
                                     DP_SLICE_PRINT(table->name),
                                     value == NULL ? "not in the change" : "NULL");
        }
        const dp_column *column = &table->columns[table->key_columns[i]];
        if (i > 0) dp_buffer_append_byte(out, ',');
        dp_buffer_append_slice(out, column->name_json);
        dp_status status = put_value(out, column, value, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_buffer_append_byte(out, '}');
    return DP_STATUS_OK;
}

static dp_status put_v1_row(dp_buffer *out, const dp_change *change, dp_error *error)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"before\":"));
    dp_status status =
        dp_row_put_object(out, change->table, change->before, DP_ROW_NAME_ORDER, DP_ROW_EXACT, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"data\":"));
    status = dp_row_put_object(out, change->table, change->data, DP_ROW_NAME_ORDER, DP_ROW_EXACT, error);
    dp_buffer_append_byte(out, '}');
    return status;
}

/* The Python tool listed every column: one that was not sent, or is unchanged, as null. */
static dp_status put_python_object(dp_buffer *out, const dp_table *table, const dp_value *values,
                                   dp_error *error)
{
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; values != NULL && i < table->column_count; i++) {
        const dp_column *column = &table->columns[table->sorted[i]];
        if (i > 0) dp_buffer_append_byte(out, ',');
        dp_buffer_append_slice(out, column->name_json);
        dp_status status = put_python_value(out, column, &values[table->sorted[i]], error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_buffer_append_byte(out, '}');
    return DP_STATUS_OK;
}

static dp_status put_python_row(dp_buffer *out, const dp_change *change, dp_error *error)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"before\":"));
    dp_status status = put_python_object(out, change->table, change->before, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"data\":"));
    status = put_python_object(out, change->table, change->data, error);
    dp_buffer_append_byte(out, '}');
    return status;
}

static void put_operation_and_position(dp_buffer *out, const dp_change *change)
{
    char position[DP_LSN_TEXT_BYTES];
    size_t length = dp_lsn_format(change->position, position);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\"operation\":\""));
    dp_buffer_append_slice(out, dp_operation_text(change->operation));
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\",\"position\":\""));
    dp_buffer_append(out, position, length);
    dp_buffer_append_byte(out, '"');
}

static void put_source_and_transaction(dp_buffer *out, const dp_change *change)
{
    dp_buffer_append_byte(out, ',');
    dp_buffer_append_slice(out, change->table->source_json);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"transaction_id\":\""));
    dp_buffer_append_u64(out, change->transaction_id);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\"}"));
}

static void put_v1_end(dp_buffer *out, const dp_change *change)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"sequence\":"));
    dp_buffer_append_u64(out, change->sequence);
    put_source_and_transaction(out, change);
}

static dp_status put_v1(dp_buffer *out, const dp_change *change, dp_error *error)
{
    bool has_key = change->table->key_count > 0;
    dp_status status = DP_STATUS_OK;
    dp_buffer_append_byte(out, '{');
    if (has_key) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("\"key\":"));
        status = put_key(out, change, put_v1_value, error);
        if (status != DP_STATUS_OK) return status;
        dp_buffer_append_byte(out, ',');
    }
    put_operation_and_position(out, change);
    if (!has_key) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"row\":"));
        status = put_v1_row(out, change, error);
        if (status != DP_STATUS_OK) return status;
    }
    put_v1_end(out, change);
    return status;
}

/* put_v1 without a key, of rows that have been written. */
static void put_v1_again(dp_buffer *out, const dp_change *change, const dp_buffer *written,
                         const dp_row_text *data, const dp_row_text *before)
{
    const dp_row_text *rows[] = {before, data};
    dp_buffer_append_byte(out, '{');
    put_operation_and_position(out, change);
    for (size_t i = 0; i < 2; i++) {
        dp_buffer_append_slice(out, i == 0 ? DP_SLICE_LITERAL(",\"row\":{\"before\":")
                                           : DP_SLICE_LITERAL(",\"data\":"));
        if (rows[i] == NULL) {
            dp_buffer_append_slice(out, DP_SLICE_LITERAL("{}"));
        } else {
            dp_row_put_again(out, change->table, written, rows[i]);
        }
    }
    dp_buffer_append_byte(out, '}');
    put_v1_end(out, change);
}

static dp_status put_python(dp_buffer *out, const dp_change *change, dp_error *error)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"key\":"));
    dp_status status = change->table->key_count > 0 ? put_key(out, change, put_python_value, error)
                                                    : put_python_row(out, change, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_append_byte(out, ',');
    put_operation_and_position(out, change);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"row\":"));
    status = put_python_row(out, change, error);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"sequence\":null"));
    put_source_and_transaction(out, change);
    return status;
}

static dp_status hash_canonical(dp_event_identity *identity, dp_event_id *id, dp_error *error)
{
    const dp_buffer *canonical = &identity->canonical;
    if (canonical->failed || !dp_sha256_digest(identity->hash, dp_buffer_slice(canonical), id->bytes)) {
        return dp_error_no_memory(error, "an event id");
    }
    return DP_STATUS_OK;
}

dp_status dp_event_identity_id(dp_event_identity *identity, const dp_change *change, dp_event_id *id,
                               dp_error *error)
{
    if (!change->has_position || !change->has_transaction_id) {
        return dp_error_set_code(error, DP_STATUS_POISON, "position_missing",
                                 "a change of table '%.*s.%.*s' carries no %s",
                                 DP_SLICE_PRINT(change->table->schema), DP_SLICE_PRINT(change->table->name),
                                 change->has_position ? "transaction id" : "position");
    }
    dp_buffer *canonical = &identity->canonical;
    dp_buffer_clear(canonical);
    dp_status status = DP_STATUS_OK;
    switch (identity->kind) {
    case DP_IDENTITY_V1: status = put_v1(canonical, change, error); break;
    case DP_IDENTITY_DPONE_PY: status = put_python(canonical, change, error); break;
    }
    return status == DP_STATUS_OK ? hash_canonical(identity, id, error) : status;
}

bool dp_event_identity_needs_rows(const dp_event_identity *identity, const dp_table *table)
{
    return identity->kind == DP_IDENTITY_V1 && table->key_count == 0;
}

dp_status dp_event_identity_id_of_rows(dp_event_identity *identity, const dp_change *change,
                                       const dp_buffer *written, const dp_row_text *data,
                                       const dp_row_text *before, dp_event_id *id, dp_error *error)
{
    dp_buffer_clear(&identity->canonical);
    put_v1_again(&identity->canonical, change, written, data, before);
    return hash_canonical(identity, id, error);
}
