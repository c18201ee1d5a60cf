/* Any sequence of pgoutput messages is decoded or refused: never a crash, never a line that the strict
 * scanner rejects. Input: messages, each with its length in two bytes before it. */
#include <stdlib.h>

#include "base/json_scanner.h"
#include "cdc/decoder.h"
#include "cdc/event_writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct run {
    dp_event_writer *writer;
    dp_buffer line;
} run;

static void check_line(const dp_buffer *line)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, (dp_slice){line->data, line->length - 1});
    dp_json_kind kind;
    do {
        kind = dp_json_next(&scanner, &token);
    } while (kind != DP_JSON_END && kind != DP_JSON_ERROR);
    if (kind == DP_JSON_ERROR || line->data[line->length - 1] != '\n') abort();
}

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    run *r = context;
    dp_buffer_clear(&r->line);
    dp_status status = dp_event_writer_put_event(r->writer, &r->line, change, NULL, error);
    if (status == DP_STATUS_OK) check_line(&r->line);
    return status == DP_STATUS_POISON ? DP_STATUS_OK : status;
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    run *r = context;
    dp_buffer_clear(&r->line);
    dp_status status = dp_event_writer_put_commit(&r->line, end, error);
    if (status == DP_STATUS_OK) check_line(&r->line);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run r = {.writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_TYPED), .line = DP_BUFFER_INIT(1 << 22)};
    dp_change_sink sink = {&r, on_change, on_commit};
    dp_decoder *decoder = dp_decoder_new(DP_PLUGIN_PGOUTPUT, NULL, &sink);
    dp_error error = DP_ERROR_INIT;
    size_t at = 0;
    while (size - at >= 2) {
        size_t length = (size_t)data[at] << 8 | data[at + 1];
        at += 2;
        if (length > size - at) length = size - at;
        /* An allocation of the exact size, so that a read past the message is seen. */
        char *message = malloc(length + 1);
        if (length > 0) memcpy(message, data + at, length);
        dp_record record = {.has_lsn = true, .lsn = {at}, .data = {message, length}};
        dp_status status = dp_decoder_feed(decoder, &record, &error);
        free(message);
        if (status != DP_STATUS_OK) break;
        at += length;
    }
    dp_decoder_free(decoder);
    dp_event_writer_free(r.writer);
    dp_buffer_release(&r.line);
    return 0;
}
