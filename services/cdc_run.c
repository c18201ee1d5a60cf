#include "services/cdc_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/planted_fault.h"
#include "cdc/source_blockers.h"
#include "replay/commit_gate.h"
#include "services/batch_answer.h"

enum {
    TICK_MS = 500,          /* how often a waiting pipeline looks after its source */
    FIRST_BACKOFF_MS = 500, /* between deliveries of a batch while the sink is down */
    LAST_BACKOFF_MS = 5000,
    STOP_GRACE_MS = 2000,
    REPORT_INTERVAL_MS = 1000,
    COMMIT_LINE_BYTES = 256,
    HEADER_AND_TRAILER_BYTES = 16384 /* names of pipeline and source, escaped */
};

typedef enum flight_state {
    FLIGHT_SENT,
    FLIGHT_ANSWERED, /* the answer is kept until everything before it is done */
    FLIGHT_UNSENT    /* failed because of, or beside, one before it: sent again after that one */
} flight_state;

/* A batch that was handed to the sink, in the lane of its own number. */
typedef struct flight {
    flight_state state;
    /* Sent behind one that had no receipt yet: attempted once, and perhaps too early. */
    bool is_follower;
    dp_batch_body body;
    dp_batch_offsets offsets;
    uint64_t transaction_count;
    bool has_duplicates;
    dp_status answer_status;
    dp_batch_answer answer;
    dp_error answer_error;
} flight;

typedef struct cdc_run {
    const dp_cdc_run_options *options;
    const dp_change_source *source;
    const dp_batch_sink *sink;
    dp_cdc_run_summary *summary;
    dp_decoder *decoder;
    dp_sha256 *hash;
    dp_event_writer *poison_writer;

    dp_batch_limits limits; /* the options', or less where the sink takes less */
    size_t sink_max_bytes;  /* what it takes as one batch, as far as is known; 0: it has not said */
    dp_batch_writer *building;
    int64_t building_since_us; /* when the first line was put; 0: empty */
    bool has_end;              /* some transaction is complete in `building` */
    dp_lsn last_end;           /* of the last complete transaction in `building`, or an idle position */
    uint64_t building_transaction_count;
    bool has_open_lines; /* lines of the open transaction were put, here or in a batch sent before */

    bool building_continues; /* it begins inside a transaction whose first part was sent before */

    flight flights[DP_BATCH_LANES]; /* a ring: flight_count of them from first_flight, oldest first */
    unsigned first_flight;
    unsigned flight_count;
    bool keeps_order; /* the sink has said that it does */
    bool sink_failed; /* a delivery ended for good without a receipt that passed */

    bool has_stored; /* what the store held at the start, and later what was saved */
    dp_lsn stored;
    bool has_passed; /* passed the gate, perhaps not saved yet */
    dp_lsn passed;
    dp_lsn sent_end; /* the last next_offset handed to a batch; ends only ever grow within a run */
    int64_t saved_at_us;
    int64_t reported_at_us;
    int64_t published_at_us;
    dp_cdc_run_state state;  /* for whoever watches */
    uint64_t seen_row_count; /* at the last look */
    uint64_t open_first_row; /* at the look before the open transaction */
    dp_lsn open_after;       /* the end before the open transaction */
    int64_t stop_seen_at_us; /* 0: not told to stop */

    dp_batch_tally tally;
    const dp_poison_record *poison; /* on its way into quarantine */
    bool is_new_poison;             /* its answer */
    dp_batch_mark transaction_start;
    bool transaction_is_passed; /* its changes were left out, as its BEGIN told */
    bool transaction_is_whole;  /* all of the open transaction's lines are in `building` */
    uint64_t transaction_poison_count;
    bool has_high_watermark;
    dp_lsn high_watermark;
} cdc_run;

static bool is_enough(const cdc_run *run)
{
    uint64_t sent_count = run->summary->batch_count + run->flight_count;
    return run->options->max_batches > 0 && sent_count >= run->options->max_batches;
}

static bool is_stopping(const cdc_run *run)
{
    return run->options->stop != NULL && *run->options->stop != 0;
}

/* An answer that is on its way is waited for a little when the pipeline is told to stop. */
static bool is_grace_over(cdc_run *run)
{
    if (!is_stopping(run)) return false;
    int64_t now_us = dp_clock_monotonic_us();
    if (run->stop_seen_at_us == 0) run->stop_seen_at_us = now_us;
    return now_us - run->stop_seen_at_us > STOP_GRACE_MS * 1000;
}

/* --- for whoever watches --- */

static bool is_inside_transaction(const cdc_run *run)
{
    return run->decoder != NULL && dp_decoder_in_transaction(run->decoder);
}

static uint64_t row_count(const cdc_run *run)
{
    uint64_t in_flight_count = 0;
    for (unsigned i = 0; i < run->flight_count; i++) {
        in_flight_count += run->flights[(run->first_flight + i) % DP_BATCH_LANES].body.event_count;
    }
    size_t building_count = run->building == NULL ? 0 : dp_batch_writer_event_count(run->building);
    return run->summary->event_count + in_flight_count + building_count;
}

/* A transaction is the same one as long as no other has ended: looked at now and then, never per change. */
static void look_at_open_transaction(cdc_run *run, int64_t now_us)
{
    dp_cdc_run_state *state = &run->state;
    bool is_other = state->open_since_us == 0 || run->sent_end.value != run->open_after.value;
    uint64_t rows = row_count(run);
    if (!is_inside_transaction(run)) {
        state->open_since_us = 0;
    } else if (is_other) {
        state->open_since_us = now_us;
        run->open_after = run->sent_end;
        run->open_first_row = run->seen_row_count;
    }
    run->seen_row_count = rows;
    state->open_row_count = rows > run->open_first_row ? rows - run->open_first_row : 0;
}

static void publish(cdc_run *run)
{
    if (run->options->publish == NULL) return;
    run->published_at_us = dp_clock_monotonic_us();
    look_at_open_transaction(run, run->published_at_us);
    run->state.read_count = row_count(run) + run->summary->skipped_transaction_count;
    run->state.has_high_watermark = run->has_high_watermark;
    run->state.high_watermark = run->high_watermark;
    run->options->publish(run->options->publish_context, run->summary, &run->state);
}

