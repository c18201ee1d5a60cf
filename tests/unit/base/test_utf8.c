/* UTF-8 as RFC 3629 has it: every code point, and every form that is not one. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/utf8.h"

static void every_code_point_is_valid_and_surrogates_are_not(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10FFFF; point++) {
        char text[4];
        size_t length = dp_utf8_encode(point, text);
        bool surrogate = point >= 0xD800 && point <= 0xDFFF;
        if (dp_utf8_valid((dp_slice){text, length}, NULL) == surrogate) fail_msg("U+%04X", point);
        if (length > 1 && dp_utf8_valid((dp_slice){text, length - 1}, NULL)) fail_msg("cut U+%04X", point);
    }
}

/* A straightforward decoder to hold the fast one against. */
static bool reference_valid(const uint8_t *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t more = text[at] < 0x80       ? 0
                      : text[at] >> 5 == 6  ? 1
                      : text[at] >> 4 == 14 ? 2
                      : text[at] >> 3 == 30 ? 3
                                            : 9;
        if (more == 9 || at + more >= length) return false;
        uint32_t point = more == 0 ? text[at] : text[at] & (0x3Fu >> more);
        for (size_t i = 1; i <= more; i++) {
            if (text[at + i] >> 6 != 2) return false;
            point = point << 6 | (text[at + i] & 0x3F);
        }
        static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        if (point < smallest[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
        at += more + 1;
    }
    return true;
}

static void every_pair_and_many_quadruples_of_bytes_agree_with_the_definition(void **state)
{
    (void)state;
    static const uint8_t interesting[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                          0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
                                          0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    const size_t count = sizeof interesting;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t text[] = {(uint8_t)(i >> 8), (uint8_t)i};
        if (dp_utf8_valid((dp_slice){(const char *)text, 2}, NULL) != reference_valid(text, 2))
            fail_msg("%04x", i);
    }
    for (size_t i = 0; i < count * count * count * count; i++) {
        uint8_t text[] = {interesting[i % count], interesting[i / count % count],
                          interesting[i / count / count % count], interesting[i / count / count / count]};
        if (dp_utf8_valid((dp_slice){(const char *)text, 4}, NULL) != reference_valid(text, 4)) {
            fail_msg("%02x %02x %02x %02x", text[0], text[1], text[2], text[3]);
        }
    }
}

static void the_fault_is_found_at_any_distance(void **state)
{
    (void)state;
    char text[64];
    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'a', sizeof text);
        text[at] = (char)0xFF;
        size_t fault_at = 0;
        assert_false(dp_utf8_valid((dp_slice){text, sizeof text}, &fault_at));
        assert_int_equal(fault_at, at);
        assert_true(dp_utf8_valid((dp_slice){text, at}, &fault_at));
    }
    assert_true(dp_utf8_valid((dp_slice){NULL, 0}, NULL));
}

static void what_ends_a_line_steers_a_terminal_or_is_no_text_becomes_a_question_mark(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a\nb\r\x1b[0m\x7f", "a?b??[0m?"},
        {"\xc2\x85|\xe2\x80\xa8|\xe2\x80\xa9|", "??|???|???|"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98"},
        {"\xff\xc3", "??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        strcpy(text, cases[i][0]);
        dp_utf8_make_printable(text, strlen(text));
        assert_string_equal(text, cases[i][1]);
    }
}

static void a_name_is_plain_without_controls_and_faults(void **state)
{
    (void)state;
    static const struct {
        dp_slice text;
        bool plain;
    } cases[] = {
        {{"", 0}, true},      {{"orders", 6}, true}, {{"\xC3\xA9", 2}, true},
        {{"a b", 3}, true},   {{"a\0b", 3}, false},  {{"a\nb", 3}, false},
        {{"\x1F", 1}, false}, {{"\x7F", 1}, false},  {{"a\xC3", 2}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (dp_utf8_is_plain(cases[i].text) != cases[i].plain) fail_msg("case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_valid_and_surrogates_are_not),
        cmocka_unit_test(every_pair_and_many_quadruples_of_bytes_agree_with_the_definition),
        cmocka_unit_test(the_fault_is_found_at_any_distance),
        cmocka_unit_test(a_name_is_plain_without_controls_and_faults),
        cmocka_unit_test(what_ends_a_line_steers_a_terminal_or_is_no_text_becomes_a_question_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
