#include "cdc/position.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hex.h"

static void put_u64(uint64_t value, dp_position *position)
{
    memset(position->bytes, 0, DP_POSITION_BYTES);
    for (size_t i = 0; i < 8; i++) {
        position->bytes[DP_POSITION_BYTES - 1 - i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_u64(const dp_position *position)
{
    uint64_t value = 0;
    for (size_t i = DP_POSITION_BYTES - 8; i < DP_POSITION_BYTES; i++) {
        value = value << 8 | position->bytes[i];
    }
    return value;
}

static bool parse_binary(dp_slice text, dp_position *position)
{
    if (text.length < 3 || text.length > 2 + 2 * DP_POSITION_BYTES) return false;
    if (text.data[0] != '0' || (text.data[1] != 'x' && text.data[1] != 'X')) return false;
    char digits[2 * DP_POSITION_BYTES];
    size_t count = text.length - 2;
    memset(digits, '0', sizeof digits);
    memcpy(digits + sizeof digits - count, text.data + 2, count);
    uint8_t bytes[DP_POSITION_BYTES];
    if (!dp_hex_decode((dp_slice){digits, sizeof digits}, bytes, NULL)) return false;
    memcpy(position->bytes, bytes, sizeof bytes);
    return true;
}

bool dp_position_parse(dp_backend backend, dp_slice text, dp_position *position)
{
    dp_lsn lsn;
    uint64_t version;
    switch (backend) {
    case DP_BACKEND_POSTGRES_LOGICAL:
        if (!dp_lsn_parse(text, &lsn)) return false;
        put_u64(lsn.value, position);
        return true;
    case DP_BACKEND_MSSQL_CDC: return parse_binary(text, position);
    case DP_BACKEND_MSSQL_CHANGE_TRACKING:
        if (!dp_slice_to_u64(text, INT64_MAX, &version)) return false;
        put_u64(version, position);
        return true;
    }
    return false;
}

static size_t format_binary(const dp_position *position, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t length = 0;
    out[length++] = '0';
    out[length++] = 'x';
    for (size_t i = 0; i < DP_POSITION_BYTES; i++) {
        out[length++] = digits[position->bytes[i] >> 4];
        out[length++] = digits[position->bytes[i] & 15];
    }
    out[length] = '\0';
    return length;
}

size_t dp_position_format(dp_backend backend, dp_position position, char out[DP_POSITION_TEXT_BYTES])
{
    switch (backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: return dp_lsn_format((dp_lsn){get_u64(&position)}, out);
    case DP_BACKEND_MSSQL_CDC: return format_binary(&position, out);
    case DP_BACKEND_MSSQL_CHANGE_TRACKING:
        return (size_t)snprintf(out, DP_POSITION_TEXT_BYTES, "%" PRIu64, get_u64(&position));
    }
    out[0] = '\0';
    return 0;
}

const char *dp_position_expected_form(dp_backend backend)
{
    switch (backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: return "X/X in hexadecimal, such as 0/16B6D28";
    case DP_BACKEND_MSSQL_CDC: return "0x and 1 to 20 hexadecimal digits, such as 0x00000027000000AF0005";
    case DP_BACKEND_MSSQL_CHANGE_TRACKING: return "a whole number from 0 to 9223372036854775807, such as 42";
    }
    return "";
}
