/* The quarantine as a service: changes that could not be identified or applied. */
#include <stdlib.h>

#include "base/clock.h"
#include "services/journal_internal.h"
#include "services/json_body.h"

typedef struct quarantine_page {
    dp_json_writer writer;
    uint64_t count;
    int64_t last_id;
} quarantine_page;

static dp_status put_row(void *context, const dp_quarantine_row *row, dp_error *error)
{
    quarantine_page *page = context;
    dp_json_writer *writer = &page->writer;
    page->count++;
    page->last_id = row->quarantine_id;
    (void)error;
    dp_json_begin_object(writer);
    dp_json_key(writer, "quarantine_id");
    dp_json_i64(writer, row->quarantine_id);
    dp_json_member_slice(writer, "source", row->source);
    dp_json_member_slice(writer, "backend", row->backend);
    dp_json_member_slice(writer, "source_schema", row->source_schema);
    dp_json_member_slice(writer, "source_table", row->source_table);
    dp_json_member_slice(writer, "position", row->position);
    dp_json_member_slice(writer, "transaction_id", row->transaction_id);
    dp_json_member_slice(writer, "end_position", row->end_position);
    dp_json_member_slice(writer, "reason", row->reason);
    dp_json_member_slice(writer, "detail", row->detail);
    dp_json_member_slice(writer, "event", row->event);
    dp_json_member_slice(writer, "state", dp_quarantine_state_text(row->state));
    dp_json_member_time(writer, "created_at", row->created_at_us);
    dp_json_member_time(writer, "resolved_at", row->resolved_at_us);
    dp_json_member_slice(writer, "resolved_by", row->resolved_by);
    dp_json_member_slice(writer, "resolution", row->resolution);
    dp_json_end_object(writer);
    return DP_STATUS_OK;
}

#define MAX_ROWS 1000

void dp_journal_api_list_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice after,
                                    dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    uint64_t after_id = 0;
    if (after.data != NULL && !dp_slice_to_u64(after, INT64_MAX, &after_id)) {
        dp_api_reply_error(reply, 400, "after_malformed", "after: expected the number of an entry");
        return;
    }
    quarantine_page page = {.writer = journal_reply_begin(reply)};
    dp_row_visitor visitor = {.context = &page, .quarantine = put_row};
    dp_json_begin_object(&page.writer);
    dp_json_key(&page.writer, "quarantine");
    dp_json_begin_array(&page.writer);
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = store->driver->quarantine_list(store, pipeline, NULL, (int64_t)after_id, MAX_ROWS, &visitor,
                                                &error);
        journal_give_reader(api, store, status);
    }
    dp_json_end_array(&page.writer);
    dp_json_key(&page.writer, "next_after");
    if (page.count == MAX_ROWS) {
        dp_json_u64(&page.writer, (uint64_t)page.last_id);
    } else {
        dp_json_null(&page.writer);
    }
    dp_json_end_object(&page.writer);
    journal_reply_end(reply, status, &error);
}

/* --- adding -------------------------------------------------------------------------------------------- */

#define MAX_RECORDS 1000

typedef struct quarantine_input {
    dp_slice pipeline;
    dp_slice source;
    dp_slice backend;
    int64_t now_us;
    dp_quarantine_row *rows;
    char **events;                    /* the texts of the events, in memory of their own */
    uint8_t (*keys)[DP_SHA256_BYTES]; /* of the events */
    dp_sha256 *hash;
    size_t count;
    uint64_t added_count;
} quarantine_input;

/* A member of the event or of the context, whichever has it as a text. */
static dp_slice find_text(const json_t *record, const char *name)
{
    static const char *const places[] = {"event", "context"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const json_t *value = json_object_get(json_object_get(record, places[i]), name);
        if (json_is_string(value) && json_string_length(value) > 0)
            return (dp_slice){json_string_value(value), json_string_length(value)};
    }
    return (dp_slice){NULL, 0};
}

static dp_slice or_empty(dp_slice text)
{
    return text.data == NULL ? DP_SLICE_LITERAL("") : text;
}

static bool add_to_key(dp_sha256 *hash, dp_slice part)
{
    char length[32];
    snprintf(length, sizeof length, "%zu:", part.length);
    return dp_sha256_update(hash, dp_slice_of_text(length)) && dp_sha256_update(hash, part);
}

/* The event line says where the event stood, so the same line from the same stream is the same event read
 * again. One that does not say it cannot be told from another with the same values: no key. */
