/* Batches that reach the server before those they come after.
 *
 * A batch is stored only when the one that its sender names has a receipt, so several may be in flight on
 * connections of their own and the journal still grows in the sender's order. Waiting takes no thread.
 */
#include <jansson.h>

#include "base/siphash.h"
#include "services/journal_internal.h"

enum {
    MAX_HEADER_LINE_BYTES = 1 << 16
}; /* no sender of ours comes near; a follower's is parsed at every look */

static uint64_t hash_of(dp_slice pipeline)
{
    static const uint8_t
        key[DP_SIPHASH_KEY_BYTES]; /* compared together with a batch id, so no secret is needed */
    return dp_siphash(key, pipeline);
}

/* The lock is held. */
static bool is_recent(const dp_journal_api *api, const dp_batch_waiter *waiter)
{
    uint64_t hash = hash_of(waiter->pipeline);
    for (unsigned i = 0; i < JOURNAL_RECENT_BATCHES && i < api->recent_count; i++) {
        const recent_batch *recent = &api->recent[i];
        if (recent->pipeline_hash == hash &&
            dp_slice_equal(waiter->after, dp_slice_make(recent->key, recent->key_length)))
            return true;
    }
    return false;
}

static bool is_in_flight(const dp_journal_api *api, const dp_batch_waiter *waiter)
{
    for (const batch_in_flight *flight = api->in_flight; flight != NULL; flight = flight->next) {
        if (dp_slice_equal(flight->key, waiter->after) &&
            dp_slice_equal(flight->header->pipeline, waiter->pipeline))
            return true;
    }
    return false;
}

static void park(dp_journal_api *api, dp_batch_waiter *waiter)
{
    waiter->next = api->waiters;
    waiter->is_parked = true;
    api->waiters = waiter;
}

static void unlink_waiter(dp_batch_waiter **link)
{
    dp_batch_waiter *waiter = *link;
    *link = waiter->next;
    waiter->is_parked = false;
}

bool dp_journal_api_unpark(dp_journal_api *api, dp_batch_waiter *waiter)
{
    pthread_mutex_lock(&api->pool_lock);
    bool was_parked = waiter->is_parked;
    for (dp_batch_waiter **link = &api->waiters; was_parked; link = &(*link)->next) {
        if (*link != waiter) continue;
        unlink_waiter(link);
        break;
    }
    pthread_mutex_unlock(&api->pool_lock);
    return was_parked;
}

static void remember(dp_journal_api *api, uint64_t pipeline_hash, dp_slice key)
{
    recent_batch *recent = &api->recent[api->recent_count % JOURNAL_RECENT_BATCHES];
    recent->pipeline_hash = pipeline_hash;
    recent->key_length = (uint8_t)key.length;
    memcpy(recent->key, key.data, key.length);
    api->recent_count++;
}

void journal_note_batch_end(dp_journal_api *api, dp_slice pipeline, dp_slice key, bool is_stored)
{
    dp_batch_waiter *woken = NULL;
    pthread_mutex_lock(&api->pool_lock);
    if (is_stored && key.length <= JOURNAL_MAX_KEY_BYTES) remember(api, hash_of(pipeline), key);
    for (dp_batch_waiter **link = &api->waiters; *link != NULL;) {
        dp_batch_waiter *waiter = *link;
        if (dp_slice_equal(waiter->after, key) && dp_slice_equal(waiter->pipeline, pipeline)) {
            unlink_waiter(link);
            waiter->next = woken;
            woken = waiter;
        } else {
            link = &waiter->next;
        }
    }
    pthread_mutex_unlock(&api->pool_lock);
    while (woken != NULL) {
        dp_batch_waiter *next = woken->next; /* it may be gone once it is woken */
        woken->wake(woken);
        woken = next;
    }
}

/* Receipts are kept by source and identity, which the body's first line names. */
static bool has_receipt(dp_journal_api *api, const dp_batch_waiter *waiter, dp_slice body)
{
    dp_slice line, rest;
    dp_store *reader;
    dp_error error = DP_ERROR_INIT;
    if (!dp_slice_split(body, '\n', &line, &rest) || line.length > MAX_HEADER_LINE_BYTES) return false;
    json_t *header = json_loadb(line.data, line.length, 0, NULL);
    const char *source = json_string_value(json_object_get(header, "source"));
    const char *identity = json_string_value(json_object_get(header, "identity"));
    dp_receipt_row receipt = {.pipeline = waiter->pipeline, .idempotency_key = waiter->after};
    dp_arena *arena = dp_arena_new(4096, 1 << 20);
    bool found = false;
    if (arena != NULL && source != NULL && identity != NULL &&
        dp_identity_parse(dp_slice_of_text(identity), &receipt.identity) &&
        journal_take_reader(api, &reader, &error) == DP_STATUS_OK) {
        receipt.source = dp_slice_of_text(source);
        dp_status status = reader->driver->receipt_find(reader, &receipt, arena, &error);
        journal_give_reader(api, reader, status);
        found = status == DP_STATUS_OK;
    }
    dp_arena_free(arena);
    json_decref(header);
    return found;
}

bool dp_journal_api_may_follow(dp_journal_api *api, dp_batch_waiter *waiter, dp_slice body, bool parks)
{
    pthread_mutex_lock(&api->pool_lock);
    bool may = is_recent(api, waiter);
    bool comes = !may && is_in_flight(api, waiter);
    if (comes && parks) park(api, waiter);
    pthread_mutex_unlock(&api->pool_lock);
    if (may || comes) return may;
    if (has_receipt(api, waiter, body)) return true;
    pthread_mutex_lock(&api->pool_lock);
    may = is_recent(api, waiter); /* it may have come and gone meanwhile */
    if (!may && parks) park(api, waiter);
    pthread_mutex_unlock(&api->pool_lock);
    return may;
}

void dp_journal_api_refuse_follower(const dp_batch_waiter *waiter, dp_api_reply *reply)
{
    char detail[400];
    snprintf(detail, sizeof detail, "the batch %.*s, which this one comes after, is not stored",
             DP_SLICE_PRINT(waiter->after));
    reply->retry_after_s = 1;
    dp_api_reply_error(reply, 425, "predecessor_missing", detail);
}
