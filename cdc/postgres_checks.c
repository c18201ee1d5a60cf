#include "cdc/postgres_checks.h"

#include "base/sql_quote.h"

enum { MAX_SQL_BYTES = 1 << 20, OLDEST_TESTED_VERSION = 130000 };

const char *dp_severity_text(dp_severity severity)
{
    static const char *const texts[] = {
#define DP_SEVERITY_TEXT(name, text, exit_code) text,
        DP_SEVERITY_LIST(DP_SEVERITY_TEXT)
#undef DP_SEVERITY_TEXT
    };
    return texts[severity];
}

static dp_severity severity_of(const char *code)
{
#define DP_FINDING_SEVERITY(text, severity, meaning, fix)                                                    \
    if (strcmp(code, text) == 0) return DP_SEVERITY_##severity;
    DP_SOURCE_FINDING_LIST(DP_FINDING_SEVERITY)
#undef DP_FINDING_SEVERITY
    return DP_SEVERITY_ERROR; /* the blockers */
}

static dp_slice fix_of(const char *code)
{
#define DP_FINDING_FIX(text, severity, meaning, fix)                                                         \
    if (strcmp(code, text) == 0) return (dp_slice)DP_SLICE_LITERAL(fix);
    DP_SOURCE_FINDING_LIST(DP_FINDING_FIX)
#undef DP_FINDING_FIX
    for (dp_source_blocker blocker = 0; blocker < DP_SOURCE_BLOCKER_COUNT; blocker++) {
        if (strcmp(code, dp_source_blocker_code(blocker)) == 0)
            return dp_slice_of_text(dp_source_blocker_remedy(blocker));
    }
    return (dp_slice){"", 0};
}

dp_status dp_finding_report(const dp_finding_sink *sink, const char *code, dp_slice message, dp_slice fix,
                            dp_error *error)
{
    dp_finding finding = {.code = code,
                          .severity = severity_of(code),
                          .message = message,
                          .fix = fix.length > 0 ? fix : fix_of(code)};
    return sink->finding(sink->context, &finding, error);
}

dp_status dp_finding_of_error(const char *code, const dp_error *cause, const dp_finding_sink *sink,
                              dp_error *error)
{
    bool is_blocker = dp_slice_starts_with(dp_slice_of_text(cause->code), DP_SLICE_LITERAL("source."));
    dp_slice message = dp_slice_of_text(cause->message);
    size_t code_length = strlen(cause->code) + 2; /* a blocker's message begins with its code */
    if (is_blocker && message.length > code_length &&
        dp_slice_starts_with(message, dp_slice_of_text(cause->code)))
        message = (dp_slice){message.data + code_length, message.length - code_length};
    return dp_finding_report(sink, is_blocker ? cause->code : code, message, dp_slice_of_text(cause->hint),
                             error);
}

/* --- checks that are one statement each: rows of message and fix --- */

typedef enum check_need {
    NEEDS_NOTHING,
    NEEDS_SLOT,
    NEEDS_PLUGIN,
    NEEDS_PUBLICATION,
    NEEDS_TABLES
} check_need;

