/* The offset store's rules over a store: loading with fall-back, saving only forward, one scope a pipeline.
 *
 * A pipeline keeps either one offset under schema `*`, table `*`, or one a table, never both. Each function
 * is a transaction of its own and durable when it returns OK. Not shared between threads, as the store is
 * not.
 */
#ifndef DPONE_STATE_OFFSETS_H
#define DPONE_STATE_OFFSETS_H

#include "state/store.h"

/* Who changes something by hand, and why. data NULL: nobody, which is not audited. */
typedef struct dp_actor {
    dp_slice who;
    dp_slice why;
} dp_actor;

/* Fills in *row, which names pipeline, schema, table and backend; for a table without a row of its own that
 * is the pipeline's `*` row, and schema and table then say so. NOT_FOUND. */
dp_status dp_offsets_load(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error);

typedef struct dp_offset_save {
    dp_offset_row row; /* names and token; the times are the store's */
    bool allow_rewind;
    dp_actor actor;
} dp_offset_save;

/* USAGE token_malformed, backend_unknown, offset_name_invalid; CONFLICT offset_scope_conflict; BLOCKED
 * offset_regression when the token is older than the stored one. */
dp_status dp_offsets_save(dp_store *store, const dp_offset_save *save, int64_t now_us, dp_error *error);

/* NOT_FOUND. Never falls back. */
dp_status dp_offsets_delete(dp_store *store, const dp_offset_row *row, const dp_actor *actor, int64_t now_us,
                            dp_error *error);

#endif
