#include "server/request_target.h"

#include "base/hex.h"

enum { MAX_NUMBER_BYTES = 64 };

/* "http://host/path" as a proxy would send it: what follows the authority, which may be nothing. */
static bool skip_authority(dp_slice *raw)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (raw->length < length ||
            !dp_slice_equal_ignoring_case(dp_slice_make(raw->data, length), dp_slice_of_text(schemes[i])))
            continue;
        size_t end = length;
        while (end < raw->length && raw->data[end] != '/' && raw->data[end] != '?' && raw->data[end] != '#') {
            end++;
        }
        if (end == length) return false;
        raw->data += end;
        raw->length -= end;
        return true;
    }
    return false;
}

bool dp_request_target_parse(dp_slice raw, dp_request_target *target)
{
    for (size_t i = 0; i < raw.length; i++) {
        unsigned char byte = (unsigned char)raw.data[i];
        if (byte <= 0x20 || byte >= 0x7F) return false;
    }
    if (raw.length == 0) return false;
    if (raw.data[0] != '/' && !skip_authority(&raw)) return false;
    const char *hash = memchr(raw.data, '#', raw.length);
    if (hash != NULL) raw.length = (size_t)(hash - raw.data);
    dp_slice query = {raw.data + raw.length, 0};
    dp_slice path;
    target->has_query = dp_slice_split(raw, '?', &path, &query);
    target->path = path.length == 0 ? DP_SLICE_LITERAL("/") : path;
    target->query = target->has_query ? query : dp_slice_make(raw.data + raw.length, 0);
    return true;
}

size_t dp_percent_decode(dp_slice text, bool plus_is_space, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte;
        if (text.data[i] == '%' && i + 2 < text.length &&
            dp_hex_decode(dp_slice_make(text.data + i + 1, 2), &byte, NULL)) {
            out[length++] = (char)byte;
            i += 2;
        } else if (text.data[i] == '+' && plus_is_space) {
            out[length++] = ' ';
        } else {
            out[length++] = text.data[i];
        }
    }
    return length;
}

static bool names_equal(dp_slice encoded, dp_slice name)
{
    char decoded[128];
    if (dp_slice_equal(encoded, name)) return true;
    if (encoded.length > sizeof decoded || encoded.length <= name.length) return false;
    return dp_slice_equal(dp_slice_make(decoded, dp_percent_decode(encoded, true, decoded)), name);
}

bool dp_query_last(dp_slice query, const char *name, dp_slice *value)
{
    dp_slice wanted = dp_slice_of_text(name);
    bool found = false;
    bool more = query.length > 0;
    while (more) {
        dp_slice pair;
        dp_slice key;
        dp_slice text;
        more = dp_slice_split(query, '&', &pair, &query);
        if (!dp_slice_split(pair, '=', &key, &text)) text = dp_slice_make(pair.data + pair.length, 0);
        if (pair.length == 0 || !names_equal(key, wanted)) continue;
        *value = text;
        found = true;
    }
    return found;
}

dp_number_fault dp_request_number(dp_slice encoded, uint32_t maximum, uint32_t *value)
{
    char decoded[MAX_NUMBER_BYTES];
    if (encoded.length > sizeof decoded) return DP_NUMBER_NOT_A_NUMBER;
    dp_slice text = {decoded, dp_percent_decode(encoded, true, decoded)};
    bool negative = text.length > 0 && text.data[0] == '-';
    if (negative) text = dp_slice_make(text.data + 1, text.length - 1);
    if (text.length == 0) return DP_NUMBER_NOT_A_NUMBER;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return DP_NUMBER_NOT_A_NUMBER;
    }
    uint64_t parsed;
    if (negative) return DP_NUMBER_TOO_SMALL;
    if (!dp_slice_to_u64(text, maximum, &parsed)) return DP_NUMBER_TOO_LARGE;
    *value = (uint32_t)parsed;
    return DP_NUMBER_OK;
}
