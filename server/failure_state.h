/* Which requests the test server makes fail: the next N, and all until a time. Both modes work side by side.
 *
 * Pure: time is an argument, nothing is locked. The owner serialises access.
 */
#ifndef DPONE_SERVER_FAILURE_STATE_H
#define DPONE_SERVER_FAILURE_STATE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dp_failure_state {
    uint32_t remaining_count;
    bool has_until;        /* stays set after the time has passed, until reset or replaced */
    int64_t until_us;      /* monotonic: what decides */
    int64_t until_wall_us; /* the same moment on the wall clock: what people are shown */
} dp_failure_state;

/* The next `count` requests fail; replaces what was left of an earlier count. */
void dp_failure_state_set_count(dp_failure_state *state, uint32_t count);

/* Requests fail for `seconds` from now; 0 ends an earlier duration at once. */
void dp_failure_state_set_duration(dp_failure_state *state, uint32_t seconds, int64_t now_us,
                                   int64_t now_wall_us);

void dp_failure_state_reset(dp_failure_state *state);

/* Whether a request would fail now; changes nothing. */
bool dp_failure_state_is_failing(const dp_failure_state *state, int64_t now_us);

/* Whether this request fails. The count goes down by one when there is one, also while a duration runs. */
bool dp_failure_state_take(dp_failure_state *state, int64_t now_us);

/* What is left of the duration; 0 when none runs. */
int64_t dp_failure_state_remaining_us(const dp_failure_state *state, int64_t now_us);

#endif
