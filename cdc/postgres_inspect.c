#include "cdc/postgres_inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/sql_quote.h"
#include "cdc/source_blockers.h"

enum { MAX_SQL_BYTES = 64 * 1024, MAX_HISTORY_BYTES = 1 << 20 };

static void copy_text(char *out, size_t out_bytes, dp_slice text)
{
    size_t length = text.length < out_bytes - 1 ? text.length : out_bytes - 1;
    if (length > 0) memcpy(out, text.data, length);
    out[length] = '\0';
}

static int64_t to_bytes(dp_slice text)
{
    uint64_t value = 0;
    return text.data != NULL && dp_slice_to_u64(text, INT64_MAX, &value) ? (int64_t)value : 0;
}

/* Runs a statement built in `sql`; releases it. */
static dp_status query(dp_postgres_session *session, dp_buffer *sql, dp_postgres_rows **rows, dp_error *error)
{
    const char *text = dp_buffer_text(sql);
    dp_status status = text == NULL ? dp_error_set(error, DP_STATUS_USAGE, "a name of the source is too long")
                                    : dp_postgres_query(session, text, rows, error);
    dp_buffer_release(sql);
    return status;
}

/* IDENTIFY_SYSTEM's columns where replication commands are not to be had. The timeline is that of the log
 * file that is written now. */
static const char server_query[] =
    "SELECT system_identifier, CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id::int8 FROM"
    " pg_control_checkpoint()) ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1,"
    " 8))::bit(32)::int8 END, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE"
    " pg_current_wal_flush_lsn() END, current_database() FROM pg_control_system()";

dp_status dp_postgres_read_server(dp_postgres_session *session, dp_postgres_server *server, dp_error *error)
{
    dp_postgres_rows *rows;
    const char *query_text = dp_postgres_is_replication(session) ? "IDENTIFY_SYSTEM" : server_query;
    dp_status status = dp_postgres_query(session, query_text, &rows, error);
    if (status != DP_STATUS_OK) return status;
    dp_postgres_server read = {.timeline = 0};
    uint64_t timeline = 0;
    bool is_good = dp_postgres_row_count(rows) == 1 &&
                   dp_slice_to_u64(dp_postgres_value(rows, 0, 1), UINT32_MAX, &timeline) &&
                   dp_lsn_parse(dp_postgres_value(rows, 0, 2), &read.flushed);
    if (is_good) {
        read.timeline = (uint32_t)timeline;
        copy_text(read.system_identifier, sizeof read.system_identifier, dp_postgres_value(rows, 0, 0));
        copy_text(read.database, sizeof read.database, dp_postgres_value(rows, 0, 3));
        *server = read;
    }
    dp_postgres_rows_free(rows);
    return is_good ? DP_STATUS_OK
                   : dp_error_set(error, DP_STATUS_REMOTE, "the source does not say which system it is");
}

/* Columns that not every version has are read through the row's JSON form. */
static const char slot_query[] =
    "SELECT s.slot_type = 'logical', s.temporary, s.active, s.active_pid, s.plugin, s.database,"
    " to_jsonb(s)->>'wal_status', to_jsonb(s)->>'invalidation_reason',"
    " coalesce((to_jsonb(s)->>'conflicting')::bool, false), s.confirmed_flush_lsn, s.restart_lsn,"
    " greatest(e.lsn - s.restart_lsn, 0)::int8, greatest(e.lsn - s.confirmed_flush_lsn, 0)::int8,"
    " coalesce((to_jsonb(s)->>'two_phase')::bool, false),"
    " coalesce((to_jsonb(s)->>'synced')::bool, false) AND pg_is_in_recovery()"
    " FROM pg_replication_slots s, LATERAL (SELECT CASE WHEN pg_is_in_recovery() THEN"
    " pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn) e WHERE s.slot_name = ";

