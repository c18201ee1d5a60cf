/* Rows of lsn, xid and data: what the SQL functions return, as psql or COPY writes it.
 *
 *   psql-unaligned  lsn SEP xid SEP data NEWLINE    data as it is, newlines included
 *   csv             lsn , xid , data (CR) NEWLINE   data in double quotes where needed (RFC 4180)
 *   copy-text       lsn TAB xid TAB data NEWLINE    \b \f \n \r \t \v \\ in data
 *
 * pgoutput's data is a bytea in hexadecimal, "\x...".
 */
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/hex.h"
#include "cdc/capture_internal.h"

enum { HEAD_MAX_BYTES = 64 }; /* lsn, xid and two separators take 30, with quotes 34 */

/* Takes a field of the head that ends with the separator; its length is 0 when it is no field. */
static dp_answer take_head_field(dp_slice head, char separator, bool is_final, size_t *at, dp_slice *field)
{
    bool is_quoted = *at < head.length && head.data[*at] == '"';
    size_t start = *at + (is_quoted ? 1 : 0);
    size_t end = start;
    while (end < head.length && head.data[end] != separator && head.data[end] != '"' &&
           head.data[end] != '\n') {
        end++;
    }
    size_t after = end + (is_quoted ? 1 : 0);
    if (after >= head.length)
        return is_final || head.length == HEAD_MAX_BYTES ? DP_ANSWER_NO : DP_ANSWER_UNKNOWN;
    if (is_quoted && (separator != ',' || head.data[end] != '"')) return DP_ANSWER_NO;
    if (head.data[after] != separator) return DP_ANSWER_NO;
    *field = (dp_slice){head.data + start, end - start};
    *at = after + 1;
    return DP_ANSWER_YES;
}

static dp_answer take_head(dp_slice bytes, char separator, bool is_final, dp_record *record, size_t *data_at)
{
    dp_slice head = {bytes.data, bytes.length < HEAD_MAX_BYTES ? bytes.length : HEAD_MAX_BYTES};
    dp_slice lsn;
    dp_slice xid;
    size_t at = 0;
    uint64_t xid_value;
    dp_answer answer = take_head_field(head, separator, is_final, &at, &lsn);
    if (answer != DP_ANSWER_YES) return answer;
    if (!dp_lsn_parse(lsn, &record->lsn)) return DP_ANSWER_NO;
    answer = take_head_field(head, separator, is_final, &at, &xid);
    if (answer != DP_ANSWER_YES) return answer;
    if (!dp_slice_to_u64(xid, UINT32_MAX, &xid_value)) return DP_ANSWER_NO;
    record->has_lsn = record->has_xid = true;
    record->xid = (uint32_t)xid_value;
    *data_at = at;
    return DP_ANSWER_YES;
}

dp_answer dp_begins_row(dp_slice bytes, char separator, bool is_final)
{
    dp_record record;
    size_t data_at;
    return take_head(bytes, separator, is_final, &record, &data_at);
}

static dp_frame_result refuse_head(const dp_capture_reader *reader, const dp_frame *frame)
{
    dp_frame_fault(reader, frame, 0, "expected a row of lsn, xid and data");
    if (frame->bytes.data[0] == '(') {
        dp_error_hint(frame->error, "this looks like psql's row count: use psql -At, or better --csv");
    } else if (reader->form == DP_CAPTURE_FORM_PSQL_UNALIGNED) {
        dp_error_hint(frame->error, "psql -At cannot quote: take the capture with --csv or COPY");
    } else {
        dp_error_hint(frame->error, "select lsn, xid, data, in this order, from the slot's function");
    }
    return DP_FRAME_FAILED;
}

/* The first line may be the names of the columns. */
static bool is_header(const dp_capture_reader *reader, const dp_frame *frame, size_t *length_bytes)
{
    char header[] = "lsn?xid?data";
    size_t length = sizeof header - 1;
    header[3] = header[7] = reader->separator;
    if (!reader->may_be_header) return false;
    if (!dp_slice_starts_with(frame->bytes, (dp_slice){header, length})) return false;
    size_t at = length;
    if (at < frame->bytes.length && frame->bytes.data[at] == '\r') at++;
    if (at == frame->bytes.length || frame->bytes.data[at] != '\n') return at == frame->bytes.length;
    *length_bytes = at + 1;
    return true;
}

