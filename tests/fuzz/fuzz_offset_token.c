/* Any bytes as a token of each backend: what is accepted has a canonical text of the same value, and an
 * order. */
#include <stdlib.h>

#include "replay/offset_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

static void check_offset(const dp_offset *offset)
{
    char canonical[DP_OFFSET_TOKEN_BYTES];
    char again[DP_OFFSET_TOKEN_BYTES];
    dp_offset copy;
    dp_offset_canonical(offset, canonical);
    check(dp_offset_of_token(offset->backend, dp_slice_of_text(canonical), &copy));
    check(dp_offset_compare(offset, &copy) == 0);
    dp_offset_canonical(&copy, again);
    check(strcmp(canonical, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dp_slice input = {(const char *)data, size};
    dp_slice left_text;
    dp_slice right_text;
    dp_slice_split(input, '\n', &left_text, &right_text);
    for (int backend = 0; backend < 3; backend++) {
        dp_offset left;
        dp_offset right;
        dp_error error = DP_ERROR_INIT;
        dp_offset_parse(input, (dp_backend)backend, "option", &left, &error);
        if (!dp_offset_of_token((dp_backend)backend, left_text, &left)) continue;
        check_offset(&left);
        if (!dp_offset_of_token((dp_backend)backend, right_text, &right)) continue;
        check_offset(&right);
        check(dp_offset_compare(&left, &right) == -dp_offset_compare(&right, &left));
    }
    return 0;
}
