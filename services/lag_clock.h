/* How many seconds a reader is behind, out of repeated looks at where the log ends and what is confirmed.
 *
 * Bytes say little of time. So each look is kept: the reader is as far behind as the time since the log was
 * first seen to end beyond what is confirmed now. It is exact to one interval between looks, and for long
 * lags to a thirtieth: memory is fixed, and when it is full every second look is forgotten. Pure.
 */
#ifndef DPONE_SERVICES_LAG_CLOCK_H
#define DPONE_SERVICES_LAG_CLOCK_H

#include "cdc/change.h"

enum { DP_LAG_CLOCK_SAMPLES = 64 };

typedef struct dp_lag_clock {
    size_t count;
    int64_t spacing_us; /* at least so far apart */
    struct {
        int64_t at_us;
        dp_lsn end;
    } samples[DP_LAG_CLOCK_SAMPLES]; /* ends grow; all above what was confirmed at the last look */
} dp_lag_clock;

/* Takes a look and tells the seconds; 0 when nothing is behind. Times are monotonic. */
double dp_lag_clock_look(dp_lag_clock *clock, int64_t now_us, dp_lsn end, dp_lsn confirmed);

#endif
