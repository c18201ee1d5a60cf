/* What the end of an attempt means: its error kind, whether it may be repeated, what the breaker learns.
 *
 * Pure. The transport says how far it came, HTTP says the status, and one table says the rest. Safe from any
 * thread.
 */
#ifndef DPONE_CLIENT_OUTCOME_H
#define DPONE_CLIENT_OUTCOME_H

#include "base/slice.h"
#include "client/circuit_breaker.h"
#include "client/client.h"

/* How an exchange ended, before its status is looked at. */
typedef enum dp_exchange_end {
    DP_EXCHANGE_REPLIED,       /* a complete, well-formed reply */
    DP_EXCHANGE_NO_CONNECTION, /* refused, unresolved, reset, cut, empty or garbled */
    DP_EXCHANGE_UNTRUSTED,     /* the TLS peer could not be verified; a moment later it is no better */
    DP_EXCHANGE_TIMED_OUT,     /* connect, read, write or total */
    DP_EXCHANGE_TOO_LARGE,     /* the reply is larger than allowed */
    DP_EXCHANGE_REFUSED,       /* the caller's own body source or sink gave up */
    DP_EXCHANGE_CANCELLED,     /* by the caller */
    DP_EXCHANGE_UNUSABLE,      /* the request cannot be made: URL, scheme, redirect, certificate file */
    DP_EXCHANGE_NO_MEMORY
} dp_exchange_end;

typedef struct dp_outcome {
    dp_client_kind kind;
    bool retryable;
    dp_breaker_event breaker; /* SUCCESS, FAILURE or GIVE_BACK; FAILURE counts when no attempt follows */
} dp_outcome;

/* `http_status` and `body` are looked at for DP_EXCHANGE_REPLIED only. */
dp_outcome dp_outcome_of(dp_exchange_end end, int http_status, dp_slice body);

#endif
