#include "replay/plan_render.h"

void dp_offset_write_json(dp_json_writer *writer, const dp_offset *offset)
{
    if (offset == NULL) {
        dp_json_null(writer);
        return;
    }
    dp_json_begin_object(writer);
    dp_json_member_slice(writer, "backend", dp_backend_text(offset->backend));
    dp_json_member_slice(writer, "token", dp_slice_of_text(offset->token));
    dp_json_member_bool(writer, "snapshot_complete", offset->snapshot_complete);
    dp_json_end_object(writer);
}

static void write_steps(dp_json_writer *writer)
{
    dp_json_key(writer, "steps");
    dp_json_begin_array(writer);
    for (size_t i = 0; i < DP_REPLAY_STEP_COUNT; i++) {
        dp_replay_step step = (dp_replay_step)i;
        dp_json_begin_object(writer);
        dp_json_member_slice(writer, "name", dp_slice_of_text(dp_replay_step_text(step)));
        dp_json_member_slice(writer, "description", dp_slice_of_text(dp_replay_step_description(step)));
        dp_json_member_bool(writer, "required", dp_replay_step_required(step));
        dp_json_end_object(writer);
    }
    dp_json_end_array(writer);
}

static void write_findings(dp_json_writer *writer, const dp_replay_plan *plan)
{
    dp_json_key(writer, "blockers");
    dp_json_begin_array(writer);
    for (size_t i = 0; i < DP_REPLAY_BLOCKER_COUNT; i++) {
        if (plan->blockers[i]) dp_json_text(writer, dp_replay_blocker_text((dp_replay_blocker)i));
    }
    dp_json_end_array(writer);
    dp_json_key(writer, "warnings");
    dp_json_begin_array(writer);
    for (size_t i = 0; i < DP_REPLAY_WARNING_COUNT; i++) {
        if (plan->warnings[i]) dp_json_text(writer, dp_replay_warning_text((dp_replay_warning)i));
    }
    dp_json_end_array(writer);
}

void dp_replay_plan_write_json(const dp_replay_plan *plan, dp_buffer *out)
{
    const dp_replay_request *request = &plan->request;
    dp_json_writer writer = dp_json_writer_pretty(out);
    dp_json_begin_object(&writer);
    dp_json_member_bool(&writer, "safe_to_execute", plan->safe_to_execute);
    dp_json_member_slice(&writer, "backend", dp_backend_text(request->backend));
    dp_json_member_slice(&writer, "pipeline_name", request->pipeline_name);
    dp_json_member_slice(&writer, "source_schema", request->source_schema);
    dp_json_member_slice(&writer, "source_table", request->source_table);
#define WRITE_OFFSET(name, field)                                                                            \
    dp_json_key(&writer, #field);                                                                            \
    dp_offset_write_json(&writer, request->field);
    DP_REPLAY_FIELD_LIST(WRITE_OFFSET)
#undef WRITE_OFFSET
    dp_json_key(&writer, "artifact_uri");
    if (request->artifact_uri.length == 0) {
        dp_json_null(&writer);
    } else {
        dp_json_string(&writer, request->artifact_uri);
    }
    dp_json_member_bool(&writer, "allow_rewind", request->allow_rewind);
    write_steps(&writer);
    write_findings(&writer, plan);
    dp_json_end_object(&writer);
    dp_buffer_append_byte(out, '\n');
}

void dp_gate_result_write_json(const dp_gate_result *result, dp_buffer *out)
{
    dp_json_writer writer = dp_json_writer_pretty(out);
    dp_json_begin_object(&writer);
    dp_json_member_bool(&writer, "can_commit", result->can_commit);
    dp_json_key(&writer, "next_offset");
    dp_offset_write_json(&writer, result->next_offset);
    dp_json_key(&writer, "blockers");
    dp_json_begin_array(&writer);
    for (size_t i = 0; i < DP_GATE_BLOCKER_COUNT; i++) {
        if (result->blockers[i]) dp_json_text(&writer, dp_gate_blocker_text((dp_gate_blocker)i));
    }
    dp_json_end_array(&writer);
    dp_json_end_object(&writer);
    dp_buffer_append_byte(out, '\n');
}

static size_t longest_run(dp_slice text, char byte)
{
    size_t longest = 0;
    size_t run = 0;
    for (size_t i = 0; i < text.length; i++) {
        run = text.data[i] == byte ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    return longest;
}

static void append_repeated(dp_buffer *out, char byte, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dp_buffer_append_byte(out, byte);
    }
}

/* A code span fenced by more backticks than the text holds in a row (CommonMark 6.1). Line breaks and other
 * control characters become blanks, and '|' is escaped because spans stand in tables (GFM 4.10). */
static void append_code(dp_buffer *out, dp_slice text)
{
    size_t fence = longest_run(text, '`') + 1;
    bool padded = fence > 1 || text.length == 0;
    append_repeated(out, '`', fence);
    if (padded) dp_buffer_append_byte(out, ' ');
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte == '|') dp_buffer_append_byte(out, '\\');
        dp_buffer_append_byte(out, byte < 0x20 || byte == 0x7F ? ' ' : text.data[i]);
    }
    if (padded) dp_buffer_append_byte(out, ' ');
    append_repeated(out, '`', fence);
}

