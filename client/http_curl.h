/* The transport: one HTTP exchange at a time or many, over pooled connections; the only user of libcurl.
 *
 * It makes attempts and nothing else: no retries, no breaker, no bulkhead. A channel has its own connections
 * and belongs to one thread at a time, but for dp_http_wake. An exchange is owned by the caller, who keeps it
 * and everything it points to where they are until dp_http_next_ended returns it or dp_http_abort is called.
 */
#ifndef DPONE_CLIENT_HTTP_CURL_H
#define DPONE_CLIENT_HTTP_CURL_H

#include "client/client.h"
#include "client/outcome.h"
#include "client/response.h"

typedef struct dp_http_channel dp_http_channel;
typedef struct dp_http_handle dp_http_handle;

typedef struct dp_http_exchange {
    /* in */
    const char *method;
    const char *url;          /* absolute, http or https */
    const char *const *lines; /* "Name: value" */
    size_t line_count;
    dp_slice body;
    const dp_client_body_source *source;
    const dp_client_body_sink *sink;
    dp_client_response_memory *reply; /* where the reply is collected */
    int64_t deadline_us;              /* monotonic; INT64_MAX: none */

    /* out */
    dp_exchange_end end;
    int http_status;
    int http_version;   /* 10, 11, 20 */
    bool sink_written;  /* the sink has got a part of a body */
    bool reused;        /* a pooled connection carried it */
    int64_t connect_us; /* 0 when reused */
    int64_t first_byte_us;
    int64_t total_us;
    char message[256]; /* why, when end is not REPLIED */

    dp_http_handle *handle; /* private; NULL: not under way */
    struct dp_http_exchange *next_ended;
} dp_http_exchange;

enum { DP_HTTP_MAX_LINES = 144 };

/* Prepares the library; safe to call again and from several threads. */
dp_status dp_http_global_init(dp_error *error);

/* The configuration must outlive the channel. NULL: no memory. */
dp_http_channel *dp_http_channel_new(const dp_client_config *config);

/* Every exchange must have ended. */
void dp_http_channel_free(dp_http_channel *channel);

/* Starts an exchange. False: it could not be started; end and message say why. */
bool dp_http_start(dp_http_channel *channel, dp_http_exchange *exchange);

/* Moves everything forward until an exchange has ended, `extra_fd` (-1: none) is readable, dp_http_wake was
 * called, or the monotonic time `until_us` is reached. */
void dp_http_run(dp_http_channel *channel, int extra_fd, int64_t until_us, bool *extra_ready);

/* The next one that has ended, or NULL. */
dp_http_exchange *dp_http_next_ended(dp_http_channel *channel);

/* Ends an exchange that is under way now; dp_http_next_ended does not return it. */
void dp_http_abort(dp_http_channel *channel, dp_http_exchange *exchange);

/* Makes a running or the next dp_http_run return. From any thread. */
void dp_http_wake(dp_http_channel *channel);

#endif
