#include "state/postgres_events.h"

/* Events travel as arrays in the pipeline, together with all else that a batch writes. COPY costs two round
 * trips more, and in binary PostgreSQL gathers up to 1,000 of its rows in slots that each cost more than the
 * one before; beyond that it is cheaper, and it needs memory for one event only. */
#define ARRAYS_MOST_COUNT 1200
#define ARRAYS_MOST_BYTES (1u << 20)
#define PIECE_MOST_COUNT  512 /* the server stores one piece while the next is made */
#define PIECE_MOST_BYTES  (256u << 10)
#define COPY_CHUNK_BYTES  (32u << 10) /* likewise */
#define EVENTS_PAGE_COUNT 2000        /* bounds what must be read to its end when a reader stops early */
#define PARTITION_EVENTS  1000000     /* as migration 0003 has it */
#define PRUNE_SLICE       50000       /* the events deleted in one transaction */

static dp_status no_memory(dp_error *error)
{
    return dp_error_no_memory(error, "rows on their way to the state database");
}

/* --- what can be stored, and where --- */

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

/* --- as arrays --- */

/* As in DP_PG_EVENT_COLUMNS. */
typedef enum event_column {
    COLUMN_NUMBER,
    COLUMN_SEQUENCE,
    COLUMN_OPERATION,
    COLUMN_ID,
    COLUMN_SCHEMA,
    COLUMN_TABLE,
    COLUMN_POSITION,
    COLUMN_DATA,
    COLUMN_BEFORE,
    COLUMN_UNCHANGED,
    COLUMN_METADATA,
    COLUMN_COUNT
} event_column;

static void put_operation(dp_buffer *out, dp_operation operation)
{
    char bytes[2];
    dp_pg_put_u16(bytes, (uint16_t)operation);
    dp_pg_put_value(out, (dp_slice){bytes, sizeof bytes});
}

static void put_sequence(dp_buffer *out, const dp_event *event)
{
    if (event->has_sequence) {
        dp_pg_put_i64(out, (int64_t)event->sequence);
    } else {
        dp_pg_put_value(out, (dp_slice){NULL, 0});
    }
}

static void put_field(dp_buffer *out, event_column column, int64_t number, const dp_event *event)
{
    switch (column) {
    case COLUMN_NUMBER: dp_pg_put_i64(out, number); break;
    case COLUMN_SEQUENCE: put_sequence(out, event); break;
    case COLUMN_OPERATION: put_operation(out, event->operation); break;
    case COLUMN_ID:
        dp_pg_put_value(out, (dp_slice){(const char *)event->id.bytes, sizeof event->id.bytes});
        break;
    case COLUMN_SCHEMA: dp_pg_put_value(out, event->source_schema); break;
    case COLUMN_TABLE: dp_pg_put_value(out, event->source_table); break;
    case COLUMN_POSITION: dp_pg_put_value(out, event->position); break;
    case COLUMN_DATA: dp_pg_put_value(out, event->data); break;
    case COLUMN_BEFORE: dp_pg_put_value(out, event->before); break;
    case COLUMN_UNCHANGED: dp_pg_put_value(out, event->unchanged); break;
    case COLUMN_METADATA: dp_pg_put_value(out, event->metadata); break;
    case COLUMN_COUNT: break;
    }
}

/* The next event to store. */
typedef struct event_cursor {
    const dp_event_run *run;
    size_t at;
} event_cursor;

static const dp_event *next_event(event_cursor *cursor, int64_t *number)
{
    while (cursor->at == cursor->run->count) {
        cursor->run++;
        cursor->at = 0;
    }
    *number = cursor->run->first_number + (int64_t)cursor->at;
    return &cursor->run->events[cursor->at++];
}

static size_t data_bytes(const dp_event *event)
{
    return event->data.length + event->before.length + event->unchanged.length + event->metadata.length;
}

/* How many of the next `count` events go with one statement. */
static size_t piece_count(event_cursor cursor, size_t count)
{
    size_t bytes = 0;
    size_t taken = 0;
    while (taken < count && taken < PIECE_MOST_COUNT && bytes < PIECE_MOST_BYTES) {
        int64_t number;
        bytes += data_bytes(next_event(&cursor, &number));
        taken++;
    }
    return taken;
}

