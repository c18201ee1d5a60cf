/* What the journal knows of its pipelines, and what their streams read from. */
#include <stdlib.h>

#include "base/clock.h"
#include "services/journal_internal.h"
#include "services/json_body.h"
#include "services/quarantine.h"
#include "state/stream_settings.h"

static void write_position(dp_json_writer *writer, const char *key, dp_backend backend, bool has,
                           dp_position position)
{
    char text[DP_POSITION_TEXT_BYTES];
    dp_position_format(backend, position, text);
    dp_json_key(writer, key);
    dp_json_text(writer, has ? text : NULL);
}

/* --- the list ------------------------------------------------------------------------------------------ */

/* Streams come ordered by pipeline: the counts of one pipeline are written when the next begins. */
typedef struct pipeline_list {
    dp_json_writer writer;
    char name[JOURNAL_PIPELINE_NAME_BYTES + 1];
    uint64_t streams;
    uint64_t transactions;
    uint64_t events;
    int64_t updated_at_us;
} pipeline_list;

bool journal_check_pipeline(dp_slice name, dp_api_reply *reply)
{
    if (name.length > 0 && name.length <= JOURNAL_PIPELINE_NAME_BYTES &&
        memchr(name.data, '\0', name.length) == NULL) {
        return true;
    }
    dp_api_reply_error(reply, 400, "pipeline_name_invalid",
                       "the name of a pipeline must have 1 to 1023 bytes, none of them NUL");
    return false;
}

static void end_pipeline(pipeline_list *self)
{
    if (self->streams == 0) return;
    dp_json_begin_object(&self->writer);
    dp_json_member_slice(&self->writer, "pipeline", dp_slice_of_text(self->name));
    dp_json_member_u64(&self->writer, "stream_count", self->streams);
    dp_json_member_u64(&self->writer, "transaction_count", self->transactions);
    dp_json_member_u64(&self->writer, "event_count", self->events);
    dp_json_member_time(&self->writer, "updated_at", self->updated_at_us);
    dp_json_end_object(&self->writer);
    self->streams = self->transactions = self->events = 0;
    self->updated_at_us = 0;
}

static dp_status add_stream(void *context, const dp_stream *row, dp_error *error)
{
    pipeline_list *self = context;
    if (row->key.pipeline.length >= sizeof self->name) {
        return dp_error_set(error, DP_STATUS_LIMIT, "the name of a pipeline is longer than %zu bytes",
                            sizeof self->name - 1);
    }
    if (self->streams > 0 && !dp_slice_equal_text(row->key.pipeline, self->name)) end_pipeline(self);
    memcpy(self->name, row->key.pipeline.data, row->key.pipeline.length);
    self->name[row->key.pipeline.length] = '\0';
    self->streams++;
    self->transactions += row->transaction_count;
    self->events += row->event_count;
    if (row->updated_at_us > self->updated_at_us) self->updated_at_us = row->updated_at_us;
    return DP_STATUS_OK;
}

void dp_journal_api_list_pipelines(dp_journal_api *api, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    pipeline_list list = {.writer = journal_reply_begin(reply)};
    dp_row_visitor visitor = {.context = &list, .stream = add_stream};
    dp_json_begin_object(&list.writer);
    dp_json_key(&list.writer, "pipelines");
    dp_json_begin_array(&list.writer);
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = store->driver->stream_list(store, (dp_slice){NULL, 0}, &visitor, &error);
        journal_give_reader(api, store, status);
    }
    end_pipeline(&list);
    dp_json_end_array(&list.writer);
    dp_json_end_object(&list.writer);
    journal_reply_end(reply, status, &error);
}

/* --- choosing a stream --------------------------------------------------------------------------------- */

typedef struct stream_search {
    const journal_stream_choice *choice;
    unsigned count; /* of the streams that fit */
    bool any;       /* the pipeline has a stream at all */
    dp_stream stream;
    uint64_t mark;
} stream_search;

/* FNV-1a: the mark is only compared with another of the same process. */
static uint64_t mix(uint64_t mark, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) {
        mark = (mark ^ at[i]) * 0x100000001b3u;
    }
    return mark;
}

static dp_status search_stream(void *context, const dp_stream *row, dp_error *error)
{
    stream_search *self = context;
    const journal_stream_choice *choice = self->choice;
    char high[DP_POSITION_TEXT_BYTES] = "";
    (void)error;
    self->any = true;
    size_t length = row->has_high ? dp_position_format(row->key.backend, row->high, high) : 0;
    self->mark = mix(mix(self->mark, &row->stream_id, sizeof row->stream_id), high, length);
    bool is_chosen = choice->source.data == NULL ? !dp_quarantine_is_source(row->key.source)
                                                 : dp_slice_equal(choice->source, row->key.source);
    if (!is_chosen) return DP_STATUS_OK;
    if (choice->backend.data != NULL && !dp_slice_equal(choice->backend, dp_backend_text(row->key.backend))) {
        return DP_STATUS_OK;
    }
    self->count++;
    self->stream = *row;
    return DP_STATUS_OK;
}

