#include "cdc/event_scanner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/json_scanner.h"

typedef struct line_parser {
    dp_json_scanner scanner;
    dp_json_token token; /* the first token of the value being read */
    uint64_t line_number;
    dp_arena *arena;
    dp_error *error;
    dp_status status; /* the first failure */
} line_parser;

/* One member of a line: how it is named, and how its value is read into the structure of the line. */
typedef struct line_member {
    dp_slice name;
    dp_slice quoted; /* the name in quotes and the colon */
    bool optional;
    bool (*read)(line_parser *parser, const struct line_member *member, void *out);
    size_t offset; /* of the field, for readers that serve several members */
} line_member;

#define DP_MEMBER_NAME(text)                                                                                 \
    .name = {(text), sizeof(text) - 1}, .quoted = {"\"" text "\":", sizeof("\"" text "\":") - 1}

static bool fail_at(line_parser *parser, size_t at, const char *code, const char *fault)
{
    parser->status = dp_error_set_code(parser->error, DP_STATUS_DATA, code, "line %llu, byte %zu: %s",
                                       (unsigned long long)parser->line_number, at + 1, fault);
    return false;
}

static bool fail(line_parser *parser, const char *fault)
{
    if (parser->scanner.fault != NULL) {
        return fail_at(parser, parser->scanner.fault_at, "line_malformed", parser->scanner.fault);
    }
    return fail_at(parser, parser->token.at, "line_malformed", fault);
}

static bool fail_member(line_parser *parser, const line_member *member, const char *expected)
{
    if (parser->scanner.fault != NULL) return fail(parser, NULL);
    char fault[160];
    snprintf(fault, sizeof fault, "\"%.*s\" is not %s", DP_SLICE_PRINT(member->name), expected);
    return fail_at(parser, parser->token.at, "line_malformed", fault);
}

static bool has_nul(dp_slice text)
{
    return memchr(text.data, 0, text.length) != NULL;
}

static bool no_room(line_parser *parser)
{
    parser->status = dp_error_set(parser->error, DP_STATUS_LIMIT, "line %llu: no room left for decoded names",
                                  (unsigned long long)parser->line_number);
    return false;
}

/* The decoded text of the current string token. */
static bool decoded(line_parser *parser, dp_slice *text)
{
    *text = parser->token.text;
    if (!parser->token.has_escapes) return true;
    char *out = dp_arena_alloc(parser->arena, text->length);
    if (out == NULL) return no_room(parser);
    *text = (dp_slice){out, dp_json_unescape_into(*text, out)};
    return !has_nul(*text) || fail(parser, "a text with \\u0000 cannot be stored");
}

static void *field_of(const line_member *member, void *out)
{
    return (char *)out + member->offset;
}

static bool read_name(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind != DP_JSON_STRING || parser->token.text.length == 0) {
        return fail_member(parser, member, "a text that is not empty");
    }
    return decoded(parser, field_of(member, out));
}

static bool read_text_or_null(line_parser *parser, const line_member *member, void *out)
{
    dp_slice *field = field_of(member, out);
    if (parser->token.kind == DP_JSON_NULL) {
        *field = (dp_slice){NULL, 0};
        return true;
    }
    if (parser->token.kind != DP_JSON_STRING || parser->token.text.length == 0) {
        return fail_member(parser, member, "a text that is not empty, or null");
    }
    return decoded(parser, field);
}

static bool read_u64(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind == DP_JSON_NUMBER &&
        dp_slice_to_u64(parser->token.text, INT64_MAX, field_of(member, out))) {
        return true;
    }
    return fail_member(parser, member, "a whole number from 0 to 2^63-1");
}

static bool token_is_digest(const dp_json_token *token, uint8_t out[DP_SHA256_BYTES])
{
    return token->kind == DP_JSON_STRING && token->text.length == DP_SHA256_HEX_LENGTH &&
           dp_hex_decode_lower(token->text, out);
}

/* --- the objects inside an event ----------------------------------------------------------------------- */

#define SEEN_KEYS 64

/* The names met so far in one object. A bit a name tells most new names apart without comparing. */
typedef struct seen_keys {
    uint64_t bits;
    size_t count;
    bool deferred; /* many names, or escapes in them: compared in order when the object is complete */
    dp_slice names[SEEN_KEYS];
} seen_keys;

