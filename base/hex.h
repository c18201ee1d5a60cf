/* Hexadecimal text, lower case on output, either case on input. */
#ifndef DPONE_BASE_HEX_H
#define DPONE_BASE_HEX_H

#include "base/slice.h"

/* Writes 2 * length characters, no terminator. */
void dp_hex_encode(const uint8_t *bytes, size_t length, char *out);

/* Decodes hex.length / 2 bytes. False when the length is odd or a character is not hexadecimal;
 * *fault_at (may be null) is then the offset of the fault. */
bool dp_hex_decode(dp_slice hex, uint8_t *out, size_t *fault_at);

/* As dp_hex_decode, lower case only. */
bool dp_hex_decode_lower(dp_slice hex, uint8_t *out);

#endif
