/* Any bytes as a capture, whole and in pieces: the same records and the same outcome, never a fault. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "cdc/capture_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct reading {
    dp_buffer text;
    dp_status status;
    dp_error error;
} reading;

static dp_status on_start(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    reading *r = context;
    (void)error;
    dp_buffer_append_byte(&r->text, (char)form);
    dp_buffer_append_byte(&r->text, (char)plugin);
    return DP_STATUS_OK;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    reading *r = context;
    (void)error;
    if (record->has_lsn) {
        dp_buffer_append_u64(&r->text, record->lsn.value);
        dp_buffer_append_u64(&r->text, record->xid);
    }
    dp_buffer_append_u64(&r->text, record->data.length);
    dp_buffer_append_slice(&r->text, record->data);
    return DP_STATUS_OK;
}

static void read_pieces(reading *r, const dp_capture_options *options, dp_slice input, size_t piece_bytes)
{
    dp_capture_sink sink = {r, on_start, on_record};
    dp_capture_reader *reader = dp_capture_reader_new(options, &sink);
    for (size_t at = 0; at < input.length && r->status == DP_STATUS_OK; at += piece_bytes) {
        size_t length = input.length - at < piece_bytes ? input.length - at : piece_bytes;
        char *piece = malloc(length);
        memcpy(piece, input.data + at, length);
        r->status = dp_capture_reader_feed(reader, (dp_slice){piece, length}, &r->error);
        free(piece);
    }
    if (r->status == DP_STATUS_OK) r->status = dp_capture_reader_finish(reader, &r->error);
    if (r->status != r->error.status) abort();
    dp_capture_reader_free(reader);
}

/* The first byte chooses form and plugin, given or detected; the second the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4000) return 0;
    unsigned form = data[0] & 7;
    unsigned plugin = data[0] >> 3 & 7;
    dp_capture_options options = {.has_form = form < 5, .has_plugin = plugin < 4, .max_record_bytes = 3000};
    if (form < 5) options.form = (dp_capture_form)form;
    if (plugin < 4) options.plugin = (dp_plugin)plugin;
    dp_slice input = {(const char *)data + 2, size - 2};
    reading whole = {.text = DP_BUFFER_INIT(1 << 20)};
    reading pieces = {.text = DP_BUFFER_INIT(1 << 20)};
    read_pieces(&whole, &options, input, input.length + 1);
    read_pieces(&pieces, &options, input, (size_t)data[1] + 1);
    bool same = whole.status == pieces.status && strcmp(whole.error.message, pieces.error.message) == 0 &&
                dp_slice_equal(dp_buffer_slice(&whole.text), dp_buffer_slice(&pieces.text));
    if (!same) {
        fprintf(stderr, "whole: %s\npieces: %s\n", whole.error.message, pieces.error.message);
        abort();
    }
    dp_buffer_release(&whole.text);
    dp_buffer_release(&pieces.text);
    return 0;
}
