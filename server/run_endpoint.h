/* The metrics of one `dpone cdc run`, served by the run itself: GET /metrics and GET /health, nothing else.
 *
 * So they are there while the server is not, which is when they are needed. Reads only the monitor's picture;
 * the run is never waited for. docs/monitoring.md describes every metric; a test compares.
 */
#ifndef DPONE_SERVER_RUN_ENDPOINT_H
#define DPONE_SERVER_RUN_ENDPOINT_H

#include "services/run_monitor.h"

typedef struct dp_run_endpoint dp_run_endpoint;

typedef struct dp_run_endpoint_options {
    const char *address; /* HOST:PORT; port 0: any free one */
    const char *pipeline;
    const char *slot;        /* NULL: the source has none */
    dp_run_monitor *monitor; /* must outlive the endpoint */
} dp_run_endpoint_options;

/* Everything is copied but the monitor. USAGE for an address that is none, IO when it cannot be bound. */
dp_status dp_run_endpoint_start(const dp_run_endpoint_options *options, dp_run_endpoint **endpoint,
                                dp_error *error);
void dp_run_endpoint_stop(dp_run_endpoint *endpoint); /* null is allowed */

uint16_t dp_run_endpoint_port(const dp_run_endpoint *endpoint);
const char *dp_run_endpoint_host(const dp_run_endpoint *endpoint);

/* The text of /metrics. */
void dp_run_metrics_render(const dp_run_picture *picture, const char *pipeline, const char *slot,
                           dp_buffer *out);

#endif
