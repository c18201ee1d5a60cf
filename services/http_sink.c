#include "services/http_sink.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/json_writer.h"
#include "services/batch_answer.h"

enum {
    MAX_URL_BYTES = 4096,
    RECEIPT_MAX_BYTES = 16 << 20,
    INGEST_READ_TIMEOUT_MS = 60000,
    /* The pipeline waits for ever, so its client may look often whether the server is back. */
    RECOVERY_MS = 5000,
    MEANWHILE_MS = 200
};

typedef struct sink_lane {
    unsigned number;
    dp_client_call *call;     /* in flight */
    dp_client_call *answered; /* kept until the lane is used again, for its body */
} sink_lane;

typedef struct http_sink {
    dp_client *client;
    dp_client_queue *queue;
    dp_client_queue *small_queue; /* requests that are waited for one at a time */
    void (*meanwhile)(void *context);
    void *meanwhile_context;
    char batches_url[MAX_URL_BYTES];
    char offsets_url[MAX_URL_BYTES]; /* ends before the backend */
    char quarantine_url[MAX_URL_BYTES];
    char pipeline_url[MAX_URL_BYTES];
    char source_url[MAX_URL_BYTES];
    char authorization[4200];
    sink_lane lanes[DP_BATCH_LANES];
    size_t max_batch_bytes; /* 0: not known */
    size_t max_event_bytes;
} http_sink;

/* RFC 3986 section 2.3: everything but unreserved characters is escaped. */
static void append_escaped(dp_buffer *out, const char *text)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *at = text; *at != '\0'; at++) {
        if (strchr(unreserved, *at) != NULL) {
            dp_buffer_append_byte(out, *at);
        } else {
            dp_buffer_append_format(out, "%%%02X", (unsigned char)*at);
        }
    }
}

static bool build_url(char out[MAX_URL_BYTES], const char *pipeline, const char *rest)
{
    dp_buffer url = DP_BUFFER_INIT(MAX_URL_BYTES);
    dp_buffer_append_text(&url, "/v1/pipelines/");
    append_escaped(&url, pipeline);
    dp_buffer_append_text(&url, rest);
    const char *text = dp_buffer_text(&url);
    if (text != NULL) memcpy(out, text, url.length + 1);
    dp_buffer_release(&url);
    return text != NULL;
}

typedef struct small_answer {
    dp_client_call *call; /* owns the body */
    int http_status;      /* 0: none came */
    dp_slice body;
} small_answer;

static void release_small(small_answer *answer)
{
    dp_client_call_free(answer->call);
    answer->call = NULL;
}

/* Waits for a request on the queue of small ones; the pipeline looks after its source meanwhile. */
static dp_status await_small(http_sink *sink, const dp_client_request *request, small_answer *answer,
                             dp_error *error)
{
    dp_status status = dp_client_submit(sink->small_queue, request, NULL, error);
    while (status == DP_STATUS_OK && answer->call == NULL) {
        status = dp_client_wait(sink->small_queue, -1, MEANWHILE_MS, NULL, error);
        answer->call = dp_client_queue_next(sink->small_queue);
        if (answer->call == NULL && sink->meanwhile != NULL) sink->meanwhile(sink->meanwhile_context);
    }
    if (status != DP_STATUS_OK) return status;
    const dp_client_response *response = dp_client_call_response(answer->call);
    answer->http_status = response->http_status;
    answer->body = response->body;
    const dp_error *cause = dp_client_call_error(answer->call);
    if (error->status == DP_STATUS_OK) *error = *cause;
    return cause->status;
}

/* Sends a small request and turns everything but a 2xx reply into an error; *answer is the caller's to
 * release. */
static dp_status send_small(http_sink *sink, const char *method, const char *url, const char *json,
                            small_answer *answer, dp_error *error)
{
    dp_client_request request = {.method = method, .url = url};
    if (json != NULL) request.body = dp_slice_of_text(json);
    dp_error cause = DP_ERROR_INIT;
    dp_status status = await_small(sink, &request, answer, &cause);
    if (status == DP_STATUS_OK || (answer->http_status == 404 && json == NULL)) return DP_STATUS_OK;
    if (answer->http_status >= 400)
        return dp_batch_refusal((unsigned)answer->http_status, answer->body, error);
    if (error->status == DP_STATUS_OK) *error = cause;
    return status;
}

