/* Copies a state database into another, of the same or another kind, and proves that the copy says the same.
 *
 * Everything but receipts is copied: streams with their transactions and events, offsets, quarantine, audit.
 * A batch sent again after the copy is recognised by its events. Rows that wait for their commit line are not
 * copied: their transaction is sent again from its first row. One transaction of the target: after a failure
 * it holds nothing of the copy. The source is read in one snapshot; no server should write to it meanwhile,
 * or what it writes stays behind.
 */
#ifndef DPONE_SERVICES_STATE_COPY_H
#define DPONE_SERVICES_STATE_COPY_H

#include "state/store.h"

typedef struct dp_state_copy_result {
    uint64_t stream_count;
    uint64_t transaction_count;
    uint64_t event_count;
    uint64_t offset_count;
    uint64_t quarantine_count;
    uint64_t audit_count;
    uint8_t digest[DP_SHA256_BYTES]; /* of all of it, equal on both sides */
} dp_state_copy_result;

/* The target gets its schema when it has none. BLOCKED target_not_empty when it holds a stream, an offset,
 * quarantine or audit already; DATA copy_differs when what is read back is not what was read. */
dp_status dp_state_copy(const char *from_dsn, const char *to_dsn, dp_state_copy_result *result,
                        dp_error *error);

#endif
