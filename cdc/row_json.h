/* Rows as JSON objects: the one place that turns PostgreSQL's text into JSON values.
 *
 * In events (identity v1): NULL is null, booleans true or false, int2, int4 and int8 integers, everything
 * else the exact text as a string. Columns that were not sent are left out, never null. Pure; failures of
 * size are the buffer's.
 */
#ifndef DPONE_CDC_ROW_JSON_H
#define DPONE_CDC_ROW_JSON_H

#include "base/buffer.h"
#include "cdc/change.h"

typedef enum dp_row_order {
    DP_ROW_TABLE_ORDER, /* as the source lists the columns: events */
    DP_ROW_NAME_ORDER   /* by code point: canonical JSON */
} dp_row_order;

typedef enum dp_row_style {
    DP_ROW_EXACT, /* the form of events */
    DP_ROW_TYPED  /* --typed: float and numeric as numbers and JSON columns as JSON, where JSON can hold them
                   */
} dp_row_style;

/* Appends the object of all columns that are present or NULL; `values` NULL appends {}. DATA for a boolean or
 * integer whose text is none. */
dp_status dp_row_put_object(dp_buffer *out, const dp_table *table, const dp_value *values, dp_row_order order,
                            dp_row_style style, dp_error *error);

/* A row as it was written: where its object and the members `"name":value` of the columns lie in a buffer. */
typedef struct dp_row_text {
    size_t at; /* of the object */
    size_t length;
    struct dp_member_text {
        size_t at;
        size_t length; /* 0: the column was not sent */
    } * members;       /* one per column */
} dp_row_text;

/* As dp_row_put_object in the table's order and the exact form; fills `text`, whose members are the caller's.
 */
dp_status dp_row_put_noted(dp_buffer *out, const dp_table *table, const dp_value *values, dp_row_text *text,
                           dp_error *error);

/* Appends an object of `written`, in the order of names. */
void dp_row_put_again(dp_buffer *out, const dp_table *table, const dp_buffer *written,
                      const dp_row_text *text);

/* One value in the exact form. */
dp_status dp_row_put_value(dp_buffer *out, const dp_column *column, const dp_value *value, dp_row_style style,
                           dp_error *error);

#endif
