#include "server/microhttpd_inbox.h"

#include <unistd.h>

#include "server/microhttpd_answer.h"

void dp_http_wake_loop(dp_http_loop *loop)
{
    uint64_t one = 1;
    ssize_t written = write(loop->wake_file, &one, sizeof one);
    (void)written; /* a full counter wakes as well */
}

void dp_http_post(dp_http_request *request, dp_http_inbox_flag flag)
{
    dp_http_loop *loop = request->loop;
    pthread_mutex_lock(&loop->inbox_lock);
    if (request->inbox_flags == 0) {
        request->inbox_next = NULL;
        request->inbox_previous = loop->inbox_last;
        *(loop->inbox_last == NULL ? &loop->inbox_first : &loop->inbox_last->inbox_next) = request;
        loop->inbox_last = request;
    }
    request->inbox_flags |= flag;
    bool wake = !loop->inbox_signalled && dp_http_current_loop != loop;
    if (wake) loop->inbox_signalled = true;
    pthread_mutex_unlock(&loop->inbox_lock);
    if (wake) dp_http_wake_loop(loop);
}

void dp_http_leave_inbox(dp_http_request *request)
{
    dp_http_loop *loop = request->loop;
    if (!request->was_shared) return;
    pthread_mutex_lock(&loop->inbox_lock);
    if (request->inbox_flags != 0) {
        *(request->inbox_previous == NULL ? &loop->inbox_first : &request->inbox_previous->inbox_next) =
            request->inbox_next;
        *(request->inbox_next == NULL ? &loop->inbox_last : &request->inbox_next->inbox_previous) =
            request->inbox_previous;
        request->inbox_flags = 0;
    }
    pthread_mutex_unlock(&loop->inbox_lock);
}

void dp_http_wake(dp_http_request *request)
{
    dp_http_post(request, DP_HTTP_INBOX_WAKE);
}

void dp_http_stream_ready(dp_http_request *request)
{
    dp_http_post(request, DP_HTTP_INBOX_STREAM);
}

static void handle_posted(dp_http_request *request, unsigned flags)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    if ((flags & DP_HTTP_INBOX_STREAM) != 0 && request->stream_waits) {
        request->stream_waits = false;
        request->loop->waiting_streams--;
        MHD_resume_connection(request->mhd);
    }
    if ((flags & DP_HTTP_INBOX_RESPONSE) != 0) {
        dp_http_resume(request);
    } else if ((flags & DP_HTTP_INBOX_WAKE) != 0 && request->suspended) {
        handlers->on_wake(handlers->context, request);
    }
}

/* Takes one at a time: a handler may end or post others. */
void dp_http_run_inbox(dp_http_loop *loop)
{
    for (;;) {
        pthread_mutex_lock(&loop->inbox_lock);
        dp_http_request *request = loop->inbox_first;
        unsigned flags = 0;
        loop->inbox_signalled = false;
        if (request != NULL) {
            flags = request->inbox_flags;
            request->inbox_flags = 0;
            loop->inbox_first = request->inbox_next;
            *(loop->inbox_first == NULL ? &loop->inbox_last : &loop->inbox_first->inbox_previous) = NULL;
        }
        pthread_mutex_unlock(&loop->inbox_lock);
        if (request == NULL) return;
        handle_posted(request, flags);
    }
}

bool dp_http_inbox_is_empty(dp_http_loop *loop)
{
    pthread_mutex_lock(&loop->inbox_lock);
    bool empty = loop->inbox_first == NULL;
    pthread_mutex_unlock(&loop->inbox_lock);
    return empty;
}
