/* wal2json, format-version 1: one JSON document a transaction, whole in one record or cut by write-in-chunks.
 *
 *   document = head { element } tail
 *   head     = '{' [ "xid":N ] [ "nextlsn":S ] [ "timestamp":S ] [ "origin":N ] "change":'['
 *   element  = [ ',' ] ( insert | update | delete | message )
 *   insert   =
 * {"kind":"insert","schema":S,"table":S,"columnnames":[S...],"columntypes":[S...],"columnvalues":[V...]}
 *   update   = as insert with "kind":"update", then
 * "oldkeys":{"keynames":[S...],"keytypes":[S...],"keyvalues":[V...]} delete   =
 * {"kind":"delete","schema":S,"table":S,"oldkeys":{...}} message  =
 * {"kind":"message","transactional":B,"prefix":S,"content":S} tail     = ']' '}'
 *
 * A record holds any number of these pieces: with write-in-chunks one each, else a whole document. The comma
 * before the first element is wal2json's own: it counts changes that it then does not print, and prints one
 * before a non-transactional message, which comes in a document of its own. Only a change that has its record
 * to itself has a position, its record's. Truncates are not printed in this format.
 *
 * Members may come in any order, but "change" is the document's last. Unknown ones are skipped, known ones
 * met twice refused.
 */
#include <stdlib.h>

#include "cdc/wal2json.h"

enum { HEAD_XID, HEAD_NEXT_LSN, HEAD_TIMESTAMP, HEAD_CHANGE, HEAD_MEMBER_COUNT };

static const dp_slice head_names[] = {{"xid", 3}, {"nextlsn", 7}, {"timestamp", 9}, {"change", 6}};

enum {
    CHANGE_KIND,
    CHANGE_SCHEMA,
    CHANGE_TABLE,
    CHANGE_COLUMN_NAMES,
    CHANGE_COLUMN_TYPES,
    CHANGE_COLUMN_VALUES,
    CHANGE_OLD_KEYS,
    CHANGE_TRANSACTIONAL,
    CHANGE_MEMBER_COUNT
};

static const dp_slice change_names[] = {{"kind", 4},         {"schema", 6},        {"table", 5},
                                        {"columnnames", 11}, {"columntypes", 11},  {"columnvalues", 12},
                                        {"oldkeys", 7},      {"transactional", 13}};

enum { KEY_NAMES, KEY_TYPES, KEY_VALUES, KEY_MEMBER_COUNT };

static const dp_slice key_names[] = {{"keynames", 8}, {"keytypes", 8}, {"keyvalues", 9}};

/* A place in a record. */
typedef struct cursor {
    dp_decoder *decoder;
    const dp_record *record;
    size_t at;            /* of the next piece */
    bool has_head;        /* the record holds the head of the document its changes belong to */
    dp_json_scanner scan; /* of one piece; its input begins at `at` */
    dp_error *error;
} cursor;

typedef struct change_members {
    unsigned seen;
    dp_slice kind;
    dp_slice schema;
    dp_slice table;
    bool is_transactional;
} change_members;

static dp_status fault(const cursor *in, size_t at, const char *what)
{
    return dp_wal2json_fault(in->at + at, what, in->error);
}

static dp_status scan_fault(const cursor *in)
{
    return dp_wal2json_scan_fault(&in->scan, in->at, in->error);
}

static dp_slice rest(const cursor *in)
{
    return (dp_slice){in->record->data.data + in->at, in->record->data.length - in->at};
}

static void skip_space(cursor *in)
{
    dp_slice data = in->record->data;
    while (in->at < data.length && memchr(" \t\r\n", data.data[in->at], 4) != NULL) {
        in->at++;
    }
}

static dp_status take_text(cursor *in, dp_slice *text)
{
    dp_json_token token;
    if (dp_json_next(&in->scan, &token) == DP_JSON_ERROR) return scan_fault(in);
    return dp_wal2json_text(in->decoder, &token, in->at, text, in->error);
}

/* Takes a '[' or '{' that opens the value of a member. */
static dp_status take_open(cursor *in, dp_json_kind expected, const char *what)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(&in->scan, &token);
    if (kind == DP_JSON_ERROR) return scan_fault(in);
    return kind == expected ? DP_STATUS_OK : fault(in, token.at, what);
}

