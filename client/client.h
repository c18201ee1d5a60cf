/* A resilient HTTP client: pooled connections, retries, circuit breaker, bulkhead, request ids, error kinds.
 *
 * What it never does: retry what the server refused for good, sleep past a deadline, hold a slot or a breaker
 * permit while it waits to retry, or print anything (it calls back instead).
 *
 * Ownership: the client copies its configuration, and of a request the URL, method, headers and ids. The
 * body, its source or sink and the cancellation are borrowed: for a blocking call until it returns, for a
 * submitted call until it has been handed back by dp_client_queue_next or the queue is freed. A response owns
 * what it points to until it is used for another call or released.
 *
 * Threads: a dp_client may be used by any number of threads at once. A dp_client_queue belongs to one thread
 * at a time. A dp_client_cancellation may be triggered from any thread. Callbacks run on the thread that
 * makes the call or waits on the queue, with no lock held; they must not call back into the same call or
 * queue.
 *
 * libcurl leaves signals alone here: a program that uses TLS ignores SIGPIPE, as network programs do. A call
 * to a host whose name is being resolved is cancelled only once the resolver has answered.
 *
 * Times are milliseconds in configuration and microseconds in reports. Start at dp_client_new and
 * dp_client_get; several requests at once from one thread: dp_client_queue_new.
 */
#ifndef DPONE_CLIENT_CLIENT_H
#define DPONE_CLIENT_CLIENT_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_client dp_client;
typedef struct dp_client_queue dp_client_queue;
typedef struct dp_client_call dp_client_call;
typedef struct dp_client_cancellation dp_client_cancellation;

/* How an operation ended. X(kind, stable name, status of the function, the kind is retryable, text).
 * A kind that is retryable in general can still carry a reply that is not (501, an untrusted certificate),
 * and APIStatusError one that is (425, 429, 409 request_in_flight): dp_client_response.retryable says so. */
#define DP_CLIENT_KIND_LIST(X)                                                                               \
    X(OK, "", OK, false, "2xx")                                                                              \
    X(CONNECTION_ERROR, "APIConnectionError", REMOTE, true, "no complete, well-formed reply arrived")        \
    X(TIMEOUT, "APITimeoutError", TIMEOUT, true, "connecting, reading, writing or the whole took too long")  \
    X(SERVER_TIMEOUT, "ServerTimeoutError", TIMEOUT, true, "408")                                            \
    X(SERVICE_UNAVAILABLE, "ServiceUnavailableError", REMOTE, true, "502, 503 or 504")                       \
    X(SERVER_ERROR, "ServerError", REMOTE, true, "any other 5xx")                                            \
    X(AUTHENTICATION_ERROR, "AuthenticationError", BLOCKED, false, "401 or 403")                             \
    X(NOT_FOUND, "NotFoundError", NOT_FOUND, false, "404")                                                   \
    X(INVALID_REQUEST, "InvalidRequestError", BLOCKED, false, "400 or 422")                                  \
    X(STATUS_ERROR, "APIStatusError", BLOCKED, false, "any other status that is not 2xx")                    \
    X(POOL_TIMEOUT, "PoolTimeoutError", BUSY, false, "the bulkhead was full for too long")                   \
    X(CIRCUIT_OPEN, "CircuitOpenError", BUSY, false, "the circuit breaker refuses for now")                  \
    X(CANCELLED, "RequestCancelledError", CANCELLED, false, "the caller ended it")                           \
    X(RESPONSE_TOO_LARGE, "ResponseTooLargeError", LIMIT, false, "the reply exceeds max_response_bytes")     \
    X(UNUSABLE_REQUEST, "RequestError", USAGE, false, "the request or the configuration cannot be used")     \
    X(NO_MEMORY, "OutOfMemoryError", NO_MEMORY, false, "memory was refused")

typedef enum dp_client_kind {
#define DP_CLIENT_KIND_ENUM(kind, name, status, retryable, text) DP_CLIENT_##kind,
    DP_CLIENT_KIND_LIST(DP_CLIENT_KIND_ENUM)
#undef DP_CLIENT_KIND_ENUM
        DP_CLIENT_KIND_COUNT
} dp_client_kind;

const char *dp_client_kind_name(dp_client_kind kind); /* "APIConnectionError"; "" for OK */
const char *dp_client_kind_text(dp_client_kind kind);
bool dp_client_kind_retryable(dp_client_kind kind);
bool dp_client_kind_is_timeout(
    dp_client_kind kind); /* APITimeoutError, ServerTimeoutError, PoolTimeoutError */
