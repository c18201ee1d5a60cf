#include "services/replay.h"

#include <stdlib.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/hex.h"
#include "base/json_writer.h"
#include "cdc/batch_writer.h"
#include "services/batch_answer.h"

enum {
    HEADER_AND_TRAILER_BYTES = 8192,
    WAIT_MS = 500,
    FIRST_BACKOFF_MS = 500,
    LAST_BACKOFF_MS = 15000,
    RECORD_INTERVAL_MS = 500,
    DETAIL_BYTES = 256
};

/* --- facts and plan --- */

static dp_status facts_of_artifact(const dp_replay_options *options, dp_replay_job *job, dp_error *error)
{
    dp_status status = dp_artifact_open(options->origin.artifact_path, &job->artifact, error);
    if (status != DP_STATUS_OK) return status;
    const dp_artifact_manifest *manifest = dp_artifact_manifest_of(job->artifact);
    job->backend = manifest->stream.backend;
    job->identity = manifest->stream.identity;
    job->source = manifest->stream.source;
    job->has_retention = manifest->has_from;
    if (manifest->has_from) job->retention = dp_offset_of_position(job->backend, manifest->from);
    job->high = dp_offset_of_position(job->backend, manifest->to);
    snprintf(job->artifact_uri, sizeof job->artifact_uri, "%s%s",
             strncmp(options->origin.artifact_path, "file:", 5) == 0 ? "" : "file:",
             options->origin.artifact_path);
    if (!dp_slice_equal_text(manifest->stream.pipeline, options->pipeline)) {
        return dp_error_set_code(error, DP_STATUS_BLOCKED, "replay.artifact_of_another_pipeline",
                                 "the artifact is of pipeline '%.*s', not '%s'",
                                 DP_SLICE_PRINT(manifest->stream.pipeline), options->pipeline);
    }
    return DP_STATUS_OK;
}

static dp_status facts_of_journal(const dp_replay_options *options, dp_replay_job *job, dp_error *error)
{
    const dp_stream_facts *stream = options->origin.stream;
    if (!stream->has_high) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "journal_empty",
                                 "the journal holds nothing of pipeline '%s' yet", options->pipeline);
    }
    job->backend = stream->backend;
    job->identity = stream->identity;
    job->source = stream->source;
    job->has_retention = stream->has_pruned;
    job->retention = stream->pruned;
    job->high = stream->high;
    job->has_stored = stream->has_stored;
    job->stored = stream->stored;
    snprintf(job->artifact_uri, sizeof job->artifact_uri, "journal:%s", options->pipeline);
    return DP_STATUS_OK;
}

typedef struct endpoint_state {
    bool keeps_offset; /* false: it is no dpone server, and has nothing that could move back */
    bool has_offset;
    dp_offset offset;
} endpoint_state;

/* Whether an answer says that there is no such route. */
static bool is_no_route(const dp_error *error)
{
    return error->status == DP_STATUS_NOT_FOUND || strcmp(error->code, "http_405") == 0 ||
           strcmp(error->code, "http_501") == 0;
}

/* An endpoint that does not answer may keep an offset all the same: nothing is begun then. */
static dp_status read_endpoint(const dp_replay_options *options, endpoint_state *endpoint, dp_error *error)
{
    json_t *answer = NULL;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_journal_link_call(options->target, dp_slice_of_text(options->pipeline),
                                            DP_JOURNAL_CALL_GET_OFFSET, NULL, &answer, &cause);
    const char *token = json_string_value(json_object_get(answer, "token"));
    *endpoint = (endpoint_state){.keeps_offset = false};
    if (status == DP_STATUS_OK) {
        endpoint->has_offset =
            token != NULL &&
            dp_offset_of_token(DP_BACKEND_POSTGRES_LOGICAL, dp_slice_of_text(token), &endpoint->offset);
        endpoint->keeps_offset = endpoint->has_offset;
    } else if (strcmp(cause.code, "offset_not_found") == 0) {
        endpoint->keeps_offset = true;
        status = DP_STATUS_OK;
    } else if (is_no_route(&cause)) {
        status = DP_STATUS_OK;
    } else {
        *error = cause;
        dp_error_while(error, "asking the endpoint for its offset");
    }
    json_decref(answer);
    return status;
}

/* --- a gap before the window --- */

static dp_status find_transaction(void *context, const dp_replay_transaction *transaction, dp_error *error)
{
    (void)transaction, (void)error;
    *(bool *)context = true;
    return DP_STATUS_CANCELLED; /* one is enough */
}