/* The field of a column that is a text; data NULL of those that are none. */
static dp_slice text_field(event_column column, const dp_event *event)
{
    switch (column) {
    case COLUMN_SCHEMA: return event->source_schema;
    case COLUMN_TABLE: return event->source_table;
    case COLUMN_BEFORE: return event->before;
    case COLUMN_UNCHANGED: return event->unchanged;
    case COLUMN_METADATA: return event->metadata;
    case COLUMN_NUMBER:
    case COLUMN_SEQUENCE:
    case COLUMN_OPERATION:
    case COLUMN_ID:
    case COLUMN_POSITION:
    case COLUMN_DATA:
    case COLUMN_COUNT: break;
    }
    return (dp_slice){NULL, 0};
}

/* Whether the events have the same text in this column, or none. */
static bool is_uniform(event_column column, event_cursor cursor, size_t count)
{
    int64_t number;
    dp_slice first = text_field(column, next_event(&cursor, &number));
    for (size_t i = 1; i < count; i++) {
        dp_slice other = text_field(column, next_event(&cursor, &number));
        if ((other.data == NULL) != (first.data == NULL) || !dp_slice_equal(first, other)) return false;
    }
    return true;
}

static void put_column(dp_buffer *out, event_column column, event_cursor cursor, size_t count)
{
    static const uint32_t oids[COLUMN_COUNT] = {DP_PG_OID_INT8,  DP_PG_OID_INT8, DP_PG_OID_INT2,
                                                DP_PG_OID_BYTEA, DP_PG_OID_TEXT, DP_PG_OID_TEXT,
                                                DP_PG_OID_TEXT,  DP_PG_OID_TEXT, DP_PG_OID_TEXT,
                                                DP_PG_OID_TEXT,  DP_PG_OID_TEXT};
    dp_pg_array_begin(out, oids[column], count);
    for (size_t i = 0; i < count; i++) {
        int64_t number;
        const dp_event *event = next_event(&cursor, &number);
        put_field(out, column, number, event);
    }
}

/* Columns that are likely to be the same in all events: these travel once, beside the arrays. */
static const event_column often_uniform[] = {COLUMN_SCHEMA, COLUMN_TABLE, COLUMN_BEFORE, COLUMN_UNCHANGED,
                                             COLUMN_METADATA};
#define OFTEN_UNIFORM_COUNT (sizeof often_uniform / sizeof often_uniform[0])

static dp_status insert_piece(dp_pg_session *session, int64_t stream_id, event_cursor cursor, size_t count,
                              dp_error *error)
{
    dp_buffer *rows = &session->rows;
    dp_pg_params params = {.count = 0};
    size_t ends[COLUMN_COUNT];
    bool uniform[COLUMN_COUNT] = {false};
    dp_buffer_clear(rows);
    for (size_t i = 0; i < OFTEN_UNIFORM_COUNT; i++) {
        uniform[often_uniform[i]] = is_uniform(often_uniform[i], cursor, count);
    }
    for (event_column column = COLUMN_NUMBER; column < COLUMN_COUNT; column++) {
        if (!uniform[column]) put_column(rows, column, cursor, count);
        ends[column] = rows->length;
    }
    if (rows->failed) return no_memory(error);
    dp_pg_add_i64(&params, stream_id);
    for (size_t column = 0; column < COLUMN_COUNT; column++) {
        size_t start = column == 0 ? 0 : ends[column - 1];
        if (uniform[column]) {
            dp_pg_add_null(&params);
        } else {
            dp_pg_add_bytes(&params, rows->data + start, ends[column] - start);
        }
    }
    int64_t number;
    const dp_event *first = next_event(&cursor, &number);
    for (size_t i = 0; i < OFTEN_UNIFORM_COUNT; i++) {
        event_column column = often_uniform[i];
        dp_pg_add_text(&params, uniform[column] ? text_field(column, first) : (dp_slice){NULL, 0});
    }
    return dp_pg_queue(session, DP_PG_EVENTS_INSERT, &params, error);
}

static dp_status insert_arrays(dp_pg_session *session, int64_t stream_id, const dp_event_run *runs,
                               size_t count, dp_error *error)
{
    event_cursor cursor = {.run = runs};
    dp_status status = DP_STATUS_OK;
    while (count > 0 && status == DP_STATUS_OK) {
        size_t piece = piece_count(cursor, count);
        status = insert_piece(session, stream_id, cursor, piece, error);
        count -= piece;
        for (size_t i = 0; i < piece; i++) {
            int64_t number;
            next_event(&cursor, &number);
        }
    }
    return status;
}

