/* Ingestion as a sender sees it: every rule of the batch endpoint, without HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "services/journal_api.h"
#include "tests/unit/support/batch_builder.h"
#include "tests/unit/support/temporary_directory.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

typedef struct fixture {
    temporary_directory directory;
    char dsn[300];
    dp_journal_api *api;
    dp_api_reply reply;
} fixture;

static void open_api(fixture *self)
{
    dp_error error = DP_ERROR_INIT;
    const dp_journal_api_options options = {
        .state_dsn = self->dsn, .migrate = true, .max_batch_bytes = 1 << 20, .max_event_bytes = 4096};
    if (dp_journal_api_open(&options, &self->api, &error) != DP_STATUS_OK) fail_msg("%s", error.message);
}

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);
    *state = self;
    self->reply = (dp_api_reply)DP_API_REPLY_INIT;
    if (!temporary_directory_make(&self->directory)) return -1;
    snprintf(self->dsn, sizeof self->dsn, "sqlite:%s/state.db", self->directory.path);
    open_api(self);
    return 0;
}

static int tear_down(void **state)
{
    fixture *self = *state;
    dp_journal_api_close(self->api);
    dp_api_reply_release(&self->reply);
    temporary_directory_remove(&self->directory);
    free(self);
    return 0;
}

static const char *post_key(fixture *self, const char *key, dp_slice body)
{
    dp_journal_api_ingest(self->api, DP_SLICE_LITERAL("orders-cdc"), dp_slice_of_text(key), 1, body,
                          &self->reply);
    return dp_buffer_text(&self->reply.body);
}

/* Ends the batch, sends it with its own id as key, and gives the answer's body. */
static const char *post(fixture *self, batch_builder *batch)
{
    char id[65];
    dp_slice body = batch_end(batch, id);
    const char *answer = post_key(self, id, body);
    dp_buffer_release(&batch->body);
    return answer;
}

static void expect(const fixture *self, unsigned status, const char *part)
{
    const char *body = self->reply.body.data;
    if (self->reply.http_status != status || strstr(body, part) == NULL) {
        fail_msg("got %u %s, expected %u with %s", self->reply.http_status, body, status, part);
    }
}

static void post_transaction(fixture *self, unsigned xid, unsigned rows, unsigned status, const char *part)
{
    batch_builder batch;
    batch_begin(&batch, NULL);
    batch_transaction(&batch, xid, rows);
    post(self, &batch);
    expect(self, status, part);
}

/* Sends rows [from, to) of a transaction without its commit line. */
static void post_part(fixture *self, unsigned xid, unsigned from, unsigned to, unsigned status,
                      const char *part)
{
    batch_builder batch;
    batch_begin(&batch, NULL);
    for (unsigned i = from; i < to; i++) {
        batch_event(&batch, xid, i);
    }
    post(self, &batch);
    expect(self, status, part);
}

/* Sends rows [from, count) and the commit line. */
static void post_rest(fixture *self, unsigned xid, unsigned from, unsigned count, unsigned status,
                      const char *part)
{
    batch_builder batch;
    batch_begin(&batch, NULL);
    for (unsigned i = from; i < count; i++) {
        batch_event(&batch, xid, i);
    }
    batch_commit(&batch, xid, count);
    post(self, &batch);
    expect(self, status, part);
}

static void a_batch_is_answered_with_a_receipt(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    char expected[512];
    batch_begin(&batch, "0/FFF");
    batch_transaction(&batch, 10, 3);
    batch_transaction(&batch, 11, 2);
    dp_slice body = batch_end(&batch, id);
    snprintf(expected, sizeof expected,
             "{\"batch_id\":\"%s\",\"sink_status\":\"success\",\"load_status\":\"committed\",\"accepted\":5,"
             "\"duplicates\":0,\"idempotency_passed\":true,\"next_offset\":{\"backend\":\"postgres_logical\","
             "\"token\":\"0/FFF\",\"snapshot_complete\":true},\"end_position\":\"0/B8\"}",
             id);
    assert_string_equal(post_key(self, id, body), expected);
    assert_int_equal(self->reply.http_status, 200);
    assert_false(self->reply.replayed);
    dp_buffer_release(&batch.body);
}

