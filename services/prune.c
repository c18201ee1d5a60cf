#include "services/prune.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "services/consumer_name.h"
#include "services/quarantine.h"
#include "state/journal.h"
#include "state/store.h"

enum { DEFAULT_STEP_EVENTS = 5000, SAMPLE_EVENTS = 2000, SAMPLE_RUNS = 64, ROW_OVERHEAD_BYTES = 120 };

#define ARENA_BYTES ((size_t)64 << 20)

typedef struct pruner {
    const dp_prune_options *options;
    dp_prune_summary *summary;
    dp_store *store;
    dp_journal *journal;
    dp_arena *arena;
    dp_stream stream;
    bool is_found;

    bool has_passed; /* the lowest offset of the pipeline and its consumers */
    dp_position passed;
    char passed_by[256]; /* whose it is, cut when it is longer */

    uint64_t excess_events; /* to delete by size */
    bool has_target;
    dp_position target;
    uint64_t sampled_events;
    uint64_t sampled_bytes;
} pruner;

/* --- the stream --- */

static dp_status choose_stream(void *context, const dp_stream *row, dp_error *error)
{
    pruner *self = context;
    const dp_stream_choice *choice = &self->options->stream;
    bool fits =
        (choice->source.length == 0 ? !dp_quarantine_is_source(row->key.source)
                                    : dp_slice_equal(choice->source, row->key.source)) &&
        (choice->backend.length == 0 || dp_slice_equal(choice->backend, dp_backend_text(row->key.backend)));
    if (!fits) return DP_STATUS_OK;
    if (self->is_found) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "pipeline '%.*s' has more than one stream; choose with --source-id and --backend",
                            DP_SLICE_PRINT(choice->pipeline));
    }
    self->is_found = true;
    self->stream = *row;
    self->stream.key.pipeline = choice->pipeline;
    self->stream.key.source = dp_arena_copy(self->arena, row->key.source);
    return self->stream.key.source.data == NULL ? dp_error_no_memory(error, "a stream") : DP_STATUS_OK;
}

static dp_status find_stream(pruner *self, dp_error *error)
{
    dp_row_visitor visitor = {.context = self, .stream = choose_stream};
    dp_status status =
        self->store->driver->stream_list(self->store, self->options->stream.pipeline, &visitor, error);
    if (status == DP_STATUS_OK && !self->is_found) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "stream_not_found",
                                 "the journal holds no such stream of pipeline '%.*s'",
                                 DP_SLICE_PRINT(self->options->stream.pipeline));
    }
    return status;
}

/* --- what has been passed --- */

static bool is_of_pipeline(dp_slice name, dp_slice pipeline)
{
    if (!dp_slice_starts_with(name, pipeline)) return false;
    dp_slice rest = dp_slice_make(name.data + pipeline.length, name.length - pipeline.length);
    return rest.length == 0 || dp_slice_starts_with(rest, DP_SLICE_LITERAL(DP_CONSUMER_INFIX));
}

static dp_status take_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    pruner *self = context;
    dp_backend backend = self->stream.key.backend;
    dp_position position;
    if (!is_of_pipeline(row->pipeline_name, self->stream.key.pipeline) ||
        !dp_slice_equal(row->backend, dp_backend_text(backend)))
        return DP_STATUS_OK;
    if (!dp_position_parse(backend, row->token, &position)) {
        return dp_error_set(error, DP_STATUS_DATA, "the stored offset '%.*s' is no token of %s",
                            DP_SLICE_PRINT(row->token), dp_backend_text(backend).data);
    }
    if (self->has_passed && dp_position_compare(position, self->passed) >= 0) return DP_STATUS_OK;
    self->has_passed = true;
    self->passed = position;
    snprintf(self->passed_by, sizeof self->passed_by, "%.*s", DP_SLICE_PRINT(row->pipeline_name));
    return DP_STATUS_OK;
}

/* Where no offset is stored here, what the sender says it has stored elsewhere counts. */
static dp_status read_passed(pruner *self, dp_error *error)
{
    dp_row_visitor visitor = {.context = self, .offset = take_offset};
    self->has_passed = false;
    dp_status status = self->store->driver->offset_list(self->store, dp_slice_make(NULL, 0), &visitor, error);
    if (status == DP_STATUS_OK && !self->has_passed && self->stream.has_passed) {
        self->has_passed = true;
        self->passed = self->stream.passed;
        snprintf(self->passed_by, sizeof self->passed_by, "the sender");
    }
    return status;
}

