/* The PostgreSQL driver's table of functions, and its streams, transactions, events and receipts. */
#include "state/migrations.h"
#include "state/postgres_records.h"

#define COPY_CHUNK_BYTES (32u << 10) /* the server stores one chunk while the next is made */
#define COPY_MAX_BYTES   (1u << 30)
#define COPY_LEAST_COUNT                                                                                     \
    17 /* fewer events travel as single rows in the pipeline: COPY costs two round trips */
#define EVENTS_PAGE_COUNT  2000 /* bounds what must be read to its end when a reader stops early */
#define TRANSACTIONS_PAGE  1000
#define LARGEST_NUMBER     (INT64_C(1) << 62)
#define EVENT_COLUMN_COUNT 12
#define PARTITION_EVENTS   1000000 /* as migration 0003 has it */
#define PRUNE_SLICE        50000   /* the events deleted in one transaction */

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

/* Locks the stream and reads the receipt that is expected of it in one round trip. Each statement has a
 * snapshot of its own, so the receipt is read as of the lock. */
static dp_status lock_stream(dp_pg_session *session, const dp_pg_params *key, PGresult **result,
                             dp_error *error)
{
    const dp_receipt_row *expected = session->expected_receipt;
    dp_pg_params receipt = {.count = 0};
    PGresult *found = NULL;
    session->expected_receipt = NULL;
    if (expected == NULL) return dp_pg_run(session, DP_PG_STREAM_LOCK, key, result, error);
    add_receipt_key(&receipt, expected);
    dp_status status = dp_pg_queue_kept(session, DP_PG_STREAM_LOCK, key, error);
    if (status == DP_STATUS_OK) status = dp_pg_run(session, DP_PG_RECEIPT_FIND, &receipt, &found, error);
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

static dp_status stream_open(dp_store *store, const dp_stream_key *key, dp_identity_kind identity,
                             int64_t now_us, dp_arena *arena, dp_stream *stream, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = NULL;
    add_key(&params, key);
    dp_status status = lock_stream(session, &params, &result, error);
    if (status == DP_STATUS_OK && PQntuples(result) == 0) {
        PQclear(result);
        result = NULL;
        status = insert_stream(session, key, identity, now_us, error);
        if (status == DP_STATUS_OK) status = dp_pg_run(session, DP_PG_STREAM_LOCK, &params, &result, error);
    }
    if (status != DP_STATUS_OK) return status;
    int64_t partitioned_below = PQntuples(result) == 0 ? 0 : dp_pg_get_i64(result, 0, 18);
    status = keep_stream(result, arena, stream, error);
    if (status != DP_STATUS_OK) return status;
    session->open_stream_id = stream->stream_id;
    session->partitioned_below = partitioned_below;
    return DP_STATUS_OK;
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
    dp_pg_add_i64(&params, session->open_stream_id == stream->stream_id ? session->partitioned_below : 0);
    dp_status status = dp_pg_queue(session, DP_PG_STREAM_SAVE, &params, error);
    if (status == DP_STATUS_OK && session->in_transaction) session->marked_stream_id = stream->stream_id;
    return status;
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

#define OID_BYTEA 17
#define OID_INT8  20
#define OID_TEXT  25

/* Arrays in PostgreSQL's binary format, built one after the other in the session's scratch buffer:
 * dimensions, whether there are NULLs, element type, length, lower bound, then each element with its length.
 */
static void array_begin(dp_buffer *out, uint32_t element_oid, size_t count)
{
    char header[20];
    dp_pg_put_u32(header, 1);
    dp_pg_put_u32(header + 4, 1);
    dp_pg_put_u32(header + 8, element_oid);
    dp_pg_put_u32(header + 12, (uint32_t)count);
    dp_pg_put_u32(header + 16, 1);
    dp_buffer_append(out, header, sizeof header);
}

/* Also a field of a COPY row. data NULL: NULL. */
static void put_value(dp_buffer *out, dp_slice value)
{
    char length[4];
    dp_pg_put_u32(length, value.data == NULL ? UINT32_MAX : (uint32_t)value.length);
    dp_buffer_append(out, length, sizeof length);
    if (value.data != NULL) dp_buffer_append_slice(out, value);
}

static void put_i64(dp_buffer *out, int64_t value)
{
    char bytes[8];
    dp_pg_put_u64(bytes, (uint64_t)value);
    put_value(out, (dp_slice){bytes, sizeof bytes});
}

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
    static const uint32_t oids[] = {OID_BYTEA, OID_TEXT, OID_INT8, OID_INT8, OID_INT8, OID_INT8};
    array_begin(out, oids[column], count);
    for (size_t i = 0; i < count; i++) {
        if (column == 0) {
            put_value(out, position_slice(&rows[i].end_position));
        } else if (column == 1) {
            put_value(out, rows[i].transaction_id);
        } else if (column == 2 && rows[i].has_committed_at) {
            put_i64(out, rows[i].committed_at_us);
        } else if (column == 2) {
            put_value(out, (dp_slice){NULL, 0});
        } else {
            put_i64(out, transaction_number(&rows[i], column));
        }
    }
}

static dp_status transactions_insert(dp_store *store, int64_t stream_id, const dp_transaction_row *rows,
                                     size_t count, dp_error *error)
{
    enum { COLUMN_COUNT = 6 };
    dp_buffer text = DP_BUFFER_INIT(COPY_MAX_BYTES);
    dp_pg_params params = {.count = 0};
    size_t ends[COLUMN_COUNT];
    if (count == 0) return DP_STATUS_OK;
    for (int column = 0; column < COLUMN_COUNT; column++) {
        put_transaction_column(&text, rows, count, column);
        ends[column] = text.length;
    }
    dp_status status = text.failed ? no_memory(error) : DP_STATUS_OK;
    dp_pg_add_i64(&params, stream_id);
    for (int column = 0; column < COLUMN_COUNT && status == DP_STATUS_OK; column++) {
        size_t start = column == 0 ? 0 : ends[column - 1];
        dp_pg_add_bytes(&params, text.data + start, ends[column] - start);
    }
    if (status == DP_STATUS_OK) {
        status = dp_pg_queue(dp_pg_session_of(store), DP_PG_TRANSACTIONS_INSERT, &params, error);
    }
    dp_buffer_release(&text);
    return status;
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
    dp_buffer text = DP_BUFFER_INIT(COPY_MAX_BYTES);
    dp_pg_params params = {.count = 0};
    dp_row_visitor copy = *visitor;
    if (count == 0) return DP_STATUS_OK;
    array_begin(&text, OID_BYTEA, count);
    for (size_t i = 0; i < count; i++) {
        put_value(&text, position_slice(&positions[i]));
    }
    dp_status status = text.failed ? no_memory(error) : DP_STATUS_OK;
    if (status == DP_STATUS_OK) {
        dp_pg_add_i64(&params, stream_id);
        dp_pg_add_bytes(&params, text.data, text.length);
        status = dp_pg_each(dp_pg_session_of(store), DP_PG_TRANSACTIONS_FIND, &params, visit_transaction,
                            &copy, NULL, error);
    }
    dp_buffer_release(&text);
    return status;
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

/* --- events -----------------------------------------------------------------------------------------------
 */

static dp_status check_event(const dp_event *event, dp_error *error)
{
    if (event->has_sequence && event->sequence > INT64_MAX) {
        return dp_error_set(error, DP_STATUS_DATA, "line %llu: sequence exceeds 2^63-1",
                            (unsigned long long)event->line_number);
    }
    if (event->data.length > INT32_MAX || event->before.length > INT32_MAX) {
        return dp_error_set(error, DP_STATUS_LIMIT, "line %llu: a value exceeds 2 GiB",
                            (unsigned long long)event->line_number);
    }
    return DP_STATUS_OK;
}

/* Numbers ascend, so what lies below the end of the last partition has one. */
static dp_status add_partitions(dp_pg_session *session, int64_t stream_id, const dp_event_run *run,
                                dp_error *error)
{
    if (session->open_stream_id != stream_id) {
        session->open_stream_id = stream_id;
        session->partitioned_below = 0;
    }
    int64_t last = run->first_number + (int64_t)run->count - 1;
    dp_status status = DP_STATUS_OK;
    for (int64_t part = run->first_number / PARTITION_EVENTS;
         part <= last / PARTITION_EVENTS && status == DP_STATUS_OK; part++) {
        int64_t end = (part + 1) * PARTITION_EVENTS;
        if (end <= session->partitioned_below) continue;
        dp_pg_params params = {.count = 0};
        dp_pg_add_i64(&params, stream_id);
        dp_pg_add_i64(&params, part);
        status = dp_pg_queue(session, DP_PG_PARTITION_ADD, &params, error);
        session->partitioned_below = end;
    }
    return status;
}

static dp_status insert_single(dp_pg_session *session, int64_t stream_id, int64_t number,
                               const dp_event *event, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    dp_status status = check_event(event, error);
    if (status != DP_STATUS_OK) return status;
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_i64(&params, number);
    if (event->has_sequence) {
        dp_pg_add_i64(&params, (int64_t)event->sequence);
    } else {
        dp_pg_add_null(&params);
    }
    dp_pg_add_i16(&params, (int16_t)event->operation);
    dp_pg_add_bytes(&params, event->id.bytes, sizeof event->id.bytes);
    dp_pg_add_text(&params, event->source_schema);
    dp_pg_add_text(&params, event->source_table);
    dp_pg_add_text(&params, event->position);
    dp_pg_add_text(&params, event->data);
    dp_pg_add_text(&params, event->before);
    dp_pg_add_text(&params, event->unchanged);
    dp_pg_add_text(&params, event->metadata);
    return dp_pg_queue(session, DP_PG_EVENT_INSERT, &params, error);
}

static void put_event(dp_buffer *out, int64_t stream_id, int64_t number, const dp_event *event)
{
    char small[2];
    dp_pg_put_u16(small, EVENT_COLUMN_COUNT);
    dp_buffer_append(out, small, sizeof small);
    put_i64(out, stream_id);
    put_i64(out, number);
    if (event->has_sequence) {
        put_i64(out, (int64_t)event->sequence);
    } else {
        put_value(out, (dp_slice){NULL, 0});
    }
    dp_pg_put_u16(small, (uint16_t)event->operation);
    put_value(out, (dp_slice){small, sizeof small});
    put_value(out, (dp_slice){(const char *)event->id.bytes, sizeof event->id.bytes});
    put_value(out, event->source_schema);
    put_value(out, event->source_table);
    put_value(out, event->position);
    put_value(out, event->data);
    put_value(out, event->before);
    put_value(out, event->unchanged);
    put_value(out, event->metadata);
}

static dp_status send_chunk(dp_pg_session *session, dp_buffer *chunk, dp_error *error)
{
    if (chunk->failed) return no_memory(error);
    dp_status status = dp_pg_copy_write(session, dp_buffer_slice(chunk), error);
    dp_buffer_clear(chunk);
    return status;
}

static dp_status copy_run(dp_pg_session *session, int64_t stream_id, const dp_event_run *run, dp_error *error)
{
    dp_buffer *chunk = &session->scratch;
    for (size_t i = 0; i < run->count; i++) {
        dp_status status = check_event(&run->events[i], error);
        if (status != DP_STATUS_OK) return status;
        put_event(chunk, stream_id, run->first_number + (int64_t)i, &run->events[i]);
        if (chunk->length < COPY_CHUNK_BYTES && !chunk->failed) continue;
        status = send_chunk(session, chunk, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

static dp_status copy_runs(dp_pg_session *session, int64_t stream_id, const dp_event_run *runs,
                           size_t run_count, dp_error *error)
{
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* signature, flags, no extension */
    static const char trailer[] = "\377\377";
    dp_status status = dp_pg_copy_begin(
        session, "COPY dpone_event (stream_id, " DP_PG_EVENT_COLUMNS ") FROM STDIN (FORMAT binary)", error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_clear(&session->scratch);
    dp_buffer_append(&session->scratch, header, 19);
    for (size_t i = 0; i < run_count && status == DP_STATUS_OK; i++) {
        status = copy_run(session, stream_id, &runs[i], error);
    }
    dp_buffer_append(&session->scratch, trailer, 2);
    if (status == DP_STATUS_OK) status = send_chunk(session, &session->scratch, error);
    return dp_pg_copy_end(session, status, error);
}

static dp_status events_insert(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                               dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    size_t count = 0;
    for (size_t i = 0; i < run_count; i++) {
        dp_status status = add_partitions(session, stream_id, &runs[i], error);
        if (status != DP_STATUS_OK) return status;
        count += runs[i].count;
    }
    if (count >= COPY_LEAST_COUNT) return copy_runs(session, stream_id, runs, run_count, error);
    for (size_t i = 0; i < run_count; i++) {
        for (size_t j = 0; j < runs[i].count; j++) {
            dp_status status = insert_single(session, stream_id, runs[i].first_number + (int64_t)j,
                                             &runs[i].events[j], error);
            if (status != DP_STATUS_OK) return status;
        }
    }
    return DP_STATUS_OK;
}

static dp_status visit_event(void *context, const PGresult *result, dp_error *error)
{
    const dp_row_visitor *visitor = context;
    dp_event event = {.has_id = true};
    dp_slice id = dp_pg_get_slice(result, 0, 3);
    int64_t operation = dp_pg_get_i64(result, 0, 2);
    if (id.length != sizeof event.id.bytes) {
        return dp_error_set(error, DP_STATUS_DATA, "state database: an event id of %zu bytes", id.length);
    }
    if (operation < DP_OPERATION_INSERT || operation > DP_OPERATION_TRUNCATE) {
        return dp_error_set(error, DP_STATUS_DATA, "state database: unknown operation %lld",
                            (long long)operation);
    }
    memcpy(event.id.bytes, id.data, sizeof event.id.bytes);
    event.operation = (dp_operation)operation;
    event.has_sequence = PQgetisnull(result, 0, 1) == 0;
    event.sequence = (uint64_t)dp_pg_get_i64(result, 0, 1);
    event.source_schema = dp_pg_get_slice(result, 0, 4);
    event.source_table = dp_pg_get_slice(result, 0, 5);
    event.position = dp_pg_get_slice(result, 0, 6);
    event.data = dp_pg_get_slice(result, 0, 7);
    event.before = dp_pg_get_slice(result, 0, 8);
    event.unchanged = dp_pg_get_slice(result, 0, 9);
    event.metadata = dp_pg_get_slice(result, 0, 10);
    return visitor->event(visitor->context, dp_pg_get_i64(result, 0, 0), &event, error);
}

static dp_status read_range(dp_pg_session *session, int64_t stream_id, dp_number_range range,
                            dp_row_visitor *visitor, bool *stopped, dp_error *error)
{
    while (range.count > 0) {
        uint64_t count = range.count < EVENTS_PAGE_COUNT ? range.count : EVENTS_PAGE_COUNT;
        dp_pg_params params = {.count = 0};
        dp_pg_add_i64(&params, stream_id);
        dp_pg_add_i64(&params, range.first);
        dp_pg_add_i64(&params, range.first + (int64_t)count - 1);
        dp_status status =
            dp_pg_each(session, DP_PG_EVENTS_READ, &params, visit_event, visitor, stopped, error);
        if (status != DP_STATUS_OK || *stopped) return status;
        range.first += (int64_t)count;
        range.count -= count;
    }
    return DP_STATUS_OK;
}

static dp_status events_read(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
                             size_t range_count, const dp_row_visitor *visitor, dp_error *error)
{
    dp_row_visitor copy = *visitor;
    bool stopped = false;
    for (size_t i = 0; i < range_count && !stopped; i++) {
        dp_status status = read_range(dp_pg_session_of(store), stream_id, ranges[i], &copy, &stopped, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

static dp_status events_delete(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error)
{
    dp_pg_params params = {.count = 0};
    if (range.count == 0) return DP_STATUS_OK;
    dp_pg_add_i64(&params, stream_id);
    dp_pg_add_i64(&params, range.first);
    dp_pg_add_i64(&params, range.first + (int64_t)(range.count - 1));
    return dp_pg_queue(dp_pg_session_of(store), DP_PG_EVENTS_DELETE, &params, error);
}

static dp_status ask_number(dp_pg_session *session, dp_pg_statement statement, const dp_pg_params *params,
                            bool *found, int64_t *number, dp_error *error)
{
    PGresult *result = NULL;
    dp_status status = dp_pg_run(session, statement, params, &result, error);
    if (status != DP_STATUS_OK) return status;
    *found = PQntuples(result) == 1 && PQgetisnull(result, 0, 0) == 0;
    *number = *found ? dp_pg_get_i64(result, 0, 0) : 0;
    PQclear(result);
    return DP_STATUS_OK;
}

/* Whole partitions are dropped; what is left is deleted row by row: in the partition that is in use, and in
 * those that are being read. */
static dp_status events_prune(dp_store *store, int64_t stream_id, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params stream = {.count = 0};
    bool found = false;
    int64_t used = 0;
    int64_t first = INT64_MIN;
    dp_pg_add_i64(&stream, stream_id);
    dp_status status = ask_number(session, DP_PG_PARTITIONS_DROP, &stream, &found, &used, error);
    if (status != DP_STATUS_OK || !found) return status;
    while (status == DP_STATUS_OK) {
        dp_pg_params left = {.count = 0}; /* not from the start again: deleted rows may be passed slowly */
        dp_pg_add_i64(&left, stream_id);
        dp_pg_add_i64(&left, first);
        dp_pg_add_i64(&left, used);
        status = ask_number(session, DP_PG_EVENTS_FIRST, &left, &found, &first, error);
        if (status != DP_STATUS_OK || !found) return status;
        int64_t last = used - first > PRUNE_SLICE ? first + PRUNE_SLICE - 1 : used - 1;
        dp_pg_params slice = {.count = 0};
        dp_pg_add_i64(&slice, stream_id);
        dp_pg_add_i64(&slice, first);
        dp_pg_add_i64(&slice, last);
        status = dp_pg_run(session, DP_PG_EVENTS_DELETE, &slice, NULL, error);
        first = last + 1;
    }
    return status;
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

static void receipt_expect(dp_store *store, const dp_receipt_row *receipt)
{
    dp_pg_session *session = dp_pg_session_of(store);
    if (session->in_transaction && session->writing) session->expected_receipt = receipt;
}

static dp_status receipt_find(dp_store *store, dp_receipt_row *receipt, dp_arena *arena, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    dp_pg_params params = {.count = 0};
    PGresult *result = session->found_receipt;
    dp_status status = DP_STATUS_OK;
    session->found_receipt = NULL;
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
    .stream_open = stream_open,
    .stream_find = stream_find,
    .stream_list = stream_list,
    .stream_save = stream_save,
    .reserve_numbers = reserve_numbers,
    .transactions_insert = transactions_insert,
    .transactions_find = transactions_find,
    .transactions_read = transactions_read,
    .transactions_delete = transactions_delete,
    .events_insert = events_insert,
    .events_read = events_read,
    .events_delete = events_delete,
    .events_prune = events_prune,
    .receipt_expect = receipt_expect,
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