static dp_status take_head_member(cursor *in, size_t member, dp_wal2json_header *header)
{
    switch (member) {
    case HEAD_XID: return dp_wal2json_take_xid(&in->scan, in->at, header, in->error);
    case HEAD_NEXT_LSN:
        return dp_wal2json_take_lsn(&in->scan, in->at, &header->has_next_lsn, &header->next_lsn, in->error);
    case HEAD_TIMESTAMP: return dp_wal2json_take_time(&in->scan, in->at, header, in->error);
    case HEAD_CHANGE: return take_open(in, DP_JSON_BEGIN_ARRAY, "expected an array of changes");
    default: return dp_wal2json_skip(&in->scan, in->at, in->error);
    }
}

/* Everything up to the '[' of "change". */
static dp_status take_head(cursor *in)
{
    dp_wal2json *wal2json = in->decoder->state;
    dp_wal2json_header header = {.has_xid = false};
    unsigned seen = 0;
    size_t member = HEAD_MEMBER_COUNT;
    dp_json_token token;
    dp_json_scanner_init(&in->scan, rest(in));
    dp_status status = take_open(in, DP_JSON_BEGIN_OBJECT, "expected the '{' of a document");
    while (status == DP_STATUS_OK && member != HEAD_CHANGE) {
        dp_json_kind kind = dp_json_next(&in->scan, &token);
        if (kind == DP_JSON_ERROR) return scan_fault(in);
        if (kind != DP_JSON_KEY) {
            fault(in, 0, "a document without \"change\"");
            dp_error_hint(in->error, "this is no output of wal2json with format-version 1");
            return DP_STATUS_DATA;
        }
        status = dp_wal2json_member(&token, head_names, HEAD_MEMBER_COUNT, &seen, in->at, &member, in->error);
        if (status == DP_STATUS_OK) status = take_head_member(in, member, &header);
    }
    if (status != DP_STATUS_OK) return status;
    if (header.has_xid && in->record->has_xid && header.xid != in->record->xid) {
        return dp_wal2json_check_xid(in->decoder, in->record, &header, in->error);
    }
    in->at += in->scan.position;
    in->has_head = true;
    wal2json->header = header;
    wal2json->in_changes = true;
    wal2json->has_begun = wal2json->has_outside_message = false;
    wal2json->element_count = 0;
    return DP_STATUS_OK;
}

static dp_status begin(cursor *in)
{
    dp_wal2json *wal2json = in->decoder->state;
    if (wal2json->has_begun) return DP_STATUS_OK;
    wal2json->has_begun = true;
    return dp_wal2json_begin(in->decoder, in->record, &wal2json->header, in->error);
}

/* "]}" */
static dp_status take_tail(cursor *in)
{
    dp_wal2json *wal2json = in->decoder->state;
    in->at++;
    skip_space(in);
    if (in->at == in->record->data.length || in->record->data.data[in->at] != '}') {
        return fault(in, 0, "expected '}' after the changes; \"change\" is the last member");
    }
    in->at++;
    wal2json->in_changes = false;
    if (wal2json->has_outside_message && !wal2json->has_begun) return DP_STATUS_OK;
    dp_status status = begin(in);
    if (status != DP_STATUS_OK) return status;
    return dp_wal2json_commit(in->decoder, in->record, &wal2json->header, in->error);
}

typedef enum list_part { PART_NAME, PART_TYPE, PART_VALUE } list_part;

/* One of the three parallel arrays of a row. */
static dp_status take_list(cursor *in, dp_wal2json_cells *cells, list_part part)
{
    size_t *count = part == PART_NAME   ? &cells->name_count
                    : part == PART_TYPE ? &cells->type_count
                                        : &cells->value_count;
    dp_status status = take_open(in, DP_JSON_BEGIN_ARRAY, "expected an array");
    while (status == DP_STATUS_OK) {
        dp_json_token token;
        dp_wal2json_cell *cell;
        dp_json_kind kind = dp_json_next(&in->scan, &token);
        if (kind == DP_JSON_ERROR) return scan_fault(in);
        if (kind == DP_JSON_END_ARRAY) return DP_STATUS_OK;
        status = dp_wal2json_next_cell(cells, count, in->at + token.at, &cell, in->error);
        if (status != DP_STATUS_OK) return status;
        switch (part) {
        case PART_NAME: status = dp_wal2json_text(in->decoder, &token, in->at, &cell->name, in->error); break;
        case PART_TYPE: status = dp_wal2json_text(in->decoder, &token, in->at, &cell->type, in->error); break;
        case PART_VALUE:
            cell->value = token;
            dp_slice source;
            if (!dp_json_skip_value(&in->scan, &token, &source)) return scan_fault(in);
            break;
        }
    }
    return status;
}

