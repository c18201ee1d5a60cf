#include "services/journal_link.h"

#include <stdlib.h>

#include "client/client.h"
#include "services/batch_answer.h"
#include "services/journal_api.h"
#include "services/quarantine.h"

enum {
    MAX_ANSWER_BYTES = 64 << 20,
    READ_TIMEOUT_MS = 60000,
    RECOVERY_MS = 1000, /* callers that wait for a server that is away have intervals of their own */
    PIECE_BYTES = 256 * 1024,
    STOP_CHECK_MS = 100,
    STOP_GRACE_MS = 1000 /* for a call that is told to stop: a server that is there answers sooner */
};

#define MAX_LINE_BYTES ((size_t)1 << 30)

struct dp_journal_link {
    dp_client *client;                 /* NULL: the state is here */
    dp_client_queue *queue;            /* for requests that can be stopped; made when it is first needed */
    dp_journal_api *api;               /* NULL: a server's */
    const volatile sig_atomic_t *stop; /* of calls; NULL: cannot be stopped */
    char authorization[4200];
};

/* --- opening --- */

static dp_status open_client(dp_journal_link *link, const dp_journal_link_options *options, dp_error *error)
{
    dp_client_config config = dp_client_config_defaults();
    dp_client_header headers[] = {{"Authorization", link->authorization}};
    config.base_url = options->server_url;
    config.tls.ca_file = options->ca_file;
    config.max_response_bytes = MAX_ANSWER_BYTES;
    config.timeouts.read_ms = READ_TIMEOUT_MS;
    config.breaker.recovery_ms = RECOVERY_MS;
    if (options->token != NULL) {
        snprintf(link->authorization, sizeof link->authorization, "Bearer %s", options->token);
        config.headers = headers;
        config.header_count = 1;
    }
    return dp_client_new(&config, &link->client, error);
}

dp_status dp_journal_link_open(const dp_journal_link_options *options, dp_journal_link **link,
                               dp_error *error)
{
    dp_journal_link *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "a journal");
    dp_journal_api_options api = {.state_dsn = options->state_dsn, .read_only = !options->writes};
    dp_status status = options->state_dsn != NULL ? dp_journal_api_open(&api, &self->api, error)
                                                  : open_client(self, options, error);
    if (status != DP_STATUS_OK) {
        dp_journal_link_close(self);
        return status;
    }
    *link = self;
    return DP_STATUS_OK;
}

void dp_journal_link_close(dp_journal_link *link)
{
    if (link == NULL) return;
    dp_client_queue_free(link->queue);
    dp_client_free(link->client);
    dp_journal_api_close(link->api);
    explicit_bzero(link->authorization, sizeof link->authorization);
    free(link);
}

void dp_journal_link_heed(dp_journal_link *link, const volatile sig_atomic_t *stop)
{
    link->stop = stop;
}

/* --- requests that can be stopped --- */

typedef struct stop_request {
    const volatile sig_atomic_t *flag;
    int64_t grace_ms; /* how long the request may go on */
} stop_request;

/* As dp_client_request_send, but looks now and then whether it is to stop. */
static dp_status send_stoppable(dp_journal_link *link, const dp_client_request *request, stop_request stop,
                                dp_client_call **call, dp_error *error)
{
    dp_client_call *running;
    int64_t waited_ms = 0; /* since it was told to stop */
    dp_status status = DP_STATUS_OK;
    *call = NULL;
    if (link->queue == NULL) status = dp_client_queue_new(link->client, &link->queue, error);
    if (status == DP_STATUS_OK) status = dp_client_submit(link->queue, request, &running, error);
    while (status == DP_STATUS_OK && (*call = dp_client_queue_next(link->queue)) == NULL) {
        if (*stop.flag != 0 && waited_ms >= stop.grace_ms) dp_client_call_cancel(running);
        if (*stop.flag != 0) waited_ms += STOP_CHECK_MS;
        status = dp_client_wait(link->queue, -1, STOP_CHECK_MS, NULL, error);
    }
    return status;
}

/* --- calls --- */

