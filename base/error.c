#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Drops the start of a character whose rest was cut off. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start == 0 || (unsigned char)text[start - 1] < 0xC0) return length;
    start--;
    return dp_utf8_valid((dp_slice){text + start, length - start}, NULL) ? length : start;
}

/* Cuts a truncated text at a whole character, and replaces control characters and bytes that are not UTF-8,
 * so that every message can be a line of a log and a string of JSON. */
static void make_printable(char *text, size_t capacity)
{
    size_t length = strnlen(text, capacity);
    if (length + 1 == capacity) length = whole_characters(text, length);
    text[length] = '\0';
    dp_utf8_make_printable(text, length);
}

__attribute__((format(printf, 3, 0))) static void format_bounded(char *out, size_t capacity,
                                                                 const char *format, va_list arguments)
{
    if (vsnprintf(out, capacity, format, arguments) < 0) out[0] = '\0';
    make_printable(out, capacity);
}

void dp_error_clear(dp_error *error)
{
    error->status = DP_STATUS_OK;
    error->code[0] = error->message[0] = error->hint[0] = '\0';
}

static bool claim(dp_error *error, dp_status status, const char *code)
{
    if (error == NULL || error->status != DP_STATUS_OK) return false;
    dp_error_clear(error);
    error->status = status;
    snprintf(error->code, sizeof error->code, "%s", code);
    return true;
}

dp_status dp_error_set(dp_error *error, dp_status status, const char *format, ...)
{
    if (!claim(error, status, "")) return error == NULL ? status : error->status;
    va_list arguments;
    va_start(arguments, format);
    format_bounded(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

dp_status dp_error_set_code(dp_error *error, dp_status status, const char *code, const char *format, ...)
{
    if (!claim(error, status, code)) return error == NULL ? status : error->status;
    va_list arguments;
    va_start(arguments, format);
    format_bounded(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

dp_status dp_error_no_memory(dp_error *error, const char *what)
{
    return dp_error_set(error, DP_STATUS_NO_MEMORY, "out of memory for %s", what);
}

void dp_error_hint(dp_error *error, const char *format, ...)
{
    if (error == NULL || error->hint[0] != '\0') return;
    va_list arguments;
    va_start(arguments, format);
    format_bounded(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
}

void dp_error_while(dp_error *error, const char *format, ...)
{
    if (error == NULL || error->status == DP_STATUS_OK) return;
    char doing[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    format_bounded(doing, sizeof doing, format, arguments);
    va_end(arguments);
    char cause[sizeof error->message];
    memcpy(cause, error->message, sizeof cause);
    /* Truncation is what the bound is for; make_printable mends the cut. */
    if (snprintf(error->message, sizeof error->message, "while %s: %s", doing, cause) < 0)
        error->message[0] = '\0';
    make_printable(error->message, sizeof error->message);
}
