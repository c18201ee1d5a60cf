/* pgoutput messages become event lines; every other shape is an error with its byte offset. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/decoder.h"
#include "cdc/event_writer.h"
#include "tests/unit/support/pgoutput_message.h"

static const message_column orders_columns[] = {{"id", 23, true}, {"note", 25, false}, {"paid", 16, false}};
enum { ORDERS = 16384, CUSTOMERS = 16385, COLUMN_COUNT = 3 };

typedef struct fixture {
    dp_unique_keys *keys;
    dp_decoder *decoder;
    dp_event_writer *writer;
    dp_buffer message;
    dp_buffer lines;
    dp_error error;
} fixture;

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    fixture *f = context;
    return dp_event_writer_put_event(f->writer, &f->lines, change, NULL, error);
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    fixture *f = context;
    return dp_event_writer_put_commit(&f->lines, end, error);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->keys = dp_unique_keys_new();
    f->message = (dp_buffer)DP_BUFFER_INIT(1 << 20);
    f->lines = (dp_buffer)DP_BUFFER_INIT(1 << 20);
    f->writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_EXACT);
    dp_change_sink sink = {f, on_change, on_commit};
    f->decoder = dp_decoder_new(DP_PLUGIN_PGOUTPUT, f->keys, &sink);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    dp_decoder_free(f->decoder);
    dp_event_writer_free(f->writer);
    dp_unique_keys_free(f->keys);
    dp_buffer_release(&f->message);
    dp_buffer_release(&f->lines);
    free(f);
    return 0;
}

static dp_status feed_at(fixture *f, uint64_t lsn, dp_slice data)
{
    dp_record record = {.has_lsn = true, .lsn = {lsn}, .has_xid = true, .xid = 900, .data = data};
    dp_error_clear(&f->error);
    return dp_decoder_feed(f->decoder, &record, &f->error);
}

static void open_orders(fixture *f)
{
    assert_int_equal(feed_at(f, 0x10, message_begin(&f->message, 0x100, 900)), DP_STATUS_OK);
    assert_int_equal(
        feed_at(f, 0,
                message_relation(&f->message, ORDERS, "public", "orders", orders_columns, COLUMN_COUNT)),
        DP_STATUS_OK);
}

/* The lines without their ids, which have tests of their own. */
static void assert_line(fixture *f, const char *expected)
{
    char *text = strndup(f->lines.data, f->lines.length);
    char *operation = strstr(text, "\"operation\"");
    assert_non_null(operation);
    assert_string_equal(operation, expected);
    free(text);
    dp_buffer_clear(&f->lines);
}

static void an_insert_carries_every_column_in_table_order(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *values[] = {"10", "a \"b\"\n", "t"};
    assert_int_equal(feed_at(f, 0x20, message_insert(&f->message, ORDERS, values, COLUMN_COUNT)),
                     DP_STATUS_OK);
    assert_line(
        f,
        "\"operation\":\"insert\",\"source_schema\":\"public\",\"source_table\":\"orders\",\"position\":\"0/"
        "20\","
        "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,"
        "\"data\":{\"id\":10,\"note\":\"a \\\"b\\\"\\n\",\"paid\":true},\"before\":null,\"unchanged\":[]}\n");
}

static void an_update_without_an_old_row_has_before_null(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *values[] = {"10", NULL, "f"};
    assert_int_equal(feed_at(f, 0x20, message_update(&f->message, ORDERS, 0, NULL, values, COLUMN_COUNT)),
                     DP_STATUS_OK);
    assert_line(f, "\"operation\":\"update\",\"source_schema\":\"public\",\"source_table\":\"orders\","
                   "\"position\":\"0/20\","
                   "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,"
                   "\"data\":{\"id\":10,\"note\":null,\"paid\":false},\"before\":null,\"unchanged\":[]}\n");
}

static void a_key_row_keeps_only_the_identity_columns(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *old_values[] = {"9", NULL, NULL};
    const char *values[] = {"10", "x", NULL};
    assert_int_equal(feed_at(f, 0x20,
                             message_update(&f->message, ORDERS, 'K', old_values, values, COLUMN_COUNT)),
                     DP_STATUS_OK);
    assert_line(
        f, "\"operation\":\"update\",\"source_schema\":\"public\",\"source_table\":\"orders\",\"position\":"
           "\"0/20\","
           "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,"
           "\"data\":{\"id\":10,\"note\":\"x\",\"paid\":null},\"before\":{\"id\":9},\"unchanged\":[]}\n");
}

