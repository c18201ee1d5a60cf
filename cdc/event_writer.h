/* Events as lines: the wire form of changes (NDJSON), and the row form for consumers of flat rows. Pure.
 *
 * A writer holds scratch memory for ids; one per thread. Lines are appended to the caller's buffer with their
 * newline; on any status but OK the buffer is as it was before the call.
 */
#ifndef DPONE_CDC_EVENT_WRITER_H
#define DPONE_CDC_EVENT_WRITER_H

#include "base/buffer.h"
#include "cdc/event_identity.h"
#include "cdc/row_json.h"

typedef struct dp_event_writer dp_event_writer;

/* NULL when memory is refused. */
dp_event_writer *dp_event_writer_new(dp_identity_kind identity, dp_row_style style);
void dp_event_writer_free(dp_event_writer *writer);

/* {"event_id":...,"operation":...,...}: the event line. A change without position or transaction id gets
 * "event_id":null, and *id_missing (may be NULL) is set. POISON as dp_event_identity_id. LIMIT when the
 * buffer's maximum is reached. */
dp_status dp_event_writer_put_event(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                    bool *id_missing, dp_error *error);

/* As dp_event_writer_put_event with "event_id":null whatever the change: for poison, which has no id. */
dp_status dp_event_writer_put_without_id(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                         dp_error *error);

/* {"type":"commit",...}: the commit line. */
dp_status dp_event_writer_put_commit(dp_buffer *out, const dp_transaction_end *end, dp_error *error);

/* The row form: the data, then the members _dpone_cdc_*. DATA when a column's name begins so itself. A value
 * left unchanged by an update is filled from the old row where the source sent it. */
dp_status dp_event_writer_put_row(dp_event_writer *writer, dp_buffer *out, const dp_change *change,
                                  dp_error *error);

/* The id of the event written last. */
dp_event_id dp_event_writer_last_id(const dp_event_writer *writer);

#endif
