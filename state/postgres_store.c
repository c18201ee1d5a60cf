/* The PostgreSQL driver's table of functions, and its streams, transactions and receipts. */
#include "state/migrations.h"
#include "state/postgres_events.h"
#include "state/postgres_memory.h"
#include "state/postgres_records.h"

#define TRANSACTIONS_PAGE         1000
#define STREAM_PARTITIONED_COLUMN 18
#define STREAM_XID_COLUMN         19 /* of STREAM_LOCK, and the next two */
#define STREAM_MARKER_COLUMN      20
#define STREAM_XMIN_COLUMN        21
#define LARGEST_NUMBER            (INT64_C(1) << 62)

/* --- streams ----------------------------------------------------------------------------------------------
 */

static dp_status no_memory(dp_error *error)
{
    return dp_error_no_memory(error, "a row of the state database");
}

static dp_status unreadable(dp_error *error, const char *what, dp_slice value)
{
    return dp_error_set(error, DP_STATUS_DATA, "state database: unknown %s '%.*s'", what,
                        DP_SLICE_PRINT(value));
}

/* The slices of *stream point into the result. */
static dp_status read_stream(const PGresult *r, dp_stream *stream, dp_error *error)
{
    dp_stream s = {.stream_id = dp_pg_get_i64(r, 0, 0)};
    dp_slice backend = dp_pg_get_slice(r, 0, 3);
    dp_slice identity = dp_pg_get_slice(r, 0, 4);
    s.key.pipeline = dp_pg_get_slice(r, 0, 1);
    s.key.source = dp_pg_get_slice(r, 0, 2);
    if (!dp_backend_parse(backend, &s.key.backend)) return unreadable(error, "backend", backend);
    if (!dp_identity_parse(identity, &s.identity)) return unreadable(error, "identity", identity);
    s.next_event_number = dp_pg_get_i64(r, 0, 5);
    dp_status status = dp_pg_get_position(r, 0, 6, &s.has_high, &s.high, error);
    if (status == DP_STATUS_OK) status = dp_pg_get_position(r, 0, 7, &s.has_pruned, &s.pruned, error);
    if (status == DP_STATUS_OK) status = dp_pg_get_position(r, 0, 8, &s.has_passed, &s.passed, error);
    s.has_staged = dp_pg_get_bool(r, 0, 9);
    s.staged_transaction_id = dp_pg_get_slice(r, 0, 10);
    s.staged_first_number = dp_pg_get_i64(r, 0, 11);
    s.staged_count = (uint64_t)dp_pg_get_i64(r, 0, 12);
    s.transaction_count = (uint64_t)dp_pg_get_i64(r, 0, 13);
    s.event_count = (uint64_t)dp_pg_get_i64(r, 0, 14);
    s.settings = dp_pg_get_slice(r, 0, 15);
    s.created_at_us = dp_pg_get_i64(r, 0, 16);
    s.updated_at_us = dp_pg_get_i64(r, 0, 17);
    if (status == DP_STATUS_OK) *stream = s;
    return status;
}

static bool keep(dp_arena *arena, dp_slice *slice)
{
    if (slice->data == NULL) return true;
    *slice = dp_arena_copy(arena, *slice);
    return slice->data != NULL;
}

/* Reads the only row of a result into the arena and clears the result; NOT_FOUND when there is none. */
static dp_status keep_stream(PGresult *result, dp_arena *arena, dp_stream *stream, dp_error *error)
{
    dp_stream s = {.stream_id = 0};
    dp_status status = PQntuples(result) == 0 ? DP_STATUS_NOT_FOUND : read_stream(result, &s, error);
    if (status == DP_STATUS_OK && !(keep(arena, &s.key.pipeline) && keep(arena, &s.key.source) &&
                                    keep(arena, &s.staged_transaction_id) && keep(arena, &s.settings))) {
        status = no_memory(error);
    }
    PQclear(result);
    if (status == DP_STATUS_OK) *stream = s;
    return status;
}

static void add_key(dp_pg_params *params, const dp_stream_key *key)
{
    dp_pg_add_text(params, key->pipeline);
    dp_pg_add_text(params, key->source);
    dp_pg_add_text(params, dp_backend_text(key->backend));
}

static dp_status insert_stream(dp_pg_session *session, const dp_stream_key *key, dp_identity_kind identity,
                               int64_t now_us, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    add_key(&params, key);
    dp_pg_add_text(&params, dp_identity_text(identity));
    dp_pg_add_i64(&params, now_us);
    return dp_pg_queue(session, DP_PG_STREAM_INSERT, &params, error);
}

