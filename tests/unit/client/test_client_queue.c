/* Queues of the client, and closing it. */
#include "tests/unit/support/client_rig.h"

#include <stdatomic.h>

#include "base/clock.h"

typedef struct turns {
    _Atomic unsigned taken;
} turns;

static bool one_was_taken(peer *self)
{
    turns *context = self->context;
    return atomic_load(&context->taken) >= 1;
}

static bool two_were_taken(peer *self)
{
    turns *context = self->context;
    return atomic_load(&context->taken) >= 2;
}

static void answer_in_turn(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", "");
    if (strstr(request, "/middle") != NULL) reply->may_go = one_was_taken;
    if (strstr(request, "/slow") != NULL) reply->may_go = two_were_taken;
}

static void delay_by_path(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number;
    peer_say_status(reply, 200, "", "");
    const char *at = strstr(request, "/delay/");
    reply->delay_ms = at == NULL ? 0 : (unsigned)strtoul(at + 7, NULL, 10);
}

static void a_queue_keeps_several_in_flight_and_hands_them_back_as_they_end(void **state)
{
    (void)state;
    turns context = {0};
    client_rig rig = connected_rig(answer_in_turn, &context);
    dp_client_queue *queue = NULL;
    assert_int_equal(dp_client_queue_new(rig.client, &queue, &rig.error), DP_STATUS_OK);
    static const char *const paths[] = {"/slow", "/middle", "/quick"};
    static const char *const names[] = {"slow", "middle", "quick"};
    for (int i = 0; i < 3; i++) {
        /* the context is only compared */
        dp_client_request request = {.url = paths[i], .context = (void *)(uintptr_t)names[i]};
        assert_int_equal(dp_client_submit(queue, &request, NULL, &rig.error), DP_STATUS_OK);
    }
    assert_int_equal(dp_client_queue_in_flight(queue), 3);
    for (int i = 2; i >= 0; i--) {
        dp_client_call *call;
        while ((call = dp_client_queue_next(queue)) == NULL) {
            assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &rig.error), DP_STATUS_OK);
        }
        assert_string_equal(dp_client_call_context(call), names[i]);
        assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_OK);
        assert_int_equal(dp_client_call_error(call)->status, DP_STATUS_OK);
        dp_client_call_free(call);
        atomic_fetch_add(&context.taken, 1);
    }
    assert_int_equal(dp_client_queue_in_flight(queue), 0);
    assert_int_equal(dp_client_wait(queue, -1, -1, NULL, &rig.error), DP_STATUS_OK); /* nothing to wait for */
    dp_client_queue_free(queue);
    rig_end(&rig);
}

static void waiting_ends_for_a_descriptor_and_for_the_time(void **state)
{
    (void)state;
    client_rig rig = connected_rig(never_reply, NULL);
    dp_client_queue *queue = NULL;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dp_client_queue_new(rig.client, &queue, &rig.error), DP_STATUS_OK);
    dp_client_request request = {.url = "/msg"};
    dp_client_call *call = NULL;
    assert_int_equal(dp_client_submit(queue, &request, &call, &rig.error), DP_STATUS_OK);
    bool ready = true;
    int64_t begin_us = dp_clock_monotonic_us();
    assert_int_equal(dp_client_wait(queue, ends[0], 30, &ready, &rig.error), DP_STATUS_OK);
    assert_false(ready);
    assert_true(dp_clock_monotonic_us() - begin_us >= 30000);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(dp_client_wait(queue, ends[0], -1, &ready, &rig.error), DP_STATUS_OK);
    assert_true(ready);
    assert_null(dp_client_queue_next(queue));
    dp_client_call_cancel(call);
    assert_ptr_equal(dp_client_queue_next(queue), call);
    assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_CANCELLED);
    dp_client_call_free(call);
    dp_client_queue_free(queue);
    close(ends[0]);
    close(ends[1]);
    rig_end(&rig);
}

static void a_slot_is_free_during_backoff(void **state)
{
    (void)state;
    plan script = {.fail_count = 1};
    client_rig rig = prepared_rig(fail_then_succeed, &script);
    rig.config.bulkhead.max_concurrency = 1;
    rig.config.retry.min_wait_ms = rig.config.retry.max_wait_ms = 400;
    rig_connect(&rig);
    dp_client_queue *queue = NULL;
    assert_int_equal(dp_client_queue_new(rig.client, &queue, &rig.error), DP_STATUS_OK);
    dp_client_request first = {.url = "/msg", .context = &first};
    dp_client_request second = {.url = "/msg", .context = &second};
    assert_int_equal(dp_client_submit(queue, &first, NULL, &rig.error), DP_STATUS_OK);
    assert_int_equal(dp_client_submit(queue, &second, NULL, &rig.error), DP_STATUS_OK);
    dp_client_call *call;
    while ((call = dp_client_queue_next(queue)) == NULL) {
        dp_client_wait(queue, -1, -1, NULL, &rig.error);
    }
    assert_ptr_equal(dp_client_call_context(call), &second); /* overtook the first during its backoff */
    dp_client_call_free(call);
    while ((call = dp_client_queue_next(queue)) == NULL) {
        dp_client_wait(queue, -1, -1, NULL, &rig.error);
    }
    assert_ptr_equal(dp_client_call_context(call), &first);
    assert_int_equal(dp_client_call_response(call)->attempts, 2);
    assert_true(dp_client_call_response(call)->timing.backoff_us >= 400000);
    dp_client_call_free(call);
    dp_client_queue_free(queue);
    rig_end(&rig);
}

static void closing_waits_for_what_is_in_flight_and_may_be_repeated(void **state)
{
    (void)state;
    client_rig rig = connected_rig(delay_by_path, NULL);
    dp_client_queue *queue = NULL;
    assert_int_equal(dp_client_queue_new(rig.client, &queue, &rig.error), DP_STATUS_OK);
    dp_client_request request = {.url = "/delay/100"};
    assert_int_equal(dp_client_submit(queue, &request, NULL, &rig.error), DP_STATUS_OK);
    while (!has_requests(rig.server, 1)) {
        dp_client_wait(queue, -1, 10, NULL, &rig.error);
    }
    background job = {.client = rig.client, .request = {.url = "/delay/200"}};
    pthread_t thread;
    pthread_create(&thread, NULL, run_in_background, &job);
    wait_for_requests(rig.server, 2);
    dp_client_close(rig.client);
    dp_client_close(rig.client);
    dp_client_stats stats;
    dp_client_stats_read(rig.client, &stats);
    assert_int_equal(stats.ended[DP_CLIENT_OK], 2);
    pthread_join(thread, NULL);
    assert_int_equal(job.kind, DP_CLIENT_OK);
    dp_client_call *call = dp_client_queue_next(queue);
    assert_non_null(call);
    assert_int_equal(dp_client_call_response(call)->kind, DP_CLIENT_OK);
    dp_client_call_free(call);

    assert_int_equal(dp_client_get(rig.client, "/msg", &rig.response, &rig.error), DP_STATUS_USAGE);
    assert_int_equal(rig.response.kind, DP_CLIENT_UNUSABLE_REQUEST);
    assert_non_null(strstr(rig.error.message, "closed"));
    dp_client_queue_free(queue);
    dp_client_free(NULL);
    dp_client_close(NULL);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_keeps_several_in_flight_and_hands_them_back_as_they_end),
        cmocka_unit_test(waiting_ends_for_a_descriptor_and_for_the_time),
        cmocka_unit_test(a_slot_is_free_during_backoff),
        cmocka_unit_test(closing_waits_for_what_is_in_flight_and_may_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
