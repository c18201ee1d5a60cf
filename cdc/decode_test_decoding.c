/* test_decoding, the text plugin of PostgreSQL's contrib.
 *
 * The grammar of one record, as contrib/test_decoding prints it (15 and later; earlier ones print a subset):
 *
 *   record    = begin | commit | change | truncate | message
 *   begin     = "BEGIN" [ " " xid ]
 *   commit    = "COMMIT" [ " " xid ] [ " (at " timestamp ")" ]
 *   change    = "table " table ": " ( insert | update | delete )
 *   insert    = "INSERT:" row
 *   update    = "UPDATE:" [ " old-key:" row " new-tuple:" ] row
 *   delete    = "DELETE:" ( " (no-tuple-data)" | row )
 *   truncate  = "table " table { ", " table } ": TRUNCATE:" ( " (no-flags)" | [ " restart_seqs" ] [ "
 * cascade" ] ) message   = "message: transactional: " ( "0" | "1" ) " prefix: " text ", sz: " size "
 * content:" size*byte table     = name "." name row       = { " " name "[" type "]:" value } name      =
 * letter-digits | '"' { any byte but '"' | '""' } '"' type      = { any byte but '"' '[' ']' | '"' { any byte
 * but '"' | '""' } '"' | "[]" } value     = "null" | "unchanged-toast-datum" | "true" | "false" | number |
 * "'" { any byte but "'" | "''" } "'" | "B'" { "0" | "1" } "'"
 *
 * A row leaves out NULLs where it is an old one. A row may be empty: a table without columns, or an old row
 * of nothing but NULLs. A message's prefix and content are not quoted, so a message ends after its stated
 * size; the record's own end (known for SQL rows) then says which ", sz: " is meant.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "cdc/commit_time.h"
#include "cdc/decoder_internal.h"
#include "cdc/row_shapes.h"

typedef struct test_decoding_state {
    dp_row_columns row;
    dp_row_columns old_row;
    dp_slice heads[DP_ROW_COLUMNS_MAX]; /* per column of the row read last: its name, type and colon */
    dp_row_shapes *shapes;
} test_decoding_state;

typedef struct parser {
    dp_slice text;
    size_t at;
    dp_arena *scratch;
    dp_error *error;
} parser;

static void state_free(void *opaque)
{
    test_decoding_state *state = opaque;
    dp_row_shapes_free(state->shapes);
    free(state);
}

static void *state_new(void)
{
    test_decoding_state *state = calloc(1, sizeof *state);
    if (state == NULL) return NULL;
    state->shapes = dp_row_shapes_new();
    if (state->shapes == NULL) {
        free(state);
        return NULL;
    }
    return state;
}

static dp_status fault(const parser *in, size_t at, const char *what)
{
    return dp_error_set(in->error, DP_STATUS_DATA, "byte %zu: %s", at, what);
}

static bool at_end(const parser *in)
{
    return in->at == in->text.length;
}

static char peek(const parser *in)
{
    return in->at < in->text.length ? in->text.data[in->at] : '\0';
}

static dp_slice rest(const parser *in)
{
    return (dp_slice){in->text.data + in->at, in->text.length - in->at};
}

static bool take_text(parser *in, dp_slice literal)
{
    if (!dp_slice_starts_with(rest(in), literal)) return false;
    in->at += literal.length;
    return true;
}

#define TAKE(in, literal) take_text(in, DP_SLICE_LITERAL(literal))

/* The bytes between two quotes, the first of which has been taken, with doubled quotes made single. */
static dp_status take_quoted(parser *in, char quote, dp_slice *content)
{
    const size_t start = in->at;
    size_t doubled_count = 0;
    for (;;) {
        dp_slice left = rest(in);
        const char *end = left.length == 0 ? NULL : memchr(left.data, quote, left.length);
        if (end == NULL) return fault(in, start - 1, "a quote that is not closed");
        in->at = (size_t)(end - in->text.data) + 1;
        if (peek(in) != quote) break;
        in->at++;
        doubled_count++;
    }
    dp_slice quoted = {in->text.data + start, in->at - 1 - start};
    *content = quoted;
    if (doubled_count == 0) return DP_STATUS_OK;
    char *copy = dp_arena_alloc(in->scratch, quoted.length - doubled_count);
    if (copy == NULL) return dp_error_no_memory(in->error, "a value");
    *content = (dp_slice){copy, quoted.length - doubled_count};
    const char *from = quoted.data;
    const char *end = quoted.data + quoted.length;
    while (from < end) {
        const char *next = memchr(from, quote, (size_t)(end - from));
        size_t length = next == NULL ? (size_t)(end - from) : (size_t)(next - from) + 1;
        memcpy(copy, from, length);
        copy += length;
        from += next == NULL ? length : length + 1;
    }
    return DP_STATUS_OK;
}

