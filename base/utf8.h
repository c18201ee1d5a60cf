/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef DPONE_BASE_UTF8_H
#define DPONE_BASE_UTF8_H

#include "base/slice.h"

/* Whether the whole text is valid. On false, *fault_at (may be null) is the offset of the first bad byte. */
bool dp_utf8_valid(dp_slice text, size_t *fault_at);

/* Whether the text is valid and without ASCII's control characters, as a name must be. */
bool dp_utf8_is_plain(dp_slice text);

/* Writes a code point (not a surrogate, at most U+10FFFF) as 1 to 4 bytes; returns how many. */
size_t dp_utf8_encode(uint32_t code_point, char out[4]);

/* Replaces by '?' what is not UTF-8 and what would end a line or steer a terminal, so that nobody can forge a
 * line of text that people read. */
void dp_utf8_make_printable(char *text, size_t length);

#endif
