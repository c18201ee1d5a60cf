/* What a connection remembers of the stream that it saved last, so that the next batch of it need not wait
 * for the database to tell the same again. What is remembered is only ever presumed: STREAM_CLAIM, the first
 * statement of the transaction, fails unless the row is still the one that was saved, and locks it.
 *
 * Part of the driver; ownership and threads as postgres_session.h says.
 */
#ifndef DPONE_STATE_POSTGRES_MEMORY_H
#define DPONE_STATE_POSTGRES_MEMORY_H

#include "state/postgres_session.h"

/* The stream is being saved so; counts once the transaction is committed. */
void dp_pg_memory_save(dp_pg_session *session, const dp_stream *stream, int64_t partitioned_below);
void dp_pg_memory_committed(dp_pg_session *session);
void dp_pg_memory_rolled_back(dp_pg_session *session);
/* The presumption was wrong. */
void dp_pg_memory_forget(dp_pg_session *session);

/* Notes whether a row that has been locked is as it was left. */
void dp_pg_memory_compare(dp_pg_session *session, int64_t stream_id, dp_slice marker, uint32_t xmin);

/* Whether the stream may be presumed: it was as it was left when it was opened last, so that a connection
 * whose stream others write, too, does not presume in vain each time. */
bool dp_pg_memory_may_presume(const dp_pg_session *session, const dp_stream_key *key);
/* The parameters of STREAM_CLAIM but the receipt's. */
void dp_pg_memory_add_claim(dp_pg_session *session, dp_pg_params *params);
/* The stream as it is remembered, its texts in the arena. */
dp_status dp_pg_memory_recall(const dp_pg_session *session, dp_arena *arena, dp_stream *stream,
                              dp_error *error);

#endif
