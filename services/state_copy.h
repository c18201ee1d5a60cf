/* Copies a state database into another, of the same or another kind, and proves that the copy says the same.
 *
 * Everything is copied: streams with their transactions, events and receipts, rows that wait for their commit
 * line, offsets, quarantine, audit; so a sender goes on against the copy where it was, also inside a
 * transaction and with a batch whose answer it has not seen. One transaction of the target: after a failure
 * it holds nothing of the copy. The source is read in one snapshot; no server should write to it meanwhile,
 * or what it writes stays behind.
 */
#ifndef DPONE_SERVICES_STATE_COPY_H
#define DPONE_SERVICES_STATE_COPY_H

#include "state/store.h"

typedef struct dp_state_copy_result {
    uint64_t stream_count;
    uint64_t transaction_count;
    uint64_t event_count;  /* of the transactions */
    uint64_t staged_count; /* events that wait for their commit line */
    uint64_t receipt_count;
    uint64_t offset_count;
    uint64_t quarantine_count;
    uint64_t audit_count;
    uint8_t digest[DP_SHA256_BYTES]; /* of all of it, equal on both sides */
} dp_state_copy_result;

typedef struct dp_state_copy_options {
    const char *from_dsn;
    const char *to_dsn;
    void (*progress)(void *context, bool verifying, uint64_t events); /* may be NULL */
    void *context;
} dp_state_copy_options;

/* The target gets its schema when it has none. BLOCKED target_not_empty when it holds a stream, an offset,
 * quarantine or audit already; DATA copy_differs when what is read back is not what was read.
 * *source_changed: a batch or an offset has been stored in the source meanwhile, or it could not be asked. */
dp_status dp_state_copy(const dp_state_copy_options *options, dp_state_copy_result *result,
                        bool *source_changed, dp_error *error);

/* Reads and hashes all of a store in one snapshot. DATA when events of a transaction are missing, and
 * stream_differs when a stream's counts or watermarks are not those of its transactions. */
dp_status dp_state_read_all(dp_store *store, dp_state_copy_result *result, dp_error *error);

#endif
