#include "cdc/decoder.h"

#include <stdlib.h>

#include "cdc/decoder_internal.h"

enum { SCRATCH_CHUNK_BYTES = 64 * 1024 };

/* PostgreSQL sends at most 1 GiB in one message; values, names and unescaped copies of them fit in three
 * times that. */
#define SCRATCH_MAX_BYTES ((size_t)3 << 30)

static const dp_decoder_plugin *plugin_of(dp_plugin plugin)
{
    switch (plugin) {
    case DP_PLUGIN_PGOUTPUT: return &dp_decoder_pgoutput;
    case DP_PLUGIN_TEST_DECODING: return &dp_decoder_test_decoding;
    case DP_PLUGIN_WAL2JSON_1: return &dp_decoder_wal2json_1;
    case DP_PLUGIN_WAL2JSON_2: return &dp_decoder_wal2json_2;
    }
    return NULL;
}

dp_decoder *dp_decoder_new(dp_plugin plugin, const dp_unique_keys *keys, const dp_change_sink *sink)
{
    dp_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) return NULL;
    decoder->plugin = plugin_of(plugin);
    decoder->sink = *sink;
    decoder->tables = dp_table_cache_new(keys);
    decoder->scratch = dp_arena_new(SCRATCH_CHUNK_BYTES, SCRATCH_MAX_BYTES);
    decoder->state = decoder->plugin->state_new();
    if (decoder->tables == NULL || decoder->scratch == NULL || decoder->state == NULL) {
        dp_decoder_free(decoder);
        return NULL;
    }
    return decoder;
}

void dp_decoder_free(dp_decoder *decoder)
{
    if (decoder == NULL) return;
    if (decoder->state != NULL) decoder->plugin->state_free(decoder->state);
    dp_table_cache_free(decoder->tables);
    dp_arena_free(decoder->scratch);
    free(decoder);
}

dp_status dp_decoder_feed(dp_decoder *decoder, const dp_record *record, dp_error *error)
{
    dp_arena_reset(decoder->scratch);
    return decoder->plugin->feed(decoder, record, error);
}

void dp_decoder_set_trust_nulls(dp_decoder *decoder, bool trust_nulls)
{
    decoder->trust_nulls = trust_nulls;
}

uint64_t dp_decoder_doubtful_null_count(const dp_decoder *decoder)
{
    return decoder->doubtful_null_count;
}

bool dp_decoder_in_transaction(const dp_decoder *decoder)
{
    return decoder->in_transaction;
}

dp_status dp_decoder_begin(dp_decoder *decoder, bool has_transaction_id, uint32_t transaction_id,
                           dp_error *error)
{
    if (decoder->in_transaction) {
        return dp_error_set(error, DP_STATUS_DATA, "a transaction begins inside transaction %u",
                            decoder->transaction_id);
    }
    dp_table_cache_collect(decoder->tables);
    decoder->in_transaction = true;
    decoder->transaction_number++;
    decoder->has_transaction_id = has_transaction_id;
    decoder->transaction_id = transaction_id;
    decoder->has_commit_position = false;
    decoder->next_ordinal = 0;
    return DP_STATUS_OK;
}

dp_status dp_decoder_deliver(dp_decoder *decoder, dp_change *change, dp_error *error)
{
    if (!decoder->in_transaction) {
        return dp_error_set(error, DP_STATUS_DATA, "a change of table '%.*s.%.*s' outside a transaction",
                            DP_SLICE_PRINT(change->table->schema), DP_SLICE_PRINT(change->table->name));
    }
    change->has_transaction_id = decoder->has_transaction_id;
    change->transaction_id = decoder->transaction_id;
    change->has_commit_position = decoder->has_commit_position;
    change->commit_position = decoder->commit_position;
    change->ordinal = decoder->next_ordinal++;
    change->sequence = dp_table_next_sequence(change->table, decoder->transaction_number,
                                              change->has_position, change->position);
    return decoder->sink.change(decoder->sink.context, change, error);
}

dp_status dp_decoder_commit(dp_decoder *decoder, dp_transaction_end *end, dp_error *error)
{
    if (!decoder->in_transaction)
        return dp_error_set(error, DP_STATUS_DATA, "a commit outside a transaction");
    decoder->in_transaction = false;
    end->has_transaction_id = decoder->has_transaction_id;
    end->transaction_id = decoder->transaction_id;
    end->change_count = decoder->next_ordinal;
    return decoder->sink.commit(decoder->sink.context, end, error);
}

dp_value *dp_decoder_values(dp_decoder *decoder, size_t column_count)
{
    return dp_arena_alloc_zeroed(decoder->scratch, column_count + 1, sizeof(dp_value));
}