static void add_receipt_key(dp_pg_params *params, const dp_receipt_row *receipt)
{
    dp_pg_add_text(params, receipt->pipeline);
    dp_pg_add_text(params, receipt->source);
    dp_pg_add_text(params, dp_identity_text(receipt->identity));
    dp_pg_add_text(params, receipt->idempotency_key);
}

/* The claim travels ahead of what the batch writes; its answer comes with the first that is waited for, which
 * may be that of the COMMIT. */
static dp_status claim_stream(dp_pg_session *session, const dp_receipt_row *receipt, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_memory_add_claim(session, &params);
    add_receipt_key(&params, receipt);
    dp_status status = dp_pg_queue(session, DP_PG_STREAM_CLAIM, &params, error);
    if (status == DP_STATUS_OK) status = dp_pg_hurry(session, error);
    session->presumed = true;
    session->receipt_presumed = true;
    return status;
}

/* Both travel together. Each statement has a snapshot of its own, so the receipt is read as of the lock. */
static dp_status stream_expect(dp_store *store, const dp_stream_key *key, const dp_receipt_row *receipt,
                               dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    if (dp_pg_memory_may_presume(session, key)) return claim_stream(session, receipt, error);
    dp_pg_params stream_params = {.count = 0};
    dp_pg_params receipt_params = {.count = 0};
    add_key(&stream_params, key);
    add_receipt_key(&receipt_params, receipt);
    dp_status status = dp_pg_queue_kept(session, DP_PG_STREAM_LOCK, &stream_params, error);
    if (status == DP_STATUS_OK) status = dp_pg_start(session, DP_PG_RECEIPT_FIND, &receipt_params, error);
    if (status == DP_STATUS_OK) session->expecting = true;
    return status;
}

static dp_status stream_confirm(dp_store *store, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    return session->presumed ? dp_pg_flush(session, error) : DP_STATUS_OK;
}

/* What stream_expect has asked for. */
static dp_status take_expected(dp_pg_session *session, PGresult **result, dp_error *error)
{
    PGresult *found = NULL;
    session->expecting = false;
    dp_status status = dp_pg_finish(session, &found, error);
    if (status != DP_STATUS_OK) return status;
    *result = session->kept;
    session->kept = NULL;
    if (PQntuples(*result) == 0) { /* nothing was locked */
        PQclear(found);
        found = NULL;
    }
    PQclear(session->found_receipt);
    session->found_receipt = found;
    return DP_STATUS_OK;
}

static dp_status lock_stream(dp_pg_session *session, const dp_pg_params *key, PGresult **result,
                             dp_error *error)
{
    dp_status status = session->expecting ? take_expected(session, result, error)
                                          : dp_pg_run(session, DP_PG_STREAM_LOCK, key, result, error);
    if (status == DP_STATUS_OK) dp_pg_take_xid(session, *result, STREAM_XID_COLUMN);
    return status;
}

static void set_opened_marker(dp_pg_session *session, dp_slice marker)
{
    bool fits = marker.length < sizeof session->opened_marker;
    size_t length = fits ? marker.length : 0;
    if (length > 0) memcpy(session->opened_marker, marker.data, length);
    session->opened_marker[length] = '\0';
}

static dp_status open_presumed(dp_pg_session *session, dp_arena *arena, dp_stream *stream, dp_error *error)
{
    dp_status status = dp_pg_memory_recall(session, arena, stream, error);
    if (status != DP_STATUS_OK) return status;
    session->open_stream_id = stream->stream_id;
    session->partitioned_below = session->memory.partitioned_below;
    set_opened_marker(session, dp_slice_of_text(session->memory.marker));
    return DP_STATUS_OK;
}

/* What the lock told of the row beside the stream itself. */
static void note_opened(dp_pg_session *session, const PGresult *result)
{
    if (PQntuples(result) == 0) return;
    dp_slice marker = dp_pg_get_slice(result, 0, STREAM_MARKER_COLUMN);
    session->open_stream_id = dp_pg_get_i64(result, 0, 0);
    session->partitioned_below = dp_pg_get_i64(result, 0, STREAM_PARTITIONED_COLUMN);
    set_opened_marker(session, marker);
    dp_pg_memory_compare(session, session->open_stream_id, marker,
                         (uint32_t)dp_pg_get_i64(result, 0, STREAM_XMIN_COLUMN));
}

