#include "services/run_decisions.h"

#include "services/batch_answer.h"

dp_gate_result dp_run_judge_part(const dp_receipt *receipt, dp_backend backend, bool has_duplicates)
{
    dp_gate_result result = dp_receipt_evaluate(receipt, backend);
    dp_slice load_status = dp_slice_trim(dp_slice_of_text(receipt->load_status));
    bool is_staged = dp_slice_equal_ignoring_case(load_status, DP_SLICE_LITERAL("staged"));
    result.blockers[DP_GATE_BLOCKER_OFFSET_MISSING] = false;
    result.blockers[DP_GATE_BLOCKER_OFFSET_BACKEND_MISMATCH] = false;
    result.blockers[DP_GATE_BLOCKER_LOAD_NOT_COMMITTED] &= !is_staged;
    result.blockers[DP_GATE_BLOCKER_IDEMPOTENCY_FAILED] |= has_duplicates;
    return result;
}

bool dp_run_is_worth_repeating(dp_status status, const dp_batch_answer *answer)
{
    if (status != DP_STATUS_OK) return dp_status_retryable(status);
    return answer->http_status >= 500 || answer->http_status == 408 || answer->http_status == 425 ||
           answer->http_status == 429 || dp_batch_answer_is_in_flight(answer->http_status, answer->body);
}

unsigned dp_run_wait_ms(unsigned backoff_ms, unsigned retry_after_s)
{
    unsigned wait_ms = retry_after_s * 1000 > backoff_ms ? retry_after_s * 1000 : backoff_ms;
    return wait_ms > DP_RUN_LAST_BACKOFF_MS ? DP_RUN_LAST_BACKOFF_MS : wait_ms;
}

unsigned dp_run_next_backoff_ms(unsigned backoff_ms)
{
    return backoff_ms * 2 > DP_RUN_LAST_BACKOFF_MS ? DP_RUN_LAST_BACKOFF_MS : backoff_ms * 2;
}
