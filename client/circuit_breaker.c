#include "client/circuit_breaker.h"

dp_breaker dp_breaker_make(unsigned failure_threshold, int64_t recovery_us)
{
    return (dp_breaker){.failure_threshold = failure_threshold, .recovery_us = recovery_us};
}

static void move_to(dp_breaker *breaker, dp_breaker_state state, dp_breaker_answer *answer)
{
    answer->changed = true;
    answer->from = breaker->state;
    breaker->state = state;
    breaker->generation++;
    breaker->failure_count = 0;
    breaker->probe_out = false;
}

static void open_at(dp_breaker *breaker, int64_t now_us, uint64_t random, dp_breaker_answer *answer)
{
    int64_t tenth = breaker->recovery_us / 10;
    int64_t spread = (int64_t)(random % ((uint64_t)tenth * 2 + 1)) - tenth;
    breaker->reopen_at_us = now_us + breaker->recovery_us + spread;
    move_to(breaker, DP_BREAKER_OPEN, answer);
}

static void admit(dp_breaker *breaker, bool probe, dp_breaker_answer *answer)
{
    breaker->probe_out = probe;
    answer->admitted = true;
    answer->permit = (dp_breaker_permit){.generation = breaker->generation, .probe = probe};
}

static void step_closed(dp_breaker *breaker, dp_breaker_event event, int64_t now_us, uint64_t random,
                        dp_breaker_answer *answer)
{
    switch (event) {
    case DP_BREAKER_ASK: admit(breaker, false, answer); return;
    case DP_BREAKER_SUCCESS: breaker->failure_count = 0; return;
    case DP_BREAKER_FAILURE:
        if (++breaker->failure_count >= breaker->failure_threshold) open_at(breaker, now_us, random, answer);
        return;
    case DP_BREAKER_GIVE_BACK: return;
    }
}

static void step_open(dp_breaker *breaker, dp_breaker_event event, int64_t now_us, dp_breaker_answer *answer)
{
    switch (event) {
    case DP_BREAKER_ASK:
        if (now_us < breaker->reopen_at_us) {
            answer->retry_in_us = breaker->reopen_at_us - now_us;
            return;
        }
        move_to(breaker, DP_BREAKER_HALF_OPEN, answer);
        admit(breaker, true, answer);
        return;
    case DP_BREAKER_SUCCESS: /* while open no permit of this generation exists */
    case DP_BREAKER_FAILURE:
    case DP_BREAKER_GIVE_BACK: return;
    }
}

static void step_half_open(dp_breaker *breaker, dp_breaker_event event, int64_t now_us, uint64_t random,
                           dp_breaker_answer *answer)
{
    switch (event) {
    case DP_BREAKER_ASK:
        if (!breaker->probe_out) admit(breaker, true, answer);
        return;
    case DP_BREAKER_SUCCESS: move_to(breaker, DP_BREAKER_CLOSED, answer); return;
    case DP_BREAKER_FAILURE: open_at(breaker, now_us, random, answer); return;
    case DP_BREAKER_GIVE_BACK: breaker->probe_out = false; return;
    }
}

dp_breaker_answer dp_breaker_step(dp_breaker *breaker, dp_breaker_event event, dp_breaker_permit permit,
                                  int64_t now_us, uint64_t random)
{
    dp_breaker_answer answer = {.from = breaker->state};
    if (event != DP_BREAKER_ASK && permit.generation != breaker->generation) return answer;
    switch (breaker->state) {
    case DP_BREAKER_CLOSED: step_closed(breaker, event, now_us, random, &answer); break;
    case DP_BREAKER_OPEN: step_open(breaker, event, now_us, &answer); break;
    case DP_BREAKER_HALF_OPEN: step_half_open(breaker, event, now_us, random, &answer); break;
    }
    return answer;
}

const char *dp_breaker_state_name(dp_breaker_state state)
{
    switch (state) {
    case DP_BREAKER_CLOSED: return "closed";
    case DP_BREAKER_OPEN: return "open";
    case DP_BREAKER_HALF_OPEN: return "half_open";
    }
    return "unknown";
}
