/* The server's behaviour: which request gets which answer, when, and what is logged and counted about it.
 *
 * Implements the handlers of server/http.h. The pure modules (failure state, admission queue, idempotency
 * cache) are kept here under one lock that is held for microseconds and never during I/O. Any number of
 * event threads share one application.
 */
#ifndef DPONE_SERVER_APPLICATION_H
#define DPONE_SERVER_APPLICATION_H

#include "server/http.h"
#include "server/metrics.h"
#include "server/settings.h"
#include "services/journal_api.h"

typedef struct dp_application dp_application;

typedef struct dp_application_options {
    const dp_settings *settings; /* copied as far as needed */
    dp_log *log;
    dp_journal_api *journal; /* NULL: without a state; must outlive the application */
    const char *token;       /* bearer token of /v1, or ""; must outlive the application */
} dp_application_options;

dp_status dp_application_new(const dp_application_options *options, dp_application **application,
                             dp_error *error);

/* Before the HTTP server stops: answers the requests that wait for events or for other batches, so that none
 * holds it up. */
void dp_application_end_waiting(dp_application *application);

/* Waits until the workers have finished what they have begun, or until this time of the monotonic clock: then
 * false, and the application may not be freed. */
bool dp_application_finish_work(dp_application *application, int64_t give_up_us);

/* After the HTTP server has stopped. */
void dp_application_free(dp_application *application);

/* The handlers to start the HTTP server with, and the memory they need in every request. */
dp_http_handlers dp_application_handlers(dp_application *application);
size_t dp_application_request_bytes(void);

/* The HTTP server that asks, for its gauges. */
void dp_application_attach(dp_application *application, dp_http_server *server);

/* Applies the settings that may change while running. */
void dp_application_configure(dp_application *application, const dp_settings *settings);

#endif
