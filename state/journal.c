#include "state/journal_internal.h"

#include <stdlib.h>

#include "base/planted_fault.h"

#define MAX_BATCH_IDS ((size_t)1 << 24)

dp_journal *dp_journal_new(uint64_t seed)
{
    dp_journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) return NULL;
    journal->arena = dp_arena_new(DP_JOURNAL_ARENA_CHUNK_BYTES, DP_JOURNAL_ARENA_MAX_BYTES);
    journal->compare = dp_arena_new(DP_JOURNAL_ARENA_CHUNK_BYTES, DP_JOURNAL_ARENA_MAX_BYTES);
    journal->ids = dp_idempotency_new(seed, MAX_BATCH_IDS);
    if (journal->arena == NULL || journal->compare == NULL || journal->ids == NULL) {
        dp_journal_free(journal);
        return NULL;
    }
    return journal;
}

void dp_journal_free(dp_journal *journal)
{
    if (journal == NULL) return;
    dp_arena_free(journal->arena);
    dp_arena_free(journal->compare);
    dp_idempotency_free(journal->ids);
    free(journal);
}

dp_status dp_journal_open_stream(dp_journal *journal, dp_store *store, const dp_batch_header *header,
                                 int64_t now_us, dp_stream *stream, dp_error *error)
{
    dp_arena_reset(journal->arena);
    dp_stream_key key = {header->pipeline, header->source, header->backend};
    dp_status status =
        store->driver->stream_open(store, &key, header->identity, now_us, journal->arena, stream, error);
    if (status != DP_STATUS_OK) return status;
    if (stream->identity != header->identity) {
        dp_slice stored = dp_identity_text(stream->identity);
        dp_slice sent = dp_identity_text(header->identity);
        return dp_error_set_code(error, DP_STATUS_CONFLICT, "identity_mixed",
                                 "line 1: the stream is written with identity %.*s, not %.*s",
                                 DP_SLICE_PRINT(stored), DP_SLICE_PRINT(sent));
    }
    return DP_STATUS_OK;
}

/* --- repetitions inside the batch ---------------------------------------------------------------------- */

static dp_status check_repetition(append_job *job, size_t index)
{
    bool equal;
    dp_status status = append_equal_content(job, append_event_at(job, job->first_of[index]),
                                            append_event_at(job, index), &equal);
    if (status != DP_STATUS_OK || equal) return status;
    return append_event_conflict(job, append_event_at(job, index));
}

static dp_status too_large(append_job *job, const dp_event *event)
{
    return dp_error_set_code(job->error, DP_STATUS_LIMIT, "transaction_too_large",
                             "line %llu: a transaction has at most %llu rows",
                             (unsigned long long)event->line_number,
                             (unsigned long long)DP_JOURNAL_MAX_TRANSACTION_ROWS);
}

/* Notes each event's first occurrence. A row number used by two different events is a gap elsewhere. */
static dp_status check_group_ids(append_job *job, const dp_batch_group *group)
{
    uint64_t next_ordinal = group->event_count == 0 ? 0 : append_event_at(job, group->first_event)->ordinal;
    for (size_t i = group->first_event; i < group->first_event + group->event_count; i++) {
        const dp_event *event = append_event_at(job, i);
        dp_status status =
            dp_idempotency_add(job->journal->ids, &event->id, i, &job->first_of[i], job->error);
        if (status == DP_STATUS_OK && job->first_of[i] != i) status = check_repetition(job, i);
        if (status != DP_STATUS_OK) return status;
        if (append_repeats_in_group(job, group, i)) continue;
        if (event->ordinal >= DP_JOURNAL_MAX_TRANSACTION_ROWS) return too_large(job, event);
        if (event->ordinal != next_ordinal) {
            return append_conflict(job, "ordinal_gap", event->line_number, "the ordinal is another event's");
        }
        next_ordinal++;
    }
    return DP_STATUS_OK;
}