/* --- how far --- */

static void raise_target(pruner *self, dp_position position)
{
    if (self->has_target && dp_position_compare(position, self->target) <= 0) return;
    self->has_target = true;
    self->target = position;
}

typedef struct scan {
    pruner *self;
    uint64_t events;
    dp_number_range runs[SAMPLE_RUNS]; /* of the newest transactions; a ring */
    size_t run_count;
} scan;

static dp_status choose_by_age(void *context, const dp_transaction_row *row, dp_error *error)
{
    scan *at = context;
    (void)error;
    if (row->stored_at_us >= at->self->options->older_than_us) return DP_STATUS_CANCELLED;
    raise_target(at->self, row->end_position);
    return DP_STATUS_OK;
}

static dp_status choose_by_size(void *context, const dp_transaction_row *row, dp_error *error)
{
    scan *at = context;
    (void)error;
    at->events += row->event_count;
    if (at->events > at->self->excess_events) return DP_STATUS_CANCELLED;
    raise_target(at->self, row->end_position);
    return DP_STATUS_OK;
}

/* Numbers have gaps: where an older journal was taken over, and in a database that other streams share. */
static dp_status note_run(void *context, const dp_transaction_row *row, dp_error *error)
{
    scan *at = context;
    dp_number_range *last = &at->runs[(at->run_count + SAMPLE_RUNS - 1) % SAMPLE_RUNS];
    (void)error;
    if (at->run_count > 0 && last->first + (int64_t)last->count == row->first_number) {
        last->count += row->event_count;
    } else {
        at->runs[at->run_count++ % SAMPLE_RUNS] = (dp_number_range){row->first_number, row->event_count};
    }
    return DP_STATUS_OK;
}

static dp_status scan_into(scan *at, dp_status (*choose)(void *, const dp_transaction_row *, dp_error *),
                           dp_error *error)
{
    const dp_transaction_window all = {.limit = 0};
    dp_row_visitor visitor = {.context = at, .transaction = choose};
    dp_store *store = at->self->store;
    return store->driver->transactions_read(store, at->self->stream.stream_id, &all, &visitor, error);
}

static dp_status scan_transactions(pruner *self,
                                   dp_status (*choose)(void *, const dp_transaction_row *, dp_error *),
                                   dp_error *error)
{
    scan at = {.self = self};
    return scan_into(&at, choose, error);
}

static dp_status sample_event(void *context, int64_t event_number, const dp_event *row, dp_error *error)
{
    pruner *self = context;
    (void)event_number, (void)error;
    self->sampled_events++;
    self->sampled_bytes += ROW_OVERHEAD_BYTES + row->source_schema.length + row->source_table.length +
                           row->data.length + row->before.length + row->unchanged.length +
                           row->metadata.length;
    return DP_STATUS_OK;
}

/* The newest events show what size events have now. */
static dp_status mean_event_bytes(pruner *self, uint64_t *bytes, dp_error *error)
{
    scan at = {.self = self};
    dp_row_visitor visitor = {.context = self, .event = sample_event};
    dp_status status = scan_into(&at, note_run, error);
    size_t oldest = at.run_count > SAMPLE_RUNS ? at.run_count - SAMPLE_RUNS : 0;
    for (size_t i = at.run_count; status == DP_STATUS_OK && i > oldest; i--) {
        dp_number_range range = at.runs[(i - 1) % SAMPLE_RUNS];
        uint64_t wanted = SAMPLE_EVENTS - self->sampled_events;
        if (range.count > wanted) { /* the end of it */
            range.first += (int64_t)(range.count - wanted);
            range.count = wanted;
        }
        status =
            self->store->driver->events_read(self->store, self->stream.stream_id, &range, 1, &visitor, error);
        if (self->sampled_events >= SAMPLE_EVENTS) break;
    }
    *bytes = self->sampled_events == 0 ? 1 : self->sampled_bytes / self->sampled_events;
    return status;
}

