#include "cdc/wal2json.h"

#include <stdlib.h>

#include "cdc/commit_time.h"

void *dp_wal2json_new(void)
{
    return calloc(1, sizeof(dp_wal2json));
}

void dp_wal2json_clear_cells(dp_wal2json *wal2json)
{
    wal2json->columns.name_count = wal2json->columns.type_count = wal2json->columns.value_count = 0;
    wal2json->identity.name_count = wal2json->identity.type_count = wal2json->identity.value_count = 0;
}

dp_status dp_wal2json_fault(size_t at, const char *what, dp_error *error)
{
    return dp_error_set(error, DP_STATUS_DATA, "byte %zu: %s", at, what);
}

dp_status dp_wal2json_scan_fault(const dp_json_scanner *scanner, size_t base, dp_error *error)
{
    dp_wal2json_fault(base + scanner->fault_at, scanner->fault, error);
    dp_error_hint(
        error,
        "wal2json writes a type whose name needs quotes, and defaults, unescaped, which is no JSON: use "
        "pgoutput or test_decoding for such tables");
    return DP_STATUS_DATA;
}

dp_status dp_wal2json_skip(dp_json_scanner *scanner, size_t base, dp_error *error)
{
    dp_json_token token;
    dp_slice source;
    if (dp_json_next(scanner, &token) == DP_JSON_ERROR || !dp_json_skip_value(scanner, &token, &source)) {
        return dp_wal2json_scan_fault(scanner, base, error);
    }
    return DP_STATUS_OK;
}

dp_status dp_wal2json_member(const dp_json_token *key, const dp_slice *names, size_t count, unsigned *seen,
                             size_t base, size_t *index, dp_error *error)
{
    size_t i = 0;
    while (i < count && !dp_slice_equal(key->text, names[i])) {
        i++;
    }
    if (i < count && (*seen & 1u << i) != 0) {
        return dp_error_set(error, DP_STATUS_DATA, "byte %zu: member \"%.*s\" appears twice", base + key->at,
                            DP_SLICE_PRINT(names[i]));
    }
    if (i < count) *seen |= 1u << i;
    *index = i;
    return DP_STATUS_OK;
}

dp_status dp_wal2json_text(dp_decoder *decoder, const dp_json_token *token, size_t base, dp_slice *text,
                           dp_error *error)
{
    if (token->kind != DP_JSON_STRING) return dp_wal2json_fault(base + token->at, "expected a string", error);
    *text = token->text;
    if (!token->has_escapes) return DP_STATUS_OK;
    char *content = dp_arena_alloc(decoder->scratch, token->text.length);
    if (content == NULL) return dp_error_no_memory(error, "a text");
    *text = (dp_slice){content, dp_json_unescape_into(token->text, content)};
    if (memchr(content, 0, text->length) != NULL) {
        return dp_wal2json_fault(base + token->at,
                                 "a string with a zero character, which PostgreSQL text cannot hold", error);
    }
    return DP_STATUS_OK;
}

dp_status dp_wal2json_take_xid(dp_json_scanner *scanner, size_t base, dp_wal2json_header *header,
                               dp_error *error)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(scanner, &token);
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, base, error);
    uint64_t xid;
    if (kind == DP_JSON_NULL) return DP_STATUS_OK;
    if (kind != DP_JSON_NUMBER || !dp_slice_to_u64(token.text, UINT32_MAX, &xid)) {
        return dp_wal2json_fault(base + token.at, "expected a transaction id", error);
    }
    header->has_xid = true;
    header->xid = (uint32_t)xid;
    return DP_STATUS_OK;
}

dp_status dp_wal2json_take_lsn(dp_json_scanner *scanner, size_t base, bool *has_lsn, dp_lsn *lsn,
                               dp_error *error)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(scanner, &token);
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, base, error);
    if (kind != DP_JSON_STRING || !dp_lsn_parse(token.text, lsn)) {
        return dp_wal2json_fault(base + token.at, "expected an LSN such as \"0/16B6D28\"", error);
    }
    *has_lsn = true;
    return DP_STATUS_OK;
}

