/* SipHash-2-4 against the vectors of its authors (key 00..0f, messages 00, 00 01, ...). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/siphash.h"

static void agrees_with_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        uint64_t hash;
    } rows[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},
        {1, UINT64_C(0x74f839c593dc67fd)},
        {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    uint8_t key[DP_SIPHASH_KEY_BYTES];
    char message[16];
    for (size_t i = 0; i < 16; i++) {
        key[i] = (uint8_t)i;
        message[i] = (char)i;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(dp_siphash(key, dp_slice_make(message, rows[i].length)) == rows[i].hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_published_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
