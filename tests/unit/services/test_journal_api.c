/* Everything the journal service answers beside ingestion: offsets, pipelines, events, sources, decisions. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/journal_api.h"
#include "tests/unit/support/batch_builder.h"
#include "tests/unit/support/temporary_directory.h"

#define PIPELINE DP_SLICE_LITERAL("orders-cdc")

typedef struct fixture {
    temporary_directory directory;
    dp_journal_api *api;
    dp_api_reply reply;
} fixture;

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);
    char dsn[300];
    dp_error error = DP_ERROR_INIT;
    *state = self;
    self->reply = (dp_api_reply)DP_API_REPLY_INIT;
    if (!temporary_directory_make(&self->directory)) return -1;
    snprintf(dsn, sizeof dsn, "sqlite:%s/state.db", self->directory.path);
    const dp_journal_api_options options = {.state_dsn = dsn, .migrate = true};
    return dp_journal_api_open(&options, &self->api, &error) == DP_STATUS_OK ? 0 : -1;
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

static void expect(fixture *self, unsigned status, const char *part)
{
    const char *body = dp_buffer_text(&self->reply.body);
    if (self->reply.http_status != status || strstr(body, part) == NULL) {
        fail_msg("got %u %s, expected %u with %s", self->reply.http_status, body, status, part);
    }
}

/* Sends a batch and keeps its event and commit lines, when asked, to compare with. */
static void post(fixture *self, batch_builder *batch, dp_buffer *lines)
{
    char id[65];
    size_t end = batch->body.length;
    dp_slice body = batch_end(batch, id);
    dp_journal_api_ingest(self->api, PIPELINE, (dp_slice){id, 64}, 1, body, &self->reply);
    expect(self, 200, "\"sink_status\":\"success\"");
    if (lines != NULL) dp_buffer_append(lines, body.data + batch->lines_at, end - batch->lines_at);
    dp_buffer_release(&batch->body);
}

/* --- offsets ------------------------------------------------------------------------------------------- */

static dp_offset_name name_of(const char *schema, const char *table)
{
    return (dp_offset_name){PIPELINE, DP_SLICE_LITERAL("postgres_logical"), dp_slice_of_text(schema),
                            dp_slice_of_text(table)};
}

static void put(fixture *self, const char *schema, const char *table, const char *body, unsigned status,
                const char *part)
{
    dp_offset_name name = name_of(schema, table);
    dp_journal_api_put_offset(self->api, &name, dp_slice_of_text(body), &self->reply);
    expect(self, status, part);
}

static void get(fixture *self, const char *schema, const char *table, unsigned status, const char *part)
{
    dp_offset_name name = name_of(schema, table);
    dp_journal_api_get_offset(self->api, &name, &self->reply);
    expect(self, status, part);
}

static void an_offset_is_saved_loaded_and_deleted(void **state)
{
    fixture *self = *state;
    get(self, "public", "orders", 404, "\"code\":\"offset_not_found\"");
    put(self, "public", "orders", "{\"token\":\"0/10\"}", 200,
        "{\"pipeline\":\"orders-cdc\",\"source_schema\":\"public\",\"source_table\":\"orders\",\"backend\":"
        "\"postgres_logical\",\"token\":\"0/10\",\"snapshot_complete\":true,\"loaded_at\":\"2");
    get(self, "public", "orders", 200, "\"token\":\"0/10\"");
    put(self, "public", "orders", "{\"token\":\"0/20\",\"snapshot_complete\":false}", 200,
        "\"snapshot_complete\":false");
    dp_journal_api_list_offsets(self->api, PIPELINE, &self->reply);
    expect(self, 200, "{\"offsets\":[{\"pipeline\":\"orders-cdc\"");
    dp_offset_name name = name_of("public", "orders");
    dp_journal_api_delete_offset(self->api, &name, DP_SLICE_LITERAL(""), &self->reply);
    expect(self, 200, "{\"deleted\":true}");
    dp_journal_api_delete_offset(self->api, &name, DP_SLICE_LITERAL("{}"), &self->reply);
    expect(self, 404, "offset_not_found");
}

