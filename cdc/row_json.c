#include "cdc/row_json.h"

#include "base/json_scanner.h"
#include "base/json_writer.h"

/* -?(0|[1-9][0-9]*), as PostgreSQL prints its integers. */
static bool is_integer(dp_slice text)
{
    size_t at = text.length > 0 && text.data[0] == '-' ? 1 : 0;
    if (at == text.length || text.length > 20) return false;
    if (text.data[at] == '0' && text.length - at > 1) return false;
    for (; at < text.length; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return false;
    }
    return true;
}

static dp_status refuse_value(const dp_column *column, const dp_value *value, const char *expected,
                              dp_error *error)
{
    return dp_error_set(error, DP_STATUS_DATA, "column '%.*s' holds '%.*s'; expected %s",
                        DP_SLICE_PRINT(column->name), DP_SLICE_PRINT(value->text), expected);
}

static dp_status put_boolean(dp_buffer *out, const dp_column *column, const dp_value *value, dp_error *error)
{
    if (value->text.length != 1 || (value->text.data[0] != 't' && value->text.data[0] != 'f')) {
        return refuse_value(column, value, "a boolean, 't' or 'f'", error);
    }
    dp_buffer_append_slice(out,
                           value->text.data[0] == 't' ? DP_SLICE_LITERAL("true") : DP_SLICE_LITERAL("false"));
    return DP_STATUS_OK;
}

static bool is_json_number(dp_slice text)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, text);
    return dp_json_next(&scanner, &token) == DP_JSON_NUMBER && token.text.length == text.length;
}

/* Appends a JSON text without its white space, so that it stays on one line; false leaves the buffer as it
 * was. */
static bool put_compact_json(dp_buffer *out, dp_slice text)
{
    dp_json_scanner scanner;
    dp_json_token token;
    size_t start = out->length;
    bool comma = false;
    dp_json_scanner_init(&scanner, text);
    for (;;) {
        dp_json_kind kind = dp_json_next(&scanner, &token);
        bool closes = kind == DP_JSON_END_OBJECT || kind == DP_JSON_END_ARRAY;
        if (kind == DP_JSON_END) return true;
        if (kind == DP_JSON_ERROR) {
            out->length = start;
            return false;
        }
        if (comma && !closes) dp_buffer_append_byte(out, ',');
        if (kind == DP_JSON_KEY || kind == DP_JSON_STRING) {
            dp_buffer_append_byte(out, '"');
            dp_buffer_append_slice(out, token.text);
            dp_buffer_append_byte(out, '"');
        } else {
            dp_buffer_append_slice(out, token.text);
        }
        if (kind == DP_JSON_KEY) dp_buffer_append_byte(out, ':');
        comma = kind != DP_JSON_KEY && kind != DP_JSON_BEGIN_OBJECT && kind != DP_JSON_BEGIN_ARRAY;
    }
}

dp_status dp_row_put_value(dp_buffer *out, const dp_column *column, const dp_value *value, dp_row_style style,
                           dp_error *error)
{
    if (value->state != DP_VALUE_PRESENT) {
        dp_buffer_append(out, "null", 4);
        return DP_STATUS_OK;
    }
    switch (column->type_class) {
    case DP_TYPE_BOOLEAN: return put_boolean(out, column, value, error);
    case DP_TYPE_INTEGER:
        if (!is_integer(value->text)) return refuse_value(column, value, "an integer", error);
        dp_buffer_append_slice(out, value->text);
        return DP_STATUS_OK;
    case DP_TYPE_FLOAT:
    case DP_TYPE_NUMERIC:
        if (style == DP_ROW_TYPED && is_json_number(value->text)) {
            dp_buffer_append_slice(out, value->text);
            return DP_STATUS_OK;
        }
        break;
    case DP_TYPE_JSON:
        if (style == DP_ROW_TYPED && put_compact_json(out, value->text)) return DP_STATUS_OK;
        break;
    case DP_TYPE_TEXT: break;
    }
    dp_json_put_string(out, value->text);
    return DP_STATUS_OK;
}

static dp_status put_member(dp_buffer *out, const dp_column *column, const dp_value *value,
                            dp_row_style style, bool comma, dp_error *error)
{
    if (comma) dp_buffer_append_byte(out, ',');
    dp_buffer_append_slice(out, column->name_json);
    return dp_row_put_value(out, column, value, style, error);
}

static bool is_sent(const dp_value *value)
{
    return value->state == DP_VALUE_PRESENT || value->state == DP_VALUE_NULL;
}

dp_status dp_row_put_noted(dp_buffer *out, const dp_table *table, const dp_value *values, dp_row_text *text,
                           dp_error *error)
{
    bool comma = false;
    text->at = out->length;
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; i < table->column_count; i++) {
        text->members[i].length = 0;
        if (!is_sent(&values[i])) continue;
        if (comma) dp_buffer_append_byte(out, ',');
        size_t start = out->length;
        dp_status status = put_member(out, &table->columns[i], &values[i], DP_ROW_EXACT, false, error);
        if (status != DP_STATUS_OK) return status;
        text->members[i] = (struct dp_member_text){start, out->length - start};
        comma = true;
    }
    dp_buffer_append_byte(out, '}');
    text->length = out->length - text->at;
    return DP_STATUS_OK;
}

void dp_row_put_again(dp_buffer *out, const dp_table *table, const dp_buffer *written,
                      const dp_row_text *text)
{
    if (table->is_sorted) {
        dp_buffer_append(out, written->data + text->at, text->length);
        return;
    }
    if (!dp_buffer_reserve(out, text->length)) return;
    bool comma = false;
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; i < table->column_count; i++) {
        const struct dp_member_text *member = &text->members[table->sorted[i]];
        if (member->length == 0) continue;
        if (comma) dp_buffer_append_byte(out, ',');
        dp_buffer_append(out, written->data + member->at, member->length);
        comma = true;
    }
    dp_buffer_append_byte(out, '}');
}

dp_status dp_row_put_object(dp_buffer *out, const dp_table *table, const dp_value *values, dp_row_order order,
                            dp_row_style style, dp_error *error)
{
    bool comma = false;
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; values != NULL && i < table->column_count; i++) {
        size_t at = order == DP_ROW_NAME_ORDER ? table->sorted[i] : i;
        if (!is_sent(&values[at])) continue;
        dp_status status = put_member(out, &table->columns[at], &values[at], style, comma, error);
        if (status != DP_STATUS_OK) return status;
        comma = true;
    }
    dp_buffer_append_byte(out, '}');
    return DP_STATUS_OK;
}
