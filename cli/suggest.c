#include "cli/suggest.h"

enum { MAX_WORD = 63 };

static size_t smallest(size_t left, size_t right)
{
    return left < right ? left : right;
}

/* Edit distance with swaps of neighbours (optimal string alignment), row by row. */
static size_t distance_between(dp_slice left, dp_slice right)
{
    size_t rows[3][MAX_WORD + 1];
    for (size_t j = 0; j <= right.length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= left.length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= right.length; j++) {
            size_t changed = above[j - 1] + (left.data[i - 1] != right.data[j - 1]);
            row[j] = smallest(changed, smallest(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && left.data[i - 1] == right.data[j - 2] &&
                left.data[i - 2] == right.data[j - 1]) {
                row[j] = smallest(row[j], rows[(i - 2) % 3][j - 2] + 1);
            }
        }
    }
    return rows[left.length % 3][right.length];
}

void dp_suggest(dp_suggestion *suggestion, dp_slice typed, const char *candidate)
{
    dp_slice word = dp_slice_of_text(candidate);
    if (typed.length > MAX_WORD || word.length > MAX_WORD) return;
    size_t distance = distance_between(typed, word);
    if (distance > 2 || distance * 2 >= typed.length) return;
    if (suggestion->best != NULL && distance >= suggestion->distance) return;
    *suggestion = (dp_suggestion){candidate, distance};
}