static void note_sink_trouble(cdc_run *run, const dp_error *trouble)
{
    snprintf(run->state.sink_trouble, sizeof run->state.sink_trouble, "%.500s", trouble->message);
}

static void note_source_trouble(cdc_run *run, const dp_error *trouble)
{
    if (run->state.source_since_us == 0) run->state.source_since_us = dp_clock_monotonic_us();
    run->state.is_slot_held = dp_source_blocker_is(trouble, DP_SOURCE_BLOCKER_SLOT_IN_USE);
    snprintf(run->state.source_trouble, sizeof run->state.source_trouble, "%.500s", trouble->message);
}

static void note_source_works(cdc_run *run)
{
    run->state.source_since_us = 0;
    run->state.is_slot_held = false;
    run->state.source_trouble[0] = '\0';
}

static void note_sink_asked(cdc_run *run)
{
    if (run->state.sink_since_us == 0) run->state.sink_since_us = dp_clock_monotonic_us();
}

static void note_sink_answered(cdc_run *run)
{
    run->state.sink_since_us = run->flight_count > 0 ? dp_clock_monotonic_us() : 0;
    run->state.sink_trouble[0] = '\0';
}

static void report(cdc_run *run, const dp_error *trouble)
{
    int64_t now_us = dp_clock_monotonic_us();
    bool is_due = trouble != NULL || now_us - run->reported_at_us >= REPORT_INTERVAL_MS * 1000;
    if (trouble != NULL || now_us - run->published_at_us >= REPORT_INTERVAL_MS * 1000) publish(run);
    if (run->options->report == NULL || !is_due) return;
    run->reported_at_us = now_us;
    run->options->report(run->options->report_context, run->summary, trouble);
}

/* --- waiting --- */

/* Sleeps while the sink is down, looking after the source meanwhile. */
static dp_status back_off(cdc_run *run, unsigned wait_ms, dp_error *error)
{
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)wait_ms * 1000;
    while (!is_stopping(run)) {
        int64_t left_ms = (until_us - dp_clock_monotonic_us()) / 1000;
        if (left_ms <= 0) return DP_STATUS_OK;
        dp_clock_sleep_ms(left_ms < 100 ? (unsigned)left_ms + 1 : 100);
        dp_status status =
            run->source->tick == NULL ? DP_STATUS_OK : run->source->tick(run->source->self, error);
        if (status != DP_STATUS_OK) return status;
    }
    return dp_error_set(error, DP_STATUS_CANCELLED, "stopped while the sink was down");
}

static unsigned next_backoff_ms(unsigned backoff_ms)
{
    return backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : backoff_ms * 2;
}

/* Repeats a small request for as long as the sink is down. When told to stop, the first failure ends it. */
static dp_status insist(cdc_run *run, dp_status (*request)(cdc_run *run, dp_error *error), dp_error *error)
{
    unsigned backoff_ms = FIRST_BACKOFF_MS;
    note_sink_asked(run);
    publish(run); /* the request may keep us from calling for long */
    for (;;) {
        dp_error trouble = DP_ERROR_INIT;
        dp_status status = request(run, &trouble);
        if (status == DP_STATUS_OK) {
            note_sink_answered(run);
            return DP_STATUS_OK;
        }
        if (!dp_status_retryable(status) || is_stopping(run)) {
            if (error->status == DP_STATUS_OK) *error = trouble;
            return status;
        }
        note_sink_trouble(run, &trouble);
        report(run, &trouble);
        status = back_off(run, backoff_ms, error);
        if (status != DP_STATUS_OK) return status;
        backoff_ms = next_backoff_ms(backoff_ms);
    }
}

/* --- offsets --- */

static bool is_save_needed(const cdc_run *run)
{
    return run->has_passed && (!run->has_stored || run->passed.value > run->stored.value);
}

static dp_status request_save(cdc_run *run, dp_error *error)
{
    dp_offset offset = dp_offset_of_lsn(run->passed);
    dp_status status = run->sink->save_offset(run->sink->self, &offset, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_OFFSET_SAVED);
    run->has_stored = true;
    run->stored = run->passed;
    run->saved_at_us = dp_clock_monotonic_us();
    run->summary->has_offset = true;
    run->summary->offset = offset;
    return DP_STATUS_OK;
}

static dp_status confirm_stored(cdc_run *run, dp_error *error)
{
    return run->source->confirm == NULL ? DP_STATUS_OK
                                        : run->source->confirm(run->source->self, run->stored, error);
}

/* Saves what passed the gate, for as long as that takes, and tells the source. */
static dp_status save_offset(cdc_run *run, dp_error *error)
{
    if (!is_save_needed(run)) return DP_STATUS_OK;
    dp_status status = insist(run, request_save, error);
    return status == DP_STATUS_OK ? confirm_stored(run, error) : status;
}

/* The offset only lags while the sink is down, so a failure waits for the next time. */
static dp_status save_offset_when_due(cdc_run *run, dp_error *error)
{
    int64_t now_us = dp_clock_monotonic_us();
    if (!is_save_needed(run) || now_us - run->saved_at_us < (int64_t)run->options->offset_interval_ms * 1000)
        return DP_STATUS_OK;
    dp_error trouble = DP_ERROR_INIT;
    note_sink_asked(run);
    publish(run);
    dp_status status = request_save(run, &trouble);
    if (status == DP_STATUS_OK) {
        note_sink_answered(run);
        return confirm_stored(run, error);
    }
    if (dp_status_retryable(status)) {
        note_sink_trouble(run, &trouble);
        report(run, &trouble);
        run->saved_at_us = now_us;
        return DP_STATUS_OK;
    }
    if (error->status == DP_STATUS_OK) *error = trouble;
    return status;
}

/* --- receipts and the gate --- */

