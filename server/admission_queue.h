/* A limit on concurrent work with a bounded queue, first come, first served.
 *
 * Pure and intrusive: the waiter is a member of the caller's request, nothing is allocated, nothing is
 * locked, no thread waits. The owner serialises access and resumes the waiters it is handed.
 */
#ifndef DPONE_SERVER_ADMISSION_QUEUE_H
#define DPONE_SERVER_ADMISSION_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dp_admission_waiter {
    struct dp_admission_waiter *previous;
    struct dp_admission_waiter *next;
    bool is_queued;
} dp_admission_waiter;

/* Begins as zeros but for the first two. */
typedef struct dp_admission_queue {
    uint32_t limit;     /* slots */
    uint32_t max_queue; /* waiters before newcomers are refused */
    uint32_t active;    /* slots in use; above the limit only after the limit was lowered */
    uint32_t queued;
    dp_admission_waiter *first;
    dp_admission_waiter *last;
} dp_admission_queue;

typedef enum dp_admission {
    DP_ADMISSION_ADMITTED, /* the caller holds a slot */
    DP_ADMISSION_QUEUED,   /* a later leave or next hands the waiter out */
    DP_ADMISSION_REFUSED   /* the queue is full; nothing is held */
} dp_admission;

/* Takes a slot or a place at the end of the queue. */
dp_admission dp_admission_enter(dp_admission_queue *queue, dp_admission_waiter *waiter);

/* As enter, for one that has waited before: it goes to the front and is never refused. */
dp_admission dp_admission_enter_front(dp_admission_queue *queue, dp_admission_waiter *waiter);

/* Gives a slot back. The returned waiter, if any, now holds one and must be resumed. */
dp_admission_waiter *dp_admission_leave(dp_admission_queue *queue);

/* Hands out a free slot, as after the limit was raised; NULL when there is none or nobody waits. */
dp_admission_waiter *dp_admission_next(dp_admission_queue *queue);

/* Takes a waiter out of the queue; false when it was not in it. */
bool dp_admission_cancel(dp_admission_queue *queue, dp_admission_waiter *waiter);

#endif
