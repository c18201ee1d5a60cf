/* The client under many threads: bulkhead, breaker, cancellation, retry budget. */
#include "tests/unit/support/client_rig.h"

#include <stdatomic.h>

#include "base/clock.h"

static void say_ok_slowly(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    say_ok(self, number, request, reply);
    reply->delay_ms = 20;
}

enum { CROWD = 64 };

typedef struct crowd {
    dp_client *client;
    pthread_barrier_t start;
    pthread_mutex_t lock;
    unsigned kinds[DP_CLIENT_KIND_COUNT];
    unsigned requests_each;
} crowd;

static void *run_requests(void *context)
{
    crowd *all = context;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    pthread_barrier_wait(&all->start);
    for (unsigned i = 0; i < all->requests_each; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_client_get(all->client, "/msg", &response, &error);
        pthread_mutex_lock(&all->lock);
        all->kinds[response.kind]++;
        pthread_mutex_unlock(&all->lock);
    }
    dp_client_response_release(&response);
    return NULL;
}

static void run_crowd(crowd *all)
{
    pthread_t threads[CROWD];
    pthread_barrier_init(&all->start, NULL, CROWD);
    pthread_mutex_init(&all->lock, NULL);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_requests, all), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&all->start);
    pthread_mutex_destroy(&all->lock);
}

static void the_bulkhead_bounds_what_64_threads_do_at_once(void **state)
{
    (void)state;
    client_rig rig = prepared_rig(say_ok_slowly, NULL);
    rig.config.bulkhead.max_concurrency = 8;
    rig_connect(&rig);
    crowd all = {.client = rig.client, .requests_each = 5};
    run_crowd(&all);
    assert_int_equal(all.kinds[DP_CLIENT_OK], CROWD * 5);
    assert_true(rig.server->most_busy_count <= 8);
    assert_true(rig.server->most_busy_count >= 2);
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    assert_int_equal(stats.operations, CROWD * 5);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(stats.waiting, 0);
    rig_end(&rig);
}

static void a_full_bulkhead_is_a_pool_timeout(void **state)
{
    (void)state;
    client_rig rig = prepared_rig(never_reply, NULL);
    rig.config.bulkhead.max_concurrency = 1;
    rig.config.bulkhead.max_waiting = 1;
    rig.config.timeouts.pool_ms = 30;
    rig.config.timeouts.total_ms = 60000;
    rig_connect(&rig);
    dp_client_queue *queue = NULL;
    assert_int_equal(dp_client_queue_new(rig.client, &queue, &rig.error), DP_STATUS_OK);
    dp_client_request request = {.url = "/msg"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dp_client_submit(queue, &request, NULL, &rig.error), DP_STATUS_OK);
    }
    dp_client_call *refused = dp_client_queue_next(queue); /* the third finds no place to wait */
    assert_non_null(refused);
    assert_int_equal(dp_client_call_response(refused)->kind, DP_CLIENT_POOL_TIMEOUT);
    dp_client_call_free(refused);
    assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &rig.error), DP_STATUS_OK);
    dp_client_call *late = dp_client_queue_next(queue);
    assert_non_null(late);
    assert_int_equal(dp_client_call_response(late)->kind, DP_CLIENT_POOL_TIMEOUT);
    assert_int_equal(dp_client_call_response(late)->attempts, 0);
    assert_string_equal(dp_client_call_error(late)->code, "PoolTimeoutError");
    assert_true(dp_client_call_response(late)->timing.pool_us >= 30000);
    dp_client_call_free(late);
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    assert_int_equal(stats.slots_used, 1);
    dp_client_queue_free(queue);
    dp_client_stats_read(rig.client, &stats);
    assert_int_equal(stats.slots_used, 0);
    rig_end(&rig);
}

typedef struct probed {
    _Atomic(dp_client *) client;
} probed;

static bool others_were_refused(peer *self)
{
    probed *context = self->context;
    dp_client_stats stats;
    dp_client_stats_read(atomic_load(&context->client), &stats);
    return stats.ended[DP_CLIENT_CIRCUIT_OPEN] >= CROWD; /* one before the crowd, and all of it but one */
}