static uint64_t key_bit(dp_slice name)
{
    unsigned hash = (unsigned)name.length * 7u;
    if (name.length > 0) {
        hash += (unsigned)(unsigned char)name.data[0] * 31u +
                (unsigned)(unsigned char)name.data[name.length - 1] * 17u +
                (unsigned)(unsigned char)name.data[name.length / 2] * 13u;
    }
    return UINT64_C(1) << (hash & 63u);
}

static bool is_among(const dp_slice *names, size_t count, dp_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (dp_slice_equal(names[i], name)) return true;
    }
    return false;
}

static bool note_key(line_parser *parser, seen_keys *seen, const dp_json_token *key)
{
    size_t index = seen->count++;
    seen->deferred = seen->deferred || key->has_escapes || index >= SEEN_KEYS;
    if (seen->deferred) return true;
    uint64_t bit = key_bit(key->text);
    if ((seen->bits & bit) != 0 && is_among(seen->names, index, key->text)) {
        return fail_at(parser, key->at, "line_malformed", "a repeated member name");
    }
    seen->bits |= bit;
    seen->names[index] = key->text;
    return true;
}

static int compare_slices(const void *left, const void *right)
{
    return dp_slice_compare(*(const dp_slice *)left, *(const dp_slice *)right);
}

/* Scans a valid object again for its names, decoded. */
static bool gather_names(line_parser *parser, dp_slice object, dp_slice *names)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_slice ignored;
    size_t count = 0;
    dp_json_scanner_init(&scanner, object);
    dp_json_next(&scanner, &token);
    while (dp_json_next(&scanner, &token) == DP_JSON_KEY) {
        names[count] = token.text;
        if (token.has_escapes) {
            char *out = dp_arena_alloc(parser->arena, token.text.length);
            if (out == NULL) return no_room(parser);
            names[count] = (dp_slice){out, dp_json_unescape_into(token.text, out)};
        }
        count++;
        dp_json_next(&scanner, &token);
        if (!dp_json_skip_value(&scanner, &token, &ignored))
            return fail(parser, "an object that cannot be read again");
    }
    return true;
}

/* n log n, so that an object with very many members costs no more than it weighs. */
static bool check_names_in_order(line_parser *parser, dp_slice object, size_t object_at, size_t count)
{
    dp_slice *names = dp_arena_alloc_zeroed(parser->arena, count, sizeof *names);
    if (names == NULL) return no_room(parser);
    if (!gather_names(parser, object, names)) return false;
    qsort(names, count, sizeof *names, compare_slices);
    for (size_t i = 1; i < count; i++) {
        if (dp_slice_equal(names[i - 1], names[i])) {
            return fail_at(parser, object_at, "line_malformed", "a repeated member name");
        }
    }
    return true;
}

/* Whether names are certainly different: two that share a bit may be equal. */
static bool certainly_differ(const dp_slice *names, size_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = key_bit(names[i]);
        if ((bits & bit) != 0 && is_among(names, i, names[i])) return false;
        bits |= bit;
    }
    return true;
}

static bool skip_members(line_parser *parser, seen_keys *seen)
{
    dp_json_token token;
    dp_slice ignored;
    while (dp_json_next(&parser->scanner, &token) == DP_JSON_KEY) {
        if (!note_key(parser, seen, &token)) return false;
        dp_json_kind kind = dp_json_next(&parser->scanner, &token);
        if (kind == DP_JSON_ERROR) return fail(parser, NULL);
        if ((kind == DP_JSON_BEGIN_OBJECT || kind == DP_JSON_BEGIN_ARRAY) &&
            !dp_json_skip_value(&parser->scanner, &token, &ignored)) {
            return fail(parser, NULL);
        }
    }
    return token.kind != DP_JSON_ERROR || fail(parser, NULL);
}

/* The current token opens an object: reads to its end and gives its source. The usual object takes the short
 * way; any doubt about it takes the careful one, which names the fault. */
static bool skip_object(line_parser *parser, dp_slice *source)
{
    const size_t start = parser->token.at;
    const dp_json_scanner before = parser->scanner;
    seen_keys seen;
    size_t count;
    if (!dp_json_skip_flat_object(&parser->scanner, seen.names, SEEN_KEYS, &count) ||
        !certainly_differ(seen.names, count)) {
        parser->scanner = before;
        seen.bits = 0;
        seen.count = 0;
        seen.deferred = false;
        if (!skip_members(parser, &seen)) return false;
        const dp_slice object = {parser->scanner.input.data + start, parser->scanner.position - start};
        if (seen.deferred && !check_names_in_order(parser, object, start, seen.count)) return false;
    }
    *source = (dp_slice){parser->scanner.input.data + start, parser->scanner.position - start};
    return true;
}

