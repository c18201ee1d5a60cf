#include "cdc/wal2json_shapes.h"

#include <stdlib.h>

#include "cdc/row_shapes.h"

enum { MAX_TIME_BYTES = 64 };

static const char key_ends[][16] = {"\",\"columns\":[", "\",\"identity\":["};

struct dp_wal2json_shapes {
    dp_row_shapes *inserts;
    dp_row_shapes *updates;
    dp_row_shapes *deletes;
    char time[MAX_TIME_BYTES]; /* the last time that the careful way has checked */
    size_t time_length;
    dp_slice heads[DP_ROW_COLUMNS_MAX]; /* while learning */
};

void dp_wal2json_shapes_init(dp_wal2json *wal2json)
{
    wal2json->shapes = calloc(1, sizeof *wal2json->shapes);
    if (wal2json->shapes == NULL) return;
    wal2json->shapes->inserts = dp_row_shapes_new();
    wal2json->shapes->updates = dp_row_shapes_new();
    wal2json->shapes->deletes = dp_row_shapes_new();
}

void dp_wal2json_shapes_release(dp_wal2json *wal2json)
{
    if (wal2json->shapes == NULL) return;
    dp_row_shapes_free(wal2json->shapes->inserts);
    dp_row_shapes_free(wal2json->shapes->updates);
    dp_row_shapes_free(wal2json->shapes->deletes);
    free(wal2json->shapes);
    wal2json->shapes = NULL;
}

/* --- a record's head --- */

/* A place in a record. */
typedef struct cursor {
    dp_slice text;
    size_t at;
} cursor;

static inline bool take(cursor *in, dp_slice expected)
{
    if (in->text.length - in->at < expected.length ||
        memcmp(in->text.data + in->at, expected.data, expected.length) != 0)
        return false;
    in->at += expected.length;
    return true;
}

#define TAKE(in, literal) take((in), DP_SLICE_LITERAL(literal))

/* Up to the next quotation mark, which is passed. */
static bool take_to_quote(cursor *in, dp_slice *text)
{
    const char *start = in->text.data + in->at;
    const char *quote = memchr(start, '"', in->text.length - in->at);
    if (quote == NULL) return false;
    *text = (dp_slice){start, (size_t)(quote - start)};
    in->at += text->length + 1;
    return true;
}

static bool take_xid(cursor *in, dp_wal2json_header *header)
{
    size_t start = in->at;
    uint64_t xid;
    while (in->at < in->text.length && in->text.data[in->at] >= '0' && in->text.data[in->at] <= '9') {
        in->at++;
    }
    const dp_slice digits = {in->text.data + start, in->at - start};
    bool leading_zero = digits.length > 1 && digits.data[0] == '0';
    if (leading_zero || !dp_slice_to_u64(digits, UINT32_MAX, &xid)) return false;
    header->has_xid = true;
    header->xid = (uint32_t)xid;
    return true;
}

/* What stands before "schema", in the order in which wal2json prints it. `time` is the text of the time. */
static bool take_head(cursor *in, dp_wal2json_document *document, dp_slice *time)
{
    dp_slice lsn;
    *time = (dp_slice){NULL, 0};
    if (!TAKE(in, "{\"action\":\"") || in->at == in->text.length) return false;
    document->action = in->text.data[in->at++];
    if (!TAKE(in, "\"")) return false;
    if (TAKE(in, ",\"xid\":") && !take_xid(in, &document->header)) return false;
    if (TAKE(in, ",\"timestamp\":\"") && !take_to_quote(in, time)) return false;
    if (!TAKE(in, ",\"lsn\":\"")) return true;
    document->has_lsn = take_to_quote(in, &lsn) && dp_lsn_parse(lsn, &document->lsn);
    return document->has_lsn;
}

static dp_row_shapes *shapes_of(const struct dp_wal2json_shapes *shapes, char action)
{
    switch (action) {
    case 'I': return shapes->inserts;
    case 'U': return shapes->updates;
    case 'D': return shapes->deletes;
    default: return NULL;
    }
}

/* The two names: the text before the first list. What ends it belongs to the text before the first value, so
 * that a bracket within a name finds nothing, or what really is the same. */
static bool take_key(cursor *in, char action, dp_slice *key)
{
    const dp_slice begin = DP_SLICE_LITERAL(",\"schema\":\"");
    const char *start = in->text.data + in->at;
    if (!dp_slice_starts_with((dp_slice){start, in->text.length - in->at}, begin)) return false;
    const char *bracket = memchr(start, '[', in->text.length - in->at);
    size_t end_length = strlen(key_ends[action == 'D']) - 1;
    if (bracket == NULL || (size_t)(bracket - start) < end_length) return false;
    *key = (dp_slice){start, (size_t)(bracket - start) - end_length};
    in->at += key->length;
    return true;
}

/* --- reading --- */

