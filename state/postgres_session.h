/* One PostgreSQL connection of the state driver: statements, transactions, errors, reconnecting.
 *
 * Internal to the driver: its files postgres_*.c are the only ones that see libpq. Statements that are queued
 * travel with the next one that is waited for, in libpq's pipeline mode, so that a batch costs few round
 * trips; their errors come with it.
 *
 * A connection that was lost is made again when the next transaction begins, never inside one. Whether a
 * COMMIT was done whose answer never came is read back from the database (docs/state-postgres.md). Threads
 * and ownership as store.h says for dp_store.
 */
#ifndef DPONE_STATE_POSTGRES_SESSION_H
#define DPONE_STATE_POSTGRES_SESSION_H

#include <libpq-fe.h>

#include "base/buffer.h"
#include "base/uuid.h"
#include "state/postgres_statements.h"
#include "state/store.h"

#define DP_PG_IDENTIFIER_BYTES 64 /* NAMEDATALEN: 63 bytes and a NUL */
#define DP_PG_MAX_PARAMS       18
#define DP_PG_MAX_PENDING      64

/* What is to be done with the answer to a queued statement. */
typedef enum dp_pg_answer {
    DP_PG_ANSWER_CHECKED,  /* only errors matter */
    DP_PG_ANSWER_PREPARED, /* of a PREPARE */
    DP_PG_ANSWER_XID,      /* of XID */
    DP_PG_ANSWER_KEPT,     /* goes to the caller beside that of the statement that is waited for */
    DP_PG_ANSWER_WANTED    /* goes to the caller */
} dp_pg_answer;

/* A stream as this connection saved it last: what the next batch of it presumes (decision 25). */
typedef struct dp_pg_memory {
    bool valid;       /* it was committed so */
    bool saved;       /* it is being saved so by the transaction that is open */
    bool proven;      /* when it was opened last, it was as this connection had left it */
    dp_stream stream; /* its texts are in `texts` */
    dp_buffer texts;
    int64_t partitioned_below;
    char marker[DP_UUID_TEXT_BYTES];
    uint32_t xmin; /* changes also when somebody writes the row by hand */
} dp_pg_memory;

typedef struct dp_pg_session {
    dp_store base;
    PGconn *connection; /* NULL: to be made when it is needed */
    char *conninfo;     /* the DSN without dpone's own parameters */
    char schema[DP_PG_IDENTIFIER_BYTES];
    char offset_table[DP_PG_IDENTIFIER_BYTES];
    bool read_only;
    unsigned busy_timeout_ms;
    bool prepared[DP_PG_STATEMENT_COUNT];
    bool in_transaction;
    bool writing;
    bool unusable;  /* the connection must not be used for another transaction */
    bool given_up;  /* an answer did not come in time: the connection is dropped without waiting for more */
    bool under_way; /* what is queued has been sent up to its end */
    unsigned pending_count;
    struct dp_pg_pending {
        dp_pg_answer answer;
        dp_pg_statement statement; /* PREPARED only */
    } pending[DP_PG_MAX_PENDING];
    char xid[24];                           /* of the write transaction; empty while unknown */
    bool xid_asked;                         /* it is known or comes with an answer */
    char marker[DP_UUID_TEXT_BYTES];        /* what this write transaction leaves in the stream it saves */
    int64_t marked_stream_id;               /* the stream that has been saved; 0: none */
    char opened_marker[DP_UUID_TEXT_BYTES]; /* what the stream opened last had before; empty: none */
    dp_pg_memory memory;
    bool presumed;          /* in this transaction the stream is taken as remembered; the claim is queued */
    bool receipt_presumed;  /* and the receipt, until it is asked for, as not there */
    int64_t open_stream_id; /* the stream that was locked last in this transaction; 0: none */
    int64_t partitioned_below; /* its numbers below have a partition */
    PGresult *kept;            /* of the statement queued with DP_PG_ANSWER_KEPT, until it is taken */
    bool expecting;            /* a stream is being locked and a receipt read, for stream_open to take */
    PGresult *found_receipt;   /* what was read so; until receipt_find or the transaction's end */
    dp_buffer scratch;         /* the texts of statements */
    dp_buffer rows;            /* what is being written: arrays, or the next piece of a COPY */
} dp_pg_session;

static inline dp_pg_session *dp_pg_session_of(dp_store *store)
{
    return (dp_pg_session *)(void *)store;
}

/* --- parameters -------------------------------------------------------------------------------------------
 * Binary. A struct that has been filled must not be moved: values point into it. */

typedef struct dp_pg_params {
    int count;
    bool too_large; /* a value is longer than PostgreSQL can take */
    const char *values[DP_PG_MAX_PARAMS];
    int lengths[DP_PG_MAX_PARAMS];
    char scalars[DP_PG_MAX_PARAMS][8];
} dp_pg_params;

