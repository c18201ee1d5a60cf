/* dpone cdc replay: plan from live facts, then the plan's steps. */

#include "cli/commands.h"
#include "cli/journal_options.h"
#include "replay/plan_render.h"
#include "services/http_sink.h"
#include "services/replay.h"

static const dp_option options[] = {
    DP_OPTION_PIPELINE,
    DP_OPTION_JOURNAL_SERVER,
    DP_OPTION_STATE,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    DP_OPTION_SOURCE_ID,
    DP_OPTION_BACKEND,
    {.name = "artifact-uri",
     .argument = "URI",
     .help = "read this artifact (a path or file: URI) instead of a journal"},
    {.name = "endpoint",
     .argument = "URL",
     .help = "where to deliver: anything that answers batches with receipts",
     .required = true},
    DP_OPTION_ENDPOINT_TOKEN_FILE,
    {.name = "replay-from",
     .argument = "TOKEN",
     .help = "start of the window, exclusive: the end of what stays as it is",
     .required = true},
    {.name = "replay-to",
     .argument = "TOKEN",
     .help = "end of the window, inclusive [default: all that the journal or artifact holds]"},
    {.name = "schema", .argument = "SCHEMA", .help = "schema named in the plan", .default_text = "*"},
    {.name = "table", .argument = "TABLE", .help = "table named in the plan", .default_text = "*"},
    {.name = "allow-rewind", .help = "accept a start that is behind the stored offset"},
    {.name = "dry-run", .help = "print the plan and what it would send, and change nothing"},
    {.name = "rate",
     .argument = "EVENTS",
     .help = "send at most so many events a second; 0: no limit",
     .default_text = "0"},
    DP_OPTION_BATCH_EVENTS,
    DP_OPTION_BATCH_BYTES,
    {.name = "attempts",
     .argument = "COUNT",
     .help = "deliveries of one batch before giving up; each retries by itself too",
     .default_text = "10"},
    {.name = "pause-check-ms",
     .argument = "MS",
     .help = "how long the stored offset must stand still",
     .default_text = "1000"},
    {.name = "record",
     .argument = "FILE",
     .help = "where replays are put on record, and resumed from",
     .default_text = "dpone-replay.jsonl"},
    {.name = "who", .argument = "NAME", .help = "who does this, for the record [default: the user]"},
    {.name = "why", .argument = "TEXT", .help = "why, for the record"},
    DP_OPTION_PLAN_FORMAT,
    {.name = NULL},
};

/* --- telling --- */

static void show_step(void *context, dp_replay_step step, const char *detail)
{
    dp_progress_line_end(context);
    if (detail == NULL) return;
    fprintf(stderr, "%d/%d %s: %s\n", (int)step + 1, DP_REPLAY_STEP_COUNT, dp_replay_step_text(step), detail);
}

static void show_progress(void *context, const dp_replay_counts *counts, const dp_offset *position)
{
    dp_progress_line_show(context, "%llu events in %llu batches, %llu duplicates, up to %s",
                          (unsigned long long)counts->events, (unsigned long long)counts->batches,
                          (unsigned long long)counts->duplicates, position->token);
}

static void show_trouble(void *context, const dp_error *trouble)
{
    dp_progress_line_end(context);
    fprintf(stderr, "dpone: trying again: %s\n", trouble->message);
}

static dp_status print_plan(const dp_invocation *invocation, const dp_replay_plan *plan, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(16u << 20);
    if (dp_wants_json(invocation)) {
        dp_replay_plan_write_json(plan, &out);
    } else {
        dp_replay_plan_write_markdown(plan, &out);
    }
    return dp_print_and_release(&out, error);
}

static dp_status print_counts(const dp_replay_counts *counts, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_json_writer json = dp_json_writer_compact(&out);
    dp_json_begin_object(&json);
    dp_json_member_bool(&json, "dry_run", true);
    dp_json_member_u64(&json, "transactions", counts->transactions);
    dp_json_member_u64(&json, "events", counts->events);
    dp_json_end_object(&json);
    dp_buffer_append_byte(&out, '\n');
    return dp_print_and_release(&out, error);
}

static dp_status print_summary(const dp_replay_options *replay, const dp_replay_job *job,
                               const dp_replay_summary *summary, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 16);
    dp_json_writer json = dp_json_writer_compact(&out);
    dp_json_begin_object(&json);
    dp_json_member_text(&json, "replay_id", summary->replay_id);
    dp_json_member_text(&json, "outcome", "done");
    dp_json_member_bool(&json, "resumed", summary->is_resumed);
    dp_json_member_text(&json, "replay_from", replay->from.token);
    dp_json_member_text(&json, "replay_to", job->to.token);
    dp_json_member_u64(&json, "transactions", summary->counts.transactions);
    dp_json_member_u64(&json, "events", summary->counts.events);
    dp_json_member_u64(&json, "accepted", summary->counts.accepted);
    dp_json_member_u64(&json, "duplicates", summary->counts.duplicates);
    dp_json_member_u64(&json, "batches", summary->counts.batches);
    dp_json_end_object(&json);
    dp_buffer_append_byte(&out, '\n');
    return dp_print_and_release(&out, error);
}

