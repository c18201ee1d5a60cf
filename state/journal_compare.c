/* What a batch brings again: its transactions are found in the journal, and its events compared with what is
 * stored and staged. Nothing here writes. */
#include "state/journal_internal.h"

#include <stdlib.h>

#include "base/hex.h"
#include "cdc/event_compare.h"

dp_status append_conflict(append_job *job, const char *code, uint64_t line, const char *text)
{
    return dp_error_set_code(job->error, DP_STATUS_CONFLICT, code, "line %llu: %s", (unsigned long long)line,
                             text);
}

dp_status append_event_conflict(append_job *job, const dp_event *event)
{
    char hex[DP_SHA256_HEX_LENGTH];
    dp_hex_encode(event->id.bytes, sizeof event->id.bytes, hex);
    return dp_error_set_code(job->error, DP_STATUS_CONFLICT, "event_conflict",
                             "line %llu: event %.64s is known with other content",
                             (unsigned long long)event->line_number, hex);
}

dp_status append_equal_content(append_job *job, const dp_event *left, const dp_event *right, bool *equal)
{
    dp_arena_reset(job->journal->compare);
    return dp_event_equal_content(left, right, job->journal->compare, equal, job->error);
}

bool append_repeats_in_group(const append_job *job, const dp_batch_group *group, size_t index)
{
    return job->first_of[index] != index && job->first_of[index] >= group->first_event;
}

bool append_ends_below_high(const dp_stream *stream, const dp_batch_group *group)
{
    return stream->has_high && dp_position_compare(group->end_position, stream->high) <= 0;
}

/* --- transactions that must be there ------------------------------------------------------------------- */

typedef struct known_group {
    dp_position position; /* the first member: sorted by it */
    size_t group;
} known_group;

typedef struct known_search {
    append_job *job;
    known_group *groups; /* ascending */
    size_t count;
    size_t cursor;
} known_search;

static int compare_known(const void *left, const void *right)
{
    return memcmp(left, right, DP_POSITION_BYTES);
}

/* Rows come ascending, as the groups do; the batch may have the same transaction more than once. */
static dp_status take_found(void *context, const dp_transaction_row *row, dp_error *error)
{
    known_search *search = context;
    append_job *job = search->job;
    dp_transaction_row copy = *row;
    if (row->transaction_id.data != NULL) {
        copy.transaction_id = dp_arena_copy(job->journal->arena, row->transaction_id);
        if (copy.transaction_id.data == NULL) return dp_error_no_memory(error, "a transaction");
    }
    for (; search->cursor < search->count; search->cursor++) {
        const known_group *known = &search->groups[search->cursor];
        int order = dp_position_compare(known->position, row->end_position);
        if (order > 0) break;
        if (order < 0) continue;
        job->plans[known->group].found = true;
        job->plans[known->group].row = copy;
    }
    return DP_STATUS_OK;
}

dp_status append_find_known(append_job *job)
{
    size_t groups = job->batch->group_count;
    known_search search = {.job = job};
    search.groups = dp_arena_alloc_zeroed(job->journal->arena, groups + 1, sizeof *search.groups);
    dp_position *positions = dp_arena_alloc_zeroed(job->journal->arena, groups + 1, sizeof *positions);
    if (search.groups == NULL || positions == NULL)
        return dp_error_no_memory(job->error, "a batch's positions");
    for (size_t g = 0; g < groups; g++) {
        const dp_batch_group *group = &job->batch->groups[g];
        bool is_empty = job->plans[g].kind == GROUP_EMPTY && append_ends_below_high(job->stream, group);
        if (job->plans[g].kind != GROUP_KNOWN && !is_empty) continue;
        search.groups[search.count++] = (known_group){group->end_position, g};
    }
    if (search.count == 0) return DP_STATUS_OK;
    qsort(search.groups, search.count, sizeof *search.groups, compare_known);
    size_t distinct = 0;
    for (size_t i = 0; i < search.count; i++) {
        if (distinct > 0 && dp_position_compare(positions[distinct - 1], search.groups[i].position) == 0)
            continue;
        positions[distinct++] = search.groups[i].position;
    }
    dp_row_visitor visitor = {.context = &search, .transaction = take_found};
    return job->store->driver->transactions_find(job->store, job->stream->stream_id, positions, distinct,
                                                 &visitor, job->error);
}

/* --- comparing events with what is stored -------------------------------------------------------------- */

/* Compares the events of one group, from a position in it on, with stored events of ascending number. */
typedef struct comparison {
    append_job *job;
    const dp_batch_group *group;
    size_t next;          /* index of the next event to compare */
    int64_t first_number; /* of the transaction */
    const char *code;     /* of the conflict when another event is there */
} comparison;

static void skip_repeated(comparison *self)
{
    while (self->next < self->group->first_event + self->group->event_count &&
           append_repeats_in_group(self->job, self->group, self->next)) {
        self->next++;
    }
}

static dp_status compare_event(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    comparison *self = context;
    (void)error; /* the job's */
    skip_repeated(self);
    const dp_event *sent = append_event_at(self->job, self->next);
    dp_event stored = *row;
    stored.ordinal = (uint64_t)(number - self->first_number);
    stored.transaction_id = self->group->transaction_id; /* compared with the transaction */
    if (stored.ordinal != sent->ordinal) {
        return dp_error_set(self->job->error, DP_STATUS_DATA, "event number %lld of the journal is missing",
                            (long long)(self->first_number + (int64_t)sent->ordinal));
    }
    self->next++;
    if (memcmp(&stored.id, &sent->id, sizeof sent->id) != 0) {
        return append_conflict(self->job, self->code, sent->line_number,
                               "another event is stored in its place");
    }
    bool equal;
    dp_status status = append_equal_content(self->job, &stored, sent, &equal);
    if (status != DP_STATUS_OK || equal) return status;
    return append_event_conflict(self->job, sent);
}

