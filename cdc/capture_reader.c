#include <inttypes.h>
#include <stdlib.h>

#include "cdc/capture_internal.h"

#define DEFAULT_MAX_RECORD_BYTES ((size_t)1 << 30)

/* A message's end shows only by what follows it. */
enum { LOOK_AHEAD_BYTES = 64 };

static const dp_slice form_texts[] = {DP_CAPTURE_FORM_LIST(DP_SLICE_ENTRY)};

bool dp_capture_form_parse(dp_slice text, dp_capture_form *form)
{
    int found = dp_slice_find(text, form_texts, sizeof form_texts / sizeof form_texts[0]);
    if (found >= 0) *form = (dp_capture_form)found;
    return found >= 0;
}

dp_capture_reader *dp_capture_reader_new(const dp_capture_options *options, const dp_capture_sink *sink)
{
    dp_capture_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return NULL;
    size_t maximum = options->max_record_bytes == 0 ? DEFAULT_MAX_RECORD_BYTES : options->max_record_bytes;
    reader->options = *options;
    reader->sink = *sink;
    reader->max_record_bytes = maximum;
    /* In hexadecimal, or with every byte escaped, a record takes twice its size. */
    reader->pending = (dp_buffer)DP_BUFFER_INIT(SIZE_MAX / 4);
    reader->decoded = (dp_buffer)DP_BUFFER_INIT(SIZE_MAX / 4);
    reader->line = reader->record_line = 1;
    reader->may_be_header = true;
    return reader;
}

void dp_capture_reader_free(dp_capture_reader *reader)
{
    if (reader == NULL) return;
    dp_buffer_release(&reader->pending);
    dp_buffer_release(&reader->decoded);
    free(reader);
}

uint64_t dp_capture_reader_line(const dp_capture_reader *reader)
{
    return reader->record_line;
}

uint64_t dp_capture_reader_offset(const dp_capture_reader *reader)
{
    return reader->record_offset;
}

static uint64_t count_newlines(dp_slice bytes)
{
    uint64_t count = 0;
    const char *at = bytes.data;
    const char *end = bytes.data + bytes.length;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        count++;
        at++;
    }
    return count;
}

dp_frame_result dp_frame_fault(const dp_capture_reader *reader, const dp_frame *frame, size_t at,
                               const char *what)
{
    uint64_t line = reader->line + count_newlines((dp_slice){frame->bytes.data, at});
    dp_error_set(frame->error, DP_STATUS_DATA, "line %" PRIu64 ", byte %" PRIu64 ": %s", line,
                 reader->offset + at, what);
    return DP_FRAME_FAILED;
}

dp_frame_result dp_frame_more(dp_capture_reader *reader, const dp_frame *frame, const char *what)
{
    if (frame->is_final) return dp_frame_fault(reader, frame, frame->bytes.length, what);
    return DP_FRAME_MORE;
}

/* Blank lines are tolerated at the end. */
static bool is_blank_line(dp_capture_reader *reader, dp_frame *frame)
{
    bool is_crlf = frame->bytes.length >= 2 && frame->bytes.data[0] == '\r' && frame->bytes.data[1] == '\n';
    if (frame->bytes.data[0] != '\n' && !is_crlf) return false;
    reader->has_ended = true;
    frame->length_bytes = is_crlf ? 2 : 1;
    return true;
}

static dp_frame_result next_frame(dp_capture_reader *reader, dp_frame *frame)
{
    bool is_cut = !frame->is_final && frame->bytes.length == 1 && frame->bytes.data[0] == '\r';
    if (is_cut) return DP_FRAME_MORE;
    if (is_blank_line(reader, frame)) return DP_FRAME_SKIP;
    if (reader->has_ended)
        return dp_frame_fault(reader, frame, 0, "text after a blank line or the end marker");
    if (!reader->is_detected) {
        dp_frame_result result = dp_capture_detect(reader, frame);
        if (result != DP_FRAME_RECORD) return result;
        reader->is_detected = true;
    }
    switch (reader->form) {
    case DP_CAPTURE_FORM_PSQL_UNALIGNED:
    case DP_CAPTURE_FORM_CSV:
    case DP_CAPTURE_FORM_COPY_TEXT: return dp_frame_row(reader, frame);
    case DP_CAPTURE_FORM_RAW_TEST_DECODING:
    case DP_CAPTURE_FORM_RAW_WAL2JSON: return dp_frame_raw(reader, frame);
    }
    return DP_FRAME_FAILED;
}

