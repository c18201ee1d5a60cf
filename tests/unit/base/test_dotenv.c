/* .env files: what each line means, and the line that is wrong. */
#include "tests/unit/support/cmocka_includes.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/dotenv.h"

static void each_line_means_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value; /* of X; NULL: not set */
    } cases[] = {
        {"", NULL},
        {"\n\n# X=1\n", NULL},
        {"X=1", "1"},
        {"X=1\n", "1"},
        {"X=1\r\n", "1"},
        {"  X = 1  \n", "1"},
        {"export X=1", "1"},
        {"export\tX=1", "1"},
        {"\xEF\xBB\xBFX=1", "1"},
        {"\xEF\xBB\xBF", NULL},
        {"X=", ""},
        {"X=a b", "a b"},
        {"X=a # comment", "a"},
        {"X=a\t# comment", "a"},
        {"X=a#b", "a#b"},
        {"X=#b", ""},
        {"X=a=b", "a=b"},
        {"X='a # b'", "a # b"},
        {"X='a\\n'", "a\\n"},
        {"X=\"a # b\" # c", "a # b"},
        {"X=\"a\\n\\t\\\"\\\\\\$\"", "a\n\t\"\\$"},
        {"X=\"C:\\dir\\x\"", "C:\\dir\\x"},
        {"X=$HOME", "$HOME"},
        {"X=\"$HOME\"", "$HOME"},
        {"X=''", ""},
        {"X=1\nX=2", "2"},
        {"XX=1\nAX=2", NULL},
        {"_9=1\nX=2", "2"},
        {"X=gr\xC3\xB6\xC3\x9F"
         "e",
         "gr\xC3\xB6\xC3\x9F"
         "e"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_dotenv *dotenv;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_dotenv_parse(dp_slice_of_text(cases[i].text), ".env", &dotenv, &error),
                         DP_STATUS_OK);
        const char *value = dp_dotenv_get(dotenv, "X");
        if (cases[i].value == NULL) {
            assert_null(value);
        } else {
            assert_non_null(value);
            assert_string_equal(value, cases[i].value);
        }
        dp_dotenv_free(dotenv);
    }
    dp_dotenv_free(NULL);
}

static void a_malformed_line_is_named(void **state)
{
    (void)state;
    static const struct {
        dp_slice text;
        const char *message;
    } cases[] = {
        {DP_SLICE_LITERAL("A=1\nX"), ".env, line 2: no '='; expected NAME=value"},
        {DP_SLICE_LITERAL("=1"),
         ".env, line 1: a name that is not letters, digits and '_'; expected NAME=value"},
        {DP_SLICE_LITERAL("1X=1"),
         ".env, line 1: a name that is not letters, digits and '_'; expected NAME=value"},
        {DP_SLICE_LITERAL("A-B=1"),
         ".env, line 1: a name that is not letters, digits and '_'; expected NAME=value"},
        {DP_SLICE_LITERAL("\n\nX='1"), ".env, line 3: a quote that is not closed; expected NAME=value"},
        {DP_SLICE_LITERAL("X=\"1\\\""), ".env, line 1: a quote that is not closed; expected NAME=value"},
        {DP_SLICE_LITERAL("X='1'2"), ".env, line 1: text after the closing quote; expected NAME=value"},
        {DP_SLICE_LITERAL("X=1\0"), ".env, line 1: a NUL byte; expected NAME=value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_dotenv *dotenv = NULL;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_dotenv_parse(cases[i].text, ".env", &dotenv, &error), DP_STATUS_USAGE);
        assert_string_equal(error.message, cases[i].message);
        assert_null(dotenv);
    }
}

static void a_missing_file_is_empty_and_an_unreadable_one_an_error(void **state)
{
    (void)state;
    dp_dotenv *dotenv = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_dotenv_load("/nonexistent/.env", &dotenv, &error), DP_STATUS_OK);
    assert_null(dp_dotenv_get(dotenv, "X"));
    dp_dotenv_free(dotenv);
    dotenv = NULL;
    assert_int_equal(dp_dotenv_load("/", &dotenv, &error), DP_STATUS_USAGE);
    assert_null(dotenv);
    assert_non_null(strstr(error.message, "unable to read '/'"));
}

static void a_pipe_is_refused_instead_of_waited_for(void **state)
{
    (void)state;
    char directory[] = "/tmp/dpone-test-dotenv-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/.env", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    dp_dotenv *dotenv = NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_dotenv_load(path, &dotenv, &error), DP_STATUS_USAGE);
    assert_null(dotenv);
    assert_non_null(strstr(error.message, "it is a pipe"));
    unlink(path);
    rmdir(directory);
}

static void a_file_is_bounded(void **state)
{
    (void)state;
    char path[] = "/tmp/dpone-test-dotenv-XXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    fputs("X=1\n#", file);
    for (size_t i = 0; i < (1 << 20) - 6; i++) {
        fputc('x', file);
    }
    fputc('\n', file);
    fflush(file);
    dp_dotenv *dotenv;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_dotenv_load(path, &dotenv, &error), DP_STATUS_OK);
    assert_string_equal(dp_dotenv_get(dotenv, "X"), "1");
    dp_dotenv_free(dotenv);
    fputc('\n', file);
    fclose(file);
    assert_int_equal(dp_dotenv_load(path, &dotenv, &error), DP_STATUS_USAGE);
    assert_non_null(strstr(error.message, "larger than 1 MiB"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_means_what_it_says),
        cmocka_unit_test(a_malformed_line_is_named),
        cmocka_unit_test(a_missing_file_is_empty_and_an_unreadable_one_an_error),
        cmocka_unit_test(a_pipe_is_refused_instead_of_waited_for),
        cmocka_unit_test(a_file_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
