#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct dp_sha256 {
    EVP_MD *algorithm;
    EVP_MD_CTX *context;
};

dp_sha256 *dp_sha256_new(void)
{
    dp_sha256 *hash = calloc(1, sizeof *hash);
    if (hash == NULL) return NULL;
    hash->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    hash->context = EVP_MD_CTX_new();
    bool initialised = hash->algorithm != NULL && hash->context != NULL &&
                       EVP_DigestInit_ex2(hash->context, hash->algorithm, NULL) == 1;
    if (!initialised) {
        dp_sha256_free(hash);
        return NULL;
    }
    return hash;
}

void dp_sha256_free(dp_sha256 *hash)
{
    if (hash == NULL) return;
    EVP_MD_CTX_free(hash->context);
    EVP_MD_free(hash->algorithm);
    free(hash);
}

bool dp_sha256_begin(dp_sha256 *hash)
{
    /* Naming no algorithm starts over in the memory the context has; naming it again would free and allocate.
     */
    return EVP_DigestInit_ex2(hash->context, NULL, NULL) == 1;
}

bool dp_sha256_update(dp_sha256 *hash, dp_slice bytes)
{
    return EVP_DigestUpdate(hash->context, bytes.data, bytes.length) == 1;
}

bool dp_sha256_finish(dp_sha256 *hash, uint8_t out[DP_SHA256_BYTES])
{
    return EVP_DigestFinal_ex(hash->context, out, NULL) == 1;
}

bool dp_sha256_digest(dp_sha256 *hash, dp_slice bytes, uint8_t out[DP_SHA256_BYTES])
{
    return dp_sha256_begin(hash) && dp_sha256_update(hash, bytes) && dp_sha256_finish(hash, out);
}

dp_sha256 *dp_sha256_clone(const dp_sha256 *hash)
{
    dp_sha256 *copy = dp_sha256_new();
    if (copy == NULL) return NULL;
    if (EVP_MD_CTX_copy_ex(copy->context, hash->context) != 1) {
        dp_sha256_free(copy);
        return NULL;
    }
    return copy;
}
