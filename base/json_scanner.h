/* A strict, bounded pull scanner of JSON (RFC 8259): one token a call, nothing allocated, nothing copied.
 *
 * Strings and numbers are slices of the input; a string with escapes says so and is decoded on request. UTF-8
 * is checked inside strings, escapes are checked when scanned (\u0000 included: it is valid JSON; consumers
 * decide). Lone surrogates, leading zeros, comments, trailing commas, a second top-level value: errors, with
 * the offset.
 */
#ifndef DPONE_BASE_JSON_SCANNER_H
#define DPONE_BASE_JSON_SCANNER_H

#include "base/buffer.h"

typedef enum dp_json_kind {
    DP_JSON_ERROR, /* fault and fault_at are set; every further call answers the same */
    DP_JSON_END,   /* after the one complete top-level value and only white space */
    DP_JSON_BEGIN_OBJECT,
    DP_JSON_END_OBJECT,
    DP_JSON_BEGIN_ARRAY,
    DP_JSON_END_ARRAY,
    DP_JSON_KEY, /* a member's name; its value follows */
    DP_JSON_STRING,
    DP_JSON_NUMBER,
    DP_JSON_TRUE,
    DP_JSON_FALSE,
    DP_JSON_NULL
} dp_json_kind;

typedef struct dp_json_token {
    dp_json_kind kind;
    dp_slice text;    /* strings and keys: between the quotes, still escaped; others: the exact source text */
    size_t at;        /* offset of the token's first byte in the input */
    bool has_escapes; /* strings and keys only */
} dp_json_token;

#define DP_JSON_MAX_DEPTH 512

typedef struct dp_json_scanner {
    dp_slice input;
    size_t position;
    size_t fault_at;
    const char *fault; /* NULL, or what is wrong */
    unsigned depth;
    unsigned state;
    uint8_t is_object[DP_JSON_MAX_DEPTH / 8 + 1]; /* one bit a level */
} dp_json_scanner;

void dp_json_scanner_init(dp_json_scanner *scanner, dp_slice input);

dp_json_kind dp_json_next(dp_json_scanner *scanner, dp_json_token *token);

/* Passes the next member's name when it stands there in exactly these bytes, such as "\"id\":", without white
 * space; its value follows. False leaves the scanner where it was. For readers that know what usually comes.
 */
bool dp_json_accept_key(dp_json_scanner *scanner, dp_slice name_and_colon);

/* Skips the object whose opening brace was just returned, when it is what writers usually make: no white
 * space, no nesting, no escapes in names, integers for numbers. Gives the names. False, the scanner where it
 * was, for everything else: faults and whatever needs the careful way. */
bool dp_json_skip_flat_object(dp_json_scanner *scanner, dp_slice *names, size_t capacity, size_t *count);

/* The length of the text or number without a fraction, true, false or null that `input` begins with, or 0 for
 * everything else, faults included. */
size_t dp_json_flat_value_length(dp_slice input);

/* Reads the text, number, true, false or null that stands at `at`, as strictly as dp_json_next: its end, or 0
 * for everything else, faults included. */
size_t dp_json_scalar_at(dp_slice input, size_t at, dp_json_token *token);

/* Skips the value whose first token was just returned; gives the whole value's source text. False on error.
 */
bool dp_json_skip_value(dp_json_scanner *scanner, const dp_json_token *first, dp_slice *source);

/* Appends the decoded content of a scanned string. */
void dp_json_unescape(dp_slice escaped, dp_buffer *out);

/* As dp_json_unescape, into `out` of at least escaped.length bytes; returns the decoded length, never larger.
 */
size_t dp_json_unescape_into(dp_slice escaped, char *out);

#endif
