#include "base/json_writer.h"

#include "base/clock.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* 0: goes out as it is; 1: \u00xx; otherwise the letter of the short escape. */
static const char escapes[256] = {
    [0x00 ... 0x1F] = 1, ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n',
    ['\r'] = 'r',        ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\',
};

static size_t put_escape(char *out, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    char escape = escapes[byte];
    out[0] = '\\';
    if (escape != 1) {
        out[1] = escape;
        return 2;
    }
    out[1] = 'u';
    out[2] = out[3] = '0';
    out[4] = digits[byte >> 4];
    out[5] = digits[byte & 15];
    return 6;
}

#define ONES UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

/* High bit set in each byte of `word` that is zero; exact for the lowest such byte, which is all that is
 * asked. */
static inline uint64_t zero_bytes(uint64_t word)
{
    return (word - ONES) & ~word & HIGH;
}

/* Whether any of eight bytes needs an escape: below 0x20, '"' or '\'. */
static inline bool needs_escape(uint64_t word)
{
    uint64_t below_space = (word - ONES * 0x20) & ~word & HIGH;
    return (below_space | zero_bytes(word ^ (ONES * '"')) | zero_bytes(word ^ (ONES * '\\'))) != 0;
}

#ifdef __SSE2__
/* Copies sixteen bytes; false when one of them needs an escape. */
static inline bool copy_16(char *to, const unsigned char *from)
{
    __m128i in = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i stops = _mm_cmpeq_epi8(_mm_min_epu8(in, _mm_set1_epi8(0x1F)), in);
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(in, _mm_set1_epi8('"')));
    stops = _mm_or_si128(stops, _mm_cmpeq_epi8(in, _mm_set1_epi8('\\')));
    if (_mm_movemask_epi8(stops) != 0) return false;
    _mm_storeu_si128((__m128i *)(void *)to, in);
    return true;
}
#endif

static size_t escaped_length(const unsigned char *text, size_t length)
{
    size_t escaped = 0;
    for (size_t i = 0; i < length; i++) {
        char escape = escapes[text[i]];
        escaped += escape == 0 ? 1 : escape == 1 ? 6 : 2;
    }
    return escaped;
}

/* Writes the escaped text at `to`, which has room for it; returns the end. */
static char *put_piece(char *to, const unsigned char *from, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint64_t word;
#ifdef __SSE2__
        while (length - i >= 16 && copy_16(to, from + i)) {
            to += 16;
            i += 16;
        }
#endif
        while (length - i >= 8) {
            memcpy(&word, from + i, 8);
            if (needs_escape(word)) break;
            memcpy(to, &word, 8);
            to += 8;
            i += 8;
        }
        size_t stop = length - i < 8 ? length : i + 8;
        for (; i < stop; i++) {
            if (escapes[from[i]] == 0) {
                *to++ = (char)from[i];
            } else {
                to += put_escape(to, from[i]);
            }
        }
    }
    return to;
}

void dp_json_put_escaped(dp_buffer *out, dp_slice text)
{
    /* Room for the worst case at once keeps the loop free of checks; long texts go in pieces so that the
     * worst case does not ask for six times their size; near the maximum the exact need decides. */
    enum { PIECE = 4096 };
    for (size_t start = 0; start < text.length; start += PIECE) {
        size_t piece = text.length - start < PIECE ? text.length - start : PIECE;
        const unsigned char *from = (const unsigned char *)text.data + start;
        bool worst_case_fits = piece * 6 <= out->max_bytes - out->length;
        if (!dp_buffer_reserve(out, worst_case_fits ? piece * 6 : escaped_length(from, piece))) return;
        out->length = (size_t)(put_piece(out->data + out->length, from, piece) - out->data);
    }
}

void dp_json_put_string(dp_buffer *out, dp_slice text)
{
    dp_buffer_append_byte(out, '"');
    dp_json_put_escaped(out, text);
    dp_buffer_append_byte(out, '"');
}

