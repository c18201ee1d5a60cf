#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/sql_quote.h"
#include "state/postgres_session.h"

#define MINIMUM_SERVER_VERSION 130000 /* pg_current_xact_id, pg_xact_status with xid8 */
#define SCRATCH_MAX_BYTES      (64u << 20)
#define MEMORY_MAX_BYTES       (64u << 10)
#define ROWS_MAX_BYTES         (1u << 30)

/* --- the DSN ----------------------------------------------------------------------------------------------
 */

static bool percent_decode(dp_slice text, char out[DP_PG_IDENTIFIER_BYTES])
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        if (byte == '%') {
            if (text.length - i < 3) return false;
            if (!dp_hex_decode((dp_slice){text.data + i + 1, 2}, &byte, NULL)) return false;
            i += 2;
        }
        if (byte == 0 || length + 1 >= DP_PG_IDENTIFIER_BYTES) return false;
        out[length++] = (char)byte;
    }
    out[length] = '\0';
    return length > 0;
}

static dp_status bad_name(dp_error *error, const char *what)
{
    return dp_error_set(error, DP_STATUS_USAGE, "state: %s is not a name of 1 to 63 bytes", what);
}

/* Takes dpone's own parameters out of the query part of the URI: libpq refuses what it does not know. */
static dp_status take_parameters(dp_pg_session *session, dp_slice query, dp_buffer *rest, dp_error *error)
{
    bool more = true;
    char separator = '?';
    while (more) {
        dp_slice parameter;
        dp_slice name;
        dp_slice value = {NULL, 0};
        dp_slice tail = {NULL, 0};
        more = dp_slice_split(query, '&', &parameter, &tail);
        query = tail;
        dp_slice_split(parameter, '=', &name, &value);
        if (dp_slice_equal_text(name, "dpone_schema")) {
            if (!percent_decode(value, session->schema)) return bad_name(error, "dpone_schema");
        } else if (dp_slice_equal_text(name, "dpone_offset_table")) {
            if (!percent_decode(value, session->offset_table)) return bad_name(error, "dpone_offset_table");
        } else {
            dp_buffer_append_byte(rest, separator);
            dp_buffer_append_slice(rest, parameter);
            separator = '&';
        }
    }
    return DP_STATUS_OK;
}

static dp_status set_name(char out[DP_PG_IDENTIFIER_BYTES], const char *name, const char *what,
                          dp_error *error)
{
    if (name == NULL) return DP_STATUS_OK;
    size_t length = strlen(name);
    if (length == 0 || length >= DP_PG_IDENTIFIER_BYTES) return bad_name(error, what);
    memcpy(out, name, length + 1);
    return DP_STATUS_OK;
}

/* libpq's own message may repeat parts of a malformed URI, and those may be a password. */
static dp_status check_conninfo(const char *conninfo, dp_error *error)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    PQfreemem(message);
    if (options != NULL) {
        PQconninfoFree(options);
        return DP_STATUS_OK;
    }
    return dp_error_set(error, DP_STATUS_USAGE,
                        "state: not a PostgreSQL connection URI; expected "
                        "postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?name=value&...]");
}

static dp_status read_target(dp_pg_session *session, const char *target, const dp_store_options *options,
                             dp_error *error)
{
    dp_buffer text = DP_BUFFER_INIT(1u << 16);
    dp_slice base;
    dp_slice query;
    dp_status status = DP_STATUS_OK;
    bool has_query = dp_slice_split(dp_slice_of_text(target), '?', &base, &query);
    dp_buffer_append_slice(&text, base);
    if (has_query) status = take_parameters(session, query, &text, error);
    if (status == DP_STATUS_OK) {
        status = set_name(session->schema, options->offset_schema, "the offset schema", error);
    }
    if (status == DP_STATUS_OK) {
        status = set_name(session->offset_table, options->offset_table, "the offset table", error);
    }
    if (status == DP_STATUS_OK && dp_buffer_text(&text) == NULL) status = dp_error_no_memory(error, "a DSN");
    if (status == DP_STATUS_OK) status = check_conninfo(text.data, error);
    if (status == DP_STATUS_OK) {
        session->conninfo = strdup(text.data);
        if (session->conninfo == NULL) status = dp_error_no_memory(error, "a DSN");
    }
    dp_buffer_release(&text);
    return status;
}

/* --- connecting -------------------------------------------------------------------------------------------
 */

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

dp_status dp_pg_expand(dp_pg_session *session, const char *sql, const char **text, dp_error *error)
{
    static const char schema[] = ":\"schema\"";
    static const char offset_table[] = ":\"offset_table\"";
    dp_buffer *out = &session->scratch;
    dp_buffer_clear(out);
    while (*sql != '\0') {
        const char *colon = strchr(sql, ':');
        size_t length = colon == NULL ? strlen(sql) : (size_t)(colon - sql);
        dp_buffer_append(out, sql, length);
        sql += length;
        if (colon == NULL) break;
        if (strncmp(sql, schema, sizeof schema - 1) == 0) {
            dp_sql_put_identifier(out, dp_slice_of_text(session->schema));
            sql += sizeof schema - 1;
        } else if (strncmp(sql, offset_table, sizeof offset_table - 1) == 0) {
            dp_sql_put_identifier(out, dp_slice_of_text(session->offset_table));
            sql += sizeof offset_table - 1;
        } else {
            dp_buffer_append_byte(out, *sql++);
        }
    }
    *text = dp_buffer_text(out);
    return *text == NULL ? dp_error_no_memory(error, "a statement") : DP_STATUS_OK;
}

/* What every session needs to be so, whatever the role's or the database's defaults are. A peer that is gone
 * without a word is found within half a minute by either side, so that its locks do not outlive it. */