static dp_status find_key(const quarantine_input *input, size_t index, const json_t *event, dp_error *error)
{
    dp_quarantine_row *row = &input->rows[index];
    uint8_t *digest = input->keys[index];
    dp_sha256 *hash = input->hash;
    if (!json_is_string(json_object_get(event, "position")) ||
        !json_is_integer(json_object_get(event, "ordinal"))) {
        return DP_STATUS_OK;
    }
    if (!dp_sha256_begin(hash) || !add_to_key(hash, row->pipeline) || !add_to_key(hash, row->source) ||
        !add_to_key(hash, row->backend) || !add_to_key(hash, row->event) || !dp_sha256_finish(hash, digest)) {
        return dp_error_no_memory(error, "the key of an event");
    }
    row->event_key = dp_slice_make((const char *)digest, DP_SHA256_BYTES);
    return DP_STATUS_OK;
}

static dp_status take_record(quarantine_input *input, const json_t *record, dp_error *error)
{
    dp_slice code;
    dp_slice reason;
    dp_status status = dp_json_body_text(record, "code", true, &code, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(record, "reason", true, &reason, error);
    if (status != DP_STATUS_OK) return status;
    const json_t *event = json_object_get(record, "event");
    if (event == NULL) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed", "\"event\": expected an event");
    }
    char *text = json_dumps(event, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) return dp_error_no_memory(error, "an event");
    size_t index = input->count++;
    input->events[index] = text;
    input->rows[index] = (dp_quarantine_row){.pipeline = input->pipeline,
                                             .source = input->source,
                                             .backend = input->backend,
                                             .source_schema = or_empty(find_text(record, "source_schema")),
                                             .source_table = or_empty(find_text(record, "source_table")),
                                             .position = find_text(record, "position"),
                                             .transaction_id = find_text(record, "transaction_id"),
                                             .end_position = find_text(record, "end_position"),
                                             .reason = code,
                                             .detail = reason,
                                             .event = dp_slice_of_text(text),
                                             .state = DP_QUARANTINE_OPEN,
                                             .created_at_us = input->now_us};
    return find_key(input, index, event, error);
}

static dp_status store_records(dp_store *store, void *context, dp_error *error)
{
    quarantine_input *input = context;
    return store->driver->quarantine_insert(store, input->rows, input->count, &input->added_count, error);
}

/* The body is one record, or an object with many; source and backend stand beside either. */
static dp_status take_records(dp_journal_api *api, const json_t *body, quarantine_input *input,
                              dp_error *error)
{
    const json_t *records = json_object_get(body, "records");
    dp_status status = dp_json_body_text(body, "source", false, &input->source, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "backend", false, &input->backend, error);
    if (status != DP_STATUS_OK) return status;
    input->source = or_empty(input->source);
    input->backend = or_empty(input->backend);
    size_t count = records == NULL ? 1 : json_array_size(records);
    if (count == 0 || count > MAX_RECORDS) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed",
                                 "\"records\": expected an array of 1 to %d records", MAX_RECORDS);
    }
    input->rows = calloc(count, sizeof *input->rows);
    input->events = calloc(count, sizeof *input->events);
    input->keys = calloc(count, sizeof *input->keys);
    input->hash = dp_sha256_new();
    if (input->rows == NULL || input->events == NULL || input->keys == NULL || input->hash == NULL)
        return dp_error_no_memory(error, "records");
    for (size_t i = 0; i < count && status == DP_STATUS_OK; i++) {
        status = take_record(input, records == NULL ? body : json_array_get(records, i), error);
    }
    return status == DP_STATUS_OK ? journal_write_with(api, input, store_records, error) : status;
}

void dp_journal_api_add_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply)
{
    static const char *const allowed[] = {"source", "backend", "records", "code",
                                          "reason", "context", "event",   NULL};
    dp_error error = DP_ERROR_INIT;
    quarantine_input input = {.pipeline = pipeline, .now_us = dp_clock_wall_us()};
    json_t *object = NULL;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) status = take_records(api, object, &input, &error);
    if (status != DP_STATUS_OK) {
        journal_reply_failure(reply, status, &error);
    } else {
        dp_json_writer writer = journal_reply_begin(reply);
        dp_json_begin_object(&writer);
        dp_json_member_u64(&writer, "added", input.added_count);
        dp_json_member_u64(&writer, "duplicates", input.count - input.added_count);
        dp_json_end_object(&writer);
        journal_reply_ok(reply);
    }
    for (size_t i = 0; i < input.count; i++) {
        free(input.events[i]);
    }
    free(input.events);
    free(input.keys);
    dp_sha256_free(input.hash);
    free(input.rows);
    json_decref(object);
}
