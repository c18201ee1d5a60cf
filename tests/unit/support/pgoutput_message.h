/* Builds pgoutput messages for tests, big-endian, into one growing buffer. */
#ifndef DPONE_TESTS_PGOUTPUT_MESSAGE_H
#define DPONE_TESTS_PGOUTPUT_MESSAGE_H

#include "base/buffer.h"

typedef struct message_column {
    const char *name;
    uint32_t type_oid;
    bool is_identity;
} message_column;

static inline void put_u8(dp_buffer *out, unsigned value)
{
    dp_buffer_append_byte(out, (char)value);
}

static inline void put_u16(dp_buffer *out, unsigned value)
{
    put_u8(out, value >> 8);
    put_u8(out, value & 255);
}

static inline void put_u32(dp_buffer *out, uint32_t value)
{
    put_u16(out, value >> 16);
    put_u16(out, value & 65535);
}

static inline void put_u64(dp_buffer *out, uint64_t value)
{
    put_u32(out, (uint32_t)(value >> 32));
    put_u32(out, (uint32_t)value);
}

static inline void put_cstring(dp_buffer *out, const char *text)
{
    dp_buffer_append(out, text, strlen(text) + 1);
}

static inline dp_slice message_begin(dp_buffer *out, uint64_t final_lsn, uint32_t xid)
{
    dp_buffer_clear(out);
    put_u8(out, 'B');
    put_u64(out, final_lsn);
    put_u64(out, 0);
    put_u32(out, xid);
    return dp_buffer_slice(out);
}

static inline dp_slice message_commit(dp_buffer *out, uint64_t commit_lsn, uint64_t end_lsn, int64_t time_us)
{
    dp_buffer_clear(out);
    put_u8(out, 'C');
    put_u8(out, 0);
    put_u64(out, commit_lsn);
    put_u64(out, end_lsn);
    put_u64(out, (uint64_t)time_us);
    return dp_buffer_slice(out);
}

static inline dp_slice message_relation(dp_buffer *out, uint32_t id, const char *schema, const char *name,
                                        const message_column *columns, size_t count)
{
    dp_buffer_clear(out);
    put_u8(out, 'R');
    put_u32(out, id);
    put_cstring(out, schema);
    put_cstring(out, name);
    put_u8(out, 'd');
    put_u16(out, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        put_u8(out, columns[i].is_identity ? 1 : 0);
        put_cstring(out, columns[i].name);
        put_u32(out, columns[i].type_oid);
        put_u32(out, 0xFFFFFFFF);
    }
    return dp_buffer_slice(out);
}

/* Values as text; NULL is a null, "\1u" an unchanged TOAST value, "\1b" a binary value. */
static inline void put_tuple(dp_buffer *out, const char *const *values, size_t count)
{
    put_u16(out, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        if (values[i] == NULL) {
            put_u8(out, 'n');
        } else if (values[i][0] == '\1' && values[i][1] == 'u') {
            put_u8(out, 'u');
        } else {
            put_u8(out, values[i][0] == '\1' ? 'b' : 't');
            put_u32(out, (uint32_t)strlen(values[i]));
            dp_buffer_append_text(out, values[i]);
        }
    }
}

static inline dp_slice message_insert(dp_buffer *out, uint32_t id, const char *const *values, size_t count)
{
    dp_buffer_clear(out);
    put_u8(out, 'I');
    put_u32(out, id);
    put_u8(out, 'N');
    put_tuple(out, values, count);
    return dp_buffer_slice(out);
}

/* old_kind 0: no old row. */
static inline dp_slice message_update(dp_buffer *out, uint32_t id, char old_kind,
                                      const char *const *old_values, const char *const *values, size_t count)
{
    dp_buffer_clear(out);
    put_u8(out, 'U');
    put_u32(out, id);
    if (old_kind != 0) {
        put_u8(out, (unsigned char)old_kind);
        put_tuple(out, old_values, count);
    }
    put_u8(out, 'N');
    put_tuple(out, values, count);
    return dp_buffer_slice(out);
}

static inline dp_slice message_delete(dp_buffer *out, uint32_t id, char kind, const char *const *values,
                                      size_t count)
{
    dp_buffer_clear(out);
    put_u8(out, 'D');
    put_u32(out, id);
    put_u8(out, (unsigned char)kind);
    put_tuple(out, values, count);
    return dp_buffer_slice(out);
}

static inline dp_slice message_truncate(dp_buffer *out, unsigned options, const uint32_t *ids, size_t count)
{
    dp_buffer_clear(out);
    put_u8(out, 'T');
    put_u32(out, (uint32_t)count);
    put_u8(out, options);
    for (size_t i = 0; i < count; i++) {
        put_u32(out, ids[i]);
    }
    return dp_buffer_slice(out);
}

#endif
