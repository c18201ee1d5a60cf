/* Timers of one event thread: a binary heap ordered by time; the timer is a member of its owner.
 *
 * Pure: no clock. Setting and cancelling cost O(log n). Not shared between threads.
 */
#ifndef DPONE_SERVER_TIMER_HEAP_H
#define DPONE_SERVER_TIMER_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dp_timer {
    int64_t at_us;
    size_t place;  /* 1 + index in the heap; 0: not set */
    uint32_t kind; /* the owner's */
} dp_timer;

typedef struct dp_timer_heap {
    dp_timer **timers;
    size_t count;
    size_t capacity;
} dp_timer_heap;

void dp_timer_heap_release(dp_timer_heap *heap);

/* Sets or moves a timer; false when memory is refused (a move never fails). */
bool dp_timer_heap_set(dp_timer_heap *heap, dp_timer *timer, int64_t at_us);

void dp_timer_heap_cancel(dp_timer_heap *heap, dp_timer *timer);

/* The earliest timer, or NULL. */
const dp_timer *dp_timer_heap_first(const dp_timer_heap *heap);

/* Removes and returns the earliest timer that is due, or NULL. */
dp_timer *dp_timer_heap_take_due(dp_timer_heap *heap, int64_t now_us);

#endif
