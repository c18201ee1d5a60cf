/* Where a pipeline delivers to: the seam between the pipeline and the HTTP client.
 *
 * One batch is in flight at a time, so order is kept; the pipeline builds the next one meanwhile. Repeating a
 * batch after a transport failure is the sink's work (the resilient client inside it); repeating for as long
 * as the sink is down is the pipeline's. Belongs to one thread.
 */
#ifndef DPONE_SERVICES_BATCH_SINK_H
#define DPONE_SERVICES_BATCH_SINK_H

#include "base/error.h"
#include "cdc/batch_writer.h"
#include "cdc/poison.h"
#include "replay/offset_token.h"

/* What came back for a batch. A transport failure has http_status 0 and the cause in the error of `wait`. */
typedef struct dp_batch_answer {
    unsigned http_status;
    dp_slice body;          /* valid until the next call on the sink */
    unsigned retry_after_s; /* 0: none given */
    bool is_replayed;       /* the receipt of an earlier delivery: nothing was stored this time */
} dp_batch_answer;

/* What a stream reads from. */
typedef struct dp_announcement {
    const dp_batch_source *stream;
    dp_slice settings;      /* a JSON object */
    bool accepts_change;    /* the operator has compared and accepts what differs */
    bool accepts_more_keys; /* unique keys were only added, for tables that had none */
} dp_announcement;

typedef struct dp_batch_sink {
    void *self;

    /* Required. The pipeline's stored offset; *found false when there is none. */
    dp_status (*load_offset)(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error);

    /* Required. Durable when it returns OK. */
    dp_status (*save_offset)(void *self, const dp_offset *offset, dp_error *error);

    /* Required. Starts delivery; `body` and `batch_id` must stay until `wait` says done. */
    dp_status (*submit)(void *self, const char *batch_id, dp_slice body, dp_error *error);

    /* Required. Waits up to timeout_ms for the answer. OK with *done false: not yet. A status other than OK
     * ends the delivery without an answer; retryable ones mean that submitting the same batch again may
     * succeed. */
    dp_status (*wait)(void *self, int timeout_ms, bool *done, dp_batch_answer *answer, dp_error *error);

    /* Required. Keeps a poison record of a stream; durable when it returns OK. *is_new false: it is there
     * since it was read before. */
    dp_status (*quarantine)(void *self, const dp_batch_source *stream, const dp_poison_record *record,
                            bool *is_new, dp_error *error);

    /* Optional. The unique keys that the stream was written with, one specification a line; nothing for a new
     * stream. */
    dp_status (*load_keys)(void *self, dp_slice source, dp_buffer *lines, dp_error *error);

    /* Optional. Tells what the stream reads from before the first batch. BLOCKED when the stream was written
     * from something else, unless that is accepted. */
    dp_status (*announce)(void *self, const dp_announcement *announcement, dp_error *error);

    void (*close)(void *self);
} dp_batch_sink;

#endif
