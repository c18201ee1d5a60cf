#include "server/microhttpd_connection.h"

#include <stdlib.h>

#include "server/listen_socket.h"
#include "server/microhttpd_answer.h"
#include "server/microhttpd_body.h"
#include "server/microhttpd_deadlines.h"
#include "server/microhttpd_header.h"
#include "server/microhttpd_request.h"

enum { MAX_TARGET_BYTES = 8192 };

dp_http_connection *dp_http_connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

dp_http_request *dp_http_add_request(dp_http_connection *owner, struct MHD_Connection *mhd)
{
    dp_http_request *request = owner == NULL ? NULL : dp_http_request_new(owner->loop);
    if (request == NULL) return NULL;
    request->owner = owner;
    request->mhd = mhd;
    owner->request = request;
    return request;
}

void *dp_http_begin_request(void *context, const char *uri, struct MHD_Connection *mhd)
{
    dp_http_request *request = dp_http_add_request(dp_http_connection_of(mhd), mhd);
    (void)context;
    if (request == NULL) return NULL;
    size_t length = strnlen(uri, MAX_TARGET_BYTES + 1);
    request->target_too_long = length > MAX_TARGET_BYTES;
    request->target_start = uri;
    request->target_end = uri + length;
    char *copy = request->short_target;
    if (length > sizeof request->short_target) copy = request->long_target = malloc(length);
    if (copy == NULL) return request; /* target_valid stays false */
    memcpy(copy, uri, length);
    request->target_valid = dp_request_target_parse(dp_slice_make(copy, length), &request->target);
    return request;
}

static enum MHD_Result after_handler(dp_http_request *request)
{
    if (request->suspended) return MHD_YES; /* another thread may be setting the response */
    if (request->response == NULL) return request->no_memory ? MHD_NO : MHD_YES;
    return dp_http_queue_answer(request);
}

void dp_http_start_request(dp_http_request *request)
{
    request->headers_seen = true;
    request->started_us = request->loop->now_us;
    atomic_fetch_add_explicit(&request->loop->server->active, 1, memory_order_relaxed);
}

static enum MHD_Result handle_header(dp_http_request *request, const char *method, const char *version)
{
    dp_http_server *server = request->loop->server;
    request->method = dp_slice_of_text(method);
    dp_http_start_request(request);
    dp_http_check_header(request, method, version);
    if (request->malformed_status == 0) server->handlers.on_headers(server->handlers.context, request);
    if (request->malformed_status == 0 && request->response == NULL && !request->no_memory)
        dp_http_reserve_body(request);
    if (request->malformed_status != 0) {
        request->max_body_bytes = 0;
        server->handlers.on_malformed(server->handlers.context, request, request->malformed_status,
                                      request->malformed_detail);
    }
    int64_t body_timeout_us = atomic_load_explicit(&server->body_timeout_us, memory_order_relaxed);
    dp_http_set_phase(request->owner, request->has_body, body_timeout_us);
    request->owner->lingers = request->has_body && request->response != NULL;
    return after_handler(request);
}

static enum MHD_Result handle_request(dp_http_request *request)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    request->dispatched = true;
    request->owner->is_tracked = false;
    dp_http_judge_framing(request);
    if (request->framing_is_odd) request->owner->lingers = true;
    if (request->body_too_large) {
        handlers->on_malformed(handlers->context, request, 413,
                               "The body is larger than this endpoint accepts");
    } else {
        handlers->on_request(handlers->context, request);
    }
    return after_handler(request);
}

enum MHD_Result dp_http_handle(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                               const char *version, const char *upload_data, size_t *upload_length,
                               void **request_slot)
{
    dp_http_request *request = *request_slot;
    (void)context;
    (void)mhd;
    (void)url;
    if (request == NULL) return MHD_NO;
    if (!request->headers_seen) return handle_header(request, method, version);
    if (request->status != 0 && request->response == NULL) return MHD_YES; /* queued */
    if (*upload_length > 0) return dp_http_take_body(request, upload_data, upload_length);
    if (request->response != NULL) return dp_http_queue_answer(request);
    if (request->no_memory) return MHD_NO;
    return request->dispatched ? MHD_YES : handle_request(request);
}

void dp_http_finish_request(dp_http_request *request)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    if (!request->is_over) handlers->on_done(handlers->context, request, request->status);
    request->is_over = true;
}

static void end_request(dp_http_request *request)
{
    dp_http_server *server = request->loop->server;
    dp_http_connection *owner = request->owner;
    owner->request = NULL;
    if (request->headers_seen) {
        dp_http_finish_request(request);
        atomic_store_explicit(&server->last_activity_us, request->loop->now_us, memory_order_relaxed);
        atomic_fetch_sub_explicit(&server->active, 1, memory_order_release);
    }
    dp_http_request_free(request);
    dp_http_set_phase(owner, true, atomic_load_explicit(&server->header_timeout_us, memory_order_relaxed));
}

void dp_http_complete_request(void *context, struct MHD_Connection *mhd, void **request_slot,
                              enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)mhd;
    (void)code;
    dp_http_request *request = *request_slot;
    *request_slot = NULL;
    if (request != NULL) end_request(request);
}

static dp_http_connection *begin_connection(dp_http_loop *loop, struct MHD_Connection *mhd)
{
    dp_http_server *server = loop->server;
    const union MHD_ConnectionInfo *file = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *peer = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    dp_http_connection *owner = calloc(1, sizeof *owner);
    if (owner == NULL || file == NULL || peer == NULL) {
        free(owner);
        return NULL;
    }
    owner->loop = loop;
    owner->file = file->connect_fd;
    owner->is_loopback = dp_socket_address_is_loopback(peer->client_addr);
    owner->timer.kind = DP_HTTP_TIMER_CONNECTION;
    loop->connection_count++;
    atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    server->handlers.on_connection(server->handlers.context);
    dp_http_set_phase(owner, true, atomic_load_explicit(&server->header_timeout_us, memory_order_relaxed));
    return owner;
}

void dp_http_notify_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    dp_http_loop *loop = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = begin_connection(loop, mhd);
        return;
    }
    dp_http_connection *owner = *socket_context;
    if (owner == NULL) return;
    if (owner->request != NULL) end_request(owner->request);
    if (owner->lingers) dp_lingering_begin(&loop->lingering, owner->file, loop->now_us);
    dp_timer_heap_cancel(&loop->timers, &owner->timer);
    loop->connection_count--;
    atomic_fetch_sub_explicit(&loop->server->connections, 1, memory_order_relaxed);
    free(owner);
}