/* The endpoint's offset ends behind the window. Where it was before the window's start, what lies between
 * would be passed without ever having been delivered: that is refused, unless the origin can tell that there
 * is nothing. */
static dp_status refuse_gap(const dp_replay_options *options, const dp_replay_job *job, dp_error *error)
{
    const dp_offset *stored = &job->endpoint_offset;
    if (!job->endpoint_has_offset || dp_offset_compare(stored, &options->from) >= 0) return DP_STATUS_OK;
    bool is_gap = job->has_retention && dp_offset_compare(stored, &job->retention) < 0;
    dp_transaction_visitor visitor = {&is_gap, find_transaction};
    if (!is_gap) {
        dp_status status = dp_replay_origin_read(&options->origin, stored, &options->from, &visitor, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (!is_gap) return DP_STATUS_OK;
    dp_error_set_code(error, DP_STATUS_BLOCKED, "replay.gap_before_window",
                      "replay.gap_before_window: the endpoint's stored offset is %s; a window that begins "
                      "after %s would pass what is between",
                      stored->token, options->from.token);
    dp_error_hint(error, "begin where the endpoint stands: --replay-from %s", stored->token);
    return DP_STATUS_BLOCKED;
}

dp_status dp_replay_prepare(const dp_replay_options *options, dp_replay_job *job, dp_error *error)
{
    memset(job, 0, sizeof *job);
    dp_status status = options->origin.journal != NULL ? facts_of_journal(options, job, error)
                                                       : facts_of_artifact(options, job, error);
    if (status != DP_STATUS_OK) return status;
    if (job->backend != DP_BACKEND_POSTGRES_LOGICAL) {
        return dp_error_set(error, DP_STATUS_USAGE, "only windows of postgres_logical can be replayed");
    }
    job->to = options->to == NULL ? job->high : *options->to;
    endpoint_state endpoint;
    status = read_endpoint(options, &endpoint, error);
    if (status != DP_STATUS_OK) return status;
    job->endpoint_has_offset = endpoint.has_offset;
    job->endpoint_offset = endpoint.offset;
    job->endpoint_keeps_offset = endpoint.keeps_offset;
    if (job->endpoint_keeps_offset) {
        job->has_stored = job->endpoint_has_offset;
        job->stored = job->endpoint_offset;
    }
    dp_replay_request request = {
        .backend = job->backend,
        .pipeline_name = dp_slice_of_text(options->pipeline),
        .source_schema = options->source_schema,
        .source_table = options->source_table,
        .stored_offset = job->has_stored ? &job->stored : NULL,
        .replay_from = &options->from,
        .replay_to = &job->to,
        .retention_min = job->has_retention ? &job->retention : NULL,
        .high_watermark = &job->high,
        .artifact_uri = dp_slice_of_text(job->artifact_uri),
        .allow_rewind = options->allow_rewind,
    };
    job->plan = dp_replay_plan_make(&request);
    return job->plan.safe_to_execute ? refuse_gap(options, job, error) : DP_STATUS_OK;
}

void dp_replay_job_release(dp_replay_job *job)
{
    dp_artifact_close(job->artifact);
    job->artifact = NULL;
}

static dp_status count_transaction(void *context, const dp_replay_transaction *transaction, dp_error *error)
{
    dp_replay_counts *counts = context;
    (void)error;
    counts->transactions++;
    counts->events += transaction->event_count;
    return DP_STATUS_OK;
}

dp_status dp_replay_count(const dp_replay_options *options, const dp_replay_job *job,
                          dp_replay_counts *counts, dp_error *error)
{
    dp_replay_counts result = {.transactions = 0};
    dp_transaction_visitor visitor = {&result, count_transaction};
    dp_status status = dp_replay_origin_read(&options->origin, &options->from, &job->to, &visitor, error);
    if (status == DP_STATUS_OK) *counts = result;
    return status;
}

/* --- a run --- */

typedef struct replay_run {
    const dp_replay_options *options;
    dp_replay_job *job;
    const dp_batch_sink *sink;
    dp_replay_summary *summary;
    dp_replay_record *record;
    bool has_original;
    dp_offset original; /* the endpoint's offset when the replay began */

    dp_sha256 *hash;
    size_t batch_bytes; /* as asked for, or what the endpoint takes */
    dp_buffer lines;
    uint64_t line_events;
    uint64_t line_transactions;
    bool has_end; /* the lines end with a commit */
    dp_offset end;
    dp_batch_body body;
    dp_offset position; /* durable at the endpoint */
    int64_t due_us;     /* when the next batch may go, on the monotonic clock */
    int64_t recorded_us;
    dp_batch_tally tally; /* of this run */
} replay_run;

static bool is_stopping(const replay_run *run)
{
    return run->options->stop != NULL && *run->options->stop != 0;
}

static void begin_step(replay_run *run, dp_replay_step step)
{
    if (run->options->step != NULL) run->options->step(run->options->context, step, NULL);
}

static void pass_step(replay_run *run, dp_replay_step step, const char *detail)
{
    if (run->options->step != NULL) run->options->step(run->options->context, step, detail);
}

/* --- the endpoint's offset and audit --- */

static dp_status put_offset(replay_run *run, const dp_offset *offset, const char *why, dp_error *error)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:s,s:b,s:b}", "token", offset->token, "snapshot_complete", 1, "allow_rewind",
                             why != NULL);
    if (body != NULL && why != NULL) {
        json_object_set_new(body, "who", json_string(run->options->who));
        json_object_set_new(body, "why", json_string(why));
    }
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    dp_status status =
        text == NULL ? dp_error_no_memory(error, "an offset")
                     : dp_journal_link_call(run->options->target, dp_slice_of_text(run->options->pipeline),
                                            DP_JOURNAL_CALL_PUT_OFFSET, text, &answer, error);
    free(text);
    json_decref(body);
    json_decref(answer);
    return status;
}