static void fail_twice_then_wait_for_the_others(peer *self, unsigned number, const char *request,
                                                peer_reply *reply)
{
    (void)self, (void)request;
    peer_say_status(reply, number < 2 ? 500 : 200, "", "{}");
    if (number >= 2) reply->may_go = others_were_refused;
}

static void a_half_open_breaker_lets_exactly_one_of_64_threads_through(void **state)
{
    (void)state;
    probed context = {NULL};
    client_rig rig = prepared_rig(fail_twice_then_wait_for_the_others, &context);
    rig.config.retry.max_attempts = 1;
    rig.config.breaker.failure_threshold = 2;
    rig.config.breaker.recovery_ms = 800;
    rig_connect(&rig);
    atomic_store(&context.client, rig.client);
    for (int i = 0; i < 2; i++) {
        dp_error_clear(&rig.error);
        assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_REMOTE);
    }
    dp_error_clear(&rig.error);
    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_BUSY);
    assert_int_equal(rig.response.kind, DP_CLIENT_CIRCUIT_OPEN);
    assert_int_equal(rig.response.attempts, 0);
    assert_non_null(strstr(rig.error.message, "for another 0."));
    assert_in_range(rig.response.retry_after_us, 1, 880000);
    usleep(900 * 1000);
    crowd all = {.client = rig.client, .requests_each = 1};
    run_crowd(&all);
    assert_int_equal(all.kinds[DP_CLIENT_OK], 1);
    assert_int_equal(all.kinds[DP_CLIENT_CIRCUIT_OPEN], CROWD - 1);
    assert_int_equal(rig.server->request_count, 3);
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    assert_string_equal(stats.breaker_state, "closed");
    assert_int_equal(stats.breaker_opened, 1);
    assert_int_equal(stats.breaker_half_opened, 1);
    assert_int_equal(stats.breaker_closed, 1);
    rig_end(&rig);
}

static void cancelling_ends_an_exchange_a_backoff_and_a_wait_for_a_slot(void **state)
{
    (void)state;
    static const peer_function functions[] = {never_reply, fail_then_succeed};
    for (int round = 0; round < 2; round++) {
        plan script = {.fail_count = 1000};
        client_rig rig = prepared_rig(functions[round], &script);
        rig.config.retry.min_wait_ms = rig.config.retry.max_wait_ms = 60000;
        rig.config.bulkhead.max_concurrency = 1;
        rig_connect(&rig);
        dp_client_cancellation *cancellation = dp_client_cancellation_new();
        background jobs[2];
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            jobs[i] =
                (background){.client = rig.client, .request = {.url = "/msg", .cancellation = cancellation}};
            pthread_create(&threads[i], NULL, run_in_background, &jobs[i]);
        }
        wait_for_requests(rig.server, round == 0 ? 1 : 2);
        usleep(20 * 1000);
        dp_client_cancel(cancellation);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(jobs[i].kind, DP_CLIENT_CANCELLED);
        }
        assert_int_equal(jobs[0].attempts + jobs[1].attempts, round == 0 ? 1 : 2);
        dp_client_stats stats;
        dp_client_stats_read(rig.client, &stats);
        assert_int_equal(stats.slots_used, 0);
        assert_int_equal(stats.ended[DP_CLIENT_CANCELLED], 2);
        background late = {.client = rig.client, .request = {.url = "/msg", .cancellation = cancellation}};
        run_in_background(&late);
        assert_int_equal(late.kind, DP_CLIENT_CANCELLED);
        assert_int_equal(late.attempts, 0);
        dp_client_cancellation_free(cancellation);
        rig_end(&rig);
    }
}

static void fail_once_then_hang_once(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)request;
    if (number != 1) peer_say_status(reply, number == 0 ? 500 : 200, "", "");
}

