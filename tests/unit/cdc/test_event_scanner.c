#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cdc/event_scanner.h"

#define ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEAD                                                                                                 \
    "{\"event_id\":\"" ID "\",\"operation\":\"update\",\"source_schema\":\"public\",\"source_table\":\"t\"," \
    "\"position\":\"0/16B6C50\",\"transaction_id\":\"900\",\"sequence\":3,\"ordinal\":7,"
#define TAIL "\"data\":{\"id\":10},\"before\":{\"id\":9},\"unchanged\":[\"doc\"]}"

static dp_arena *arena;

static dp_status scan(const char *line, dp_wire_line *out, dp_error *error)
{
    if (arena == NULL) arena = dp_arena_new(4096, 1 << 20);
    return dp_wire_line_scan(dp_slice_of_text(line), 4, arena, out, error);
}

static void assert_text(dp_slice actual, const char *expected)
{
    if (!dp_slice_equal_text(actual, expected)) {
        fail_msg("got '%.*s', expected '%s'", DP_SLICE_PRINT(actual), expected);
    }
}

static void an_event_line_gives_every_field(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_wire_line line;
    assert_int_equal(scan(HEAD TAIL, &line, &error), DP_STATUS_OK);
    assert_int_equal(line.kind, DP_LINE_EVENT);
    assert_true(line.event.has_id);
    assert_int_equal(line.event.id.bytes[1], 0x11);
    assert_int_equal(line.event.operation, DP_OPERATION_UPDATE);
    assert_text(line.event.source_schema, "public");
    assert_text(line.event.position, "0/16B6C50");
    assert_text(line.event.transaction_id, "900");
    assert_int_equal(line.event.sequence, 3);
    assert_int_equal(line.event.ordinal, 7);
    assert_text(line.event.data, "{\"id\":10}");
    assert_text(line.event.before, "{\"id\":9}");
    assert_text(line.event.unchanged, "[\"doc\"]");
    assert_null(line.event.metadata.data);
}

static void members_come_in_any_order_and_names_are_decoded(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_wire_line line;
    assert_int_equal(
        scan(
            "{\"data\":{},\"unchanged\":[],\"before\":null,\"ordinal\":0,\"sequence\":null,\"transaction_"
            "id\":"
            "null,\"position\":null,\"source_table\":\"a\\\"b\\u00e9\",\"source_schema\":\"s\",\"operation\":"
            "\"truncate\",\"event_id\":null,\"metadata\":{\"cascade\":true}}",
            &line, &error),
        DP_STATUS_OK);
    assert_false(line.event.has_id);
    assert_false(line.event.has_sequence);
    assert_null(line.event.position.data);
    assert_null(line.event.transaction_id.data);
    assert_null(line.event.before.data);
    assert_null(line.event.unchanged.data);
    assert_text(line.event.source_table, "a\"b\xc3\xa9");
    assert_text(line.event.metadata, "{\"cascade\":true}");
}

static void the_other_lines_are_told_apart_by_their_type(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_wire_line line;
    assert_int_equal(scan("{\"type\":\"commit\",\"transaction_id\":\"900\",\"end_position\":\"0/16B6D28\","
                          "\"committed_at\":\"1970-01-02T00:00:00.000001Z\",\"count\":1}",
                          &line, &error),
                     DP_STATUS_OK);
    assert_int_equal(line.kind, DP_LINE_COMMIT);
    assert_true(line.commit.committed_at_us == INT64_C(86400000001));
    assert_int_equal(scan("{\"count\":1,\"type\":\"end\",\"batch_id\":\"" ID "\"}", &line, &error),
                     DP_STATUS_OK);
    assert_int_equal(line.kind, DP_LINE_TRAILER);
    assert_int_equal(
        scan("{\"type\":\"batch\",\"schema\":\"dpone.cdc.batch.v1\",\"pipeline\":\"p\",\"backend\":"
             "\"mssql_cdc\",\"source\":\"s\",\"identity\":\"dpone-py\",\"next_offset\":{\"backend\":"
             "\"mssql_cdc\",\"token\":\"0x0A\",\"snapshot_complete\":false},\"later\":[1]}",
             &line, &error),
        DP_STATUS_OK);
    assert_int_equal(line.kind, DP_LINE_HEADER);
    assert_true(line.header.has_next_offset);
    assert_false(line.header.next_snapshot_complete);
    assert_int_equal(line.header.identity, DP_IDENTITY_DPONE_PY);
}

