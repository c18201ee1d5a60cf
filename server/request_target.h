/* The request target of HTTP/1.1 in origin form: path, query, percent-decoding, numbers with the faults that
 * a 422 names. Pure; every slice points into the text it was given.
 */
#ifndef DPONE_SERVER_REQUEST_TARGET_H
#define DPONE_SERVER_REQUEST_TARGET_H

#include "base/slice.h"

typedef struct dp_request_target {
    dp_slice path;  /* with its leading slash, still percent-encoded */
    dp_slice query; /* without the question mark; empty when there is none */
    bool has_query;
} dp_request_target;

/* Splits a target. The absolute form loses its scheme and authority. False for anything else that does not
 * start with a slash, and for control characters, spaces and bytes above 0x7E. */
bool dp_request_target_parse(dp_slice raw, dp_request_target *target);

/* The last value of a query parameter, still encoded; false when it is not there. A name without '=' has
 * the empty value. Names are compared decoded. */
bool dp_query_last(dp_slice query, const char *name, dp_slice *value);

/* Decodes %XX, and '+' as a space when plus_is_space. Writes at most text.length bytes; returns how many.
 * A '%' without two hexadecimal digits stays as it is. */
size_t dp_percent_decode(dp_slice text, bool plus_is_space, char *out);

typedef enum dp_number_fault {
    DP_NUMBER_OK,
    DP_NUMBER_NOT_A_NUMBER, /* anything but decimal digits, after an optional minus */
    DP_NUMBER_TOO_SMALL,
    DP_NUMBER_TOO_LARGE
} dp_number_fault;

/* Reads an encoded whole number within 0..maximum. */
dp_number_fault dp_request_number(dp_slice encoded, uint32_t maximum, uint32_t *value);

#endif
