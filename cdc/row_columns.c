#include "cdc/row_columns.h"

dp_value *dp_row_columns_append(dp_row_columns *row, dp_slice name, dp_type_class type_class)
{
    if (row->count == DP_ROW_COLUMNS_MAX) return NULL;
    size_t at = row->count++;
    row->specs[at] = (dp_column_spec){.name = name, .type_class = type_class};
    row->values[at] = (dp_value){.state = DP_VALUE_ABSENT};
    return &row->values[at];
}

size_t dp_row_columns_find(const dp_row_columns *row, dp_slice name, size_t hint)
{
    if (hint > row->count) hint = row->count;
    for (size_t i = hint; i < row->count; i++) {
        if (dp_slice_equal(row->specs[i].name, name)) return i;
    }
    for (size_t i = 0; i < hint; i++) {
        if (dp_slice_equal(row->specs[i].name, name)) return i;
    }
    return SIZE_MAX;
}
