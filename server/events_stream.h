/* The journal's events as a streamed answer: read page by page on worker threads, sent on the event thread,
 * one page in memory. A slow receiver holds its page and no thread. Internal to server/. */
#ifndef DPONE_SERVER_EVENTS_STREAM_H
#define DPONE_SERVER_EVENTS_STREAM_H

#include "server/exchange.h"

/* On a worker thread: opens the reader and answers, with the stream or with the reason why not. With a `mark`
 * it does not answer when there is nothing to send: false, and *mark is the reader's. */
bool dp_events_stream_answer(dp_exchange *exchange, dp_slice pipeline, const dp_events_query *query,
                             uint64_t *mark);

#endif
