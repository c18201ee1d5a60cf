/* The journal as NDJSON, pulled in pieces: whole transactions in order, in bounded memory. No database
 * transaction stays open between two pieces: what is visible never changes, so each asks anew. */
#include <stdlib.h>

#include "cdc/event_lines.h"
#include "services/consumer_name.h"
#include "services/journal_internal.h"

#define PIECE_BYTES      ((size_t)64 << 10)
#define MAX_BUFFER_BYTES ((size_t)64 << 20) /* a piece and the longest line */
#define ROWS_A_TIME      256
#define CONSUMER_EVENTS  1000 /* an answer to a consumer, unless it asks for another limit */

struct dp_events_reader {
    dp_journal_api *api;
    dp_arena *arena;
    int64_t stream_id;
    dp_backend backend;
    dp_transaction_window window; /* `from` moves on with what has been read */
    uint64_t mark;                /* of the pipeline's streams, when it was opened */
    uint64_t events_left;         /* of the limit; UINT64_MAX: no limit */
    uint64_t bytes_left;          /* as above, when the present piece was begun */
    bool ended;
    dp_transaction_row *rows; /* the next transactions, in the arena */
    size_t row_count;
    size_t next_row;
    uint64_t next_ordinal; /* of the transaction under way */
    dp_buffer out;         /* lines not yet handed out, from `taken` on */
    size_t taken;
};

/* --- opening ------------------------------------------------------------------------------------------- */

/* The consumer's own offset, when it has one, as the place to begin. */
static dp_status load_consumer(dp_store *store, dp_slice pipeline, const dp_events_query *query,
                               dp_events_reader *reader, dp_error *error)
{
    char key[DP_CONSUMER_KEY_BYTES];
    size_t length;
    dp_status status = dp_consumer_key(pipeline, query->consumer, key, &length, error);
    if (status != DP_STATUS_OK) return status;
    dp_offset_row row = {.pipeline_name = dp_slice_make(key, length),
                         .source_schema = DP_SLICE_LITERAL("*"),
                         .source_table = DP_SLICE_LITERAL("*"),
                         .backend = dp_backend_text(reader->backend)};
    status = store->driver->offset_find(store, &row, reader->arena, error);
    if (status == DP_STATUS_NOT_FOUND) {
        dp_error_clear(error);
        return DP_STATUS_OK;
    }
    if (status != DP_STATUS_OK) return status;
    if (!dp_position_parse(reader->backend, row.token, &reader->window.from)) {
        return dp_error_set(error, DP_STATUS_DATA, "the consumer's offset '%.*s' is no token",
                            DP_SLICE_PRINT(row.token));
    }
    reader->window.has_from = true;
    return DP_STATUS_OK;
}

static dp_status find_stream(dp_slice pipeline, const dp_events_query *query, dp_events_reader *reader,
                             dp_stream *stream, dp_error *error)
{
    dp_store *store;
    const journal_stream_choice choice = {pipeline, query->source, query->backend};
    dp_status status = journal_take_reader(reader->api, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = journal_choose_stream(store, &choice, stream, &reader->mark, error);
    if (status == DP_STATUS_OK) {
        reader->stream_id = stream->stream_id;
        reader->backend = stream->key.backend;
        if (query->consumer.data != NULL) status = load_consumer(store, pipeline, query, reader, error);
    }
    journal_give_reader(reader->api, store, status);
    return status;
}

static dp_status parse_token(const char *name, dp_slice text, dp_backend backend, bool *has,
                             dp_position *position, dp_error *error)
{
    *has = text.data != NULL;
    if (!*has || dp_position_parse(backend, text, position)) return DP_STATUS_OK;
    return dp_error_set_code(error, DP_STATUS_USAGE, "token_malformed", "%s: '%.*s' is no token; expected %s",
                             name, DP_SLICE_PRINT(text), dp_position_expected_form(backend));
}

static dp_status parse_query(dp_events_reader *reader, const dp_events_query *query, const dp_stream *stream,
                             dp_error *error)
{
    dp_transaction_window *window = &reader->window;
    dp_backend backend = stream->key.backend;
    bool is_consumer = query->consumer.data != NULL;
    if (is_consumer && query->from.data != NULL) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "from_with_consumer",
                                 "from and consumer exclude each other: a consumer has an offset of its own");
    }
    dp_status status = DP_STATUS_OK;
    if (!is_consumer)
        status = parse_token("from", query->from, backend, &window->has_from, &window->from, error);
    if (status == DP_STATUS_OK)
        status = parse_token("to", query->to, backend, &window->has_to, &window->to, error);
    if (status != DP_STATUS_OK) return status;
    reader->events_left = is_consumer ? CONSUMER_EVENTS : UINT64_MAX;
    reader->bytes_left = is_consumer ? reader->api->options.max_batch_bytes : UINT64_MAX;
    if (query->limit.data != NULL &&
        (!dp_slice_to_u64(query->limit, INT64_MAX, &reader->events_left) || reader->events_left == 0)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "limit_malformed",
                                 "limit: '%.*s' is no whole number from 1", DP_SLICE_PRINT(query->limit));
    }
    if (window->has_from && stream->has_pruned && dp_position_compare(window->from, stream->pruned) < 0) {
        char pruned[DP_POSITION_TEXT_BYTES];
        dp_position_format(backend, stream->pruned, pruned);
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "events_pruned",
                                 "retention has deleted events up to %s", pruned);
    }
    return DP_STATUS_OK;
}

