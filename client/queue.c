#include "client/queue.h"

#include <stdlib.h>

#include "base/clock.h"

enum { MAX_SPARE_CALLS = 64, MAX_SPARE_BODY_BYTES = 64 * 1024 };

struct dp_client_call {
    dp_operation operation; /* the first member: a call is found from its operation */
    dp_client_queue *queue;
    dp_client_call *next_spare;
    dp_client_response response;
    dp_error error;
};

static dp_client_call *call_of(dp_operation *operation)
{
    return (dp_client_call *)(void *)operation;
}

/* Whoever uses the queue now is the thread that dp_client_close drives it for. */
static void take_ownership(dp_client_queue *queue)
{
    dp_client *client = queue->driver->client;
    if (pthread_equal(queue->owner, pthread_self())) return;
    pthread_mutex_lock(&client->lock);
    queue->owner = pthread_self();
    pthread_mutex_unlock(&client->lock);
}

dp_status dp_client_queue_new(dp_client *client, dp_client_queue **queue, dp_error *error)
{
    dp_client_queue *made = calloc(1, sizeof *made);
    if (made != NULL) made->driver = dp_driver_new(client);
    if (made == NULL || made->driver == NULL) {
        free(made);
        return dp_error_no_memory(error, "a client queue");
    }
    made->driver->counts_ends = true;
    made->owner = pthread_self();
    pthread_mutex_lock(&client->lock);
    made->next = client->queues;
    if (made->next != NULL) made->next->previous = made;
    client->queues = made;
    pthread_mutex_unlock(&client->lock);
    *queue = made;
    return DP_STATUS_OK;
}

static void unlink_queue(dp_client_queue *queue)
{
    dp_client *client = queue->driver->client;
    pthread_mutex_lock(&client->lock);
    if (queue->previous == NULL) {
        client->queues = queue->next;
    } else {
        queue->previous->next = queue->next;
    }
    if (queue->next != NULL) queue->next->previous = queue->previous;
    pthread_mutex_unlock(&client->lock);
}

static void call_release(dp_client_call *call)
{
    dp_request_text_release(&call->operation.text);
    dp_client_response_release(&call->response);
    free(call);
}

void dp_client_queue_free(dp_client_queue *queue)
{
    if (queue == NULL) return;
    dp_driver *driver = queue->driver;
    while (driver->operations != NULL) {
        dp_operation_cancel(driver->operations);
    }
    dp_operation *operation;
    while ((operation = dp_driver_next_ended(driver)) != NULL) {
        call_release(call_of(operation));
    }
    while (queue->spare_calls != NULL) {
        dp_client_call *call = queue->spare_calls;
        queue->spare_calls = call->next_spare;
        call_release(call);
    }
    unlink_queue(queue);
    dp_driver_free(driver);
    free(queue);
}

static dp_client_call *call_new(dp_client_queue *queue)
{
    dp_client_call *call = queue->spare_calls;
    if (call != NULL) {
        queue->spare_calls = call->next_spare;
        queue->spare_count--;
    } else {
        call = calloc(1, sizeof *call);
        if (call == NULL) return NULL;
        call->queue = queue;
        call->operation.text = (dp_request_text)DP_REQUEST_TEXT_INIT;
    }
    if (!dp_response_prepare(&call->response, queue->driver->client->config.max_response_bytes)) {
        call_release(call);
        return NULL;
    }
    return call;
}

dp_status dp_client_submit(dp_client_queue *queue, const dp_client_request *request, dp_client_call **call,
                           dp_error *error)
{
    take_ownership(queue);
    dp_client_call *made = call_new(queue);
    if (made == NULL) return dp_error_no_memory(error, "a call");
    dp_status status =
        dp_operation_start(queue->driver, &made->operation, request, &made->response, &made->error);
    if (status != DP_STATUS_OK) {
        dp_error_set_code(error, status, made->error.code, "%s", made->error.message);
        dp_client_call_free(made);
        return status;
    }
    if (call != NULL) *call = made;
    queue->call_count++;
    dp_driver_kick(queue->driver, &made->operation); /* on its way before the caller does anything else */
    return DP_STATUS_OK;
}

dp_status dp_client_wait(dp_client_queue *queue, int extra_fd, int64_t timeout_ms, bool *extra_ready,
                         dp_error *error)
{
    (void)error; /* nothing here can fail today; the transport's failures belong to the calls */
    take_ownership(queue);
    dp_driver *driver = queue->driver;
    bool ready = false;
    int64_t until_us = INT64_MAX;
    if (timeout_ms >= 0) until_us = timeout_ms == 0 ? 0 : dp_clock_monotonic_us() + timeout_ms * 1000;
    bool in_time = true;
    while (in_time) {
        bool idle = driver->operations == NULL && extra_fd < 0;
        bool at_once = idle || driver->ended_first != NULL;
        dp_driver_step(driver, extra_fd, at_once ? 0 : until_us, &ready);
        if (ready || idle || driver->ended_first != NULL) break;
        in_time = until_us == INT64_MAX || dp_clock_monotonic_us() < until_us;
    }
    if (extra_ready != NULL) *extra_ready = ready;
    return DP_STATUS_OK;
}

void dp_queue_run_to_end(dp_client_queue *queue)
{
    bool extra_ready;
    while (queue->driver->operations != NULL) {
        dp_driver_step(queue->driver, -1, INT64_MAX, &extra_ready);
    }
}

dp_client_call *dp_client_queue_next(dp_client_queue *queue)
{
    dp_operation *operation = dp_driver_next_ended(queue->driver);
    if (operation == NULL) return NULL;
    queue->call_count--;
    return call_of(operation);
}

size_t dp_client_queue_in_flight(const dp_client_queue *queue)
{
    return queue->call_count;
}

void dp_client_call_cancel(dp_client_call *call)
{
    dp_operation_cancel(&call->operation);
}

void *dp_client_call_context(const dp_client_call *call)
{
    return call->operation.request.context;
}

const dp_client_response *dp_client_call_response(const dp_client_call *call)
{
    return &call->response;
}

const dp_error *dp_client_call_error(const dp_client_call *call)
{
    return &call->error;
}

void dp_client_call_free(dp_client_call *call)
{
    if (call == NULL) return;
    dp_client_queue *queue = call->queue;
    const dp_client_response_memory *memory = call->response.memory;
    bool small = memory != NULL && memory->body.capacity <= MAX_SPARE_BODY_BYTES;
    if (!small || queue->spare_count == MAX_SPARE_CALLS) {
        call_release(call);
        return;
    }
    call->next_spare = queue->spare_calls;
    queue->spare_calls = call;
    queue->spare_count++;
}
