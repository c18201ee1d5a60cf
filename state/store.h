/* One connection to a state database, and what a driver must be able to do there.
 *
 * The rules of the journal (duplicates, staging, conflicts, retention) are written once, in journal.c, over
 * the functions below; a driver only moves rows, in arrays, so that one can use prepared statements and
 * another COPY. Start reading at journal.h for the rules, at sqlite_store.c for a driver.
 *
 * Threads: a dp_store is one connection and belongs to one thread at a time. Any number of them may be open
 * on the same database, in one process or many. Ownership: slices handed in are borrowed for the call; slices
 * in rows handed to a visitor are valid until it returns; rows returned through an arena live as long as the
 * arena. Errors: BUSY (locked; try again), FULL (no space; nothing was stored), IO, REMOTE (connection lost
 * before COMMIT was sent), COMMIT_UNKNOWN (lost while COMMIT was under way), CONFLICT (a key exists),
 * NOT_FOUND, DATA (the database holds something this version cannot read), NO_MEMORY. A driver may send
 * writes without waiting for their answers; their errors then come with a later call, at the latest with
 * commit. After an error inside a write transaction the only useful call is rollback.
 */
#ifndef DPONE_STATE_STORE_H
#define DPONE_STATE_STORE_H

#include "base/arena.h"
#include "base/error.h"
#include "cdc/event_scanner.h"

typedef struct dp_store dp_store;
typedef struct dp_store_driver dp_store_driver;

/* The first member of every driver's own structure. */
struct dp_store {
    const dp_store_driver *driver;
};

#define DP_STATE_DEFAULT_DSN           "sqlite:dpone.db"
#define DP_STATE_DEFAULT_OFFSET_SCHEMA "etl_state" /* PostgreSQL only */
#define DP_STATE_DEFAULT_OFFSET_TABLE  "etl_cdc_offset"

typedef struct dp_store_options {
    bool read_only;           /* never writes, never creates; the schema must be there */
    bool existing;            /* never creates; set by dp_store_open */
    unsigned busy_timeout_ms; /* how long a lock is waited for; 0: 5000 */
    /* PostgreSQL: the schema of all tables. NULL: what the DSN's dpone_schema says, else etl_state. Ignored
     * by SQLite. */
    const char *offset_schema;
    const char *offset_table; /* NULL: the DSN's dpone_offset_table, else etl_cdc_offset */
} dp_store_options;

/* --- rows -------------------------------------------------------------------------------------------------
 */

typedef struct dp_stream_key {
    dp_slice pipeline;
    dp_slice source;
    dp_backend backend;
} dp_stream_key;

/* A stream and the state of its journal. journal.c changes a copy and saves it once a batch. */
typedef struct dp_stream {
    int64_t stream_id;
    dp_stream_key key;
    dp_identity_kind identity;
    int64_t next_event_number; /* where the next events go; what a transaction has had is not used again */
    bool has_high;
    dp_position high; /* end of the last transaction that readers see */
    bool has_pruned;
    dp_position pruned; /* transactions that end at or below it were deleted by retention */
    bool has_passed;
    dp_position passed;             /* what the sender said it has stored as its offset; advisory */
    bool has_staged;                /* rows of one transaction are waiting for its commit line */
    dp_slice staged_transaction_id; /* data NULL for null */
    int64_t staged_first_number;
    uint64_t staged_count;
    uint64_t transaction_count; /* visible ones, pruned ones not counted */
    uint64_t event_count;
    dp_slice settings; /* what the stream reads from, a JSON object (stream_settings.h); data NULL: unknown */
    int64_t created_at_us;
    int64_t updated_at_us;
} dp_stream;

/* A transaction that readers see. Its events have the numbers first_number + ordinal. */
typedef struct dp_transaction_row {
    dp_position end_position;
    dp_slice transaction_id; /* data NULL for null */
    bool has_committed_at;
    int64_t committed_at_us;
    int64_t stored_at_us;
    int64_t first_number;
    uint64_t event_count; /* at least 1 */
} dp_transaction_row;