static bool read_object(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind != DP_JSON_BEGIN_OBJECT) return fail_member(parser, member, "an object");
    return skip_object(parser, field_of(member, out));
}

static bool read_object_or_null(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind == DP_JSON_NULL) return true;
    if (parser->token.kind != DP_JSON_BEGIN_OBJECT) return fail_member(parser, member, "an object or null");
    return skip_object(parser, field_of(member, out));
}

static bool read_texts(line_parser *parser, const line_member *member, void *out)
{
    size_t start = parser->token.at;
    if (parser->token.kind != DP_JSON_BEGIN_ARRAY) return fail_member(parser, member, "an array of texts");
    size_t count = 0;
    while (dp_json_next(&parser->scanner, &parser->token) == DP_JSON_STRING) {
        count++;
    }
    if (parser->token.kind != DP_JSON_END_ARRAY) return fail_member(parser, member, "an array of texts");
    dp_slice *field = field_of(member, out);
    if (count > 0) {
        *field = (dp_slice){parser->scanner.input.data + start, parser->scanner.position - start};
    }
    return true;
}

/* --- events -------------------------------------------------------------------------------------------- */

static bool read_event_id(line_parser *parser, const line_member *member, void *out)
{
    dp_event *event = out;
    if (parser->token.kind == DP_JSON_NULL) return true;
    event->has_id = token_is_digest(&parser->token, event->id.bytes);
    return event->has_id || fail_member(parser, member, "64 lower-case hexadecimal digits or null");
}

static bool read_operation(line_parser *parser, const line_member *member, void *out)
{
    dp_event *event = out;
    if (parser->token.kind == DP_JSON_STRING && dp_operation_parse(parser->token.text, &event->operation)) {
        return true;
    }
    return fail_member(parser, member, "insert, update, delete, update_before or truncate");
}

static bool read_sequence(line_parser *parser, const line_member *member, void *out)
{
    dp_event *event = out;
    if (parser->token.kind == DP_JSON_NULL) return true;
    event->has_sequence = true;
    return read_u64(parser, member, out);
}

static bool is_position(dp_slice text)
{
    dp_position ignored;
    return dp_position_parse(DP_BACKEND_POSTGRES_LOGICAL, text, &ignored) ||
           dp_position_parse(DP_BACKEND_MSSQL_CDC, text, &ignored) ||
           dp_position_parse(DP_BACKEND_MSSQL_CHANGE_TRACKING, text, &ignored);
}

static bool read_position(line_parser *parser, const line_member *member, void *out)
{
    dp_slice *field = field_of(member, out);
    if (parser->token.kind == DP_JSON_NULL) return true;
    if (parser->token.kind != DP_JSON_STRING || !is_position(parser->token.text)) {
        return fail_member(parser, member, "a position (X/X, 0x... or a whole number) or null");
    }
    *field = parser->token.text;
    return true;
}

static const line_member event_members[] = {
    {DP_MEMBER_NAME("event_id"), .read = read_event_id},
    {DP_MEMBER_NAME("operation"), .read = read_operation},
    {DP_MEMBER_NAME("source_schema"), .read = read_name, .offset = offsetof(dp_event, source_schema)},
    {DP_MEMBER_NAME("source_table"), .read = read_name, .offset = offsetof(dp_event, source_table)},
    {DP_MEMBER_NAME("position"), .read = read_position, .offset = offsetof(dp_event, position)},
    {DP_MEMBER_NAME("transaction_id"), .read = read_text_or_null,
     .offset = offsetof(dp_event, transaction_id)},
    {DP_MEMBER_NAME("sequence"), .read = read_sequence, .offset = offsetof(dp_event, sequence)},
    {DP_MEMBER_NAME("ordinal"), .read = read_u64, .offset = offsetof(dp_event, ordinal)},
    {DP_MEMBER_NAME("data"), .read = read_object, .offset = offsetof(dp_event, data)},
    {DP_MEMBER_NAME("before"), .read = read_object_or_null, .offset = offsetof(dp_event, before)},
    {DP_MEMBER_NAME("unchanged"), .read = read_texts, .offset = offsetof(dp_event, unchanged)},
    {DP_MEMBER_NAME("metadata"), .optional = true, .read = read_object_or_null,
     .offset = offsetof(dp_event, metadata)},
};

