/* The SQLite driver: offsets, quarantine, audit. */
#include "base/clock.h"
#include "state/sqlite_internal.h"

static dp_status unprepared(const dp_error *error)
{
    return error == NULL || error->status == DP_STATUS_OK ? DP_STATUS_IO : error->status;
}

/* --- offsets ------------------------------------------------------------------------------------------- */

/* The table's times are texts "YYYY-MM-DD HH:MM:SS[.ffffff]" in UTC, as CURRENT_TIMESTAMP and the Python tool
 * write them; anything else reads as 0. */
static int64_t read_time(dp_slice text)
{
    char full[] = "0000-00-00T00:00:00.000000Z";
    int64_t wall_us = 0;
    if (text.length < 19 || text.length > 26) return 0;
    memcpy(full, text.data, text.length);
    full[10] = 'T';
    return dp_timestamp_parse((dp_slice){full, sizeof full - 1}, &wall_us) ? wall_us : 0;
}

static dp_slice write_time(int64_t wall_us, char out[DP_CLOCK_TEXT_BYTES])
{
    dp_clock_format_utc(wall_us, out);
    out[10] = ' ';
    return (dp_slice){out, 26};
}

static void read_offset(sqlite3_stmt *row, dp_offset_row *offset)
{
    *offset = (dp_offset_row){
        .pipeline_name = column_text(row, 0),
        .source_schema = column_text(row, 1),
        .source_table = column_text(row, 2),
        .backend = column_text(row, 3),
        .token = column_text(row, 4),
        .snapshot_complete = sqlite3_column_int(row, 5) != 0,
        .loaded_at_us = read_time(column_text(row, 6)),
        .updated_at_us = read_time(column_text(row, 7)),
    };
}

static void bind_offset_key(sqlite3_stmt *statement, const dp_offset_row *row)
{
    bind_text(statement, 1, row->pipeline_name);
    bind_text(statement, 2, row->source_schema);
    bind_text(statement, 3, row->source_table);
    bind_text(statement, 4, row->backend);
}

dp_status sqlite_offset_find(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "find an offset";
    sqlite3_stmt *find = sqlite_statement_of(self, STATEMENT_OFFSET_FIND, doing, error);
    if (find == NULL) return unprepared(error);
    bind_offset_key(find, row);
    int code = sqlite3_step(find);
    dp_status status = code == SQLITE_DONE ? DP_STATUS_NOT_FOUND : DP_STATUS_OK;
    if (code == SQLITE_ROW) {
        dp_offset_row found;
        read_offset(find, &found);
        dp_slice token = dp_arena_copy(arena, found.token.data == NULL ? DP_SLICE_LITERAL("") : found.token);
        if (token.data == NULL) {
            status = dp_error_no_memory(error, "an offset");
        } else {
            row->token = token;
            row->snapshot_complete = found.snapshot_complete;
            row->loaded_at_us = found.loaded_at_us;
            row->updated_at_us = found.updated_at_us;
        }
    }
    dp_status ended = sqlite_end(self, find, code, doing, error);
    return ended == DP_STATUS_OK ? status : ended;
}

dp_status sqlite_offset_save(dp_store *store, const dp_offset_row *row, int64_t now_us, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "save an offset";
    sqlite3_stmt *save = sqlite_statement_of(self, STATEMENT_OFFSET_SAVE, doing, error);
    if (save == NULL) return unprepared(error);
    char now[DP_CLOCK_TEXT_BYTES];
    bind_offset_key(save, row);
    bind_text(save, 5, row->token);
    sqlite3_bind_int(save, 6, row->snapshot_complete);
    bind_text(save, 7, write_time(now_us, now));
    return sqlite_run(self, save, doing, error);
}

dp_status sqlite_offset_delete(dp_store *store, const dp_offset_row *row, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "delete an offset";
    sqlite3_stmt *delete = sqlite_statement_of(self, STATEMENT_OFFSET_DELETE, doing, error);
    if (delete == NULL) return unprepared(error);
    bind_offset_key(delete, row);
    dp_status status = sqlite_run(self, delete, doing, error);
    if (status == DP_STATUS_OK && sqlite3_changes(self->connection) == 0) return DP_STATUS_NOT_FOUND;
    return status;
}

dp_status sqlite_offset_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "list the offsets";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_OFFSET_LIST, doing, error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, pipeline);
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        dp_offset_row offset;
        read_offset(row, &offset);
        status = visitor->offset(visitor->context, &offset, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

/* --- quarantine ---------------------------------------------------------------------------------------- */

dp_status sqlite_quarantine_insert(dp_store *store, const dp_quarantine_row *rows, size_t count,
                                   uint64_t *inserted_count, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "store a change in quarantine";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_QUARANTINE_INSERT, doing, error);
    if (insert == NULL) return unprepared(error);
    dp_status status = DP_STATUS_OK;
    uint64_t total_count = 0;
    for (size_t i = 0; i < count && status == DP_STATUS_OK; i++) {
        const dp_quarantine_row *row = &rows[i];
        const dp_slice texts[] = {
            row->pipeline,     row->source,    row->backend,        row->source_schema,
            row->source_table, row->position,  row->transaction_id, row->end_position,
            row->reason,       row->detail,    row->event,          dp_quarantine_state_text(row->state),
            row->resolved_by,  row->resolution};
        for (size_t column = 0; column < sizeof texts / sizeof texts[0]; column++) {
            bind_text(insert, (int)column + 1, texts[column]);
        }
        sqlite3_bind_int64(insert, 15, row->created_at_us);
        sqlite3_bind_int64(insert, 16, row->resolved_at_us);
        bind_bytes(insert, 17, (const uint8_t *)row->event_key.data, row->event_key.length);
        status = sqlite_run(self, insert, doing, error);
        if (status == DP_STATUS_OK) total_count += (uint64_t)sqlite3_changes(self->connection);
    }
    if (status == DP_STATUS_OK) *inserted_count = total_count;
    return status;
}

