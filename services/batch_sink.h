/* Where a pipeline delivers to: the seam between the pipeline and the HTTP client.
 *
 * A delivery has a lane of its own, so several can be in flight. They may reach the endpoint in any order;
 * one that says which batch it comes after is held back there until that one is stored, by an endpoint that
 * keeps order. Repeating a batch after a transport failure is the sink's work (the resilient client inside
 * it); repeating for as long as the sink is down is the pipeline's. Belongs to one thread.
 */
#ifndef DPONE_SERVICES_BATCH_SINK_H
#define DPONE_SERVICES_BATCH_SINK_H

#include "base/error.h"
#include "cdc/batch_writer.h"
#include "cdc/poison.h"
#include "cdc/timeline.h"
#include "replay/offset_token.h"

enum { DP_BATCH_LANES = 16 };

typedef struct dp_batch_delivery {
    unsigned lane; /* free: nothing is in flight in it */
    const char *batch_id;
    const char *after; /* the batch that must be stored before; NULL: any order will do */
    dp_slice body;
} dp_batch_delivery;

/* What came back for a batch. A transport failure has http_status 0 and the cause in the error of `wait`. */
typedef struct dp_batch_answer {
    unsigned lane; /* whose answer it is; also set when `wait` returns an error */
    unsigned http_status;
    dp_slice body;          /* valid until the next submit or drop in the lane */
    unsigned retry_after_s; /* 0: none given */
    bool is_replayed;       /* the receipt of an earlier delivery: nothing was stored this time */
    bool keeps_order;       /* the endpoint understands `after` */
} dp_batch_answer;

/* What a stream reads from. */
typedef struct dp_announcement {
    const dp_batch_source *stream;
    dp_slice settings;      /* a JSON object */
    bool accepts_change;    /* the operator has compared and accepts what differs */
    bool accepts_more_keys; /* unique keys were only added, for tables that had none */
    bool accepts_timeline;  /* all that was delivered is history of the new timeline, too */
} dp_announcement;

/* What the sink has of a stream. */
typedef struct dp_stream_progress {
    bool has_receipt;
    char batch_id[DP_SHA256_HEX_LENGTH + 1]; /* of the last receipt */
    char received_at[32];                    /* as YYYY-MM-DDTHH:MM:SS.ffffffZ */
    uint64_t event_count;                    /* in the journal */
    bool has_high_watermark;
    dp_lsn high_watermark; /* the end of the newest transaction in the journal */
    dp_timeline timeline;  /* that the stream was last read on */
} dp_stream_progress;

typedef struct dp_batch_sink {
    void *self;

    /* Required. The pipeline's stored offset; *found false when there is none. */
    dp_status (*load_offset)(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error);

    /* Optional. What the endpoint takes at most, as it said when the offset was loaded; 0: it did not say. */
    void (*limits)(void *self, size_t *max_batch_bytes, size_t *max_event_bytes);

    /* Required. Durable when it returns OK. */
    dp_status (*save_offset)(void *self, const dp_offset *offset, dp_error *error);

    /* Required. Starts a delivery; its body must stay until `wait` says done or it is dropped. */
    dp_status (*submit)(void *self, const dp_batch_delivery *delivery, dp_error *error);

    /* Required. Waits up to timeout_ms for an answer, in any lane. OK with *done false: not yet. A status
     * other than OK ends the delivery without an answer; retryable ones mean that submitting the same batch
     * again may succeed. */
    dp_status (*wait)(void *self, int timeout_ms, bool *done, dp_batch_answer *answer, dp_error *error);

    /* Required by a sender that uses more than lane 0. Ends the delivery in a lane, whose answer never comes;
     * what the endpoint does with the batch is not known. Nothing in flight there: nothing happens. */
    void (*drop)(void *self, unsigned lane);

    /* Required. Keeps a poison record of a stream; durable when it returns OK. *is_new false: it is there
     * since it was read before. */
    dp_status (*quarantine)(void *self, const dp_batch_source *stream, const dp_poison_record *record,
                            bool *is_new, dp_error *error);

    /* Optional. The unique keys that the stream was written with, one specification a line; nothing for a new
     * stream. */
    dp_status (*load_keys)(void *self, dp_slice source, dp_buffer *lines, dp_error *error);

    /* Optional. How far the stream of `source` is, or the pipeline's only one. Nothing known is not an error.
     */
    dp_status (*load_progress)(void *self, dp_slice source, dp_stream_progress *progress, dp_error *error);

    /* Optional. Tells what the stream reads from before the first batch. BLOCKED when the stream was written
     * from something else, unless that is accepted. */
    dp_status (*announce)(void *self, const dp_announcement *announcement, dp_error *error);

    /* Optional. What the sink calls now and then while a request about an offset, a poison record or a stream
     * waits for its answer, however long that takes. NULL ends it. */
    void (*set_meanwhile)(void *self, void (*meanwhile)(void *context), void *context);

    void (*close)(void *self);
} dp_batch_sink;

#endif
