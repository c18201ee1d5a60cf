/* What pg_recvlogical writes: each record as the plugin printed it, then a newline. */
#include "cdc/capture_internal.h"

/* More than the lsn and xid of a row take. */
enum { ROW_HEAD_BYTES = 64 };

/* How a record of test_decoding begins, the ones the decoder refuses included. */
static const dp_slice test_decoding_starts[] = {
    DP_SLICE_LITERAL("BEGIN"),
    DP_SLICE_LITERAL("table "),
    DP_SLICE_LITERAL("COMMIT"),
    DP_SLICE_LITERAL("message: transactional: "),
    DP_SLICE_LITERAL("PREPARE TRANSACTION "),
    DP_SLICE_LITERAL("ROLLBACK PREPARED "),
    DP_SLICE_LITERAL("opening a streamed block"),
    DP_SLICE_LITERAL("streaming "),
    DP_SLICE_LITERAL("closing a streamed block"),
    DP_SLICE_LITERAL("aborting streamed"),
    DP_SLICE_LITERAL("committing streamed"),
    DP_SLICE_LITERAL("preparing streamed"),
};

dp_answer dp_begins_test_decoding(dp_slice bytes, bool is_final)
{
    dp_answer answer = DP_ANSWER_NO;
    for (size_t i = 0; i < sizeof test_decoding_starts / sizeof test_decoding_starts[0]; i++) {
        dp_slice start = test_decoding_starts[i];
        if (dp_slice_starts_with(bytes, start)) return DP_ANSWER_YES;
        if (!is_final && bytes.length < start.length && dp_slice_starts_with(start, bytes)) {
            answer = DP_ANSWER_UNKNOWN;
        }
    }
    return answer;
}

static dp_answer begins_record(const dp_capture_reader *reader, dp_slice bytes, bool is_final)
{
    if (is_final && bytes.length == 0) return DP_ANSWER_YES;
    if (reader->form == DP_CAPTURE_FORM_RAW_TEST_DECODING) return dp_begins_test_decoding(bytes, is_final);
    return dp_begins_row(bytes, reader->separator, is_final);
}

static dp_frame_result refuse_message(const dp_capture_reader *reader, const dp_frame *frame, size_t at)
{
    dp_frame_fault(reader, frame, at, "the end of a logical message cannot be told from its content");
    dp_error_hint(frame->error,
                  "a message is printed without quotes; take the capture as rows of lsn, xid, data with "
                  "psql --csv or COPY, or read the slot with a plugin that quotes");
    return DP_FRAME_FAILED;
}

/* Rows from SQL may be cut at a zero byte, so a line inside a message that looks like a row may be one. A
 * stream of pg_recvlogical is never cut. */
static bool holds_row(const dp_capture_reader *reader, const dp_frame *frame, size_t from, size_t to,
                      size_t *at)
{
    if (reader->form == DP_CAPTURE_FORM_RAW_TEST_DECODING) return false;
    dp_slice bytes = frame->bytes;
    while (from < to) {
        const char *newline = memchr(bytes.data + from, '\n', to - from);
        if (newline == NULL) return false;
        from = (size_t)(newline - bytes.data) + 1;
        dp_slice line = {bytes.data + from, bytes.length - from};
        if (dp_begins_row(line, reader->separator, frame->is_final) == DP_ANSWER_YES) {
            *at = from;
            return true;
        }
    }
    return false;
}

/* Reads the size and " content:" behind ", sz: ". */
static dp_answer take_stated_size(const dp_frame *frame, size_t *at, size_t *size_bytes)
{
    static const dp_slice label = DP_SLICE_LITERAL(" content:");
    dp_slice rest = {frame->bytes.data + *at, frame->bytes.length - *at};
    size_t digits = 0;
    while (digits < rest.length && digits < 11 && rest.data[digits] >= '0' && rest.data[digits] <= '9') {
        digits++;
    }
    dp_slice after = {rest.data + digits, rest.length - digits};
    if (!frame->is_final && digits < 11 && after.length < label.length &&
        dp_slice_starts_with(label, after)) {
        return DP_ANSWER_UNKNOWN;
    }
    uint64_t size;
    if (!dp_slice_to_u64((dp_slice){rest.data, digits}, UINT32_MAX, &size)) return DP_ANSWER_NO;
    if (!dp_slice_starts_with(after, label)) return DP_ANSWER_NO;
    *at += digits + label.length;
    *size_bytes = (size_t)size;
    return DP_ANSWER_YES;
}