static void the_same_key_and_body_gets_the_stored_answer_again(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 3);
    dp_slice body = batch_end(&batch, id);
    char first[512];
    snprintf(first, sizeof first, "%s", post_key(self, id, body));
    dp_journal_api_close(self->api); /* also after a restart */
    open_api(self);
    assert_string_equal(post_key(self, id, body), first);
    assert_int_equal(self->reply.http_status, 200);
    assert_true(self->reply.replayed);
    dp_buffer_release(&batch.body);
}

static void the_same_key_with_another_body_is_refused(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 1);
    post_key(self, "key-1", batch_end(&batch, id));
    expect(self, 200, "\"accepted\":1");
    dp_buffer_release(&batch.body);
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 11, 1);
    dp_slice other = batch_end(&batch, id);
    post_key(self, "key-1", other);
    expect(self, 422, "\"code\":\"idempotency_key_reused\"");
    post_key(self, "key-2", other);
    expect(self, 200, "\"accepted\":1");
    dp_buffer_release(&batch.body);
}

static void keys_are_scoped_to_pipeline_source_and_identity(void **state)
{
    fixture *self = *state;
    static const char *const sources[] = {"a", "b"};
    for (size_t i = 0; i < 2; i++) {
        batch_builder batch;
        char id[65];
        batch_begin_as(&batch, "orders-cdc", sources[i], "v1", NULL);
        batch_transaction(&batch, 10 + (unsigned)i, 1);
        post_key(self, "same", batch_end(&batch, id));
        expect(self, 200, "\"accepted\":1");
        assert_false(self->reply.replayed);
        dp_buffer_release(&batch.body);
    }
}

static void events_sent_again_under_another_key_are_duplicates(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    post_transaction(self, 10, 3, 200, "\"accepted\":3,\"duplicates\":0");
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 3);
    batch_transaction(&batch, 11, 2);
    post(self, &batch);
    expect(self, 200, "\"accepted\":2,\"duplicates\":3");
    expect(self, 200, "\"idempotency_passed\":true");
}

static void data_that_says_the_same_in_other_bytes_is_a_duplicate(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    post_transaction(self, 10, 1, 200, "\"accepted\":1");
    test_event_id(10, 0, id);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 0, "{ \"amount\":\"99.5\\u0030\", \"id\":10000 }");
    batch_commit(&batch, 10, 1);
    post(self, &batch);
    expect(self, 200, "\"accepted\":0,\"duplicates\":1");
}

static void a_known_event_with_other_content_is_a_conflict_and_stores_nothing(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    post_transaction(self, 10, 1, 200, "\"accepted\":1");
    test_event_id(10, 0, id);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 0, "{\"id\":10000,\"amount\":\"1.00\"}");
    batch_commit(&batch, 10, 1);
    batch_transaction(&batch, 11, 1);
    post(self, &batch);
    expect(self, 409, "\"code\":\"event_conflict\"");
    expect(self, 409, "line 2: event 0a0000000000");
    assert_int_equal(self->reply.retry_after_s, 0);
    post_transaction(self, 11, 1, 200, "\"accepted\":1"); /* was not stored by the refused batch */
}

static void a_stored_transaction_must_come_with_the_same_events(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    post_transaction(self, 10, 2, 200, "\"accepted\":2");
    post_transaction(self, 12, 2, 200, "\"accepted\":2");
    post_transaction(self, 10, 3, 409, "\"code\":\"transaction_differs\"");
    post_transaction(self, 10, 1, 409, "\"code\":\"transaction_differs\"");
    post_transaction(self, 11, 1, 409, "\"code\":\"transaction_differs\""); /* unknown below the watermark */
    test_event_id(77, 1, id);
    batch_begin(&batch, NULL);
    batch_event(&batch, 10, 0);
    batch_event_line(&batch, id, 10, 1, "{}");
    batch_commit(&batch, 10, 2);
    post(self, &batch);
    expect(self, 409, "\"code\":\"transaction_differs\"");
    expect(self, 409, "line 3:");
}

static void a_batch_that_repeats_an_event_does_not_pass_the_check(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    batch_begin(&batch, NULL);
    batch_event(&batch, 10, 0);
    batch_event(&batch, 10, 1);
    batch_event(&batch, 10, 0);
    batch_event(&batch, 10, 2);
    batch_commit(&batch, 10, 3);
    batch_transaction(&batch, 11, 2);
    batch_transaction(&batch, 10, 3);
    post(self, &batch);
    expect(self, 200, "\"accepted\":5,\"duplicates\":4,\"idempotency_passed\":false");
    post_transaction(self, 10, 3, 200, "\"accepted\":0,\"duplicates\":3,\"idempotency_passed\":true");
}

