/* Names of consumers: what one may be called, and where its offset is kept.
 *
 * Pure. A consumer's offset is that of the pipeline `<pipeline>/consumers/<name>`, so the offset store needs
 * no table of its own for it, and retention finds it (services/prune.h).
 */
#ifndef DPONE_SERVICES_CONSUMER_NAME_H
#define DPONE_SERVICES_CONSUMER_NAME_H

#include "base/error.h"
#include "base/slice.h"

#define DP_CONSUMER_INFIX "/consumers/"

enum { DP_CONSUMER_NAME_BYTES = 200, DP_CONSUMER_KEY_BYTES = 1024 + 11 + DP_CONSUMER_NAME_BYTES + 1 };

/* A name has 1 to 200 bytes of UTF-8 without '/' and without control characters. */
bool dp_consumer_name_is_valid(dp_slice name);

/* Writes the pipeline name under which the consumer's offset is stored, with a final NUL, and its length.
 * USAGE consumer_name_invalid, pipeline_name_invalid. */
dp_status dp_consumer_key(dp_slice pipeline, dp_slice name, char out[DP_CONSUMER_KEY_BYTES], size_t *length,
                          dp_error *error);

/* Whether an offset stored under `stored` is of a consumer of the pipeline, and which. */
bool dp_consumer_of_key(dp_slice stored, dp_slice pipeline, dp_slice *name);

#endif
