/* Writes JSON into a buffer: compact, UTF-8 passed through, only '"', '\' and control characters escaped, in
 * the short forms \b \f \n \r \t or \u00xx. That is the canonical form event ids are computed over.
 *
 * The dp_json_put_* functions append one value and know nothing of commas: the per-event path uses them.
 * dp_json_writer keeps track of commas and nesting for documents such as plans. Failures are the buffer's.
 */
#ifndef DPONE_BASE_JSON_WRITER_H
#define DPONE_BASE_JSON_WRITER_H

#include "base/buffer.h"

/* A quoted and escaped string. The text must be valid UTF-8. */
void dp_json_put_string(dp_buffer *out, dp_slice text);

/* The escaped content without quotes. */
void dp_json_put_escaped(dp_buffer *out, dp_slice text);

#define DP_JSON_WRITER_MAX_DEPTH 32

typedef struct dp_json_writer {
    dp_buffer *out;
    unsigned depth;
    bool pretty; /* two spaces of indentation a level */
    bool after_key;
    bool has_member[DP_JSON_WRITER_MAX_DEPTH + 1]; /* per level: a comma is due before the next member */
} dp_json_writer;

static inline dp_json_writer dp_json_writer_compact(dp_buffer *out)
{
    return (dp_json_writer){.out = out};
}

static inline dp_json_writer dp_json_writer_pretty(dp_buffer *out)
{
    return (dp_json_writer){.out = out, .pretty = true};
}

void dp_json_begin_object(dp_json_writer *writer);
void dp_json_end_object(dp_json_writer *writer);
void dp_json_begin_array(dp_json_writer *writer);
void dp_json_end_array(dp_json_writer *writer);
void dp_json_key(dp_json_writer *writer, const char *key);
void dp_json_string(dp_json_writer *writer, dp_slice text);
void dp_json_text(dp_json_writer *writer, const char *text_or_null); /* NULL writes null */
void dp_json_u64(dp_json_writer *writer, uint64_t value);
void dp_json_i64(dp_json_writer *writer, int64_t value);
void dp_json_bool(dp_json_writer *writer, bool value);
void dp_json_null(dp_json_writer *writer);
void dp_json_raw(dp_json_writer *writer, dp_slice json); /* one complete JSON value, unchecked */

/* A key and its value. */
void dp_json_member_text(dp_json_writer *writer, const char *key, const char *text_or_null);
void dp_json_member_slice(dp_json_writer *writer, const char *key, dp_slice text); /* data NULL: null */
void dp_json_member_u64(dp_json_writer *writer, const char *key, uint64_t value);
void dp_json_member_bool(dp_json_writer *writer, const char *key, bool value);
void dp_json_member_time(dp_json_writer *writer, const char *key, int64_t wall_us); /* UTC; 0: null */

#endif
