/* The journal's figures for /metrics: read from the state by a worker now and then, rendered from the last
 * reading, so that a slow state never slows /metrics. Internal to server/. */
#ifndef DPONE_SERVER_JOURNAL_METRICS_H
#define DPONE_SERVER_JOURNAL_METRICS_H

#include "server/worker_pool.h"
#include "services/journal_api.h"

typedef struct dp_journal_metrics dp_journal_metrics;

/* Null when memory is refused. */
dp_journal_metrics *dp_journal_metrics_new(dp_journal_api *journal);

/* After the pool has ended. Null is allowed. */
void dp_journal_metrics_free(dp_journal_metrics *metrics);

/* Has the figures read again on the pool when they are older than five seconds; returns at once. */
void dp_journal_metrics_refresh(dp_journal_metrics *metrics, dp_worker_pool *pool, int64_t now_us);

/* Appends the last reading. */
void dp_journal_metrics_render(dp_journal_metrics *metrics, dp_buffer *out);

#endif
