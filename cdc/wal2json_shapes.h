/* Reads the records of wal2json's format 2 that are written like an earlier one: names, types and punctuation
 * are compared instead of parsed again, only the values are scanned.
 *
 * Only the usual record is read: the head as wal2json prints it, one list of columns (and for an update the
 * identity), values that are texts, numbers or words, nothing behind them. Everything else, faults included,
 * is left to the careful way, which reads what is read here the same. Shared by the decoder of format 2 only.
 */
#ifndef DPONE_CDC_WAL2JSON_SHAPES_H
#define DPONE_CDC_WAL2JSON_SHAPES_H

#include "cdc/wal2json.h"

/* A record of format 2. */
typedef struct dp_wal2json_document {
    unsigned seen; /* one bit a member; of one that was read the careful way */
    char action;
    dp_wal2json_header header; /* of one that was read here without its time, which only B and C need */
    bool has_lsn;
    dp_lsn lsn;
    dp_slice schema;
    dp_slice table;
    const dp_table *known; /* what was read here: its rows are in the decoder's state; otherwise NULL */
} dp_wal2json_document;

/* Makes the memory for it, in the decoder's state. Without it every record is read the careful way. */
void dp_wal2json_shapes_init(dp_wal2json *wal2json);
void dp_wal2json_shapes_release(dp_wal2json *wal2json);

/* Reads a change; false, with *document and the rows undefined, for one that is not as an earlier one. */
bool dp_wal2json_shapes_read(dp_decoder *decoder, dp_slice text, dp_wal2json_document *document);

/* Remembers how a record was written that the careful way has read. `table`: of a change that was delivered,
 * else NULL. */
void dp_wal2json_shapes_learn(dp_decoder *decoder, dp_slice text, const dp_wal2json_document *document,
                              const dp_table *table);

#endif
