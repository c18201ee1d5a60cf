#include "cdc/postgres_session.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "cdc/source_blockers.h"

enum {
    END_WAIT_MS = 2000, /* how long an ending stream waits for the server's farewell */
    FLUSH_WAIT_MS = 1000,
    MAX_OPTIONS_BYTES = 64 * 1024,
    MAX_PARAMETERS = 64
};

struct dp_postgres_session {
    PGconn *connection;
    char *message; /* the stream message handed out last */
    char sqlstate[8];
    char skipped[256]; /* what the server says of a publication whose changes it leaves out, or "" */
    bool is_local;
    bool is_replication;
};

struct dp_postgres_rows {
    int unused; /* a PGresult in disguise: never dereferenced */
};

/* What the text of values depends on (and with it event ids), and what must not cut a long stream. */
static const char session_settings[] =
    " -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c TimeZone=UTC"
    " -c search_path= -c lc_monetary=C -c statement_timeout=0 -c lock_timeout=0 -c "
    "client_min_messages=warning";

/* libpq's message in one line, without the trailing newline; the password is never part of it. */
static dp_status remote_fault(dp_error *error, const char *code, const char *doing, const char *text)
{
    dp_slice rest = dp_slice_trim(dp_slice_of_text(text == NULL ? "" : text));
    char line[512];
    size_t length = rest.length < sizeof line - 1 ? rest.length : sizeof line - 1;
    for (size_t i = 0; i < length; i++) {
        line[i] = rest.data[i] == '\n' || rest.data[i] == '\t' ? ' ' : rest.data[i];
    }
    line[length] = '\0';
    dp_error_set_code(error, DP_STATUS_REMOTE, code, "unable to %s: %s", doing, line);
    return DP_STATUS_REMOTE;
}

static dp_status lost(const dp_postgres_session *session, const char *doing, dp_error *error)
{
    return remote_fault(error, "postgres.connection_lost", doing, PQerrorMessage(session->connection));
}

/* --- connecting --- */

typedef struct parameters {
    const char *names[MAX_PARAMETERS];
    const char *values[MAX_PARAMETERS];
    size_t count;
    dp_buffer options;
} parameters;

static void put(parameters *list, const char *name, const char *value)
{
    if (list->count + 1 >= MAX_PARAMETERS) return;
    list->names[list->count] = name;
    list->values[list->count++] = value;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0) return true;
    }
    return false;
}

/* The DSN's own parameters, and ours where they must win. */
static bool build_parameters(const PQconninfoOption *given, bool is_replication, parameters *list)
{
    static const char *const ours[] = {"options", "client_encoding", "replication", NULL};
    bool has_timeout = false;
    bool has_name = false;
    for (; given->keyword != NULL; given++) {
        if (given->val == NULL) continue;
        if (strcmp(given->keyword, "options") == 0) dp_buffer_append_text(&list->options, given->val);
        if (is_one_of(given->keyword, ours)) continue;
        has_timeout |= strcmp(given->keyword, "connect_timeout") == 0;
        has_name |= strcmp(given->keyword, "application_name") == 0;
        put(list, given->keyword, given->val);
    }
    dp_buffer_append_text(&list->options, session_settings);
    const char *options = dp_buffer_text(&list->options);
    if (options == NULL) return false;
    put(list, "options", options);
    put(list, "client_encoding", "UTF8");
    if (!has_timeout) put(list, "connect_timeout", "10");
    if (!has_name) put(list, "application_name", "dpone");
    if (is_replication) put(list, "replication", "database");
    return true;
}

static dp_status explain_refusal(PGconn *connection, dp_error *error)
{
    const char *text = PQerrorMessage(connection);
    bool is_role = strstr(text, "walsender") != NULL || strstr(text, "REPLICATION attribute") != NULL ||
                   strstr(text, "start WAL sender") != NULL;
    if (is_role) return dp_source_blocked(error, DP_SOURCE_BLOCKER_PRIVILEGE_MISSING, "%.200s", text);
    return remote_fault(error, "postgres.connect", "connect to the source", text);
}