static void an_unchanged_toast_value_is_named_not_null(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *old_values[] = {"10", "long", NULL};
    const char *values[] = {"10", "\1u", "t"};
    assert_int_equal(feed_at(f, 0x20,
                             message_update(&f->message, ORDERS, 'O', old_values, values, COLUMN_COUNT)),
                     DP_STATUS_OK);
    assert_line(f,
                "\"operation\":\"update\",\"source_schema\":\"public\",\"source_table\":\"orders\","
                "\"position\":\"0/20\","
                "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,\"data\":{\"id\":10,\"paid\":true},"
                "\"before\":{\"id\":10,\"note\":\"long\",\"paid\":null},\"unchanged\":[\"note\"]}\n");
}

static void a_delete_puts_the_old_row_into_data(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *values[] = {"10", NULL, NULL};
    assert_int_equal(feed_at(f, 0x20, message_delete(&f->message, ORDERS, 'K', values, COLUMN_COUNT)),
                     DP_STATUS_OK);
    assert_line(f, "\"operation\":\"delete\",\"source_schema\":\"public\",\"source_table\":\"orders\","
                   "\"position\":\"0/20\","
                   "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,\"data\":{\"id\":10},\"before\":"
                   "null,\"unchanged\":[]}\n");
}

static void a_truncate_is_one_change_for_each_table(void **state)
{
    fixture *f = *state;
    open_orders(f);
    assert_int_equal(feed_at(f, 0,
                             message_relation(&f->message, CUSTOMERS, "", "customers", orders_columns, 1)),
                     DP_STATUS_OK);
    const uint32_t ids[] = {ORDERS, CUSTOMERS};
    assert_int_equal(feed_at(f, 0x20, message_truncate(&f->message, 3, ids, 2)), DP_STATUS_OK);
    char *second = memchr(f->lines.data, '\n', f->lines.length);
    assert_non_null(second);
    assert_non_null(memmem(second, (size_t)(f->lines.data + f->lines.length - second), "pg_catalog", 10));
    f->lines.length = (size_t)(second + 1 - f->lines.data);
    assert_line(f, "\"operation\":\"truncate\",\"source_schema\":\"public\",\"source_table\":\"orders\","
                   "\"position\":\"0/20\","
                   "\"transaction_id\":\"900\",\"sequence\":0,\"ordinal\":0,\"data\":{},\"before\":null,"
                   "\"unchanged\":[],"
                   "\"metadata\":{\"cascade\":true,\"restart_identity\":true}}\n");
}

static void rows_of_one_table_at_one_position_are_numbered(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *values[] = {"1", "x", "t"};
    const struct {
        uint64_t lsn;
        const char *sequence_and_ordinal;
    } rows[] = {{0x20, "\"sequence\":0,\"ordinal\":0,"},
                {0x20, "\"sequence\":1,\"ordinal\":1,"},
                {0x30, "\"sequence\":0,\"ordinal\":2,"}};
    for (size_t i = 0; i < 3; i++) {
        /* A repeated description must not restart the numbering. */
        feed_at(f, 0,
                message_relation(&f->message, ORDERS, "public", "orders", orders_columns, COLUMN_COUNT));
        dp_buffer_clear(&f->lines);
        assert_int_equal(feed_at(f, rows[i].lsn, message_insert(&f->message, ORDERS, values, COLUMN_COUNT)),
                         DP_STATUS_OK);
        dp_buffer_append_byte(&f->lines, '\0');
        assert_non_null(strstr(f->lines.data, rows[i].sequence_and_ordinal));
    }
}

static void a_commit_line_has_the_end_position_and_the_time(void **state)
{
    fixture *f = *state;
    open_orders(f);
    assert_int_equal(feed_at(f, 0x130, message_commit(&f->message, 0x100, 0x130, INT64_C(820638245678901))),
                     DP_STATUS_OK);
    dp_buffer_append_byte(&f->lines, '\0');
    assert_string_equal(f->lines.data,
                        "{\"type\":\"commit\",\"transaction_id\":\"900\",\"end_position\":\"0/130\","
                        "\"committed_at\":\"2026-01-02T03:04:05.678901Z\",\"count\":0}\n");
}