static dp_status hand_out(dp_capture_reader *reader, const dp_frame *frame)
{
    reader->record_line = reader->line;
    reader->record_offset = reader->offset;
    if (!reader->has_started) {
        reader->has_started = true;
        dp_status status =
            reader->sink.start(reader->sink.context, reader->form, reader->plugin, frame->error);
        if (status != DP_STATUS_OK) return status;
    }
    return reader->sink.record(reader->sink.context, &frame->record, frame->error);
}

/* An incomplete record may be twice as long as what it will hold: escapes, hexadecimal. */
static dp_status check_size(const dp_capture_reader *reader, const dp_frame *frame, dp_frame_result result,
                            dp_error *error)
{
    size_t held_bytes = result == DP_FRAME_MORE ? frame->bytes.length / 2 : frame->record.data.length;
    if (held_bytes <= reader->max_record_bytes) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_LIMIT,
                        "line %" PRIu64 ", byte %" PRIu64 ": a record of more than %zu bytes", reader->line,
                        reader->offset, reader->max_record_bytes);
}

/* Hands out the records that are complete in `bytes`; *used is what they took. */
static dp_status read_records(dp_capture_reader *reader, dp_slice bytes, bool is_final, size_t *used,
                              dp_error *error)
{
    *used = 0;
    while (*used < bytes.length) {
        dp_frame frame = {
            .bytes = {bytes.data + *used, bytes.length - *used}, .is_final = is_final, .error = error};
        if (!is_final && frame.bytes.length < reader->scan.needed_bytes) return DP_STATUS_OK;
        dp_frame_result result = next_frame(reader, &frame);
        if (result == DP_FRAME_FAILED) return error->status;
        dp_status status = check_size(reader, &frame, result, error);
        if (result == DP_FRAME_MORE || status != DP_STATUS_OK) return status;
        if (result == DP_FRAME_RECORD) status = hand_out(reader, &frame);
        if (status != DP_STATUS_OK) return status;
        reader->may_be_header = false;
        reader->scan = (dp_frame_scan){.at = 0};
        reader->line +=
            frame.is_one_line ? 1 : count_newlines((dp_slice){frame.bytes.data, frame.length_bytes});
        reader->offset += frame.length_bytes;
        *used += frame.length_bytes;
    }
    return DP_STATUS_OK;
}

static dp_status keep(dp_capture_reader *reader, dp_slice bytes, dp_error *error)
{
    dp_buffer_append_slice(&reader->pending, bytes);
    return reader->pending.failed ? dp_error_no_memory(error, "an incomplete record") : DP_STATUS_OK;
}

/* Bytes to add to an incomplete record before it is looked at again: to the end of the line and as much as a
 * framer may look ahead. */
static size_t next_portion(const dp_capture_reader *reader, dp_slice bytes)
{
    const char *newline = memchr(bytes.data, '\n', bytes.length);
    size_t portion = newline == NULL ? bytes.length : (size_t)(newline - bytes.data) + 1 + LOOK_AHEAD_BYTES;
    if (reader->scan.needed_bytes > reader->pending.length) {
        size_t missing = reader->scan.needed_bytes - reader->pending.length;
        if (portion < missing) portion = missing;
    }
    return portion < bytes.length ? portion : bytes.length;
}

dp_status dp_capture_reader_feed(dp_capture_reader *reader, dp_slice bytes, dp_error *error)
{
    size_t used;
    while (reader->pending.length > 0 && bytes.length > 0) {
        size_t kept = reader->pending.length;
        size_t portion = next_portion(reader, bytes);
        dp_status status = keep(reader, (dp_slice){bytes.data, portion}, error);
        if (status == DP_STATUS_OK) {
            status = read_records(reader, dp_buffer_slice(&reader->pending), false, &used, error);
        }
        if (status != DP_STATUS_OK) return status;
        /* When nothing kept from before is left, what follows is read where it lies. */
        size_t taken = used >= kept ? used - kept : portion;
        if (used >= kept) used = reader->pending.length;
        dp_buffer_consume(&reader->pending, used);
        bytes = (dp_slice){bytes.data + taken, bytes.length - taken};
    }
    if (bytes.length == 0) return DP_STATUS_OK;
    dp_status status = read_records(reader, bytes, false, &used, error);
    if (status != DP_STATUS_OK) return status;
    return keep(reader, (dp_slice){bytes.data + used, bytes.length - used}, error);
}

dp_status dp_capture_reader_finish(dp_capture_reader *reader, dp_error *error)
{
    size_t used;
    return read_records(reader, dp_buffer_slice(&reader->pending), true, &used, error);
}
