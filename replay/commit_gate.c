#include "replay/commit_gate.h"

static bool status_is(dp_slice status, dp_slice expected)
{
    return dp_slice_equal_ignoring_case(dp_slice_trim(status), expected);
}

static bool is_sink_success(dp_slice status)
{
    static const dp_slice words[] = {
        DP_SLICE_LITERAL("success"),
        DP_SLICE_LITERAL("succeeded"),
        DP_SLICE_LITERAL("completed"),
        DP_SLICE_LITERAL("committed"),
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (status_is(status, words[i])) return true;
    }
    return false;
}

dp_gate_result dp_commit_gate_evaluate(const dp_gate_input *input)
{
    dp_gate_result result = {.can_commit = true, .next_offset = input->next_offset};
    if (input->next_offset == NULL) {
        dp_gate_result_block(&result, DP_GATE_BLOCKER_OFFSET_MISSING);
    } else if (input->next_offset->backend != input->expected_backend) {
        dp_gate_result_block(&result, DP_GATE_BLOCKER_OFFSET_BACKEND_MISMATCH);
    }
    if (!is_sink_success(input->sink_status)) dp_gate_result_block(&result, DP_GATE_BLOCKER_SINK_NOT_SUCCESS);
    if (!status_is(input->load_status, DP_SLICE_LITERAL("committed"))) {
        dp_gate_result_block(&result, DP_GATE_BLOCKER_LOAD_NOT_COMMITTED);
    }
    if (!input->idempotency_passed) dp_gate_result_block(&result, DP_GATE_BLOCKER_IDEMPOTENCY_FAILED);
    return result;
}

void dp_gate_result_block(dp_gate_result *result, dp_gate_blocker blocker)
{
    result->blockers[blocker] = true;
    result->can_commit = false;
}

const char *dp_gate_blocker_text(dp_gate_blocker blocker)
{
    static const char *const texts[] = {
#define DP_GATE_BLOCKER_TEXT(name, text, description) text,
        DP_GATE_BLOCKER_LIST(DP_GATE_BLOCKER_TEXT)
#undef DP_GATE_BLOCKER_TEXT
    };
    return texts[blocker];
}

const char *dp_gate_blocker_description(dp_gate_blocker blocker)
{
    static const char *const descriptions[] = {
#define DP_GATE_BLOCKER_DESCRIPTION(name, text, description) description,
        DP_GATE_BLOCKER_LIST(DP_GATE_BLOCKER_DESCRIPTION)
#undef DP_GATE_BLOCKER_DESCRIPTION
    };
    return descriptions[blocker];
}