static void a_cancelled_probe_gives_its_permit_back(void **state)
{
    (void)state;
    client_rig rig = prepared_rig(fail_once_then_hang_once, NULL);
    rig.config.retry.max_attempts = 1;
    rig.config.breaker.failure_threshold = 1;
    rig.config.breaker.recovery_ms = 10;
    rig_connect(&rig);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    usleep(20 * 1000);
    dp_client_cancellation *cancellation = dp_client_cancellation_new();
    background probe = {.client = rig.client, .request = {.url = "/msg", .cancellation = cancellation}};
    pthread_t thread;
    pthread_create(&thread, NULL, run_in_background, &probe);
    wait_for_requests(rig.server, 2);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_int_equal(rig.response.kind, DP_CLIENT_CIRCUIT_OPEN);
    dp_client_cancel(cancellation);
    pthread_join(thread, NULL);
    assert_int_equal(probe.kind, DP_CLIENT_CANCELLED);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_int_equal(rig.response.kind, DP_CLIENT_OK);
    dp_client_cancellation_free(cancellation);
    rig_end(&rig);
}

static void a_probe_is_one_attempt(void **state)
{
    (void)state;
    plan script = {.fail_count = 1000};
    client_rig rig = prepared_rig(fail_then_succeed, &script);
    rig.config.breaker.failure_threshold = 1;
    rig.config.breaker.recovery_ms = 10;
    rig_connect(&rig);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_int_equal(rig.response.attempts, 3);
    usleep(20 * 1000);
    dp_error_clear(&rig.error);
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_int_equal(rig.response.kind, DP_CLIENT_SERVER_ERROR);
    assert_int_equal(rig.response.attempts, 1);
    assert_non_null(strstr(rig.error.message, "probe"));
    rig_end(&rig);
}

static void one_exhausted_operation_is_one_breaker_failure_and_refusals_are_none(void **state)
{
    (void)state;
    plan script = {.fail_count = 12};
    client_rig rig = connected_rig(fail_then_succeed, &script);
    for (int i = 0; i < 4; i++) { /* four operations of three attempts: one below the threshold of five */
        dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
        assert_int_equal(rig.response.kind, DP_CLIENT_SERVER_ERROR);
        assert_int_equal(rig.response.attempts, 3);
    }
    dp_client_get(rig.client, "/msg", &rig.response, &rig.error);
    assert_int_equal(rig.response.kind, DP_CLIENT_OK);
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    assert_string_equal(stats.breaker_state, "closed");
    assert_int_equal(stats.breaker_opened, 0);
    assert_int_equal(stats.retries, 8);
    rig_end(&rig);
}

static void the_retry_budget_ends_a_storm(void **state)
{
    (void)state;
    plan script = {.fail_count = 100000};
    client_rig rig = prepared_rig(fail_then_succeed, &script);
    rig.config.breaker.enabled = false;
    rig.config.retry.budget_percent = 20;
    rig.config.retry.budget_per_second = 1;
    rig_connect(&rig);
    unsigned refused = 0;
    int64_t begin_us = dp_clock_monotonic_us();
    for (int i = 0; i < 100; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_client_get(rig.client, "/msg", &rig.response, &error);
        refused += strstr(error.message, "budget") != NULL;
    }
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    int64_t seconds = (dp_clock_monotonic_us() - begin_us) / 1000000;
    assert_true((int64_t)stats.retries <= 100 / 5 + 10 + 10 + seconds);
    assert_true(stats.retries >= 20);
    assert_true(refused > 60);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bulkhead_bounds_what_64_threads_do_at_once),
        cmocka_unit_test(a_full_bulkhead_is_a_pool_timeout),
        cmocka_unit_test(a_half_open_breaker_lets_exactly_one_of_64_threads_through),
        cmocka_unit_test(cancelling_ends_an_exchange_a_backoff_and_a_wait_for_a_slot),
        cmocka_unit_test(a_cancelled_probe_gives_its_permit_back),
        cmocka_unit_test(a_probe_is_one_attempt),
        cmocka_unit_test(one_exhausted_operation_is_one_breaker_failure_and_refusals_are_none),
        cmocka_unit_test(the_retry_budget_ends_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
