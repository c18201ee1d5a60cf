/* One request that is worked on by a worker thread: its exchange and the decoded texts of its target.
 * Internal to server/. */
#ifndef DPONE_SERVER_V1_JOB_H
#define DPONE_SERVER_V1_JOB_H

#include "server/exchange.h"

typedef struct dp_v1_job {
    dp_worker_job job; /* first: the pool hands this back */
    dp_exchange *exchange;
    int64_t made_at_us; /* monotonic */
    dp_buffer decoded;  /* path and query parameters; reserved once, so that slices of it never move */
    dp_slice pipeline;  /* the first parameter of the path */
} dp_v1_job;

/* NULL: no memory. */
dp_v1_job *dp_v1_job_new(dp_exchange *exchange, void (*run)(dp_worker_job *job));
void dp_v1_job_free(dp_v1_job *job);

/* Decoded copies that live as long as the job, each to be asked for once. An absent query parameter has
 * data NULL. */
dp_slice dp_v1_job_parameter(dp_v1_job *job, unsigned index);
dp_slice dp_v1_job_query(dp_v1_job *job, const char *name);

#endif