bool dp_client_kind_has_status(dp_client_kind kind); /* a reply came, so http_status is set */
bool dp_client_kind_is_local(dp_client_kind kind);   /* nothing reached the server because of this side */

/* --- callbacks --- */

typedef enum dp_client_log_level {
    DP_CLIENT_LOG_DEBUG,   /* every attempt, every wait */
    DP_CLIENT_LOG_INFO,    /* the breaker closes */
    DP_CLIENT_LOG_WARNING, /* the breaker opens, an operation has failed for good */
    DP_CLIENT_LOG_OFF
} dp_client_log_level;

/* `message` is one line without control characters, valid during the call. */
typedef void (*dp_client_log_function)(void *context, dp_client_log_level level, const char *message);

typedef enum dp_client_event_type {
    DP_CLIENT_EVENT_ATTEMPT, /* an attempt ended: kind, http_status, attempt, duration_us */
    DP_CLIENT_EVENT_RETRY,   /* another one follows after duration_us */
    DP_CLIENT_EVENT_DONE,    /* an operation ended: kind, http_status, attempt (how many), duration_us */
    DP_CLIENT_EVENT_BREAKER  /* breaker_from and breaker_to name the states: closed, open, half_open */
} dp_client_event_type;

typedef struct dp_client_event {
    dp_client_event_type type;
    const char *request_id; /* valid during the call */
    dp_client_kind kind;
    int http_status; /* 0 without a reply */
    unsigned attempt;
    int64_t duration_us;
    const char *breaker_from;
    const char *breaker_to;
} dp_client_event;

typedef void (*dp_client_event_function)(void *context, const dp_client_event *event);

/* --- configuration --- */

typedef struct dp_client_header {
    const char *name;
    const char *value;
} dp_client_header;

typedef enum dp_client_http_version {
    DP_CLIENT_HTTP_AUTO,       /* HTTP/2 where TLS negotiates it, otherwise HTTP/1.1 */
    DP_CLIENT_HTTP_1_1,        /* only HTTP/1.1 */
    DP_CLIENT_HTTP_2_CLEARTEXT /* HTTP/2 with prior knowledge also without TLS */
} dp_client_http_version;

typedef struct dp_client_config {
    const char *base_url; /* put before URLs that do not name a scheme; NULL: every URL is absolute */

    struct {
        unsigned max_attempts;       /* 3; the first included, 1..100 */
        uint32_t min_wait_ms;        /* 1000 */
        uint32_t max_wait_ms;        /* 60000 */
        uint32_t multiplier_ms;      /* 2000: the ceiling of the first wait, doubled for each further one */
        bool jitter;                 /* true: uniform between min_wait_ms and the ceiling */
        uint32_t retry_after_max_ms; /* 300000: a longer Retry-After ends the operation */
        bool budget;                 /* true: bound retries by the next two */
        unsigned budget_percent;     /* 20: of the requests of the last ten seconds */
        unsigned budget_per_second;  /* 10: always allowed beside that */
    } retry;

    struct {
        bool enabled;               /* true */
        unsigned failure_threshold; /* 5 consecutive failed operations */
        uint32_t recovery_ms;       /* 30000, spread by ten per cent */
    } breaker;

    struct {
        unsigned max_concurrency;    /* 50 attempts at once */
        unsigned max_waiting;        /* 10000 operations may wait for a slot */
        uint32_t acquire_timeout_ms; /* 30000, then PoolTimeoutError */
    } bulkhead;

    struct {
        uint32_t connect_ms; /* 60000: resolving, connecting, TLS */
        uint32_t read_ms;    /* 15000 without a byte of the reply */
        uint32_t write_ms;   /* 15000 without a byte of the request accepted */
        uint32_t pool_ms;  /* 0: bulkhead.acquire_timeout_ms, which this is another name for and overrides */
        uint32_t total_ms; /* 0: none; all attempts and waits together */
    } timeouts;

    struct {
        bool verify;             /* true: certificate and host name */
        const char *ca_file;     /* PEM; NULL: the system's */
        const char *certificate; /* PEM, the client's own; NULL: none */
        const char *private_key; /* PEM */
    } tls;

    const char *proxy;      /* URL; NULL: as the environment says (http_proxy, ...); "": none */
    const char *no_proxy;   /* hosts, separated by commas; NULL: as the environment says */
    bool follow_redirects;  /* true; never from https to http */
    unsigned max_redirects; /* 10 */
    dp_client_http_version http_version;
    size_t max_response_bytes; /* 64 MiB in memory; a body sink is not bounded */
    const char *user_agent;    /* "dpone/<version>" */

    const dp_client_header *headers; /* sent with every request unless it has one of that name */
    size_t header_count;             /* 0..64 */

    dp_client_log_function log; /* NULL: silent */
    void *log_context;
    dp_client_log_level log_level;     /* DP_CLIENT_LOG_INFO: the lowest level that is formatted */
    dp_client_event_function on_event; /* NULL: none */
    void *event_context;
} dp_client_config;

