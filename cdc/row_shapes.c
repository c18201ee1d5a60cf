#include "cdc/row_shapes.h"

#include <stdlib.h>

enum { SHAPE_SLOTS = 256 }; /* a power of two */

struct dp_row_shapes {
    dp_row_shape slots[SHAPE_SLOTS];
};

dp_row_shapes *dp_row_shapes_new(void)
{
    return calloc(1, sizeof(dp_row_shapes));
}

static void clear_slot(dp_row_shape *shape)
{
    dp_table_release(shape->table);
    free(shape->heads);
    free(shape->specs);
    free(shape->text);
    *shape = (dp_row_shape){.column_count = 0};
}

void dp_row_shapes_free(dp_row_shapes *shapes)
{
    if (shapes == NULL) return;
    for (size_t i = 0; i < SHAPE_SLOTS; i++) {
        clear_slot(&shapes->slots[i]);
    }
    free(shapes);
}

/* From the length and the last bytes, where names and operations differ. */
static size_t slot_of(dp_slice key)
{
    uint64_t tail = 0;
    size_t taken = key.length < sizeof tail ? key.length : sizeof tail;
    if (taken > 0) memcpy(&tail, key.data + key.length - taken, taken);
    uint64_t middle = 0;
    if (key.length >= 18) memcpy(&middle, key.data + key.length - 18, sizeof middle);
    uint64_t hash =
        (tail ^ middle * UINT64_C(0x9E3779B97F4A7C15) ^ key.length) * UINT64_C(0xD6E8FEB86659FD93);
    return (size_t)(hash >> 56) & (SHAPE_SLOTS - 1);
}

const dp_row_shape *dp_row_shapes_find(const dp_row_shapes *shapes, dp_slice key)
{
    const dp_row_shape *shape = &shapes->slots[slot_of(key)];
    return shape->text != NULL && dp_slice_equal(shape->key, key) ? shape : NULL;
}

static dp_slice put_text(char *text, size_t *length, dp_slice slice)
{
    char *start = text + *length;
    if (slice.length > 0) memcpy(start, slice.data, slice.length);
    *length += slice.length;
    return (dp_slice){start, slice.length};
}

void dp_row_shapes_keep(dp_row_shapes *shapes, dp_slice key, const dp_slice *heads, const dp_row_columns *row,
                        const dp_table *table)
{
    dp_row_shape *slot = &shapes->slots[slot_of(key)];
    size_t text_bytes = key.length + 1;
    for (size_t i = 0; i < row->count; i++) {
        text_bytes += heads[i].length + row->specs[i].name.length;
    }
    dp_row_shape shape = {.column_count = row->count};
    shape.heads = calloc(row->count + 1, sizeof *shape.heads);
    shape.specs = calloc(row->count + 1, sizeof *shape.specs);
    shape.text = malloc(text_bytes);
    if (shape.heads == NULL || shape.specs == NULL || shape.text == NULL) {
        clear_slot(&shape);
        return;
    }
    size_t length = 0;
    shape.key = put_text(shape.text, &length, key);
    for (size_t i = 0; i < row->count; i++) {
        shape.heads[i] = put_text(shape.text, &length, heads[i]);
        shape.specs[i] = row->specs[i];
        shape.specs[i].name = put_text(shape.text, &length, row->specs[i].name);
    }
    dp_table_retain(table);
    shape.table = table;
    /* Not sooner: where only a part of the row was alike, its names are those of the shape that goes. */
    clear_slot(slot);
    *slot = shape;
}
