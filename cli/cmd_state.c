/* dpone state migrate, dpone state status: the state database as a whole. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/state_options.h"
#include "services/state_admin.h"

#define REPORT_BYTES ((size_t)256 << 20)

/* --- migrate ------------------------------------------------------------------------------------------- */

static const dp_option migrate_options[] = {DP_STATE_OPTION, {.name = NULL}};

static dp_status run_migrate(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    uint32_t applied_count;
    dp_schema_state schema;
    char line[160];
    (void)exit_code;
    dp_status status =
        dp_state_migrate(dp_invocation_text(invocation, "state"), &applied_count, &schema, error);
    if (status != DP_STATUS_OK) return status;
    int length = snprintf(line, sizeof line, "schema version %u: %u migration%s applied\n", schema.applied,
                          applied_count, applied_count == 1 ? "" : "s");
    return dp_print((dp_slice){line, (size_t)length}, error);
}

const dp_command dp_command_state_migrate = {
    .path = "state migrate",
    .summary = "create the state database or bring its schema up to date",
    .arguments = "",
    .description =
        "Applies the migrations that the database does not have, in one transaction. Safe to run from "
        "several processes at once: one applies, the others find nothing to do. A database that a newer "
        "dpone has changed is refused.",
    .examples = "  dpone state migrate --state sqlite:/var/lib/dpone/state.db\n",
    .options = migrate_options,
    .exit_codes = "",
    .run = run_migrate,
};

/* --- status -------------------------------------------------------------------------------------------- */