static dp_status refuse_by_gate(cdc_run *run, const dp_gate_result *result, dp_error *error)
{
    for (int blocker = 0; blocker < DP_GATE_BLOCKER_COUNT; blocker++) {
        if (!result->blockers[blocker]) continue;
        run->summary->blocker = dp_gate_blocker_text((dp_gate_blocker)blocker);
        return dp_error_set_code(error, DP_STATUS_BLOCKED, run->summary->blocker,
                                 "the commit gate refused the offset: %s: %s", run->summary->blocker,
                                 dp_gate_blocker_description((dp_gate_blocker)blocker));
    }
    return DP_STATUS_OK;
}

static dp_status pass_gate(cdc_run *run, dp_receipt *receipt, const dp_batch_offsets *offsets,
                           bool has_duplicates, dp_error *error)
{
    dp_offset expected = dp_offset_of_lsn(offsets->next_offset);
    bool is_echoed = receipt->has_next_offset && receipt->next_offset.backend == expected.backend &&
                     dp_offset_compare(&receipt->next_offset, &expected) == 0;
    receipt->idempotency_passed &= !has_duplicates;
    dp_gate_result result = dp_receipt_evaluate(receipt, run->options->stream.backend);
    if (!result.can_commit) return refuse_by_gate(run, &result, error);
    if (!is_echoed) {
        return dp_error_set(error, DP_STATUS_DATA, "the receipt's next_offset is %s, but the batch said %s",
                            receipt->next_offset.token, expected.token);
    }
    if (run->has_passed && offsets->next_offset.value < run->passed.value) {
        dp_gate_result_block(&result, DP_GATE_BLOCKER_OFFSET_REGRESSION);
        return refuse_by_gate(run, &result, error);
    }
    dp_crash_point(DP_CRASH_GATE_PASSED);
    run->has_passed = true;
    run->passed = offsets->next_offset;
    return DP_STATUS_OK;
}

/* A part that moves no offset is not asked for one, and its rows may be staged. A sink that failed to take it
 * must stop the run all the same: the offset of a later part would pass its rows. */
static dp_status check_part(cdc_run *run, const dp_receipt *receipt, bool has_duplicates, dp_error *error)
{
    dp_gate_result result = dp_receipt_evaluate(receipt, run->options->stream.backend);
    dp_slice load_status = dp_slice_trim(dp_slice_of_text(receipt->load_status));
    bool is_staged = dp_slice_equal_ignoring_case(load_status, DP_SLICE_LITERAL("staged"));
    result.blockers[DP_GATE_BLOCKER_OFFSET_MISSING] = false;
    result.blockers[DP_GATE_BLOCKER_OFFSET_BACKEND_MISMATCH] = false;
    result.blockers[DP_GATE_BLOCKER_LOAD_NOT_COMMITTED] &= !is_staged;
    result.blockers[DP_GATE_BLOCKER_IDEMPOTENCY_FAILED] |= has_duplicates;
    return refuse_by_gate(run, &result, error);
}

static dp_status take_receipt(cdc_run *run, const dp_batch_body *body, const dp_batch_offsets *offsets,
                              bool has_duplicates, const dp_batch_answer *answer, dp_error *error)
{
    dp_receipt receipt;
    dp_batch_counts counts;
    dp_status status = dp_receipt_parse(answer->body, "receipt", &receipt, error);
    if (status == DP_STATUS_OK) status = dp_batch_answer_check(answer->body, body, &counts, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_RECEIPT_READ);
    run->summary->batch_count++;
    run->summary->event_count += body->event_count;
    dp_batch_tally_add(&run->tally, &counts, answer->is_replayed);
    run->summary->accepted_count = run->tally.accepted_count;
    run->summary->duplicate_count = run->tally.duplicate_count;
    run->state.receipt_wall_us = dp_clock_wall_us();
    memcpy(run->state.receipt_batch_id, body->batch_id, sizeof run->state.receipt_batch_id);
    if (!offsets->has_next_offset) return check_part(run, &receipt, has_duplicates, error);
    return pass_gate(run, &receipt, offsets, has_duplicates, error);
}

/* --- what the sink takes --- */

/* An event that the sink would refuse whatever batch it is in is poison like one above the own limit, so that
 * it is known before it is sent. A batch above the sink's limit is halved when it is refused. */
static dp_status learn_limits(cdc_run *run, dp_error *error)
{
    size_t event_bytes = 0;
    dp_batch_body smallest = {.bytes = DP_BUFFER_INIT(HEADER_AND_TRAILER_BYTES)};
    const dp_batch_offsets offsets = {.has_next_offset = true,
                                      .next_offset = {UINT64_MAX},
                                      .has_stored_offset = true,
                                      .stored_offset = {UINT64_MAX},
                                      .has_high_watermark = true,
                                      .high_watermark = {UINT64_MAX}};
    run->limits = run->options->limits;
    if (run->sink->limits == NULL) return DP_STATUS_OK;
    run->sink->limits(run->sink->self, &run->sink_max_bytes, &event_bytes);
    dp_status status = dp_batch_compose(run->hash, DP_SLICE_LITERAL(""), 0, &run->options->stream, &offsets,
                                        &smallest, error);
    size_t beside = smallest.bytes.length + COMMIT_LINE_BYTES;
    dp_buffer_release(&smallest.bytes);
    if (event_bytes > 0 && event_bytes < run->limits.max_event_bytes)
        run->limits.max_event_bytes = event_bytes;
    if (run->sink_max_bytes > beside && run->sink_max_bytes - beside < run->limits.max_event_bytes)
        run->limits.max_event_bytes = run->sink_max_bytes - beside;
    return status;
}

/* A refusal that the known limits do not explain: the server was started again with others. What is decoded
 * from now on keeps to them. A failure to learn them changes nothing. */
static void learn_limits_again(cdc_run *run, const dp_batch_body *refused)
{
    dp_offset offset;
    bool found;
    dp_error ignored = DP_ERROR_INIT;
    if (refused->bytes.length > run->sink_max_bytes) return;
    dp_status status =
        run->sink->load_offset(run->sink->self, run->options->stream.backend, &offset, &found, &ignored);
    if (status == DP_STATUS_OK) status = learn_limits(run, &ignored);
    if (status == DP_STATUS_OK) dp_batch_writer_lower_max_event(run->building, run->limits.max_event_bytes);
}

