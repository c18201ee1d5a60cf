/* Bounds how much of the traffic may be retries, so that many clients do not keep a failing server down.
 *
 * Over a sliding window, retries may be at most a percentage of the requests plus a fixed rate. Pure: the
 * caller passes the time. The window moves in tenths. Not shared between threads without the caller's lock.
 */
#ifndef DPONE_CLIENT_RETRY_BUDGET_H
#define DPONE_CLIENT_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum { DP_RETRY_BUDGET_SLICES = 10 };

typedef struct dp_retry_budget {
    uint64_t percent;    /* retries allowed for every hundred requests */
    uint64_t floor;      /* retries always allowed within one window */
    int64_t slice_us;    /* a tenth of the window */
    int64_t slice_index; /* of the newest slice */
    uint64_t requests[DP_RETRY_BUDGET_SLICES];
    uint64_t retries[DP_RETRY_BUDGET_SLICES];
} dp_retry_budget;

dp_retry_budget dp_retry_budget_make(unsigned percent, unsigned per_second, int64_t window_us);

/* A new operation, not a retry. */
void dp_retry_budget_request(dp_retry_budget *budget, int64_t now_us);

/* Takes one retry; false when the budget is spent. */
bool dp_retry_budget_take(dp_retry_budget *budget, int64_t now_us);

/* Retries that could be taken now. */
uint64_t dp_retry_budget_left(dp_retry_budget *budget, int64_t now_us);

#endif
