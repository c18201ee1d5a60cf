#include "services/quarantine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hex.h"
#include "base/json_writer.h"
#include "cdc/batch_writer.h"
#include "cdc/event_scanner.h"
#include "services/batch_answer.h"

#define MAX_EVENT_BYTES ((size_t)1 << 30)

#define SOURCE_INFIX "#quarantine-"

enum { WAIT_MS = 500, HEADER_AND_TRAILER_BYTES = 8192 };

/* --- the id --- */

static dp_slice text_of(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    return dp_slice_make(json_string_value(value), json_string_length(value));
}

/* Values of rows are texts, whole numbers, booleans and null. */
static void put_value(dp_buffer *out, const json_t *value)
{
    if (json_is_string(value)) {
        dp_json_put_string(out, dp_slice_make(json_string_value(value), json_string_length(value)));
    } else if (json_is_integer(value)) {
        dp_buffer_append_i64(out, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        dp_buffer_append_text(out, json_is_true(value) ? "true" : "false");
    } else {
        dp_buffer_append_text(out, "null");
    }
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void put_row(dp_buffer *out, json_t *row)
{
    size_t count = json_object_size(row);
    const char **names = calloc(count + 1, sizeof *names);
    size_t filled = 0;
    const char *name;
    json_t *value;
    if (names == NULL) {
        out->failed = out->out_of_memory = true;
        return;
    }
    json_object_foreach(row, name, value) names[filled++] = name;
    qsort(names, count, sizeof *names, compare_names);
    dp_buffer_append_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) dp_buffer_append_byte(out, ',');
        dp_json_put_string(out, dp_slice_of_text(names[i]));
        dp_buffer_append_byte(out, ':');
        put_value(out, json_object_get(row, names[i]));
    }
    dp_buffer_append_byte(out, '}');
    free(names);
}

static dp_status put_key(dp_buffer *out, const json_t *event, const dp_slice *columns, size_t count,
                         dp_error *error)
{
    dp_buffer_append_text(out, "\"key\":{");
    for (size_t i = 0; i < count; i++) {
        char name[1024];
        snprintf(name, sizeof name, "%.*s", (int)columns[i].length, columns[i].data);
        const json_t *value = json_object_get(json_object_get(event, "data"), name);
        if (value == NULL) value = json_object_get(json_object_get(event, "before"), name);
        if (value == NULL || json_is_null(value)) {
            return dp_error_set_code(error, DP_STATUS_POISON, "key_missing",
                                     "the event still has no value for the key column '%s'", name);
        }
        if (i > 0) dp_buffer_append_byte(out, ',');
        dp_json_put_string(out, columns[i]);
        dp_buffer_append_byte(out, ':');
        put_value(out, value);
    }
    dp_buffer_append_text(out, "}");
    return DP_STATUS_OK;
}

static void put_text(dp_buffer *out, const char *name, dp_slice text)
{
    dp_buffer_append_format(out, ",\"%s\":", name);
    dp_json_put_string(out, text);
}

/* The canonical object of identity v1; its members in the order of their names. */
static dp_status put_canonical(dp_buffer *out, const json_t *event, const dp_unique_keys *keys,
                               dp_error *error)
{
    size_t key_count = 0;
    dp_status status = DP_STATUS_OK;
    dp_slice schema = text_of(event, "source_schema"), table = text_of(event, "source_table");
    const dp_slice *columns = keys == NULL ? NULL : dp_unique_keys_find(keys, schema, table, &key_count);
    bool is_truncate = dp_slice_equal_text(text_of(event, "operation"), "truncate");
    dp_buffer_append_byte(out, '{');
    if (key_count > 0 && is_truncate) {
        dp_buffer_append_text(out, "\"key\":null");
    } else if (key_count > 0) {
        status = put_key(out, event, columns, key_count, error);
    }
    dp_buffer_append_text(out, key_count > 0 ? ",\"operation\":" : "\"operation\":");
    dp_json_put_string(out, text_of(event, "operation"));
    put_text(out, "position", text_of(event, "position"));
    if (key_count == 0) {
        dp_buffer_append_text(out, ",\"row\":{\"before\":");
        put_row(out, json_object_get(event, "before"));
        dp_buffer_append_text(out, ",\"data\":");
        put_row(out, json_object_get(event, "data"));
        dp_buffer_append_byte(out, '}');
    }
    dp_buffer_append_format(out, ",\"sequence\":%lld",
                            (long long)json_integer_value(json_object_get(event, "sequence")));
    put_text(out, "source_schema", schema);
    put_text(out, "source_table", table);
    put_text(out, "transaction_id", text_of(event, "transaction_id"));
    dp_buffer_append_byte(out, '}');
    return status;
}

