/* Offsets: where reading resumes, as a token of one backend, compared by value and never as text.
 *
 * An offset is a plain value: copy it freely, nothing is owned. A dp_offset that did not come from one of the
 * functions below has no value to compare. Pure: no I/O, no clock, no allocation; safe from any thread.
 *
 * The forms of tokens are those of positions (cdc/position.h).
 */
#ifndef DPONE_REPLAY_OFFSET_TOKEN_H
#define DPONE_REPLAY_OFFSET_TOKEN_H

#include "base/error.h"
#include "base/slice.h"
#include "cdc/position.h"

#define DP_OFFSET_TOKEN_BYTES 32 /* the longest token and a NUL */

typedef struct dp_offset {
    dp_backend backend;
    char token[DP_OFFSET_TOKEN_BYTES]; /* as it was written, terminated */
    bool snapshot_complete;
    dp_position position; /* what the token says; compare with dp_offset_compare */
} dp_offset;

/* Reads a token of `backend`, with snapshot_complete true. False, and *offset untouched, when it is none. */
bool dp_offset_of_token(dp_backend backend, dp_slice token, dp_offset *offset);

/* Reads "token" or "backend:token" as the value of a command-line option; without a prefix the token belongs
 * to `backend`. USAGE names the option, the text and the expected form. */
dp_status dp_offset_parse(dp_slice text, dp_backend backend, const char *option_name, dp_offset *offset,
                          dp_error *error);

/* The offset at a position, in canonical text. */
dp_offset dp_offset_of_position(dp_backend backend, dp_position position);
dp_offset dp_offset_of_lsn(dp_lsn position);

/* The position of a postgres_logical offset; false for another backend. */
bool dp_offset_lsn(const dp_offset *offset, dp_lsn *position);

/* Less than, equal to or greater than 0. Both MUST be of the same backend: positions of two backends have no
 * order. */
int dp_offset_compare(const dp_offset *left, const dp_offset *right);

/* The one text that every token of the same value shares: "1A/B" without leading zeros and in upper case;
 * "0x" and 20 upper-case digits, as SQL Server prints a binary(10); a decimal without leading zeros.
 * Terminated. */
void dp_offset_canonical(const dp_offset *offset, char out[DP_OFFSET_TOKEN_BYTES]);

/* The form a token of the backend has, for messages, such as "X/X, such as 0/16B6D28". */
const char *dp_offset_expected_form(dp_backend backend);

#endif