static dp_status adopt(PGconn *connection, dp_postgres_session **session, dp_error *error)
{
    if (connection == NULL) return dp_error_no_memory(error, "a connection");
    if (PQstatus(connection) != CONNECTION_OK) {
        dp_status status = explain_refusal(connection, error);
        PQfinish(connection);
        return status;
    }
    dp_postgres_session *made = calloc(1, sizeof *made);
    if (made == NULL) {
        PQfinish(connection);
        return dp_error_no_memory(error, "a connection");
    }
    int domain = 0;
    socklen_t length = sizeof domain;
    made->connection = connection;
    made->is_local =
        getsockopt(PQsocket(connection), SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
    *session = made;
    return DP_STATUS_OK;
}

/* Notices have nothing that a log of ours should repeat, but for one: since 18 changes from before their
 * publication was made are left out with a mere warning. Its words are translated, its function is not. */
static void take_notice(void *context, const PGresult *result)
{
    dp_postgres_session *session = context;
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (function == NULL || strcmp(function, "LoadPublications") != 0) return;
    snprintf(session->skipped, sizeof session->skipped, "%s", text == NULL ? "a publication" : text);
}

static dp_status skipped(const dp_postgres_session *session, dp_error *error)
{
    return dp_source_blocked(error, DP_SOURCE_BLOCKER_PUBLICATION_MISSING, "%s", session->skipped);
}

dp_status dp_postgres_connect(const char *dsn, bool is_replication, dp_postgres_session **session,
                              dp_error *error)
{
    char *fault = NULL;
    PQconninfoOption *given = PQconninfoParse(dsn, &fault);
    if (given == NULL) {
        /* libpq's message may repeat the DSN, and with it a password. */
        PQfreemem(fault);
        return dp_error_set(error, DP_STATUS_USAGE,
                            "the source's DSN does not parse; expected postgresql://user@host:port/database");
    }
    parameters list = {.options = DP_BUFFER_INIT(MAX_OPTIONS_BYTES)};
    dp_status status;
    if (build_parameters(given, is_replication, &list)) {
        status = adopt(PQconnectdbParams(list.names, list.values, 0), session, error);
    } else {
        status = dp_error_set(error, DP_STATUS_USAGE, "the DSN's options are longer than %d bytes",
                              MAX_OPTIONS_BYTES);
    }
    if (status == DP_STATUS_OK) {
        (*session)->is_replication = is_replication;
        PQsetNoticeReceiver((*session)->connection, take_notice, *session);
    }
    dp_buffer_release(&list.options);
    PQconninfoFree(given);
    return status;
}

/* Only an answered connection tells a SQLSTATE; these come with the server's words alone. */
static bool is_full_or_standby(const char *message)
{
    static const char *const words[] = {"too many",  "connection slots", "max_wal_senders",
                                        "read-only", "hot standby",      NULL};
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strstr(message, words[i]) != NULL) return true;
    }
    return false;
}

bool dp_postgres_is_away(const char *dsn, const dp_error *cause)
{
    if (is_full_or_standby(cause->message)) return true;
    PQconninfoOption *given = PQconninfoParse(dsn, NULL);
    parameters list = {.options = DP_BUFFER_INIT(MAX_OPTIONS_BYTES)};
    PGPing answer = PQPING_NO_ATTEMPT;
    if (given != NULL && build_parameters(given, false, &list))
        answer = PQpingParams(list.names, list.values, 0);
    dp_buffer_release(&list.options);
    PQconninfoFree(given);
    return answer == PQPING_NO_RESPONSE || answer == PQPING_REJECT;
}

void dp_postgres_disconnect(dp_postgres_session *session)
{
    if (session == NULL) return;
    PQfreemem(session->message);
    PQfinish(session->connection);
    free(session);
}

const char *dp_postgres_sqlstate(const dp_postgres_session *session)
{
    return session->sqlstate;
}

