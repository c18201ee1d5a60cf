/* Standard output or a file, written in large pieces. */
#ifndef DPONE_SERVICES_OUTPUT_H
#define DPONE_SERVICES_OUTPUT_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_output {
    int descriptor;
    const char *name; /* how messages call it; borrowed */
    dp_buffer pending;
} dp_output;

dp_output dp_output_standard(void);

/* Appends to the file, which is made with mode 0600 when it is not there. IO names it and the cause. */
dp_status dp_output_append_to(const char *path, dp_output *output, dp_error *error);

/* Writes what is pending once it has reached a good size; call after each line. */
dp_status dp_output_flush_when_large(dp_output *output, dp_error *error);
dp_status dp_output_flush(dp_output *output, dp_error *error);

/* Flushes what is pending and makes a file durable. */
dp_status dp_output_sync(dp_output *output, dp_error *error);

/* Does not flush. */
void dp_output_close(dp_output *output);

#endif