static dp_status add_audit_at(dp_journal_link *link, const char *pipeline, const char *json, dp_error *error)
{
    json_t *answer = NULL;
    dp_status status = dp_journal_link_call(link, dp_slice_of_text(pipeline), DP_JOURNAL_CALL_ADD_AUDIT, json,
                                            &answer, error);
    json_decref(answer);
    return status;
}

/* In the endpoint's audit when it is a dpone server, and in the journal's that the window comes from. */
static dp_status audit(replay_run *run, const char *action, const char *outcome, dp_error *error)
{
    const dp_replay_options *options = run->options;
    const dp_replay_counts *counts = &run->summary->counts;
    json_t *what =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?,s:I,s:I,s:I,s:I}", "replay_id", run->summary->replay_id,
                  "origin", run->job->artifact_uri, "endpoint", options->endpoint, "replay_from",
                  options->from.token, "replay_to", run->job->to.token, "outcome", outcome, "transactions",
                  (json_int_t)counts->transactions, "events", (json_int_t)counts->events, "accepted",
                  (json_int_t)counts->accepted, "duplicates", (json_int_t)counts->duplicates);
    char *value = what == NULL ? NULL : json_dumps(what, JSON_COMPACT);
    char subject[64];
    snprintf(subject, sizeof subject, "replay %s", run->summary->replay_id);
    json_t *body = json_pack("{s:s,s:s,s:s,s:s?,s:s?}", "who", options->who, "action", action, "subject",
                             subject, "why", options->why, "new", value);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    dp_status status = text == NULL ? dp_error_no_memory(error, "an audit record") : DP_STATUS_OK;
    if (status == DP_STATUS_OK && run->job->endpoint_keeps_offset)
        status = add_audit_at(options->target, options->pipeline, text, error);
    if (status == DP_STATUS_OK && options->origin.journal != NULL)
        status = add_audit_at(options->origin.journal, options->pipeline, text, error);
    free(text);
    free(value);
    json_decref(body);
    json_decref(what);
    return status;
}

/* --- delivery --- */

static bool is_worth_repeating(dp_status status, const dp_batch_answer *answer)
{
    if (status != DP_STATUS_OK) return dp_status_retryable(status);
    return answer->http_status >= 500 || answer->http_status == 408 || answer->http_status == 425 ||
           answer->http_status == 429;
}

static dp_status sleep_for(replay_run *run, int64_t wait_ms, dp_error *error)
{
    int64_t until_us = dp_clock_monotonic_us() + wait_ms * 1000;
    while (!is_stopping(run)) {
        int64_t left_ms = (until_us - dp_clock_monotonic_us()) / 1000;
        if (left_ms <= 0) return DP_STATUS_OK;
        dp_clock_sleep_ms(left_ms < 100 ? (unsigned)left_ms + 1 : 100);
    }
    return dp_error_set(error, DP_STATUS_CANCELLED, "stopped; run the same command again to go on");
}

static dp_status await_answer(replay_run *run, dp_batch_answer *answer, dp_error *error)
{
    bool done = false;
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && !done) {
        status = run->sink->wait(run->sink->self, WAIT_MS, &done, answer, error);
    }
    return status;
}