/* --- alone --- */

/* Setting up eleven arrays costs more than a single row. */
static dp_status insert_alone(dp_pg_session *session, int64_t stream_id, event_cursor cursor, dp_error *error)
{
    int64_t number;
    const dp_event *event = next_event(&cursor, &number);
    dp_pg_params params = {.count = 0};
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

/* --- by COPY --- */

static void put_row(dp_buffer *out, int64_t stream_id, int64_t number, const dp_event *event)
{
    char field_count[2];
    dp_pg_put_u16(field_count, COLUMN_COUNT + 1);
    dp_buffer_append(out, field_count, sizeof field_count);
    dp_pg_put_i64(out, stream_id);
    for (event_column column = COLUMN_NUMBER; column < COLUMN_COUNT; column++) {
        put_field(out, column, number, event);
    }
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
    dp_buffer *chunk = &session->rows;
    for (size_t i = 0; i < run->count; i++) {
        put_row(chunk, stream_id, run->first_number + (int64_t)i, &run->events[i]);
        if (chunk->length < COPY_CHUNK_BYTES && !chunk->failed) continue;
        dp_status status = send_chunk(session, chunk, error);
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
    dp_buffer_clear(&session->rows);
    dp_buffer_append(&session->rows, header, 19);
    for (size_t i = 0; i < run_count && status == DP_STATUS_OK; i++) {
        status = copy_run(session, stream_id, &runs[i], error);
    }
    dp_buffer_append(&session->rows, trailer, 2);
    if (status == DP_STATUS_OK) status = send_chunk(session, &session->rows, error);
    return dp_pg_copy_end(session, status, error);
}

/* --- inserting --- */

/* Makes what the events need and counts them. */
static dp_status prepare_run(dp_pg_session *session, int64_t stream_id, const dp_event_run *run,
                             size_t *bytes, dp_error *error)
{
    dp_status status = add_partitions(session, stream_id, run, error);
    for (size_t i = 0; i < run->count && status == DP_STATUS_OK; i++) {
        status = check_event(&run->events[i], error);
        *bytes += data_bytes(&run->events[i]);
    }
    return status;
}

dp_status dp_pg_events_insert(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                              dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    size_t count = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < run_count; i++) {
        dp_status status = prepare_run(session, stream_id, &runs[i], &bytes, error);
        if (status != DP_STATUS_OK) return status;
        count += runs[i].count;
    }
    if (count == 1) return insert_alone(session, stream_id, (event_cursor){.run = runs}, error);
    if (count <= ARRAYS_MOST_COUNT && bytes <= ARRAYS_MOST_BYTES)
        return insert_arrays(session, stream_id, runs, count, error);
    return copy_runs(session, stream_id, runs, run_count, error);
}

/* --- reading and deleting --- */

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

dp_status dp_pg_events_read(dp_store *store, int64_t stream_id, const dp_number_range *ranges,
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

dp_status dp_pg_events_delete(dp_store *store, int64_t stream_id, dp_number_range range, dp_error *error)
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

/* A call drops a few; while others read, none. *used is the first number that is still in use. */
static dp_status drop_partitions(dp_pg_session *session, int64_t stream_id, bool *found, int64_t *used,
                                 dp_error *error)
{
    int64_t left = INT64_MAX;
    int64_t before;
    dp_pg_params stream = {.count = 0};
    dp_pg_add_i64(&stream, stream_id);
    do {
        bool counted;
        before = left;
        dp_status status = ask_number(session, DP_PG_PARTITIONS_DROP, &stream, found, used, error);
        if (status != DP_STATUS_OK || !*found) return status;
        dp_pg_params below = {.count = 0};
        dp_pg_add_i64(&below, stream_id);
        dp_pg_add_i64(&below, *used);
        status = ask_number(session, DP_PG_PARTITIONS_LEFT, &below, &counted, &left, error);
        if (status != DP_STATUS_OK) return status;
    } while (left > 0 && left < before);
    return DP_STATUS_OK;
}

/* Whole partitions are dropped; what is left is deleted row by row: in the partition that is in use, and in
 * those that are being read. */
dp_status dp_pg_events_prune(dp_store *store, int64_t stream_id, dp_error *error)
{
    dp_pg_session *session = dp_pg_session_of(store);
    bool found = false;
    int64_t used = 0;
    int64_t first = INT64_MIN;
    dp_status status = drop_partitions(session, stream_id, &found, &used, error);
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