static void a_faulty_line_is_refused_with_its_number_and_fault(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *fault;
    } cases[] = {
        {"", "line 4, byte 1: unexpected end"},
        {"[]", "expected an object"},
        {"{\"type\":\"other\"}", "\"type\" is not"},
        {HEAD "\"before\":null,\"unchanged\":[]}", "\"data\" is missing"},
        {HEAD "\"ordinal\":8," TAIL, "a repeated member"},
        {HEAD "\"extra\":1," TAIL, "an unknown member"},
        {HEAD TAIL " {}", "unexpected text after"},
        {HEAD "\"data\":[],\"before\":null,\"unchanged\":[]}", "\"data\" is not an object"},
        {HEAD "\"data\":{\"a\":1,\"a\":2},\"before\":null,\"unchanged\":[]}", "a repeated member name"},
        {HEAD "\"data\":{\"a\":1,\"\\u0061\":2},\"before\":null,\"unchanged\":[]}", "a repeated member name"},
        {HEAD "\"data\":{},\"before\":null,\"unchanged\":[1]}", "\"unchanged\" is not"},
        {HEAD "\"data\":{\"a\":\"\xff\"},\"before\":null,\"unchanged\":[]}", "invalid UTF-8"},
        {"{\"event_id\":\"00\"}", "64 lower-case"},
        {"{\"event_id\":\""
         "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"
         "\"}",
         "64 lower-case"},
        {"{\"event_id\":null,\"operation\":\"merge\"}", "\"operation\" is not"},
        {"{\"event_id\":null,\"source_schema\":\"\"}", "not empty"},
        {"{\"event_id\":null,\"source_schema\":\"a\\u0000b\"}", "\\u0000"},
        {"{\"event_id\":null,\"position\":\"16B6C50/\"}", "\"position\" is not"},
        {"{\"event_id\":null,\"ordinal\":-1}", "whole number"},
        {"{\"event_id\":null,\"ordinal\":1.0}", "whole number"},
        {"{\"event_id\":null,\"ordinal\":9223372036854775808}", "whole number"},
        {"{\"type\":\"commit\",\"committed_at\":\"2026-02-30T00:00:00.000000Z\"}", "\"committed_at\" is not"},
        {"{\"type\":\"batch\",\"schema\":\"dpone.cdc.batch.v2\"}", "\"schema\" is not one"},
        {"{\"type\":\"batch\",\"identity\":\"v9\"}", "\"identity\" is not one"},
        {"{\"type\":\"batch\",\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":\"zz\","
         "\"snapshot_complete\":true}}",
         "X/X"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_wire_line line;
        assert_int_equal(scan(cases[i].line, &line, &error), DP_STATUS_DATA);
        if (strstr(error.message, cases[i].fault) == NULL || strncmp(error.message, "line 4", 6) != 0) {
            fail_msg("'%s' gave '%s', expected '%s'", cases[i].line, error.message, cases[i].fault);
        }
    }
}

static void a_repeated_name_is_found_among_many(void **state)
{
    (void)state;
    for (unsigned repeated = 0; repeated < 200; repeated += 13) {
        char text[8192];
        size_t length = (size_t)snprintf(text, sizeof text, HEAD "\"data\":{");
        for (unsigned i = 0; i < 200; i++) {
            length += (size_t)snprintf(text + length, sizeof text - length, "\"c%u\":{\"x\":[1]},", i);
        }
        snprintf(text + length, sizeof text - length, "\"c%u\":1},\"before\":null,\"unchanged\":[]}",
                 repeated);
        dp_error error = DP_ERROR_INIT;
        dp_wire_line line;
        assert_int_equal(scan(text, &line, &error), DP_STATUS_DATA);
        assert_non_null(strstr(error.message, "repeated member name"));
    }
}