/* --- commit, trailer ----------------------------------------------------------------------------------- */

static bool read_type(line_parser *parser, const line_member *member, void *out)
{
    (void)parser, (void)member, (void)out; /* decided before the line was read */
    return true;
}

static bool read_committed_at(line_parser *parser, const line_member *member, void *out)
{
    dp_commit_line *commit = out;
    if (parser->token.kind == DP_JSON_NULL) return true;
    commit->has_committed_at = parser->token.kind == DP_JSON_STRING &&
                               dp_timestamp_parse(parser->token.text, &commit->committed_at_us);
    return commit->has_committed_at || fail_member(parser, member, "YYYY-MM-DDTHH:MM:SS.ffffffZ or null");
}

static const line_member commit_members[] = {
    {DP_MEMBER_NAME("type"), .read = read_type},
    {DP_MEMBER_NAME("transaction_id"), .read = read_text_or_null,
     .offset = offsetof(dp_commit_line, transaction_id)},
    {DP_MEMBER_NAME("end_position"), .read = read_position, .offset = offsetof(dp_commit_line, end_position)},
    {DP_MEMBER_NAME("committed_at"), .read = read_committed_at},
    {DP_MEMBER_NAME("count"), .read = read_u64, .offset = offsetof(dp_commit_line, count)},
};

static bool read_batch_id(line_parser *parser, const line_member *member, void *out)
{
    dp_batch_trailer *trailer = out;
    return token_is_digest(&parser->token, trailer->batch_id) ||
           fail_member(parser, member, "64 lower-case hexadecimal digits");
}

static const line_member trailer_members[] = {
    {DP_MEMBER_NAME("type"), .read = read_type},
    {DP_MEMBER_NAME("count"), .read = read_u64, .offset = offsetof(dp_batch_trailer, count)},
    {DP_MEMBER_NAME("batch_id"), .read = read_batch_id},
};

/* --- members in general -------------------------------------------------------------------------------- */

/* The next member's name: usually the one that `expected` says, found without scanning. *known is false for a
 * name that is none of the members. False at the end of the object and on a fault. */
static bool next_member(line_parser *parser, const line_member *members, size_t count, size_t expected,
                        size_t *index, bool *known)
{
    *known = true;
    *index = expected;
    if (expected < count && dp_json_accept_key(&parser->scanner, members[expected].quoted)) {
        parser->token.at = parser->scanner.position;
        return true;
    }
    if (dp_json_next(&parser->scanner, &parser->token) != DP_JSON_KEY) return false;
    for (size_t i = 0; i < count; i++) {
        *index = i;
        if (dp_slice_equal(members[i].name, parser->token.text)) return true;
    }
    *known = false;
    return true;
}

static bool check_required(line_parser *parser, const line_member *members, size_t count, uint32_t seen)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].optional || (seen & UINT32_C(1) << i) != 0) continue;
        char fault[96];
        snprintf(fault, sizeof fault, "the member \"%.*s\" is missing", DP_SLICE_PRINT(members[i].name));
        return fail(parser, fault);
    }
    return true;
}

/* Reads the members of the object whose opening brace was just returned, up to its end. */
static bool read_members(line_parser *parser, const line_member *members, size_t count, bool skip_unknown,
                         void *out)
{
    uint32_t seen = 0;
    size_t index = 0;
    bool known;
    for (size_t expected = 0; next_member(parser, members, count, expected, &index, &known);) {
        if (!known && !skip_unknown) return fail(parser, "an unknown member");
        if (known && (seen & UINT32_C(1) << index) != 0) return fail(parser, "a repeated member");
        if (dp_json_next(&parser->scanner, &parser->token) == DP_JSON_ERROR) return fail(parser, NULL);
        if (!known) {
            dp_slice ignored;
            if (!dp_json_skip_value(&parser->scanner, &parser->token, &ignored)) return fail(parser, NULL);
            continue;
        }
        if (!members[index].read(parser, &members[index], out)) return false;
        seen |= UINT32_C(1) << index;
        expected = index + 1;
    }
    if (parser->token.kind != DP_JSON_END_OBJECT) return fail(parser, NULL);
    return check_required(parser, members, count, seen);
}

/* --- the header ---------------------------------------------------------------------------------------- */

