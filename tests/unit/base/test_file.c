/* Whole small files, and how their failures are named. */
#include "tests/unit/support/cmocka_includes.h"

#include <unistd.h>

#include "base/file.h"

static void reads_everything_up_to_the_maximum(void **state)
{
    (void)state;
    char path[] = "/tmp/dpone-test-file-XXXXXX";
    int descriptor = mkstemp(path);
    static char text[40000];
    memset(text, 'x', sizeof text);
    assert_int_equal(write(descriptor, text, sizeof text), sizeof text);
    close(descriptor);
    for (size_t maximum = sizeof text - 1; maximum <= sizeof text; maximum++) {
        dp_buffer out = DP_BUFFER_INIT(1 << 20);
        dp_error error = DP_ERROR_INIT;
        dp_status status = dp_file_read(path, maximum, &out, &error);
        assert_int_equal(status, maximum < sizeof text ? DP_STATUS_LIMIT : DP_STATUS_OK);
        if (status == DP_STATUS_OK)
            assert_true(dp_slice_equal(dp_buffer_slice(&out), (dp_slice){text, sizeof text}));
        if (status == DP_STATUS_LIMIT) assert_non_null(strstr(error.message, "larger than 39999 bytes"));
        dp_buffer_release(&out);
    }
    unlink(path);
}

static void what_cannot_be_read_is_named_with_the_cause(void **state)
{
    (void)state;
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_file_read("/nonexistent", 10, &out, &error), DP_STATUS_IO);
    assert_string_equal(error.message, "unable to read '/nonexistent': No such file or directory");
    dp_error_clear(&error);
    assert_int_equal(dp_file_read("/", 10, &out, &error), DP_STATUS_IO);
    assert_string_equal(error.message, "unable to read '/': Is a directory");
    assert_string_equal(dp_file_display_name("-"), "standard input");
    assert_string_equal(dp_file_display_name("a"), "a");
    dp_buffer_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything_up_to_the_maximum),
        cmocka_unit_test(what_cannot_be_read_is_named_with_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
