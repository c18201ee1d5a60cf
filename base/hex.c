#include "base/hex.h"

#ifdef __SSE2__
#include <emmintrin.h>

/* Sixteen bytes to 32 characters: each nibble plus '0', and 39 more from 10 on. */
static void encode_16(const uint8_t *bytes, char *out)
{
    const __m128i low_nibbles = _mm_set1_epi8(0x0F);
    __m128i in = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    __m128i high = _mm_and_si128(_mm_srli_epi16(in, 4), low_nibbles);
    __m128i low = _mm_and_si128(in, low_nibbles);
    for (int half = 0; half < 2; half++) {
        __m128i nibbles = half == 0 ? _mm_unpacklo_epi8(high, low) : _mm_unpackhi_epi8(high, low);
        __m128i letters =
            _mm_and_si128(_mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
        __m128i text = _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')), letters);
        _mm_storeu_si128((__m128i *)(void *)(out + 16 * half), text);
    }
}

/* Sixteen characters to eight bytes; false when one is no hexadecimal digit. `fold` is 0x20 where letters may
 * be of either case, or 0. */
static inline bool decode_16(const uint8_t *text, char fold, uint8_t *out)
{
    __m128i in = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i digits = _mm_sub_epi8(in, _mm_set1_epi8('0'));
    __m128i letters = _mm_sub_epi8(_mm_or_si128(in, _mm_set1_epi8(fold)), _mm_set1_epi8('a'));
    __m128i are_digits = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
    __m128i are_letters = _mm_cmpeq_epi8(_mm_min_epu8(letters, _mm_set1_epi8(5)), letters);
    if (_mm_movemask_epi8(_mm_or_si128(are_digits, are_letters)) != 0xFFFF) return false;
    __m128i from_letters = _mm_and_si128(are_letters, _mm_add_epi8(letters, _mm_set1_epi8(10)));
    __m128i nibbles = _mm_or_si128(_mm_and_si128(are_digits, digits), from_letters);
    /* A lane of 16 bits holds the high nibble below the low one. */
    __m128i bytes = _mm_or_si128(_mm_slli_epi16(nibbles, 4), _mm_srli_epi16(nibbles, 8));
    bytes = _mm_and_si128(bytes, _mm_set1_epi16(0xFF));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(bytes, bytes));
    return true;
}
#endif

void dp_hex_encode(const uint8_t *bytes, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t i = 0;
#ifdef __SSE2__
    for (; length - i >= 16; i += 16) {
        encode_16(bytes + i, out + 2 * i);
    }
#endif
    for (; i < length; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

#define BAD 0xFF

/* The value of each character, BAD where it is no hexadecimal digit. */
static const uint8_t nibble_values[256] = {
    [0 ... 255] = BAD, ['0'] = 0,  ['1'] = 1,  ['2'] = 2,  ['3'] = 3,  ['4'] = 4,  ['5'] = 5,  ['6'] = 6,
    ['7'] = 7,         ['8'] = 8,  ['9'] = 9,  ['a'] = 10, ['b'] = 11, ['c'] = 12, ['d'] = 13, ['e'] = 14,
    ['f'] = 15,        ['A'] = 10, ['B'] = 11, ['C'] = 12, ['D'] = 13, ['E'] = 14, ['F'] = 15,
};

static inline uint8_t nibble_of(uint8_t character, bool takes_upper)
{
    bool is_upper = character >= 'A' && character <= 'F';
    return is_upper && !takes_upper ? BAD : nibble_values[character];
}

static inline bool decode(dp_slice hex, bool takes_upper, uint8_t *out, size_t *fault_at)
{
    const uint8_t *text = (const uint8_t *)hex.data;
    size_t i = 0;
#ifdef __SSE2__
    while (hex.length - i >= 16 && decode_16(text + i, takes_upper ? 0x20 : 0, out + i / 2)) {
        i += 16;
    }
#endif
    for (; i + 1 < hex.length; i += 2) {
        uint8_t high = nibble_of(text[i], takes_upper);
        uint8_t low = nibble_of(text[i + 1], takes_upper);
        if ((high | low) > 15) {
            *fault_at = high > 15 ? i : i + 1;
            return false;
        }
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *fault_at = hex.length;
    return hex.length % 2 == 0;
}

bool dp_hex_decode(dp_slice hex, uint8_t *out, size_t *fault_at)
{
    size_t at;
    if (decode(hex, true, out, &at)) return true;
    if (fault_at != NULL) *fault_at = at;
    return false;
}

bool dp_hex_decode_lower(dp_slice hex, uint8_t *out)
{
    size_t ignored;
    return decode(hex, false, out, &ignored);
}
