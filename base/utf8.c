#include "base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The length of the valid sequence at `bytes`, or 0. RFC 3629 section 4 gives the ranges. */
static size_t sequence_length(const uint8_t *bytes, size_t left)
{
    uint8_t first = bytes[0];
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (left < length) return 0;
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (bytes[1] < low || bytes[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80) return 0;
    }
    return length;
}

bool dp_utf8_valid(dp_slice text, size_t *fault_at)
{
    const uint8_t *bytes = (const uint8_t *)text.data;
    size_t at = 0;
    while (at < text.length) {
        /* Nearly all text is ASCII: it is passed over in large steps. */
#ifdef __SSE2__
        while (text.length - at >= 16) {
            if (_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(bytes + at))) != 0) break;
            at += 16;
        }
#endif
        while (text.length - at >= 8) {
            uint64_t word;
            memcpy(&word, bytes + at, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) != 0) break;
            at += 8;
        }
        if (at == text.length) break;
        size_t length = sequence_length(bytes + at, text.length - at);
        if (length == 0) {
            if (fault_at != NULL) *fault_at = at;
            return false;
        }
        at += length;
    }
    return true;
}

size_t dp_utf8_encode(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

bool dp_utf8_is_plain(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte < 0x20 || byte == 0x7F) return false;
    }
    return dp_utf8_valid(text, NULL);
}

/* How many bytes at `text` end a line or steer a terminal: C0, DEL, C1 (U+0080 to U+009F), and the two
 * Unicode line separators (U+2028, U+2029). */
static size_t control_length(const unsigned char *text, size_t left)
{
    if (text[0] < 0x20 || text[0] == 0x7F) return 1;
    if (left >= 2 && text[0] == 0xC2 && text[1] < 0xA0) return 2;
    if (left >= 3 && text[0] == 0xE2 && text[1] == 0x80 && (text[2] == 0xA8 || text[2] == 0xA9)) return 3;
    return 0;
}

void dp_utf8_make_printable(char *text, size_t length)
{
    size_t fault_at;
    for (size_t at = 0; !dp_utf8_valid((dp_slice){text + at, length - at}, &fault_at);) {
        at += fault_at;
        text[at] = '?';
    }
    for (size_t at = 0; at < length;) {
        size_t control = control_length((const unsigned char *)text + at, length - at);
        memset(text + at, '?', control);
        at += control == 0 ? 1 : control;
    }
}
