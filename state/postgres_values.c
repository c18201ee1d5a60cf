#include "state/postgres_session.h"

/* timestamp counts microseconds from 2000-01-01. */
#define POSTGRES_EPOCH_US INT64_C(946684800000000)

void dp_pg_put_u16(char *out, uint16_t value)
{
    out[0] = (char)(value >> 8);
    out[1] = (char)(value & 0xff);
}

void dp_pg_put_u32(char *out, uint32_t value)
{
    dp_pg_put_u16(out, (uint16_t)(value >> 16));
    dp_pg_put_u16(out + 2, (uint16_t)(value & 0xffff));
}

void dp_pg_put_u64(char *out, uint64_t value)
{
    dp_pg_put_u32(out, (uint32_t)(value >> 32));
    dp_pg_put_u32(out + 4, (uint32_t)(value & 0xffffffff));
}

static void add(dp_pg_params *params, const char *value, size_t length)
{
    if (length > INT32_MAX) params->too_large = true;
    params->values[params->count] = value;
    params->lengths[params->count] = (int)(length & INT32_MAX);
    params->count++;
}

void dp_pg_add_text(dp_pg_params *params, dp_slice text)
{
    add(params, text.data, text.length);
}

void dp_pg_add_bytes(dp_pg_params *params, const void *bytes, size_t length)
{
    add(params, bytes, length);
}

void dp_pg_add_position(dp_pg_params *params, bool present, const dp_position *position)
{
    if (present) {
        add(params, (const char *)position->bytes, DP_POSITION_BYTES);
    } else {
        dp_pg_add_null(params);
    }
}

void dp_pg_add_i64(dp_pg_params *params, int64_t value)
{
    char *scalar = params->scalars[params->count];
    dp_pg_put_u64(scalar, (uint64_t)value);
    add(params, scalar, 8);
}

void dp_pg_add_u32(dp_pg_params *params, uint32_t value)
{
    char *scalar = params->scalars[params->count];
    dp_pg_put_u32(scalar, value);
    add(params, scalar, 4);
}

void dp_pg_add_i16(dp_pg_params *params, int16_t value)
{
    char *scalar = params->scalars[params->count];
    dp_pg_put_u16(scalar, (uint16_t)value);
    add(params, scalar, 2);
}

void dp_pg_add_null(dp_pg_params *params)
{
    add(params, NULL, 0);
}

void dp_pg_add_bool(dp_pg_params *params, bool value)
{
    char *scalar = params->scalars[params->count];
    scalar[0] = value ? 1 : 0;
    add(params, scalar, 1);
}

void dp_pg_add_timestamp(dp_pg_params *params, int64_t wall_us)
{
    dp_pg_add_i64(params, wall_us - POSTGRES_EPOCH_US);
}

/* Dimensions, whether there are NULLs, element type, length, lower bound. */
void dp_pg_array_begin(dp_buffer *out, uint32_t element_oid, size_t count)
{
    char header[20];
    dp_pg_put_u32(header, 1);
    dp_pg_put_u32(header + 4, 1);
    dp_pg_put_u32(header + 8, element_oid);
    dp_pg_put_u32(header + 12, (uint32_t)count);
    dp_pg_put_u32(header + 16, 1);
    dp_buffer_append(out, header, sizeof header);
}

void dp_pg_put_value(dp_buffer *out, dp_slice value)
{
    char length[4];
    dp_pg_put_u32(length, value.data == NULL ? UINT32_MAX : (uint32_t)value.length);
    dp_buffer_append(out, length, sizeof length);
    if (value.data != NULL) dp_buffer_append_slice(out, value);
}

void dp_pg_put_i64(dp_buffer *out, int64_t value)
{
    char bytes[8];
    dp_pg_put_u64(bytes, (uint64_t)value);
    dp_pg_put_value(out, (dp_slice){bytes, sizeof bytes});
}

dp_slice dp_pg_get_slice(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) return (dp_slice){NULL, 0};
    return (dp_slice){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

int64_t dp_pg_get_i64(const PGresult *result, int row, int column)
{
    dp_slice bytes = dp_pg_get_slice(result, row, column);
    if (bytes.length == 0 || bytes.length > 8) return 0;
    uint64_t value = (bytes.data[0] & 0x80) != 0 ? UINT64_MAX : 0; /* smaller integers are signed, too */
    for (size_t i = 0; i < bytes.length; i++) {
        value = value << 8 | (unsigned char)bytes.data[i];
    }
    return (int64_t)value;
}

bool dp_pg_get_bool(const PGresult *result, int row, int column)
{
    dp_slice bytes = dp_pg_get_slice(result, row, column);
    return bytes.length == 1 && bytes.data[0] != 0;
}

int64_t dp_pg_get_timestamp(const PGresult *result, int row, int column)
{
    return dp_pg_get_i64(result, row, column) + POSTGRES_EPOCH_US;
}

dp_status dp_pg_get_position(const PGresult *result, int row, int column, bool *present,
                             dp_position *position, dp_error *error)
{
    dp_slice bytes = dp_pg_get_slice(result, row, column);
    *present = bytes.data != NULL;
    if (!*present) return DP_STATUS_OK;
    if (bytes.length != DP_POSITION_BYTES) {
        return dp_error_set(error, DP_STATUS_DATA, "state database: a position of %zu bytes, expected %d",
                            bytes.length, DP_POSITION_BYTES);
    }
    memcpy(position->bytes, bytes.data, DP_POSITION_BYTES);
    return DP_STATUS_OK;
}
