/* Executes a replay plan: the window (from, to] of a journal or an artifact is delivered again, with the same
 * event ids, to an endpoint that answers with receipts.
 *
 * Two calls: dp_replay_prepare collects the facts and asks the planner; dp_replay_execute does the plan's
 * steps one by one. Sending again is harmless (the endpoint counts what it has as duplicates), so every step
 * may be cut and run again. One thread.
 */
#ifndef DPONE_SERVICES_REPLAY_H
#define DPONE_SERVICES_REPLAY_H

#include <signal.h>

#include "replay/replay_planner.h"
#include "services/batch_sink.h"
#include "services/replay_origin.h"
#include "services/replay_record.h"

typedef struct dp_replay_options {
    dp_replay_origin origin;
    dp_journal_link *target; /* the endpoint as a dpone server, for its offset and its audit */
    const char *endpoint;    /* its name in the record, without credentials */
    const char *pipeline;
    dp_slice source_schema; /* for the plan: "*" with "*" is the whole pipeline */
    dp_slice source_table;
    dp_offset from;
    const dp_offset *to; /* NULL: all there is */
    bool allow_rewind;
    const char *who;
    const char *why; /* NULL: not said */
    const char *record_path;
    uint64_t rate; /* events a second; 0: as fast as the endpoint takes them */
    uint64_t batch_events;
    uint64_t batch_bytes;
    unsigned attempts;       /* deliveries of one batch before the replay fails */
    unsigned pause_check_ms; /* how long the stored offset must stand still */
    const volatile sig_atomic_t *stop;
    /* Called when a step begins, with detail NULL, and when it has passed. */
    void (*step)(void *context, dp_replay_step step, const char *detail);
    void (*progress)(void *context, const dp_replay_counts *counts, const dp_offset *position);
    void (*trouble)(void *context, const dp_error *error);
    void *context;
} dp_replay_options;

/* The facts that the plan was made of; it must stay where it is, because the plan points into it. */
typedef struct dp_replay_job {
    dp_replay_plan plan;
    dp_artifact *artifact; /* NULL: the journal */
    dp_backend backend;
    dp_identity_kind identity;
    dp_slice source;
    dp_offset to;
    bool has_stored;
    dp_offset stored;
    bool endpoint_keeps_offset; /* the endpoint answers for the pipeline's offset */
    bool endpoint_has_offset;
    dp_offset endpoint_offset;
    bool has_retention;
    dp_offset retention;
    dp_offset high;
    char artifact_uri[4200];
} dp_replay_job;

dp_status dp_replay_prepare(const dp_replay_options *options, dp_replay_job *job, dp_error *error);
void dp_replay_job_release(dp_replay_job *job);

/* How many transactions and events the window holds. */
dp_status dp_replay_count(const dp_replay_options *options, const dp_replay_job *job,
                          dp_replay_counts *counts, dp_error *error);

typedef struct dp_replay_summary {
    char replay_id[24];
    bool is_resumed;
    dp_replay_counts counts; /* earlier runs of the same replay included */
} dp_replay_summary;

/* BLOCKED when the plan is. What it has sent stays sent whatever the status; run it again to go on. */
dp_status dp_replay_execute(const dp_replay_options *options, dp_replay_job *job, const dp_batch_sink *sink,
                            dp_replay_summary *summary, dp_error *error);

#endif
