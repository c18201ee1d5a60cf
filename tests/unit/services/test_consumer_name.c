/* What a consumer may be called, and where its offset is kept. */
#include "tests/unit/support/cmocka_includes.h"

#include "services/consumer_name.h"

static void names_are_short_text_without_slashes_and_controls(void **state)
{
    (void)state;
    char longest[DP_CONSUMER_NAME_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    static const struct {
        const char *name;
        bool is_valid;
    } rows[] = {{"billing", true}, {"b c", true},   {"\xc3\xa9t\xc3\xa9", true},
                {"", false},       {"a/b", false},  {"a\nb", false},
                {"a\x7f", false},  {"\xff", false}, {".", true},
                {"*", true},       {"\xc3", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dp_consumer_name_is_valid(dp_slice_of_text(rows[i].name)), rows[i].is_valid);
    }
    assert_true(dp_consumer_name_is_valid(dp_slice_make(longest, sizeof longest - 1)));
    assert_false(dp_consumer_name_is_valid(dp_slice_make(longest, sizeof longest)));
    assert_false(dp_consumer_name_is_valid(dp_slice_make("a\0b", 3)));
}

static void a_key_leads_back_to_its_consumer_and_pipeline(void **state)
{
    (void)state;
    char key[DP_CONSUMER_KEY_BYTES];
    size_t length;
    dp_slice name;
    dp_error error = DP_ERROR_INIT;
    dp_slice orders = DP_SLICE_LITERAL("orders");
    assert_int_equal(dp_consumer_key(orders, DP_SLICE_LITERAL("billing"), key, &length, &error),
                     DP_STATUS_OK);
    assert_string_equal(key, "orders/consumers/billing");
    assert_int_equal(length, strlen(key));
    assert_true(dp_consumer_of_key(dp_slice_make(key, length), orders, &name));
    assert_true(dp_slice_equal_text(name, "billing"));
    static const char *const others[] = {
        "orders", "orders/consumers/", "orders/consumers/a/b", "order/consumers/a", "orders2/consumers/a",
        ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(dp_consumer_of_key(dp_slice_of_text(others[i]), orders, &name));
    }
}

static void the_longest_key_fits_and_a_longer_one_is_refused(void **state)
{
    (void)state;
    char key[DP_CONSUMER_KEY_BYTES];
    char text[1024];
    size_t length;
    memset(text, 'p', sizeof text);
    dp_error error = DP_ERROR_INIT;
    dp_slice name = dp_slice_make(text, DP_CONSUMER_NAME_BYTES);
    assert_int_equal(dp_consumer_key(dp_slice_make(text, 1023), name, key, &length, &error), DP_STATUS_OK);
    assert_int_equal(dp_consumer_key(dp_slice_make(text, 1024), name, key, &length, &error), DP_STATUS_USAGE);
    assert_string_equal(error.code, "pipeline_name_invalid");
    dp_error_clear(&error);
    assert_int_equal(dp_consumer_key(name, dp_slice_make(text, 201), key, &length, &error), DP_STATUS_USAGE);
    assert_string_equal(error.code, "consumer_name_invalid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_short_text_without_slashes_and_controls),
        cmocka_unit_test(a_key_leads_back_to_its_consumer_and_pipeline),
        cmocka_unit_test(the_longest_key_fits_and_a_longer_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
