/* Hexadecimal text, there and back, and where it is wrong. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/hex.h"

static void every_byte_survives(void **state)
{
    (void)state;
    uint8_t bytes[256];
    uint8_t decoded[256];
    char text[512];
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    dp_hex_encode(bytes, sizeof bytes, text);
    assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_memory_equal(text + 510, "ff", 2);
    assert_true(dp_hex_decode((dp_slice){text, sizeof text}, decoded, NULL));
    assert_memory_equal(decoded, bytes, sizeof bytes);
}

static void faults_are_placed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
        size_t fault_at;
    } cases[] = {
        {"", true, 0},
        {"aF", true, 0},
        {"a", false, 1},
        {"abc", false, 3},
        {"g0", false, 0},
        {"0g", false, 1},
        {"00:0", false, 2},
        {"00 0", false, 2},
        {"/0", false, 0},
        {"@0", false, 0},
        {"`0", false, 0},
        {"\xff"
         "0",
         false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t out[8];
        size_t fault_at = 0;
        assert_int_equal(dp_hex_decode(dp_slice_of_text(cases[i].text), out, &fault_at), cases[i].valid);
        assert_int_equal(fault_at, cases[i].fault_at);
    }
}

/* In every place, so in the wide steps and behind them. */
static void upper_case_is_refused_where_only_lower_case_is_meant(void **state)
{
    (void)state;
    char text[38];
    uint8_t out[19];
    uint8_t expected[19];
    for (size_t at = 0; at < sizeof text; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            memset(text, 'a', sizeof text);
            text[at] = (char)byte;
            const dp_slice hex = {text, sizeof text};
            bool valid = dp_hex_decode(hex, expected, NULL) && !(byte >= 'A' && byte <= 'F');
            assert_int_equal(dp_hex_decode_lower(hex, out), valid);
            if (valid) assert_memory_equal(out, expected, sizeof out);
        }
    }
    assert_false(dp_hex_decode_lower((dp_slice){text, 37}, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_survives), cmocka_unit_test(faults_are_placed),
        cmocka_unit_test(upper_case_is_refused_where_only_lower_case_is_meant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