/* The defaults named above. */
dp_client_config dp_client_config_defaults(void);

/* USAGE names the field, the value and the allowed range. dp_client_new does this by itself. */
dp_status dp_client_config_validate(const dp_client_config *config, dp_error *error);

/* --- the client --- */

dp_status dp_client_new(const dp_client_config *config, dp_client **client, dp_error *error);

/* Refuses new operations (RequestError) and waits until those in flight have ended. Calls in flight on queues
 * of the calling thread are driven to their end here. Calling it again does nothing. NULL is allowed. */
void dp_client_close(dp_client *client);

/* Closes, then frees. Every queue must have been freed before. NULL is allowed. */
void dp_client_free(dp_client *client);

/* --- one request --- */

/* Where a body is read from when it is not in memory. */
typedef struct dp_client_body_source {
    void *context;
    /* Fills up to `capacity` bytes, *length of them; 0 is the end. False ends the operation as cancelled. */
    bool (*read)(void *context, char *out, size_t capacity, size_t *length);
    /* Starts again from the first byte, for another attempt. NULL: there is no second attempt. */
    bool (*rewind)(void *context);
    int64_t length; /* bytes; negative: unknown, sent in chunks */
} dp_client_body_source;

/* Where the body of a 2xx reply goes instead of into memory. Other replies are collected as usual. */
typedef struct dp_client_body_sink {
    void *context;
    bool (*write)(void *context, dp_slice part); /* false ends the operation as cancelled */
    /* Forget what was written: another attempt follows. NULL: no retry once something has been written. */
    bool (*restart)(void *context);
} dp_client_body_sink;

typedef struct dp_client_request {
    const char *method; /* "GET" when NULL */
    const char *url;    /* absolute, or a path below base_url */
    const dp_client_header *headers;
    size_t header_count; /* at most 64 */
    dp_slice body;
    const char *content_type;                 /* with a body: "application/json" when NULL */
    const dp_client_body_source *body_source; /* instead of body */
    const dp_client_body_sink *body_sink;
    const char *request_id;               /* X-Request-ID, unless a header names one; NULL: a fresh UUID */
    uint32_t total_timeout_ms;            /* 0: as configured */
    unsigned max_attempts;                /* 0: as configured */
    dp_client_cancellation *cancellation; /* NULL: cannot be cancelled */
    void *context;                        /* the caller's own, see dp_client_call_context */
} dp_client_request;

typedef struct dp_client_field {
    dp_slice name; /* as the server wrote it */
    dp_slice value;
} dp_client_field;

typedef struct dp_client_timing {
    int64_t total_us;      /* the whole operation */
    int64_t backoff_us;    /* of it: waits between attempts */
    int64_t pool_us;       /* of it: waits for a slot */
    int64_t connect_us;    /* last attempt: until connected, TLS included; 0 on a pooled connection */
    int64_t first_byte_us; /* last attempt: until the first byte of the reply */
    int64_t attempt_us;    /* last attempt */
} dp_client_timing;

/* What happened. Filled in whole by every call, also a failed one (this is the documented exception to
 * out-parameters being written only on success). Pointers are valid until the next use or the release. */
typedef struct dp_client_response {
    dp_client_kind kind;
    bool retryable;       /* repeating the whole operation later may succeed */
    int http_status;      /* of the last reply; 0: none came */
    int http_version;     /* 10, 11, 20; 0: no reply */
    unsigned attempts;    /* HTTP attempts made; 0 when refused before the first */
    char request_id[256]; /* cut when the caller's own is longer */
    dp_slice body;
    const dp_client_field *fields; /* the header fields of the last reply */
    size_t field_count;
    int64_t retry_after_us; /* what the last reply asked for, or an open breaker's time left; -1: nothing */
    dp_client_timing timing;
    struct dp_client_response_memory *memory; /* private */
} dp_client_response;

