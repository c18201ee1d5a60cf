/* The SQLite driver: streams, transactions, events, receipts. */
#include "state/sqlite_internal.h"

#define MAX_EVENT_NUMBER (INT64_C(1) << 62)

/* The statement could not be prepared: the error says why. */
static dp_status unprepared(const dp_error *error)
{
    return error == NULL || error->status == DP_STATUS_OK ? DP_STATUS_IO : error->status;
}

/* --- streams ------------------------------------------------------------------------------------------- */

static dp_status read_stream(sqlite_store *self, sqlite3_stmt *row, dp_stream *stream, dp_error *error)
{
    *stream = (dp_stream){.stream_id = sqlite3_column_int64(row, 0)};
    stream->next_event_number = sqlite3_column_int64(row, 2);
    stream->has_high = column_position(row, 3, &stream->high);
    stream->has_pruned = column_position(row, 4, &stream->pruned);
    stream->has_passed = column_position(row, 5, &stream->passed);
    stream->has_staged = sqlite3_column_int(row, 6) != 0;
    stream->staged_transaction_id = column_text(row, 7);
    stream->staged_first_number = sqlite3_column_int64(row, 8);
    stream->staged_count = (uint64_t)sqlite3_column_int64(row, 9);
    stream->transaction_count = (uint64_t)sqlite3_column_int64(row, 10);
    stream->event_count = (uint64_t)sqlite3_column_int64(row, 11);
    stream->settings = column_text(row, 12);
    stream->created_at_us = sqlite3_column_int64(row, 13);
    stream->updated_at_us = sqlite3_column_int64(row, 14);
    stream->key.pipeline = column_text(row, 15);
    stream->key.source = column_text(row, 16);
    if (!dp_identity_parse(column_text(row, 1), &stream->identity) ||
        !dp_backend_parse(column_text(row, 17), &stream->key.backend)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "stream %lld in '%s' has an identity or backend that this program does not know",
                            (long long)stream->stream_id, self->path);
    }
    return DP_STATUS_OK;
}

static bool keep(dp_arena *arena, dp_slice *text)
{
    if (text->data == NULL) return true;
    *text = dp_arena_copy(arena, *text);
    return text->data != NULL;
}

static bool keep_stream(dp_arena *arena, dp_stream *stream)
{
    return keep(arena, &stream->key.pipeline) && keep(arena, &stream->key.source) &&
           keep(arena, &stream->staged_transaction_id) && keep(arena, &stream->settings);
}

dp_status sqlite_stream_find(dp_store *store, const dp_stream_key *key, dp_arena *arena, dp_stream *stream,
                             dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "find a stream";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_STREAM_FIND, doing, error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, key->pipeline);
    bind_text(row, 2, key->source);
    bind_text(row, 3, dp_backend_text(key->backend));
    int code = sqlite3_step(row);
    dp_status status = code == SQLITE_DONE ? DP_STATUS_NOT_FOUND : DP_STATUS_OK;
    if (code == SQLITE_ROW) {
        dp_stream found;
        status = read_stream(self, row, &found, error);
        if (status == DP_STATUS_OK && !keep_stream(arena, &found))
            status = dp_error_no_memory(error, "a stream");
        if (status == DP_STATUS_OK) *stream = found;
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return ended == DP_STATUS_OK ? status : ended;
}

static dp_status insert_stream(sqlite_store *self, const dp_stream_key *key, dp_identity_kind identity,
                               int64_t now_us, dp_error *error)
{
    const char *doing = "create a stream";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_STREAM_INSERT, doing, error);
    if (insert == NULL) return unprepared(error);
    bind_text(insert, 1, key->pipeline);
    bind_text(insert, 2, key->source);
    bind_text(insert, 3, dp_backend_text(key->backend));
    bind_text(insert, 4, dp_identity_text(identity));
    sqlite3_bind_int64(insert, 5, now_us);
    return sqlite_run(self, insert, doing, error);
}

