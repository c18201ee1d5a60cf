#include "services/state_copy.h"

#include "base/clock.h"
#include "base/sha256.h"
#include "state/journal.h"
#include "state/migrate.h"

#define ARENA_CHUNK_BYTES    ((size_t)64 << 10)
#define LIST_MAX_BYTES       ((size_t)256 << 20)
#define ROWS_MAX_BYTES       ((size_t)128 << 20)
#define FLUSH_BYTES          ((size_t)1 << 20)
#define FLUSH_EVENTS         1000
#define TRANSACTIONS_AT_ONCE 1000

/* --- the digest -------------------------------------------------------------------------------------------
 */

/* Each value with its length, so that no two rows can be told as one; NULL is not the empty text. */
static bool add_slice(dp_sha256 *hash, dp_slice value)
{
    uint64_t length = value.data == NULL ? UINT64_MAX : (uint64_t)value.length;
    return dp_sha256_update(hash, (dp_slice){(const char *)&length, sizeof length}) &&
           (value.data == NULL || dp_sha256_update(hash, value));
}

static bool add_number(dp_sha256 *hash, uint64_t value)
{
    return dp_sha256_update(hash, (dp_slice){(const char *)&value, sizeof value});
}

static bool add_position(dp_sha256 *hash, bool present, const dp_position *position)
{
    return add_slice(hash, present ? (dp_slice){(const char *)position->bytes, DP_POSITION_BYTES}
                                   : (dp_slice){NULL, 0});
}

static dp_status hashed(bool ok, dp_error *error)
{
    return ok ? DP_STATUS_OK : dp_error_set(error, DP_STATUS_INTERNAL, "unable to compute a SHA-256");
}

/* --- reading one side --- */

/* Reads all of a store once, hashing what it reads and, when `to` is given, writing it there. */
typedef struct reading {
    dp_store *from;
    dp_store *to;  /* NULL: only read */
    bool checking; /* whether what a stream says of its rows is so */
    const dp_state_copy_options *options;
    dp_sha256 *hash;
    dp_arena *list;  /* streams and audit, as long as the reading */
    dp_arena *rows;  /* transactions of one page */
    dp_arena *texts; /* of the events that have not been written yet */
    dp_stream *streams;
    size_t stream_count;
    size_t stream_capacity;
    dp_audit_row *audit;
    size_t audit_capacity;
    dp_transaction_row page[TRANSACTIONS_AT_ONCE];
    size_t page_count;
    dp_event events[FLUSH_EVENTS];
    size_t event_count;
    int64_t next_number; /* in the target, of the first of `events` */
    int64_t target_stream_id;
    dp_state_copy_result result;
} reading;

static dp_status no_memory(dp_error *error)
{
    return dp_error_no_memory(error, "the rows of a state database");
}

static bool keep(dp_arena *arena, dp_slice *text)
{
    if (text->data == NULL) return true;
    *text = dp_arena_copy(arena, *text);
    return text->data != NULL;
}

static void *grow(dp_arena *arena, void *elements, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity) return elements;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = dp_arena_alloc(arena, wanted * element_bytes);
    if (grown == NULL) return NULL;
    if (count > 0) memcpy(grown, elements, count * element_bytes);
    *capacity = wanted;
    return grown;
}

/* --- events -----------------------------------------------------------------------------------------------
 */

static dp_status flush_events(reading *self, dp_error *error)
{
    const dp_event_run run = {self->next_number, self->events, self->event_count};
    dp_status status = DP_STATUS_OK;
    if (self->event_count > 0 && self->to != NULL) {
        status = self->to->driver->events_insert(self->to, self->target_stream_id, &run, 1, error);
    }
    self->next_number += (int64_t)self->event_count;
    self->event_count = 0;
    dp_arena_reset(self->texts);
    return status;
}