/* quote_identifier() leaves only these unquoted. */
static bool is_plain_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static dp_status take_name(parser *in, dp_slice *name)
{
    size_t start = in->at;
    if (peek(in) == '"') {
        in->at++;
        dp_status status = take_quoted(in, '"', name);
        if (status == DP_STATUS_OK && name->length == 0) return fault(in, start, "an empty name");
        return status;
    }
    while (in->at < in->text.length && is_plain_name_byte(in->text.data[in->at])) {
        in->at++;
    }
    if (in->at == start) return fault(in, start, "expected a name");
    *name = (dp_slice){in->text.data + start, in->at - start};
    return DP_STATUS_OK;
}

static dp_status take_table_name(parser *in, dp_slice *schema, dp_slice *name)
{
    dp_status status = take_name(in, schema);
    if (status != DP_STATUS_OK) return status;
    if (!TAKE(in, ".")) return fault(in, in->at, "expected '.' between schema and table");
    return take_name(in, name);
}

/* The type up to its ']', which is taken; the opening '[' has been. */
static dp_status take_type(parser *in, dp_slice *type)
{
    const size_t start = in->at;
    while (!at_end(in)) {
        char c = in->text.data[in->at++];
        if (c == ']') {
            *type = (dp_slice){in->text.data + start, in->at - 1 - start};
            return type->length > 0 ? DP_STATUS_OK : fault(in, start, "an empty type name");
        }
        if (c == '[' && !TAKE(in, "]")) return fault(in, in->at, "expected ']' in a type name");
        if (c == '"') {
            dp_slice ignored;
            dp_status status = take_quoted(in, '"', &ignored);
            if (status != DP_STATUS_OK) return status;
        }
    }
    return fault(in, start, "a type name without its ']'");
}

static bool is_number(dp_slice text)
{
    if (dp_slice_equal_text(text, "NaN") || dp_slice_equal_text(text, "Infinity") ||
        dp_slice_equal_text(text, "-Infinity")) {
        return true;
    }
    bool has_digit = false;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E') return false;
        has_digit = has_digit || is_digit;
    }
    return has_digit;
}

static dp_status take_bare_value(parser *in, dp_type_class type_class, dp_value *value)
{
    size_t start = in->at;
    while (in->at < in->text.length && in->text.data[in->at] != ' ') {
        in->at++;
    }
    dp_slice word = {in->text.data + start, in->at - start};
    value->state = DP_VALUE_PRESENT;
    value->text = word;
    bool is_digits = word.length > 0 && word.data[0] <= '9';
    if (is_digits && type_class != DP_TYPE_BOOLEAN) {
        return is_number(word) ? DP_STATUS_OK : fault(in, start, "expected a number");
    }
    if (dp_slice_equal_text(word, "null")) {
        *value = (dp_value){.state = DP_VALUE_NULL};
    } else if (dp_slice_equal_text(word, "unchanged-toast-datum")) {
        *value = (dp_value){.state = DP_VALUE_UNCHANGED};
    } else if (type_class == DP_TYPE_BOOLEAN) {
        bool is_true = dp_slice_equal_text(word, "true");
        if (!is_true && !dp_slice_equal_text(word, "false")) {
            return fault(in, start, "expected true, false or null");
        }
        value->text = is_true ? DP_SLICE_LITERAL("t") : DP_SLICE_LITERAL("f");
    } else if (!is_number(word)) {
        return fault(in, start, "expected a quoted value, a number, null or unchanged-toast-datum");
    }
    return DP_STATUS_OK;
}

static dp_status take_bits(parser *in, dp_slice *bits)
{
    size_t start = in->at;
    dp_status status = take_quoted(in, '\'', bits);
    for (size_t i = 0; status == DP_STATUS_OK && i < bits->length; i++) {
        if (bits->data[i] != '0' && bits->data[i] != '1')
            status = fault(in, start + i, "expected a bit, 0 or 1");
    }
    return status;
}

