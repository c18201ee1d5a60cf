/* The HTTP server on libmicrohttpd, event-driven.
 *
 * Every event thread runs one MHD daemon in external polling mode on the shared listening socket. MHD's own
 * polling thread is not used: its epoll loop repeats a blocking epoll_wait after a full round of 128 events
 * and so stalls when 128 or 256 connections are ready at once (docs/decisions/0020-http-event-loop.md).
 * Polling here also lets timers and wake-ups share the thread, so that requests need no locks of their own.
 */
#include "server/http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/answer_microhttpd.h"
#include "server/header_rules.h"
#include "server/http_redirects.h"
#include "server/lingering.h"
#include "server/listen_socket.h"
#include "server/request_target.h"
#include "server/timer_heap.h"

enum {
    /* What a connection's memory holds beside the header: the library's records, the answer's header, and so
     * much of a header above the limit that it is refused by us. Untouched memory costs nothing, because
     * nobody clears it (http_pool_memory.c). */
    MEMORY_BESIDE_HEADER_BYTES = 16 * 1024,
    MAX_TARGET_BYTES = 8192,
    LINE_END_BYTES = 2, /* CR LF */
    MAX_HEADERS = 100,
    INLINE_TARGET_BYTES = 128,
    MAX_KEPT_REQUESTS = 256, /* per thread, for reuse */
    STREAM_BLOCK_BYTES = 65536,
    LONGEST_POLL_MS = 1000,
    DRAIN_US = 100000,
    BODY_LOOK_US = 250000, /* how often it is looked whether the sender of a body is still there */
    /* Above this many connections a thread ends each after its answer: an idle one that has been used holds
     * all of its memory, one that has not holds next to nothing. */
    CROWDED_CONNECTIONS = 2048,
    RESERVED_FILES = 128
};

/* Releases after it have strictness levels of their own. */
#define LIBRARY_WITH_KNOWN_LAYOUT "0.9.75"

/* How the library's log begins to say what it answers by itself; the status is the first argument. */
#define REFUSAL_FORMAT "Error processing request (HTTP response code is %u"

#define MAX_BODY_MEMORY_BYTES ((size_t)256 << 20)

typedef enum timer_kind { TIMER_CONNECTION, TIMER_REQUEST, TIMER_LINGER } timer_kind;

typedef enum inbox_flag { INBOX_RESPONSE = 1, INBOX_WAKE = 2, INBOX_STREAM = 4 } inbox_flag;

typedef struct event_loop {
    dp_http_server *server;
    pthread_t thread;
    bool thread_started;
    _Atomic bool ended;
    struct MHD_Daemon *daemon;
    int poll_file;
    int wake_file;
    int64_t now_us;
    dp_timer_heap timers;
    dp_http_request *free_requests;
    size_t free_count;
    dp_http_request *deferred; /* suspended, no answer yet */
    unsigned waiting_streams;  /* suspended within an answer */
    unsigned refusal_status;   /* of the answer that the library is about to give by itself */
    unsigned connection_count;
    dp_lingering lingering;
    pthread_mutex_t inbox_lock;
    dp_http_request *inbox_first;
    dp_http_request *inbox_last;
    bool inbox_signalled;
} event_loop;

typedef struct connection {
    event_loop *loop;
    int file;
    bool is_loopback;
    bool is_tracked;     /* its phase has a deadline */
    bool lingers;        /* was answered before all that it sends had been read */
    bool is_refused;     /* the library found a fault in the request */
    int64_t deadline_us; /* of the phase: header or body */
    dp_timer timer;
    dp_http_request *request;
} connection;

