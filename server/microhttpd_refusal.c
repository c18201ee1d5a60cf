#include "server/microhttpd_refusal.h"

#include <string.h>

#include "server/microhttpd_connection.h"
#include "server/microhttpd_header.h"
#include "server/microhttpd_redirects.h"

/* How the library's log begins to say what it answers by itself; the status is the first argument. */
#define REFUSAL_FORMAT "Error processing request (HTTP response code is %u"

static const char *refusal_detail(unsigned status)
{
    switch (status) {
    case MHD_HTTP_CONTENT_TOO_LARGE: return "The body is larger than this server accepts";
    case MHD_HTTP_URI_TOO_LONG: return "The request line is longer than this server accepts";
    case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE: return "The header is larger than this server accepts";
    case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED: return "The protocol version is not HTTP/1.1 or HTTP/1.0";
    default: return "The request is malformed";
    }
}

/* The library says what it is going to answer before it makes the answer. */
void dp_http_note_refusal(dp_http_loop *loop, const char *format, va_list arguments)
{
    if (strncmp(format, REFUSAL_FORMAT, sizeof REFUSAL_FORMAT - 1) != 0) return;
    va_list copy;
    va_copy(copy, arguments);
    loop->refusal_status = va_arg(copy, unsigned);
    va_end(copy);
}

/* The library lets go of what it has read once it has the answer, so the request is over at once. */
struct MHD_Response *dp_http_refuse(struct MHD_Connection *mhd)
{
    dp_http_connection *owner = dp_http_connection_of(mhd);
    if (owner == NULL || owner->loop->refusal_status == 0) return NULL;
    const dp_http_handlers *handlers = &owner->loop->server->handlers;
    dp_http_request *request = owner->request == NULL ? dp_http_add_request(owner, mhd) : owner->request;
    if (request == NULL || request->is_over) return NULL;
    if (!request->headers_seen) {
        dp_http_collect_fields(request);
        dp_http_start_request(request);
    }
    unsigned status = owner->loop->refusal_status;
    owner->loop->refusal_status = 0;
    handlers->on_malformed(handlers->context, request, status, refusal_detail(status));
    struct MHD_Response *made = request->response;
    if (request->response_is_kept) request->kept.response = NULL; /* it is the library's */
    request->response_is_kept = false;
    request->response = NULL;
    dp_http_finish_request(request);
    owner->is_refused = owner->lingers = true;
    return made;
}

bool dp_http_is_refused(struct MHD_Connection *mhd)
{
    const dp_http_connection *owner = dp_http_connection_of(mhd);
    return owner != NULL && owner->is_refused;
}