static dp_status open_reader(dp_journal_api *api, dp_slice pipeline, const dp_events_query *query,
                             dp_events_reader *reader, dp_error *error)
{
    dp_stream stream;
    reader->api = api;
    reader->out = (dp_buffer)DP_BUFFER_INIT(MAX_BUFFER_BYTES);
    reader->arena = dp_arena_new(16384, 4 << 20);
    if (reader->arena == NULL) return dp_error_no_memory(error, "a reader of events");
    dp_status status = find_stream(pipeline, query, reader, &stream, error);
    return status == DP_STATUS_OK ? parse_query(reader, query, &stream, error) : status;
}

void dp_events_reader_open(dp_journal_api *api, dp_slice pipeline, const dp_events_query *query,
                           dp_events_reader **reader, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_events_reader *self = calloc(1, sizeof *self);
    *reader = NULL;
    dp_status status = self == NULL ? dp_error_no_memory(&error, "a reader of events")
                                    : open_reader(api, pipeline, query, self, &error);
    journal_reply_begin(reply);
    if (status != DP_STATUS_OK) {
        journal_reply_failure(reply, status, &error);
        if (strcmp(error.code, "events_pruned") == 0) reply->http_status = 410;
        dp_events_reader_close(self);
        return;
    }
    reply->http_status = 200;
    reply->content_type = "application/x-ndjson";
    *reader = self;
}

void dp_events_reader_close(dp_events_reader *reader)
{
    if (reader == NULL) return;
    dp_arena_free(reader->arena);
    dp_buffer_release(&reader->out);
    free(reader);
}

/* --- reading ------------------------------------------------------------------------------------------- */

static dp_status keep_row(void *context, const dp_transaction_row *row, dp_error *error)
{
    dp_events_reader *self = context;
    dp_transaction_row copy = *row;
    if (row->transaction_id.data != NULL) {
        copy.transaction_id = dp_arena_copy(self->arena, row->transaction_id);
        if (copy.transaction_id.data == NULL) return dp_error_no_memory(error, "a transaction");
    }
    self->rows[self->row_count++] = copy;
    return DP_STATUS_OK;
}

static dp_status read_rows(dp_events_reader *self, dp_store *store, dp_error *error)
{
    dp_row_visitor visitor = {.context = self, .transaction = keep_row};
    dp_arena_reset(self->arena);
    self->row_count = self->next_row = 0;
    self->window.limit = ROWS_A_TIME;
    self->rows = dp_arena_alloc(self->arena, ROWS_A_TIME * sizeof *self->rows);
    if (self->rows == NULL) return dp_error_no_memory(error, "transactions");
    dp_status status =
        store->driver->transactions_read(store, self->stream_id, &self->window, &visitor, error);
    if (status == DP_STATUS_OK && self->row_count == 0) self->ended = true;
    return status;
}