/* --- opening --- */

typedef struct replay_resources {
    dp_buffer token;
    dp_buffer endpoint_name;
    dp_stream_facts stream;
    dp_batch_sink sink;
    dp_offset to;
    char who[64];
} replay_resources;

static dp_status read_numbers(const dp_invocation *invocation, dp_replay_options *replay, dp_error *error)
{
    uint64_t attempts = 0, pause_check_ms = 0;
    dp_status status = dp_invocation_u64(invocation, "rate", 0, 1000000000, &replay->rate, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "batch-events", 1, 1000000, &replay->batch_events, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "batch-bytes", 1024, 1 << 30, &replay->batch_bytes, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "attempts", 1, 1000000, &attempts, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "pause-check-ms", 0, 600000, &pause_check_ms, error);
    replay->attempts = (unsigned)attempts;
    replay->pause_check_ms = (unsigned)pause_check_ms;
    return status;
}

/* The URL without what may be a password. */
static dp_status name_endpoint(const char *url, dp_buffer *name, dp_error *error)
{
    const char *scheme_end = strstr(url, "://");
    const char *at = strrchr(url, '@');
    if (scheme_end != NULL && at != NULL) {
        dp_buffer_append(name, url, (size_t)(scheme_end - url) + 3);
        url = at + 1;
    }
    dp_buffer_append_text(name, url);
    return dp_buffer_text(name) == NULL ? dp_error_no_memory(error, "the endpoint") : DP_STATUS_OK;
}

static dp_status open_endpoint(const dp_invocation *invocation, replay_resources *resources,
                               dp_replay_options *replay, dp_error *error)
{
    const char *url = dp_invocation_text(invocation, "endpoint");
    dp_status status = dp_token_of_option(invocation, "endpoint-token-file", &resources->token, error);
    if (status == DP_STATUS_OK) status = name_endpoint(url, &resources->endpoint_name, error);
    if (status != DP_STATUS_OK) return status;
    const char *token = resources->token.length > 0 ? resources->token.data : NULL;
    replay->endpoint = resources->endpoint_name.data;
    const char *ca_file = dp_invocation_text(invocation, "ca-file");
    dp_http_sink_options http = {
        .server_url = url, .pipeline = replay->pipeline, .token = token, .ca_file = ca_file};
    dp_journal_link_options link = {.server_url = url, .token = token, .ca_file = ca_file};
    status = dp_http_sink_open(&http, &resources->sink, error);
    return status == DP_STATUS_OK ? dp_journal_link_open(&link, &replay->target, error) : status;
}

static dp_status open_origin(const dp_invocation *invocation, replay_resources *resources,
                             dp_replay_options *replay, dp_error *error)
{
    replay->origin.artifact_path = dp_invocation_text(invocation, "artifact-uri");
    if (replay->origin.artifact_path != NULL) {
        if (dp_invocation_given(invocation, "state") || dp_invocation_given(invocation, "server"))
            return dp_error_set(error, DP_STATUS_USAGE,
                                "--artifact-uri is read instead of a journal; expected no --server and no "
                                "--state beside it");
        return DP_STATUS_OK;
    }
    dp_stream_choice choice = dp_journal_stream_choice(invocation);
    bool writes = !dp_invocation_switch(invocation, "dry-run");
    dp_status status = dp_journal_of_options(invocation, writes, &replay->origin.journal, error);
    if (status == DP_STATUS_OK)
        status = dp_journal_link_facts(replay->origin.journal, &choice, &resources->stream, error);
    if (status == DP_STATUS_OK) replay->origin.stream = &resources->stream;
    return status;
}

static dp_status read_window(const dp_invocation *invocation, replay_resources *resources,
                             dp_replay_options *replay, dp_error *error)
{
    const dp_offset *from = NULL;
    dp_backend backend = DP_BACKEND_POSTGRES_LOGICAL;
    dp_status status = dp_journal_offset(invocation, "replay-from", backend, &replay->from, &from, error);
    if (status == DP_STATUS_OK)
        status = dp_journal_offset(invocation, "replay-to", backend, &resources->to, &replay->to, error);
    return status;
}

/* --- running --- */

