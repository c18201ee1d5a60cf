/* The byte reader: big-endian, bounded, and its first failure stays. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/byte_reader.h"

static const char message[] = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                              "name\0rest";

static void reads_big_endian_numbers_and_texts(void **state)
{
    (void)state;
    dp_byte_reader reader = dp_byte_reader_of((dp_slice){message, sizeof message - 1});
    assert_int_equal(dp_byte_reader_u8(&reader), 0x01);
    assert_int_equal(dp_byte_reader_u16(&reader), 0x0203);
    assert_int_equal(dp_byte_reader_u32(&reader), 0x04050607);
    assert_true(dp_byte_reader_u64(&reader) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_true(dp_slice_equal_text(dp_byte_reader_cstring(&reader), "name"));
    assert_true(dp_slice_equal_text(dp_byte_reader_bytes(&reader, 4), "rest"));
    assert_int_equal(dp_byte_reader_left(&reader), 0);
    assert_false(reader.failed);
    assert_int_equal(dp_byte_reader_bytes(&reader, 0).length, 0);
    assert_false(reader.failed);
}

static void the_sign_of_a_byte_is_not_spread(void **state)
{
    (void)state;
    dp_byte_reader reader =
        dp_byte_reader_of((dp_slice){"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15});
    assert_int_equal(dp_byte_reader_u8(&reader), 0xFF);
    assert_int_equal(dp_byte_reader_u16(&reader), 0xFFFF);
    assert_true(dp_byte_reader_u32(&reader) == UINT32_MAX);
    assert_true(dp_byte_reader_u64(&reader) == UINT64_MAX);
}

static void every_truncation_fails_and_yields_zeros(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof message - 1; length++) {
        dp_byte_reader reader = dp_byte_reader_of((dp_slice){message, length});
        dp_byte_reader_u8(&reader);
        dp_byte_reader_u16(&reader);
        dp_byte_reader_u32(&reader);
        uint64_t large = dp_byte_reader_u64(&reader);
        if (length < 11) assert_true(large == 0);
        dp_byte_reader_cstring(&reader);
        dp_slice rest = dp_byte_reader_bytes(&reader, 4);
        assert_true(reader.failed);
        assert_int_equal(rest.length, 0);
        assert_non_null(rest.data);
        assert_in_range(reader.failed_at, 0, length);
    }
}

static void the_first_failure_is_kept(void **state)
{
    (void)state;
    dp_byte_reader reader = dp_byte_reader_of(DP_SLICE_LITERAL("\x01\x02\x03"));
    dp_byte_reader_u16(&reader);
    assert_int_equal(dp_byte_reader_u32(&reader), 0);
    assert_int_equal(reader.failed_at, 2);
    assert_int_equal(dp_byte_reader_u8(&reader), 0); /* a byte is left, but the message is broken */
    assert_int_equal(dp_byte_reader_bytes(&reader, SIZE_MAX).length, 0);
    assert_int_equal(dp_byte_reader_cstring(&reader).length, 0);
    assert_int_equal(reader.failed_at, 2);
}

static void a_text_without_its_nul_fails(void **state)
{
    (void)state;
    dp_byte_reader reader = dp_byte_reader_of(DP_SLICE_LITERAL("abc"));
    assert_int_equal(dp_byte_reader_cstring(&reader).length, 0);
    assert_true(reader.failed);
    assert_int_equal(reader.failed_at, 0);
    reader = dp_byte_reader_of((dp_slice){NULL, 0});
    assert_int_equal(dp_byte_reader_cstring(&reader).length, 0);
    assert_true(reader.failed);
    reader = dp_byte_reader_of((dp_slice){"\0", 1});
    assert_int_equal(dp_byte_reader_cstring(&reader).length, 0);
    assert_false(reader.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_big_endian_numbers_and_texts),
        cmocka_unit_test(the_sign_of_a_byte_is_not_spread),
        cmocka_unit_test(every_truncation_fails_and_yields_zeros),
        cmocka_unit_test(the_first_failure_is_kept),
        cmocka_unit_test(a_text_without_its_nul_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
