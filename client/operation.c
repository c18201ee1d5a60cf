#include "client/operation.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/cancellation.h"
#include "client/kind.h"
#include "client/observe.h"
#include "client/outcome.h"
#include "client/retry_after.h"

/* --- what needs the client's lock --- */

/* SplitMix64 (Steele, Lea, Flood 2014): waits need to be spread, not secret. */
static uint64_t next_random(dp_client *client)
{
    client->random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = client->random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static dp_breaker_answer step_breaker(dp_client *client, dp_breaker_event event, dp_breaker_permit permit,
                                      int64_t now_us)
{
    if (!client->config.breaker.enabled) return (dp_breaker_answer){.admitted = true};
    uint64_t random = event == DP_BREAKER_FAILURE ? next_random(client) : 0;
    dp_breaker_answer answer = dp_breaker_step(&client->breaker, event, permit, now_us, random);
    if (answer.changed) {
        switch (client->breaker.state) {
        case DP_BREAKER_OPEN: client->stats.breaker_opened++; break;
        case DP_BREAKER_HALF_OPEN: client->stats.breaker_half_opened++; break;
        case DP_BREAKER_CLOSED: client->stats.breaker_closed++; break;
        }
    }
    return answer;
}

/* Gives the place up and tells the operation that has got the slot by it, which may be on another thread. The
 * heir cannot go away meanwhile: it leaves its place only under this lock. */
static void leave_bulkhead(dp_client *client, dp_operation *operation)
{
    dp_bulkhead_waiter *heir = dp_bulkhead_leave(&client->bulkhead, &operation->place);
    if (heir == NULL) return;
    char *start = (char *)heir - offsetof(dp_operation, place);
    dp_driver *driver = ((dp_operation *)(void *)start)->driver;
    if (driver != operation->driver) dp_transport_wake(driver->channel);
}

/* --- lists of the driver --- */

static void link_operation(dp_driver *driver, dp_operation *operation)
{
    operation->next = NULL;
    operation->previous = driver->last_operation;
    if (driver->last_operation == NULL) {
        driver->operations = operation;
    } else {
        driver->last_operation->next = operation;
    }
    driver->last_operation = operation;
}

static void unlink_operation(dp_operation *operation)
{
    dp_driver *driver = operation->driver;
    if (operation->previous == NULL) {
        driver->operations = operation->next;
    } else {
        operation->previous->next = operation->next;
    }
    if (operation->next == NULL) {
        driver->last_operation = operation->previous;
    } else {
        operation->next->previous = operation->previous;
    }
}

static void append_ended(dp_operation *operation)
{
    dp_driver *driver = operation->driver;
    operation->next_ended = NULL;
    if (driver->ended_last == NULL) {
        driver->ended_first = operation;
    } else {
        driver->ended_last->next_ended = operation;
    }
    driver->ended_last = operation;
}

dp_operation *dp_driver_next_ended(dp_driver *driver)
{
    dp_operation *operation = driver->ended_first;
    if (operation == NULL) return NULL;
    driver->ended_first = operation->next_ended;
    if (driver->ended_first == NULL) driver->ended_last = NULL;
    return operation;
}

/* --- the end of an operation --- */

static void fill_response(dp_operation *operation, dp_client_kind kind, bool retryable, int64_t now_us)
{
    dp_client_response *response = operation->response;
    const dp_transport_exchange *exchange = &operation->exchange;
    response->kind = kind;
    response->retryable = retryable;
    response->timing.total_us = now_us - operation->started_us;
    if (response->attempts > 0) {
        response->timing.connect_us = exchange->connect_us;
        response->timing.first_byte_us = exchange->first_byte_us;
        response->timing.attempt_us = operation->attempt_us;
    }
    if (!dp_client_kind_has_status(kind)) {
        response->fields = NULL;
        response->field_count = 0;
        response->body = (dp_slice){NULL, 0};
        return;
    }
    response->http_status = exchange->http_status;
    response->http_version = exchange->http_version;
    if (kind == DP_CLIENT_RESPONSE_TOO_LARGE) response->body = (dp_slice){NULL, 0};
}

/* Everything is released already; `why` completes the sentence. */
static void finish_at(dp_operation *operation, dp_client_kind kind, bool retryable, const char *why,
                      int64_t now_us)
{
    dp_client *client = operation->driver->client;
    operation->state = DP_OPERATION_ENDED;
    dp_cancellation_leave(operation);
    fill_response(operation, kind, retryable, now_us);
    if (kind != DP_CLIENT_OK) {
        dp_error_clear(operation->error);
        dp_error_set_code(operation->error, dp_client_kind_status(kind, retryable), dp_client_kind_name(kind),
                          "%s: %s: %s; %u attempt%s, request id %s", operation->text.shown,
                          dp_client_kind_name(kind), why, operation->response->attempts,
                          operation->response->attempts == 1 ? "" : "s", operation->response->request_id);
    }
    dp_observe_end(operation);
    unlink_operation(operation);
    append_ended(operation);
    pthread_mutex_lock(&client->lock);
    client->stats.ended[kind]++;
    if (operation->driver->counts_ends && --client->in_flight == 0) {
        pthread_cond_broadcast(&client->nothing_in_flight);
    }
    pthread_mutex_unlock(&client->lock);
}

static void finish(dp_operation *operation, dp_client_kind kind, bool retryable, const char *why)
{
    finish_at(operation, kind, retryable, why, dp_clock_monotonic_us());
}

/* --- an attempt begins --- */

static bool body_is_ready(dp_operation *operation)
{
    const dp_client_body_source *source = operation->request.body_source;
    const dp_client_body_sink *sink = operation->request.body_sink;
    if (operation->response->attempts > 0 && source != NULL && !source->rewind(source->context)) return false;
    if (!operation->sink_dirty) return true;
    operation->sink_dirty = false;
    return sink->restart(sink->context);
}

static void give_everything_back(dp_operation *operation)
{
    dp_client *client = operation->driver->client;
    pthread_mutex_lock(&client->lock);
    leave_bulkhead(client, operation);
    step_breaker(client, DP_BREAKER_GIVE_BACK, operation->permit, 0);
    pthread_mutex_unlock(&client->lock);
}

static void start_exchange(dp_operation *operation, int64_t now_us)
{
    dp_driver *driver = operation->driver;
    operation->response->timing.pool_us += now_us - operation->pool_since_us;
    if (!body_is_ready(operation)) {
        give_everything_back(operation);
        finish(operation, DP_CLIENT_CANCELLED, false, "the body's source or sink cannot start again");
        return;
    }
    operation->response->attempts++;
    operation->attempt_since_us = now_us;
    operation->state = DP_OPERATION_EXCHANGE;
    if (!dp_transport_start(driver->channel, &operation->exchange)) {
        give_everything_back(operation);
        finish(operation, DP_CLIENT_NO_MEMORY, false, operation->exchange.message);
    }
}

static void finish_refused(dp_operation *operation, int64_t retry_in_us)
{
    char why[320];
    char until[64];
    snprintf(until, sizeof until, "for another %.3f s", (double)retry_in_us / 1e6);
    snprintf(why, sizeof why, "the circuit breaker is open %s%s%s",
             retry_in_us > 0 ? until : "while a probe is under way",
             operation->response->attempts > 0 ? "; before: " : "", operation->last_failure);
    operation->response->retry_after_us = retry_in_us;
    finish(operation, DP_CLIENT_CIRCUIT_OPEN, true, why);
}

static void ask(dp_operation *operation, int64_t now_us)
{
    dp_client *client = operation->driver->client;
    pthread_mutex_lock(&client->lock);
    dp_breaker_answer answer = step_breaker(client, DP_BREAKER_ASK, operation->permit, now_us);
    dp_bulkhead_place place = DP_BULKHEAD_OUTSIDE;
    if (answer.admitted) {
        operation->permit = answer.permit;
        place = dp_bulkhead_enter(&client->bulkhead, &operation->place);
        if (place == DP_BULKHEAD_OUTSIDE) {
            step_breaker(client, DP_BREAKER_GIVE_BACK, operation->permit, now_us);
        } else if (place == DP_BULKHEAD_GRANTED) {
            client->stats.attempts++;
        }
    }
    pthread_mutex_unlock(&client->lock);

    if (answer.changed) dp_observe_breaker(operation, answer.from, DP_BREAKER_HALF_OPEN);
    if (!answer.admitted) {
        finish_refused(operation, answer.retry_in_us);
        return;
    }
    operation->pool_since_us = now_us;
    switch (place) {
    case DP_BULKHEAD_GRANTED: start_exchange(operation, now_us); return;
    case DP_BULKHEAD_WAITING:
        operation->state = DP_OPERATION_POOL;
        operation->pool_until_us = now_us + client->pool_us;
        if (operation->deadline_us < operation->pool_until_us)
            operation->pool_until_us = operation->deadline_us;
        return;
    case DP_BULKHEAD_OUTSIDE:
        finish(operation, DP_CLIENT_POOL_TIMEOUT, true, "every slot is in use and so is every place to wait");
        return;
    }
}

static void look_for_slot(dp_operation *operation, int64_t now_us)
{
    dp_client *client = operation->driver->client;
    pthread_mutex_lock(&client->lock);
    bool granted = operation->place.place == DP_BULKHEAD_GRANTED;
    bool late = !granted && now_us >= operation->pool_until_us;
    if (granted) client->stats.attempts++;
    if (late) {
        leave_bulkhead(client, operation);
        step_breaker(client, DP_BREAKER_GIVE_BACK, operation->permit, now_us);
    }
    pthread_mutex_unlock(&client->lock);
    if (granted) start_exchange(operation, now_us);
    if (!late) return;
    operation->response->timing.pool_us += now_us - operation->pool_since_us;
    if (now_us >= operation->deadline_us) {
        finish(operation, DP_CLIENT_TIMEOUT, true, "total timeout while waiting for a slot");
    } else {
        char why[96];
        snprintf(why, sizeof why, "no slot of the bulkhead was free within %.3f s",
                 (double)(now_us - operation->pool_since_us) / 1e6);
        finish(operation, DP_CLIENT_POOL_TIMEOUT, true, why);
    }
}

/* --- an attempt has ended --- */

static bool may_repeat_body(const dp_operation *operation)
{
    const dp_client_body_source *source = operation->request.body_source;
    const dp_client_body_sink *sink = operation->request.body_sink;
    if (source != NULL && source->rewind == NULL) return false;
    return !operation->sink_dirty || sink->restart != NULL;
}

static void describe_failure(dp_operation *operation, dp_outcome outcome)
{
    const dp_transport_exchange *exchange = &operation->exchange;
    char *text = operation->last_failure;
    size_t capacity = sizeof operation->last_failure;
    if (exchange->end == DP_EXCHANGE_REPLIED && outcome.kind != DP_CLIENT_CONNECTION_ERROR) {
        snprintf(text, capacity, "status %d%s%.120s", exchange->http_status,
                 exchange->message[0] == '\0' ? "" : ", ", exchange->message);
    } else if (exchange->end == DP_EXCHANGE_REPLIED) {
        snprintf(text, capacity, "status %d is not one of HTTP's", exchange->http_status);
    } else {
        snprintf(text, capacity, "%.190s", exchange->message);
    }
}

static int64_t read_retry_after(dp_operation *operation)
{
    dp_slice value = dp_client_response_header(operation->response, "Retry-After");
    operation->response->retry_after_us =
        value.data == NULL ? -1 : dp_retry_after_us(value, dp_clock_wall_us());
    return operation->response->retry_after_us;
}

/* Whether another attempt follows; under the lock, for the budget and the random wait. */
static dp_retry_verdict decide(dp_client *client, dp_operation *operation, dp_outcome outcome, int64_t now_us,
                               int64_t *wait_us)
{
    dp_retry_policy policy = client->policy;
    policy.attempt_count = operation->max_attempts;
    dp_retry_question question = {
        .attempt = operation->response->attempts,
        .retryable = outcome.retryable,
        .probe = operation->permit.probe,
        .retry_after_us = operation->response->retry_after_us,
        .now_us = now_us,
        .deadline_us = operation->deadline_us,
        .random = outcome.retryable ? next_random(client) : 0,
    };
    dp_retry_verdict verdict = dp_retry_decide(&policy, &question, wait_us);
    if (verdict != DP_RETRY_AGAIN) return verdict;
    if (client->config.retry.budget && !dp_retry_budget_take(&client->budget, now_us)) return DP_RETRY_BUDGET;
    client->stats.retries++;
    return DP_RETRY_AGAIN;
}

static void end_attempt(dp_operation *operation)
{
    dp_client *client = operation->driver->client;
    const dp_transport_exchange *exchange = &operation->exchange;
    operation->sink_dirty = operation->sink_dirty || exchange->sink_written;
    bool replied = exchange->end == DP_EXCHANGE_REPLIED || exchange->end == DP_EXCHANGE_TOO_LARGE;
    bool memory = !replied || dp_response_finish(operation->response);
    dp_outcome outcome = dp_outcome_of(memory ? exchange->end : DP_EXCHANGE_NO_MEMORY, exchange->http_status,
                                       operation->response->body);
    operation->response->retry_after_us = -1;
    operation->last_failure[0] = '\0';
    if (outcome.kind != DP_CLIENT_OK) {
        describe_failure(operation, outcome);
        if (replied && memory) read_retry_after(operation);
    }
    dp_outcome asked = outcome;
    asked.retryable = outcome.retryable && may_repeat_body(operation);

    int64_t now_us = dp_clock_monotonic_us();
    int64_t wait_us = 0;
    operation->attempt_us = now_us - operation->attempt_since_us;
    pthread_mutex_lock(&client->lock);
    dp_retry_verdict verdict = decide(client, operation, asked, now_us, &wait_us);
    bool again = verdict == DP_RETRY_AGAIN;
    dp_breaker_event event =
        again && outcome.breaker == DP_BREAKER_FAILURE ? DP_BREAKER_GIVE_BACK : outcome.breaker;
    dp_breaker_answer answer = step_breaker(client, event, operation->permit, now_us);
    dp_breaker_state state = client->breaker.state;
    leave_bulkhead(client, operation);
    pthread_mutex_unlock(&client->lock);

    dp_observe_attempt(operation, outcome.kind);
    if (answer.changed) dp_observe_breaker(operation, answer.from, state);
    if (again) {
        operation->state = DP_OPERATION_BACKOFF;
        operation->backoff_since_us = now_us;
        operation->backoff_until_us = now_us + wait_us;
        dp_observe_retry(operation, outcome.kind, wait_us);
        return;
    }
    if (outcome.kind == DP_CLIENT_OK) {
        finish_at(operation, outcome.kind, false, "", now_us);
        return;
    }
    char why[288];
    snprintf(why, sizeof why, "%s%s%s", operation->last_failure, outcome.retryable ? "; " : "",
             outcome.retryable ? dp_retry_verdict_text(verdict) : "");
    finish(operation, outcome.kind, outcome.retryable, why);
}

/* --- moving forward --- */

void dp_operation_cancel(dp_operation *operation)
{
    switch (operation->state) {
    case DP_OPERATION_ENDED: return;
    case DP_OPERATION_ASK:
    case DP_OPERATION_BACKOFF: break;
    case DP_OPERATION_POOL: give_everything_back(operation); break;
    case DP_OPERATION_EXCHANGE:
        if (operation->exchange.handle != NULL) {
            dp_transport_abort(operation->driver->channel, &operation->exchange);
            give_everything_back(operation);
            break;
        }
        return; /* it has ended already and is about to be looked at */
    }
    finish(operation, DP_CLIENT_CANCELLED, false, "cancelled by the caller");
}

static void advance(dp_operation *operation, int64_t now_us)
{
    if (dp_cancellation_is_set(operation)) {
        dp_operation_cancel(operation);
        return;
    }
    switch (operation->state) {
    case DP_OPERATION_ASK: ask(operation, now_us); return;
    case DP_OPERATION_POOL: look_for_slot(operation, now_us); return;
    case DP_OPERATION_BACKOFF:
        if (now_us < operation->backoff_until_us) return;
        operation->response->timing.backoff_us += now_us - operation->backoff_since_us;
        ask(operation, now_us);
        return;
    case DP_OPERATION_EXCHANGE:
    case DP_OPERATION_ENDED: return;
    }
}

static int64_t timer_of(const dp_operation *operation)
{
    switch (operation->state) {
    case DP_OPERATION_POOL: return operation->pool_until_us;
    case DP_OPERATION_BACKOFF: return operation->backoff_until_us;
    case DP_OPERATION_ASK: return 0;
    case DP_OPERATION_EXCHANGE: /* the transport keeps its own timers */
    case DP_OPERATION_ENDED: return INT64_MAX;
    }
    return INT64_MAX;
}

static void process_ended_exchanges(dp_driver *driver)
{
    dp_transport_exchange *exchange;
    while ((exchange = dp_transport_next_ended(driver->channel)) != NULL) {
        char *start = (char *)exchange - offsetof(dp_operation, exchange);
        end_attempt((dp_operation *)(void *)start);
    }
}

void dp_driver_step(dp_driver *driver, int extra_fd, int64_t until_us, bool *extra_ready)
{
    int64_t now_us = dp_clock_monotonic_us();
    for (dp_operation *operation = driver->operations, *following; operation != NULL; operation = following) {
        following = operation->next;
        advance(operation, now_us);
        int64_t timer_us = timer_of(operation);
        if (timer_us < until_us) until_us = timer_us;
    }
    if (driver->ended_first != NULL) until_us = 0;
    dp_transport_run(driver->channel, extra_fd, until_us, extra_ready);
    process_ended_exchanges(driver);
}

void dp_driver_kick(dp_driver *driver, dp_operation *operation)
{
    advance(operation, operation->started_us);
    /* A caller that has not taken all that has ended comes back at once: what it submits meanwhile is sent
     * together, which spares the peer a wake-up each. */
    if (driver->ended_first != NULL) return;
    dp_transport_kick(driver->channel);
    process_ended_exchanges(driver);
}

/* --- the start of an operation --- */

static bool admit(dp_client *client, int64_t now_us)
{
    pthread_mutex_lock(&client->lock);
    bool open = !client->closing;
    if (open) {
        client->in_flight++;
        client->stats.operations++;
        dp_retry_budget_request(&client->budget, now_us);
    }
    pthread_mutex_unlock(&client->lock);
    return open;
}

static void prepare_exchange(dp_operation *operation)
{
    const dp_client_request *request = &operation->request;
    dp_transport_exchange *exchange = &operation->exchange; /* the rest of it is set when it starts */
    exchange->http_status = exchange->http_version = 0;
    exchange->method = operation->text.method;
    exchange->url = operation->text.url;
    exchange->lines = operation->text.lines;
    exchange->line_count = operation->text.line_count;
    exchange->body = request->body;
    exchange->source = request->body_source;
    exchange->sink = request->body_sink;
    exchange->reply = operation->response->memory;
    exchange->deadline_us = operation->deadline_us;
}

static dp_status refuse_request(dp_client_response *response, dp_error *error)
{
    response->kind = error->status == DP_STATUS_NO_MEMORY ? DP_CLIENT_NO_MEMORY : DP_CLIENT_UNUSABLE_REQUEST;
    if (error->code[0] == '\0') {
        snprintf(error->code, sizeof error->code, "%s", dp_client_kind_name(response->kind));
    }
    return error->status;
}

dp_status dp_operation_start(dp_driver *driver, dp_operation *operation, const dp_client_request *request,
                             dp_client_response *response, dp_error *error)
{
    dp_client *client = driver->client;
    const dp_client_config *config = &client->config;
    dp_error_clear(error);
    operation->driver = driver;
    operation->request = *request;
    operation->response = response;
    operation->error = error;
    if (dp_request_text_make(&operation->text, config, request, response->request_id, error) !=
        DP_STATUS_OK) {
        return refuse_request(response, error);
    }
    int64_t now_us = dp_clock_monotonic_us();
    uint32_t total_ms = request->total_timeout_ms > 0 ? request->total_timeout_ms : config->timeouts.total_ms;
    operation->state = DP_OPERATION_ASK;
    operation->permit = (dp_breaker_permit){0, false};
    operation->place = (dp_bulkhead_waiter){.place = DP_BULKHEAD_OUTSIDE};
    operation->max_attempts = request->max_attempts > 0 ? request->max_attempts : config->retry.max_attempts;
    operation->sink_dirty = false;
    operation->last_failure[0] = '\0';
    operation->attempt_us = 0;
    operation->started_us = now_us;
    operation->deadline_us = total_ms > 0 ? now_us + (int64_t)total_ms * 1000 : INT64_MAX;
    prepare_exchange(operation);
    if (!admit(client, now_us)) {
        dp_error_set(error, DP_STATUS_USAGE, "%s: the client is closed", operation->text.shown);
        return refuse_request(response, error);
    }
    dp_cancellation_join(operation);
    link_operation(driver, operation);
    return DP_STATUS_OK;
}

dp_driver *dp_driver_new(dp_client *client)
{
    dp_driver *driver = calloc(1, sizeof *driver);
    if (driver == NULL) return NULL;
    driver->client = client;
    driver->blocking.text = (dp_request_text)DP_REQUEST_TEXT_INIT;
    driver->channel = dp_transport_channel_new(&client->config);
    if (driver->channel == NULL) {
        free(driver);
        return NULL;
    }
    return driver;
}

void dp_driver_free(dp_driver *driver)
{
    if (driver == NULL) return;
    dp_request_text_release(&driver->blocking.text);
    dp_transport_channel_free(driver->channel);
    free(driver);
}
