/* Retention: deletes whole transactions from the start of a stream, a bounded number at a time. */
#include "state/journal_internal.h"

typedef struct prune_job {
    uint64_t max_events;
    dp_prune_result result;
    dp_number_range *ranges; /* of the transactions to delete, joined where they touch */
    size_t range_count;
    dp_position last;
} prune_job;

#define PRUNE_TRANSACTIONS 10000

static dp_status choose_for_pruning(void *context, const dp_transaction_row *row, dp_error *error)
{
    prune_job *self = context;
    (void)error;
    if (self->result.transactions > 0 && (self->result.events + row->event_count > self->max_events ||
                                          self->result.transactions == PRUNE_TRANSACTIONS)) {
        self->result.more = true;
        return DP_STATUS_CANCELLED;
    }
    dp_number_range *last = self->range_count == 0 ? NULL : &self->ranges[self->range_count - 1];
    if (last != NULL && last->first + (int64_t)last->count == row->first_number) {
        last->count += row->event_count;
    } else {
        self->ranges[self->range_count++] = (dp_number_range){row->first_number, row->event_count};
    }
    self->last = row->end_position;
    self->result.transactions++;
    self->result.events += row->event_count;
    return DP_STATUS_OK;
}

static dp_status delete_chosen(dp_store *store, dp_stream *stream, const prune_job *job, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    bool later = store->driver->events_prune != NULL;
    for (size_t i = 0; i < job->range_count && !later && status == DP_STATUS_OK; i++) {
        status = store->driver->events_delete(store, stream->stream_id, job->ranges[i], error);
    }
    if (status == DP_STATUS_OK && job->result.transactions > 0) {
        status = store->driver->transactions_delete(store, stream->stream_id, job->last, error);
    }
    stream->transaction_count -= job->result.transactions;
    stream->event_count -= job->result.events;
    return status;
}

static bool raise_pruned(dp_stream *stream, dp_position to)
{
    if (stream->has_pruned && dp_position_compare(to, stream->pruned) <= 0) return false;
    stream->has_pruned = true;
    stream->pruned = to;
    return true;
}

static dp_status check_passed(dp_position to, const dp_position *passed, dp_backend backend, dp_error *error)
{
    if (passed != NULL && dp_position_compare(to, *passed) <= 0) return DP_STATUS_OK;
    char text[DP_POSITION_TEXT_BYTES] = "none";
    if (passed != NULL) dp_position_format(backend, *passed, text);
    return dp_error_set_code(error, DP_STATUS_BLOCKED, "prune_not_passed",
                             "events that no stored offset has passed are kept; the offset is %s", text);
}

dp_status dp_journal_prune(dp_journal *journal, dp_store *store, const dp_stream_key *key, dp_position to,
                           const dp_position *passed, uint64_t max_events, int64_t now_us,
                           dp_prune_result *result, dp_error *error)
{
    dp_arena_reset(journal->arena);
    dp_stream stream;
    dp_status status = check_passed(to, passed, key->backend, error);
    if (status == DP_STATUS_OK)
        status = store->driver->stream_find(store, key, journal->arena, &stream, error);
    if (status == DP_STATUS_OK) { /* again, with the lock; it exists, so its identity is its own */
        status =
            store->driver->stream_open(store, key, stream.identity, now_us, journal->arena, &stream, error);
    }
    if (status != DP_STATUS_OK) return status;
    prune_job job = {.max_events = max_events};
    job.ranges = dp_arena_alloc(journal->arena, PRUNE_TRANSACTIONS * sizeof *job.ranges);
    if (job.ranges == NULL) return dp_error_no_memory(error, "what to delete");
    const dp_transaction_window window = {.has_to = true, .to = to};
    dp_row_visitor visitor = {.context = &job, .transaction = choose_for_pruning};
    status = store->driver->transactions_read(store, stream.stream_id, &window, &visitor, error);
    if (status == DP_STATUS_OK) status = delete_chosen(store, &stream, &job, error);
    if (status != DP_STATUS_OK) return status;
    /* Never past the high watermark: what ends above it has not been seen. */
    if (job.result.more) {
        raise_pruned(&stream, job.last);
    } else if (stream.has_high) {
        raise_pruned(&stream, dp_position_compare(to, stream.high) < 0 ? to : stream.high);
    }
    stream.updated_at_us = now_us;
    status = store->driver->stream_save(store, &stream, error);
    if (status == DP_STATUS_OK) *result = job.result;
    return status;
}
