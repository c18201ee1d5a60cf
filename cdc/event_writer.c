#include "cdc/event_writer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json_writer.h"

struct dp_event_writer {
    dp_event_identity *identity;
    dp_row_style style;
    dp_event_id last_id;
    struct dp_member_text *members; /* of data, then of before */
    size_t member_capacity;
};

dp_event_writer *dp_event_writer_new(dp_identity_kind identity, dp_row_style style)
{
    dp_event_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return NULL;
    writer->style = style;
    writer->identity = dp_event_identity_new(identity);
    if (writer->identity == NULL) {
        free(writer);
        return NULL;
    }
    return writer;
}

void dp_event_writer_free(dp_event_writer *writer)
{
    if (writer == NULL) return;
    dp_event_identity_free(writer->identity);
    free(writer->members);
    free(writer);
}

dp_event_id dp_event_writer_last_id(const dp_event_writer *writer)
{
    return writer->last_id;
}

static void put_text_or_null(dp_buffer *out, bool present, const char *text, size_t length)
{
    if (!present) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
        return;
    }
    dp_buffer_append_byte(out, '"');
    dp_buffer_append(out, text, length);
    dp_buffer_append_byte(out, '"');
}

static void put_position(dp_buffer *out, bool present, dp_lsn position)
{
    char text[DP_LSN_TEXT_BYTES];
    put_text_or_null(out, present, text, dp_lsn_format(position, text));
}

static void put_transaction_id(dp_buffer *out, bool present, uint32_t transaction_id)
{
    if (!present) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
        return;
    }
    dp_buffer_append_byte(out, '"');
    dp_buffer_append_u64(out, transaction_id);
    dp_buffer_append_byte(out, '"');
}

static void put_unchanged(dp_buffer *out, const dp_change *change)
{
    bool comma = false;
    dp_buffer_append_byte(out, '[');
    for (size_t i = 0; change->data != NULL && i < change->table->column_count; i++) {
        if (change->data[i].state != DP_VALUE_UNCHANGED) continue;
        dp_slice name = change->table->columns[i].name_json;
        if (comma) dp_buffer_append_byte(out, ',');
        dp_buffer_append(out, name.data, name.length - 1); /* without the colon */
        comma = true;
    }
    dp_buffer_append_byte(out, ']');
}

/* What a failed buffer means to the caller; the length is put back so that nothing half-written stays. */
static dp_status finish_line(dp_buffer *out, size_t start, dp_status status, dp_error *error)
{
    if (status == DP_STATUS_OK && out->failed) {
        status = out->out_of_memory
                     ? dp_error_no_memory(error, "an event")
                     : dp_error_set_code(error, DP_STATUS_LIMIT, "event_too_large",
                                         "an event of more than %zu bytes", out->max_bytes - start);
        out->failed = out->out_of_memory = false;
    }
    if (status != DP_STATUS_OK) out->length = start;
    return status;
}

/* The id's place in its line: behind {"event_id":" */
enum { ID_AT = 13 };

static void put_head(dp_buffer *out, const dp_change *change, const char *id_hex)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"event_id\":"));
    put_text_or_null(out, id_hex != NULL, id_hex, DP_SHA256_HEX_LENGTH);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"operation\":\""));
    dp_buffer_append_slice(out, dp_operation_text(change->operation));
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\","));
    dp_buffer_append_slice(out, change->table->source_json);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"position\":"));
    put_position(out, change->has_position, change->position);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"transaction_id\":"));
    put_transaction_id(out, change->has_transaction_id, change->transaction_id);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"sequence\":"));
    dp_buffer_append_u64(out, change->sequence);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"ordinal\":"));
    dp_buffer_append_u64(out, change->ordinal);
}

static void put_tail(dp_buffer *out, const dp_change *change)
{
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"unchanged\":"));
    put_unchanged(out, change);
    if (change->metadata.length > 0) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"metadata\":"));
        dp_buffer_append_slice(out, change->metadata);
    }
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("}\n"));
}

static dp_status put_row_object(const dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                const dp_value *values, dp_row_text *text, dp_error *error)
{
    if (text != NULL && values != NULL) return dp_row_put_noted(out, change->table, values, text, error);
    return dp_row_put_object(out, change->table, values, DP_ROW_TABLE_ORDER, writer->style, error);
}

/* `texts`, unless NULL, are filled with where data and before lie. */
static dp_status put_event(const dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                           const char *id_hex, dp_row_text *texts, dp_error *error)
{
    put_head(out, change, id_hex);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"data\":"));
    dp_status status =
        put_row_object(writer, out, change, change->data, texts == NULL ? NULL : &texts[0], error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"before\":"));
    if (change->before == NULL) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
    } else {
        status = put_row_object(writer, out, change, change->before, texts == NULL ? NULL : &texts[1], error);
        if (status != DP_STATUS_OK) return status;
    }
    put_tail(out, change);
    return DP_STATUS_OK;
}

static bool grow_members(dp_event_writer *writer, size_t count)
{
    if (count <= writer->member_capacity) return true;
    struct dp_member_text *grown = realloc(writer->members, count * sizeof *grown);
    if (grown == NULL) return false;
    writer->members = grown;
    writer->member_capacity = count;
    return true;
}

/* Where the id is made of the rows, they are written once: the id is computed from the line and put into it.
 */