/* --- the lines --- */

static dp_status check_event(const json_t *event, dp_error *error)
{
    static const char *const texts[] = {"operation", "source_schema", "source_table", "position",
                                        "transaction_id"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!json_is_string(json_object_get(event, texts[i])))
            return dp_error_set(error, DP_STATUS_USAGE, "the event's member '%s' must be a text", texts[i]);
    }
    if (!json_is_integer(json_object_get(event, "sequence")))
        return dp_error_set(error, DP_STATUS_USAGE, "the event's member 'sequence' must be a number");
    if (!json_is_object(json_object_get(event, "data")))
        return dp_error_set(error, DP_STATUS_USAGE, "the event's member 'data' must be an object");
    return DP_STATUS_OK;
}

static void put_json(dp_buffer *out, const char *name, const json_t *value, const char *otherwise)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    dp_buffer_append_format(out, ",\"%s\":", name);
    dp_buffer_append_text(out, text == NULL ? otherwise : text);
    free(text);
}

static void put_lines(dp_buffer *out, const json_t *event, const char *id)
{
    const json_t *metadata = json_object_get(event, "metadata");
    dp_slice position = text_of(event, "position"), transaction_id = text_of(event, "transaction_id");
    dp_buffer_append_format(out, "{\"event_id\":\"%s\"", id);
    put_text(out, "operation", text_of(event, "operation"));
    put_text(out, "source_schema", text_of(event, "source_schema"));
    put_text(out, "source_table", text_of(event, "source_table"));
    put_text(out, "position", position);
    put_text(out, "transaction_id", transaction_id);
    dp_buffer_append_format(out, ",\"sequence\":%lld,\"ordinal\":0",
                            (long long)json_integer_value(json_object_get(event, "sequence")));
    put_json(out, "data", json_object_get(event, "data"), "{}");
    put_json(out, "before", json_object_get(event, "before"), "null");
    put_json(out, "unchanged", json_object_get(event, "unchanged"), "[]");
    if (json_is_object(metadata)) put_json(out, "metadata", metadata, "null");
    dp_buffer_append_text(out, "}\n{\"type\":\"commit\",\"transaction_id\":");
    dp_json_put_string(out, transaction_id);
    put_text(out, "end_position", position);
    dp_buffer_append_text(out, ",\"committed_at\":null,\"count\":1}\n");
}

static dp_status compute_id(const dp_quarantine_mending *mending, char id[DP_SHA256_HEX_LENGTH + 1],
                            dp_error *error)
{
    dp_buffer canonical = DP_BUFFER_INIT(MAX_EVENT_BYTES);
    uint8_t digest[DP_SHA256_BYTES];
    dp_sha256 *hash = dp_sha256_new();
    dp_status status = put_canonical(&canonical, mending->event, mending->keys, error);
    if (status == DP_STATUS_OK &&
        (hash == NULL || canonical.failed || !dp_sha256_digest(hash, dp_buffer_slice(&canonical), digest)))
        status = dp_error_no_memory(error, "an event id");
    dp_sha256_free(hash);
    dp_buffer_release(&canonical);
    if (status == DP_STATUS_OK) dp_hex_encode(digest, sizeof digest, id);
    return status;
}

static dp_status take_given_id(const dp_quarantine_mending *mending, char id[DP_SHA256_HEX_LENGTH + 1],
                               dp_error *error)
{
    uint8_t digest[DP_SHA256_BYTES];
    if (mending->event_id == NULL) {
        dp_error_set_code(error, DP_STATUS_USAGE, "event_id_needed",
                          "the stream's identity is dpone-py, whose ids cannot be computed from an event");
        dp_error_hint(error, "give the id that the Python tool has for it with --event-id");
        return DP_STATUS_USAGE;
    }
    dp_slice text = dp_slice_of_text(mending->event_id);
    if (text.length != DP_SHA256_HEX_LENGTH || !dp_hex_decode(text, digest, NULL))
        return dp_error_set(error, DP_STATUS_USAGE, "--event-id: expected 64 hexadecimal digits");
    dp_hex_encode(digest, sizeof digest, id);
    return DP_STATUS_OK;
}

dp_status dp_quarantine_mend(const dp_quarantine_mending *mending, dp_buffer *lines, dp_error *error)
{
    char id[DP_SHA256_HEX_LENGTH + 1] = "";
    bool is_python = mending->identity == DP_IDENTITY_DPONE_PY;
    dp_status status = check_event(mending->event, error);
    if (status == DP_STATUS_OK && !is_python && mending->event_id != NULL)
        status = dp_error_set(error, DP_STATUS_USAGE,
                              "--event-id is for streams of identity dpone-py; this one's ids are computed");
    if (status == DP_STATUS_OK)
        status = is_python ? take_given_id(mending, id, error) : compute_id(mending, id, error);
    if (status != DP_STATUS_OK) return status;
    dp_buffer_clear(lines);
    put_lines(lines, mending->event, id);
    return lines->failed ? dp_error_no_memory(error, "an event") : DP_STATUS_OK;
}

