/* Answers in libmicrohttpd's form: a new one, or the last one of a request's memory filled in again.
 *
 * Making an answer costs the library a dozen allocations, more than all else that a small request needs. Most
 * answers look like the one before: the same header names, values of the same lengths, a short body of the
 * same length. So each request's memory, which serves one request after the other, keeps its last short
 * answer, and one of the same shape is written into it. Belongs to one event thread; never sends anything.
 */
#ifndef DPONE_SERVER_ANSWER_MICROHTTPD_H
#define DPONE_SERVER_ANSWER_MICROHTTPD_H

#include <microhttpd.h>

#include "server/http.h"

enum { DP_KEPT_BODY_BYTES = 256, DP_KEPT_HEADERS = 4 };

/* Zero `response` before the first use. */
typedef struct dp_kept_answer {
    struct MHD_Response *response; /* NULL: none is kept */
    size_t body_length;
    size_t header_count;
    struct {
        const char *name; /* constant text */
        char *value;      /* the library's */
        size_t length;
    } headers[DP_KEPT_HEADERS];
    char body[DP_KEPT_BODY_BYTES];
} dp_kept_answer;

/* The kept answer, with what `from` says; it stays `kept`'s. Only when the answer given before is no longer
 * in use. NULL when `from` is too large to be kept, or no memory. */
struct MHD_Response *dp_kept_answer_fill(dp_kept_answer *kept, const dp_http_response *from);
void dp_kept_answer_release(dp_kept_answer *kept);

/* A new answer, the caller's. NULL: no memory. */
struct MHD_Response *dp_answer_new(const dp_http_response *from);

/* Adds the headers of `from` to `made`, which may be NULL. Destroys `made` and returns NULL without memory.
 */
struct MHD_Response *dp_answer_add_headers(struct MHD_Response *made, const dp_http_response *from);

#endif
