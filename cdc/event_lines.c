#include "cdc/event_lines.h"

#include "base/clock.h"
#include "base/hex.h"
#include "base/json_writer.h"

static void put_literal(dp_buffer *out, dp_slice text)
{
    dp_buffer_append_slice(out, text);
}

static void put_text_or_null(dp_buffer *out, dp_slice text)
{
    if (text.data == NULL) {
        put_literal(out, DP_SLICE_LITERAL("null"));
    } else {
        dp_json_put_string(out, text);
    }
}

static void put_json_or(dp_buffer *out, dp_slice json, dp_slice otherwise)
{
    dp_buffer_append_slice(out, json.data == NULL ? otherwise : json);
}

static void put_id(dp_buffer *out, const dp_event *event)
{
    if (!event->has_id) {
        put_literal(out, DP_SLICE_LITERAL("null"));
        return;
    }
    char hex[DP_SHA256_HEX_LENGTH + 2];
    hex[0] = hex[sizeof hex - 1] = '"';
    dp_hex_encode(event->id.bytes, sizeof event->id.bytes, hex + 1);
    dp_buffer_append(out, hex, sizeof hex);
}

void dp_event_put_line(dp_buffer *out, const dp_event *event)
{
    put_literal(out, DP_SLICE_LITERAL("{\"event_id\":"));
    put_id(out, event);
    put_literal(out, DP_SLICE_LITERAL(",\"operation\":\""));
    put_literal(out, dp_operation_text(event->operation));
    put_literal(out, DP_SLICE_LITERAL("\",\"source_schema\":"));
    dp_json_put_string(out, event->source_schema);
    put_literal(out, DP_SLICE_LITERAL(",\"source_table\":"));
    dp_json_put_string(out, event->source_table);
    put_literal(out, DP_SLICE_LITERAL(",\"position\":"));
    put_text_or_null(out, event->position);
    put_literal(out, DP_SLICE_LITERAL(",\"transaction_id\":"));
    put_text_or_null(out, event->transaction_id);
    put_literal(out, DP_SLICE_LITERAL(",\"sequence\":"));
    if (event->has_sequence) {
        dp_buffer_append_u64(out, event->sequence);
    } else {
        put_literal(out, DP_SLICE_LITERAL("null"));
    }
    put_literal(out, DP_SLICE_LITERAL(",\"ordinal\":"));
    dp_buffer_append_u64(out, event->ordinal);
    put_literal(out, DP_SLICE_LITERAL(",\"data\":"));
    dp_buffer_append_slice(out, event->data);
    put_literal(out, DP_SLICE_LITERAL(",\"before\":"));
    put_json_or(out, event->before, DP_SLICE_LITERAL("null"));
    put_literal(out, DP_SLICE_LITERAL(",\"unchanged\":"));
    put_json_or(out, event->unchanged, DP_SLICE_LITERAL("[]"));
    if (event->metadata.data != NULL) {
        put_literal(out, DP_SLICE_LITERAL(",\"metadata\":"));
        dp_buffer_append_slice(out, event->metadata);
    }
    put_literal(out, DP_SLICE_LITERAL("}\n"));
}

void dp_commit_put_line(dp_buffer *out, const dp_commit_line *commit)
{
    put_literal(out, DP_SLICE_LITERAL("{\"type\":\"commit\",\"transaction_id\":"));
    put_text_or_null(out, commit->transaction_id);
    put_literal(out, DP_SLICE_LITERAL(",\"end_position\":"));
    put_text_or_null(out, commit->end_position);
    put_literal(out, DP_SLICE_LITERAL(",\"committed_at\":"));
    if (commit->has_committed_at) {
        char text[DP_CLOCK_TEXT_BYTES];
        dp_clock_format_utc(commit->committed_at_us, text);
        dp_json_put_string(out, dp_slice_of_text(text));
    } else {
        put_literal(out, DP_SLICE_LITERAL("null"));
    }
    put_literal(out, DP_SLICE_LITERAL(",\"count\":"));
    dp_buffer_append_u64(out, commit->count);
    put_literal(out, DP_SLICE_LITERAL("}\n"));
}
