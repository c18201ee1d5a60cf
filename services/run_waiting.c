/* Waiting for a sink that is down, with an eye on the source and on the order to stop. */
#include "base/clock.h"
#include "services/run_decisions.h"
#include "services/run_internal.h"

enum { STOP_GRACE_MS = 2000 };

bool run_is_stopping(const cdc_run *run)
{
    return run->options->stop != NULL && *run->options->stop != 0;
}

bool run_is_grace_over(cdc_run *run)
{
    if (!run_is_stopping(run)) return false;
    int64_t now_us = dp_clock_monotonic_us();
    if (run->stop_seen_at_us == 0) run->stop_seen_at_us = now_us;
    return now_us - run->stop_seen_at_us > STOP_GRACE_MS * 1000;
}

dp_status run_back_off(cdc_run *run, unsigned wait_ms, dp_error *error)
{
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)wait_ms * 1000;
    while (!run_is_stopping(run)) {
        int64_t left_ms = (until_us - dp_clock_monotonic_us()) / 1000;
        if (left_ms <= 0) return DP_STATUS_OK;
        dp_clock_sleep_ms(left_ms < 100 ? (unsigned)left_ms + 1 : 100);
        dp_status status =
            run->source->tick == NULL ? DP_STATUS_OK : run->source->tick(run->source->self, error);
        if (status != DP_STATUS_OK) return status;
    }
    return dp_error_set(error, DP_STATUS_CANCELLED, "stopped while the sink was down");
}

dp_status run_insist(cdc_run *run, dp_status (*request)(cdc_run *run, dp_error *error), dp_error *error)
{
    unsigned backoff_ms = DP_RUN_FIRST_BACKOFF_MS;
    run_note_sink_asked(run);
    run_publish(run); /* the request may keep us from calling for long */
    for (;;) {
        dp_error trouble = DP_ERROR_INIT;
        dp_status status = request(run, &trouble);
        if (status == DP_STATUS_OK) {
            run_note_sink_answered(run);
            return DP_STATUS_OK;
        }
        if (!dp_status_retryable(status) || run_is_stopping(run)) {
            if (error->status == DP_STATUS_OK) *error = trouble;
            return status;
        }
        run_note_sink_trouble(run, &trouble);
        run_report(run, &trouble);
        status = run_back_off(run, backoff_ms, error);
        if (status != DP_STATUS_OK) return status;
        backoff_ms = dp_run_next_backoff_ms(backoff_ms);
    }
}
