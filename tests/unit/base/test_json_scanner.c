/* JSON as it is read: what RFC 8259 allows, nothing else, and where it went wrong. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/json_scanner.h"
#include "base/json_writer.h"

/* Scans everything from an allocation of the exact size, so that a read past the end is seen by a sanitizer.
 */
static bool scan_all(dp_slice text, size_t *fault_at)
{
    char *copy = malloc(text.length == 0 ? 1 : text.length);
    if (text.length > 0) memcpy(copy, text.data, text.length);
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, (dp_slice){copy, text.length});
    dp_json_kind kind;
    do {
        kind = dp_json_next(&scanner, &token);
    } while (kind != DP_JSON_END && kind != DP_JSON_ERROR);
    if (kind == DP_JSON_ERROR) {
        assert_non_null(scanner.fault);
        assert_in_range(scanner.fault_at, 0, text.length);
        assert_int_equal(dp_json_next(&scanner, &token), DP_JSON_ERROR);
    } else {
        assert_int_equal(dp_json_next(&scanner, &token), DP_JSON_END);
    }
    *fault_at = scanner.fault_at;
    free(copy);
    return kind == DP_JSON_END;
}

#define S(text) DP_SLICE_LITERAL(text)

static const dp_slice accepted[] = {
    S("null"),
    S("true"),
    S("false"),
    S("0"),
    S("-0"),
    S("1"),
    S("-1"),
    S("10"),
    S("1.0"),
    S("0.1"),
    S("-0.0"),
    S("1e1"),
    S("1E1"),
    S("1e+1"),
    S("1e-1"),
    S("1.5e300"),
    S("0e0"),
    S("0E+00"),
    S("123456789012345678901234567890.123456789012345678901234567890e1234567890"),
    S("\"\""),
    S("\"a\""),
    S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    S("\"\\u0000\""),
    S("\"\\u00e9\\uABCD\\uabcd\""),
    S("\"\\ud83d\\ude00\""),
    S("\"\\uD83D\\uDE00\""),
    S("\"\\ud800\\udc00\\udbff\\udfff\""),
    S("\"\\uFFFF\\uFFFE\""),
    S("\"\x7f\""),
    S("\"\xC2\x80\""),
    S("\"\xEF\xBB\xBF\""),
    S("\"\xE2\x80\xA8\""),
    S("\"\xF0\x9F\x98\x80\""),
    S("\"\xF4\x8F\xBF\xBF\""),
    S("[]"),
    S("{}"),
    S("[ ]"),
    S("{ }"),
    S("[[]]"),
    S("[{}]"),
    S("{\"a\":[]}"),
    S("[1,2,3]"),
    S("[1 , 2]"),
    S("{\"a\":1}"),
    S("{\"a\":1,\"b\":2}"),
    S("{\"\":0}"),
    S("{\"a\":1,\"a\":2}"),
    S("{ \"a\" : 1 , \"b\" : 2 }"),
    S(" \t\r\nnull \t\r\n"),
    S("[null,true,false,0,\"\",[],{}]"),
    S("{\"a\":{\"b\":{\"c\":[1,{\"d\":null}]}}}"),
    S("\"plain text that is longer than eight bytes and \\u0041 has an escape\""),
    S("{\"a b\\n\":\"\\\\\"}"),
};

