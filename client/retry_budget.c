#include "client/retry_budget.h"

dp_retry_budget dp_retry_budget_make(unsigned percent, unsigned per_second, int64_t window_us)
{
    int64_t slice_us = window_us / DP_RETRY_BUDGET_SLICES;
    return (dp_retry_budget){
        .percent = percent,
        .floor = (uint64_t)per_second * (uint64_t)window_us / 1000000,
        .slice_us = slice_us > 0 ? slice_us : 1,
        .slice_index = INT64_MIN,
    };
}

/* Empties the slices that time has passed over. A clock that stands still or goes back changes nothing. */
static unsigned advance(dp_retry_budget *budget, int64_t now_us)
{
    int64_t index = now_us / budget->slice_us;
    if (budget->slice_index == INT64_MIN) budget->slice_index = index;
    int64_t oldest_kept = index - DP_RETRY_BUDGET_SLICES;
    int64_t at = budget->slice_index < oldest_kept ? oldest_kept : budget->slice_index;
    while (at < index) {
        at++;
        budget->requests[(uint64_t)at % DP_RETRY_BUDGET_SLICES] = 0;
        budget->retries[(uint64_t)at % DP_RETRY_BUDGET_SLICES] = 0;
    }
    budget->slice_index = at;
    return (unsigned)((uint64_t)at % DP_RETRY_BUDGET_SLICES);
}

void dp_retry_budget_request(dp_retry_budget *budget, int64_t now_us)
{
    budget->requests[advance(budget, now_us)]++;
}

uint64_t dp_retry_budget_left(dp_retry_budget *budget, int64_t now_us)
{
    advance(budget, now_us);
    uint64_t requests = 0;
    uint64_t retries = 0;
    for (unsigned i = 0; i < DP_RETRY_BUDGET_SLICES; i++) {
        requests += budget->requests[i];
        retries += budget->retries[i];
    }
    uint64_t allowed = requests * budget->percent / 100 + budget->floor;
    return allowed > retries ? allowed - retries : 0;
}

bool dp_retry_budget_take(dp_retry_budget *budget, int64_t now_us)
{
    if (dp_retry_budget_left(budget, now_us) == 0) return false;
    budget->retries[advance(budget, now_us)]++;
    return true;
}
