/* What the parts of the HTTP adapter share: the event thread, the connection, the request and the server.
 * Internal to server/microhttpd_*.c; everybody else knows server/http.h.
 *
 * A connection and a request belong to one event thread, which alone touches them and needs no lock; other
 * threads post to its inbox (microhttpd_inbox.h). The parts, each with a header that presents it:
 *
 *   server       options, daemons and threads: start and stop
 *   loop         the event thread: polls, runs timers and the inbox, lets the library work
 *   connection   what the library calls: the life of connections and requests
 *   deadlines    how long the phases of a connection may take
 *   header, body what is asked of a header, and how a body is taken in
 *   refusal      what the library refuses by itself, answered by us; redirects: how that comes about
 *   answer       answers, at once, later or piece by piece
 *   inbox        what other threads have to say
 *   request      a request's memory, and what it says of itself
 */
#ifndef DPONE_SERVER_MICROHTTPD_PARTS_H
#define DPONE_SERVER_MICROHTTPD_PARTS_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/answer_microhttpd.h"
#include "server/header_rules.h"
#include "server/http.h"
#include "server/lingering.h"
#include "server/request_target.h"
#include "server/timer_heap.h"

enum { DP_HTTP_MAX_HEADERS = 100, DP_HTTP_INLINE_TARGET_BYTES = 128 };

typedef enum dp_http_timer_kind {
    DP_HTTP_TIMER_CONNECTION,
    DP_HTTP_TIMER_REQUEST,
    DP_HTTP_TIMER_LINGER
} dp_http_timer_kind;

typedef enum dp_http_inbox_flag {
    DP_HTTP_INBOX_RESPONSE = 1,
    DP_HTTP_INBOX_WAKE = 2,
    DP_HTTP_INBOX_STREAM = 4
} dp_http_inbox_flag;

typedef struct dp_http_loop dp_http_loop;
typedef struct dp_http_connection dp_http_connection;

struct dp_http_loop {
    dp_http_server *server;
    pthread_t thread;
    bool thread_started;
    bool accepts_no_more; /* the thread's own */
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
};

struct dp_http_connection {
    dp_http_loop *loop;
    int file;
    bool is_loopback;
    bool is_tracked;     /* its phase has a deadline */
    bool lingers;        /* was answered before all that it sends had been read */
    bool is_refused;     /* the library found a fault in the request */
    bool has_odd;        /* a NUL or a bare LF in the part of a header that has come */
    int64_t deadline_us; /* of the phase: header or body */
    dp_timer timer;
    dp_http_request *request;
};

struct dp_http_request {
    dp_http_loop *loop;
    dp_http_connection *owner;
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
    bool in_chunks;        /* some of a chunk has come */
    bool chunk_ended_well; /* the last one that has come, with CR LF */
    bool chunk_is_odd;     /* its line, or what is before it, may have ended with LF alone */
    bool framing_is_odd;   /* so with any of the chunks */
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
    bool response_is_kept;              /* belongs to `kept` */
    struct dp_http_stream_body *stream; /* of the answer being sent */
    dp_http_request *deferred_previous;
    dp_http_request *deferred_next;
    dp_http_request *inbox_previous;
    dp_http_request *inbox_next;
    unsigned inbox_flags; /* under the inbox lock; 0: not in it */
    dp_http_request *free_next;
    char *long_target; /* owned, when it does not fit below */
    char short_target[DP_HTTP_INLINE_TARGET_BYTES];
    dp_kept_answer kept;
    size_t header_count;
    dp_http_header headers[DP_HTTP_MAX_HEADERS];
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
    dp_http_loop loops[];
};

/* The one whose thread this is; NULL on other threads. */
extern _Thread_local dp_http_loop *dp_http_current_loop;

#endif
