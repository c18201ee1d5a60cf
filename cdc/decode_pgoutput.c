/* pgoutput, protocol version 1.
 *
 * https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html; integers are big-endian:
 *
 *   begin    'B' final_lsn:8 commit_time:8 xid:4
 *   commit   'C' flags:1 commit_lsn:8 end_lsn:8 commit_time:8
 *   origin   'O' origin_lsn:8 name:text
 *   relation 'R' relation_id:4 schema:text name:text identity:1 count:2 { flags:1 name:text type:4 modifier:4
 * } type     'Y' type_id:4 schema:text name:text insert   'I' relation_id:4 'N' tuple update   'U'
 * relation_id:4 [ 'K' tuple | 'O' tuple ] 'N' tuple delete   'D' relation_id:4 ( 'K' tuple | 'O' tuple )
 *   truncate 'T' count:4 options:1 { relation_id:4 }
 *   message  'M' flags:1 lsn:8 prefix:text length:4 content
 *   tuple    count:2 { 'n' | 'u' | 't' length:4 text | 'b' length:4 bytes }
 *
 * text is terminated by a zero byte. Every message must be used up to its last byte.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/byte_reader.h"
#include "base/utf8.h"
#include "cdc/decoder_internal.h"

/* Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch. */
#define POSTGRES_EPOCH_US INT64_C(946684800000000)

enum { FIRST_RELATION_SLOTS = 64, MAX_RELATIONS = 1 << 22 };

typedef struct relation {
    uint32_t id;
    const dp_table *table; /* NULL: a free slot */
} relation;

/* The relation cache of this connection: open addressing, never shrinks, every RELATION message replaces. */
typedef struct pgoutput_state {
    relation *slots;
    size_t slot_count; /* a power of two */
    size_t used_count;
    dp_lsn final_lsn; /* of the open transaction, to be met again in its commit */
} pgoutput_state;

static void *state_new(void)
{
    pgoutput_state *state = calloc(1, sizeof *state);
    if (state == NULL) return NULL;
    state->slot_count = FIRST_RELATION_SLOTS;
    state->slots = calloc(state->slot_count, sizeof *state->slots);
    if (state->slots == NULL) {
        free(state);
        return NULL;
    }
    return state;
}

static void state_free(void *opaque)
{
    pgoutput_state *state = opaque;
    for (size_t i = 0; i < state->slot_count; i++) {
        dp_table_release(state->slots[i].table);
    }
    free(state->slots);
    free(state);
}

static relation *find_slot(relation *slots, size_t slot_count, uint32_t id)
{
    size_t at = (id * UINT32_C(2654435761)) & (slot_count - 1);
    while (slots[at].table != NULL && slots[at].id != id) {
        at = (at + 1) & (slot_count - 1);
    }
    return &slots[at];
}

static bool grow_relations(pgoutput_state *state)
{
    size_t slot_count = state->slot_count * 2;
    relation *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < state->slot_count; i++) {
        if (state->slots[i].table != NULL)
            *find_slot(slots, slot_count, state->slots[i].id) = state->slots[i];
    }
    free(state->slots);
    state->slots = slots;
    state->slot_count = slot_count;
    return true;
}

static dp_status put_relation(pgoutput_state *state, uint32_t id, const dp_table *table, dp_error *error)
{
    relation *slot = find_slot(state->slots, state->slot_count, id);
    if (slot->table == NULL) {
        if (state->used_count == MAX_RELATIONS)
            return dp_error_set(error, DP_STATUS_LIMIT, "more than %d relations", MAX_RELATIONS);
        if (2 * (state->used_count + 1) > state->slot_count) {
            if (!grow_relations(state)) return dp_error_no_memory(error, "the relation cache");
            slot = find_slot(state->slots, state->slot_count, id);
        }
        state->used_count++;
    }
    dp_table_retain(table);
    dp_table_release(slot->table);
    *slot = (relation){id, table};
    return DP_STATUS_OK;
}

static const dp_table *get_relation(const pgoutput_state *state, uint32_t id, size_t at, dp_error *error)
{
    const dp_table *table = find_slot(state->slots, state->slot_count, id)->table;
    if (table == NULL) {
        dp_error_set(error, DP_STATUS_DATA, "byte %zu: relation %u was not announced by a RELATION message",
                     at, id);
        dp_error_hint(
            error, "the capture does not begin where the stream began: take it again from the slot's start");
    }
    return table;
}

