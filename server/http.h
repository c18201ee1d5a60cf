/* An HTTP server as the rest of dpone sees it: requests come as events, answers are given when they are
 * ready, from any thread. What is below is an adapter's business (microhttpd_parts.h).
 *
 * Each event thread owns its connections. A request lives on one of them: on_headers, on_request, on_timer,
 * on_wake and on_done of one request never run at the same time. A handler must not block; one that has no
 * answer yet calls dp_http_defer and answers later. Every request ends with exactly one on_done, after which
 * the pointer is dead.
 */
#ifndef DPONE_SERVER_HTTP_H
#define DPONE_SERVER_HTTP_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"

typedef struct dp_http_server dp_http_server;
typedef struct dp_http_request dp_http_request;

typedef struct dp_http_header {
    dp_slice name;
    dp_slice value;
} dp_http_header;

enum { DP_HTTP_MAX_RESPONSE_HEADERS = 12 };

typedef struct dp_http_response {
    unsigned status;
    dp_slice body; /* copied */
    size_t header_count;
    struct {
        const char *name;  /* constant text; each name once */
        const char *value; /* copied */
    } headers[DP_HTTP_MAX_RESPONSE_HEADERS];
    bool close; /* end the connection after it */
} dp_http_response;

static inline void dp_http_response_add(dp_http_response *response, const char *name, const char *value)
{
    if (response->header_count == DP_HTTP_MAX_RESPONSE_HEADERS) return;
    response->headers[response->header_count].name = name;
    response->headers[response->header_count].value = value;
    response->header_count++;
}

/* A body produced piece by piece. `read` runs on the event thread and must not block. */
typedef enum dp_http_stream_state {
    DP_HTTP_STREAM_DATA,  /* *length bytes were written, more than 0 */
    DP_HTTP_STREAM_WAIT,  /* nothing yet: dp_http_stream_ready will be called */
    DP_HTTP_STREAM_END,   /* complete */
    DP_HTTP_STREAM_BROKEN /* cut the connection, so that the receiver knows */
} dp_http_stream_state;

typedef struct dp_http_stream {
    void *context;
    dp_http_stream_state (*read)(void *context, char *out, size_t capacity, size_t *length);
    void (*close)(void *context); /* exactly once, when nobody reads any more */
} dp_http_stream;

typedef struct dp_http_handlers {
    void *context;
    /* The header is complete and well-formed. Sets how large a body may be with dp_http_accept_body (0
     * otherwise), or responds, which closes the connection when a body was coming. */
    void (*on_headers)(void *context, dp_http_request *request);
    /* The body is complete. Responds or defers. */
    void (*on_request)(void *context, dp_http_request *request);
    void (*on_timer)(void *context, dp_http_request *request);
    void (*on_wake)(void *context, dp_http_request *request);
    /* status 0: the connection ended before an answer was queued. */
    void (*on_done)(void *context, dp_http_request *request, unsigned status);
    /* Makes the answer of the adapter itself to a malformed request: status and a text for `detail`. */
    void (*on_malformed)(void *context, dp_http_request *request, unsigned status, const char *detail);
    void (*on_connection_timeout)(void *context);
    void (*on_connection)(void *context);
} dp_http_handlers;

typedef struct dp_http_options {
    const char *host;
    uint16_t port; /* 0: any free one */
    unsigned thread_count;
    unsigned max_connections;
    size_t max_header_bytes;     /* request line and fields; more is 431 */
    unsigned silence_timeout_s;  /* a connection on which nothing moves, such as an answer not taken */
    size_t request_user_bytes;   /* zeroed memory of the application's in every request */
    const char *tls_certificate; /* PEM text; NULL for plain HTTP */
    const char *tls_key;
    dp_log *log;
} dp_http_options;

/* Binds and starts the threads. Both structs are copied. */
dp_status dp_http_server_start(const dp_http_options *options, const dp_http_handlers *handlers,
                               dp_http_server **server, dp_error *error);

uint16_t dp_http_server_port(const dp_http_server *server);
unsigned dp_http_server_connection_count(const dp_http_server *server);

/* Deadlines may change at any time. */
void dp_http_server_set_timeouts(dp_http_server *server, int64_t header_timeout_us, int64_t body_timeout_us);

typedef enum dp_http_stop {
    DP_HTTP_STOP_FINISHED, /* every request had finished */
    DP_HTTP_STOP_CUT,      /* some were answered with 503 or cut */
    DP_HTTP_STOP_STUCK /* a thread that was handed a request does not answer it: free nothing, end the process
                        */
} dp_http_stop;

/* Stops accepting, lets running requests finish for at most `grace_us`, stops the threads. Requests that were
 * handed over have `held_grace_us` more, because what works for them cannot be taken back; 0: as long as it
 * takes. */
dp_http_stop dp_http_server_stop(dp_http_server *server, int64_t grace_us, int64_t held_grace_us);
void dp_http_server_free(dp_http_server *server);

/* What a request says. Slices are valid until on_done. */
void *dp_http_request_user(dp_http_request *request);
dp_slice dp_http_request_method(const dp_http_request *request);
dp_slice dp_http_request_path(const dp_http_request *request); /* percent-encoded */
dp_slice dp_http_request_query(const dp_http_request *request);
bool dp_http_request_header(const dp_http_request *request, const char *name,
                            dp_slice *value); /* the first */
size_t dp_http_request_header_count(const dp_http_request *request, const char *name);
/* Whether there is a header whose name begins so. */
bool dp_http_request_has_header_prefix(const dp_http_request *request, const char *prefix);
dp_slice dp_http_request_body(const dp_http_request *request);
bool dp_http_request_has_body(const dp_http_request *request); /* announced by the header */
/* As announced by Content-Length; SIZE_MAX for a chunked body. In on_headers only. */
size_t dp_http_request_body_length(const dp_http_request *request);
bool dp_http_request_is_loopback(const dp_http_request *request);
/* Whether the peer has closed its side since: nobody will read the answer. While deferred only. */
bool dp_http_request_has_left(const dp_http_request *request);
int64_t dp_http_request_started_us(const dp_http_request *request); /* monotonic: header complete */
/* The time of the event that is being handled; cheaper than the clock. */
int64_t dp_http_request_now_us(const dp_http_request *request);

/* In on_headers only. A larger body is answered with 413 as soon as it is known to be larger. */
void dp_http_accept_body(dp_http_request *request, size_t max_bytes);

/* In on_headers or on_request: the answer comes later. */
void dp_http_defer(dp_http_request *request);

/* As defer; another thread is going to respond for certain, and stopping waits for it. */
void dp_http_hand_over(dp_http_request *request);

/* The answer. Within handlers of the request at any time; from other threads only after
 * dp_http_hand_over. */
void dp_http_respond(dp_http_request *request, const dp_http_response *response);
/* As respond, with a streamed body; response->body is not used. */
void dp_http_respond_stream(dp_http_request *request, const dp_http_response *response,
                            const dp_http_stream *stream);

/* From any thread: the stream of this request has data again. */
void dp_http_stream_ready(dp_http_request *request);

/* On the request's own thread: on_timer at or after `at_us`, replacing an earlier time; 0 cancels. */
void dp_http_set_timer(dp_http_request *request, int64_t at_us);

/* From any thread, for a deferred request: on_wake on its own thread, soon. */
void dp_http_wake(dp_http_request *request);

#endif
