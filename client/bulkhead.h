/* The bulkhead: how many attempts may run at once, who is next, and how many may wait.
 *
 * First come, first served: a released slot passes straight to the one who has waited longest, so nobody
 * overtakes. Pure: no clock, no lock, no sleeping; waiters are nodes that the caller owns and keeps where
 * they are until they are granted and released, or withdrawn. Deadlines are the waiter's own business. Not
 * shared between threads without the caller's lock.
 */
#ifndef DPONE_CLIENT_BULKHEAD_H
#define DPONE_CLIENT_BULKHEAD_H

#include <stdbool.h>

typedef enum dp_bulkhead_place {
    DP_BULKHEAD_OUTSIDE, /* holds nothing, waits for nothing */
    DP_BULKHEAD_WAITING, /* in the queue */
    DP_BULKHEAD_GRANTED  /* holds a slot */
} dp_bulkhead_place;

typedef struct dp_bulkhead_waiter dp_bulkhead_waiter;
struct dp_bulkhead_waiter {
    dp_bulkhead_place place;
    dp_bulkhead_waiter *previous;
    dp_bulkhead_waiter *next;
};

typedef struct dp_bulkhead {
    unsigned slot_count;
    unsigned max_waiting_count;
    unsigned used_count;
    unsigned waiting_count;
    dp_bulkhead_waiter *first;
    dp_bulkhead_waiter *last;
} dp_bulkhead;

dp_bulkhead dp_bulkhead_make(unsigned slot_count, unsigned max_waiting_count);

/* GRANTED: a slot is held. WAITING: queued. OUTSIDE: the queue is full. The waiter must be OUTSIDE before. */
dp_bulkhead_place dp_bulkhead_enter(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter);

/* Gives up a place of any kind. Returns the waiter that has got the slot by it and must be told, or NULL. */
dp_bulkhead_waiter *dp_bulkhead_leave(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter);

#endif