/* The one check at the end of each message: nothing missing, nothing left. */
static dp_status check_end(const dp_byte_reader *reader, const char *message, dp_error *error)
{
    if (reader->failed) {
        return dp_error_set(error, DP_STATUS_DATA, "byte %zu: %s message ends too early, after %zu bytes",
                            reader->failed_at, message, reader->length);
    }
    if (dp_byte_reader_left(reader) > 0) {
        return dp_error_set(error, DP_STATUS_DATA, "byte %zu: %zu bytes follow the end of the %s message",
                            reader->position, dp_byte_reader_left(reader), message);
    }
    return DP_STATUS_OK;
}

static dp_status decode_begin(dp_decoder *decoder, const dp_record *record, dp_byte_reader *reader,
                              dp_error *error)
{
    pgoutput_state *state = decoder->state;
    dp_lsn final_lsn = {dp_byte_reader_u64(reader)};
    dp_byte_reader_u64(reader); /* commit time: the commit message has it too */
    uint32_t xid = dp_byte_reader_u32(reader);
    dp_status status = check_end(reader, "BEGIN", error);
    if (status != DP_STATUS_OK) return status;
    if (record->has_xid && record->xid != xid) {
        return dp_error_set(error, DP_STATUS_DATA, "byte 17: BEGIN is of transaction %u, but its row says %u",
                            xid, record->xid);
    }
    status = dp_decoder_begin(decoder, true, xid, error);
    if (status != DP_STATUS_OK) return status;
    state->final_lsn = final_lsn;
    decoder->has_commit_position = true;
    decoder->commit_position = final_lsn;
    return DP_STATUS_OK;
}

static dp_status decode_commit(dp_decoder *decoder, dp_byte_reader *reader, dp_error *error)
{
    const pgoutput_state *state = decoder->state;
    uint8_t flags = dp_byte_reader_u8(reader);
    dp_lsn commit_lsn = {dp_byte_reader_u64(reader)};
    dp_lsn end_lsn = {dp_byte_reader_u64(reader)};
    int64_t committed_at = (int64_t)dp_byte_reader_u64(reader);
    dp_status status = check_end(reader, "COMMIT", error);
    if (status != DP_STATUS_OK) return status;
    if (flags != 0)
        return dp_error_set(error, DP_STATUS_DATA, "byte 1: unknown COMMIT flags 0x%02x; expected 0", flags);
    if (decoder->in_transaction && commit_lsn.value != state->final_lsn.value) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "byte 2: COMMIT at %" PRIX64
                            " does not belong to the open transaction, whose BEGIN says %" PRIX64,
                            commit_lsn.value, state->final_lsn.value);
    }
    if (end_lsn.value < commit_lsn.value) {
        return dp_error_set(error, DP_STATUS_DATA, "byte 10: COMMIT's end LSN lies before its own LSN");
    }
    dp_transaction_end end = {.has_end_position = true, .end_position = end_lsn};
    end.has_committed_at = !__builtin_add_overflow(committed_at, POSTGRES_EPOCH_US, &end.committed_at_us);
    return dp_decoder_commit(decoder, &end, error);
}

static dp_status decode_origin(dp_byte_reader *reader, dp_error *error)
{
    dp_byte_reader_u64(reader);
    dp_byte_reader_cstring(reader);
    return check_end(reader, "ORIGIN", error);
}

static dp_status decode_type(dp_byte_reader *reader, dp_error *error)
{
    dp_byte_reader_u32(reader);
    dp_byte_reader_cstring(reader);
    dp_byte_reader_cstring(reader);
    return check_end(reader, "TYPE", error);
}

