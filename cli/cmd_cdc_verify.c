/* dpone cdc verify: an artifact against its manifest and a journal. */
#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "services/export.h"

static const dp_option options[] = {
    {.name = "artifact",
     .argument = "PATH",
     .help = "the artifact, as a path or file: URI",
     .required = true},
    {.name = "pipeline",
     .argument = "NAME",
     .help = "the pipeline it must be of [default: whatever the manifest says]"},
    {.name = "journal", .help = "compare with the journal too"},
    DP_OPTION_JOURNAL_SERVER,
    DP_OPTION_STATE,
    DP_OPTION_JOURNAL_TOKEN_FILE,
    {.name = NULL},
};

static void put_finding(dp_json_writer *json, const dp_artifact_finding *finding)
{
    dp_json_begin_object(json);
    dp_json_key(json, "code");
    dp_json_text(json, dp_artifact_finding_text(finding->kind));
    dp_json_key(json, "file");
    dp_json_text(json, finding->file_name[0] == '\0' ? NULL : finding->file_name);
    dp_json_key(json, "line");
    if (finding->line_number > 0) {
        dp_json_u64(json, finding->line_number);
    } else {
        dp_json_null(json);
    }
    dp_json_key(json, "detail");
    dp_json_text(json, finding->detail);
    dp_json_end_object(json);
}

static dp_status print_result(const char *path, const dp_artifact_verification *result, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_json_writer json = dp_json_writer_pretty(&out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "artifact");
    dp_json_text(&json, path);
    dp_json_key(&json, "verified");
    dp_json_bool(&json, result->finding_count == 0);
    dp_json_key(&json, "transactions");
    dp_json_u64(&json, result->totals.transaction_count);
    dp_json_key(&json, "events");
    dp_json_u64(&json, result->totals.event_count);
    dp_json_key(&json, "finding_count");
    dp_json_u64(&json, result->finding_count);
    dp_json_key(&json, "findings");
    dp_json_begin_array(&json);
    for (uint64_t i = 0; i < result->finding_count && i < 20; i++) {
        put_finding(&json, &result->first[i]);
    }
    dp_json_end_array(&json);
    dp_json_end_object(&json);
    dp_buffer_append_byte(&out, '\n');
    return dp_print_and_release(&out, error);
}

static dp_status compare_with_journal(const dp_invocation *invocation, const dp_artifact_manifest *manifest,
                                      dp_artifact_verification *result, dp_error *error)
{
    dp_journal_link *link = NULL;
    dp_stream_facts stream;
    dp_stream_choice choice = {manifest->stream.pipeline, manifest->stream.source,
                               dp_backend_text(manifest->stream.backend)};
    dp_status status = dp_journal_of_options(invocation, false, &link, error);
    if (status == DP_STATUS_OK) status = dp_journal_link_facts(link, &choice, &stream, error);
    if (status == DP_STATUS_OK) {
        status = dp_export_compare(link, &stream, dp_invocation_text(invocation, "artifact"), result, error);
        dp_stream_facts_release(&stream);
    }
    dp_journal_link_close(link);
    return status;
}

static dp_status verify(const dp_invocation *invocation, const dp_artifact *artifact,
                        dp_artifact_verification *result, dp_error *error)
{
    const dp_artifact_manifest *manifest = dp_artifact_manifest_of(artifact);
    const char *pipeline = dp_invocation_text(invocation, "pipeline");
    dp_status status = dp_artifact_verify(artifact, result, error);
    if (status != DP_STATUS_OK) return status;
    if (pipeline != NULL && !dp_slice_equal_text(manifest->stream.pipeline, pipeline)) {
        dp_artifact_verification_add(result, DP_ARTIFACT_FINDING_OTHER_ARTIFACT, "manifest.json", 0,
                                     "the artifact is of pipeline '%.*s', not '%s'",
                                     DP_SLICE_PRINT(manifest->stream.pipeline), pipeline);
    }
    bool asks_journal =
        dp_invocation_switch(invocation, "journal") || dp_invocation_given(invocation, "state");
    return asks_journal && result->finding_count == 0
               ? compare_with_journal(invocation, manifest, result, error)
               : DP_STATUS_OK;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    const char *path = dp_invocation_text(invocation, "artifact");
    dp_artifact *artifact = NULL;
    dp_artifact_verification result;
    dp_status status = dp_artifact_open(path, &artifact, error);
    if (status == DP_STATUS_OK) status = verify(invocation, artifact, &result, error);
    if (status == DP_STATUS_OK) status = print_result(path, &result, error);
    if (status == DP_STATUS_OK && result.finding_count > 0) *exit_code = dp_status_exit_code(DP_STATUS_DATA);
    dp_artifact_close(artifact);
    return status;
}

const dp_command dp_command_cdc_verify = {
    .path = "cdc verify",
    .summary = "compare an artifact with its manifest and with the journal",
    .arguments = "",
    .description =
        "Reads every byte of the artifact and compares digests, counts, order and event ids with the "
        "manifest. What is not as it was written is named with file and line: a line that was changed, is "
        "missing, is there twice, or stands at another place; a file that was cut or belongs to another "
        "pipeline's manifest.\n\n"
        "With --journal, or --state, it is compared with the same window of the journal as well, line by "
        "line. Prints one JSON object; at most twenty findings are listed, all are counted.",
    .examples = "  dpone cdc verify --artifact orders-2026-11-20\n"
                "  dpone cdc verify --artifact file:/var/lib/dpone/orders --state sqlite:dpone.db\n",
    .options = options,
    .exit_codes = "0 verified, 1 the journal does not hold the window any more, 2 usage, 3 I/O or remote "
                  "failure, 4 something was found",
    .run = run,
};