static void an_offset_moves_back_only_when_allowed(void **state)
{
    fixture *self = *state;
    put(self, "*", "*", "{\"token\":\"0/100\"}", 200, "0/100");
    put(self, "*", "*", "{\"token\":\"0/20\"}", 409, "\"code\":\"offset_regression\"");
    put(self, "*", "*", "{\"token\":\"0/9\",\"allow_rewind\":true,\"who\":\"ann\",\"why\":\"drill\"}", 200,
        "0/9");
    put(self, "*", "*", "{\"token\":\"1/0\"}", 200, "1/0");
}

static void one_offset_for_all_tables_excludes_those_of_single_tables(void **state)
{
    fixture *self = *state;
    put(self, "*", "*", "{\"token\":\"0/100\"}", 200, "0/100");
    get(self, "public", "orders", 200, "\"source_schema\":\"*\",\"source_table\":\"*\"");
    put(self, "public", "orders", "{\"token\":\"0/100\"}", 409, "\"code\":\"offset_scope_conflict\"");
    dp_offset_name star = name_of("*", "*");
    dp_journal_api_delete_offset(self->api, &star, DP_SLICE_LITERAL("{\"who\":\"ann\"}"), &self->reply);
    expect(self, 200, "deleted");
    put(self, "public", "orders", "{\"token\":\"0/100\"}", 200, "0/100");
    put(self, "public", "items", "{\"token\":\"0/50\"}", 200, "0/50");
    put(self, "*", "*", "{\"token\":\"0/100\"}", 409, "\"code\":\"offset_scope_conflict\"");
}

static void malformed_offsets_are_refused(void **state)
{
    fixture *self = *state;
    put(self, "*", "*", "{\"token\":\"zz\"}", 400, "\"code\":\"token_malformed\"");
    put(self, "*", "*", "{}", 400, "\"code\":\"body_malformed\"");
    put(self, "*", "*", "[]", 400, "\"code\":\"body_malformed\"");
    put(self, "*", "*", "{\"token\":\"0/1\",\"tokn\":1}", 400, "unknown member");
    put(self, "*", "orders", "{\"token\":\"0/1\"}", 400, "\"code\":\"offset_name_invalid\"");
    dp_offset_name name = {PIPELINE, DP_SLICE_LITERAL("oracle"), DP_SLICE_LITERAL("s"),
                           DP_SLICE_LITERAL("t")};
    dp_journal_api_put_offset(self->api, &name, DP_SLICE_LITERAL("{\"token\":\"0/1\"}"), &self->reply);
    expect(self, 400, "\"code\":\"backend_unknown\"");
}

/* --- events -------------------------------------------------------------------------------------------- */

static dp_status read_events(fixture *self, const dp_events_query *query, size_t piece, dp_buffer *out)
{
    dp_events_reader *reader;
    dp_error error = DP_ERROR_INIT;
    char bytes[4096];
    size_t length = 1;
    dp_status status = DP_STATUS_OK;
    dp_buffer_clear(out);
    dp_events_reader_open(self->api, PIPELINE, query, &reader, &self->reply);
    if (reader == NULL) return DP_STATUS_NOT_FOUND;
    while (status == DP_STATUS_OK && length > 0) {
        status = dp_events_reader_read(reader, bytes, piece, &length, &error);
        if (status == DP_STATUS_OK) dp_buffer_append(out, bytes, length);
    }
    dp_events_reader_close(reader);
    return status;
}

