#include "server/microhttpd_loop.h"

#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/microhttpd_deadlines.h"
#include "server/microhttpd_inbox.h"

enum { LONGEST_POLL_MS = 1000 };

_Thread_local dp_http_loop *dp_http_current_loop;

static void run_timers(dp_http_loop *loop)
{
    dp_http_server *server = loop->server;
    dp_timer *timer;
    while ((timer = dp_timer_heap_take_due(&loop->timers, loop->now_us)) != NULL) {
        char *at = (char *)timer;
        if (timer->kind == DP_HTTP_TIMER_LINGER) {
            dp_lingering_continue(&loop->lingering, timer, loop->now_us);
        } else if (timer->kind == DP_HTTP_TIMER_CONNECTION) {
            dp_http_expire((dp_http_connection *)(void *)(at - offsetof(dp_http_connection, timer)));
        } else {
            dp_http_request *request = (dp_http_request *)(void *)(at - offsetof(dp_http_request, timer));
            server->handlers.on_timer(server->handlers.context, request);
        }
    }
}

/* How long nothing will happen unless a file becomes ready. */
static int poll_timeout_ms(dp_http_loop *loop)
{
    MHD_UNSIGNED_LONG_LONG library_ms;
    int64_t timeout_ms = LONGEST_POLL_MS;
    if (MHD_get_timeout(loop->daemon, &library_ms) == MHD_YES && (int64_t)library_ms < timeout_ms)
        timeout_ms = (int64_t)library_ms;
    const dp_timer *first = dp_timer_heap_first(&loop->timers);
    if (first != NULL) {
        int64_t left_ms = (first->at_us - loop->now_us + 999) / 1000;
        if (left_ms < timeout_ms) timeout_ms = left_ms;
    }
    if (timeout_ms <= 0 || !dp_http_inbox_is_empty(loop)) return 0;
    return (int)timeout_ms;
}

/* Done by the thread that runs the library: for any other one it may be waiting on the socket, or be about
 * to. */
static void stop_accepting(dp_http_loop *loop)
{
    MHD_socket file = MHD_quiesce_daemon(loop->daemon);
    if (file != MHD_INVALID_SOCKET) close(file);
    loop->accepts_no_more = true;
}

static void run_once(dp_http_loop *loop)
{
    struct pollfd files[2] = {{.fd = loop->poll_file, .events = POLLIN},
                              {.fd = loop->wake_file, .events = POLLIN}};
    poll(files, 2, poll_timeout_ms(loop));
    loop->now_us = dp_clock_monotonic_us();
    if (files[1].revents != 0) {
        uint64_t count;
        ssize_t got = read(loop->wake_file, &count, sizeof count);
        (void)got;
    }
    if (!loop->accepts_no_more && atomic_load_explicit(&loop->server->draining, memory_order_acquire))
        stop_accepting(loop);
    dp_http_run_inbox(loop);
    run_timers(loop);
    MHD_run(loop->daemon);
}

/* Answers for those that wait for time or a slot; false while others still work for some. */
static bool end_deferred(dp_http_loop *loop)
{
    const dp_http_handlers *handlers = &loop->server->handlers;
    dp_http_request *request = loop->deferred;
    bool none_held = loop->waiting_streams == 0;
    while (request != NULL) {
        dp_http_request *next = request->deferred_next;
        if (request->is_held) {
            none_held = false;
        } else {
            handlers->on_malformed(handlers->context, request, 503, "The server is shutting down");
        }
        request = next;
    }
    return none_held;
}

void *dp_http_run_loop(void *context)
{
    dp_http_loop *loop = context;
    dp_http_server *server = loop->server;
    dp_http_current_loop = loop;
    while (!atomic_load_explicit(&server->stopping, memory_order_acquire)) {
        run_once(loop);
    }
    /* The daemon must not be stopped while a connection is suspended. */
    while (!end_deferred(loop)) {
        run_once(loop);
    }
    for (unsigned i = 0; i < 3; i++) {
        MHD_run(loop->daemon); /* resumes, answers, writes */
    }
    atomic_store_explicit(&loop->ended, true, memory_order_release);
    return NULL;
}
