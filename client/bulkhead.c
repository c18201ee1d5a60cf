#include "client/bulkhead.h"

#include <stddef.h>

dp_bulkhead dp_bulkhead_make(unsigned slot_count, unsigned max_waiting_count)
{
    return (dp_bulkhead){.slot_count = slot_count, .max_waiting_count = max_waiting_count};
}

static void append(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter)
{
    waiter->next = NULL;
    waiter->previous = bulkhead->last;
    if (bulkhead->last == NULL) {
        bulkhead->first = waiter;
    } else {
        bulkhead->last->next = waiter;
    }
    bulkhead->last = waiter;
    bulkhead->waiting_count++;
}

static void unlink_waiter(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter)
{
    if (waiter->previous == NULL) {
        bulkhead->first = waiter->next;
    } else {
        waiter->previous->next = waiter->next;
    }
    if (waiter->next == NULL) {
        bulkhead->last = waiter->previous;
    } else {
        waiter->next->previous = waiter->previous;
    }
    waiter->previous = waiter->next = NULL;
    bulkhead->waiting_count--;
}

dp_bulkhead_place dp_bulkhead_enter(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter)
{
    if (bulkhead->used_count < bulkhead->slot_count) {
        bulkhead->used_count++;
        waiter->place = DP_BULKHEAD_GRANTED;
    } else if (bulkhead->waiting_count < bulkhead->max_waiting_count) {
        append(bulkhead, waiter);
        waiter->place = DP_BULKHEAD_WAITING;
    }
    return waiter->place;
}

dp_bulkhead_waiter *dp_bulkhead_leave(dp_bulkhead *bulkhead, dp_bulkhead_waiter *waiter)
{
    dp_bulkhead_place place = waiter->place;
    waiter->place = DP_BULKHEAD_OUTSIDE;
    switch (place) {
    case DP_BULKHEAD_OUTSIDE: return NULL;
    case DP_BULKHEAD_WAITING: unlink_waiter(bulkhead, waiter); return NULL;
    case DP_BULKHEAD_GRANTED: break;
    }
    dp_bulkhead_waiter *heir = bulkhead->first;
    if (heir == NULL) {
        bulkhead->used_count--;
        return NULL;
    }
    unlink_waiter(bulkhead, heir); /* the slot stays used and changes hands */
    heir->place = DP_BULKHEAD_GRANTED;
    return heir;
}
