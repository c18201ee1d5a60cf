#include "state/postgres_records.h"

/* --- migrations -------------------------------------------------------------------------------------------
 */

/* As in 0001_journal.sql. */
static const char create_offset_table[] =
    "CREATE TABLE IF NOT EXISTS :\"offset_table\" (pipeline_name text NOT NULL, source_schema text NOT NULL, "
    "source_table text NOT NULL, backend text NOT NULL, token text NOT NULL, snapshot_complete boolean NOT "
    "NULL, "
    "\"__dpone__loaded_at\" timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), "
    "\"__dpone__updated_at\" timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), "
    "PRIMARY KEY (pipeline_name, source_schema, source_table, backend))";

/* Held until the transaction ends. The name is hashed on the server, so every server of every version agrees.
 */
static dp_status lock_name(dp_pg_session *session, const char *what, dp_slice name, dp_error *error)
{
    dp_buffer text = DP_BUFFER_INIT(1u << 16);
    dp_pg_params params = {.count = 0};
    dp_buffer_append_format(&text, "dpone %s %s ", what, session->schema);
    dp_buffer_append_slice(&text, name);
    dp_status status = DP_STATUS_OK;
    if (text.failed) {
        status = dp_error_set(error, DP_STATUS_LIMIT, "state database: a name is too long");
    } else {
        dp_pg_add_text(&params, dp_buffer_slice(&text));
        status = dp_pg_run(session, DP_PG_ADVISORY_LOCK, &params, NULL, error);
    }
    dp_buffer_release(&text);
    return status;
}

