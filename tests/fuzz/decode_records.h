/* Decodes fuzzed records with one plugin and holds what comes out to what every consumer relies on: events
 * that are JSON, values that lie in readable memory, commits that count their changes. */
#ifndef DPONE_TESTS_FUZZ_DECODE_RECORDS_H
#define DPONE_TESTS_FUZZ_DECODE_RECORDS_H

#include <stdlib.h>

#include "base/json_scanner.h"
#include "cdc/decoder.h"
#include "cdc/event_writer.h"

typedef struct decode_records {
    dp_event_writer *writer;
    dp_buffer line;
    dp_buffer *all; /* every line, for who wants them; or NULL */
    uint64_t change_count;
} decode_records;

static inline void check_json(dp_slice line)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_kind kind;
    dp_json_scanner_init(&scanner, (dp_slice){line.data, line.length - 1});
    do {
        kind = dp_json_next(&scanner, &token);
        if (kind == DP_JSON_ERROR) abort();
    } while (kind != DP_JSON_END);
    if (line.data[line.length - 1] != '\n') abort();
}

static inline void take_line(decode_records *f)
{
    check_json(dp_buffer_slice(&f->line));
    if (f->all != NULL) dp_buffer_append_slice(f->all, dp_buffer_slice(&f->line));
}

static inline dp_status decode_on_change(void *context, const dp_change *change, dp_error *error)
{
    decode_records *f = context;
    f->change_count++;
    dp_buffer_clear(&f->line);
    dp_status status = dp_event_writer_put_event(f->writer, &f->line, change, NULL, error);
    if (status == DP_STATUS_OK) take_line(f);
    return status;
}

static inline dp_status decode_on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    decode_records *f = context;
    if (end->change_count != f->change_count) abort();
    f->change_count = 0;
    dp_buffer_clear(&f->line);
    dp_status status = dp_event_writer_put_commit(&f->line, end, error);
    if (status == DP_STATUS_OK) take_line(f);
    return status;
}

/* The records are separated by the byte 0x1E. The first byte of the input says what is known of them: bit 0
 * the LSN, bit 1 the transaction id. `behind` is put behind each record. */
static inline dp_status decode_into(dp_plugin plugin, const uint8_t *data, size_t size, dp_slice behind,
                                    dp_buffer *all)
{
    dp_error error = DP_ERROR_INIT;
    decode_records f = {.writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_EXACT),
                        .line = DP_BUFFER_INIT(8 << 20),
                        .all = all};
    dp_unique_keys *keys = dp_unique_keys_new();
    dp_unique_keys_add(keys, DP_SLICE_LITERAL("public.customers=id"), &error);
    dp_change_sink sink = {&f, decode_on_change, decode_on_commit};
    dp_decoder *decoder = dp_decoder_new(plugin, keys, &sink);
    dp_slice rest = {(const char *)data + 1, size - 1};
    dp_status status = DP_STATUS_OK;
    bool has_more = true;
    uint64_t lsn = 0x10;
    while (has_more && status == DP_STATUS_OK) {
        dp_slice text;
        has_more = dp_slice_split(rest, 0x1E, &text, &rest);
        char *copy = malloc(text.length + behind.length + 1);
        memcpy(copy + 1, text.data, text.length);
        memcpy(copy + 1 + text.length, behind.data, behind.length);
        dp_record record = {.has_lsn = (data[0] & 1) != 0,
                            .lsn = {lsn++},
                            .has_xid = (data[0] & 2) != 0,
                            .xid = 900,
                            .data = {copy + 1, text.length + behind.length}};
        status = dp_decoder_feed(decoder, &record, &error);
        if (status != error.status) abort();
        free(copy);
    }
    dp_decoder_free(decoder);
    dp_unique_keys_free(keys);
    dp_event_writer_free(f.writer);
    dp_buffer_release(&f.line);
    return status;
}

static inline void decode_all(dp_plugin plugin, const uint8_t *data, size_t size)
{
    if (size > 0) decode_into(plugin, data, size, DP_SLICE_LITERAL(""), NULL);
}

#endif
