/* dpone cdc verify: an artifact against its manifest, a journal, and a slot. */
#include <jansson.h>

#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "cli/live_source.h"
#include "cli/stream_options.h"
#include "services/export.h"
#include "services/source_compare.h"

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
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    {.name = "source",
     .argument = "DSN",
     .help = "compare with what a slot of this server still holds, too: postgresql://..."},
    DP_OPTION_SLOT,
    {.name = "publication",
     .argument = "NAME",
     .help = "the publication that a pgoutput slot reads [default: what the manifest says]",
     .environment = "DPONE_PUBLICATION"},
    DP_OPTION_PLUGIN,
    {.name = "unique-key",
     .argument = "SCHEMA.TABLE=COLUMN[,COLUMN]",
     .help = "a key that event ids were made with [default: what the manifest says]",
     .repeatable = true},
    DP_OPTION_TRUST_NULLS,
    {.name = "source-id",
     .argument = "TEXT",
     .help = "the source's name in the journal, where `cdc run` was given one"},
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

/* What a comparison with a slot found out. */
typedef struct slot_result {
    bool is_asked;
    dp_lsn begin;
    dp_source_compare_summary summary;
} slot_result;

static void put_slot(dp_json_writer *json, const slot_result *slot)
{
    char begin[DP_LSN_TEXT_BYTES];
    if (!slot->is_asked) return;
    dp_lsn_format(slot->begin, begin);
    dp_json_key(json, "source");
    dp_json_begin_object(json);
    dp_json_key(json, "begins_after");
    dp_json_text(json, begin);
    dp_json_key(json, "compared_transactions");
    dp_json_u64(json, slot->summary.compared_transactions);
    dp_json_key(json, "compared_events");
    dp_json_u64(json, slot->summary.compared_events);
    dp_json_key(json, "gone_transactions");
    dp_json_u64(json, slot->summary.gone_transactions);
    dp_json_key(json, "gone_events");
    dp_json_u64(json, slot->summary.gone_events);
    dp_json_end_object(json);
}

