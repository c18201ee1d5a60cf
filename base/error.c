#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts a truncated text at a whole UTF-8 character and replaces control characters. */
static void make_printable(char *text, size_t capacity)
{
    size_t length = strnlen(text, capacity);
    if (length + 1 == capacity) {
        while (length > 0 && ((unsigned char)text[length - 1] & 0xC0) == 0x80) {
            length--;
        }
        if (length > 0 && (unsigned char)text[length - 1] >= 0xC0) length--;
        text[length] = '\0';
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7F) text[i] = '?';
    }
}

static void format_bounded(char *out, size_t capacity, const char *format, va_list arguments)
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
