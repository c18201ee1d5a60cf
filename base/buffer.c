#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void dp_buffer_release(dp_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->length = buffer->capacity = 0;
    buffer->failed = buffer->out_of_memory = false;
}

void dp_buffer_clear(dp_buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = buffer->out_of_memory = false;
}

static size_t next_capacity(const dp_buffer *buffer, size_t needed)
{
    size_t doubled = buffer->capacity > buffer->max_bytes / 2 ? buffer->max_bytes : buffer->capacity * 2;
    size_t capacity = doubled > 256 ? doubled : 256;
    if (capacity > buffer->max_bytes) capacity = buffer->max_bytes;
    return capacity > needed ? capacity : needed;
}

/* Forgets the room that is left, so that nothing is appended after the gap. */
static bool fail(dp_buffer *buffer, bool out_of_memory)
{
    buffer->failed = true;
    buffer->out_of_memory = out_of_memory;
    buffer->capacity = buffer->length;
    return false;
}

bool dp_buffer_grow(dp_buffer *buffer, size_t bytes)
{
    if (buffer->failed) return false;
    if (bytes > buffer->max_bytes || buffer->length > buffer->max_bytes - bytes) return fail(buffer, false);
    size_t capacity = next_capacity(buffer, buffer->length + bytes);
    /* One byte more than is promised: room for a terminator, also in a full buffer. */
    char *data = capacity == SIZE_MAX ? NULL : realloc(buffer->data, capacity + 1);
    if (data == NULL) return fail(buffer, true);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void dp_buffer_append_text(dp_buffer *buffer, const char *text)
{
    dp_buffer_append(buffer, text, strlen(text));
}

void dp_buffer_append_u64(dp_buffer *buffer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    if (value < 10) {
        dp_buffer_append_byte(buffer, (char)('0' + value));
        return;
    }
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    dp_buffer_append(buffer, digits + at, sizeof digits - at);
}

void dp_buffer_append_i64(dp_buffer *buffer, int64_t value)
{
    if (value < 0) dp_buffer_append_byte(buffer, '-');
    dp_buffer_append_u64(buffer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* There is a byte for a terminator as soon as there is any memory. */
static bool has_memory(dp_buffer *buffer)
{
    return buffer->data != NULL || dp_buffer_grow(buffer, 0);
}

void dp_buffer_append_format(dp_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        fail(buffer, false);
        return;
    }
    if (!dp_buffer_reserve(buffer, (size_t)length) || !has_memory(buffer)) return;
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->length += (size_t)length;
}

void dp_buffer_consume(dp_buffer *buffer, size_t bytes)
{
    if (bytes > buffer->length) bytes = buffer->length;
    buffer->length -= bytes;
    if (buffer->length > 0) memmove(buffer->data, buffer->data + bytes, buffer->length);
}

const char *dp_buffer_text(dp_buffer *buffer)
{
    if (buffer->failed || !has_memory(buffer)) return NULL;
    buffer->data[buffer->length] = '\0';
    return buffer->data;
}