/* --- delivery --- */

static dp_status take_answer(const dp_batch_answer *answer, const dp_batch_body *body, bool *is_duplicate,
                             dp_error *error)
{
    dp_receipt receipt;
    dp_batch_counts counts;
    if (answer->http_status != 200) return dp_batch_refusal(answer->http_status, answer->body, error);
    dp_status status = dp_receipt_parse(answer->body, "receipt", &receipt, error);
    if (status == DP_STATUS_OK) status = dp_batch_answer_check(answer->body, body, &counts, error);
    if (status != DP_STATUS_OK) return status;
    dp_gate_result gate = dp_receipt_evaluate(&receipt, DP_BACKEND_POSTGRES_LOGICAL);
    if (!gate.can_commit) {
        return dp_error_set_code(error, DP_STATUS_BLOCKED, "gate_refused",
                                 "the commit gate refused the receipt: it is not committed");
    }
    *is_duplicate = counts.accepted_count == 0;
    return DP_STATUS_OK;
}

static dp_status send(const dp_batch_body *body, const dp_batch_sink *sink, bool *is_duplicate,
                      dp_error *error)
{
    bool done = false;
    dp_batch_answer answer;
    dp_batch_delivery delivery = {.batch_id = body->batch_id, .body = dp_buffer_slice(&body->bytes)};
    dp_status status = sink->submit(sink->self, &delivery, error);
    while (status == DP_STATUS_OK && !done) {
        status = sink->wait(sink->self, WAIT_MS, &done, &answer, error);
    }
    return status == DP_STATUS_OK ? take_answer(&answer, body, is_duplicate, error) : status;
}

static dp_status end_of_lines(dp_slice lines, dp_lsn *end, dp_error *error)
{
    dp_slice event_line, rest;
    dp_wire_line parsed;
    dp_lsn found = {0};
    dp_arena *arena = dp_arena_new(65536, MAX_EVENT_BYTES);
    if (arena == NULL) return dp_error_no_memory(error, "an event");
    dp_slice_split(lines, '\n', &event_line, &rest);
    dp_status status = dp_wire_line_scan(event_line, 1, arena, &parsed, error);
    if (status == DP_STATUS_OK && !dp_lsn_parse(parsed.event.position, &found))
        status = dp_error_set(error, DP_STATUS_USAGE, "the event's position is no X/X");
    dp_arena_free(arena);
    if (status == DP_STATUS_OK) *end = found;
    return status;
}

dp_status dp_quarantine_deliver(const dp_quarantine_delivery *delivery, const dp_batch_sink *sink,
                                bool *is_duplicate, dp_error *error)
{
    char source[1200];
    dp_batch_offsets offsets = {.has_next_offset = true};
    dp_status status = end_of_lines(delivery->lines, &offsets.next_offset, error);
    if (status != DP_STATUS_OK) return status;
    snprintf(source, sizeof source, "%.*s" SOURCE_INFIX "%lld",
             (int)(delivery->source.length > 1000 ? 1000 : delivery->source.length),
             delivery->source.length == 0 ? "" : delivery->source.data, (long long)delivery->quarantine_id);
    dp_batch_source stream = {dp_slice_of_text(delivery->pipeline), DP_BACKEND_POSTGRES_LOGICAL,
                              dp_slice_of_text(source), delivery->identity};
    dp_batch_body body = {.bytes = DP_BUFFER_INIT(delivery->lines.length + HEADER_AND_TRAILER_BYTES)};
    dp_sha256 *hash = dp_sha256_new();
    status = hash == NULL ? dp_error_no_memory(error, "a batch")
                          : dp_batch_compose(hash, delivery->lines, 1, &stream, &offsets, &body, error);
    if (status == DP_STATUS_OK) status = send(&body, sink, is_duplicate, error);
    dp_sha256_free(hash);
    dp_buffer_release(&body.bytes);
    return status;
}

bool dp_quarantine_is_source(dp_slice source)
{
    size_t digits = 0;
    while (digits < source.length && source.data[source.length - digits - 1] >= '0' &&
           source.data[source.length - digits - 1] <= '9') {
        digits++;
    }
    static const dp_slice infix = {SOURCE_INFIX, sizeof SOURCE_INFIX - 1};
    if (digits == 0 || source.length < digits + infix.length) return false;
    return memcmp(source.data + source.length - digits - infix.length, infix.data, infix.length) == 0;
}