struct dp_http_request {
    event_loop *loop;
    connection *owner;
    struct MHD_Connection *mhd;
    dp_slice method;
    dp_request_target target;
    bool target_valid;
    bool target_too_long;
    bool headers_seen; /* or refused before */
    bool is_over;      /* on_done has been called */
    bool dispatched;
    bool suspended;
    bool was_shared; /* has been suspended once, so other threads may know of it */
    bool has_body;
    bool body_too_large;
    bool in_chunks;       /* some of a chunk has come */
    bool chunk_is_odd;    /* the line that began the last chunk may have ended with LF alone */
    bool framing_is_odd;  /* so with any of the chunks */
    const char *odd_line; /* in the library's buffer: that line, when only its end was not seen */
    bool stream_waits;
    bool closes;  /* the connection ends after the answer */
    bool is_held; /* another thread is going to respond */
    bool no_memory;
    unsigned malformed_status;
    const char *malformed_detail;
    dp_header_facts facts;
    const char *target_start; /* in the library's buffer, as are the next two */
    const char *target_end;
    const char *next_line; /* where the next header line begins, when nothing is hidden */
    bool hides_bytes;
    size_t max_body_bytes;
    size_t announced_bytes; /* by Content-Length */
    size_t reserved_bytes;  /* of the server's body memory */
    size_t discarded_bytes;
    dp_buffer body;
    int64_t started_us;
    dp_timer timer;
    unsigned status;
    struct MHD_Response *response;
    bool response_is_kept;      /* belongs to `kept` */
    struct stream_body *stream; /* of the answer being sent */
    dp_http_request *deferred_previous;
    dp_http_request *deferred_next;
    dp_http_request *inbox_previous;
    dp_http_request *inbox_next;
    unsigned inbox_flags; /* under the inbox lock; 0: not in it */
    dp_http_request *free_next;
    char *long_target; /* owned, when it does not fit below */
    char short_target[INLINE_TARGET_BYTES];
    dp_kept_answer kept;
    size_t header_count;
    dp_http_header headers[MAX_HEADERS];
    max_align_t user[];
};

struct dp_http_server {
    dp_http_handlers handlers;
    dp_log *log;
    size_t user_bytes;
    bool knows_layout; /* of the library's buffer */
    unsigned thread_count;
    unsigned crowded_connections;
    size_t max_header_bytes;
    uint16_t port;
    int listen_file;
    _Atomic int64_t header_timeout_us;
    _Atomic int64_t body_timeout_us;
    _Atomic size_t body_memory_bytes;
    _Atomic unsigned connections;
    _Atomic unsigned active; /* requests between header and end */
    _Atomic int64_t last_activity_us;
    _Atomic bool draining;
    _Atomic bool stopping;
    event_loop loops[];
};

static _Thread_local event_loop *current_loop;

/* ---- requests ---- */

static dp_http_request *new_request(event_loop *loop)
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

