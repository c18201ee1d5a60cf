#include "server/timer_heap.h"

#include <stdlib.h>

void dp_timer_heap_release(dp_timer_heap *heap)
{
    free(heap->timers);
    *heap = (dp_timer_heap){0};
}

static void put(dp_timer_heap *heap, size_t index, dp_timer *timer)
{
    heap->timers[index] = timer;
    timer->place = index + 1;
}

static void move_up(dp_timer_heap *heap, size_t index, dp_timer *timer)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap->timers[parent]->at_us <= timer->at_us) break;
        put(heap, index, heap->timers[parent]);
        index = parent;
    }
    put(heap, index, timer);
}

static void move_down(dp_timer_heap *heap, size_t index, dp_timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && heap->timers[child + 1]->at_us < heap->timers[child]->at_us) child++;
        if (timer->at_us <= heap->timers[child]->at_us) break;
        put(heap, index, heap->timers[child]);
        index = child;
    }
    put(heap, index, timer);
}

static void settle(dp_timer_heap *heap, size_t index, dp_timer *timer)
{
    if (index > 0 && heap->timers[(index - 1) / 2]->at_us > timer->at_us) {
        move_up(heap, index, timer);
    } else {
        move_down(heap, index, timer);
    }
}

bool dp_timer_heap_set(dp_timer_heap *heap, dp_timer *timer, int64_t at_us)
{
    timer->at_us = at_us;
    if (timer->place > 0) {
        settle(heap, timer->place - 1, timer);
        return true;
    }
    if (heap->count == heap->capacity) {
        size_t capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
        dp_timer **timers = realloc(heap->timers, capacity * sizeof(dp_timer *));
        if (timers == NULL) return false;
        heap->timers = timers;
        heap->capacity = capacity;
    }
    move_up(heap, heap->count++, timer);
    return true;
}

void dp_timer_heap_cancel(dp_timer_heap *heap, dp_timer *timer)
{
    if (timer->place == 0) return;
    size_t index = timer->place - 1;
    timer->place = 0;
    dp_timer *last = heap->timers[--heap->count];
    if (last != timer) settle(heap, index, last);
}

const dp_timer *dp_timer_heap_first(const dp_timer_heap *heap)
{
    return heap->count == 0 ? NULL : heap->timers[0];
}

dp_timer *dp_timer_heap_take_due(dp_timer_heap *heap, int64_t now_us)
{
    if (heap->count == 0 || heap->timers[0]->at_us > now_us) return NULL;
    dp_timer *timer = heap->timers[0];
    dp_timer_heap_cancel(heap, timer);
    return timer;
}
