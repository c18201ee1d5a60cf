/* A growing byte buffer with a mandatory maximum and a sticky failure.
 *
 * Appending past the maximum, or when memory is refused, sets `failed` and drops the bytes; a writer appends
 * freely and checks once at the end. Owns its memory until dp_buffer_release. Not shared between threads.
 */
#ifndef DPONE_BASE_BUFFER_H
#define DPONE_BASE_BUFFER_H

#include "base/slice.h"

typedef struct dp_buffer {
    char *data;
    size_t length;
    size_t capacity;
    size_t max_bytes;
    bool failed;
    bool out_of_memory; /* tells the two failures apart: memory was refused, not the maximum passed */
} dp_buffer;

#define DP_BUFFER_INIT(maximum_bytes)                                                                        \
    {                                                                                                        \
        .max_bytes = (maximum_bytes)                                                                         \
    }

void dp_buffer_release(dp_buffer *buffer);

/* Empties the buffer and forgets a failure; keeps the memory. */
void dp_buffer_clear(dp_buffer *buffer);

/* Makes room for `bytes` more; false sets the failure. */
bool dp_buffer_grow(dp_buffer *buffer, size_t bytes);

static inline bool dp_buffer_reserve(dp_buffer *buffer, size_t bytes)
{
    return buffer->capacity - buffer->length >= bytes || dp_buffer_grow(buffer, bytes);
}

/* memcpy() of a few bytes, where calling it costs more than copying. */
static inline void dp_copy_short(char *to, const char *from, size_t length)
{
    if (length > 16) {
        memcpy(to, from, length);
    } else if (length >= 8) {
        uint64_t first;
        uint64_t last;
        memcpy(&first, from, 8);
        memcpy(&last, from + length - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + length - 8, &last, 8);
    } else {
        for (size_t i = 0; i < length; i++) {
            to[i] = from[i];
        }
    }
}

static inline void dp_buffer_append(dp_buffer *buffer, const void *data, size_t length)
{
    if (length == 0 || !dp_buffer_reserve(buffer, length)) return;
    dp_copy_short(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

static inline void dp_buffer_append_byte(dp_buffer *buffer, char byte)
{
    if (!dp_buffer_reserve(buffer, 1)) return;
    buffer->data[buffer->length++] = byte;
}

static inline void dp_buffer_append_slice(dp_buffer *buffer, dp_slice slice)
{
    dp_buffer_append(buffer, slice.data, slice.length);
}

void dp_buffer_append_text(dp_buffer *buffer, const char *text);
void dp_buffer_append_u64(dp_buffer *buffer, uint64_t value);
void dp_buffer_append_i64(dp_buffer *buffer, int64_t value);
void dp_buffer_append_format(dp_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops the first `bytes`, moving the rest to the front. */
void dp_buffer_consume(dp_buffer *buffer, size_t bytes);

static inline dp_slice dp_buffer_slice(const dp_buffer *buffer)
{
    return (dp_slice){buffer->data, buffer->length};
}

/* Terminates the content with a NUL that does not count as content; NULL when the buffer has failed or memory
 * is refused. */
const char *dp_buffer_text(dp_buffer *buffer);

#endif