static const struct {
    const char *method;
    const char *path;
    const char *member;
} calls[] = {
#define CALL_ROUTE(name, method, path, member) {method, path, member},
    DP_JOURNAL_CALL_LIST(CALL_ROUTE)
#undef CALL_ROUTE
};

/* What a call is about; no member is needed but the pipeline. */
typedef struct call_target {
    dp_slice pipeline;
    dp_slice consumer;
    dp_slice source;
    dp_slice backend;
    dp_slice after;  /* the number of an entry of the quarantine */
    dp_slice before; /* or of the audit */
} call_target;

static dp_slice absent_if_empty(dp_slice text)
{
    return text.length == 0 ? dp_slice_make(NULL, 0) : text;
}

static void call_here(dp_journal_api *api, const call_target *target, dp_journal_call call, dp_slice body,
                      dp_api_reply *reply)
{
    dp_slice pipeline = target->pipeline;
    const dp_consumer_choice consumer = {pipeline, target->consumer, absent_if_empty(target->source),
                                         absent_if_empty(target->backend)};
    static const dp_offset_name any_table = {
        .backend = {"postgres_logical", 16}, .source_schema = {"*", 1}, .source_table = {"*", 1}};
    dp_offset_name name = any_table;
    name.pipeline = pipeline;
    switch (call) {
    case DP_JOURNAL_CALL_SHOW: dp_journal_api_show_pipeline(api, pipeline, reply); return;
    case DP_JOURNAL_CALL_GET_OFFSET: dp_journal_api_get_offset(api, &name, reply); return;
    case DP_JOURNAL_CALL_PUT_OFFSET: dp_journal_api_put_offset(api, &name, body, reply); return;
    case DP_JOURNAL_CALL_GET_CONSUMER: dp_journal_api_get_consumer(api, &consumer, reply); return;
    case DP_JOURNAL_CALL_PUT_CONSUMER: dp_journal_api_put_consumer(api, &consumer, body, reply); return;
    case DP_JOURNAL_CALL_LIST_QUARANTINE:
        dp_journal_api_list_quarantine(api, pipeline, absent_if_empty(target->after), reply);
        return;
    case DP_JOURNAL_CALL_RESOLVE_QUARANTINE:
        dp_journal_api_resolve_quarantine(api, pipeline, body, reply);
        return;
    case DP_JOURNAL_CALL_LIST_AUDIT:
        dp_journal_api_list_audit(api, pipeline, absent_if_empty(target->before), reply);
        return;
    case DP_JOURNAL_CALL_ADD_AUDIT: dp_journal_api_add_audit(api, pipeline, body, reply); return;
    }
}

/* RFC 3986 section 2.3: everything but unreserved characters is escaped. */
static void append_escaped(dp_buffer *out, dp_slice text)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        if (byte != '\0' && strchr(unreserved, byte) != NULL) {
            dp_buffer_append_byte(out, byte);
        } else {
            dp_buffer_append_format(out, "%%%02X", (unsigned char)byte);
        }
    }
}

/* What answers may be no dpone server at all: an answer without what this one always holds is no empty list.
 */
static dp_status parse_answer(dp_journal_call call, dp_slice body, json_t **answer, dp_error *error)
{
    json_error_t fault;
    const char *member = calls[call].member;
    json_t *root = json_loadb(body.length == 0 ? "" : body.data, body.length, JSON_ALLOW_NUL, &fault);
    if (root == NULL)
        return dp_error_set(error, DP_STATUS_DATA, "the answer to %s .../PIPELINE%s is not JSON: %s",
                            calls[call].method, calls[call].path, fault.text);
    if (member != NULL && json_object_get(root, member) == NULL) {
        json_decref(root);
        return dp_error_set(error, DP_STATUS_DATA,
                            "the answer to %s .../PIPELINE%s holds no \"%s\": is it a dpone server's?",
                            calls[call].method, calls[call].path, member);
    }
    *answer = root;
    return DP_STATUS_OK;
}