static void the_same_event_in_two_transactions_is_refused(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    test_event_id(10, 0, id);
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 1);
    batch_event_line(&batch, id, 11, 0, "{}");
    batch_commit(&batch, 11, 1);
    post(self, &batch);
    expect(self, 409, "\"code\":\"event_conflict\"");
}

static void a_batch_that_ends_inside_a_transaction_is_staged(void **state)
{
    fixture *self = *state;
    post_part(self, 10, 0, 3, 200, "\"load_status\":\"staged\",\"accepted\":3");
    post_part(self, 10, 3, 5, 200, "\"load_status\":\"staged\",\"accepted\":2");
    post_rest(self, 10, 5, 6, 200, "\"load_status\":\"committed\",\"accepted\":1");
    post_transaction(self, 10, 6, 200, "\"accepted\":0,\"duplicates\":6");
    post_transaction(self, 11, 1, 200, "\"accepted\":1");
}

static void the_commit_line_may_come_alone(void **state)
{
    fixture *self = *state;
    post_part(self, 10, 0, 3, 200, "staged");
    post_rest(self, 10, 4, 4, 409, "\"code\":\"ordinal_gap\"");
    post_rest(self, 10, 2, 2, 409, "\"code\":\"transaction_differs\"");
    post_rest(self, 10, 0, 0, 409, "\"code\":\"transaction_differs\"");
    post_rest(self, 10, 3, 3, 200, "\"load_status\":\"committed\",\"accepted\":0");
    post_transaction(self, 10, 3, 200, "\"duplicates\":3");
}

static void a_gap_in_a_transaction_is_refused(void **state)
{
    fixture *self = *state;
    post_part(self, 10, 1, 2, 409, "\"code\":\"ordinal_gap\"");
    post_part(self, 10, 0, 2, 200, "staged");
    post_part(self, 10, 3, 4, 409, "\"code\":\"ordinal_gap\"");
    post_part(self, 11, 2, 3, 409, "\"code\":\"ordinal_gap\""); /* another transaction */
    post_part(self, 10, 2, 4, 200, "\"accepted\":2");
}

static void rows_staged_twice_are_duplicates_when_equal(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    post_part(self, 10, 0, 4, 200, "staged");
    post_part(self, 10, 2, 6, 200, "\"accepted\":2,\"duplicates\":2");
    test_event_id(99, 9, id);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 4, "{}");
    post(self, &batch);
    expect(self, 409, "\"code\":\"ordinal_gap\"");
    test_event_id(10, 4, id);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 4, "{}");
    post(self, &batch);
    expect(self, 409, "\"code\":\"event_conflict\"");
    post_rest(self, 10, 5, 7, 200, "\"accepted\":1,\"duplicates\":1");
    post_transaction(self, 10, 7, 200, "\"accepted\":0,\"duplicates\":7");
}

static void row_0_starts_a_staged_transaction_again(void **state)
{
    fixture *self = *state;
    post_part(self, 10, 0, 4, 200, "staged");
    post_part(self, 10, 0, 2, 200, "\"accepted\":2,\"duplicates\":0,\"staged_dropped\":4"); /* replaced */
    post_part(self, 10, 0, 4, 200, "\"accepted\":4"); /* its receipt went with its rows: not replayed */
    assert_false(self->reply.replayed);
    post_rest(self, 10, 4, 5, 200, "\"accepted\":1");
    post_transaction(self, 10, 5, 200, "\"duplicates\":5");
}

static void a_later_transaction_drops_what_was_left_staged(void **state)
{
    fixture *self = *state;
    post_part(self, 10, 0, 4, 200, "staged");
    post_transaction(self, 11, 1, 200, "\"accepted\":1");
    post_rest(self, 10, 4, 5, 409, "\"code\":\"transaction_differs\"");
}

static void an_earlier_duplicate_leaves_the_staging_alone(void **state)
{
    fixture *self = *state;
    post_transaction(self, 9, 2, 200, "\"accepted\":2");
    post_part(self, 10, 0, 2, 200, "staged");
    batch_builder batch;
    batch_begin(&batch, "0/1");
    batch_transaction(&batch, 9, 2);
    post(self, &batch);
    expect(self, 200, "\"duplicates\":2");
    post_rest(self, 10, 2, 3, 200, "\"accepted\":1");
}