static dp_status decode_relation(dp_decoder *decoder, dp_byte_reader *reader, dp_error *error)
{
    uint32_t id = dp_byte_reader_u32(reader);
    dp_slice schema = dp_byte_reader_cstring(reader);
    dp_slice name = dp_byte_reader_cstring(reader);
    dp_byte_reader_u8(reader); /* replica identity: the columns' flags say what is needed of it */
    size_t count = dp_byte_reader_u16(reader);
    /* A column takes at least ten bytes, which bounds the allocation by the message's own size. */
    if (!reader->failed && count * 10 > dp_byte_reader_left(reader)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "byte %zu: RELATION message announces %zu columns but has only %zu bytes left",
                            reader->position - 2, count, dp_byte_reader_left(reader));
    }
    dp_column_spec *columns = dp_arena_alloc_zeroed(decoder->scratch, count + 1, sizeof *columns);
    if (columns == NULL) return dp_error_no_memory(error, "a table description");
    for (size_t i = 0; i < count; i++) {
        uint8_t flags = dp_byte_reader_u8(reader);
        columns[i].name = dp_byte_reader_cstring(reader);
        columns[i].type_class = dp_type_class_of_oid(dp_byte_reader_u32(reader));
        columns[i].is_identity = (flags & 1) != 0;
        dp_byte_reader_u32(reader); /* type modifier */
    }
    dp_status status = check_end(reader, "RELATION", error);
    if (status != DP_STATUS_OK) return status;
    /* An empty schema stands for pg_catalog. */
    if (schema.length == 0) schema = DP_SLICE_LITERAL("pg_catalog");
    const dp_table *table;
    status = dp_table_cache_intern(decoder->tables, schema, name, columns, count, &table, error);
    return status == DP_STATUS_OK ? put_relation(decoder->state, id, table, error) : status;
}

static dp_status decode_text_value(dp_byte_reader *reader, dp_value *value, dp_error *error)
{
    uint32_t length = dp_byte_reader_u32(reader);
    size_t start = reader->position;
    value->state = DP_VALUE_PRESENT;
    value->text = dp_byte_reader_bytes(reader, length);
    size_t fault_at;
    if (!dp_utf8_valid(value->text, &fault_at)) {
        dp_error_set(error, DP_STATUS_DATA, "byte %zu: a column value is not valid UTF-8", start + fault_at);
        dp_error_hint(error, "read the slot with client_encoding = 'UTF8'");
        return DP_STATUS_DATA;
    }
    return DP_STATUS_OK;
}

static dp_status refuse_binary(size_t at, dp_error *error)
{
    dp_error_set(error, DP_STATUS_DATA, "byte %zu: a column value in binary format", at);
    dp_error_hint(error, "leave pgoutput's option \"binary\" off: event ids need the server's own text");
    return DP_STATUS_DATA;
}

/* Reads a tuple into one value per column of the table. `identity_only` is set for a 'K' tuple, which carries
 * every column but means only those of the replica identity. */
static dp_status decode_tuple(dp_decoder *decoder, dp_byte_reader *reader, const dp_table *table,
                              bool identity_only, const dp_value **values, dp_error *error)
{
    size_t at = reader->position;
    size_t count = dp_byte_reader_u16(reader);
    if (!reader->failed && count != table->column_count) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "byte %zu: a row of %zu columns for table '%.*s.%.*s', which has %zu", at, count,
                            DP_SLICE_PRINT(table->schema), DP_SLICE_PRINT(table->name), table->column_count);
    }
    dp_value *out = dp_decoder_values(decoder, table->column_count);
    if (out == NULL) return dp_error_no_memory(error, "a row");
    for (size_t i = 0; i < count && !reader->failed; i++) {
        at = reader->position;
        uint8_t kind = dp_byte_reader_u8(reader);
        dp_status status = DP_STATUS_OK;
        switch (kind) {
        case 't': status = decode_text_value(reader, &out[i], error); break;
        case 'n': out[i].state = DP_VALUE_NULL; break;
        case 'u': out[i].state = DP_VALUE_UNCHANGED; break;
        case 'b': return refuse_binary(at, error);
        default:
            if (reader->failed) break; /* check_end says so */
            return dp_error_set(error, DP_STATUS_DATA,
                                "byte %zu: unknown column kind 0x%02x; expected 'n', 'u' or 't'", at, kind);
        }
        if (status != DP_STATUS_OK) return status;
        if (identity_only && !table->columns[i].is_identity) out[i].state = DP_VALUE_ABSENT;
    }
    *values = out;
    return DP_STATUS_OK;
}