static void a_relation_message_replaces_the_description(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const message_column fewer[] = {{"identifier", 23, true}};
    const char *values[] = {"7"};
    assert_int_equal(feed_at(f, 0, message_relation(&f->message, ORDERS, "public", "orders", fewer, 1)),
                     DP_STATUS_OK);
    assert_int_equal(feed_at(f, 0x20, message_insert(&f->message, ORDERS, values, 1)), DP_STATUS_OK);
    dp_buffer_append_byte(&f->lines, '\0');
    assert_non_null(strstr(f->lines.data, "\"data\":{\"identifier\":7}"));
}

static void assert_refused(fixture *f, dp_slice message, const char *reason)
{
    assert_int_equal(feed_at(f, 0x20, message), DP_STATUS_DATA);
    if (strstr(f->error.message, reason) == NULL)
        fail_msg("'%s' does not mention '%s'", f->error.message, reason);
}

/* Each whole message cut at every length is refused, and delivers nothing. */
static void every_cut_of_every_message_is_refused(void **state)
{
    fixture *f = *state;
    const char *values[] = {"10", "note", "t"};
    const uint32_t ids[] = {ORDERS};
    for (int kind = 0; kind < 7; kind++) {
        for (size_t length = 0;; length++) {
            void *fresh;
            assert_int_equal(set_up(&fresh), 0);
            fixture *g = fresh;
            if (kind != 0) open_orders(g);
            dp_slice whole =
                kind == 0   ? message_begin(&f->message, 0x100, 900)
                : kind == 1 ? message_commit(&f->message, 0x100, 0x130, 0)
                : kind == 2 ? message_relation(&f->message, 7, "s", "t", orders_columns, COLUMN_COUNT)
                : kind == 3 ? message_insert(&f->message, ORDERS, values, COLUMN_COUNT)
                : kind == 4 ? message_update(&f->message, ORDERS, 'O', values, values, COLUMN_COUNT)
                : kind == 5 ? message_delete(&f->message, ORDERS, 'K', values, COLUMN_COUNT)
                            : message_truncate(&f->message, 0, ids, 1);
            bool complete = length == whole.length;
            /* A copy of the exact size, so that AddressSanitizer sees a read past its end. */
            char *copy = malloc(length + 1);
            memcpy(copy, whole.data, length);
            dp_status status = feed_at(g, 0x20, (dp_slice){copy, length});
            if (!complete && status != DP_STATUS_DATA)
                fail_msg("message %d cut to %zu bytes was accepted", kind, length);
            if (!complete) assert_int_equal(g->lines.length, 0);
            if (complete) assert_int_equal(status, DP_STATUS_OK);
            free(copy);
            tear_down(&fresh);
            if (complete) break;
        }
    }
}

static void hostile_messages_are_refused_with_their_offset(void **state)
{
    fixture *f = *state;
    open_orders(f);
    const char *values[] = {"10", "note", "t"};
    const char *binary[] = {"10", "\1b", "t"};
    const char *not_utf8[] = {"10", "a\xff", "t"};
    const uint32_t unknown[] = {4711};
    assert_refused(f, DP_SLICE_LITERAL(""), "byte 0: an empty pgoutput message");
    assert_refused(f, DP_SLICE_LITERAL("Z"), "byte 0: unknown pgoutput message type 0x5a");
    assert_refused(f, DP_SLICE_LITERAL("S\0\0\0\1\1"), "protocol version 2 or later");
    assert_refused(f, message_insert(&f->message, 4711, values, COLUMN_COUNT),
                   "byte 1: relation 4711 was not announced");
    assert_refused(f, message_insert(&f->message, ORDERS, values, 2), "byte 6: a row of 2 columns");
    assert_refused(f, message_insert(&f->message, ORDERS, binary, COLUMN_COUNT),
                   "byte 15: a column value in binary format");
    assert_refused(f, message_insert(&f->message, ORDERS, not_utf8, COLUMN_COUNT),
                   "byte 21: a column value is not valid UTF-8");
    assert_refused(f, message_delete(&f->message, ORDERS, 'X', values, COLUMN_COUNT),
                   "unknown row kind 0x58");
    assert_refused(f, message_update(&f->message, ORDERS, 'X', values, values, COLUMN_COUNT),
                   "unknown row kind 0x58");
    assert_refused(f, message_truncate(&f->message, 0, unknown, 1), "relation 4711");
    assert_refused(f, message_truncate(&f->message, 8, unknown, 1), "unknown TRUNCATE options");
    assert_refused(f, message_commit(&f->message, 0x200, 0x230, 0),
                   "does not belong to the open transaction");
    assert_refused(f, message_begin(&f->message, 0x300, 900), "begins inside transaction 900");
    dp_slice insert = message_insert(&f->message, ORDERS, values, COLUMN_COUNT);
    dp_buffer_append_byte(&f->message, 'x');
    assert_refused(f, (dp_slice){f->message.data, insert.length + 1},
                   "1 bytes follow the end of the INSERT message");
    assert_int_equal(f->lines.length, 0);
}

