/* The transport: one HTTP exchange at a time or many, over pooled connections; the only user of libcurl.
 *
 * It makes attempts and nothing else: no retries, no breaker, no bulkhead. A channel has its own connections
 * and belongs to one thread at a time, but for dp_transport_wake. An exchange is owned by the caller, who
 * keeps it and everything it points to where they are until dp_transport_next_ended returns it or
 * dp_transport_abort is called.
 */
#ifndef DPONE_CLIENT_HTTP_CURL_H
#define DPONE_CLIENT_HTTP_CURL_H

#include "client/client.h"
#include "client/outcome.h"
#include "client/response.h"

typedef struct dp_transport_channel dp_transport_channel;
typedef struct dp_transport_handle dp_transport_handle;

typedef struct dp_transport_exchange {
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
    char message[256]; /* why, when end is not REPLIED */

    dp_transport_handle *handle; /* private; NULL: not under way */
    struct dp_transport_exchange *next_ended;
} dp_transport_exchange;

enum { DP_TRANSPORT_MAX_LINES = 144 };

/* Prepares the library; safe to call again and from several threads. */
dp_status dp_transport_global_init(dp_error *error);

/* The configuration must outlive the channel. NULL: no memory. */
dp_transport_channel *dp_transport_channel_new(const dp_client_config *config);

/* Every exchange must have ended. */
void dp_transport_channel_free(dp_transport_channel *channel);

/* Starts an exchange. False: it could not be started; end and message say why. */
bool dp_transport_start(dp_transport_channel *channel, dp_transport_exchange *exchange);

/* Moves everything forward until an exchange has ended, `extra_fd` (-1: none) is readable, dp_transport_wake
 * was called, or the monotonic time `until_us` is reached. */
void dp_transport_run(dp_transport_channel *channel, int extra_fd, int64_t until_us, bool *extra_ready);

/* Sends what was started on its way, as far as it goes without waiting. */
void dp_transport_kick(dp_transport_channel *channel);

/* The next one that has ended, or NULL. */
dp_transport_exchange *dp_transport_next_ended(dp_transport_channel *channel);

/* Ends an exchange that is under way now; dp_transport_next_ended does not return it. */
void dp_transport_abort(dp_transport_channel *channel, dp_transport_exchange *exchange);

/* Makes a running or the next dp_transport_run return. From any thread. */
void dp_transport_wake(dp_transport_channel *channel);

#endif