dp_status dp_wal2json_take_time(dp_json_scanner *scanner, size_t base, dp_wal2json_header *header,
                                dp_error *error)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(scanner, &token);
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, base, error);
    if (kind == DP_JSON_NULL) return DP_STATUS_OK;
    if (kind != DP_JSON_STRING || !dp_commit_time_parse(token.text, &header->committed_at_us)) {
        return dp_wal2json_fault(base + token.at,
                                 "expected a commit time such as \"2026-01-02 03:04:05.678901+00\"", error);
    }
    header->has_committed_at = true;
    return DP_STATUS_OK;
}

dp_status dp_wal2json_next_cell(dp_wal2json_cells *cells, size_t *count, size_t at, dp_wal2json_cell **cell,
                                dp_error *error)
{
    if (*count == DP_ROW_COLUMNS_MAX) {
        return dp_error_set(error, DP_STATUS_LIMIT, "byte %zu: a row of more than %d columns", at,
                            DP_ROW_COLUMNS_MAX);
    }
    *cell = &cells->cells[(*count)++];
    return DP_STATUS_OK;
}

static bool is_hex(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return text.length % 2 == 0;
}

/* wal2json drops the first two bytes of a bytea's text, which are "\x" under bytea_output = 'hex'. A domain's
 * value keeps them, also where include-domain-data-type names the type bytea. */
static dp_status restore_bytea(dp_decoder *decoder, size_t at, dp_slice *text, dp_error *error)
{
    if (dp_slice_starts_with(*text, DP_SLICE_LITERAL("\\x"))) return DP_STATUS_OK;
    if (!is_hex(*text)) {
        dp_wal2json_fault(at, "a bytea value that is not hexadecimal", error);
        dp_error_hint(error, "read the slot with bytea_output = 'hex'");
        return DP_STATUS_DATA;
    }
    char *restored = dp_arena_alloc(decoder->scratch, text->length + 2);
    if (restored == NULL) return dp_error_no_memory(error, "a value");
    memcpy(restored, "\\x", 2);
    if (text->length > 0) memcpy(restored + 2, text->data, text->length);
    *text = (dp_slice){restored, text->length + 2};
    return DP_STATUS_OK;
}

static bool is_number_class(dp_type_class type_class)
{
    return type_class == DP_TYPE_INTEGER || type_class == DP_TYPE_FLOAT || type_class == DP_TYPE_NUMERIC;
}

static dp_status put_string(dp_decoder *decoder, const dp_wal2json_cell *cell, dp_type_class type_class,
                            size_t base, dp_value *value, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    if (is_number_class(type_class)) wal2json->number_strings_seen = true;
    value->state = DP_VALUE_PRESENT;
    dp_status status = dp_wal2json_text(decoder, &cell->value, base, &value->text, error);
    if (status == DP_STATUS_OK && dp_slice_equal(cell->type, DP_SLICE_LITERAL("bytea"))) {
        status = restore_bytea(decoder, base + cell->value.at, &value->text, error);
    }
    return status;
}