static dp_status deliver(replay_run *run, dp_batch_answer *answer, dp_error *error)
{
    int64_t backoff_ms = FIRST_BACKOFF_MS;
    for (unsigned attempt = 1;; attempt++) {
        dp_error trouble = DP_ERROR_INIT;
        *answer = (dp_batch_answer){.http_status = 0};
        dp_batch_delivery delivery = {.batch_id = run->body.batch_id,
                                      .body = dp_buffer_slice(&run->body.bytes)};
        dp_status status = run->sink->submit(run->sink->self, &delivery, &trouble);
        dp_crash_point(DP_CRASH_REPLAY_SENT);
        if (status == DP_STATUS_OK) status = await_answer(run, answer, &trouble);
        if (status == DP_STATUS_OK && answer->http_status == 200) return DP_STATUS_OK;
        bool repeats = is_worth_repeating(status, answer) && attempt < run->options->attempts;
        if (status == DP_STATUS_OK) dp_batch_refusal(answer->http_status, answer->body, &trouble);
        if (!repeats) {
            if (error->status == DP_STATUS_OK) *error = trouble;
            return error->status;
        }
        if (run->options->trouble != NULL) run->options->trouble(run->options->context, &trouble);
        int64_t asked_ms = (int64_t)answer->retry_after_s * 1000;
        status = sleep_for(run, asked_ms > backoff_ms ? asked_ms : backoff_ms, error);
        if (status != DP_STATUS_OK) return status;
        backoff_ms = backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : backoff_ms * 2;
    }
}

static dp_status ask_gate(replay_run *run, const dp_receipt *receipt, dp_error *error)
{
    dp_gate_result result = dp_receipt_evaluate(receipt, run->job->backend);
    for (int blocker = 0; blocker < DP_GATE_BLOCKER_COUNT; blocker++) {
        if (!result.blockers[blocker]) continue;
        const char *code = dp_gate_blocker_text((dp_gate_blocker)blocker);
        return dp_error_set_code(error, DP_STATUS_BLOCKED, code, "the commit gate refused the batch: %s: %s",
                                 code, dp_gate_blocker_description((dp_gate_blocker)blocker));
    }
    return DP_STATUS_OK;
}

static dp_status save_progress(replay_run *run, bool now, dp_error *error)
{
    int64_t time_us = dp_clock_monotonic_us();
    if (!now && time_us - run->recorded_us < RECORD_INTERVAL_MS * 1000) return DP_STATUS_OK;
    run->recorded_us = time_us;
    dp_status status = dp_replay_record_progress(run->record, &run->position, &run->summary->counts, error);
    dp_crash_point(DP_CRASH_REPLAY_PROGRESS_SAVED);
    return status;
}

/* Never faster than asked. Time that was lost waiting for the endpoint is not made up for in a burst: at most
 * a second of it, so that the time batches take to be answered does not slow a replay down. */
static void note_paced(replay_run *run, uint64_t event_count)
{
    if (run->options->rate == 0) return;
    int64_t earliest_us = dp_clock_monotonic_us() - 1000000;
    if (run->due_us < earliest_us) run->due_us = earliest_us;
    run->due_us += (int64_t)((double)event_count * 1e6 / (double)run->options->rate);
}

static dp_status keep_pace(replay_run *run, dp_error *error)
{
    int64_t now_us = dp_clock_monotonic_us();
    return run->due_us > now_us ? sleep_for(run, (run->due_us - now_us) / 1000 + 1, error) : DP_STATUS_OK;
}

static dp_status take_receipt(replay_run *run, const dp_batch_answer *answer, bool has_end, dp_error *error)
{
    dp_receipt receipt;
    dp_batch_counts counts;
    dp_status status = dp_receipt_parse(answer->body, "receipt", &receipt, error);
    if (status == DP_STATUS_OK) status = dp_batch_answer_check(answer->body, &run->body, &counts, error);
    if (status == DP_STATUS_OK && has_end) status = ask_gate(run, &receipt, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_REPLAY_RECEIPT_READ);
    dp_replay_counts *sum = &run->summary->counts;
    sum->batches++;
    sum->events += run->body.event_count;
    dp_batch_tally before = run->tally; /* the sum has earlier runs, too */
    dp_batch_tally_add(&run->tally, &counts, answer->is_replayed);
    sum->accepted += run->tally.accepted_count - before.accepted_count;
    sum->duplicates += run->tally.duplicate_count - before.duplicate_count;
    note_paced(run, run->body.event_count);
    return DP_STATUS_OK;
}

