/* Remembers how the rows of a table were written last, so that the next one that is written alike is not
 * parsed again.
 *
 * A text plugin repeats the name and type of every column with every row. A shape keeps those texts and what
 * they came to; a row whose texts are the same bytes has the same columns and the same description. One shape
 * a key (table and operation), in a table of fixed size where a newcomer replaces. A shape is never needed:
 * without it the row is parsed.
 *
 * Owns its texts and holds the table's description; must be freed before the table cache. Not shared between
 * threads.
 */
#ifndef DPONE_CDC_ROW_SHAPES_H
#define DPONE_CDC_ROW_SHAPES_H

#include "cdc/row_columns.h"

typedef struct dp_row_shape {
    dp_slice key;
    size_t column_count;
    dp_slice *heads; /* per column: the text before its value */
    dp_column_spec *specs;
    const dp_table *table;
    char *text; /* what the slices point into */
} dp_row_shape;

typedef struct dp_row_shapes dp_row_shapes;

/* NULL when memory is refused. */
dp_row_shapes *dp_row_shapes_new(void);
void dp_row_shapes_free(dp_row_shapes *shapes);

/* The shape kept under this key, or NULL. Valid until the next call of dp_row_shapes_keep. */
const dp_row_shape *dp_row_shapes_find(const dp_row_shapes *shapes, dp_slice key);

/* Keeps the columns of `row`, whose texts before the values are `heads`, and the description they came to.
 * Without memory nothing is kept, which is no error. */
void dp_row_shapes_keep(dp_row_shapes *shapes, dp_slice key, const dp_slice *heads, const dp_row_columns *row,
                        const dp_table *table);

#endif
