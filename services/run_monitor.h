/* Watches a run from threads of its own: names a stall when it begins and when it is over, looks at the slot
 * now and then, and keeps one consistent picture of both for metrics.
 *
 * The run only publishes what it does; it is never waited for, so a run that hangs is told as well. What a
 * look needs (a connection of its own) is the caller's. Owned by the caller; every function may be called
 * from any thread, start and stop from one.
 */
#ifndef DPONE_SERVICES_RUN_MONITOR_H
#define DPONE_SERVICES_RUN_MONITOR_H

#include "services/cdc_run.h"
#include "services/stall.h"

typedef struct dp_run_monitor dp_run_monitor;

/* What the source says of the slot. */
typedef struct dp_slot_look {
    bool exists;
    bool is_invalidated;
    bool is_active;
    int64_t active_pid;
    dp_lsn confirmed;
    dp_lsn server_end;
    int64_t lag_bytes;
    int64_t retained_bytes;
    double oldest_transaction_seconds; /* the oldest open one that writes; 0: none, or not visible */
} dp_slot_look;

typedef struct dp_run_picture {
    dp_cdc_run_summary summary;
    dp_cdc_run_state state;
    bool has_look; /* the last look succeeded */
    dp_slot_look slot;
    double lag_seconds;
    dp_stall_state stall;
    uint64_t stall_counts[DP_STALL_COUNT];
} dp_run_picture;

typedef struct dp_run_monitor_options {
    unsigned stall_seconds; /* 0: stalls are not told */
    /* Looks at the slot, on a thread of the monitor's; NULL: the source has none. May take its time. */
    dp_status (*look)(void *context, dp_slot_look *look, dp_error *error);
    void *look_context;
    /* One line without a newline, on a thread of the monitor's. */
    void (*say)(void *context, const char *line);
    void *say_context;
} dp_run_monitor_options;

/* Starts the threads; `options` is copied. */
dp_status dp_run_monitor_start(const dp_run_monitor_options *options, dp_run_monitor **monitor,
                               dp_error *error);

/* Waits for the threads; a look that hangs is waited for at most two seconds and then left behind. Null is
 * allowed. */
void dp_run_monitor_stop(dp_run_monitor *monitor);

/* As dp_cdc_run_options.publish, with the monitor as its context. */
void dp_run_monitor_publish(void *monitor, const dp_cdc_run_summary *summary, const dp_cdc_run_state *state);

/* Copies everything as it is now. */
void dp_run_monitor_picture(dp_run_monitor *monitor, dp_run_picture *picture);

#endif
