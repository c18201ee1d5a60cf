/* Shared by the decoders of this folder only: the open transaction and how changes are numbered and
 * delivered. */
#ifndef DPONE_CDC_DECODER_INTERNAL_H
#define DPONE_CDC_DECODER_INTERNAL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "cdc/decoder.h"
#include "cdc/table_cache.h"

/* One plugin's part of a decoder. */
typedef struct dp_decoder_plugin {
    dp_status (*feed)(dp_decoder *decoder, const dp_record *record, dp_error *error);
    void *(*state_new)(void);
    void (*state_free)(void *state);
} dp_decoder_plugin;

extern const dp_decoder_plugin dp_decoder_pgoutput;
extern const dp_decoder_plugin dp_decoder_test_decoding;
extern const dp_decoder_plugin dp_decoder_wal2json_1;
extern const dp_decoder_plugin dp_decoder_wal2json_2;

struct dp_decoder {
    const dp_decoder_plugin *plugin;
    void *state; /* the plugin's own */
    dp_change_sink sink;
    dp_table_cache *tables;
    dp_arena *scratch; /* reset before each record */

    bool trust_nulls;
    uint64_t doubtful_null_count;

    bool in_transaction;
    uint64_t transaction_number; /* counts transactions seen by this decoder, from 1 */
    bool has_transaction_id;
    uint32_t transaction_id;
    bool has_commit_position; /* set by the plugin after dp_decoder_begin, where its BEGIN tells */
    dp_lsn commit_position;
    uint64_t next_ordinal;
};

/* Opens a transaction. DATA when one is open. */
dp_status dp_decoder_begin(dp_decoder *decoder, bool has_transaction_id, uint32_t transaction_id,
                           dp_error *error);

/* Fills in transaction id, sequence and ordinal and delivers. `change->has_position` and `position` are the
 * caller's. DATA when no transaction is open. */
dp_status dp_decoder_deliver(dp_decoder *decoder, dp_change *change, dp_error *error);

/* Closes the transaction and delivers its end; transaction id and count are filled in here. */
dp_status dp_decoder_commit(dp_decoder *decoder, dp_transaction_end *end, dp_error *error);

/* Room for one value per column, all ABSENT; NULL when memory is refused. */
dp_value *dp_decoder_values(dp_decoder *decoder, size_t column_count);

/* The metadata of a truncate, a JSON object in static storage. */
dp_slice dp_truncate_metadata(bool cascade, bool restart_identity);

#endif