/* :slot, :publication and :tables stand for literals. */
static const struct {
    const char *code;
    check_need need;
    const char *sql;
} checks[] = {
    {"source.privilege_missing", NEEDS_NOTHING,
     "SELECT format('role %I has neither REPLICATION nor SUPERUSER', rolname),"
     " format('ALTER ROLE %I REPLICATION', rolname) FROM pg_roles WHERE rolname = current_user AND NOT"
     " (rolreplication OR rolsuper)"},
    {"source.wal_level_too_low", NEEDS_NOTHING,
     "SELECT format('wal_level is %s, expected logical', setting),"
     " 'ALTER SYSTEM SET wal_level = ''logical''; then restart the server'"
     " FROM pg_settings WHERE name = 'wal_level' AND setting <> 'logical'"},
    {"source.standby", NEEDS_NOTHING,
     "SELECT 'the server is a standby: slots are read there from version 16 on', '' WHERE "
     "pg_is_in_recovery()"},
    {"source.slots_exhausted", NEEDS_NOTHING,
     "SELECT format('all %s replication slots are taken', setting),"
     " format('ALTER SYSTEM SET max_replication_slots = %s; then restart the server', setting::int + 10)"
     " FROM pg_settings WHERE name = 'max_replication_slots' AND setting::int <= (SELECT count(*) FROM"
     " pg_replication_slots) AND NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = :slot)"},
    {"source.senders_exhausted", NEEDS_NOTHING,
     "SELECT format('all %s sender processes are taken', setting),"
     " format('ALTER SYSTEM SET max_wal_senders = %s; then restart the server', setting::int + 10)"
     " FROM pg_settings WHERE name = 'max_wal_senders' AND setting::int <= (SELECT count(*) FROM"
     " pg_stat_replication)"},
    {"source.retention_unbounded", NEEDS_SLOT,
     "SELECT 'max_slot_wal_keep_size is unlimited', 'ALTER SYSTEM SET max_slot_wal_keep_size = ''50GB''; "
     "SELECT"
     " pg_reload_conf()' FROM pg_settings WHERE name = 'max_slot_wal_keep_size' AND setting::int < 0"},
    {"source.long_transaction", NEEDS_SLOT,
     "SELECT format('process %s has a transaction open since %s', pid, date_trunc('second', xact_start)),"
     " format('SELECT pg_terminate_backend(%s)', pid) FROM pg_stat_activity WHERE xact_start < now() - "
     "interval"
     " '1 hour' AND backend_xid IS NOT NULL ORDER BY xact_start LIMIT 5"},
    {"source.plugin_unavailable", NEEDS_PLUGIN,
     "SELECT format('output_plugin_libraries is %L, which does not allow %s', g.setting, :plugin),"
     " format('ALTER SYSTEM SET output_plugin_libraries = %L; SELECT pg_reload_conf()', g.setting || ', ' ||"
     " :plugin) FROM pg_settings g WHERE g.name = 'output_plugin_libraries' AND NOT :plugin = ANY"
     " (string_to_array(replace(replace(g.setting, ' ', ''), '\"', ''), ',')) AND '*' <> g.setting"},
    {"source.publication_missing", NEEDS_PUBLICATION,
     "SELECT format('publication %I does not exist', :publication),"
     " 'dpone cdc setup creates it; the slot must be created after it' WHERE NOT EXISTS (SELECT 1 FROM"
     " pg_publication WHERE pubname = :publication)"},
    {"source.publication_partial", NEEDS_PUBLICATION,
     "SELECT format('publication %I leaves out%s%s%s%s', pubname, CASE WHEN pubinsert THEN '' ELSE ' insert'"
     " END, CASE WHEN pubupdate THEN '' ELSE ' update' END, CASE WHEN pubdelete THEN '' ELSE ' delete' END,"
     " CASE WHEN pubtruncate THEN '' ELSE ' truncate' END), format('ALTER PUBLICATION %I SET (publish ="
     " ''insert, update, delete, truncate'')', pubname) FROM pg_publication WHERE pubname = :publication AND"
     " NOT (pubinsert AND pubupdate AND pubdelete AND pubtruncate)"},
    {"source.table_not_published", NEEDS_TABLES,
     "SELECT format('table %s is not in publication %I', t, :publication), format('ALTER PUBLICATION %I ADD"
     " TABLE %s', :publication, t) FROM unnest(string_to_array(:tables, E'\\n')) AS t WHERE t <> '' AND NOT"
     " EXISTS (SELECT 1 FROM pg_publication_tables p WHERE p.pubname = :publication AND p.schemaname || '.' "
     "||"
     " p.tablename = t)"},
    {"source.replica_identity_missing", NEEDS_PUBLICATION,
     "SELECT format('table %I.%I has no replica identity', n.nspname, c.relname), format('ALTER TABLE %I.%I "
     "ADD"
     " PRIMARY KEY (...), or REPLICA IDENTITY FULL', n.nspname, c.relname) FROM pg_publication_tables t JOIN"
     " pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname ="
     " t.tablename WHERE t.pubname = :publication AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT"
     " EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))) AND EXISTS (SELECT 1"
     " FROM pg_publication p WHERE p.pubname = t.pubname AND (p.pubupdate OR p.pubdelete)) ORDER BY 1"},
    /* What a column list leaves out, and since 18 every generated column that is not published. */
    {"source.replica_identity_unpublished", NEEDS_PUBLICATION,
     "SELECT format('table %I.%I: its replica identity has columns that publication %I leaves out: %s', "
     "t.schemaname,"
     " t.tablename, :publication, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)),"
     " CASE WHEN bool_and(a.attgenerated = 's') THEN format('ALTER PUBLICATION %I SET "
     "(publish_generated_columns ="
     " stored)', :publication) ELSE format('publish the columns, or ALTER TABLE %I.%I REPLICA IDENTITY "
     "DEFAULT',"
     " t.schemaname, t.tablename) END"
     " FROM (SELECT p.*, to_jsonb(p)->'attnames' AS names FROM pg_publication_tables p WHERE p.pubname ="
     " :publication) t JOIN pg_publication p ON p.pubname = t.pubname AND (p.pubupdate OR p.pubdelete)"
     " JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND "
     "c.relname ="
     " t.tablename JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
     " WHERE t.names IS NOT NULL AND NOT t.names @> to_jsonb(ARRAY[a.attname::text]) AND (a.attgenerated = "
     "'' OR"
     " current_setting('server_version_num')::int >= 180000) AND (c.relreplident = 'f' OR EXISTS (SELECT 1 "
     "FROM"
     " pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey) AND CASE c.relreplident WHEN 'd' "
     "THEN"
     " i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END))"
     " GROUP BY t.schemaname, t.tablename ORDER BY 1"},
    {"source.key_missing", NEEDS_PUBLICATION,
     "SELECT format('table %I.%I has no primary key', n.nspname, c.relname), format('--unique-key "
     "%s.%s=COLUMN',"
     " n.nspname, c.relname) FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname "
     "JOIN"
     " pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = :publication AND "
     "NOT"
     " EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) ORDER BY 1"},
    {"source.slot_at_risk", NEEDS_SLOT,
     "SELECT format('slot %s: wal_status is %s', slot_name, to_jsonb(s)->>'wal_status'), 'read it now, or "
     "raise"
     " max_slot_wal_keep_size' FROM pg_replication_slots s WHERE slot_name = :slot AND "
     "to_jsonb(s)->>'wal_status'"
     " = 'unreserved' UNION ALL SELECT format('slot %s is not read, and is invalidated when that lasts %s s',"
     " slot_name, g.setting), 'read it now, or raise idle_replication_slot_timeout' FROM "
     "pg_replication_slots s,"
     " pg_settings g WHERE slot_name = :slot AND NOT active AND to_jsonb(s)->>'invalidation_reason' IS NULL "
     "AND"
     " g.name = 'idle_replication_slot_timeout' AND g.setting::int > 0"},
    {"source.retained_wal", NEEDS_SLOT,
     "SELECT format('slot %s holds back %s of log', slot_name, pg_size_pretty(pg_current_wal_lsn() -"
     " restart_lsn)), 'run the pipeline, or drop the slot with SELECT pg_drop_replication_slot(' ||"
     " quote_literal(slot_name) || ')' FROM pg_replication_slots WHERE slot_name = :slot AND NOT"
     " pg_is_in_recovery() AND pg_current_wal_lsn() - restart_lsn > 1073741824"},
};

