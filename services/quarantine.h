/* The quarantine as an operator works on it: look, export, deliver what was mended, discard.
 *
 * A mended event is delivered as a transaction of its own in a stream of its own, `<source>#quarantine-<id>`:
 * the transaction it came from is stored without it and never changes. Its id is computed as if it had never
 * been poison, so an endpoint that applies by event id has it once. One thread.
 */
#ifndef DPONE_SERVICES_QUARANTINE_H
#define DPONE_SERVICES_QUARANTINE_H

#include "base/buffer.h"
#include "cdc/unique_keys.h"
#include "services/batch_sink.h"
#include "services/journal_link.h"

typedef struct dp_quarantine_mending {
    const json_t *event;        /* an object with the members of an event line */
    const dp_unique_keys *keys; /* NULL: the row is hashed */
    dp_identity_kind identity;  /* of the stream it came from */
    /* Identity dpone-py hashes types and columns that an event line does not tell, so its id is given: 64
     * hexadecimal digits. NULL for v1. */
    const char *event_id;
} dp_quarantine_mending;

/* The event line of an entry with its id, mended or as it was, and the transaction around it: two lines.
 * USAGE names what the event still lacks, event_id_needed for dpone-py without an id; POISON key_missing when
 * a key column is in neither data nor before, or null. */
dp_status dp_quarantine_mend(const dp_quarantine_mending *mending, dp_buffer *lines, dp_error *error);

typedef struct dp_quarantine_delivery {
    const char *pipeline;
    int64_t quarantine_id;
    dp_slice source; /* of the entry; may be empty */
    dp_identity_kind identity;
    dp_slice lines; /* from dp_quarantine_mend */
} dp_quarantine_delivery;

/* Delivers and asks the commit gate. *is_duplicate: the endpoint had it already. */
dp_status dp_quarantine_deliver(const dp_quarantine_delivery *delivery, const dp_batch_sink *sink,
                                bool *is_duplicate, dp_error *error);

/* Whether a stream's source is that of a delivered entry. Such a stream is chosen only by its name. */
bool dp_quarantine_is_source(dp_slice source);

#endif
