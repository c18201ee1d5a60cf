/* The idempotency check of one batch: is every event id in it only once?
 *
 * Pure: the seed that spreads ids over the table is an argument, so that nobody can choose ids that collide.
 * Memory grows with the number of different ids up to the maximum given. Not shared between threads.
 */
#ifndef DPONE_CDC_IDEMPOTENCY_H
#define DPONE_CDC_IDEMPOTENCY_H

#include "base/json_writer.h"
#include "cdc/event_identity.h"

typedef struct dp_idempotency dp_idempotency;

typedef struct dp_idempotency_result {
    bool passed; /* there is no duplicate */
    uint64_t total_events;
    uint64_t unique_events;
    uint64_t duplicate_count;         /* total - unique */
    const dp_event_id *duplicate_ids; /* each once, in order of first repetition; the checker's memory */
    size_t duplicate_id_count;
} dp_idempotency_result;

/* NULL when memory is refused. max_ids bounds the different ids. */
dp_idempotency *dp_idempotency_new(uint64_t seed, size_t max_ids);
void dp_idempotency_free(dp_idempotency *check);

/* Forgets everything; keeps the memory. */
void dp_idempotency_reset(dp_idempotency *check);

/* Counts one event; `index` is the caller's number for it. *first_index is the index given with the first
 * event of this id: equal to `index` when it is new. LIMIT past max_ids, NO_MEMORY. */
dp_status dp_idempotency_add(dp_idempotency *check, const dp_event_id *id, size_t index, size_t *first_index,
                             dp_error *error);

/* Valid until the next add, reset or free. */
dp_idempotency_result dp_idempotency_evaluate(const dp_idempotency *check);

/* {"passed":…,"total_events":…,"unique_events":…,"duplicate_count":…,"duplicate_event_ids":[…]} */
void dp_idempotency_write_json(const dp_idempotency_result *result, dp_json_writer *writer);

#endif
