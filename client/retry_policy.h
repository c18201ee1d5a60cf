/* Decides, after an attempt has failed, whether another one follows and how long to wait before it.
 *
 * Pure: no clock, no random source, no sleeping; the caller passes both in and does the waiting. The wait
 * before attempt n+1 has the ceiling clamp(multiplier * 2^(n-1), min, max); with jitter it is uniform in
 * [min, ceiling]. What the server asked for in Retry-After is a lower bound, and too much of it ends the
 * operation. A total deadline is never slept past. Safe from any thread: nothing is kept.
 */
#ifndef DPONE_CLIENT_RETRY_POLICY_H
#define DPONE_CLIENT_RETRY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dp_retry_policy {
    unsigned attempt_count; /* first attempt included; 1 never retries */
    int64_t min_wait_us;
    int64_t max_wait_us;
    int64_t multiplier_us; /* the ceiling after the first attempt */
    int64_t retry_after_max_us;
    bool jitter;
} dp_retry_policy;

typedef struct dp_retry_question {
    unsigned attempt;       /* the one that failed, from 1 */
    bool retryable;         /* whether its outcome may be repeated at all */
    bool probe;             /* it was a half-open breaker's probe: one attempt, no more */
    int64_t retry_after_us; /* what the server asked for; negative: nothing */
    int64_t now_us;         /* monotonic */
    int64_t deadline_us;    /* monotonic; INT64_MAX: none */
    uint64_t random;        /* uniform over all values */
} dp_retry_question;

/* X(name, text): the answers, in the order in which they are looked for. */
#define DP_RETRY_VERDICT_LIST(X)                                                                             \
    X(NOT_RETRYABLE, "not retryable")                                                                        \
    X(PROBE, "the attempt was the circuit breaker's probe")                                                  \
    X(ATTEMPTS, "no attempts left")                                                                          \
    X(RETRY_AFTER, "Retry-After asks for too long a wait")                                                   \
    X(DEADLINE, "the next attempt would start after the deadline")                                           \
    X(BUDGET, "the retry budget is spent")                                                                   \
    X(AGAIN, "another attempt follows")

typedef enum dp_retry_verdict {
#define DP_RETRY_VERDICT_ENUM(name, text) DP_RETRY_##name,
    DP_RETRY_VERDICT_LIST(DP_RETRY_VERDICT_ENUM)
#undef DP_RETRY_VERDICT_ENUM
} dp_retry_verdict;

const char *dp_retry_verdict_text(dp_retry_verdict verdict);

/* The ceiling of the wait after `attempt` (from 1), before Retry-After. Never overflows. */
int64_t dp_retry_ceiling_us(const dp_retry_policy *policy, unsigned attempt);

/* DP_RETRY_AGAIN with *wait_us set, or why not. Never answers DP_RETRY_BUDGET: the budget is asked
 * afterwards, and only for an attempt that would follow. */
dp_retry_verdict dp_retry_decide(const dp_retry_policy *policy, const dp_retry_question *question,
                                 int64_t *wait_us);

#endif
