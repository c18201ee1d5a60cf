/* The /v1 routes and /ready: access, media types, and calls into the journal service on worker threads.
 * Internal to server/. */
#ifndef DPONE_SERVER_V1_ROUTES_H
#define DPONE_SERVER_V1_ROUTES_H

#include "server/exchange.h"

/* Whether the route's answers come from the journal service. */
bool dp_v1_owns(dp_route route);

/* The header is complete: decides about access and media type and how large a body may be. */
void dp_v1_on_headers(dp_exchange *exchange);

/* The body is complete: refuses as decided before, or hands over to a worker. */
void dp_v1_on_request(dp_exchange *exchange);

/* For an exchange that `follows`: looks again whether the batch before it is stored, and when to give up. */
void dp_v1_on_timer(dp_exchange *exchange);

#endif