static dp_status put_event_then_id(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                   dp_error *error)
{
    static const char no_id[DP_SHA256_HEX_LENGTH];
    const size_t columns = change->table->column_count;
    const size_t start = out->length;
    if (!grow_members(writer, 2 * columns + 1)) return dp_error_no_memory(error, "an event");
    dp_row_text texts[] = {{.members = writer->members}, {.members = writer->members + columns}};
    dp_status status = put_event(writer, out, change, no_id, texts, error);
    if (status != DP_STATUS_OK || out->failed) return status;
    status =
        dp_event_identity_id_of_rows(writer->identity, change, out, change->data == NULL ? NULL : &texts[0],
                                     change->before == NULL ? NULL : &texts[1], &writer->last_id, error);
    if (status == DP_STATUS_OK) {
        dp_hex_encode(writer->last_id.bytes, DP_SHA256_BYTES, out->data + start + ID_AT);
    }
    return status;
}

static dp_status put_id_then_event(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                   dp_error *error)
{
    char hex[DP_SHA256_HEX_LENGTH];
    dp_status status = dp_event_identity_id(writer->identity, change, &writer->last_id, error);
    if (status != DP_STATUS_OK) return status;
    dp_hex_encode(writer->last_id.bytes, DP_SHA256_BYTES, hex);
    return put_event(writer, out, change, hex, NULL, error);
}

dp_status dp_event_writer_put_event(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                    bool *id_missing, dp_error *error)
{
    const size_t start = out->length;
    dp_status status;
    if (!change->has_position || !change->has_transaction_id) {
        if (id_missing != NULL) *id_missing = true;
        status = put_event(writer, out, change, NULL, NULL, error);
    } else if (writer->style == DP_ROW_EXACT &&
               dp_event_identity_needs_rows(writer->identity, change->table)) {
        status = put_event_then_id(writer, out, change, error);
    } else {
        status = put_id_then_event(writer, out, change, error);
    }
    return finish_line(out, start, status, error);
}

dp_status dp_event_writer_put_without_id(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                         dp_error *error)
{
    size_t start = out->length;
    return finish_line(out, start, put_event(writer, out, change, NULL, NULL, error), error);
}

dp_status dp_event_writer_put_commit(dp_buffer *out, const dp_transaction_end *end, dp_error *error)
{
    size_t start = out->length;
    char time[DP_CLOCK_TEXT_BYTES];
    dp_clock_format_utc(end->committed_at_us, time);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"type\":\"commit\",\"transaction_id\":"));
    put_transaction_id(out, end->has_transaction_id, end->transaction_id);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"end_position\":"));
    put_position(out, end->has_end_position, end->end_position);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"committed_at\":"));
    put_text_or_null(out, end->has_committed_at, time, strlen(time));
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"count\":"));
    dp_buffer_append_u64(out, end->change_count);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("}\n"));
    return finish_line(out, start, DP_STATUS_OK, error);
}

/* The values a row consumer sees: an unchanged value from the old row, where that was sent. */
static dp_status put_row_data(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                              size_t *member_count, dp_error *error)
{
    static const dp_slice reserved = DP_SLICE_LITERAL("_dpone_cdc_");
    const dp_table *table = change->table;
    for (size_t i = 0; change->data != NULL && i < table->column_count; i++) {
        const dp_value *value = &change->data[i];
        if (value->state == DP_VALUE_UNCHANGED && change->before != NULL) value = &change->before[i];
        if (value->state != DP_VALUE_PRESENT && value->state != DP_VALUE_NULL) continue;
        const dp_column *column = &table->columns[i];
        if (dp_slice_starts_with(column->name, reserved)) {
            return dp_error_set(
                error, DP_STATUS_DATA,
                "column '%.*s' of table '%.*s.%.*s' begins with _dpone_cdc_, which the row form adds",
                DP_SLICE_PRINT(column->name), DP_SLICE_PRINT(table->schema), DP_SLICE_PRINT(table->name));
        }
        if ((*member_count)++ > 0) dp_buffer_append_byte(out, ',');
        dp_buffer_append_slice(out, column->name_json);
        dp_status status = dp_row_put_value(out, column, value, writer->style, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

static dp_status put_row(dp_event_writer *writer, dp_buffer *out, const dp_change *change, dp_error *error)
{
    size_t member_count = 0;
    dp_buffer_append_byte(out, '{');
    dp_status status = put_row_data(writer, out, change, &member_count, error);
    if (status != DP_STATUS_OK) return status;
    if (member_count > 0) dp_buffer_append_byte(out, ',');
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\"_dpone_cdc_operation\":\""));
    dp_buffer_append_slice(out, dp_operation_text(change->operation));
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("\",\"_dpone_cdc_position\":"));
    put_position(out, change->has_position, change->position);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_schema\":"));
    dp_json_put_string(out, change->table->schema);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_table\":"));
    dp_json_put_string(out, change->table->name);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_deleted\":"));
    dp_buffer_append_text(out, change->operation == DP_OPERATION_DELETE ? "true" : "false");
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_transaction_id\":"));
    put_transaction_id(out, change->has_transaction_id, change->transaction_id);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_sequence\":"));
    dp_buffer_append_u64(out, change->sequence);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"_dpone_cdc_before\":"));
    if (change->before == NULL) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
    } else {
        status =
            dp_row_put_object(out, change->table, change->before, DP_ROW_TABLE_ORDER, writer->style, error);
    }
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("}\n"));
    return status;
}

dp_status dp_event_writer_put_row(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                  dp_error *error)
{
    size_t start = out->length;
    return finish_line(out, start, put_row(writer, out, change, error), error);
}