static void put_statement(dp_buffer *out, const char *sql, const dp_check_request *request, dp_plugin plugin)
{
    const struct {
        dp_slice name;
        dp_slice value;
    } parameters[] = {
        {DP_SLICE_LITERAL(":slot"), dp_slice_of_text(request->slot == NULL ? "" : request->slot)},
        {DP_SLICE_LITERAL(":publication"),
         dp_slice_of_text(request->publication == NULL ? "" : request->publication)},
        {DP_SLICE_LITERAL(":tables"), request->tables},
        {DP_SLICE_LITERAL(":plugin"), dp_slice_of_text(dp_postgres_plugin_name(plugin))},
    };
    dp_slice rest = dp_slice_of_text(sql);
    while (rest.length > 0) {
        size_t taken = 1;
        for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
            if (!dp_slice_starts_with(rest, parameters[i].name)) continue;
            dp_sql_put_literal(out, parameters[i].value);
            dp_buffer_append_text(out, "::text");
            taken = parameters[i].name.length;
            break;
        }
        if (taken == 1) dp_buffer_append_byte(out, rest.data[0]);
        rest = (dp_slice){rest.data + taken, rest.length - taken};
    }
}

static bool is_asked(check_need need, const dp_check_request *request)
{
    switch (need) {
    case NEEDS_NOTHING: return true;
    case NEEDS_SLOT: return request->slot != NULL;
    case NEEDS_PLUGIN: return request->slot != NULL || request->has_plugin;
    case NEEDS_PUBLICATION: return request->publication != NULL;
    case NEEDS_TABLES: return request->publication != NULL && request->tables.length > 0;
    }
    return false;
}

