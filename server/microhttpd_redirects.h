/* What takes the place of a few calls inside libmicrohttpd, where its archive is linked:
 * cmake/microhttpd.cmake.
 *
 * The library zeroes memory that nobody reads, parses arguments that nobody asks for, and answers a malformed
 * request by itself, with a page of its own and without telling anybody. The objects that do so are linked
 * with these calls renamed to the functions of microhttpd_redirects.c. Below is what those need of the
 * adapter, on the event thread of the connection. With the shared library nobody calls it.
 */
#ifndef DPONE_SERVER_MICROHTTPD_REDIRECTS_H
#define DPONE_SERVER_MICROHTTPD_REDIRECTS_H

#include <microhttpd.h>
#include <stdbool.h>

/* Our answer to what the library refuses, which becomes the library's. NULL: none can be made, and the
 * library is to send its own. */
struct MHD_Response *dp_http_refuse(struct MHD_Connection *mhd);

/* Whether it has been called for this connection. */
bool dp_http_is_refused(struct MHD_Connection *mhd);

/* The library looks at the line that begins a chunk, where it lies in its buffer: the digits of the size and
 * what they mean, 0 for the last chunk. It may not have come whole yet; then it is looked at again. */
void dp_http_see_chunk(struct MHD_Connection *mhd, const char *line, size_t digits, uint64_t size);

/* Where what has just been received ends in the library's buffer, while it works on that. NULL: nothing has
 * been, or it is not known. */
extern _Thread_local const char *dp_http_received_end;

/* The first NUL in that, or LF without CR. NULL: none. */
extern _Thread_local const char *dp_http_received_odd;

/* The library has gone as far as it can with what it has received, and that was so. */
void dp_http_see_odd(struct MHD_Connection *mhd);

#endif