static dp_status refusal(const char *who, unsigned http_status, dp_slice body, dp_error *error)
{
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_batch_refusal_of(who, http_status, body, &cause);
    if (http_status == 404) cause.status = status = DP_STATUS_NOT_FOUND;
    if (error->status == DP_STATUS_OK) *error = cause;
    return status;
}

static dp_status call_outcome(dp_journal_call call, const dp_client_response *response, const dp_error *cause,
                              json_t **answer, dp_error *error)
{
    if (cause->status == DP_STATUS_OK) return parse_answer(call, response->body, answer, error);
    if (response->http_status >= 400)
        return refusal("the server", (unsigned)response->http_status, response->body, error);
    if (error->status == DP_STATUS_OK) *error = *cause;
    return cause->status;
}

static dp_status call_server(dp_journal_link *link, dp_journal_call what, const char *url, const char *json,
                             json_t **answer, dp_error *error)
{
    dp_status status;
    dp_client_request request = {.method = calls[what].method, .url = url};
    if (json != NULL) request.body = dp_slice_of_text(json);
    if (link->stop != NULL) {
        dp_client_call *call = NULL;
        status = send_stoppable(link, &request, (stop_request){link->stop, STOP_GRACE_MS}, &call, error);
        if (status != DP_STATUS_OK) return status;
        status = call_outcome(what, dp_client_call_response(call), dp_client_call_error(call), answer, error);
        dp_client_call_free(call);
    } else {
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error cause = DP_ERROR_INIT;
        dp_client_request_send(link->client, &request, &response, &cause);
        status = call_outcome(what, &response, &cause, answer, error);
        dp_client_response_release(&response);
    }
    return status;
}

static void put_parameter(dp_buffer *url, const char *name, dp_slice value)
{
    if (value.length == 0) return;
    dp_buffer_append_format(url, "%s=", name);
    append_escaped(url, value);
    dp_buffer_append_byte(url, '&');
}

static dp_status make_call(dp_journal_link *link, const call_target *target, dp_journal_call call,
                           const char *json, json_t **answer, dp_error *error)
{
    dp_status status;
    if (link->api != NULL) {
        dp_api_reply reply = DP_API_REPLY_INIT;
        call_here(link->api, target, call, dp_slice_of_text(json), &reply);
        status = reply.http_status == 200
                     ? parse_answer(call, dp_buffer_slice(&reply.body), answer, error)
                     : refusal("the journal", reply.http_status, dp_buffer_slice(&reply.body), error);
        dp_api_reply_release(&reply);
        return status;
    }
    dp_buffer url = DP_BUFFER_INIT(16384);
    dp_buffer_append_text(&url, "/v1/pipelines/");
    append_escaped(&url, target->pipeline);
    dp_buffer_append_text(&url, calls[call].path);
    append_escaped(&url, target->consumer);
    dp_buffer_append_byte(&url, '?');
    put_parameter(&url, "source", target->source);
    put_parameter(&url, "backend", target->backend);
    put_parameter(&url, "after", target->after);
    put_parameter(&url, "before", target->before);
    const char *text = dp_buffer_text(&url);
    status = text == NULL ? dp_error_set(error, DP_STATUS_USAGE, "the pipeline's name is too long")
                          : call_server(link, call, text, json, answer, error);
    dp_buffer_release(&url);
    return status;
}

dp_status dp_journal_link_call(dp_journal_link *link, dp_slice pipeline, dp_journal_call call,
                               const char *json, json_t **answer, dp_error *error)
{
    const call_target target = {.pipeline = pipeline};
    return make_call(link, &target, call, json, answer, error);
}

dp_status dp_journal_link_consumer(dp_journal_link *link, const dp_stream_choice *choice, dp_slice consumer,
                                   dp_journal_call call, const char *json, json_t **answer, dp_error *error)
{
    const call_target target = {.pipeline = choice->pipeline,
                                .consumer = consumer,
                                .source = choice->source,
                                .backend = choice->backend};
    return make_call(link, &target, call, json, answer, error);
}