/* Whether the message ends at `end`: a newline and another record, or the end of the input. */
static dp_answer ends_message(dp_capture_reader *reader, const dp_frame *frame, size_t end)
{
    dp_slice bytes = frame->bytes;
    if (end < bytes.length && bytes.data[end] != '\n') return DP_ANSWER_NO;
    if (end < bytes.length) {
        dp_slice next = {bytes.data + end + 1, bytes.length - end - 1};
        return begins_record(reader, next, frame->is_final);
    }
    if (frame->is_final) return end == bytes.length ? DP_ANSWER_YES : DP_ANSWER_NO;
    reader->scan.needed_bytes = end + 1;
    return DP_ANSWER_UNKNOWN;
}

/* A message's prefix is not quoted either: each ", sz: " may be the one. It is when the content of the size
 * it states is followed by a newline and another record. The one who chooses a prefix can still imitate that;
 * the content cannot. */
static dp_frame_result frame_message(dp_capture_reader *reader, dp_frame *frame, size_t start, size_t *end)
{
    dp_slice bytes = frame->bytes;
    size_t at = reader->scan.at > start ? reader->scan.at : start;
    size_t row_at = 0;
    for (;;) {
        const char *label = memmem(bytes.data + at, bytes.length - at, ", sz: ", 6);
        size_t label_at = label == NULL ? bytes.length : (size_t)(label - bytes.data);
        size_t unchecked = at > start + ROW_HEAD_BYTES ? at - ROW_HEAD_BYTES : start;
        if (holds_row(reader, frame, unchecked, label_at, &row_at))
            return refuse_message(reader, frame, row_at);
        if (label == NULL) {
            if (frame->is_final) return refuse_message(reader, frame, start);
            reader->scan.at = bytes.length - start > 6 ? bytes.length - 6 : start;
            reader->scan.needed_bytes = bytes.length + (bytes.length - start) / 4;
            return DP_FRAME_MORE;
        }
        size_t size_bytes = 0;
        size_t content_at = label_at + 6;
        dp_answer answer = take_stated_size(frame, &content_at, &size_bytes);
        if (answer == DP_ANSWER_YES && size_bytes > reader->max_record_bytes) answer = DP_ANSWER_NO;
        if (answer == DP_ANSWER_YES) answer = ends_message(reader, frame, content_at + size_bytes);
        if (answer == DP_ANSWER_UNKNOWN) {
            reader->scan.at = label_at;
            return DP_FRAME_MORE;
        }
        if (answer == DP_ANSWER_YES) {
            *end = content_at + size_bytes;
            if (holds_row(reader, frame, start, *end, &row_at)) return refuse_message(reader, frame, row_at);
            return DP_FRAME_RECORD;
        }
        at = label_at + 1;
    }
}

/* The first quote or newline at or after `at`, or the length. */
static size_t find_quote_or_newline(dp_slice bytes, size_t at)
{
    while (at < bytes.length) {
        char c = bytes.data[at];
        if (c == '\'' || c == '"' || c == '\n') break;
        at++;
    }
    return at;
}

