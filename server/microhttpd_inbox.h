/* What other threads have to say to an event thread about its requests: an answer is ready, wake it, its
 * stream goes on.
 *
 * Each request is in the inbox at most once, with a flag for each of these. Any thread may post; the rest is
 * the event thread's.
 */
#ifndef DPONE_SERVER_MICROHTTPD_INBOX_H
#define DPONE_SERVER_MICROHTTPD_INBOX_H

#include "server/microhttpd_parts.h"

/* Any thread: makes it look around. */
void dp_http_wake_loop(dp_http_loop *loop);

/* Any thread, as long as the request lives. */
void dp_http_post(dp_http_request *request, dp_http_inbox_flag flag);

/* The request is over. */
void dp_http_leave_inbox(dp_http_request *request);

/* Does what has been posted. */
void dp_http_run_inbox(dp_http_loop *loop);

bool dp_http_inbox_is_empty(dp_http_loop *loop);

#endif
