/* Precedence, bounds and origin of the settings. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/settings.h"

typedef struct given {
    const char *flag[2]; /* name and value */
    const char *environment[4];
    const char *dotenv[4];
} given;

static const char *find(const char *const *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (pairs[i] != NULL && strcmp(pairs[i], name) == 0) return pairs[i + 1];
    }
    return NULL;
}

static const char *flag(void *context, const char *name)
{
    return find(((const given *)context)->flag, 2, name);
}

static const char *environment(void *context, const char *name)
{
    return find(((const given *)context)->environment, 4, name);
}

static const char *dotenv(void *context, const char *name)
{
    return find(((const given *)context)->dotenv, 4, name);
}

static dp_status resolve(given *from, dp_settings *settings, dp_error *error)
{
    const dp_setting_sources sources = {from, flag, environment, dotenv};
    return dp_settings_resolve(&sources, settings, error);
}

static void the_nearest_source_wins(void **state)
{
    (void)state;
    static const struct {
        given from;
        uint64_t value;
        dp_setting_origin origin;
    } rows[] = {
        {{{NULL}, {NULL}, {NULL}}, 50, DP_SETTING_FROM_DEFAULT},
        {{{NULL}, {NULL}, {"MAX_CONCURRENCY", "1"}}, 1, DP_SETTING_FROM_DOTENV},
        {{{NULL}, {NULL}, {"MAX_CONCURRENCY", "1", "SERVER_MAX_CONCURRENCY", "2"}},
         2,
         DP_SETTING_FROM_DOTENV},
        {{{NULL}, {"MAX_CONCURRENCY", "3"}, {"SERVER_MAX_CONCURRENCY", "2"}}, 3, DP_SETTING_FROM_ENVIRONMENT},
        {{{NULL}, {"MAX_CONCURRENCY", "3", "SERVER_MAX_CONCURRENCY", "4"}, {NULL}},
         4,
         DP_SETTING_FROM_ENVIRONMENT},
        {{{NULL}, {"SERVER_MAX_CONCURRENCY", ""}, {NULL}}, 50, DP_SETTING_FROM_DEFAULT},
        {{{"max-concurrency", "5"}, {"SERVER_MAX_CONCURRENCY", "4"}, {NULL}}, 5, DP_SETTING_FROM_FLAG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        given from = rows[i].from;
        dp_settings settings;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(resolve(&from, &settings, &error), DP_STATUS_OK);
        assert_int_equal(dp_settings_number(&settings, DP_SETTING_MAX_CONCURRENCY), rows[i].value);
        assert_int_equal(settings.values[DP_SETTING_MAX_CONCURRENCY].origin, rows[i].origin);
        dp_settings_release(&settings);
    }
}

static void values_out_of_bounds_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        bool valid;
    } rows[] = {
        {"SERVER_MAX_CONCURRENCY", "0", false},
        {"SERVER_MAX_CONCURRENCY", "1", true},
        {"SERVER_MAX_CONCURRENCY", "1000", true},
        {"SERVER_MAX_CONCURRENCY", "1001", false},
        {"SERVER_REQUEST_TIMEOUT", "0", false},
        {"SERVER_REQUEST_TIMEOUT", "300", true},
        {"SERVER_REQUEST_TIMEOUT", "301", false},
        {"SERVER_CACHE_MAX_SIZE", "0", false},
        {"SERVER_CACHE_MAX_SIZE", "100000", true},
        {"SERVER_CACHE_MAX_SIZE", "100001", false},
        {"SERVER_CACHE_TTL_SECONDS", "0", false},
        {"SERVER_CACHE_TTL_SECONDS", "86400", true},
        {"SERVER_CACHE_TTL_SECONDS", "86401", false},
        {"SERVER_PORT", "65536", false},
        {"SERVER_PORT", "-1", false},
        {"SERVER_PORT", "80a", false},
        {"SERVER_WORKERS", "65", false},
        {"SERVER_LOG_LEVEL", "loud", false},
        {"SERVER_LOG_LEVEL", "debug", true},
        {"SERVER_LOG_FORMAT", "xml", false},
        {"SERVER_ENABLE_DOCS", "maybe", false},
        {"SERVER_ENABLE_DOCS", "off", true},
        {"SERVER_CORS_ENABLED", "TRUE", true},
        {"SERVER_CORS_ORIGINS", "*", true},
        {"SERVER_CORS_ORIGINS", "https://a.example, http://[::1]:80 ,null", true},
        {"SERVER_CORS_ORIGINS", "https://a.example/", false},
        {"SERVER_CORS_ORIGINS", "a.example", false},
        {"SERVER_CORS_ORIGINS", "https://", false},
        {"SERVER_CORS_ORIGINS", "https://a,", false},
        {"SERVER_CORS_ORIGINS", "https://a https://b", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        given from = {.environment = {rows[i].name, rows[i].value}};
        dp_settings settings = {0};
        dp_error error = DP_ERROR_INIT;
        dp_status status = resolve(&from, &settings, &error);
        assert_int_equal(status, rows[i].valid ? DP_STATUS_OK : DP_STATUS_USAGE);
        if (!rows[i].valid) {
            assert_non_null(strstr(error.message, rows[i].name));
            assert_non_null(strstr(error.message, rows[i].value));
        }
        dp_settings_release(&settings);
    }
}

static void choices_are_kept_as_listed(void **state)
{
    (void)state;
    given from = {.flag = {"log-level", "debug"}};
    dp_settings settings;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(resolve(&from, &settings, &error), DP_STATUS_OK);
    assert_string_equal(dp_settings_text(&settings, DP_SETTING_LOG_LEVEL), "DEBUG");
    assert_null(dp_settings_text(&settings, DP_SETTING_CORS_ORIGINS));
    dp_settings_release(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_source_wins),
        cmocka_unit_test(values_out_of_bounds_are_refused_by_name),
        cmocka_unit_test(choices_are_kept_as_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