static void events_come_back_byte_for_byte_in_order(void **state)
{
    fixture *self = *state;
    dp_buffer lines = DP_BUFFER_INIT(16 << 20);
    dp_buffer read = DP_BUFFER_INIT(16 << 20);
    batch_builder batch;
    batch_begin(&batch, NULL);
    dp_buffer_append_text(
        &batch.body,
        "{\"event_id\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"operation\":"
        "\"update\","
        "\"source_schema\":\"pu\\\"blic\",\"source_table\":\"t\xc3\xa9\",\"position\":\"0/"
        "1\",\"transaction_id\":"
        "\"1\",\"sequence\":null,\"ordinal\":0,\"data\":{\"id\":1,\"n\":\"\\u0000\"},\"before\":{\"id\":0},"
        "\"unchanged\":[\"doc\"],\"metadata\":{\"k\":1}}\n"
        "{\"type\":\"commit\",\"transaction_id\":\"1\",\"end_position\":\"0/"
        "2\",\"committed_at\":null,\"count\":1}\n");
    batch.count = 1;
    batch_transaction(&batch, 10, 1000);
    for (unsigned xid = 11; xid < 400; xid++) {
        batch_transaction(&batch, xid, 2);
    }
    post(self, &batch, &lines);
    batch_begin(&batch, NULL);
    batch_event(&batch, 400, 0); /* staged: nobody sees it */
    post(self, &batch, NULL);
    const dp_events_query all = {.from = {NULL, 0}};
    static const size_t pieces[] = {4096, 1000, 7};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_events(self, &all, pieces[i], &read), DP_STATUS_OK);
        assert_int_equal(read.length, lines.length);
        assert_memory_equal(read.data, lines.data, lines.length);
    }
    dp_buffer_release(&lines);
    dp_buffer_release(&read);
}

static unsigned count_text(const dp_buffer *text, const char *part)
{
    unsigned count = 0;
    const char *at = text->data;
    const char *end = text->data + text->length;
    while (at != NULL && (at = memmem(at, (size_t)(end - at), part, strlen(part))) != NULL) {
        count++;
        at++;
    }
    return count;
}