static dp_status parse_offset(dp_slice body, dp_backend backend, dp_offset *offset, dp_error *error)
{
    json_error_t fault;
    json_t *root = json_loadb(body.data, body.length, 0, &fault);
    const char *token = json_string_value(json_object_get(root, "token"));
    dp_offset result;
    bool is_offset = token != NULL && dp_offset_of_token(backend, dp_slice_of_text(token), &result);
    if (is_offset) {
        result.snapshot_complete = !json_is_false(json_object_get(root, "snapshot_complete"));
        *offset = result;
    }
    json_decref(root);
    return is_offset ? DP_STATUS_OK
                     : dp_error_set(error, DP_STATUS_DATA, "the server's answer holds no offset of %s",
                                    dp_backend_text(backend).data);
}

static size_t read_limit(const small_answer *answer, const char *name)
{
    uint64_t limit = 0;
    if (answer->call == NULL) return 0;
    dp_slice value = dp_client_response_header(dp_client_call_response(answer->call), name);
    return dp_slice_to_u64(value, SIZE_MAX, &limit) ? (size_t)limit : 0;
}

static void limits(void *self, size_t *max_batch_bytes, size_t *max_event_bytes)
{
    const http_sink *sink = self;
    *max_batch_bytes = sink->max_batch_bytes;
    *max_event_bytes = sink->max_event_bytes;
}

static bool offset_url(const http_sink *sink, dp_backend backend, char out[MAX_URL_BYTES])
{
    int length =
        snprintf(out, MAX_URL_BYTES, "%s/%s/%%2A/%%2A", sink->offsets_url, dp_backend_text(backend).data);
    return length > 0 && length < MAX_URL_BYTES;
}

static dp_status load_offset(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error)
{
    http_sink *sink = self;
    char url[MAX_URL_BYTES];
    if (!offset_url(sink, backend, url))
        return dp_error_set(error, DP_STATUS_USAGE, "the pipeline's name is too long");
    small_answer response = {.call = NULL};
    dp_status status = send_small(sink, "GET", url, NULL, &response, error);
    *found = status == DP_STATUS_OK && response.http_status != 404;
    sink->max_batch_bytes = read_limit(&response, "Dpone-Max-Batch-Bytes");
    sink->max_event_bytes = read_limit(&response, "Dpone-Max-Event-Bytes");
    if (*found) status = parse_offset(response.body, backend, offset, error);
    release_small(&response);
    if (status != DP_STATUS_OK) dp_error_while(error, "loading the stored offset");
    return status;
}

static dp_status save_offset(void *self, const dp_offset *offset, dp_error *error)
{
    http_sink *sink = self;
    char url[MAX_URL_BYTES];
    char json[128];
    if (!offset_url(sink, offset->backend, url))
        return dp_error_set(error, DP_STATUS_USAGE, "the pipeline's name is too long");
    snprintf(json, sizeof json, "{\"token\":\"%s\",\"snapshot_complete\":%s}", offset->token,
             offset->snapshot_complete ? "true" : "false");
    small_answer response = {.call = NULL};
    dp_status status = send_small(sink, "PUT", url, json, &response, error);
    release_small(&response);
    if (status != DP_STATUS_OK) dp_error_while(error, "saving the offset %s", offset->token);
    return status;
}

static void forget_answered(sink_lane *lane)
{
    dp_client_call_free(lane->answered);
    lane->answered = NULL;
}

/* A batch that waits for another one is attempted once: what becomes of it is the other one's matter first.
 */