static dp_status exists(dp_pg_session *session, dp_pg_statement statement, bool *found, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_pg_add_text(&params, dp_slice_of_text(session->schema));
    dp_status status = dp_pg_run(session, statement, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    *found = PQntuples(result) > 0;
    bool usable = !*found || statement != DP_PG_MIGRATION_TABLE || dp_pg_get_bool(result, 0, 0);
    PQclear(result);
    if (usable) return DP_STATUS_OK;
    dp_error_set(error, DP_STATUS_IO, "state database: permission denied for schema %s (USAGE)",
                 session->schema);
    dp_error_hint(error, "grant the role what docs/state-postgres.md lists");
    return DP_STATUS_IO;
}

static dp_status run_expanded(dp_pg_session *session, const char *sql, dp_error *error)
{
    const char *text;
    dp_status status = dp_pg_flush(session, error);
    if (status == DP_STATUS_OK) status = dp_pg_expand(session, sql, &text, error);
    return status == DP_STATUS_OK ? dp_pg_script(session, text, error) : status;
}

/* CREATE ... IF NOT EXISTS asks for the privilege to create even when there is nothing to create. */
dp_status dp_pg_migration_ensure(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    bool found = false;
    dp_status status = lock_name(session, "migrate", (dp_slice){"", 0}, error);
    if (status == DP_STATUS_OK) status = exists(session, DP_PG_SCHEMA_EXISTS, &found, error);
    if (status == DP_STATUS_OK && !found) status = run_expanded(session, "CREATE SCHEMA :\"schema\"", error);
    if (status == DP_STATUS_OK) status = exists(session, DP_PG_MIGRATION_TABLE, &found, error);
    if (status != DP_STATUS_OK || found) return status;
    return run_expanded(session,
                        "CREATE TABLE dpone_migration (version bigint PRIMARY KEY, name text NOT NULL, "
                        "checksum text NOT NULL, applied_at_us bigint NOT NULL)",
                        error);
}

static dp_status visit_migration(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    int64_t version = dp_pg_get_i64(result, 0, 0);
    if (version < 0 || version > UINT32_MAX) version = UINT32_MAX;
    return visitor->migration(visitor->context, (uint32_t)version, dp_pg_get_slice(result, 0, 1),
                              dp_pg_get_slice(result, 0, 2), error);
}

dp_status dp_pg_migration_list(dp_store *store, const dp_row_visitor *visitor, dp_error *error)
{
    static const dp_pg_params none = {.count = 0};
    dp_pg_session *session = dp_pg_session_of(store);
    dp_row_visitor copy = *visitor;
    bool found = false;
    dp_status status = exists(session, DP_PG_MIGRATION_TABLE, &found, error);
    if (status != DP_STATUS_OK || !found) return status;
    return dp_pg_each(session, DP_PG_MIGRATION_LIST, &none, visit_migration, &copy, NULL, error);
}

dp_status dp_pg_migration_apply(dp_store *store, const dp_migration *migration, dp_slice checksum,
                                int64_t now_us, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    dp_status status = run_expanded(session, migration->sql, error);
    if (status != DP_STATUS_OK) return status;
    dp_pg_add_i64(&params, migration->version);
    dp_pg_add_text(&params, dp_slice_of_text(migration->name));
    dp_pg_add_text(&params, checksum);
    dp_pg_add_i64(&params, now_us);
    return dp_pg_run(session, DP_PG_MIGRATION_INSERT, &params, NULL, error);
}

static dp_status offset_table_exists(dp_pg_session *session, bool *found, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_pg_add_text(&params, dp_slice_of_text(session->schema));
    dp_pg_add_text(&params, dp_slice_of_text(session->offset_table));
    dp_status status = dp_pg_run(session, DP_PG_TABLE_EXISTS, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    *found = PQntuples(result) > 0;
    PQclear(result);
    return DP_STATUS_OK;
}

static dp_status make_offset_table(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    bool found = false;
    dp_status status = dp_pg_begin(store, true, error);
    if (status != DP_STATUS_OK) return status;
    status = lock_name(session, "migrate", (dp_slice){"", 0}, error);
    if (status == DP_STATUS_OK) status = offset_table_exists(session, &found, error);
    if (status == DP_STATUS_OK && !found) status = run_expanded(session, create_offset_table, error);
    if (status == DP_STATUS_OK) return dp_pg_commit(store, error);
    dp_pg_rollback(store);
    return status;
}

/* An offset table of another name is made here, because migrations are applied once. What is there already
 * may be another program's, so whether it can be read is seen now. */
dp_status dp_pg_migration_done(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params no_pipeline = {.count = 0};
    bool found = false;
    dp_status status = offset_table_exists(session, &found, error);
    if (status != DP_STATUS_OK) return status;
    if (!found) return make_offset_table(store, error);
    dp_pg_add_text(&no_pipeline, DP_SLICE_LITERAL(""));
    status = dp_pg_run(session, DP_PG_OFFSET_LIST, &no_pipeline, NULL, error);
    if (status != DP_STATUS_OK) dp_error_while(error, "reading the offset table '%s'", session->offset_table);
    return status;
}

/* --- offsets ----------------------------------------------------------------------------------------------
 */

/* What a writer reads it may be about to compare with what it writes, so writers of one pipeline's offsets
 * come one after the other. */
static dp_status lock_offsets(dp_pg_session *session, dp_slice pipeline, dp_error *error)
{
    if (!session->in_transaction || !session->writing || pipeline.data == NULL) return DP_STATUS_OK;
    return lock_name(session, "offset", pipeline, error);
}

static dp_offset_row read_offset(const PGresult *r)
{
    return (dp_offset_row){
        .pipeline_name = dp_pg_get_slice(r, 0, 0),
        .source_schema = dp_pg_get_slice(r, 0, 1),
        .source_table = dp_pg_get_slice(r, 0, 2),
        .backend = dp_pg_get_slice(r, 0, 3),
        .token = dp_pg_get_slice(r, 0, 4),
        .snapshot_complete = dp_pg_get_bool(r, 0, 5),
        .loaded_at_us = dp_pg_get_timestamp(r, 0, 6),
        .updated_at_us = dp_pg_get_timestamp(r, 0, 7),
    };
}

static void add_offset_key(dp_pg_params *params, const dp_offset_row *row)
{
    dp_pg_add_text(params, row->pipeline_name);
    dp_pg_add_text(params, row->source_schema);
    dp_pg_add_text(params, row->source_table);
    dp_pg_add_text(params, row->backend);
}

dp_status dp_pg_offset_find(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    add_offset_key(&params, row);
    dp_status status = lock_offsets(session, row->pipeline_name, error);
    if (status == DP_STATUS_OK) status = dp_pg_run(session, DP_PG_OFFSET_FIND, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    if (PQntuples(result) == 0) {
        status = DP_STATUS_NOT_FOUND;
    } else {
        dp_offset_row found = read_offset(result);
        dp_slice token = dp_arena_copy(arena, found.token);
        if (token.data == NULL) {
            status = dp_error_no_memory(error, "an offset");
        } else {
            row->token = token;
            row->snapshot_complete = found.snapshot_complete;
            row->loaded_at_us = found.loaded_at_us;
            row->updated_at_us = found.updated_at_us;
        }
    }
    PQclear(result);
    return status;
}

dp_status dp_pg_offset_save(dp_store *store, const dp_offset_row *row, int64_t now_us, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    add_offset_key(&params, row);
    dp_pg_add_text(&params, row->token);
    dp_pg_add_bool(&params, row->snapshot_complete);
    dp_pg_add_timestamp(&params, now_us);
    dp_status status = lock_offsets(session, row->pipeline_name, error);
    return status == DP_STATUS_OK ? dp_pg_run(session, DP_PG_OFFSET_SAVE, &params, NULL, error) : status;
}

dp_status dp_pg_offset_delete(dp_store *store, const dp_offset_row *row, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    uint64_t count = 0;
    add_offset_key(&params, row);
    dp_status status = lock_offsets(session, row->pipeline_name, error);
    if (status == DP_STATUS_OK) status = dp_pg_change(session, DP_PG_OFFSET_DELETE, &params, &count, error);
    return status == DP_STATUS_OK && count == 0 ? DP_STATUS_NOT_FOUND : status;
}

static dp_status visit_offset(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_offset_row row = read_offset(result);
    return visitor->offset(visitor->context, &row, error);
}

dp_status dp_pg_offset_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                            dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    dp_pg_add_text(&params, pipeline);
    dp_status status = lock_offsets(session, pipeline, error);
    if (status != DP_STATUS_OK) return status;
    return dp_pg_each(session, DP_PG_OFFSET_LIST, &params, visit_offset, &copy, NULL, error);
}

/* --- quarantine -------------------------------------------------------------------------------------------
 */

dp_status dp_pg_quarantine_insert(dp_store *store, const dp_quarantine_row *rows, size_t count,
                                  uint64_t *inserted_count, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    uint64_t total_count = 0;
    for (size_t i = 0; i < count && status == DP_STATUS_OK; i++) {
        uint64_t inserted = 0;
        const dp_quarantine_row *row = &rows[i];
        dp_pg_params params = {.count = 0};
        dp_pg_add_text(&params, row->pipeline);
        dp_pg_add_text(&params, row->source);
        dp_pg_add_text(&params, row->backend);
        dp_pg_add_text(&params, row->source_schema);
        dp_pg_add_text(&params, row->source_table);
        dp_pg_add_text(&params, row->position);
        dp_pg_add_text(&params, row->transaction_id);
        dp_pg_add_text(&params, row->end_position);
        dp_pg_add_text(&params, row->reason);
        dp_pg_add_text(&params, row->detail);
        dp_pg_add_text(&params, row->event);
        dp_pg_add_text(&params, dp_quarantine_state_text(row->state));
        dp_pg_add_i64(&params, row->created_at_us);
        dp_pg_add_i64(&params, row->resolved_at_us);
        dp_pg_add_text(&params, row->resolved_by);
        dp_pg_add_text(&params, row->resolution);
        dp_pg_add_text(&params, row->event_key);
        status = dp_pg_change(dp_pg_session_of(store), DP_PG_QUARANTINE_INSERT, &params, &inserted, error);
        total_count += inserted;
    }
    if (status == DP_STATUS_OK) *inserted_count = total_count;
    return status;
}

static dp_status visit_quarantine(void *context, const PGresult *r, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_slice state = dp_pg_get_slice(r, 0, 12);
    dp_quarantine_row row = {
        .quarantine_id = dp_pg_get_i64(r, 0, 0),
        .pipeline = dp_pg_get_slice(r, 0, 1),
        .source = dp_pg_get_slice(r, 0, 2),
        .backend = dp_pg_get_slice(r, 0, 3),
        .source_schema = dp_pg_get_slice(r, 0, 4),
        .source_table = dp_pg_get_slice(r, 0, 5),
        .position = dp_pg_get_slice(r, 0, 6),
        .transaction_id = dp_pg_get_slice(r, 0, 7),
        .end_position = dp_pg_get_slice(r, 0, 8),
        .reason = dp_pg_get_slice(r, 0, 9),
        .detail = dp_pg_get_slice(r, 0, 10),
        .event = dp_pg_get_slice(r, 0, 11),
        .created_at_us = dp_pg_get_i64(r, 0, 13),
        .resolved_at_us = dp_pg_get_i64(r, 0, 14),
        .resolved_by = dp_pg_get_slice(r, 0, 15),
        .resolution = dp_pg_get_slice(r, 0, 16),
        .event_key = dp_pg_get_slice(r, 0, 17),
    };
    if (!dp_quarantine_state_parse(state, &row.state)) {
        return dp_error_set(error, DP_STATUS_DATA, "state database: unknown quarantine state '%.*s'",
                            DP_SLICE_PRINT(state));
    }
    return visitor->quarantine(visitor->context, &row, error);
}

static int64_t limit_or_all(uint64_t limit)
{
    return limit == 0 || limit > INT64_MAX ? INT64_MAX : (int64_t)limit;
}

dp_status dp_pg_quarantine_list(dp_store *store, dp_slice pipeline, const dp_quarantine_state *state,
                                int64_t after_id, uint64_t limit, const dp_row_visitor *visitor,
                                dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    dp_pg_add_i64(&params, after_id);
    dp_pg_add_text(&params, pipeline);
    dp_pg_add_text(&params, state == NULL ? (dp_slice){NULL, 0} : dp_quarantine_state_text(*state));
    dp_pg_add_i64(&params, limit_or_all(limit));
    return dp_pg_each(dp_pg_session_of(store), DP_PG_QUARANTINE_LIST, &params, visit_quarantine, &copy, NULL,
                      error);
}

dp_status dp_pg_quarantine_resolve(dp_store *store, const dp_quarantine_row *row, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    uint64_t count = 0;
    dp_pg_add_i64(&params, row->quarantine_id);
    dp_pg_add_text(&params, dp_quarantine_state_text(row->state));
    dp_pg_add_i64(&params, row->resolved_at_us);
    dp_pg_add_text(&params, row->resolved_by);
    dp_pg_add_text(&params, row->resolution);
    dp_status status =
        dp_pg_change(dp_pg_session_of(store), DP_PG_QUARANTINE_RESOLVE, &params, &count, error);
    return status == DP_STATUS_OK && count == 0 ? DP_STATUS_NOT_FOUND : status;
}

/* --- audit ------------------------------------------------------------------------------------------------
 */

dp_status dp_pg_audit_insert(dp_store *store, const dp_audit_row *row, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, row->at_us);
    dp_pg_add_text(&params, row->actor);
    dp_pg_add_text(&params, row->action);
    dp_pg_add_text(&params, row->pipeline);
    dp_pg_add_text(&params, row->subject);
    dp_pg_add_text(&params, row->reason);
    dp_pg_add_text(&params, row->old_value);
    dp_pg_add_text(&params, row->new_value);
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_AUDIT_INSERT, &params, error);
}

