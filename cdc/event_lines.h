/* Writes scanned or stored events and commits as the lines they came as: the counterpart of event_scanner.h.
 * A line that the event writer made is given back byte for byte. Pure; failures are the buffer's. */
#ifndef DPONE_CDC_EVENT_LINES_H
#define DPONE_CDC_EVENT_LINES_H

#include "base/buffer.h"
#include "cdc/event_scanner.h"

/* The event line with its newline. */
void dp_event_put_line(dp_buffer *out, const dp_event *event);

/* The commit line with its newline. */
void dp_commit_put_line(dp_buffer *out, const dp_commit_line *commit);

#endif
