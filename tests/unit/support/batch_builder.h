/* Builds batch bodies for tests: header, events, commits, and a trailer with the right digest. */
#ifndef DPONE_TESTS_BATCH_BUILDER_H
#define DPONE_TESTS_BATCH_BUILDER_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/hex.h"
#include "base/sha256.h"

typedef struct batch_builder {
    dp_buffer body;
    size_t lines_at;
    uint64_t count;
    char next_token[32]; /* empty: null */
} batch_builder;

static inline void batch_begin_as(batch_builder *batch, const char *pipeline, const char *source,
                                  const char *identity, const char *next_token)
{
    *batch = (batch_builder){.body = DP_BUFFER_INIT(256u << 20)};
    snprintf(batch->next_token, sizeof batch->next_token, "%s", next_token == NULL ? "" : next_token);
    dp_buffer_append_format(&batch->body,
                            "{\"type\":\"batch\",\"schema\":\"dpone.cdc.batch.v1\",\"pipeline\":\"%s\","
                            "\"backend\":\"postgres_logical\",\"source\":\"%s\",\"identity\":\"%s\",",
                            pipeline, source, identity);
    if (next_token == NULL) {
        dp_buffer_append_text(&batch->body, "\"next_offset\":null,");
    } else {
        dp_buffer_append_format(&batch->body,
                                "\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":\"%s\","
                                "\"snapshot_complete\":true},",
                                next_token);
    }
    dp_buffer_append_text(&batch->body, "\"stored_offset\":null,\"high_watermark\":null}\n");
    batch->lines_at = batch->body.length;
}

static inline void batch_begin(batch_builder *batch, const char *next_token)
{
    batch_begin_as(batch, "orders-cdc", "7000/shop", "v1", next_token);
}

/* The id that tests give to row `ordinal` of transaction `xid`. */
static inline void test_event_id(unsigned xid, unsigned ordinal, char out[65])
{
    uint8_t bytes[32] = {0};
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(xid >> (8 * i));
        bytes[4 + i] = (uint8_t)(ordinal >> (8 * i));
    }
    bytes[31] = 0xab;
    dp_hex_encode(bytes, 32, out);
    out[64] = '\0';
}

static inline void batch_event_line(batch_builder *batch, const char *id, unsigned xid, unsigned ordinal,
                                    const char *data)
{
    dp_buffer_append_format(&batch->body,
                            "{\"event_id\":\"%s\",\"operation\":\"insert\",\"source_schema\":\"public\","
                            "\"source_table\":\"orders\",\"position\":\"0/%X\",\"transaction_id\":\"%u\","
                            "\"sequence\":0,\"ordinal\":%u,\"data\":",
                            id, xid * 16 + 1, xid, ordinal);
    dp_buffer_append_text(&batch->body, data);
    dp_buffer_append_text(&batch->body, ",\"before\":null,\"unchanged\":[]}\n");
    batch->count++;
}

static inline void batch_event(batch_builder *batch, unsigned xid, unsigned ordinal)
{
    char id[65];
    char data[64];
    test_event_id(xid, ordinal, id);
    snprintf(data, sizeof data, "{\"id\":%u,\"amount\":\"99.50\"}", xid * 1000 + ordinal);
    batch_event_line(batch, id, xid, ordinal, data);
}

/* The end position that tests give to transaction `xid`. */
static inline unsigned test_end(unsigned xid)
{
    return xid * 16 + 8;
}

static inline void batch_commit(batch_builder *batch, unsigned xid, unsigned count)
{
    dp_buffer_append_format(&batch->body,
                            "{\"type\":\"commit\",\"transaction_id\":\"%u\",\"end_position\":\"0/%X\","
                            "\"committed_at\":\"2026-01-02T03:04:05.678901Z\",\"count\":%u}\n",
                            xid, test_end(xid), count);
}

/* A whole transaction of `count` rows. */
static inline void batch_transaction(batch_builder *batch, unsigned xid, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        batch_event(batch, xid, i);
    }
    batch_commit(batch, xid, count);
}

/* Appends the trailer; id receives the batch id's text. */
static inline dp_slice batch_end(batch_builder *batch, char id[65])
{
    uint8_t digest[32];
    dp_sha256 *hash = dp_sha256_new();
    dp_sha256_begin(hash);
    dp_sha256_update(hash,
                     (dp_slice){batch->body.data + batch->lines_at, batch->body.length - batch->lines_at});
    dp_sha256_update(hash, dp_slice_of_text(batch->next_token));
    dp_sha256_finish(hash, digest);
    dp_sha256_free(hash);
    dp_hex_encode(digest, 32, id);
    id[64] = '\0';
    dp_buffer_append_format(&batch->body, "{\"type\":\"end\",\"count\":%llu,\"batch_id\":\"%s\"}\n",
                            (unsigned long long)batch->count, id);
    return dp_buffer_slice(&batch->body);
}

#endif
