/* One request as the application works on it, and the answers that all endpoints share. Internal to server/.
 *
 * The exchange lives in the request's own memory, so it ends with it.
 */
#ifndef DPONE_SERVER_EXCHANGE_H
#define DPONE_SERVER_EXCHANGE_H

#include <pthread.h>

#include "server/admission_queue.h"
#include "server/application.h"
#include "server/failure_state.h"
#include "server/idempotency_cache.h"
#include "server/journal_metrics.h"
#include "server/journal_watch.h"
#include "server/request_target.h"
#include "server/worker_pool.h"
#include "services/journal_api.h"

/* Where a request to /msg is. Changes under the application's lock. */
typedef enum dp_msg_stage {
    DP_MSG_NONE,     /* another route, or answered */
    DP_MSG_QUEUED,   /* waits for a slot */
    DP_MSG_ADMITTED, /* was given a slot and has not yet gone on */
    DP_MSG_JOINED,   /* waits for another request with its id */
    DP_MSG_HEIR,     /* was made leader when the leader gave up; waits for a slot */
    DP_MSG_DELAYED,  /* holds a slot and waits out its delay */
    DP_MSG_GIVEN     /* was given the value of the request it had joined */
} dp_msg_stage;

/* What was decided about a /v1 request when its header was complete. */
typedef enum dp_v1_refusal {
    DP_V1_ACCEPTED,
    DP_V1_TOKEN_REQUIRED,
    DP_V1_UNAUTHORIZED,
    DP_V1_NO_STATE,
    DP_V1_MEDIA_TYPE
} dp_v1_refusal;

typedef struct dp_exchange {
    dp_application *application;
    dp_http_request *request;
    dp_route_match match;
    dp_route route; /* DP_ROUTE_COUNT when none was met */
    char correlation_id[DP_UUID_TEXT_BYTES];
    char value[DP_UUID_TEXT_BYTES];
    dp_msg_stage stage;
    bool is_engaged; /* waits for something; only the request's own thread looks */
    bool was_heir;
    bool holds_slot;
    uint32_t delay_ms;
    int64_t deadline_us;
    int64_t delay_end_us;
    int64_t queued_us;
    dp_slice request_id; /* empty: none */
    dp_admission_waiter admission;
    dp_idempotency_waiter idempotency;
    dp_v1_refusal refusal;
    bool may_wait;         /* a reader of events that is suspended when there are none */
    int64_t wait_until_us; /* of such a reader */
    dp_waiting_reader waiting;
    bool follows; /* a batch that comes after another one: server/v1_routes.c */
    int64_t follow_until_us;
    dp_batch_waiter waiter;
    dp_worker_job *follower; /* its job; read only by who has unparked the waiter */
} dp_exchange;

/* What may change while running. Read under the lock. */
typedef struct dp_application_limits {
    int64_t request_timeout_us;
    char *cors_origins; /* owned; NULL: any */
} dp_application_limits;

struct dp_application {
    pthread_mutex_t lock;
    dp_failure_state failure;
    dp_admission_queue admission;
    dp_idempotency_cache *cache;
    dp_application_limits limits;
    _Atomic bool cors_enabled;
    _Atomic bool docs_enabled;
    dp_metrics metrics;
    dp_log *log;
    _Atomic(dp_http_server *) http; /* set once it has started */
    int64_t started_us;
    int64_t started_wall_us;
    dp_journal_api *journal; /* NULL: without a state */
    dp_journal_metrics *journal_metrics;
    dp_worker_pool *readers; /* work on the state that reads, and the work that writes */
    dp_worker_pool *writers;
    dp_waiting_readers *waiting; /* requests for events that have found none; NULL: without a state */
    dp_journal_watch *watch;
    const char *token; /* "": none is configured */
    _Atomic bool stopping;
    size_t max_batch_bytes;
    _Atomic int64_t fault_log_due_us; /* no line about the state's faults before */
};

/* Answers with JSON (or another type) and the headers every answer has. Extra headers may be set before. */
void dp_exchange_respond(dp_exchange *exchange, dp_http_response *response, const char *content_type,
                         dp_slice body);
/* The part of it that adds headers; `origin` must live until the answer has been given. */
void dp_exchange_add_headers(dp_exchange *exchange, dp_http_response *response, const char *content_type,
                             char *origin, size_t origin_capacity);

void dp_exchange_respond_json(dp_exchange *exchange, unsigned status, dp_slice json);

/* What the journal service answered. */
void dp_exchange_respond_reply(dp_exchange *exchange, const dp_api_reply *reply);

/* {"detail":"..."} */
void dp_exchange_respond_detail(dp_exchange *exchange, unsigned status, const char *detail);

/* {"detail":"...","code":"..."} */
void dp_exchange_respond_code(dp_exchange *exchange, unsigned status, const char *code, const char *detail);

/* The same with 503 and Retry-After: it may be repeated soon. */
void dp_exchange_respond_busy(dp_exchange *exchange, const char *code, const char *detail);

/* 422 about one number: where it was, its name, what is wrong. */
void dp_exchange_respond_invalid(dp_exchange *exchange, const char *place, const char *name,
                                 dp_number_fault fault, uint32_t maximum);

/* The endpoint /msg: server/msg_endpoint.c. */
void dp_msg_begin(dp_exchange *exchange);
void dp_msg_continue(dp_exchange *exchange); /* a wake-up */
void dp_msg_timer(dp_exchange *exchange);
void dp_msg_end(dp_exchange *exchange); /* the request is over, however it ended */

/* Hands out slots that have become free, as after the limit was raised. The lock is held. */
void dp_msg_admit_waiting(dp_application *application);

#endif