static bool read_schema(line_parser *parser, const line_member *member, void *out)
{
    (void)member, (void)out;
    if (parser->token.kind == DP_JSON_STRING &&
        dp_slice_equal_text(parser->token.text, "dpone.cdc.batch.v1")) {
        return true;
    }
    return fail_at(parser, parser->token.at, "schema_unknown",
                   "\"schema\" is not one this server knows: dpone.cdc.batch.v1");
}

static bool read_backend(line_parser *parser, const line_member *member, void *out)
{
    return (parser->token.kind == DP_JSON_STRING &&
            dp_backend_parse(parser->token.text, field_of(member, out))) ||
           fail_member(parser, member, "postgres_logical, mssql_cdc or mssql_change_tracking");
}

static bool read_identity(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind == DP_JSON_STRING &&
        dp_identity_parse(parser->token.text, field_of(member, out))) {
        return true;
    }
    return fail_at(parser, parser->token.at, "identity_unknown",
                   "\"identity\" is not one this server knows: v1, dpone-py");
}

static bool read_bool(line_parser *parser, const line_member *member, void *out)
{
    if (parser->token.kind != DP_JSON_TRUE && parser->token.kind != DP_JSON_FALSE) {
        return fail_member(parser, member, "true or false");
    }
    *(bool *)field_of(member, out) = parser->token.kind == DP_JSON_TRUE;
    return true;
}

static const line_member offset_members[] = {
    {DP_MEMBER_NAME("backend"), .read = read_backend, .offset = offsetof(dp_batch_header, next_backend)},
    {DP_MEMBER_NAME("token"), .read = read_name, .offset = offsetof(dp_batch_header, next_token)},
    {DP_MEMBER_NAME("snapshot_complete"), .read = read_bool,
     .offset = offsetof(dp_batch_header, next_snapshot_complete)},
};

#define DP_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool read_next_offset(line_parser *parser, const line_member *member, void *out)
{
    dp_batch_header *header = out;
    dp_position ignored;
    if (parser->token.kind == DP_JSON_NULL) return true;
    if (parser->token.kind != DP_JSON_BEGIN_OBJECT) return fail_member(parser, member, "an object or null");
    if (!read_members(parser, offset_members, DP_COUNT_OF(offset_members), false, out)) return false;
    header->has_next_offset = true;
    return dp_position_parse(header->next_backend, header->next_token, &ignored) ||
           fail_member(parser, member, dp_position_expected_form(header->next_backend));
}

static const line_member header_members[] = {
    {DP_MEMBER_NAME("type"), .read = read_type},
    {DP_MEMBER_NAME("schema"), .read = read_schema},
    {DP_MEMBER_NAME("pipeline"), .read = read_name, .offset = offsetof(dp_batch_header, pipeline)},
    {DP_MEMBER_NAME("backend"), .read = read_backend, .offset = offsetof(dp_batch_header, backend)},
    {DP_MEMBER_NAME("source"), .read = read_name, .offset = offsetof(dp_batch_header, source)},
    {DP_MEMBER_NAME("identity"), .read = read_identity, .offset = offsetof(dp_batch_header, identity)},
    {DP_MEMBER_NAME("next_offset"), .read = read_next_offset},
    {DP_MEMBER_NAME("stored_offset"), .optional = true, .read = read_position,
     .offset = offsetof(dp_batch_header, stored_offset)},
    {DP_MEMBER_NAME("high_watermark"), .optional = true, .read = read_position,
     .offset = offsetof(dp_batch_header, high_watermark)},
};

/* --- whole lines --------------------------------------------------------------------------------------- */

static bool kind_of_type(dp_slice type, dp_line_kind *kind)
{
    *kind = dp_slice_equal_text(type, "commit") ? DP_LINE_COMMIT
            : dp_slice_equal_text(type, "end")  ? DP_LINE_TRAILER
                                                : DP_LINE_HEADER;
    return *kind != DP_LINE_HEADER || dp_slice_equal_text(type, "batch");
}

