#include "services/cdc_run.h"

#include "base/clock.h"
#include "services/run_internal.h"

static bool is_batch_due(const cdc_run *run)
{
    if (run->building_since_us == 0) return false;
    return dp_clock_monotonic_us() - run->building_since_us >= (int64_t)run->options->batch_wait_ms * 1000;
}

static int poll_timeout_ms(const cdc_run *run)
{
    bool has_work = run->flight_count > 0 || run->building_since_us != 0;
    return has_work ? (int)(run->options->batch_wait_ms < 50 ? run->options->batch_wait_ms : 50)
                    : RUN_TICK_MS;
}

static dp_status start_source(cdc_run *run, dp_error *error)
{
    if (run->source->start == NULL) return DP_STATUS_OK;
    bool has_stored = run->has_stored && !run->options->from_start;
    return run->source->start(run->source->self, has_stored, run->stored, error);
}

/* Sends what is complete and saves the offset behind it, now. */
static dp_status settle(cdc_run *run, dp_error *error)
{
    dp_status status = run->has_open_lines ? DP_STATUS_OK : run_send_batch(run, error);
    if (status == DP_STATUS_OK) status = run_finish_flights(run, 0, error);
    if (status == DP_STATUS_OK) status = run_save_offset(run, error);
    /* Also when there was nothing to save: what was read may have been passed by the offset already. */
    bool may_confirm = status == DP_STATUS_OK && run->has_passed && run->source->confirm != NULL;
    return may_confirm ? run->source->confirm(run->source->self, run->passed, error) : status;
}

/* The source lost its connection and will send everything after the stored offset again: what is on its way
 * is settled and saved first, and the rest forgotten, so that nothing is counted twice. The offset is read
 * again because another consumer may have gone on from it meanwhile. */
static dp_status restart(cdc_run *run, dp_error *error)
{
    dp_status status = run_finish_flights(run, 0, error);
    if (status == DP_STATUS_OK) status = run_save_offset(run, error);
    if (status == DP_STATUS_OK && !run->options->from_start) status = run_load_offset(run, error);
    if (status != DP_STATUS_OK) return status;
    run_forget_unsent(run);
    return start_source(run, error);
}

static dp_status poll_once(cdc_run *run, dp_source_progress *progress, dp_error *error)
{
    dp_record_sink sink = {run, run_on_record};
    *progress = (dp_source_progress){.ended = false};
    dp_status status = run->source->poll(run->source->self, poll_timeout_ms(run), &sink, progress, error);
    if (status != DP_STATUS_OK) return status;
    if (progress->trouble != NULL) {
        run_note_source_trouble(run, progress->trouble);
        run_report(run, progress->trouble);
    }
    if (progress->has_high_watermark) run_note_source_works(run);
    if (progress->restarted) return restart(run, error);
    if (progress->wants_confirm) return settle(run, error);
    run->has_high_watermark |= progress->has_high_watermark;
    if (progress->has_high_watermark) run->high_watermark = progress->high_watermark;
    if (progress->has_idle_position) run_take_idle_position(run, progress->idle_position);
    run_pump_flights(run);
    status = run_look_at_flights(run, error);
    if (status == DP_STATUS_OK && is_batch_due(run)) status = run_send_batch(run, error);
    return status;
}

static dp_status read_until_end(cdc_run *run, dp_error *error)
{
    dp_source_progress progress = {.ended = false};
    while (!progress.ended && !run_is_stopping(run) && !run_is_enough(run)) {
        dp_status status = poll_once(run, &progress, error);
        if (status == DP_STATUS_CANCELLED && run_is_enough(run)) return DP_STATUS_OK;
        if (status != DP_STATUS_OK) return status;
        run_report(run, NULL);
    }
    if (progress.ended && run_is_inside_transaction(run)) {
        dp_error_set(error, DP_STATUS_DATA, "the input ends inside a transaction");
        dp_error_hint(error, "what is complete before it was delivered; take the capture again");
        return DP_STATUS_DATA;
    }
    return DP_STATUS_OK;
}

/* What is complete is delivered also when reading failed; the first error is the one that is told. */
static dp_status finish(cdc_run *run, dp_status status, dp_error *error)
{
    bool is_source_fault = status == DP_STATUS_DATA || status == DP_STATUS_POISON;
    if (run->sink_failed || (status != DP_STATUS_OK && !is_source_fault)) return status;
    run_leave_out_open_transaction(run);
    dp_error later = DP_ERROR_INIT;
    bool send_rest = !run_is_stopping(run) && !run_is_enough(run);
    dp_status last = send_rest ? run_send_batch(run, &later) : DP_STATUS_OK;
    if (last == DP_STATUS_OK) last = run_finish_flights(run, 0, &later);
    if (last == DP_STATUS_OK || last == DP_STATUS_CANCELLED) {
        dp_status saved = run_save_offset(run, &later);
        if (last == DP_STATUS_OK) last = saved;
    }
    if (status == DP_STATUS_OK && last != DP_STATUS_OK && last != DP_STATUS_CANCELLED) {
        *error = later;
        return last;
    }
    return status;
}

/* The sink waits for a small answer: the source is looked after, and what is wrong with it shows at its next
 * poll. */
static void look_after_source(void *context)
{
    cdc_run *run = context;
    dp_error ignored = DP_ERROR_INIT;
    if (run->source->tick != NULL) run->source->tick(run->source->self, &ignored);
}

static dp_status set_up(cdc_run *run, dp_error *error)
{
    const dp_cdc_run_options *options = run->options;
    run->hash = dp_sha256_new();
    run->poison_writer = dp_event_writer_new(options->stream.identity, DP_ROW_EXACT);
    if (run->hash == NULL || run->poison_writer == NULL) return dp_error_no_memory(error, "the pipeline");
    if (run->sink->set_meanwhile != NULL) run->sink->set_meanwhile(run->sink->self, look_after_source, run);
    dp_status status = run_load_offset(run, error);
    if (status == DP_STATUS_OK) status = run_learn_limits(run, error);
    if (status != DP_STATUS_OK) return status;
    run->building = dp_batch_writer_new(options->stream.identity, &run->limits);
    if (run->building == NULL) return dp_error_no_memory(error, "the pipeline");
    return start_source(run, error);
}

dp_status dp_cdc_run(const dp_cdc_run_options *options, const dp_change_source *source,
                     const dp_batch_sink *sink, dp_cdc_run_summary *summary, dp_error *error)
{
    *summary = (dp_cdc_run_summary){.has_offset = false};
    cdc_run run = {.options = options, .source = source, .sink = sink, .summary = summary};
    dp_status status = set_up(&run, error);
    if (status == DP_STATUS_OK) status = finish(&run, read_until_end(&run, error), error);
    run_drop_flights(&run);
    if (sink->set_meanwhile != NULL) sink->set_meanwhile(sink->self, NULL, NULL);
    run_free_decoder(&run);
    dp_batch_writer_free(run.building);
    dp_sha256_free(run.hash);
    dp_event_writer_free(run.poison_writer);
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        dp_buffer_release(&run.flights[i].body.bytes);
    }
    return status;
}
