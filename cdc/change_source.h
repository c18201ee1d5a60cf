/* Where a pipeline reads from: one interface over a capture file, a pipe and a live PostgreSQL slot.
 *
 * A source hands over records (the output plugin's data with its position) and learns which position has
 * become durable. It never decodes, never decides. The contract is written beside each slot; a source belongs
 * to one thread.
 */
#ifndef DPONE_CDC_CHANGE_SOURCE_H
#define DPONE_CDC_CHANGE_SOURCE_H

#include "base/error.h"
#include "cdc/decoder.h"

/* Called for each record; a status other than OK stops the poll, which returns it. Slices live until it
 * returns. */
typedef struct dp_record_sink {
    void *context;
    dp_status (*record)(void *context, const dp_record *record, dp_error *error);
} dp_record_sink;

typedef struct dp_source_progress {
    bool ended;             /* nothing will ever follow: end of file, or the position asked for was reached */
    bool has_idle_position; /* the source reports that nothing to deliver is left below idle_position */
    dp_lsn idle_position;
    bool has_high_watermark; /* the newest position the source knows of */
    dp_lsn high_watermark;
    /* The connection was lost and may be tried again: the pipeline settles what is on its way, forgets what
     * is open and calls `start` with the offset as it is then. Nothing was delivered by this poll. */
    bool restarted;
    /* Nothing more comes until what was delivered is confirmed: the pipeline sends, settles and saves now. */
    bool wants_confirm;
    const dp_error *trouble; /* why nothing comes at the moment, told once; NULL: nothing is wrong */
} dp_source_progress;

typedef struct dp_change_source {
    void *self;

    /* Optional. Called with the stored offset before the first poll and after a poll that said `restarted`:
     * reading begins there. A failure that may pass is not returned: poll tells it as `trouble` and asks
     * again. BLOCKED with a source blocker when what lies behind the offset cannot be had any more. */
    dp_status (*start)(void *self, bool has_stored, dp_lsn stored, dp_error *error);

    /* Required. Reads what is there, waiting up to timeout_ms for the first byte, and delivers a bounded
     * amount. Sets *progress. DATA with the place in the input for malformed input; REMOTE or IO when the
     * source failed. */
    dp_status (*poll)(void *self, int timeout_ms, const dp_record_sink *sink, dp_source_progress *progress,
                      dp_error *error);

    /* Optional. Called at least once a second while the pipeline waits for its sink: answers keepalives,
     * reads nothing. */
    dp_status (*tick)(void *self, dp_error *error);

    /* Optional. Everything below `position` is durable and the offset is saved: it may be reported upstream.
     * Never called with a smaller position than before. */
    dp_status (*confirm)(void *self, dp_lsn position, dp_error *error);

    /* Required. Reports what was confirmed, where that is needed, and frees. */
    void (*close)(void *self);
} dp_change_source;

#endif