/* The write transaction itself is the lock. */
dp_status sqlite_stream_open(dp_store *store, const dp_stream_key *key, dp_identity_kind identity,
                             int64_t now_us, dp_arena *arena, dp_stream *stream, dp_error *error)
{
    dp_status status = sqlite_stream_find(store, key, arena, stream, error);
    if (status != DP_STATUS_NOT_FOUND) return status;
    status = insert_stream((sqlite_store *)store, key, identity, now_us, error);
    if (status != DP_STATUS_OK) return status;
    return sqlite_stream_find(store, key, arena, stream, error);
}

dp_status sqlite_stream_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "list the streams";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_STREAM_LIST, doing, error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, pipeline);
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        dp_stream stream;
        status = read_stream(self, row, &stream, error);
        if (status == DP_STATUS_OK) status = visitor->stream(visitor->context, &stream, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

static void bind_position(sqlite3_stmt *statement, int index, bool has, const dp_position *position)
{
    if (has) {
        bind_bytes(statement, index, position->bytes, DP_POSITION_BYTES);
    } else {
        sqlite3_bind_null(statement, index);
    }
}

dp_status sqlite_stream_save(dp_store *store, const dp_stream *stream, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "save a stream";
    sqlite3_stmt *save = sqlite_statement_of(self, STATEMENT_STREAM_SAVE, doing, error);
    if (save == NULL) return unprepared(error);
    sqlite3_bind_int64(save, 1, stream->stream_id);
    sqlite3_bind_int64(save, 2, stream->next_event_number);
    bind_position(save, 3, stream->has_high, &stream->high);
    bind_position(save, 4, stream->has_pruned, &stream->pruned);
    bind_position(save, 5, stream->has_passed, &stream->passed);
    sqlite3_bind_int(save, 6, stream->has_staged);
    bind_text(save, 7, stream->staged_transaction_id);
    sqlite3_bind_int64(save, 8, stream->staged_first_number);
    sqlite3_bind_int64(save, 9, (int64_t)stream->staged_count);
    sqlite3_bind_int64(save, 10, (int64_t)stream->transaction_count);
    sqlite3_bind_int64(save, 11, (int64_t)stream->event_count);
    bind_text(save, 12, stream->settings);
    sqlite3_bind_int64(save, 13, stream->updated_at_us);
    return sqlite_run(self, save, doing, error);
}

dp_status sqlite_reserve_numbers(dp_store *store, const dp_stream *stream, uint64_t count, int64_t *first,
                                 dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "reserve event numbers";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_NEXT_NUMBER, doing, error);
    if (row == NULL) return unprepared(error);
    int code = sqlite3_step(row);
    int64_t next = code == SQLITE_ROW ? sqlite3_column_int64(row, 0) : 0;
    if (next < stream->next_event_number) next = stream->next_event_number; /* not saved yet */
    dp_status status = sqlite_end(self, row, code, doing, error);
    if (status != DP_STATUS_OK) return status;
    if (next > MAX_EVENT_NUMBER || count > (uint64_t)(MAX_EVENT_NUMBER - next)) {
        return dp_error_set(error, DP_STATUS_FULL, "the journal in '%s' has used up its event numbers",
                            self->path);
    }
    *first = next;
    return DP_STATUS_OK;
}

/* --- transactions -------------------------------------------------------------------------------------- */

dp_status sqlite_transactions_insert(dp_store *store, int64_t stream_id, const dp_transaction_row *rows,
                                     size_t count, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "store a transaction";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_TRANSACTION_INSERT, doing, error);
    if (insert == NULL) return unprepared(error);
    dp_status status = DP_STATUS_OK;
    sqlite3_bind_int64(insert, 1, stream_id);
    for (size_t i = 0; i < count && status == DP_STATUS_OK; i++) {
        const dp_transaction_row *row = &rows[i];
        bind_bytes(insert, 2, row->end_position.bytes, DP_POSITION_BYTES);
        bind_text(insert, 3, row->transaction_id);
        if (row->has_committed_at) {
            sqlite3_bind_int64(insert, 4, row->committed_at_us);
        } else {
            sqlite3_bind_null(insert, 4);
        }
        sqlite3_bind_int64(insert, 5, row->stored_at_us);
        sqlite3_bind_int64(insert, 6, row->first_number);
        sqlite3_bind_int64(insert, 7, (int64_t)row->event_count);
        status = sqlite_run(self, insert, doing, error);
    }
    return status;
}

