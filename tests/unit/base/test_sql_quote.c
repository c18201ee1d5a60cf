/* No name can leave its quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/sql_quote.h"

typedef void (*put_function)(dp_buffer *out, dp_slice text);

static void assert_quoted(put_function put, const char *text, const char *expected)
{
    dp_buffer out = DP_BUFFER_INIT(1024);
    put(&out, dp_slice_of_text(text));
    assert_string_equal(dp_buffer_text(&out), expected);
    dp_buffer_release(&out);
}

static void quotes_as_each_dialect_asks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *identifier;
        const char *literal;
        const char *bracketed;
        const char *national;
    } cases[] = {
        {"orders", "\"orders\"", "'orders'", "[orders]", "N'orders'"},
        {"", "\"\"", "''", "[]", "N''"},
        {"a\"b", "\"a\"\"b\"", "'a\"b'", "[a\"b]", "N'a\"b'"},
        {"a'b", "\"a'b\"", "'a''b'", "[a'b]", "N'a''b'"},
        {"a]b", "\"a]b\"", "'a]b'", "[a]]b]", "N'a]b'"},
        {"a\\", "\"a\\\"", "E'a\\\\'", "[a\\]", "N'a\\'"},
        {"\\'", "\"\\'\"", "E'\\\\'''", "[\\']", "N'\\'''"},
        {"';--", "\"';--\"", "''';--'", "[';--]", "N''';--'"},
        {"\"; DROP TABLE x; --", "\"\"\"; DROP TABLE x; --\"", "'\"; DROP TABLE x; --'",
         "[\"; DROP TABLE x; --]", "N'\"; DROP TABLE x; --'"},
        {"]; DROP TABLE x", "\"]; DROP TABLE x\"", "']; DROP TABLE x'", "[]]; DROP TABLE x]",
         "N']; DROP TABLE x'"},
        {"größe", "\"größe\"", "'größe'", "[größe]", "N'größe'"},
        {"$$", "\"$$\"", "'$$'", "[$$]", "N'$$'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_quoted(dp_sql_put_identifier, cases[i].text, cases[i].identifier);
        assert_quoted(dp_sql_put_literal, cases[i].text, cases[i].literal);
        assert_quoted(dp_sql_put_bracketed, cases[i].text, cases[i].bracketed);
        assert_quoted(dp_sql_put_national_literal, cases[i].text, cases[i].national);
    }
}

static void a_dollar_quoted_body_never_holds_its_own_tag(void **state)
{
    (void)state;
    assert_quoted(dp_sql_put_dollar_quoted, "BEGIN END", "$dpone$BEGIN END$dpone$");
    assert_quoted(dp_sql_put_dollar_quoted, "", "$dpone$$dpone$");
    assert_quoted(dp_sql_put_dollar_quoted, "$dpone$;x", "$dpone1$$dpone$;x$dpone1$");
    assert_quoted(dp_sql_put_dollar_quoted, "$dpone$ $dpone1$ x", "$dpone2$$dpone$ $dpone1$ x$dpone2$");
}

static void a_full_buffer_fails(void **state)
{
    (void)state;
    static const put_function functions[] = {dp_sql_put_identifier, dp_sql_put_literal,
                                             dp_sql_put_dollar_quoted, dp_sql_put_bracketed,
                                             dp_sql_put_national_literal};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        dp_buffer out = DP_BUFFER_INIT(5);
        functions[i](&out, DP_SLICE_LITERAL("orders"));
        assert_true(out.failed);
        dp_buffer_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_as_each_dialect_asks),
        cmocka_unit_test(a_dollar_quoted_body_never_holds_its_own_tag),
        cmocka_unit_test(a_full_buffer_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