static dp_status stream_open(dp_store *store, const dp_stream_key *key, dp_identity_kind identity,
                             int64_t now_us, dp_arena *arena, dp_stream *stream, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    if (session->presumed && session->open_stream_id == 0)
        return open_presumed(session, arena, stream, error);
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    add_key(&params, key);
    dp_status status = lock_stream(session, &params, &result, error);
    if (status == DP_STATUS_OK && PQntuples(result) == 0) {
        PQclear(result);
        result = NULL;
        status = insert_stream(session, key, identity, now_us, error);
        if (status == DP_STATUS_OK) status = lock_stream(session, &params, &result, error);
    }
    if (status != DP_STATUS_OK) return status;
    note_opened(session, result);
    return keep_stream(result, arena, stream, error);
}

static dp_status stream_find(dp_store *store, const dp_stream_key *key, dp_arena *arena, dp_stream *stream,
                             dp_error *error)
{
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    add_key(&params, key);
    dp_status status = dp_pg_run(dp_pg_session_of(store), DP_PG_STREAM_FIND, &params, &result, error);
    return status == DP_STATUS_OK ? keep_stream(result, arena, stream, error) : status;
}

static dp_status visit_stream(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_stream stream;
    dp_status status = read_stream(result, &stream, error);
    return status == DP_STATUS_OK ? visitor->stream(visitor->context, &stream, error) : status;
}

static dp_status stream_list(dp_store *store, dp_slice pipeline, const dp_row_visitor *visitor,
                             dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    dp_pg_add_text(&params, pipeline);
    return dp_pg_each(dp_pg_session_of(store), DP_PG_STREAM_LIST, &params, visit_stream, &copy, NULL, error);
}

static dp_status stream_save(dp_store *store, const dp_stream *stream, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, stream->stream_id);
    dp_pg_add_i64(&params, stream->next_event_number);
    dp_pg_add_position(&params, stream->has_high, &stream->high);
    dp_pg_add_position(&params, stream->has_pruned, &stream->pruned);
    dp_pg_add_position(&params, stream->has_passed, &stream->passed);
    dp_pg_add_bool(&params, stream->has_staged);
    dp_pg_add_text(&params, stream->staged_transaction_id);
    dp_pg_add_i64(&params, stream->staged_first_number);
    dp_pg_add_i64(&params, (int64_t)stream->staged_count);
    dp_pg_add_i64(&params, (int64_t)stream->transaction_count);
    dp_pg_add_i64(&params, (int64_t)stream->event_count);
    dp_pg_add_text(&params, stream->settings);
    dp_pg_add_i64(&params, stream->updated_at_us);
    dp_pg_add_text(&params,
                   session->in_transaction ? dp_slice_of_text(session->marker) : (dp_slice){NULL, 0});
    int64_t partitioned_below = session->open_stream_id == stream->stream_id ? session->partitioned_below : 0;
    dp_pg_add_i64(&params, partitioned_below);
    dp_status status = dp_pg_queue(session, DP_PG_STREAM_SAVE, &params, error);
    if (status != DP_STATUS_OK) return status;
    if (session->in_transaction) session->marked_stream_id = stream->stream_id;
    dp_pg_memory_save(session, stream, partitioned_below);
    return DP_STATUS_OK;
}

/* The numbers are the stream's own, and the row that holds the next one is locked. */
static dp_status reserve_numbers(dp_store *store, const dp_stream *stream, uint64_t count, int64_t *first,
                                 dp_error *error)
{
    (void)store;
    if (stream->next_event_number > LARGEST_NUMBER ||
        count > (uint64_t)(LARGEST_NUMBER - stream->next_event_number)) {
        return dp_error_set(error, DP_STATUS_FULL,
                            "state database: the stream has used up its event numbers");
    }
    *first = stream->next_event_number;
    return DP_STATUS_OK;
}

/* --- transactions
 * ------------------------------------------------------------------------------------------- */

static dp_slice position_slice(const dp_position *position)
{
    return (dp_slice){(const char *)position->bytes, DP_POSITION_BYTES};
}

static int64_t transaction_number(const dp_transaction_row *row, int column)
{
    switch (column) {
    case 3: return row->stored_at_us;
    case 4: return row->first_number;
    default: return (int64_t)row->event_count;
    }
}

