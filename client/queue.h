/* What the client needs to know of its queues to close while calls are in flight on them. */
#ifndef DPONE_CLIENT_QUEUE_H
#define DPONE_CLIENT_QUEUE_H

#include "client/operation.h"

struct dp_client_queue {
    dp_driver *driver;
    size_t call_count;           /* submitted and not taken back */
    dp_client_call *spare_calls; /* freed ones, kept for their memory */
    size_t spare_count;
    pthread_t owner; /* under the client's lock: the thread that used it last */
    dp_client_queue *previous;
    dp_client_queue *next;
};

/* Moves the queue's calls forward until none is in flight. */
void dp_queue_run_to_end(dp_client_queue *queue);

#endif