static dp_status take_value(parser *in, dp_type_class type_class, dp_value *value)
{
    value->state = DP_VALUE_PRESENT;
    if (TAKE(in, "'")) return take_quoted(in, '\'', &value->text);
    if (TAKE(in, "B'")) return take_bits(in, &value->text);
    return take_bare_value(in, type_class, value);
}

/* A column's name, type and colon. */
static dp_status take_column_head(parser *in, dp_row_columns *row)
{
    size_t start = in->at;
    dp_slice name;
    dp_slice type;
    dp_status status = take_name(in, &name);
    if (status != DP_STATUS_OK) return status;
    if (!TAKE(in, "[")) return fault(in, in->at, "expected '[' and the type of the column");
    status = take_type(in, &type);
    if (status != DP_STATUS_OK) return status;
    if (!TAKE(in, ":")) return fault(in, in->at, "expected ':' and the value of the column");
    if (dp_row_columns_append(row, name, dp_type_class_of_name(type)) == NULL) {
        return dp_error_set(in->error, DP_STATUS_LIMIT, "byte %zu: a row of more than %d columns", start,
                            DP_ROW_COLUMNS_MAX);
    }
    return DP_STATUS_OK;
}

static bool begins_new_tuple(const parser *in)
{
    static const dp_slice label = DP_SLICE_LITERAL(" new-tuple:");
    dp_slice left = rest(in);
    return left.length >= label.length && left.data[1] == 'n' &&
           memcmp(left.data, label.data, label.length) == 0;
}

/* Takes columns until the end, or until " new-tuple:", which no column can be mistaken for: names with a '-'
 * are quoted. `heads` gets the text before each value. A column written as in `shape` (may be NULL) is taken
 * from there; *is_alike says whether the whole row was. */
static dp_status take_row(parser *in, dp_row_columns *row, dp_slice *heads, const dp_row_shape *shape,
                          bool *is_alike)
{
    row->count = 0;
    *is_alike = shape != NULL;
    while (!at_end(in) && !begins_new_tuple(in)) {
        const size_t start = in->at;
        const size_t at = row->count;
        if (shape != NULL && at < shape->column_count && take_text(in, shape->heads[at])) {
            row->specs[at] = shape->specs[at];
            row->values[at] = (dp_value){.state = DP_VALUE_ABSENT};
            row->count++;
        } else {
            *is_alike = false;
            if (!TAKE(in, " ")) return fault(in, in->at, "expected a space and the next column");
            dp_status status = take_column_head(in, row);
            if (status != DP_STATUS_OK) return status;
        }
        if (heads != NULL) heads[at] = (dp_slice){in->text.data + start, in->at - start};
        dp_status status = take_value(in, row->specs[at].type_class, &row->values[at]);
        if (status != DP_STATUS_OK) return status;
    }
    *is_alike = *is_alike && row->count == shape->column_count;
    return DP_STATUS_OK;
}

static dp_status expect_end(const parser *in)
{
    return at_end(in) ? DP_STATUS_OK : fault(in, in->at, "text after the end of the record");
}

static dp_status parse_u32(const parser *in, size_t at, dp_slice digits, uint32_t *value)
{
    uint64_t number;
    if (!dp_slice_to_u64(digits, UINT32_MAX, &number)) return fault(in, at, "expected a transaction id");
    *value = (uint32_t)number;
    return DP_STATUS_OK;
}

/* The optional xid after BEGIN and COMMIT. */
static dp_status take_xid(parser *in, bool *has_xid, uint32_t *xid)
{
    *has_xid = false;
    if (at_end(in) || dp_slice_starts_with(rest(in), DP_SLICE_LITERAL(" (at "))) return DP_STATUS_OK;
    if (!TAKE(in, " ")) return fault(in, in->at, "expected a space and the transaction id");
    size_t start = in->at;
    while (peek(in) >= '0' && peek(in) <= '9') {
        in->at++;
    }
    *has_xid = true;
    return parse_u32(in, start, (dp_slice){in->text.data + start, in->at - start}, xid);
}

static dp_status decode_begin(dp_decoder *decoder, const dp_record *record, parser *in)
{
    bool has_xid;
    uint32_t xid = 0;
    dp_status status = take_xid(in, &has_xid, &xid);
    if (status == DP_STATUS_OK) status = expect_end(in);
    if (status != DP_STATUS_OK) return status;
    if (has_xid && record->has_xid && record->xid != xid) {
        return dp_error_set(in->error, DP_STATUS_DATA,
                            "byte 6: BEGIN is of transaction %u, but its row says %u", xid, record->xid);
    }
    return dp_decoder_begin(decoder, has_xid || record->has_xid, has_xid ? xid : record->xid, in->error);
}

