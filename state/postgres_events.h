/* The driver functions of postgres_events.c: the events and their partitions. As store.h has them. */
#ifndef DPONE_STATE_POSTGRES_EVENTS_H
#define DPONE_STATE_POSTGRES_EVENTS_H

#include "state/postgres_session.h"

dp_status dp_pg_events_insert(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                              dp_error *error);
dp_status dp_pg_events_read(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
                            size_t range_count, const dp_row_visitor *visitor, dp_error *error);
dp_status dp_pg_events_delete(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error);
dp_status dp_pg_events_prune(dp_store *store, int64_t stream_id, dp_error *error);

#endif
