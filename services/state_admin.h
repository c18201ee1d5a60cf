/* What an operator does with a state database without a server: migrate, look, change an offset by hand.
 *
 * Each function opens the database, does its work and closes it. Read-only where it only looks. What is
 * returned lives in the caller's arena.
 */
#ifndef DPONE_SERVICES_STATE_ADMIN_H
#define DPONE_SERVICES_STATE_ADMIN_H

#include "state/migrate.h"
#include "state/offsets.h"

typedef struct dp_state_report {
    dp_schema_state schema;
    bool is_current; /* the schema is what this program needs; otherwise nothing below is filled in */
    bool has_size;
    uint64_t size_bytes;
    dp_stream *streams; /* by pipeline, source, backend */
    size_t stream_count;
    dp_offset_row *offsets; /* by pipeline, schema, table, backend */
    size_t offset_count;
    uint64_t open_quarantine_count;
} dp_state_report;

/* Applies the migrations that are missing. */
dp_status dp_state_migrate(const char *dsn, uint32_t *applied_count, dp_schema_state *schema,
                           dp_error *error);

/* `pipeline` data NULL: all. */
dp_status dp_state_read_report(const char *dsn, dp_slice pipeline, dp_arena *arena, dp_state_report *report,
                               dp_error *error);

/* Whether the database is sound, as far as its driver can tell, and says of its rows what they are. DATA with
 * the first finding. The digest is that of a copy that says the same. */
dp_status dp_state_check(const char *dsn, uint8_t digest[DP_SHA256_BYTES], dp_error *error);

/* As in state/offsets.h. */
dp_status dp_state_load_offset(const char *dsn, dp_offset_row *row, dp_arena *arena, dp_error *error);
dp_status dp_state_save_offset(const char *dsn, const dp_offset_save *save, dp_error *error);
dp_status dp_state_delete_offset(const char *dsn, const dp_offset_row *row, const dp_actor *actor,
                                 dp_error *error);

#endif
