/* What the decoders share: one interface over pgoutput, test_decoding and wal2json.
 *
 * A decoder is fed one record at a time, the output plugin's data for one WAL message together with what the
 * transport knows of it (the lsn and xid columns of the SQL functions, or the XLogData header), and delivers
 * changes and commits to a sink. Pure: no I/O, no clock. Hostile input is an error with the byte offset in
 * the record, never a guess, never a partial change. After an error the decoder must be freed. Not shared
 * between threads.
 */
#ifndef DPONE_CDC_DECODER_H
#define DPONE_CDC_DECODER_H

#include "cdc/change.h"
#include "cdc/unique_keys.h"

/* X(name, text, summary) */
#define DP_PLUGIN_LIST(X)                                                                                    \
    X(PGOUTPUT, "pgoutput", "PostgreSQL's own binary protocol, version 1")                                   \
    X(TEST_DECODING, "test_decoding", "the text plugin of PostgreSQL's contrib")                             \
    X(WAL2JSON_1, "wal2json-1", "wal2json, format-version 1 (one document a transaction)")                   \
    X(WAL2JSON_2, "wal2json-2", "wal2json, format-version 2 (one document a change)")

typedef enum dp_plugin {
#define DP_PLUGIN_ENUM(name, text, summary) DP_PLUGIN_##name,
    DP_PLUGIN_LIST(DP_PLUGIN_ENUM)
#undef DP_PLUGIN_ENUM
} dp_plugin;

typedef struct dp_record {
    bool has_lsn; /* the lsn column, or XLogData's dataStart for a change and its end for a commit */
    dp_lsn lsn;
    bool has_xid;
    uint32_t xid;
    dp_slice data;
} dp_record;

typedef struct dp_decoder dp_decoder;

/* `keys` may be NULL and is borrowed. `sink` is copied; its context is borrowed. NULL when memory is refused.
 */
dp_decoder *dp_decoder_new(dp_plugin plugin, const dp_unique_keys *keys, const dp_change_sink *sink);
void dp_decoder_free(dp_decoder *decoder);

/* Decodes one record and delivers what it holds. */
dp_status dp_decoder_feed(dp_decoder *decoder, const dp_record *record, dp_error *error);

/* Says to take a null float or numeric of wal2json for NULL. wal2json prints NaN and Infinity as null too,
 * unless its option numeric-data-types-as-string is on. Without trust the stream itself has to show that it
 * is; where it does not, such a null is refused for a table without a configured key and counted for a table
 * with one. */
void dp_decoder_set_trust_nulls(dp_decoder *decoder, bool trust_nulls);

/* Changes so far with a null float or numeric that may have been NaN or Infinity: worth a warning. */
uint64_t dp_decoder_doubtful_null_count(const dp_decoder *decoder);

/* Whether a transaction is open: input that ends now ends inside a transaction. */
bool dp_decoder_in_transaction(const dp_decoder *decoder);

#endif
