/* dpone state prune: retention. */

#include "base/clock.h"
#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "cli/state_options.h"
#include "services/prune.h"

static const dp_option options[] = {
    DP_STATE_OPTION,
    DP_OPTION_PIPELINE,
    DP_OPTION_SOURCE_ID,
    DP_OPTION_BACKEND,
    {.name = "to", .argument = "TOKEN", .help = "delete what ends at or below this position"},
    {.name = "older-than-hours", .argument = "HOURS", .help = "delete what was stored longer ago"},
    {.name = "keep-events",
     .argument = "COUNT",
     .help = "keep only the newest events, in whole transactions"},
    {.name = "keep-bytes",
     .argument = "BYTES",
     .help = "keep about so many bytes of newest events, by their mean size"},
    {.name = "step-events",
     .argument = "COUNT",
     .help = "delete about so many events in one transaction",
     .default_text = "5000"},
    {.name = "pause-ms",
     .argument = "MS",
     .help = "wait between two steps, so that writers get in",
     .default_text = "20"},
    {.name = "dry-run", .help = "count what would be deleted, and change nothing"},
    DP_OPTION_WHO,
    {.name = "why", .argument = "TEXT", .help = "why, for the audit"},
    {.name = NULL},
};

static void show_progress(void *context, uint64_t events)
{
    dp_progress_line_show(context, "%llu events deleted", (unsigned long long)events);
}

static void put_token(dp_json_writer *json, const char *key, bool has, const dp_offset *offset)
{
    dp_json_key(json, key);
    dp_json_text(json, has ? offset->token : NULL);
}

static dp_status print_summary(const dp_prune_options *prune, const dp_prune_summary *summary,
                               dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 16);
    dp_json_writer json = dp_json_writer_compact(&out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "pipeline");
    dp_json_string(&json, prune->stream.pipeline);
    put_token(&json, "to", summary->has_to, &summary->to);
    dp_json_key(&json, "transactions");
    dp_json_u64(&json, summary->transactions);
    dp_json_key(&json, "events");
    dp_json_u64(&json, summary->events);
    put_token(&json, "limited_by_offset", summary->is_limited, &summary->limit);
    dp_json_key(&json, "dry_run");
    dp_json_bool(&json, prune->dry_run);
    dp_json_key(&json, "interrupted");
    dp_json_bool(&json, summary->is_stopped);
    dp_json_end_object(&json);
    dp_buffer_append_byte(&out, '\n');
    return dp_print_and_release(&out, error);
}

static dp_status read_number(const dp_invocation *invocation, const char *option, uint64_t maximum, bool *has,
                             uint64_t *value, dp_error *error)
{
    *has = dp_invocation_text(invocation, option) != NULL;
    return *has ? dp_invocation_u64(invocation, option, 0, maximum, value, error) : DP_STATUS_OK;
}

static dp_status read_options(const dp_invocation *invocation, dp_prune_options *prune, dp_error *error)
{
    bool has_hours = false;
    uint64_t hours = 0, pause_ms = 0;
    prune->to = dp_slice_of_text(dp_invocation_text(invocation, "to"));
    dp_status status = read_number(invocation, "older-than-hours", 10000000, &has_hours, &hours, error);
    if (status == DP_STATUS_OK)
        status = read_number(invocation, "keep-events", UINT64_MAX, &prune->has_keep_events,
                             &prune->keep_events, error);
    if (status == DP_STATUS_OK)
        status = read_number(invocation, "keep-bytes", UINT64_MAX, &prune->has_keep_bytes, &prune->keep_bytes,
                             error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "step-events", 1, 1000000, &prune->step_events, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "pause-ms", 0, 600000, &pause_ms, error);
    if (status != DP_STATUS_OK) return status;
    prune->pause_ms = (unsigned)pause_ms;
    if (has_hours) prune->older_than_us = dp_clock_wall_us() - (int64_t)hours * 3600000000;
    if (prune->to.length == 0 && !has_hours && !prune->has_keep_events && !prune->has_keep_bytes) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "nothing says what to delete; expected --to, --older-than-hours, --keep-events "
                            "or --keep-bytes");
    }
    return DP_STATUS_OK;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    char who[64];
    dp_progress_line line = dp_progress_line_of_stderr();
    dp_prune_options prune = {
        .state_dsn = dp_invocation_text(invocation, "state"),
        .stream = dp_journal_stream_choice(invocation),
        .dry_run = dp_invocation_switch(invocation, "dry-run"),
        .who = dp_journal_who(invocation, who),
        .why = dp_invocation_text(invocation, "why"),
        .stop = dp_stop_on_signals(),
        .progress = show_progress,
        .context = &line,
    };
    (void)exit_code;
    dp_prune_summary summary;
    dp_status status = read_options(invocation, &prune, error);
    if (status == DP_STATUS_OK) status = dp_prune(&prune, &summary, error);
    dp_progress_line_end(&line);
    return status == DP_STATUS_OK ? print_summary(&prune, &summary, error) : status;
}

const dp_command dp_command_state_prune = {
    .path = "state prune",
    .summary = "delete old events from the journal, never what a stored offset has not passed",
    .arguments = "",
    .description =
        "Deletes whole transactions from the start of a stream: up to a position, older than an age, or more "
        "than a size; where several are given, the one that deletes most decides. Nothing above the lowest "
        "offset stored for the pipeline or one of its consumers is deleted: --to beyond it is refused, age "
        "and size stop there and say so.\n\n"
        "Works in small transactions, so a server may go on writing, and may be stopped at any time. What "
        "was deleted becomes the planner's retention minimum. The space is used again by new events; the "
        "file of a SQLite state does not shrink.",
    .examples = "  dpone state prune --state sqlite:dpone.db --pipeline orders --older-than-hours 720\n"
                "  dpone state prune --state sqlite:dpone.db --pipeline orders --to 0/16B6D28 --dry-run\n",
    .options = options,
    .exit_codes = "0 done, 1 refused: no stored offset has passed it",
    .run = run,
};
