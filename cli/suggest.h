/* What a mistyped word may have meant. Pure. */
#ifndef DPONE_CLI_SUGGEST_H
#define DPONE_CLI_SUGGEST_H

#include "base/slice.h"

typedef struct dp_suggestion {
    const char *best; /* NULL: nothing is near */
    size_t distance;
} dp_suggestion;

/* Keeps the candidate when it is nearer to `typed` than the best so far: at most two letters added, left out,
 * changed or swapped, and fewer than half of what was typed. */
void dp_suggest(dp_suggestion *suggestion, dp_slice typed, const char *candidate);

#endif
