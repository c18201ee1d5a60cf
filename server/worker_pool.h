/* Threads for work that may block, such as a call into the state, so that event threads never do.
 *
 * Jobs run in the order of submission, each on one thread. Safe from any thread.
 */
#ifndef DPONE_SERVER_WORKER_POOL_H
#define DPONE_SERVER_WORKER_POOL_H

#include <stddef.h>

#include <stdint.h>

#include "base/error.h"

typedef struct dp_worker_pool dp_worker_pool;

/* A member of what is to be worked on; owned by the caller until `run` is called with it. */
typedef struct dp_worker_job {
    void (*run)(struct dp_worker_job *job);
    struct dp_worker_job *next;
} dp_worker_job;

dp_status dp_worker_pool_new(unsigned thread_count, size_t max_waiting, dp_worker_pool **pool,
                             dp_error *error);

/* Takes no more work and waits until everything that was submitted has run, or until this time of the
 * monotonic clock: then false, and the pool may not be freed. Null is allowed. */
bool dp_worker_pool_end(dp_worker_pool *pool, int64_t give_up_us);

/* Runs everything that was submitted, then ends the threads. Null is allowed. */
void dp_worker_pool_free(dp_worker_pool *pool);

/* False when too many jobs wait. `must` accepts it all the same: for the continuation of work begun. */
bool dp_worker_pool_submit(dp_worker_pool *pool, dp_worker_job *job, bool must);

#endif
