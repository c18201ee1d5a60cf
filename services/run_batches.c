/* From records to batches: what is decoded is put into the batch that is being built, and a full one is sent.
 */
#include "base/clock.h"
#include "base/crash_point.h"
#include "base/planted_fault.h"
#include "services/run_internal.h"

bool run_is_enough(const cdc_run *run)
{
    uint64_t sent_count = run->summary->batch_count + run->flight_count;
    return run->options->max_batches > 0 && sent_count >= run->options->max_batches;
}

/* A batch that ends inside a transaction is staged and moves no offset. So the part of an open transaction
 * that stands behind complete ones waits for the next batch: under load the offset would otherwise move only
 * when a batch happens to end with a commit. */
static bool holds_back_open_lines(const cdc_run *run)
{
    return run->has_open_lines && run->transaction_is_whole && run->transaction_start.event_count > 0;
}

static dp_status compose(cdc_run *run, run_flight *f, dp_error *error)
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
        f->body.bytes = (dp_buffer)DP_BUFFER_INIT(limits->max_bytes + limits->max_event_bytes +
                                                  RUN_HEADER_AND_TRAILER_BYTES);
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

dp_status run_send_batch(cdc_run *run, dp_error *error)
{
    if (run->building_since_us == 0) return DP_STATUS_OK;
    if (run_is_enough(run)) return DP_STATUS_CANCELLED; /* ends the poll; read_until_end knows why */
    dp_status status = run_finish_flights(run, flight_limit(run) - 1, error);
    run_flight *f = run_next_flight(run);
    if (status == DP_STATUS_OK) status = compose(run, f, error);
    if (status != DP_STATUS_OK) return status;
    if (dp_fault_is_planted(DP_FAULT_OFFSET_EARLY) && f->offsets.has_next_offset) {
        run->has_passed = true;
        run->passed = f->offsets.next_offset;
        status = run_save_offset(run, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_crash_point(DP_CRASH_BATCH_BUILT);
    status = run_launch(run, error);
    if (status != DP_STATUS_OK) return status;
    begin_next_batch(run);
    return run->options->batches_in_flight == 0 ? run_finish_flights(run, 0, error) : DP_STATUS_OK;
}

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
    dp_status status = run_finish_flights(run, 0, error);
    if (status == DP_STATUS_OK)
        status = dp_poison_describe(run->poison_writer, change, cause, &context, &bytes, &record, error);
    run->poison = &record;
    if (status == DP_STATUS_OK) status = run_insist(run, request_quarantine, error);
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
        dp_status status = run_send_batch(run, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (change->ordinal == 0) {
        start_transaction(run);
        run->transaction_poison_count = 0;
    }
    dp_change numbered = *change;
    numbered.ordinal -= run->transaction_poison_count; /* the journal numbers what it holds */
    if (dp_fault_is_planted(DP_FAULT_SEQUENCE_DROPPED)) numbered.sequence = 0;
    dp_status status = dp_batch_writer_put_event(run->building, &numbered, error);
    if (status == DP_STATUS_OK) {
        note_first_line(run);
        run->has_open_lines = true;
        return DP_STATUS_OK;
    }
    if (!dp_poison_is(error) || run->options->on_poison != DP_ON_POISON_QUARANTINE) return status;
    const dp_error cause = *error;
    dp_error_clear(error);
    return quarantine(run, change, &cause, error);
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
    run_leave_out_open_transaction(run);
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
    return dp_batch_writer_is_full(run->building) ? run_send_batch(run, error) : DP_STATUS_OK;
}

dp_status run_on_record(void *context, const dp_record *record, dp_error *error)
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

void run_take_idle_position(cdc_run *run, dp_lsn position)
{
    bool is_news =
        position.value > run->sent_end.value && (!run->has_stored || position.value > run->stored.value);
    if (run_is_inside_transaction(run) || !is_news) return;
    run->sent_end = position;
    run->has_end = true;
    run->last_end = position;
    note_first_line(run);
}

void run_free_decoder(cdc_run *run)
{
    if (run->decoder == NULL) return;
    run->summary->doubtful_null_count += dp_decoder_doubtful_null_count(run->decoder);
    dp_decoder_free(run->decoder);
    run->decoder = NULL;
}

void run_leave_out_open_transaction(cdc_run *run)
{
    if (run->has_open_lines) dp_batch_writer_rollback(run->building, run->transaction_start);
    run->has_open_lines = false;
}

void run_forget_unsent(cdc_run *run)
{
    run_free_decoder(run);
    dp_batch_writer_clear(run->building);
    run->transaction_start = dp_batch_writer_mark(run->building);
    run->transaction_is_whole = false;
    run->building_since_us = 0;
    run->building_continues = false;
    run->building_transaction_count = 0;
    run->has_open_lines = false;
    run->has_end = false;
    run->sent_end = (dp_lsn){0}; /* what the offset has passed may come again: it is skipped */
}
