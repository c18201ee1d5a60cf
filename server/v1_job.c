#include "server/v1_job.h"

#include <stdlib.h>

#include "base/clock.h"

static dp_slice decode(dp_v1_job *job, dp_slice text, bool plus_is_space)
{
    size_t at = job->decoded.length;
    if (!dp_buffer_reserve(&job->decoded, text.length)) return dp_slice_make("", 0);
    size_t length = dp_percent_decode(text, plus_is_space, job->decoded.data + at);
    job->decoded.length += length;
    return dp_slice_make(job->decoded.data + at, length);
}

dp_slice dp_v1_job_parameter(dp_v1_job *job, unsigned index)
{
    return decode(job, job->exchange->match.parameters[index], false);
}

dp_slice dp_v1_job_query(dp_v1_job *job, const char *name)
{
    dp_slice text;
    if (!dp_query_last(dp_http_request_query(job->exchange->request), name, &text))
        return (dp_slice){NULL, 0};
    return decode(job, text, true);
}

dp_v1_job *dp_v1_job_new(dp_exchange *exchange, void (*run)(dp_worker_job *job))
{
    dp_v1_job *job = calloc(1, sizeof *job);
    if (job == NULL) return NULL;
    size_t length =
        dp_http_request_path(exchange->request).length + dp_http_request_query(exchange->request).length + 1;
    job->job.run = run;
    job->exchange = exchange;
    job->made_at_us = dp_clock_monotonic_us();
    job->decoded.max_bytes = length;
    if (!dp_buffer_reserve(&job->decoded, length)) {
        free(job);
        return NULL;
    }
    if (exchange->match.parameter_count > 0) job->pipeline = dp_v1_job_parameter(job, 0);
    return job;
}

void dp_v1_job_free(dp_v1_job *job)
{
    dp_buffer_release(&job->decoded);
    free(job);
}
