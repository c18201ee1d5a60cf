/* Buffers: exact up to their maximum, never past it, and a failure stays. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/buffer.h"

static void exactly_the_maximum_fits_whatever_appends_it(void **state)
{
    (void)state;
    for (size_t maximum = 1; maximum < 600; maximum++) {
        char text[601];
        memset(text, 'x', maximum);
        text[maximum] = '\0';
        dp_buffer whole = DP_BUFFER_INIT(maximum);
        dp_buffer bytes = DP_BUFFER_INIT(maximum);
        dp_buffer format = DP_BUFFER_INIT(maximum);
        dp_buffer_append_text(&whole, text);
        for (size_t i = 0; i < maximum; i++) {
            dp_buffer_append_byte(&bytes, 'x');
        }
        dp_buffer_append_format(&format, "%s", text);
        dp_buffer *buffers[] = {&whole, &bytes, &format};
        for (size_t i = 0; i < 3; i++) {
            assert_false(buffers[i]->failed);
            assert_int_equal(buffers[i]->length, maximum);
            assert_string_equal(dp_buffer_text(buffers[i]), text);
            dp_buffer_append_byte(buffers[i], 'y');
            assert_true(buffers[i]->failed);
            assert_false(buffers[i]->out_of_memory);
            assert_int_equal(buffers[i]->length, maximum);
            dp_buffer_release(buffers[i]);
        }
    }
}

static void nothing_is_appended_after_a_gap(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(300);
    dp_buffer_append_text(&buffer, "start");
    char large[301] = {0};
    memset(large, 'x', 300);
    dp_buffer_append_text(&buffer, large);
    assert_true(buffer.failed);
    dp_buffer_append_text(&buffer, "end");
    dp_buffer_append_byte(&buffer, '!');
    dp_buffer_append_format(&buffer, "%d", 1);
    dp_buffer_append_u64(&buffer, 1);
    assert_true(dp_slice_equal_text(dp_buffer_slice(&buffer), "start"));
    assert_null(dp_buffer_text(&buffer));
    dp_buffer_clear(&buffer);
    assert_false(buffer.failed);
    dp_buffer_append_text(&buffer, "again");
    assert_string_equal(dp_buffer_text(&buffer), "again");
    dp_buffer_release(&buffer);
}

static void a_maximum_of_nothing_holds_nothing(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(0);
    dp_buffer_append(&buffer, NULL, 0);
    dp_buffer_append_text(&buffer, "");
    assert_false(buffer.failed);
    assert_string_equal(dp_buffer_text(&buffer), "");
    dp_buffer_append_byte(&buffer, 'x');
    assert_true(buffer.failed);
    dp_buffer_release(&buffer);
}

static void requests_near_the_size_of_memory_fail_cleanly(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(SIZE_MAX);
    dp_buffer_append_byte(&buffer, 'x');
    assert_false(dp_buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    dp_buffer_clear(&buffer);
    assert_false(dp_buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed && buffer.out_of_memory);
    dp_buffer_release(&buffer);
}

static void numbers_are_written_in_full(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(256);
    dp_buffer_append_u64(&buffer, 0);
    dp_buffer_append_byte(&buffer, ' ');
    dp_buffer_append_u64(&buffer, UINT64_MAX);
    dp_buffer_append_byte(&buffer, ' ');
    dp_buffer_append_i64(&buffer, INT64_MIN);
    dp_buffer_append_byte(&buffer, ' ');
    dp_buffer_append_i64(&buffer, INT64_MAX);
    dp_buffer_append_byte(&buffer, ' ');
    dp_buffer_append_i64(&buffer, -1);
    assert_string_equal(dp_buffer_text(&buffer),
                        "0 18446744073709551615 -9223372036854775808 9223372036854775807 -1");
    dp_buffer_release(&buffer);
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(256);
    dp_buffer_append_text(&buffer, "abcdef");
    dp_buffer_consume(&buffer, 0);
    dp_buffer_consume(&buffer, 2);
    assert_string_equal(dp_buffer_text(&buffer), "cdef");
    dp_buffer_consume(&buffer, 100);
    assert_int_equal(buffer.length, 0);
    dp_buffer_release(&buffer);
}

static void growth_keeps_the_content(void **state)
{
    (void)state;
    dp_buffer buffer = DP_BUFFER_INIT(1 << 20);
    for (unsigned i = 0; i < 100000; i++) {
        dp_buffer_append_byte(&buffer, (char)(i % 251));
    }
    for (unsigned i = 0; i < 100000; i++) {
        if (buffer.data[i] != (char)(i % 251)) fail_msg("byte %u", i);
    }
    dp_buffer_release(&buffer);
    assert_null(buffer.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_maximum_fits_whatever_appends_it),
        cmocka_unit_test(nothing_is_appended_after_a_gap),
        cmocka_unit_test(a_maximum_of_nothing_holds_nothing),
        cmocka_unit_test(requests_near_the_size_of_memory_fail_cleanly),
        cmocka_unit_test(numbers_are_written_in_full),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(growth_keeps_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
