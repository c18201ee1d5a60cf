/* Shared by the two wal2json decoders only: rows of JSON values become rows of PostgreSQL's output text.
 *
 * What wal2json changes in the text is undone here: bytea gets its "\x" back, true and false become t and f.
 * Numbers keep their exact source text. What cannot be undone is refused: wal2json prints NaN and Infinity as
 * null, so unless the stream shows that numeric-data-types-as-string is on (an integer, float or numeric
 * value came as a string, none as a number), or the user says so, a null float or numeric column of a table
 * without a configured key, whose event id would hash it, is DATA. With a configured key it is passed on as
 * NULL and counted.
 *
 * wal2json omits an unchanged TOAST value and never says so. Where the old row has the column it is marked
 * unchanged; elsewhere it is absent.
 */
#ifndef DPONE_CDC_WAL2JSON_H
#define DPONE_CDC_WAL2JSON_H

#include "base/json_scanner.h"
#include "cdc/decoder_internal.h"
#include "cdc/row_columns.h"

/* One column as found in the JSON, not yet interpreted: its members may come in any order. */
typedef struct dp_wal2json_cell {
    dp_slice name;
    dp_slice type;
    dp_json_token value;
} dp_wal2json_cell;

typedef struct dp_wal2json_cells {
    size_t name_count;
    size_t type_count;
    size_t value_count;
    dp_wal2json_cell cells[DP_ROW_COLUMNS_MAX];
} dp_wal2json_cells;

/* What a document says of its transaction. */
typedef struct dp_wal2json_header {
    bool has_xid;
    uint32_t xid;
    bool has_next_lsn;
    dp_lsn next_lsn;
    bool has_committed_at;
    int64_t committed_at_us;
} dp_wal2json_header;

typedef struct dp_wal2json {
    struct dp_wal2json_shapes *shapes; /* format 2; see wal2json_shapes.h */
    dp_wal2json_cells columns;         /* the new row */
    dp_wal2json_cells identity;        /* the old row */
    dp_wal2json_header header;         /* of the open transaction */

    /* Format 1: where the document stands. */
    bool in_changes;
    bool has_begun;
    bool has_outside_message;
    uint64_t element_count;

    bool numbers_seen;        /* some number came as a number: the option is off */
    bool number_strings_seen; /* some number came as a string */

    /* Filled by dp_wal2json_deliver. */
    dp_row_columns row;
    dp_row_columns old_row;
    dp_row_columns merged;
    size_t matched[DP_ROW_COLUMNS_MAX]; /* per column of old_row: the same column of row, or SIZE_MAX */
    bool has_doubtful_null;
    size_t doubtful_at;
    dp_slice doubtful_name;
} dp_wal2json;

/* Clears the two rows of cells. */
void dp_wal2json_clear_cells(dp_wal2json *wal2json);

/* DATA: "byte <at>: <what>". */
dp_status dp_wal2json_fault(size_t at, const char *what, dp_error *error);

/* The scanner's own fault, `base` bytes into the record. */
dp_status dp_wal2json_scan_fault(const dp_json_scanner *scanner, size_t base, dp_error *error);

/* Scans and drops the value that begins with the next token. */
dp_status dp_wal2json_skip(dp_json_scanner *scanner, size_t base, dp_error *error);

/* The index of a member's name in `names`, or `count` when it is not listed. Members met are collected in
 * *seen; DATA for a repeated one. */
dp_status dp_wal2json_member(const dp_json_token *key, const dp_slice *names, size_t count, unsigned *seen,
                             size_t base, size_t *index, dp_error *error);

/* The decoded content of a string token: a slice of the record, or of the scratch memory. DATA for any other
 * token and for a zero character. */
dp_status dp_wal2json_text(dp_decoder *decoder, const dp_json_token *token, size_t base, dp_slice *text,
                           dp_error *error);

/* The next token as a transaction id or null, an LSN, a commit time or null. */
dp_status dp_wal2json_take_xid(dp_json_scanner *scanner, size_t base, dp_wal2json_header *header,
                               dp_error *error);
dp_status dp_wal2json_take_lsn(dp_json_scanner *scanner, size_t base, bool *has_lsn, dp_lsn *lsn,
                               dp_error *error);
dp_status dp_wal2json_take_time(dp_json_scanner *scanner, size_t base, dp_wal2json_header *header,
                                dp_error *error);

/* Room for the next cell, counted by *count; LIMIT when the row is full. */
dp_status dp_wal2json_next_cell(dp_wal2json_cells *cells, size_t *count, size_t at, dp_wal2json_cell **cell,
                                dp_error *error);

/* The value of a cell: DATA for one that its type cannot have. `base` is where the scanner's input begins in
 * the record. */
dp_status dp_wal2json_put_value(dp_decoder *decoder, const dp_wal2json_cell *cell, dp_type_class type_class,
                                size_t base, dp_value *value, dp_error *error);

/* A change of schema.table: interprets the cells and delivers. `change` brings operation and position, and
 * gets its table. */
dp_status dp_wal2json_deliver(dp_decoder *decoder, dp_slice schema, dp_slice table, size_t base,
                              dp_change *change, dp_error *error);

/* The same with `row` and `old_row` as they are, which are of the table `known`. */
dp_status dp_wal2json_deliver_rows(dp_decoder *decoder, const dp_table *known, dp_change *change,
                                   dp_error *error);

/* DATA when the record's xid column, or `header`, disagrees with the open transaction. */
dp_status dp_wal2json_check_xid(const dp_decoder *decoder, const dp_record *record,
                                const dp_wal2json_header *header, dp_error *error);

/* Opens the transaction the header describes. */
dp_status dp_wal2json_begin(dp_decoder *decoder, const dp_record *record, const dp_wal2json_header *header,
                            dp_error *error);

/* Closes it. The end position is the header's nextlsn, else the lsn column; DATA when the two disagree. */
dp_status dp_wal2json_commit(dp_decoder *decoder, const dp_record *record, const dp_wal2json_header *header,
                             dp_error *error);

void *dp_wal2json_new(void);

#endif
