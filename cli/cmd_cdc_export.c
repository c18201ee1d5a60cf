/* dpone cdc export: a window of a journal -> an artifact. */
#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "services/export.h"

static const dp_option options[] = {
    DP_OPTION_PIPELINE,
    DP_OPTION_JOURNAL_SERVER,
    DP_OPTION_STATE,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    DP_OPTION_SOURCE_ID,
    DP_OPTION_BACKEND,
    {.name = "output", .argument = "PATH", .help = "the artifact to write; must not exist", .required = true},
    {.name = "from",
     .argument = "TOKEN",
     .help = "start of the window, exclusive [default: where the journal begins]"},
    {.name = "to",
     .argument = "TOKEN",
     .help = "end of the window, inclusive [default: the journal's high watermark]"},
    {.name = "compression",
     .argument = "NAME",
     .help = "how the files are compressed",
     .choices = "none|zstd",
     .default_text = "none"},
    {.name = "compression-level", .argument = "LEVEL", .help = "zstd's, 1 to 19", .default_text = "3"},
    {.name = "file-bytes",
     .argument = "BYTES",
     .help = "begin another file after the transaction that reaches this size",
     .default_text = "268435456"},
    {.name = NULL},
};

static void show_progress(void *context, uint64_t events)
{
    dp_progress_line_show(context, "%llu lines exported", (unsigned long long)events);
}

static dp_status print_summary(const char *path, const dp_export_summary *summary, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 16);
    dp_json_writer json = dp_json_writer_compact(&out);
    dp_json_begin_object(&json);
    dp_json_member_text(&json, "artifact", path);
    dp_json_member_text(&json, "from", summary->has_from ? summary->from.token : NULL);
    dp_json_member_text(&json, "to", summary->to.token);
    dp_json_member_u64(&json, "transactions", summary->totals.transaction_count);
    dp_json_member_u64(&json, "events", summary->totals.event_count);
    dp_json_end_object(&json);
    dp_buffer_append_byte(&out, '\n');
    return dp_print_and_release(&out, error);
}

static dp_status export_window(const dp_invocation *invocation, dp_journal_link *link,
                               const dp_stream_facts *stream, dp_error *error)
{
    dp_offset from, to;
    uint64_t level = 0, file_bytes = 0;
    dp_progress_line line = dp_progress_line_of_stderr();
    dp_export_options export = {.path = dp_invocation_text(invocation, "output"),
                                .progress = show_progress,
                                .progress_context = &line};
    dp_status status = dp_journal_offset(invocation, "from", stream->backend, &from, &export.from, error);
    if (status == DP_STATUS_OK)
        status = dp_journal_offset(invocation, "to", stream->backend, &to, &export.to, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "compression-level", 1, 19, &level, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "file-bytes", 1, UINT64_MAX, &file_bytes, error);
    if (status != DP_STATUS_OK) return status;
    bool compresses = strcmp(dp_invocation_text(invocation, "compression"), "zstd") == 0;
    export.zstd_level = compresses ? (int)level : 0;
    export.file_bytes = file_bytes;
    dp_export_summary summary;
    status = dp_export(link, stream, &export, &summary, error);
    dp_progress_line_end(&line);
    return status == DP_STATUS_OK ? print_summary(export.path, &summary, error) : status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_journal_link *link = NULL;
    dp_stream_facts stream;
    dp_stream_choice choice = dp_journal_stream_choice(invocation);
    dp_status status = dp_journal_of_options(invocation, false, &link, error);
    if (status == DP_STATUS_OK) status = dp_journal_link_facts(link, &choice, &stream, error);
    if (status == DP_STATUS_OK) {
        status = export_window(invocation, link, &stream, error);
        dp_stream_facts_release(&stream);
    }
    dp_journal_link_close(link);
    return status;
}

const dp_command dp_command_cdc_export = {
    .path = "cdc export",
    .summary = "write a window of the journal as an artifact with a manifest",
    .arguments = "",
    .description =
        "An artifact is a folder: event and commit lines as batches carry them, an index of the lines, and "
        "manifest.json with counts, positions and SHA-256 digests. It is complete in itself and can be "
        "verified and replayed on another machine.\n\n"
        "It is written as PATH.partial, made durable and renamed at the end: PATH holds a whole artifact or "
        "nothing. What a killed export has left is cleared away by the next one to the same PATH. A window "
        "that the journal does not hold, because retention has deleted its start or its end has not come "
        "yet, is refused.",
    .examples =
        "  dpone cdc export --pipeline orders --output orders-2026-11-20\n"
        "  dpone cdc export --pipeline orders --state sqlite:dpone.db --from 0/16B6B00 --to 0/16B6D28 \\\n"
        "      --compression zstd --output /var/lib/dpone/orders\n",
    .options = options,
    .exit_codes = "0 exported, 1 the journal does not hold the window, 2 usage, 3 I/O or remote failure",
    .run = run,
};