static const dp_slice rejected[] = {
    S(""),
    S(" "),
    S("nul"),
    S("nulL"),
    S("NULL"),
    S("nulll"),
    S("True"),
    S("tru"),
    S("fals"),
    S("undefined"),
    S("NaN"),
    S("Infinity"),
    S("-Infinity"),
    S("-"),
    S("+1"),
    S("01"),
    S("-01"),
    S("00"),
    S("1."),
    S(".1"),
    S("-.1"),
    S("1.e1"),
    S("1e"),
    S("1e+"),
    S("1E-"),
    S("1ee1"),
    S("0x1"),
    S("1_000"),
    S("1a"),
    S("1 2"),
    S("--1"),
    S("1.2.3"),
    S("1e1.5"),
    S("\xEF\xBC\x91"),
    S("\""),
    S("\"a"),
    S("'a'"),
    S("a"),
    S("\"\\\""),
    S("\"\\"),
    S("\"\\x41\""),
    S("\"\\a\""),
    S("\"\\'\""),
    S("\"\\0\""),
    S("\"\\u\""),
    S("\"\\u0\""),
    S("\"\\u00\""),
    S("\"\\u000\""),
    S("\"\\u000g\""),
    S("\"\\U0041\""),
    S("\"\\u 041\""),
    S("\"\\u+041\""),
    S("\"\\u-041\""),
    S("\"\\ud800\""),
    S("\"\\udc00\""),
    S("\"\\ud800\\ud800\""),
    S("\"\\ud800x\""),
    S("\"\\ud800\\n\""),
    S("\"\\ud800\\u0041\""),
    S("\"\\ud800\\u\""),
    S("\"\\ude00\\ud83d\""),
    S("\"\n\""),
    S("\"\t\""),
    S("\"\x1f\""),
    S("\"\0\""),
    S("\"a\0b\""),
    S("\"12345678\x01\""),
    S("\"\x80\""),
    S("\"\xC0\x80\""),
    S("\"\xC3\""),
    S("\"\xC3(\""),
    S("\"\xE2\x82\""),
    S("\"\xED\xA0\x80\""),
    S("\"\xF4\x90\x80\x80\""),
    S("\"\xF5\x80\x80\x80\""),
    S("\"\xFE\""),
    S("\"\xFF\""),
    S("["),
    S("]"),
    S("{"),
    S("}"),
    S("[1"),
    S("[1,"),
    S("[1,]"),
    S("[,1]"),
    S("[,]"),
    S("[1 2]"),
    S("[1}"),
    S("{]"),
    S("[}"),
    S("{\"a\""),
    S("{\"a\":"),
    S("{\"a\":1"),
    S("{\"a\":1,"),
    S("{\"a\":1,}"),
    S("{,}"),
    S("{\"a\"}"),
    S("{\"a\" 1}"),
    S("{\"a\"::1}"),
    S("{\"a\":1 \"b\":2}"),
    S("{a:1}"),
    S("{'a':1}"),
    S("{1:1}"),
    S("{null:1}"),
    S("{[]:1}"),
    S("{\"a\":}"),
    S("{:1}"),
    S("{\"a\":1]"),
    S("[]]"),
    S("{}}"),
    S("[][]"),
    S("{}{}"),
    S("null null"),
    S("null,"),
    S("1,"),
    S("\"a\"\"b\""),
    S("\"a\":1"),
    S("// c\n1"),
    S("/* c */1"),
    S("1 // c"),
    S("# c"),
    S("\xEF\xBB\xBF{}"),
    S("[1]\0"),
    S("\0"),
    S("[\0]"),
    S("\v1"),
    S("\f1"),
    S("\xC2\xA0"
      "1"),
    S("\xE2\x80\xA8"
      "1"),
    S("[1,\v2]"),
    S("{\"a\"\f:1}"),
    S("\xFF\xFE[\0]\0"),
};

static void accepts_what_the_standard_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        size_t fault_at;
        if (!scan_all(accepted[i], &fault_at)) fail_msg("'%s' at %zu", accepted[i].data, fault_at);
    }
}

static void rejects_everything_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rejected / sizeof rejected[0]; i++) {
        size_t fault_at;
        if (scan_all(rejected[i], &fault_at)) fail_msg("case %zu: '%s' was accepted", i, rejected[i].data);
    }
}

static const char document[] =
    "{\"type\":\"batch\",\"n\":-1.5e+10,\"t\":[true,false,null],\"s\":\"gr\xC3\xB6\xC3\x9F"
    "e \\u00e9 \\ud83d\\ude00 \\\\ \\\"\",\"o\":{\"x\":{},\"y\":[]}}";

static void every_truncation_of_a_document_is_rejected(void **state)
{
    (void)state;
    size_t fault_at;
    for (size_t length = 0; length < sizeof document - 1; length++) {
        assert_false(scan_all((dp_slice){document, length}, &fault_at));
    }
    assert_true(scan_all((dp_slice){document, sizeof document - 1}, &fault_at));
}

static void a_control_character_or_bad_byte_anywhere_in_a_document_is_rejected(void **state)
{
    (void)state;
    char text[sizeof document];
    for (size_t at = 0; at < sizeof document - 1; at++) {
        static const char bad[] = {'\x00', '\x01', '\x1f', '\xff', '\xc0'};
        for (size_t i = 0; i < sizeof bad; i++) {
            memcpy(text, document, sizeof document);
            text[at] = bad[i];
            size_t fault_at;
            assert_false(scan_all((dp_slice){text, sizeof document - 1}, &fault_at));
        }
    }
}

