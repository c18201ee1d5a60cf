/* Deterministic event ids: SHA-256 over one canonical JSON object that names the change.
 *
 * v1 (default): operation, position, sequence, source_schema, source_table, transaction_id, and `key` (the
 * configured unique key) or, without one, `row` = {"before":..., "data":...}. dpone-py reproduces the ids
 * that the Python tool of the same name wrote. Both shapes are compatibility contracts: stored ledgers hold
 * their ids. Keys are sorted by code point, there are no spaces, only '"', '\' and control characters are
 * escaped.
 *
 * Pure. An identity object holds scratch memory and a hash context: one per thread.
 */
#ifndef DPONE_CDC_EVENT_IDENTITY_H
#define DPONE_CDC_EVENT_IDENTITY_H

#include "base/sha256.h"
#include "cdc/change.h"
#include "cdc/row_json.h"

/* X(name, text) */
#define DP_IDENTITY_LIST(X)                                                                                  \
    X(V1, "v1")                                                                                              \
    X(DPONE_PY, "dpone-py")

typedef enum dp_identity_kind {
#define DP_IDENTITY_ENUM(name, text) DP_IDENTITY_##name,
    DP_IDENTITY_LIST(DP_IDENTITY_ENUM)
#undef DP_IDENTITY_ENUM
} dp_identity_kind;

dp_slice dp_identity_text(dp_identity_kind kind);
bool dp_identity_parse(dp_slice text, dp_identity_kind *kind);

typedef struct dp_event_id {
    uint8_t bytes[DP_SHA256_BYTES];
} dp_event_id;

typedef struct dp_event_identity dp_event_identity;

/* NULL when memory is refused. */
dp_event_identity *dp_event_identity_new(dp_identity_kind kind);
void dp_event_identity_free(dp_event_identity *identity);

/* The id of a change, which must have a position and a transaction id. POISON with code "key_missing" when a
 * key is configured for the table and a key column is in neither data nor before, or NULL (never for a
 * truncate). */
dp_status dp_event_identity_id(dp_event_identity *identity, const dp_change *change, dp_event_id *id,
                               dp_error *error);

/* Whether the ids of a table are made of the text of whole rows in the exact form. */
bool dp_event_identity_needs_rows(const dp_event_identity *identity, const dp_table *table);

/* As dp_event_identity_id, of a change whose rows have been written to a buffer already: `data` and `before`
 * say where, NULL for those it has not. Only where dp_event_identity_needs_rows says so. */
dp_status dp_event_identity_id_of_rows(dp_event_identity *identity, const dp_change *change,
                                       const dp_buffer *written, const dp_row_text *data,
                                       const dp_row_text *before, dp_event_id *id, dp_error *error);

/* The canonical JSON that was hashed last; valid until the next call. For tests, documentation and debugging.
 */
dp_slice dp_event_identity_canonical(const dp_event_identity *identity);

#endif