static dp_frame_result frame_quoted(dp_capture_reader *reader, dp_frame *frame, size_t start, size_t *end)
{
    dp_slice bytes = frame->bytes;
    dp_frame_scan *scan = &reader->scan;
    if (scan->at < start) scan->at = start;
    while (scan->at < bytes.length) {
        if (scan->quote != 0) {
            const char *close = memchr(bytes.data + scan->at, scan->quote, bytes.length - scan->at);
            if (close == NULL) {
                scan->at = bytes.length;
                break;
            }
            scan->at = (size_t)(close - bytes.data) + 1;
            scan->quote = 0; /* a doubled quote opens again at once */
            continue;
        }
        scan->at = find_quote_or_newline(bytes, scan->at);
        if (scan->at == bytes.length) break;
        if (bytes.data[scan->at] == '\n') {
            *end = scan->at;
            return DP_FRAME_RECORD;
        }
        scan->quote = bytes.data[scan->at++];
    }
    if (scan->quote != 0) return dp_frame_more(reader, frame, "the input ends inside quotes");
    if (!frame->is_final) return DP_FRAME_MORE;
    *end = bytes.length;
    return DP_FRAME_RECORD;
}

dp_frame_result dp_frame_test_decoding(dp_capture_reader *reader, dp_frame *frame, size_t start, size_t *end)
{
    static const dp_slice message = DP_SLICE_LITERAL("message: ");
    dp_slice rest = {frame->bytes.data + start, frame->bytes.length - start};
    if (dp_slice_starts_with(rest, message)) return frame_message(reader, frame, start, end);
    if (!frame->is_final && rest.length < message.length && dp_slice_starts_with(message, rest))
        return DP_FRAME_MORE;
    return frame_quoted(reader, frame, start, end);
}

/* Follows strings and brackets up to a newline that ends a document, or a piece of one that write-in-chunks
 * cut: outside of all brackets, or inside those of {"change":[ alone. A document may also be spread over
 * lines by pretty-print. */
static dp_frame_result frame_json_piece(dp_capture_reader *reader, dp_frame *frame, size_t *end)
{
    dp_slice bytes = frame->bytes;
    size_t at = reader->scan.at;
    for (; at < bytes.length; at++) {
        char c = bytes.data[at];
        if (reader->in_json_string) {
            if (reader->after_backslash) {
                reader->after_backslash = false;
            } else if (c == '\\') {
                reader->after_backslash = true;
            } else if (c == '"') {
                reader->in_json_string = false;
            } else if (c == '\n') {
                return dp_frame_fault(reader, frame, at, "a line ends inside a JSON string");
            }
            continue;
        }
        if (c == '"') reader->in_json_string = true;
        if (c == '{' || c == '[') reader->json_depth++;
        if ((c == '}' || c == ']') && reader->json_depth-- == 0) {
            return dp_frame_fault(reader, frame, at, "a bracket that closes nothing");
        }
        if (c == '\n' && (reader->json_depth == 0 || reader->json_depth == 2)) {
            *end = at;
            return DP_FRAME_RECORD;
        }
    }
    reader->scan.at = bytes.length;
    if (!frame->is_final) return DP_FRAME_MORE;
    *end = bytes.length;
    return DP_FRAME_RECORD;
}

static dp_frame_result frame_line(dp_capture_reader *reader, const dp_frame *frame, size_t *end)
{
    dp_slice bytes = frame->bytes;
    size_t at = reader->scan.at;
    const char *newline = at == bytes.length ? NULL : memchr(bytes.data + at, '\n', bytes.length - at);
    if (newline == NULL && !frame->is_final) {
        reader->scan.at = bytes.length;
        return DP_FRAME_MORE;
    }
    *end = newline == NULL ? bytes.length : (size_t)(newline - bytes.data);
    return DP_FRAME_RECORD;
}

dp_frame_result dp_frame_raw(dp_capture_reader *reader, dp_frame *frame)
{
    size_t end = 0;
    dp_frame_result result = reader->plugin == DP_PLUGIN_WAL2JSON_1 ? frame_json_piece(reader, frame, &end)
                             : reader->plugin == DP_PLUGIN_WAL2JSON_2
                                 ? frame_line(reader, frame, &end)
                                 : dp_frame_test_decoding(reader, frame, 0, &end);
    if (result != DP_FRAME_RECORD) return result;
    frame->record.data = (dp_slice){frame->bytes.data, end};
    frame->length_bytes = end < frame->bytes.length ? end + 1 : end;
    return DP_FRAME_RECORD;
}
