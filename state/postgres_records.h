/* The driver functions of postgres_records.c: migrations, offsets, quarantine and audit. As store.h has them.
 */
#ifndef DPONE_STATE_POSTGRES_RECORDS_H
#define DPONE_STATE_POSTGRES_RECORDS_H

#include "state/postgres_session.h"

dp_status dp_pg_migration_ensure(dp_store *store, dp_error *error);
dp_status dp_pg_migration_list(dp_store *store, const dp_row_visitor *visitor, dp_error *error);
dp_status dp_pg_migration_done(dp_store *store, dp_error *error);
dp_status dp_pg_migration_apply(dp_store *store, const dp_migration *migration, dp_slice checksum,
                                int64_t now_us, dp_error *error);

dp_status dp_pg_offset_find(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error);
dp_status dp_pg_offset_save(dp_store *store, const dp_offset_row *row, int64_t now_us, dp_error *error);
dp_status dp_pg_offset_delete(dp_store *store, const dp_offset_row *row, dp_error *error);
dp_status dp_pg_offset_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                            dp_error *error);

dp_status dp_pg_quarantine_insert(dp_store *store, const dp_quarantine_row *rows, size_t count,
                                  uint64_t *inserted_count, dp_error *error);
dp_status dp_pg_quarantine_list(dp_store *store, dp_slice pipeline, const dp_quarantine_state *state,
                                int64_t after_id, uint64_t limit, const dp_row_visitor *visitor,
                                dp_error *error);
dp_status dp_pg_quarantine_resolve(dp_store *store, const dp_quarantine_row *row, dp_error *error);

dp_status dp_pg_audit_insert(dp_store *store, const dp_audit_row *row, dp_error *error);
dp_status dp_pg_audit_list(dp_store *store, dp_slice pipeline, int64_t below_id, uint64_t limit,
                           const dp_row_visitor *visitor, dp_error *error);

dp_status dp_pg_check_grants(dp_store *store, dp_error *error);
dp_status dp_pg_size_bytes(dp_store *store, uint64_t *bytes, dp_error *error);

#endif
