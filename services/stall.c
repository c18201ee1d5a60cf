#include "services/stall.h"

#include <stdio.h>

const char *dp_stall_label(dp_stall stall)
{
    static const char *const labels[] = {
#define DP_STALL_LABEL(name, label, meaning) label,
        DP_STALL_LIST(DP_STALL_LABEL)
#undef DP_STALL_LABEL
    };
    return labels[stall];
}

dp_stall_state dp_stall_judge(const dp_stall_facts *facts, int64_t now_us, int64_t limit_us)
{
    const dp_stall_state candidates[] = {
        {DP_STALL_SERVER, facts->sink_since_us},
        {DP_STALL_SLOT, facts->is_slot_held ? facts->source_since_us : 0},
        {DP_STALL_SOURCE, facts->is_slot_held ? 0 : facts->source_since_us},
        {DP_STALL_TRANSACTION, facts->open_since_us},
        {DP_STALL_SENDER, facts->quiet_since_us},
    };
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        int64_t since_us = candidates[i].since_us;
        if (since_us != 0 && now_us - since_us >= limit_us) return candidates[i];
    }
    return (dp_stall_state){DP_STALL_NONE, 0};
}

static void put_reason(const char *trouble, char out[DP_STALL_TEXT_BYTES], int length)
{
    bool has_reason = trouble != NULL && trouble[0] != '\0';
    if (has_reason) snprintf(out + length, DP_STALL_TEXT_BYTES - (size_t)length, ": %.500s", trouble);
}

void dp_stall_text(dp_stall_state state, const dp_stall_facts *facts, int64_t now_us,
                   char out[DP_STALL_TEXT_BYTES])
{
    long long seconds = (now_us - state.since_us) / 1000000;
    int length = 0;
    switch (state.stall) {
    case DP_STALL_SERVER:
        length = snprintf(out, DP_STALL_TEXT_BYTES, "waiting for the server since %lld s", seconds);
        put_reason(facts->sink_trouble, out, length);
        return;
    case DP_STALL_SLOT:
        if (facts->holder_pid != 0) {
            snprintf(out, DP_STALL_TEXT_BYTES, "slot held by pid %lld since %lld s",
                     (long long)facts->holder_pid, seconds);
        } else {
            snprintf(out, DP_STALL_TEXT_BYTES, "slot held by another connection since %lld s", seconds);
        }
        return;
    case DP_STALL_SOURCE:
        length = snprintf(out, DP_STALL_TEXT_BYTES, "waiting for the source since %lld s", seconds);
        put_reason(facts->source_trouble, out, length);
        return;
    case DP_STALL_TRANSACTION:
        snprintf(out, DP_STALL_TEXT_BYTES, "one transaction open since %lld s, %llu rows so far", seconds,
                 (unsigned long long)facts->open_row_count);
        return;
    case DP_STALL_SENDER:
        snprintf(out, DP_STALL_TEXT_BYTES,
                 "the source sends nothing since %lld s though the slot is %lld bytes behind", seconds,
                 (long long)facts->lag_bytes);
        return;
    case DP_STALL_NONE: out[0] = '\0'; return;
    }
}
