/* Log lines and events to the caller's functions. Never with the client's lock held. */
#ifndef DPONE_CLIENT_OBSERVE_H
#define DPONE_CLIENT_OBSERVE_H

#include "client/operation.h"

void dp_observe_attempt(const dp_operation *operation, dp_client_kind kind);
void dp_observe_retry(const dp_operation *operation, dp_client_kind kind, int64_t wait_us);
void dp_observe_end(const dp_operation *operation);
void dp_observe_breaker(const dp_operation *operation, dp_breaker_state from, dp_breaker_state to);

#endif