static dp_status read_quarantine(sqlite3_stmt *row, dp_quarantine_row *quarantine, dp_error *error)
{
    dp_slice state = column_text(row, 12);
    *quarantine = (dp_quarantine_row){
        .quarantine_id = sqlite3_column_int64(row, 0),
        .pipeline = column_text(row, 1),
        .source = column_text(row, 2),
        .backend = column_text(row, 3),
        .source_schema = column_text(row, 4),
        .source_table = column_text(row, 5),
        .position = column_text(row, 6),
        .transaction_id = column_text(row, 7),
        .end_position = column_text(row, 8),
        .reason = column_text(row, 9),
        .detail = column_text(row, 10),
        .event = column_text(row, 11),
        .created_at_us = sqlite3_column_int64(row, 13),
        .resolved_at_us = sqlite3_column_int64(row, 14),
        .resolved_by = column_text(row, 15),
        .resolution = column_text(row, 16),
        .event_key = column_bytes(row, 17),
    };
    if (dp_quarantine_state_parse(state, &quarantine->state)) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA, "state database: unknown quarantine state '%.*s'",
                        DP_SLICE_PRINT(state));
}

dp_status sqlite_quarantine_list(dp_store *store, dp_slice pipeline, const dp_quarantine_state *state,
                                 int64_t after_id, uint64_t limit, const dp_row_visitor *visitor,
                                 dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "list the quarantine";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_QUARANTINE_LIST, doing, error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, pipeline);
    bind_text(row, 2, state == NULL ? (dp_slice){NULL, 0} : dp_quarantine_state_text(*state));
    sqlite3_bind_int64(row, 3, after_id);
    sqlite3_bind_int64(row, 4, limit == 0 ? -1 : (int64_t)limit);
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        dp_quarantine_row quarantine;
        status = read_quarantine(row, &quarantine, error);
        if (status == DP_STATUS_OK) status = visitor->quarantine(visitor->context, &quarantine, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

dp_status sqlite_quarantine_resolve(dp_store *store, const dp_quarantine_row *row, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "resolve a change in quarantine";
    sqlite3_stmt *change = sqlite_statement_of(self, STATEMENT_QUARANTINE_RESOLVE, doing, error);
    if (change == NULL) return unprepared(error);
    sqlite3_bind_int64(change, 1, row->quarantine_id);
    bind_text(change, 2, dp_quarantine_state_text(row->state));
    sqlite3_bind_int64(change, 3, row->resolved_at_us);
    bind_text(change, 4, row->resolved_by);
    bind_text(change, 5, row->resolution);
    dp_status status = sqlite_run(self, change, doing, error);
    if (status == DP_STATUS_OK && sqlite3_changes(self->connection) == 0) return DP_STATUS_NOT_FOUND;
    return status;
}

/* --- audit --------------------------------------------------------------------------------------------- */

dp_status sqlite_audit_insert(dp_store *store, const dp_audit_row *row, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "write the audit";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_AUDIT_INSERT, doing, error);
    if (insert == NULL) return unprepared(error);
    sqlite3_bind_int64(insert, 1, row->at_us);
    bind_text(insert, 2, row->actor);
    bind_text(insert, 3, row->action);
    bind_text(insert, 4, row->pipeline);
    bind_text(insert, 5, row->subject);
    bind_text(insert, 6, row->reason);
    bind_text(insert, 7, row->old_value);
    bind_text(insert, 8, row->new_value);
    return sqlite_run(self, insert, doing, error);
}

dp_status sqlite_audit_list(dp_store *store, dp_slice pipeline, int64_t below_id, uint64_t limit,
                            const dp_row_visitor *visitor, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "read the audit";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_AUDIT_LIST, doing, error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, pipeline);
    sqlite3_bind_int64(row, 2, below_id);
    sqlite3_bind_int64(row, 3, limit == 0 ? -1 : (int64_t)limit);
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        dp_audit_row audit = {
            .audit_id = sqlite3_column_int64(row, 0),
            .at_us = sqlite3_column_int64(row, 1),
            .actor = column_text(row, 2),
            .action = column_text(row, 3),
            .pipeline = column_text(row, 4),
            .subject = column_text(row, 5),
            .reason = column_text(row, 6),
            .old_value = column_text(row, 7),
            .new_value = column_text(row, 8),
        };
        status = visitor->audit(visitor->context, &audit, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}
