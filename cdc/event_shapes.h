/* A fast way to read the event lines of one batch: lines of the same table and operation differ only in a few
 * places, so what stood around those places before is compared instead of parsed again.
 *
 * Only the usual line is read: the members in the event writer's order, the columns of an earlier line in its
 * order, no space, no metadata. Everything else, faults included, is left to dp_wire_line_scan; whatever is
 * read here it would read the same. Zero-copy: what is learned views the lines, which must stay where they
 * are until dp_event_shapes_clear. Pure; one thread at a time.
 */
#ifndef DPONE_CDC_EVENT_SHAPES_H
#define DPONE_CDC_EVENT_SHAPES_H

#include "cdc/event_scanner.h"

typedef struct dp_event_shapes dp_event_shapes;

/* NULL when memory is refused. */
dp_event_shapes *dp_event_shapes_new(void);
void dp_event_shapes_free(dp_event_shapes *shapes);

/* Forgets every line. */
void dp_event_shapes_clear(dp_event_shapes *shapes);

/* Reads a line, without its newline; false, with *event undefined, for one that is not as an earlier one. */
bool dp_event_shapes_scan(dp_event_shapes *shapes, dp_slice line, uint64_t line_number, dp_event *event);

/* Remembers a line that dp_wire_line_scan has read as `event`, if it is a usual one. */
void dp_event_shapes_learn(dp_event_shapes *shapes, dp_slice line, const dp_event *event);

#endif
