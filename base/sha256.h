/* SHA-256 through OpenSSL, in a context that is reused. One object per thread. */
#ifndef DPONE_BASE_SHA256_H
#define DPONE_BASE_SHA256_H

#include "base/slice.h"

#define DP_SHA256_BYTES      32
#define DP_SHA256_HEX_LENGTH 64

typedef struct dp_sha256 dp_sha256;

/* NULL when memory is refused or the provider has no SHA-256. */
dp_sha256 *dp_sha256_new(void);
void dp_sha256_free(dp_sha256 *hash);

/* Incremental use: begin, update any number of times, finish. False only when OpenSSL fails. */
bool dp_sha256_begin(dp_sha256 *hash);
bool dp_sha256_update(dp_sha256 *hash, dp_slice bytes);
bool dp_sha256_finish(dp_sha256 *hash, uint8_t out[DP_SHA256_BYTES]);

/* The digest of one piece. */
bool dp_sha256_digest(dp_sha256 *hash, dp_slice bytes, uint8_t out[DP_SHA256_BYTES]);

#endif