dp_status dp_journal_link_page(dp_journal_link *link, dp_slice pipeline, dp_journal_call call, int64_t number,
                               json_t **answer, dp_error *error)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", (long long)number);
    call_target target = {.pipeline = pipeline};
    *(call == DP_JOURNAL_CALL_LIST_AUDIT ? &target.before : &target.after) =
        dp_slice_make(text, (size_t)length);
    return make_call(link, &target, call, NULL, answer, error);
}

bool dp_journal_link_can_wait(const dp_journal_link *link)
{
    return link->api == NULL;
}

/* --- facts --- */

static dp_slice text_of(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    return dp_slice_make(json_string_value(value), json_string_length(value));
}

static bool matches(dp_slice wanted, dp_slice found)
{
    return wanted.length == 0 || dp_slice_equal(wanted, found);
}

static dp_status choose_stream(const json_t *document, const dp_stream_choice *choice, const json_t **stream,
                               dp_error *error)
{
    size_t index;
    const json_t *each;
    const json_t *found = NULL;
    json_array_foreach(json_object_get(document, "streams"), index, each)
    {
        dp_slice source = text_of(each, "source");
        bool is_chosen = choice->source.length == 0 ? !dp_quarantine_is_source(source)
                                                    : dp_slice_equal(choice->source, source);
        if (!is_chosen || !matches(choice->backend, text_of(each, "backend"))) continue;
        if (found != NULL) {
            return dp_error_set(error, DP_STATUS_USAGE,
                                "pipeline '%.*s' has more than one stream; choose with --source-id and "
                                "--backend",
                                DP_SLICE_PRINT(choice->pipeline));
        }
        found = each;
    }
    if (found == NULL) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "stream_not_found",
                                 "the journal holds no such stream of pipeline '%.*s'",
                                 DP_SLICE_PRINT(choice->pipeline));
    }
    *stream = found;
    return DP_STATUS_OK;
}

static void read_lowest_offset(dp_stream_facts *facts)
{
    size_t index;
    const json_t *each;
    json_array_foreach(json_object_get(facts->document, "offsets"), index, each)
    {
        dp_offset offset;
        if (!dp_slice_equal(text_of(each, "backend"), dp_backend_text(facts->backend)) ||
            !dp_offset_of_token(facts->backend, text_of(each, "token"), &offset))
            continue;
        if (facts->has_stored && dp_offset_compare(&offset, &facts->stored) >= 0) continue;
        facts->has_stored = true;
        facts->stored = offset;
    }
}

static dp_status read_facts(const json_t *stream, dp_stream_facts *facts, dp_error *error)
{
    facts->source = text_of(stream, "source");
    if (!dp_backend_parse(text_of(stream, "backend"), &facts->backend) ||
        !dp_identity_parse(text_of(stream, "identity"), &facts->identity)) {
        return dp_error_set(error, DP_STATUS_DATA, "the journal's answer names no backend or identity");
    }
    facts->has_high = dp_offset_of_token(facts->backend, text_of(stream, "high_watermark"), &facts->high);
    facts->has_pruned = dp_offset_of_token(facts->backend, text_of(stream, "pruned"), &facts->pruned);
    facts->transaction_count = (uint64_t)json_integer_value(json_object_get(stream, "transaction_count"));
    facts->event_count = (uint64_t)json_integer_value(json_object_get(stream, "event_count"));
    read_lowest_offset(facts);
    const json_t *settings = json_object_get(stream, "settings");
    if (!json_is_object(settings)) return DP_STATUS_OK;
    facts->settings_text = json_dumps(settings, JSON_COMPACT);
    facts->settings = dp_slice_of_text(facts->settings_text);
    return facts->settings_text == NULL ? dp_error_no_memory(error, "settings") : DP_STATUS_OK;
}

