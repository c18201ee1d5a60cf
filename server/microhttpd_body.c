#include "server/microhttpd_body.h"

#include "server/microhttpd_connection.h"
#include "server/microhttpd_header.h"
#include "server/microhttpd_redirects.h"

#define MAX_BODY_MEMORY_BYTES ((size_t)256 << 20)

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

/* The library takes LF alone for a line end between chunks. Whoever takes it for something else sees another
 * end of the request, so nothing behind such a body may be taken for a request: the connection is closed
 * after the answer. So it is when the line ends do not lie where they can be seen, which is where the library
 * has just been: before the line (or the header, or nothing of the buffer), behind the digits, and behind the
 * last line that all has an end. It reads at most four bytes behind what has come, which the memory of the
 * connection goes on for, because the record of Transfer-Encoding is at its end. */
void dp_http_see_chunk(struct MHD_Connection *mhd, const char *line, size_t digits, uint64_t size)
{
    static const char ends[] = "\r\n\r\n";
    dp_http_connection *owner = dp_http_connection_of(mhd);
    dp_http_request *request = owner == NULL ? NULL : owner->request;
    if (request == NULL) return;
    const char *behind = line + digits;
    bool begins_well = !request->in_chunks || memcmp(line - 2, ends, 2) == 0;
    request->chunk_is_odd = !begins_well || memcmp(behind, ends, size == 0 ? 4 : 2) != 0;
    request->odd_line = begins_well && size > 0 && *behind == ';' ? line : NULL;
}

/* What was seen behind the last chunk had not all come: the trailer, or the empty line. */
void dp_http_see_pause(struct MHD_Connection *mhd)
{
    dp_http_connection *owner = dp_http_connection_of(mhd);
    if (owner != NULL && owner->request != NULL && !owner->request->dispatched)
        owner->request->chunk_is_odd = true;
}

/* The line that was seen last counts: its chunk has begun, at `data`, or it was the last. */
void dp_http_judge_framing(dp_http_request *request, const char *data)
{
    const char *line = request->odd_line; /* has an extension */
    bool ends_well = line != NULL && data > line && memcmp(data - 2, "\r\n", 2) == 0;
    if (request->chunk_is_odd && !ends_well) request->framing_is_odd = true;
}

enum MHD_Result dp_http_take_body(dp_http_request *request, const char *data, size_t *length)
{
    dp_http_judge_framing(request, data);
    request->in_chunks = true;
    request->chunk_is_odd = false; /* until the next line */
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
