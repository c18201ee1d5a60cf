/* Brings a state database up to date: applies the embedded migrations that it does not have, in order, in one
 * transaction. Refuses a database that is newer than the program, or whose history is another. Safe when
 * several processes start at once: one applies, the others wait and find nothing to do.
 */
#ifndef DPONE_STATE_MIGRATE_H
#define DPONE_STATE_MIGRATE_H

#include "state/store.h"

typedef struct dp_schema_state {
    uint32_t applied; /* the newest version in the database; 0: none */
    uint32_t known;   /* the newest version in this program */
} dp_schema_state;

/* USAGE with code schema_newer or schema_differs when the database is not one this program can work with. */
dp_status dp_schema_inspect(dp_store *store, dp_schema_state *state, dp_error *error);

/* OK when the database is exactly what the program knows, else USAGE with a hint: codes schema_older,
 * schema_newer, schema_differs. */
dp_status dp_schema_require(dp_store *store, dp_error *error);

/* *applied_count is the number of migrations this call has applied. */
dp_status dp_schema_migrate(dp_store *store, int64_t now_us, uint32_t *applied_count, dp_error *error);

#endif
