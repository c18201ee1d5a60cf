#include "cdc/poison.h"

#include "base/json_writer.h"

bool dp_poison_is(const dp_error *error)
{
    return error->status == DP_STATUS_POISON ||
           (error->status == DP_STATUS_LIMIT && strcmp(error->code, "event_too_large") == 0);
}

static void put_context(dp_buffer *out, const dp_change *change)
{
    char position[DP_LSN_TEXT_BYTES];
    dp_lsn_format(change->position, position);
    dp_json_writer json = dp_json_writer_compact(out);
    dp_json_begin_object(&json);
    dp_json_member_slice(&json, "operation", dp_operation_text(change->operation));
    dp_json_member_slice(&json, "source_schema", change->table->schema);
    dp_json_member_slice(&json, "source_table", change->table->name);
    dp_json_member_text(&json, "position", change->has_position ? position : NULL);
    dp_json_key(&json, "transaction_id");
    if (change->has_transaction_id) {
        dp_json_u64(&json, change->transaction_id);
    } else {
        dp_json_null(&json);
    }
    dp_json_member_u64(&json, "sequence", change->sequence);
    dp_json_member_u64(&json, "ordinal", change->ordinal);
    dp_json_end_object(&json);
}

dp_status dp_poison_describe(dp_event_writer *writer, const dp_change *change, const dp_error *cause,
                             dp_buffer *context, dp_buffer *bytes, dp_poison_record *record, dp_error *error)
{
    dp_buffer_clear(context);
    dp_buffer_clear(bytes);
    put_context(context, change);
    dp_status status = dp_event_writer_put_without_id(writer, bytes, change, error);
    if (status != DP_STATUS_OK) return status;
    if (context->failed) return dp_error_no_memory(error, "a poison record");
    dp_slice line = dp_buffer_slice(bytes);
    line.length--; /* without the newline */
    *record = (dp_poison_record){cause->code, cause->message, dp_buffer_slice(context), line};
    return DP_STATUS_OK;
}

static void put_members(dp_json_writer *json, const dp_poison_record *record)
{
    dp_json_member_text(json, "code", record->code);
    dp_json_member_text(json, "reason", record->reason);
    dp_json_key(json, "context");
    dp_json_raw(json, record->context);
    dp_json_key(json, "event");
    dp_json_raw(json, record->bytes);
}

void dp_poison_put_line(dp_buffer *out, const dp_poison_record *record)
{
    dp_json_writer json = dp_json_writer_compact(out);
    dp_json_begin_object(&json);
    put_members(&json, record);
    dp_json_end_object(&json);
    dp_buffer_append_byte(out, '\n');
}

void dp_poison_put_request(dp_buffer *out, dp_slice source, dp_backend backend,
                           const dp_poison_record *record)
{
    dp_json_writer json = dp_json_writer_compact(out);
    dp_json_begin_object(&json);
    dp_json_member_slice(&json, "source", source);
    dp_json_member_slice(&json, "backend", dp_backend_text(backend));
    put_members(&json, record);
    dp_json_end_object(&json);
}