static dp_status take_committed_at(parser *in, dp_transaction_end *end)
{
    if (!TAKE(in, " (at ")) return DP_STATUS_OK;
    size_t start = in->at;
    dp_slice left = rest(in);
    const char *close = left.length == 0 ? NULL : memchr(left.data, ')', left.length);
    if (close == NULL) return fault(in, start, "a commit time without its ')'");
    in->at = (size_t)(close - in->text.data) + 1;
    end->has_committed_at = true;
    if (!dp_commit_time_parse((dp_slice){left.data, (size_t)(close - left.data)}, &end->committed_at_us)) {
        return fault(in, start, "expected a commit time such as 2026-01-02 03:04:05.678901+00");
    }
    return DP_STATUS_OK;
}

static dp_status decode_commit(dp_decoder *decoder, const dp_record *record, parser *in)
{
    dp_transaction_end end = {.has_end_position = record->has_lsn, .end_position = record->lsn};
    bool has_xid;
    uint32_t xid = 0;
    dp_status status = take_xid(in, &has_xid, &xid);
    if (status == DP_STATUS_OK) status = take_committed_at(in, &end);
    if (status == DP_STATUS_OK) status = expect_end(in);
    if (status != DP_STATUS_OK) return status;
    if (!has_xid) xid = record->xid;
    if ((has_xid || record->has_xid) && decoder->in_transaction && decoder->has_transaction_id &&
        decoder->transaction_id != xid) {
        return dp_error_set(in->error, DP_STATUS_DATA,
                            "byte 0: COMMIT of transaction %u inside transaction %u", xid,
                            decoder->transaction_id);
    }
    return dp_decoder_commit(decoder, &end, in->error);
}

static dp_status deliver(dp_decoder *decoder, const dp_record *record, dp_change *change, dp_error *error)
{
    if (record->has_xid && decoder->in_transaction && decoder->has_transaction_id &&
        record->xid != decoder->transaction_id) {
        return dp_error_set(error, DP_STATUS_DATA, "byte 0: a change of transaction %u inside transaction %u",
                            record->xid, decoder->transaction_id);
    }
    change->has_position = record->has_lsn;
    change->position = record->lsn;
    return dp_decoder_deliver(decoder, change, error);
}

/* Puts the values of an old row, which leaves out columns, into the order of the new one. */
static dp_status align_old_row(dp_decoder *decoder, const test_decoding_state *state, const dp_value **before,
                               dp_error *error)
{
    const dp_row_columns *old_row = &state->old_row;
    dp_value *aligned = dp_decoder_values(decoder, state->row.count);
    if (aligned == NULL) return dp_error_no_memory(error, "a row");
    size_t next = 0;
    for (size_t i = 0; i < old_row->count; i++) {
        size_t at = dp_row_columns_find(&state->row, old_row->specs[i].name, next);
        if (at == SIZE_MAX || aligned[at].state != DP_VALUE_ABSENT) {
            return dp_error_set(error, DP_STATUS_DATA, "byte 0: column '%.*s' of the old row %s",
                                DP_SLICE_PRINT(old_row->specs[i].name),
                                at == SIZE_MAX ? "is missing from the new one" : "appears twice");
        }
        aligned[at] = old_row->values[i];
        next = at + 1;
    }
    *before = aligned;
    return DP_STATUS_OK;
}

/* The description of the row read last: the one its shape came to, or what the table cache finds. */
static dp_status find_table(dp_decoder *decoder, dp_slice schema, dp_slice name, dp_slice key,
                            const dp_row_shape *shape, const dp_table **table, dp_error *error)
{
    test_decoding_state *state = decoder->state;
    if (shape != NULL) {
        *table = shape->table;
        return DP_STATUS_OK;
    }
    dp_status status = dp_table_cache_intern(decoder->tables, schema, name, state->row.specs,
                                             state->row.count, table, error);
    if (status == DP_STATUS_OK) dp_row_shapes_keep(state->shapes, key, state->heads, &state->row, *table);
    return status;
}