/* pgoutput: "\x" and hexadecimal digits to bytes. */
static dp_frame_result decode_hex(dp_capture_reader *reader, dp_frame *frame, dp_slice text)
{
    size_t at = (size_t)(text.data - frame->bytes.data);
    if (!dp_slice_starts_with(text, DP_SLICE_LITERAL("\\x"))) {
        dp_frame_fault(reader, frame, at, "expected pgoutput's data in hexadecimal, as \\x4200...");
        dp_error_hint(frame->error, "read the slot with bytea_output = 'hex' and "
                                    "pg_logical_slot_peek_binary_changes(); other plugins print text");
        return DP_FRAME_FAILED;
    }
    dp_slice digits = {text.data + 2, text.length - 2};
    size_t fault_at;
    dp_buffer_clear(&reader->decoded);
    if (!dp_buffer_reserve(&reader->decoded, digits.length / 2 + 1)) {
        dp_error_no_memory(frame->error, "a record");
        return DP_FRAME_FAILED;
    }
    if (!dp_hex_decode(digits, (uint8_t *)reader->decoded.data, &fault_at)) {
        return dp_frame_fault(reader, frame, at + 2 + fault_at, "expected a hexadecimal digit");
    }
    frame->record.data = (dp_slice){reader->decoded.data, digits.length / 2};
    return DP_FRAME_RECORD;
}

static dp_frame_result set_data(dp_capture_reader *reader, dp_frame *frame, dp_slice text)
{
    if (reader->plugin == DP_PLUGIN_PGOUTPUT) return decode_hex(reader, frame, text);
    frame->record.data = text;
    return DP_FRAME_RECORD;
}

/* The newline that ends the line, or the end of final bytes. */
static dp_frame_result find_line_end(dp_capture_reader *reader, dp_frame *frame, size_t from, size_t *end)
{
    dp_slice bytes = frame->bytes;
    size_t at = reader->scan.at > from ? reader->scan.at : from;
    const char *newline = at == bytes.length ? NULL : memchr(bytes.data + at, '\n', bytes.length - at);
    if (newline == NULL && !frame->is_final) {
        reader->scan.at = bytes.length;
        return DP_FRAME_MORE;
    }
    *end = newline == NULL ? bytes.length : (size_t)(newline - bytes.data);
    frame->length_bytes = newline == NULL ? *end : *end + 1;
    frame->is_one_line = newline != NULL && reader->scan.at <= from;
    return DP_FRAME_RECORD;
}

/* wal2json format 1 may print over many lines (pretty-print): the row ends where the next one begins. No line
 * of JSON begins as a row does, and its strings hold no newlines. */
static dp_frame_result find_next_row(dp_capture_reader *reader, dp_frame *frame, size_t from, size_t *end)
{
    for (;;) {
        dp_frame_result result = find_line_end(reader, frame, from, end);
        if (result != DP_FRAME_RECORD || frame->length_bytes == *end) return result;
        size_t next = *end + 1;
        dp_slice line = {frame->bytes.data + next, frame->bytes.length - next};
        if (line.length == 0 && !frame->is_final) {
            reader->scan.at = *end;
            return DP_FRAME_MORE;
        }
        if (line.length == 0 || memchr("\t ,[]{}", line.data[0], 7) == NULL) return DP_FRAME_RECORD;
        reader->scan.at = next;
    }
}

