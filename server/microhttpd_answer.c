#include "server/microhttpd_answer.h"

#include <stdlib.h>

#include "server/microhttpd_inbox.h"

enum { STREAM_BLOCK_BYTES = 65536 };

static bool is_crowded(const dp_http_loop *loop)
{
    return loop->connection_count > loop->server->crowded_connections;
}

static void set_response(dp_http_request *request, const dp_http_response *from, struct MHD_Response *made)
{
    request->closes = from->close;
    request->response = made;
    request->no_memory = made == NULL;
    request->status = made == NULL ? 0 : from->status;
}

void dp_http_forget_deferred(dp_http_request *request)
{
    dp_http_loop *loop = request->loop;
    if (request->deferred_previous == NULL && loop->deferred != request) return;
    *(request->deferred_previous == NULL ? &loop->deferred : &request->deferred_previous->deferred_next) =
        request->deferred_next;
    if (request->deferred_next != NULL)
        request->deferred_next->deferred_previous = request->deferred_previous;
    request->deferred_previous = request->deferred_next = NULL;
}

/* The connection takes the answer up when it goes on. */
void dp_http_resume(dp_http_request *request)
{
    if (!request->suspended) return;
    request->suspended = false;
    dp_http_forget_deferred(request);
    dp_timer_heap_cancel(&request->loop->timers, &request->timer);
    MHD_resume_connection(request->mhd);
}

static void deliver(dp_http_request *request)
{
    if (dp_http_current_loop != request->loop) {
        dp_http_post(request, DP_HTTP_INBOX_RESPONSE);
    } else {
        dp_http_resume(request);
    }
}

void dp_http_forget_answer(dp_http_request *request)
{
    if (request->response != NULL && !request->response_is_kept) MHD_destroy_response(request->response);
    request->response = NULL;
    request->response_is_kept = false;
}

void dp_http_respond(dp_http_request *request, const dp_http_response *response)
{
    dp_http_forget_answer(request);
    struct MHD_Response *made = dp_kept_answer_fill(&request->kept, response);
    request->response_is_kept = made != NULL;
    if (made == NULL) made = dp_answer_new(response);
    set_response(request, response, made);
    deliver(request);
}

/* Owned by the MHD response; the request forgets it when it ends first. */
typedef struct dp_http_stream_body {
    dp_http_stream stream;
    dp_http_request *request; /* NULL once the request has ended */
    bool is_closed;
} dp_http_stream_body;

static void close_stream(dp_http_stream_body *body)
{
    if (body->is_closed) return;
    body->is_closed = true;
    body->stream.close(body->stream.context);
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t capacity)
{
    dp_http_stream_body *body = context;
    size_t length = 0;
    (void)position;
    if (body->is_closed || body->request == NULL) return MHD_CONTENT_READER_END_WITH_ERROR;
    dp_http_loop *loop = body->request->loop;
    if (atomic_load_explicit(&loop->server->stopping, memory_order_relaxed))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    switch (body->stream.read(body->stream.context, out, capacity, &length)) {
    case DP_HTTP_STREAM_DATA: return (ssize_t)length;
    case DP_HTTP_STREAM_END: return MHD_CONTENT_READER_END_OF_STREAM;
    case DP_HTTP_STREAM_BROKEN: return MHD_CONTENT_READER_END_WITH_ERROR;
    case DP_HTTP_STREAM_WAIT: break;
    }
    body->request->stream_waits = true;
    loop->waiting_streams++;
    MHD_suspend_connection(body->request->mhd);
    return 0;
}

/* The request is over before the library has let go of the answer. */
void dp_http_end_stream(dp_http_request *request)
{
    dp_http_stream_body *body = request->stream;
    if (body == NULL) return;
    close_stream(body);
    body->request = NULL;
}

static void free_stream(void *context)
{
    dp_http_stream_body *body = context;
    close_stream(body);
    if (body->request != NULL) body->request->stream = NULL;
    free(body);
}

void dp_http_respond_stream(dp_http_request *request, const dp_http_response *response,
                            const dp_http_stream *stream)
{
    struct MHD_Response *made = NULL;
    request->was_shared = true;
    dp_http_stream_body *body = malloc(sizeof *body);
    if (body != NULL) {
        *body = (dp_http_stream_body){.stream = *stream, .request = request};
        made = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, body,
                                                 free_stream);
    }
    if (made == NULL) {
        stream->close(stream->context);
        free(body);
        body = NULL;
    }
    request->stream = body;
    made = dp_answer_add_headers(made, response);
    set_response(request, response, made);
    deliver(request);
}

void dp_http_defer(dp_http_request *request)
{
    dp_http_loop *loop = request->loop;
    if (request->suspended) return;
    request->suspended = request->was_shared = true;
    request->deferred_next = loop->deferred;
    request->deferred_previous = NULL;
    if (loop->deferred != NULL) loop->deferred->deferred_previous = request;
    loop->deferred = request;
    MHD_suspend_connection(request->mhd);
}

void dp_http_hand_over(dp_http_request *request)
{
    dp_http_defer(request);
    request->is_held = true;
}

enum MHD_Result dp_http_queue_answer(dp_http_request *request)
{
    struct MHD_Response *response = request->response;
    const dp_http_server *server = request->loop->server;
    bool close = request->closes || request->framing_is_odd || is_crowded(request->loop) ||
                 atomic_load_explicit(&server->draining, memory_order_relaxed);
    /* A header that does not fit into memory leaves the connection open: harmless. */
    if (close) {
        if (request->response_is_kept) request->kept.response = NULL; /* no other answer is to say so */
        request->response_is_kept = false;
        MHD_add_response_header(response, "Connection", "close");
    }
    enum MHD_Result result = MHD_queue_response(request->mhd, request->status, response);
    dp_http_forget_answer(request);
    if (result != MHD_YES) request->status = 0;
    return result;
}
