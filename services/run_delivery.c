/* Batches in flight: handed to the sink, sent again, halved, called back, and taken to their end in order. */
#include "base/crash_point.h"
#include "services/batch_answer.h"
#include "services/run_decisions.h"
#include "services/run_internal.h"

enum { COMMIT_LINE_BYTES = 256 };

/* An event that the sink would refuse whatever batch it is in is poison like one above the own limit, so that
 * it is known before it is sent. A batch above the sink's limit is halved when it is refused. */
dp_status run_learn_limits(cdc_run *run, dp_error *error)
{
    size_t event_bytes = 0;
    dp_batch_body smallest = {.bytes = DP_BUFFER_INIT(RUN_HEADER_AND_TRAILER_BYTES)};
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
    if (status == DP_STATUS_OK) status = run_learn_limits(run, &ignored);
    if (status == DP_STATUS_OK) dp_batch_writer_lower_max_event(run->building, run->limits.max_event_bytes);
}

static run_flight *flight_at(cdc_run *run, unsigned index)
{
    return &run->flights[(run->first_flight + index) % DP_BATCH_LANES];
}

static unsigned lane_of(const cdc_run *run, const run_flight *f)
{
    return (unsigned)(f - run->flights);
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
    run_flight *f = &run->flights[answer.lane];
    bool is_first = answer.lane == run->first_flight;
    bool again = !is_first && dp_run_is_worth_repeating(status, &answer);
    f->state = again ? FLIGHT_UNSENT : FLIGHT_ANSWERED;
    f->answer_status = status;
    f->answer = answer;
    f->answer_error = error;
    run->keeps_order |= answer.keeps_order;
}

/* Waits for the answer of the oldest batch, looking after the source meanwhile. */
static dp_status await_answer(cdc_run *run, dp_batch_answer *answer, dp_error *error)
{
    run_flight *f = flight_at(run, 0);
    while (f->state == FLIGHT_SENT) {
        if (run_is_grace_over(run)) {
            return dp_error_set(error, DP_STATUS_CANCELLED, "stopped while a batch was in flight");
        }
        bool taken;
        take_answer(run, RUN_TICK_MS, &taken);
        dp_status status =
            taken || run->source->tick == NULL ? DP_STATUS_OK : run->source->tick(run->source->self, error);
        if (status != DP_STATUS_OK) return status;
        run_report(run, NULL);
    }
    *answer = f->answer;
    if (f->answer_status != DP_STATUS_OK && error->status == DP_STATUS_OK) *error = f->answer_error;
    return f->answer_status;
}

/* `after` NULL: everything before it is known to be stored. */
static dp_status submit(cdc_run *run, run_flight *f, const dp_batch_body *body, const char *after,
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
    unsigned backoff_ms = DP_RUN_FIRST_BACKOFF_MS;
    for (;;) {
        dp_error trouble = DP_ERROR_INIT;
        *answer = (dp_batch_answer){.http_status = 0};
        dp_status status = await_answer(run, answer, &trouble);
        if (!dp_run_is_worth_repeating(status, answer)) {
            if (status != DP_STATUS_OK && error->status == DP_STATUS_OK) *error = trouble;
            return status;
        }
        /* Now it is the oldest: nothing is wrong with the sink, perhaps. */
        if (flight_at(run, 0)->is_follower) {
            status = submit(run, flight_at(run, 0), body, NULL, error);
            if (status != DP_STATUS_OK) return status;
            continue;
        }
        if (status == DP_STATUS_OK) dp_batch_refusal(answer->http_status, answer->body, &trouble);
        run_note_sink_trouble(run, &trouble);
        run_report(run, &trouble);
        status = run_back_off(run, dp_run_wait_ms(backoff_ms, answer->retry_after_s), error);
        if (status != DP_STATUS_OK) return status;
        backoff_ms = dp_run_next_backoff_ms(backoff_ms);
        status = submit(run, flight_at(run, 0), body, NULL, error);
        if (status != DP_STATUS_OK) return status;
    }
}

run_flight *run_next_flight(cdc_run *run)
{
    return flight_at(run, run->flight_count);
}

dp_status run_launch(cdc_run *run, dp_error *error)
{
    run_flight *f = run_next_flight(run);
    const char *after = run->flight_count == 0 ? NULL : flight_at(run, run->flight_count - 1)->body.batch_id;
    dp_status status = submit(run, f, &f->body, after, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_POST_SENT);
    run->flight_count++;
    run_note_sink_asked(run);
    return DP_STATUS_OK;
}

/* The batch that the others come after will never be stored under its own id. */
static void call_back_followers(cdc_run *run)
{
    for (unsigned i = 1; i < run->flight_count; i++) {
        run_flight *f = flight_at(run, i);
        run->sink->drop(run->sink->self, lane_of(run, f));
        f->state = FLIGHT_UNSENT;
    }
}

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

static dp_status deliver_in_parts(cdc_run *run, dp_batch_body *body, const dp_batch_offsets *offsets,
                                  bool has_duplicates, dp_error *error);

static dp_status complete_delivery(cdc_run *run, dp_batch_body *body, const dp_batch_offsets *offsets,
                                   bool has_duplicates, dp_error *error)
{
    dp_batch_answer answer;
    dp_status status = await_final_answer(run, body, &answer, error);
    if (status != DP_STATUS_OK) return status;
    if (answer.http_status == 200)
        return run_take_receipt(run, body, offsets, has_duplicates, &answer, error);
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
    dp_batch_body part = {.bytes = DP_BUFFER_INIT(lines.length + RUN_HEADER_AND_TRAILER_BYTES)};
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

void run_drop_flights(cdc_run *run)
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
        run_flight *f = flight_at(run, i);
        if (f->state != FLIGHT_UNSENT) continue;
        const char *after = i == 0 ? NULL : flight_at(run, i - 1)->body.batch_id;
        status = submit(run, f, &f->body, after, error);
    }
    return status;
}

/* Takes the oldest batch to its end. */
static dp_status finish_first(cdc_run *run, dp_error *error)
{
    run_flight *f = flight_at(run, 0);
    dp_status status = complete_delivery(run, &f->body, &f->offsets, f->has_duplicates, error);
    run->sink_failed = status != DP_STATUS_OK;
    if (status != DP_STATUS_OK) {
        run_drop_flights(run);
        return status;
    }
    run->summary->transaction_count += f->transaction_count;
    run->first_flight = (run->first_flight + 1) % DP_BATCH_LANES;
    run->flight_count--;
    run_note_sink_answered(run);
    status = submit_unsent(run, error);
    return status == DP_STATUS_OK ? run_save_offset_when_due(run, error) : status;
}

dp_status run_finish_flights(cdc_run *run, unsigned left, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (run->flight_count > left && status == DP_STATUS_OK) {
        status = finish_first(run, error);
    }
    return status;
}

dp_status run_look_at_flights(cdc_run *run, dp_error *error)
{
    if (run->flight_count == 0) return run_save_offset_when_due(run, error);
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

void run_pump_flights(cdc_run *run)
{
    bool taken = true;
    while (taken && is_any_sent(run)) {
        take_answer(run, 0, &taken);
    }
}
