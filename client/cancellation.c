#include "client/cancellation.h"

#include <stdatomic.h>
#include <stdlib.h>

struct dp_client_cancellation {
    pthread_mutex_t lock;
    atomic_bool set;
    dp_operation *first;
};

dp_client_cancellation *dp_client_cancellation_new(void)
{
    dp_client_cancellation *cancellation = calloc(1, sizeof *cancellation);
    if (cancellation != NULL && pthread_mutex_init(&cancellation->lock, NULL) != 0) {
        free(cancellation);
        return NULL;
    }
    return cancellation;
}

void dp_client_cancellation_free(dp_client_cancellation *cancellation)
{
    if (cancellation == NULL) return;
    pthread_mutex_destroy(&cancellation->lock);
    free(cancellation);
}

void dp_client_cancel(dp_client_cancellation *cancellation)
{
    pthread_mutex_lock(&cancellation->lock);
    atomic_store(&cancellation->set, true);
    for (dp_operation *operation = cancellation->first; operation != NULL;
         operation = operation->next_cancellable) {
        dp_transport_wake(operation->driver->channel);
    }
    pthread_mutex_unlock(&cancellation->lock);
}

void dp_cancellation_join(dp_operation *operation)
{
    dp_client_cancellation *cancellation = operation->request.cancellation;
    if (cancellation == NULL) return;
    pthread_mutex_lock(&cancellation->lock);
    operation->previous_cancellable = NULL;
    operation->next_cancellable = cancellation->first;
    if (cancellation->first != NULL) cancellation->first->previous_cancellable = operation;
    cancellation->first = operation;
    pthread_mutex_unlock(&cancellation->lock);
}

void dp_cancellation_leave(dp_operation *operation)
{
    dp_client_cancellation *cancellation = operation->request.cancellation;
    if (cancellation == NULL) return;
    pthread_mutex_lock(&cancellation->lock);
    if (operation->previous_cancellable == NULL) {
        cancellation->first = operation->next_cancellable;
    } else {
        operation->previous_cancellable->next_cancellable = operation->next_cancellable;
    }
    if (operation->next_cancellable != NULL) {
        operation->next_cancellable->previous_cancellable = operation->previous_cancellable;
    }
    pthread_mutex_unlock(&cancellation->lock);
}

bool dp_cancellation_is_set(const dp_operation *operation)
{
    return operation->request.cancellation != NULL && atomic_load(&operation->request.cancellation->set);
}