static dp_status read_transaction(sqlite_store *self, sqlite3_stmt *row, dp_transaction_row *transaction,
                                  dp_error *error)
{
    *transaction = (dp_transaction_row){.transaction_id = column_text(row, 1)};
    if (!column_position(row, 0, &transaction->end_position)) {
        return dp_error_set(error, DP_STATUS_DATA, "a transaction in '%s' has no valid end position",
                            self->path);
    }
    transaction->has_committed_at = sqlite3_column_type(row, 2) != SQLITE_NULL;
    transaction->committed_at_us = sqlite3_column_int64(row, 2);
    transaction->stored_at_us = sqlite3_column_int64(row, 3);
    transaction->first_number = sqlite3_column_int64(row, 4);
    transaction->event_count = (uint64_t)sqlite3_column_int64(row, 5);
    return DP_STATUS_OK;
}

static dp_status visit_transaction(sqlite_store *self, sqlite3_stmt *row, const dp_row_visitor *visitor,
                                   dp_error *error)
{
    dp_transaction_row transaction;
    dp_status status = read_transaction(self, row, &transaction, error);
    return status == DP_STATUS_OK ? visitor->transaction(visitor->context, &transaction, error) : status;
}

dp_status sqlite_transactions_find(dp_store *store, int64_t stream_id, const dp_position *positions,
                                   size_t count, const dp_row_visitor *visitor, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "find a transaction";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_TRANSACTION_FIND, doing, error);
    if (row == NULL) return unprepared(error);
    sqlite3_bind_int64(row, 1, stream_id);
    for (size_t i = 0; i < count; i++) {
        bind_bytes(row, 2, positions[i].bytes, DP_POSITION_BYTES);
        int code = sqlite3_step(row);
        dp_status status = code == SQLITE_ROW ? visit_transaction(self, row, visitor, error) : DP_STATUS_OK;
        dp_status ended = sqlite_end(self, row, code, doing, error);
        if (status != DP_STATUS_OK) return sqlite_visited(status, error);
        if (ended != DP_STATUS_OK) return ended;
    }
    return DP_STATUS_OK;
}

