/* The unique keys the user configured: `schema.table=column[,column...]`, repeated.
 *
 * Names are taken as they are; a name that contains '.', ',', '=' or '"' is written in double quotes, a quote
 * inside doubled, as in SQL. Pure. Read-only after it is built, so it can be shared.
 */
#ifndef DPONE_CDC_UNIQUE_KEYS_H
#define DPONE_CDC_UNIQUE_KEYS_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_unique_keys dp_unique_keys;

dp_unique_keys *dp_unique_keys_new(void);
void dp_unique_keys_free(dp_unique_keys *keys);

/* Adds one specification. USAGE names the text and the expected form; a table given twice, or a column given
 * twice, is an error. */
dp_status dp_unique_keys_add(dp_unique_keys *keys, dp_slice specification, dp_error *error);

/* The columns of schema.table ordered by name; *count is 0 where no key is configured. */
const dp_slice *dp_unique_keys_find(const dp_unique_keys *keys, dp_slice schema, dp_slice table,
                                    size_t *count);

#endif
