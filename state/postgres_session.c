#include <poll.h>

#include "base/clock.h"
#include "state/postgres_memory.h"
#include "state/postgres_session.h"

#define RESOLVE_PAUSE_MS  50
#define ANSWER_TIMEOUT_MS 60000 /* beyond the time a lock is waited for */

static const char *const statement_names[] = {
#define STATEMENT_NAME(name, sql) "dpone_" #name,
    DP_PG_STATEMENT_LIST(STATEMENT_NAME)
#undef STATEMENT_NAME
};

static const char *const statement_texts[] = {
#define STATEMENT_TEXT(name, sql) sql,
    DP_PG_STATEMENT_LIST(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

static const int binary_formats[DP_PG_MAX_PARAMS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* --- the pipeline -----------------------------------------------------------------------------------------
 */

static dp_status lost(dp_pg_session *session, dp_error *error)
{
    return dp_pg_fail(session, NULL, error);
}

static void add_pending(dp_pg_session *session, dp_pg_answer answer, dp_pg_statement statement)
{
    session->pending[session->pending_count].answer = answer;
    session->pending[session->pending_count].statement = statement;
    session->pending_count++;
}

void dp_pg_take_xid(dp_pg_session *session, const PGresult *result, int column)
{
    if (PQntuples(result) != 1) {
        session->xid_asked = false;
        return;
    }
    dp_slice xid = dp_pg_get_slice(result, 0, column);
    if (xid.length >= sizeof session->xid) return;
    memcpy(session->xid, xid.data, xid.length);
    session->xid[xid.length] = '\0';
}

/* A server that hangs without closing its connections must not hang us: false when no answer came in time. */
static bool wait_for_answer(dp_pg_session *session)
{
    int64_t deadline_us =
        dp_clock_monotonic_us() + ((int64_t)session->busy_timeout_ms + ANSWER_TIMEOUT_MS) * 1000;
    while (PQisBusy(session->connection)) {
        int64_t left_ms = (deadline_us - dp_clock_monotonic_us()) / 1000;
        struct pollfd descriptor = {.fd = PQsocket(session->connection), .events = POLLIN};
        if (left_ms <= 0) return false;
        if (poll(&descriptor, 1, (int)left_ms) > 0 && PQconsumeInput(session->connection) != 1) return true;
    }
    return true;
}

/* As PQgetResult, but NULL also when it would take too long. */
static PGresult *next_result(dp_pg_session *session)
{
    if (!session->given_up && wait_for_answer(session)) return PQgetResult(session->connection);
    session->given_up = true;
    return NULL;
}

/* The first result of the oldest statement that has not been answered; whatever follows it is dropped. */
static PGresult *next_answer(dp_pg_session *session)
{
    PGresult *first = NULL;
    PGresult *result;
    while ((result = next_result(session)) != NULL) {
        if (first == NULL) {
            first = result;
        } else {
            PQclear(result);
        }
        if (PQstatus(session->connection) == CONNECTION_BAD) break;
    }
    return first;
}

static bool succeeded(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* A claim fails when the row is no longer what it was; a receipt that another stream of the pipeline has made
 * meanwhile is found out by its key. */
static bool disproves_presumption(const dp_pg_session *session, const struct dp_pg_pending *pending,
                                  const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!session->presumed || sqlstate == NULL) return false;
    if (pending->statement == DP_PG_STREAM_CLAIM) return strcmp(sqlstate, "22P02") == 0;
    return pending->statement == DP_PG_RECEIPT_INSERT && strcmp(sqlstate, "23505") == 0;
}

static dp_status fail_presumption(dp_pg_session *session, dp_error *error)
{
    dp_pg_memory_forget(session);
    return dp_error_set_code(error, DP_STATUS_BUSY, DP_STORE_PRESUMED_WRONG,
                             "state database: the stream was written elsewhere meanwhile");
}

/* Takes one answer; the first error is kept, and those of the statements that were skipped after it are not.
 */
static dp_status take_answer(dp_pg_session *session, const struct dp_pg_pending *pending, PGresult **wanted,
                             dp_error *error)
{
    PGresult *result = next_answer(session);
    if (!succeeded(result)) {
        if (pending->answer == DP_PG_ANSWER_PREPARED) session->prepared[pending->statement] = false;
        dp_status status = DP_STATUS_INTERNAL;
        if (disproves_presumption(session, pending, result)) {
            status = fail_presumption(session, error);
        } else if (PQresultStatus(result) != PGRES_PIPELINE_ABORTED) {
            status = dp_pg_fail(session, result, error);
        }
        PQclear(result);
        return status;
    }
    bool tells_xid = pending->answer == DP_PG_ANSWER_XID || pending->statement == DP_PG_STREAM_CLAIM;
    if (tells_xid) dp_pg_take_xid(session, result, 0);
    if (pending->answer == DP_PG_ANSWER_WANTED && wanted != NULL) {
        PQclear(*wanted);
        *wanted = result;
    } else if (pending->answer == DP_PG_ANSWER_KEPT) {
        PQclear(session->kept);
        session->kept = result;
    } else {
        PQclear(result);
    }
    return DP_STATUS_OK;
}

/* Sends what is queued on its way. */
static dp_status send_sync(dp_pg_session *session, dp_error *error)
{
    if (session->under_way) return DP_STATUS_OK;
    if (PQpipelineSync(session->connection) != 1) {
        session->pending_count = 0;
        return lost(session, error);
    }
    session->under_way = true;
    return DP_STATUS_OK;
}

/* Sends what is queued, unless it is under way, and takes all answers. *wanted is set on success only. */
static dp_status synchronize(dp_pg_session *session, PGresult **wanted, dp_error *error)
{
    dp_error first = DP_ERROR_INIT;
    PGresult *kept = NULL;
    dp_status status = send_sync(session, error);
    if (status != DP_STATUS_OK) return status;
    unsigned count = session->pending_count;
    session->pending_count = 0;
    session->under_way = false;
    for (unsigned i = 0; i < count; i++) {
        dp_error later = DP_ERROR_INIT;
        dp_status one =
            take_answer(session, &session->pending[i], &kept, status == DP_STATUS_OK ? &first : &later);
        if (status == DP_STATUS_OK) status = one;
    }
    PQclear(next_answer(session)); /* PGRES_PIPELINE_SYNC */
    if (PQexitPipelineMode(session->connection) != 1) {
        session->unusable = true;
        if (status == DP_STATUS_OK) status = lost(session, &first);
    }
    if (status == DP_STATUS_OK && wanted != NULL) {
        *wanted = kept;
        return DP_STATUS_OK;
    }
    PQclear(kept); /* what was asked for and is given up, too: a rollback takes answers that nobody wants */
    if (status == DP_STATUS_OK) return status;
    status = dp_error_set_code(error, status, first.code, "%s", first.message);
    if (first.hint[0] != '\0') dp_error_hint(error, "%s", first.hint);
    return status;
}

static dp_status enter_pipeline(dp_pg_session *session, dp_error *error)
{
    if (session->connection == NULL || PQenterPipelineMode(session->connection) != 1)
        return lost(session, error);
    return DP_STATUS_OK;
}

/* What reads or deletes events is planned anew for the partitions it concerns: a plan for any stream locks
 * the partitions of all. */
static bool is_prepared_once(dp_pg_statement statement)
{
    return statement != DP_PG_EVENTS_FIRST && statement != DP_PG_EVENTS_READ &&
           statement != DP_PG_EVENTS_DELETE;
}

static dp_status send_prepare(dp_pg_session *session, dp_pg_statement statement, dp_error *error)
{
    const char *text;
    if (session->prepared[statement] || !is_prepared_once(statement)) return DP_STATUS_OK;
    dp_status status = dp_pg_expand(session, statement_texts[statement], &text, error);
    if (status != DP_STATUS_OK) return status;
    if (PQsendPrepare(session->connection, statement_names[statement], text, 0, NULL) != 1) {
        return lost(session, error);
    }
    session->prepared[statement] = true;
    add_pending(session, DP_PG_ANSWER_PREPARED, statement);
    return DP_STATUS_OK;
}

static dp_status send_statement(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                                dp_pg_answer answer, dp_error *error);

/* A write transaction has to know its id before its COMMIT is sent. Locking a stream tells it, too. */
static dp_status ask_xid(dp_pg_session *session, dp_pg_statement statement, dp_error *error)
{
    if (!session->in_transaction || !session->writing || session->xid_asked || statement == DP_PG_COMMIT)
        return DP_STATUS_OK;
    session->xid_asked = true;
    if (statement == DP_PG_STREAM_LOCK || statement == DP_PG_STREAM_CLAIM) return DP_STATUS_OK;
    return send_statement(session, DP_PG_XID, NULL, DP_PG_ANSWER_XID, error);
}

static dp_status send_statement(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                                dp_pg_answer answer, dp_error *error)
{
    static const dp_pg_params none = {.count = 0};
    if (params == NULL) params = &none;
    if (params->too_large)
        return dp_error_set(error, DP_STATUS_LIMIT, "state database: a value exceeds 2 GiB");
    dp_status status = DP_STATUS_OK;
    if (session->under_way || session->pending_count + 4 > DP_PG_MAX_PENDING)
        status = dp_pg_flush(session, error);
    if (status == DP_STATUS_OK) status = ask_xid(session, statement, error);
    if (status == DP_STATUS_OK) status = enter_pipeline(session, error);
    if (status == DP_STATUS_OK) status = send_prepare(session, statement, error);
    if (status != DP_STATUS_OK) return status;
    int sent = is_prepared_once(statement)
                   ? PQsendQueryPrepared(session->connection, statement_names[statement], params->count,
                                         params->values, params->lengths, binary_formats, 1)
                   : PQsendQueryParams(session->connection, statement_texts[statement], params->count, NULL,
                                       params->values, params->lengths, binary_formats, 1);
    if (sent != 1) return lost(session, error);
    add_pending(session, answer, statement);
    return DP_STATUS_OK;
}

/* Inside a transaction a connection is never replaced: what was written on it is gone. */
static dp_status require_connection(dp_pg_session *session, dp_error *error)
{
    if (!session->in_transaction) return dp_pg_ensure_connected(session, error);
    return session->connection == NULL ? lost(session, error) : DP_STATUS_OK;
}

dp_status dp_pg_hurry(dp_pg_session *session, dp_error *error)
{
    return PQflush(session->connection) < 0 ? lost(session, error) : DP_STATUS_OK;
}

dp_status dp_pg_flush(dp_pg_session *session, dp_error *error)
{
    return session->pending_count == 0 ? DP_STATUS_OK : synchronize(session, NULL, error);
}

dp_status dp_pg_queue(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                      dp_error *error)
{
    if (!session->in_transaction) return dp_pg_run(session, statement, params, NULL, error);
    return send_statement(session, statement, params, DP_PG_ANSWER_CHECKED, error);
}

dp_status dp_pg_queue_kept(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                           dp_error *error)
{
    dp_status status = require_connection(session, error);
    if (status != DP_STATUS_OK) return status;
    return send_statement(session, statement, params, DP_PG_ANSWER_KEPT, error);
}

dp_status dp_pg_start(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                      dp_error *error)
{
    dp_status status = require_connection(session, error);
    if (status == DP_STATUS_OK)
        status = send_statement(session, statement, params, DP_PG_ANSWER_WANTED, error);
    return status == DP_STATUS_OK ? send_sync(session, error) : status;
}

dp_status dp_pg_finish(dp_pg_session *session, PGresult **result, dp_error *error)
{
    PGresult *wanted = NULL;
    dp_status status = synchronize(session, &wanted, error);
    if (status != DP_STATUS_OK) return status;
    if (result != NULL) {
        *result = wanted;
    } else {
        PQclear(wanted);
    }
    return DP_STATUS_OK;
}

dp_status dp_pg_run(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                    PGresult **result, dp_error *error)
{
    dp_status status = dp_pg_start(session, statement, params, error);
    return status == DP_STATUS_OK ? dp_pg_finish(session, result, error) : status;
}

dp_status dp_pg_change(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                       uint64_t *count, dp_error *error)
{
    PGresult *result = NULL;
    dp_status status = dp_pg_run(session, statement, params, &result, error);
    if (status != DP_STATUS_OK) return status;
    if (!dp_slice_to_u64(dp_slice_of_text(PQcmdTuples(result)), UINT64_MAX, count)) *count = 0;
    PQclear(result);
    return DP_STATUS_OK;
}

dp_status dp_pg_script(dp_pg_session *session, const char *sql, dp_error *error)
{
    dp_status status = dp_pg_flush(session, error);
    if (status != DP_STATUS_OK) return status;
    PGresult *result = PQexec(session->connection, sql);
    if (!succeeded(result)) status = dp_pg_fail(session, result, error);
    PQclear(result);
    return status;
}

/* --- reading row after row
 * ---------------------------------------------------------------------------------- */

static bool ended_early(dp_status status, const dp_error *error)
{
    return status == DP_STATUS_CANCELLED && (error == NULL || error->status == DP_STATUS_OK);
}

/* Also single rows are asked for in pipeline mode: outside it libpq 15 leaves the mode on for the statement
 * after. */
static dp_status send_for_rows(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                               dp_error *error)
{
    dp_status status = require_connection(session, error);
    if (status == DP_STATUS_OK && session->under_way) status = dp_pg_flush(session, error);
    if (status == DP_STATUS_OK) status = ask_xid(session, statement, error);
    if (status == DP_STATUS_OK) status = enter_pipeline(session, error);
    if (status == DP_STATUS_OK) status = send_prepare(session, statement, error);
    if (status == DP_STATUS_OK) status = dp_pg_flush(session, error);
    if (status == DP_STATUS_OK)
        status = send_statement(session, statement, params, DP_PG_ANSWER_WANTED, error);
    if (status != DP_STATUS_OK) return status;
    session->pending_count = 0;
    if (PQpipelineSync(session->connection) != 1 || PQsetSingleRowMode(session->connection) != 1) {
        return lost(session, error);
    }
    return DP_STATUS_OK;
}

dp_status dp_pg_each(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                     dp_pg_row_function function, void *context, bool *stopped, dp_error *error)
{
    dp_status status = send_for_rows(session, statement, params, error);
    if (status != DP_STATUS_OK) return status;
    PGresult *result;
    while ((result = next_result(session)) != NULL) {
        ExecStatusType kind = PQresultStatus(result);
        if (kind == PGRES_SINGLE_TUPLE && status == DP_STATUS_OK) {
            status = function(context, result, error);
        } else if (kind != PGRES_SINGLE_TUPLE && kind != PGRES_TUPLES_OK && status == DP_STATUS_OK) {
            status = dp_pg_fail(session, result, error);
        }
        PQclear(result);
        if (PQstatus(session->connection) == CONNECTION_BAD) break;
    }
    PQclear(next_answer(session)); /* PGRES_PIPELINE_SYNC */
    if (PQexitPipelineMode(session->connection) != 1) session->unusable = true;
    if (session->given_up && status == DP_STATUS_OK) status = lost(session, error);
    bool early = ended_early(status, error);
    if (stopped != NULL) *stopped = early;
    return early ? DP_STATUS_OK : status;
}

/* --- COPY -------------------------------------------------------------------------------------------------
 */

dp_status dp_pg_copy_begin(dp_pg_session *session, const char *sql, dp_error *error)
{
    dp_status status = require_connection(session, error);
    if (status == DP_STATUS_OK) status = dp_pg_flush(session, error);
    if (status != DP_STATUS_OK) return status;
    PGresult *result = PQexec(session->connection, sql);
    if (PQresultStatus(result) != PGRES_COPY_IN) status = dp_pg_fail(session, result, error);
    PQclear(result);
    return status;
}

dp_status dp_pg_copy_write(dp_pg_session *session, dp_slice bytes, dp_error *error)
{
    if (bytes.length > INT32_MAX)
        return dp_error_set(error, DP_STATUS_LIMIT, "state database: a row exceeds 2 GiB");
    if (bytes.length == 0 || PQputCopyData(session->connection, bytes.data, (int)bytes.length) == 1) {
        return DP_STATUS_OK;
    }
    return lost(session, error);
}

dp_status dp_pg_copy_end(dp_pg_session *session, dp_status so_far, dp_error *error)
{
    const char *refusal = so_far == DP_STATUS_OK ? NULL : "given up by the sender";
    dp_status status = so_far;
    if (PQputCopyEnd(session->connection, refusal) != 1 && status == DP_STATUS_OK)
        status = lost(session, error);
    PGresult *result;
    while ((result = next_result(session)) != NULL) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK && status == DP_STATUS_OK) {
            status = dp_pg_fail(session, result, error);
        }
        PQclear(result);
        if (PQstatus(session->connection) == CONNECTION_BAD) break;
    }
    if (PQstatus(session->connection) == CONNECTION_BAD && status == DP_STATUS_OK)
        status = lost(session, error);
    return status;
}

/* --- transactions
 * ------------------------------------------------------------------------------------------- */

/* Nothing is waited for here: the first statement of the transaction brings the answer. */
dp_status dp_pg_begin(dp_store *store, bool write, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    if (session->in_transaction) return dp_error_set(error, DP_STATUS_INTERNAL, "a transaction is open");
    if (write && session->read_only) {
        return dp_error_set(error, DP_STATUS_USAGE, "state database: opened for reading only");
    }
    dp_status status = dp_pg_ensure_connected(session, error);
    if (status == DP_STATUS_OK)
        status = send_statement(session, write ? DP_PG_BEGIN_WRITE : DP_PG_BEGIN_READ, NULL,
                                DP_PG_ANSWER_CHECKED, error);
    if (status != DP_STATUS_OK) return status;
    session->in_transaction = true;
    session->writing = write;
    session->xid[0] = '\0';
    session->xid_asked = false;
    session->marked_stream_id = 0;
    session->open_stream_id = 0;
    session->opened_marker[0] = '\0';
    if (write) {
        dp_uuid_v4(session->marker);
    } else { /* before the snapshot: what is read then is not dropped */
        status = send_statement(session, DP_PG_READING, NULL, DP_PG_ANSWER_CHECKED, error);
    }
    if (status != DP_STATUS_OK) dp_pg_rollback(store);
    return status;
}

static void end_transaction(dp_pg_session *session)
{
    session->in_transaction = false;
    PQclear(session->found_receipt);
    session->found_receipt = NULL;
    session->expecting = false;
    session->presumed = false;
    session->receipt_presumed = false;
    dp_pg_memory_rolled_back(session);
    if (session->unusable) dp_pg_disconnect(session);
}

void dp_pg_rollback(dp_store *store)
{
    dp_pg_session *session = dp_pg_session_of(store);
    if (!session->in_transaction) return;
    if (session->connection != NULL && PQstatus(session->connection) == CONNECTION_OK && !session->unusable) {
        dp_error ignored = DP_ERROR_INIT;
        dp_pg_flush(session, &ignored);
        dp_error_clear(&ignored);
        if (dp_pg_script(session, "ROLLBACK", &ignored) != DP_STATUS_OK) session->unusable = true;
    } else {
        session->unusable = true;
    }
    end_transaction(session);
}

typedef enum outcome { OUTCOME_COMMITTED, OUTCOME_ABORTED, OUTCOME_PENDING, OUTCOME_UNKNOWN } outcome;

static bool marker_is_there(dp_pg_session *session, int64_t stream_id, const char *marker, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    if (stream_id == 0) return false;
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_text(&params, dp_slice_of_text(marker));
    if (dp_pg_run(session, DP_PG_MARKER_FIND, &params, &result, error) != DP_STATUS_OK) return false;
    bool found = PQntuples(result) == 1;
    PQclear(result);
    return found;
}

/* Takes the marker away on which the lost transaction relied: where that succeeds it has ended without a
 * trace, or will fail at its claim. */
static outcome take_marker_away(dp_pg_session *session, const char *own_marker)
{
    dp_error ignored = DP_ERROR_INIT;
    dp_pg_params params = {.count = 0};
    uint64_t count = 0;
    dp_pg_add_i64(&params, session->marked_stream_id);
    dp_pg_add_text(&params, dp_slice_of_text(session->opened_marker));
    dp_pg_add_text(&params, dp_slice_of_text(own_marker));
    if (dp_pg_change(session, DP_PG_MARKER_REPLACE, &params, &count, &ignored) != DP_STATUS_OK)
        return OUTCOME_PENDING;
    return count == 1 ? OUTCOME_ABORTED : OUTCOME_UNKNOWN;
}

/* A marker that is there proves the COMMIT, "aborted" and an id that was never given out disprove it. The
 * word "committed" alone proves nothing: after a crash PostgreSQL may give the id of a transaction that left
 * no trace to another one. */
static outcome ask_outcome(dp_pg_session *session, const char *xid)
{
    dp_error ignored = DP_ERROR_INIT;
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_pg_add_text(&params, dp_slice_of_text(xid));
    if (dp_pg_ensure_connected(session, &ignored) != DP_STATUS_OK) return OUTCOME_PENDING;
    dp_status status = dp_pg_run(session, DP_PG_XACT_STATUS, &params, &result, &ignored);
    if (status == DP_STATUS_DATA) return OUTCOME_ABORTED; /* "transaction ID is in the future" */
    if (status != DP_STATUS_OK) return OUTCOME_PENDING;
    dp_slice word = dp_pg_get_slice(result, 0, 0);
    outcome answer = OUTCOME_UNKNOWN;
    if (dp_slice_equal_text(word, "aborted")) answer = OUTCOME_ABORTED;
    if (dp_slice_equal_text(word, "in progress")) answer = OUTCOME_PENDING;
    PQclear(result);
    return answer;
}

/* The connection was lost after COMMIT had been sent: reads back what became of it. */
static dp_status resolve_commit(dp_pg_session *session, dp_error *error)
{
    int64_t deadline_us = dp_clock_monotonic_us() + (int64_t)session->busy_timeout_ms * 1000;
    outcome answer = OUTCOME_PENDING;
    char own_marker[DP_UUID_TEXT_BYTES];
    bool by_marker = session->marked_stream_id != 0 && session->opened_marker[0] != '\0';
    dp_uuid_v4(own_marker);
    dp_pg_disconnect(session);
    end_transaction(session);
    while (by_marker || session->xid[0] != '\0') {
        answer = by_marker ? take_marker_away(session, own_marker) : ask_outcome(session, session->xid);
        if (answer != OUTCOME_PENDING || dp_clock_monotonic_us() >= deadline_us) break;
        dp_clock_sleep_ms(RESOLVE_PAUSE_MS);
    }
    if (answer == OUTCOME_ABORTED) {
        return dp_error_set(error, DP_STATUS_REMOTE,
                            "state database: the connection was lost during COMMIT; nothing was stored");
    }
    dp_error ignored = DP_ERROR_INIT;
    if (answer == OUTCOME_UNKNOWN &&
        marker_is_there(session, session->marked_stream_id, session->marker, &ignored)) {
        return DP_STATUS_OK;
    }
    return dp_error_set(
        error, DP_STATUS_COMMIT_UNKNOWN,
        "state database: the connection was lost during COMMIT and what became of it is unknown");
}

dp_status dp_pg_commit(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    PGresult *result = NULL;
    if (!session->in_transaction) return dp_error_set(error, DP_STATUS_INTERNAL, "no transaction is open");
    dp_error first = DP_ERROR_INIT;
    dp_status status = session->connection == NULL || session->unusable ? lost(session, error) : DP_STATUS_OK;
    if (status == DP_STATUS_OK)
        status = send_statement(session, DP_PG_COMMIT, NULL, DP_PG_ANSWER_WANTED, error);
    if (status != DP_STATUS_OK) {
        dp_pg_rollback(store);
        return status;
    }
    status = synchronize(session, &result, &first);
    bool answered = PQstatus(session->connection) == CONNECTION_OK && !session->given_up;
    if (status != DP_STATUS_OK && session->writing && !answered) {
        return resolve_commit(session, error);
    }
    if (status == DP_STATUS_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = dp_error_set(&first, DP_STATUS_IO, "state database: the transaction was rolled back");
    }
    PQclear(result);
    if (status == DP_STATUS_OK) {
        dp_pg_memory_committed(session);
        end_transaction(session);
        return DP_STATUS_OK;
    }
    dp_pg_rollback(store);
    dp_error_set_code(error, status, first.code, "%s", first.message);
    if (first.hint[0] != '\0') dp_error_hint(error, "%s", first.hint);
    return status;
}
