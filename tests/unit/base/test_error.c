/* Errors: the first wins, messages are bounded, one line, and valid UTF-8 whatever the input was. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/error.h"
#include "base/utf8.h"

static void the_first_error_wins(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_error_set(&error, DP_STATUS_DATA, "first %d", 1), DP_STATUS_DATA);
    assert_int_equal(dp_error_set(&error, DP_STATUS_IO, "second"), DP_STATUS_DATA);
    assert_int_equal(dp_error_set_code(&error, DP_STATUS_IO, "late", "third"), DP_STATUS_DATA);
    assert_string_equal(error.message, "first 1");
    assert_string_equal(error.code, "");
    dp_error_hint(&error, "do %s", "this");
    dp_error_hint(&error, "not that");
    assert_string_equal(error.hint, "do this");
}

static void a_code_stands_beside_the_message(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_error_set_code(&error, DP_STATUS_CONFLICT, "event_conflict", "m"),
                     DP_STATUS_CONFLICT);
    assert_string_equal(error.code, "event_conflict");
    dp_error_clear(&error);
    assert_int_equal(error.status, DP_STATUS_OK);
    assert_string_equal(error.code, "");
    assert_string_equal(error.message, "");
}

static void a_null_error_passes_the_status_through(void **state)
{
    (void)state;
    assert_int_equal(dp_error_set(NULL, DP_STATUS_DATA, "x"), DP_STATUS_DATA);
    assert_int_equal(dp_error_set_code(NULL, DP_STATUS_IO, "c", "x"), DP_STATUS_IO);
    assert_int_equal(dp_error_no_memory(NULL, "x"), DP_STATUS_NO_MEMORY);
    dp_error_hint(NULL, "x");
    dp_error_while(NULL, "x");
}

static void while_is_put_in_front(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_error_while(&error, "nothing");
    assert_string_equal(error.message, "");
    dp_error_set(&error, DP_STATUS_IO, "disk full");
    dp_error_while(&error, "writing '%s'", "a");
    dp_error_while(&error, "saving");
    assert_string_equal(error.message, "while saving: while writing 'a': disk full");
}

static void no_message_holds_a_control_character_or_broken_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"a\nb\r\tc\x1b[0m\x7f", "a?b??c?[0m?"},
        {"größe € 😀", "größe € 😀"},
        {"nel\xC2\x85x\xC2\xA0", "nel??x\xC2\xA0"},
        {"ls\xE2\x80\xA8ps\xE2\x80\xA9\xE2\x80\xA6", "ls???ps???\xE2\x80\xA6"},
        {"\xff\xfe", "??"},
        {"a\xC3", "a?"},
        {"\xC3(", "?("},
        {"\xED\xA0\x80", "???"},
        {"\xF0\x9F\x98", "???"},
        {"\x80\x80ok", "??ok"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_error_set(&error, DP_STATUS_DATA, "%s", cases[i].text);
        dp_error_hint(&error, "%s", cases[i].text);
        assert_string_equal(error.message, cases[i].message);
        assert_string_equal(error.hint, cases[i].message);
    }
}

static void long_messages_are_cut_at_a_whole_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "ä", "€", "😀"};
    for (size_t c = 0; c < 4; c++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2048] = "";
            memset(text, 'x', shift);
            while (strlen(text) + 5 < 1200) {
                strcat(text, characters[c]);
            }
            dp_error error = DP_ERROR_INIT;
            dp_error_set(&error, DP_STATUS_DATA, "%s", text);
            dp_error_hint(&error, "%s", text);
            size_t length = strlen(error.message);
            assert_true(length < sizeof error.message && length + 5 > sizeof error.message);
            assert_memory_equal(error.message, text, length);
            assert_memory_equal(error.hint, text, strlen(error.hint));
            assert_true(dp_utf8_valid(dp_slice_of_text(error.message), NULL));
            dp_error_while(&error, "%s", text);
            assert_true(dp_utf8_valid(dp_slice_of_text(error.message), NULL));
            assert_memory_equal(error.message, "while ", 6);
        }
    }
}

static void a_message_that_just_fits_is_kept_whole(void **state)
{
    (void)state;
    char text[768];
    memset(text, 'x', sizeof text);
    memcpy(text + 765, "ä", 3);
    dp_error error = DP_ERROR_INIT;
    dp_error_set(&error, DP_STATUS_DATA, "%s", text);
    assert_int_equal(strlen(error.message), 767);
    assert_string_equal(error.message + 765, "ä");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(a_code_stands_beside_the_message),
        cmocka_unit_test(a_null_error_passes_the_status_through),
        cmocka_unit_test(while_is_put_in_front),
        cmocka_unit_test(no_message_holds_a_control_character_or_broken_utf8),
        cmocka_unit_test(long_messages_are_cut_at_a_whole_character),
        cmocka_unit_test(a_message_that_just_fits_is_kept_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
