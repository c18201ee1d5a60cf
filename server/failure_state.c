#include "server/failure_state.h"

void dp_failure_state_set_count(dp_failure_state *state, uint32_t count)
{
    state->remaining_count = count;
}

void dp_failure_state_set_duration(dp_failure_state *state, uint32_t seconds, int64_t now_us,
                                   int64_t now_wall_us)
{
    int64_t duration_us = (int64_t)seconds * 1000000;
    state->has_until = true;
    state->until_us = now_us + duration_us;
    state->until_wall_us = now_wall_us + duration_us;
}

void dp_failure_state_reset(dp_failure_state *state)
{
    *state = (dp_failure_state){0};
}

bool dp_failure_state_is_failing(const dp_failure_state *state, int64_t now_us)
{
    return state->remaining_count > 0 || (state->has_until && now_us < state->until_us);
}

bool dp_failure_state_take(dp_failure_state *state, int64_t now_us)
{
    bool failing = dp_failure_state_is_failing(state, now_us);
    if (state->remaining_count > 0) state->remaining_count--;
    return failing;
}

int64_t dp_failure_state_remaining_us(const dp_failure_state *state, int64_t now_us)
{
    return state->has_until && now_us < state->until_us ? state->until_us - now_us : 0;
}
