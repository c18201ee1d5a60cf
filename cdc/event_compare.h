/* Whether two events are the same change: content is every field but before, unchanged and metadata.
 *
 * Data that differs in bytes but says the same (order of members, white space, escapes, 1.0 and 1.00) is
 * equal. Pure; the arena is scratch for the rare case that bytes differ.
 */
#ifndef DPONE_CDC_EVENT_COMPARE_H
#define DPONE_CDC_EVENT_COMPARE_H

#include "cdc/event_scanner.h"

/* LIMIT or NO_MEMORY only when the arena is used up. */
dp_status dp_event_equal_content(const dp_event *left, const dp_event *right, dp_arena *arena, bool *equal,
                                 dp_error *error);

/* Whether two valid JSON texts say the same. */
dp_status dp_json_equal(dp_slice left, dp_slice right, dp_arena *arena, bool *equal, dp_error *error);

#endif