/* Events with consecutive numbers. */
typedef struct dp_event_run {
    int64_t first_number;
    const dp_event *events;
    size_t count;
} dp_event_run;

typedef struct dp_number_range {
    int64_t first;
    uint64_t count;
} dp_number_range;

/* Receipts are found by pipeline, source, identity and key. */
typedef struct dp_receipt_row {
    dp_slice pipeline;
    dp_slice source;
    dp_identity_kind identity;
    dp_slice idempotency_key;
    int64_t stream_id;
    uint8_t batch_id[DP_SHA256_BYTES];
    bool staged; /* the batch ended inside a transaction whose commit has not come yet */
    unsigned http_status;
    dp_slice body;
    int64_t created_at_us;
} dp_receipt_row;

typedef struct dp_offset_row {
    dp_slice pipeline_name;
    dp_slice source_schema;
    dp_slice source_table;
    dp_slice backend; /* as text: the table is shared with other tools */
    dp_slice token;
    bool snapshot_complete;
    int64_t loaded_at_us; /* first saved; written by the driver */
    int64_t updated_at_us;
} dp_offset_row;

/* X(name, text) */
#define DP_QUARANTINE_STATE_LIST(X)                                                                          \
    X(OPEN, "open")                                                                                          \
    X(REPLAYED, "replayed")                                                                                  \
    X(DISCARDED, "discarded")

typedef enum dp_quarantine_state {
#define DP_QUARANTINE_STATE_ENUM(name, text) DP_QUARANTINE_##name,
    DP_QUARANTINE_STATE_LIST(DP_QUARANTINE_STATE_ENUM)
#undef DP_QUARANTINE_STATE_ENUM
} dp_quarantine_state;

dp_slice dp_quarantine_state_text(dp_quarantine_state state);
bool dp_quarantine_state_parse(dp_slice text, dp_quarantine_state *state);

/* A change that could not be identified or applied, kept until an operator decides. */
typedef struct dp_quarantine_row {
    int64_t quarantine_id; /* given by the driver */
    dp_slice pipeline;
    dp_slice source;
    dp_slice backend;
    dp_slice source_schema;
    dp_slice source_table;
    dp_slice position; /* data NULL when unknown, as are the next two */
    dp_slice transaction_id;
    dp_slice end_position; /* of the transaction it belongs to */
    dp_slice reason;       /* a stable code, such as key_missing */
    dp_slice detail;       /* one line for people */
    dp_slice event;        /* the event line, with event_id null where there is none */
    dp_quarantine_state state;
    int64_t created_at_us;
    int64_t resolved_at_us; /* 0 while open */
    dp_slice resolved_by;   /* data NULL while open */
    dp_slice resolution;    /* why; data NULL while open */
    dp_slice event_key; /* the same event has the same 32 bytes when it is read again; data NULL: unknown */
} dp_quarantine_row;

/* Who changed what by hand, and why. */
typedef struct dp_audit_row {
    int64_t audit_id; /* given by the driver */
    int64_t at_us;
    dp_slice actor;
    dp_slice action;    /* a stable code, such as offset.set */
    dp_slice pipeline;  /* data NULL when it concerns none */
    dp_slice subject;   /* what was changed, such as schema.table of an offset */
    dp_slice reason;    /* data NULL when none was given */
    dp_slice old_value; /* data NULL when there was none */
    dp_slice new_value; /* data NULL when it was deleted */
} dp_audit_row;

/* Called for each row in the order stated at the function. Anything but OK ends the reading with that status;
 * DP_STATUS_CANCELLED without an error set ends it early and counts as success. MUST NOT call the store. */