static dp_status compose(replay_run *run, dp_slice lines, uint64_t event_count, bool has_end, dp_error *error)
{
    dp_batch_source source = {dp_slice_of_text(run->options->pipeline), run->job->backend, run->job->source,
                              run->job->identity};
    dp_batch_offsets offsets = {.has_next_offset = has_end};
    if (has_end) dp_offset_lsn(&run->end, &offsets.next_offset);
    offsets.has_high_watermark = dp_offset_lsn(&run->job->high, &offsets.high_watermark);
    run->body.bytes.max_bytes = lines.length + HEADER_AND_TRAILER_BYTES;
    return dp_batch_compose(run->hash, lines, (size_t)event_count, &source, &offsets, &run->body, error);
}

/* An endpoint that takes less at once gets two halves, the offset with the second, and smaller batches from
 * then on. */
static dp_status send_part(replay_run *run, dp_slice lines, uint64_t event_count, bool has_end,
                           dp_error *error) // NOLINT(misc-no-recursion)
{
    dp_batch_answer answer = {.http_status = 0};
    dp_error refusal = DP_ERROR_INIT;
    dp_status status = compose(run, lines, event_count, has_end, error);
    if (status != DP_STATUS_OK) return status;
    status = deliver(run, &answer, &refusal);
    if (status == DP_STATUS_OK) return take_receipt(run, &answer, has_end, error);
    dp_slice parts[2];
    size_t counts[2];
    bool is_too_large = answer.http_status == 413;
    if (!is_too_large || event_count < 2 || !dp_batch_split(lines, (size_t)event_count, parts, counts)) {
        if (error->status == DP_STATUS_OK) *error = refusal;
        if (is_too_large) dp_error_hint(error, "a single event is larger than the endpoint takes");
        return status;
    }
    run->batch_bytes = run->batch_bytes < lines.length / 2 ? run->batch_bytes : lines.length / 2;
    status = send_part(run, parts[0], counts[0], false, error);
    return status == DP_STATUS_OK ? send_part(run, parts[1], counts[1], has_end, error) : status;
}

static dp_status send_lines(replay_run *run, dp_error *error)
{
    if (run->lines.length == 0) return DP_STATUS_OK;
    dp_status status = send_part(run, dp_buffer_slice(&run->lines), run->line_events, run->has_end, error);
    if (status != DP_STATUS_OK) return status;
    run->summary->counts.transactions += run->line_transactions;
    if (run->has_end) {
        run->position = run->end;
        status = save_progress(run, false, error);
    }
    if (run->options->progress != NULL)
        run->options->progress(run->options->context, &run->summary->counts, &run->position);
    dp_buffer_clear(&run->lines);
    run->line_events = run->line_transactions = 0;
    run->has_end = false;
    if (status == DP_STATUS_OK) status = keep_pace(run, error);
    if (status == DP_STATUS_OK && is_stopping(run))
        status = dp_error_set(error, DP_STATUS_CANCELLED, "stopped; run the same command again to go on");
    return status;
}

static bool is_full(const replay_run *run)
{
    uint64_t events = run->options->batch_events;
    if (run->options->rate > 0 && run->options->rate < events) events = run->options->rate;
    return run->line_events >= events || run->lines.length >= run->batch_bytes;
}

/* A transaction that is larger than a batch goes in several, of which only the last moves the offset. */
static dp_status send_transaction(void *context, const dp_replay_transaction *transaction, dp_error *error)
{
    replay_run *run = context;
    dp_slice rest = transaction->lines;
    dp_slice line;
    dp_status status = DP_STATUS_OK;
    bool is_large =
        transaction->lines.length > run->batch_bytes || transaction->event_count > run->options->batch_events;
    if (is_large) status = send_lines(run, error);
    while (status == DP_STATUS_OK && rest.length > 0) {
        dp_slice_split(rest, '\n', &line, &rest);
        bool is_event = !dp_slice_starts_with(line, DP_SLICE_LITERAL("{\"type\":\"commit\""));
        if (is_event && is_large && is_full(run)) status = send_lines(run, error);
        dp_buffer_append_slice(&run->lines, line);
        dp_buffer_append_byte(&run->lines, '\n');
        if (is_event) run->line_events++;
    }
    if (run->lines.failed) return dp_error_no_memory(error, "a batch");
    if (status != DP_STATUS_OK) return status;
    run->line_transactions++;
    run->has_end = true;
    run->end = transaction->end;
    return is_full(run) ? send_lines(run, error) : DP_STATUS_OK;
}

/* --- the steps --- */

