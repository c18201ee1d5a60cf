/* A request's body as it comes: how much of it is taken, and whether its end is where it seems to be.
 *
 * Bodies share a limited memory, of which one is promised its part when its header is complete.
 */
#ifndef DPONE_SERVER_MICROHTTPD_BODY_H
#define DPONE_SERVER_MICROHTTPD_BODY_H

#include "server/microhttpd_parts.h"

/* Takes what Content-Length announces out of the common body memory, so that it cannot be promised away.
 * Marks the request as malformed when it is too much. */
void dp_http_reserve_body(dp_http_request *request);

/* Gives its part of that memory back. */
void dp_http_release_body(dp_http_request *request);

/* The line of a chunk that was seen last counts: its chunk has begun, or it was the last. */
void dp_http_judge_framing(dp_http_request *request);

/* Sets *length to 0. MHD_NO: cut the connection. */
enum MHD_Result dp_http_take_body(dp_http_request *request, const char *data, size_t *length);

#endif
