#include "services/lag_clock.h"

#include <string.h>

static void drop_confirmed(dp_lag_clock *clock, dp_lsn confirmed)
{
    size_t done = 0;
    while (done < clock->count && clock->samples[done].end.value <= confirmed.value) {
        done++;
    }
    clock->count -= done;
    memmove(clock->samples, clock->samples + done, clock->count * sizeof clock->samples[0]);
    if (clock->count == 0) clock->spacing_us = 0;
}

/* The first stays: it is the one that tells. */
static void thin_out(dp_lag_clock *clock)
{
    size_t kept = 0;
    for (size_t i = 0; i < clock->count; i += 2) {
        clock->samples[kept++] = clock->samples[i];
    }
    clock->count = kept;
    int64_t kept_us = clock->samples[kept - 1].at_us - clock->samples[0].at_us;
    clock->spacing_us = kept_us / (int64_t)(kept - 1);
}

double dp_lag_clock_look(dp_lag_clock *clock, int64_t now_us, dp_lsn end, dp_lsn confirmed)
{
    drop_confirmed(clock, confirmed);
    const size_t last = clock->count - 1;
    bool is_news = clock->count == 0 || (end.value > clock->samples[last].end.value &&
                                         now_us - clock->samples[last].at_us >= clock->spacing_us);
    if (is_news && end.value > confirmed.value) {
        if (clock->count == DP_LAG_CLOCK_SAMPLES) thin_out(clock);
        clock->samples[clock->count].at_us = now_us;
        clock->samples[clock->count++].end = end;
    }
    return clock->count == 0 ? 0 : (double)(now_us - clock->samples[0].at_us) / 1e6;
}
