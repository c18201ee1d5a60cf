/* Looks at the state for readers that wait, because what is written through another server on the same state
 * wakes nobody here.
 *
 * One thread that sleeps while nobody waits; the looking itself is a job of the reader pool, at most one at a
 * time, so that a state that does not answer holds up neither deadlines nor the shutdown. A notification by
 * the database would come sooner, but costs every commit a lock that all commits share
 * (docs/decisions/0034-waiting-readers-look-at-the-state.md).
 */
#ifndef DPONE_SERVER_JOURNAL_WATCH_H
#define DPONE_SERVER_JOURNAL_WATCH_H

#include "server/waiting_readers.h"
#include "server/worker_pool.h"
#include "services/journal_api.h"

typedef struct dp_journal_watch dp_journal_watch;

typedef struct dp_journal_watch_options {
    dp_journal_api *journal;
    dp_waiting_readers *readers;
    dp_worker_pool *pool;
    void *context;
    /* What is to be done with readers that have something to read: a list linked by `next`. */
    void (*wake)(void *context, dp_waiting_reader *list);
} dp_journal_watch_options;

dp_status dp_journal_watch_new(const dp_journal_watch_options *options, dp_journal_watch **watch,
                               dp_error *error);

/* Somebody has begun to wait. */
void dp_journal_watch_begin(dp_journal_watch *watch);

/* Ends the thread; a job that has been submitted may still run. NULL is allowed, as below. */
void dp_journal_watch_stop(dp_journal_watch *watch);

/* After the pool has ended. */
void dp_journal_watch_free(dp_journal_watch *watch);

#endif
