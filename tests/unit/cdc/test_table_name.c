/* schema.table as the command line writes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cdc/table_name.h"

static void reads_bare_and_quoted_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *schema;
        const char *table;
    } cases[] = {
        {"public.orders", "public", "orders"},
        {"Public.ORDERS", "Public", "ORDERS"},
        {"a b.c d", "a b", "c d"},
        {"public.\"odd.name\"", "public", "odd.name"},
        {"\"s.1\".t", "s.1", "t"},
        {"\"a\"\"b\".\"c\"\"\"", "a\"b", "c\""},
        {"p.größe", "p", "größe"},
        {"p.o'r]d\\$x;--", "p", "o'r]d\\$x;--"},
        {"*.*", "*", "*"},
    };
    dp_arena *arena = dp_arena_new(256, 65536);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_table_name name;
        assert_int_equal(dp_table_name_parse(dp_slice_of_text(cases[i].text), "table", arena, &name, &error),
                         DP_STATUS_OK);
        assert_true(dp_slice_equal_text(name.schema, cases[i].schema));
        assert_true(dp_slice_equal_text(name.table, cases[i].table));
    }
    dp_arena_free(arena);
}

static void refuses_what_is_no_table(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",      "orders", ".",      "public.",  ".orders",  "a.b.c",  "a.b,c",
        "a.b=c", "a.\"b",  "\"a.b",  "\"a\"b.c", "a.\"b\"c", "\"\".t", "a.\"\"",
        "a.b\"", "a,b.c",  "a.b\nc", "a.\x7f",   "a.\x01",   "a.\xff", "a.\xc3",
    };
    dp_arena *arena = dp_arena_new(256, 65536);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_table_name name;
        if (dp_table_name_parse(dp_slice_of_text(cases[i]), "table", arena, &name, &error) !=
            DP_STATUS_USAGE) {
            fail_msg("'%s' was accepted", cases[i]);
        }
        assert_memory_equal(error.message, "--table: '", 10);
        assert_non_null(strstr(error.message, "expected schema.table"));
    }
    dp_error error = DP_ERROR_INIT;
    dp_table_name name;
    assert_int_equal(dp_table_name_parse((dp_slice){"a.b\0c", 5}, "table", arena, &name, &error),
                     DP_STATUS_USAGE);
    dp_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_bare_and_quoted_names),
        cmocka_unit_test(refuses_what_is_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