static void put_transaction_column(dp_buffer *out, const dp_transaction_row *rows, size_t count, int column)
{
    static const uint32_t oids[] = {DP_PG_OID_BYTEA, DP_PG_OID_TEXT, DP_PG_OID_INT8,
                                    DP_PG_OID_INT8,  DP_PG_OID_INT8, DP_PG_OID_INT8};
    dp_pg_array_begin(out, oids[column], count);
    for (size_t i = 0; i < count; i++) {
        if (column == 0) {
            dp_pg_put_value(out, position_slice(&rows[i].end_position));
        } else if (column == 1) {
            dp_pg_put_value(out, rows[i].transaction_id);
        } else if (column == 2 && rows[i].has_committed_at) {
            dp_pg_put_i64(out, rows[i].committed_at_us);
        } else if (column == 2) {
            dp_pg_put_value(out, (dp_slice){NULL, 0});
        } else {
            dp_pg_put_i64(out, transaction_number(&rows[i], column));
        }
    }
}

/* Setting up six arrays costs more than a single row. */
static dp_status transaction_insert(dp_pg_session *session, int64_t stream_id, const dp_transaction_row *row,
                                    dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_position(&params, true, &row->end_position);
    dp_pg_add_text(&params, row->transaction_id);
    if (row->has_committed_at) {
        dp_pg_add_i64(&params, row->committed_at_us);
    } else {
        dp_pg_add_null(&params);
    }
    dp_pg_add_i64(&params, row->stored_at_us);
    dp_pg_add_i64(&params, row->first_number);
    dp_pg_add_i64(&params, (int64_t)row->event_count);
    return dp_pg_queue(session, DP_PG_TRANSACTION_INSERT, &params, error);
}

static dp_status transactions_insert(dp_store *store, int64_t stream_id, const dp_transaction_row *rows,
                                     size_t count, dp_error *error)
{
    enum { COLUMN_COUNT = 6 };
    dp_pg_session *session = dp_pg_session_of(store);
    dp_buffer *arrays = &session->rows;
    dp_pg_params params = {.count = 0};
    size_t ends[COLUMN_COUNT];
    if (count == 0) return DP_STATUS_OK;
    if (count == 1) return transaction_insert(session, stream_id, rows, error);
    dp_buffer_clear(arrays);
    for (int column = 0; column < COLUMN_COUNT; column++) {
        put_transaction_column(arrays, rows, count, column);
        ends[column] = arrays->length;
    }
    if (arrays->failed) return no_memory(error);
    dp_pg_add_i64(&params, stream_id);
    for (int column = 0; column < COLUMN_COUNT; column++) {
        size_t start = column == 0 ? 0 : ends[column - 1];
        dp_pg_add_bytes(&params, arrays->data + start, ends[column] - start);
    }
    return dp_pg_queue(session, DP_PG_TRANSACTIONS_INSERT, &params, error);
}

static dp_status visit_transaction(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    bool present;
    dp_transaction_row row = {.event_count = 0};
    dp_status status = dp_pg_get_position(result, 0, 0, &present, &row.end_position, error);
    if (status != DP_STATUS_OK) return status;
    row.transaction_id = dp_pg_get_slice(result, 0, 1);
    row.has_committed_at = PQgetisnull(result, 0, 2) == 0;
    row.committed_at_us = dp_pg_get_i64(result, 0, 2);
    row.stored_at_us = dp_pg_get_i64(result, 0, 3);
    row.first_number = dp_pg_get_i64(result, 0, 4);
    row.event_count = (uint64_t)dp_pg_get_i64(result, 0, 5);
    return visitor->transaction(visitor->context, &row, error);
}

static dp_status transactions_find(dp_store *store, int64_t stream_id, const dp_position *positions,
                                   size_t count, const dp_row_visitor *visitor, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_buffer *array = &session->rows;
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    if (count == 0) return DP_STATUS_OK;
    dp_buffer_clear(array);
    dp_pg_array_begin(array, DP_PG_OID_BYTEA, count);
    for (size_t i = 0; i < count; i++) {
        dp_pg_put_value(array, position_slice(&positions[i]));
    }
    if (array->failed) return no_memory(error);
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_bytes(&params, array->data, array->length);
    return dp_pg_each(session, DP_PG_TRANSACTIONS_FIND, &params, visit_transaction, &copy, NULL, error);
}

/* Reads page after page, so that a reader that stops early does not have to wait for the end. */
typedef struct transaction_page {
    dp_row_visitor visitor;
    dp_position last;
    uint64_t count;
} transaction_page;