static dp_status submit(void *self, const dp_batch_delivery *delivery, dp_error *error)
{
    http_sink *sink = self;
    sink_lane *lane = &sink->lanes[delivery->lane];
    forget_answered(lane);
    dp_client_header headers[] = {{"Idempotency-Key", delivery->batch_id}, {"Dpone-After", delivery->after}};
    dp_client_request request = {
        .method = "POST",
        .url = sink->batches_url,
        .headers = headers,
        .header_count = delivery->after == NULL ? 1 : 2,
        .body = delivery->body,
        .content_type = "application/x-ndjson",
        .max_attempts = delivery->after == NULL ? 0 : 1,
        .context = lane,
    };
    return dp_client_submit(sink->queue, &request, &lane->call, error);
}

static void drop(void *self, unsigned number)
{
    http_sink *sink = self;
    sink_lane *lane = &sink->lanes[number];
    forget_answered(lane);
    if (lane->call != NULL) dp_client_call_cancel(lane->call);
    lane->call = NULL; /* the queue hands it back as cancelled */
}

/* The next call that has ended and was not dropped, or NULL. */
static sink_lane *next_answered(http_sink *sink)
{
    dp_client_call *call;
    while ((call = dp_client_queue_next(sink->queue)) != NULL) {
        sink_lane *lane = dp_client_call_context(call);
        if (lane->call == call) {
            lane->call = NULL;
            lane->answered = call;
            return lane;
        }
        dp_client_call_free(call);
    }
    return NULL;
}

static dp_status wait_for_answer(void *self, int timeout_ms, bool *done, dp_batch_answer *answer,
                                 dp_error *error)
{
    http_sink *sink = self;
    *done = false;
    dp_status status = dp_client_wait(sink->queue, -1, timeout_ms, NULL, error);
    if (status != DP_STATUS_OK) return status;
    const sink_lane *lane = next_answered(sink);
    if (lane == NULL) return DP_STATUS_OK;
    const dp_client_response *response = dp_client_call_response(lane->answered);
    *done = true;
    *answer = (dp_batch_answer){.lane = lane->number};
    if (response->http_status == 0) {
        if (error->status == DP_STATUS_OK) *error = *dp_client_call_error(lane->answered);
        return error->status;
    }
    answer->http_status = (unsigned)response->http_status;
    answer->body = response->body;
    answer->is_replayed =
        dp_slice_equal_text(dp_client_response_header(response, "Idempotency-Replayed"), "true");
    answer->keeps_order =
        dp_slice_equal_text(dp_client_response_header(response, "Dpone-Keeps-Order"), "true");
    if (response->retry_after_us > 0) answer->retry_after_s = (unsigned)(response->retry_after_us / 1000000);
    return DP_STATUS_OK;
}

/* An endpoint that does not count what it had already is believed to have had nothing. */
static bool was_added(dp_slice body)
{
    json_t *root = json_loadb(body.data, body.length, 0, NULL);
    bool is_known = json_integer_value(json_object_get(root, "duplicates")) > 0;
    json_decref(root);
    return !is_known;
}

static dp_status quarantine(void *self, const dp_batch_source *stream, const dp_poison_record *record,
                            bool *is_new, dp_error *error)
{
    http_sink *sink = self;
    dp_buffer line = DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_poison_put_request(&line, stream->source, stream->backend, record);
    const char *json = dp_buffer_text(&line);
    small_answer response = {.call = NULL};
    dp_status status = json == NULL ? dp_error_no_memory(error, "a poison record")
                                    : send_small(sink, "POST", sink->quarantine_url, json, &response, error);
    if (status == DP_STATUS_OK) *is_new = was_added(response.body);
    release_small(&response);
    dp_buffer_release(&line);
    if (status != DP_STATUS_OK) dp_error_while(error, "putting a change into quarantine");
    return status;
}

/* --- what the stream reads from --- */

/* An offset belongs to the pipeline, not to one source: a pipeline that has read another source would go on
 * in this one from a position that means nothing here. */