static void fill_slot(const dp_postgres_rows *rows, dp_postgres_slot *slot)
{
    slot->exists = true;
    slot->is_logical = dp_postgres_is_true(rows, 0, 0);
    slot->is_temporary = dp_postgres_is_true(rows, 0, 1);
    slot->is_active = dp_postgres_is_true(rows, 0, 2);
    slot->active_pid = to_bytes(dp_postgres_value(rows, 0, 3));
    copy_text(slot->plugin, sizeof slot->plugin, dp_postgres_value(rows, 0, 4));
    copy_text(slot->database, sizeof slot->database, dp_postgres_value(rows, 0, 5));
    copy_text(slot->wal_status, sizeof slot->wal_status, dp_postgres_value(rows, 0, 6));
    copy_text(slot->invalidation_reason, sizeof slot->invalidation_reason, dp_postgres_value(rows, 0, 7));
    slot->is_invalidated = strcmp(slot->wal_status, "lost") == 0 || slot->invalidation_reason[0] != '\0' ||
                           dp_postgres_is_true(rows, 0, 8);
    slot->has_confirmed = dp_lsn_parse(dp_postgres_value(rows, 0, 9), &slot->confirmed);
    slot->has_restart = dp_lsn_parse(dp_postgres_value(rows, 0, 10), &slot->restart);
    slot->retained_bytes = to_bytes(dp_postgres_value(rows, 0, 11));
    slot->lag_bytes = to_bytes(dp_postgres_value(rows, 0, 12));
    slot->is_two_phase = dp_postgres_is_true(rows, 0, 13);
    slot->is_synced = dp_postgres_is_true(rows, 0, 14);
}

dp_status dp_postgres_read_slot(dp_postgres_session *session, const char *name, dp_postgres_slot *slot,
                                dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_buffer_append_text(&sql, slot_query);
    dp_sql_put_literal(&sql, dp_slice_of_text(name));
    dp_postgres_rows *rows;
    dp_status status = query(session, &sql, &rows, error);
    if (status != DP_STATUS_OK) return status;
    *slot = (dp_postgres_slot){.exists = false};
    if (dp_postgres_row_count(rows) == 1) fill_slot(rows, slot);
    dp_postgres_rows_free(rows);
    return DP_STATUS_OK;
}

static const char oldest_transaction_query[] =
    "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - t.began)), 0)::numeric(20,3)::text FROM"
    " (SELECT xact_start AS began FROM pg_stat_activity WHERE backend_xid IS NOT NULL UNION ALL SELECT "
    "prepared"
    " FROM pg_prepared_xacts) t";

dp_status dp_postgres_read_oldest_transaction(dp_postgres_session *session, double *seconds, dp_error *error)
{
    dp_postgres_rows *rows;
    dp_status status = dp_postgres_query(session, oldest_transaction_query, &rows, error);
    if (status != DP_STATUS_OK) return status;
    dp_slice text = dp_postgres_row_count(rows) == 1 ? dp_postgres_value(rows, 0, 0) : (dp_slice){NULL, 0};
    if (text.data != NULL) *seconds = strtod(text.data, NULL); /* libpq's values end with a NUL */
    dp_postgres_rows_free(rows);
    return DP_STATUS_OK;
}

/* Filters and column lists exist from 15 on, publish_via_partition_root from 13 on, generated columns from 18
 * on; what is absent reads as if it were not set, so that an upgrade changes nothing. */
static const char publication_query[] =
    "SELECT regexp_replace(json_build_object('tables', coalesce((SELECT json_object_agg(t.name, t.what ORDER "
    "BY t.name) FROM"
    " (SELECT n.nspname || '.' || c.relname AS name, json_build_object('columns', r.row->>'prattrs',"
    " 'filter', coalesce((SELECT to_jsonb(v)->>'rowfilter' FROM pg_publication_tables v WHERE"
    " v.pubname = p.pubname AND v.schemaname = n.nspname AND v.tablename = c.relname),"
    " md5(r.row->>'prqual'))) AS what"
    " FROM (SELECT x.prrelid, x.prpubid, to_jsonb(x) AS row FROM pg_publication_rel x) r"
    " JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE r.prpubid = p.oid AND (r.row->>'prattrs' IS NOT NULL OR r.row->>'prqual' IS NOT NULL)) t),"
    " '{}'::json), 'via_root', coalesce((to_jsonb(p)->>'pubviaroot')::bool, false))::text, '}$', CASE"
    " to_jsonb(p)->>'pubgencols' WHEN 's' THEN ', \"generated_columns\" : \"stored\"}' ELSE '}' END)"
    " FROM pg_publication p WHERE p.pubname = ";

dp_status dp_postgres_read_publication(dp_postgres_session *session, const char *name, bool *exists,
                                       dp_buffer *settings, dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_buffer_append_text(&sql, publication_query);
    dp_sql_put_literal(&sql, dp_slice_of_text(name));
    dp_postgres_rows *rows;
    dp_status status = query(session, &sql, &rows, error);
    if (status != DP_STATUS_OK) return status;
    *exists = dp_postgres_row_count(rows) == 1;
    if (*exists) dp_buffer_append_slice(settings, dp_postgres_value(rows, 0, 0));
    dp_postgres_rows_free(rows);
    return DP_STATUS_OK;
}

