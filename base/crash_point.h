/* The points at which tests kill the process, in one list. Builds of type Release contain none of this.
 *
 * A test sets DPONE_CRASH_AT=name or name:N; the process then kills itself with SIGKILL when the point is
 * passed for the first or N-th time, as a power cut or an operator's kill -9 would.
 */
#ifndef DPONE_BASE_CRASH_POINT_H
#define DPONE_BASE_CRASH_POINT_H

/* X(name, text, process, where): the process is the command that passes the point; `offset` is a server that
 * saves one */
#define DP_CRASH_POINT_LIST(X)                                                                               \
    X(AFTER_READ, "after_read", "run", "a record was read from the source")                                  \
    X(BATCH_BUILT, "batch_built", "run", "a batch is complete but not sent")                                 \
    X(POST_SENT, "post_sent", "run", "the batch was handed to the client")                                   \
    X(INSIDE_TRANSACTION, "inside_transaction", "serve",                                                     \
      "the server wrote the events but has not committed")                                                   \
    X(COMMITTED_UNANSWERED, "committed_unanswered", "serve", "the server committed but has not answered")    \
    X(OFFSET_WRITTEN, "offset_written", "offset",                                                            \
      "the server wrote an offset, a pipeline's or a consumer's, but has not committed")                     \
    X(OFFSET_UNANSWERED, "offset_unanswered", "offset",                                                      \
      "the server committed an offset but has not answered")                                                 \
    X(RECEIPT_READ, "receipt_read", "run", "the receipt was read but the gate not asked")                    \
    X(GATE_PASSED, "gate_passed", "run", "the gate allowed the offset but it is not saved")                  \
    X(OFFSET_SAVED, "offset_saved", "run", "the offset is saved but not reported to the source")             \
    X(EXPORT_TRANSACTION, "export_transaction", "export", "an export took a transaction")                    \
    X(EXPORT_FILE_DONE, "export_file_done", "export", "an export finished a file")                           \
    X(EXPORT_MANIFEST_WRITTEN, "export_manifest_written", "export",                                          \
      "an export is whole but has not got its name")                                                         \
    X(EXPORT_RENAMED, "export_renamed", "export", "an export has got its name")                              \
    X(REPLAY_REWOUND, "replay_rewound", "replay", "a replay moved the stored offset back but sent nothing")  \
    X(REPLAY_SENT, "replay_sent", "replay", "a replay handed a batch to the client")                         \
    X(REPLAY_RECEIPT_READ, "replay_receipt_read", "replay",                                                  \
      "a replay read a receipt but recorded no progress")                                                    \
    X(REPLAY_PROGRESS_SAVED, "replay_progress_saved", "replay", "a replay recorded its progress")            \
    X(REPLAY_LOADED, "replay_loaded", "replay", "a replay sent everything but recorded no outcome")          \
    X(FOLLOW_TAKEN, "follow_taken", "follow", "a consumer took a batch that is not committed")               \
    X(PRUNE_STEP_DONE, "prune_step_done", "prune", "a step of pruning is durable")

typedef enum dp_crash_point_name {
#define DP_CRASH_POINT_ENUM(name, text, process, where) DP_CRASH_##name,
    DP_CRASH_POINT_LIST(DP_CRASH_POINT_ENUM)
#undef DP_CRASH_POINT_ENUM
} dp_crash_point_name;

#ifdef DPONE_CRASH_POINTS
void dp_crash_point(dp_crash_point_name point);
#else
static inline void dp_crash_point(dp_crash_point_name point)
{
    (void)point;
}
#endif

#endif