static void a_window_and_a_limit_choose_whole_transactions(void **state)
{
    fixture *self = *state;
    dp_buffer read = DP_BUFFER_INIT(16 << 20);
    batch_builder batch;
    batch_begin(&batch, NULL);
    for (unsigned xid = 10; xid < 20; xid++) {
        batch_transaction(&batch, xid, 3);
    }
    post(self, &batch, NULL);
    static const struct {
        const char *from;
        const char *to;
        const char *limit;
        unsigned events;
        unsigned commits;
    } cases[] = {
        {NULL, NULL, NULL, 30, 10},     {"0/A8", NULL, NULL, 27, 9}, {"0/A7", NULL, NULL, 30, 10},
        {"0/A8", "0/C8", NULL, 6, 2},   {NULL, "0/C7", NULL, 6, 2},  {NULL, NULL, "1", 3, 1},
        {NULL, NULL, "3", 3, 1},        {NULL, NULL, "4", 6, 2},     {"0/A8", "0/C8", "100", 6, 2},
        {"0/FFFFFF", NULL, NULL, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dp_events_query query = {.from = dp_slice_of_text(cases[i].from),
                                       .to = dp_slice_of_text(cases[i].to),
                                       .limit = dp_slice_of_text(cases[i].limit)};
        assert_int_equal(read_events(self, &query, 4096, &read), DP_STATUS_OK);
        assert_int_equal(count_text(&read, "\"event_id\""), cases[i].events);
        assert_int_equal(count_text(&read, "\"type\":\"commit\""), cases[i].commits);
    }
    dp_buffer_release(&read);
}

static void events_are_refused_where_the_question_is_unclear(void **state)
{
    fixture *self = *state;
    dp_buffer read = DP_BUFFER_INIT(1 << 20);
    const dp_events_query all = {.from = {NULL, 0}};
    assert_int_equal(read_events(self, &all, 4096, &read), DP_STATUS_NOT_FOUND);
    expect(self, 404, "pipeline_not_found");
    batch_builder batch;
    batch_begin_as(&batch, "orders-cdc", "a", "v1", NULL);
    batch_transaction(&batch, 10, 1);
    post(self, &batch, NULL);
    batch_begin_as(&batch, "orders-cdc", "b", "v1", NULL);
    batch_transaction(&batch, 10, 2);
    post(self, &batch, NULL);
    read_events(self, &all, 4096, &read);
    expect(self, 400, "stream_ambiguous");
    const dp_events_query chosen = {.source = DP_SLICE_LITERAL("b")};
    assert_int_equal(read_events(self, &chosen, 4096, &read), DP_STATUS_OK);
    assert_int_equal(count_text(&read, "\"event_id\""), 2);
    const dp_events_query other = {.source = DP_SLICE_LITERAL("c")};
    read_events(self, &other, 4096, &read);
    expect(self, 404, "stream_not_found");
    const dp_events_query malformed = {.source = DP_SLICE_LITERAL("b"), .from = DP_SLICE_LITERAL("zz")};
    read_events(self, &malformed, 4096, &read);
    expect(self, 400, "token_malformed");
    const dp_events_query no_limit = {.source = DP_SLICE_LITERAL("b"), .limit = DP_SLICE_LITERAL("0")};
    read_events(self, &no_limit, 4096, &read);
    expect(self, 400, "limit_malformed");
    dp_buffer_release(&read);
}

/* --- pipelines and sources ----------------------------------------------------------------------------- */

static void pipelines_are_listed_and_shown(void **state)
{
    fixture *self = *state;
    dp_journal_api_list_pipelines(self->api, &self->reply);
    expect(self, 200, "{\"pipelines\":[]}");
    dp_journal_api_show_pipeline(self->api, PIPELINE, &self->reply);
    expect(self, 404, "pipeline_not_found");
    batch_builder batch;
    batch_begin(&batch, "0/FFF");
    batch_transaction(&batch, 10, 2);
    batch_event(&batch, 11, 0);
    post(self, &batch, NULL);
    put(self, "*", "*", "{\"token\":\"0/A8\"}", 200, "0/A8");
    dp_journal_api_list_pipelines(self->api, &self->reply);
    expect(self, 200,
           "{\"pipelines\":[{\"pipeline\":\"orders-cdc\",\"stream_count\":1,\"transaction_count\":1,"
           "\"event_count\":2,");
    dp_journal_api_show_pipeline(self->api, PIPELINE, &self->reply);
    expect(self, 200, "\"source\":\"7000/shop\",\"backend\":\"postgres_logical\",\"identity\":\"v1\"");
    expect(self, 200, "\"high_watermark\":\"0/A8\"");
    expect(self, 200, "\"staged\":{\"transaction_id\":\"11\",\"row_count\":1}");
    expect(self, 200, "\"last_receipt\":{\"batch_id\":");
    expect(self, 200, "\"offsets\":[{\"pipeline\":\"orders-cdc\"");
}

static void put_source(fixture *self, const char *identity, const char *settings, const char *accept,
                       unsigned status, const char *part)
{
    char body[512];
    snprintf(
        body, sizeof body,
        "{\"source\":\"7000/shop\",\"backend\":\"postgres_logical\",\"identity\":\"%s\",\"settings\":%s%s}",
        identity, settings, accept);
    dp_journal_api_put_source(self->api, PIPELINE, dp_slice_of_text(body), &self->reply);
    expect(self, status, part);
}

static void a_change_of_the_source_blocks_until_it_is_accepted(void **state)
{
    fixture *self = *state;
    batch_builder batch;
    put_source(self, "v1", "{\"slot\":\"s\",\"plugin\":\"pgoutput\"}", "", 200,
               "{\"settings\":{\"slot\":\"s\",\"plugin\":\"pgoutput\"}}");
    put_source(self, "v1", "{\"slot\":\"s2\"}", "", 200, "\"slot\":\"s2\""); /* nothing is stored yet */
    batch_begin(&batch, NULL);
    batch_transaction(&batch, 10, 1);
    post(self, &batch, NULL);
    put_source(self, "v1", "{\"timeline\":1}", "", 200,
               "{\"timeline\":1,\"slot\":\"s2\",\"plugin\":\"pgoutput\"}");
    put_source(self, "v1", "{\"slot\":\"s3\",\"plugin\":\"wal2json\"}", "", 409,
               "\"blockers\":[\"source.slot_changed\",\"source.plugin_changed\"]");
    put_source(self, "dpone-py", "{}", "", 409, "\"blockers\":[\"source.identity_changed\"]");
    put_source(self, "v1", "{\"slot\":\"s3\"}", ",\"accept\":true", 200, "\"slot\":\"s3\"");
    put_source(self, "v1", "{\"slott\":\"s3\"}", "", 400, "\"code\":\"settings_malformed\"");
    put_source(self, "v1", "[]", "", 400, "\"code\":\"settings_malformed\"");
    put_source(self, "v9", "{}", "", 400, "\"code\":\"identity_unknown\"");
}

/* Of stream `source`: an event that says where it stood as far as `place` does. */
static void add_poison(fixture *self, const char *source, const char *place, const char *expected)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"source\":\"%s\",\"backend\":\"postgres_logical\",\"code\":\"key_missing\",\"reason\":\"no "
             "key\",\"context\":{},\"event\":{\"source_table\":\"t\"%s}}",
             source, place);
    dp_journal_api_add_quarantine(self->api, PIPELINE, dp_slice_of_text(body), &self->reply);
    expect(self, 200, expected);
}

