/* Reads a whole small file, or standard input, into a buffer. For what grows with the data, use a source. */
#ifndef DPONE_BASE_FILE_H
#define DPONE_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

/* How messages name the path: "standard input" for "-". */
const char *dp_file_display_name(const char *path);

/* Appends the content of `path`; "-" is standard input. IO names the path and the cause; LIMIT when there is
 * more than `max_bytes`. */
dp_status dp_file_read(const char *path, size_t max_bytes, dp_buffer *out, dp_error *error);

#endif