dp_status sqlite_transactions_read(dp_store *store, int64_t stream_id, const dp_transaction_window *window,
                                   const dp_row_visitor *visitor, dp_error *error)
{
    static const dp_position last = {.bytes = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255}};
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "read the transactions";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_TRANSACTION_READ, doing, error);
    if (row == NULL) return unprepared(error);
    sqlite3_bind_int64(row, 1, stream_id);
    /* An empty blob sorts before every position. */
    bind_bytes(row, 2, window->from.bytes, window->has_from ? DP_POSITION_BYTES : 0);
    bind_bytes(row, 3, window->has_to ? window->to.bytes : last.bytes, DP_POSITION_BYTES);
    sqlite3_bind_int64(row, 4, window->limit == 0 ? -1 : (int64_t)window->limit);
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        status = visit_transaction(self, row, visitor, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

dp_status sqlite_transactions_delete(dp_store *store, int64_t stream_id, dp_position to, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "delete transactions";
    sqlite3_stmt *delete = sqlite_statement_of(self, STATEMENT_TRANSACTION_DELETE, doing, error);
    if (delete == NULL) return unprepared(error);
    sqlite3_bind_int64(delete, 1, stream_id);
    bind_bytes(delete, 2, to.bytes, DP_POSITION_BYTES);
    return sqlite_run(self, delete, doing, error);
}

/* --- events -------------------------------------------------------------------------------------------- */

static dp_status visit_event(sqlite_store *self, sqlite3_stmt *row, const dp_row_visitor *visitor,
                             dp_error *error)
{
    int64_t number = sqlite3_column_int64(row, 0);
    dp_event event = {.has_id = true};
    const void *id = sqlite3_column_blob(row, 1);
    int operation = sqlite3_column_int(row, 2);
    if (id == NULL || sqlite3_column_bytes(row, 1) != (int)sizeof event.id.bytes || operation < 0 ||
        operation > (int)DP_OPERATION_TRUNCATE) {
        return dp_error_set(error, DP_STATUS_DATA, "event %lld in '%s' is damaged", (long long)number,
                            self->path);
    }
    memcpy(event.id.bytes, id, sizeof event.id.bytes);
    event.operation = (dp_operation)operation;
    event.source_schema = column_text(row, 3);
    event.source_table = column_text(row, 4);
    event.position = column_text(row, 5);
    event.has_sequence = sqlite3_column_type(row, 6) != SQLITE_NULL;
    event.sequence = (uint64_t)sqlite3_column_int64(row, 6);
    event.data = column_text(row, 7);
    event.before = column_text(row, 8);
    event.unchanged = column_text(row, 9);
    event.metadata = column_text(row, 10);
    return visitor->event(visitor->context, number, &event, error);
}

static dp_status read_range(sqlite_store *self, sqlite3_stmt *row, dp_number_range range,
                            const dp_row_visitor *visitor, const char *doing, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    sqlite3_bind_int64(row, 1, range.first);
    sqlite3_bind_int64(row, 2, range.first + (int64_t)range.count - 1);
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        status = visit_event(self, row, visitor, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : status;
}

dp_status sqlite_events_read(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
                             size_t range_count, const dp_row_visitor *visitor, dp_error *error)
{
    (void)stream_id;
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "read events";
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_EVENT_READ, doing, error);
    if (row == NULL) return unprepared(error);
    for (size_t i = 0; i < range_count; i++) {
        dp_status status = read_range(self, row, ranges[i], visitor, doing, error);
        if (status != DP_STATUS_OK) return sqlite_visited(status, error);
    }
    return DP_STATUS_OK;
}

dp_status sqlite_events_delete(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error)
{
    (void)stream_id;
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "delete events";
    sqlite3_stmt *delete = sqlite_statement_of(self, STATEMENT_EVENT_DELETE, doing, error);
    if (delete == NULL) return unprepared(error);
    sqlite3_bind_int64(delete, 1, range.first);
    sqlite3_bind_int64(delete, 2, range.first + (int64_t)range.count - 1);
    return sqlite_run(self, delete, doing, error);
}

/* --- receipts ------------------------------------------------------------------------------------------ */

/* The body is copied into the arena, if there is one. */
static dp_status read_receipt(sqlite_store *self, sqlite3_stmt *row, dp_arena *arena, dp_receipt_row *receipt,
                              dp_error *error)
{
    const void *batch_id = sqlite3_column_blob(row, 1);
    if (batch_id == NULL || sqlite3_column_bytes(row, 1) != DP_SHA256_BYTES) {
        return dp_error_set(error, DP_STATUS_DATA, "a receipt in '%s' has no valid batch id", self->path);
    }
    dp_slice body = column_text(row, 4);
    if (arena != NULL && !keep(arena, &body)) return dp_error_no_memory(error, "a receipt");
    memcpy(receipt->batch_id, batch_id, DP_SHA256_BYTES);
    receipt->stream_id = sqlite3_column_int64(row, 0);
    receipt->staged = sqlite3_column_int(row, 2) != 0;
    receipt->http_status = (unsigned)sqlite3_column_int(row, 3);
    receipt->body = body;
    receipt->created_at_us = sqlite3_column_int64(row, 5);
    return DP_STATUS_OK;
}

static dp_status one_receipt(sqlite_store *self, sqlite3_stmt *row, dp_arena *arena, dp_receipt_row *receipt,
                             dp_error *error)
{
    int code = sqlite3_step(row);
    dp_status status = code == SQLITE_DONE ? DP_STATUS_NOT_FOUND : DP_STATUS_OK;
    if (code == SQLITE_ROW) status = read_receipt(self, row, arena, receipt, error);
    dp_status ended = sqlite_end(self, row, code, "find a receipt", error);
    return ended == DP_STATUS_OK ? status : ended;
}

dp_status sqlite_receipt_find(dp_store *store, dp_receipt_row *receipt, dp_arena *arena, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_RECEIPT_FIND, "find a receipt", error);
    if (row == NULL) return unprepared(error);
    bind_text(row, 1, receipt->pipeline);
    bind_text(row, 2, receipt->source);
    bind_text(row, 3, dp_identity_text(receipt->identity));
    bind_text(row, 4, receipt->idempotency_key);
    return one_receipt(self, row, arena, receipt, error);
}

