/* dpone cdc decode: logical decoding output (file or pipe) to events. */
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/stream_options.h"
#include "services/decode.h"

static const dp_option options[] = {
    DP_OPTION_INPUT_FORMAT,
    DP_OPTION_PLUGIN,
    DP_OPTION_UNIQUE_KEY,
    DP_OPTION_IDENTITY,
    DP_OPTION_TRUST_NULLS,
    {.name = "format",
     .argument = "FORMAT",
     .help = "events: event and commit lines; rows: the data with _dpone_cdc_* members",
     .choices = "events|rows",
     .default_text = "events"},
    {.name = "typed",
     .help = "print float and numeric as numbers and JSON columns as JSON; ids stay the same"},
    {.name = "require-id", .help = "refuse changes that carry no position and so have no event id"},
    {.name = "on-poison",
     .argument = "stop|quarantine:FILE",
     .help = "what to do with a change whose key is missing: stop, or append it to FILE with the reason",
     .default_text = "stop"},
    {.name = "strict", .help = "exit with 4 when anything went into quarantine"},
    {.name = "max-record-bytes",
     .argument = "BYTES",
     .help = "refuse a record larger than this",
     .default_text = "1073741824"},
    {.name = NULL},
};

typedef struct progress_line {
    bool is_shown;
    int64_t shown_at_us;
} progress_line;

static void show_progress(void *context, const dp_decode_summary *summary)
{
    progress_line *line = context;
    int64_t now_us = dp_clock_monotonic_us();
    if (line->shown_at_us == 0) line->shown_at_us = now_us; /* quick work shows nothing */
    if (now_us - line->shown_at_us < 500000) return;
    line->shown_at_us = now_us;
    line->is_shown = true;
    fprintf(stderr, "\r%llu MiB", (unsigned long long)(summary->read_bytes >> 20));
    if (summary->size_bytes > 0) {
        fprintf(stderr, " of %llu (%.0f %%)", (unsigned long long)(summary->size_bytes >> 20),
                100.0 * (double)summary->read_bytes / (double)summary->size_bytes);
    }
    fprintf(stderr, ", %llu events ", (unsigned long long)summary->event_count);
}

static void warn(const dp_decode_options *decode, const dp_decode_summary *summary)
{
    bool is_raw =
        summary->form == DP_CAPTURE_FORM_RAW_TEST_DECODING || summary->form == DP_CAPTURE_FORM_RAW_WAL2JSON;
    if (!summary->is_recognised) fprintf(stderr, "dpone: the input is empty: no changes\n");
    if (summary->without_id_count > 0) {
        fprintf(stderr,
                "dpone: warning: %llu events have no id: this capture carries no positions; capture rows of "
                "lsn, xid, data "
                "with pg_logical_slot_peek_changes, or use --require-id to refuse it\n",
                (unsigned long long)summary->without_id_count);
    }
    if (summary->is_recognised && is_raw && strcmp(decode->source, "-") == 0) {
        fprintf(stderr, "dpone: warning: a pipe from pg_recvlogical can lose changes: it confirms them "
                        "before they are read here\n");
    }
    dp_stream_warn_of_nulls(summary->doubtful_null_count);
    if (summary->poison_count > 0) {
        fprintf(stderr, "dpone: %llu changes went into quarantine: %s\n",
                (unsigned long long)summary->poison_count, decode->quarantine_path);
    }
}

static dp_status read_on_poison(const dp_invocation *invocation, const char **quarantine_path,
                                dp_error *error)
{
    const char *text = dp_invocation_text(invocation, "on-poison");
    if (strcmp(text, "stop") == 0) return DP_STATUS_OK;
    if (strncmp(text, "quarantine:", 11) == 0 && text[11] != '\0') {
        *quarantine_path = text + 11;
        return DP_STATUS_OK;
    }
    return dp_error_set(error, DP_STATUS_USAGE, "--on-poison: '%.200s' is neither stop nor quarantine:FILE",
                        text);
}

static dp_status read_options(const dp_invocation *invocation, dp_decode_options *decode, dp_error *error)
{
    uint64_t max_record_bytes = 0;
    decode->source = invocation->argument_count == 1 ? invocation->arguments[0] : "-";
    decode->identity = dp_stream_identity(invocation);
    decode->capture = dp_stream_capture(invocation);
    decode->style = dp_invocation_switch(invocation, "typed") ? DP_ROW_TYPED : DP_ROW_EXACT;
    decode->format =
        strcmp(dp_invocation_text(invocation, "format"), "rows") == 0 ? DP_DECODE_ROWS : DP_DECODE_EVENTS;
    decode->trust_nulls = dp_invocation_switch(invocation, "trust-nulls");
    decode->require_id = dp_invocation_switch(invocation, "require-id");
    dp_status status =
        dp_invocation_u64(invocation, "max-record-bytes", 1024, (uint64_t)1 << 32, &max_record_bytes, error);
    decode->capture.max_record_bytes = (size_t)max_record_bytes;
    return status == DP_STATUS_OK ? read_on_poison(invocation, &decode->quarantine_path, error) : status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_decode_options decode = {.source = "-"};
    dp_decode_summary summary;
    progress_line line = {.is_shown = false};
    dp_unique_keys *keys = NULL;
    dp_status status = read_options(invocation, &decode, error);
    if (status == DP_STATUS_OK) status = dp_stream_unique_keys(invocation, &keys, error);
    if (status != DP_STATUS_OK) return status;
    decode.keys = keys;
    decode.progress_context = &line;
    if (isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 0) decode.progress = show_progress;
    status = dp_decode(&decode, &summary, error);
    if (line.is_shown) fputc('\n', stderr);
    if (status == DP_STATUS_OK) warn(&decode, &summary);
    if (status == DP_STATUS_OK && summary.poison_count > 0 && dp_invocation_switch(invocation, "strict")) {
        *exit_code = dp_status_exit_code(DP_STATUS_POISON);
    }
    dp_unique_keys_free(keys);
    return status;
}

const dp_command dp_command_cdc_decode = {
    .path = "cdc decode",
    .summary = "turn captured logical decoding output into events with deterministic ids; needs no database",
    .arguments = "[FILE]",
    .max_arguments = 1,
    .description =
        "Reads FILE, or standard input without one, and prints one JSON line a change and one a commit.\n\n"
        "Reads rows of lsn, xid, data as psql gives them from pg_logical_slot_peek_changes and "
        "pg_logical_slot_peek_binary_changes (CSV, COPY text, -At with any separator), and the raw streams "
        "of "
        "pg_recvlogical with test_decoding and wal2json. CSV and COPY text are always read exactly; -At text "
        "is refused "
        "where it is ambiguous. The form and the plugin are recognised. A raw pgoutput stream has no framing "
        "and is refused.\n\n"
        "Memory does not grow with the input. A malformed line ends it with exit code 4; what stands before "
        "it is printed.",
    .examples =
        "  psql --csv -c \"SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL,\n"
        "      'proto_version', '1', 'publication_names', 'p')\" shop | dpone cdc decode\n"
        "  dpone cdc decode capture.csv --unique-key public.orders=id\n"
        "  dpone cdc decode capture.csv --format rows --typed | jq .\n"
        "  dpone cdc decode capture.csv --unique-key public.orders=id --on-poison quarantine:poison.ndjson "
        "--strict\n",
    .options = options,
    .exit_codes = "0 done, 2 usage, 3 input or output failed, 4 malformed input or poison (with --strict "
                  "also quarantined poison)",
    .run = run,
};
