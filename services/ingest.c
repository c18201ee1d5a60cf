/* Ingestion: one batch in, one receipt out, in one transaction of the database. */
#include "base/clock.h"
#include "base/crash_point.h"
#include "base/planted_fault.h"
#include "services/journal_internal.h"

#define RECEIPT_ARENA_BYTES ((size_t)1 << 20)

/* --- the request --------------------------------------------------------------------------------------- */

static bool is_visible_ascii(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < 0x21 || text.data[i] > 0x7e) return false;
    }
    return true;
}

/* False when the reply says why the key is refused. */
static bool check_key(dp_slice key, unsigned count, dp_api_reply *reply)
{
    if (key.data == NULL || count == 0) {
        dp_api_reply_error(reply, 400, "idempotency_key_missing", "the header Idempotency-Key is required");
        return false;
    }
    if (count > 1) {
        dp_api_reply_error(reply, 400, "idempotency_key_repeated", "there is more than one Idempotency-Key");
        return false;
    }
    if (key.length < 1 || key.length > 255 || !is_visible_ascii(key)) {
        dp_api_reply_error(reply, 400, "idempotency_key_invalid",
                           "Idempotency-Key must be 1 to 255 visible ASCII characters");
        return false;
    }
    return true;
}

static dp_batch_reader *take_parser(dp_journal_api *api)
{
    pthread_mutex_lock(&api->pool_lock);
    dp_batch_reader *parser = api->idle_parser_count > 0 ? api->idle_parsers[--api->idle_parser_count] : NULL;
    pthread_mutex_unlock(&api->pool_lock);
    const dp_batch_read_limits limits = {api->options.max_batch_bytes, api->options.max_event_bytes};
    return parser != NULL ? parser : dp_batch_reader_new(&limits);
}

static void give_parser(dp_journal_api *api, dp_batch_reader *parser)
{
    pthread_mutex_lock(&api->pool_lock);
    bool keep = api->idle_parser_count < 2; /* each may hold the largest batch it has seen */
    if (keep) api->idle_parsers[api->idle_parser_count++] = parser;
    pthread_mutex_unlock(&api->pool_lock);
    if (!keep) dp_batch_reader_free(parser);
}

/* A body that cannot be read is the sender's fault, whatever its status means elsewhere. */
static void reply_unreadable(dp_api_reply *reply, dp_status status, const dp_error *error)
{
    if (status == DP_STATUS_DATA) {
        dp_api_reply_error(reply, 400, error->code, error->message);
    } else {
        journal_reply_failure(reply, status, error);
    }
}

/* --- batches in flight --------------------------------------------------------------------------------- */

static bool same_request(const batch_in_flight *left, const batch_in_flight *right)
{
    return left->header->identity == right->header->identity && dp_slice_equal(left->key, right->key) &&
           dp_slice_equal(left->header->pipeline, right->header->pipeline) &&
           dp_slice_equal(left->header->source, right->header->source);
}

/* Called with the pool locked. */
static bool has_same_request(const dp_journal_api *api, const batch_in_flight *flight)
{
    for (const batch_in_flight *other = api->in_flight; other != NULL; other = other->next) {
        if (same_request(other, flight)) return true;
    }
    return false;
}

static bool is_in_flight(dp_journal_api *api, const batch_in_flight *flight)
{
    pthread_mutex_lock(&api->pool_lock);
    bool found = has_same_request(api, flight);
    pthread_mutex_unlock(&api->pool_lock);
    return found;
}

/* False when a batch with this key is being worked on. */
static bool enter_flight(dp_journal_api *api, batch_in_flight *flight)
{
    pthread_mutex_lock(&api->pool_lock);
    bool is_first = !has_same_request(api, flight);
    if (is_first) {
        flight->next = api->in_flight;
        api->in_flight = flight;
    }
    pthread_mutex_unlock(&api->pool_lock);
    return is_first;
}