dp_status dp_postgres_read_history(dp_postgres_session *session, uint32_t timeline, dp_buffer *history,
                                   dp_error *error)
{
    char command[128];
    dp_postgres_rows *rows;
    dp_error cause = DP_ERROR_INIT;
    if (timeline <= 1) return DP_STATUS_OK;
    bool is_replication = dp_postgres_is_replication(session);
    if (is_replication) {
        snprintf(command, sizeof command, "TIMELINE_HISTORY %u", timeline);
    } else {
        snprintf(command, sizeof command, "SELECT NULL, pg_read_file('pg_wal/%08X.history', 0, %d, true)",
                 timeline, MAX_HISTORY_BYTES);
    }
    dp_status status = dp_postgres_query(session, command, &rows, &cause);
    bool is_refused = status != DP_STATUS_OK && dp_postgres_sqlstate(session)[0] != '\0';
    if (is_refused) return DP_STATUS_OK; /* no such file, or not for this role */
    if (status != DP_STATUS_OK) {
        if (error->status == DP_STATUS_OK) *error = cause;
        return status;
    }
    dp_slice text = dp_postgres_row_count(rows) == 1 ? dp_postgres_value(rows, 0, 1) : (dp_slice){"", 0};
    if (text.data != NULL) dp_buffer_append_slice(history, text);
    dp_postgres_rows_free(rows);
    return history->failed ? dp_error_no_memory(error, "a timeline's history") : DP_STATUS_OK;
}

dp_status dp_postgres_read_setting(dp_postgres_session *session, const char *name, char *value,
                                   size_t value_bytes, dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_buffer_append_text(&sql, "SELECT setting FROM pg_settings WHERE name = ");
    dp_sql_put_literal(&sql, dp_slice_of_text(name));
    dp_postgres_rows *rows;
    dp_status status = query(session, &sql, &rows, error);
    if (status != DP_STATUS_OK) return status;
    dp_slice text = dp_postgres_row_count(rows) == 1 ? dp_postgres_value(rows, 0, 0) : (dp_slice){"", 0};
    copy_text(value, value_bytes, text);
    dp_postgres_rows_free(rows);
    return DP_STATUS_OK;
}

static const char keys_query[] =
    "SELECT q.name || '=' || string_agg('\"' || replace(a.attname, '\"', '\"\"') || '\"', ',' ORDER BY "
    "k.place)"
    " FROM (SELECT c.oid, '\"' || replace(n.nspname, '\"', '\"\"') || '\".\"' || replace(c.relname, '\"',"
    " '\"\"') || '\"' AS name, (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid AND"
    " (i.indisprimary OR i.indisreplident) ORDER BY i.indisprimary DESC LIMIT 1) AS key_oid FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN"
    " ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'";

dp_status dp_postgres_read_keys(dp_postgres_session *session, const char *publication, dp_buffer *lines,
                                dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_buffer_append_text(&sql, keys_query);
    if (publication != NULL && publication[0] != '\0') {
        dp_buffer_append_text(&sql, " AND EXISTS (SELECT 1 FROM pg_publication_tables t WHERE t.pubname = ");
        dp_sql_put_literal(&sql, dp_slice_of_text(publication));
        dp_buffer_append_text(&sql, " AND t.schemaname = n.nspname AND t.tablename = c.relname)");
    }
    dp_buffer_append_text(&sql,
                          ") q JOIN pg_index x ON x.indexrelid = q.key_oid, unnest(x.indkey::int2[]) WITH"
                          " ORDINALITY AS k(number, place), pg_attribute a WHERE a.attrelid = q.oid AND"
                          " a.attnum = k.number GROUP BY q.name ORDER BY q.name");
    dp_postgres_rows *rows;
    dp_status status = query(session, &sql, &rows, error);
    if (status != DP_STATUS_OK) return status;
    for (size_t i = 0; i < dp_postgres_row_count(rows); i++) {
        dp_buffer_append_slice(lines, dp_postgres_value(rows, i, 0));
        dp_buffer_append_byte(lines, '\n');
    }
    dp_postgres_rows_free(rows);
    return lines->failed ? dp_error_set(error, DP_STATUS_LIMIT, "the source has too many tables with keys")
                         : DP_STATUS_OK;
}