/* `key_at` is where the table's name begins; `in` stands behind the operation's colon. */
static dp_status decode_row(dp_decoder *decoder, const dp_record *record, parser *in, size_t key_at,
                            dp_slice schema, dp_slice name, dp_operation operation)
{
    test_decoding_state *state = decoder->state;
    const dp_slice key = {in->text.data + key_at, in->at - key_at};
    const dp_row_shape *shape = dp_row_shapes_find(state->shapes, key);
    dp_change change = {.operation = operation, .data = state->row.values};
    bool is_alike;
    bool has_old_row = operation == DP_OPERATION_UPDATE && TAKE(in, " old-key:");
    dp_status status = DP_STATUS_OK;
    if (has_old_row) {
        status = take_row(in, &state->old_row, NULL, NULL, &is_alike);
        if (status != DP_STATUS_OK) return status;
        if (!TAKE(in, " new-tuple:")) return fault(in, in->at, "expected ' new-tuple:' after the old row");
    }
    if (TAKE(in, " (no-tuple-data)")) {
        if (operation != DP_OPERATION_DELETE)
            return fault(in, in->at, "a change without a row; expected its columns");
        state->row.count = 0;
        is_alike = false;
    } else {
        status = take_row(in, &state->row, state->heads, shape, &is_alike);
    }
    if (status == DP_STATUS_OK) status = expect_end(in);
    if (status == DP_STATUS_OK && has_old_row)
        status = align_old_row(decoder, state, &change.before, in->error);
    if (status != DP_STATUS_OK) return status;
    status = find_table(decoder, schema, name, key, is_alike ? shape : NULL, &change.table, in->error);
    return status == DP_STATUS_OK ? deliver(decoder, record, &change, in->error) : status;
}

static dp_status deliver_truncates(dp_decoder *decoder, const dp_record *record, parser *tables,
                                   dp_slice metadata)
{
    dp_status status;
    do {
        dp_change change = {.operation = DP_OPERATION_TRUNCATE, .metadata = metadata};
        dp_slice schema;
        dp_slice name;
        status = take_table_name(tables, &schema, &name);
        if (status != DP_STATUS_OK) return status;
        status = dp_table_cache_intern(decoder->tables, schema, name, NULL, 0, &change.table, tables->error);
        if (status == DP_STATUS_OK) status = deliver(decoder, record, &change, tables->error);
    } while (status == DP_STATUS_OK && TAKE(tables, ", "));
    return status;
}

/* One record for many tables: one change each. `tables` stands before the first, `in` after the last; both
 * have been checked up to there. */
static dp_status decode_truncate(dp_decoder *decoder, const dp_record *record, parser *in, parser *tables)
{
    bool restart = false;
    bool cascade = false;
    if (!TAKE(in, " (no-flags)")) {
        restart = TAKE(in, " restart_seqs");
        cascade = TAKE(in, " cascade");
        if (!restart && !cascade) return fault(in, in->at, "expected (no-flags), restart_seqs or cascade");
    }
    dp_status status = expect_end(in);
    if (status != DP_STATUS_OK) return status;
    return deliver_truncates(decoder, record, tables, dp_truncate_metadata(cascade, restart));
}

/* Text is checked once a record, before any of it can be delivered. */
static dp_status check_text(const parser *in)
{
    size_t fault_at;
    if (!dp_utf8_valid(in->text, &fault_at)) {
        fault(in, fault_at, "not valid UTF-8");
        dp_error_hint(in->error, "read the slot with client_encoding = 'UTF8'");
        return DP_STATUS_DATA;
    }
    const char *nul = in->text.length == 0 ? NULL : memchr(in->text.data, 0, in->text.length);
    if (nul != NULL)
        return fault(in, (size_t)(nul - in->text.data), "a zero byte, which PostgreSQL text cannot hold");
    return DP_STATUS_OK;
}

static dp_status decode_table(dp_decoder *decoder, const dp_record *record, parser *in)
{
    dp_status status = check_text(in);
    if (status != DP_STATUS_OK) return status;
    parser tables = *in;
    dp_slice schema;
    dp_slice name;
    status = take_table_name(in, &schema, &name);
    if (status != DP_STATUS_OK) return status;
    bool is_list = false;
    while (status == DP_STATUS_OK && TAKE(in, ", ")) {
        is_list = true;
        status = take_table_name(in, &schema, &name);
    }
    if (status != DP_STATUS_OK) return status;
    if (TAKE(in, ": TRUNCATE:")) return decode_truncate(decoder, record, in, &tables);
    if (!is_list && TAKE(in, ": INSERT:")) {
        return decode_row(decoder, record, in, tables.at, schema, name, DP_OPERATION_INSERT);
    }
    if (!is_list && TAKE(in, ": UPDATE:")) {
        return decode_row(decoder, record, in, tables.at, schema, name, DP_OPERATION_UPDATE);
    }
    if (!is_list && TAKE(in, ": DELETE:")) {
        return decode_row(decoder, record, in, tables.at, schema, name, DP_OPERATION_DELETE);
    }
    return fault(in, in->at, "expected ': INSERT:', ': UPDATE:', ': DELETE:' or ': TRUNCATE:'");
}

