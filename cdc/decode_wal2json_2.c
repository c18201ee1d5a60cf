/* wal2json, format-version 2: one JSON object a record.
 *
 *   {"action":"B",<head>}                                       begin
 *   {"action":"C",<head>}                                       commit
 *   {"action":"I",<head>,"schema":S,"table":S,"columns":[<column>...]}
 *   {"action":"U",<head>,"schema":S,"table":S,"columns":[<column>...],"identity":[<column>...]}
 *   {"action":"D",<head>,"schema":S,"table":S,"identity":[<column>...]}
 *   {"action":"T",<head>,"schema":S,"table":S}                  truncate, one for each table
 *   {"action":"M",<head>,"transactional":B,"prefix":S,"content":S}
 *   <head>   "xid":N (include-xids), "timestamp":S (include-timestamp), "lsn":S and in B and C "nextlsn":S
 *            (include-lsn), "origin":N; each optional
 *   <column> {"name":S,"type":S,"value":V}
 *
 * In B and C "lsn" is the commit record and "nextlsn" the transaction's end. An identity is printed with
 * every update, also when it did not change. Members may come in any order; unknown ones are skipped, known
 * ones met twice refused.
 */
#include <stdlib.h>

#include "cdc/wal2json_shapes.h"

/* X(name, text) */
#define MEMBER_LIST(X)                                                                                       \
    X(ACTION, "action")                                                                                      \
    X(XID, "xid")                                                                                            \
    X(TIMESTAMP, "timestamp")                                                                                \
    X(LSN, "lsn")                                                                                            \
    X(NEXT_LSN, "nextlsn")                                                                                   \
    X(SCHEMA, "schema")                                                                                      \
    X(TABLE, "table")                                                                                        \
    X(COLUMNS, "columns")                                                                                    \
    X(IDENTITY, "identity")

enum {
#define MEMBER_ENUM(name, text) MEMBER_##name,
    MEMBER_LIST(MEMBER_ENUM)
#undef MEMBER_ENUM
        MEMBER_COUNT
};

static const dp_slice member_names[] = {MEMBER_LIST(DP_SLICE_ENTRY)};

enum { COLUMN_NAME, COLUMN_TYPE, COLUMN_VALUE, COLUMN_MEMBER_COUNT };

static const dp_slice column_member_names[] = {{"name", 4}, {"type", 4}, {"value", 5}};

static bool has(const dp_wal2json_document *document, unsigned member)
{
    return (document->seen & 1u << member) != 0;
}

static dp_status take_action(dp_json_scanner *scanner, dp_wal2json_document *document, dp_error *error)
{
    dp_json_token token;
    if (dp_json_next(scanner, &token) == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, 0, error);
    if (token.kind != DP_JSON_STRING || token.text.length != 1 ||
        memchr("BCIUDTM", token.text.data[0], 7) == NULL) {
        return dp_wal2json_fault(token.at, "expected an action, one of B C I U D T M", error);
    }
    document->action = token.text.data[0];
    return DP_STATUS_OK;
}

static dp_status take_text(dp_decoder *decoder, dp_json_scanner *scanner, dp_slice *text, dp_error *error)
{
    dp_json_token token;
    if (dp_json_next(scanner, &token) == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, 0, error);
    return dp_wal2json_text(decoder, &token, 0, text, error);
}

static dp_status take_column_value(dp_json_scanner *scanner, dp_wal2json_cell *cell, dp_error *error)
{
    dp_slice source;
    if (dp_json_next(scanner, &cell->value) == DP_JSON_ERROR ||
        !dp_json_skip_value(scanner, &cell->value, &source)) {
        return dp_wal2json_scan_fault(scanner, 0, error);
    }
    return DP_STATUS_OK;
}

/* The members of a column, whose '{' has been taken. */
static dp_status take_column(dp_decoder *decoder, dp_json_scanner *scanner, size_t at, dp_wal2json_cell *cell,
                             dp_error *error)
{
    unsigned seen = 0;
    dp_json_token key;
    while (dp_json_next(scanner, &key) == DP_JSON_KEY) {
        size_t member;
        dp_status status =
            dp_wal2json_member(&key, column_member_names, COLUMN_MEMBER_COUNT, &seen, 0, &member, error);
        if (status != DP_STATUS_OK) return status;
        switch (member) {
        case COLUMN_NAME: status = take_text(decoder, scanner, &cell->name, error); break;
        case COLUMN_TYPE: status = take_text(decoder, scanner, &cell->type, error); break;
        case COLUMN_VALUE: status = take_column_value(scanner, cell, error); break;
        default: status = dp_wal2json_skip(scanner, 0, error); break;
        }
        if (status != DP_STATUS_OK) return status;
    }
    if (key.kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, 0, error);
    if ((seen & 1u << COLUMN_NAME) == 0) return dp_wal2json_fault(at, "a column without \"name\"", error);
    if ((seen & 1u << COLUMN_TYPE) == 0) {
        dp_wal2json_fault(at, "a column without \"type\"", error);
        dp_error_hint(error, "read the slot with wal2json's option \"include-types\" on, its default");
        return DP_STATUS_DATA;
    }
    if ((seen & 1u << COLUMN_VALUE) == 0) return dp_wal2json_fault(at, "a column without \"value\"", error);
    return DP_STATUS_OK;
}