dp_status journal_choose_stream(dp_store *store, const journal_stream_choice *choice, dp_stream *stream,
                                uint64_t *mark, dp_error *error)
{
    stream_search search = {.choice = choice, .mark = 0xcbf29ce484222325u};
    dp_row_visitor visitor = {.context = &search, .stream = search_stream};
    dp_status status = store->driver->stream_list(store, choice->pipeline, &visitor, error);
    if (status != DP_STATUS_OK) return status;
    if (mark != NULL) *mark = search.mark;
    if (!search.any) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "pipeline_not_found",
                                 "no events of pipeline '%.*s'", DP_SLICE_PRINT(choice->pipeline));
    }
    if (search.count == 0) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "stream_not_found",
                                 "the pipeline has no such source or backend");
    }
    if (search.count > 1) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "stream_ambiguous",
                                 "the pipeline has %u streams: choose one with source and backend",
                                 search.count);
    }
    *stream = search.stream;
    return DP_STATUS_OK;
}

/* --- one pipeline -------------------------------------------------------------------------------------- */

typedef struct pipeline_page {
    dp_json_writer *writer;
    dp_arena *arena;
    dp_stream *streams; /* copies, because a visitor cannot ask for their receipts */
    size_t stream_count;
    size_t offset_count;
    uint64_t open_count;
} pipeline_page;

#define MAX_STREAMS 256

static dp_status keep_stream(void *context, const dp_stream *row, dp_error *error)
{
    pipeline_page *self = context;
    if (self->stream_count == MAX_STREAMS) {
        return dp_error_set(error, DP_STATUS_LIMIT, "the pipeline has more than %d streams", MAX_STREAMS);
    }
    dp_stream *stream = &self->streams[self->stream_count++];
    *stream = *row;
    stream->key.source = dp_arena_copy(self->arena, row->key.source);
    if (row->settings.data != NULL) stream->settings = dp_arena_copy(self->arena, row->settings);
    if (row->staged_transaction_id.data != NULL) {
        stream->staged_transaction_id = dp_arena_copy(self->arena, row->staged_transaction_id);
    }
    return stream->key.source.data == NULL ? dp_error_no_memory(error, "a stream") : DP_STATUS_OK;
}

static void write_staged(dp_json_writer *writer, const dp_stream *stream)
{
    dp_json_key(writer, "staged");
    if (!stream->has_staged) {
        dp_json_null(writer);
        return;
    }
    dp_json_begin_object(writer);
    dp_json_member_slice(writer, "transaction_id", stream->staged_transaction_id);
    dp_json_member_u64(writer, "row_count", stream->staged_count);
    dp_json_end_object(writer);
}

static void write_json_or_null(dp_json_writer *writer, const char *key, dp_slice json)
{
    dp_json_key(writer, key);
    if (json.data == NULL) {
        dp_json_null(writer);
    } else {
        dp_json_raw(writer, json);
    }
}

static dp_status write_stream(pipeline_page *self, dp_store *store, const dp_stream *stream, dp_error *error)
{
    dp_json_writer *writer = self->writer;
    dp_backend backend = stream->key.backend;
    dp_receipt_row receipt = {.body = {NULL, 0}};
    dp_status status = store->driver->receipt_last(store, stream->stream_id, self->arena, &receipt, error);
    if (status != DP_STATUS_OK && status != DP_STATUS_NOT_FOUND) return status;
    dp_json_begin_object(writer);
    dp_json_member_slice(writer, "source", stream->key.source);
    dp_json_member_slice(writer, "backend", dp_backend_text(backend));
    dp_json_member_slice(writer, "identity", dp_identity_text(stream->identity));
    write_position(writer, "high_watermark", backend, stream->has_high, stream->high);
    write_position(writer, "pruned", backend, stream->has_pruned, stream->pruned);
    write_position(writer, "sender_offset", backend, stream->has_passed, stream->passed);
    dp_json_member_u64(writer, "transaction_count", stream->transaction_count);
    dp_json_member_u64(writer, "event_count", stream->event_count);
    write_staged(writer, stream);
    write_json_or_null(writer, "settings", stream->settings);
    write_json_or_null(writer, "last_receipt", receipt.body);
    dp_json_member_time(writer, "last_receipt_at", status == DP_STATUS_OK ? receipt.created_at_us : 0);
    dp_json_member_time(writer, "created_at", stream->created_at_us);
    dp_json_member_time(writer, "updated_at", stream->updated_at_us);
    dp_json_end_object(writer);
    return DP_STATUS_OK;
}