int dp_postgres_version(const dp_postgres_session *session)
{
    return PQserverVersion(session->connection);
}

bool dp_postgres_is_local(const dp_postgres_session *session)
{
    return session->is_local;
}

/* --- queries --- */

static dp_status refuse(dp_postgres_session *session, const PGresult *result, const char *doing,
                        dp_error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (sqlstate == NULL) return lost(session, doing, error);
    snprintf(session->sqlstate, sizeof session->sqlstate, "%.5s", sqlstate);
    if (strcmp(session->sqlstate, "42501") == 0) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_PRIVILEGE_MISSING, "%.200s",
                                 text == NULL ? "" : text);
    }
    char code[32];
    snprintf(code, sizeof code, "postgres.%s", session->sqlstate);
    return remote_fault(error, code, doing, text);
}

dp_status dp_postgres_query(dp_postgres_session *session, const char *sql, dp_postgres_rows **rows,
                            dp_error *error)
{
    session->sqlstate[0] = '\0';
    PGresult *result = PQexec(session->connection, sql);
    ExecStatusType kind = PQresultStatus(result);
    if (kind != PGRES_TUPLES_OK && kind != PGRES_COMMAND_OK) {
        dp_status status = refuse(session, result, "ask the source", error);
        PQclear(result);
        return status;
    }
    if (rows == NULL) {
        PQclear(result);
    } else {
        *rows = (dp_postgres_rows *)result;
    }
    return DP_STATUS_OK;
}

dp_status dp_postgres_rows_start(dp_postgres_session *session, const char *sql, dp_error *error)
{
    session->sqlstate[0] = '\0';
    bool is_sent = PQsendQuery(session->connection, sql) == 1 && PQsetSingleRowMode(session->connection) == 1;
    return is_sent ? DP_STATUS_OK : lost(session, "ask the source", error);
}

dp_status dp_postgres_rows_next(dp_postgres_session *session, dp_postgres_rows **rows, dp_error *error)
{
    PGresult *result = PQgetResult(session->connection);
    if (session->skipped[0] != '\0') {
        PQclear(result);
        return skipped(session, error);
    }
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE: *rows = (dp_postgres_rows *)result; return DP_STATUS_OK;
    case PGRES_TUPLES_OK: /* the end of the rows, and after it the end of the results */
        PQclear(result);
        PQclear(PQgetResult(session->connection));
        *rows = NULL;
        return DP_STATUS_OK;
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
    case PGRES_COPY_BOTH:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED: break;
    }
    dp_status status = refuse(session, result, "ask the source", error);
    PQclear(result);
    return status;
}

bool dp_postgres_is_replication(const dp_postgres_session *session)
{
    return session->is_replication;
}

bool dp_postgres_is_standby(const dp_postgres_session *session)
{
    const char *value = PQparameterStatus(session->connection, "in_hot_standby");
    return value != NULL && strcmp(value, "on") == 0;
}

int64_t dp_postgres_process(const dp_postgres_session *session)
{
    return PQbackendPID(session->connection);
}

static const PGresult *result_of(const dp_postgres_rows *rows)
{
    return (const PGresult *)rows;
}

size_t dp_postgres_row_count(const dp_postgres_rows *rows)
{
    return (size_t)PQntuples(result_of(rows));
}

dp_slice dp_postgres_value(const dp_postgres_rows *rows, size_t row, int column)
{
    const PGresult *result = result_of(rows);
    if (PQgetisnull(result, (int)row, column)) return (dp_slice){NULL, 0};
    return (dp_slice){PQgetvalue(result, (int)row, column), (size_t)PQgetlength(result, (int)row, column)};
}

bool dp_postgres_is_true(const dp_postgres_rows *rows, size_t row, int column)
{
    return dp_slice_equal_text(dp_postgres_value(rows, row, column), "t");
}

void dp_postgres_rows_free(dp_postgres_rows *rows)
{
    PQclear((PGresult *)rows);
}

/* --- the stream --- */