static dp_status visit_paged_transaction(void *context, const PGresult *result, dp_error *error)
{
    transaction_page *page = context;
    bool present;
    dp_status status = dp_pg_get_position(result, 0, 0, &present, &page->last, error);
    page->count++;
    return status == DP_STATUS_OK ? visit_transaction(&page->visitor, result, error) : status;
}

static dp_status transactions_read(dp_store *store, int64_t stream_id, const dp_transaction_window *window,
                                   const dp_row_visitor *visitor, dp_error *error)
{
    static const char highest[DP_POSITION_BYTES + 1] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    transaction_page page = {.visitor = *visitor};
    uint64_t left = window->limit == 0 ? UINT64_MAX : window->limit;
    bool has_from = window->has_from;
    page.last = window->from;
    while (left > 0) {
        dp_position from = page.last;
        uint64_t wanted = left < TRANSACTIONS_PAGE ? left : TRANSACTIONS_PAGE;
        bool stopped = false;
        dp_pg_params params = {.count = 0};
        dp_pg_add_i64(&params, stream_id);
        dp_pg_add_bytes(&params, has_from ? (const char *)from.bytes : "", has_from ? DP_POSITION_BYTES : 0);
        dp_pg_add_bytes(&params, window->has_to ? (const char *)window->to.bytes : highest,
                        DP_POSITION_BYTES);
        dp_pg_add_i64(&params, (int64_t)wanted);
        page.count = 0;
        dp_status status = dp_pg_each(dp_pg_session_of(store), DP_PG_TRANSACTIONS_READ, &params,
                                      visit_paged_transaction, &page, &stopped, error);
        if (status != DP_STATUS_OK || stopped || page.count < wanted) return status;
        left -= wanted;
        has_from = true;
    }
    return DP_STATUS_OK;
}

static dp_status transactions_delete(dp_store *store, int64_t stream_id, dp_position to, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_position(&params, true, &to);
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_TRANSACTIONS_DELETE, &params, error);
}

/* --- receipts ---------------------------------------------------------------------------------------------
 */

/* The body points into the result. */
static dp_status read_receipt(const PGresult *r, dp_receipt_row *receipt, dp_error *error)
{
    dp_slice batch_id = dp_pg_get_slice(r, 0, 1);
    if (batch_id.length != sizeof receipt->batch_id) {
        return dp_error_set(error, DP_STATUS_DATA, "state database: a batch id of %zu bytes",
                            batch_id.length);
    }
    receipt->stream_id = dp_pg_get_i64(r, 0, 0);
    memcpy(receipt->batch_id, batch_id.data, sizeof receipt->batch_id);
    receipt->staged = dp_pg_get_bool(r, 0, 2);
    receipt->http_status = (unsigned)dp_pg_get_i64(r, 0, 3);
    receipt->body = dp_pg_get_slice(r, 0, 4);
    receipt->created_at_us = dp_pg_get_i64(r, 0, 5);
    return DP_STATUS_OK;
}

/* With what it is found by, too. */
static dp_status read_whole_receipt(const PGresult *r, dp_receipt_row *receipt, dp_error *error)
{
    dp_slice identity = dp_pg_get_slice(r, 0, 8);
    receipt->pipeline = dp_pg_get_slice(r, 0, 6);
    receipt->source = dp_pg_get_slice(r, 0, 7);
    receipt->idempotency_key = dp_pg_get_slice(r, 0, 9);
    if (!dp_identity_parse(identity, &receipt->identity)) return unreadable(error, "identity", identity);
    return read_receipt(r, receipt, error);
}

static dp_status receipt_find(dp_store *store, dp_receipt_row *receipt, dp_arena *arena, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = session->found_receipt;
    dp_status status = DP_STATUS_OK;
    session->found_receipt = NULL;
    if (session->receipt_presumed) {
        session->receipt_presumed = false;
        return DP_STATUS_NOT_FOUND;
    }
    if (result == NULL) {
        add_receipt_key(&params, receipt);
        status = dp_pg_run(session, DP_PG_RECEIPT_FIND, &params, &result, error);
    }
    if (status != DP_STATUS_OK) return status;
    dp_receipt_row found = *receipt;
    status = PQntuples(result) == 0 ? DP_STATUS_NOT_FOUND : read_receipt(result, &found, error);
    if (status == DP_STATUS_OK && !keep(arena, &found.body)) status = no_memory(error);
    PQclear(result);
    if (status == DP_STATUS_OK) *receipt = found;
    return status;
}

