#include "base/hex.h"

void dp_hex_encode(const uint8_t *bytes, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
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

bool dp_hex_decode(dp_slice hex, uint8_t *out, size_t *fault_at)
{
    const uint8_t *text = (const uint8_t *)hex.data;
    for (size_t i = 0; i + 1 < hex.length; i += 2) {
        uint8_t high = nibble_values[text[i]];
        uint8_t low = nibble_values[text[i + 1]];
        if ((high | low) > 15) {
            if (fault_at != NULL) *fault_at = high > 15 ? i : i + 1;
            return false;
        }
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    if (hex.length % 2 != 0) {
        if (fault_at != NULL) *fault_at = hex.length;
        return false;
    }
    return true;
}
