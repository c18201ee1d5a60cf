/* Links operations to the cancellation they carry, so that triggering it wakes their drivers. */
#ifndef DPONE_CLIENT_CANCELLATION_H
#define DPONE_CLIENT_CANCELLATION_H

#include "client/operation.h"

/* All three allow an operation without a cancellation. */
void dp_cancellation_join(dp_operation *operation);
void dp_cancellation_leave(dp_operation *operation);
bool dp_cancellation_is_set(const dp_operation *operation);

#endif
