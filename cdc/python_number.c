#include "cdc/python_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A finite value's shortest digits that read back as the same double: what repr() prints. */
typedef struct shortest {
    bool negative;
    char digits[20];
    int digit_count;
    int exponent; /* of the first digit: 1.5e3 has digits 15 and exponent 3 */
} shortest;

static shortest shortest_of(double value)
{
    shortest result = {.negative = signbit(value) != 0};
    char text[40];
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, fabs(value));
        if (strtod(text, NULL) == fabs(value)) break;
    }
    char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.') result.digits[result.digit_count++] = *at;
    }
    result.exponent = (int)strtol(at + 1, NULL, 10);
    while (result.digit_count > 1 && result.digits[result.digit_count - 1] == '0') {
        result.digit_count--;
    }
    return result;
}

static void put_scientific(dp_buffer *out, const shortest *value)
{
    dp_buffer_append(out, value->digits, 1);
    if (value->digit_count > 1) {
        dp_buffer_append_byte(out, '.');
        dp_buffer_append(out, value->digits + 1, (size_t)value->digit_count - 1);
    }
    dp_buffer_append_format(out, "e%c%02d", value->exponent < 0 ? '-' : '+', abs(value->exponent));
}

static void put_positional(dp_buffer *out, const shortest *value)
{
    for (int place = value->exponent < 0 ? value->exponent : 0; place < 0; place++) {
        dp_buffer_append_text(out, place == value->exponent ? "0." : "0");
    }
    for (int i = 0; i < value->digit_count || i <= value->exponent; i++) {
        if (i > 0 && i == value->exponent + 1) dp_buffer_append_byte(out, '.');
        dp_buffer_append_byte(out, i < value->digit_count ? value->digits[i] : '0');
    }
    if (value->exponent >= value->digit_count - 1) dp_buffer_append_text(out, ".0");
}

static void put_double(dp_buffer *out, double value)
{
    if (isnan(value)) {
        dp_buffer_append_text(out, "NaN");
        return;
    }
    if (isinf(value)) {
        dp_buffer_append_text(out, value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    shortest digits = shortest_of(value);
    if (digits.negative) dp_buffer_append_byte(out, '-');
    /* repr() changes to an exponent below 1e-4 and from 1e16 on. */
    if (digits.exponent < -4 || digits.exponent >= 16) {
        put_scientific(out, &digits);
    } else {
        put_positional(out, &digits);
    }
}

/* PostgreSQL's numeric has up to 131,072 digits before and 16,383 after the point. */
enum { MAX_NUMBER_BYTES = 160 * 1024, MAX_FLOAT_BYTES = 64 };

static bool put_number_text(dp_buffer *out, dp_slice text)
{
    if (text.length == 0 || text.length > MAX_NUMBER_BYTES || strchr("+ \t\n\r\v\f", text.data[0]) != NULL)
        return false;
    char *copy = strndup(text.data, text.length);
    if (copy == NULL) {
        out->failed = out->out_of_memory = true;
        return true;
    }
    char *end = copy;
    double value = 0;
    /* strtod reads hexadecimal, which PostgreSQL never prints. */
    if (strpbrk(copy, "xXpP") == NULL) value = strtod(copy, &end);
    const size_t read_bytes = (size_t)(end - copy);
    free(copy);
    if (read_bytes != text.length) return false;
    put_double(out, value);
    return true;
}

bool dp_python_put_float(dp_buffer *out, dp_slice text)
{
    return text.length <= MAX_FLOAT_BYTES && put_number_text(out, text);
}

/* Whether the text is -?digits(.0*)?; *integer is then the part before the point. */
static bool is_integral(dp_slice text, dp_slice *integer)
{
    size_t at = text.length > 0 && text.data[0] == '-' ? 1 : 0;
    size_t digits = at;
    while (at < text.length && text.data[at] >= '0' && text.data[at] <= '9') {
        at++;
    }
    if (at == digits) return false;
    *integer = (dp_slice){text.data, at};
    if (at == text.length) return true;
    if (text.data[at++] != '.') return false;
    while (at < text.length && text.data[at] == '0') {
        at++;
    }
    return at == text.length;
}

bool dp_python_put_numeric(dp_buffer *out, dp_slice text)
{
    dp_slice integer;
    if (!is_integral(text, &integer)) return put_number_text(out, text);
    bool is_zero = true;
    for (size_t i = 0; i < integer.length; i++) {
        if (integer.data[i] != '-' && integer.data[i] != '0') is_zero = false;
    }
    dp_buffer_append_slice(out, is_zero ? DP_SLICE_LITERAL("0") : integer);
    return true;
}
