/* Builds one batch: event and commit lines between a header and a trailer, and the batch_id over them. Pure.
 *
 * The body is complete before it is sent, so its size is bounded by the limits: the batch says when it is
 * full, and the caller finishes it and starts the next. A batch may end inside a transaction; it then carries
 * no offset for it. Reused: dp_batch_writer_clear keeps the memory. Not shared between threads.
 */
#ifndef DPONE_CDC_BATCH_WRITER_H
#define DPONE_CDC_BATCH_WRITER_H

#include "cdc/event_writer.h"

#define DP_BATCH_SCHEMA "dpone.cdc.batch.v1"

typedef struct dp_batch_limits {
    size_t max_events;
    size_t max_bytes;       /* of event and commit lines; reached, not exceeded, by all but the last line */
    size_t max_event_bytes; /* a longer event line is LIMIT with code "event_too_large" */
} dp_batch_limits;

/* What the header says of the stream. Slices are borrowed while the batch is finished. */
typedef struct dp_batch_source {
    dp_slice pipeline;
    dp_backend backend;
    dp_slice source;
    dp_identity_kind identity;
} dp_batch_source;

typedef struct dp_batch_offsets {
    bool has_next_offset;
    dp_lsn next_offset;
    bool has_stored_offset;
    dp_lsn stored_offset;
    bool has_high_watermark;
    dp_lsn high_watermark;
} dp_batch_offsets;

typedef struct dp_batch_writer dp_batch_writer;

/* NULL when memory is refused. */
dp_batch_writer *dp_batch_writer_new(dp_identity_kind identity, const dp_batch_limits *limits);
void dp_batch_writer_free(dp_batch_writer *batch);
void dp_batch_writer_clear(dp_batch_writer *batch);

/* For the events that are put from now on; a limit that is not lower than the one in force changes nothing.
 */
void dp_batch_writer_lower_max_event(dp_batch_writer *batch, size_t max_event_bytes);

/* Append one line; statuses as dp_event_writer_put_event. */
dp_status dp_batch_writer_put_event(dp_batch_writer *batch, const dp_change *change, dp_error *error);
dp_status dp_batch_writer_put_commit(dp_batch_writer *batch, const dp_transaction_end *end, dp_error *error);

/* A place to return to, so that a transaction that turns out to be passed already can be taken out again.
 * Valid until the batch is cleared. */
typedef struct dp_batch_mark {
    size_t line_bytes;
    size_t event_count;
    size_t commit_count;
    bool has_duplicates; /* some event id stands in it twice: it must not pass the gate */
} dp_batch_mark;

dp_batch_mark dp_batch_writer_mark(const dp_batch_writer *batch);
void dp_batch_writer_rollback(dp_batch_writer *batch, dp_batch_mark mark);

/* Takes out what stands before the mark and keeps the rest: for the part of an open transaction that is left
 * when the complete ones before it have been sent. Marks taken before are void. */
void dp_batch_writer_drop_before(dp_batch_writer *batch, dp_batch_mark mark);

size_t dp_batch_writer_event_count(const dp_batch_writer *batch);
size_t dp_batch_writer_commit_count(const dp_batch_writer *batch);
bool dp_batch_writer_is_full(const dp_batch_writer *batch);

/* The event and commit lines so far. */
dp_slice dp_batch_writer_lines(const dp_batch_writer *batch);

/* A complete batch, and where its lines stand in the body, so that a batch that is too large for a server can
 * be split without decoding it again. */
typedef struct dp_batch_body {
    dp_buffer bytes; /* set its maximum before the first use */
    size_t lines_start;
    size_t lines_length;
    size_t event_count;
    char batch_id[DP_SHA256_HEX_LENGTH + 1];
} dp_batch_body;

/* Builds header, lines and trailer into `body` (cleared first). `lines` must not lie in `body`. LIMIT when
 * the body's maximum is too small. */
dp_status dp_batch_compose(dp_sha256 *hash, dp_slice lines, size_t event_count, const dp_batch_source *source,
                           const dp_batch_offsets *offsets, dp_batch_body *body, dp_error *error);

/* Cuts the lines of a batch into two parts at the event line nearest to the middle; false when there is only
 * one event. Commit lines stay with the event before them. */
bool dp_batch_split(dp_slice lines, size_t event_count, dp_slice parts[2], size_t event_counts[2]);

#endif
