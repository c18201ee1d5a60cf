/* A bounded reader of big-endian binary messages with a sticky failure.
 *
 * Reading past the end yields zeros and sets `failed`; `failed_at` keeps the offset of the first read that
 * did not fit, so a parser reads freely and checks once at the end of each message. Never copies, never
 * allocates.
 */
#ifndef DPONE_BASE_BYTE_READER_H
#define DPONE_BASE_BYTE_READER_H

#include "base/slice.h"

typedef struct dp_byte_reader {
    const uint8_t *data;
    size_t length;
    size_t position;
    size_t failed_at;
    bool failed;
} dp_byte_reader;

static inline dp_byte_reader dp_byte_reader_of(dp_slice bytes)
{
    /* A null pointer must not take part in arithmetic, not even with 0. */
    const char *data = bytes.data == NULL ? "" : bytes.data;
    return (dp_byte_reader){.data = (const uint8_t *)data, .length = bytes.length};
}

static inline size_t dp_byte_reader_left(const dp_byte_reader *reader)
{
    return reader->length - reader->position;
}

static inline const uint8_t *dp_byte_reader_take(dp_byte_reader *reader, size_t bytes)
{
    if (reader->failed || bytes > reader->length - reader->position) {
        if (!reader->failed) reader->failed_at = reader->position;
        reader->failed = true;
        return NULL;
    }
    const uint8_t *start = reader->data + reader->position;
    reader->position += bytes;
    return start;
}

static inline uint8_t dp_byte_reader_u8(dp_byte_reader *reader)
{
    const uint8_t *bytes = dp_byte_reader_take(reader, 1);
    return bytes == NULL ? 0 : bytes[0];
}

static inline uint16_t dp_byte_reader_u16(dp_byte_reader *reader)
{
    const uint8_t *bytes = dp_byte_reader_take(reader, 2);
    return bytes == NULL ? 0 : (uint16_t)((unsigned)bytes[0] << 8 | bytes[1]);
}

static inline uint32_t dp_byte_reader_u32(dp_byte_reader *reader)
{
    const uint8_t *bytes = dp_byte_reader_take(reader, 4);
    if (bytes == NULL) return 0;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline uint64_t dp_byte_reader_u64(dp_byte_reader *reader)
{
    uint64_t high = dp_byte_reader_u32(reader);
    return high << 32 | dp_byte_reader_u32(reader);
}

/* `bytes` bytes as a slice; an empty one after a failure. */
static inline dp_slice dp_byte_reader_bytes(dp_byte_reader *reader, size_t bytes)
{
    const uint8_t *start = dp_byte_reader_take(reader, bytes);
    return start == NULL ? (dp_slice){"", 0} : (dp_slice){(const char *)start, bytes};
}

/* A text up to its terminating NUL, which is consumed and not part of the slice. */
static inline dp_slice dp_byte_reader_cstring(dp_byte_reader *reader)
{
    size_t left = dp_byte_reader_left(reader);
    const uint8_t *start = reader->data + reader->position;
    const uint8_t *end = reader->failed || left == 0 ? NULL : memchr(start, 0, left);
    if (end == NULL) {
        dp_byte_reader_take(reader, SIZE_MAX);
        return (dp_slice){"", 0};
    }
    reader->position += (size_t)(end - start) + 1;
    return (dp_slice){(const char *)start, (size_t)(end - start)};
}

#endif