static dp_status expect_kind(size_t at, uint8_t kind, const char *message, const char *expected,
                             dp_error *error)
{
    return dp_error_set(error, DP_STATUS_DATA, "byte %zu: unknown row kind 0x%02x in %s message; expected %s",
                        at, kind, message, expected);
}

static dp_status deliver(dp_decoder *decoder, const dp_record *record, dp_change *change, dp_error *error)
{
    change->has_position = record->has_lsn;
    change->position = record->lsn;
    return dp_decoder_deliver(decoder, change, error);
}

static dp_status decode_insert(dp_decoder *decoder, const dp_record *record, dp_byte_reader *reader,
                               dp_error *error)
{
    dp_change change = {.operation = DP_OPERATION_INSERT};
    uint32_t id = dp_byte_reader_u32(reader);
    uint8_t kind = dp_byte_reader_u8(reader);
    if (reader->failed) return check_end(reader, "INSERT", error);
    change.table = get_relation(decoder->state, id, 1, error);
    if (change.table == NULL) return DP_STATUS_DATA;
    if (kind != 'N') return expect_kind(5, kind, "INSERT", "'N'", error);
    dp_status status = decode_tuple(decoder, reader, change.table, false, &change.data, error);
    if (status == DP_STATUS_OK) status = check_end(reader, "INSERT", error);
    return status == DP_STATUS_OK ? deliver(decoder, record, &change, error) : status;
}

static dp_status decode_update(dp_decoder *decoder, const dp_record *record, dp_byte_reader *reader,
                               dp_error *error)
{
    dp_change change = {.operation = DP_OPERATION_UPDATE};
    uint32_t id = dp_byte_reader_u32(reader);
    size_t at = reader->position;
    uint8_t kind = dp_byte_reader_u8(reader);
    if (reader->failed) return check_end(reader, "UPDATE", error);
    change.table = get_relation(decoder->state, id, 1, error);
    if (change.table == NULL) return DP_STATUS_DATA;
    dp_status status;
    if (kind == 'K' || kind == 'O') {
        status = decode_tuple(decoder, reader, change.table, kind == 'K', &change.before, error);
        if (status != DP_STATUS_OK) return status;
        at = reader->position;
        kind = dp_byte_reader_u8(reader);
        if (reader->failed) return check_end(reader, "UPDATE", error);
    }
    if (kind != 'N')
        return expect_kind(at, kind, "UPDATE", change.before == NULL ? "'K', 'O' or 'N'" : "'N'", error);
    status = decode_tuple(decoder, reader, change.table, false, &change.data, error);
    if (status == DP_STATUS_OK) status = check_end(reader, "UPDATE", error);
    return status == DP_STATUS_OK ? deliver(decoder, record, &change, error) : status;
}

static dp_status decode_delete(dp_decoder *decoder, const dp_record *record, dp_byte_reader *reader,
                               dp_error *error)
{
    dp_change change = {.operation = DP_OPERATION_DELETE};
    uint32_t id = dp_byte_reader_u32(reader);
    uint8_t kind = dp_byte_reader_u8(reader);
    if (reader->failed) return check_end(reader, "DELETE", error);
    change.table = get_relation(decoder->state, id, 1, error);
    if (change.table == NULL) return DP_STATUS_DATA;
    if (kind != 'K' && kind != 'O') return expect_kind(5, kind, "DELETE", "'K' or 'O'", error);
    dp_status status = decode_tuple(decoder, reader, change.table, kind == 'K', &change.data, error);
    if (status == DP_STATUS_OK) status = check_end(reader, "DELETE", error);
    return status == DP_STATUS_OK ? deliver(decoder, record, &change, error) : status;
}

/* Bits of TRUNCATE's options. */
enum { TRUNCATE_CASCADE = 1, TRUNCATE_RESTART_IDENTITY = 2 };

dp_slice dp_truncate_metadata(bool cascade, bool restart_identity)
{
    if (cascade && restart_identity) return DP_SLICE_LITERAL("{\"cascade\":true,\"restart_identity\":true}");
    if (cascade) return DP_SLICE_LITERAL("{\"cascade\":true,\"restart_identity\":false}");
    if (restart_identity) return DP_SLICE_LITERAL("{\"cascade\":false,\"restart_identity\":true}");
    return DP_SLICE_LITERAL("{\"cascade\":false,\"restart_identity\":false}");
}

