/* The journal's rules, written once over the functions of a store: what is new, what is a duplicate, what is
 * a conflict, what waits for its commit line, and what retention may delete.
 *
 * The truth is what is stored, not which request brought it. Transactions are ordered by their end position;
 * one that ends above the stream's high watermark is new without looking, one at or below it must be there
 * with the same events (or lie at or below the pruned watermark). Rows without a commit line are staged: they
 * have numbers, but no transaction row, so no reader sees them.
 *
 * Every function works inside a transaction of the store that the caller has begun; the caller commits or,
 * after any status but OK, rolls back. A dp_journal is scratch memory: one per writer, not shared.
 */
#ifndef DPONE_STATE_JOURNAL_H
#define DPONE_STATE_JOURNAL_H

#include "cdc/batch_reader.h"
#include "state/store.h"

typedef struct dp_journal dp_journal;

/* The most rows one transaction can have. */
#define DP_JOURNAL_MAX_TRANSACTION_ROWS (UINT64_C(1) << 31)

/* `seed` should be random: it keeps senders from choosing event ids that collide. NULL when memory is
 * refused. */
dp_journal *dp_journal_new(uint64_t seed);
void dp_journal_free(dp_journal *journal);

typedef struct dp_journal_outcome {
    int64_t stream_id;
    uint64_t accepted;       /* events stored by this batch */
    uint64_t duplicates;     /* that were there, or that the batch repeats; accepted + duplicates = count */
    uint64_t dropped;        /* accepted with earlier, staged batches and not kept: they came again */
    bool idempotency_passed; /* no event id is in the batch twice */
    bool staged;             /* the batch ends inside a transaction */
    bool has_end_position;   /* of the batch's last commit line */
    dp_position end_position;
} dp_journal_outcome;

/* Finds or creates the stream of a batch and locks it. CONFLICT identity_mixed when it is written with
 * another identity. The stream lives in the journal's memory until the next call. */
dp_status dp_journal_open_stream(dp_journal *journal, dp_store *store, const dp_batch_header *header,
                                 int64_t now_us, dp_stream *stream, dp_error *error);

/* Stores what is new of a batch in its stream. CONFLICT, with the line in the message, and code:
 *   event_conflict       an event id is known with other content
 *   transaction_differs  a stored transaction has other events, or should be there and is not
 *   ordinal_gap          the row before the first one sent is missing
 * LIMIT for a transaction beyond the most rows. */
dp_status dp_journal_append(dp_journal *journal, dp_store *store, dp_stream *stream, const dp_batch *batch,
                            int64_t now_us, dp_journal_outcome *outcome, dp_error *error);

typedef struct dp_prune_result {
    uint64_t transactions;
    uint64_t events;
    bool more; /* the bound was reached: call again in a new transaction */
} dp_prune_result;

/* Deletes transactions that end at or below `to`, at most about `max_events` events a call, and never one
 * that ends above `passed`, the offset every consumer has behind it: BLOCKED prune_not_passed when `to` is
 * above it or there is none. When there is no more, the caller also calls the driver's events_prune, if it
 * has one, outside a transaction. */
dp_status dp_journal_prune(dp_journal *journal, dp_store *store, const dp_stream_key *key, dp_position to,
                           const dp_position *passed, uint64_t max_events, int64_t now_us,
                           dp_prune_result *result, dp_error *error);

#endif