static void leave_inbox(dp_http_request *request)
{
    event_loop *loop = request->loop;
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

static void forget_deferred(dp_http_request *request)
{
    event_loop *loop = request->loop;
    if (request->deferred_previous == NULL && loop->deferred != request) return;
    *(request->deferred_previous == NULL ? &loop->deferred : &request->deferred_previous->deferred_next) =
        request->deferred_next;
    if (request->deferred_next != NULL)
        request->deferred_next->deferred_previous = request->deferred_previous;
    request->deferred_previous = request->deferred_next = NULL;
}

static void release_body(dp_http_request *request)
{
    if (request->reserved_bytes > 0)
        atomic_fetch_sub(&request->loop->server->body_memory_bytes, request->reserved_bytes);
    request->reserved_bytes = 0;
    dp_buffer_release(&request->body);
}

static void end_stream(struct stream_body *body);

static void forget_response(dp_http_request *request)
{
    if (request->response != NULL && !request->response_is_kept) MHD_destroy_response(request->response);
    request->response = NULL;
    request->response_is_kept = false;
}

static void free_request(dp_http_request *request)
{
    event_loop *loop = request->loop;
    dp_timer_heap_cancel(&loop->timers, &request->timer);
    forget_deferred(request);
    leave_inbox(request);
    forget_response(request);
    if (request->stream != NULL) end_stream(request->stream);
    release_body(request);
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
    event_loop *loop = request->loop;
    request->timer.kind = TIMER_REQUEST;
    if (at_us == 0) {
        dp_timer_heap_cancel(&loop->timers, &request->timer);
    } else if (!dp_timer_heap_set(&loop->timers, &request->timer, at_us)) {
        dp_log_entry(loop->server->log, DP_LOG_ERROR, "server.http", "out of memory for a timer",
                     dp_log_integer("timers", (int64_t)loop->timers.count));
    }
}

/* ---- from other threads ---- */

static void wake_loop(event_loop *loop)
{
    uint64_t one = 1;
    ssize_t written = write(loop->wake_file, &one, sizeof one);
    (void)written; /* a full counter wakes as well */
}

static void post(dp_http_request *request, inbox_flag flag)
{
    event_loop *loop = request->loop;
    pthread_mutex_lock(&loop->inbox_lock);
    if (request->inbox_flags == 0) {
        request->inbox_next = NULL;
        request->inbox_previous = loop->inbox_last;
        *(loop->inbox_last == NULL ? &loop->inbox_first : &loop->inbox_last->inbox_next) = request;
        loop->inbox_last = request;
    }
    request->inbox_flags |= flag;
    bool wake = !loop->inbox_signalled && current_loop != loop;
    if (wake) loop->inbox_signalled = true;
    pthread_mutex_unlock(&loop->inbox_lock);
    if (wake) wake_loop(loop);
}

void dp_http_wake(dp_http_request *request)
{
    post(request, INBOX_WAKE);
}

void dp_http_stream_ready(dp_http_request *request)
{
    post(request, INBOX_STREAM);
}

/* ---- answers ---- */

static bool is_crowded(const event_loop *loop)
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

/* The connection takes the answer up when it goes on. */
static void resume(dp_http_request *request)
{
    if (!request->suspended) return;
    request->suspended = false;
    forget_deferred(request);
    dp_timer_heap_cancel(&request->loop->timers, &request->timer);
    MHD_resume_connection(request->mhd);
}

static void deliver(dp_http_request *request)
{
    if (current_loop != request->loop) {
        post(request, INBOX_RESPONSE);
    } else {
        resume(request);
    }
}

void dp_http_respond(dp_http_request *request, const dp_http_response *response)
{
    forget_response(request);
    struct MHD_Response *made = dp_kept_answer_fill(&request->kept, response);
    request->response_is_kept = made != NULL;
    if (made == NULL) made = dp_answer_new(response);
    set_response(request, response, made);
    deliver(request);
}

/* Owned by the MHD response; the request forgets it when it ends first. */
typedef struct stream_body {
    dp_http_stream stream;
    dp_http_request *request; /* NULL once the request has ended */
    bool is_closed;
} stream_body;

static void close_stream(stream_body *body)
{
    if (body->is_closed) return;
    body->is_closed = true;
    body->stream.close(body->stream.context);
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t capacity)
{
    stream_body *body = context;
    size_t length = 0;
    (void)position;
    if (body->is_closed || body->request == NULL) return MHD_CONTENT_READER_END_WITH_ERROR;
    event_loop *loop = body->request->loop;
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
static void end_stream(stream_body *body)
{
    close_stream(body);
    body->request = NULL;
}

static void free_stream(void *context)
{
    stream_body *body = context;
    close_stream(body);
    if (body->request != NULL) body->request->stream = NULL;
    free(body);
}

void dp_http_respond_stream(dp_http_request *request, const dp_http_response *response,
                            const dp_http_stream *stream)
{
    struct MHD_Response *made = NULL;
    request->was_shared = true;
    stream_body *body = malloc(sizeof *body);
    if (body != NULL) {
        *body = (stream_body){.stream = *stream, .request = request};
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
    event_loop *loop = request->loop;
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

static enum MHD_Result queue_response(dp_http_request *request)
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
    forget_response(request);
    if (result != MHD_YES) request->status = 0;
    return result;
}

/* ---- the header ---- */

static void refuse(dp_http_request *request, unsigned status, const char *detail)
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
    if (request->header_count == MAX_HEADERS) {
        refuse(request, 431, "Too many header fields");
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

/* The library shows each part of the header as a text that ends at a NUL, and so hides what follows a NUL of
 * the client's, and whether a line ended with CR LF or with LF alone. But its texts lie in the buffer as they
 * were received: between two of them there is exactly one blank or one line end, or something is hidden. A
 * line that was folded or dropped shows in the same way. */
static void collect_headers(dp_http_request *request, const char *method, const char *version)
{
    request->next_line = version + strlen(version) + LINE_END_BYTES;
    request->hides_bytes =
        method + request->method.length + 1 != request->target_start || request->target_end + 1 != version;
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, collect_header, request);
}

static void check_header(dp_http_request *request, const char *method, const char *version)
{
    collect_headers(request, method, version);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    dp_header_verdict verdict = dp_header_judge(&request->facts, request->method, dp_slice_of_text(version));
    request->has_body = verdict.has_body;
    request->announced_bytes = (size_t)verdict.announced_bytes;
    if (verdict.fault.status != 0) refuse(request, verdict.fault.status, verdict.fault.detail);
    if (request->target_too_long) refuse(request, 414, "The request target is longer than 8192 bytes");
    if (!request->target_valid) refuse(request, 400, "The request target is malformed");
    if (info != NULL && info->header_size > request->loop->server->max_header_bytes)
        refuse(request, 431, "The header is larger than this server accepts");
    if (info == NULL || request->next_line + LINE_END_BYTES != method + info->header_size)
        request->hides_bytes = true;
    if (request->hides_bytes && request->loop->server->knows_layout)
        refuse(request, 400, "The header has a NUL, a line that does not end with CR LF, or a folded line");
}

/* Takes what Content-Length announces out of the common body memory, so that it cannot be promised away. */
static void reserve_body(dp_http_request *request)
{
    dp_http_server *server = request->loop->server;
    size_t announced = request->announced_bytes;
    if (!request->has_body) return;
    if (announced > request->max_body_bytes) {
        refuse(request, 413, "The body is larger than this endpoint accepts");
        return;
    }
    size_t wanted = announced > 0 ? announced : request->max_body_bytes;
    if (atomic_fetch_add(&server->body_memory_bytes, wanted) + wanted > MAX_BODY_MEMORY_BYTES)
        refuse(request, 503, "Too many bodies are being received");
    request->reserved_bytes = wanted;
    request->body.max_bytes = request->max_body_bytes + 1;
    if (announced > 0 && request->malformed_status == 0 && !dp_buffer_reserve(&request->body, announced))
        refuse(request, 503, "Out of memory for the body");
}

/* ---- MHD's callbacks ---- */

static connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static dp_http_request *add_request(connection *owner, struct MHD_Connection *mhd)
{
    dp_http_request *request = owner == NULL ? NULL : new_request(owner->loop);
    if (request == NULL) return NULL;
    request->owner = owner;
    request->mhd = mhd;
    owner->request = request;
    return request;
}

static void *begin_request(void *context, const char *uri, struct MHD_Connection *mhd)
{
    dp_http_request *request = add_request(connection_of(mhd), mhd);
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

static bool reads_body(const connection *owner)
{
    const dp_http_request *request = owner->request;
    return request != NULL && request->headers_seen && request->response == NULL && request->status == 0;
}

/* A body whose sender is gone never becomes whole. libmicrohttpd waits for the next edge of epoll when it got
 * fewer bytes than it had room for, and so never sees an end that came together with these bytes. */
static bool has_lost_its_sender(const connection *owner)
{
    char byte;
    return reads_body(owner) && recv(owner->file, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int64_t next_look_us(const connection *owner)
{
    int64_t look_us = owner->loop->now_us + BODY_LOOK_US;
    return reads_body(owner) && look_us < owner->deadline_us ? look_us : owner->deadline_us;
}

static void set_phase(connection *owner, bool tracked, int64_t timeout_us)
{
    owner->is_tracked = tracked;
    owner->deadline_us = owner->loop->now_us + timeout_us;
    /* The timer is only pulled forward; when it comes too early it is set again. */
    int64_t at_us = next_look_us(owner);
    if (tracked && (owner->timer.place == 0 || owner->timer.at_us > at_us))
        dp_timer_heap_set(&owner->loop->timers, &owner->timer, at_us);
}

static enum MHD_Result after_handler(dp_http_request *request)
{
    if (request->suspended) return MHD_YES; /* another thread may be setting the response */
    if (request->response == NULL) return request->no_memory ? MHD_NO : MHD_YES;
    return queue_response(request);
}

static void start(dp_http_request *request)
{
    request->headers_seen = true;
    request->started_us = request->loop->now_us;
    atomic_fetch_add_explicit(&request->loop->server->active, 1, memory_order_relaxed);
}

static enum MHD_Result handle_header(dp_http_request *request, const char *method, const char *version)
{
    dp_http_server *server = request->loop->server;
    request->method = dp_slice_of_text(method);
    start(request);
    check_header(request, method, version);
    if (request->malformed_status == 0) server->handlers.on_headers(server->handlers.context, request);
    if (request->malformed_status == 0 && request->response == NULL && !request->no_memory)
        reserve_body(request);
    if (request->malformed_status != 0) {
        request->max_body_bytes = 0;
        server->handlers.on_malformed(server->handlers.context, request, request->malformed_status,
                                      request->malformed_detail);
    }
    int64_t body_timeout_us = atomic_load_explicit(&server->body_timeout_us, memory_order_relaxed);
    set_phase(request->owner, request->has_body, body_timeout_us);
    request->owner->lingers = request->has_body && request->response != NULL;
    return after_handler(request);
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
    connection *owner = connection_of(mhd);
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
    connection *owner = connection_of(mhd);
    if (owner != NULL && owner->request != NULL && !owner->request->dispatched)
        owner->request->chunk_is_odd = true;
}

/* The line that was seen last counts: its chunk has begun, at `data`, or it was the last. */
static void judge_framing(dp_http_request *request, const char *data)
{
    const char *line = request->odd_line; /* has an extension */
    bool ends_well = line != NULL && data > line && memcmp(data - 2, "\r\n", 2) == 0;
    if (request->chunk_is_odd && !ends_well) request->framing_is_odd = true;
}

static enum MHD_Result take_body(dp_http_request *request, const char *data, size_t *length)
{
    judge_framing(request, data);
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

static enum MHD_Result handle_request(dp_http_request *request)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    request->dispatched = true;
    request->owner->is_tracked = false;
    judge_framing(request, NULL);
    if (request->framing_is_odd) request->owner->lingers = true;
    if (request->body_too_large) {
        handlers->on_malformed(handlers->context, request, 413,
                               "The body is larger than this endpoint accepts");
    } else {
        handlers->on_request(handlers->context, request);
    }
    return after_handler(request);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
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
    if (*upload_length > 0) return take_body(request, upload_data, upload_length);
    if (request->response != NULL) return queue_response(request);
    if (request->no_memory) return MHD_NO;
    return request->dispatched ? MHD_YES : handle_request(request);
}

static void finish(dp_http_request *request)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    if (!request->is_over) handlers->on_done(handlers->context, request, request->status);
    request->is_over = true;
}

static void end_request(dp_http_request *request)
{
    dp_http_server *server = request->loop->server;
    connection *owner = request->owner;
    owner->request = NULL;
    if (request->headers_seen) {
        finish(request);
        atomic_store_explicit(&server->last_activity_us, request->loop->now_us, memory_order_relaxed);
        atomic_fetch_sub_explicit(&server->active, 1, memory_order_release);
    }
    free_request(request);
    set_phase(owner, true, atomic_load_explicit(&server->header_timeout_us, memory_order_relaxed));
}

static void complete_request(void *context, struct MHD_Connection *mhd, void **request_slot,
                             enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)mhd;
    (void)code;
    dp_http_request *request = *request_slot;
    *request_slot = NULL;
    if (request != NULL) end_request(request);
}

/* ---- what the library refuses by itself ---- */

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

/* The library lets go of what it has read once it has the answer, so the request is over at once. */
struct MHD_Response *dp_http_refuse(struct MHD_Connection *mhd)
{
    connection *owner = connection_of(mhd);
    if (owner == NULL || owner->loop->refusal_status == 0) return NULL;
    const dp_http_handlers *handlers = &owner->loop->server->handlers;
    dp_http_request *request = owner->request == NULL ? add_request(owner, mhd) : owner->request;
    if (request == NULL || request->is_over) return NULL;
    if (!request->headers_seen) {
        MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, collect_header, request);
        start(request);
    }
    unsigned status = owner->loop->refusal_status;
    handlers->on_malformed(handlers->context, request, status, refusal_detail(status));
    struct MHD_Response *made = request->response;
    if (request->response_is_kept) request->kept.response = NULL; /* it is the library's */
    request->response_is_kept = false;
    request->response = NULL;
    finish(request);
    owner->is_refused = owner->lingers = true;
    return made;
}

bool dp_http_is_refused(struct MHD_Connection *mhd)
{
    const connection *owner = connection_of(mhd);
    return owner != NULL && owner->is_refused;
}

/* ---- connections ---- */

static connection *begin_connection(event_loop *loop, struct MHD_Connection *mhd)
{
    dp_http_server *server = loop->server;
    const union MHD_ConnectionInfo *file = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *peer = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    connection *owner = calloc(1, sizeof *owner);
    if (owner == NULL || file == NULL || peer == NULL) {
        free(owner);
        return NULL;
    }
    owner->loop = loop;
    owner->file = file->connect_fd;
    owner->is_loopback = dp_socket_address_is_loopback(peer->client_addr);
    owner->timer.kind = TIMER_CONNECTION;
    loop->connection_count++;
    atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    server->handlers.on_connection(server->handlers.context);
    set_phase(owner, true, atomic_load_explicit(&server->header_timeout_us, memory_order_relaxed));
    return owner;
}

static void notify_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                              enum MHD_ConnectionNotificationCode code)
{
    event_loop *loop = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = begin_connection(loop, mhd);
        return;
    }
    connection *owner = *socket_context;
    if (owner == NULL) return;
    if (owner->request != NULL) end_request(owner->request);
    if (owner->lingers) dp_lingering_begin(&loop->lingering, owner->file, loop->now_us);
    dp_timer_heap_cancel(&loop->timers, &owner->timer);
    loop->connection_count--;
    atomic_fetch_sub_explicit(&loop->server->connections, 1, memory_order_relaxed);
    free(owner);
}

/* The path stays as it was sent; our own code decodes it. */
static size_t keep_encoded(void *context, struct MHD_Connection *mhd, char *text)
{
    (void)context;
    (void)mhd;
    return strlen(text);
}

/* The library says what it is going to answer before it makes the answer. */
static void note_refusal(event_loop *loop, const char *format, va_list arguments)
{
    if (strncmp(format, REFUSAL_FORMAT, sizeof REFUSAL_FORMAT - 1) != 0) return;
    va_list copy;
    va_copy(copy, arguments);
    loop->refusal_status = va_arg(copy, unsigned);
    va_end(copy);
}

__attribute__((format(printf, 2, 0))) static void log_library(void *context, const char *format,
                                                              va_list arguments)
{
    event_loop *loop = context;
    char text[512];
    note_refusal(loop, format, arguments);
    if (!dp_log_enabled(loop->server->log, DP_LOG_DEBUG)) return;
    vsnprintf(text, sizeof text, format, arguments);
    dp_slice trimmed = dp_slice_trim(dp_slice_of_text(text));
    dp_log_entry(loop->server->log, DP_LOG_DEBUG, "server.http", "libmicrohttpd",
                 dp_log_slice("text", trimmed));
}

/* ---- the event thread ---- */

static void expire_connection(connection *owner)
{
    event_loop *loop = owner->loop;
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

static void run_timers(event_loop *loop)
{
    dp_http_server *server = loop->server;
    dp_timer *timer;
    while ((timer = dp_timer_heap_take_due(&loop->timers, loop->now_us)) != NULL) {
        char *at = (char *)timer;
        if (timer->kind == TIMER_LINGER) {
            dp_lingering_continue(&loop->lingering, timer, loop->now_us);
        } else if (timer->kind == TIMER_CONNECTION) {
            expire_connection((connection *)(void *)(at - offsetof(connection, timer)));
        } else {
            dp_http_request *request = (dp_http_request *)(void *)(at - offsetof(dp_http_request, timer));
            server->handlers.on_timer(server->handlers.context, request);
        }
    }
}

static void handle_posted(dp_http_request *request, unsigned flags)
{
    const dp_http_handlers *handlers = &request->loop->server->handlers;
    if ((flags & INBOX_STREAM) != 0 && request->stream_waits) {
        request->stream_waits = false;
        request->loop->waiting_streams--;
        MHD_resume_connection(request->mhd);
    }
    if ((flags & INBOX_RESPONSE) != 0) {
        resume(request);
    } else if ((flags & INBOX_WAKE) != 0 && request->suspended) {
        handlers->on_wake(handlers->context, request);
    }
}

/* Takes one at a time: a handler may end or post others. */
static void run_inbox(event_loop *loop)
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

static bool inbox_is_empty(event_loop *loop)
{
    pthread_mutex_lock(&loop->inbox_lock);
    bool empty = loop->inbox_first == NULL;
    pthread_mutex_unlock(&loop->inbox_lock);
    return empty;
}

/* How long nothing will happen unless a file becomes ready. */
static int poll_timeout_ms(event_loop *loop)
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
    if (timeout_ms <= 0 || !inbox_is_empty(loop)) return 0;
    return (int)timeout_ms;
}

static void run_once(event_loop *loop)
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
    run_inbox(loop);
    run_timers(loop);
    MHD_run(loop->daemon);
}