static void leave_flight(dp_journal_api *api, const batch_in_flight *flight)
{
    pthread_mutex_lock(&api->pool_lock);
    batch_in_flight **link = &api->in_flight;
    while (*link != flight) {
        link = &(*link)->next;
    }
    *link = flight->next;
    pthread_mutex_unlock(&api->pool_lock);
}

/* --- the receipt --------------------------------------------------------------------------------------- */

static void write_next_offset(dp_json_writer *writer, const dp_batch_header *header)
{
    dp_json_key(writer, "next_offset");
    if (!header->has_next_offset) {
        dp_json_null(writer);
        return;
    }
    dp_json_begin_object(writer);
    dp_json_key(writer, "backend");
    dp_json_string(writer, dp_backend_text(header->next_backend));
    dp_json_key(writer, "token");
    dp_json_string(writer, header->next_token);
    dp_json_key(writer, "snapshot_complete");
    dp_json_bool(writer, header->next_snapshot_complete);
    dp_json_end_object(writer);
}

static void write_receipt(const dp_batch *batch, const dp_journal_outcome *outcome, dp_api_reply *reply)
{
    dp_json_writer writer = journal_reply_begin(reply);
    char end_position[DP_POSITION_TEXT_BYTES];
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "batch_id");
    dp_json_text(&writer, batch->batch_id_hex);
    dp_json_key(&writer, "sink_status");
    dp_json_text(&writer, "success");
    dp_json_key(&writer, "load_status");
    dp_json_text(&writer, outcome->staged ? "staged" : "committed");
    dp_json_key(&writer, "accepted");
    dp_json_u64(&writer, outcome->accepted);
    dp_json_key(&writer, "duplicates");
    dp_json_u64(&writer, outcome->duplicates);
    if (outcome->dropped > 0) {
        dp_json_key(&writer, "staged_dropped");
        dp_json_u64(&writer, outcome->dropped);
    }
    dp_json_key(&writer, "idempotency_passed");
    dp_json_bool(&writer, outcome->idempotency_passed);
    write_next_offset(&writer, &batch->header);
    dp_json_key(&writer, "end_position");
    if (outcome->has_end_position) {
        dp_position_format(batch->header.backend, outcome->end_position, end_position);
        dp_json_text(&writer, end_position);
    } else {
        dp_json_null(&writer);
    }
    dp_json_end_object(&writer);
    journal_reply_ok(reply);
}

/* --- the transaction ----------------------------------------------------------------------------------- */

typedef struct ingest_job {
    dp_journal_api *api;
    dp_slice key;
    dp_api_reply *reply;
    dp_arena *arena;
    const dp_batch *batch; /* once it has been read */
    int64_t now_us;
    journal_writer *writer; /* while the transaction is open */
    dp_status begun;        /* with an error: the transaction could not be begun */
    dp_error error;
} ingest_job;

static dp_receipt_row wanted_receipt(const ingest_job *job, const dp_batch_header *header)
{
    return (dp_receipt_row){.pipeline = header->pipeline,
                            .source = header->source,
                            .identity = header->identity,
                            .idempotency_key = job->key};
}

static void give_back(ingest_job *job, dp_status status)
{
    if (job->writer != NULL) journal_give_writer(job->api, job->writer, status);
    job->writer = NULL;
}

static void begin(ingest_job *job, const dp_batch_header *header)
{
    const dp_stream_key key = {header->pipeline, header->source, header->backend};
    const dp_receipt_row receipt = wanted_receipt(job, header);
    dp_store *store = job->writer->store;
    job->begun = store->driver->begin(store, true, &job->error);
    if (job->begun == DP_STATUS_OK && store->driver->stream_expect != NULL) {
        job->begun = store->driver->stream_expect(store, &key, &receipt, &job->error);
        if (job->begun != DP_STATUS_OK) store->driver->rollback(store);
    }
    if (job->begun != DP_STATUS_OK) give_back(job, job->begun);
}

/* Where a database at the other end of a connection has something to do meanwhile, and writes do not wait for
 * each other, the transaction is begun before the body is read. Whatever is wrong with either is told later,
 * in the order in which it would be otherwise. */
