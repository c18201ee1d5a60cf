/* Words of a command line to an invocation: what is accepted, where a value comes from, and how refusals
 * read. */
#include "tests/unit/support/cmocka_includes.h"

#include <unistd.h>

#include "cli/commands.h"

static const dp_option options[] = {
    {.name = "name", .argument = "NAME", .help = "h", .required = true},
    {.name = "mode",
     .argument = "MODE",
     .help = "h",
     .default_text = "slow",
     .environment = "TEST_MODE",
     .choices = "slow|fast"},
    {.name = "table", .argument = "TABLE", .help = "h", .repeatable = true},
    {.name = "count", .argument = "N", .help = "h", .default_text = "10", .environment = "TEST_COUNT"},
    {.name = "verbose", .help = "h", .environment = "TEST_VERBOSE"},
    {.name = "only-env", .argument = "X", .help = "h", .environment = "TEST_ONLY_ENV"},
    {.name = NULL},
};

static const dp_command command = {
    .path = "test run",
    .summary = "s",
    .arguments = "FILE [FILE]",
    .min_arguments = 1,
    .max_arguments = 2,
    .description = "",
    .examples = "",
    .options = options,
    .exit_codes = "",
};

enum { MAX_WORDS = 300 };

/* argv is writable and lives as long as the program; so do these, without being lost to a leak checker. */
static char *copies[4096];
static size_t copy_count;

static char *copy_of(const char *text)
{
    assert_true(copy_count < sizeof copies / sizeof copies[0]);
    char *copy = strdup(text);
    copies[copy_count++] = copy;
    return copy;
}

static dp_status parse(const char *const *words, dp_invocation *invocation, dp_error *error)
{
    char *mutable_words[MAX_WORDS];
    int count = 0;
    for (; words[count] != NULL; count++) {
        mutable_words[count] = copy_of(words[count]);
    }
    return dp_command_parse(&command, count, mutable_words, invocation, error);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void values_come_in_both_forms_and_the_last_wins(void **state)
{
    (void)state;
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(WORDS("--name", "a", "f1", "--mode=fast", "--name=b=c", "--verbose", "f2"),
                           &invocation, &error),
                     DP_STATUS_OK);
    assert_string_equal(dp_invocation_text(&invocation, "name"), "b=c");
    assert_string_equal(dp_invocation_text(&invocation, "mode"), "fast");
    assert_true(dp_invocation_switch(&invocation, "verbose"));
    assert_true(dp_invocation_given(&invocation, "verbose"));
    assert_false(dp_invocation_given(&invocation, "count"));
    assert_int_equal(invocation.argument_count, 2);
    assert_string_equal(invocation.arguments[0], "f1");
    assert_string_equal(invocation.arguments[1], "f2");
}

static void values_may_look_like_options_and_be_empty(void **state)
{
    (void)state;
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(WORDS("--name", "--mode", "f"), &invocation, &error), DP_STATUS_OK);
    assert_string_equal(dp_invocation_text(&invocation, "name"), "--mode");
    assert_int_equal(parse(WORDS("--name", "a", "--only-env=", "-"), &invocation, &error), DP_STATUS_OK);
    assert_string_equal(dp_invocation_text(&invocation, "only-env"), "");
    assert_string_equal(invocation.arguments[0], "-");
    assert_int_equal(parse(WORDS("--name", "a", "--", "--mode"), &invocation, &error), DP_STATUS_OK);
    assert_string_equal(invocation.arguments[0], "--mode");
    assert_int_equal(parse(WORDS("--name", "a", "--", "--", "x"), &invocation, &error), DP_STATUS_OK);
    assert_string_equal(invocation.arguments[0], "--");
}

static void repeatable_values_keep_their_order(void **state)
{
    (void)state;
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(WORDS("--table", "a", "--name", "n", "--table=b", "f", "--table", "a"),
                           &invocation, &error),
                     DP_STATUS_OK);
    assert_string_equal(dp_invocation_nth(&invocation, "table", 0), "a");
    assert_string_equal(dp_invocation_nth(&invocation, "table", 1), "b");
    assert_string_equal(dp_invocation_nth(&invocation, "table", 2), "a");
    assert_null(dp_invocation_nth(&invocation, "table", 3));
}

static void refusals_name_the_word_and_what_was_expected(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *message;
    } cases[] = {
        {{"--nmae", "x"}, "unknown option '--nmae' for 'dpone test run'"},
        {{"--nam", "x"}, "unknown option '--nam' for 'dpone test run'"},
        {{"--=x"}, "unknown option '--' for 'dpone test run'"},
        {{"-n", "x"}, "unknown option '-n': options have two dashes"},
        {{"f", "--name"}, "--name needs a value: --name NAME"},
        {{"--name", "a", "--verbose=1", "f"}, "--verbose takes no value"},
        {{"--name", "a", "--mode", "FAST", "f"}, "--mode: 'FAST' is not one of slow|fast"},
        {{"--name", "a", "--mode=", "f"}, "--mode: '' is not one of slow|fast"},
        {{"--name", "a", "--mode=slow|fast", "f"}, "--mode: 'slow|fast' is not one of slow|fast"},
        {{"f"}, "missing required option --name NAME"},
        {{"--name", "a"}, "missing argument: dpone test run FILE [FILE]"},
        {{"--name", "a", "1", "2", "3"}, "unexpected argument '3' for 'dpone test run'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_invocation invocation;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(parse(cases[i].words, &invocation, &error), DP_STATUS_USAGE);
        assert_string_equal(error.message, cases[i].message);
    }
}