dp_status dp_wal2json_put_value(dp_decoder *decoder, const dp_wal2json_cell *cell, dp_type_class type_class,
                                size_t base, dp_value *value, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    size_t at = base + cell->value.at;
    switch (cell->value.kind) {
    case DP_JSON_STRING: return put_string(decoder, cell, type_class, base, value, error);
    case DP_JSON_NUMBER:
        if (type_class == DP_TYPE_BOOLEAN || type_class == DP_TYPE_JSON) break;
        if (is_number_class(type_class)) wal2json->numbers_seen = true;
        *value = (dp_value){DP_VALUE_PRESENT, cell->value.text};
        return DP_STATUS_OK;
    case DP_JSON_NULL:
        value->state = DP_VALUE_NULL;
        if ((type_class == DP_TYPE_FLOAT || type_class == DP_TYPE_NUMERIC) && !wal2json->has_doubtful_null) {
            wal2json->has_doubtful_null = true;
            wal2json->doubtful_at = at;
            wal2json->doubtful_name = cell->name;
        }
        return DP_STATUS_OK;
    case DP_JSON_TRUE:
    case DP_JSON_FALSE:
        if (type_class != DP_TYPE_BOOLEAN) break;
        *value = (dp_value){DP_VALUE_PRESENT,
                            cell->value.kind == DP_JSON_TRUE ? DP_SLICE_LITERAL("t") : DP_SLICE_LITERAL("f")};
        return DP_STATUS_OK;
    case DP_JSON_ERROR:
    case DP_JSON_END:
    case DP_JSON_BEGIN_OBJECT:
    case DP_JSON_END_OBJECT:
    case DP_JSON_BEGIN_ARRAY:
    case DP_JSON_END_ARRAY:
    case DP_JSON_KEY: break;
    }
    return dp_error_set(error, DP_STATUS_DATA,
                        "byte %zu: a value that type '%.*s' of column '%.*s' cannot have", at,
                        DP_SLICE_PRINT(cell->type), DP_SLICE_PRINT(cell->name));
}