static bool hash_event(dp_sha256 *hash, const dp_event *event)
{
    return add_slice(hash, (dp_slice){(const char *)event->id.bytes, sizeof event->id.bytes}) &&
           add_number(hash, (uint64_t)event->operation) && add_number(hash, event->has_sequence) &&
           add_number(hash, event->sequence) && add_slice(hash, event->source_schema) &&
           add_slice(hash, event->source_table) && add_slice(hash, event->position) &&
           add_slice(hash, event->data) && add_slice(hash, event->before) &&
           add_slice(hash, event->unchanged) && add_slice(hash, event->metadata);
}

static bool keep_event(dp_arena *arena, dp_event *event)
{
    return keep(arena, &event->source_schema) && keep(arena, &event->source_table) &&
           keep(arena, &event->position) && keep(arena, &event->data) && keep(arena, &event->before) &&
           keep(arena, &event->unchanged) && keep(arena, &event->metadata);
}

static dp_status take_event(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    reading *self = context;
    (void)number; /* they come in the order of the target's numbers */
    self->result.event_count++;
    if (self->options != NULL && self->options->progress != NULL && self->result.event_count % 1000 == 0) {
        self->options->progress(self->options->context, self->to == NULL, self->result.event_count);
    }
    dp_status status = hashed(hash_event(self->hash, row), error);
    if (status != DP_STATUS_OK || self->to == NULL) return status;
    if (self->event_count == FLUSH_EVENTS || dp_arena_used_bytes(self->texts) > FLUSH_BYTES) {
        status = flush_events(self, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_event *event = &self->events[self->event_count];
    *event = *row;
    if (!keep_event(self->texts, event)) return no_memory(error);
    self->event_count++;
    return DP_STATUS_OK;
}

/* --- transactions --- */

static dp_status take_transaction(void *context, const dp_transaction_row *row, dp_error *error)
{
    reading *self = context;
    dp_sha256 *hash = self->hash;
    bool ok = add_position(hash, true, &row->end_position) && add_slice(hash, row->transaction_id) &&
              add_number(hash, row->has_committed_at) && add_number(hash, (uint64_t)row->committed_at_us) &&
              add_number(hash, (uint64_t)row->stored_at_us) && add_number(hash, row->event_count);
    dp_transaction_row *kept = &self->page[self->page_count++];
    *kept = *row;
    if (!keep(self->rows, &kept->transaction_id)) return no_memory(error);
    return hashed(ok, error);
}

/* The events of one page of transactions, then the transactions, renumbered for the target. */
static dp_status take_page(reading *self, int64_t stream_id, dp_error *error)
{
    dp_number_range ranges[TRANSACTIONS_AT_ONCE];
    dp_row_visitor visitor = {.context = self, .event = take_event};
    uint64_t expected = self->result.event_count;
    int64_t number = self->next_number;
    for (size_t i = 0; i < self->page_count; i++) {
        ranges[i] = (dp_number_range){self->page[i].first_number, self->page[i].event_count};
        self->page[i].first_number = number;
        number += (int64_t)self->page[i].event_count;
        expected += self->page[i].event_count;
    }
    dp_status status =
        self->from->driver->events_read(self->from, stream_id, ranges, self->page_count, &visitor, error);
    if (status == DP_STATUS_OK && self->result.event_count != expected) {
        status = dp_error_set(error, DP_STATUS_DATA,
                              "events of a stored transaction are missing from the journal");
    }
    if (status == DP_STATUS_OK) status = flush_events(self, error);
    if (status == DP_STATUS_OK && self->to != NULL) {
        status = self->to->driver->transactions_insert(self->to, self->target_stream_id, self->page,
                                                       self->page_count, error);
    }
    self->result.transaction_count += self->page_count;
    return status;
}

static dp_status contradicted(const dp_stream *stream, const char *what, dp_error *error)
{
    return dp_error_set_code(error, DP_STATUS_DATA, "stream_differs",
                             "stream %.*s of source %.*s: %s its transactions",
                             DP_SLICE_PRINT(stream->key.pipeline), DP_SLICE_PRINT(stream->key.source), what);
}

/* What the stream's row says is what its transactions say. */
static dp_status check_stream(const dp_stream *stream, uint64_t transactions, uint64_t events,
                              const dp_position *first, const dp_position *last, dp_error *error)
{
    if (transactions != stream->transaction_count || events != stream->event_count)
        return contradicted(stream, "its counts are not those of", error);
    if (transactions == 0) return DP_STATUS_OK;
    if (!stream->has_high || dp_position_compare(*last, stream->high) != 0)
        return contradicted(stream, "its high watermark is not the end of", error);
    if (stream->has_pruned && dp_position_compare(*first, stream->pruned) <= 0)
        return contradicted(stream, "its pruned watermark lies above some of", error);
    return DP_STATUS_OK;
}

static dp_status read_transactions(reading *self, const dp_stream *stream, dp_error *error)
{
    dp_transaction_window window = {.limit = TRANSACTIONS_AT_ONCE};
    dp_row_visitor visitor = {.context = self, .transaction = take_transaction};
    const dp_state_copy_result before = self->result;
    dp_position first = {{0}};
    do {
        self->page_count = 0;
        dp_arena_reset(self->rows);
        dp_status status =
            self->from->driver->transactions_read(self->from, stream->stream_id, &window, &visitor, error);
        if (status == DP_STATUS_OK && self->page_count > 0) {
            if (!window.has_from) first = self->page[0].end_position;
            status = take_page(self, stream->stream_id, error);
        }
        if (status != DP_STATUS_OK) return status;
        if (self->page_count > 0) window.from = self->page[self->page_count - 1].end_position;
        window.has_from = true;
    } while (self->page_count == TRANSACTIONS_AT_ONCE);
    if (!self->checking) return DP_STATUS_OK;
    return check_stream(stream, self->result.transaction_count - before.transaction_count,
                        self->result.event_count - before.event_count, &first, &window.from, error);
}

/* --- streams ----------------------------------------------------------------------------------------------
 */

static bool hash_stream(dp_sha256 *hash, const dp_stream *stream)
{
    return add_slice(hash, stream->key.pipeline) && add_slice(hash, stream->key.source) &&
           add_number(hash, (uint64_t)stream->key.backend) && add_number(hash, (uint64_t)stream->identity) &&
           add_position(hash, stream->has_high, &stream->high) &&
           add_position(hash, stream->has_pruned, &stream->pruned) &&
           add_position(hash, stream->has_passed, &stream->passed) &&
           add_number(hash, stream->transaction_count) && add_number(hash, stream->event_count) &&
           add_slice(hash, stream->settings) && add_number(hash, (uint64_t)stream->updated_at_us) &&
           add_number(hash, stream->has_staged) && add_slice(hash, stream->staged_transaction_id) &&
           add_number(hash, stream->staged_count);
}

static dp_status take_stream(void *context, const dp_stream *row, dp_error *error)
{
    reading *self = context;
    dp_stream *grown =
        grow(self->list, self->streams, self->stream_count, &self->stream_capacity, sizeof *grown);
    if (grown == NULL) return no_memory(error);
    self->streams = grown;
    dp_stream *stream = &self->streams[self->stream_count++];
    *stream = *row;
    bool ok = keep(self->list, &stream->key.pipeline) && keep(self->list, &stream->key.source) &&
              keep(self->list, &stream->settings) && keep(self->list, &stream->staged_transaction_id);
    return ok ? hashed(hash_stream(self->hash, row), error) : no_memory(error);
}

/* --- rows that wait for their commit line, and receipts ---------------------------------------------------
 */

static dp_status read_staged(reading *self, const dp_stream *stream, dp_error *error)
{
    dp_number_range range = {stream->staged_first_number, stream->staged_count};
    dp_row_visitor visitor = {.context = self, .event = take_event};
    uint64_t before = self->result.event_count;
    if (!stream->has_staged) return DP_STATUS_OK;
    dp_status status =
        self->from->driver->events_read(self->from, stream->stream_id, &range, 1, &visitor, error);
    if (status == DP_STATUS_OK) status = flush_events(self, error);
    if (status == DP_STATUS_OK && self->result.event_count - before != stream->staged_count) {
        status = dp_error_set(error, DP_STATUS_DATA, "staged events are missing from the journal");
    }
    self->result.staged_count += stream->staged_count;
    self->result.event_count = before;
    return status;
}

static dp_status take_receipt(void *context, const dp_receipt_row *row, dp_error *error)
{
    reading *self = context;
    dp_sha256 *hash = self->hash;
    self->result.receipt_count++;
    bool ok = add_slice(hash, row->pipeline) && add_slice(hash, row->source) &&
              add_number(hash, (uint64_t)row->identity) && add_slice(hash, row->idempotency_key) &&
              add_slice(hash, (dp_slice){(const char *)row->batch_id, sizeof row->batch_id}) &&
              add_number(hash, row->staged) && add_number(hash, row->http_status) &&
              add_slice(hash, row->body) && add_number(hash, (uint64_t)row->created_at_us);
    dp_status status = hashed(ok, error);
    if (status != DP_STATUS_OK || self->to == NULL) return status;
    dp_receipt_row copy = *row;
    copy.stream_id = self->target_stream_id;
    return self->to->driver->receipt_insert(self->to, &copy, error);
}

/* --- one stream -------------------------------------------------------------------------------------------
 */

static dp_status begin_target(reading *self, const dp_stream *stream, dp_stream *target, dp_error *error)
{
    const dp_store_driver *driver = self->to->driver;
    uint64_t most = stream->event_count + DP_JOURNAL_MAX_TRANSACTION_ROWS;
    dp_status status = driver->stream_open(self->to, &stream->key, stream->identity, stream->created_at_us,
                                           self->list, target, error);
    if (status == DP_STATUS_OK) {
        status = driver->reserve_numbers(self->to, target, most, &self->next_number, error);
    }
    self->target_stream_id = target->stream_id;
    return status;
}

/* As the journal does it, numbers stay free behind staged rows for the rest of their transaction. */
static dp_status end_target(reading *self, const dp_stream *stream, dp_stream *target, dp_error *error)
{
    dp_stream saved = *stream;
    saved.stream_id = target->stream_id;
    saved.next_event_number = self->next_number;
    saved.staged_first_number = 0;
    if (stream->has_staged) {
        saved.staged_first_number = self->next_number - (int64_t)stream->staged_count;
        saved.next_event_number = saved.staged_first_number + (int64_t)DP_JOURNAL_MAX_TRANSACTION_ROWS;
    }
    return self->to->driver->stream_save(self->to, &saved, error);
}

static dp_status read_stream(reading *self, const dp_stream *stream, dp_error *error)
{
    dp_stream target;
    dp_row_visitor visitor = {.context = self, .receipt = take_receipt};
    dp_status status = self->to == NULL ? DP_STATUS_OK : begin_target(self, stream, &target, error);
    if (status == DP_STATUS_OK) status = read_transactions(self, stream, error);
    if (status == DP_STATUS_OK) status = read_staged(self, stream, error);
    if (status == DP_STATUS_OK) {
        status = self->from->driver->receipt_list(self->from, stream->stream_id, &visitor, error);
    }
    if (status == DP_STATUS_OK && self->to != NULL) status = end_target(self, stream, &target, error);
    self->result.stream_count++;
    return status;
}

/* --- what is not of a stream --- */

static dp_status take_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    reading *self = context;
    dp_sha256 *hash = self->hash;
    self->result.offset_count++;
    bool ok = add_slice(hash, row->pipeline_name) && add_slice(hash, row->source_schema) &&
              add_slice(hash, row->source_table) && add_slice(hash, row->backend) &&
              add_slice(hash, row->token) && add_number(hash, row->snapshot_complete) &&
              add_number(hash, (uint64_t)row->loaded_at_us) && add_number(hash, (uint64_t)row->updated_at_us);
    dp_status status = hashed(ok, error);
    if (status != DP_STATUS_OK || self->to == NULL) return status;
    /* Saved as it was: first at the one time, last at the other. */
    status = self->to->driver->offset_save(self->to, row, row->loaded_at_us, error);
    if (status != DP_STATUS_OK) return status;
    return self->to->driver->offset_save(self->to, row, row->updated_at_us, error);
}

static dp_status take_quarantine(void *context, const dp_quarantine_row *row, dp_error *error)
{
    reading *self = context;
    dp_sha256 *hash = self->hash;
    self->result.quarantine_count++;
    bool ok = add_slice(hash, row->pipeline) && add_slice(hash, row->source) &&
              add_slice(hash, row->backend) && add_slice(hash, row->source_schema) &&
              add_slice(hash, row->source_table) && add_slice(hash, row->position) &&
              add_slice(hash, row->transaction_id) && add_slice(hash, row->end_position) &&
              add_slice(hash, row->reason) && add_slice(hash, row->detail) && add_slice(hash, row->event) &&
              add_number(hash, (uint64_t)row->state) && add_number(hash, (uint64_t)row->created_at_us) &&
              add_number(hash, (uint64_t)row->resolved_at_us) && add_slice(hash, row->resolved_by) &&
              add_slice(hash, row->resolution) && add_slice(hash, row->event_key);
    dp_status status = hashed(ok, error);
    if (status != DP_STATUS_OK || self->to == NULL) return status;
    uint64_t inserted_count; /* what was left out is found when both are compared */
    return self->to->driver->quarantine_insert(self->to, row, 1, &inserted_count, error);
}

static dp_status take_audit(void *context, const dp_audit_row *row, dp_error *error)
{
    reading *self = context;
    size_t count = (size_t)self->result.audit_count;
    dp_audit_row *grown = grow(self->list, self->audit, count, &self->audit_capacity, sizeof *grown);
    if (grown == NULL) return no_memory(error);
    self->audit = grown;
    dp_audit_row *kept = &self->audit[count];
    *kept = *row;
    self->result.audit_count++;
    bool ok = keep(self->list, &kept->actor) && keep(self->list, &kept->action) &&
              keep(self->list, &kept->pipeline) && keep(self->list, &kept->subject) &&
              keep(self->list, &kept->reason) && keep(self->list, &kept->old_value) &&
              keep(self->list, &kept->new_value);
    return ok ? DP_STATUS_OK : no_memory(error);
}

/* They are listed newest first and written oldest first. */
static dp_status pass_audit(reading *self, dp_error *error)
{
    for (size_t i = (size_t)self->result.audit_count; i > 0; i--) {
        const dp_audit_row *row = &self->audit[i - 1];
        dp_sha256 *hash = self->hash;
        bool ok = add_number(hash, (uint64_t)row->at_us) && add_slice(hash, row->actor) &&
                  add_slice(hash, row->action) && add_slice(hash, row->pipeline) &&
                  add_slice(hash, row->subject) && add_slice(hash, row->reason) &&
                  add_slice(hash, row->old_value) && add_slice(hash, row->new_value);
        dp_status status = hashed(ok, error);
        if (status == DP_STATUS_OK && self->to != NULL)
            status = self->to->driver->audit_insert(self->to, row, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

/* --- all of it --------------------------------------------------------------------------------------------
 */

static const dp_slice all = {NULL, 0};

static dp_status read_everything(reading *self, dp_error *error)
{
    const dp_store_driver *driver = self->from->driver;
    dp_row_visitor visitor = {.context = self,
                              .stream = take_stream,
                              .offset = take_offset,
                              .quarantine = take_quarantine,
                              .audit = take_audit};
    dp_status status = hashed(dp_sha256_begin(self->hash), error);
    if (status == DP_STATUS_OK) status = driver->stream_list(self->from, all, &visitor, error);
    for (size_t i = 0; i < self->stream_count && status == DP_STATUS_OK; i++) {
        status = read_stream(self, &self->streams[i], error);
    }
    if (status == DP_STATUS_OK) status = driver->offset_list(self->from, all, &visitor, error);
    if (status == DP_STATUS_OK)
        status = driver->quarantine_list(self->from, all, NULL, 0, 0, &visitor, error);
    if (status == DP_STATUS_OK) status = driver->audit_list(self->from, all, INT64_MAX, 0, &visitor, error);
    if (status == DP_STATUS_OK) status = pass_audit(self, error);
    if (status == DP_STATUS_OK) status = hashed(dp_sha256_finish(self->hash, self->result.digest), error);
    return status;
}

/* Of `how` only what is read, where it goes and what is told meanwhile counts. */
static dp_status read_once(const reading *how, dp_state_copy_result *result, dp_error *error)
{
    dp_arena *memory = dp_arena_new(ARENA_CHUNK_BYTES, LIST_MAX_BYTES);
    reading *self = memory == NULL ? NULL : dp_arena_alloc_zeroed(memory, 1, sizeof *self);
    if (self == NULL) {
        dp_arena_free(memory);
        return no_memory(error);
    }
    self->from = how->from;
    self->to = how->to;
    self->checking = how->checking;
    self->options = how->options;
    self->list = memory;
    self->hash = dp_sha256_new();
    self->rows = dp_arena_new(ARENA_CHUNK_BYTES, ROWS_MAX_BYTES);
    self->texts = dp_arena_new(ARENA_CHUNK_BYTES, ROWS_MAX_BYTES);
    dp_status status = DP_STATUS_OK;
    if (self->hash == NULL || self->rows == NULL || self->texts == NULL) status = no_memory(error);
    if (status == DP_STATUS_OK) status = read_everything(self, error);
    if (status == DP_STATUS_OK) *result = self->result;
    dp_sha256_free(self->hash);
    dp_arena_free(self->rows);
    dp_arena_free(self->texts);
    dp_arena_free(memory);
    return status;
}

static dp_status found_stream(void *context, const dp_stream *row, dp_error *error)
{
    (void)row, (void)error;
    *(bool *)context = true;
    return DP_STATUS_CANCELLED;
}

static dp_status found_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    (void)row, (void)error;
    *(bool *)context = true;
    return DP_STATUS_CANCELLED;
}

static dp_status found_quarantine(void *context, const dp_quarantine_row *row, dp_error *error)
{
    (void)row, (void)error;
    *(bool *)context = true;
    return DP_STATUS_CANCELLED;
}

static dp_status found_audit(void *context, const dp_audit_row *row, dp_error *error)
{
    (void)row, (void)error;
    *(bool *)context = true;
    return DP_STATUS_CANCELLED;
}

/* Two histories cannot be merged, and an offset must not be replaced by an older one. */
static dp_status require_empty(dp_store *to, dp_error *error)
{
    bool found = false;
    dp_row_visitor visitor = {.context = &found,
                              .stream = found_stream,
                              .offset = found_offset,
                              .quarantine = found_quarantine,
                              .audit = found_audit};
    dp_status status = to->driver->stream_list(to, all, &visitor, error);
    if (status == DP_STATUS_OK) status = to->driver->offset_list(to, all, &visitor, error);
    if (status == DP_STATUS_OK) status = to->driver->quarantine_list(to, all, NULL, 0, 1, &visitor, error);
    if (status == DP_STATUS_OK) status = to->driver->audit_list(to, all, INT64_MAX, 1, &visitor, error);
    if (status != DP_STATUS_OK || !found) return status;
    dp_error_set_code(error, DP_STATUS_BLOCKED, "target_not_empty",
                      "the target holds streams, offsets, quarantine or audit already");
    dp_error_hint(error, "copy into a new file, or into another schema with ?dpone_schema=NAME");
    return DP_STATUS_BLOCKED;
}

static dp_status copy_inside(dp_store *from, dp_store *to, const dp_state_copy_options *options,
                             dp_state_copy_result *result, dp_error *error)
{
    const reading source = {.from = from, .to = to, .options = options};
    const reading target = {.from = to, .options = options};
    dp_state_copy_result copied;
    dp_status status = require_empty(to, error);
    if (status == DP_STATUS_OK) status = read_once(&source, result, error);
    if (status == DP_STATUS_OK) status = read_once(&target, &copied, error);
    if (status != DP_STATUS_OK || memcmp(&copied, result, sizeof copied) == 0) return status;
    return dp_error_set_code(
        error, DP_STATUS_DATA, "copy_differs",
        "what was read back from the target is not what was read from the source; nothing was "
        "stored");
}

static dp_status copy_between(dp_store *from, dp_store *to, const dp_state_copy_options *options,
                              dp_state_copy_result *result, dp_error *error)
{
    dp_status status = from->driver->begin(from, false, error);
    if (status != DP_STATUS_OK) return status;
    status = to->driver->begin(to, true, error);
    if (status == DP_STATUS_OK) {
        status = copy_inside(from, to, options, result, error);
        if (status == DP_STATUS_OK) {
            status = to->driver->commit(to, error);
        } else {
            to->driver->rollback(to);
        }
    }
    from->driver->rollback(from);
    return status;
}

/* --- whether the source is still what it was --------------------------------------------------------------
 */

static dp_status stamp_stream(void *context, const dp_stream *row, dp_error *error)
{
    return hashed(hash_stream(context, row), error);
}

static dp_status stamp_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    return hashed(add_slice(context, row->pipeline_name) && add_slice(context, row->token) &&
                      add_number(context, (uint64_t)row->updated_at_us),
                  error);
}

/* Of what every batch and every saved offset changes. */
static dp_status take_stamp(dp_store *store, uint8_t stamp[DP_SHA256_BYTES], dp_error *error)
{
    dp_sha256 *hash = dp_sha256_new();
    if (hash == NULL) return no_memory(error);
    dp_row_visitor visitor = {.context = hash, .stream = stamp_stream, .offset = stamp_offset};
    dp_status status = hashed(dp_sha256_begin(hash), error);
    if (status == DP_STATUS_OK) status = store->driver->stream_list(store, all, &visitor, error);
    if (status == DP_STATUS_OK) status = store->driver->offset_list(store, all, &visitor, error);
    if (status == DP_STATUS_OK) status = hashed(dp_sha256_finish(hash, stamp), error);
    dp_sha256_free(hash);
    return status;
}

/* The first stamp is taken before the copy's snapshot, so that nothing comes between. */
static dp_status copy_and_compare(dp_store *from, dp_store *to, const dp_state_copy_options *options,
                                  dp_state_copy_result *result, bool *source_changed, dp_error *error)
{
    uint8_t before[DP_SHA256_BYTES];
    uint8_t after[DP_SHA256_BYTES];
    dp_error ignored = DP_ERROR_INIT; /* the copy is stored and verified by then */
    dp_status status = take_stamp(from, before, error);
    if (status == DP_STATUS_OK) status = copy_between(from, to, options, result, error);
    if (status != DP_STATUS_OK) return status;
    *source_changed =
        take_stamp(from, after, &ignored) != DP_STATUS_OK || memcmp(before, after, sizeof after) != 0;
    dp_error_clear(&ignored);
    return DP_STATUS_OK;
}

static dp_status open_target(const char *dsn, dp_store **to, dp_error *error)
{
    uint32_t applied;
    dp_store *store;
    dp_status status = dp_store_connect(dsn, NULL, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_schema_migrate(store, dp_clock_wall_us(), &applied, error);
    if (status == DP_STATUS_OK) {
        *to = store;
    } else {
        dp_store_close(store);
    }
    return status;
}

dp_status dp_state_copy(const dp_state_copy_options *options, dp_state_copy_result *result,
                        bool *source_changed, dp_error *error)
{
    static const dp_store_options read_only = {.read_only = true};
    dp_store *from;
    dp_store *to;
    dp_state_copy_result copied = {.stream_count = 0};
    dp_status status = dp_store_open(options->from_dsn, &read_only, &from, error);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "opening --from");
        return status;
    }
    status = open_target(options->to_dsn, &to, error);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "opening --to");
    } else {
        status = copy_and_compare(from, to, options, &copied, source_changed, error);
        dp_store_close(to);
    }
    dp_store_close(from);
    if (status == DP_STATUS_OK) *result = copied;
    return status;
}

dp_status dp_state_read_all(dp_store *store, dp_state_copy_result *result, dp_error *error)
{
    const reading whole = {.from = store, .checking = true};
    dp_status status = store->driver->begin(store, false, error);
    if (status != DP_STATUS_OK) return status;
    status = read_once(&whole, result, error);
    store->driver->rollback(store);
    return status;
}