static dp_status refuse_other_source(const json_t *page, const dp_batch_source *stream, dp_error *error)
{
    const json_t *streams = json_object_get(page, "streams");
    const char *other = NULL;
    size_t i;
    json_t *entry;
    json_array_foreach(streams, i, entry)
    {
        const char *source = json_string_value(json_object_get(entry, "source"));
        if (source == NULL) continue;
        if (dp_slice_equal_text(stream->source, source)) return DP_STATUS_OK;
        other = source;
    }
    if (other == NULL) return DP_STATUS_OK;
    dp_error_set_code(
        error, DP_STATUS_BLOCKED, "source.system_identifier_changed",
        "source.system_identifier_changed: the pipeline has read from source '%.200s', and this is '%.*s'",
        other, DP_SLICE_PRINT(stream->source));
    dp_error_hint(error, "connect to the right server, or start a new pipeline with another --pipeline");
    return DP_STATUS_BLOCKED;
}

/* What the server knows of the pipeline; *page is NULL when that is nothing. */
static dp_status load_page(http_sink *sink, json_t **page, dp_error *error)
{
    small_answer response = {.call = NULL};
    dp_status status = send_small(sink, "GET", sink->pipeline_url, NULL, &response, error);
    *page = status == DP_STATUS_OK && response.http_status == 200
                ? json_loadb(response.body.data, response.body.length, 0, NULL)
                : NULL;
    release_small(&response);
    return status;
}

static dp_status check_other_sources(http_sink *sink, const dp_batch_source *stream, dp_error *error)
{
    json_t *page = NULL;
    dp_status status = load_page(sink, &page, error);
    if (page != NULL) status = refuse_other_source(page, stream, error);
    json_decref(page);
    return status;
}

static dp_status load_keys(void *self, dp_slice source, dp_buffer *lines, dp_error *error)
{
    json_t *page = NULL;
    dp_status status = load_page(self, &page, error);
    size_t i, k;
    json_t *entry, *key;
    json_array_foreach(json_object_get(page, "streams"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "source"));
        const json_t *settings = json_object_get(entry, "settings");
        if (name == NULL || !dp_slice_equal_text(source, name)) continue;
        json_array_foreach(json_object_get(settings, "unique_keys"), k, key)
        {
            if (!json_is_string(key)) continue;
            dp_buffer_append_text(lines, json_string_value(key));
            dp_buffer_append_byte(lines, '\n');
        }
    }
    json_decref(page);
    if (status == DP_STATUS_OK && lines->failed) status = dp_error_no_memory(error, "the stored unique keys");
    if (status != DP_STATUS_OK) dp_error_while(error, "asking the server what the stream was written with");
    return status;
}

static void copy_text(char *out, size_t out_bytes, const json_t *text)
{
    const char *value = json_string_value(text);
    snprintf(out, out_bytes, "%s", value == NULL ? "" : value);
}

static dp_status load_progress(void *self, dp_slice source, dp_stream_progress *progress, dp_error *error)
{
    json_t *page = NULL;
    dp_status status = load_page(self, &page, error);
    const json_t *streams = json_object_get(page, "streams");
    const json_t *chosen = json_array_size(streams) == 1 ? json_array_get(streams, 0) : NULL;
    size_t i;
    json_t *entry;
    json_array_foreach(streams, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "source"));
        if (name != NULL && dp_slice_equal_text(source, name)) chosen = entry;
    }
    *progress = (dp_stream_progress){.has_receipt = false};
    const json_t *receipt = json_object_get(chosen, "last_receipt");
    const json_t *received_at = json_object_get(chosen, "last_receipt_at");
    progress->event_count = (uint64_t)json_integer_value(json_object_get(chosen, "event_count"));
    progress->has_receipt = json_is_object(receipt) && json_is_string(received_at);
    const char *high = json_string_value(json_object_get(chosen, "high_watermark"));
    const json_t *settings = json_object_get(chosen, "settings");
    progress->has_high_watermark =
        high != NULL && dp_lsn_parse(dp_slice_of_text(high), &progress->high_watermark);
    const char *begin = json_string_value(json_object_get(settings, "timeline_begin"));
    progress->timeline.number = (uint32_t)json_integer_value(json_object_get(settings, "timeline"));
    progress->timeline.has_begin =
        begin != NULL && dp_lsn_parse(dp_slice_of_text(begin), &progress->timeline.begin);
    copy_text(progress->batch_id, sizeof progress->batch_id, json_object_get(receipt, "batch_id"));
    copy_text(progress->received_at, sizeof progress->received_at, received_at);
    json_decref(page);
    if (status != DP_STATUS_OK) dp_error_while(error, "asking the server for the last receipt");
    return status;
}

