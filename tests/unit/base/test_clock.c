/* Points in time as text. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/clock.h"

static void times_are_written_in_utc_with_microseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {-1000000, "1969-12-31T23:59:59.000000Z"},
        {999999, "1970-01-01T00:00:00.999999Z"},
        {INT64_C(1767323045678901), "2026-01-02T03:04:05.678901Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
        {INT64_C(253402300800000000), "9999-12-31T23:59:59.999999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
        {INT64_C(-62135596800000000), "0001-01-01T00:00:00.000000Z"},
        {INT64_C(-62135596800000001), "0001-01-01T00:00:00.000000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[DP_CLOCK_TEXT_BYTES];
        dp_clock_format_utc(cases[i].wall_us, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void the_monotonic_clock_never_goes_back(void **state)
{
    (void)state;
    int64_t before = dp_clock_monotonic_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = dp_clock_monotonic_us();
        assert_true(now >= before);
        before = now;
    }
    assert_true(dp_clock_wall_us() > INT64_C(1700000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_in_utc_with_microseconds),
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