typedef struct dp_row_visitor {
    void *context;
    dp_status (*stream)(void *context, const dp_stream *row, dp_error *error);
    dp_status (*transaction)(void *context, const dp_transaction_row *row, dp_error *error);
    /* transaction_id and ordinal are not stored with an event: data NULL and 0 here. */
    dp_status (*event)(void *context, int64_t number, const dp_event *row, dp_error *error);
    dp_status (*receipt)(void *context, const dp_receipt_row *row, dp_error *error);
    dp_status (*offset)(void *context, const dp_offset_row *row, dp_error *error);
    dp_status (*quarantine)(void *context, const dp_quarantine_row *row, dp_error *error);
    dp_status (*audit)(void *context, const dp_audit_row *row, dp_error *error);
    dp_status (*migration)(void *context, uint32_t version, dp_slice name, dp_slice checksum,
                           dp_error *error);
} dp_row_visitor;

typedef struct dp_transaction_window {
    bool has_from;
    dp_position from; /* exclusive */
    bool has_to;
    dp_position to; /* inclusive */
    uint64_t limit; /* at most this many rows; 0: all */
} dp_transaction_window;

#define DP_STORE_PRESUMED_WRONG "stream_changed"

/* --- the driver -------------------------------------------------------------------------------------------
 */

typedef struct dp_migration {
    uint32_t version; /* from 1, without gaps */
    const char *name;
    const char *sql; /* any number of statements */
} dp_migration;

struct dp_store_driver {
    const char *name;               /* "sqlite", "postgres" */
    const dp_migration *migrations; /* embedded at build time, ended by version 0 */
    bool concurrent_writers; /* write transactions wait for each other only where they touch the same rows */

    /* Required. `target` is the DSN's part after the scheme (a path) or the whole of it (a URI). Does not
     * look at the schema. USAGE when the target cannot exist, IO or REMOTE when it cannot be reached. */
    dp_status (*open)(const char *target, const dp_store_options *options, dp_store **store, dp_error *error);
    /* Required. Rolls back what is open. */
    void (*close)(dp_store *store);

    /* Required. `write` takes the right to write at once and waits for it up to the busy timeout (BUSY), so
     * that no later statement can meet a lock; otherwise a snapshot for reading. Not nested. */
    dp_status (*begin)(dp_store *store, bool write, dp_error *error);
    /* Required. Durable when it returns OK. On any other status nothing was stored, except for
     * COMMIT_UNKNOWN; the transaction is over in every case. */
    dp_status (*commit)(dp_store *store, dp_error *error);
    /* Required. Also after an error, also when none is open. */
    void (*rollback)(dp_store *store);

    /* Migrations, used by migrate.c. Required. ensure creates dpone_migration unless it is there, inside a
     * write transaction that keeps other processes out until it ends. */
    dp_status (*migration_ensure)(dp_store *store, dp_error *error);
    /* Required. By version. A database without the table has no rows. */
    dp_status (*migration_list)(dp_store *store, const dp_row_visitor *visitor, dp_error *error);
    /* Required. Runs the script and records it, inside the open transaction. */
    dp_status (*migration_apply)(dp_store *store, const dp_migration *migration, dp_slice checksum,
                                 int64_t now_us, dp_error *error);
    /* Optional. Called after the migrations have been committed: prepares what needs the tables. */
    dp_status (*migration_done)(dp_store *store, dp_error *error);