static dp_status run_statement(dp_postgres_session *session, size_t check, const dp_check_request *request,
                               dp_plugin plugin, const dp_finding_sink *sink, dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    put_statement(&sql, checks[check].sql, request, plugin);
    const char *text = dp_buffer_text(&sql);
    dp_postgres_rows *rows = NULL;
    dp_status status = text == NULL ? dp_error_set(error, DP_STATUS_USAGE, "too many tables")
                                    : dp_postgres_query(session, text, &rows, error);
    dp_buffer_release(&sql);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "checking %s", checks[check].code);
        return status;
    }
    for (size_t i = 0; i < dp_postgres_row_count(rows) && status == DP_STATUS_OK; i++) {
        status = dp_finding_report(sink, checks[check].code, dp_postgres_value(rows, i, 0),
                                   dp_postgres_value(rows, i, 1), error);
    }
    dp_postgres_rows_free(rows);
    return status;
}

/* --- the slot, judged as the source judges it --- */

static dp_status judge_slot(const dp_postgres_slot *slot, const dp_postgres_server *server,
                            const dp_check_request *request, dp_plugin plugin, dp_error *cause)
{
    dp_postgres_expectation expected = {.has_stored = request->has_stored, .stored = request->stored};
    dp_status status = dp_postgres_check_slot(slot, request->slot, plugin, server->database, cause);
    if (status == DP_STATUS_OK) status = dp_postgres_check_server(server, &expected, cause);
    if (status == DP_STATUS_OK)
        status = dp_postgres_check_offset(slot, request->slot, request->has_stored, request->stored, cause);
    return status;
}

static dp_status check_slot(dp_postgres_session *session, const dp_check_request *request, dp_plugin *plugin,
                            const dp_finding_sink *sink, dp_error *error)
{
    dp_postgres_slot slot;
    dp_postgres_server server;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_postgres_read_server(session, &server, error);
    if (status == DP_STATUS_OK) status = dp_postgres_read_slot(session, request->slot, &slot, error);
    if (status != DP_STATUS_OK) return status;
    if (!request->has_plugin && slot.exists) dp_postgres_plugin_of(slot.plugin, plugin);
    if (judge_slot(&slot, &server, request, *plugin, &cause) == DP_STATUS_OK) return DP_STATUS_OK;
    return dp_finding_of_error("source.slot_unusable", &cause, sink, error);
}

static dp_status check_version(const dp_postgres_session *session, const dp_finding_sink *sink,
                               dp_error *error)
{
    if (dp_postgres_version(session) >= OLDEST_TESTED_VERSION) return DP_STATUS_OK;
    return dp_finding_report(sink, "source.version_untested",
                             DP_SLICE_LITERAL(
                                 "the server is older than version 13, the oldest dpone is tested with"),
                             (dp_slice){"", 0}, error);
}

dp_status dp_postgres_check(const char *dsn, const dp_check_request *request, const dp_finding_sink *sink,
                            dp_error *error)
{
    dp_postgres_session *session;
    dp_error cause = DP_ERROR_INIT;
    dp_plugin plugin = request->plugin;
    dp_status status = dp_postgres_connect(dsn, false, &session, &cause);
    if (status == DP_STATUS_USAGE) {
        *error = cause;
        return status;
    }
    if (status != DP_STATUS_OK) return dp_finding_of_error("source.unreachable", &cause, sink, error);
    status = check_version(session, sink, error);
    if (status == DP_STATUS_OK && request->slot != NULL)
        status = check_slot(session, request, &plugin, sink, error);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && status == DP_STATUS_OK; i++) {
        if (is_asked(checks[i].need, request))
            status = run_statement(session, i, request, plugin, sink, error);
    }
    dp_postgres_disconnect(session);
    return status;
}