static dp_status set_up_session(dp_pg_session *session, dp_error *error)
{
    char sql[1024];
    const char *text;
    if (PQserverVersion(session->connection) < MINIMUM_SERVER_VERSION) {
        return dp_error_set(error, DP_STATUS_USAGE, "state database: PostgreSQL %d, expected 13 or newer",
                            PQserverVersion(session->connection) / 10000);
    }
    const char *encoding = PQparameterStatus(session->connection, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "state database: encoding %s, expected UTF8",
                            encoding == NULL ? "unknown" : encoding);
    }
    snprintf(sql, sizeof sql,
             "SET search_path = :\"schema\", pg_temp; SET lock_timeout = %u; SET TimeZone = 'UTC'; "
             "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "
             "SET tcp_user_timeout = 30000; %s%s"
             "SELECT set_config('synchronous_commit', 'on', false) "
             "WHERE current_setting('synchronous_commit') = 'off'",
             session->busy_timeout_ms,
             PQserverVersion(session->connection) >= 140000 ? "SET client_connection_check_interval = 10000; "
                                                            : "",
             /* A writer that hangs between statements is thrown out after a minute, and its locks with it. */
             session->read_only ? "SET default_transaction_read_only = on; "
                                : "SET idle_in_transaction_session_timeout = 60000; ");
    dp_status status = dp_pg_expand(session, sql, &text, error);
    return status == DP_STATUS_OK ? dp_pg_script(session, text, error) : status;
}

/* Without a server to complain, libpq complains about parts of the URI, and where it is malformed those may
 * be parts of a password. */
static dp_status connect_failed(dp_pg_session *session, dp_error *error)
{
    dp_slice message = dp_slice_of_text(PQerrorMessage(session->connection));
    const char *at = strchr(session->conninfo, '@');
    bool one_at = at == NULL || strchr(at + 1, '@') == NULL;
    bool tellable =
        dp_slice_starts_with(message, DP_SLICE_LITERAL("connection to server")) ||
        (one_at && dp_slice_starts_with(message, DP_SLICE_LITERAL("could not translate host name")));
    if (tellable) return dp_pg_fail(session, NULL, error);
    return dp_error_set(
        error, DP_STATUS_REMOTE,
        "state database: unable to connect; host, port or another parameter of the DSN is not usable");
}

static dp_status connect_now(dp_pg_session *session, dp_error *error)
{
    /* What stands before dbname is a default; what stands after it overrides the URI. */
    const char *const names[] = {"connect_timeout",
                                 "fallback_application_name",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 "dbname",
                                 "client_encoding",
                                 NULL};
    const char *const values[] = {"10", "dpone", "10", "5", "3", "30000", session->conninfo, "UTF8", NULL};
    dp_pg_disconnect(session);
    session->connection = PQconnectdbParams(names, values, 1);
    if (session->connection == NULL) return dp_error_no_memory(error, "a connection");
    if (PQstatus(session->connection) != CONNECTION_OK) return connect_failed(session, error);
    PQsetNoticeReceiver(session->connection, ignore_notice, NULL);
    return set_up_session(session, error);
}

void dp_pg_disconnect(dp_pg_session *session)
{
    PQfinish(session->connection);
    PQclear(session->kept);
    session->connection = NULL;
    session->kept = NULL;
    session->unusable = false;
    session->given_up = false;
    session->pending_count = 0;
    session->under_way = false;
    memset(session->prepared, 0, sizeof session->prepared);
}

/* An idle connection has nothing to read unless the server said that it ends it. */
static bool still_open(dp_pg_session *session)
{
    if (PQstatus(session->connection) != CONNECTION_OK) return false;
    struct pollfd descriptor = {.fd = PQsocket(session->connection), .events = POLLIN};
    if (poll(&descriptor, 1, 0) == 0) return true;
    return PQconsumeInput(session->connection) == 1 && PQstatus(session->connection) == CONNECTION_OK;
}

dp_status dp_pg_ensure_connected(dp_pg_session *session, dp_error *error)
{
    if (session->connection != NULL && !session->unusable && still_open(session)) return DP_STATUS_OK;
    dp_status status = connect_now(session, error);
    if (status != DP_STATUS_OK) dp_pg_disconnect(session);
    return status;
}

dp_status dp_pg_open(const char *target, const dp_store_options *options, dp_store **store, dp_error *error)
{
    dp_pg_session *session = calloc(1, sizeof *session);
    if (session == NULL) return dp_error_no_memory(error, "a state connection");
    session->base.driver = &dp_store_postgres;
    session->scratch = (dp_buffer)DP_BUFFER_INIT(SCRATCH_MAX_BYTES);
    session->rows = (dp_buffer)DP_BUFFER_INIT(ROWS_MAX_BYTES);
    session->memory.texts = (dp_buffer)DP_BUFFER_INIT(MEMORY_MAX_BYTES);
    session->read_only = options->read_only;
    session->busy_timeout_ms = options->busy_timeout_ms == 0 ? 5000 : options->busy_timeout_ms;
    strcpy(session->schema, DP_STATE_DEFAULT_OFFSET_SCHEMA);
    strcpy(session->offset_table, DP_STATE_DEFAULT_OFFSET_TABLE);
    dp_status status = read_target(session, target, options, error);
    if (status == DP_STATUS_OK) status = dp_pg_ensure_connected(session, error);
    if (status != DP_STATUS_OK) {
        dp_pg_close(&session->base);
        return status;
    }
    *store = &session->base;
    return DP_STATUS_OK;
}

void dp_pg_close(dp_store *store)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_rollback(store);
    dp_pg_disconnect(session);
    dp_buffer_release(&session->scratch);
    dp_buffer_release(&session->rows);
    dp_buffer_release(&session->memory.texts);
    free(session->conninfo);
    free(session);
}