static dp_status put_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    pipeline_page *self = context;
    (void)error;
    self->offset_count++;
    journal_write_offset(self->writer, row);
    return DP_STATUS_OK;
}

static dp_status count_open(void *context, const dp_quarantine_row *row, dp_error *error)
{
    pipeline_page *self = context;
    (void)row, (void)error;
    self->open_count++;
    return DP_STATUS_OK;
}

static dp_status write_page(pipeline_page *self, dp_store *store, dp_slice pipeline, dp_error *error)
{
    const dp_store_driver *driver = store->driver;
    const dp_quarantine_state open = DP_QUARANTINE_OPEN;
    dp_row_visitor visitor = {
        .context = self, .stream = keep_stream, .offset = put_offset, .quarantine = count_open};
    dp_json_begin_object(self->writer);
    dp_json_member_slice(self->writer, "pipeline", pipeline);
    dp_json_key(self->writer, "streams");
    dp_json_begin_array(self->writer);
    dp_status status = driver->stream_list(store, pipeline, &visitor, error);
    for (size_t i = 0; i < self->stream_count && status == DP_STATUS_OK; i++) {
        status = write_stream(self, store, &self->streams[i], error);
    }
    dp_json_end_array(self->writer);
    dp_json_key(self->writer, "offsets");
    dp_json_begin_array(self->writer);
    if (status == DP_STATUS_OK) status = driver->offset_list(store, pipeline, &visitor, error);
    dp_json_end_array(self->writer);
    if (status == DP_STATUS_OK) {
        status = driver->quarantine_list(store, pipeline, &open, 0, 0, &visitor, error);
    }
    dp_json_member_u64(self->writer, "open_quarantine_count", self->open_count);
    dp_json_end_object(self->writer);
    if (status == DP_STATUS_OK && self->stream_count == 0 && self->offset_count == 0 &&
        self->open_count == 0) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "pipeline_not_found",
                                 "nothing is known of pipeline '%.*s'", DP_SLICE_PRINT(pipeline));
    }
    return status;
}

static dp_status show_pipeline(dp_journal_api *api, dp_slice pipeline, pipeline_page *page, dp_error *error)
{
    dp_store *store;
    page->streams = dp_arena_alloc(page->arena, MAX_STREAMS * sizeof *page->streams);
    if (page->streams == NULL) return dp_error_no_memory(error, "a pipeline's page");
    dp_status status = journal_take_reader(api, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = write_page(page, store, pipeline, error);
    journal_give_reader(api, store, status);
    return status;
}

void dp_journal_api_show_pipeline(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_json_writer writer = journal_reply_begin(reply);
    pipeline_page page = {.writer = &writer, .arena = dp_arena_new(65536, 16 << 20)};
    dp_status status = page.arena == NULL ? dp_error_no_memory(&error, "a pipeline's page")
                                          : show_pipeline(api, pipeline, &page, &error);
    dp_arena_free(page.arena);
    journal_reply_end(reply, status, &error);
}

/* --- what a stream reads from -------------------------------------------------------------------------- */

typedef struct source_change {
    dp_stream_key key;
    dp_identity_kind identity;
    dp_stream_settings given;
    bool accept;
    bool changed[DP_STREAM_SETTING_COUNT];
    bool identity_changed;
    bool blocked;
    dp_buffer merged;
    dp_arena *arena;
} source_change;

static dp_status parse_source(const json_t *body, dp_slice pipeline, source_change *change, char **settings,
                              dp_error *error)
{
    dp_slice backend;
    dp_slice identity;
    change->key.pipeline = pipeline;
    dp_status status = dp_json_body_text(body, "source", true, &change->key.source, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "backend", true, &backend, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "identity", true, &identity, error);
    if (status == DP_STATUS_OK) status = dp_json_body_bool(body, "accept", false, &change->accept, error);
    if (status != DP_STATUS_OK) return status;
    if (!dp_backend_parse(backend, &change->key.backend)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "backend_unknown", "'%.*s' is no backend",
                                 DP_SLICE_PRINT(backend));
    }
    if (!dp_identity_parse(identity, &change->identity)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "identity_unknown", "'%.*s' is no identity",
                                 DP_SLICE_PRINT(identity));
    }
    const json_t *value = json_object_get(body, "settings");
    *settings = value == NULL ? strdup("{}") : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (*settings == NULL) return dp_error_no_memory(error, "settings");
    return dp_stream_settings_parse(dp_slice_of_text(*settings), &change->given, error);
}