static dp_status print_result(const char *path, const dp_artifact_verification *result,
                              const slot_result *slot, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_json_writer json = dp_json_writer_pretty(&out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "artifact");
    dp_json_text(&json, path);
    dp_json_key(&json, "verified");
    dp_json_bool(&json, result->finding_count == 0 && slot->summary.gone_transactions == 0);
    dp_json_key(&json, "transactions");
    dp_json_u64(&json, result->totals.transaction_count);
    dp_json_key(&json, "events");
    dp_json_u64(&json, result->totals.event_count);
    put_slot(&json, slot);
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

/* --- a slot --- */

/* The publication that the stream was written from, for a command line that names none. */
static dp_status stored_publication(const dp_artifact_manifest *manifest, dp_buffer *name, dp_error *error)
{
    dp_slice text = manifest->stream.settings;
    json_t *settings = text.length == 0 ? NULL : json_loadb(text.data, text.length, 0, NULL);
    const char *stored = json_string_value(json_object_get(settings, "publication"));
    dp_buffer_append_text(name, stored == NULL ? "" : stored);
    json_decref(settings);
    return dp_buffer_text(name) == NULL ? dp_error_no_memory(error, "a publication") : DP_STATUS_OK;
}

static dp_status check_source(const dp_invocation *invocation, const dp_artifact_manifest *manifest,
                              const dp_postgres_source_identity *identity, dp_error *error)
{
    const char *given = dp_invocation_text(invocation, "source-id");
    dp_slice name = dp_slice_of_text(given == NULL ? identity->source : given);
    if (dp_slice_equal(name, manifest->stream.source)) return DP_STATUS_OK;
    dp_error_set_code(error, DP_STATUS_BLOCKED, "source.other_source",
                      "the artifact is of source '%.*s', the slot of '%.*s'",
                      DP_SLICE_PRINT(manifest->stream.source), DP_SLICE_PRINT(name));
    dp_error_hint(error, "where 'cdc run' was given a --source-id, give the same here");
    return DP_STATUS_BLOCKED;
}

static dp_status compare_with_source(const dp_invocation *invocation, const dp_artifact_manifest *manifest,
                                     const dp_change_source *source,
                                     const dp_postgres_source_identity *identity,
                                     dp_artifact_verification *result, slot_result *slot, dp_error *error)
{
    dp_unique_keys *keys = NULL;
    dp_status status = check_source(invocation, manifest, identity, error);
    if (status == DP_STATUS_OK) status = dp_stream_unique_keys(invocation, &keys, error);
    if (status == DP_STATUS_OK &&
        (!dp_invocation_given(invocation, "unique-key") || dp_stream_asks_for_keys(invocation)))
        status = dp_source_compare_keys(manifest, keys, error);
    const dp_source_compare_options compare = {
        .artifact_path = dp_invocation_text(invocation, "artifact"),
        .source = source,
        .begin = identity->begin,
        .plugin = identity->plugin,
        .keys = keys,
        .trust_nulls = dp_invocation_switch(invocation, "trust-nulls"),
    };
    if (status == DP_STATUS_OK) status = dp_source_compare(&compare, result, &slot->summary, error);
    slot->is_asked = status == DP_STATUS_OK;
    slot->begin = identity->begin;
    dp_unique_keys_free(keys);
    return status;
}

static dp_status compare_with_slot(const dp_invocation *invocation, const dp_artifact_manifest *manifest,
                                   dp_artifact_verification *result, slot_result *slot, dp_error *error)
{
    dp_buffer publication = DP_BUFFER_INIT(1 << 16);
    dp_change_source source = {.self = NULL};
    dp_postgres_source_identity identity = {.settings = DP_BUFFER_INIT(1)};
    dp_postgres_source_options live = {
        .dsn = dp_invocation_text(invocation, "source"),
        .slot = dp_invocation_text(invocation, "slot"),
        .publication = dp_invocation_text(invocation, "publication"),
        .until_end = true,
        .on_copy = true,
    };
    live.has_plugin = dp_stream_plugin(invocation, &live.plugin);
    dp_status status = dp_live_source_require(invocation, error);
    if (status == DP_STATUS_OK && live.slot == NULL)
        status = dp_error_set(error, DP_STATUS_USAGE, "--source needs --slot");
    if (status == DP_STATUS_OK && live.publication == NULL) {
        status = stored_publication(manifest, &publication, error);
        live.publication = publication.data;
    }
    if (status == DP_STATUS_OK) status = dp_postgres_sql_open(&live, &identity, &source, error);
    if (status == DP_STATUS_OK)
        status = compare_with_source(invocation, manifest, &source, &identity, result, slot, error);
    if (source.close != NULL) source.close(source.self);
    dp_buffer_release(&identity.settings);
    dp_buffer_release(&publication);
    return status;
}

/* --- the command --- */

static dp_status verify(const dp_invocation *invocation, const dp_artifact *artifact,
                        dp_artifact_verification *result, slot_result *slot, dp_error *error)
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
    bool asks_journal = dp_invocation_switch(invocation, "journal") ||
                        dp_invocation_given(invocation, "state") || dp_invocation_given(invocation, "server");
    if (asks_journal && result->finding_count == 0)
        status = compare_with_journal(invocation, manifest, result, error);
    bool asks_slot = dp_invocation_text(invocation, "source") != NULL;
    if (status == DP_STATUS_OK && asks_slot && result->finding_count == 0)
        status = compare_with_slot(invocation, manifest, result, slot, error);
    return status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    const char *path = dp_invocation_text(invocation, "artifact");
    dp_artifact *artifact = NULL;
    dp_artifact_verification result;
    slot_result slot = {.is_asked = false};
    dp_status status = dp_artifact_open(path, &artifact, error);
    if (status == DP_STATUS_OK) status = verify(invocation, artifact, &result, &slot, error);
    if (status == DP_STATUS_OK) status = print_result(path, &result, &slot, error);
    if (status == DP_STATUS_OK && result.finding_count > 0) {
        *exit_code = dp_status_exit_code(DP_STATUS_DATA);
    } else if (status == DP_STATUS_OK && slot.summary.gone_transactions > 0) {
        *exit_code = dp_status_exit_code(DP_STATUS_BLOCKED);
        fprintf(
            stderr,
            "dpone: %llu transactions of the artifact have left the slot's window and were not compared\n",
            (unsigned long long)slot.summary.gone_transactions);
    }
    dp_artifact_close(artifact);
    return status;
}

const dp_command dp_command_cdc_verify = {
    .path = "cdc verify",
    .summary = "compare an artifact with its manifest, the journal, and a slot",
    .arguments = "",
    .description =
        "Reads every byte of the artifact and compares digests, counts, order and event ids with the "
        "manifest. What is not as it was written is named with file and line: a line that was changed, is "
        "missing, is there twice, or stands at another place; a file that was cut or belongs to another "
        "pipeline's manifest.\n\n"
        "With --journal, --server or --state it is compared with the same window of the journal as well, "
        "line by "
        "line. With --source and --slot it is compared with what the slot still holds: a temporary copy of "
        "the "
        "slot is peeked at in steps, so the slot itself stays where it is, also while a pipeline reads it. "
        "An "
        "event that is missing, was never there, or has other content is named; what has left the slot's "
        "window is counted, and makes the exit code 1. Prints one JSON object; at most twenty findings are "
        "listed, all are counted.",
    .examples =
        "  dpone cdc verify --artifact orders-2026-11-20\n"
        "  dpone cdc verify --artifact file:/var/lib/dpone/orders --state sqlite:dpone.db\n"
        "  dpone cdc verify --artifact orders-2026-11-20 --source postgresql://db/shop --slot dpone\n",
    .options = options,
    .exit_codes =
        "0 verified, 1 the journal or the slot does not hold the window any more, 2 usage, 3 I/O or remote "
        "failure, 4 something was found",
    .run = run,
};
