/* A request of the HTTP adapter: its memory, and what it says of itself (the accessors of server/http.h).
 *
 * The memory of a request that is over is kept for the next one on the same thread, with its last answer.
 */
#ifndef DPONE_SERVER_MICROHTTPD_REQUEST_H
#define DPONE_SERVER_MICROHTTPD_REQUEST_H

#include "server/microhttpd_parts.h"

/* Zeroed, but for the kept answer. NULL: no memory. */
dp_http_request *dp_http_request_new(dp_http_loop *loop);

/* Takes it out of whatever it is in. */
void dp_http_request_free(dp_http_request *request);

#endif
