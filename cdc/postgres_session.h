/* One connection to a PostgreSQL server that is a source, the only file of cdc/ that includes libpq.
 *
 * A session runs simple queries, and may carry one replication stream (START_REPLICATION). Its settings make
 * the text of values independent of who connects: ISO dates, hexadecimal bytea, UTF8, UTC, no search path, C
 * money; they come after the DSN's own `options`, so they win. No password ever appears in an error. Belongs
 * to one thread. A server that tells that it leaves out changes of a publication (source.publication_missing)
 * ends the stream or the rows with BLOCKED. Results are owned by the caller; stream messages live until the
 * next call.
 */
#ifndef DPONE_CDC_POSTGRES_SESSION_H
#define DPONE_CDC_POSTGRES_SESSION_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_postgres_session dp_postgres_session;
typedef struct dp_postgres_rows dp_postgres_rows;

/* Connects, waiting as long as connect_timeout of the DSN says (10 s unless given). A replication session
 * also takes replication commands. USAGE for a DSN that does not parse, BLOCKED (source.privilege_missing)
 * for a role that may not replicate, REMOTE for the rest. */
dp_status dp_postgres_connect(const char *dsn, bool is_replication, dp_postgres_session **session,
                              dp_error *error);
void dp_postgres_disconnect(dp_postgres_session *session);

/* After connecting has failed with `cause`: whether that may pass by itself. The server does not answer, says
 * that it does not take connections now, has none to spare, or only standbys answered; not: it refuses this
 * role, password or database. Asks the server once more. */
bool dp_postgres_is_away(const char *dsn, const dp_error *cause);

/* Runs one statement through the simple protocol; *rows may be NULL when none are wanted. REMOTE with code
 * "postgres.<SQLSTATE>" when the server refused, BLOCKED (source.privilege_missing) for 42501. */
dp_status dp_postgres_query(dp_postgres_session *session, const char *sql, dp_postgres_rows **rows,
                            dp_error *error);

/* The same, a row at a time, however many there are: *rows holds one row, and is NULL after the last. The
 * caller frees each. Every row must be taken, or the session closed, before the next statement. */
dp_status dp_postgres_rows_start(dp_postgres_session *session, const char *sql, dp_error *error);
dp_status dp_postgres_rows_next(dp_postgres_session *session, dp_postgres_rows **rows, dp_error *error);

/* Whether the session takes replication commands. */
bool dp_postgres_is_replication(const dp_postgres_session *session);

/* Whether the server was a standby when the session began, as servers since 14 tell. */
bool dp_postgres_is_standby(const dp_postgres_session *session);

/* The process on the server. */
int64_t dp_postgres_process(const dp_postgres_session *session);

/* The five characters of the last refusal, or "". */
const char *dp_postgres_sqlstate(const dp_postgres_session *session);

/* 150020 for 15.20. */
int dp_postgres_version(const dp_postgres_session *session);

/* Through a Unix socket, where a read that finds little costs little. */
bool dp_postgres_is_local(const dp_postgres_session *session);

size_t dp_postgres_row_count(const dp_postgres_rows *rows);
dp_slice dp_postgres_value(const dp_postgres_rows *rows, size_t row, int column); /* data NULL: SQL NULL */
bool dp_postgres_is_true(const dp_postgres_rows *rows, size_t row, int column);
void dp_postgres_rows_free(dp_postgres_rows *rows);

/* --- the stream -------------------------------------------------------------------------------------------
 */

/* Sends START_REPLICATION; errors as dp_postgres_query. Afterwards only the functions below may be called. */
dp_status dp_postgres_stream_start(dp_postgres_session *session, const char *command, dp_error *error);

/* The next message that is already here; data NULL: none. REMOTE when the stream has ended. */
dp_status dp_postgres_stream_next(dp_postgres_session *session, dp_slice *message, dp_error *error);

/* Waits for bytes; *is_ready says whether there are any. */
dp_status dp_postgres_stream_wait(dp_postgres_session *session, int timeout_ms, bool *is_ready,
                                  dp_error *error);

/* Takes what the socket holds into memory. */
dp_status dp_postgres_stream_take(dp_postgres_session *session, dp_error *error);

/* Sends one message and flushes without waiting for the other side. */
dp_status dp_postgres_stream_send(dp_postgres_session *session, dp_slice message, dp_error *error);

/* Ends the stream in order and waits briefly, so that what was sent last is read by the server. */
void dp_postgres_stream_end(dp_postgres_session *session);

#endif
