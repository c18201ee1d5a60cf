/* Retry-After in its two forms, and what is ignored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/retry_after.h"

#define SECOND INT64_C(1000000)
/* 1994-11-06T08:49:37Z, the date RFC 9110 uses */
#define EXAMPLE (INT64_C(784111777) * SECOND)

static void reads_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t now_us;
        int64_t wait_us;
    } rows[] = {
        {"0", 0, 0},
        {"120", 0, 120 * SECOND},
        {"  7\t", 0, 7 * SECOND},
        {"99999999999999999999999", 0, (INT64_C(1) << 40) * SECOND},
        {"18446744073709551615", 0, (INT64_C(1) << 40) * SECOND},
        {"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE - 5 * SECOND, 5 * SECOND},
        {"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE - 1, 1},
        {"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE + 5 * SECOND, 0},
        {"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE - 5 * SECOND, 5 * SECOND},
        {"Sun Nov  6 08:49:37 1994", EXAMPLE - 5 * SECOND, 5 * SECOND},
        {"Wed Nov 16 08:49:37 1994", EXAMPLE, 10 * 86400 * SECOND},
        {"", 0, -1},
        {"-1", 0, -1},
        {"1.5", 0, -1},
        {"soon", 0, -1},
        {"Sun, 06 Nov 1994 08:49:37", 0, -1},
        {"Sun, 06 Nov 1994 08:49:37 PST", 0, -1},
        {"Sun, 06 Nov 1994 24:49:37 GMT", 0, -1},
        {"Sun, 00 Nov 1994 08:49:37 GMT", 0, -1},
        {"Sun, 06 Nox 1994 08:49:37 GMT", 0, -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT x", 0, -1},
        {"Sun Nov  6 08:49:37", 0, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  '%s'\n", rows[i].value);
        assert_int_equal(dp_retry_after_us(dp_slice_of_text(rows[i].value), rows[i].now_us), rows[i].wait_us);
    }
}

static void every_prefix_of_a_date_is_refused(void **state)
{
    (void)state;
    static const char *const dates[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t length = 0; length < strlen(dates[i]); length++) {
            assert_int_equal(dp_retry_after_us(dp_slice_make(dates[i], length), 0), -1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_table_says),
        cmocka_unit_test(every_prefix_of_a_date_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