static void begin_early(ingest_job *job, dp_batch_reader *parser, dp_slice body)
{
    dp_error ignored = DP_ERROR_INIT;
    dp_batch_header header;
    if (!job->api->has_concurrent_writers) return;
    if (dp_batch_reader_peek(parser, body, &header, &ignored) != DP_STATUS_OK) return;
    const batch_in_flight flight = {.header = &header, .key = job->key};
    if (is_in_flight(job->api, &flight)) return;
    if (journal_try_writer(job->api, &job->writer)) begin(job, &header);
}

static void begin_late(ingest_job *job)
{
    if (job->writer != NULL || job->begun != DP_STATUS_OK) return;
    job->begun = journal_take_writer(job->api, &job->writer, &job->error);
    if (job->begun == DP_STATUS_OK) begin(job, &job->batch->header);
}

/* A receipt that is there already: its answer again, or a refusal when the key stood for another body. */
static void answer_again(const ingest_job *job, const dp_receipt_row *receipt)
{
    if (memcmp(receipt->batch_id, job->batch->batch_id, DP_SHA256_BYTES) != 0) {
        dp_api_reply_error(job->reply, 422, "idempotency_key_reused",
                           "this Idempotency-Key was used for another body");
        return;
    }
    journal_reply_begin(job->reply);
    dp_buffer_append_slice(&job->reply->body, receipt->body);
    journal_reply_ok(job->reply);
    if (job->reply->http_status != 200) return;
    job->reply->http_status = receipt->http_status;
    job->reply->replayed = true;
}

static dp_status store_batch(const ingest_job *job, dp_store *store, dp_stream *stream,
                             dp_receipt_row *receipt, dp_error *error)
{
    dp_journal_outcome outcome;
    dp_status status =
        dp_journal_append(job->writer->journal, store, stream, job->batch, job->now_us, &outcome, error);
    if (status != DP_STATUS_OK) return status;
    write_receipt(job->batch, &outcome, job->reply);
    if (job->reply->http_status != 200) return dp_error_no_memory(error, "the receipt");
    receipt->stream_id = outcome.stream_id;
    receipt->staged = outcome.staged;
    receipt->http_status = 200;
    receipt->body = dp_buffer_slice(&job->reply->body);
    receipt->created_at_us = job->now_us;
    memcpy(receipt->batch_id, job->batch->batch_id, DP_SHA256_BYTES);
    status = store->driver->receipt_insert(store, receipt, error);
    dp_crash_point(DP_CRASH_INSIDE_TRANSACTION);
    return status;
}

/* Inside a transaction: *answered is set when the receipt was there already. The stream is locked before the
 * receipt is looked for, since another server may be storing the same batch at this moment. */
static dp_status look_up_or_store(const ingest_job *job, dp_store *store, bool *answered, dp_error *error)
{
    const dp_batch_header *header = &job->batch->header;
    dp_stream stream;
    dp_receipt_row receipt = wanted_receipt(job, header);
    dp_status status =
        dp_journal_open_stream(job->writer->journal, store, header, job->now_us, &stream, error);
    if (status != DP_STATUS_OK) return status;
    status = store->driver->receipt_find(store, &receipt, job->arena, error);
    if (status == DP_STATUS_NOT_FOUND) return store_batch(job, store, &stream, &receipt, error);
    if (status == DP_STATUS_OK) {
        answer_again(job, &receipt);
        *answered = true;
    }
    return status;
}

/* What the driver presumed of the stream was wrong, since another server has written it. */
static bool is_presumed_wrong(dp_status status, const dp_error *error)
{
    return status == DP_STATUS_BUSY && strcmp(error->code, DP_STORE_PRESUMED_WRONG) == 0;
}

/* A batch may only be refused for what its stream is really like; while that cannot be asked it is to come
 * again. */