/* One message for many tables: one change each. All tables are looked up before the first is delivered. */
static dp_status decode_truncate(dp_decoder *decoder, const dp_record *record, dp_byte_reader *reader,
                                 dp_error *error)
{
    size_t count = dp_byte_reader_u32(reader);
    uint8_t options = dp_byte_reader_u8(reader);
    if (!reader->failed && count * 4 != dp_byte_reader_left(reader)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "byte 1: TRUNCATE message of %zu tables with %zu bytes of table ids", count,
                            dp_byte_reader_left(reader));
    }
    if (reader->failed) return check_end(reader, "TRUNCATE", error);
    if ((options & ~(TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY)) != 0) {
        return dp_error_set(error, DP_STATUS_DATA, "byte 5: unknown TRUNCATE options 0x%02x", options);
    }
    const dp_table **tables = dp_arena_alloc_zeroed(decoder->scratch, count + 1, sizeof *tables);
    if (tables == NULL) return dp_error_no_memory(error, "a truncate");
    for (size_t i = 0; i < count; i++) {
        size_t at = reader->position;
        tables[i] = get_relation(decoder->state, dp_byte_reader_u32(reader), at, error);
        if (tables[i] == NULL) return DP_STATUS_DATA;
    }
    for (size_t i = 0; i < count; i++) {
        dp_change change = {.operation = DP_OPERATION_TRUNCATE, .table = tables[i]};
        change.metadata = dp_truncate_metadata((options & TRUNCATE_CASCADE) != 0,
                                               (options & TRUNCATE_RESTART_IDENTITY) != 0);
        dp_status status = deliver(decoder, record, &change, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

/* Messages of pg_logical_emit_message are no changes; they are checked and passed over. */
static dp_status decode_message(dp_byte_reader *reader, dp_error *error)
{
    uint8_t flags = dp_byte_reader_u8(reader);
    dp_byte_reader_u64(reader);
    dp_byte_reader_cstring(reader);
    dp_byte_reader_bytes(reader, dp_byte_reader_u32(reader));
    dp_status status = check_end(reader, "MESSAGE", error);
    if (status == DP_STATUS_OK && flags > 1) {
        status = dp_error_set(error, DP_STATUS_DATA, "byte 1: unknown MESSAGE flags 0x%02x; expected 0 or 1",
                              flags);
    }
    return status;
}

static dp_status refuse_later_protocol(uint8_t type, dp_error *error)
{
    dp_error_set(error, DP_STATUS_DATA,
                 "byte 0: message '%c' belongs to pgoutput protocol version 2 or later", type);
    dp_error_hint(error,
                  "read the slot with \"proto_version\" '1', and leave \"streaming\" and \"two_phase\" off");
    return DP_STATUS_DATA;
}

static dp_status feed(dp_decoder *decoder, const dp_record *record, dp_error *error)
{
    dp_byte_reader reader = dp_byte_reader_of(record->data);
    uint8_t type = dp_byte_reader_u8(&reader);
    switch (type) {
    case 'B': return decode_begin(decoder, record, &reader, error);
    case 'C': return decode_commit(decoder, &reader, error);
    case 'O': return decode_origin(&reader, error);
    case 'R': return decode_relation(decoder, &reader, error);
    case 'Y': return decode_type(&reader, error);
    case 'I': return decode_insert(decoder, record, &reader, error);
    case 'U': return decode_update(decoder, record, &reader, error);
    case 'D': return decode_delete(decoder, record, &reader, error);
    case 'T': return decode_truncate(decoder, record, &reader, error);
    case 'M': return decode_message(&reader, error);
    case 'S':
    case 'E':
    case 'c':
    case 'A':
    case 'b':
    case 'P':
    case 'K':
    case 'r':
    case 'p': return refuse_later_protocol(type, error);
    default: break;
    }
    if (reader.failed) return dp_error_set(error, DP_STATUS_DATA, "byte 0: an empty pgoutput message");
    return dp_error_set(error, DP_STATUS_DATA, "byte 0: unknown pgoutput message type 0x%02x", type);
}

const dp_decoder_plugin dp_decoder_pgoutput = {
    .feed = feed, .state_new = state_new, .state_free = state_free};