static dp_status put_event(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    dp_events_reader *self = context;
    const dp_transaction_row *transaction = &self->rows[self->next_row];
    dp_event event = *row;
    event.ordinal = (uint64_t)(number - transaction->first_number);
    event.transaction_id = transaction->transaction_id;
    if (event.ordinal != self->next_ordinal) {
        return dp_error_set_code(error, DP_STATUS_IO, "events_gone",
                                 "events were deleted while they were read");
    }
    dp_event_put_line(&self->out, &event);
    if (self->out.failed) return dp_error_no_memory(error, "a line of events");
    self->next_ordinal++;
    return self->out.length < PIECE_BYTES ? DP_STATUS_OK : DP_STATUS_CANCELLED;
}

static void end_transaction(dp_events_reader *self)
{
    const dp_transaction_row *row = &self->rows[self->next_row++];
    char end_position[DP_POSITION_TEXT_BYTES];
    size_t length = dp_position_format(self->backend, row->end_position, end_position);
    const dp_commit_line commit = {.transaction_id = row->transaction_id,
                                   .end_position = {end_position, length},
                                   .has_committed_at = row->has_committed_at,
                                   .committed_at_us = row->committed_at_us,
                                   .count = row->event_count};
    dp_commit_put_line(&self->out, &commit);
    self->next_ordinal = 0;
    self->window.has_from = true;
    self->window.from = row->end_position;
    if (self->events_left != UINT64_MAX) {
        self->events_left -= row->event_count < self->events_left ? row->event_count : self->events_left;
    }
    if (self->events_left == 0 || self->out.length >= self->bytes_left) self->ended = true;
}

/* Appends lines of the transaction under way until it ends or a piece is full. */
static dp_status read_events(dp_events_reader *self, dp_store *store, dp_error *error)
{
    const dp_transaction_row *row = &self->rows[self->next_row];
    const dp_number_range range = {row->first_number + (int64_t)self->next_ordinal,
                                   row->event_count - self->next_ordinal};
    dp_row_visitor visitor = {.context = self, .event = put_event};
    dp_status status = DP_STATUS_OK;
    if (range.count > 0)
        status = store->driver->events_read(store, self->stream_id, &range, 1, &visitor, error);
    if (status != DP_STATUS_OK) return status;
    if (self->next_ordinal == row->event_count) {
        end_transaction(self);
        return self->out.failed ? dp_error_no_memory(error, "a line of events") : DP_STATUS_OK;
    }
    if (self->out.length >= PIECE_BYTES) return DP_STATUS_OK;
    return dp_error_set_code(error, DP_STATUS_IO, "events_gone", "events were deleted while they were read");
}

static dp_status fill(dp_events_reader *self, dp_error *error)
{
    dp_store *store;
    self->bytes_left -= self->out.length < self->bytes_left ? self->out.length : self->bytes_left;
    dp_buffer_clear(&self->out);
    self->taken = 0;
    dp_status status = journal_take_reader(self->api, &store, error);
    if (status != DP_STATUS_OK) return status;
    while (status == DP_STATUS_OK && !self->ended && self->out.length < PIECE_BYTES) {
        status = self->next_row == self->row_count ? read_rows(self, store, error)
                                                   : read_events(self, store, error);
    }
    journal_give_reader(self->api, store, status);
    return status;
}

dp_status dp_events_reader_read(dp_events_reader *reader, char *out, size_t capacity, size_t *length,
                                dp_error *error)
{
    if (reader->taken == reader->out.length && !reader->ended) {
        dp_status status = fill(reader, error);
        if (status != DP_STATUS_OK) return status;
    }
    size_t left = reader->out.length - reader->taken;
    size_t bytes = left < capacity ? left : capacity;
    if (bytes > 0) memcpy(out, reader->out.data + reader->taken, bytes);
    reader->taken += bytes;
    *length = bytes;
    return DP_STATUS_OK;
}

/* --- what there is ---------------------------------------------------------------------------------------
 */

uint64_t dp_events_reader_mark(const dp_events_reader *reader)
{
    return reader->mark;
}

dp_status dp_journal_api_mark(dp_journal_api *api, dp_slice pipeline, uint64_t *mark, dp_error *error)
{
    dp_store *store;
    dp_stream stream;
    const journal_stream_choice choice = {.pipeline = pipeline};
    dp_status status = journal_take_reader(api, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = journal_choose_stream(store, &choice, &stream, mark, error);
    journal_give_reader(api, store, status);
    if (status != DP_STATUS_NOT_FOUND && status != DP_STATUS_USAGE) return status;
    dp_error_clear(error); /* no stream, or several: the mark is that of all the same */
    return DP_STATUS_OK;
}