static dp_frame_result frame_unaligned(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    size_t end = 0;
    dp_frame_result result = DP_FRAME_FAILED;
    switch (reader->plugin) {
    case DP_PLUGIN_PGOUTPUT:
    case DP_PLUGIN_WAL2JSON_2: result = find_line_end(reader, frame, data_at, &end); break;
    case DP_PLUGIN_WAL2JSON_1: result = find_next_row(reader, frame, data_at, &end); break;
    case DP_PLUGIN_TEST_DECODING: result = dp_frame_test_decoding(reader, frame, data_at, &end); break;
    }
    if (result != DP_FRAME_RECORD) return result;
    frame->length_bytes = end < frame->bytes.length ? end + 1 : end;
    return set_data(reader, frame, (dp_slice){frame->bytes.data + data_at, end - data_at});
}

/* Line ends are all LF or all CRLF. */
static dp_frame_result check_line_end(dp_capture_reader *reader, const dp_frame *frame, size_t at,
                                      bool is_crlf, dp_slice data)
{
    dp_line_end line_end = is_crlf ? DP_LINE_END_CRLF : DP_LINE_END_LF;
    if (reader->line_end == DP_LINE_END_UNKNOWN) reader->line_end = line_end;
    if (reader->line_end != line_end) {
        return dp_frame_fault(reader, frame, at,
                              "a line end of another kind than before: LF and CRLF are mixed");
    }
    if (is_crlf && data.length > 0 && memmem(data.data, data.length, "\r\n", 2) != NULL) {
        dp_frame_fault(reader, frame, at, "a value with CRLF in a file of CRLF lines: it may have been LF");
        dp_error_hint(frame->error, "take the capture again without a change of line ends");
        return DP_FRAME_FAILED;
    }
    return DP_FRAME_RECORD;
}

static dp_frame_result refuse_csv_text(const dp_capture_reader *reader, const dp_frame *frame, size_t at)
{
    dp_frame_fault(reader, frame, at, "a comma or quote in a CSV value without quotes");
    dp_error_hint(frame->error, "rows of psql -At -F , are read with --input-format psql-unaligned");
    return DP_FRAME_FAILED;
}

static dp_frame_result frame_csv_plain(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    size_t end;
    dp_frame_result result = find_line_end(reader, frame, data_at, &end);
    if (result != DP_FRAME_RECORD) return result;
    bool is_crlf = end > data_at && frame->bytes.data[end - 1] == '\r';
    dp_slice text = {frame->bytes.data + data_at, end - data_at - (is_crlf ? 1 : 0)};
    if (frame->length_bytes > end) {
        result = check_line_end(reader, frame, end, is_crlf, (dp_slice){"", 0});
        if (result != DP_FRAME_RECORD) return result;
    }
    if (reader->plugin == DP_PLUGIN_PGOUTPUT) return decode_hex(reader, frame, text);
    const char *comma = text.length == 0 ? NULL : memchr(text.data, ',', text.length);
    const char *quote = text.length == 0 ? NULL : memchr(text.data, '"', text.length);
    if (comma != NULL || quote != NULL) {
        const char *first = comma == NULL || (quote != NULL && quote < comma) ? quote : comma;
        return refuse_csv_text(reader, frame, (size_t)(first - frame->bytes.data));
    }
    frame->record.data = text;
    return DP_FRAME_RECORD;
}

/* The first quote in at least one and at most `length` bytes, or `length`. Quotes are close to each other in
 * JSON, where calling memchr for each costs more than looking. */
static size_t find_quote(const char *data, size_t length)
{
    size_t at = 0;
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"');
    for (; length - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(data + at));
        int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(block, quotes));
        if (mask != 0) return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < length && data[at] != '"') {
        at++;
    }
    return at;
}

#ifdef __SSE2__
/* Quotes are found 64 bytes at a time, a bit each: then the first of every pair has an odd number of quotes
 * up to and with itself, the second an even one, and no step waits for what the one before has loaded. */
enum { QUOTE_BLOCK_BYTES = 64 };

static inline uint64_t quotes_of_block(const char *data)
{
    const __m128i quotes = _mm_set1_epi8('"');
    uint64_t mask = 0;
    for (unsigned at = 0; at < QUOTE_BLOCK_BYTES; at += 16) {
        __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(data + at));
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(part, quotes)) << at;
    }
    return mask;
}

