/* Checks event lines, as decode prints them or a batch carries them, for events that occur twice. Reads a
 * file or a pipe; memory grows with the number of different ids up to the maximum, not with the size of the
 * lines. */
#ifndef DPONE_SERVICES_CHECK_IDEMPOTENCY_H
#define DPONE_SERVICES_CHECK_IDEMPOTENCY_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_check_idempotency_options {
    const char *source; /* "-", a path, or "file:" and a path */
    size_t max_events;  /* different ones; LIMIT past it */
} dp_check_idempotency_options;

/* Appends {"passed":…,"total_events":…,"unique_events":…,"duplicate_count":…,"duplicate_event_ids":[…]},
 * indented, and a newline; *passed says the same. Lines that are no events are skipped. DATA names a
 * malformed line, or an event without an id, which cannot be checked. */
dp_status dp_check_idempotency(const dp_check_idempotency_options *options, dp_buffer *out, bool *passed,
                               dp_error *error);

#endif
