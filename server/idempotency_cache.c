#include "server/idempotency_cache.h"

#include <stdlib.h>

#include "base/sha256.h"

enum { MAX_KEPT_KEY_BYTES = 64, FIRST_SLOT_COUNT = 256 };

typedef struct dp_idempotency_entry {
    struct dp_idempotency_entry *used_previous; /* by last use, most recent first; stored entries only */
    struct dp_idempotency_entry *used_next;
    struct dp_idempotency_entry *age_previous; /* by creation, oldest first; stored entries only */
    struct dp_idempotency_entry *age_next;
    dp_idempotency_waiter *leader;    /* in flight only */
    dp_idempotency_waiter *followers; /* in the order of arrival */
    dp_idempotency_waiter *last_follower;
    uint64_t hash;
    int64_t expires_us;
    char value[DP_UUID_TEXT_BYTES];
    bool is_digest; /* the key is a SHA-256 of the id */
    uint8_t key_length;
    char key[]; /* at most MAX_KEPT_KEY_BYTES */
} entry;

/* The hash is here as well, so that a look-up touches no entry but the one that it finds. */
typedef struct slot {
    uint64_t hash;
    entry *item; /* NULL: free */
} slot;

/* The slots are a hash table with linear probing: an entry lies in the slot that its hash names, or as soon
 * after it as there was room, with no free slot between. */
struct dp_idempotency_cache {
    slot *slots;
    size_t slot_count; /* a power of two */
    size_t total;      /* stored and in flight */
    entry *most_recent;
    entry *least_recent;
    entry *oldest;
    entry *youngest;
    dp_sha256 *sha256;
    uint32_t max_entries;
    int64_t ttl_us;
    uint8_t hash_key[DP_SIPHASH_KEY_BYTES];
    dp_idempotency_counts counts;
};

typedef struct cache_key {
    char digest[DP_SHA256_BYTES];
    dp_slice bytes;
    uint64_t hash;
    bool is_digest;
} cache_key;

dp_idempotency_cache *dp_idempotency_cache_new(uint32_t max_entries, int64_t ttl_us,
                                               const uint8_t key[DP_SIPHASH_KEY_BYTES])
{
    dp_idempotency_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return NULL;
    cache->slot_count = FIRST_SLOT_COUNT;
    cache->slots = calloc(cache->slot_count, sizeof(slot));
    cache->sha256 = dp_sha256_new();
    cache->max_entries = max_entries;
    cache->ttl_us = ttl_us;
    memcpy(cache->hash_key, key, sizeof cache->hash_key);
    if (cache->slots == NULL || cache->sha256 == NULL) {
        dp_idempotency_cache_free(cache);
        return NULL;
    }
    return cache;
}

void dp_idempotency_cache_free(dp_idempotency_cache *cache)
{
    if (cache == NULL) return;
    for (size_t i = 0; cache->slots != NULL && i < cache->slot_count; i++) {
        free(cache->slots[i].item);
    }
    free(cache->slots);
    dp_sha256_free(cache->sha256);
    free(cache);
}

/* False when the digest of a long id cannot be computed. */
static bool make_key(dp_idempotency_cache *cache, dp_slice id, cache_key *key)
{
    key->is_digest = id.length > MAX_KEPT_KEY_BYTES;
    key->bytes = id;
    if (key->is_digest) {
        uint8_t digest[DP_SHA256_BYTES];
        if (!dp_sha256_digest(cache->sha256, id, digest)) return false;
        memcpy(key->digest, digest, sizeof digest);
        key->bytes = dp_slice_make(key->digest, sizeof key->digest);
    }
    key->hash = dp_siphash(cache->hash_key, key->bytes);
    return true;
}

static size_t home_of(const dp_idempotency_cache *cache, uint64_t hash)
{
    return hash & (cache->slot_count - 1);
}

static size_t slot_after(const dp_idempotency_cache *cache, size_t at)
{
    return (at + 1) & (cache->slot_count - 1);
}

static entry *find(const dp_idempotency_cache *cache, const cache_key *key)
{
    for (size_t at = home_of(cache, key->hash); cache->slots[at].item != NULL; at = slot_after(cache, at)) {
        entry *item = cache->slots[at].item;
        if (cache->slots[at].hash == key->hash && item->is_digest == key->is_digest &&
            dp_slice_equal(dp_slice_make(item->key, item->key_length), key->bytes))
            return item;
    }
    return NULL;
}

