/* What a run tells whoever watches it: the counts so far, and what it waits for. */
#include "services/run_internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "cdc/source_blockers.h"

enum { REPORT_INTERVAL_MS = 1000 };

bool run_is_inside_transaction(const cdc_run *run)
{
    return run->decoder != NULL && dp_decoder_in_transaction(run->decoder);
}

static uint64_t row_count(const cdc_run *run)
{
    uint64_t in_flight_count = 0;
    for (unsigned i = 0; i < run->flight_count; i++) {
        in_flight_count += run->flights[(run->first_flight + i) % DP_BATCH_LANES].body.event_count;
    }
    size_t building_count = run->building == NULL ? 0 : dp_batch_writer_event_count(run->building);
    return run->summary->event_count + in_flight_count + building_count;
}

/* A transaction is the same one as long as no other has ended: looked at now and then, never per change. */
static void look_at_open_transaction(cdc_run *run, int64_t now_us)
{
    dp_cdc_run_state *state = &run->state;
    bool is_other = state->open_since_us == 0 || run->sent_end.value != run->open_after.value;
    uint64_t rows = row_count(run);
    if (!run_is_inside_transaction(run)) {
        state->open_since_us = 0;
    } else if (is_other) {
        state->open_since_us = now_us;
        run->open_after = run->sent_end;
        run->open_first_row = run->seen_row_count;
    }
    run->seen_row_count = rows;
    state->open_row_count = rows > run->open_first_row ? rows - run->open_first_row : 0;
}

void run_publish(cdc_run *run)
{
    if (run->options->publish == NULL) return;
    run->published_at_us = dp_clock_monotonic_us();
    look_at_open_transaction(run, run->published_at_us);
    run->state.read_count = row_count(run) + run->summary->skipped_transaction_count;
    run->state.has_high_watermark = run->has_high_watermark;
    run->state.high_watermark = run->high_watermark;
    run->options->publish(run->options->publish_context, run->summary, &run->state);
}

void run_note_sink_trouble(cdc_run *run, const dp_error *trouble)
{
    snprintf(run->state.sink_trouble, sizeof run->state.sink_trouble, "%.500s", trouble->message);
}

void run_note_source_trouble(cdc_run *run, const dp_error *trouble)
{
    if (run->state.source_since_us == 0) run->state.source_since_us = dp_clock_monotonic_us();
    run->state.is_slot_held = dp_source_blocker_is(trouble, DP_SOURCE_BLOCKER_SLOT_IN_USE);
    snprintf(run->state.source_trouble, sizeof run->state.source_trouble, "%.500s", trouble->message);
}

void run_note_source_works(cdc_run *run)
{
    run->state.source_since_us = 0;
    run->state.is_slot_held = false;
    run->state.source_trouble[0] = '\0';
}

void run_note_sink_asked(cdc_run *run)
{
    if (run->state.sink_since_us == 0) run->state.sink_since_us = dp_clock_monotonic_us();
}

void run_note_sink_answered(cdc_run *run)
{
    run->state.sink_since_us = run->flight_count > 0 ? dp_clock_monotonic_us() : 0;
    run->state.sink_trouble[0] = '\0';
}

void run_report(cdc_run *run, const dp_error *trouble)
{
    int64_t now_us = dp_clock_monotonic_us();
    bool is_due = trouble != NULL || now_us - run->reported_at_us >= REPORT_INTERVAL_MS * 1000;
    if (trouble != NULL || now_us - run->published_at_us >= REPORT_INTERVAL_MS * 1000) run_publish(run);
    if (run->options->report == NULL || !is_due) return;
    run->reported_at_us = now_us;
    run->options->report(run->options->report_context, run->summary, trouble);
}
