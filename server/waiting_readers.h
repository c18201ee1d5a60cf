/* Readers that have found nothing and wait for more: who waits for which pipeline, and who is to be woken.
 *
 * Never answers, reads or sleeps itself: the caller does what a woken reader needs. A reader notes the
 * generation of its pipeline, reads, and parks with the generation it noted, so that what is written in
 * between is not missed. It is parked at most once, and is always given back to exactly one caller: of wake,
 * wake_changed, expire or stop.
 *
 * Threads: any. Ownership: a dp_waiting_reader belongs to the caller, and lives until it was given back.
 */
#ifndef DPONE_SERVER_WAITING_READERS_H
#define DPONE_SERVER_WAITING_READERS_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_waiting_readers dp_waiting_readers;

/* Zeroed before its first use. */
typedef struct dp_waiting_reader {
    struct dp_waiting_reader *next; /* also of the list that is given back */
    struct dp_waiting_reader *previous;
    dp_slice pipeline;
    uint64_t mark; /* what the reader has seen (services/journal_api.h) */
    uint64_t round;
    bool is_parked;
    bool is_over;
    void *context; /* the caller's */
} dp_waiting_reader;

typedef enum dp_waiting_outcome {
    DP_WAITING_PARKED,  /* it will be given back */
    DP_WAITING_CHANGED, /* something was written since: read again */
    DP_WAITING_OVER,    /* its time is over, or nobody may wait any more: answer */
    DP_WAITING_FULL     /* too many wait */
} dp_waiting_outcome;

/* NULL: no memory. */
dp_waiting_readers *dp_waiting_readers_new(size_t max_waiting);
void dp_waiting_readers_free(dp_waiting_readers *readers); /* nobody waits any more; NULL is allowed */
void dp_waiting_readers_configure(dp_waiting_readers *readers, size_t max_waiting);

uint64_t dp_waiting_readers_generation(dp_waiting_readers *readers, dp_slice pipeline);

/* `pipeline` lives until the reader is given back. */
dp_waiting_outcome dp_waiting_readers_park(dp_waiting_readers *readers, dp_waiting_reader *reader,
                                           dp_slice pipeline, uint64_t generation, uint64_t mark);

/* The reader's time is over: true when it was parked and is the caller's now, false when whoever works on it
 * will find that it may not park. */
bool dp_waiting_readers_expire(dp_waiting_readers *readers, dp_waiting_reader *reader);

/* Something was written: those who wait for the pipeline, as a list. */
dp_waiting_reader *dp_waiting_readers_wake(dp_waiting_readers *readers, dp_slice pipeline);

/* Everyone, and nobody parks from now on. */
dp_waiting_reader *dp_waiting_readers_stop(dp_waiting_readers *readers);

size_t dp_waiting_readers_count(dp_waiting_readers *readers);

/* For looking at the state in turn, one round after the other: the name of a pipeline that somebody waits for
 * and that this round has not met yet. False: none is left, or the name is longer than `capacity`. */
bool dp_waiting_readers_next(dp_waiting_readers *readers, uint64_t round, char *name, size_t capacity,
                             size_t *length);

/* Those who wait for the pipeline and have seen another mark. The round has met the pipeline. */
dp_waiting_reader *dp_waiting_readers_wake_changed(dp_waiting_readers *readers, uint64_t round,
                                                   dp_slice pipeline, uint64_t mark);

#endif
