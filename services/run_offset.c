/* Receipts, the commit gate, and the offset that they move. */
#include <string.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "services/batch_answer.h"
#include "services/run_decisions.h"
#include "services/run_internal.h"

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

dp_status run_save_offset(cdc_run *run, dp_error *error)
{
    if (!is_save_needed(run)) return DP_STATUS_OK;
    dp_status status = run_insist(run, request_save, error);
    return status == DP_STATUS_OK ? confirm_stored(run, error) : status;
}

dp_status run_save_offset_when_due(cdc_run *run, dp_error *error)
{
    int64_t now_us = dp_clock_monotonic_us();
    if (!is_save_needed(run) || now_us - run->saved_at_us < (int64_t)run->options->offset_interval_ms * 1000)
        return DP_STATUS_OK;
    dp_error trouble = DP_ERROR_INIT;
    run_note_sink_asked(run);
    run_publish(run);
    dp_status status = request_save(run, &trouble);
    if (status == DP_STATUS_OK) {
        run_note_sink_answered(run);
        return confirm_stored(run, error);
    }
    if (dp_status_retryable(status)) {
        run_note_sink_trouble(run, &trouble);
        run_report(run, &trouble);
        run->saved_at_us = now_us;
        return DP_STATUS_OK;
    }
    if (error->status == DP_STATUS_OK) *error = trouble;
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

dp_status run_load_offset(cdc_run *run, dp_error *error)
{
    return run_insist(run, request_offset, error);
}

/* OK when nothing is against it. */
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

dp_status run_take_receipt(cdc_run *run, const dp_batch_body *body, const dp_batch_offsets *offsets,
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
    if (!offsets->has_next_offset) {
        dp_gate_result part = dp_run_judge_part(&receipt, run->options->stream.backend, has_duplicates);
        return refuse_by_gate(run, &part, error);
    }
    return pass_gate(run, &receipt, offsets, has_duplicates, error);
}