static void very_many_names_cost_no_more_than_they_weigh(void **state)
{
    (void)state;
    enum { NAMES = 200000 };
    dp_arena *large = dp_arena_new(4096, 64 << 20);
    char *text = malloc(NAMES * 12 + 1000);
    size_t length = (size_t)sprintf(text, HEAD "\"data\":{");
    for (unsigned i = 0; i < NAMES; i++) {
        length += (size_t)sprintf(text + length, "%s\"%x\":1", i == 0 ? "" : ",", i);
    }
    sprintf(text + length, "},\"before\":null,\"unchanged\":[]}");
    dp_error error = DP_ERROR_INIT;
    dp_wire_line line;
    assert_int_equal(dp_wire_line_scan(dp_slice_of_text(text), 1, large, &line, &error), DP_STATUS_OK);
    free(text);
    dp_arena_free(large);
}

static void timestamps_are_read_as_they_are_written(void **state)
{
    (void)state;
    static const int64_t times[] = {0,
                                    -1,
                                    INT64_C(951782400000000), /* 2000-02-29 */
                                    INT64_C(1767323045678901),
                                    INT64_C(-62135596800000000),
                                    INT64_C(253402300799999999)};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[DP_CLOCK_TEXT_BYTES];
        int64_t read_back = 42;
        dp_clock_format_utc(times[i], text);
        assert_true(dp_timestamp_parse(dp_slice_of_text(text), &read_back));
        assert_true(read_back == times[i]);
    }
}

static void positions_sort_as_values(void **state)
{
    (void)state;
    static const struct {
        dp_backend backend;
        const char *smaller;
        const char *larger;
        const char *canonical; /* of the larger */
    } cases[] = {
        {DP_BACKEND_POSTGRES_LOGICAL, "0/9", "0/10", "0/10"},
        {DP_BACKEND_POSTGRES_LOGICAL, "0/FFFFFFFF", "1/0", "1/0"},
        {DP_BACKEND_POSTGRES_LOGICAL, "0/1", "0/000000ab", "0/AB"},
        {DP_BACKEND_MSSQL_CDC, "0xff", "0x00000100", "0x00000000000000000100"},
        {DP_BACKEND_MSSQL_CHANGE_TRACKING, "9", "10", "10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_position smaller;
        dp_position larger;
        char text[DP_POSITION_TEXT_BYTES];
        assert_true(dp_position_parse(cases[i].backend, dp_slice_of_text(cases[i].smaller), &smaller));
        assert_true(dp_position_parse(cases[i].backend, dp_slice_of_text(cases[i].larger), &larger));
        assert_true(dp_position_compare(smaller, larger) < 0);
        assert_int_equal(dp_position_format(cases[i].backend, larger, text), strlen(cases[i].canonical));
        assert_string_equal(text, cases[i].canonical);
    }
    dp_position ignored;
    assert_false(dp_position_parse(DP_BACKEND_MSSQL_CDC, DP_SLICE_LITERAL("0x"), &ignored));
    assert_false(dp_position_parse(DP_BACKEND_MSSQL_CHANGE_TRACKING, DP_SLICE_LITERAL("-1"), &ignored));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_line_gives_every_field),
        cmocka_unit_test(members_come_in_any_order_and_names_are_decoded),
        cmocka_unit_test(the_other_lines_are_told_apart_by_their_type),
        cmocka_unit_test(a_faulty_line_is_refused_with_its_number_and_fault),
        cmocka_unit_test(a_repeated_name_is_found_among_many),
        cmocka_unit_test(very_many_names_cost_no_more_than_they_weigh),
        cmocka_unit_test(timestamps_are_read_as_they_are_written),
        cmocka_unit_test(positions_sort_as_values),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dp_arena_free(arena);
    return failed;
}
