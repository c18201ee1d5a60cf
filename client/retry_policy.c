#include "client/retry_policy.h"

#include <stddef.h>

const char *dp_retry_verdict_text(dp_retry_verdict verdict)
{
    static const char *const texts[] = {
#define DP_RETRY_VERDICT_TEXT(name, text) text,
        DP_RETRY_VERDICT_LIST(DP_RETRY_VERDICT_TEXT)
#undef DP_RETRY_VERDICT_TEXT
    };
    size_t index = (size_t)verdict;
    return index < sizeof texts / sizeof texts[0] ? texts[index] : "unknown";
}

int64_t dp_retry_ceiling_us(const dp_retry_policy *policy, unsigned attempt)
{
    int64_t ceiling = policy->multiplier_us;
    for (unsigned n = 1; n < attempt && ceiling < policy->max_wait_us; n++) {
        ceiling = ceiling > INT64_MAX / 2 ? INT64_MAX : ceiling * 2;
        if (ceiling == 0) break;
    }
    if (ceiling > policy->max_wait_us) ceiling = policy->max_wait_us;
    return ceiling < policy->min_wait_us ? policy->min_wait_us : ceiling;
}

static int64_t wait_of(const dp_retry_policy *policy, const dp_retry_question *question)
{
    int64_t wait = dp_retry_ceiling_us(policy, question->attempt);
    if (policy->jitter) {
        uint64_t width = (uint64_t)(wait - policy->min_wait_us) + 1;
        wait = policy->min_wait_us + (int64_t)(question->random % width);
    }
    return question->retry_after_us > wait ? question->retry_after_us : wait;
}

dp_retry_verdict dp_retry_decide(const dp_retry_policy *policy, const dp_retry_question *question,
                                 int64_t *wait_us)
{
    if (!question->retryable) return DP_RETRY_NOT_RETRYABLE;
    if (question->probe) return DP_RETRY_PROBE;
    if (question->attempt >= policy->attempt_count) return DP_RETRY_ATTEMPTS;
    if (question->retry_after_us > policy->retry_after_max_us) return DP_RETRY_RETRY_AFTER;
    int64_t wait = wait_of(policy, question);
    if (wait >= question->deadline_us - question->now_us) return DP_RETRY_DEADLINE;
    *wait_us = wait;
    return DP_RETRY_AGAIN;
}
