#include "server/admission_queue.h"

#include <stddef.h>

/* Somebody who waits goes before a newcomer, also when a slot is free for a moment. */
static bool take_slot(dp_admission_queue *queue)
{
    if (queue->active >= queue->limit) return false;
    queue->active++;
    return true;
}

dp_admission dp_admission_enter(dp_admission_queue *queue, dp_admission_waiter *waiter)
{
    *waiter = (dp_admission_waiter){0};
    if (queue->first == NULL && take_slot(queue)) return DP_ADMISSION_ADMITTED;
    if (queue->queued >= queue->max_queue) return DP_ADMISSION_REFUSED;
    waiter->previous = queue->last;
    waiter->is_queued = true;
    *(queue->last == NULL ? &queue->first : &queue->last->next) = waiter;
    queue->last = waiter;
    queue->queued++;
    return DP_ADMISSION_QUEUED;
}

dp_admission dp_admission_enter_front(dp_admission_queue *queue, dp_admission_waiter *waiter)
{
    *waiter = (dp_admission_waiter){0};
    if (take_slot(queue)) return DP_ADMISSION_ADMITTED;
    waiter->next = queue->first;
    waiter->is_queued = true;
    *(queue->first == NULL ? &queue->last : &queue->first->previous) = waiter;
    queue->first = waiter;
    queue->queued++;
    return DP_ADMISSION_QUEUED;
}

bool dp_admission_cancel(dp_admission_queue *queue, dp_admission_waiter *waiter)
{
    if (!waiter->is_queued) return false;
    *(waiter->previous == NULL ? &queue->first : &waiter->previous->next) = waiter->next;
    *(waiter->next == NULL ? &queue->last : &waiter->next->previous) = waiter->previous;
    *waiter = (dp_admission_waiter){0};
    queue->queued--;
    return true;
}

dp_admission_waiter *dp_admission_next(dp_admission_queue *queue)
{
    dp_admission_waiter *waiter = queue->first;
    if (waiter == NULL || !take_slot(queue)) return NULL;
    dp_admission_cancel(queue, waiter);
    return waiter;
}

dp_admission_waiter *dp_admission_leave(dp_admission_queue *queue)
{
    queue->active--;
    return dp_admission_next(queue);
}
