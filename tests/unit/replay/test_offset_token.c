/* Every form of a token, good and bad, and their order by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "replay/offset_token.h"

#define PG  DP_BACKEND_POSTGRES_LOGICAL
#define CDC DP_BACKEND_MSSQL_CDC
#define CT  DP_BACKEND_MSSQL_CHANGE_TRACKING

static dp_offset token(dp_backend backend, const char *text)
{
    dp_offset offset;
    if (!dp_offset_of_token(backend, dp_slice_of_text(text), &offset)) fail_msg("'%s' was refused", text);
    return offset;
}

static void accepts_every_form_and_knows_its_canonical_text(void **state)
{
    (void)state;
    static const struct {
        dp_backend backend;
        const char *text;
        const char *canonical;
    } cases[] = {
        {PG, "0/0", "0/0"},
        {PG, "0/9", "0/9"},
        {PG, "16/B374D848", "16/B374D848"},
        {PG, "16/b374d848", "16/B374D848"},
        {PG, "00000016/00000001", "16/1"},
        {PG, "FFFFFFFF/FFFFFFFF", "FFFFFFFF/FFFFFFFF"},
        {CDC, "0x0", "0x00000000000000000000"},
        {CDC, "0xA", "0x0000000000000000000A"},
        {CDC, "0x00000027000000AF0005", "0x00000027000000AF0005"},
        {CDC, "0x00000027000000af0005", "0x00000027000000AF0005"},
        {CDC, "0X27000000af0005", "0x00000027000000AF0005"},
        {CDC, "0xffffffffffffffffffff", "0xFFFFFFFFFFFFFFFFFFFF"},
        {CDC, "0x123", "0x00000000000000000123"},
        {CT, "0", "0"},
        {CT, "42", "42"},
        {CT, "0042", "42"},
        {CT, "9223372036854775807", "9223372036854775807"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_offset offset = token(cases[i].backend, cases[i].text);
        char canonical[DP_OFFSET_TOKEN_BYTES];
        dp_offset_canonical(&offset, canonical);
        assert_string_equal(canonical, cases[i].canonical);
        assert_string_equal(offset.token, cases[i].text);
        assert_int_equal(offset.backend, cases[i].backend);
        assert_true(offset.snapshot_complete);
        dp_offset again = token(cases[i].backend, canonical);
        assert_int_equal(dp_offset_compare(&offset, &again), 0);
    }
}

static void refuses_everything_else_and_names_option_and_form(void **state)
{
    (void)state;
    static const struct {
        dp_backend backend;
        const char *text;
    } cases[] = {
        {PG, ""},
        {PG, "0"},
        {PG, "/"},
        {PG, "0/"},
        {PG, "/0"},
        {PG, "0/0/0"},
        {PG, " 0/1"},
        {PG, "0/1 "},
        {PG, "0/1\n"},
        {PG, "-1/0"},
        {PG, "0/+1"},
        {PG, "0x0/1"},
        {PG, "G/0"},
        {PG, "0/00000000A"},
        {PG, "100000000/0"},
        {PG, "0x00000027000000AF0005"},
        {PG, "42"},
        {CDC, ""},
        {CDC, "0x"},
        {CDC, "x10"},
        {CDC, "00000027000000AF0005"},
        {CDC, "0xG"},
        {CDC, "0x-1"},
        {CDC, "0x1 "},
        {CDC, "0x000000000000000000001"},
        {CDC, "0/1"},
        {CDC, "42"},
        {CT, ""},
        {CT, "-1"},
        {CT, "+1"},
        {CT, " 1"},
        {CT, "1 "},
        {CT, "1.0"},
        {CT, "1e3"},
        {CT, "0x1"},
        {CT, "9223372036854775808"},
        {CT, "18446744073709551616"},
        {CT, "99999999999999999999999999"},
        {CT, "00000000000000000000000000000000001"},
        {PG, "postgres_logical:"},
        {PG, "postgres_logical:postgres_logical:0/1"},
        {PG, "mssql_cdc:0/1"},
        {PG, "mssql_change_tracking:0/1"},
        {CT, "postgres_logical:42"},
        {PG, "oracle:0/1"},
        {PG, ":0/1"},
        {PG, "POSTGRES_LOGICAL:0/1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_offset offset = {.token = "untouched"};
        dp_status status = dp_offset_parse(dp_slice_of_text(cases[i].text), cases[i].backend, "replay-from",
                                           &offset, &error);
        if (status != DP_STATUS_USAGE) fail_msg("'%s' was accepted", cases[i].text);
        assert_string_equal(offset.token, "untouched");
        assert_non_null(strstr(error.message, "--replay-from: "));
        assert_non_null(strstr(error.message, "expected "));
        assert_null(strchr(error.message, '\n'));
    }
}

static void message_names_backend_and_example(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_offset offset;
    dp_offset_parse(DP_SLICE_LITERAL("12"), PG, "replay-to", &offset, &error);
    assert_string_equal(error.message,
                        "--replay-to: '12' is not a token of postgres_logical; expected X/X in "
                        "hexadecimal, such as 0/16B6D28");
}

static void a_prefix_overrides_the_backend(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_offset offset;
    assert_int_equal(dp_offset_parse(DP_SLICE_LITERAL("mssql_cdc:0x0A"), PG, "x", &offset, &error), 0);
    assert_int_equal(offset.backend, CDC);
    assert_string_equal(offset.token, "0x0A");
    assert_int_equal(dp_offset_parse(DP_SLICE_LITERAL("postgres_logical:0/A"), PG, "x", &offset, &error), 0);
    assert_int_equal(offset.backend, PG);
    assert_int_equal(dp_offset_parse(DP_SLICE_LITERAL("0/A"), PG, "x", &offset, &error), 0);
    assert_int_equal(offset.backend, PG);
}

static void compares_by_value_and_not_as_text(void **state)
{
    (void)state;
    /* Ascending within a backend; every pair is compared both ways. */
    static const char *const ascending[3][10] = {
        [DP_BACKEND_POSTGRES_LOGICAL] = {"0/0", "0/9", "0/10", "0/FFFFFFFF", "1/0", "9/FFFFFFFF", "10/0",
                                         "FFFFFFFF/FFFFFFFF", NULL},
        [DP_BACKEND_MSSQL_CDC] = {"0x0", "0x0002", "0x9", "0x10", "0xFFFFFFFFFFFFFFFF", "0x10000000000000000",
                                  "0x00010000000000000001", "0xFFFFFFFFFFFFFFFFFFFF", NULL},
        [DP_BACKEND_MSSQL_CHANGE_TRACKING] = {"0", "9", "10", "99", "100", "9223372036854775806",
                                              "9223372036854775807", NULL},
    };
    for (size_t backend = 0; backend < 3; backend++) {
        for (size_t i = 0; ascending[backend][i] != NULL; i++) {
            for (size_t j = 0; ascending[backend][j] != NULL; j++) {
                dp_offset left = token((dp_backend)backend, ascending[backend][i]);
                dp_offset right = token((dp_backend)backend, ascending[backend][j]);
                int expected = (i > j) - (i < j);
                assert_int_equal(dp_offset_compare(&left, &right), expected);
            }
        }
    }
}

