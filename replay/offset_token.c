#include "replay/offset_token.h"

bool dp_offset_of_token(dp_backend backend, dp_slice token, dp_offset *offset)
{
    dp_position position;
    if (token.length >= DP_OFFSET_TOKEN_BYTES || !dp_position_parse(backend, token, &position)) return false;
    *offset = (dp_offset){.backend = backend, .snapshot_complete = true, .position = position};
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

dp_offset dp_offset_of_position(dp_backend backend, dp_position position)
{
    char text[DP_POSITION_TEXT_BYTES];
    dp_offset offset = {.backend = backend};
    dp_position_format(backend, position, text);
    dp_offset_of_token(backend, dp_slice_of_text(text), &offset);
    return offset;
}

dp_offset dp_offset_of_lsn(dp_lsn position)
{
    char token[DP_LSN_TEXT_BYTES];
    dp_offset offset = {.backend = DP_BACKEND_POSTGRES_LOGICAL};
    size_t length = dp_lsn_format(position, token);
    dp_offset_of_token(DP_BACKEND_POSTGRES_LOGICAL, (dp_slice){token, length}, &offset);
    return offset;
}

bool dp_offset_lsn(const dp_offset *offset, dp_lsn *position)
{
    if (offset->backend != DP_BACKEND_POSTGRES_LOGICAL) return false;
    return dp_lsn_parse(dp_slice_of_text(offset->token), position);
}

int dp_offset_compare(const dp_offset *left, const dp_offset *right)
{
    int order = dp_position_compare(left->position, right->position);
    return (order > 0) - (order < 0);
}

void dp_offset_canonical(const dp_offset *offset, char out[DP_OFFSET_TOKEN_BYTES])
{
    dp_position_format(offset->backend, offset->position, out);
}

const char *dp_offset_expected_form(dp_backend backend)
{
    return dp_position_expected_form(backend);
}

_Static_assert(DP_OFFSET_TOKEN_BYTES >= DP_POSITION_TEXT_BYTES, "a canonical token fits");