dp_status dp_journal_link_facts(dp_journal_link *link, const dp_stream_choice *choice, dp_stream_facts *facts,
                                dp_error *error)
{
    dp_stream_facts result = {.pipeline = choice->pipeline};
    const json_t *stream = NULL;
    dp_status status =
        dp_journal_link_call(link, choice->pipeline, DP_JOURNAL_CALL_SHOW, NULL, &result.document, error);
    if (status != DP_STATUS_OK) return status;
    status = choose_stream(result.document, choice, &stream, error);
    if (status == DP_STATUS_OK) status = read_facts(stream, &result, error);
    if (status != DP_STATUS_OK) {
        dp_stream_facts_release(&result);
        return status;
    }
    *facts = result;
    return DP_STATUS_OK;
}

void dp_stream_facts_release(dp_stream_facts *facts)
{
    json_decref(facts->document);
    free(facts->settings_text);
    *facts = (dp_stream_facts){.document = NULL};
}

/* --- events --- */

/* Cuts pieces into lines. */
typedef struct line_cutter {
    const dp_line_visitor *visitor;
    dp_buffer rest; /* of a line that goes on in the next piece */
    bool is_inside; /* a transaction: the last line was no commit */
    dp_status status;
    dp_error *error;
} line_cutter;

static bool visit(line_cutter *cutter, dp_slice line)
{
    cutter->is_inside = !dp_slice_starts_with(line, DP_SLICE_LITERAL("{\"type\":\"commit\""));
    cutter->status = cutter->visitor->line(cutter->visitor->context, line, cutter->error);
    return cutter->status == DP_STATUS_OK;
}

static bool cut(void *context, dp_slice piece)
{
    line_cutter *cutter = context;
    dp_slice line, tail = piece;
    bool has_line = true;
    while (has_line && tail.length > 0) {
        has_line = dp_slice_split(tail, '\n', &line, &tail);
        if (!has_line || cutter->rest.length > 0) dp_buffer_append_slice(&cutter->rest, line);
        if (!has_line || cutter->rest.failed) break;
        if (!visit(cutter, cutter->rest.length > 0 ? dp_buffer_slice(&cutter->rest) : line)) return false;
        dp_buffer_clear(&cutter->rest);
    }
    if (cutter->rest.failed) cutter->status = dp_error_no_memory(cutter->error, "a line");
    return !cutter->rest.failed;
}

static dp_status end_of_lines(const line_cutter *cutter, dp_error *error)
{
    if (cutter->rest.length == 0 && !cutter->is_inside) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_REMOTE, "the journal's answer ends inside a transaction");
}

static dp_slice token_of(const dp_offset *offset)
{
    return offset == NULL ? dp_slice_make(NULL, 0) : dp_slice_of_text(offset->token);
}

static void put_events_url(const dp_stream_facts *stream, const dp_journal_window *window, dp_buffer *url)
{
    dp_buffer_append_text(url, "/v1/pipelines/");
    append_escaped(url, stream->pipeline);
    dp_buffer_append_text(url, "/events?");
    put_parameter(url, "source", stream->source);
    put_parameter(url, "backend", dp_backend_text(stream->backend));
    put_parameter(url, "consumer", window->consumer);
    put_parameter(url, "from", token_of(window->from));
    put_parameter(url, "to", token_of(window->to));
    if (window->limit > 0) dp_buffer_append_format(url, "limit=%llu&", (unsigned long long)window->limit);
    if (window->wait_s > 0) dp_buffer_append_format(url, "wait=%u", window->wait_s);
}

/* What an ended request means, the visitor's own refusal first. */
static dp_status events_outcome(const line_cutter *cutter, const dp_client_response *response,
                                const dp_error *cause, dp_error *error)
{
    if (cutter->status != DP_STATUS_OK) return cutter->status;
    if (cause->status == DP_STATUS_OK) return DP_STATUS_OK;
    if (response->http_status >= 400)
        return refusal("the server", (unsigned)response->http_status, response->body, error);
    if (error->status == DP_STATUS_OK) *error = *cause;
    return cause->status;
}