static void an_event_that_is_read_again_is_kept_in_quarantine_once(void **state)
{
    static const char added[] = "{\"added\":1,\"duplicates\":0}";
    static const char known[] = "{\"added\":0,\"duplicates\":1}";
    fixture *self = *state;
    add_poison(self, "s", ",\"position\":\"0/1\",\"ordinal\":0", added);
    add_poison(self, "s", ",\"position\":\"0/1\",\"ordinal\":0", known);
    add_poison(self, "s", ",\"position\":\"0/1\",\"ordinal\":1", added);
    add_poison(self, "other", ",\"position\":\"0/1\",\"ordinal\":0", added);
    /* what does not say where it stood may be another change with the same values */
    add_poison(self, "s", ",\"position\":\"0/1\"", added);
    add_poison(self, "s", ",\"position\":\"0/1\"", added);
    add_poison(self, "s", ",\"ordinal\":0", added);
    add_poison(self, "s", ",\"ordinal\":0", added);
}

static void changes_are_kept_in_quarantine(void **state)
{
    fixture *self = *state;
    dp_journal_api_add_quarantine(
        self->api, PIPELINE,
        DP_SLICE_LITERAL(
            "{\"source\":\"s\",\"backend\":\"postgres_logical\",\"records\":[{\"code\":\"key_missing\","
            "\"reason\":\"no key\",\"context\":{},\"event\":{\"event_id\":null,\"source_schema\":"
            "\"public\",\"source_table\":\"t\",\"position\":\"0/1\"}}]}"),
        &self->reply);
    expect(self, 200, "{\"added\":1,\"duplicates\":0}");
    dp_journal_api_list_quarantine(self->api, PIPELINE, (dp_slice){NULL, 0}, &self->reply);
    expect(self, 200, "\"reason\":\"key_missing\",\"detail\":\"no key\",\"event\":\"{\\\"event_id\\\":null");
    expect(self, 200, "\"position\":\"0/1\",\"transaction_id\":null");
    expect(self, 200, "\"state\":\"open\"");
    dp_journal_api_add_quarantine(self->api, PIPELINE,
                                  DP_SLICE_LITERAL("{\"source\":\"s\",\"backend\":\"b\"}"), &self->reply);
    expect(self, 400, "body_malformed");
}

/* --- decisions ----------------------------------------------------------------------------------------- */