#define DP_CLIENT_RESPONSE_INIT                                                                              \
    {                                                                                                        \
        .retry_after_us = -1                                                                                 \
    }

/* The value of the first field of that name, in any case; data NULL when there is none. */
dp_slice dp_client_response_header(const dp_client_response *response, const char *name);

void dp_client_response_release(dp_client_response *response);

/* OK for a 2xx reply. Otherwise the status of the kind (see DP_CLIENT_KIND_LIST; REMOTE for a retryable
 * APIStatusError); error->code is the kind's name and error->message says what happened and to which request.
 * Blocks until the operation has ended. */
dp_status dp_client_request_send(dp_client *client, const dp_client_request *request,
                                 dp_client_response *response, dp_error *error);
dp_status dp_client_get(dp_client *client, const char *url, dp_client_response *response, dp_error *error);
dp_status dp_client_post(dp_client *client, const char *url, dp_slice json_body, dp_client_response *response,
                         dp_error *error);

/* --- cancellation --- */

/* One cancellation may be given to any number of requests, one after another or at once. NULL: no memory. */
dp_client_cancellation *dp_client_cancellation_new(void);

/* Ends every operation that carries it, and every later one at once. From any thread; not from a signal
 * handler. */
void dp_client_cancel(dp_client_cancellation *cancellation);

/* No operation may carry it any more. NULL is allowed. */
void dp_client_cancellation_free(dp_client_cancellation *cancellation);

/* --- several requests in flight from one thread --- */

/* A queue shares the client's breaker, bulkhead and budget and has connections of its own. */
dp_status dp_client_queue_new(dp_client *client, dp_client_queue **queue, dp_error *error);

/* Cancels what is in flight and frees everything, calls that were not taken included. NULL is allowed. */
void dp_client_queue_free(dp_client_queue *queue);

/* Starts an operation without waiting. *call (may be NULL) identifies it and belongs to the queue until
 * dp_client_queue_next hands it back. An error here means that nothing was started. The request is on its way
 * when this returns; only while ended calls are still to be taken it may leave with the next of them or with
 * dp_client_wait. */
dp_status dp_client_submit(dp_client_queue *queue, const dp_client_request *request, dp_client_call **call,
                           dp_error *error);

/* Moves everything forward until a call has ended, `extra_fd` (-1: none) is readable, or the timeout is over
 * (negative: none; 0: do what can be done at once). Returns at once when nothing is in flight and there is no
 * extra_fd, or when ended calls have not been taken yet. A signal does not end it: make it readable as a
 * descriptor (signalfd, a pipe). *extra_ready may be NULL. */
dp_status dp_client_wait(dp_client_queue *queue, int extra_fd, int64_t timeout_ms, bool *extra_ready,
                         dp_error *error);

/* The next ended call in the order in which they ended, or NULL. The caller owns it, and
 * gives it to dp_client_call_free on the queue's thread, before the queue is freed. */
dp_client_call *dp_client_queue_next(dp_client_queue *queue);

/* Submitted and not handed back yet: while it is above 0, waiting and taking makes progress. */
size_t dp_client_queue_in_flight(const dp_client_queue *queue);

/* Ends the call as cancelled; it is handed back by dp_client_queue_next like any other. Queue's thread only.
 */
void dp_client_call_cancel(dp_client_call *call);

void *dp_client_call_context(const dp_client_call *call);                      /* the request's context */
const dp_client_response *dp_client_call_response(const dp_client_call *call); /* of an ended call */
const dp_error *dp_client_call_error(const dp_client_call *call);              /* status OK for a 2xx reply */
void dp_client_call_free(dp_client_call *call);

/* --- what is going on --- */

typedef struct dp_client_stats {
    uint64_t operations; /* started */
    uint64_t attempts;
    uint64_t retries;
    uint64_t ended[DP_CLIENT_KIND_COUNT]; /* by kind */
    uint64_t breaker_opened;
    uint64_t breaker_half_opened;
    uint64_t breaker_closed;
    const char *breaker_state; /* "closed", "open", "half_open" */
    unsigned slots_used;
    unsigned waiting;
    uint64_t budget_left;
} dp_client_stats;

void dp_client_stats_read(dp_client *client, dp_client_stats *stats);

#endif
