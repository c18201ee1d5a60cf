#include "server/microhttpd_request.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/microhttpd_answer.h"
#include "server/microhttpd_body.h"
#include "server/microhttpd_inbox.h"

enum { MAX_KEPT_REQUESTS = 256 /* per thread, for reuse */ };

dp_http_request *dp_http_request_new(dp_http_loop *loop)
{
    dp_http_request *request = loop->free_requests;
    if (request != NULL) {
        loop->free_requests = request->free_next;
        loop->free_count--;
    } else {
        request = malloc(sizeof *request + loop->server->user_bytes);
        if (request == NULL) return NULL;
        request->kept.response = NULL;
    }
    memset(request, 0, offsetof(dp_http_request, short_target));
    memset(request->user, 0, loop->server->user_bytes);
    request->header_count = 0;
    request->loop = loop;
    return request;
}

void dp_http_request_free(dp_http_request *request)
{
    dp_http_loop *loop = request->loop;
    dp_timer_heap_cancel(&loop->timers, &request->timer);
    dp_http_forget_deferred(request);
    dp_http_leave_inbox(request);
    dp_http_forget_answer(request);
    dp_http_end_stream(request);
    dp_http_release_body(request);
    free(request->long_target);
    if (loop->free_count >= MAX_KEPT_REQUESTS) {
        dp_kept_answer_release(&request->kept);
        free(request);
        return;
    }
    request->free_next = loop->free_requests;
    loop->free_requests = request;
    loop->free_count++;
}

void *dp_http_request_user(dp_http_request *request)
{
    return request->user;
}

dp_slice dp_http_request_method(const dp_http_request *request)
{
    return request->method;
}

dp_slice dp_http_request_path(const dp_http_request *request)
{
    return request->target.path;
}

dp_slice dp_http_request_query(const dp_http_request *request)
{
    return request->target.query;
}

dp_slice dp_http_request_body(const dp_http_request *request)
{
    return dp_buffer_slice(&request->body);
}

bool dp_http_request_has_body(const dp_http_request *request)
{
    return request->has_body;
}

bool dp_http_request_has_left(const dp_http_request *request)
{
    const union MHD_ConnectionInfo *file =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    if (file == NULL) return false;
    ssize_t got = recv(file->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool dp_http_request_is_loopback(const dp_http_request *request)
{
    return request->owner->is_loopback;
}

int64_t dp_http_request_started_us(const dp_http_request *request)
{
    return request->started_us;
}

int64_t dp_http_request_now_us(const dp_http_request *request)
{
    return request->loop->now_us;
}

bool dp_http_request_header(const dp_http_request *request, const char *name, dp_slice *value)
{
    dp_slice wanted = dp_slice_of_text(name);
    for (size_t i = 0; i < request->header_count; i++) {
        if (!dp_slice_equal_ignoring_case(request->headers[i].name, wanted)) continue;
        *value = request->headers[i].value;
        return true;
    }
    return false;
}

size_t dp_http_request_header_count(const dp_http_request *request, const char *name)
{
    dp_slice wanted = dp_slice_of_text(name);
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (dp_slice_equal_ignoring_case(request->headers[i].name, wanted)) count++;
    }
    return count;
}

bool dp_http_request_has_header_prefix(const dp_http_request *request, const char *prefix)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; i < request->header_count; i++) {
        dp_slice name = request->headers[i].name;
        if (name.length >= length &&
            dp_slice_equal_ignoring_case(dp_slice_make(name.data, length), dp_slice_make(prefix, length)))
            return true;
    }
    return false;
}

size_t dp_http_request_body_length(const dp_http_request *request)
{
    return request->has_body && request->announced_bytes == 0 ? SIZE_MAX : request->announced_bytes;
}

void dp_http_accept_body(dp_http_request *request, size_t max_bytes)
{
    request->max_body_bytes = max_bytes;
}

void dp_http_set_timer(dp_http_request *request, int64_t at_us)
{
    dp_http_loop *loop = request->loop;
    request->timer.kind = DP_HTTP_TIMER_REQUEST;
    if (at_us == 0) {
        dp_timer_heap_cancel(&loop->timers, &request->timer);
    } else if (!dp_timer_heap_set(&loop->timers, &request->timer, at_us)) {
        dp_log_entry(loop->server->log, DP_LOG_ERROR, "server.http", "out of memory for a timer",
                     dp_log_integer("timers", (int64_t)loop->timers.count));
    }
}