static const dp_option status_options[] = {
    DP_STATE_OPTION,
    {.name = "pipeline", .argument = "NAME", .help = "only this pipeline"},
    {.name = "check", .help = "also read all of it and check that it is sound; prints its digest"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

static void position_text(const dp_stream *stream, bool has, dp_position position,
                          char out[DP_POSITION_TEXT_BYTES])
{
    if (has) {
        dp_position_format(stream->key.backend, position, out);
    } else {
        memcpy(out, "-", 2);
    }
}

static void put_stream_text(dp_buffer *out, const dp_stream *stream)
{
    char high[DP_POSITION_TEXT_BYTES];
    char pruned[DP_POSITION_TEXT_BYTES];
    dp_slice backend = dp_backend_text(stream->key.backend);
    dp_slice identity = dp_identity_text(stream->identity);
    position_text(stream, stream->has_high, stream->high, high);
    position_text(stream, stream->has_pruned, stream->pruned, pruned);
    dp_buffer_append_format(out, "stream %.*s  source %.*s  %.*s  identity %.*s\n",
                            DP_SLICE_PRINT(stream->key.pipeline), DP_SLICE_PRINT(stream->key.source),
                            DP_SLICE_PRINT(backend), DP_SLICE_PRINT(identity));
    dp_buffer_append_format(out,
                            "  %" PRIu64 " transactions, %" PRIu64 " events, up to %s, pruned up to %s\n",
                            stream->transaction_count, stream->event_count, high, pruned);
    if (stream->has_staged) {
        dp_buffer_append_format(out, "  staged: %" PRIu64 " rows of transaction %.*s\n", stream->staged_count,
                                DP_SLICE_PRINT(stream->staged_transaction_id));
    }
}

static void put_text(dp_buffer *out, const dp_state_report *report, const char *digest)
{
    dp_buffer_append_format(out, "schema version %u of %u\n", report->schema.applied, report->schema.known);
    if (!report->is_current) {
        dp_buffer_append_text(out, "not up to date: run dpone state migrate\n");
        return;
    }
    if (report->has_size) dp_buffer_append_format(out, "size %" PRIu64 " bytes\n", report->size_bytes);
    for (size_t i = 0; i < report->stream_count; i++) {
        put_stream_text(out, &report->streams[i]);
    }
    for (size_t i = 0; i < report->offset_count; i++) {
        const dp_offset_row *row = &report->offsets[i];
        dp_buffer_append_format(out, "offset %.*s  %.*s.%.*s  %.*s  %.*s%s\n",
                                DP_SLICE_PRINT(row->pipeline_name), DP_SLICE_PRINT(row->source_schema),
                                DP_SLICE_PRINT(row->source_table), DP_SLICE_PRINT(row->backend),
                                DP_SLICE_PRINT(row->token),
                                row->snapshot_complete ? "" : "  snapshot not complete");
    }
    dp_buffer_append_format(out, "quarantine: %" PRIu64 " open\n", report->open_quarantine_count);
    if (digest[0] != '\0') dp_buffer_append_format(out, "sound %s\n", digest);
}

static void put_position(dp_json_writer *writer, const char *key, const dp_stream *stream, bool has,
                         dp_position position)
{
    char text[DP_POSITION_TEXT_BYTES];
    position_text(stream, has, position, text);
    dp_json_key(writer, key);
    dp_json_text(writer, has ? text : NULL);
}

static void put_stream_json(dp_json_writer *writer, const dp_stream *stream)
{
    dp_json_begin_object(writer);
    dp_json_member_slice(writer, "pipeline", stream->key.pipeline);
    dp_json_member_slice(writer, "source", stream->key.source);
    dp_json_member_slice(writer, "backend", dp_backend_text(stream->key.backend));
    dp_json_member_slice(writer, "identity", dp_identity_text(stream->identity));
    put_position(writer, "high_watermark", stream, stream->has_high, stream->high);
    put_position(writer, "pruned", stream, stream->has_pruned, stream->pruned);
    dp_json_member_u64(writer, "transaction_count", stream->transaction_count);
    dp_json_member_u64(writer, "event_count", stream->event_count);
    dp_json_member_u64(writer, "staged_row_count", stream->has_staged ? stream->staged_count : 0);
    dp_json_end_object(writer);
}

static void put_json(dp_buffer *out, const dp_state_report *report, const char *digest)
{
    dp_json_writer writer = dp_json_writer_pretty(out);
    dp_json_begin_object(&writer);
    dp_json_member_u64(&writer, "schema_version", report->schema.applied);
    dp_json_member_u64(&writer, "schema_version_needed", report->schema.known);
    dp_json_key(&writer, "size_bytes");
    if (report->has_size) {
        dp_json_u64(&writer, report->size_bytes);
    } else {
        dp_json_null(&writer);
    }
    dp_json_key(&writer, "streams");
    dp_json_begin_array(&writer);
    for (size_t i = 0; i < report->stream_count; i++) {
        put_stream_json(&writer, &report->streams[i]);
    }
    dp_json_end_array(&writer);
    dp_json_key(&writer, "offsets");
    dp_offset_rows_write_json(report->offsets, report->offset_count, &writer);
    dp_json_member_u64(&writer, "open_quarantine_count", report->open_quarantine_count);
    if (digest[0] != '\0') dp_json_member_text(&writer, "sound_digest", digest);
    dp_json_end_object(&writer);
    dp_buffer_append_byte(out, '\n');
}

static dp_status show_status(const dp_invocation *invocation, dp_arena *arena, int *exit_code,
                             dp_error *error)
{
    dp_state_report report;
    char digest[DP_SHA256_HEX_LENGTH + 1] = "";
    const char *dsn = dp_invocation_text(invocation, "state");
    dp_slice pipeline = dp_slice_of_text(dp_invocation_text(invocation, "pipeline"));
    dp_status status = dp_state_read_report(dsn, pipeline, arena, &report, error);
    if (status == DP_STATUS_OK && report.is_current && dp_invocation_switch(invocation, "check")) {
        uint8_t bytes[DP_SHA256_BYTES];
        status = dp_state_check(dsn, bytes, error);
        if (status == DP_STATUS_OK) dp_hex_encode(bytes, sizeof bytes, digest);
    }
    if (status != DP_STATUS_OK) return status;
    dp_buffer out = DP_BUFFER_INIT(REPORT_BYTES);
    if (dp_wants_json(invocation)) {
        put_json(&out, &report, digest);
    } else {
        put_text(&out, &report, digest);
    }
    status = out.failed ? dp_error_no_memory(error, "the report") : dp_print(dp_buffer_slice(&out), error);
    dp_buffer_release(&out);
    if (!report.is_current) *exit_code = 1;
    return status;
}

static dp_status run_status(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_arena *arena = dp_arena_new(65536, REPORT_BYTES);
    if (arena == NULL) return dp_error_no_memory(error, "the report");
    dp_status status = show_status(invocation, arena, exit_code, error);
    dp_arena_free(arena);
    return status;
}

const dp_command dp_command_state_status = {
    .path = "state status",
    .summary = "show the schema, streams, offsets and open quarantine of a state database",
    .arguments = "",
    .description = "Opens the database read-only; a server may be running on it.",
    .examples = "  dpone state status --state sqlite:dpone.db --format json\n  dpone state status --check\n",
    .options = status_options,
    .exit_codes = "0 up to date, 1 the schema is older than this program needs",
    .run = run_status,
};
