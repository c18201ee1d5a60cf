#include "state/postgres_session.h"

#define STANDBY_HINT                                                                                         \
    "a standby or read-only server is not written to: name all hosts in the DSN with "                       \
    "target_session_attrs=read-write"

/* What a SQLSTATE means to the caller, longest match first. `drop` marks a connection that is of no more use.
 */
static const struct meaning {
    const char *prefix;
    dp_status status;
    bool drop;
    const char *hint;
} meanings[] = {
    {"08", DP_STATUS_REMOTE, true, NULL},
    /* BEGIN READ WRITE on a standby, or a cached plan that a migration has made invalid: connecting again
       helps. */
    {"0A000", DP_STATUS_REMOTE, true, STANDBY_HINT},
    {"22", DP_STATUS_DATA, false, NULL},
    {"23505", DP_STATUS_CONFLICT, false, NULL},
    {"23", DP_STATUS_DATA, false, NULL},
    {"25006", DP_STATUS_REMOTE, true, STANDBY_HINT},
    {"25P03", DP_STATUS_REMOTE, true, NULL},
    /* How the database is set up is nobody's request: a role, a database or a grant that is missing. */
    {"28", DP_STATUS_REMOTE, true, "let the role log in (pg_hba.conf, LOGIN, its password)"},
    {"3D000", DP_STATUS_REMOTE, true, "the DSN names a database that is not there"},
    {"26000", DP_STATUS_REMOTE, true, "a pooler in between must keep sessions (pool_mode = session)"},
    {"3F000", DP_STATUS_IO, false, "run: dpone state migrate"},
    {"40", DP_STATUS_BUSY, false, NULL}, /* serialization failure, deadlock */
    {"42501", DP_STATUS_IO, false, "grant the role what docs/state-postgres.md lists"},
    {"42P01", DP_STATUS_IO, false, "run: dpone state migrate; or grant the role USAGE on the schema"},
    {"42703", DP_STATUS_IO, false, "the table is not as docs/state.md has it"},
    {"53100", DP_STATUS_FULL, false, NULL},
    {"53", DP_STATUS_BUSY, false, NULL},    /* out of memory, too many connections */
    {"55P03", DP_STATUS_BUSY, false, NULL}, /* lock timeout */
    {"57014", DP_STATUS_BUSY, false, NULL}, /* statement timeout, or cancelled by an operator */
    {"57P", DP_STATUS_REMOTE, true, NULL},  /* shut down, crashed, starting up */
    {"58030", DP_STATUS_IO, false, NULL},
    {"XX001", DP_STATUS_DATA, false, "the database reports corruption"},
    {"XX002", DP_STATUS_DATA, false, "the database reports corruption"},
};

static const struct meaning *meaning_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strncmp(sqlstate, meanings[i].prefix, strlen(meanings[i].prefix)) == 0) return &meanings[i];
    }
    return NULL;
}

static dp_slice first_line(const char *text)
{
    dp_slice line = dp_slice_of_text(text);
    dp_slice rest;
    dp_slice_split(line, '\n', &line, &rest);
    return dp_slice_trim(line);
}

dp_status dp_pg_fail(dp_pg_session *session, const PGresult *result, dp_error *error)
{
    const char *sqlstate = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) {
        session->unusable = true;
        const char *text = session->connection == NULL ? "" : PQerrorMessage(session->connection);
        dp_slice line = first_line(text);
        if (session->given_up) line = DP_SLICE_LITERAL("no answer in time");
        if (line.length == 0) line = DP_SLICE_LITERAL("the connection is closed");
        return dp_error_set(error, DP_STATUS_REMOTE, "state database: %.*s", DP_SLICE_PRINT(line));
    }
    const struct meaning *meaning = meaning_of(sqlstate);
    if (PQstatus(session->connection) == CONNECTION_BAD || (meaning != NULL && meaning->drop)) {
        session->unusable = true;
    }
    dp_status status = meaning == NULL ? DP_STATUS_IO : meaning->status;
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    dp_slice line = first_line(primary == NULL ? "no message" : primary);
    status =
        dp_error_set(error, status, "state database: %.*s (SQLSTATE %s)", DP_SLICE_PRINT(line), sqlstate);
    if (meaning != NULL && meaning->hint != NULL) dp_error_hint(error, "%s", meaning->hint);
    return status;
}