/* The bits of `mask` that are the first of a pair. */
static inline uint64_t firsts_of_pairs(uint64_t mask)
{
    uint64_t parity = mask;
    for (unsigned distance = 1; distance < 64; distance *= 2) {
        parity ^= parity << distance;
    }
    return mask & parity;
}

/* May write up to 15 bytes more. */
static inline void copy_span(char *to, const char *from, size_t length)
{
    for (size_t at = 0; at < length; at += 16) {
        _mm_storeu_si128((__m128i *)(void *)(to + at),
                         _mm_loadu_si128((const __m128i *)(const void *)(from + at)));
    }
}

/* Undoubles as much as can be read in blocks. What is written never overtakes what is read. */
static size_t undouble_blocks(dp_slice text, char **to)
{
    char *out = *to;
    size_t at = 0;
    while (text.length - at >= QUOTE_BLOCK_BYTES + 16) {
        const char *block = text.data + at;
        uint64_t quotes = quotes_of_block(block);
        uint64_t firsts = firsts_of_pairs(quotes);
        size_t from = 0;
        for (uint64_t seconds = quotes & ~firsts; seconds != 0; seconds &= seconds - 1) {
            size_t second = (size_t)__builtin_ctzll(seconds);
            copy_span(out, block + from, second - from);
            out += second - from;
            from = second + 1;
        }
        copy_span(out, block + from, QUOTE_BLOCK_BYTES - from);
        out += QUOTE_BLOCK_BYTES - from;
        at += QUOTE_BLOCK_BYTES + (firsts >> 63); /* the second of the last pair may lie behind */
    }
    *to = out;
    return at;
}
#endif

/* "" to ". */
static dp_frame_result undouble(dp_capture_reader *reader, const dp_frame *frame, dp_slice *text)
{
    dp_buffer_clear(&reader->decoded);
    if (!dp_buffer_reserve(&reader->decoded, text->length)) {
        dp_error_no_memory(frame->error, "a record");
        return DP_FRAME_FAILED;
    }
    size_t from = 0;
    char *to = reader->decoded.data;
#ifdef __SSE2__
    from = undouble_blocks(*text, &to);
#endif
    while (from < text->length) {
        size_t length = find_quote(text->data + from, text->length - from);
        bool has_quote = from + length < text->length;
        if (has_quote) length++;
        dp_copy_short(to, text->data + from, length);
        to += length;
        from += has_quote ? length + 1 : length;
    }
    *text = (dp_slice){reader->decoded.data, (size_t)(to - reader->decoded.data)};
    return DP_FRAME_RECORD;
}

/* How many bytes from `data` on are plain or doubled quotes, as far as that is seen in whole blocks. */
static size_t skip_doubled(const char *data, size_t length, bool *has_doubled)
{
    size_t at = 0;
#ifdef __SSE2__
    while (length - at > QUOTE_BLOCK_BYTES) {
        uint64_t quotes = quotes_of_block(data + at);
        uint64_t firsts = firsts_of_pairs(quotes);
        uint64_t next_is_quote = quotes >> 1 | (uint64_t)(data[at + QUOTE_BLOCK_BYTES] == '"') << 63;
        uint64_t alone = firsts & ~next_is_quote;
        if (alone != 0) {
            unsigned closing = (unsigned)__builtin_ctzll(alone);
            *has_doubled |= (firsts & (((uint64_t)1 << closing) - 1)) != 0;
            return at + closing;
        }
        *has_doubled |= quotes != 0;
        at += QUOTE_BLOCK_BYTES + (firsts >> 63);
    }
#endif
    (void)data;
    (void)length;
    (void)has_doubled;
    return at;
}