/* Whether every blocker is one that the announcement accepts. */
static bool is_acceptable(const json_t *blockers, const dp_announcement *announcement)
{
    size_t i;
    json_t *blocker;
    json_array_foreach(blockers, i, blocker)
    {
        const char *code = json_string_value(blocker);
        bool is_keys = code != NULL && strcmp(code, "source.unique_keys_changed") == 0;
        bool is_timeline = code != NULL && strcmp(code, "source.timeline_changed") == 0;
        if (!(is_keys && announcement->accepts_more_keys) && !(is_timeline && announcement->accepts_timeline))
            return false;
    }
    return json_array_size(blockers) > 0;
}

/* The refusal names every blocker; the first one is the error's code. */
static dp_status refuse_changed_source(dp_slice body, const dp_announcement *announcement, bool *acceptable,
                                       dp_error *error)
{
    json_t *root = json_loadb(body.data, body.length, 0, NULL);
    const json_t *list = json_object_get(root, "blockers");
    const char *first = json_string_value(json_array_get(list, 0));
    *acceptable = is_acceptable(list, announcement);
    char *all = list == NULL ? NULL : json_dumps(list, JSON_COMPACT);
    dp_error_set_code(error, DP_STATUS_BLOCKED, first == NULL ? "source_changed" : first,
                      "%.60s: the stream was written from another source or with other settings: %.400s",
                      first == NULL ? "source_changed" : first, all == NULL ? "" : all);
    dp_error_hint(error,
                  "change it back, start a new pipeline, or, when what was delivered was compared with "
                  "the source, accept it once with --accept-source-change");
    free(all);
    json_decref(root);
    return DP_STATUS_BLOCKED;
}

static dp_status put_settings(http_sink *sink, const dp_announcement *announcement, bool accept,
                              bool *acceptable, dp_error *error)
{
    dp_buffer json = DP_BUFFER_INIT(64u << 20);
    dp_json_writer writer = dp_json_writer_compact(&json);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "source");
    dp_json_string(&writer, announcement->stream->source);
    dp_json_key(&writer, "backend");
    dp_json_string(&writer, dp_backend_text(announcement->stream->backend));
    dp_json_key(&writer, "identity");
    dp_json_string(&writer, dp_identity_text(announcement->stream->identity));
    dp_json_key(&writer, "settings");
    dp_json_raw(&writer, announcement->settings);
    dp_json_key(&writer, "accept");
    dp_json_bool(&writer, accept);
    dp_json_end_object(&writer);
    dp_client_request request = {.method = "PUT", .url = sink->source_url, .body = dp_buffer_slice(&json)};
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = json.failed ? dp_error_no_memory(&cause, "the source's settings")
                                   : dp_client_request_send(sink->client, &request, &response, &cause);
    if (response.http_status == 409) {
        status = refuse_changed_source(response.body, announcement, acceptable, error);
    } else if (response.http_status == 404 || response.http_status == 405 || response.http_status == 501) {
        status = DP_STATUS_OK; /* another endpoint that answers with receipts keeps no settings */
    } else if (response.http_status >= 400) {
        status = dp_batch_refusal((unsigned)response.http_status, response.body, error);
    } else if (status != DP_STATUS_OK && error->status == DP_STATUS_OK) {
        *error = cause;
    }
    dp_client_response_release(&response);
    dp_buffer_release(&json);
    return status;
}