static dp_status receipt_insert(dp_store *store, const dp_receipt_row *receipt, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    add_receipt_key(&params, receipt);
    dp_pg_add_i64(&params, receipt->stream_id);
    dp_pg_add_bytes(&params, receipt->batch_id, sizeof receipt->batch_id);
    dp_pg_add_bool(&params, receipt->staged);
    dp_pg_add_i64(&params, (int64_t)receipt->http_status);
    dp_pg_add_text(&params, receipt->body);
    dp_pg_add_i64(&params, receipt->created_at_us);
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_RECEIPT_INSERT, &params, error);
}

static dp_status receipts_drop_staged(dp_store *store, int64_t stream_id, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, stream_id);
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_RECEIPTS_DROP, &params, error);
}

static dp_status receipts_delete(dp_store *store, int64_t stream_id, int64_t before_us, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_i64(&params, before_us);
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_RECEIPTS_DELETE, &params, error);
}

static dp_status visit_receipt(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_receipt_row row = {.stream_id = 0};
    dp_status status = read_whole_receipt(result, &row, error);
    return status == DP_STATUS_OK ? visitor->receipt(visitor->context, &row, error) : status;
}

static dp_status receipt_list(dp_store *store, int64_t stream_id, const dp_row_visitor *visitor,
                              dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    dp_pg_add_i64(&params, stream_id);
    return dp_pg_each(dp_pg_session_of(store), DP_PG_RECEIPT_LIST, &params, visit_receipt, &copy, NULL,
                      error);
}

static dp_status receipt_last(dp_store *store, int64_t stream_id, dp_arena *arena, dp_receipt_row *receipt,
                              dp_error *error)
{
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    dp_receipt_row found = {.stream_id = stream_id};
    dp_pg_add_i64(&params, stream_id);
    dp_status status = dp_pg_run(dp_pg_session_of(store), DP_PG_RECEIPT_LAST, &params, &result, error);
    if (status != DP_STATUS_OK) return status;
    status = PQntuples(result) == 0 ? DP_STATUS_NOT_FOUND : read_whole_receipt(result, &found, error);
    if (status == DP_STATUS_OK && !(keep(arena, &found.pipeline) && keep(arena, &found.source) &&
                                    keep(arena, &found.idempotency_key) && keep(arena, &found.body))) {
        status = no_memory(error);
    }
    PQclear(result);
    if (status == DP_STATUS_OK) *receipt = found;
    return status;
}

/* --- the driver -------------------------------------------------------------------------------------------
 */

const dp_store_driver dp_store_postgres = {
    .name = "postgres",
    .migrations = dp_migrations_postgres,
    .concurrent_writers = true,
    .open = dp_pg_open,
    .close = dp_pg_close,
    .begin = dp_pg_begin,
    .commit = dp_pg_commit,
    .rollback = dp_pg_rollback,
    .migration_ensure = dp_pg_migration_ensure,
    .migration_list = dp_pg_migration_list,
    .migration_apply = dp_pg_migration_apply,
    .migration_done = dp_pg_migration_done,
    .stream_expect = stream_expect,
    .stream_confirm = stream_confirm,
    .stream_open = stream_open,
    .stream_find = stream_find,
    .stream_list = stream_list,
    .stream_save = stream_save,
    .reserve_numbers = reserve_numbers,
    .transactions_insert = transactions_insert,
    .transactions_find = transactions_find,
    .transactions_read = transactions_read,
    .transactions_delete = transactions_delete,
    .events_insert = dp_pg_events_insert,
    .events_read = dp_pg_events_read,
    .events_delete = dp_pg_events_delete,
    .events_prune = dp_pg_events_prune,
    .receipt_find = receipt_find,
    .receipt_insert = receipt_insert,
    .receipts_drop_staged = receipts_drop_staged,
    .receipts_delete = receipts_delete,
    .receipt_list = receipt_list,
    .receipt_last = receipt_last,
    .offset_find = dp_pg_offset_find,
    .offset_save = dp_pg_offset_save,
    .offset_delete = dp_pg_offset_delete,
    .offset_list = dp_pg_offset_list,
    .quarantine_insert = dp_pg_quarantine_insert,
    .quarantine_list = dp_pg_quarantine_list,
    .quarantine_resolve = dp_pg_quarantine_resolve,
    .audit_insert = dp_pg_audit_insert,
    .audit_list = dp_pg_audit_list,
    .size_bytes = dp_pg_size_bytes,
    .check_grants = dp_pg_check_grants,
};
