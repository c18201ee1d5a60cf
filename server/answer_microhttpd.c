#include "server/answer_microhttpd.h"

#include <string.h>

static struct MHD_Response *new_response(dp_slice body, enum MHD_ResponseMemoryMode mode)
{
    union {
        const char *source;
        void *for_mhd; /* not written to */
    } data = {.source = body.data};
    return MHD_create_response_from_buffer(body.length, data.for_mhd, mode);
}

struct MHD_Response *dp_answer_add_headers(struct MHD_Response *made, const dp_http_response *from)
{
    if (made == NULL) return NULL;
    for (size_t i = 0; i < from->header_count; i++) {
        if (MHD_add_response_header(made, from->headers[i].name, from->headers[i].value) == MHD_YES) continue;
        MHD_destroy_response(made);
        return NULL;
    }
    return made;
}

struct MHD_Response *dp_answer_new(const dp_http_response *from)
{
    return dp_answer_add_headers(new_response(from->body, MHD_RESPMEM_MUST_COPY), from);
}

/* Writes the values that differ; false at the first name or length that does. */
static bool fill_headers(dp_kept_answer *kept, const dp_http_response *from)
{
    if (kept->header_count != from->header_count) return false;
    for (size_t i = 0; i < from->header_count; i++) {
        const char *value = from->headers[i].value;
        size_t length = kept->headers[i].length;
        if (kept->headers[i].name != from->headers[i].name || strlen(value) != length) return false;
        memcpy(kept->headers[i].value, value, length);
    }
    return true;
}

/* The library's own copy of a value lives as long as the response and is read when the header is sent. */
static char *stored_value(struct MHD_Response *response, const char *name)
{
    union {
        const char *shown;
        char *stored;
    } value = {.shown = MHD_get_response_header(response, name)};
    return value.stored;
}

static void keep_new(dp_kept_answer *kept, const dp_http_response *from)
{
    kept->body_length = from->body.length;
    kept->header_count = from->header_count;
    kept->response = dp_answer_add_headers(
        new_response(dp_slice_make(kept->body, from->body.length), MHD_RESPMEM_PERSISTENT), from);
    for (size_t i = 0; kept->response != NULL && i < from->header_count; i++) {
        kept->headers[i].name = from->headers[i].name;
        kept->headers[i].value = stored_value(kept->response, from->headers[i].name);
        kept->headers[i].length = strlen(from->headers[i].value);
    }
}

struct MHD_Response *dp_kept_answer_fill(dp_kept_answer *kept, const dp_http_response *from)
{
    if (from->body.length > sizeof kept->body || from->header_count > DP_KEPT_HEADERS) return NULL;
    if (kept->response == NULL || kept->body_length != from->body.length || !fill_headers(kept, from)) {
        dp_kept_answer_release(kept);
        keep_new(kept, from);
    }
    if (kept->response != NULL && from->body.length > 0)
        memcpy(kept->body, from->body.data, from->body.length);
    return kept->response;
}

void dp_kept_answer_release(dp_kept_answer *kept)
{
    if (kept->response != NULL) MHD_destroy_response(kept->response);
    kept->response = NULL;
}
