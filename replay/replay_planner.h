/* Decides whether a replay is safe, and lists its steps: a function of its arguments and nothing else.
 *
 * A window is (from, to]: an offset is the end of what is done. The caller provides the observed offsets and
 * watermarks; the planner never connects anywhere, reads no clock and allocates nothing. The result is the
 * caller's and views the request's texts and offsets, which must outlive it. Start reading at
 * dp_replay_plan_make.
 */
#ifndef DPONE_REPLAY_REPLAY_PLANNER_H
#define DPONE_REPLAY_REPLAY_PLANNER_H

#include "replay/offset_token.h"

/* The offsets of a request that can belong to another backend. X(name, field) */
#define DP_REPLAY_FIELD_LIST(X)                                                                              \
    X(STORED_OFFSET, stored_offset)                                                                          \
    X(REPLAY_FROM, replay_from)                                                                              \
    X(REPLAY_TO, replay_to)                                                                                  \
    X(RETENTION_MIN, retention_min)                                                                          \
    X(HIGH_WATERMARK, high_watermark)

/* In the order in which a plan lists them. The texts are stable: runbooks and CI depend on them.
 * X(name, text, description) */
#define DP_REPLAY_BLOCKER_LIST(X)                                                                            \
    X(MISMATCH_STORED_OFFSET, "offset.backend_mismatch.stored_offset",                                       \
      "the stored offset belongs to another backend than the plan")                                          \
    X(MISMATCH_REPLAY_FROM, "offset.backend_mismatch.replay_from",                                           \
      "the start of the window belongs to another backend than the plan")                                    \
    X(MISMATCH_REPLAY_TO, "offset.backend_mismatch.replay_to",                                               \
      "the end of the window belongs to another backend than the plan")                                      \
    X(MISMATCH_RETENTION_MIN, "offset.backend_mismatch.retention_min",                                       \
      "the retention minimum belongs to another backend than the plan")                                      \
    X(MISMATCH_HIGH_WATERMARK, "offset.backend_mismatch.high_watermark",                                     \
      "the high watermark belongs to another backend than the plan")                                         \
    X(INVALID_WINDOW, "replay.invalid_window", "replay_from is greater than replay_to")                      \
    X(START_BEFORE_RETENTION, "replay.start_before_retention",                                               \
      "replay_from is lower than the source's retention minimum")                                            \
    X(TO_AFTER_HIGH_WATERMARK, "replay.to_after_high_watermark",                                             \
      "replay_to is beyond the known high watermark")                                                        \
    X(REQUIRES_ALLOW_REWIND, "replay.requires_allow_rewind",                                                 \
      "replay_from is behind the stored offset and rewinding is not allowed")                                \
    X(ARTIFACT_REQUIRED, "replay.artifact_required_for_consumed_postgres_slot",                              \
      "a PostgreSQL slot cannot send again what it has confirmed, and there is no artifact to read instead")

typedef enum dp_replay_blocker {
#define DP_REPLAY_BLOCKER_ENUM(name, text, description) DP_REPLAY_BLOCKER_##name,
    DP_REPLAY_BLOCKER_LIST(DP_REPLAY_BLOCKER_ENUM)
#undef DP_REPLAY_BLOCKER_ENUM
        DP_REPLAY_BLOCKER_COUNT
} dp_replay_blocker;

/* X(name, text, description) */
#define DP_REPLAY_WARNING_LIST(X)                                                                            \
    X(REWINDS_STORED_OFFSET, "replay.rewinds_stored_offset",                                                 \
      "replay_from is behind the stored offset: changes that were loaded are loaded again")

typedef enum dp_replay_warning {
#define DP_REPLAY_WARNING_ENUM(name, text, description) DP_REPLAY_WARNING_##name,
    DP_REPLAY_WARNING_LIST(DP_REPLAY_WARNING_ENUM)
#undef DP_REPLAY_WARNING_ENUM
        DP_REPLAY_WARNING_COUNT
} dp_replay_warning;

/* In the order in which they are done. X(name, text, description, required) */
#define DP_REPLAY_STEP_LIST(X)                                                                               \
    X(PAUSE_PIPELINE, "pause_pipeline",                                                                      \
      "Stop the pipeline, so that nothing else moves its offset while the window is replayed.", true)        \
    X(VERIFY_RETENTION, "verify_retention",                                                                  \
      "Check that the source, or the artifact, still holds every change of the window.", true)               \
    X(SET_START_OFFSET, "set_start_offset",                                                                  \
      "Set the offset that reading starts from to replay_from, on record who and why.", true)                \
    X(LOAD_IDEMPOTENT_DELTA, "load_idempotent_delta",                                                        \
      "Load the window; changes that are already there count as duplicates and change nothing.", true)       \
    X(COMPARE_TARGET, "compare_target",                                                                      \
      "Compare the target with the source over the window before the pipeline goes on.", true)               \
    X(COMMIT_OFFSET, "commit_offset_after_sink_commit",                                                      \
      "Save the offset only after the target's commit is durable and the commit gate has passed.", true)

typedef enum dp_replay_step {
#define DP_REPLAY_STEP_ENUM(name, text, description, required) DP_REPLAY_STEP_##name,
    DP_REPLAY_STEP_LIST(DP_REPLAY_STEP_ENUM)
#undef DP_REPLAY_STEP_ENUM
        DP_REPLAY_STEP_COUNT
} dp_replay_step;

typedef struct dp_replay_request {
    dp_backend backend;
    dp_slice pipeline_name;
    dp_slice source_schema;
    dp_slice source_table;
    const dp_offset *stored_offset;  /* NULL: none is stored, or none was given */
    const dp_offset *replay_from;    /* never NULL */
    const dp_offset *replay_to;      /* NULL: to the end of what there is */
    const dp_offset *retention_min;  /* NULL: unknown, not checked */
    const dp_offset *high_watermark; /* NULL: unknown, not checked */
    dp_slice artifact_uri;           /* empty: none */
    bool allow_rewind;
} dp_replay_request;

/* Sets, because the order is the lists' and each appears at most once. */
typedef struct dp_replay_plan {
    dp_replay_request request;
    bool safe_to_execute; /* no blocker is set */
    bool blockers[DP_REPLAY_BLOCKER_COUNT];
    bool warnings[DP_REPLAY_WARNING_COUNT];
} dp_replay_plan;

/* Cannot fail: every request has a plan, safe or blocked. */
dp_replay_plan dp_replay_plan_make(const dp_replay_request *request);

const char *dp_replay_blocker_text(dp_replay_blocker blocker);
const char *dp_replay_blocker_description(dp_replay_blocker blocker);
const char *dp_replay_warning_text(dp_replay_warning warning);
const char *dp_replay_warning_description(dp_replay_warning warning);
const char *dp_replay_step_text(dp_replay_step step);
const char *dp_replay_step_description(dp_replay_step step);
bool dp_replay_step_required(dp_replay_step step);

#endif
