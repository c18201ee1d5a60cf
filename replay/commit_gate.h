/* The commit gate: may a pipeline's offset move forward? Only when the data behind it is durable.
 *
 * A function of its arguments: no I/O, no clock, no allocation; safe from any thread. It never saves an
 * offset; a caller saves result.next_offset, and only when result.can_commit.
 */
#ifndef DPONE_REPLAY_COMMIT_GATE_H
#define DPONE_REPLAY_COMMIT_GATE_H

#include "replay/offset_token.h"

/* In the order in which a result lists them; the texts are stable. The gate itself never sets the last one: a
 * running pipeline adds it when it compares with the offset it has stored. X(name, text, description) */
#define DP_GATE_BLOCKER_LIST(X)                                                                              \
    X(OFFSET_MISSING, "offset_missing", "there is no next offset to commit")                                 \
    X(OFFSET_BACKEND_MISMATCH, "offset_backend_mismatch",                                                    \
      "the next offset belongs to another backend than expected")                                            \
    X(SINK_NOT_SUCCESS, "sink_not_success",                                                                  \
      "the sink's status is none of success, succeeded, completed and committed")                            \
    X(LOAD_NOT_COMMITTED, "load_not_committed", "the load's status is not committed")                        \
    X(IDEMPOTENCY_FAILED, "idempotency_failed", "the batch did not pass the idempotency check")              \
    X(OFFSET_REGRESSION, "offset_regression", "the next offset is behind the one that is stored")

typedef enum dp_gate_blocker {
#define DP_GATE_BLOCKER_ENUM(name, text, description) DP_GATE_BLOCKER_##name,
    DP_GATE_BLOCKER_LIST(DP_GATE_BLOCKER_ENUM)
#undef DP_GATE_BLOCKER_ENUM
        DP_GATE_BLOCKER_COUNT
} dp_gate_blocker;

typedef struct dp_gate_input {
    const dp_offset *next_offset; /* NULL: the batch moves none */
    dp_backend expected_backend;
    dp_slice sink_status; /* compared without surrounding white space and ASCII case, as is load_status */
    dp_slice load_status;
    bool idempotency_passed;
} dp_gate_input;

typedef struct dp_gate_result {
    bool can_commit;              /* no blocker is set */
    const dp_offset *next_offset; /* the input's */
    bool blockers[DP_GATE_BLOCKER_COUNT];
} dp_gate_result;

dp_gate_result dp_commit_gate_evaluate(const dp_gate_input *input);

/* Adds a blocker that only the caller can know, such as DP_GATE_BLOCKER_OFFSET_REGRESSION. */
void dp_gate_result_block(dp_gate_result *result, dp_gate_blocker blocker);

const char *dp_gate_blocker_text(dp_gate_blocker blocker);
const char *dp_gate_blocker_description(dp_gate_blocker blocker);

#endif
