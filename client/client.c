/* The client object and blocking calls. */
#include <stdlib.h>
#include <sys/random.h>

#include "client/client.h"
#include "client/operation.h"
#include "client/queue.h"

enum { CONFIG_CHUNK_BYTES = 4096, CONFIG_MAX_BYTES = 1 << 20 };

static void make_policies(dp_client *client)
{
    const dp_client_config *config = &client->config;
    client->policy = (dp_retry_policy){
        .attempt_count = config->retry.max_attempts,
        .min_wait_us = (int64_t)config->retry.min_wait_ms * 1000,
        .max_wait_us = (int64_t)config->retry.max_wait_ms * 1000,
        .multiplier_us = (int64_t)config->retry.multiplier_ms * 1000,
        .retry_after_max_us = (int64_t)config->retry.retry_after_max_ms * 1000,
        .jitter = config->retry.jitter,
    };
    client->breaker =
        dp_breaker_make(config->breaker.failure_threshold, (int64_t)config->breaker.recovery_ms * 1000);
    client->bulkhead = dp_bulkhead_make(config->bulkhead.max_concurrency, config->bulkhead.max_waiting);
    client->budget =
        dp_retry_budget_make(config->retry.budget_percent, config->retry.budget_per_second, 10 * 1000000);
    client->pool_us = dp_client_config_pool_us(config);
}

static dp_status client_init(dp_client *client, const dp_client_config *config, dp_error *error)
{
    client->arena = dp_arena_new(CONFIG_CHUNK_BYTES, CONFIG_MAX_BYTES);
    if (client->arena == NULL) return dp_error_no_memory(error, "a client");
    dp_status status = dp_client_config_copy(config, client->arena, &client->config, error);
    if (status != DP_STATUS_OK) return status;
    make_policies(client);
    if (getrandom(&client->random_state, sizeof client->random_state, 0) < 0) client->random_state = 1;
    if (pthread_mutex_init(&client->lock, NULL) != 0 ||
        pthread_cond_init(&client->nothing_in_flight, NULL) != 0) {
        return dp_error_no_memory(error, "a client's lock");
    }
    return DP_STATUS_OK;
}

dp_status dp_client_new(const dp_client_config *config, dp_client **client, dp_error *error)
{
    dp_status status = dp_client_config_validate(config, error);
    if (status == DP_STATUS_OK) status = dp_transport_global_init(error);
    if (status != DP_STATUS_OK) return status;
    dp_client *made = calloc(1, sizeof *made);
    if (made == NULL) return dp_error_no_memory(error, "a client");
    status = client_init(made, config, error);
    if (status != DP_STATUS_OK) {
        dp_arena_free(made->arena);
        free(made);
        return status;
    }
    *client = made;
    return DP_STATUS_OK;
}

/* A queue that the calling thread used last and that has calls in flight, or NULL. */
static dp_client_queue *own_busy_queue(dp_client *client)
{
    for (dp_client_queue *queue = client->queues; queue != NULL; queue = queue->next) {
        if (pthread_equal(queue->owner, pthread_self()) && queue->driver->operations != NULL) return queue;
    }
    return NULL;
}

void dp_client_close(dp_client *client)
{
    if (client == NULL) return;
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    dp_client_queue *queue;
    while ((queue = own_busy_queue(client)) != NULL) {
        pthread_mutex_unlock(&client->lock);
        dp_queue_run_to_end(queue);
        pthread_mutex_lock(&client->lock);
    }
    while (client->in_flight > 0) {
        pthread_cond_wait(&client->nothing_in_flight, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
}

void dp_client_free(dp_client *client)
{
    if (client == NULL) return;
    dp_client_close(client);
    while (client->idle_drivers != NULL) {
        dp_driver *driver = client->idle_drivers;
        client->idle_drivers = driver->next_idle;
        dp_driver_free(driver);
    }
    pthread_cond_destroy(&client->nothing_in_flight);
    pthread_mutex_destroy(&client->lock);
    dp_arena_free(client->arena);
    free(client);
}

/* --- blocking calls --- */

/* The driver used last comes first, so that few connections stay warm instead of many. */
static dp_driver *borrow_driver(dp_client *client)
{
    pthread_mutex_lock(&client->lock);
    dp_driver *driver = client->idle_drivers;
    if (driver != NULL) client->idle_drivers = driver->next_idle;
    pthread_mutex_unlock(&client->lock);
    return driver != NULL ? driver : dp_driver_new(client);
}

static void return_driver(dp_client *client, dp_driver *driver, bool ran)
{
    pthread_mutex_lock(&client->lock);
    driver->next_idle = client->idle_drivers;
    client->idle_drivers = driver;
    if (ran && --client->in_flight == 0) pthread_cond_broadcast(&client->nothing_in_flight);
    pthread_mutex_unlock(&client->lock);
}

dp_status dp_client_request_send(dp_client *client, const dp_client_request *request,
                                 dp_client_response *response, dp_error *error)
{
    dp_error own_error; /* the operation's; the caller's first error must win */
    dp_error_clear(&own_error);
    dp_driver *driver = NULL;
    if (dp_response_prepare(response, client->config.max_response_bytes)) driver = borrow_driver(client);
    if (driver == NULL) {
        response->kind = DP_CLIENT_NO_MEMORY;
        return dp_error_no_memory(error, "a request");
    }
    dp_operation *operation = &driver->blocking;
    dp_status status = dp_operation_start(driver, operation, request, response, &own_error);
    bool started = status == DP_STATUS_OK;
    bool extra_ready;
    while (started && operation->state != DP_OPERATION_ENDED) {
        dp_driver_step(driver, -1, INT64_MAX, &extra_ready);
    }
    if (started) dp_driver_next_ended(driver);
    if (own_error.status != DP_STATUS_OK) {
        status = dp_error_set_code(error, own_error.status, own_error.code, "%s", own_error.message);
    }
    return_driver(client, driver, started);
    return own_error.status == DP_STATUS_OK ? status : own_error.status;
}

dp_status dp_client_get(dp_client *client, const char *url, dp_client_response *response, dp_error *error)
{
    dp_client_request request = {.method = "GET", .url = url};
    return dp_client_request_send(client, &request, response, error);
}

dp_status dp_client_post(dp_client *client, const char *url, dp_slice json_body, dp_client_response *response,
                         dp_error *error)
{
    dp_client_request request = {.method = "POST", .url = url, .body = json_body};
    return dp_client_request_send(client, &request, response, error);
}

void dp_client_stats_read(dp_client *client, dp_client_stats *stats)
{
    pthread_mutex_lock(&client->lock);
    *stats = client->stats;
    stats->breaker_state = dp_breaker_state_name(client->breaker.state);
    stats->slots_used = client->bulkhead.used_count;
    stats->waiting = client->bulkhead.waiting_count;
    int64_t now_us =
        client->budget.slice_index == INT64_MIN ? 0 : client->budget.slice_index * client->budget.slice_us;
    stats->budget_left = dp_retry_budget_left(&client->budget, now_us);
    pthread_mutex_unlock(&client->lock);
}
