/* A view of bytes owned by someone else. Not terminated; may hold any byte. */
#ifndef DPONE_BASE_SLICE_H
#define DPONE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct dp_slice {
    const char *data;
    size_t length;
} dp_slice;

/* For use with "%.*s": expands to the two arguments, the length cut to what an int holds. */
#define DP_SLICE_PRINT(slice) (int)((slice).length > 200 ? 200 : (slice).length), (slice).data

#define DP_SLICE_LITERAL(text) ((dp_slice){(text), sizeof(text) - 1})

/* For X-macro lists of (name, text, ...): static const dp_slice texts[] = {DP_THING_LIST(DP_SLICE_ENTRY)}; */
#define DP_SLICE_ENTRY(name, text, ...) {(text), sizeof(text) - 1},

static inline dp_slice dp_slice_make(const char *data, size_t length)
{
    return (dp_slice){data, length};
}

static inline dp_slice dp_slice_of_text(const char *text)
{
    return (dp_slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool dp_slice_equal(dp_slice left, dp_slice right)
{
    return left.length == right.length &&
           (left.length == 0 || memcmp(left.data, right.data, left.length) == 0);
}

static inline bool dp_slice_equal_text(dp_slice left, const char *right)
{
    return dp_slice_equal(left, dp_slice_of_text(right));
}

/* Orders by bytes; for valid UTF-8 that is the order of code points. */
int dp_slice_compare(dp_slice left, dp_slice right);

bool dp_slice_equal_ignoring_case(dp_slice left, dp_slice right); /* ASCII letters only */
bool dp_slice_starts_with(dp_slice text, dp_slice prefix);
dp_slice dp_slice_trim(dp_slice text); /* ASCII white space at both ends */

/* Splits at the first separator; without one, head is everything and false is returned. */
bool dp_slice_split(dp_slice text, char separator, dp_slice *head, dp_slice *tail);

/* The index of a text in a list of different ones; -1 when it is not there. */
int dp_slice_find(dp_slice text, const dp_slice *texts, size_t count);

/* Strict decimal: digits only, no sign, no white space, within 0..maximum. */
bool dp_slice_to_u64(dp_slice text, uint64_t maximum, uint64_t *value);

#endif