static void a_known_transaction_may_be_staged_again(void **state)
{
    fixture *self = *state;
    post_transaction(self, 10, 6, 200, "\"accepted\":6");
    post_part(self, 10, 0, 4, 200, "staged");
    post_rest(self, 10, 4, 6, 200,
              "\"load_status\":\"committed\",\"accepted\":0,\"duplicates\":2,\"staged_dropped\":4");
    post_part(self, 10, 0, 3, 200, "staged");
    batch_builder batch;
    char id[65];
    test_event_id(10, 0, id);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 0, "{\"id\":1}");
    batch_event(&batch, 10, 1);
    post(self, &batch);
    expect(self, 200, "staged");
    post_rest(self, 10, 2, 6, 409, "\"code\":\"transaction_differs\"");
}

static void empty_batches_and_transactions_are_committed(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    batch_begin(&batch, "0/5000");
    post(self, &batch);
    expect(self, 200, "\"load_status\":\"committed\",\"accepted\":0");
    expect(self, 200, "\"token\":\"0/5000\"");
    expect(self, 200, "\"end_position\":null");
    batch_begin(&batch, NULL);
    batch_commit(&batch, 10, 0);
    post(self, &batch);
    expect(self, 200, "\"load_status\":\"committed\",\"accepted\":0");
}

static void a_transaction_with_rows_is_no_empty_one(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    post_transaction(self, 10, 2, 200, "\"accepted\":2");
    post_rest(self, 10, 0, 0, 409, "\"code\":\"transaction_differs\"");
    post_rest(self, 9, 0, 0, 200, "\"load_status\":\"committed\""); /* none is stored that ends there */
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 11, 2);
    batch_commit(&batch, 11, 0);
    post(self, &batch);
    expect(self, 409, "\"code\":\"transaction_differs\"");
}

static void a_stream_is_written_with_one_identity(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    post_transaction(self, 10, 1, 200, "\"accepted\":1");
    batch_begin_as(&batch, "orders-cdc", "7000/shop", "dpone-py", NULL);
    batch_transaction(&batch, 11, 1);
    post(self, &batch);
    expect(self, 409, "\"code\":\"identity_mixed\"");
}

static void malformed_bodies_are_refused_with_line_and_fault(void **state)
{
    fixture *self = *state;
    post_key(self, "k", DP_SLICE_LITERAL("{\"type\":\"end\",\"count\":0,\"batch_id\":\"" ZEROS "\"}\n"));
    expect(self, 400, "\"detail\":\"line 1: a batch begins with its header");
    post_key(self, "k", DP_SLICE_LITERAL(""));
    expect(self, 400, "\"code\":\"batch_cut\"");
    batch_builder batch;
    char id[65];
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 2);
    dp_slice body = batch_end(&batch, id);
    char *digit = &batch.body.data[body.length - 5]; /* of the digest */
    *digit = *digit == '0' ? '1' : '0';
    post_key(self, id, body);
    expect(self, 400, "\"code\":\"digest_mismatch\"");
    dp_buffer_release(&batch.body);
    batch_begin_as(&batch, "other", "s", "v1", NULL);
    post(self, &batch);
    expect(self, 400, "\"code\":\"pipeline_mismatch\"");
    batch_begin_as(&batch, "orders-cdc", "s", "v7", NULL);
    post(self, &batch);
    expect(self, 400, "\"code\":\"identity_unknown\"");
    post_transaction(self, 10, 2, 200, "\"accepted\":2"); /* nothing of it was stored */
}

static void bodies_and_events_have_limits(void **state)
{
    fixture *self = *state;
    dp_buffer large = DP_BUFFER_INIT(4 << 20);
    dp_buffer_reserve(&large, 2 << 20);
    memset(large.data, ' ', 2 << 20);
    post_key(self, "k", (dp_slice){large.data, 2 << 20});
    expect(self, 413, "\"code\":\"batch_too_large\"");
    batch_builder batch;
    char id[65];
    test_event_id(10, 0, id);
    memcpy(large.data, "{\"a\":\"", 6);
    memset(large.data + 6, 'x', 5000);
    memcpy(large.data + 5006, "\"}", 3);
    batch_begin(&batch, NULL);
    batch_event_line(&batch, id, 10, 0, large.data);
    batch_commit(&batch, 10, 1);
    post(self, &batch);
    expect(self, 413, "\"code\":\"event_too_large\"");
    dp_buffer_release(&large);
}

