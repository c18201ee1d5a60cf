#include "server/microhttpd_header.h"

#include "server/microhttpd_connection.h"
#include "server/microhttpd_redirects.h"

enum { LINE_END_BYTES = 2 /* CR LF */ };

void dp_http_mark_malformed(dp_http_request *request, unsigned status, const char *detail)
{
    if (request->malformed_status != 0) return;
    request->malformed_status = status;
    request->malformed_detail = detail;
}

static enum MHD_Result collect_header(void *context, enum MHD_ValueKind kind, const char *name,
                                      size_t name_length, const char *value, size_t value_length)
{
    dp_http_request *request = context;
    (void)kind;
    if (request->header_count == DP_HTTP_MAX_HEADERS) {
        dp_http_mark_malformed(request, 431, "Too many header fields");
        return MHD_NO;
    }
    dp_http_header *header = &request->headers[request->header_count++];
    header->name = dp_slice_make(name, name_length);
    header->value = dp_slice_make(value == NULL ? "" : value, value == NULL ? 0 : value_length);
    if (name != request->next_line) request->hides_bytes = true;
    request->next_line = header->value.data + header->value.length + LINE_END_BYTES;
    dp_header_add(&request->facts, header->name, header->value);
    header->value = dp_header_trim_end(header->value);
    return MHD_YES;
}

void dp_http_collect_fields(dp_http_request *request)
{
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, collect_header, request);
}

/* The library shows each part of the header as a text that ends at a NUL, and so hides what follows a NUL of
 * the client's, and whether a line ended with CR LF or with LF alone. But its texts lie in the buffer as they
 * were received: between two of them there is exactly one blank or one line end, or something is hidden. A
 * line that was folded or dropped shows in the same way. */
static void collect_headers(dp_http_request *request, const char *method, const char *version)
{
    request->next_line = version + strlen(version) + LINE_END_BYTES;
    request->hides_bytes =
        method + request->method.length + 1 != request->target_start || request->target_end + 1 != version;
    dp_http_collect_fields(request);
}

_Thread_local const char *dp_http_received_odd;

/* A NUL or a colon before a bare LF leaves no trace in the library's buffer, which has zeros where the line
 * ends were.
 */
void dp_http_see_odd(struct MHD_Connection *mhd)
{
    dp_http_connection *owner = dp_http_connection_of(mhd);
    if (owner != NULL && (owner->request == NULL || !owner->request->headers_seen)) owner->has_odd = true;
}

void dp_http_check_header(dp_http_request *request, const char *method, const char *version)
{
    collect_headers(request, method, version);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    dp_header_verdict verdict = dp_header_judge(&request->facts, request->method, dp_slice_of_text(version));
    request->has_body = verdict.has_body;
    request->announced_bytes = (size_t)verdict.announced_bytes;
    if (verdict.fault.status != 0)
        dp_http_mark_malformed(request, verdict.fault.status, verdict.fault.detail);
    if (request->target_too_long)
        dp_http_mark_malformed(request, 414, "The request target is longer than 8192 bytes");
    if (!request->target_valid) dp_http_mark_malformed(request, 400, "The request target is malformed");
    if (info != NULL && info->header_size > request->loop->server->max_header_bytes)
        dp_http_mark_malformed(request, 431, "The header is larger than this server accepts");
    if (info == NULL || request->next_line + LINE_END_BYTES != method + info->header_size)
        request->hides_bytes = true;
    const char *odd = dp_http_received_odd;
    if (request->owner->has_odd || (info != NULL && odd != NULL && odd < method + info->header_size))
        request->hides_bytes = true;
    request->owner->has_odd = false;
    if (request->hides_bytes && request->loop->server->knows_layout)
        dp_http_mark_malformed(request, 400,
                               "The header has a NUL, a line that does not end with CR LF, or a folded line");
}
