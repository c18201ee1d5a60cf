#include "server/microhttpd_deadlines.h"

#include <sys/socket.h>

enum { BODY_LOOK_US = 250000 /* how often it is looked whether the sender of a body is still there */ };

static bool reads_body(const dp_http_connection *owner)
{
    const dp_http_request *request = owner->request;
    return request != NULL && request->headers_seen && request->response == NULL && request->status == 0;
}

/* A body whose sender is gone never becomes whole. libmicrohttpd waits for the next edge of epoll when it got
 * fewer bytes than it had room for, and so never sees an end that came together with these bytes. */
static bool has_lost_its_sender(const dp_http_connection *owner)
{
    char byte;
    return reads_body(owner) && recv(owner->file, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int64_t next_look_us(const dp_http_connection *owner)
{
    int64_t look_us = owner->loop->now_us + BODY_LOOK_US;
    return reads_body(owner) && look_us < owner->deadline_us ? look_us : owner->deadline_us;
}

void dp_http_set_phase(dp_http_connection *owner, bool tracked, int64_t timeout_us)
{
    owner->is_tracked = tracked;
    owner->deadline_us = owner->loop->now_us + timeout_us;
    /* The timer is only pulled forward; when it comes too early it is set again. */
    int64_t at_us = next_look_us(owner);
    if (tracked && (owner->timer.place == 0 || owner->timer.at_us > at_us))
        dp_timer_heap_set(&owner->loop->timers, &owner->timer, at_us);
}

void dp_http_expire(dp_http_connection *owner)
{
    dp_http_loop *loop = owner->loop;
    int64_t now_us = loop->now_us;
    if (owner->is_tracked && owner->deadline_us <= now_us) {
        owner->is_tracked = false;
        const dp_http_handlers *handlers = &loop->server->handlers;
        handlers->on_connection_timeout(handlers->context);
        shutdown(owner->file, SHUT_RDWR); /* MHD sees the end and closes */
    } else if (owner->is_tracked && has_lost_its_sender(owner)) {
        owner->is_tracked = false;
        shutdown(owner->file, SHUT_RDWR);
    } else if (owner->is_tracked) {
        dp_timer_heap_set(&loop->timers, &owner->timer, next_look_us(owner));
    }
    /* Otherwise the next phase sets it again. */
}