/* The values of one list, into `row`. */
static bool take_values(dp_decoder *decoder, cursor *in, const dp_slice *heads, const dp_column_spec *specs,
                        size_t count, dp_row_columns *row)
{
    for (size_t i = 0; i < count; i++) {
        dp_wal2json_cell cell = {.name = specs[i].name};
        if (!take(in, heads[i])) return false;
        in->at = dp_json_scalar_at(in->text, in->at, &cell.value);
        if (in->at == 0) return false;
        dp_value *value = &row->values[i];
        *value = (dp_value){.state = DP_VALUE_ABSENT};
        if (dp_wal2json_put_value(decoder, &cell, specs[i].type_class, 0, value, NULL) != DP_STATUS_OK)
            return false;
    }
    if (count > 0) memcpy(row->specs, specs, count * sizeof *specs);
    row->count = count;
    return true;
}

bool dp_wal2json_shapes_read(dp_decoder *decoder, dp_slice text, dp_wal2json_document *document)
{
    dp_wal2json *wal2json = decoder->state;
    const struct dp_wal2json_shapes *shapes = wal2json->shapes;
    cursor in = {text, 0};
    dp_slice time, key;
    *document = (dp_wal2json_document){.seen = 0};
    if (shapes == NULL || !take_head(&in, document, &time)) return false;
    if (time.data != NULL && !dp_slice_equal(time, (dp_slice){shapes->time, shapes->time_length}))
        return false;
    const dp_row_shapes *of_action = shapes_of(shapes, document->action);
    if (of_action == NULL || !take_key(&in, document->action, &key)) return false;
    const dp_row_shape *shape = dp_row_shapes_find(of_action, key);
    if (shape == NULL) return false;
    /* The columns of the new row come first, and are those of the table; then the identity's. */
    size_t new_count = document->action == 'D' ? 0 : shape->table->column_count;
    wal2json->has_doubtful_null = false;
    document->known = shape->table;
    document->schema = shape->table->schema;
    document->table = shape->table->name;
    return take_values(decoder, &in, shape->heads, shape->specs, new_count, &wal2json->row) &&
           take_values(decoder, &in, shape->heads + new_count, shape->specs + new_count,
                       shape->column_count - new_count, &wal2json->old_row) &&
           TAKE(&in, "}]}") && in.at == text.length;
}

/* --- learning --- */

/* Takes the text before each value of a list, from in->at on. */
static bool learn_heads(struct dp_wal2json_shapes *shapes, cursor *in, const dp_wal2json_cells *cells,
                        const dp_row_columns *row, dp_row_columns *all)
{
    for (size_t i = 0; i < row->count; i++) {
        const dp_json_token *value = &cells->cells[i].value;
        dp_json_token again;
        bool is_usual = value->at >= in->at && all->count < DP_ROW_COLUMNS_MAX &&
                        !dp_slice_equal(cells->cells[i].type, DP_SLICE_LITERAL("bytea"));
        if (!is_usual) return false;
        shapes->heads[all->count] = (dp_slice){in->text.data + in->at, value->at - in->at};
        in->at = dp_json_scalar_at(in->text, value->at, &again);
        if (in->at == 0) return false;
        dp_row_columns_append(all, row->specs[i].name, row->specs[i].type_class);
    }
    return true;
}

static void learn_row(dp_wal2json *wal2json, cursor *in, char action, const dp_table *table)
{
    dp_slice key;
    dp_row_columns *all = &wal2json->merged;
    struct dp_wal2json_shapes *shapes = wal2json->shapes;
    dp_row_shapes *of_action = shapes_of(shapes, action);
    size_t column_count = action == 'D' ? wal2json->old_row.count : wal2json->row.count;
    /* A row that lacks columns is completed from the old one, each in its own way. */
    if (of_action == NULL || table->column_count != column_count || !take_key(in, action, &key)) return;
    all->count = 0;
    if (learn_heads(shapes, in, &wal2json->columns, &wal2json->row, all) &&
        learn_heads(shapes, in, &wal2json->identity, &wal2json->old_row, all) && TAKE(in, "}]}") &&
        in->at == in->text.length)
        dp_row_shapes_keep(of_action, key, shapes->heads, all, table);
}

void dp_wal2json_shapes_learn(dp_decoder *decoder, dp_slice text, const dp_wal2json_document *document,
                              const dp_table *table)
{
    dp_wal2json *wal2json = decoder->state;
    struct dp_wal2json_shapes *shapes = wal2json->shapes;
    dp_wal2json_document head = {.seen = 0};
    dp_slice time;
    cursor in = {text, 0};
    if (shapes == NULL || !take_head(&in, &head, &time)) return;
    if (time.length > 0 && time.length <= sizeof shapes->time) {
        memcpy(shapes->time, time.data, time.length);
        shapes->time_length = time.length;
    }
    /* What the head says must stand nowhere else. */
    bool is_whole_head = head.has_lsn == document->has_lsn &&
                         head.header.has_xid == document->header.has_xid &&
                         (time.data != NULL) == document->header.has_committed_at;
    if (table != NULL && is_whole_head) learn_row(wal2json, &in, document->action, table);
}
