#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cdc/batch_reader.h"
#include "tests/unit/support/batch_builder.h"

static const dp_batch_read_limits limits = {.max_body_bytes = 1 << 20, .max_line_bytes = 4096};

static void a_batch_is_read_as_transactions(void **state)
{
    (void)state;
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    batch_builder builder;
    char id[65];
    batch_begin(&builder, "0/FF8");
    batch_transaction(&builder, 10, 3);
    batch_commit(&builder, 11, 0);
    batch_event(&builder, 12, 0);
    dp_error error = DP_ERROR_INIT;
    const dp_batch *batch;
    assert_int_equal(dp_batch_reader_read(reader, batch_end(&builder, id), &batch, &error), DP_STATUS_OK);
    assert_string_equal(batch->batch_id_hex, id);
    assert_int_equal(batch->event_count, 4);
    assert_int_equal(batch->group_count, 3);
    assert_int_equal(batch->groups[0].event_count, 3);
    assert_true(batch->groups[0].has_commit);
    assert_int_equal(batch->groups[1].event_count, 0);
    assert_int_equal(batch->groups[2].first_event, 3);
    assert_false(batch->groups[2].has_commit);
    assert_int_equal(batch->events[3].line_number, 7);
    dp_buffer_release(&builder.body);
    dp_batch_reader_free(reader);
}

static void an_empty_batch_moves_an_offset(void **state)
{
    (void)state;
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    batch_builder builder;
    char id[65];
    batch_begin(&builder, "0/FF8");
    dp_error error = DP_ERROR_INIT;
    const dp_batch *batch;
    assert_int_equal(dp_batch_reader_read(reader, batch_end(&builder, id), &batch, &error), DP_STATUS_OK);
    assert_int_equal(batch->group_count, 0);
    assert_true(batch->header.has_next_offset);
    dp_buffer_release(&builder.body);
    dp_batch_reader_free(reader);
}

static void a_body_cut_anywhere_is_refused(void **state)
{
    (void)state;
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    batch_builder builder;
    char id[65];
    batch_begin(&builder, "0/FF8");
    batch_transaction(&builder, 10, 2);
    dp_slice body = batch_end(&builder, id);
    for (size_t length = 0; length < body.length; length++) {
        dp_error error = DP_ERROR_INIT;
        const dp_batch *batch;
        assert_int_equal(dp_batch_reader_read(reader, (dp_slice){body.data, length}, &batch, &error),
                         DP_STATUS_DATA);
        assert_string_equal(error.code, "batch_cut");
    }
    dp_buffer_release(&builder.body);
    dp_batch_reader_free(reader);
}

static void a_changed_byte_is_never_accepted(void **state)
{
    (void)state;
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    batch_builder builder;
    char id[65];
    batch_begin(&builder, "0/FF8");
    batch_transaction(&builder, 10, 2);
    dp_slice body = batch_end(&builder, id);
    for (size_t at = builder.lines_at; at < body.length - 1; at++) {
        builder.body.data[at] ^= 1;
        dp_error error = DP_ERROR_INIT;
        const dp_batch *batch;
        if (dp_batch_reader_read(reader, body, &batch, &error) == DP_STATUS_OK) {
            fail_msg("byte %zu changed and accepted", at);
        }
        builder.body.data[at] ^= 1;
    }
    dp_buffer_release(&builder.body);
    dp_batch_reader_free(reader);
}

typedef void (*build_function)(batch_builder *batch);

static void two_headers(batch_builder *batch)
{
    dp_buffer_append_text(
        &batch->body, "{\"type\":\"batch\",\"schema\":\"dpone.cdc.batch.v1\",\"pipeline\":\"p\",\"backend\":"
                      "\"postgres_logical\",\"source\":\"s\",\"identity\":\"v1\",\"next_offset\":null}\n");
}

static void missing_commit(batch_builder *batch)
{
    batch_event(batch, 10, 0);
    batch_event(batch, 11, 0);
}

static void wrong_commit(batch_builder *batch)
{
    batch_event(batch, 10, 0);
    batch_commit(batch, 11, 1);
}

static void wrong_commit_count(batch_builder *batch)
{
    batch_event(batch, 10, 0);
    batch_commit(batch, 10, 2);
}

static void gap(batch_builder *batch)
{
    batch_event(batch, 10, 0);
    batch_event(batch, 10, 2);
}

