/* Each allocation of a request is made to fail in turn: the answer says "try again", nothing is half stored,
 * and the same request succeeds afterwards. */
#include "tests/unit/support/cmocka_includes.h"

#include <jansson.h>

#include "services/journal_api.h"
#include "tests/unit/support/batch_builder.h"
#include "tests/unit/support/failing_allocator.h"
#include "tests/unit/support/temporary_directory.h"

#define PIPELINE DP_SLICE_LITERAL("orders-cdc")

static temporary_directory directory;
static char dsn[300];
static dp_journal_api *api;
static unsigned xid;
static uint64_t stored_events;

static const dp_journal_api_options *options(void)
{
    static dp_journal_api_options value;
    value = (dp_journal_api_options){.state_dsn = dsn, .migrate = true};
    return &value;
}

static int set_up(void **state)
{
    dp_error error = DP_ERROR_INIT;
    (void)state;
    if (!temporary_directory_make(&directory)) return -1;
    snprintf(dsn, sizeof dsn, "sqlite:%s/state.db", directory.path);
    json_set_alloc_funcs(malloc, free); /* the wrapped malloc: the library's own calls are not relinked */
    xid = 10;
    stored_events = 0;
    return dp_journal_api_open(options(), &api, &error) == DP_STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dp_journal_api_close(api);
    temporary_directory_remove(&directory);
    return 0;
}

/* Work of the test itself, which must not fail. */
static long pause_failures(void)
{
    long failing = failing_allocation;
    failing_allocation = 0;
    return failing;
}

static void resume_failures(long failing)
{
    allocation_count = 0;
    failing_allocation = failing;
}

/* 200, or an answer that says "try again". */
static bool is_done(const dp_api_reply *reply)
{
    if (reply->http_status == 200) return true;
    if (reply->http_status != 503 || reply->retry_after_s == 0) {
        fail_msg("answered with %u %.*s", reply->http_status, (int)reply->body.length, reply->body.data);
    }
    return false;
}

static bool ingest(void *context)
{
    long failing = pause_failures();
    batch_builder batch;
    char id[65];
    dp_api_reply reply = DP_API_REPLY_INIT;
    unsigned rows = 100;
    (void)context;
    batch_begin(&batch, "0/FFFFFF");
    batch_transaction(&batch, xid, rows);
    dp_slice body = batch_end(&batch, id);
    resume_failures(failing);
    dp_journal_api_ingest(api, PIPELINE, dp_slice_of_text(id), 1, body, &reply);
    bool done = is_done(&reply);
    long made = allocation_count;
    pause_failures();
    dp_journal_api_ingest(api, PIPELINE, dp_slice_of_text(id), 1, body, &reply);
    assert_int_equal(reply.http_status, 200);
    assert_int_equal(reply.replayed, done);
    stored_events += rows;
    xid++;
    dp_api_reply_release(&reply);
    dp_buffer_release(&batch.body);
    allocation_count = made;
    return done;
}

static bool show(void *context)
{
    dp_api_reply reply = DP_API_REPLY_INIT;
    (void)context;
    dp_journal_api_show_pipeline(api, PIPELINE, &reply);
    bool done = is_done(&reply);
    dp_api_reply_release(&reply);
    return done;
}

static bool put_offset(void *context)
{
    const dp_offset_name name = {PIPELINE, DP_SLICE_LITERAL("postgres_logical"), DP_SLICE_LITERAL("*"),
                                 DP_SLICE_LITERAL("*")};
    dp_api_reply reply = DP_API_REPLY_INIT;
    (void)context;
    dp_journal_api_put_offset(api, &name,
                              DP_SLICE_LITERAL("{\"token\":\"0/1\",\"who\":\"ann\",\"why\":\"x\"}"), &reply);
    /* jansson cannot always tell a lack of memory from a malformed body. */
    bool done = reply.http_status == 400 ? false : is_done(&reply);
    dp_api_reply_release(&reply);
    return done;
}

static bool read_events(void *context)
{
    const dp_events_query all = {.from = {NULL, 0}};
    dp_api_reply reply = DP_API_REPLY_INIT;
    dp_events_reader *reader;
    dp_error error = DP_ERROR_INIT;
    char piece[4096];
    size_t length = 1;
    dp_status status = DP_STATUS_OK;
    (void)context;
    dp_events_reader_open(api, PIPELINE, &all, &reader, &reply);
    bool done = is_done(&reply);
    while (reader != NULL && status == DP_STATUS_OK && length > 0) {
        status = dp_events_reader_read(reader, piece, sizeof piece, &length, &error);
    }
    if (reader != NULL && status != DP_STATUS_OK) {
        assert_int_equal(status, DP_STATUS_NO_MEMORY);
        done = false;
    }
    dp_events_reader_close(reader);
    dp_api_reply_release(&reply);
    return done;
}

static bool open_again(void *context)
{
    dp_journal_api *other = NULL;
    dp_error error = DP_ERROR_INIT;
    (void)context;
    dp_status status = dp_journal_api_open(options(), &other, &error);
    if (status != DP_STATUS_OK) {
        assert_int_equal(status, DP_STATUS_NO_MEMORY);
        assert_null(other);
    }
    dp_journal_api_close(other);
    return status == DP_STATUS_OK;
}

static void a_batch_is_stored_whole_or_not_at_all(void **state)
{
    (void)state;
    assert_true(fail_each_allocation(ingest, NULL) > 3);
    dp_api_reply reply = DP_API_REPLY_INIT;
    char expected[64];
    snprintf(expected, sizeof expected, "\"event_count\":%llu,", (unsigned long long)stored_events);
    dp_journal_api_list_pipelines(api, &reply);
    assert_non_null(strstr(dp_buffer_text(&reply.body), expected));
    dp_api_reply_release(&reply);
}

static void questions_are_answered_or_refused(void **state)
{
    (void)state;
    assert_true(ingest(NULL));
    assert_true(fail_each_allocation(show, NULL) > 3);
    assert_true(fail_each_allocation(read_events, NULL) > 3);
    assert_true(fail_each_allocation(put_offset, NULL) > 3);
    assert_true(fail_each_allocation(open_again, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_is_stored_whole_or_not_at_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(questions_are_answered_or_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
