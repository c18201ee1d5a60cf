/* GET /v1/pipelines/{pipeline}/events, at once or when there is something: a request with `wait` that finds
 * nothing is suspended, holding no thread and no connection to the state, until something is written, its
 * time is over, or the server stops. Internal to server/. */
#ifndef DPONE_SERVER_EVENTS_ROUTE_H
#define DPONE_SERVER_EVENTS_ROUTE_H

#include "server/exchange.h"

enum { DP_EVENTS_MAX_WAIT_S = 60 };

/* The request is complete. */
void dp_events_route_begin(dp_exchange *exchange);

/* The time that it may wait is over; on its own thread. */
void dp_events_route_timer(dp_exchange *exchange);

/* Reads for those who wait: a list from server/waiting_readers.h. From any thread. */
void dp_events_route_wake(dp_application *application, dp_waiting_reader *list);

/* Answers everyone who waits, with nothing; nobody waits from now on. */
void dp_events_route_stop(dp_application *application);

#endif