/* What the line is: an event unless it has a member "type" at its top level. */
static bool classify(line_parser *parser, dp_slice line, dp_line_kind *kind)
{
    *kind = DP_LINE_EVENT;
    if (dp_slice_starts_with(line, DP_SLICE_LITERAL("{\"event_id\":"))) return true;
    dp_json_token *token = &parser->token;
    dp_slice ignored;
    if (dp_json_next(&parser->scanner, token) != DP_JSON_BEGIN_OBJECT)
        return fail(parser, "expected an object");
    while (dp_json_next(&parser->scanner, token) == DP_JSON_KEY) {
        bool is_type = dp_slice_equal_text(token->text, "type");
        if (dp_json_next(&parser->scanner, token) == DP_JSON_ERROR) return fail(parser, NULL);
        if (is_type) {
            return (token->kind == DP_JSON_STRING && kind_of_type(token->text, kind)) ||
                   fail(parser, "\"type\" is not batch, commit or end");
        }
        if (!dp_json_skip_value(&parser->scanner, token, &ignored)) return fail(parser, NULL);
    }
    return token->kind != DP_JSON_ERROR || fail(parser, NULL);
}

static bool read_line(line_parser *parser, dp_wire_line *out)
{
    if (dp_json_next(&parser->scanner, &parser->token) != DP_JSON_BEGIN_OBJECT) {
        return fail(parser, "expected an object");
    }
    bool ok = false;
    switch (out->kind) {
    case DP_LINE_EVENT:
        memset(&out->event, 0, sizeof out->event);
        out->event.line_number = parser->line_number;
        ok = read_members(parser, event_members, DP_COUNT_OF(event_members), false, &out->event);
        break;
    case DP_LINE_COMMIT:
        memset(&out->commit, 0, sizeof out->commit);
        out->commit.line_number = parser->line_number;
        ok = read_members(parser, commit_members, DP_COUNT_OF(commit_members), false, &out->commit);
        break;
    case DP_LINE_HEADER:
        memset(&out->header, 0, sizeof out->header);
        ok = read_members(parser, header_members, DP_COUNT_OF(header_members), true, &out->header);
        break;
    case DP_LINE_TRAILER:
        memset(&out->trailer, 0, sizeof out->trailer);
        ok = read_members(parser, trailer_members, DP_COUNT_OF(trailer_members), false, &out->trailer);
        break;
    }
    return ok && (dp_json_next(&parser->scanner, &parser->token) == DP_JSON_END || fail(parser, NULL));
}

dp_status dp_wire_line_scan(dp_slice line, uint64_t line_number, dp_arena *arena, dp_wire_line *out,
                            dp_error *error)
{
    line_parser parser = {.line_number = line_number, .arena = arena, .error = error};
    dp_json_scanner_init(&parser.scanner, line);
    if (!classify(&parser, line, &out->kind)) return parser.status;
    if (out->kind != DP_LINE_EVENT || parser.scanner.position != 0)
        dp_json_scanner_init(&parser.scanner, line);
    return read_line(&parser, out) ? DP_STATUS_OK : parser.status;
}

/* --- timestamps ---------------------------------------------------------------------------------------- */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static uint64_t days_in_month(uint64_t year, uint64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap((int64_t)year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar. */
static int64_t days_from_epoch(int64_t year, int64_t month, int64_t day)
{
    int64_t days = (year - 1970) * 365 + day - 1;
    int64_t before = year - 1; /* leap days in the years before this one */
    days += before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    for (int64_t m = 1; m < month; m++) {
        days += (int64_t)days_in_month((uint64_t)year, (uint64_t)m);
    }
    return days;
}

bool dp_timestamp_parse(dp_slice text, int64_t *wall_us)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    if (text.length != sizeof form - 1) return false;
    for (size_t i = 0; i < text.length; i++) {
        bool digit = text.data[i] >= '0' && text.data[i] <= '9';
        if (form[i] == 'd' ? !digit : text.data[i] != form[i]) return false;
    }
    uint64_t parts[7];
    static const uint8_t at[7][2] = {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}, {20, 6}};
    for (size_t i = 0; i < 7; i++) {
        dp_slice_to_u64((dp_slice){text.data + at[i][0], at[i][1]}, 999999, &parts[i]);
    }
    if (parts[0] < 1 || parts[1] < 1 || parts[1] > 12 || parts[2] < 1 ||
        parts[2] > days_in_month(parts[0], parts[1]) || parts[3] > 23 || parts[4] > 59 || parts[5] > 59) {
        return false;
    }
    int64_t days = days_from_epoch((int64_t)parts[0], (int64_t)parts[1], (int64_t)parts[2]);
    uint64_t in_day_us = ((parts[3] * 60 + parts[4]) * 60 + parts[5]) * 1000000 + parts[6];
    *wall_us = days * INT64_C(86400000000) + (int64_t)in_day_us;
    return true;
}