static dp_status put_row(dp_decoder *decoder, const dp_wal2json_cells *cells, size_t base,
                         dp_row_columns *row, dp_error *error)
{
    row->count = 0;
    for (size_t i = 0; i < cells->name_count; i++) {
        const dp_wal2json_cell *cell = &cells->cells[i];
        dp_type_class type_class = dp_type_class_of_name(cell->type);
        dp_value *value = dp_row_columns_append(row, cell->name, type_class);
        dp_status status = dp_wal2json_put_value(decoder, cell, type_class, base, value, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

static bool same_value(const dp_value *left, const dp_value *right)
{
    return left->state == right->state &&
           (left->state != DP_VALUE_PRESENT || dp_slice_equal(left->text, right->text));
}

/* How the old row relates to the new one. */
typedef enum old_row_kind {
    OLD_ROW_SAME,   /* every column is in the new row with the same value: the source sent no old row */
    OLD_ROW_WITHIN, /* every column is in the new row */
    OLD_ROW_BEYOND  /* the new row lacks some: unchanged TOAST values, which wal2json leaves out */
} old_row_kind;

static old_row_kind match_old_row(dp_wal2json *wal2json)
{
    const dp_row_columns *row = &wal2json->row;
    const dp_row_columns *old_row = &wal2json->old_row;
    old_row_kind kind = OLD_ROW_SAME;
    size_t next = 0;
    for (size_t i = 0; i < old_row->count; i++) {
        size_t at = dp_row_columns_find(row, old_row->specs[i].name, next);
        wal2json->matched[i] = at;
        if (at == SIZE_MAX) {
            kind = OLD_ROW_BEYOND;
            continue;
        }
        if (kind == OLD_ROW_SAME && !same_value(&old_row->values[i], &row->values[at])) kind = OLD_ROW_WITHIN;
        next = at + 1;
    }
    return kind;
}

static dp_status refuse_repeated(const dp_row_columns *old_row, size_t column, dp_error *error)
{
    return dp_error_set(error, DP_STATUS_DATA, "byte 0: the old row names column '%.*s' twice",
                        DP_SLICE_PRINT(old_row->specs[column].name));
}

/* Puts the old row's values into the order of the new row's columns. */
static dp_status align_within(dp_decoder *decoder, const dp_value **before, dp_error *error)
{
    const dp_wal2json *wal2json = decoder->state;
    dp_value *aligned = dp_decoder_values(decoder, wal2json->row.count);
    if (aligned == NULL) return dp_error_no_memory(error, "a row");
    for (size_t i = 0; i < wal2json->old_row.count; i++) {
        dp_value *value = &aligned[wal2json->matched[i]];
        if (value->state != DP_VALUE_ABSENT) return refuse_repeated(&wal2json->old_row, i, error);
        *value = wal2json->old_row.values[i];
    }
    *before = aligned;
    return DP_STATUS_OK;
}

static dp_status merge_append(dp_row_columns *merged, const dp_row_columns *from, size_t column,
                              dp_error *error)
{
    dp_value *value = dp_row_columns_append(merged, from->specs[column].name, from->specs[column].type_class);
    if (value == NULL) {
        return dp_error_set(error, DP_STATUS_LIMIT, "byte 0: old and new row have more than %d columns",
                            DP_ROW_COLUMNS_MAX);
    }
    *value = from->values[column];
    return DP_STATUS_OK;
}

/* Builds the columns of both rows in the table's order, as far as two lists with gaps tell it: each column
 * that only the old row has follows its predecessor there. Such a column is unchanged in the new row. */
static dp_status merge_rows(dp_decoder *decoder, const dp_value **before, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    const dp_row_columns *row = &wal2json->row;
    const dp_row_columns *old_row = &wal2json->old_row;
    dp_row_columns *merged = &wal2json->merged;
    dp_value *aligned = dp_decoder_values(decoder, row->count + old_row->count);
    size_t *moved_to = dp_arena_alloc_zeroed(decoder->scratch, row->count + 1, sizeof *moved_to);
    if (aligned == NULL || moved_to == NULL) return dp_error_no_memory(error, "a row");
    size_t next = 0;
    dp_status status = DP_STATUS_OK;
    merged->count = 0;
    for (size_t i = 0; i <= old_row->count && status == DP_STATUS_OK; i++) {
        bool is_last = i == old_row->count;
        size_t at = is_last ? row->count - 1 : wal2json->matched[i];
        while (at != SIZE_MAX && next <= at && status == DP_STATUS_OK) {
            moved_to[next] = merged->count;
            status = merge_append(merged, row, next++, error);
        }
        if (is_last || status != DP_STATUS_OK) break;
        size_t to = merged->count;
        if (at == SIZE_MAX) {
            status = merge_append(merged, old_row, i, error);
            if (status == DP_STATUS_OK) merged->values[to] = (dp_value){.state = DP_VALUE_UNCHANGED};
        } else {
            to = moved_to[at];
        }
        if (status == DP_STATUS_OK && aligned[to].state != DP_VALUE_ABSENT)
            return refuse_repeated(old_row, i, error);
        if (status == DP_STATUS_OK) aligned[to] = old_row->values[i];
    }
    *before = aligned;
    return status;
}

/* See the head of wal2json.h. */
static dp_status check_doubtful_null(dp_decoder *decoder, const dp_table *table, dp_error *error)
{
    const dp_wal2json *wal2json = decoder->state;
    if (!wal2json->has_doubtful_null || decoder->trust_nulls) return DP_STATUS_OK;
    if (wal2json->number_strings_seen && !wal2json->numbers_seen) return DP_STATUS_OK;
    decoder->doubtful_null_count++;
    if (table->key_count > 0) return DP_STATUS_OK;
    dp_error_set(
        error, DP_STATUS_DATA,
        "byte %zu: column '%.*s' of '%.*s.%.*s' is null, which wal2json also prints for NaN and Infinity",
        wal2json->doubtful_at, DP_SLICE_PRINT(wal2json->doubtful_name), DP_SLICE_PRINT(table->schema),
        DP_SLICE_PRINT(table->name));
    dp_error_hint(
        error, "read the slot with wal2json's option \"numeric-data-types-as-string\" on, configure a unique "
               "key for the table, use pgoutput, or take every null for NULL with --trust-nulls");
    return DP_STATUS_DATA;
}

/* `known`: the table of the row, when it is known. */
static dp_status deliver_rows(dp_decoder *decoder, dp_slice schema, dp_slice table, const dp_table *known,
                              dp_change *change, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    dp_status status = DP_STATUS_OK;
    const dp_row_columns *row =
        change->operation == DP_OPERATION_DELETE ? &wal2json->old_row : &wal2json->row;
    if (change->operation == DP_OPERATION_UPDATE) {
        old_row_kind kind = match_old_row(wal2json);
        if (kind == OLD_ROW_WITHIN) status = align_within(decoder, &change->before, error);
        if (kind == OLD_ROW_BEYOND) {
            status = merge_rows(decoder, &change->before, error);
            row = &wal2json->merged;
            known = NULL;
        }
        if (status != DP_STATUS_OK) return status;
    }
    size_t column_count = change->operation == DP_OPERATION_TRUNCATE ? 0 : row->count;
    if (change->operation != DP_OPERATION_TRUNCATE) change->data = row->values;
    change->table = known;
    if (known == NULL)
        status = dp_table_cache_intern(decoder->tables, schema, table, row->specs, column_count,
                                       &change->table, error);
    if (status == DP_STATUS_OK) status = check_doubtful_null(decoder, change->table, error);
    return status == DP_STATUS_OK ? dp_decoder_deliver(decoder, change, error) : status;
}

dp_status dp_wal2json_deliver(dp_decoder *decoder, dp_slice schema, dp_slice table, size_t base,
                              dp_change *change, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    wal2json->has_doubtful_null = false;
    dp_status status = put_row(decoder, &wal2json->columns, base, &wal2json->row, error);
    if (status == DP_STATUS_OK)
        status = put_row(decoder, &wal2json->identity, base, &wal2json->old_row, error);
    return status == DP_STATUS_OK ? deliver_rows(decoder, schema, table, NULL, change, error) : status;
}

dp_status dp_wal2json_deliver_rows(dp_decoder *decoder, const dp_table *known, dp_change *change,
                                   dp_error *error)
{
    return deliver_rows(decoder, known->schema, known->name, known, change, error);
}

dp_status dp_wal2json_check_xid(const dp_decoder *decoder, const dp_record *record,
                                const dp_wal2json_header *header, dp_error *error)
{
    if (header->has_xid && record->has_xid && header->xid != record->xid) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "byte 0: the document is of transaction %u, but its row says %u", header->xid,
                            record->xid);
    }
    if (!decoder->in_transaction || !decoder->has_transaction_id) return DP_STATUS_OK;
    if (!header->has_xid && !record->has_xid) return DP_STATUS_OK;
    uint32_t xid = header->has_xid ? header->xid : record->xid;
    if (xid == decoder->transaction_id) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA, "byte 0: a record of transaction %u inside transaction %u",
                        xid, decoder->transaction_id);
}

dp_status dp_wal2json_begin(dp_decoder *decoder, const dp_record *record, const dp_wal2json_header *header,
                            dp_error *error)
{
    return dp_decoder_begin(decoder, header->has_xid || record->has_xid,
                            header->has_xid ? header->xid : record->xid, error);
}

dp_status dp_wal2json_commit(dp_decoder *decoder, const dp_record *record, const dp_wal2json_header *header,
                             dp_error *error)
{
    if (header->has_next_lsn && record->has_lsn && header->next_lsn.value != record->lsn.value) {
        char in_document[DP_LSN_TEXT_BYTES];
        char in_row[DP_LSN_TEXT_BYTES];
        dp_lsn_format(header->next_lsn, in_document);
        dp_lsn_format(record->lsn, in_row);
        return dp_error_set(error, DP_STATUS_DATA, "byte 0: the transaction ends at %s, but its row says %s",
                            in_document, in_row);
    }
    dp_transaction_end end = {.has_end_position = header->has_next_lsn || record->has_lsn,
                              .end_position = header->has_next_lsn ? header->next_lsn : record->lsn,
                              .has_committed_at = header->has_committed_at,
                              .committed_at_us = header->committed_at_us};
    return dp_decoder_commit(decoder, &end, error);
}