static void a_begin_that_contradicts_its_row_is_refused(void **state)
{
    fixture *f = *state;
    assert_refused(f, message_begin(&f->message, 0x100, 901),
                   "BEGIN is of transaction 901, but its row says 900");
}

static void changes_outside_a_transaction_are_refused(void **state)
{
    fixture *f = *state;
    const char *values[] = {"10", "note", "t"};
    feed_at(f, 0, message_relation(&f->message, ORDERS, "public", "orders", orders_columns, COLUMN_COUNT));
    assert_refused(f, message_insert(&f->message, ORDERS, values, COLUMN_COUNT), "outside a transaction");
    assert_refused(f, message_commit(&f->message, 0x100, 0x130, 0), "a commit outside a transaction");
}

static void a_column_name_given_twice_is_refused(void **state)
{
    fixture *f = *state;
    const message_column twice[] = {{"id", 23, true}, {"id", 23, false}};
    assert_refused(f, message_relation(&f->message, 1, "public", "t", twice, 2), "names column 'id' twice");
}

static void messages_origins_and_types_are_passed_over(void **state)
{
    fixture *f = *state;
    assert_int_equal(feed_at(f, 0x20, DP_SLICE_LITERAL("M\0\0\0\0\0\0\0\0\x10p\0\0\0\0\2hi")), DP_STATUS_OK);
    open_orders(f);
    assert_int_equal(feed_at(f, 0x20, DP_SLICE_LITERAL("O\0\0\0\0\0\0\0\1origin\0")), DP_STATUS_OK);
    assert_int_equal(feed_at(f, 0x20, DP_SLICE_LITERAL("Y\0\0\0\1public\0mood\0")), DP_STATUS_OK);
    assert_int_equal(f->lines.length, 0);
}

/* Relation ids grow into the thousands: every one stays findable. */
static void thousands_of_relations_are_kept(void **state)
{
    fixture *f = *state;
    const char *values[] = {"10", "note", "t"};
    open_orders(f);
    char name[32];
    for (uint32_t id = 1; id <= 3000; id++) {
        snprintf(name, sizeof name, "t%u", id);
        assert_int_equal(
            feed_at(f, 0, message_relation(&f->message, id, "public", name, orders_columns, COLUMN_COUNT)),
            DP_STATUS_OK);
    }
    for (uint32_t id = 1; id <= 3000; id++) {
        snprintf(name, sizeof name, "\"t%u\"", id);
        dp_buffer_clear(&f->lines);
        assert_int_equal(feed_at(f, 0x20, message_insert(&f->message, id, values, COLUMN_COUNT)),
                         DP_STATUS_OK);
        assert_non_null(memmem(f->lines.data, f->lines.length, name, strlen(name)));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_insert_carries_every_column_in_table_order),
        TEST(an_update_without_an_old_row_has_before_null),
        TEST(a_key_row_keeps_only_the_identity_columns),
        TEST(an_unchanged_toast_value_is_named_not_null),
        TEST(a_delete_puts_the_old_row_into_data),
        TEST(a_truncate_is_one_change_for_each_table),
        TEST(rows_of_one_table_at_one_position_are_numbered),
        TEST(a_commit_line_has_the_end_position_and_the_time),
        TEST(a_relation_message_replaces_the_description),
        TEST(every_cut_of_every_message_is_refused),
        TEST(hostile_messages_are_refused_with_their_offset),
        TEST(a_begin_that_contradicts_its_row_is_refused),
        TEST(changes_outside_a_transaction_are_refused),
        TEST(a_column_name_given_twice_is_refused),
        TEST(messages_origins_and_types_are_passed_over),
        TEST(thousands_of_relations_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