static dp_status check_ids(append_job *job)
{
    dp_idempotency_reset(job->journal->ids);
    for (size_t g = 0; g < job->batch->group_count; g++) {
        dp_status status = check_group_ids(job, &job->batch->groups[g]);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

/* --- what each group is -------------------------------------------------------------------------------- */

static void plan_groups(append_job *job)
{
    const dp_stream *stream = job->stream;
    bool has_high = stream->has_high;
    dp_position high = stream->high;
    for (size_t g = 0; g < job->batch->group_count; g++) {
        const dp_batch_group *group = &job->batch->groups[g];
        const dp_position end = group->end_position;
        group_kind *kind = &job->plans[g].kind;
        if (!group->has_commit) {
            *kind = GROUP_STAGED;
        } else if (group->commit.count == 0) {
            *kind = GROUP_EMPTY;
        } else if (stream->has_pruned && dp_position_compare(end, stream->pruned) <= 0) {
            *kind = GROUP_PRUNED;
        } else if (append_ends_below_high(stream, group)) {
            *kind = GROUP_KNOWN;
        } else if (has_high && dp_position_compare(end, high) <= 0) {
            *kind = GROUP_REPEATED;
        } else {
            *kind = GROUP_NEW;
            has_high = true;
            high = end;
        }
    }
}

/* --- staging ------------------------------------------------------------------------------------------- */

/* Their numbers are free again, since no transaction has had them: a sender that starts over and over would
 * else leave a partition behind each time. */
static dp_status drop_staging(append_job *job)
{
    dp_stream *stream = job->stream;
    const dp_store_driver *driver = job->store->driver;
    if (!stream->has_staged) return DP_STATUS_OK;
    const dp_number_range range = {stream->staged_first_number, stream->staged_count};
    dp_status status = driver->events_delete(job->store, stream->stream_id, range, job->error);
    if (status == DP_STATUS_OK) {
        status = driver->receipts_drop_staged(job->store, stream->stream_id, job->error);
    }
    job->dropped += stream->staged_count;
    stream->next_event_number = stream->staged_first_number;
    stream->has_staged = false;
    stream->staged_transaction_id = (dp_slice){NULL, 0};
    stream->staged_count = 0;
    return status == DP_STATUS_OK ? driver->stream_save(job->store, stream, job->error) : status;
}

static bool same_text(dp_slice left, dp_slice right)
{
    return (left.data == NULL) == (right.data == NULL) && dp_slice_equal(left, right);
}

static bool continues_staging(const append_job *job, const dp_batch_group *group)
{
    return job->stream->has_staged && same_text(job->stream->staged_transaction_id, group->transaction_id);
}

/* --- one group ----------------------------------------------------------------------------------------- */

static dp_status take_known(append_job *job, const dp_batch_group *group, const group_plan *plan)
{
    uint64_t line = group->commit.line_number;
    if (!plan->found) {
        return append_conflict(job, "transaction_differs", line,
                               "no transaction is stored that ends here, but later ones are");
    }
    if (!same_text(plan->row.transaction_id, group->transaction_id) ||
        plan->row.event_count != group->commit.count) {
        return append_conflict(job, "transaction_differs", line,
                               "another transaction is stored that ends here");
    }
    dp_status status = append_compare_stored(job, group, plan->row.first_number,
                                             append_different_events(job, group), "transaction_differs");
    if (status != DP_STATUS_OK || !continues_staging(job, group)) return status;
    status = append_compare_staging(job, &plan->row, line);
    return status == DP_STATUS_OK ? drop_staging(job) : status;
}

/* The batch has a transaction that ends here before: it must be the same one. */
static dp_status take_repeated(append_job *job, size_t index)
{
    const dp_batch_group *groups = job->batch->groups;
    const dp_batch_group *group = &groups[index];
    const char *fault = "no transaction of the batch that ends here was sent before later ones";
    for (size_t g = 0; g < index; g++) {
        if (!groups[g].has_commit || dp_position_compare(groups[g].end_position, group->end_position) != 0) {
            continue;
        }
        fault = "another transaction that ends here was sent before";
        bool same = same_text(groups[g].transaction_id, group->transaction_id) &&
                    groups[g].commit.count == group->commit.count;
        for (size_t i = group->first_event; same && i < group->first_event + group->event_count; i++) {
            same = job->first_of[i] >= groups[g].first_event &&
                   job->first_of[i] < groups[g].first_event + groups[g].event_count;
        }
        if (same) return DP_STATUS_OK;
    }
    return append_conflict(job, "transaction_differs", group->commit.line_number, fault);
}

static dp_status reserve(append_job *job)
{
    if (job->has_numbers) return DP_STATUS_OK;
    uint64_t most = job->batch->event_count + DP_JOURNAL_MAX_TRANSACTION_ROWS;
    dp_status status =
        job->store->driver->reserve_numbers(job->store, job->stream, most, &job->next_number, job->error);
    job->has_numbers = status == DP_STATUS_OK;
    return status;
}

static void add_run(append_job *job, int64_t number, size_t first, size_t count)
{
    if (count == 0) return;
    dp_event_run *last = job->run_count == 0 ? NULL : &job->runs[job->run_count - 1];
    const dp_event *events = append_event_at(job, first);
    if (last != NULL && last->events + last->count == events &&
        last->first_number + (int64_t)last->count == number) {
        last->count += count;
    } else {
        job->runs[job->run_count++] = (dp_event_run){number, events, count};
    }
    job->accepted += count;
}

/* Puts the group's events with an ordinal of at least `from` into runs. Events that repeat a row of an
 * earlier group cannot be rows of this one. */
static dp_status add_events(append_job *job, const dp_batch_group *group, int64_t transaction_number,
                            uint64_t from)
{
    size_t run_start = 0;
    size_t run_length = 0;
    for (size_t i = group->first_event; i < group->first_event + group->event_count; i++) {
        const dp_event *event = append_event_at(job, i);
        if (job->first_of[i] < group->first_event) {
            return append_conflict(job, "transaction_differs", event->line_number,
                                   "the event was sent in an earlier transaction of the batch");
        }
        if (append_repeats_in_group(job, group, i) || event->ordinal < from) {
            add_run(job, transaction_number + (int64_t)append_event_at(job, run_start)->ordinal, run_start,
                    run_length);
            run_length = 0;
            continue;
        }
        if (run_length == 0) run_start = i;
        run_length++;
    }
    add_run(job, transaction_number + (int64_t)append_event_at(job, run_start)->ordinal, run_start,
            run_length);
    return DP_STATUS_OK;
}

/* A group that begins with row 0: whatever was staged is replaced by it or left over from before. */
static dp_status start_transaction(append_job *job, const dp_batch_group *group, int64_t *first_number)
{
    if (dp_fault_is_planted(DP_FAULT_STALE_RESEND) && continues_staging(job, group)) {
        int64_t behind = job->stream->staged_first_number + (int64_t)job->stream->staged_count;
        *first_number = job->stream->staged_first_number;
        job->stream->has_staged = false;
        return add_events(job, group, behind, 0);
    }
    dp_status status = drop_staging(job);
    if (status == DP_STATUS_OK) status = reserve(job);
    if (status == DP_STATUS_OK) status = add_events(job, group, job->next_number, 0);
    if (status == DP_STATUS_OK) *first_number = job->next_number;
    return status;
}

/* A group whose first rows came with earlier batches: they must be staged. */
static dp_status continue_transaction(append_job *job, const dp_batch_group *group)
{
    dp_stream *stream = job->stream;
    bool has_events = group->event_count > 0;
    uint64_t first = has_events ? append_event_at(job, group->first_event)->ordinal : group->commit.count;
    uint64_t line =
        has_events ? append_event_at(job, group->first_event)->line_number : group->commit.line_number;
    if (!continues_staging(job, group) || first > stream->staged_count) {
        return append_conflict(job, "ordinal_gap", line,
                               "the rows of the transaction before this one are missing");
    }
    if (!has_events) return DP_STATUS_OK;
    uint64_t different = append_different_events(job, group);
    uint64_t overlap = stream->staged_count - first < different ? stream->staged_count - first : different;
    dp_status status = append_compare_stored(job, group, stream->staged_first_number, overlap, "ordinal_gap");
    if (status == DP_STATUS_OK) {
        status = add_events(job, group, stream->staged_first_number, stream->staged_count);
    }
    if (first + different > stream->staged_count) stream->staged_count = first + different;
    return status;
}

static bool begins_at_zero(const append_job *job, const dp_batch_group *group)
{
    return group->event_count > 0 && append_event_at(job, group->first_event)->ordinal == 0;
}

static void add_transaction(append_job *job, const dp_batch_group *group, int64_t first_number)
{
    dp_stream *stream = job->stream;
    job->rows[job->row_count++] = (dp_transaction_row){
        .end_position = group->end_position,
        .transaction_id = group->transaction_id,
        .has_committed_at = group->commit.has_committed_at,
        .committed_at_us = group->commit.committed_at_us,
        .stored_at_us = job->now_us,
        .first_number = first_number,
        .event_count = group->commit.count,
    };
    stream->has_high = true;
    stream->high = group->end_position;
    stream->transaction_count++;
    stream->event_count += group->commit.count;
}

/* The commit line of staged rows: they become visible, and the numbers reserved beyond them are free again.
 */
static dp_status finish_staged(append_job *job, const dp_batch_group *group)
{
    dp_stream *stream = job->stream;
    if (group->commit.count != stream->staged_count) {
        return append_conflict(job, "transaction_differs", group->commit.line_number,
                               "the commit line's count is not the number of rows sent before");
    }
    add_transaction(job, group, stream->staged_first_number);
    stream->next_event_number = stream->staged_first_number + (int64_t)stream->staged_count;
    stream->has_staged = false;
    stream->staged_transaction_id = (dp_slice){NULL, 0};
    stream->staged_count = 0;
    job->has_numbers = false;
    /* Their receipts go too: sent again, the parts are staged and compared again. A part that was answered
     * from its receipt would leave a gap before one that was cut elsewhere this time. */
    dp_status status = job->store->driver->receipts_drop_staged(job->store, stream->stream_id, job->error);
    if (status == DP_STATUS_OK) status = job->store->driver->stream_save(job->store, stream, job->error);
    return status;
}

static dp_status take_new(append_job *job, const dp_batch_group *group)
{
    if (!begins_at_zero(job, group)) {
        dp_status status = continue_transaction(job, group);
        return status == DP_STATUS_OK ? finish_staged(job, group) : status;
    }
    int64_t first_number = 0;
    dp_status status = start_transaction(job, group, &first_number);
    if (status != DP_STATUS_OK) return status;
    add_transaction(job, group, first_number);
    job->next_number = first_number + (int64_t)group->commit.count;
    job->stream->next_event_number = job->next_number;
    return DP_STATUS_OK;
}

static dp_status take_staged(append_job *job, const dp_batch_group *group)
{
    dp_stream *stream = job->stream;
    if (!begins_at_zero(job, group)) return continue_transaction(job, group);
    int64_t first_number = 0;
    dp_status status = start_transaction(job, group, &first_number);
    if (status != DP_STATUS_OK) return status;
    stream->has_staged = true;
    stream->staged_transaction_id = group->transaction_id;
    stream->staged_first_number = first_number;
    stream->staged_count = append_different_events(job, group);
    job->next_number = first_number + (int64_t)DP_JOURNAL_MAX_TRANSACTION_ROWS;
    stream->next_event_number = job->next_number;
    return DP_STATUS_OK;
}

/* A commit line that counts no rows is no commit of rows that were sent before, staged, stored or just now.
 */
static dp_status take_empty(append_job *job, size_t index)
{
    const dp_batch_group *groups = job->batch->groups;
    const dp_batch_group *group = &groups[index];
    bool has_rows = continues_staging(job, group) || job->plans[index].found;
    for (size_t g = 0; g < index && !has_rows; g++) {
        has_rows = groups[g].has_commit && groups[g].commit.count > 0 &&
                   dp_position_compare(groups[g].end_position, group->end_position) == 0;
    }
    if (!has_rows) return DP_STATUS_OK;
    return append_conflict(job, "transaction_differs", group->commit.line_number,
                           "the commit line's count is not the number of rows sent before");
}

static dp_status take_group(append_job *job, size_t index)
{
    const dp_batch_group *group = &job->batch->groups[index];
    switch (job->plans[index].kind) {
    case GROUP_EMPTY: return take_empty(job, index);
    case GROUP_PRUNED: return continues_staging(job, group) ? drop_staging(job) : DP_STATUS_OK;
    case GROUP_NEW: return take_new(job, group);
    case GROUP_KNOWN: return take_known(job, group, &job->plans[index]);
    case GROUP_REPEATED: return take_repeated(job, index);
    case GROUP_STAGED: return take_staged(job, group);
    }
    return dp_error_set(job->error, DP_STATUS_INTERNAL, "an unknown kind of transaction");
}

/* --- the whole batch ----------------------------------------------------------------------------------- */

static dp_status prepare(append_job *job)
{
    dp_arena *arena = job->journal->arena;
    size_t groups = job->batch->group_count;
    job->first_of = dp_arena_alloc(arena, (job->batch->event_count + 1) * sizeof *job->first_of);
    job->plans = dp_arena_alloc_zeroed(arena, groups + 1, sizeof *job->plans);
    job->rows = dp_arena_alloc(arena, (groups + 1) * sizeof *job->rows);
    if (job->first_of == NULL || job->plans == NULL || job->rows == NULL) {
        return dp_error_no_memory(job->error, "a batch");
    }
    dp_status status = check_ids(job);
    if (status != DP_STATUS_OK) return status;
    /* A group is one run, and every repeated event can cut one more. */
    dp_idempotency_result ids = dp_idempotency_evaluate(job->journal->ids);
    job->runs = dp_arena_alloc(arena, (groups + (size_t)ids.duplicate_count + 1) * sizeof *job->runs);
    if (job->runs == NULL) return dp_error_no_memory(job->error, "a batch");
    plan_groups(job);
    return append_find_known(job);
}

/* The offset the sender says it has stored; only ever forward. */
static void note_passed(append_job *job)
{
    const dp_batch_header *header = &job->batch->header;
    dp_stream *stream = job->stream;
    dp_position passed;
    if (header->stored_offset.data == NULL ||
        !dp_position_parse(header->backend, header->stored_offset, &passed)) {
        return;
    }
    if (!stream->has_passed || dp_position_compare(passed, stream->passed) > 0) {
        stream->has_passed = true;
        stream->passed = passed;
    }
}

static dp_status store_rows(append_job *job)
{
    const dp_store_driver *driver = job->store->driver;
    int64_t stream_id = job->stream->stream_id;
    dp_status status = DP_STATUS_OK;
    if (job->run_count > 0) {
        status = driver->events_insert(job->store, stream_id, job->runs, job->run_count, job->error);
    }
    if (status == DP_STATUS_OK && job->row_count > 0) {
        status = driver->transactions_insert(job->store, stream_id, job->rows, job->row_count, job->error);
    }
    note_passed(job);
    job->stream->updated_at_us = job->now_us;
    if (status == DP_STATUS_OK) status = driver->stream_save(job->store, job->stream, job->error);
    return status;
}

static void describe(const append_job *job, dp_journal_outcome *outcome)
{
    const dp_batch *batch = job->batch;
    *outcome = (dp_journal_outcome){
        .stream_id = job->stream->stream_id,
        .accepted = job->accepted,
        .duplicates = batch->event_count - job->accepted,
        .dropped = job->dropped,
        .idempotency_passed = dp_idempotency_evaluate(job->journal->ids).passed,
        .staged = batch->group_count > 0 && !batch->groups[batch->group_count - 1].has_commit,
    };
    for (size_t g = batch->group_count; g > 0 && !outcome->has_end_position; g--) {
        outcome->has_end_position = batch->groups[g - 1].has_commit;
        outcome->end_position = batch->groups[g - 1].end_position;
    }
}

dp_status dp_journal_append(dp_journal *journal, dp_store *store, dp_stream *stream, const dp_batch *batch,
                            int64_t now_us, dp_journal_outcome *outcome, dp_error *error)
{
    dp_error local = DP_ERROR_INIT; /* visitors report into the job's error, so there must be one */
    append_job job = {.journal = journal,
                      .store = store,
                      .stream = stream,
                      .batch = batch,
                      .now_us = now_us,
                      .error = error == NULL ? &local : error};
    dp_status status = prepare(&job);
    for (size_t g = 0; g < batch->group_count && status == DP_STATUS_OK; g++) {
        status = take_group(&job, g);
    }
    if (status == DP_STATUS_OK) status = store_rows(&job);
    if (status == DP_STATUS_OK) describe(&job, outcome);
    return status;
}