dp_status append_compare_stored(append_job *job, const dp_batch_group *group, int64_t first_number,
                                uint64_t count, const char *code)
{
    if (count == 0) return DP_STATUS_OK;
    comparison self = {
        .job = job, .group = group, .next = group->first_event, .first_number = first_number, .code = code};
    const dp_number_range range = {first_number + (int64_t)append_event_at(job, group->first_event)->ordinal,
                                   count};
    dp_row_visitor visitor = {.context = &self, .event = compare_event};
    dp_status status =
        job->store->driver->events_read(job->store, job->stream->stream_id, &range, 1, &visitor, job->error);
    if (status != DP_STATUS_OK) return status;
    uint64_t compared = 0;
    for (size_t i = group->first_event; i < self.next; i++) {
        if (!append_repeats_in_group(job, group, i)) compared++;
    }
    if (compared == count) return DP_STATUS_OK;
    return dp_error_set(job->error, DP_STATUS_DATA,
                        "events of a stored transaction are missing from the journal");
}

uint64_t append_different_events(const append_job *job, const dp_batch_group *group)
{
    uint64_t count = 0;
    for (size_t i = group->first_event; i < group->first_event + group->event_count; i++) {
        if (!append_repeats_in_group(job, group, i)) count++;
    }
    return count;
}

/* --- staging ------------------------------------------------------------------------------------------- */

/* Rows of a stored transaction were staged again before its commit line showed that it is known. */
typedef struct staged_window {
    append_job *job;
    dp_arena *arena;
    dp_event *events;
    size_t count;
    size_t compared;
    uint64_t line_number; /* of the commit line */
} staged_window;

static bool copy_text(dp_arena *arena, dp_slice *text)
{
    if (text->data == NULL) return true;
    *text = dp_arena_copy(arena, *text);
    return text->data != NULL;
}

static dp_status keep_staged(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    staged_window *self = context;
    (void)number;
    dp_event copy = *row; /* what is not content is not compared, so it need not be kept */
    bool ok = copy_text(self->arena, &copy.source_schema) && copy_text(self->arena, &copy.source_table) &&
              copy_text(self->arena, &copy.position) && copy_text(self->arena, &copy.data);
    if (!ok) return dp_error_no_memory(error, "staged events");
    self->events[self->count++] = copy;
    return DP_STATUS_OK;
}

static dp_status compare_staged(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    staged_window *self = context;
    (void)number, (void)error;
    bool equal = false;
    dp_status status = DP_STATUS_OK;
    if (self->compared < self->count) {
        status = append_equal_content(self->job, &self->events[self->compared++], row, &equal);
    }
    if (status != DP_STATUS_OK || equal) return status;
    return append_conflict(self->job, "transaction_differs", self->line_number,
                           "the rows sent before are not those of the stored transaction");
}

#define STAGED_WINDOW 256

static dp_status compare_window(staged_window *self, int64_t staged_first, int64_t stored_first,
                                uint64_t count)
{
    append_job *job = self->job;
    const dp_store_driver *driver = job->store->driver;
    int64_t stream_id = job->stream->stream_id;
    dp_arena_reset(self->arena);
    self->count = 0;
    self->compared = 0;
    self->events = dp_arena_alloc_zeroed(self->arena, STAGED_WINDOW, sizeof *self->events);
    if (self->events == NULL) return dp_error_no_memory(job->error, "staged events");
    dp_row_visitor keep = {.context = self, .event = keep_staged};
    dp_row_visitor compare = {.context = self, .event = compare_staged};
    const dp_number_range staged = {staged_first, count};
    const dp_number_range stored = {stored_first, count};
    dp_status status = driver->events_read(job->store, stream_id, &staged, 1, &keep, job->error);
    if (status == DP_STATUS_OK) {
        status = driver->events_read(job->store, stream_id, &stored, 1, &compare, job->error);
    }
    if (status != DP_STATUS_OK || self->compared == count) return status;
    return append_conflict(job, "transaction_differs", self->line_number,
                           "the stored transaction has other rows");
}

dp_status append_compare_staging(append_job *job, const dp_transaction_row *row, uint64_t line_number)
{
    const dp_stream *stream = job->stream;
    staged_window self = {.job = job, .line_number = line_number};
    if (stream->staged_count > row->event_count) {
        return append_conflict(job, "transaction_differs", line_number,
                               "the stored transaction has fewer rows");
    }
    self.arena = dp_arena_new(DP_JOURNAL_ARENA_CHUNK_BYTES, DP_JOURNAL_ARENA_MAX_BYTES);
    if (self.arena == NULL) return dp_error_no_memory(job->error, "staged events");
    dp_status status = DP_STATUS_OK;
    for (uint64_t at = 0; at < stream->staged_count && status == DP_STATUS_OK; at += STAGED_WINDOW) {
        uint64_t left = stream->staged_count - at;
        status = compare_window(&self, stream->staged_first_number + (int64_t)at,
                                row->first_number + (int64_t)at, left < STAGED_WINDOW ? left : STAGED_WINDOW);
    }
    dp_arena_free(self.arena);
    return status;
}