static dp_status take_old_keys(cursor *in, dp_wal2json_cells *cells)
{
    static const list_part parts[] = {PART_NAME, PART_TYPE, PART_VALUE};
    unsigned seen = 0;
    dp_json_token token;
    dp_status status = take_open(in, DP_JSON_BEGIN_OBJECT, "expected an object of old keys");
    if (status != DP_STATUS_OK) return status;
    while (dp_json_next(&in->scan, &token) == DP_JSON_KEY) {
        size_t member;
        status = dp_wal2json_member(&token, key_names, KEY_MEMBER_COUNT, &seen, in->at, &member, in->error);
        if (status == DP_STATUS_OK) {
            status = member < KEY_MEMBER_COUNT ? take_list(in, cells, parts[member])
                                               : dp_wal2json_skip(&in->scan, in->at, in->error);
        }
        if (status != DP_STATUS_OK) return status;
    }
    return token.kind == DP_JSON_END_OBJECT ? DP_STATUS_OK : scan_fault(in);
}

static dp_status take_transactional(cursor *in, change_members *element)
{
    dp_json_token token;
    dp_json_kind kind = dp_json_next(&in->scan, &token);
    if (kind == DP_JSON_ERROR) return scan_fault(in);
    if (kind != DP_JSON_TRUE && kind != DP_JSON_FALSE) return fault(in, token.at, "expected true or false");
    element->is_transactional = kind == DP_JSON_TRUE;
    return DP_STATUS_OK;
}

static dp_status take_change_member(cursor *in, size_t member, change_members *element)
{
    dp_wal2json *wal2json = in->decoder->state;
    switch (member) {
    case CHANGE_KIND: return take_text(in, &element->kind);
    case CHANGE_SCHEMA: return take_text(in, &element->schema);
    case CHANGE_TABLE: return take_text(in, &element->table);
    case CHANGE_COLUMN_NAMES: return take_list(in, &wal2json->columns, PART_NAME);
    case CHANGE_COLUMN_TYPES: return take_list(in, &wal2json->columns, PART_TYPE);
    case CHANGE_COLUMN_VALUES: return take_list(in, &wal2json->columns, PART_VALUE);
    case CHANGE_OLD_KEYS: return take_old_keys(in, &wal2json->identity);
    case CHANGE_TRANSACTIONAL: return take_transactional(in, element);
    default: return dp_wal2json_skip(&in->scan, in->at, in->error);
    }
}

static dp_status check_lists(const cursor *in, const dp_wal2json_cells *cells)
{
    if (cells->name_count > 0 && cells->type_count == 0) {
        fault(in, 0, "columns without types");
        dp_error_hint(in->error, "read the slot with wal2json's option \"include-types\" on, its default");
        return DP_STATUS_DATA;
    }
    if (cells->name_count == cells->type_count && cells->name_count == cells->value_count)
        return DP_STATUS_OK;
    return dp_error_set(in->error, DP_STATUS_DATA, "byte %zu: %zu column names, %zu types and %zu values",
                        in->at, cells->name_count, cells->type_count, cells->value_count);
}

static dp_status check_element(const cursor *in, const change_members *element, dp_operation operation)
{
    const dp_wal2json *wal2json = in->decoder->state;
    if ((element->seen & 1u << CHANGE_SCHEMA) == 0 || (element->seen & 1u << CHANGE_TABLE) == 0) {
        fault(in, 0, "a change without \"schema\" or \"table\"");
        dp_error_hint(in->error, "read the slot with wal2json's option \"include-schemas\" on, its default");
        return DP_STATUS_DATA;
    }
    bool has_columns = (element->seen & (1u << CHANGE_COLUMN_NAMES | 1u << CHANGE_COLUMN_VALUES)) != 0;
    if (has_columns == (operation == DP_OPERATION_DELETE)) {
        return fault(in, 0, has_columns ? "a delete with columns" : "a change without columns");
    }
    bool has_old_keys = (element->seen & 1u << CHANGE_OLD_KEYS) != 0;
    if (has_old_keys && operation == DP_OPERATION_INSERT) return fault(in, 0, "an insert with old keys");
    dp_status status = check_lists(in, &wal2json->columns);
    return status == DP_STATUS_OK ? check_lists(in, &wal2json->identity) : status;
}

