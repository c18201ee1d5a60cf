#include "base/sha256.h"

/* The functions of one algorithm, which OpenSSL 3 discourages in favour of EVP: for the few hundred bytes of
 * an event EVP's dispatch costs 45 ns more, a fifth of the digest. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stdlib.h>

struct dp_sha256 {
    SHA256_CTX context;
};

dp_sha256 *dp_sha256_new(void)
{
    dp_sha256 *hash = calloc(1, sizeof *hash);
    if (hash == NULL) return NULL;
    if (!dp_sha256_begin(hash)) {
        dp_sha256_free(hash);
        return NULL;
    }
    return hash;
}

void dp_sha256_free(dp_sha256 *hash)
{
    free(hash);
}

bool dp_sha256_begin(dp_sha256 *hash)
{
    return SHA256_Init(&hash->context) == 1;
}

bool dp_sha256_update(dp_sha256 *hash, dp_slice bytes)
{
    return SHA256_Update(&hash->context, bytes.data, bytes.length) == 1;
}

bool dp_sha256_finish(dp_sha256 *hash, uint8_t out[DP_SHA256_BYTES])
{
    return SHA256_Final(out, &hash->context) == 1;
}

bool dp_sha256_digest(dp_sha256 *hash, dp_slice bytes, uint8_t out[DP_SHA256_BYTES])
{
    return dp_sha256_begin(hash) && dp_sha256_update(hash, bytes) && dp_sha256_finish(hash, out);
}