static void faults_are_placed_and_named(void **state)
{
    (void)state;
    static const struct {
        dp_slice text;
        size_t fault_at;
        const char *fault;
    } cases[] = {
        {S(""), 0, "unexpected end of input"},
        {S("  "), 2, "unexpected end of input"},
        {S("[1,"), 3, "unexpected end of input"},
        {S("[1,]"), 3, "unexpected character"},
        {S("[1 2]"), 3, "expected ',' or the end of the object or array"},
        {S("{\"a\" 1}"), 5, "expected ':' after a member name"},
        {S("{1}"), 1, "expected a member name"},
        {S("null x"), 5, "unexpected text after the value"},
        {S("\"abc"), 4, "unterminated string"},
        {S("\"a\\q\""), 2, "invalid escape in string"},
        {S("\"a\nb\""), 2, "control character in string"},
        {S("\"ab\xff\""), 3, "invalid UTF-8 in string"},
        {S("[01]"), 1, "number with a leading zero"},
        {S("-"), 0, "invalid number"},
        {S("1.x"), 0, "number without digits after the point"},
        {S("1e"), 0, "number without digits in the exponent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_json_scanner scanner;
        dp_json_token token;
        dp_json_scanner_init(&scanner, cases[i].text);
        while (dp_json_next(&scanner, &token) != DP_JSON_ERROR) {
        }
        assert_int_equal(scanner.fault_at, cases[i].fault_at);
        assert_string_equal(scanner.fault, cases[i].fault);
    }
}

static bool scan_nested(size_t depth, const char *open, const char *close)
{
    dp_buffer text = DP_BUFFER_INIT(1 << 20);
    for (size_t i = 0; i < depth; i++) {
        dp_buffer_append_text(&text, open);
    }
    dp_buffer_append_text(&text, "1");
    for (size_t i = 0; i < depth; i++) {
        dp_buffer_append_text(&text, close);
    }
    size_t fault_at;
    bool accepted_all = scan_all(dp_buffer_slice(&text), &fault_at);
    dp_buffer_release(&text);
    return accepted_all;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    assert_true(scan_nested(DP_JSON_MAX_DEPTH, "[", "]"));
    assert_true(scan_nested(DP_JSON_MAX_DEPTH, "{\"a\":", "}"));
    assert_true(scan_nested(DP_JSON_MAX_DEPTH / 2, "[{\"a\":", "}]"));
    assert_false(scan_nested(DP_JSON_MAX_DEPTH + 1, "[", "]"));
    assert_false(scan_nested(DP_JSON_MAX_DEPTH + 1, "{\"a\":", "}"));
    assert_false(scan_nested(100000, "[", "]"));
}

static void tokens_come_in_order_with_their_place_and_text(void **state)
{
    (void)state;
    static const struct {
        dp_json_kind kind;
        size_t at;
        const char *text;
        bool has_escapes;
    } expected[] = {
        {DP_JSON_BEGIN_OBJECT, 1, "{", false}, {DP_JSON_KEY, 2, "a", false},
        {DP_JSON_BEGIN_ARRAY, 7, "[", false},  {DP_JSON_NUMBER, 8, "-1.0", false},
        {DP_JSON_STRING, 14, "x\\ny", true},   {DP_JSON_END_ARRAY, 20, "]", false},
        {DP_JSON_KEY, 22, "b\\u0041", true},   {DP_JSON_NULL, 32, "null", false},
        {DP_JSON_END_OBJECT, 36, "}", false},  {DP_JSON_END, 38, NULL, false},
    };
    dp_json_scanner scanner;
    dp_json_scanner_init(&scanner, S(" {\"a\": [-1.0, \"x\\ny\"],\"b\\u0041\":null}  "));
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        dp_json_token token;
        assert_int_equal(dp_json_next(&scanner, &token), expected[i].kind);
        assert_int_equal(token.kind, expected[i].kind);
        if (expected[i].text == NULL) continue;
        assert_int_equal(token.at, expected[i].at);
        assert_true(dp_slice_equal_text(token.text, expected[i].text));
        assert_int_equal(token.has_escapes, expected[i].has_escapes);
    }
}