static void wrong_trailer_count(batch_builder *batch)
{
    batch_transaction(batch, 10, 1);
    batch->count++;
}

static void no_id(batch_builder *batch)
{
    dp_buffer_append_text(
        &batch->body, "{\"event_id\":null,\"operation\":\"insert\",\"source_schema\":\"s\",\"source_table\":"
                      "\"t\",\"position\":\"0/1\",\"transaction_id\":\"1\",\"sequence\":0,\"ordinal\":0,"
                      "\"data\":{},\"before\":null,\"unchanged\":[]}\n");
}

static void other_backend(batch_builder *batch)
{
    char id[65];
    test_event_id(1, 0, id);
    dp_buffer_append_format(&batch->body,
                            "{\"event_id\":\"%s\",\"operation\":\"insert\",\"source_schema\":\"s\","
                            "\"source_table\":\"t\",\"position\":\"0x01\",\"transaction_id\":\"1\","
                            "\"sequence\":0,\"ordinal\":0,\"data\":{},\"before\":null,\"unchanged\":[]}\n",
                            id);
}

static void long_line(batch_builder *batch)
{
    char data[5000];
    char id[65];
    memset(data, ' ', sizeof data);
    data[0] = '{';
    data[sizeof data - 2] = '}';
    data[sizeof data - 1] = '\0';
    test_event_id(1, 0, id);
    batch_event_line(batch, id, 1, 0, data);
}

static void misplaced_and_miscounted_lines_are_refused(void **state)
{
    (void)state;
    static const struct {
        build_function build;
        dp_status status;
        const char *code;
        const char *line;
    } cases[] = {
        {two_headers, DP_STATUS_DATA, "batch_malformed", "line 2"},
        {missing_commit, DP_STATUS_DATA, "batch_malformed", "line 3"},
        {wrong_commit, DP_STATUS_DATA, "batch_malformed", "line 3"},
        {wrong_commit_count, DP_STATUS_DATA, "count_mismatch", "line 3"},
        {gap, DP_STATUS_CONFLICT, "ordinal_gap", "line 3"},
        {wrong_trailer_count, DP_STATUS_DATA, "count_mismatch", "line 4"},
        {no_id, DP_STATUS_DATA, "id_missing", "line 2"},
        {other_backend, DP_STATUS_DATA, "backend_mismatch", "line 2"},
        {long_line, DP_STATUS_LIMIT, "event_too_large", "line 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_batch_reader *reader = dp_batch_reader_new(&limits);
        batch_builder builder;
        char id[65];
        dp_error error = DP_ERROR_INIT;
        const dp_batch *batch;
        batch_begin(&builder, NULL);
        cases[i].build(&builder);
        assert_int_equal(dp_batch_reader_read(reader, batch_end(&builder, id), &batch, &error),
                         cases[i].status);
        assert_string_equal(error.code, cases[i].code);
        if (strncmp(error.message, cases[i].line, strlen(cases[i].line)) != 0) fail_msg("%s", error.message);
        dp_buffer_release(&builder.body);
        dp_batch_reader_free(reader);
    }
}

static void text_after_the_trailer_and_a_large_body_are_refused(void **state)
{
    (void)state;
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    batch_builder builder;
    char id[65];
    const dp_batch *batch;
    dp_error error = DP_ERROR_INIT;
    batch_begin(&builder, NULL);
    batch_end(&builder, id);
    dp_buffer_append_text(&builder.body, "\n");
    assert_int_equal(dp_batch_reader_read(reader, dp_buffer_slice(&builder.body), &batch, &error),
                     DP_STATUS_DATA);
    assert_string_equal(error.code, "batch_malformed");
    dp_error_clear(&error);
    assert_int_equal(dp_batch_reader_read(reader, (dp_slice){builder.body.data, (1 << 20) + 1}, &batch,
                                          &error),
                     DP_STATUS_LIMIT);
    assert_string_equal(error.code, "batch_too_large");
    dp_buffer_release(&builder.body);
    dp_batch_reader_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_read_as_transactions),
        cmocka_unit_test(an_empty_batch_moves_an_offset),
        cmocka_unit_test(a_body_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_byte_is_never_accepted),
        cmocka_unit_test(misplaced_and_miscounted_lines_are_refused),
        cmocka_unit_test(text_after_the_trailer_and_a_large_body_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
