/* JSON as it is written: canonical escapes, exact bounds, well-formed nesting. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/json_scanner.h"
#include "base/json_writer.h"

static void assert_escaped(dp_slice text, const char *expected)
{
    dp_buffer out = DP_BUFFER_INIT(1024);
    dp_json_put_string(&out, text);
    assert_string_equal(dp_buffer_text(&out), expected);
    dp_buffer_release(&out);
}

static void only_quote_backslash_and_control_characters_are_escaped(void **state)
{
    (void)state;
    static const char *const short_forms[32] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
    for (unsigned byte = 0; byte < 0x80; byte++) {
        char expected[16];
        char text = (char)byte;
        if (byte < 0x20 && short_forms[byte] != NULL) {
            snprintf(expected, sizeof expected, "\"%s\"", short_forms[byte]);
        } else if (byte < 0x20) {
            snprintf(expected, sizeof expected, "\"\\u%04x\"", byte);
        } else if (byte == '"' || byte == '\\') {
            snprintf(expected, sizeof expected, "\"\\%c\"", byte);
        } else {
            snprintf(expected, sizeof expected, "\"%c\"", byte);
        }
        assert_escaped((dp_slice){&text, 1}, expected);
    }
    assert_escaped(DP_SLICE_LITERAL("größe / 😀 \xE2\x80\xA8 \x7f"), "\"größe / 😀 \xE2\x80\xA8 \x7f\"");
    assert_escaped((dp_slice){NULL, 0}, "\"\"");
}

static void an_escape_is_found_at_every_place_of_a_word(void **state)
{
    (void)state;
    for (size_t length = 1; length < 40; length++) {
        for (size_t at = 0; at < length; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[40];
                char expected[128];
                memset(text, 'x', sizeof text);
                text[at] = (char)byte;
                dp_buffer plain = DP_BUFFER_INIT(64);
                dp_json_put_escaped(&plain, (dp_slice){text + at, 1});
                size_t used = at;
                memset(expected, 'x', sizeof expected);
                memcpy(expected + used, plain.data, plain.length);
                used += plain.length + length - at - 1;
                dp_buffer out = DP_BUFFER_INIT(1024);
                dp_json_put_escaped(&out, (dp_slice){text, length});
                assert_int_equal(out.length, used);
                assert_memory_equal(out.data, expected, used);
                dp_buffer_release(&out);
                dp_buffer_release(&plain);
            }
        }
    }
}

/* What a byte-by-byte writer would do. */
static void put_simply(dp_buffer *out, dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        dp_json_put_escaped(out, (dp_slice){text.data + i, 1});
    }
}

static void long_texts_are_the_same_across_pieces(void **state)
{
    (void)state;
    static const size_t lengths[] = {4088, 4095, 4096, 4097, 4104, 8191, 8192, 8193, 20000};
    char *text = malloc(20000);
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < 20000; i++) {
            text[i] = kind == 0 ? 'x' : kind == 1 ? '\x01' : kind == 2 ? '"' : (char)(i * 7 % 128);
        }
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            dp_buffer fast = DP_BUFFER_INIT(1 << 20);
            dp_buffer simple = DP_BUFFER_INIT(1 << 20);
            dp_json_put_escaped(&fast, (dp_slice){text, lengths[i]});
            put_simply(&simple, (dp_slice){text, lengths[i]});
            assert_int_equal(fast.length, simple.length);
            assert_memory_equal(fast.data, simple.data, fast.length);
            dp_buffer_release(&fast);
            dp_buffer_release(&simple);
        }
    }
    free(text);
}

static void a_string_that_exactly_fits_is_written_and_one_byte_more_is_not(void **state)
{
    (void)state;
    char text[5000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % 10 == 0 ? '\n' : i % 10 == 1 ? '\x02' : 'x';
    }
    for (size_t length = 0; length < sizeof text; length += length < 40 ? 1 : 331) {
        dp_buffer whole = DP_BUFFER_INIT(1 << 20);
        dp_json_put_string(&whole, (dp_slice){text, length});
        dp_buffer exact = DP_BUFFER_INIT(whole.length);
        dp_json_put_string(&exact, (dp_slice){text, length});
        assert_false(exact.failed);
        assert_true(dp_slice_equal(dp_buffer_slice(&exact), dp_buffer_slice(&whole)));
        dp_buffer small = DP_BUFFER_INIT(whole.length - 1);
        dp_json_put_string(&small, (dp_slice){text, length});
        assert_true(small.failed);
        assert_true(small.length < whole.length);
        dp_buffer_release(&whole);
        dp_buffer_release(&exact);
        dp_buffer_release(&small);
    }
}