static void put_into_slot(dp_idempotency_cache *cache, entry *item)
{
    size_t at = home_of(cache, item->hash);
    while (cache->slots[at].item != NULL) {
        at = slot_after(cache, at);
    }
    cache->slots[at] = (slot){item->hash, item};
}

/* Whether there is room for one more. A table that could not grow stays correct, only slower, until the last
 * slot but one is taken. */
static bool make_room(dp_idempotency_cache *cache)
{
    if (cache->total < cache->slot_count / 2) return true;
    size_t count = cache->slot_count;
    slot *before = cache->slots;
    slot *slots = calloc(count * 2, sizeof(slot));
    if (slots == NULL) return cache->total + 1 < count;
    cache->slots = slots;
    cache->slot_count = count * 2;
    for (size_t i = 0; i < count; i++) {
        if (before[i].item != NULL) put_into_slot(cache, before[i].item);
    }
    free(before);
    return true;
}

static void unlink_used(dp_idempotency_cache *cache, entry *item)
{
    *(item->used_previous == NULL ? &cache->most_recent : &item->used_previous->used_next) = item->used_next;
    *(item->used_next == NULL ? &cache->least_recent : &item->used_next->used_previous) = item->used_previous;
}

static void link_most_recent(dp_idempotency_cache *cache, entry *item)
{
    item->used_previous = NULL;
    item->used_next = cache->most_recent;
    *(cache->most_recent == NULL ? &cache->least_recent : &cache->most_recent->used_previous) = item;
    cache->most_recent = item;
}

static void link_youngest(dp_idempotency_cache *cache, entry *item)
{
    item->age_next = NULL;
    item->age_previous = cache->youngest;
    *(cache->youngest == NULL ? &cache->oldest : &cache->youngest->age_next) = item;
    cache->youngest = item;
}

static void unlink_age(dp_idempotency_cache *cache, entry *item)
{
    *(item->age_previous == NULL ? &cache->oldest : &item->age_previous->age_next) = item->age_next;
    *(item->age_next == NULL ? &cache->youngest : &item->age_next->age_previous) = item->age_previous;
}

/* Those that follow without a gap move up, unless they would come before their own slot. */
static void close_gap(dp_idempotency_cache *cache, size_t gap)
{
    size_t mask = cache->slot_count - 1;
    for (size_t at = slot_after(cache, gap); cache->slots[at].item != NULL; at = slot_after(cache, at)) {
        size_t from_home = (at - home_of(cache, cache->slots[at].hash)) & mask;
        if (from_home < ((at - gap) & mask)) continue;
        cache->slots[gap] = cache->slots[at];
        gap = at;
    }
    cache->slots[gap].item = NULL;
}

static void forget(dp_idempotency_cache *cache, entry *item)
{
    size_t at = home_of(cache, item->hash);
    while (cache->slots[at].item != item) {
        at = slot_after(cache, at);
    }
    close_gap(cache, at);
    cache->total--;
    free(item);
}

static void remove_stored(dp_idempotency_cache *cache, entry *item)
{
    unlink_used(cache, item);
    unlink_age(cache, item);
    cache->counts.entries--;
    forget(cache, item);
}

static void evict_to(dp_idempotency_cache *cache, uint32_t max_entries)
{
    while (cache->counts.entries > max_entries) {
        remove_stored(cache, cache->least_recent);
        cache->counts.evictions_size++;
    }
}

uint32_t dp_idempotency_cache_expire(dp_idempotency_cache *cache, int64_t now_us, uint32_t max_count)
{
    uint32_t count = 0;
    while (count < max_count && cache->oldest != NULL && cache->oldest->expires_us <= now_us) {
        remove_stored(cache, cache->oldest);
        cache->counts.evictions_age++;
        count++;
    }
    return count;
}

void dp_idempotency_cache_configure(dp_idempotency_cache *cache, uint32_t max_entries, int64_t ttl_us)
{
    cache->max_entries = max_entries;
    cache->ttl_us = ttl_us;
    evict_to(cache, max_entries);
}

