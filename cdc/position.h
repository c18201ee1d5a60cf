/* Positions of a stream as values that sort: what a backend's position text says, in ten bytes, big-endian.
 *
 * The order of the bytes is the order of the stream, so a database can sort and compare them as they are.
 * Pure values: no allocation, nothing owned, safe from any thread.
 *
 *   postgres_logical        "X/X", 1 to 8 hexadecimal digits on each side
 *   mssql_cdc               "0x" and 1 to 20 hexadecimal digits
 *   mssql_change_tracking   a decimal version from 0 to 2^63-1
 */
#ifndef DPONE_CDC_POSITION_H
#define DPONE_CDC_POSITION_H

#include "cdc/change.h"

#define DP_POSITION_BYTES      10
#define DP_POSITION_TEXT_BYTES 24 /* the longest text and a NUL */

typedef struct dp_position {
    uint8_t bytes[DP_POSITION_BYTES];
} dp_position;

/* False, and *position untouched, when the text is none of the backend's. */
bool dp_position_parse(dp_backend backend, dp_slice text, dp_position *position);

/* Writes the one text all spellings of the position share (upper-case digits, no leading zeros; "0x" and 20
 * digits for mssql_cdc) and a NUL; returns the length. */
size_t dp_position_format(dp_backend backend, dp_position position, char out[DP_POSITION_TEXT_BYTES]);

static inline int dp_position_compare(dp_position left, dp_position right)
{
    return memcmp(left.bytes, right.bytes, DP_POSITION_BYTES);
}

/* The form a position of the backend has, for messages. */
const char *dp_position_expected_form(dp_backend backend);

#endif
