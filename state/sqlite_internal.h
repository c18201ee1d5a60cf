/* What the files of the SQLite driver share: the connection, its statements, and how values cross over. */
#ifndef DPONE_STATE_SQLITE_INTERNAL_H
#define DPONE_STATE_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "state/store.h"

/* Statements are prepared on first use and kept. X(name, sql) */
#define DP_SQLITE_STATEMENT_LIST(X)                                                                          \
    X(BEGIN_READ, "BEGIN")                                                                                   \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                        \
    X(COMMIT, "COMMIT")                                                                                      \
    X(ROLLBACK, "ROLLBACK")                                                                                  \
    X(STREAM_FIND,                                                                                           \
      "SELECT stream_id, identity, next_event_number, high_position, pruned_position, passed_position, "     \
      "has_staged, staged_transaction_id, staged_first_number, staged_count, transaction_count, "            \
      "event_count, settings, created_at_us, updated_at_us, pipeline, source, backend "                      \
      "FROM dpone_stream WHERE pipeline = ?1 AND source = ?2 AND backend = ?3")                              \
    X(STREAM_LIST,                                                                                           \
      "SELECT stream_id, identity, next_event_number, high_position, pruned_position, passed_position, "     \
      "has_staged, staged_transaction_id, staged_first_number, staged_count, transaction_count, "            \
      "event_count, settings, created_at_us, updated_at_us, pipeline, source, backend "                      \
      "FROM dpone_stream WHERE ?1 IS NULL OR pipeline = ?1 ORDER BY pipeline, source, backend")              \
    X(STREAM_INSERT,                                                                                         \
      "INSERT INTO dpone_stream (pipeline, source, backend, identity, next_event_number, created_at_us, "    \
      "updated_at_us) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5)")                                                   \
    X(STREAM_SAVE,                                                                                           \
      "UPDATE dpone_stream SET next_event_number = ?2, high_position = ?3, pruned_position = ?4, "           \
      "passed_position = ?5, has_staged = ?6, staged_transaction_id = ?7, staged_first_number = ?8, "        \
      "staged_count = ?9, transaction_count = ?10, event_count = ?11, settings = ?12, updated_at_us = ?13 "  \
      "WHERE stream_id = ?1")                                                                                \
    X(NEXT_NUMBER, "SELECT max(next_event_number) FROM dpone_stream")                                        \
    X(TRANSACTION_INSERT,                                                                                    \
      "INSERT INTO dpone_transaction (stream_id, end_position, transaction_id, committed_at_us, "            \
      "stored_at_us, first_number, event_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                        \
    X(TRANSACTION_FIND,                                                                                      \
      "SELECT end_position, transaction_id, committed_at_us, stored_at_us, first_number, event_count "       \
      "FROM dpone_transaction WHERE stream_id = ?1 AND end_position = ?2")                                   \
    X(TRANSACTION_READ,                                                                                      \
      "SELECT end_position, transaction_id, committed_at_us, stored_at_us, first_number, event_count "       \
      "FROM dpone_transaction WHERE stream_id = ?1 AND end_position > ?2 AND end_position <= ?3 "            \
      "ORDER BY end_position LIMIT ?4")                                                                      \
    X(TRANSACTION_DELETE, "DELETE FROM dpone_transaction WHERE stream_id = ?1 AND end_position <= ?2")       \
    X(EVENT_INSERT,                                                                                          \
      "INSERT INTO dpone_event (event_number, event_id, operation, source_schema, source_table, position, "  \
      "sequence, data, before, unchanged, metadata) SELECT event_number, event_id, operation, "              \
      "source_schema, source_table, position, sequence, data, before, unchanged, metadata "                  \
      "FROM dpone_new_event")                                                                                \
    X(EVENT_READ,                                                                                            \
      "SELECT event_number, event_id, operation, source_schema, source_table, position, sequence, data, "    \
      "before, unchanged, metadata FROM dpone_event WHERE event_number >= ?1 AND event_number <= ?2 "        \
      "ORDER BY event_number")                                                                               \
    X(EVENT_DELETE, "DELETE FROM dpone_event WHERE event_number >= ?1 AND event_number <= ?2")               \
    X(RECEIPT_FIND,                                                                                          \
      "SELECT stream_id, batch_id, staged, http_status, body, created_at_us FROM dpone_receipt "             \
      "WHERE pipeline = ?1 AND source = ?2 AND identity = ?3 AND idempotency_key = ?4")                      \
    X(RECEIPT_LAST,                                                                                          \
      "SELECT stream_id, batch_id, staged, http_status, body, created_at_us FROM dpone_receipt "             \
      "WHERE stream_id = ?1 ORDER BY created_at_us DESC, receipt_id DESC LIMIT 1")                           \
    X(RECEIPT_LIST,                                                                                          \
      "SELECT stream_id, batch_id, staged, http_status, body, created_at_us, pipeline, source, identity, "   \
      "idempotency_key FROM dpone_receipt WHERE stream_id = ?1 ORDER BY created_at_us, receipt_id")          \
    X(RECEIPT_INSERT,                                                                                        \
      "INSERT INTO dpone_receipt (pipeline, source, identity, idempotency_key, stream_id, batch_id, "        \
      "staged, http_status, body, created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")          \
    X(RECEIPT_DROP_STAGED, "DELETE FROM dpone_receipt WHERE stream_id = ?1 AND staged = 1")                  \
    X(RECEIPT_DELETE,                                                                                        \
      "DELETE FROM dpone_receipt WHERE stream_id = ?1 AND created_at_us < ?2 AND staged = 0")                \
    X(QUARANTINE_INSERT,                                                                                     \
      "INSERT INTO dpone_quarantine (pipeline, source, backend, source_schema, source_table, position, "     \
      "transaction_id, end_position, reason, detail, event, state, resolved_by, resolution, "                \
      "created_at_us, resolved_at_us, event_key) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "      \
      "?12, ?13, ?14, ?15, ?16, ?17 WHERE ?17 IS NULL OR NOT EXISTS (SELECT 1 FROM dpone_quarantine "        \
      "WHERE pipeline = ?1 AND event_key IS NULL AND event = ?11 AND source IN ('', ?2)) "                   \
      "ON CONFLICT (event_key) DO NOTHING")                                                                  \
    X(QUARANTINE_LIST,                                                                                       \
      "SELECT quarantine_id, pipeline, source, backend, source_schema, source_table, position, "             \
      "transaction_id, end_position, reason, detail, event, state, created_at_us, resolved_at_us, "          \
      "resolved_by, resolution, event_key FROM dpone_quarantine WHERE quarantine_id > ?3 "                   \
      "AND (?1 IS NULL OR pipeline = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY quarantine_id LIMIT ?4")    \
    X(QUARANTINE_RESOLVE,                                                                                    \
      "UPDATE dpone_quarantine SET state = ?2, resolved_at_us = ?3, resolved_by = ?4, resolution = ?5 "      \
      "WHERE quarantine_id = ?1 AND state = 'open'")                                                         \
    X(AUDIT_INSERT,                                                                                          \
      "INSERT INTO dpone_audit (at_us, actor, action, pipeline, subject, reason, old_value, new_value) "     \
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                                             \
    X(AUDIT_LIST, "SELECT audit_id, at_us, actor, action, pipeline, subject, reason, old_value, new_value "  \
                  "FROM dpone_audit WHERE (?1 IS NULL OR pipeline = ?1) AND audit_id < ?2 ORDER BY "         \
                  "audit_id DESC LIMIT ?3")                                                                  \
    X(MIGRATION_EXISTS, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dpone_migration'")     \
    X(PAGE_COUNT, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")

/* These name the offset table, which is configurable: %s stands for it, quoted. X(name, sql) */
#define DP_SQLITE_OFFSET_STATEMENT_LIST(X)                                                                   \
    X(OFFSET_FIND, "SELECT pipeline_name, source_schema, source_table, backend, token, snapshot_complete, "  \
                   "\"__dpone__loaded_at\", \"__dpone__updated_at\" FROM %s WHERE pipeline_name = ?1 "       \
                   "AND source_schema = ?2 AND source_table = ?3 AND backend = ?4")                          \
    X(OFFSET_SAVE,                                                                                           \
      "INSERT INTO %s (pipeline_name, source_schema, source_table, backend, token, snapshot_complete, "      \
      "\"__dpone__loaded_at\", \"__dpone__updated_at\") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) "            \
      "ON CONFLICT (pipeline_name, source_schema, source_table, backend) DO UPDATE SET "                     \
      "token = excluded.token, snapshot_complete = excluded.snapshot_complete, "                             \
      "\"__dpone__updated_at\" = excluded.\"__dpone__updated_at\"")                                          \
    X(OFFSET_DELETE, "DELETE FROM %s WHERE pipeline_name = ?1 AND source_schema = ?2 AND source_table = ?3 " \
                     "AND backend = ?4")                                                                     \
    X(OFFSET_LIST,                                                                                           \
      "SELECT pipeline_name, source_schema, source_table, backend, token, snapshot_complete, "               \
      "\"__dpone__loaded_at\", \"__dpone__updated_at\" FROM %s WHERE ?1 IS NULL OR pipeline_name = ?1 "      \
      "ORDER BY pipeline_name, source_schema, source_table, backend")

typedef enum sqlite_statement {
#define SQLITE_STATEMENT_ENUM(name, sql) STATEMENT_##name,
    DP_SQLITE_STATEMENT_LIST(SQLITE_STATEMENT_ENUM) DP_SQLITE_OFFSET_STATEMENT_LIST(SQLITE_STATEMENT_ENUM)
#undef SQLITE_STATEMENT_ENUM
        STATEMENT_COUNT
} sqlite_statement;

/* What the table dpone_new_event of a connection shows while its events are stored. */
typedef struct sqlite_new_events {
    const dp_event_run *runs;
    size_t run_count;
} sqlite_new_events;

typedef struct sqlite_store {
    dp_store base;
    sqlite3 *connection;
    sqlite_new_events new_events;
    bool read_only;
    char path[1024];
    char offset_table[160]; /* quoted */
    sqlite3_stmt *statements[STATEMENT_COUNT];
} sqlite_store;

/* The statement, reset and without bindings; NULL with the error set. */
sqlite3_stmt *sqlite_statement_of(sqlite_store *self, sqlite_statement id, const char *doing,
                                  dp_error *error);

/* Runs a statement that gives no rows, and resets it. */
dp_status sqlite_run(sqlite_store *self, sqlite3_stmt *statement, const char *doing, dp_error *error);

/* Ends the use of a statement: resets it and turns a result other than DONE and ROW into an error. */
dp_status sqlite_end(sqlite_store *self, sqlite3_stmt *statement, int code, const char *doing,
                     dp_error *error);

/* What a visitor's answer means for the reading: DP_STATUS_CANCELLED without an error is an early success. */
dp_status sqlite_visited(dp_status answer, const dp_error *error);

/* Binds borrowed bytes; data NULL is NULL. The statement MUST be run before the bytes go away. */
static inline void bind_text(sqlite3_stmt *statement, int index, dp_slice text)
{
    sqlite3_bind_text(statement, index, text.data, (int)text.length, SQLITE_STATIC);
}

static inline void bind_bytes(sqlite3_stmt *statement, int index, const uint8_t *bytes, size_t length)
{
    sqlite3_bind_blob(statement, index, bytes, (int)length, SQLITE_STATIC);
}

/* A column's bytes or text, valid until the statement goes on; data NULL for NULL. */
static inline dp_slice column_bytes(sqlite3_stmt *statement, int index)
{
    const char *data = sqlite3_column_blob(statement, index);
    if (data == NULL) return (dp_slice){NULL, 0};
    return (dp_slice){data, (size_t)sqlite3_column_bytes(statement, index)};
}

static inline dp_slice column_text(sqlite3_stmt *statement, int index)
{
    const char *data = (const char *)sqlite3_column_text(statement, index);
    if (data == NULL) return (dp_slice){NULL, 0};
    return (dp_slice){data, (size_t)sqlite3_column_bytes(statement, index)};
}

static inline bool column_position(sqlite3_stmt *statement, int index, dp_position *position)
{
    const void *bytes = sqlite3_column_blob(statement, index);
    if (bytes == NULL || sqlite3_column_bytes(statement, index) != DP_POSITION_BYTES) return false;
    memcpy(position->bytes, bytes, DP_POSITION_BYTES);
    return true;
}

/* sqlite_journal.c */
dp_status sqlite_stream_open(dp_store *store, const dp_stream_key *key, dp_identity_kind identity,
                             int64_t now_us, dp_arena *arena, dp_stream *stream, dp_error *error);
dp_status sqlite_stream_find(dp_store *store, const dp_stream_key *key, dp_arena *arena, dp_stream *stream,
                             dp_error *error);
dp_status sqlite_stream_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error);
dp_status sqlite_stream_save(dp_store *store, const dp_stream *stream, dp_error *error);
dp_status sqlite_reserve_numbers(dp_store *store, const dp_stream *stream, uint64_t count, int64_t *first,
                                 dp_error *error);
dp_status sqlite_transactions_insert(dp_store *store, int64_t stream_id, const dp_transaction_row *rows,
                                     size_t count, dp_error *error);
dp_status sqlite_transactions_find(dp_store *store, int64_t stream_id, const dp_position *positions,
                                   size_t count, const dp_row_visitor *visitor, dp_error *error);
dp_status sqlite_transactions_read(dp_store *store, int64_t stream_id, const dp_transaction_window *window,
                                   const dp_row_visitor *visitor, dp_error *error);
dp_status sqlite_transactions_delete(dp_store *store, int64_t stream_id, dp_position to, dp_error *error);
dp_status sqlite_events_read(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
                             size_t range_count, const dp_row_visitor *visitor, dp_error *error);
dp_status sqlite_events_delete(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error);
dp_status sqlite_receipt_find(dp_store *store, dp_receipt_row *receipt, dp_arena *arena, dp_error *error);
dp_status sqlite_receipt_insert(dp_store *store, const dp_receipt_row *receipt, dp_error *error);
dp_status sqlite_receipts_drop_staged(dp_store *store, int64_t stream_id, dp_error *error);
dp_status sqlite_receipts_delete(dp_store *store, int64_t stream_id, int64_t before_us, dp_error *error);
dp_status sqlite_receipt_list(dp_store *store, int64_t stream_id, const dp_row_visitor *visitor,
                              dp_error *error);
dp_status sqlite_receipt_last(dp_store *store, int64_t stream_id, dp_arena *arena, dp_receipt_row *receipt,
                              dp_error *error);

/* sqlite_event_rows.c; registering answers with a result code of SQLite */
int sqlite_event_rows_register(sqlite_store *self);
dp_status sqlite_events_insert(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                               dp_error *error);

/* sqlite_tables.c */
dp_status sqlite_offset_find(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error);
dp_status sqlite_offset_save(dp_store *store, const dp_offset_row *row, int64_t now_us, dp_error *error);
dp_status sqlite_offset_delete(dp_store *store, const dp_offset_row *row, dp_error *error);
dp_status sqlite_offset_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error);
dp_status sqlite_quarantine_insert(dp_store *store, const dp_quarantine_row *rows, size_t count,
                                   uint64_t *inserted_count, dp_error *error);
dp_status sqlite_quarantine_list(dp_store *store, dp_slice pipeline, const dp_quarantine_state *state,
                                 int64_t after_id, uint64_t limit, const dp_row_visitor *visitor,
                                 dp_error *error);
dp_status sqlite_quarantine_resolve(dp_store *store, const dp_quarantine_row *row, dp_error *error);
dp_status sqlite_audit_insert(dp_store *store, const dp_audit_row *row, dp_error *error);
dp_status sqlite_audit_list(dp_store *store, dp_slice pipeline, int64_t below_id, uint64_t limit,
                            const dp_row_visitor *visitor, dp_error *error);

#endif
