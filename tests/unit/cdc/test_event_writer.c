/* Event lines, typed values and the row form. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/event_writer.h"
#include "cdc/poison.h"
#include "tests/unit/support/change_fixture.h"

static void assert_written(dp_buffer *out, const char *expected)
{
    dp_buffer_append_byte(out, '\0');
    if (strstr(out->data, expected) == NULL) fail_msg("%s\ndoes not contain\n%s", out->data, expected);
    dp_buffer_clear(out);
}

static void numbers_and_json_are_text_unless_typed(void **state)
{
    (void)state;
    change_fixture f = change_fixture_new(NULL);
    dp_change change = change_fixture_insert(&f, 0x20, 0);
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_error error = DP_ERROR_INIT;
    dp_event_writer *exact = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_EXACT);
    dp_event_writer *typed = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_TYPED);
    assert_int_equal(dp_event_writer_put_event(exact, &out, &change, NULL, &error), DP_STATUS_OK);
    assert_written(&out, "\"data\":{\"id\":10,\"price\":\"1.50\",\"document\":\"{\\\"a\\\": [1, 2],\\n "
                         "\\\"b\\\": \\\"x y\\\"}\",\"note\":\"plain\"}");
    dp_event_id exact_id = dp_event_writer_last_id(exact);
    assert_int_equal(dp_event_writer_put_event(typed, &out, &change, NULL, &error), DP_STATUS_OK);
    assert_written(
        &out,
        "\"data\":{\"id\":10,\"price\":1.50,\"document\":{\"a\":[1,2],\"b\":\"x y\"},\"note\":\"plain\"}");
    dp_event_id typed_id = dp_event_writer_last_id(typed);
    assert_memory_equal(&exact_id, &typed_id, sizeof exact_id);
    dp_event_writer_free(exact);
    dp_event_writer_free(typed);
    dp_buffer_release(&out);
    change_fixture_free(&f);
}

/* What JSON cannot hold as a number stays text, also when typed. */
static void not_a_number_stays_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"NaN", "Infinity", "-Infinity"};
    change_fixture f = change_fixture_new(NULL);
    dp_event_writer *typed = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_TYPED);
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_error error = DP_ERROR_INIT;
    for (size_t i = 0; i < 3; i++) {
        f.data[1] = present(texts[i]);
        dp_change change = change_fixture_insert(&f, 0x20, 0);
        assert_int_equal(dp_event_writer_put_event(typed, &out, &change, NULL, &error), DP_STATUS_OK);
        char expected[64];
        snprintf(expected, sizeof expected, "\"price\":\"%s\"", texts[i]);
        assert_written(&out, expected);
    }
    dp_event_writer_free(typed);
    dp_buffer_release(&out);
    change_fixture_free(&f);
}

static void the_row_form_adds_the_change_to_the_data(void **state)
{
    (void)state;
    change_fixture f = change_fixture_new(NULL);
    dp_value before[FIXTURE_COLUMN_COUNT] = {present("10"), present("1"), present("{}"), present("kept")};
    dp_change change = change_fixture_insert(&f, 0x20, 0);
    change.operation = DP_OPERATION_UPDATE;
    change.before = before;
    f.data[3] = (dp_value){.state = DP_VALUE_UNCHANGED};
    dp_event_writer *writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_TYPED);
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_event_writer_put_row(writer, &out, &change, &error), DP_STATUS_OK);
    assert_written(
        &out,
        "{\"id\":10,\"price\":1.50,\"document\":{\"a\":[1,2],\"b\":\"x "
        "y\"},\"note\":\"kept\",\"_dpone_cdc_operation\":\"update\","
        "\"_dpone_cdc_position\":\"0/20\",\"_dpone_cdc_schema\":\"public\",\"_dpone_cdc_table\":\"orders\","
        "\"_dpone_cdc_deleted\":false,\"_dpone_cdc_transaction_id\":\"900\",\"_dpone_cdc_sequence\":0,"
        "\"_dpone_cdc_before\":{\"id\":10,\"price\":1,\"document\":{},\"note\":\"kept\"}}\n");
    dp_event_writer_free(writer);
    dp_buffer_release(&out);
    change_fixture_free(&f);
}

/* Every maximum below the line's length is refused and leaves the buffer as it was. */
static void a_line_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    change_fixture f = change_fixture_new(NULL);
    dp_change change = change_fixture_insert(&f, 0x20, 0);
    dp_event_writer *writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_EXACT);
    dp_buffer whole = DP_BUFFER_INIT(4096);
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_event_writer_put_event(writer, &whole, &change, NULL, &error), DP_STATUS_OK);
    for (size_t maximum = 3; maximum < whole.length + 3; maximum++) {
        dp_buffer out = DP_BUFFER_INIT(maximum);
        dp_buffer_append_text(&out, "abc");
        dp_error_clear(&error);
        assert_int_equal(dp_event_writer_put_event(writer, &out, &change, NULL, &error), DP_STATUS_LIMIT);
        assert_string_equal(error.code, "event_too_large");
        assert_int_equal(out.length, 3);
        assert_false(out.failed);
        dp_buffer_release(&out);
    }
    dp_buffer exact = DP_BUFFER_INIT(whole.length);
    dp_error_clear(&error);
    assert_int_equal(dp_event_writer_put_event(writer, &exact, &change, NULL, &error), DP_STATUS_OK);
    assert_true(dp_slice_equal(dp_buffer_slice(&exact), dp_buffer_slice(&whole)));
    dp_buffer_release(&exact);
    dp_buffer_release(&whole);
    dp_event_writer_free(writer);
    change_fixture_free(&f);
}

static void poison_is_kept_with_its_reason_and_the_change(void **state)
{
    (void)state;
    change_fixture f = change_fixture_new("public.orders=missing");
    dp_change change = change_fixture_insert(&f, 0x20, 4);
    dp_event_writer *writer = dp_event_writer_new(DP_IDENTITY_V1, DP_ROW_EXACT);
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_buffer context = DP_BUFFER_INIT(4096);
    dp_buffer bytes = DP_BUFFER_INIT(4096);
    dp_error cause = DP_ERROR_INIT;
    assert_int_equal(dp_event_writer_put_event(writer, &out, &change, NULL, &cause), DP_STATUS_POISON);
    assert_true(dp_poison_is(&cause));
    assert_int_equal(out.length, 0);
    dp_poison_record record;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_poison_describe(writer, &change, &cause, &context, &bytes, &record, &error),
                     DP_STATUS_OK);
    dp_poison_put_line(&out, &record);
    dp_buffer_append_byte(&out, '\0');
    assert_non_null(strstr(
        out.data,
        "{\"code\":\"key_missing\",\"reason\":\"key column 'missing' of table 'public.orders' is not in the "
        "change\","
        "\"context\":{\"operation\":\"insert\",\"source_schema\":\"public\",\"source_table\":\"orders\","
        "\"position\":\"0/20\",\"transaction_id\":900,\"sequence\":0,\"ordinal\":4},"
        "\"event\":{\"event_id\":null,"));
    dp_buffer_release(&out);
    dp_buffer_release(&context);
    dp_buffer_release(&bytes);
    dp_event_writer_free(writer);
    change_fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_json_are_text_unless_typed),
        cmocka_unit_test(not_a_number_stays_text),
        cmocka_unit_test(the_row_form_adds_the_change_to_the_data),
        cmocka_unit_test(a_line_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(poison_is_kept_with_its_reason_and_the_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