/* Answers for those that wait for time or a slot; false while others still work for some. */
static bool end_deferred(event_loop *loop)
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

static void *run_loop(void *context)
{
    event_loop *loop = context;
    dp_http_server *server = loop->server;
    current_loop = loop;
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

/* ---- start and stop ---- */

static unsigned connection_limit(const dp_http_options *options)
{
    struct rlimit files;
    uint64_t limit = options->max_connections;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* each connection is a file */
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_max > 2 * RESERVED_FILES && limit > files.rlim_max - RESERVED_FILES)
            limit = files.rlim_max - RESERVED_FILES;
    }
    return (unsigned)(limit / options->thread_count);
}

/* GnuTLS's ordinary choice still has the two versions that RFC 8996 gave up. */
static const char tls_versions[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";

static bool start_daemon(event_loop *loop, const dp_http_options *options, int listen_file)
{
    struct MHD_OptionItem tls[4] = {{MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (options->tls_certificate != NULL) {
        union {
            const char *text;
            void *for_mhd; /* MHD copies it */
        } certificate = {options->tls_certificate}, key = {options->tls_key}, versions = {tls_versions};
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, certificate.for_mhd};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key.for_mhd};
        tls[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions.for_mhd};
        tls[3] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    loop->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, loop, MHD_OPTION_EXTERNAL_LOGGER, log_library, loop,
        MHD_OPTION_LISTEN_SOCKET, listen_file, MHD_OPTION_CONNECTION_LIMIT, connection_limit(options),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, options->max_header_bytes + MEMORY_BESIDE_HEADER_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, options->silence_timeout_s, MHD_OPTION_STRICT_FOR_CLIENT, 0,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, begin_request, loop, MHD_OPTION_NOTIFY_COMPLETED, complete_request, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, notify_connection, loop, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    return loop->daemon != NULL;
}

static dp_status start_loop(event_loop *loop, const dp_http_options *options, dp_error *error)
{
    dp_http_server *server = loop->server;
    int listen_file = fcntl(server->listen_file, F_DUPFD_CLOEXEC, 3);
    loop->wake_file = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->now_us = dp_clock_monotonic_us();
    if (listen_file < 0 || loop->wake_file < 0)
        return dp_error_set(error, DP_STATUS_IO, "unable to start an event thread: %s", strerror(errno));
    if (!start_daemon(loop, options, listen_file)) {
        close(listen_file);
        dp_error_set(error, DP_STATUS_IO, "unable to start libmicrohttpd");
        if (options->tls_certificate != NULL)
            dp_error_hint(error, "check that --tls-cert and --tls-key are PEM files that belong together");
        return DP_STATUS_IO;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) return dp_error_set(error, DP_STATUS_IO, "libmicrohttpd was built without epoll");
    loop->poll_file = info->epoll_fd;
    return DP_STATUS_OK;
}

static dp_status start_threads(dp_http_server *server, dp_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int fault = 0;
    for (unsigned i = 0; i < server->thread_count && fault == 0; i++) {
        fault = pthread_create(&server->loops[i].thread, NULL, run_loop, &server->loops[i]);
        server->loops[i].thread_started = fault == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (fault == 0) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_IO, "unable to start an event thread: %s", strerror(fault));
}

dp_status dp_http_server_start(const dp_http_options *options, const dp_http_handlers *handlers,
                               dp_http_server **out, dp_error *error)
{
    dp_http_server *server = calloc(1, sizeof *server + options->thread_count * sizeof(event_loop));
    if (server == NULL) return dp_error_no_memory(error, "the HTTP server");
    server->handlers = *handlers;
    server->log = options->log;
    server->user_bytes = options->request_user_bytes;
    server->max_header_bytes = options->max_header_bytes;
    server->crowded_connections = CROWDED_CONNECTIONS / options->thread_count;
    server->knows_layout = strcmp(MHD_get_version(), LIBRARY_WITH_KNOWN_LAYOUT) == 0;
    server->listen_file = -1;
    dp_http_server_set_timeouts(server, 60 * 1000000, 60 * 1000000);
    dp_status status =
        dp_listen_socket_open(options->host, options->port, &server->listen_file, &server->port, error);
    for (unsigned i = 0; status == DP_STATUS_OK && i < options->thread_count; i++) {
        server->loops[i].server = server;
        server->loops[i].wake_file = -1;
        server->loops[i].lingering =
            (dp_lingering){.timers = &server->loops[i].timers, .timer_kind = TIMER_LINGER};
        pthread_mutex_init(&server->loops[i].inbox_lock, NULL);
        server->thread_count = i + 1;
        status = start_loop(&server->loops[i], options, error);
    }
    if (status == DP_STATUS_OK) status = start_threads(server, error);
    if (status != DP_STATUS_OK) {
        dp_http_server_stop(server, 0, 0);
        dp_http_server_free(server);
        return status;
    }
    *out = server;
    return DP_STATUS_OK;
}

void dp_http_server_set_timeouts(dp_http_server *server, int64_t header_timeout_us, int64_t body_timeout_us)
{
    atomic_store(&server->header_timeout_us, header_timeout_us);
    atomic_store(&server->body_timeout_us, body_timeout_us);
}

uint16_t dp_http_server_port(const dp_http_server *server)
{
    return server->port;
}

unsigned dp_http_server_connection_count(const dp_http_server *server)
{
    return atomic_load_explicit(&server->connections, memory_order_relaxed);
}

static void stop_accepting(dp_http_server *server)
{
    atomic_store(&server->draining, true);
    for (unsigned i = 0; i < server->thread_count; i++) {
        if (server->loops[i].daemon == NULL) continue;
        MHD_socket file = MHD_quiesce_daemon(server->loops[i].daemon);
        if (file != MHD_INVALID_SOCKET) close(file);
    }
    if (server->listen_file >= 0) close(server->listen_file);
    server->listen_file = -1;
}

/* Nothing is at work, and nothing has been for a moment: what clients had already sent is answered. */
static bool is_drained(const dp_http_server *server)
{
    if (atomic_load_explicit(&server->active, memory_order_acquire) > 0) return false;
    return dp_clock_monotonic_us() - atomic_load(&server->last_activity_us) > DRAIN_US;
}

static bool has_ended(const dp_http_server *server)
{
    for (unsigned i = 0; i < server->thread_count; i++) {
        const event_loop *loop = &server->loops[i];
        if (loop->thread_started && !atomic_load_explicit(&loop->ended, memory_order_acquire)) return false;
    }
    return true;
}

static bool end_loops(dp_http_server *server, int64_t held_grace_us)
{
    int64_t give_up_us = dp_clock_monotonic_us() + held_grace_us;
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    for (unsigned i = 0; i < server->thread_count; i++) {
        wake_loop(&server->loops[i]);
    }
    while (!has_ended(server)) {
        if (held_grace_us > 0 && dp_clock_monotonic_us() > give_up_us) return false;
        usleep(1000);
    }
    return true;
}

dp_http_stop dp_http_server_stop(dp_http_server *server, int64_t grace_us, int64_t held_grace_us)
{
    int64_t give_up_us = dp_clock_monotonic_us() + grace_us;
    atomic_store(&server->last_activity_us, dp_clock_monotonic_us());
    stop_accepting(server);
    while (grace_us > 0 && !is_drained(server) && dp_clock_monotonic_us() < give_up_us) {
        usleep(5000);
    }
    bool finished = atomic_load(&server->active) == 0;
    if (!end_loops(server, held_grace_us)) return DP_HTTP_STOP_STUCK;
    for (unsigned i = 0; i < server->thread_count; i++) {
        event_loop *loop = &server->loops[i];
        if (loop->thread_started) pthread_join(loop->thread, NULL);
        if (loop->daemon != NULL) MHD_stop_daemon(loop->daemon);
        loop->daemon = NULL;
    }
    return finished ? DP_HTTP_STOP_FINISHED : DP_HTTP_STOP_CUT;
}

void dp_http_server_free(dp_http_server *server)
{
    if (server == NULL) return;
    for (unsigned i = 0; i < server->thread_count; i++) {
        event_loop *loop = &server->loops[i];
        while (loop->free_requests != NULL) {
            dp_http_request *request = loop->free_requests;
            loop->free_requests = request->free_next;
            dp_kept_answer_release(&request->kept);
            free(request);
        }
        dp_lingering_end(&loop->lingering);
        dp_timer_heap_release(&loop->timers);
        if (loop->wake_file >= 0) close(loop->wake_file);
        pthread_mutex_destroy(&loop->inbox_lock);
    }
    free(server);
}