static void a_whole_value_can_be_skipped(void **state)
{
    (void)state;
    static const char *const values[] = {
        "1", "\"a]}\"", "[]", "{}", "[1,[2,{\"a\":[3]}],\"]\"]", "{\"a\":{\"b\":[]}}", "null"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        dp_buffer text = DP_BUFFER_INIT(1024);
        dp_buffer_append_format(&text, "[ %s , 7]", values[i]);
        dp_json_scanner scanner;
        dp_json_token token;
        dp_slice source;
        dp_json_scanner_init(&scanner, dp_buffer_slice(&text));
        dp_json_next(&scanner, &token);
        dp_json_next(&scanner, &token);
        assert_true(dp_json_skip_value(&scanner, &token, &source));
        assert_true(dp_slice_equal_text(source, values[i]));
        assert_int_equal(dp_json_next(&scanner, &token), DP_JSON_NUMBER);
        assert_true(dp_slice_equal_text(token.text, "7"));
        dp_buffer_release(&text);
    }
    dp_json_scanner scanner;
    dp_json_token token;
    dp_slice source;
    dp_json_scanner_init(&scanner, S("[1,}"));
    dp_json_next(&scanner, &token);
    assert_false(dp_json_skip_value(&scanner, &token, &source));
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    static const struct {
        dp_slice escaped;
        dp_slice text;
    } cases[] = {
        {S(""), S("")},
        {S("plain"), S("plain")},
        {S("\\\"\\\\\\/\\b\\f\\n\\r\\t"), S("\"\\/\b\f\n\r\t")},
        {S("\\u0000"), S("\0")},
        {S("\\u0041\\u00e9\\u20AC"), S("A\xC3\xA9\xE2\x82\xAC")},
        {S("\\uD83D\\uDE00"), S("\xF0\x9F\x98\x80")},
        {S("\\ud800\\udc00"), S("\xF0\x90\x80\x80")},
        {S("\\udbff\\udfff"), S("\xF4\x8F\xBF\xBF")},
        {S("a\\nb\\nc"), S("a\nb\nc")},
        {S("\\\\n"), S("\\n")},
        {S("\\\\u0041"), S("\\u0041")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_buffer out = DP_BUFFER_INIT(1024);
        dp_json_unescape(cases[i].escaped, &out);
        assert_true(dp_slice_equal(dp_buffer_slice(&out), cases[i].text));
        char in_place[64];
        memcpy(in_place, cases[i].escaped.data, cases[i].escaped.length);
        size_t length = dp_json_unescape_into((dp_slice){in_place, cases[i].escaped.length}, in_place);
        assert_true(dp_slice_equal((dp_slice){in_place, length}, cases[i].text));
        dp_buffer_release(&out);
    }
}

static void every_code_point_survives_escaping_and_back(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10FFFF; point += point < 0x3000 ? 1 : 251) {
        if (point >= 0xD800 && point <= 0xDFFF) continue;
        char escaped[32];
        if (point < 0x10000) {
            snprintf(escaped, sizeof escaped, "\"\\u%04X\"", point);
        } else {
            snprintf(escaped, sizeof escaped, "\"\\u%04X\\u%04x\"", 0xD7C0 + (point >> 10),
                     0xDC00 + (point & 0x3FF));
        }
        dp_json_scanner scanner;
        dp_json_token token;
        dp_json_scanner_init(&scanner, dp_slice_of_text(escaped));
        assert_int_equal(dp_json_next(&scanner, &token), DP_JSON_STRING);
        assert_true(token.has_escapes);
        dp_buffer text = DP_BUFFER_INIT(16);
        dp_json_unescape(token.text, &text);
        dp_buffer again = DP_BUFFER_INIT(64);
        dp_json_put_string(&again, dp_buffer_slice(&text));
        dp_json_scanner_init(&scanner, dp_buffer_slice(&again));
        assert_int_equal(dp_json_next(&scanner, &token), DP_JSON_STRING);
        dp_buffer back = DP_BUFFER_INIT(16);
        dp_json_unescape(token.text, &back);
        assert_true(dp_slice_equal(dp_buffer_slice(&back), dp_buffer_slice(&text)));
        dp_buffer_release(&text);
        dp_buffer_release(&again);
        dp_buffer_release(&back);
    }
}

static void the_end_of_a_string_is_found_at_every_distance(void **state)
{
    (void)state;
    static const char stops[] = {'"', '\\', '\n', '\x1f', '\x80'};
    for (size_t length = 0; length < 40; length++) {
        for (size_t i = 0; i < sizeof stops; i++) {
            char text[64];
            memset(text, 'x', sizeof text);
            text[0] = '"';
            text[1 + length] = stops[i];
            dp_json_scanner scanner;
            dp_json_token token;
            dp_json_scanner_init(&scanner, (dp_slice){text, length + 2});
            dp_json_kind kind = dp_json_next(&scanner, &token);
            assert_int_equal(kind, stops[i] == '"' ? DP_JSON_STRING : DP_JSON_ERROR);
            if (kind == DP_JSON_STRING) assert_int_equal(token.text.length, length);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_standard_allows),
        cmocka_unit_test(rejects_everything_else),
        cmocka_unit_test(every_truncation_of_a_document_is_rejected),
        cmocka_unit_test(a_control_character_or_bad_byte_anywhere_in_a_document_is_rejected),
        cmocka_unit_test(faults_are_placed_and_named),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(tokens_come_in_order_with_their_place_and_text),
        cmocka_unit_test(a_whole_value_can_be_skipped),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(every_code_point_survives_escaping_and_back),
        cmocka_unit_test(the_end_of_a_string_is_found_at_every_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