/* --- delivery --- */

static flight *flight_at(cdc_run *run, unsigned index)
{
    return &run->flights[(run->first_flight + index) % DP_BATCH_LANES];
}

static unsigned lane_of(const cdc_run *run, const flight *f)
{
    return (unsigned)(f - run->flights);
}

/* Whether delivering the same batch again may help: a transport failure, a server error, or a refusal that
 * passes. */
static bool is_worth_repeating(dp_status status, const dp_batch_answer *answer)
{
    if (status != DP_STATUS_OK) return dp_status_retryable(status);
    return answer->http_status >= 500 || answer->http_status == 408 || answer->http_status == 425 ||
           answer->http_status == 429 || dp_batch_answer_is_in_flight(answer->http_status, answer->body);
}

/* Waits for any answer and keeps it with its batch. */
static void take_answer(cdc_run *run, int timeout_ms, bool *taken)
{
    dp_error error = DP_ERROR_INIT;
    dp_batch_answer answer = {.http_status = 0};
    *taken = false;
    dp_status status = run->sink->wait(run->sink->self, timeout_ms, taken, &answer, &error);
    *taken |= status != DP_STATUS_OK;
    if (!*taken) return;
    flight *f = &run->flights[answer.lane];
    bool is_first = answer.lane == run->first_flight;
    bool again = !is_first && is_worth_repeating(status, &answer);
    f->state = again ? FLIGHT_UNSENT : FLIGHT_ANSWERED;
    f->answer_status = status;
    f->answer = answer;
    f->answer_error = error;
    run->keeps_order |= answer.keeps_order;
}

/* Waits for the answer of the oldest batch, looking after the source meanwhile. */
static dp_status await_answer(cdc_run *run, dp_batch_answer *answer, dp_error *error)
{
    flight *f = flight_at(run, 0);
    while (f->state == FLIGHT_SENT) {
        if (is_grace_over(run)) {
            return dp_error_set(error, DP_STATUS_CANCELLED, "stopped while a batch was in flight");
        }
        bool taken;
        take_answer(run, TICK_MS, &taken);
        dp_status status =
            taken || run->source->tick == NULL ? DP_STATUS_OK : run->source->tick(run->source->self, error);
        if (status != DP_STATUS_OK) return status;
        report(run, NULL);
    }
    *answer = f->answer;
    if (f->answer_status != DP_STATUS_OK && error->status == DP_STATUS_OK) *error = f->answer_error;
    return f->answer_status;
}

/* `after` NULL: everything before it is known to be stored. */
static dp_status submit(cdc_run *run, flight *f, const dp_batch_body *body, const char *after,
                        dp_error *error)
{
    dp_batch_delivery delivery = {.lane = lane_of(run, f),
                                  .batch_id = body->batch_id,
                                  .after = after,
                                  .body = dp_buffer_slice(&body->bytes)};
    f->state = FLIGHT_SENT;
    f->is_follower = after != NULL;
    return run->sink->submit(run->sink->self, &delivery, error);
}

/* Delivers the body until it is answered for good; for as long as the sink is down, that is for ever. */
static dp_status await_final_answer(cdc_run *run, const dp_batch_body *body, dp_batch_answer *answer,
                                    dp_error *error)
{
    unsigned backoff_ms = FIRST_BACKOFF_MS;
    for (;;) {
        dp_error trouble = DP_ERROR_INIT;
        *answer = (dp_batch_answer){.http_status = 0};
        dp_status status = await_answer(run, answer, &trouble);
        if (!is_worth_repeating(status, answer)) {
            if (status != DP_STATUS_OK && error->status == DP_STATUS_OK) *error = trouble;
            return status;
        }
        if (flight_at(run, 0)
                ->is_follower) { /* now it is the oldest: nothing is wrong with the sink, perhaps */
            status = submit(run, flight_at(run, 0), body, NULL, error);
            if (status != DP_STATUS_OK) return status;
            continue;
        }
        if (status == DP_STATUS_OK) dp_batch_refusal(answer->http_status, answer->body, &trouble);
        note_sink_trouble(run, &trouble);
        report(run, &trouble);
        unsigned wait_ms =
            answer->retry_after_s * 1000 > backoff_ms ? answer->retry_after_s * 1000 : backoff_ms;
        status = back_off(run, wait_ms > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : wait_ms, error);
        if (status != DP_STATUS_OK) return status;
        backoff_ms = next_backoff_ms(backoff_ms);
        status = submit(run, flight_at(run, 0), body, NULL, error);
        if (status != DP_STATUS_OK) return status;
    }
}

/* The batch that the others come after will never be stored under its own id. */
static void call_back_followers(cdc_run *run)
{
    for (unsigned i = 1; i < run->flight_count; i++) {
        flight *f = flight_at(run, i);
        run->sink->drop(run->sink->self, lane_of(run, f));
        f->state = FLIGHT_UNSENT;
    }
}

static dp_status deliver_in_parts(cdc_run *run, dp_batch_body *body, const dp_batch_offsets *offsets,
                                  bool has_duplicates, dp_error *error);

/* An event that was put into a batch under other limits cannot become poison any more: its change is gone.
 * The next run reads it again and knows the limits before. */
static void hint_at_refusal(const dp_batch_body *body, bool is_large_event, dp_error *error)
{
    static const char id_member[] = "{\"event_id\":\"";
    dp_slice line = {body->bytes.data + body->lines_start, body->lines_length};
    if (!is_large_event || !dp_slice_starts_with(line, DP_SLICE_LITERAL(id_member))) {
        dp_error_hint(error, "nothing of the batch was stored and the offset has not moved; batch %.64s",
                      body->batch_id);
        return;
    }
    dp_error_hint(error,
                  "event %.64s alone is more than the server takes since it was started again; the offset "
                  "has not passed it: raise the server's limit, or run again, which treats the event as "
                  "--on-poison says",
                  line.data + sizeof id_member - 1);
}