static dp_status choose_to_keep(pruner *self, uint64_t keep_events, dp_error *error)
{
    uint64_t all = self->stream.event_count;
    self->excess_events = all > keep_events ? all - keep_events : 0;
    return self->excess_events == 0 ? DP_STATUS_OK : scan_transactions(self, choose_by_size, error);
}

static dp_status find_target(pruner *self, dp_error *error)
{
    const dp_prune_options *options = self->options;
    dp_status status = DP_STATUS_OK;
    if (options->older_than_us != 0) status = scan_transactions(self, choose_by_age, error);
    if (status == DP_STATUS_OK && options->has_keep_events)
        status = choose_to_keep(self, options->keep_events, error);
    if (status == DP_STATUS_OK && options->has_keep_bytes) {
        uint64_t mean = 1;
        status = mean_event_bytes(self, &mean, error);
        if (status == DP_STATUS_OK) status = choose_to_keep(self, options->keep_bytes / mean, error);
    }
    return status;
}

static dp_offset offset_at(const pruner *self, dp_position position)
{
    char text[DP_POSITION_TEXT_BYTES];
    dp_offset offset = {.backend = self->stream.key.backend};
    dp_position_format(offset.backend, position, text);
    dp_offset_of_token(offset.backend, dp_slice_of_text(text), &offset);
    return offset;
}

/* Age and size give way to the offsets; a position that was asked for does not. */
static dp_status limit_target(pruner *self, dp_error *error)
{
    dp_prune_summary *summary = self->summary;
    dp_position asked;
    if (self->has_target && self->has_passed && dp_position_compare(self->target, self->passed) > 0) {
        self->target = self->passed;
        summary->is_limited = true;
        summary->limit = offset_at(self, self->passed);
    }
    if (self->options->to.length > 0) {
        if (!dp_position_parse(self->stream.key.backend, self->options->to, &asked)) {
            return dp_error_set(error, DP_STATUS_USAGE, "--to: '%.*s' is no token; expected %s",
                                DP_SLICE_PRINT(self->options->to),
                                dp_position_expected_form(self->stream.key.backend));
        }
        raise_target(self, asked);
    }
    if (!self->has_target) return DP_STATUS_OK;
    if (!self->has_passed || dp_position_compare(self->target, self->passed) > 0) {
        dp_offset passed = offset_at(self, self->passed);
        return dp_error_set_code(
            error, DP_STATUS_BLOCKED, "prune_not_passed",
            "events that no stored offset has passed are kept; the lowest offset is %s%s%s",
            self->has_passed ? passed.token : "none", self->has_passed ? ", of " : "", self->passed_by);
    }
    summary->has_to = true;
    summary->to = offset_at(self, self->target);
    return DP_STATUS_OK;
}

/* --- deleting --- */

static dp_status add_audit(pruner *self, const char *action, dp_error *error)
{
    char text[256];
    const dp_prune_summary *summary = self->summary;
    snprintf(text, sizeof text, "{\"to\":\"%s\",\"transactions\":%llu,\"events\":%llu}", summary->to.token,
             (unsigned long long)summary->transactions, (unsigned long long)summary->events);
    dp_audit_row row = {
        .at_us = dp_clock_wall_us(),
        .actor = dp_slice_of_text(self->options->who),
        .action = dp_slice_of_text(action),
        .pipeline = self->stream.key.pipeline,
        .subject = self->stream.key.source,
        .reason = dp_slice_of_text(self->options->why),
        .new_value = dp_slice_of_text(text),
    };
    return self->store->driver->audit_insert(self->store, &row, error);
}

static dp_status in_transaction(pruner *self, dp_status (*work)(pruner *self, dp_error *error),
                                dp_error *error)
{
    const dp_store_driver *driver = self->store->driver;
    dp_status status = driver->begin(self->store, true, error);
    if (status != DP_STATUS_OK) return status;
    status = work(self, error);
    if (status == DP_STATUS_OK) return driver->commit(self->store, error);
    driver->rollback(self->store);
    return status;
}

static dp_status begin_pruning(pruner *self, dp_error *error)
{
    return add_audit(self, "prune.started", error);
}

static dp_status end_pruning(pruner *self, dp_error *error)
{
    return add_audit(self, self->summary->is_stopped ? "prune.interrupted" : "prune.finished", error);
}

