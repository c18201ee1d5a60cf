/* `dpone client --repeat --concurrency`: many operations through one client from one thread, then a table. */
#ifndef DPONE_CLI_CLIENT_LOAD_H
#define DPONE_CLI_CLIENT_LOAD_H

#include "base/buffer.h"
#include "client/client.h"

typedef struct dp_client_load {
    uint64_t repeat;
    uint64_t concurrency;
    bool progress; /* a live line on standard error */
    bool json;     /* the result as one JSON object instead of a table */
} dp_client_load;

/* Appends the result to `out`; *worst is the highest of the statuses' exit codes. */
dp_status dp_client_load_run(dp_client *client, const dp_client_request *request, const dp_client_load *load,
                             dp_buffer *out, int *worst, dp_error *error);

#endif