static void the_number_of_words_is_bounded(void **state)
{
    (void)state;
    const char *words[MAX_WORDS + 1] = {0};
    for (size_t i = 0; i < MAX_WORDS; i++) {
        words[i] = "--verbose";
    }
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(words, &invocation, &error), DP_STATUS_USAGE);
    assert_string_equal(error.message, "more than 256 options");
}

/* The .env file stands in the working directory of this test. */
static void a_flag_goes_before_the_environment_and_that_before_dotenv_and_default(void **state)
{
    (void)state;
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(WORDS("--name", "a", "f"), &invocation, &error), DP_STATUS_OK);
    assert_string_equal(dp_invocation_text(&invocation, "mode"), "slow");
    assert_string_equal(dp_invocation_text(&invocation, "count"), "7"); /* .env */
    assert_null(dp_invocation_text(&invocation, "only-env"));
    assert_null(dp_invocation_text(&invocation, "table"));
    setenv("TEST_MODE", "fast", 1);
    setenv("TEST_COUNT", "8", 1);
    setenv("TEST_ONLY_ENV", "", 1); /* empty counts as not set */
    assert_string_equal(dp_invocation_text(&invocation, "mode"), "fast");
    assert_string_equal(dp_invocation_text(&invocation, "count"), "8");
    assert_false(dp_invocation_given(&invocation, "mode"));
    assert_null(dp_invocation_text(&invocation, "only-env"));
    assert_int_equal(parse(WORDS("--name", "a", "--mode", "slow", "--count", "9", "f"), &invocation, &error),
                     DP_STATUS_OK);
    assert_string_equal(dp_invocation_text(&invocation, "mode"), "slow");
    assert_string_equal(dp_invocation_text(&invocation, "count"), "9");
    setenv("TEST_MODE", "warp", 1);
    assert_int_equal(parse(WORDS("--name", "a", "f"), &invocation, &error), DP_STATUS_USAGE);
    assert_string_equal(error.message, "TEST_MODE: 'warp' is not one of slow|fast");
    unsetenv("TEST_MODE");
    unsetenv("TEST_COUNT");
}

static void switches_are_on_when_the_environment_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool on;
    } cases[] = {{"1", true},      {"true", true}, {"YES", true}, {"On", true}, {"0", false},
                 {"false", false}, {"no", false},  {"", false},   {"2", false}};
    dp_invocation invocation;
    dp_error error = DP_ERROR_INIT;
    parse(WORDS("--name", "a", "f"), &invocation, &error);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("TEST_VERBOSE", cases[i].text, 1);
        assert_int_equal(dp_invocation_switch(&invocation, "verbose"), cases[i].on);
    }
    unsetenv("TEST_VERBOSE");
    assert_false(dp_invocation_switch(&invocation, "name"));
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool accepted;
    } cases[] = {{"1", true},
                 {"100", true},
                 {"0", false},
                 {"101", false},
                 {"", false},
                 {"1.5", false},
                 {"-1", false},
                 {"1e1", false},
                 {" 1", false},
                 {"0x1", false},
                 {"18446744073709551616", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_invocation invocation;
        dp_error error = DP_ERROR_INIT;
        uint64_t value = 4711;
        assert_int_equal(parse(WORDS("--name", "a", "f", "--count", cases[i].text), &invocation, &error),
                         DP_STATUS_OK);
        dp_status status = dp_invocation_u64(&invocation, "count", 1, 100, &value, &error);
        assert_int_equal(status, cases[i].accepted ? DP_STATUS_OK : DP_STATUS_USAGE);
        if (!cases[i].accepted) {
            assert_int_equal(value, 4711);
            assert_memory_equal(error.message, "--count: '", 10);
            assert_non_null(strstr(error.message, "' is not a whole number from 1 to 100"));
        }
    }
}

static void every_command_is_complete_and_its_options_are_well_named(void **state)
{
    (void)state;
    for (const dp_command *const *at = dp_commands; *at != NULL; at++) {
        const dp_command *known = *at;
        assert_non_null(known->run);
        assert_true(strlen(known->summary) > 0 && known->summary[strlen(known->summary) - 1] != '.');
        assert_non_null(known->description);
        assert_true(strlen(known->examples) > 0);
        assert_int_equal(known->examples[strlen(known->examples) - 1], '\n');
        assert_true(known->min_arguments <= known->max_arguments);
        for (const dp_option *option = known->options; option->name != NULL; option++) {
            assert_int_equal(strspn(option->name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
                             strlen(option->name));
            assert_true(strlen(option->help) > 0);
            if (option->choices != NULL) assert_non_null(option->argument);
            for (const dp_option *other = known->options; other != option; other++) {
                assert_string_not_equal(other->name, option->name);
            }
        }
    }
}

static int enter_a_directory_with_dotenv(void **state)
{
    static char directory[] = "/tmp/dpone-test-invocation-XXXXXX";
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) return -1;
    FILE *file = fopen(".env", "w");
    if (file == NULL) return -1;
    fputs("TEST_COUNT=7\n", file);
    *state = directory;
    return fclose(file);
}

static int leave_the_directory(void **state)
{
    return unlink(".env") == 0 && chdir("/") == 0 && rmdir(*state) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_in_both_forms_and_the_last_wins),
        cmocka_unit_test(values_may_look_like_options_and_be_empty),
        cmocka_unit_test(repeatable_values_keep_their_order),
        cmocka_unit_test(refusals_name_the_word_and_what_was_expected),
        cmocka_unit_test(the_number_of_words_is_bounded),
        cmocka_unit_test(a_flag_goes_before_the_environment_and_that_before_dotenv_and_default),
        cmocka_unit_test(switches_are_on_when_the_environment_says_so),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(every_command_is_complete_and_its_options_are_well_named),
    };
    return cmocka_run_group_tests(tests, enter_a_directory_with_dotenv, leave_the_directory);
}