static dp_status visit_audit(void *context, const PGresult *r, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_audit_row row = {
        .audit_id = dp_pg_get_i64(r, 0, 0),
        .at_us = dp_pg_get_i64(r, 0, 1),
        .actor = dp_pg_get_slice(r, 0, 2),
        .action = dp_pg_get_slice(r, 0, 3),
        .pipeline = dp_pg_get_slice(r, 0, 4),
        .subject = dp_pg_get_slice(r, 0, 5),
        .reason = dp_pg_get_slice(r, 0, 6),
        .old_value = dp_pg_get_slice(r, 0, 7),
        .new_value = dp_pg_get_slice(r, 0, 8),
    };
    return visitor->audit(visitor->context, &row, error);
}

dp_status dp_pg_audit_list(dp_store *store, dp_slice pipeline, int64_t below_id, uint64_t limit,
                           const dp_row_visitor *visitor, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    dp_pg_add_text(&params, pipeline);
    dp_pg_add_i64(&params, below_id);
    dp_pg_add_i64(&params, limit_or_all(limit));
    return dp_pg_each(dp_pg_session_of(store), DP_PG_AUDIT_LIST, &params, visit_audit, &copy, NULL, error);
}

dp_status dp_pg_size_bytes(dp_store *store, uint64_t *bytes, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_pg_add_text(&params, dp_slice_of_text(session->schema));
    dp_status status = dp_pg_run(session, DP_PG_SIZE, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    *bytes = (uint64_t)dp_pg_get_i64(result, 0, 0);
    PQclear(result);
    return DP_STATUS_OK;
}

dp_status dp_pg_check_grants(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_pg_add_text(&params, dp_slice_of_text(session->offset_table));
    dp_status status = dp_pg_run(session, DP_PG_GRANTS_MISSING, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    dp_slice missing = dp_pg_get_slice(result, 0, 0);
    if (missing.length > 0) {
        status =
            dp_error_set(error, DP_STATUS_IO, "state database: the role lacks %.*s", DP_SLICE_PRINT(missing));
        dp_error_hint(error, "grant the role what docs/state-postgres.md lists");
    }
    PQclear(result);
    return status;
}