void dp_pg_add_text(dp_pg_params *params, dp_slice text); /* data NULL: NULL */
void dp_pg_add_bytes(dp_pg_params *params, const void *bytes, size_t length);
void dp_pg_add_position(dp_pg_params *params, bool present, const dp_position *position);
void dp_pg_add_i64(dp_pg_params *params, int64_t value);
void dp_pg_add_u32(dp_pg_params *params, uint32_t value);
void dp_pg_add_i16(dp_pg_params *params, int16_t value);
void dp_pg_add_null(dp_pg_params *params);
void dp_pg_add_bool(dp_pg_params *params, bool value);
void dp_pg_add_timestamp(dp_pg_params *params, int64_t wall_us);

/* Big-endian integers, as the binary formats have them. */
void dp_pg_put_u16(char *out, uint16_t value);
void dp_pg_put_u32(char *out, uint32_t value);
void dp_pg_put_u64(char *out, uint64_t value);

/* Arrays and the fields of COPY rows in PostgreSQL's binary format, appended to a buffer: an array's head,
 * then each element with its length. */
#define DP_PG_OID_BYTEA 17
#define DP_PG_OID_INT8  20
#define DP_PG_OID_INT2  21
#define DP_PG_OID_TEXT  25
void dp_pg_array_begin(dp_buffer *out, uint32_t element_oid, size_t count);
void dp_pg_put_value(dp_buffer *out, dp_slice value); /* data NULL: NULL */
void dp_pg_put_i64(dp_buffer *out, int64_t value);

/* --- results ----------------------------------------------------------------------------------------------
 */

dp_slice dp_pg_get_slice(const PGresult *result, int row, int column); /* data NULL for NULL */
int64_t dp_pg_get_i64(const PGresult *result, int row, int column);    /* 0 for NULL */
bool dp_pg_get_bool(const PGresult *result, int row, int column);
int64_t dp_pg_get_timestamp(const PGresult *result, int row, int column);
/* DATA when the value is not ten bytes; *present false for NULL. */
dp_status dp_pg_get_position(const PGresult *result, int row, int column, bool *present,
                             dp_position *position, dp_error *error);

/* --- connecting (postgres_connect.c)
 * ------------------------------------------------------------------------
 */

dp_status dp_pg_open(const char *target, const dp_store_options *options, dp_store **store, dp_error *error);
void dp_pg_close(dp_store *store);
/* Connects unless connected; a connection that the server has closed meanwhile is made again. Only outside a
 * transaction. */
dp_status dp_pg_ensure_connected(dp_pg_session *session, dp_error *error);
void dp_pg_disconnect(dp_pg_session *session);
/* The text with :"schema" and :"offset_table" replaced, in session->scratch. */
dp_status dp_pg_expand(dp_pg_session *session, const char *sql, const char **text, dp_error *error);

/* --- statements -------------------------------------------------------------------------------------------
 */

/* Sends a statement whose answer comes with the next one that is run; outside a transaction as dp_pg_run. */
dp_status dp_pg_queue(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                      dp_error *error);
/* As dp_pg_queue, inside a transaction only; its result is in session->kept after the next one was run. */
dp_status dp_pg_queue_kept(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                           dp_error *error);
/* Runs a statement and everything queued before it. The caller clears *result; NULL result: not wanted. */
dp_status dp_pg_run(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                    PGresult **result, dp_error *error);
/* The two halves of dp_pg_run: between them the server works. Nothing else may be sent meanwhile, but a
 * rollback. */
dp_status dp_pg_start(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                      dp_error *error);
dp_status dp_pg_finish(dp_pg_session *session, PGresult **result, dp_error *error);
/* As dp_pg_run; *count is the number of rows it changed. */
dp_status dp_pg_change(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                       uint64_t *count, dp_error *error);
/* Sends what is queued on its way without waiting for anything. */
dp_status dp_pg_hurry(dp_pg_session *session, dp_error *error);
/* Waits for everything that is queued. */
dp_status dp_pg_flush(dp_pg_session *session, dp_error *error);
/* Runs a script of any number of statements. */
dp_status dp_pg_script(dp_pg_session *session, const char *sql, dp_error *error);

/* Runs a query and hands over row after row without keeping them. The function's status as a visitor's in
 * store.h; *stopped (may be NULL) tells that it ended the reading early. */
typedef dp_status (*dp_pg_row_function)(void *context, const PGresult *result, dp_error *error);
dp_status dp_pg_each(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                     dp_pg_row_function function, void *context, bool *stopped, dp_error *error);

/* COPY FROM STDIN. write as often as needed, then end, also after an error of write. */
dp_status dp_pg_copy_begin(dp_pg_session *session, const char *sql, dp_error *error);
dp_status dp_pg_copy_write(dp_pg_session *session, dp_slice bytes, dp_error *error);
dp_status dp_pg_copy_end(dp_pg_session *session, dp_status so_far, dp_error *error);

/* Turns a failed result, or a failed connection where result is NULL, into an error. */
dp_status dp_pg_fail(dp_pg_session *session, const PGresult *result, dp_error *error);

/* --- transactions -----------------------------------------------------------------------------------------
 */

dp_status dp_pg_begin(dp_store *store, bool write, dp_error *error);
dp_status dp_pg_commit(dp_store *store, dp_error *error);
void dp_pg_rollback(dp_store *store);
/* Takes the write transaction's id from the only row of a result; without a row it is asked for again. */
void dp_pg_take_xid(dp_pg_session *session, const PGresult *result, int column);

#endif
