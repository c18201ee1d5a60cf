/* The event thread: waits for files, runs timers and the inbox, and lets the library work.
 *
 * Every event thread runs one MHD daemon in external polling mode on the shared listening socket. MHD's own
 * polling thread is not used: its epoll loop repeats a blocking epoll_wait after a full round of 128 events
 * and so stalls when 128 or 256 connections are ready at once (docs/decisions/0020-http-event-loop.md).
 * Polling here also lets timers and wake-ups share the thread, so that requests need no locks of their own.
 */
#ifndef DPONE_SERVER_MICROHTTPD_LOOP_H
#define DPONE_SERVER_MICROHTTPD_LOOP_H

#include "server/microhttpd_parts.h"

/* The thread itself; `context` is the dp_http_loop. Ends when the server is stopping and no request is held.
 */
void *dp_http_run_loop(void *context);

#endif
