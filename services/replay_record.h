/* The record of replays: a file of JSON lines that says who replayed what, how far it came, and how it ended.
 *
 * It is what a replay resumes from after a kill, and its audit where no journal is at hand. Lines are only
 * appended, and durable when a call returns. One thread.
 */
#ifndef DPONE_SERVICES_REPLAY_RECORD_H
#define DPONE_SERVICES_REPLAY_RECORD_H

#include "base/sha256.h"
#include "replay/offset_token.h"

/* What makes two runs the same replay. */
typedef struct dp_replay_subject {
    const char *pipeline;
    const char *source;
    const char *origin;   /* "journal" or the artifact */
    const char *endpoint; /* without credentials */
    dp_offset from;
    dp_offset to;
} dp_replay_subject;

typedef struct dp_replay_counts {
    uint64_t transactions;
    uint64_t events;
    uint64_t accepted;
    uint64_t duplicates;
    uint64_t batches;
} dp_replay_counts;

typedef struct dp_replay_record dp_replay_record;

/* Where an earlier run of the same replay stopped. */
typedef struct dp_replay_resume {
    bool is_resumed; /* it began and has not been recorded as done */
    bool has_position;
    dp_offset position; /* everything up to it is durable at the endpoint */
    bool has_stored;
    dp_offset stored; /* the endpoint's offset when the replay began */
    dp_replay_counts counts;
} dp_replay_resume;

/* Opens and locks the file, made when it is not there, and looks for the same replay in it. BUSY when another
 * replay uses the file. */
dp_status dp_replay_record_open(const char *path, const dp_replay_subject *subject, dp_replay_record **record,
                                dp_replay_resume *resume, dp_error *error);
void dp_replay_record_close(dp_replay_record *record);

/* 16 characters that name the replay. */
const char *dp_replay_record_id(const dp_replay_record *record);

/* `stored` may be NULL. */
dp_status dp_replay_record_start(dp_replay_record *record, const char *who, const char *why,
                                 const dp_offset *stored, bool is_resumed, dp_error *error);
dp_status dp_replay_record_progress(dp_replay_record *record, const dp_offset *position,
                                    const dp_replay_counts *counts, dp_error *error);
/* `outcome` is "done", "failed" or "interrupted"; `detail` may be NULL. */
dp_status dp_replay_record_finish(dp_replay_record *record, const char *outcome, const char *detail,
                                  const dp_replay_counts *counts, dp_error *error);

#endif
