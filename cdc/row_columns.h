/* The columns of one row as a text plugin prints them: name, type class and value of each, in the plugin's
 * order. The text decoders fill one, then ask the table cache for the description that fits it.
 *
 * Owns nothing it points to. Fixed in size, because PostgreSQL's rows are. Pure; not shared between threads.
 */
#ifndef DPONE_CDC_ROW_COLUMNS_H
#define DPONE_CDC_ROW_COLUMNS_H

#include "cdc/table_cache.h"

/* MaxHeapAttributeNumber is 1600; the table cache allows what a target list may hold. */
#define DP_ROW_COLUMNS_MAX 1664

typedef struct dp_row_columns {
    size_t count;
    dp_column_spec specs[DP_ROW_COLUMNS_MAX];
    dp_value values[DP_ROW_COLUMNS_MAX];
} dp_row_columns;

/* Appends a column; NULL when the row is full. */
dp_value *dp_row_columns_append(dp_row_columns *row, dp_slice name, dp_type_class type_class);

/* The index of the column `name`, or SIZE_MAX. The search begins at `hint`: columns mostly come in order. */
size_t dp_row_columns_find(const dp_row_columns *row, dp_slice name, size_t hint);

#endif
