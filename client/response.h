/* What the transport collects a reply in: header lines and body, bounded, reused from one attempt to the
 * next. Never parses HTTP framing: libcurl has done that. One thread at a time. */
#ifndef DPONE_CLIENT_RESPONSE_H
#define DPONE_CLIENT_RESPONSE_H

#include "base/buffer.h"
#include "client/client.h"

enum { DP_RESPONSE_MAX_HEAD_BYTES = 256 * 1024 };

typedef struct dp_client_response_memory {
    dp_buffer head; /* the last reply's field lines, each with its newline, without the status line */
    dp_buffer body;
    dp_client_field *fields;
    size_t field_capacity;
} dp_client_response_memory;

/* Gives the response its memory (once) and forgets what it held. False: no memory. */
bool dp_response_prepare(dp_client_response *response, size_t max_body_bytes);

/* Splits head into fields and points body at what was collected. False: no memory. */
bool dp_response_finish(dp_client_response *response);

#endif