/* Inside a write transaction: compares, and saves what is new unless something blocks. */
static dp_status apply_source(dp_store *store, source_change *change, int64_t now_us, dp_error *error)
{
    dp_stream stream;
    dp_stream_settings stored = {.values = {{NULL, 0}}};
    bool any = false;
    dp_status status = store->driver->stream_open(store, &change->key, change->identity, now_us,
                                                  change->arena, &stream, error);
    if (status == DP_STATUS_OK && stream.settings.data != NULL) {
        status = dp_stream_settings_parse(stream.settings, &stored, error);
    }
    if (status == DP_STATUS_OK) {
        status =
            dp_stream_settings_compare(&stored, &change->given, change->arena, change->changed, &any, error);
    }
    if (status != DP_STATUS_OK) return status;
    bool is_empty = !stream.has_high && !stream.has_staged;
    change->identity_changed = stream.identity != change->identity;
    change->blocked = change->identity_changed || (any && !change->accept && !is_empty);
    if (change->blocked) return DP_STATUS_OK;
    dp_stream_settings_merge(&stored, &change->given, &change->merged);
    if (change->merged.failed) return dp_error_no_memory(error, "settings");
    stream.settings = dp_buffer_slice(&change->merged);
    stream.updated_at_us = now_us;
    return store->driver->stream_save(store, &stream, error);
}

static dp_status put_source(dp_journal_api *api, source_change *change, dp_error *error)
{
    journal_writer *writer;
    dp_status status = journal_take_writer(api, &writer, error);
    if (status != DP_STATUS_OK) return status;
    dp_store *store = writer->store;
    status = store->driver->begin(store, true, error);
    if (status == DP_STATUS_OK) {
        status = apply_source(store, change, dp_clock_wall_us(), error);
        if (status == DP_STATUS_OK && !change->blocked) {
            status = store->driver->commit(store, error);
        } else {
            store->driver->rollback(store);
        }
    }
    journal_give_writer(api, writer, status);
    return status;
}

static void reply_blocked(const source_change *change, dp_api_reply *reply)
{
    dp_json_writer writer = journal_reply_begin(reply);
    dp_json_begin_object(&writer);
    dp_json_member_text(&writer, "detail",
                        "the stream was written from another source or with other settings");
    dp_json_member_text(&writer, "code", "source_changed");
    dp_json_key(&writer, "blockers");
    dp_json_begin_array(&writer);
    if (change->identity_changed) dp_json_text(&writer, DP_STREAM_IDENTITY_BLOCKER);
    for (size_t i = 0; i < DP_STREAM_SETTING_COUNT; i++) {
        if (change->changed[i]) dp_json_text(&writer, dp_stream_setting_blocker((dp_stream_setting)i));
    }
    dp_json_end_array(&writer);
    dp_json_end_object(&writer);
    journal_reply_ok(reply);
    if (reply->http_status != 200) return;
    reply->http_status = 409;
    memcpy(reply->code, "source_changed", sizeof "source_changed");
}

static void reply_source(const source_change *change, dp_api_reply *reply)
{
    if (change->blocked) {
        reply_blocked(change, reply);
        return;
    }
    dp_json_writer writer = journal_reply_begin(reply);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "settings");
    dp_json_raw(&writer, dp_buffer_slice(&change->merged));
    dp_json_end_object(&writer);
    journal_reply_ok(reply);
}

void dp_journal_api_put_source(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply)
{
    static const char *const allowed[] = {"source", "backend", "identity", "settings", "accept", NULL};
    if (!journal_check_pipeline(pipeline, reply)) return;
    dp_error error = DP_ERROR_INIT;
    source_change change = {.merged = DP_BUFFER_INIT(1 << 20), .arena = dp_arena_new(16384, 16 << 20)};
    json_t *object = NULL;
    char *settings = NULL;
    dp_status status = change.arena == NULL ? dp_error_no_memory(&error, "settings")
                                            : dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) status = parse_source(object, pipeline, &change, &settings, &error);
    if (status == DP_STATUS_OK) status = put_source(api, &change, &error);
    if (status == DP_STATUS_OK) {
        reply_source(&change, reply);
    } else {
        journal_reply_failure(reply, status, &error);
    }
    free(settings);
    json_decref(object);
    dp_buffer_release(&change.merged);
    dp_arena_free(change.arena);
}
