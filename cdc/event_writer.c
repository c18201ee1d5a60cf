#include "cdc/event_writer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json_writer.h"

struct dp_event_writer {
    dp_event_identity *identity;
    dp_row_style style;
    dp_event_id last_id;
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

static dp_status put_event(dp_event_writer *writer, dp_buffer *out, const dp_change *change, bool has_id,
                           dp_error *error)
{
    char hex[DP_SHA256_HEX_LENGTH];
    dp_hex_encode(writer->last_id.bytes, DP_SHA256_BYTES, hex);
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("{\"event_id\":"));
    put_text_or_null(out, has_id, hex, sizeof hex);
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
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"data\":"));
    dp_status status =
        dp_row_put_object(out, change->table, change->data, DP_ROW_TABLE_ORDER, writer->style, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"before\":"));
    if (change->before == NULL) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL("null"));
    } else {
        status =
            dp_row_put_object(out, change->table, change->before, DP_ROW_TABLE_ORDER, writer->style, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"unchanged\":"));
    put_unchanged(out, change);
    if (change->metadata.length > 0) {
        dp_buffer_append_slice(out, DP_SLICE_LITERAL(",\"metadata\":"));
        dp_buffer_append_slice(out, change->metadata);
    }
    dp_buffer_append_slice(out, DP_SLICE_LITERAL("}\n"));
    return DP_STATUS_OK;
}

dp_status dp_event_writer_put_event(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                    bool *id_missing, dp_error *error)
{
    bool has_id = change->has_position && change->has_transaction_id;
    if (has_id) {
        dp_status status = dp_event_identity_id(writer->identity, change, &writer->last_id, error);
        if (status != DP_STATUS_OK) return status;
    } else if (id_missing != NULL) {
        *id_missing = true;
    }
    size_t start = out->length;
    return finish_line(out, start, put_event(writer, out, change, has_id, error), error);
}

dp_status dp_event_writer_put_without_id(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                         dp_error *error)
{
    size_t start = out->length;
    return finish_line(out, start, put_event(writer, out, change, false, error), error);
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
