#include "server/microhttpd_body.h"

#include "server/microhttpd_connection.h"
#include "server/microhttpd_header.h"
#include "server/microhttpd_redirects.h"

#define MAX_BODY_MEMORY_BYTES ((size_t)256 << 20)

_Thread_local const char *dp_http_received_end;

/* Takes what Content-Length announces out of the common body memory, so that it cannot be promised away. */
void dp_http_reserve_body(dp_http_request *request)
{
    dp_http_server *server = request->loop->server;
    size_t announced = request->announced_bytes;
    if (!request->has_body) return;
    if (announced > request->max_body_bytes) {
        dp_http_mark_malformed(request, 413, "The body is larger than this endpoint accepts");
        return;
    }
    size_t wanted = announced > 0 ? announced : request->max_body_bytes;
    if (atomic_fetch_add(&server->body_memory_bytes, wanted) + wanted > MAX_BODY_MEMORY_BYTES)
        dp_http_mark_malformed(request, 503, "Too many bodies are being received");
    request->reserved_bytes = wanted;
    request->body.max_bytes = request->max_body_bytes + 1;
    if (announced > 0 && request->malformed_status == 0 && !dp_buffer_reserve(&request->body, announced))
        dp_http_mark_malformed(request, 503, "Out of memory for the body");
}

void dp_http_release_body(dp_http_request *request)
{
    if (request->reserved_bytes > 0)
        atomic_fetch_sub(&request->loop->server->body_memory_bytes, request->reserved_bytes);
    request->reserved_bytes = 0;
    dp_buffer_release(&request->body);
}

/* Whether what has been received goes on with these line ends. */
static bool goes_on_with(const char *at, const char *ends)
{
    size_t length = strlen(ends);
    const char *end = dp_http_received_end;
    return end != NULL && at <= end && (size_t)(end - at) >= length && memcmp(at, ends, length) == 0;
}

/* Where a line of a chunk's size ends, behind its digits and an extension. */
static const char *end_of_line(const char *behind)
{
    const char *end = dp_http_received_end;
    if (end == NULL || behind >= end || *behind != ';') return behind;
    const char *feed = memchr(behind, '\n', (size_t)(end - behind));
    return feed == NULL ? end : feed - 1;
}

/* The library takes LF alone for a line end between chunks. Whoever takes it for something else sees another
 * end of the request, so nothing behind such a body may be taken for a request: the connection is closed
 * after the answer. So it is when a line end is not seen, because it had come by itself: the library is where
 * it has just been, and so before the line are the line end of the chunk, or, in an empty buffer, the zeros
 * that the library has put in the place of the header's. */
void dp_http_see_chunk(struct MHD_Connection *mhd, const char *line, size_t digits, uint64_t size)
{
    dp_http_connection *owner = dp_http_connection_of(mhd);
    dp_http_request *request = owner == NULL ? NULL : owner->request;
    if (request == NULL) return;
    if (!request->in_chunks || memcmp(line - 2, "\r\n", 2) == 0) request->chunk_ended_well = true;
    request->chunk_is_odd = !request->chunk_ended_well ||
                            !goes_on_with(end_of_line(line + digits), size == 0 ? "\r\n\r\n" : "\r\n");
}

void dp_http_judge_framing(dp_http_request *request)
{
    if (request->chunk_is_odd) request->framing_is_odd = true;
    request->chunk_is_odd = false; /* until the next line */
}

enum MHD_Result dp_http_take_body(dp_http_request *request, const char *data, size_t *length)
{
    dp_http_judge_framing(request);
    request->in_chunks = true;
    request->chunk_ended_well = goes_on_with(data + *length, "\r\n");
    if (goes_on_with(data + *length, "\n")) request->framing_is_odd = true; /* a CR before it would be data */
    size_t room = request->max_body_bytes - request->body.length;
    if (request->body_too_large || *length > room) {
        /* An answer can only be queued after the body: read on for a while, then cut. */
        request->body_too_large = true;
        request->discarded_bytes += *length;
        dp_buffer_clear(&request->body);
        if (request->discarded_bytes > (size_t)1 << 20) return MHD_NO;
    } else {
        dp_buffer_append(&request->body, data, *length);
        if (request->body.failed) return MHD_NO;
    }
    *length = 0;
    return MHD_YES;
}