static dp_status deliver(cursor *in, const change_members *element, dp_operation operation)
{
    dp_status status = check_element(in, element, operation);
    if (status == DP_STATUS_OK) status = begin(in);
    if (status != DP_STATUS_OK) return status;
    dp_change change = {.operation = operation,
                        .has_position = in->record->has_lsn && !in->has_head,
                        .position = in->record->lsn};
    return dp_wal2json_deliver(in->decoder, element->schema, element->table, in->at, &change, in->error);
}

static dp_status act_on(cursor *in, const change_members *element)
{
    static const dp_wal2json_header no_header = {.has_xid = false};
    dp_wal2json *wal2json = in->decoder->state;
    if (dp_slice_equal_text(element->kind, "message")) {
        if (element->is_transactional) return begin(in);
        wal2json->has_outside_message = true;
        return DP_STATUS_OK;
    }
    dp_status status = dp_wal2json_check_xid(in->decoder, in->record, &no_header, in->error);
    if (status != DP_STATUS_OK) return status;
    if (dp_slice_equal_text(element->kind, "insert")) return deliver(in, element, DP_OPERATION_INSERT);
    if (dp_slice_equal_text(element->kind, "update")) return deliver(in, element, DP_OPERATION_UPDATE);
    if (dp_slice_equal_text(element->kind, "delete")) return deliver(in, element, DP_OPERATION_DELETE);
    return fault(in, 0, "expected a change of kind insert, update, delete or message");
}

static dp_status take_element(cursor *in)
{
    dp_wal2json *wal2json = in->decoder->state;
    if (in->record->data.data[in->at] == ',') {
        in->at++;
        skip_space(in);
    } else if (wal2json->element_count > 0) {
        return fault(in, 0, "expected ',' or ']' after a change");
    }
    change_members element = {.seen = 0};
    dp_json_token token;
    wal2json->element_count++;
    dp_arena_reset(in->decoder->scratch);
    dp_wal2json_clear_cells(wal2json);
    dp_json_scanner_init(&in->scan, rest(in));
    dp_status status = take_open(in, DP_JSON_BEGIN_OBJECT, "expected the '{' of a change");
    if (status != DP_STATUS_OK) return status;
    while (dp_json_next(&in->scan, &token) == DP_JSON_KEY) {
        size_t member;
        status = dp_wal2json_member(&token, change_names, CHANGE_MEMBER_COUNT, &element.seen, in->at, &member,
                                    in->error);
        if (status == DP_STATUS_OK) status = take_change_member(in, member, &element);
        if (status != DP_STATUS_OK) return status;
    }
    if (token.kind == DP_JSON_ERROR) return scan_fault(in);
    status = act_on(in, &element);
    in->at += in->scan.position;
    return status;
}

static dp_status feed(dp_decoder *decoder, const dp_record *record, dp_error *error)
{
    dp_wal2json *wal2json = decoder->state;
    cursor in = {.decoder = decoder, .record = record, .error = error};
    skip_space(&in);
    if (in.at == record->data.length) return fault(&in, 0, "an empty record");
    while (in.at < record->data.length) {
        dp_status status = !wal2json->in_changes             ? take_head(&in)
                           : record->data.data[in.at] == ']' ? take_tail(&in)
                                                             : take_element(&in);
        if (status != DP_STATUS_OK) return status;
        skip_space(&in);
    }
    /* A head alone: its changes follow in records of their own. */
    return wal2json->in_changes && in.has_head && wal2json->element_count == 0 ? begin(&in) : DP_STATUS_OK;
}

const dp_decoder_plugin dp_decoder_wal2json_1 = {
    .feed = feed, .state_new = dp_wal2json_new, .state_free = free};