static void equal_values_in_other_spellings_are_equal(void **state)
{
    (void)state;
    static const struct {
        dp_backend backend;
        const char *left;
        const char *right;
    } cases[] = {
        {PG, "0/a", "00000000/0000000A"}, {CDC, "0xa", "0X0000000000000000000A"}, {CT, "7", "0000007"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_offset left = token(cases[i].backend, cases[i].left);
        dp_offset right = token(cases[i].backend, cases[i].right);
        assert_int_equal(dp_offset_compare(&left, &right), 0);
    }
}

static void positions_become_offsets_and_back(void **state)
{
    (void)state;
    dp_offset offset = dp_offset_of_lsn((dp_lsn){UINT64_C(0x16B6D28)});
    assert_string_equal(offset.token, "0/16B6D28");
    assert_int_equal(offset.backend, PG);
    assert_true(offset.snapshot_complete);
    dp_lsn position;
    assert_true(dp_offset_lsn(&offset, &position));
    assert_int_equal(position.value, 0x16B6D28);
    dp_offset version = token(CT, "5");
    assert_false(dp_offset_lsn(&version, &position));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_every_form_and_knows_its_canonical_text),
        cmocka_unit_test(refuses_everything_else_and_names_option_and_form),
        cmocka_unit_test(message_names_backend_and_example),
        cmocka_unit_test(a_prefix_overrides_the_backend),
        cmocka_unit_test(compares_by_value_and_not_as_text),
        cmocka_unit_test(equal_values_in_other_spellings_are_equal),
        cmocka_unit_test(positions_become_offsets_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