static dp_status complete_delivery(cdc_run *run, dp_batch_body *body, const dp_batch_offsets *offsets,
                                   bool has_duplicates, dp_error *error)
{
    dp_batch_answer answer;
    dp_status status = await_final_answer(run, body, &answer, error);
    if (status != DP_STATUS_OK) return status;
    if (answer.http_status == 200) return take_receipt(run, body, offsets, has_duplicates, &answer, error);
    bool is_too_large = answer.http_status == 413;
    if (is_too_large && body->event_count > 1) call_back_followers(run);
    if (!is_too_large || body->event_count <= 1) {
        dp_batch_refusal(answer.http_status, answer.body, error);
        hint_at_refusal(body, is_too_large, error);
        return error->status;
    }
    learn_limits_again(run, body);
    return deliver_in_parts(run, body, offsets, has_duplicates, error);
}

static dp_status deliver_part(cdc_run *run, dp_slice lines, size_t event_count,
                              const dp_batch_offsets *offsets, bool has_duplicates, dp_error *error)
{
    dp_batch_body part = {.bytes = DP_BUFFER_INIT(lines.length + HEADER_AND_TRAILER_BYTES)};
    dp_status status =
        dp_batch_compose(run->hash, lines, event_count, &run->options->stream, offsets, &part, error);
    if (status == DP_STATUS_OK) status = submit(run, flight_at(run, 0), &part, NULL, error);
    if (status == DP_STATUS_OK) status = complete_delivery(run, &part, offsets, has_duplicates, error);
    dp_buffer_release(&part.bytes);
    return status;
}

/* The server takes less at once than was sent: two halves, the offset with the second. */
static dp_status deliver_in_parts(cdc_run *run, dp_batch_body *body, const dp_batch_offsets *offsets,
                                  bool has_duplicates, dp_error *error)
{
    dp_slice parts[2];
    size_t event_counts[2];
    dp_slice lines = {body->bytes.data + body->lines_start, body->lines_length};
    if (!dp_batch_split(lines, body->event_count, parts, event_counts)) {
        return dp_error_set(error, DP_STATUS_LIMIT, "the server refuses a batch of one event as too large");
    }
    dp_batch_offsets first_offsets = *offsets;
    first_offsets.has_next_offset = false;
    dp_status status = deliver_part(run, parts[0], event_counts[0], &first_offsets, has_duplicates, error);
    return status == DP_STATUS_OK
               ? deliver_part(run, parts[1], event_counts[1], offsets, has_duplicates, error)
               : status;
}

/* What is behind a batch that failed for good is forgotten: nothing of it was taken into account. */
static void drop_flights(cdc_run *run)
{
    for (; run->flight_count > 0; run->flight_count--) {
        if (run->sink->drop != NULL) run->sink->drop(run->sink->self, run->first_flight);
        run->first_flight = (run->first_flight + 1) % DP_BATCH_LANES;
    }
}

/* Batches that failed while one before them was failing, too. */
static dp_status submit_unsent(cdc_run *run, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    for (unsigned i = 0; i < run->flight_count && status == DP_STATUS_OK; i++) {
        flight *f = flight_at(run, i);
        if (f->state != FLIGHT_UNSENT) continue;
        const char *after = i == 0 ? NULL : flight_at(run, i - 1)->body.batch_id;
        status = submit(run, f, &f->body, after, error);
    }
    return status;
}

/* Takes the oldest batch to its end. */
static dp_status finish_first(cdc_run *run, dp_error *error)
{
    flight *f = flight_at(run, 0);
    dp_status status = complete_delivery(run, &f->body, &f->offsets, f->has_duplicates, error);
    run->sink_failed = status != DP_STATUS_OK;
    if (status != DP_STATUS_OK) {
        drop_flights(run);
        return status;
    }
    run->summary->transaction_count += f->transaction_count;
    run->first_flight = (run->first_flight + 1) % DP_BATCH_LANES;
    run->flight_count--;
    note_sink_answered(run);
    status = submit_unsent(run, error);
    return status == DP_STATUS_OK ? save_offset_when_due(run, error) : status;
}

/* Until no more than `left` batches are in flight. */
static dp_status finish_flights(cdc_run *run, unsigned left, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (run->flight_count > left && status == DP_STATUS_OK) {
        status = finish_first(run, error);
    }
    return status;
}

/* A batch that ends inside a transaction is staged and moves no offset. So the part of an open transaction
 * that stands behind complete ones waits for the next batch: under load the offset would otherwise move only
 * when a batch happens to end with a commit. */
static bool holds_back_open_lines(const cdc_run *run)
{
    return run->has_open_lines && run->transaction_is_whole && run->transaction_start.event_count > 0;
}

static dp_status compose(cdc_run *run, flight *f, dp_error *error)
{
    dp_batch_mark end =
        holds_back_open_lines(run) ? run->transaction_start : dp_batch_writer_mark(run->building);
    dp_slice lines = dp_batch_writer_lines(run->building);
    lines.length = end.line_bytes;
    f->offsets = (dp_batch_offsets){
        .has_next_offset = run->has_end && (!run->has_open_lines || holds_back_open_lines(run)),
        .next_offset = run->last_end,
        .has_stored_offset = run->has_stored,
        .stored_offset = run->stored,
        .has_high_watermark = run->has_high_watermark,
        .high_watermark = run->high_watermark,
    };
    f->has_duplicates = end.has_duplicates;
    f->transaction_count = run->building_transaction_count;
    if (f->body.bytes.max_bytes == 0) {
        const dp_batch_limits *limits = &run->options->limits;
        f->body.bytes =
            (dp_buffer)DP_BUFFER_INIT(limits->max_bytes + limits->max_event_bytes + HEADER_AND_TRAILER_BYTES);
    }
    return dp_batch_compose(run->hash, lines, end.event_count, &run->options->stream, &f->offsets, &f->body,
                            error);
}

/* How many batches may be in flight when the one that was built joins them. The parts of one transaction go
 * one at a time: the receipt of a part is void once the transaction is complete, so a part whose answer was
 * lost could not be sent again behind the parts after it. */
