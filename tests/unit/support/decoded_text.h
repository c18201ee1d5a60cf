/* Decodes records of a text plugin into a short text that tests can state in one line.
 *
 *   insert public.orders @0/20 x900 #0/0 {id:i='10' note:x=NULL}            a change
 *   update public.orders @0/20 x900 #0/0 {id:i='2' v:x~} was {id:i='1'}     with an old row; '~' is unchanged
 *   commit x900 @0/30 t=- n=1                                               a transaction's end
 *
 * '@' is the position, 'x' the transaction id, '#' sequence/ordinal; '-' stands for what the source did not
 * say. Type classes: x text, b boolean, i integer, f float, n numeric, j json.
 */
#ifndef DPONE_TESTS_DECODED_TEXT_H
#define DPONE_TESTS_DECODED_TEXT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tests/unit/support/cmocka_includes.h"

#include "base/buffer.h"
#include "cdc/decoder.h"

typedef struct decoded_text {
    dp_decoder *decoder;
    dp_buffer text;
    dp_error error;
    uint64_t lsn; /* of the next record; 0: none */
    uint32_t xid; /* of the next record; 0: none */
} decoded_text;

static inline void decoded_put_lsn(dp_buffer *out, bool has_lsn, dp_lsn lsn)
{
    char text[DP_LSN_TEXT_BYTES] = "-";
    if (has_lsn) dp_lsn_format(lsn, text);
    dp_buffer_append_format(out, " @%s", text);
}

static inline void decoded_put_xid(dp_buffer *out, bool has_xid, uint32_t xid)
{
    if (has_xid) {
        dp_buffer_append_format(out, " x%u", xid);
    } else {
        dp_buffer_append_text(out, " x-");
    }
}

static inline void decoded_put_row(dp_buffer *out, const dp_table *table, const dp_value *values)
{
    const char *separator = " {";
    for (size_t i = 0; i < table->column_count; i++) {
        if (values[i].state == DP_VALUE_ABSENT) continue;
        dp_buffer_append_format(out, "%s%.*s:%c", separator, DP_SLICE_PRINT(table->columns[i].name),
                                "xbifnj"[table->columns[i].type_class]);
        if (values[i].state == DP_VALUE_UNCHANGED) dp_buffer_append_text(out, "~");
        if (values[i].state == DP_VALUE_NULL) dp_buffer_append_text(out, "=NULL");
        if (values[i].state == DP_VALUE_PRESENT) {
            dp_buffer_append_text(out, "='");
            dp_buffer_append_slice(out, values[i].text);
            dp_buffer_append_text(out, "'");
        }
        separator = " ";
    }
    dp_buffer_append_text(out, separator[1] == '{' ? " {}" : "}");
}

static inline dp_status decoded_on_change(void *context, const dp_change *change, dp_error *error)
{
    dp_buffer *out = context;
    (void)error;
    dp_buffer_append_slice(out, dp_operation_text(change->operation));
    dp_buffer_append_format(out, " %.*s.%.*s", DP_SLICE_PRINT(change->table->schema),
                            DP_SLICE_PRINT(change->table->name));
    decoded_put_lsn(out, change->has_position, change->position);
    decoded_put_xid(out, change->has_transaction_id, change->transaction_id);
    dp_buffer_append_format(out, " #%" PRIu64 "/%" PRIu64, change->sequence, change->ordinal);
    if (change->data != NULL) decoded_put_row(out, change->table, change->data);
    if (change->before != NULL) {
        dp_buffer_append_text(out, " was");
        decoded_put_row(out, change->table, change->before);
    }
    if (change->metadata.length > 0) dp_buffer_append_text(out, " ");
    dp_buffer_append_slice(out, change->metadata);
    dp_buffer_append_text(out, "\n");
    return DP_STATUS_OK;
}

static inline dp_status decoded_on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    dp_buffer *out = context;
    (void)error;
    dp_buffer_append_text(out, "commit");
    decoded_put_xid(out, end->has_transaction_id, end->transaction_id);
    decoded_put_lsn(out, end->has_end_position, end->end_position);
    if (end->has_committed_at) {
        dp_buffer_append_format(out, " t=%" PRId64, end->committed_at_us);
    } else {
        dp_buffer_append_text(out, " t=-");
    }
    dp_buffer_append_format(out, " n=%" PRIu64 "\n", end->change_count);
    return DP_STATUS_OK;
}

static inline void decoded_text_open(decoded_text *decoded, dp_plugin plugin)
{
    *decoded = (decoded_text){.text = DP_BUFFER_INIT(1 << 20), .lsn = 0x10, .xid = 900};
    dp_change_sink sink = {&decoded->text, decoded_on_change, decoded_on_commit};
    decoded->decoder = dp_decoder_new(plugin, NULL, &sink);
    assert_non_null(decoded->decoder);
}

static inline void decoded_text_close(decoded_text *decoded)
{
    dp_decoder_free(decoded->decoder);
    dp_buffer_release(&decoded->text);
}

static inline dp_status decoded_text_feed(decoded_text *decoded, dp_slice data)
{
    /* A copy of exactly the record's size, so that a sanitizer sees a read past its end. */
    char *copy = malloc(data.length + 1);
    assert_non_null(copy);
    if (data.length > 0) memcpy(copy + 1, data.data, data.length);
    dp_record record = {.has_lsn = decoded->lsn != 0,
                        .lsn = {decoded->lsn},
                        .has_xid = decoded->xid != 0,
                        .xid = decoded->xid,
                        .data = {copy + 1, data.length}};
    dp_error_clear(&decoded->error);
    dp_status status = dp_decoder_feed(decoded->decoder, &record, &decoded->error);
    free(copy);
    return status;
}

/* Feeds one record that must decode, and checks what came of it; `expected` NULL checks nothing. */
static inline void decoded_text_expect(decoded_text *decoded, const char *record, const char *expected)
{
    dp_buffer_clear(&decoded->text);
    dp_status status = decoded_text_feed(decoded, dp_slice_of_text(record));
    if (status != DP_STATUS_OK) fail_msg("%s\n  %s", record, decoded->error.message);
    if (expected != NULL) assert_string_equal(dp_buffer_text(&decoded->text), expected);
}

/* Feeds one record that must be refused, with a message that begins with `message`, nothing delivered. */
static inline void decoded_text_refuse(decoded_text *decoded, const char *record, dp_status expected,
                                       const char *message)
{
    dp_buffer_clear(&decoded->text);
    dp_status status = decoded_text_feed(decoded, dp_slice_of_text(record));
    if (status != expected) {
        fail_msg("%s\n  ended with %s (%s); expected %s (%s)", record, dp_status_name(status),
                 decoded->error.message, dp_status_name(expected), message);
    }
    if (strncmp(decoded->error.message, message, strlen(message)) != 0) {
        fail_msg("%s\n  was refused with: %s\n  expected:         %s", record, decoded->error.message,
                 message);
    }
    assert_int_equal(decoded->text.length, 0);
}

#endif
