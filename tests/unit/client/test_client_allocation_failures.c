/* Each allocation of the client is made to fail in turn: the outcome is NO_MEMORY, a connection error (a body
 * that does not fit is no reply), or a good reply; never a crash, a leak or a slot that is not given back. */
#include "tests/unit/support/cmocka_includes.h"

#include "client/client.h"
#include "tests/unit/support/loopback_peer.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

/* The peer's threads allocate too, and must not fail. */
static _Thread_local bool counting;
static long allocation_count;
static long failing_allocation;

static bool fails_now(void)
{
    return counting && ++allocation_count == failing_allocation;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

static void say_ok(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number, (void)request;
    peer_say_status(reply, 200, "X-A: b\r\n", "{\"a\":1}");
}

static void check_kind(dp_client_kind kind)
{
    assert_true(kind == DP_CLIENT_OK || kind == DP_CLIENT_NO_MEMORY);
}

static void use_blocking(dp_client *client)
{
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    for (int i = 0; i < 2; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_status status = dp_client_post(client, "/x", DP_SLICE_LITERAL("{}"), &response, &error);
        check_kind(response.kind);
        assert_int_equal(status == DP_STATUS_OK, response.kind == DP_CLIENT_OK);
    }
    dp_client_response_release(&response);
}

static void use_queue(dp_client *client)
{
    dp_client_queue *queue = NULL;
    dp_error error = DP_ERROR_INIT;
    if (dp_client_queue_new(client, &queue, &error) != DP_STATUS_OK) {
        assert_int_equal(error.status, DP_STATUS_NO_MEMORY);
        return;
    }
    dp_client_request request = {.url = "/x"};
    for (int i = 0; i < 2; i++) {
        dp_error submit_error = DP_ERROR_INIT;
        dp_status status = dp_client_submit(queue, &request, NULL, &submit_error);
        assert_true(status == DP_STATUS_OK || status == DP_STATUS_NO_MEMORY);
    }
    while (dp_client_queue_in_flight(queue) > 0) {
        dp_client_wait(queue, -1, -1, NULL, &error);
        dp_client_call *call;
        while ((call = dp_client_queue_next(queue)) != NULL) {
            check_kind(dp_client_call_response(call)->kind);
            dp_client_call_free(call);
        }
    }
    dp_client_queue_free(queue);
}

static void use_everything(const peer *server)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = server->base_url;
    config.proxy = "";
    config.retry.max_attempts = 1;
    dp_client_header header = {"X-B", "c"};
    config.headers = &header;
    config.header_count = 1;
    dp_client *client = NULL;
    dp_error error = DP_ERROR_INIT;
    if (dp_client_new(&config, &client, &error) != DP_STATUS_OK) {
        assert_int_equal(error.status, DP_STATUS_NO_MEMORY);
        return;
    }
    use_blocking(client);
    use_queue(client);
    dp_client_stats stats;
    dp_client_stats_read(client, &stats);
    assert_int_equal(stats.slots_used, 0);
    dp_client_free(client);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    peer *server = peer_start(say_ok, NULL);
    use_everything(server); /* libraries set themselves up once */
    long count = 0;
    for (failing_allocation = 1;; failing_allocation++) {
        allocation_count = 0;
        counting = true;
        use_everything(server);
        counting = false;
        if (allocation_count < failing_allocation) break;
        count++;
    }
    print_message("  %ld allocations\n", count);
    assert_true(count > 10);
    peer_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
