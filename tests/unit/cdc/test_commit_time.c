/* Commit times, as PostgreSQL prints them in any time zone. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/commit_time.h"

static const struct {
    const char *text;
    int64_t microseconds;
} valid[] = {
    {"1970-01-01 00:00:00+00", 0},
    {"2026-01-02 03:04:05.678901+00", 1767323045678901},
    {"2026-01-02 03:04:05.6+00", 1767323045600000},
    {"2026-01-02 03:04:05+05:30", 1767303245000000},
    {"2026-01-01 22:04:05-05", 1767323045000000},
    {"1969-12-31 23:59:59.999999+00", -1},
    {"2000-02-29 00:00:00+00", 951782400000000},
    {"1900-01-01 00:00:00+01:02:03", -2208992523000000},
    {"10000-01-01 00:00:00+00", 253402300800000000},
};

static const char *const invalid[] = {
    "",
    "2026-01-02",
    "2026-01-02 03:04:05",
    "2026-01-02T03:04:05+00",
    "2026-1-02 03:04:05+00",
    "2026-13-02 03:04:05+00",
    "2025-02-29 03:04:05+00",
    "1900-02-29 03:04:05+00",
    "0000-01-01 03:04:05+00",
    "2026-01-02 24:04:05+00",
    "2026-01-02 03:60:05+00",
    "2026-01-02 03:04:05.+00",
    "2026-01-02 03:04:05.1234567+00",
    "2026-01-02 03:04:05+16",
    "2026-01-02 03:04:05+00 BC",
    "2026-01-02 03:04:05+00:",
};

static void printed_times_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
        int64_t microseconds = 1;
        assert_true(dp_commit_time_parse(dp_slice_of_text(valid[i].text), &microseconds));
        assert_int_equal(microseconds, valid[i].microseconds);
    }
}

static void everything_else_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        int64_t microseconds = 1;
        if (dp_commit_time_parse(dp_slice_of_text(invalid[i]), &microseconds)) fail_msg("%s", invalid[i]);
        assert_int_equal(microseconds, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_times_are_read),
        cmocka_unit_test(everything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