static dp_status execute(const dp_invocation *invocation, replay_resources *resources,
                         const dp_replay_options *replay, dp_replay_job *job, int *exit_code, dp_error *error)
{
    bool is_dry = dp_invocation_switch(invocation, "dry-run");
    if (is_dry || !job->plan.safe_to_execute) {
        dp_status status = print_plan(invocation, &job->plan, error);
        *exit_code = job->plan.safe_to_execute ? 0 : 1;
        if (status != DP_STATUS_OK || !job->plan.safe_to_execute) return status;
        dp_replay_counts counts;
        status = dp_replay_count(replay, job, &counts, error);
        return status == DP_STATUS_OK ? print_counts(&counts, error) : status;
    }
    dp_replay_summary summary;
    dp_status status = dp_replay_execute(replay, job, &resources->sink, &summary, error);
    dp_progress_line_end(replay->context);
    return status == DP_STATUS_OK ? print_summary(replay, job, &summary, error) : status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    replay_resources resources = {.token = DP_BUFFER_INIT(8192), .endpoint_name = DP_BUFFER_INIT(8192)};
    dp_progress_line line = dp_progress_line_of_stderr();
    dp_replay_options replay = {
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .source_schema = dp_slice_of_text(dp_invocation_text(invocation, "schema")),
        .source_table = dp_slice_of_text(dp_invocation_text(invocation, "table")),
        .allow_rewind = dp_invocation_switch(invocation, "allow-rewind"),
        .who = dp_journal_who(invocation, resources.who),
        .why = dp_invocation_text(invocation, "why"),
        .record_path = dp_invocation_text(invocation, "record"),
        .stop = dp_stop_on_signals(),
        .step = show_step,
        .progress = show_progress,
        .trouble = show_trouble,
        .context = &line,
    };
    dp_replay_job job = {.artifact = NULL};
    dp_status status = read_numbers(invocation, &replay, error);
    if (status == DP_STATUS_OK) status = read_window(invocation, &resources, &replay, error);
    if (status == DP_STATUS_OK) status = open_origin(invocation, &resources, &replay, error);
    if (status == DP_STATUS_OK) status = open_endpoint(invocation, &resources, &replay, error);
    if (status == DP_STATUS_OK) status = dp_replay_prepare(&replay, &job, error);
    if (status == DP_STATUS_OK) status = execute(invocation, &resources, &replay, &job, exit_code, error);
    dp_replay_job_release(&job);
    if (resources.sink.close != NULL) resources.sink.close(resources.sink.self);
    dp_stream_facts_release(&resources.stream);
    dp_journal_link_close(replay.target);
    dp_journal_link_close(replay.origin.journal);
    dp_buffer_release(&resources.token);
    dp_buffer_release(&resources.endpoint_name);
    return status;
}

const dp_command dp_command_cdc_replay = {
    .path = "cdc replay",
    .summary = "deliver a window of the journal or of an artifact again, after a plan that is safe",
    .arguments = "",
    .description =
        "Makes the plan of `dpone cdc replay-plan` from what is true now: the stored offset (the endpoint's "
        "where it keeps one, else the journal's), the journal's retention or the artifact's window, and the "
        "high watermark. A blocked plan is printed and nothing is done. A safe one is executed step by step; "
        "each step says on standard error that it has passed.\n\n"
        "Events keep their ids, so an endpoint that applies by event id is not changed by what it has "
        "already. Progress is put on record in --record: after a kill or a failure the same command goes on "
        "where it stopped. A stored offset at the endpoint is set back to the start of the window only with "
        "--allow-rewind, and when all is delivered and compared it is set to the end of the window, or to "
        "what it was when that was further. Who, when, why, window, counts and outcome are kept in --record "
        "and in the audit of the journal and of an endpoint that is a dpone server.",
    .examples =
        "  dpone cdc replay --pipeline orders --endpoint http://127.0.0.1:9000 --replay-from 0/16B6B00 "
        "--dry-run\n"
        "      the plan and how much it would send\n"
        "  dpone cdc replay --pipeline orders --endpoint http://127.0.0.1:9000 --replay-from 0/16B6B00 \\\n"
        "      --replay-to 0/16B6D28 --allow-rewind --rate 5000 --why 'lost a day'\n"
        "  dpone cdc replay --pipeline orders --artifact-uri file:orders-day --endpoint "
        "http://127.0.0.1:9000 \\\n"
        "      --replay-from 0/16B6B00 --allow-rewind\n",
    .options = options,
    .exit_codes = "0 done, 1 blocked or refused, 2 usage, 3 I/O or remote failure (run it again), 4 a "
                  "damaged artifact or a receipt that does not add up",
    .run = run,
};
