/* One operation: attempts, waits and the end, driven by one thread; and what all operations of a client
 * share.
 *
 * Each attempt takes a breaker permit, then a slot, then makes its exchange, then gives both back; the wait
 * before the next attempt holds neither. A driver is a transport channel and the operations on it. The
 * client's lock guards breaker, bulkhead, budget, numbers and lists, and is never held while anything waits
 * or calls back. Start reading at dp_driver_step.
 */
#ifndef DPONE_CLIENT_OPERATION_H
#define DPONE_CLIENT_OPERATION_H

#include <pthread.h>

#include "client/bulkhead.h"
#include "client/circuit_breaker.h"
#include "client/config.h"
#include "client/http_curl.h"
#include "client/request_text.h"
#include "client/retry_budget.h"
#include "client/retry_policy.h"

typedef struct dp_operation dp_operation;
typedef struct dp_driver dp_driver;

typedef enum dp_operation_state {
    DP_OPERATION_ASK,      /* the next attempt may ask for its permit */
    DP_OPERATION_POOL,     /* has a permit, waits for a slot */
    DP_OPERATION_EXCHANGE, /* has both, the transport is at work */
    DP_OPERATION_BACKOFF,  /* has neither, waits for the next attempt */
    DP_OPERATION_ENDED
} dp_operation_state;

struct dp_operation {
    dp_operation_state state;
    dp_driver *driver;
    dp_client_request request;
    dp_request_text text;
    dp_client_response *response;
    dp_error *error;

    dp_breaker_permit permit;
    dp_bulkhead_waiter place;
    dp_transport_exchange exchange;
    unsigned max_attempts;
    bool sink_dirty; /* the sink holds a part of a reply that did not complete */
    char last_failure[192];

    int64_t started_us;
    int64_t deadline_us;
    int64_t pool_since_us;
    int64_t pool_until_us;
    int64_t attempt_since_us;
    int64_t attempt_us; /* the last attempt's */
    int64_t backoff_since_us;
    int64_t backoff_until_us;

    dp_operation *previous; /* among the driver's operations */
    dp_operation *next;
    dp_operation *next_ended;
    dp_operation *previous_cancellable; /* among those that carry the same cancellation */
    dp_operation *next_cancellable;
};

struct dp_driver {
    dp_client *client;
    dp_transport_channel *channel;
    dp_operation *operations; /* not ended, in the order in which they were started */
    dp_operation *last_operation;
    dp_operation *ended_first;
    dp_operation *ended_last;
    bool counts_ends; /* an end takes the operation off the client's count at once (queues) */
    dp_driver *next_idle;
    dp_operation blocking; /* the operation of a blocking call, kept for its memory */
};

struct dp_client {
    dp_arena *arena;
    dp_client_config config;
    dp_retry_policy policy;
    int64_t pool_us;

    pthread_mutex_t lock;
    pthread_cond_t nothing_in_flight;
    dp_breaker breaker;
    dp_bulkhead bulkhead;
    dp_retry_budget budget;
    dp_client_stats stats;
    uint64_t random_state;
    bool closing;
    size_t in_flight;
    dp_driver *idle_drivers;
    dp_client_queue *queues;
};

dp_driver *dp_driver_new(dp_client *client);
void dp_driver_free(dp_driver *driver);

/* Puts an operation on the driver; nothing waits. `response` must have its memory. USAGE: the request cannot
 * be used, or the client is closed; nothing was started then, but the response says so. */
dp_status dp_operation_start(dp_driver *driver, dp_operation *operation, const dp_client_request *request,
                             dp_client_response *response, dp_error *error);

/* Moves every operation forward, then waits until something has ended, extra_fd is readable, it was woken, or
 * until_us (0: do not wait). */
void dp_driver_step(dp_driver *driver, int extra_fd, int64_t until_us, bool *extra_ready);

/* Sends a new operation on its way, as far as it goes without waiting. */
void dp_driver_kick(dp_driver *driver, dp_operation *operation);

/* Ends an operation that has not ended as cancelled. */
void dp_operation_cancel(dp_operation *operation);

dp_operation *dp_driver_next_ended(dp_driver *driver);

#endif