static dp_status confirm_refusal(dp_store *store, dp_status refusal, dp_error *error)
{
    dp_error other = DP_ERROR_INIT;
    if (store->driver->stream_confirm == NULL) return refusal;
    dp_status status = store->driver->stream_confirm(store, &other);
    if (!dp_status_retryable(status)) return refusal;
    *error = other;
    return status;
}

static dp_status end_transaction(const ingest_job *job, dp_store *store, dp_error *error)
{
    bool answered = false;
    dp_status status = look_up_or_store(job, store, &answered, error);
    if (status != DP_STATUS_OK) status = confirm_refusal(store, status, error);
    if (status != DP_STATUS_OK || answered) {
        store->driver->rollback(store);
        return status;
    }
    if (dp_fault_is_planted(DP_FAULT_ACK_BEFORE_COMMIT) && job->now_us % 3 == 0) {
        store->driver->rollback(store);
        return DP_STATUS_OK;
    }
    status = store->driver->commit(store, error);
    dp_crash_point(DP_CRASH_COMMITTED_UNANSWERED);
    return status;
}

static void ingest_batch(ingest_job *job)
{
    begin_late(job);
    if (job->begun == DP_STATUS_OK) {
        job->now_us = dp_clock_wall_us();
        job->begun = end_transaction(job, job->writer->store, &job->error);
    }
    if (is_presumed_wrong(job->begun, &job->error)) {
        dp_error_clear(&job->error);
        begin(job, &job->batch->header);
        if (job->begun == DP_STATUS_OK) job->begun = end_transaction(job, job->writer->store, &job->error);
    }
    dp_status status = job->begun;
    give_back(job, status);
    if (status != DP_STATUS_OK) journal_reply_failure(job->reply, status, &job->error);
}

static void ingest_parsed(ingest_job *job, dp_slice pipeline)
{
    dp_api_reply *reply = job->reply;
    batch_in_flight flight = {.header = &job->batch->header, .key = job->key};
    if (!dp_slice_equal(job->batch->header.pipeline, pipeline)) {
        dp_api_reply_error(reply, 400, "pipeline_mismatch",
                           "line 1: the batch is of another pipeline than the path names");
        return;
    }
    if (!enter_flight(job->api, &flight)) {
        reply->retry_after_s = 1;
        dp_api_reply_error(reply, 409, "request_in_flight", "a batch with this key is being stored");
        return;
    }
    ingest_batch(job);
    leave_flight(job->api, &flight);
    journal_note_batch_end(job->api, pipeline, job->key, reply->http_status == 200);
}

static void ingest_body(ingest_job *job, dp_slice pipeline, dp_batch_reader *parser, dp_slice body)
{
    dp_error error = DP_ERROR_INIT;
    begin_early(job, parser, body);
    dp_status status = dp_batch_reader_read(parser, body, &job->batch, &error);
    if (status == DP_STATUS_OK) {
        ingest_parsed(job, pipeline);
    } else {
        reply_unreadable(job->reply, status, &error);
    }
    if (job->writer == NULL) return;
    job->writer->store->driver->rollback(job->writer->store);
    give_back(job, DP_STATUS_OK);
}

void dp_journal_api_ingest(dp_journal_api *api, dp_slice pipeline, dp_slice idempotency_key,
                           unsigned key_count, dp_slice body, dp_api_reply *reply)
{
    journal_reply_begin(reply);
    if (!check_key(idempotency_key, key_count, reply) || !journal_check_pipeline(pipeline, reply)) return;
    dp_batch_reader *parser = take_parser(api);
    ingest_job job = {.api = api, .key = idempotency_key, .reply = reply, .error = DP_ERROR_INIT};
    job.arena = dp_arena_new(4096, RECEIPT_ARENA_BYTES);
    if (parser != NULL && job.arena != NULL) {
        ingest_body(&job, pipeline, parser, body);
    } else {
        dp_error_no_memory(&job.error, "a batch");
        journal_reply_failure(reply, DP_STATUS_NO_MEMORY, &job.error);
    }
    dp_arena_free(job.arena);
    if (parser != NULL) give_parser(api, parser);
}