static dp_status end_receipts(pruner *self, dp_error *error)
{
    return self->store->driver->receipts_delete(self->store, self->stream.stream_id,
                                                self->options->older_than_us, error);
}

static dp_status delete_step(pruner *self, dp_prune_result *result, dp_error *error)
{
    const dp_store_driver *driver = self->store->driver;
    uint64_t step_events = self->options->step_events == 0 ? DEFAULT_STEP_EVENTS : self->options->step_events;
    dp_status status = driver->begin(self->store, true, error);
    if (status != DP_STATUS_OK) return status;
    status = read_passed(self, error);
    if (status == DP_STATUS_OK)
        status = dp_journal_prune(self->journal, self->store, &self->stream.key, self->target,
                                  self->has_passed ? &self->passed : NULL, step_events, dp_clock_wall_us(),
                                  result, error);
    if (status == DP_STATUS_OK) return driver->commit(self->store, error);
    driver->rollback(self->store);
    return status;
}

/* The events whose transactions are deleted. Also those of a run before that was cut here: nothing else would
 * lead to them again. */
static dp_status delete_unreadable(pruner *self, dp_error *error)
{
    const dp_store_driver *driver = self->store->driver;
    if (driver->events_prune == NULL) return DP_STATUS_OK;
    return driver->events_prune(self->store, self->stream.stream_id, error);
}

static dp_status delete_all(pruner *self, dp_error *error)
{
    dp_prune_result result = {.more = true};
    dp_status status = in_transaction(self, begin_pruning, error);
    while (status == DP_STATUS_OK && result.more && !self->summary->is_stopped) {
        status = delete_step(self, &result, error);
        if (status != DP_STATUS_OK) break;
        dp_crash_point(DP_CRASH_PRUNE_STEP_DONE);
        self->summary->transactions += result.transactions;
        self->summary->events += result.events;
        if (self->options->progress != NULL)
            self->options->progress(self->options->context, self->summary->events);
        self->summary->is_stopped = result.more && self->options->stop != NULL && *self->options->stop != 0;
        if (result.more && self->options->pause_ms > 0) dp_clock_sleep_ms(self->options->pause_ms);
    }
    if (status == DP_STATUS_OK && !self->summary->is_stopped) status = delete_unreadable(self, error);
    if (status == DP_STATUS_OK && self->options->older_than_us != 0)
        status = in_transaction(self, end_receipts, error);
    return status == DP_STATUS_OK ? in_transaction(self, end_pruning, error) : status;
}

static dp_status count_row(void *context, const dp_transaction_row *row, dp_error *error)
{
    dp_prune_summary *summary = context;
    (void)error;
    summary->transactions++;
    summary->events += row->event_count;
    return DP_STATUS_OK;
}

static dp_status count_all(pruner *self, dp_error *error)
{
    const dp_transaction_window window = {.has_to = true, .to = self->target};
    dp_row_visitor visitor = {.context = self->summary, .transaction = count_row};
    return self->store->driver->transactions_read(self->store, self->stream.stream_id, &window, &visitor,
                                                  error);
}

dp_status dp_prune(const dp_prune_options *options, dp_prune_summary *summary, dp_error *error)
{
    *summary = (dp_prune_summary){.has_to = false};
    pruner self = {.options = options,
                   .summary = summary,
                   .journal = dp_journal_new(1),
                   .arena = dp_arena_new(65536, ARENA_BYTES)};
    const dp_store_options store_options = {.read_only = options->dry_run};
    dp_status status = self.journal == NULL || self.arena == NULL
                           ? dp_error_no_memory(error, "pruning")
                           : dp_store_open(options->state_dsn, &store_options, &self.store, error);
    if (status == DP_STATUS_OK) status = find_stream(&self, error);
    if (status == DP_STATUS_OK) status = read_passed(&self, error);
    if (status == DP_STATUS_OK) status = find_target(&self, error);
    if (status == DP_STATUS_OK) status = limit_target(&self, error);
    if (status == DP_STATUS_OK && options->dry_run) {
        if (summary->has_to) status = count_all(&self, error);
    } else if (status == DP_STATUS_OK) {
        status = summary->has_to ? delete_all(&self, error) : delete_unreadable(&self, error);
    }
    dp_store_close(self.store);
    dp_journal_free(self.journal);
    dp_arena_free(self.arena);
    return status;
}
