/* Delivers batches to a dpone server, or to any endpoint that answers with receipts, through the resilient
 * client. */
#ifndef DPONE_SERVICES_HTTP_SINK_H
#define DPONE_SERVICES_HTTP_SINK_H

#include "client/client.h"
#include "services/batch_sink.h"

typedef struct dp_http_sink_options {
    const char *server_url; /* "http://host:port", without a path */
    const char *pipeline;
    const char *token;              /* bearer token; NULL: none. Never logged */
    const char *ca_file;            /* certificates to trust, PEM; NULL: the system's */
    const dp_client_config *client; /* base_url and headers are set here; NULL: the defaults */
} dp_http_sink_options;

/* USAGE for a URL that cannot be used. Connects only when something is sent. */
dp_status dp_http_sink_open(const dp_http_sink_options *options, dp_batch_sink *sink, dp_error *error);

#endif
