#include "base/slice.h"

int dp_slice_compare(dp_slice left, dp_slice right)
{
    size_t shorter = left.length < right.length ? left.length : right.length;
    int order = shorter == 0 ? 0 : memcmp(left.data, right.data, shorter);
    if (order != 0) return order;
    return (left.length > right.length) - (left.length < right.length);
}

/* Not strncasecmp: that stops at a NUL and follows the locale. */
static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

bool dp_slice_equal_ignoring_case(dp_slice left, dp_slice right)
{
    if (left.length != right.length) return false;
    if (dp_slice_equal(left, right)) return true; /* most often they are spelled alike */
    for (size_t i = 0; i < left.length; i++) {
        if (lower(left.data[i]) != lower(right.data[i])) return false;
    }
    return true;
}

bool dp_slice_starts_with(dp_slice text, dp_slice prefix)
{
    return text.length >= prefix.length &&
           (prefix.length == 0 || memcmp(text.data, prefix.data, prefix.length) == 0);
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

dp_slice dp_slice_trim(dp_slice text)
{
    while (text.length > 0 && is_space(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length > 0 && is_space(text.data[text.length - 1])) {
        text.length--;
    }
    return text;
}

bool dp_slice_split(dp_slice text, char separator, dp_slice *head, dp_slice *tail)
{
    const char *found = text.length == 0 ? NULL : memchr(text.data, separator, text.length);
    if (found == NULL) {
        *head = text;
        *tail = (dp_slice){text.length == 0 ? text.data : text.data + text.length, 0};
        return false;
    }
    size_t at = (size_t)(found - text.data);
    *head = (dp_slice){text.data, at};
    *tail = (dp_slice){found + 1, text.length - at - 1};
    return true;
}

bool dp_slice_to_u64(dp_slice text, uint64_t maximum, uint64_t *value)
{
    if (text.length == 0) return false;
    uint64_t result = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (result > (maximum - digit) / 10 || digit > maximum) return false;
        result = result * 10 + digit;
    }
    *value = result;
    return true;
}

int dp_slice_find(dp_slice text, const dp_slice *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dp_slice_equal(text, texts[i])) return (int)i;
    }
    return -1;
}