/* Finds the closing quote; scan continues behind the last one that was doubled. */
static dp_frame_result find_csv_quote(dp_capture_reader *reader, const dp_frame *frame, size_t from,
                                      size_t *close)
{
    dp_slice bytes = frame->bytes;
    dp_frame_scan *scan = &reader->scan;
    if (scan->at < from) scan->at = from;
    scan->at += skip_doubled(bytes.data + scan->at, bytes.length - scan->at, &scan->has_doubled);
    for (;;) {
        scan->at += find_quote(bytes.data + scan->at, bytes.length - scan->at);
        if (scan->at == bytes.length) return dp_frame_more(reader, frame, "the input ends inside quotes");
        *close = scan->at;
        if (*close + 1 == bytes.length) return frame->is_final ? DP_FRAME_RECORD : DP_FRAME_MORE;
        if (bytes.data[*close + 1] != '"') return DP_FRAME_RECORD;
        scan->has_doubled = true;
        scan->at = *close + 2;
    }
}

static dp_frame_result frame_csv_quoted(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    dp_slice bytes = frame->bytes;
    size_t close = 0;
    dp_frame_result result = find_csv_quote(reader, frame, data_at + 1, &close);
    if (result != DP_FRAME_RECORD) return result;
    size_t after = close + 1;
    bool is_crlf = after < bytes.length && bytes.data[after] == '\r';
    if (is_crlf) after++;
    dp_slice text = {bytes.data + data_at + 1, close - data_at - 1};
    if (after < bytes.length) {
        if (bytes.data[after] != '\n') {
            return dp_frame_fault(reader, frame, after, "expected the end of the row after a quoted value");
        }
        result = check_line_end(reader, frame, after, is_crlf, text);
        if (result != DP_FRAME_RECORD) return result;
        after++;
    } else if (!frame->is_final) {
        return DP_FRAME_MORE;
    }
    frame->length_bytes = after;
    if (reader->plugin == DP_PLUGIN_PGOUTPUT) return decode_hex(reader, frame, text);
    if (reader->scan.has_doubled && undouble(reader, frame, &text) != DP_FRAME_RECORD) return DP_FRAME_FAILED;
    frame->record.data = text;
    return DP_FRAME_RECORD;
}

static dp_frame_result frame_csv(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    if (data_at == frame->bytes.length && !frame->is_final) return DP_FRAME_MORE;
    bool is_quoted = data_at < frame->bytes.length && frame->bytes.data[data_at] == '"';
    return is_quoted ? frame_csv_quoted(reader, frame, data_at) : frame_csv_plain(reader, frame, data_at);
}

/* The character a COPY escape stands for, or 0. COPY TO writes no others. */
static char copy_escape(char letter)
{
    switch (letter) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    case '\\': return '\\';
    default: return 0;
    }
}

/* The first tab, carriage return or backslash, or `length`. */
static size_t find_copy_special(const char *data, size_t length)
{
    size_t at = 0;
#ifdef __SSE2__
    for (; length - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(data + at));
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('\t')),
                                     _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('\r')),
                                                  _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))));
        int mask = _mm_movemask_epi8(found);
        if (mask != 0) return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (at < length && data[at] != '\t' && data[at] != '\r' && data[at] != '\\') {
        at++;
    }
    return at;
}

/* Whether the text can be COPY's: no raw tab or carriage return, known escapes only; else *fault_at is where
 * not. */
static bool is_copy_text(dp_slice text, bool *has_escapes, size_t *fault_at)
{
    size_t at = 0;
    *has_escapes = false;
    while ((at += find_copy_special(text.data + at, text.length - at)) < text.length) {
        *fault_at = at;
        bool is_escape = text.data[at] == '\\' && at + 1 < text.length && copy_escape(text.data[at + 1]) != 0;
        if (!is_escape) return false;
        *has_escapes = true;
        at += 2;
    }
    return true;
}

static dp_frame_result unescape_copy(dp_capture_reader *reader, const dp_frame *frame, dp_slice *text)
{
    dp_buffer_clear(&reader->decoded);
    if (!dp_buffer_reserve(&reader->decoded, text->length)) {
        dp_error_no_memory(frame->error, "a record");
        return DP_FRAME_FAILED;
    }
    const char *from = text->data;
    const char *end = text->data + text->length;
    char *to = reader->decoded.data;
    while (from < end) {
        const char *backslash = memchr(from, '\\', (size_t)(end - from));
        size_t length = backslash == NULL ? (size_t)(end - from) : (size_t)(backslash - from);
        memcpy(to, from, length);
        to += length;
        from += length;
        if (from < end) {
            *to++ = copy_escape(from[1]);
            from += 2;
        }
    }
    *text = (dp_slice){reader->decoded.data, (size_t)(to - reader->decoded.data)};
    return DP_FRAME_RECORD;
}

