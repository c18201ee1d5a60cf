/* The circuit breaker: after repeated failures it refuses at once, then lets one probe find out.
 *
 * Pure: no clock, no random source, no lock; time and randomness are passed in. One function,
 * dp_breaker_step, names every pair of state and event. Every admitted attempt holds a permit and ends with
 * exactly one of SUCCESS, FAILURE and GIVE_BACK; a permit that was issued before the last transition changes
 * nothing. Not shared between threads without the caller's lock. Start reading at dp_breaker_step.
 */
#ifndef DPONE_CLIENT_CIRCUIT_BREAKER_H
#define DPONE_CLIENT_CIRCUIT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum dp_breaker_state {
    DP_BREAKER_CLOSED,   /* everything passes; consecutive failures are counted */
    DP_BREAKER_OPEN,     /* nothing passes until the recovery time is over */
    DP_BREAKER_HALF_OPEN /* exactly one probe passes */
} dp_breaker_state;

typedef enum dp_breaker_event {
    DP_BREAKER_ASK,      /* may an attempt start? */
    DP_BREAKER_SUCCESS,  /* a reply that shows a healthy server, a refusal with 4xx included */
    DP_BREAKER_FAILURE,  /* an operation has failed for good, or the probe has */
    DP_BREAKER_GIVE_BACK /* no verdict: cancelled, refused by the bulkhead, or to be tried again */
} dp_breaker_event;

typedef struct dp_breaker_permit {
    uint64_t generation;
    bool probe;
} dp_breaker_permit;

typedef struct dp_breaker {
    unsigned failure_threshold;
    int64_t recovery_us;
    dp_breaker_state state;
    unsigned failure_count; /* consecutive, while closed */
    int64_t reopen_at_us;   /* while open: when a probe may pass */
    uint64_t generation;    /* counts transitions */
    bool probe_out;         /* while half-open */
} dp_breaker;

typedef struct dp_breaker_answer {
    bool admitted;            /* to ASK */
    dp_breaker_permit permit; /* when admitted */
    int64_t retry_in_us;      /* when refused: the time left; 0 while a probe is under way */
    bool changed;             /* a transition took place ... */
    dp_breaker_state from;    /* ... from here to breaker->state */
} dp_breaker_answer;

dp_breaker dp_breaker_make(unsigned failure_threshold, int64_t recovery_us);

/* `permit` is ignored for ASK. `now_us` is monotonic. `random` is uniform over all values and spreads the
 * recovery time by ten per cent to either side, so that many clients do not probe together. */
dp_breaker_answer dp_breaker_step(dp_breaker *breaker, dp_breaker_event event, dp_breaker_permit permit,
                                  int64_t now_us, uint64_t random);

const char *dp_breaker_state_name(dp_breaker_state state); /* "closed", "open", "half_open" */

#endif