static dp_status pause_pipeline(replay_run *run, dp_error *error)
{
    begin_step(run, DP_REPLAY_STEP_PAUSE_PIPELINE);
    if (!run->job->endpoint_has_offset) {
        pass_step(run, DP_REPLAY_STEP_PAUSE_PIPELINE, "the endpoint keeps no offset that could move");
        return DP_STATUS_OK;
    }
    dp_status status = sleep_for(run, run->options->pause_check_ms, error);
    if (status != DP_STATUS_OK) return status;
    endpoint_state now;
    status = read_endpoint(run->options, &now, error);
    if (status != DP_STATUS_OK) return status;
    if (!now.has_offset || dp_offset_compare(&now.offset, &run->job->endpoint_offset) != 0) {
        return dp_error_set_code(error, DP_STATUS_BLOCKED, "replay.pipeline_is_running",
                                 "the stored offset moved away from %s while it was watched: stop the "
                                 "pipeline first",
                                 run->job->endpoint_offset.token);
    }
    char detail[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "the stored offset stands still at %s", now.offset.token);
    pass_step(run, DP_REPLAY_STEP_PAUSE_PIPELINE, detail);
    return DP_STATUS_OK;
}

static dp_status verify_retention(replay_run *run, dp_error *error)
{
    char detail[DETAIL_BYTES];
    begin_step(run, DP_REPLAY_STEP_VERIFY_RETENTION);
    if (run->job->artifact == NULL) {
        snprintf(detail, sizeof detail, "the journal holds the window, up to %s", run->job->high.token);
        pass_step(run, DP_REPLAY_STEP_VERIFY_RETENTION, detail);
        return DP_STATUS_OK;
    }
    dp_artifact_verification result;
    dp_status status = dp_artifact_verify(run->job->artifact, &result, error);
    if (status != DP_STATUS_OK) return status;
    if (result.finding_count > 0) {
        const dp_artifact_finding *first = &result.first[0];
        return dp_error_set_code(error, DP_STATUS_DATA, dp_artifact_finding_text(first->kind),
                                 "the artifact is not what was written: %s, %s line %llu: %s",
                                 dp_artifact_finding_text(first->kind), first->file_name,
                                 (unsigned long long)first->line_number, first->detail);
    }
    snprintf(detail, sizeof detail, "the artifact is what was written: %llu events in %llu transactions",
             (unsigned long long)result.totals.event_count,
             (unsigned long long)result.totals.transaction_count);
    pass_step(run, DP_REPLAY_STEP_VERIFY_RETENTION, detail);
    return DP_STATUS_OK;
}

static dp_status set_start_offset(replay_run *run, dp_error *error)
{
    char detail[DETAIL_BYTES];
    begin_step(run, DP_REPLAY_STEP_SET_START_OFFSET);
    bool rewinds = run->job->endpoint_has_offset &&
                   dp_offset_compare(&run->options->from, &run->job->endpoint_offset) < 0;
    dp_status status = DP_STATUS_OK;
    if (rewinds) {
        char why[DETAIL_BYTES];
        snprintf(why, sizeof why, "replay %s: %s", run->summary->replay_id,
                 run->options->why == NULL ? "no reason given" : run->options->why);
        status = put_offset(run, &run->position, why, error);
        dp_crash_point(DP_CRASH_REPLAY_REWOUND);
        snprintf(detail, sizeof detail, "the stored offset is %s until the replay is done",
                 run->position.token);
    } else {
        snprintf(detail, sizeof detail, "reading starts after %s; no stored offset moves back",
                 run->position.token);
    }
    bool goes_on = dp_offset_compare(&run->position, &run->options->from) > 0;
    if (goes_on) {
        size_t length = strlen(detail);
        snprintf(
            detail + length, sizeof detail - length,
            "; an earlier run has delivered up to there, as the record says: another --record begins anew");
    }
    if (status == DP_STATUS_OK) pass_step(run, DP_REPLAY_STEP_SET_START_OFFSET, detail);
    return status;
}

static dp_status load_delta(replay_run *run, dp_error *error)
{
    char detail[DETAIL_BYTES];
    begin_step(run, DP_REPLAY_STEP_LOAD_IDEMPOTENT_DELTA);
    run->due_us = dp_clock_monotonic_us();
    dp_transaction_visitor visitor = {run, send_transaction};
    dp_offset start = run->position;
    dp_status status = dp_replay_origin_read(&run->options->origin, &start, &run->job->to, &visitor, error);
    if (status == DP_STATUS_OK) status = send_lines(run, error);
    if (status != DP_STATUS_OK) return status;
    run->position = run->job->to;
    status = save_progress(run, true, error);
    if (status != DP_STATUS_OK) return status;
    const dp_replay_counts *counts = &run->summary->counts;
    snprintf(detail, sizeof detail, "%llu events: %llu new, %llu were there already",
             (unsigned long long)counts->events, (unsigned long long)counts->accepted,
             (unsigned long long)counts->duplicates);
    pass_step(run, DP_REPLAY_STEP_LOAD_IDEMPOTENT_DELTA, detail);
    return DP_STATUS_OK;
}

