#include "cdc/change.h"

#include <stdio.h>

dp_slice dp_operation_text(dp_operation operation)
{
    static const dp_slice texts[] = {
#define DP_OPERATION_TEXT(name, text) {text, sizeof(text) - 1},
        DP_OPERATION_LIST(DP_OPERATION_TEXT)
#undef DP_OPERATION_TEXT
    };
    return texts[operation];
}

bool dp_operation_parse(dp_slice text, dp_operation *operation)
{
#define DP_OPERATION_PARSE(name, literal)                                                                    \
    if (dp_slice_equal(text, DP_SLICE_LITERAL(literal))) {                                                   \
        *operation = DP_OPERATION_##name;                                                                    \
        return true;                                                                                         \
    }
    DP_OPERATION_LIST(DP_OPERATION_PARSE)
#undef DP_OPERATION_PARSE
    return false;
}

dp_slice dp_backend_text(dp_backend backend)
{
    static const dp_slice texts[] = {
#define DP_BACKEND_TEXT(name, text) {text, sizeof(text) - 1},
        DP_BACKEND_LIST(DP_BACKEND_TEXT)
#undef DP_BACKEND_TEXT
    };
    return texts[backend];
}

bool dp_backend_parse(dp_slice text, dp_backend *backend)
{
#define DP_BACKEND_PARSE(name, literal)                                                                      \
    if (dp_slice_equal(text, DP_SLICE_LITERAL(literal))) {                                                   \
        *backend = DP_BACKEND_##name;                                                                        \
        return true;                                                                                         \
    }
    DP_BACKEND_LIST(DP_BACKEND_PARSE)
#undef DP_BACKEND_PARSE
    return false;
}

/* Upper-case hexadecimal without leading zeros. */
static size_t format_hex(uint32_t value, char *out)
{
    char digits[8];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789ABCDEF"[value & 15];
        value >>= 4;
    } while (value != 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t dp_lsn_format(dp_lsn lsn, char out[DP_LSN_TEXT_BYTES])
{
    size_t length = format_hex((uint32_t)(lsn.value >> 32), out);
    out[length++] = '/';
    length += format_hex((uint32_t)lsn.value, out + length);
    out[length] = '\0';
    return length;
}

static bool parse_hex(dp_slice text, uint64_t *value)
{
    if (text.length == 0 || text.length > 8) return false;
    uint64_t result = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if ((c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f')) {
            digit = (unsigned)((c | 0x20) - 'a') + 10;
        } else {
            return false;
        }
        result = result << 4 | digit;
    }
    *value = result;
    return true;
}

bool dp_lsn_parse(dp_slice text, dp_lsn *lsn)
{
    dp_slice high_text;
    dp_slice low_text;
    uint64_t high;
    uint64_t low;
    if (!dp_slice_split(text, '/', &high_text, &low_text)) return false;
    if (!parse_hex(high_text, &high) || !parse_hex(low_text, &low)) return false;
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