static void the_key_is_required_and_checked(void **state)
{
    fixture *self = *state;
    char long_key[257];
    memset(long_key, 'k', 256);
    long_key[256] = '\0';
    static const dp_slice pipeline = DP_SLICE_LITERAL("orders-cdc");
    dp_journal_api_ingest(self->api, pipeline, (dp_slice){NULL, 0}, 0, DP_SLICE_LITERAL(""), &self->reply);
    expect(self, 400, "\"code\":\"idempotency_key_missing\"");
    dp_journal_api_ingest(self->api, pipeline, DP_SLICE_LITERAL("a"), 2, DP_SLICE_LITERAL(""), &self->reply);
    expect(self, 400, "\"code\":\"idempotency_key_repeated\"");
    post_key(self, "", DP_SLICE_LITERAL(""));
    expect(self, 400, "\"code\":\"idempotency_key_invalid\"");
    post_key(self, "a b", DP_SLICE_LITERAL(""));
    expect(self, 400, "\"code\":\"idempotency_key_invalid\"");
    post_key(self, long_key, DP_SLICE_LITERAL(""));
    expect(self, 400, "\"code\":\"idempotency_key_invalid\"");
    post_key(self, long_key + 1, DP_SLICE_LITERAL(""));
    expect(self, 400, "\"code\":\"batch_cut\"");
}

typedef struct sender {
    fixture *fixture;
    dp_slice body;
    unsigned answers_200;
    unsigned answers_409;
    unsigned others;
} sender;

static void *send_many(void *argument)
{
    sender *self = argument;
    dp_api_reply reply = DP_API_REPLY_INIT;
    for (int i = 0; i < 50; i++) {
        dp_journal_api_ingest(self->fixture->api, DP_SLICE_LITERAL("orders-cdc"),
                              DP_SLICE_LITERAL("same-key"), 1, self->body, &reply);
        if (reply.http_status == 200) {
            self->answers_200++;
        } else if (reply.http_status == 409 && strcmp(reply.code, "request_in_flight") == 0 &&
                   reply.retry_after_s == 1) {
            self->answers_409++;
        } else {
            self->others++;
        }
    }
    dp_api_reply_release(&reply);
    return NULL;
}

static void a_key_in_flight_is_refused_and_counts_once(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    char id[65];
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 500);
    dp_slice body = batch_end(&batch, id);
    sender senders[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        senders[i] = (sender){.fixture = self, .body = body};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(senders[i].others, 0);
    }
    post_transaction(self, 10, 500, 200, "\"accepted\":0,\"duplicates\":500");
    dp_buffer_release(&batch.body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_batch_is_answered_with_a_receipt),
        TEST(the_same_key_and_body_gets_the_stored_answer_again),
        TEST(the_same_key_with_another_body_is_refused),
        TEST(keys_are_scoped_to_pipeline_source_and_identity),
        TEST(events_sent_again_under_another_key_are_duplicates),
        TEST(data_that_says_the_same_in_other_bytes_is_a_duplicate),
        TEST(a_known_event_with_other_content_is_a_conflict_and_stores_nothing),
        TEST(a_stored_transaction_must_come_with_the_same_events),
        TEST(a_batch_that_repeats_an_event_does_not_pass_the_check),
        TEST(the_same_event_in_two_transactions_is_refused),
        TEST(a_batch_that_ends_inside_a_transaction_is_staged),
        TEST(the_commit_line_may_come_alone),
        TEST(a_gap_in_a_transaction_is_refused),
        TEST(rows_staged_twice_are_duplicates_when_equal),
        TEST(row_0_starts_a_staged_transaction_again),
        TEST(a_later_transaction_drops_what_was_left_staged),
        TEST(an_earlier_duplicate_leaves_the_staging_alone),
        TEST(a_known_transaction_may_be_staged_again),
        TEST(empty_batches_and_transactions_are_committed),
        TEST(a_transaction_with_rows_is_no_empty_one),
        TEST(a_stream_is_written_with_one_identity),
        TEST(malformed_bodies_are_refused_with_line_and_fault),
        TEST(bodies_and_events_have_limits),
        TEST(the_key_is_required_and_checked),
        TEST(a_key_in_flight_is_refused_and_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
