#include "replay/offset_token.h"

#include <inttypes.h>
#include <stdio.h>

enum { MSSQL_LSN_DIGITS = 20 };

static bool hex_digit(char c, unsigned *digit)
{
    if (c >= '0' && c <= '9') {
        *digit = (unsigned)(c - '0');
    } else if (c >= 'a' && c <= 'f') {
        *digit = (unsigned)(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
        *digit = (unsigned)(c - 'A') + 10;
    } else {
        return false;
    }
    return true;
}

static bool parse_lsn(dp_slice token, dp_offset_value *value)
{
    dp_lsn position;
    if (!dp_lsn_parse(token, &position)) return false;
    *value = (dp_offset_value){0, position.value};
    return true;
}

static bool parse_binary(dp_slice token, dp_offset_value *value)
{
    if (token.length < 3 || token.length > 2 + MSSQL_LSN_DIGITS) return false;
    if (token.data[0] != '0' || (token.data[1] != 'x' && token.data[1] != 'X')) return false;
    dp_offset_value result = {0, 0};
    for (size_t i = 2; i < token.length; i++) {
        unsigned digit;
        if (!hex_digit(token.data[i], &digit)) return false;
        result.high = (uint16_t)((uint64_t)result.high << 4 | result.low >> 60);
        result.low = result.low << 4 | (uint64_t)digit;
    }
    *value = result;
    return true;
}

static bool parse_version(dp_slice token, dp_offset_value *value)
{
    uint64_t version;
    if (!dp_slice_to_u64(token, INT64_MAX, &version)) return false;
    *value = (dp_offset_value){0, version};
    return true;
}

static bool parse_value(dp_backend backend, dp_slice token, dp_offset_value *value)
{
    switch (backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: return parse_lsn(token, value);
    case DP_BACKEND_MSSQL_CDC: return parse_binary(token, value);
    case DP_BACKEND_MSSQL_CHANGE_TRACKING: return parse_version(token, value);
    }
    return false;
}

bool dp_offset_of_token(dp_backend backend, dp_slice token, dp_offset *offset)
{
    dp_offset_value value;
    if (token.length >= DP_OFFSET_TOKEN_BYTES || !parse_value(backend, token, &value)) return false;
    *offset = (dp_offset){.backend = backend, .snapshot_complete = true, .value = value};
    memcpy(offset->token, token.data, token.length);
    return true;
}

dp_status dp_offset_parse(dp_slice text, dp_backend backend, const char *option_name, dp_offset *offset,
                          dp_error *error)
{
    dp_slice prefix;
    dp_slice token;
    if (!dp_slice_split(text, ':', &prefix, &token)) {
        token = text;
    } else if (!dp_backend_parse(prefix, &backend)) {
        return dp_error_set(
            error, DP_STATUS_USAGE,
            "--%s: '%.*s' names no backend in '%.*s'; expected postgres_logical, mssql_cdc or "
            "mssql_change_tracking before the ':'",
            option_name, DP_SLICE_PRINT(prefix), DP_SLICE_PRINT(text));
    }
    if (dp_offset_of_token(backend, token, offset)) return DP_STATUS_OK;
    dp_slice name = dp_backend_text(backend);
    return dp_error_set(error, DP_STATUS_USAGE, "--%s: '%.*s' is not a token of %.*s; expected %s",
                        option_name, DP_SLICE_PRINT(token), DP_SLICE_PRINT(name),
                        dp_offset_expected_form(backend));
}

dp_offset dp_offset_of_lsn(dp_lsn position)
{
    dp_offset offset = {
        .backend = DP_BACKEND_POSTGRES_LOGICAL, .snapshot_complete = true, .value = {0, position.value}};
    dp_offset_canonical(&offset, offset.token);
    return offset;
}

bool dp_offset_lsn(const dp_offset *offset, dp_lsn *position)
{
    if (offset->backend != DP_BACKEND_POSTGRES_LOGICAL) return false;
    position->value = offset->value.low;
    return true;
}

int dp_offset_compare(const dp_offset *left, const dp_offset *right)
{
    if (left->value.high != right->value.high) return left->value.high < right->value.high ? -1 : 1;
    return (left->value.low > right->value.low) - (left->value.low < right->value.low);
}

void dp_offset_canonical(const dp_offset *offset, char out[DP_OFFSET_TOKEN_BYTES])
{
    char text[DP_OFFSET_TOKEN_BYTES] = "";
    switch (offset->backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: dp_lsn_format((dp_lsn){offset->value.low}, text); break;
    case DP_BACKEND_MSSQL_CDC:
        snprintf(text, sizeof text, "0x%04" PRIX16 "%016" PRIX64, offset->value.high, offset->value.low);
        break;
    case DP_BACKEND_MSSQL_CHANGE_TRACKING: snprintf(text, sizeof text, "%" PRIu64, offset->value.low); break;
    }
    memcpy(out, text, sizeof text);
}

const char *dp_offset_expected_form(dp_backend backend)
{
    switch (backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: return "X/X in hexadecimal, such as 0/16B6D28";
    case DP_BACKEND_MSSQL_CDC: return "0x and 1 to 20 hexadecimal digits, such as 0x00000027000000AF0005";
    case DP_BACKEND_MSSQL_CHANGE_TRACKING: return "a whole number from 0 to 9223372036854775807, such as 42";
    }
    return "";
}