static entry *add_in_flight(dp_idempotency_cache *cache, const cache_key *key, dp_idempotency_waiter *leader)
{
    entry *item = make_room(cache) ? calloc(1, sizeof *item + key->bytes.length) : NULL;
    if (item == NULL) return NULL;
    item->hash = key->hash;
    item->is_digest = key->is_digest;
    item->key_length = (uint8_t)key->bytes.length;
    memcpy(item->key, key->bytes.data, key->bytes.length);
    item->leader = leader;
    put_into_slot(cache, item);
    cache->total++;
    cache->counts.in_flight++;
    return item;
}

static void join(entry *item, dp_idempotency_waiter *waiter)
{
    *waiter = (dp_idempotency_waiter){.entry = item, .previous = item->last_follower};
    *(item->last_follower == NULL ? &item->followers : &item->last_follower->next) = waiter;
    item->last_follower = waiter;
}

static void unjoin(entry *item, dp_idempotency_waiter *waiter)
{
    *(waiter->previous == NULL ? &item->followers : &waiter->previous->next) = waiter->next;
    *(waiter->next == NULL ? &item->last_follower : &waiter->next->previous) = waiter->previous;
}

dp_idempotency_outcome dp_idempotency_cache_begin(dp_idempotency_cache *cache, dp_slice id, int64_t now_us,
                                                  dp_idempotency_waiter *waiter,
                                                  char value[DP_UUID_TEXT_BYTES])
{
    cache_key key;
    *waiter = (dp_idempotency_waiter){0};
    if (!make_key(cache, id, &key)) return DP_IDEMPOTENCY_REFUSED;
    entry *item = find(cache, &key);
    if (item != NULL && item->leader != NULL) {
        cache->counts.joins++;
        join(item, waiter);
        return DP_IDEMPOTENCY_JOIN;
    }
    if (item != NULL && item->expires_us <= now_us) {
        remove_stored(cache, item);
        cache->counts.evictions_age++;
        item = NULL;
    }
    if (item != NULL) {
        cache->counts.hits++;
        unlink_used(cache, item);
        link_most_recent(cache, item);
        memcpy(value, item->value, sizeof item->value);
        return DP_IDEMPOTENCY_HIT;
    }
    cache->counts.misses++;
    item = add_in_flight(cache, &key, waiter);
    if (item == NULL) return DP_IDEMPOTENCY_REFUSED;
    waiter->entry = item;
    waiter->leads = true;
    return DP_IDEMPOTENCY_LEAD;
}

dp_idempotency_waiter *dp_idempotency_cache_finish(dp_idempotency_cache *cache, dp_idempotency_waiter *leader,
                                                   const char value[DP_UUID_TEXT_BYTES], int64_t now_us)
{
    entry *item = leader->entry;
    dp_idempotency_waiter *followers = item->followers;
    for (dp_idempotency_waiter *at = followers; at != NULL; at = at->next) {
        at->entry = NULL;
    }
    *leader = (dp_idempotency_waiter){0};
    item->leader = item->followers = item->last_follower = NULL;
    item->expires_us = now_us + cache->ttl_us;
    memcpy(item->value, value, sizeof item->value);
    link_most_recent(cache, item);
    link_youngest(cache, item);
    cache->counts.in_flight--;
    cache->counts.entries++;
    if (cache->counts.entries > cache->max_entries) {
        dp_idempotency_cache_expire(cache, now_us, 1);
        evict_to(cache, cache->max_entries);
        /* A full cache evicts one entry for each new one: the next one's place is in memory by then. */
        __builtin_prefetch(&cache->slots[home_of(cache, cache->least_recent->hash)]);
        __builtin_prefetch(cache->least_recent->used_previous);
    }
    return followers;
}

dp_idempotency_waiter *dp_idempotency_cache_abandon(dp_idempotency_cache *cache,
                                                    dp_idempotency_waiter *waiter)
{
    entry *item = waiter->entry;
    if (item == NULL) return NULL;
    bool led = waiter->leads;
    if (!led) unjoin(item, waiter);
    *waiter = (dp_idempotency_waiter){0};
    if (!led) return NULL;
    dp_idempotency_waiter *heir = item->followers;
    if (heir == NULL) {
        cache->counts.in_flight--;
        forget(cache, item);
        return NULL;
    }
    unjoin(item, heir);
    *heir = (dp_idempotency_waiter){.entry = item, .leads = true};
    item->leader = heir;
    return heir;
}

dp_idempotency_counts dp_idempotency_cache_counts(const dp_idempotency_cache *cache)
{
    return cache->counts;
}