static dp_frame_result frame_copy_text(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    size_t end;
    dp_frame_result result = find_line_end(reader, frame, data_at, &end);
    if (result != DP_FRAME_RECORD) return result;
    dp_slice text = {frame->bytes.data + data_at, end - data_at};
    if (reader->plugin == DP_PLUGIN_PGOUTPUT) {
        /* The one escape there is: the backslash of "\x" is doubled. */
        bool is_doubled = dp_slice_starts_with(text, DP_SLICE_LITERAL("\\\\x"));
        return decode_hex(reader, frame,
                          is_doubled ? (dp_slice){text.data + 1, text.length - 1} : (dp_slice){text.data, 0});
    }
    bool has_escapes;
    size_t fault_at;
    if (!is_copy_text(text, &has_escapes, &fault_at)) {
        dp_frame_fault(reader, frame, data_at + fault_at, "a byte or escape that COPY does not write");
        dp_error_hint(frame->error, "rows of psql -At with tabs are read with --input-format psql-unaligned");
        return DP_FRAME_FAILED;
    }
    if (has_escapes && unescape_copy(reader, frame, &text) != DP_FRAME_RECORD) return DP_FRAME_FAILED;
    frame->record.data = text;
    return DP_FRAME_RECORD;
}

/* Whether a message's line holds just the content whose size it states. */
static bool is_whole_message(dp_slice text)
{
    static const dp_slice size_label = DP_SLICE_LITERAL(", sz: ");
    static const dp_slice content_label = DP_SLICE_LITERAL(" content:");
    const char *label =
        text.length == 0 ? NULL : memmem(text.data, text.length, size_label.data, size_label.length);
    while (label != NULL) {
        dp_slice rest = {label + size_label.length,
                         (size_t)(text.data + text.length - label) - size_label.length};
        const char *content = memmem(rest.data, rest.length, content_label.data, content_label.length);
        uint64_t size_bytes;
        if (content == NULL) return false;
        dp_slice digits = {rest.data, (size_t)(content - rest.data)};
        if (dp_slice_to_u64(digits, UINT32_MAX, &size_bytes) &&
            rest.length - digits.length - content_label.length == size_bytes) {
            return true;
        }
        label = memmem(rest.data, rest.length, size_label.data, size_label.length);
    }
    return false;
}

static dp_frame_result decide(dp_capture_reader *reader, dp_capture_form form)
{
    reader->form = form;
    reader->is_undecided_tab = false;
    return DP_FRAME_RECORD;
}

static dp_frame_result decide_tab_by_message(dp_capture_reader *reader, const dp_frame *frame, dp_slice text)
{
    size_t ignored;
    bool has_escapes;
    bool has_backslash = memchr(text.data, '\\', text.length) != NULL;
    bool is_whole = is_whole_message(text);
    if (is_whole && !has_backslash) return DP_FRAME_RECORD;
    if (has_backslash && is_copy_text(text, &has_escapes, &ignored)) {
        dp_slice copied = text;
        if (unescape_copy(reader, frame, &copied) != DP_FRAME_RECORD) return DP_FRAME_FAILED;
        if (is_whole_message(copied)) return decide(reader, DP_CAPTURE_FORM_COPY_TEXT);
    }
    if (is_whole) return decide(reader, DP_CAPTURE_FORM_PSQL_UNALIGNED);
    dp_frame_fault(reader, frame, 0,
                   "rows separated by tabs that may be COPY's or psql's: a message tells them apart");
    dp_error_hint(frame->error, "say --input-format copy-text, or psql-unaligned");
    return DP_FRAME_FAILED;
}

/* Tabs separate both COPY's columns and psql's, if asked to. The two read differently only where a line has a
 * backslash or is cut by a raw newline: then it is COPY's if it can be. */
