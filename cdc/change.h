/* The change model: one row-level change of one source table, as every decoder produces it.
 *
 * A change refers to the description of its table (dp_table) and holds one value per column of it. Nothing
 * here owns what it points to: a change is valid until the decoder that made it is called again, which is why
 * a consumer writes it out (event_writer.h) before asking for the next. Pure: no I/O, no clock, no globals.
 */
#ifndef DPONE_CDC_CHANGE_H
#define DPONE_CDC_CHANGE_H

#include "base/error.h"
#include "base/slice.h"

/* X(name, text) */
#define DP_OPERATION_LIST(X)                                                                                 \
    X(INSERT, "insert")                                                                                      \
    X(UPDATE, "update")                                                                                      \
    X(DELETE, "delete")                                                                                      \
    X(UPDATE_BEFORE, "update_before")                                                                        \
    X(TRUNCATE, "truncate")

typedef enum dp_operation {
#define DP_OPERATION_ENUM(name, text) DP_OPERATION_##name,
    DP_OPERATION_LIST(DP_OPERATION_ENUM)
#undef DP_OPERATION_ENUM
} dp_operation;

/* The text on the wire, as in "insert". */
dp_slice dp_operation_text(dp_operation operation);
bool dp_operation_parse(dp_slice text, dp_operation *operation);

/* X(name, text) */
#define DP_BACKEND_LIST(X)                                                                                   \
    X(POSTGRES_LOGICAL, "postgres_logical")                                                                  \
    X(MSSQL_CDC, "mssql_cdc")                                                                                \
    X(MSSQL_CHANGE_TRACKING, "mssql_change_tracking")

typedef enum dp_backend {
#define DP_BACKEND_ENUM(name, text) DP_BACKEND_##name,
    DP_BACKEND_LIST(DP_BACKEND_ENUM)
#undef DP_BACKEND_ENUM
} dp_backend;

dp_slice dp_backend_text(dp_backend backend);
bool dp_backend_parse(dp_slice text, dp_backend *backend);

/* A PostgreSQL log sequence number. One member, so that it is not mistaken for another integer. */
typedef struct dp_lsn {
    uint64_t value;
} dp_lsn;

#define DP_LSN_TEXT_BYTES 18 /* "FFFFFFFF/FFFFFFFF" and a NUL */

/* Writes "X/X" as PostgreSQL prints it and a NUL; returns the length. */
size_t dp_lsn_format(dp_lsn lsn, char out[DP_LSN_TEXT_BYTES]);

/* Strict: 1 to 8 hexadecimal digits, '/', 1 to 8 hexadecimal digits. */
bool dp_lsn_parse(dp_slice text, dp_lsn *lsn);

/* How the value of a column is written. It decides the JSON form in events (identity v1 knows three: boolean,
 * integer, text), and what --typed and dpone-py turn into numbers or JSON. */
typedef enum dp_type_class {
    DP_TYPE_TEXT,    /* everything not named below: the exact text of PostgreSQL's output, a JSON string */
    DP_TYPE_BOOLEAN, /* bool: true or false */
    DP_TYPE_INTEGER, /* int2, int4, int8: a JSON integer */
    DP_TYPE_FLOAT,   /* float4, float8: text in events */
    DP_TYPE_NUMERIC, /* numeric: text in events */
    DP_TYPE_JSON     /* json, jsonb: text in events */
} dp_type_class;

/* The class of a built-in type, by its OID in pg_type or by its SQL name as format_type() prints it (a typmod
 * such as "numeric(10,2)" is allowed; arrays and unknown names are text). */
dp_type_class dp_type_class_of_oid(uint32_t type_oid);
dp_type_class dp_type_class_of_name(dp_slice type_name);

typedef struct dp_column {
    dp_slice name;      /* unescaped UTF-8 */
    dp_slice name_json; /* escaped, quoted and followed by a colon: "\"id\":" */
    dp_type_class type_class;
    bool is_identity; /* flagged by the source as part of the replica identity */
} dp_column;

/* Counts the changes of one source table that share a position within one transaction (event identity's
 * `sequence`). Belongs to the table's name, so it outlives a replaced description. */
typedef struct dp_table_sequence {
    uint64_t transaction_number;
    dp_lsn position;
    bool has_position;
    uint64_t next;
} dp_table_sequence;

/* A table as described by the source at one time. Owned by its table cache (table_cache.h). */
typedef struct dp_table {
    dp_slice schema;
    dp_slice name;
    dp_slice source_json; /* "source_schema":...,"source_table":... : the members, escaped once */
    dp_column *columns;
    size_t column_count;
    const uint32_t *sorted; /* column indices ordered by name (bytes, which is code point order) */
    bool is_sorted;         /* the columns come in that order */
    /* The columns of the configured unique key, as indices ordered by name; absent columns are counted, not
     * listed, and make every change of the table poison. key_count is 0 where no key is configured. */
    const dp_slice *key_names; /* ordered by name */
    const int32_t
        *key_columns; /* per key name: the column's index, or -1 when the table has no such column */
    size_t key_count;
    dp_table_sequence *sequence;
} dp_table;

typedef enum dp_value_state {
    DP_VALUE_ABSENT,    /* not sent: neither in data nor in before */
    DP_VALUE_UNCHANGED, /* an unchanged TOAST value: absent, and named in `unchanged` */
    DP_VALUE_NULL,
    DP_VALUE_PRESENT
} dp_value_state;

typedef struct dp_value {
    dp_value_state state;
    dp_slice
        text; /* PRESENT: PostgreSQL's output text; booleans are "t" or "f", valid UTF-8 otherwise checked */
} dp_value;

typedef struct dp_change {
    dp_operation operation;
    const dp_table *table;
    const dp_value *data;   /* one per column; NULL for truncate */
    const dp_value *before; /* one per column, or NULL when the source sent no old row */
    bool has_position;      /* false where the plugin gives none (raw text streams) */
    dp_lsn position;
    bool has_transaction_id;
    uint32_t transaction_id;  /* the top-level xid */
    bool has_commit_position; /* pgoutput only: the others tell it with the commit */
    dp_lsn commit_position;   /* where the transaction's commit record starts */
    uint64_t sequence;
    uint64_t ordinal;  /* numbers the changes of the transaction in stream order, from 0 */
    dp_slice metadata; /* a JSON object, or empty when there is none */
} dp_change;

typedef struct dp_transaction_end {
    bool has_transaction_id;
    uint32_t transaction_id;
    bool has_end_position;
    dp_lsn end_position; /* the end LSN: the offset after the transaction */
    bool has_committed_at;
    int64_t committed_at_us; /* since 1970-01-01T00:00:00Z */
    uint64_t change_count;
} dp_transaction_end;

/* Where decoders deliver. Each callback returns DP_STATUS_OK to go on; anything else stops decoding with that
 * status. The decoder MUST NOT be called again from inside a callback. */
typedef struct dp_change_sink {
    void *context;
    dp_status (*change)(void *context, const dp_change *change, dp_error *error);
    /* Also called for a transaction without changes, so that offsets can pass it. */
    dp_status (*commit)(void *context, const dp_transaction_end *end, dp_error *error);
} dp_change_sink;

#endif