static dp_status announce(void *self, const dp_announcement *announcement, dp_error *error)
{
    bool acceptable = false;
    bool accept = announcement->accepts_change;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = accept ? DP_STATUS_OK : check_other_sources(self, announcement->stream, &cause);
    if (status == DP_STATUS_OK) status = put_settings(self, announcement, accept, &acceptable, &cause);
    if (acceptable) {
        dp_error_clear(&cause);
        status = put_settings(self, announcement, true, &acceptable, &cause);
    }
    if (status == DP_STATUS_OK) return status;
    if (error->status == DP_STATUS_OK) *error = cause;
    dp_error_while(error, "telling the server what the stream reads from");
    return status;
}

static void set_meanwhile(void *self, void (*meanwhile)(void *context), void *context)
{
    http_sink *sink = self;
    sink->meanwhile = meanwhile;
    sink->meanwhile_context = context;
}

static void close_sink(void *self)
{
    http_sink *sink = self;
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        forget_answered(&sink->lanes[i]);
    }
    dp_client_queue_free(sink->queue);
    dp_client_queue_free(sink->small_queue);
    dp_client_free(sink->client);
    explicit_bzero(sink->authorization, sizeof sink->authorization);
    free(sink);
}

static dp_status open_client(http_sink *sink, const dp_http_sink_options *options, dp_error *error)
{
    dp_client_config config = options->client == NULL ? dp_client_config_defaults() : *options->client;
    dp_client_header headers[] = {{"Authorization", sink->authorization}};
    config.base_url = options->server_url;
    config.tls.ca_file = options->ca_file;
    config.max_response_bytes = RECEIPT_MAX_BYTES;
    config.timeouts.read_ms = INGEST_READ_TIMEOUT_MS;
    config.retry.max_wait_ms = RECOVERY_MS;
    config.breaker.recovery_ms = RECOVERY_MS;
    if (options->token != NULL) {
        config.headers = headers;
        config.header_count = 1;
    }
    dp_status status = dp_client_new(&config, &sink->client, error);
    if (status == DP_STATUS_OK) status = dp_client_queue_new(sink->client, &sink->queue, error);
    return status == DP_STATUS_OK ? dp_client_queue_new(sink->client, &sink->small_queue, error) : status;
}

dp_status dp_http_sink_open(const dp_http_sink_options *options, dp_batch_sink *sink, dp_error *error)
{
    http_sink *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "a sink");
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        self->lanes[i].number = i;
    }
    dp_status status = DP_STATUS_OK;
    /* RFC 3986 section 5.2.4: every client takes these out of a path, escaped or not. */
    if (strcmp(options->pipeline, ".") == 0 || strcmp(options->pipeline, "..") == 0)
        status = dp_error_set(error, DP_STATUS_USAGE, "--pipeline: '%s' cannot be part of a URL",
                              options->pipeline);
    if (options->token != NULL)
        snprintf(self->authorization, sizeof self->authorization, "Bearer %s", options->token);
    if (status == DP_STATUS_OK && (!build_url(self->batches_url, options->pipeline, "/batches") ||
                                   !build_url(self->offsets_url, options->pipeline, "/offsets") ||
                                   !build_url(self->quarantine_url, options->pipeline, "/quarantine") ||
                                   !build_url(self->pipeline_url, options->pipeline, "") ||
                                   !build_url(self->source_url, options->pipeline, "/source"))) {
        status = dp_error_set(error, DP_STATUS_USAGE, "--pipeline: the name is too long");
    }
    if (status == DP_STATUS_OK) status = open_client(self, options, error);
    if (status != DP_STATUS_OK) {
        close_sink(self);
        return status;
    }
    *sink = (dp_batch_sink){
        .self = self,
        .load_offset = load_offset,
        .limits = limits,
        .save_offset = save_offset,
        .submit = submit,
        .wait = wait_for_answer,
        .drop = drop,
        .quarantine = quarantine,
        .load_keys = load_keys,
        .load_progress = load_progress,
        .announce = announce,
        .set_meanwhile = set_meanwhile,
        .close = close_sink,
    };
    return DP_STATUS_OK;
}