/* The ids of a window, in order, as one digest. */
typedef struct id_digest {
    dp_sha256 *hash;
    uint64_t events;
} id_digest;

static dp_status digest_line(void *context, dp_slice line, dp_error *error)
{
    static const char prefix[] = "{\"event_id\":\"";
    id_digest *self = context;
    (void)error;
    if (line.length < sizeof prefix + DP_SHA256_HEX_LENGTH ||
        memcmp(line.data, prefix, sizeof prefix - 1) != 0)
        return DP_STATUS_OK;
    dp_sha256_update(self->hash, dp_slice_make(line.data + sizeof prefix - 1, DP_SHA256_HEX_LENGTH));
    self->events++;
    return DP_STATUS_OK;
}

static dp_status digest_transaction(void *context, const dp_replay_transaction *transaction, dp_error *error)
{
    dp_slice rest = transaction->lines;
    dp_slice line;
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && rest.length > 0) {
        dp_slice_split(rest, '\n', &line, &rest);
        status = digest_line(context, line, error);
    }
    return status;
}

static dp_status digest_window(const dp_replay_origin *origin, const dp_offset *from, const dp_offset *to,
                               uint64_t *events, uint8_t digest[DP_SHA256_BYTES], dp_error *error)
{
    id_digest self = {.hash = dp_sha256_new()};
    if (self.hash == NULL || !dp_sha256_begin(self.hash)) {
        dp_sha256_free(self.hash);
        return dp_error_no_memory(error, "a digest");
    }
    dp_transaction_visitor visitor = {&self, digest_transaction};
    dp_status status = dp_replay_origin_read(origin, from, to, &visitor, error);
    if (status == DP_STATUS_OK && !dp_sha256_finish(self.hash, digest))
        status = dp_error_no_memory(error, "a digest");
    dp_sha256_free(self.hash);
    *events = self.events;
    return status;
}

static dp_status compare_target(replay_run *run, dp_error *error)
{
    begin_step(run, DP_REPLAY_STEP_COMPARE_TARGET);
    const dp_replay_counts *counts = &run->summary->counts;
    if (counts->accepted + counts->duplicates != counts->events) {
        return dp_error_set_code(error, DP_STATUS_DATA, "replay.target_differs",
                                 "the receipts do not add up to the events sent");
    }
    dp_stream_facts stream;
    dp_stream_choice choice = {dp_slice_of_text(run->options->pipeline), run->job->source,
                               dp_backend_text(run->job->backend)};
    dp_error no_journal = DP_ERROR_INIT;
    dp_status status = dp_journal_link_facts(run->options->target, &choice, &stream, &no_journal);
    if (dp_status_retryable(status) && !is_no_route(&no_journal)) {
        *error = no_journal;
        dp_error_while(error, "comparing with the endpoint");
        return status;
    }
    if (status != DP_STATUS_OK) {
        pass_step(run, DP_REPLAY_STEP_COMPARE_TARGET,
                  "the receipts account for every event; the endpoint keeps no journal to compare with");
        return DP_STATUS_OK;
    }
    uint8_t ours[DP_SHA256_BYTES], theirs[DP_SHA256_BYTES];
    uint64_t our_events = 0, their_events = 0;
    dp_replay_origin target = {.journal = run->options->target, .stream = &stream};
    status =
        digest_window(&run->options->origin, &run->options->from, &run->job->to, &our_events, ours, error);
    if (status == DP_STATUS_OK)
        status = digest_window(&target, &run->options->from, &run->job->to, &their_events, theirs, error);
    dp_stream_facts_release(&stream);
    if (status != DP_STATUS_OK) return status;
    if (memcmp(ours, theirs, sizeof ours) != 0) {
        dp_error_set_code(error, DP_STATUS_CONFLICT, "replay.target_differs",
                          "the endpoint's journal holds other events in the window: %llu there, %llu "
                          "here",
                          (unsigned long long)their_events, (unsigned long long)our_events);
        if (run->summary->is_resumed)
            dp_error_hint(error, "an earlier run had delivered a part; another --record begins anew");
        return DP_STATUS_CONFLICT;
    }
    char detail[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%llu event ids are the same there and here, in the same order",
             (unsigned long long)our_events);
    pass_step(run, DP_REPLAY_STEP_COMPARE_TARGET, detail);
    return DP_STATUS_OK;
}

