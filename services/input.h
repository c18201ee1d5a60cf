/* A file or standard input, read in large pieces. */
#ifndef DPONE_SERVICES_INPUT_H
#define DPONE_SERVICES_INPUT_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_input {
    int descriptor;
    bool is_standard_input;
    const char *name;    /* how messages call it; borrowed */
    uint64_t size_bytes; /* of a regular file when it was opened, else 0 */
    uint64_t read_bytes;
    char *buffer;
} dp_input;

/* `path` is "-", a path, or "file:" and a path; borrowed. IO names it and the cause; USAGE for a directory,
 * and for what looks like a DSN.
 */
dp_status dp_input_open(const char *path, dp_input *input, dp_error *error);
void dp_input_close(dp_input *input);

/* The next piece; an empty one at the end. Valid until the next call. */
dp_status dp_input_read(dp_input *input, dp_slice *piece, dp_error *error);

#endif