static unsigned flight_limit(const cdc_run *run)
{
    unsigned wanted = run->options->batches_in_flight;
    return wanted > 1 && run->keeps_order && !run->building_continues ? wanted : 1;
}

/* What is left to build from when the batch was handed to the sink. */
static void begin_next_batch(cdc_run *run)
{
    run->building_transaction_count = 0;
    if (holds_back_open_lines(run)) {
        dp_batch_writer_drop_before(run->building, run->transaction_start);
        run->transaction_start = (dp_batch_mark){.line_bytes = 0};
        run->building_since_us = dp_clock_monotonic_us();
        run->building_continues = false;
        run->has_end = false;
        return;
    }
    dp_batch_writer_clear(run->building);
    run->building_since_us = 0;
    run->building_continues = run->has_open_lines;
    /* A batch that ends inside a transaction is staged: what is complete in it moves the offset with the next
     * one. */
    if (!run->has_open_lines) run->has_end = false;
    run->transaction_start = dp_batch_writer_mark(run->building);
    run->transaction_is_whole = false;
}

/* Sends what was built, when there is room for it; the source's next records are decoded meanwhile. */
static dp_status send_batch(cdc_run *run, dp_error *error)
{
    if (run->building_since_us == 0) return DP_STATUS_OK;
    if (is_enough(run)) return DP_STATUS_CANCELLED; /* ends the poll; read_until_end knows why */
    dp_status status = finish_flights(run, flight_limit(run) - 1, error);
    flight *f = flight_at(run, run->flight_count);
    if (status == DP_STATUS_OK) status = compose(run, f, error);
    if (status != DP_STATUS_OK) return status;
    if (dp_fault_is_planted(DP_FAULT_OFFSET_EARLY) && f->offsets.has_next_offset) {
        run->has_passed = true;
        run->passed = f->offsets.next_offset;
        status = save_offset(run, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_crash_point(DP_CRASH_BATCH_BUILT);
    const char *after = run->flight_count == 0 ? NULL : flight_at(run, run->flight_count - 1)->body.batch_id;
    status = submit(run, f, &f->body, after, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_POST_SENT);
    run->flight_count++;
    note_sink_asked(run);
    begin_next_batch(run);
    return run->options->batches_in_flight == 0 ? finish_flights(run, 0, error) : DP_STATUS_OK;
}

/* --- from records to batches --- */

static void note_first_line(cdc_run *run)
{
    if (run->building_since_us == 0) run->building_since_us = dp_clock_monotonic_us();
}

static dp_status request_quarantine(cdc_run *run, dp_error *error)
{
    return run->sink->quarantine(run->sink->self, &run->options->stream, run->poison, &run->is_new_poison,
                                 error);
}

/* Kept before the batch that passes it is sent, so the offset never passes poison that is not durable. */
static dp_status quarantine(cdc_run *run, const dp_change *change, const dp_error *cause, dp_error *error)
{
    dp_buffer context = DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_buffer bytes = DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_poison_record record;
    dp_status status = finish_flights(run, 0, error);
    if (status == DP_STATUS_OK)
        status = dp_poison_describe(run->poison_writer, change, cause, &context, &bytes, &record, error);
    run->poison = &record;
    if (status == DP_STATUS_OK) status = insist(run, request_quarantine, error);
    run->poison = NULL;
    dp_buffer_release(&context);
    dp_buffer_release(&bytes);
    if (status != DP_STATUS_OK) return status;
    if (run->is_new_poison) {
        run->summary->poison_count++;
    } else {
        run->summary->known_poison_count++;
    }
    run->transaction_poison_count++;
    return DP_STATUS_OK;
}

/* Whether the stored offset has passed the change's transaction: known early only where BEGIN tells. */
static bool is_passed(const cdc_run *run, const dp_change *change)
{
    return !run->options->from_start && run->has_stored && change->has_commit_position &&
           change->commit_position.value < run->stored.value;
}

static void start_transaction(cdc_run *run)
{
    run->transaction_start = dp_batch_writer_mark(run->building);
    run->transaction_is_whole = true;
}

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    cdc_run *run = context;
    run->transaction_is_passed = is_passed(run, change);
    if (run->transaction_is_passed) return DP_STATUS_OK;
    /* What is held back of the open transaction may fill a batch of its own. */
    while (dp_batch_writer_is_full(run->building)) {
        dp_status status = send_batch(run, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (change->ordinal == 0) {
        start_transaction(run);
        run->transaction_poison_count = 0;
    }
    dp_change numbered = *change;
    numbered.ordinal -= run->transaction_poison_count; /* the journal numbers what it holds */
    if (dp_fault_is_planted(DP_FAULT_SEQUENCE_DROPPED)) numbered.sequence = 0;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_batch_writer_put_event(run->building, &numbered, &cause);
    if (status == DP_STATUS_OK) {
        note_first_line(run);
        run->has_open_lines = true;
        return DP_STATUS_OK;
    }
    if (dp_poison_is(&cause) && run->options->on_poison == DP_ON_POISON_QUARANTINE)
        return quarantine(run, change, &cause, error);
    if (error->status == DP_STATUS_OK) *error = cause;
    return status;
}

static bool is_end_passed(const cdc_run *run, const dp_transaction_end *end)
{
    if (run->options->from_start || !run->has_stored) return false;
    /* An offset that was set by hand may point into the commit record: passed as well. */
    bool is_left_out = end->change_count > 0 && run->transaction_is_passed;
    return is_left_out || end->end_position.value <= run->stored.value;
}

/* A transaction that the stored offset has passed is taken out again, unless parts of it are sent already. */
static bool drop_passed_transaction(cdc_run *run, const dp_transaction_end *end)
{
    bool is_whole = !run->has_open_lines || run->transaction_is_whole;
    if (!is_end_passed(run, end) || !is_whole) return false;
    if (run->has_open_lines) dp_batch_writer_rollback(run->building, run->transaction_start);
    run->has_open_lines = false;
    if (dp_batch_writer_event_count(run->building) == 0 && dp_batch_writer_commit_count(run->building) == 0)
        run->building_since_us = 0;
    run->summary->skipped_transaction_count++;
    return true;
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    cdc_run *run = context;
    if (!end->has_end_position) {
        return dp_error_set_code(error, DP_STATUS_POISON, "position_missing",
                                 "transaction %u has no end position", end->transaction_id);
    }
    if (end->end_position.value <= run->sent_end.value) {
        run->summary->blocker = dp_gate_blocker_text(DP_GATE_BLOCKER_OFFSET_REGRESSION);
        return dp_error_set_code(
            error, DP_STATUS_BLOCKED, run->summary->blocker,
            "transaction %u ends at or before the transaction read before it: the source went back",
            end->transaction_id);
    }
    run->sent_end = end->end_position;
    if (drop_passed_transaction(run, end)) return DP_STATUS_OK;
    dp_transaction_end counted = *end;
    counted.change_count -= end->change_count > 0 ? run->transaction_poison_count : 0;
    run->has_open_lines = false;
    /* A transaction without changes moves the offset and leaves no line. */
    if (counted.change_count > 0) {
        dp_status status = dp_batch_writer_put_commit(run->building, &counted, error);
        if (status != DP_STATUS_OK) return status;
        run->building_transaction_count++;
    }
    note_first_line(run);
    if (is_end_passed(run, end)) return DP_STATUS_OK; /* its parts were on the way before that was known */
    run->has_end = true;
    run->last_end = end->end_position;
    /* Full batches are sent here or by the next change, so that none ends just before its commit. */
    return dp_batch_writer_is_full(run->building) ? send_batch(run, error) : DP_STATUS_OK;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    cdc_run *run = context;
    dp_crash_point(DP_CRASH_AFTER_READ);
    if (run->decoder == NULL) {
        dp_change_sink sink = {run, on_change, on_commit};
        run->decoder = dp_decoder_new(*run->options->plugin, run->options->keys, &sink);
        if (run->decoder == NULL) return dp_error_no_memory(error, "the decoder");
        dp_decoder_set_trust_nulls(run->decoder, run->options->trust_nulls);
    }
    return dp_decoder_feed(run->decoder, record, error);
}

/* Nothing is left below the idle position: when nothing is open or unsent either, it is an offset of its own.
 */
static void take_idle_position(cdc_run *run, dp_lsn position)
{
    bool is_news =
        position.value > run->sent_end.value && (!run->has_stored || position.value > run->stored.value);
    if (is_inside_transaction(run) || !is_news) return;
    run->sent_end = position;
    run->has_end = true;
    run->last_end = position;
    note_first_line(run);
}

/* --- the loop --- */

static bool is_batch_due(const cdc_run *run)
{
    if (run->building_since_us == 0) return false;
    return dp_clock_monotonic_us() - run->building_since_us >= (int64_t)run->options->batch_wait_ms * 1000;
}

static int poll_timeout_ms(const cdc_run *run)
{
    bool has_work = run->flight_count > 0 || run->building_since_us != 0;
    return has_work ? (int)(run->options->batch_wait_ms < 50 ? run->options->batch_wait_ms : 50) : TICK_MS;
}

/* Takes the receipts that are there, so that offsets move while the source is quiet. */
static dp_status look_at_flights(cdc_run *run, dp_error *error)
{
    if (run->flight_count == 0) return save_offset_when_due(run, error);
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && run->flight_count > 0 && flight_at(run, 0)->state == FLIGHT_ANSWERED) {
        status = finish_first(run, error);
    }
    return status;
}

static bool is_any_sent(cdc_run *run)
{
    for (unsigned i = 0; i < run->flight_count; i++) {
        if (flight_at(run, i)->state == FLIGHT_SENT) return true;
    }
    return false;
}

/* Moves the transfers on, without waiting, while the next batch is being built. */
static void pump_flights(cdc_run *run)
{
    bool taken = true;
    while (taken && is_any_sent(run)) {
        take_answer(run, 0, &taken);
    }
}

static dp_status request_offset(cdc_run *run, dp_error *error);

static dp_status start_source(cdc_run *run, dp_error *error)
{
    if (run->source->start == NULL) return DP_STATUS_OK;
    bool has_stored = run->has_stored && !run->options->from_start;
    return run->source->start(run->source->self, has_stored, run->stored, error);
}

/* Sends what is complete and saves the offset behind it, now. */
static dp_status settle(cdc_run *run, dp_error *error)
{
    dp_status status = run->has_open_lines ? DP_STATUS_OK : send_batch(run, error);
    if (status == DP_STATUS_OK) status = finish_flights(run, 0, error);
    if (status == DP_STATUS_OK) status = save_offset(run, error);
    /* Also when there was nothing to save: what was read may have been passed by the offset already. */
    bool may_confirm = status == DP_STATUS_OK && run->has_passed && run->source->confirm != NULL;
    return may_confirm ? run->source->confirm(run->source->self, run->passed, error) : status;
}

static void free_decoder(cdc_run *run)
{
    if (run->decoder == NULL) return;
    run->summary->doubtful_null_count += dp_decoder_doubtful_null_count(run->decoder);
    dp_decoder_free(run->decoder);
    run->decoder = NULL;
}

/* The source lost its connection and will send everything after the stored offset again: what is on its way
 * is settled and saved first, and the rest forgotten, so that nothing is counted twice. The offset is read
 * again because another consumer may have gone on from it meanwhile. */
static dp_status restart(cdc_run *run, dp_error *error)
{
    dp_status status = finish_flights(run, 0, error);
    if (status == DP_STATUS_OK) status = save_offset(run, error);
    if (status == DP_STATUS_OK && !run->options->from_start) status = insist(run, request_offset, error);
    if (status != DP_STATUS_OK) return status;
    free_decoder(run);
    dp_batch_writer_clear(run->building);
    run->transaction_start = dp_batch_writer_mark(run->building);
    run->transaction_is_whole = false;
    run->building_since_us = 0;
    run->building_continues = false;
    run->building_transaction_count = 0;
    run->has_open_lines = false;
    run->has_end = false;
    run->sent_end = (dp_lsn){0}; /* what the offset has passed may come again: it is skipped */
    return start_source(run, error);
}

static dp_status poll_once(cdc_run *run, dp_source_progress *progress, dp_error *error)
{
    dp_record_sink sink = {run, on_record};
    *progress = (dp_source_progress){.ended = false};
    dp_status status = run->source->poll(run->source->self, poll_timeout_ms(run), &sink, progress, error);
    if (status != DP_STATUS_OK) return status;
    if (progress->trouble != NULL) {
        note_source_trouble(run, progress->trouble);
        report(run, progress->trouble);
    }
    if (progress->has_high_watermark) note_source_works(run);
    if (progress->restarted) return restart(run, error);
    if (progress->wants_confirm) return settle(run, error);
    run->has_high_watermark |= progress->has_high_watermark;
    if (progress->has_high_watermark) run->high_watermark = progress->high_watermark;
    if (progress->has_idle_position) take_idle_position(run, progress->idle_position);
    pump_flights(run);
    status = look_at_flights(run, error);
    if (status == DP_STATUS_OK && is_batch_due(run)) status = send_batch(run, error);
    return status;
}

static dp_status read_until_end(cdc_run *run, dp_error *error)
{
    dp_source_progress progress = {.ended = false};
    while (!progress.ended && !is_stopping(run) && !is_enough(run)) {
        dp_status status = poll_once(run, &progress, error);
        if (status == DP_STATUS_CANCELLED && is_enough(run)) return DP_STATUS_OK;
        if (status != DP_STATUS_OK) return status;
        report(run, NULL);
    }
    if (progress.ended && is_inside_transaction(run)) {
        dp_error_set(error, DP_STATUS_DATA, "the input ends inside a transaction");
        dp_error_hint(error, "what is complete before it was delivered; take the capture again");
        return DP_STATUS_DATA;
    }
    return DP_STATUS_OK;
}

/* What is complete is delivered also when reading failed; the first error is the one that is told. */
static dp_status finish(cdc_run *run, dp_status status, dp_error *error)
{
    bool is_source_fault = status == DP_STATUS_DATA || status == DP_STATUS_POISON;
    if (run->sink_failed || (status != DP_STATUS_OK && !is_source_fault)) return status;
    /* What is open is left out; parts of it that were sent stay staged until the transaction is sent again.
     */
    if (run->has_open_lines) dp_batch_writer_rollback(run->building, run->transaction_start);
    run->has_open_lines = false;
    dp_error later = DP_ERROR_INIT;
    bool send_rest = !is_stopping(run) && !is_enough(run);
    dp_status last = send_rest ? send_batch(run, &later) : DP_STATUS_OK;
    if (last == DP_STATUS_OK) last = finish_flights(run, 0, &later);
    if (last == DP_STATUS_OK || last == DP_STATUS_CANCELLED) {
        dp_status saved = save_offset(run, &later);
        if (last == DP_STATUS_OK) last = saved;
    }
    if (status == DP_STATUS_OK && last != DP_STATUS_OK && last != DP_STATUS_CANCELLED) {
        *error = later;
        return last;
    }
    return status;
}

static dp_status request_offset(cdc_run *run, dp_error *error)
{
    dp_offset offset;
    bool found = false;
    dp_status status =
        run->sink->load_offset(run->sink->self, run->options->stream.backend, &offset, &found, error);
    if (status != DP_STATUS_OK || !found) return status;
    if (!dp_offset_lsn(&offset, &run->stored)) {
        return dp_error_set(error, DP_STATUS_BLOCKED,
                            "the stored offset '%s' is not of backend postgres_logical", offset.token);
    }
    run->has_stored = true;
    run->summary->has_offset = true;
    run->summary->offset = offset;
    /* Offsets only ever move forward: what passes the gate is compared with this. */
    run->has_passed = !run->options->from_start;
    run->passed = run->has_passed ? run->stored : (dp_lsn){0};
    return DP_STATUS_OK;
}

/* The sink waits for a small answer: the source is looked after, and what is wrong with it shows at its next
 * poll. */
static void look_after_source(void *context)
{
    cdc_run *run = context;
    dp_error ignored = DP_ERROR_INIT;
    if (run->source->tick != NULL) run->source->tick(run->source->self, &ignored);
}

static dp_status set_up(cdc_run *run, dp_error *error)
{
    const dp_cdc_run_options *options = run->options;
    run->hash = dp_sha256_new();
    run->poison_writer = dp_event_writer_new(options->stream.identity, DP_ROW_EXACT);
    if (run->hash == NULL || run->poison_writer == NULL) return dp_error_no_memory(error, "the pipeline");
    if (run->sink->set_meanwhile != NULL) run->sink->set_meanwhile(run->sink->self, look_after_source, run);
    dp_status status = insist(run, request_offset, error);
    if (status == DP_STATUS_OK) status = learn_limits(run, error);
    if (status != DP_STATUS_OK) return status;
    run->building = dp_batch_writer_new(options->stream.identity, &run->limits);
    if (run->building == NULL) return dp_error_no_memory(error, "the pipeline");
    return start_source(run, error);
}

dp_status dp_cdc_run(const dp_cdc_run_options *options, const dp_change_source *source,
                     const dp_batch_sink *sink, dp_cdc_run_summary *summary, dp_error *error)
{
    *summary = (dp_cdc_run_summary){.has_offset = false};
    cdc_run run = {.options = options, .source = source, .sink = sink, .summary = summary};
    dp_status status = set_up(&run, error);
    if (status == DP_STATUS_OK) status = finish(&run, read_until_end(&run, error), error);
    drop_flights(&run);
    if (sink->set_meanwhile != NULL) sink->set_meanwhile(sink->self, NULL, NULL);
    free_decoder(&run);
    dp_batch_writer_free(run.building);
    dp_sha256_free(run.hash);
    dp_event_writer_free(run.poison_writer);
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        dp_buffer_release(&run.flights[i].body.bytes);
    }
    return status;
}
