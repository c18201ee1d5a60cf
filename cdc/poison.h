/* Poison: a change that cannot be identified or carried. It is never dropped silently: it stops the reader,
 * or is kept with its reason, where it stood, and what was read. Pure.
 */
#ifndef DPONE_CDC_POISON_H
#define DPONE_CDC_POISON_H

#include "cdc/event_writer.h"

typedef struct dp_poison_record {
    const char *code;   /* "key_missing", "event_too_large", ... */
    const char *reason; /* one line for people */
    dp_slice context;   /* where it stood: a JSON object */
    dp_slice bytes;     /* the change as an event line without an id */
} dp_poison_record;

/* Whether an error of the event or batch writer means that the change itself is at fault. */
bool dp_poison_is(const dp_error *error);

/* Describes the change into two buffers (cleared first); the record borrows them and the error. */
dp_status dp_poison_describe(dp_event_writer *writer, const dp_change *change, const dp_error *cause,
                             dp_buffer *context, dp_buffer *bytes, dp_poison_record *record, dp_error *error);

/* Appends the record as one JSON line: {"code":...,"reason":...,"context":{...},"event":{...}}. */
void dp_poison_put_line(dp_buffer *out, const dp_poison_record *record);

/* The same with the stream that the change was read from: "source" and "backend" stand first. */
void dp_poison_put_request(dp_buffer *out, dp_slice source, dp_backend backend,
                           const dp_poison_record *record);

#endif