static dp_status commit_offset(replay_run *run, dp_error *error)
{
    begin_step(run, DP_REPLAY_STEP_COMMIT_OFFSET);
    if (!run->job->endpoint_keeps_offset) {
        pass_step(run, DP_REPLAY_STEP_COMMIT_OFFSET, "the endpoint keeps no offset");
        return DP_STATUS_OK;
    }
    bool is_behind = run->has_original && dp_offset_compare(&run->original, &run->job->to) > 0;
    const dp_offset *offset = is_behind ? &run->original : &run->job->to;
    dp_status status = put_offset(run, offset, NULL, error);
    if (status != DP_STATUS_OK) return status;
    char detail[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "the stored offset is %s", offset->token);
    pass_step(run, DP_REPLAY_STEP_COMMIT_OFFSET, detail);
    return DP_STATUS_OK;
}

static dp_status run_steps(replay_run *run, bool is_resumed, dp_error *error)
{
    const dp_replay_options *options = run->options;
    dp_status status = pause_pipeline(run, error);
    if (status == DP_STATUS_OK) status = verify_retention(run, error);
    if (status == DP_STATUS_OK)
        status = dp_replay_record_start(run->record, options->who, options->why,
                                        run->has_original ? &run->original : NULL, is_resumed, error);
    if (status == DP_STATUS_OK)
        status = audit(run, is_resumed ? "replay.resumed" : "replay.started", NULL, error);
    if (status == DP_STATUS_OK) status = set_start_offset(run, error);
    if (status == DP_STATUS_OK) status = load_delta(run, error);
    dp_crash_point(DP_CRASH_REPLAY_LOADED);
    if (status == DP_STATUS_OK) status = compare_target(run, error);
    return status == DP_STATUS_OK ? commit_offset(run, error) : status;
}

static dp_status record_outcome(replay_run *run, dp_status status, dp_error *error)
{
    dp_error ignored = DP_ERROR_INIT;
    const char *outcome = status == DP_STATUS_OK          ? "done"
                          : status == DP_STATUS_CANCELLED ? "interrupted"
                                                          : "failed";
    dp_error *reported = status == DP_STATUS_OK ? error : &ignored;
    dp_status audited = audit(run, "replay.finished", outcome, reported);
    dp_status recorded =
        dp_replay_record_finish(run->record, outcome, status == DP_STATUS_OK ? NULL : error->message,
                                &run->summary->counts, reported);
    if (status != DP_STATUS_OK) return status;
    return audited == DP_STATUS_OK ? recorded : audited;
}

dp_status dp_replay_execute(const dp_replay_options *options, dp_replay_job *job, const dp_batch_sink *sink,
                            dp_replay_summary *summary, dp_error *error)
{
    memset(summary, 0, sizeof *summary);
    char source[1024];
    snprintf(source, sizeof source, "%.*s", DP_SLICE_PRINT(job->source));
    dp_replay_subject subject = {options->pipeline, source,        job->artifact_uri,
                                 options->endpoint, options->from, job->to};
    replay_run run = {.options = options, .job = job, .sink = sink, .summary = summary};
    dp_replay_resume resume;
    dp_status status = dp_replay_record_open(options->record_path, &subject, &run.record, &resume, error);
    if (status != DP_STATUS_OK) return status;
    snprintf(summary->replay_id, sizeof summary->replay_id, "%s", dp_replay_record_id(run.record));
    /* An earlier run has moved the stored offset back: what it was then counts, for the plan too. */
    bool blocked = !job->plan.safe_to_execute;
    if (blocked) {
        dp_replay_record_close(run.record);
        return dp_error_set_code(error, DP_STATUS_BLOCKED, "replay.blocked", "the plan is blocked");
    }
    run.hash = dp_sha256_new();
    run.batch_bytes = options->batch_bytes;
    run.lines.max_bytes = SIZE_MAX / 4;
    run.position = resume.has_position ? resume.position : options->from;
    run.has_original = resume.is_resumed ? resume.has_stored : job->endpoint_has_offset;
    run.original = resume.is_resumed ? resume.stored : job->endpoint_offset;
    summary->is_resumed = resume.is_resumed;
    summary->counts = resume.counts;
    status =
        run.hash == NULL ? dp_error_no_memory(error, "a replay") : run_steps(&run, resume.is_resumed, error);
    status = record_outcome(&run, status, error);
    dp_sha256_free(run.hash);
    dp_buffer_release(&run.lines);
    dp_buffer_release(&run.body.bytes);
    dp_replay_record_close(run.record);
    return status;
}
