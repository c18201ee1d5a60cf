/* Log lines: form, escaping, and a reader that does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json_scanner.h"
#include "base/log.h"

static dp_slice render(dp_log_format format, const dp_log_field *fields, size_t count)
{
    static char line[8192];
    return dp_slice_make(line, dp_log_render(format, false, 0, DP_LOG_INFO, "server.test", "a message",
                                             fields, count, line, sizeof line));
}

static bool is_json(dp_slice line)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_kind kind;
    dp_json_scanner_init(&scanner, dp_slice_trim(line));
    while ((kind = dp_json_next(&scanner, &token)) != DP_JSON_END && kind != DP_JSON_ERROR) {
    }
    return kind == DP_JSON_END;
}

static void json_has_the_four_members_first(void **state)
{
    (void)state;
    const dp_log_field fields[] = {dp_log_text("a", "x"), dp_log_integer("b", -5), dp_log_real("c", 1.5),
                                   dp_log_bool("d", true)};
    assert_true(dp_slice_equal_text(
        render(DP_LOG_FORMAT_JSON, fields, 4),
        "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"info\",\"logger\":\"server.test\","
        "\"message\":\"a message\",\"a\":\"x\",\"b\":-5,\"c\":1.500,\"d\":true}\n"));
}

static void no_text_can_forge_a_line_or_steer_a_terminal(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "x\"}\n{\"level\":\"error\"",
        "\033[31mred",
        "\r\noverwrite",
        "nul-free \x01\x02",
        "bad \xff\xfe utf8",
        "c1 \xc2\x9b 31m",
        "line \xe2\x80\xa8 separator",
        "override \xe2\x80\xae txt",
        "back\\slash",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const dp_log_field field = dp_log_text("request_id", hostile[i]);
        for (int format = 0; format < 2; format++) {
            dp_slice line = render((dp_log_format)format, &field, 1);
            for (size_t at = 0; at + 1 < line.length; at++) {
                unsigned char byte = (unsigned char)line.data[at];
                assert_true(byte >= 0x20 && byte != 0x7F);
            }
            assert_int_equal(line.data[line.length - 1], '\n');
            assert_null(memmem(line.data, line.length, "\xe2\x80\xa8", 3));
            assert_null(memmem(line.data, line.length, "\xe2\x80\xae", 3));
            assert_null(memmem(line.data, line.length, "\xff", 1));
            if (format == DP_LOG_FORMAT_JSON) assert_true(is_json(line));
        }
    }
}

static void a_field_that_does_not_fit_is_left_out_whole(void **state)
{
    (void)state;
    static char big[9000];
    memset(big, 'x', sizeof big - 1);
    const dp_log_field fields[] = {dp_log_text("big", big), dp_log_integer("small", 1)};
    dp_slice line = render(DP_LOG_FORMAT_JSON, fields, 2);
    assert_true(is_json(line));
    assert_non_null(memmem(line.data, line.length, "\"small\":1", 9));
}

static void a_reader_that_does_not_read_costs_lines_not_time(void **state)
{
    (void)state;
    int files[2];
    assert_int_equal(pipe(files), 0);
    const dp_log_options options = {.file = files[1], .level = DP_LOG_INFO, .ring_bytes = 16384};
    dp_log *log;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_log_new(&options, &log, &error), DP_STATUS_OK);
    int64_t started_us = dp_clock_monotonic_us();
    for (int i = 0; i < 5000; i++) {
        dp_log_entry(log, DP_LOG_INFO, "test", "a line that nobody reads", dp_log_integer("i", i));
    }
    assert_true(dp_clock_monotonic_us() - started_us < 20000000); /* a blocked write would never return */
    assert_true(dp_log_dropped_count(log) > 1000);
    dp_log_free(log); /* gives up after its two seconds */
    close(files[0]);
    close(files[1]);
}

static void what_was_logged_is_written_before_the_end(void **state)
{
    (void)state;
    int files[2];
    char text[4096];
    assert_int_equal(pipe(files), 0);
    const dp_log_options options = {.file = files[1], .level = DP_LOG_WARNING};
    dp_log *log;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_log_new(&options, &log, &error), DP_STATUS_OK);
    assert_false(dp_log_enabled(log, DP_LOG_INFO));
    assert_false(dp_log_enabled(NULL, DP_LOG_ERROR));
    dp_log_entry(log, DP_LOG_INFO, "test", "hidden", dp_log_integer("i", 0));
    dp_log_entry(log, DP_LOG_ERROR, "test", "shown", dp_log_integer("i", 1));
    dp_log_free(log);
    close(files[1]);
    ssize_t length = read(files[0], text, sizeof text);
    close(files[0]);
    assert_true(length > 0);
    assert_non_null(memmem(text, (size_t)length, "shown", 5));
    assert_null(memmem(text, (size_t)length, "hidden", 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_the_four_members_first),
        cmocka_unit_test(no_text_can_forge_a_line_or_steer_a_terminal),
        cmocka_unit_test(a_field_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(a_reader_that_does_not_read_costs_lines_not_time),
        cmocka_unit_test(what_was_logged_is_written_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