dp_status dp_postgres_stream_start(dp_postgres_session *session, const char *command, dp_error *error)
{
    session->sqlstate[0] = '\0';
    PGresult *result = PQexec(session->connection, command);
    dp_status status = DP_STATUS_OK;
    if (PQresultStatus(result) != PGRES_COPY_BOTH) {
        status = refuse(session, result, "start replication", error);
    } else if (PQsetnonblocking(session->connection, 1) != 0) {
        status = lost(session, "start replication", error);
    }
    PQclear(result);
    return status;
}

/* The stream is over: the server says why in the result that follows. */
static dp_status stream_over(dp_postgres_session *session, dp_error *error)
{
    PGresult *result = PQgetResult(session->connection);
    dp_status status;
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        status = refuse(session, result, "read the stream", error);
    } else {
        status = dp_error_set_code(error, DP_STATUS_REMOTE, "postgres.stream_ended",
                                   "the server ended the stream");
    }
    PQclear(result);
    return status;
}

dp_status dp_postgres_stream_next(dp_postgres_session *session, dp_slice *message, dp_error *error)
{
    PQfreemem(session->message);
    session->message = NULL;
    int length = PQgetCopyData(session->connection, &session->message, 1);
    if (session->skipped[0] != '\0') return skipped(session, error); /* told before this message */
    if (length > 0) {
        *message = (dp_slice){session->message, (size_t)length};
        return DP_STATUS_OK;
    }
    if (length == 0) {
        *message = (dp_slice){NULL, 0};
        return DP_STATUS_OK;
    }
    return length == -1 ? stream_over(session, error) : lost(session, "read the stream", error);
}

dp_status dp_postgres_stream_wait(dp_postgres_session *session, int timeout_ms, bool *is_ready,
                                  dp_error *error)
{
    struct pollfd wait = {.fd = PQsocket(session->connection), .events = POLLIN};
    if (wait.fd < 0) return lost(session, "wait for the stream", error);
    int count = poll(&wait, 1, timeout_ms);
    if (count < 0 && errno != EINTR)
        return dp_error_set(error, DP_STATUS_IO, "unable to wait for the stream: %s", strerror(errno));
    *is_ready = count > 0;
    return DP_STATUS_OK;
}

dp_status dp_postgres_stream_take(dp_postgres_session *session, dp_error *error)
{
    return PQconsumeInput(session->connection) == 1 ? DP_STATUS_OK : lost(session, "read the stream", error);
}

/* Flushes for a moment at most: a peer that does not read must not stop the reader from reading. */
static bool flush(const dp_postgres_session *session)
{
    int64_t until_us = dp_clock_monotonic_us() + FLUSH_WAIT_MS * 1000;
    int left = PQflush(session->connection);
    while (left == 1 && dp_clock_monotonic_us() < until_us) {
        struct pollfd wait = {.fd = PQsocket(session->connection), .events = POLLOUT};
        poll(&wait, 1, 10);
        left = PQflush(session->connection);
    }
    return left >= 0;
}

dp_status dp_postgres_stream_send(dp_postgres_session *session, dp_slice message, dp_error *error)
{
    if (PQputCopyData(session->connection, message.data, (int)message.length) < 0 || !flush(session))
        return lost(session, "answer the server", error);
    return DP_STATUS_OK;
}

void dp_postgres_stream_end(dp_postgres_session *session)
{
    int64_t until_us = dp_clock_monotonic_us() + END_WAIT_MS * 1000;
    if (PQputCopyEnd(session->connection, NULL) < 0 || !flush(session)) return;
    for (;;) {
        PQfreemem(session->message);
        session->message = NULL;
        int length = PQgetCopyData(session->connection, &session->message, 1);
        if (length < 0) return;
        if (length > 0) continue;
        int64_t left_ms = (until_us - dp_clock_monotonic_us()) / 1000;
        struct pollfd wait = {.fd = PQsocket(session->connection), .events = POLLIN};
        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) <= 0) return;
        if (PQconsumeInput(session->connection) != 1) return;
    }
}