static void new_line(dp_json_writer *writer)
{
    if (!writer->pretty) return;
    dp_buffer_append_byte(writer->out, '\n');
    for (unsigned level = 0; level < writer->depth; level++) {
        dp_buffer_append(writer->out, "  ", 2);
    }
}

static void before_value(dp_json_writer *writer)
{
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (writer->depth == 0) return;
    if (writer->has_member[writer->depth]) dp_buffer_append_byte(writer->out, ',');
    writer->has_member[writer->depth] = true;
    new_line(writer);
}

static void begin(dp_json_writer *writer, char bracket)
{
    before_value(writer);
    dp_buffer_append_byte(writer->out, bracket);
    if (writer->depth == DP_JSON_WRITER_MAX_DEPTH) {
        writer->out->failed = true;
        return;
    }
    writer->depth++;
    writer->has_member[writer->depth] = false;
}

static void end(dp_json_writer *writer, char bracket)
{
    if (writer->depth == 0) { /* more ends than begins, or past the maximum depth */
        writer->out->failed = true;
        return;
    }
    bool had_members = writer->has_member[writer->depth];
    writer->depth--;
    if (had_members) new_line(writer);
    dp_buffer_append_byte(writer->out, bracket);
}

void dp_json_begin_object(dp_json_writer *writer)
{
    begin(writer, '{');
}

void dp_json_end_object(dp_json_writer *writer)
{
    end(writer, '}');
}

void dp_json_begin_array(dp_json_writer *writer)
{
    begin(writer, '[');
}

void dp_json_end_array(dp_json_writer *writer)
{
    end(writer, ']');
}

void dp_json_key(dp_json_writer *writer, const char *key)
{
    before_value(writer);
    dp_json_put_string(writer->out, dp_slice_of_text(key));
    dp_buffer_append_byte(writer->out, ':');
    if (writer->pretty) dp_buffer_append_byte(writer->out, ' ');
    writer->after_key = true;
}

void dp_json_string(dp_json_writer *writer, dp_slice text)
{
    before_value(writer);
    dp_json_put_string(writer->out, text);
}

void dp_json_text(dp_json_writer *writer, const char *text_or_null)
{
    if (text_or_null == NULL) {
        dp_json_null(writer);
    } else {
        dp_json_string(writer, dp_slice_of_text(text_or_null));
    }
}

void dp_json_u64(dp_json_writer *writer, uint64_t value)
{
    before_value(writer);
    dp_buffer_append_u64(writer->out, value);
}

void dp_json_i64(dp_json_writer *writer, int64_t value)
{
    before_value(writer);
    dp_buffer_append_i64(writer->out, value);
}

void dp_json_bool(dp_json_writer *writer, bool value)
{
    before_value(writer);
    dp_buffer_append_text(writer->out, value ? "true" : "false");
}

void dp_json_null(dp_json_writer *writer)
{
    before_value(writer);
    dp_buffer_append_text(writer->out, "null");
}

void dp_json_raw(dp_json_writer *writer, dp_slice json)
{
    before_value(writer);
    dp_buffer_append_slice(writer->out, json);
}

void dp_json_member_text(dp_json_writer *writer, const char *key, const char *text_or_null)
{
    dp_json_key(writer, key);
    dp_json_text(writer, text_or_null);
}

void dp_json_member_slice(dp_json_writer *writer, const char *key, dp_slice text)
{
    dp_json_key(writer, key);
    if (text.data == NULL) {
        dp_json_null(writer);
    } else {
        dp_json_string(writer, text);
    }
}

void dp_json_member_u64(dp_json_writer *writer, const char *key, uint64_t value)
{
    dp_json_key(writer, key);
    dp_json_u64(writer, value);
}

void dp_json_member_bool(dp_json_writer *writer, const char *key, bool value)
{
    dp_json_key(writer, key);
    dp_json_bool(writer, value);
}

void dp_json_member_time(dp_json_writer *writer, const char *key, int64_t wall_us)
{
    char text[DP_CLOCK_TEXT_BYTES];
    dp_clock_format_utc(wall_us, text);
    dp_json_member_text(writer, key, wall_us == 0 ? NULL : text);
}