    /* Streams. Optional. Inside a write transaction, before anything else is done in it: begins to lock the
     * stream and to read the receipt under that lock, while the caller does other work. stream_open of this
     * key and receipt_find of this receipt MUST follow, or rollback. A driver MAY presume that the stream is
     * as it saved it last and that there is no receipt, and have that checked by the database before all else
     * the transaction does there. Where it was wrong, nothing is stored and a later call, at the latest
     * commit, fails with BUSY and the code DP_STORE_PRESUMED_WRONG: begun again at once, nothing is presumed.
     */
    dp_status (*stream_expect)(dp_store *store, const dp_stream_key *key, const dp_receipt_row *receipt,
                               dp_error *error);
    /* Optional, beside stream_expect. OK unless the presumption is known to be wrong now, or cannot be
     * checked (BUSY, REMOTE). MUST be asked before a batch is refused for what the stream is like. */
    dp_status (*stream_confirm)(dp_store *store, dp_error *error);
    /* Required. Inside a write transaction: finds the stream or creates it with this identity and
     * next_event_number 1, and locks it until the transaction ends, so that batches of one stream come one
     * after the other. The identity of a stream that exists is not compared here. */
    dp_status (*stream_open)(dp_store *store, const dp_stream_key *key, dp_identity_kind identity,
                             int64_t now_us, dp_arena *arena, dp_stream *stream, dp_error *error);
    /* Required. Without a lock. NOT_FOUND. */
    dp_status (*stream_find)(dp_store *store, const dp_stream_key *key, dp_arena *arena, dp_stream *stream,
                             dp_error *error);
    /* Required. All of a pipeline (all there are when data is NULL), by pipeline, source, backend. */
    dp_status (*stream_list)(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error);
    /* Required. Writes every member but key, identity and created_at_us of a stream that is locked. */
    dp_status (*stream_save)(dp_store *store, const dp_stream *stream, dp_error *error);
    /* Required. The first of `count` event numbers that no event of the stream, staged, visible or pruned,
     * has had; those of staged rows that were dropped are free again. The caller saves first + count (or
     * less, when fewer were used) as next_event_number. A driver whose numbers are shared by all streams
     * looks at all of them. FULL past 2^62. */
    dp_status (*reserve_numbers)(dp_store *store, const dp_stream *stream, uint64_t count, int64_t *first,
                                 dp_error *error);

    /* Transactions. Required. Any number of rows, ascending by end position; CONFLICT when one is there. */
    dp_status (*transactions_insert)(dp_store *store, int64_t stream_id, const dp_transaction_row *rows,
                                     size_t count, dp_error *error);
    /* Required. Those of the given positions that exist, in the order of `positions`, which ascend. */
    dp_status (*transactions_find)(dp_store *store, int64_t stream_id, const dp_position *positions,
                                   size_t count, const dp_row_visitor *visitor, dp_error *error);
    /* Required. Ascending by end position. */
    dp_status (*transactions_read)(dp_store *store, int64_t stream_id, const dp_transaction_window *window,
                                   const dp_row_visitor *visitor, dp_error *error);
    /* Required. Deletes what ends at or below `to`. */
    dp_status (*transactions_delete)(dp_store *store, int64_t stream_id, dp_position to, dp_error *error);

    /* Events. Required. The runs ascend and do not overlap. Their ordinal and transaction_id are not stored.
     */
    dp_status (*events_insert)(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                               dp_error *error);
    /* Required. Ascending by number within each range, the ranges one after the other. */
    dp_status (*events_read)(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
                             size_t range_count, const dp_row_visitor *visitor, dp_error *error);
    /* Required. */
    dp_status (*events_delete)(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error);
    /* Optional. Deletes the events of transactions that retention has deleted, in transactions of its own;
     * only outside one. Without it events are deleted with their transactions. */
    dp_status (*events_prune)(dp_store *store, int64_t stream_id, dp_error *error);

    /* Receipts. Required. Looks for pipeline, source, identity and idempotency_key of *receipt and fills in
     * the rest. NOT_FOUND. */
    dp_status (*receipt_find)(dp_store *store, dp_receipt_row *receipt, dp_arena *arena, dp_error *error);
    /* Required. CONFLICT when the key is there. */
    dp_status (*receipt_insert)(dp_store *store, const dp_receipt_row *receipt, dp_error *error);
    /* Required. Deletes the stream's receipts of staged batches. */
    dp_status (*receipts_drop_staged)(dp_store *store, int64_t stream_id, dp_error *error);
    /* Required. Deletes a stream's receipts created before a time, staged ones excepted. */
    dp_status (*receipts_delete)(dp_store *store, int64_t stream_id, int64_t before_us, dp_error *error);
    /* Required. All of a stream, oldest first. */
    dp_status (*receipt_list)(dp_store *store, int64_t stream_id, const dp_row_visitor *visitor,
                              dp_error *error);
    /* Required. The body of the stream's newest receipt, into the arena. NOT_FOUND. */
    dp_status (*receipt_last)(dp_store *store, int64_t stream_id, dp_arena *arena, dp_receipt_row *receipt,
                              dp_error *error);