static void plans_and_decisions_are_the_pure_modules(void **state)
{
    fixture *self = *state;
    dp_journal_api_plan_replay(
        self->api,
        DP_SLICE_LITERAL(
            "{\"backend\":\"postgres_logical\",\"pipeline_name\":\"p\",\"source_schema\":\"s\","
            "\"source_table\":\"t\",\"stored_offset\":{\"backend\":\"mssql_cdc\",\"token\":\"0x01\"},"
            "\"replay_from\":\"0/9\",\"replay_to\":\"0/1\"}"),
        &self->reply);
    expect(self, 200, "\"safe_to_execute\": false");
    expect(self, 200, "offset.backend_mismatch.stored_offset");
    expect(self, 200, "replay.invalid_window");
    dp_journal_api_plan_replay(self->api, DP_SLICE_LITERAL("{\"backend\":\"postgres_logical\"}"),
                               &self->reply);
    expect(self, 400, "body_malformed");
    dp_journal_api_decide_commit(
        self->api,
        DP_SLICE_LITERAL(
            "{\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":\"0/9\",\"snapshot_complete\":"
            "true},\"expected_backend\":\"postgres_logical\",\"sink_status\":\" SUCCESS \","
            "\"load_status\":\"committed\",\"idempotency_passed\":true}"),
        &self->reply);
    expect(self, 200, "\"can_commit\": true");
    dp_journal_api_decide_commit(
        self->api,
        DP_SLICE_LITERAL(
            "{\"next_offset\":null,\"expected_backend\":\"postgres_logical\",\"sink_status\":\"failed\","
            "\"load_status\":\"staged\",\"idempotency_passed\":false}"),
        &self->reply);
    expect(self, 200, "offset_missing");
    expect(self, 200, "idempotency_failed");
    dp_journal_api_decide_commit(self->api, DP_SLICE_LITERAL("{"), &self->reply);
    expect(self, 400, "body_malformed");
}

static void a_service_is_ready_while_its_store_answers(void **state)
{
    fixture *self = *state;
    dp_journal_api_check_ready(self->api, &self->reply);
    expect(self, 200, "{\"status\":\"ready\",\"state\":\"sqlite\",\"version\":\"" DPONE_VERSION "\"}");
}

static void a_closed_journal_is_one_file(void **state)
{
    fixture *self = *state;
    char log[300];
    snprintf(log, sizeof log, "%s/state.db-wal", self->directory.path);
    add_poison(self, "s", "", "\"added\":1");
    dp_journal_api_list_quarantine(self->api, PIPELINE, (dp_slice){NULL, 0}, &self->reply);
    expect(self, 200, "key_missing");
    assert_int_equal(access(log, F_OK), 0);
    dp_journal_api_close(self->api);
    self->api = NULL;
    assert_int_equal(access(log, F_OK), -1);
}

static void a_store_without_a_schema_is_refused_with_a_hint(void **state)
{
    fixture *self = *state;
    char dsn[300];
    dp_error error = DP_ERROR_INIT;
    dp_journal_api *api;
    snprintf(dsn, sizeof dsn, "sqlite:%s/other.db", self->directory.path);
    const char *path = dsn + strlen("sqlite:");
    const dp_journal_api_options options = {.state_dsn = dsn};
    assert_int_equal(dp_journal_api_open(&options, &api, &error), DP_STATUS_IO);
    assert_int_equal(access(path, F_OK), -1);
    assert_non_null(strstr(error.hint, "dpone state migrate"));
    error = (dp_error)DP_ERROR_INIT;
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    assert_int_equal(dp_journal_api_open(&options, &api, &error), DP_STATUS_USAGE);
    assert_string_equal(error.code, "schema_older");
    assert_non_null(strstr(error.hint, "dpone state migrate"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_offset_is_saved_loaded_and_deleted),
        TEST(an_offset_moves_back_only_when_allowed),
        TEST(one_offset_for_all_tables_excludes_those_of_single_tables),
        TEST(malformed_offsets_are_refused),
        TEST(events_come_back_byte_for_byte_in_order),
        TEST(a_window_and_a_limit_choose_whole_transactions),
        TEST(events_are_refused_where_the_question_is_unclear),
        TEST(pipelines_are_listed_and_shown),
        TEST(a_change_of_the_source_blocks_until_it_is_accepted),
        TEST(changes_are_kept_in_quarantine),
        TEST(an_event_that_is_read_again_is_kept_in_quarantine_once),
        TEST(plans_and_decisions_are_the_pure_modules),
        TEST(a_service_is_ready_while_its_store_answers),
        TEST(a_store_without_a_schema_is_refused_with_a_hint),
        TEST(a_closed_journal_is_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
