/* Retention: deletes what is old from the journal of a state database, in small steps, and never what
 * somebody still needs: nothing above the lowest offset stored for the pipeline, its consumers included.
 *
 * Each step is a transaction of its own, so writers get in between, and a kill loses nothing but the rest of
 * the work. The offsets are read again in every step. One call, one thread.
 */
#ifndef DPONE_SERVICES_PRUNE_H
#define DPONE_SERVICES_PRUNE_H

#include <signal.h>

#include "services/journal_link.h"

typedef struct dp_prune_options {
    const char *state_dsn;
    dp_stream_choice stream;
    dp_slice to;           /* a token; empty: not by position. BLOCKED when no offset has passed it */
    int64_t older_than_us; /* stored before this time; 0: not by age */
    bool has_keep_events;  /* keep the newest so many, and whole transactions */
    uint64_t keep_events;
    bool has_keep_bytes; /* keep about so much, by the mean size of events in the journal */
    uint64_t keep_bytes;
    uint64_t step_events; /* deleted in one transaction; 0: 5000 */
    unsigned pause_ms;    /* between two steps */
    bool dry_run;
    const char *who;
    const char *why;
    const volatile sig_atomic_t *stop;
    void (*progress)(void *context, uint64_t events);
    void *context;
} dp_prune_options;

typedef struct dp_prune_summary {
    bool has_to; /* false: there is nothing to delete */
    dp_offset to;
    uint64_t transactions;
    uint64_t events;
    bool is_limited; /* age or size ask for more than the stored offsets have passed */
    dp_offset limit;
    bool is_stopped; /* by the signal, before the end */
} dp_prune_summary;

/* BLOCKED prune_not_passed when `to` is above what has been passed, or nothing has. */
dp_status dp_prune(const dp_prune_options *options, dp_prune_summary *summary, dp_error *error);

#endif
