/* Remembers the answer given to a request id, and lets concurrent requests with one id share one execution.
 *
 * Bounded by a number of entries (the least recently used goes first; a hit refreshes) and by age (from
 * creation). A request that finds its id neither stored nor in flight leads; those that come while it works
 * join and are handed back when it finishes. Keys are compared byte by byte; one longer than 64 bytes is
 * kept as its SHA-256, so that memory is bounded by the number of entries. Executions in flight do not count
 * as entries.
 *
 * Time and the hash key are arguments. Nothing is locked: the owner serialises access.
 */
#ifndef DPONE_SERVER_IDEMPOTENCY_CACHE_H
#define DPONE_SERVER_IDEMPOTENCY_CACHE_H

#include "base/siphash.h"
#include "base/uuid.h"

typedef struct dp_idempotency_cache dp_idempotency_cache;
struct dp_idempotency_entry;

/* A member of the caller's request; zero it before first use. */
typedef struct dp_idempotency_waiter {
    struct dp_idempotency_entry *entry; /* the execution it leads or has joined; NULL when neither */
    struct dp_idempotency_waiter *previous;
    struct dp_idempotency_waiter *next;
    bool leads;
} dp_idempotency_waiter;

typedef enum dp_idempotency_outcome {
    DP_IDEMPOTENCY_HIT,    /* the value is known */
    DP_IDEMPOTENCY_LEAD,   /* execute, then finish or abandon */
    DP_IDEMPOTENCY_JOIN,   /* wait: finish hands the waiter back, or an abandon makes it the leader */
    DP_IDEMPOTENCY_REFUSED /* memory was refused: execute without the cache */
} dp_idempotency_outcome;

typedef struct dp_idempotency_counts {
    uint64_t hits;
    uint64_t misses;
    uint64_t joins;
    uint64_t evictions_size;
    uint64_t evictions_age;
    uint64_t entries;
    uint64_t in_flight;
} dp_idempotency_counts;

/* NULL when memory is refused. */
dp_idempotency_cache *dp_idempotency_cache_new(uint32_t max_entries, int64_t ttl_us,
                                               const uint8_t key[DP_SIPHASH_KEY_BYTES]);
void dp_idempotency_cache_free(dp_idempotency_cache *cache);

/* Changes the bounds; a smaller size evicts at once. The age applies to what is stored from now on. */
void dp_idempotency_cache_configure(dp_idempotency_cache *cache, uint32_t max_entries, int64_t ttl_us);

/* Looks the id up; `value` is written on a hit only. */
dp_idempotency_outcome dp_idempotency_cache_begin(dp_idempotency_cache *cache, dp_slice id, int64_t now_us,
                                                  dp_idempotency_waiter *waiter,
                                                  char value[DP_UUID_TEXT_BYTES]);

/* The leader has the value: it is stored, and the joined waiters are returned as a list through `next`, in
 * the order in which they came. */
dp_idempotency_waiter *dp_idempotency_cache_finish(dp_idempotency_cache *cache, dp_idempotency_waiter *leader,
                                                   const char value[DP_UUID_TEXT_BYTES], int64_t now_us);

/* Gives up. When a leader does, the one who joined first becomes the leader and is returned. */
dp_idempotency_waiter *dp_idempotency_cache_abandon(dp_idempotency_cache *cache,
                                                    dp_idempotency_waiter *waiter);

/* Drops entries that are too old, at most `max_count` of them; returns how many. */
uint32_t dp_idempotency_cache_expire(dp_idempotency_cache *cache, int64_t now_us, uint32_t max_count);

dp_idempotency_counts dp_idempotency_cache_counts(const dp_idempotency_cache *cache);

#endif
