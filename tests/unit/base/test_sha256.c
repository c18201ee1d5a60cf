/* SHA-256 against the vectors of FIPS 180-2, in one piece and in many. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/hex.h"
#include "base/sha256.h"

static const struct {
    const char *text;
    size_t repeat;
    const char *hex;
} vectors[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void assert_digest(const uint8_t *digest, const char *hex)
{
    char text[DP_SHA256_HEX_LENGTH + 1] = "";
    dp_hex_encode(digest, DP_SHA256_BYTES, text);
    assert_string_equal(text, hex);
}

static void the_standard_vectors_hold_for_a_reused_object(void **state)
{
    (void)state;
    dp_sha256 *hash = dp_sha256_new();
    uint8_t digest[DP_SHA256_BYTES];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
            assert_true(dp_sha256_begin(hash));
            for (size_t j = 0; j < vectors[i].repeat; j++) {
                assert_true(dp_sha256_update(hash, dp_slice_of_text(vectors[i].text)));
            }
            assert_true(dp_sha256_finish(hash, digest));
            assert_digest(digest, vectors[i].hex);
        }
        assert_true(dp_sha256_digest(hash, DP_SLICE_LITERAL("abc"), digest));
        assert_digest(digest, vectors[1].hex);
        assert_true(dp_sha256_digest(hash, (dp_slice){NULL, 0}, digest));
        assert_digest(digest, vectors[0].hex);
    }
    dp_sha256_free(hash);
    dp_sha256_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_vectors_hold_for_a_reused_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