static dp_status take_columns(dp_decoder *decoder, dp_json_scanner *scanner, dp_wal2json_cells *cells,
                              dp_error *error)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(scanner, &token);
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, 0, error);
    if (kind != DP_JSON_BEGIN_ARRAY)
        return dp_wal2json_fault(token.at, "expected an array of columns", error);
    while ((kind = dp_json_next(scanner, &token)) == DP_JSON_BEGIN_OBJECT) {
        dp_wal2json_cell *cell;
        dp_status status = dp_wal2json_next_cell(cells, &cells->name_count, token.at, &cell, error);
        if (status == DP_STATUS_OK) status = take_column(decoder, scanner, token.at, cell, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(scanner, 0, error);
    return kind == DP_JSON_END_ARRAY ? DP_STATUS_OK
                                     : dp_wal2json_fault(token.at, "expected a column, an object", error);
}

static dp_status take_member(dp_decoder *decoder, dp_json_scanner *scanner, size_t member,
                             dp_wal2json_document *document, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    dp_wal2json_header *header = &document->header;
    switch (member) {
    case MEMBER_ACTION: return take_action(scanner, document, error);
    case MEMBER_XID: return dp_wal2json_take_xid(scanner, 0, header, error);
    case MEMBER_TIMESTAMP: return dp_wal2json_take_time(scanner, 0, header, error);
    case MEMBER_LSN: return dp_wal2json_take_lsn(scanner, 0, &document->has_lsn, &document->lsn, error);
    case MEMBER_NEXT_LSN:
        return dp_wal2json_take_lsn(scanner, 0, &header->has_next_lsn, &header->next_lsn, error);
    case MEMBER_SCHEMA: return take_text(decoder, scanner, &document->schema, error);
    case MEMBER_TABLE: return take_text(decoder, scanner, &document->table, error);
    case MEMBER_COLUMNS: return take_columns(decoder, scanner, &wal2json->columns, error);
    case MEMBER_IDENTITY: return take_columns(decoder, scanner, &wal2json->identity, error);
    default: return dp_wal2json_skip(scanner, 0, error);
    }
}

static dp_status parse(dp_decoder *decoder, dp_slice text, dp_wal2json_document *document, dp_error *error)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, text);
    dp_json_kind kind = dp_json_next(&scanner, &token);
    if (kind != DP_JSON_ERROR && kind != DP_JSON_BEGIN_OBJECT) {
        return dp_wal2json_fault(token.at, "expected a JSON object", error);
    }
    while ((kind = dp_json_next(&scanner, &token)) == DP_JSON_KEY) {
        size_t member;
        dp_status status =
            dp_wal2json_member(&token, member_names, MEMBER_COUNT, &document->seen, 0, &member, error);
        if (status == DP_STATUS_OK) status = take_member(decoder, &scanner, member, document, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (kind != DP_JSON_ERROR) kind = dp_json_next(&scanner, &token);
    if (kind == DP_JSON_ERROR) return dp_wal2json_scan_fault(&scanner, 0, error);
    if (!has(document, MEMBER_ACTION)) {
        dp_wal2json_fault(0, "a document without \"action\"", error);
        dp_error_hint(error, "this is no output of wal2json with format-version 2");
        return DP_STATUS_DATA;
    }
    return DP_STATUS_OK;
}

static dp_status check_members(const dp_wal2json_document *document, dp_error *error)
{
    if (!has(document, MEMBER_SCHEMA) || !has(document, MEMBER_TABLE)) {
        dp_wal2json_fault(0, "a change without \"schema\" or \"table\"", error);
        dp_error_hint(error, "read the slot with wal2json's option \"include-schemas\" on, its default");
        return DP_STATUS_DATA;
    }
    bool needs_columns = document->action == 'I' || document->action == 'U';
    if (needs_columns != has(document, MEMBER_COLUMNS)) {
        return dp_wal2json_fault(
            0, needs_columns ? "a change without \"columns\"" : "a change with \"columns\"", error);
    }
    bool may_have_identity = document->action == 'U' || document->action == 'D';
    if (!may_have_identity && has(document, MEMBER_IDENTITY)) {
        return dp_wal2json_fault(0, "a change with \"identity\"", error);
    }
    return DP_STATUS_OK;
}

static dp_operation operation_of(char action)
{
    return action == 'I'   ? DP_OPERATION_INSERT
           : action == 'U' ? DP_OPERATION_UPDATE
           : action == 'D' ? DP_OPERATION_DELETE
                           : DP_OPERATION_TRUNCATE;
}

static dp_status decode_change(dp_decoder *decoder, const dp_record *record,
                               const dp_wal2json_document *document, dp_error *error)
{
    dp_status status = document->known == NULL ? check_members(document, error) : DP_STATUS_OK;
    if (status != DP_STATUS_OK) return status;
    if (!decoder->in_transaction) {
        dp_wal2json_fault(0, "a change outside a transaction", error);
        dp_error_hint(error, "read the slot with wal2json's option \"include-transaction\" on, its default");
        return DP_STATUS_DATA;
    }
    if (record->has_lsn && document->has_lsn && record->lsn.value != document->lsn.value) {
        char in_document[DP_LSN_TEXT_BYTES];
        char in_row[DP_LSN_TEXT_BYTES];
        dp_lsn_format(document->lsn, in_document);
        dp_lsn_format(record->lsn, in_row);
        return dp_error_set(error, DP_STATUS_DATA, "byte 0: the change is at %s, but its row says %s",
                            in_document, in_row);
    }
    dp_change change = {.operation = operation_of(document->action),
                        .has_position = record->has_lsn || document->has_lsn,
                        .position = record->has_lsn ? record->lsn : document->lsn};
    if (document->known != NULL) return dp_wal2json_deliver_rows(decoder, document->known, &change, error);
    status = dp_wal2json_deliver(decoder, document->schema, document->table, 0, &change, error);
    if (status == DP_STATUS_OK) dp_wal2json_shapes_learn(decoder, record->data, document, change.table);
    return status;
}

static dp_status decode_begin(dp_decoder *decoder, const dp_record *record,
                              const dp_wal2json_document *document, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    wal2json->header = document->header;
    return dp_wal2json_begin(decoder, record, &document->header, error);
}

/* What C does not repeat is taken from B. */
static dp_status decode_commit(dp_decoder *decoder, const dp_record *record,
                               const dp_wal2json_document *document, dp_error *error)
{
    const dp_wal2json *wal2json = decoder->state;
    const dp_wal2json_header *begin = &wal2json->header;
    dp_wal2json_header header = document->header;
    if (header.has_next_lsn && begin->has_next_lsn && header.next_lsn.value != begin->next_lsn.value) {
        return dp_wal2json_fault(0, "commit and begin disagree on \"nextlsn\"", error);
    }
    if (!header.has_next_lsn) {
        header.has_next_lsn = begin->has_next_lsn;
        header.next_lsn = begin->next_lsn;
    }
    if (!header.has_committed_at) {
        header.has_committed_at = begin->has_committed_at;
        header.committed_at_us = begin->committed_at_us;
    }
    return dp_wal2json_commit(decoder, record, &header, error);
}

static dp_status decode(dp_decoder *decoder, const dp_record *record, const dp_wal2json_document *document,
                        dp_error *error)
{
    if (document->action == 'B') {
        if (document->header.has_xid && record->has_xid && document->header.xid != record->xid) {
            return dp_wal2json_check_xid(decoder, record, &document->header, error);
        }
        return decode_begin(decoder, record, document, error);
    }
    dp_status status = dp_wal2json_check_xid(decoder, record, &document->header, error);
    if (status != DP_STATUS_OK) return status;
    if (document->action == 'C') return decode_commit(decoder, record, document, error);
    return decode_change(decoder, record, document, error);
}

static dp_status feed(dp_decoder *decoder, const dp_record *record, dp_error *error)
{
    /* A message's content need not be UTF-8, and nothing in it is used. */
    if (dp_slice_starts_with(record->data, DP_SLICE_LITERAL("{\"action\":\"M\","))) return DP_STATUS_OK;
    dp_wal2json_document document;
    if (dp_wal2json_shapes_read(decoder, record->data, &document))
        return decode(decoder, record, &document, error);
    document = (dp_wal2json_document){.seen = 0};
    dp_wal2json_clear_cells(decoder->state);
    dp_status status = parse(decoder, record->data, &document, error);
    if (status != DP_STATUS_OK || document.action == 'M') return status;
    if (document.action == 'B') dp_wal2json_shapes_learn(decoder, record->data, &document, NULL);
    return decode(decoder, record, &document, error);
}

static void *state_new(void)
{
    dp_wal2json *wal2json = dp_wal2json_new();
    if (wal2json != NULL) dp_wal2json_shapes_init(wal2json);
    return wal2json;
}

static void state_free(void *state)
{
    if (state != NULL) dp_wal2json_shapes_release(state);
    free(state);
}

const dp_decoder_plugin dp_decoder_wal2json_2 = {
    .feed = feed, .state_new = state_new, .state_free = state_free};