static dp_frame_result decide_tab(dp_capture_reader *reader, dp_frame *frame, size_t data_at)
{
    size_t end;
    size_t ignored;
    dp_frame_result result = find_line_end(reader, frame, data_at, &end);
    if (result != DP_FRAME_RECORD) return result;
    dp_slice text = {frame->bytes.data + data_at, end - data_at};
    reader->scan = (dp_frame_scan){.at = 0};
    frame->is_one_line = false; /* the form decides, which is not known yet */
    if (dp_slice_starts_with(text, DP_SLICE_LITERAL("message: ")))
        return decide_tab_by_message(reader, frame, text);
    if (reader->plugin == DP_PLUGIN_TEST_DECODING) {
        dp_error unused = DP_ERROR_INIT;
        dp_frame line = {.bytes = {frame->bytes.data, end}, .is_final = true, .error = &unused};
        bool is_cut = dp_frame_test_decoding(reader, &line, data_at, &ignored) != DP_FRAME_RECORD;
        reader->scan = (dp_frame_scan){.at = 0};
        if (is_cut) return decide(reader, DP_CAPTURE_FORM_PSQL_UNALIGNED);
    }
    /* The first line of a document that pretty-print spread over many. */
    bool is_open = text.length > 0 && text.data[text.length - 1] == '{';
    if (reader->plugin == DP_PLUGIN_WAL2JSON_1 && is_open)
        return decide(reader, DP_CAPTURE_FORM_PSQL_UNALIGNED);
    bool has_escapes;
    if (!is_copy_text(text, &has_escapes, &ignored)) return decide(reader, DP_CAPTURE_FORM_PSQL_UNALIGNED);
    return has_escapes ? decide(reader, DP_CAPTURE_FORM_COPY_TEXT) : DP_FRAME_RECORD;
}

/* COPY's end marker, which psql writes nowhere but scripts do. */
static bool is_end_marker(const dp_capture_reader *reader, const dp_frame *frame)
{
    if (reader->form != DP_CAPTURE_FORM_COPY_TEXT) return false;
    return (frame->is_final && dp_slice_equal(frame->bytes, DP_SLICE_LITERAL("\\."))) ||
           dp_slice_starts_with(frame->bytes, DP_SLICE_LITERAL("\\.\n"));
}

dp_frame_result dp_frame_row(dp_capture_reader *reader, dp_frame *frame)
{
    size_t data_at = 0;
    if (is_header(reader, frame, &frame->length_bytes)) {
        if (frame->length_bytes > 0) return DP_FRAME_SKIP;
        frame->length_bytes = frame->bytes.length;
        return frame->is_final ? DP_FRAME_SKIP : DP_FRAME_MORE;
    }
    dp_answer answer = take_head(frame->bytes, reader->separator, frame->is_final, &frame->record, &data_at);
    if (answer == DP_ANSWER_NO && is_end_marker(reader, frame)) {
        reader->has_ended = true;
        frame->length_bytes = frame->bytes.length == 2 ? 2 : 3;
        return DP_FRAME_SKIP;
    }
    if (answer == DP_ANSWER_NO) return refuse_head(reader, frame);
    if (answer == DP_ANSWER_UNKNOWN) return DP_FRAME_MORE;
    if (reader->is_undecided_tab) {
        dp_frame_result result = decide_tab(reader, frame, data_at);
        if (result != DP_FRAME_RECORD) return result;
    }
    switch (reader->form) {
    case DP_CAPTURE_FORM_PSQL_UNALIGNED: return frame_unaligned(reader, frame, data_at);
    case DP_CAPTURE_FORM_CSV: return frame_csv(reader, frame, data_at);
    case DP_CAPTURE_FORM_COPY_TEXT: return frame_copy_text(reader, frame, data_at);
    case DP_CAPTURE_FORM_RAW_TEST_DECODING:
    case DP_CAPTURE_FORM_RAW_WAL2JSON: break;
    }
    return DP_FRAME_FAILED;
}
