#include "services/consumer_name.h"

#include "base/utf8.h"

enum { MAX_PIPELINE_BYTES = 1023 };

bool dp_consumer_name_is_valid(dp_slice name)
{
    if (name.length == 0 || name.length > DP_CONSUMER_NAME_BYTES) return false;
    for (size_t i = 0; i < name.length; i++) {
        unsigned char byte = (unsigned char)name.data[i];
        if (byte < 0x20 || byte == 0x7f || byte == '/') return false;
    }
    size_t fault;
    return dp_utf8_valid(name, &fault);
}

dp_status dp_consumer_key(dp_slice pipeline, dp_slice name, char out[DP_CONSUMER_KEY_BYTES], size_t *length,
                          dp_error *error)
{
    static const dp_slice infix = {DP_CONSUMER_INFIX, sizeof DP_CONSUMER_INFIX - 1};
    if (!dp_consumer_name_is_valid(name)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "consumer_name_invalid",
                                 "'%.*s' is no name of a consumer; expected 1 to %d bytes without '/' and "
                                 "control characters",
                                 DP_SLICE_PRINT(name), DP_CONSUMER_NAME_BYTES);
    }
    if (pipeline.length == 0 || pipeline.length > MAX_PIPELINE_BYTES ||
        memchr(pipeline.data, '\0', pipeline.length) != NULL) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "pipeline_name_invalid",
                                 "the name of a pipeline must have 1 to %d bytes, none of them NUL",
                                 MAX_PIPELINE_BYTES);
    }
    const dp_slice parts[] = {pipeline, infix, name};
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memcpy(out + at, parts[i].data, parts[i].length);
        at += parts[i].length;
    }
    out[at] = '\0';
    *length = at;
    return DP_STATUS_OK;
}

bool dp_consumer_of_key(dp_slice stored, dp_slice pipeline, dp_slice *name)
{
    if (!dp_slice_starts_with(stored, pipeline)) return false;
    dp_slice rest = dp_slice_make(stored.data + pipeline.length, stored.length - pipeline.length);
    if (!dp_slice_starts_with(rest, DP_SLICE_LITERAL(DP_CONSUMER_INFIX))) return false;
    rest =
        dp_slice_make(rest.data + sizeof DP_CONSUMER_INFIX - 1, rest.length - (sizeof DP_CONSUMER_INFIX - 1));
    if (!dp_consumer_name_is_valid(rest)) return false;
    *name = rest;
    return true;
}