static void append_row(dp_buffer *out, const char *label, dp_slice text)
{
    dp_buffer_append_format(out, "| %s | ", label);
    append_code(out, text);
    dp_buffer_append_text(out, " |\n");
}

static void append_offset_row(dp_buffer *out, const dp_replay_request *request, const char *label,
                              const dp_offset *offset)
{
    dp_buffer_append_format(out, "| %s | ", label);
    if (offset == NULL) {
        dp_buffer_append_text(out, "not given |\n");
        return;
    }
    dp_slice backend = dp_backend_text(offset->backend);
    dp_buffer_append_format(out, "`%s`", offset->token);
    if (offset->backend != request->backend)
        dp_buffer_append_format(out, " of %.*s", DP_SLICE_PRINT(backend));
    dp_buffer_append_text(out, " |\n");
}

static void append_request(dp_buffer *out, const dp_replay_request *request)
{
    dp_buffer_append_text(out, "| | |\n|---|---|\n");
    append_row(out, "backend", dp_backend_text(request->backend));
    append_row(out, "pipeline_name", request->pipeline_name);
    append_row(out, "source_schema", request->source_schema);
    append_row(out, "source_table", request->source_table);
#define APPEND_OFFSET(name, field) append_offset_row(out, request, #field, request->field);
    DP_REPLAY_FIELD_LIST(APPEND_OFFSET)
#undef APPEND_OFFSET
    if (request->artifact_uri.length == 0) {
        dp_buffer_append_text(out, "| artifact_uri | not given |\n");
    } else {
        append_row(out, "artifact_uri", request->artifact_uri);
    }
    dp_buffer_append_format(out, "| allow_rewind | %s |\n", request->allow_rewind ? "yes" : "no");
}

static void append_findings(dp_buffer *out, const dp_replay_plan *plan)
{
    dp_buffer_append_text(out, "\n## Blockers\n\n");
    if (plan->safe_to_execute) dp_buffer_append_text(out, "None.\n");
    for (size_t i = 0; i < DP_REPLAY_BLOCKER_COUNT; i++) {
        dp_replay_blocker blocker = (dp_replay_blocker)i;
        if (!plan->blockers[i]) continue;
        dp_buffer_append_format(out, "- `%s`: %s\n", dp_replay_blocker_text(blocker),
                                dp_replay_blocker_description(blocker));
    }
    dp_buffer_append_text(out, "\n## Warnings\n\n");
    bool any = false;
    for (size_t i = 0; i < DP_REPLAY_WARNING_COUNT; i++) {
        dp_replay_warning warning = (dp_replay_warning)i;
        if (!plan->warnings[i]) continue;
        any = true;
        dp_buffer_append_format(out, "- `%s`: %s\n", dp_replay_warning_text(warning),
                                dp_replay_warning_description(warning));
    }
    if (!any) dp_buffer_append_text(out, "None.\n");
}

void dp_replay_plan_write_markdown(const dp_replay_plan *plan, dp_buffer *out)
{
    dp_buffer_append_text(out, "# Replay plan\n\n");
    dp_buffer_append_text(out, plan->safe_to_execute ? "**Safe to execute.**\n\n" : "**Blocked.**\n\n");
    append_request(out, &plan->request);
    append_findings(out, plan);
    dp_buffer_append_text(out, "\n## Steps\n\n");
    for (size_t i = 0; i < DP_REPLAY_STEP_COUNT; i++) {
        dp_replay_step step = (dp_replay_step)i;
        dp_buffer_append_format(out, "%zu. `%s`%s: %s\n", i + 1, dp_replay_step_text(step),
                                dp_replay_step_required(step) ? "" : " (optional)",
                                dp_replay_step_description(step));
    }
}