static dp_status read_and_wait(dp_journal_link *link, const dp_client_request *request,
                               const volatile sig_atomic_t *stop, line_cutter *cutter, dp_error *error)
{
    dp_client_call *call = NULL;
    dp_status status = send_stoppable(link, request, (stop_request){stop, 0}, &call, error);
    if (status != DP_STATUS_OK) return status;
    bool is_cancelled = dp_client_call_response(call)->kind == DP_CLIENT_CANCELLED;
    if (is_cancelled && cutter->status == DP_STATUS_OK) {
        status = DP_STATUS_CANCELLED;
    } else {
        status = events_outcome(cutter, dp_client_call_response(call), dp_client_call_error(call), error);
    }
    dp_client_call_free(call);
    return status;
}

static dp_status read_server(dp_journal_link *link, const dp_stream_facts *stream,
                             const dp_journal_window *window, line_cutter *cutter, dp_error *error)
{
    dp_buffer url = DP_BUFFER_INIT(16384);
    put_events_url(stream, window, &url);
    const char *text = dp_buffer_text(&url);
    if (text == NULL) {
        dp_buffer_release(&url);
        return dp_error_set(error, DP_STATUS_USAGE, "the pipeline's name is too long");
    }
    dp_client_body_sink sink = {.context = cutter, .write = cut};
    dp_client_request request = {.method = "GET", .url = text, .body_sink = &sink};
    dp_status status;
    if (window->stop != NULL) {
        status = read_and_wait(link, &request, window->stop, cutter, error);
    } else {
        dp_client_response response = DP_CLIENT_RESPONSE_INIT;
        dp_error cause = DP_ERROR_INIT;
        dp_client_request_send(link->client, &request, &response, &cause);
        status = events_outcome(cutter, &response, &cause, error);
        dp_client_response_release(&response);
    }
    dp_buffer_release(&url);
    return status;
}

static dp_status read_state(dp_journal_link *link, const dp_stream_facts *stream,
                            const dp_journal_window *window, line_cutter *cutter, dp_error *error)
{
    char limit[24];
    int length_of_limit = snprintf(limit, sizeof limit, "%llu", (unsigned long long)window->limit);
    dp_events_query query = {.consumer = absent_if_empty(window->consumer),
                             .from = token_of(window->from),
                             .to = token_of(window->to),
                             .source = stream->source,
                             .backend = dp_backend_text(stream->backend)};
    if (window->limit > 0) query.limit = dp_slice_make(limit, (size_t)length_of_limit);
    dp_api_reply reply = DP_API_REPLY_INIT;
    dp_events_reader *reader = NULL;
    dp_events_reader_open(link->api, stream->pipeline, &query, &reader, &reply);
    if (reader == NULL) {
        dp_status status = refusal("the journal", reply.http_status, dp_buffer_slice(&reply.body), error);
        dp_api_reply_release(&reply);
        return status;
    }
    dp_api_reply_release(&reply);
    char *piece = malloc(PIECE_BYTES);
    dp_status status = piece == NULL ? dp_error_no_memory(error, "events") : DP_STATUS_OK;
    size_t length = 1;
    while (status == DP_STATUS_OK && length > 0) {
        status = dp_events_reader_read(reader, piece, PIECE_BYTES, &length, error);
        if (status == DP_STATUS_OK && !cut(cutter, dp_slice_make(piece, length))) status = cutter->status;
    }
    free(piece);
    dp_events_reader_close(reader);
    return status;
}

dp_status dp_journal_link_events(dp_journal_link *link, const dp_stream_facts *stream,
                                 const dp_journal_window *window, const dp_line_visitor *visitor,
                                 dp_error *error)
{
    line_cutter cutter = {.visitor = visitor, .rest = DP_BUFFER_INIT(MAX_LINE_BYTES), .error = error};
    dp_status status = link->api != NULL ? read_state(link, stream, window, &cutter, error)
                                         : read_server(link, stream, window, &cutter, error);
    if (status == DP_STATUS_OK) status = end_of_lines(&cutter, error);
    dp_buffer_release(&cutter.rest);
    bool is_stopped = window->stop != NULL && *window->stop != 0;
    return !is_stopped && status == DP_STATUS_CANCELLED && error->status == DP_STATUS_OK ? DP_STATUS_OK
                                                                                         : status;
}