    /* Offsets; one row is found by its first four members, exactly. Required. NOT_FOUND. */
    dp_status (*offset_find)(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error);
    /* Required. An upsert; loaded_at is now for a new row, updated_at is now always. */
    dp_status (*offset_save)(dp_store *store, const dp_offset_row *row, int64_t now_us, dp_error *error);
    /* Required. NOT_FOUND. */
    dp_status (*offset_delete)(dp_store *store, const dp_offset_row *row, dp_error *error);
    /* Required. All of a pipeline (all there are when data is NULL), by the primary key. */
    dp_status (*offset_list)(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error);

    /* Quarantine. Required. Leaves out, in any state of theirs, the events that are there: by their key, or,
     * in rows of the pipeline that have none, by text and by source unless that row names none. Rows without
     * a key are always inserted. *inserted_count is the number of new rows. */
    dp_status (*quarantine_insert)(dp_store *store, const dp_quarantine_row *rows, size_t count,
                                   uint64_t *inserted_count, dp_error *error);
    /* Required. By id, above after_id; `state` NULL: any; pipeline data NULL: any; limit 0: all. */
    dp_status (*quarantine_list)(dp_store *store, dp_slice pipeline, const dp_quarantine_state *state,
                                 int64_t after_id, uint64_t limit, const dp_row_visitor *visitor,
                                 dp_error *error);
    /* Required. Sets state, resolved_* of an open row. NOT_FOUND when there is no such open row. */
    dp_status (*quarantine_resolve)(dp_store *store, const dp_quarantine_row *row, dp_error *error);

    /* Audit. Required. */
    dp_status (*audit_insert)(dp_store *store, const dp_audit_row *row, dp_error *error);
    /* Required. Entries below the number, newest first; INT64_MAX: from the newest. Pipeline data NULL: any.
     */
    dp_status (*audit_list)(dp_store *store, dp_slice pipeline, int64_t below_id, uint64_t limit,
                            const dp_row_visitor *visitor, dp_error *error);

    /* Optional. What the database occupies on disk. */
    dp_status (*size_bytes)(dp_store *store, uint64_t *bytes, dp_error *error);
    /* Optional. Whether batches may be stored as far as privileges go; IO, naming what is missing. Changes
     * nothing, also where this connection is for reading. */
    dp_status (*check_grants)(dp_store *store, dp_error *error);
    /* Optional. Whether the database is sound; DATA with the first finding. May read all of it. */
    dp_status (*check)(dp_store *store, dp_error *error);
};

/* --- opening ----------------------------------------------------------------------------------------------
 */

typedef struct dp_state_dsn {
    const dp_store_driver *driver;
    const char *target; /* points into the DSN */
} dp_state_dsn;

/* sqlite:PATH[?dpone_offset_table=NAME] or postgresql://... (postgres:// too); NULL is the default DSN.
 * Beside libpq's own parameters a PostgreSQL URI may have dpone_schema=NAME and dpone_offset_table=NAME.
 * USAGE names the expected forms and never repeats a DSN that may hold a password. */
dp_status dp_state_dsn_parse(const char *text, dp_state_dsn *dsn, dp_error *error);

/* Parses, connects, and compares the schema with what this program knows: USAGE with a hint when it is older
 * (dpone state migrate) or newer. `options` may be NULL. */
dp_status dp_store_open(const char *dsn, const dp_store_options *options, dp_store **store, dp_error *error);

/* Only connects: for migrations. */
dp_status dp_store_connect(const char *dsn, const dp_store_options *options, dp_store **store,
                           dp_error *error);

void dp_store_close(dp_store *store);

extern const dp_store_driver dp_store_postgres;
extern const dp_store_driver dp_store_sqlite;

#endif