static dp_status visit_receipt(sqlite_store *self, sqlite3_stmt *row, const dp_row_visitor *visitor,
                               dp_error *error)
{
    dp_receipt_row receipt = {.pipeline = column_text(row, 6),
                              .source = column_text(row, 7),
                              .idempotency_key = column_text(row, 9)};
    dp_slice identity = column_text(row, 8);
    if (!dp_identity_parse(identity, &receipt.identity)) {
        return dp_error_set(error, DP_STATUS_DATA, "a receipt in '%s' has the unknown identity '%.*s'",
                            self->path, DP_SLICE_PRINT(identity));
    }
    dp_status status = read_receipt(self, row, NULL, &receipt, error);
    return status == DP_STATUS_OK ? visitor->receipt(visitor->context, &receipt, error) : status;
}

dp_status sqlite_receipt_list(dp_store *store, int64_t stream_id, const dp_row_visitor *visitor,
                              dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "list receipts";
    dp_status status = DP_STATUS_OK;
    int code = SQLITE_DONE;
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_RECEIPT_LIST, doing, error);
    if (row == NULL) return unprepared(error);
    sqlite3_bind_int64(row, 1, stream_id);
    while (status == DP_STATUS_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        status = visit_receipt(self, row, visitor, error);
    }
    dp_status ended = sqlite_end(self, row, code, doing, error);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

dp_status sqlite_receipt_last(dp_store *store, int64_t stream_id, dp_arena *arena, dp_receipt_row *receipt,
                              dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    sqlite3_stmt *row = sqlite_statement_of(self, STATEMENT_RECEIPT_LAST, "find a receipt", error);
    if (row == NULL) return unprepared(error);
    sqlite3_bind_int64(row, 1, stream_id);
    return one_receipt(self, row, arena, receipt, error);
}

dp_status sqlite_receipt_insert(dp_store *store, const dp_receipt_row *receipt, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "store a receipt";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_RECEIPT_INSERT, doing, error);
    if (insert == NULL) return unprepared(error);
    bind_text(insert, 1, receipt->pipeline);
    bind_text(insert, 2, receipt->source);
    bind_text(insert, 3, dp_identity_text(receipt->identity));
    bind_text(insert, 4, receipt->idempotency_key);
    sqlite3_bind_int64(insert, 5, receipt->stream_id);
    bind_bytes(insert, 6, receipt->batch_id, DP_SHA256_BYTES);
    sqlite3_bind_int(insert, 7, receipt->staged);
    sqlite3_bind_int(insert, 8, (int)receipt->http_status);
    bind_text(insert, 9, receipt->body);
    sqlite3_bind_int64(insert, 10, receipt->created_at_us);
    return sqlite_run(self, insert, doing, error);
}

dp_status sqlite_receipts_drop_staged(dp_store *store, int64_t stream_id, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "delete the receipts of staged batches";
    sqlite3_stmt *change = sqlite_statement_of(self, STATEMENT_RECEIPT_DROP_STAGED, doing, error);
    if (change == NULL) return unprepared(error);
    sqlite3_bind_int64(change, 1, stream_id);
    return sqlite_run(self, change, doing, error);
}

dp_status sqlite_receipts_delete(dp_store *store, int64_t stream_id, int64_t before_us, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "delete receipts";
    sqlite3_stmt *delete = sqlite_statement_of(self, STATEMENT_RECEIPT_DELETE, doing, error);
    if (delete == NULL) return unprepared(error);
    sqlite3_bind_int64(delete, 1, stream_id);
    sqlite3_bind_int64(delete, 2, before_us);
    return sqlite_run(self, delete, doing, error);
}
