#include "cdc/change.h"

#include <stdio.h>

static const dp_slice operation_texts[] = {DP_OPERATION_LIST(DP_SLICE_ENTRY)};

dp_slice dp_operation_text(dp_operation operation)
{
    return operation_texts[operation];
}

bool dp_operation_parse(dp_slice text, dp_operation *operation)
{
    int found = dp_slice_find(text, operation_texts, sizeof operation_texts / sizeof operation_texts[0]);
    if (found >= 0) *operation = (dp_operation)found;
    return found >= 0;
}

static const dp_slice backend_texts[] = {DP_BACKEND_LIST(DP_SLICE_ENTRY)};

dp_slice dp_backend_text(dp_backend backend)
{
    return backend_texts[backend];
}

bool dp_backend_parse(dp_slice text, dp_backend *backend)
{
    int found = dp_slice_find(text, backend_texts, sizeof backend_texts / sizeof backend_texts[0]);
    if (found >= 0) *backend = (dp_backend)found;
    return found >= 0;
}

/* Upper-case hexadecimal without leading zeros. */
static size_t format_hex(uint32_t value, char *out)
{
    const size_t length = value == 0 ? 1 : (size_t)(35 - __builtin_clz(value)) / 4;
    for (size_t at = length; at > 0; value >>= 4) {
        out[--at] = "0123456789ABCDEF"[value & 15];
    }
    return length;
}

size_t dp_lsn_format(dp_lsn lsn, char out[DP_LSN_TEXT_BYTES])
{
    size_t length = format_hex((uint32_t)(lsn.value >> 32), out);
    out[length++] = '/';
    length += format_hex((uint32_t)lsn.value, out + length);
    out[length] = '\0';
    return length;
}

/* Passes 1 to 8 hexadecimal digits; false when there are fewer or more. */
static inline bool take_hex(dp_slice text, size_t *at, uint64_t *value)
{
    uint64_t result = 0;
    const size_t start = *at;
    size_t end = start;
    for (; end < text.length; end++) {
        const char c = text.data[end];
        const char letter = (char)(c | 0x20);
        if (c >= '0' && c <= '9') {
            result = result << 4 | (uint64_t)(c - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            result = result << 4 | (uint64_t)(letter - 'a' + 10);
        } else {
            break;
        }
    }
    *at = end;
    *value = result;
    return end > start && end - start <= 8;
}

bool dp_lsn_parse(dp_slice text, dp_lsn *lsn)
{
    size_t at = 0;
    uint64_t high;
    uint64_t low;
    if (!take_hex(text, &at, &high) || at == text.length || text.data[at++] != '/') return false;
    if (!take_hex(text, &at, &low) || at != text.length) return false;
    lsn->value = high << 32 | low;
    return true;
}

/* OIDs of built-in types never change: pg_type.dat. */
dp_type_class dp_type_class_of_oid(uint32_t type_oid)
{
    switch (type_oid) {
    case 16: return DP_TYPE_BOOLEAN;
    case 20:
    case 21:
    case 23: return DP_TYPE_INTEGER;
    case 700:
    case 701: return DP_TYPE_FLOAT;
    case 1700: return DP_TYPE_NUMERIC;
    case 114:
    case 3802: return DP_TYPE_JSON;
    default: return DP_TYPE_TEXT;
    }
}

dp_type_class dp_type_class_of_name(dp_slice type_name)
{
    static const struct {
        dp_slice name;
        dp_type_class type_class;
    } names[] = {
        {DP_SLICE_LITERAL("integer"), DP_TYPE_INTEGER},
        {DP_SLICE_LITERAL("bigint"), DP_TYPE_INTEGER},
        {DP_SLICE_LITERAL("smallint"), DP_TYPE_INTEGER},
        {DP_SLICE_LITERAL("boolean"), DP_TYPE_BOOLEAN},
        {DP_SLICE_LITERAL("numeric"), DP_TYPE_NUMERIC},
        {DP_SLICE_LITERAL("double precision"), DP_TYPE_FLOAT},
        {DP_SLICE_LITERAL("real"), DP_TYPE_FLOAT},
        {DP_SLICE_LITERAL("json"), DP_TYPE_JSON},
        {DP_SLICE_LITERAL("jsonb"), DP_TYPE_JSON},
    };
    static const dp_slice numeric_typmod = DP_SLICE_LITERAL("numeric(");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (dp_slice_equal(type_name, names[i].name)) return names[i].type_class;
    }
    bool is_numeric =
        dp_slice_starts_with(type_name, numeric_typmod) && type_name.data[type_name.length - 1] == ')';
    return is_numeric ? DP_TYPE_NUMERIC : DP_TYPE_TEXT;
}
