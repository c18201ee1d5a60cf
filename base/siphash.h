/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys strangers choose. */
#ifndef DPONE_BASE_SIPHASH_H
#define DPONE_BASE_SIPHASH_H

#include "base/slice.h"

#define DP_SIPHASH_KEY_BYTES 16

uint64_t dp_siphash(const uint8_t key[DP_SIPHASH_KEY_BYTES], dp_slice bytes);

#endif