/* Whether `in` stands before a size and a content of at most that size which ends the record: the SQL
 * functions cut a row at a zero byte, and psql drops bytes that are no UTF-8. */
static bool is_message_end(parser in)
{
    size_t start = in.at;
    while (peek(&in) >= '0' && peek(&in) <= '9') {
        in.at++;
    }
    uint64_t size_bytes;
    if (!dp_slice_to_u64((dp_slice){in.text.data + start, in.at - start}, UINT32_MAX, &size_bytes))
        return false;
    return TAKE(&in, " content:") && in.text.length - in.at <= size_bytes;
}

/* Messages of pg_logical_emit_message are no changes; they are checked and passed over. */
static dp_status decode_message(parser *in)
{
    if (!TAKE(in, "0") && !TAKE(in, "1")) return fault(in, in->at, "expected 0 or 1 after 'transactional: '");
    if (!TAKE(in, " prefix: ")) return fault(in, in->at, "expected ' prefix: '");
    while (!at_end(in)) {
        if (TAKE(in, ", sz: ")) {
            if (is_message_end(*in)) return DP_STATUS_OK;
            continue;
        }
        dp_slice left = rest(in);
        const char *comma = memchr(left.data + 1, ',', left.length - 1);
        in->at = comma == NULL ? in->text.length : (size_t)(comma - in->text.data);
    }
    return fault(in, in->at, "a message whose stated size does not fit its content");
}

static dp_status refuse_unknown(const parser *in)
{
    static const dp_slice two_phase[] = {DP_SLICE_LITERAL("PREPARE TRANSACTION "),
                                         DP_SLICE_LITERAL("COMMIT PREPARED "),
                                         DP_SLICE_LITERAL("ROLLBACK PREPARED ")};
    static const dp_slice streamed[] = {DP_SLICE_LITERAL("opening a streamed block"),
                                        DP_SLICE_LITERAL("closing a streamed block"),
                                        DP_SLICE_LITERAL("streaming "),
                                        DP_SLICE_LITERAL("aborting streamed"),
                                        DP_SLICE_LITERAL("committing streamed"),
                                        DP_SLICE_LITERAL("preparing streamed")};
    for (size_t i = 0; i < sizeof two_phase / sizeof two_phase[0]; i++) {
        if (!dp_slice_starts_with(in->text, two_phase[i])) continue;
        fault(in, 0, "a prepared transaction");
        dp_error_hint(in->error,
                      "create the slot without two_phase: such transactions then arrive when they commit");
        return DP_STATUS_DATA;
    }
    for (size_t i = 0; i < sizeof streamed / sizeof streamed[0]; i++) {
        if (!dp_slice_starts_with(in->text, streamed[i])) continue;
        fault(in, 0, "a streamed transaction, which test_decoding prints without its rows");
        dp_error_hint(in->error, "read the slot with stream-changes off");
        return DP_STATUS_DATA;
    }
    return dp_error_set(in->error, DP_STATUS_DATA,
                        "byte 0: '%.*s' is no test_decoding record; expected BEGIN, table, COMMIT or message",
                        (int)(in->text.length > 40 ? 40 : in->text.length), in->text.data);
}

static dp_status feed(dp_decoder *decoder, const dp_record *record, dp_error *error)
{
    parser in = {.text = record->data, .scratch = decoder->scratch, .error = error};
    if (in.text.length == 0) return fault(&in, 0, "an empty record");
    if (TAKE(&in, "table ")) return decode_table(decoder, record, &in);
    if (TAKE(&in, "BEGIN")) return decode_begin(decoder, record, &in);
    if (TAKE(&in, "COMMIT") && !dp_slice_starts_with(rest(&in), DP_SLICE_LITERAL(" PREPARED "))) {
        return decode_commit(decoder, record, &in);
    }
    if (TAKE(&in, "message: transactional: ")) return decode_message(&in);
    return refuse_unknown(&in);
}

const dp_decoder_plugin dp_decoder_test_decoding = {
    .feed = feed, .state_new = state_new, .state_free = state_free};