static void a_failure_is_never_forgotten(void **state)
{
    (void)state;
    dp_buffer out = DP_BUFFER_INIT(300);
    char large[400];
    memset(large, 'x', sizeof large);
    dp_json_put_string(&out, (dp_slice){large, sizeof large});
    assert_true(out.failed);
    size_t length = out.length;
    dp_json_put_string(&out, DP_SLICE_LITERAL("small"));
    dp_json_put_escaped(&out, DP_SLICE_LITERAL("\n"));
    assert_true(out.failed);
    assert_int_equal(out.length, length);
    dp_buffer_release(&out);
}

static void write_document(dp_json_writer *writer)
{
    dp_json_begin_object(writer);
    dp_json_key(writer, "a");
    dp_json_u64(writer, UINT64_MAX);
    dp_json_key(writer, "b\n");
    dp_json_begin_array(writer);
    dp_json_i64(writer, INT64_MIN);
    dp_json_bool(writer, true);
    dp_json_bool(writer, false);
    dp_json_null(writer);
    dp_json_text(writer, NULL);
    dp_json_text(writer, "t");
    dp_json_string(writer, DP_SLICE_LITERAL("s"));
    dp_json_raw(writer, DP_SLICE_LITERAL("1.50"));
    dp_json_begin_object(writer);
    dp_json_end_object(writer);
    dp_json_begin_array(writer);
    dp_json_end_array(writer);
    dp_json_end_array(writer);
    dp_json_key(writer, "c");
    dp_json_begin_object(writer);
    dp_json_key(writer, "d");
    dp_json_null(writer);
    dp_json_end_object(writer);
    dp_json_end_object(writer);
}

static void documents_are_compact_or_indented(void **state)
{
    (void)state;
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_json_writer compact = dp_json_writer_compact(&out);
    write_document(&compact);
    assert_string_equal(
        dp_buffer_text(&out),
        "{\"a\":18446744073709551615,\"b\\n\":[-9223372036854775808,true,false,null,null,\"t\",\"s\","
        "1.50,{},[]],\"c\":{\"d\":null}}");
    dp_buffer_clear(&out);
    dp_json_writer pretty = dp_json_writer_pretty(&out);
    write_document(&pretty);
    assert_string_equal(
        dp_buffer_text(&out),
        "{\n  \"a\": 18446744073709551615,\n  \"b\\n\": [\n    -9223372036854775808,\n    true,\n"
        "    false,\n    null,\n    null,\n    \"t\",\n    \"s\",\n    1.50,\n    {},\n    []\n  ],\n"
        "  \"c\": {\n    \"d\": null\n  }\n}");
    dp_buffer_release(&out);
}

static void nesting_past_the_maximum_fails_and_touches_nothing_else(void **state)
{
    (void)state;
    for (unsigned depth = DP_JSON_WRITER_MAX_DEPTH; depth < DP_JSON_WRITER_MAX_DEPTH + 40; depth += 7) {
        dp_buffer out = DP_BUFFER_INIT(4096);
        dp_json_writer writer = dp_json_writer_compact(&out);
        for (unsigned i = 0; i < depth; i++) {
            dp_json_begin_array(&writer);
        }
        for (unsigned i = 0; i < depth; i++) {
            dp_json_end_array(&writer);
        }
        dp_json_null(&writer);
        assert_int_equal(out.failed, depth > DP_JSON_WRITER_MAX_DEPTH);
        assert_int_equal(writer.depth, 0);
        dp_buffer_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_quote_backslash_and_control_characters_are_escaped),
        cmocka_unit_test(an_escape_is_found_at_every_place_of_a_word),
        cmocka_unit_test(long_texts_are_the_same_across_pieces),
        cmocka_unit_test(a_string_that_exactly_fits_is_written_and_one_byte_more_is_not),
        cmocka_unit_test(a_failure_is_never_forgotten),
        cmocka_unit_test(documents_are_compact_or_indented),
        cmocka_unit_test(nesting_past_the_maximum_fails_and_touches_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
