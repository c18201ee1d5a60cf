/* Reads one line of the wire form: a batch's header, an event, a commit, or the trailer.
 *
 * Strict: RFC 8259 JSON, valid UTF-8, every required member present once and of its type, ids and positions
 * well-formed. Members nobody knows are refused in event, commit and trailer lines, because what is not
 * stored would be lost silently; a header's are ignored, because it is advice about the batch and later
 * versions may add to it. Members may come in any order. A repeated member is refused, also inside data and
 * before.
 *
 * Zero-copy: texts are slices of the line; only a name that has escapes is decoded into the arena. Pure, no
 * other allocation, safe from any thread.
 */
#ifndef DPONE_CDC_EVENT_SCANNER_H
#define DPONE_CDC_EVENT_SCANNER_H

#include "base/arena.h"
#include "cdc/event_identity.h"
#include "cdc/position.h"

/* An event as it stands on its line. The JSON members are source text, untouched. */
typedef struct dp_event {
    dp_event_id id; /* zeros unless has_id */
    bool has_id;    /* false for "event_id":null, which decode writes where a plugin gives no position */
    bool has_sequence;
    dp_operation operation;
    uint64_t sequence;
    uint64_t ordinal;
    uint64_t line_number;
    dp_slice source_schema;  /* decoded UTF-8 without NUL */
    dp_slice source_table;   /* the same */
    dp_slice position;       /* text; data NULL for null */
    dp_slice transaction_id; /* decoded text; data NULL for null */
    dp_slice data;           /* a JSON object */
    dp_slice before;         /* a JSON object; data NULL for null */
    dp_slice unchanged;      /* a JSON array of strings; data NULL for [] */
    dp_slice metadata;       /* a JSON object; data NULL when absent or null */
} dp_event;

typedef struct dp_commit_line {
    uint64_t line_number;
    dp_slice transaction_id; /* data NULL for null */
    dp_slice end_position;   /* data NULL for null */
    bool has_committed_at;
    int64_t committed_at_us; /* since 1970-01-01T00:00:00Z */
    uint64_t count;
} dp_commit_line;

typedef struct dp_batch_header {
    dp_slice pipeline;
    dp_slice source;
    dp_backend backend;
    dp_identity_kind identity;
    bool has_next_offset;
    dp_backend next_backend;
    dp_slice next_token; /* checked against next_backend */
    bool next_snapshot_complete;
    dp_slice stored_offset;  /* a token; data NULL when absent or null */
    dp_slice high_watermark; /* the same */
} dp_batch_header;

typedef struct dp_batch_trailer {
    uint64_t count;
    uint8_t batch_id[DP_SHA256_BYTES];
} dp_batch_trailer;

typedef enum dp_line_kind { DP_LINE_EVENT, DP_LINE_COMMIT, DP_LINE_HEADER, DP_LINE_TRAILER } dp_line_kind;

typedef struct dp_wire_line {
    dp_line_kind kind;
    union {
        dp_event event;
        dp_commit_line commit;
        dp_batch_header header;
        dp_batch_trailer trailer;
    };
} dp_wire_line;

/* Reads one line, without its newline. DATA, or LIMIT when the arena is used up, names the line by
 * `line_number`, the byte and the fault; codes: line_malformed, identity_unknown, schema_unknown. */
dp_status dp_wire_line_scan(dp_slice line, uint64_t line_number, dp_arena *arena, dp_wire_line *out,
                            dp_error *error);

/* "YYYY-MM-DDTHH:MM:SS.ffffffZ" exactly, as dp_clock_format_utc writes it. */
bool dp_timestamp_parse(dp_slice text, int64_t *wall_us);

#endif
