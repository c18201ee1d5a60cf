#include "cli/live_source.h"

#include "base/json_writer.h"
#include "cli/stream_options.h"
#include "services/http_sink.h"

enum { MAX_KEY_BYTES = 4 << 20 };

bool dp_live_source_is(const char *source)
{
    dp_slice text = dp_slice_of_text(source);
    return dp_slice_starts_with(text, DP_SLICE_LITERAL("postgresql://")) ||
           dp_slice_starts_with(text, DP_SLICE_LITERAL("postgres://"));
}

dp_status dp_live_source_open(const dp_invocation *invocation, const dp_timeline_listener *listener,
                              dp_postgres_source_identity *identity, dp_change_source *source,
                              dp_error *error)
{
    dp_capture_options capture = dp_stream_capture(invocation);
    dp_postgres_source_options options = {
        .dsn = dp_invocation_text(invocation, "source"),
        .slot = dp_invocation_text(invocation, "slot"),
        .publication = dp_invocation_text(invocation, "publication"),
        .has_plugin = capture.has_plugin,
        .plugin = capture.plugin,
        .until_end = dp_invocation_switch(invocation, "until-end"),
        .timeline = *listener,
    };
    if (options.slot == NULL) {
        dp_error_set(error, DP_STATUS_USAGE, "a live source needs --slot");
        dp_error_hint(error, "'dpone cdc setup' creates publication and slot");
        return DP_STATUS_USAGE;
    }
    if (options.has_plugin && options.plugin == DP_PLUGIN_WAL2JSON_1) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--plugin wal2json-1 carries no positions in a live stream; expected wal2json-2");
    }
    bool is_sql = strcmp(dp_invocation_text(invocation, "transport"), "sql") == 0;
    return is_sql ? dp_postgres_sql_open(&options, identity, source, error)
                  : dp_postgres_replication_open(&options, identity, source, error);
}

dp_status dp_live_source_require(const dp_invocation *invocation, dp_error *error)
{
    const char *source = dp_invocation_text(invocation, "source");
    if (source != NULL && dp_live_source_is(source)) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "--source: expected postgresql://USER@HOST:PORT/DATABASE");
}

dp_status dp_live_look(void *context, dp_slot_look *look, dp_error *error)
{
    const dp_invocation *invocation = context;
    dp_postgres_session *session;
    dp_postgres_server server;
    dp_postgres_slot slot;
    double oldest_seconds = 0;
    dp_status status = dp_postgres_connect(dp_invocation_text(invocation, "source"), false, &session, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_server(session, &server, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_read_slot(session, dp_invocation_text(invocation, "slot"), &slot, error);
    if (status == DP_STATUS_OK) status = dp_postgres_read_oldest_transaction(session, &oldest_seconds, error);
    dp_postgres_disconnect(session);
    if (status != DP_STATUS_OK) return status;
    *look = (dp_slot_look){
        .exists = slot.exists,
        .is_invalidated = slot.is_invalidated,
        .is_active = slot.is_active,
        .active_pid = slot.active_pid,
        .confirmed = slot.confirmed,
        .server_end = server.flushed,
        .lag_bytes = slot.lag_bytes,
        .retained_bytes = slot.retained_bytes,
        .oldest_transaction_seconds = oldest_seconds,
    };
    return DP_STATUS_OK;
}

static dp_status read_keys(const dp_invocation *invocation, dp_buffer *lines, dp_error *error)
{
    dp_postgres_session *session;
    dp_status status = dp_postgres_connect(dp_invocation_text(invocation, "source"), false, &session, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_keys(session, dp_invocation_text(invocation, "publication"), lines, error);
    dp_postgres_disconnect(session);
    return status;
}

/* Reopens the settings' object and adds the list of keys. */
static void begin_keys(dp_buffer *settings)
{
    if (settings->length > 0) settings->length--;
    dp_buffer_append_text(settings, ",\"unique_keys\":[");
}

static void put_key(dp_buffer *settings, dp_slice key)
{
    if (settings->data[settings->length - 1] != '[') dp_buffer_append_byte(settings, ',');
    dp_json_put_string(settings, key);
}

static bool is_given(const dp_invocation *invocation, dp_slice key)
{
    const char *given;
    for (size_t i = 0; (given = dp_invocation_nth(invocation, "unique-key", i)) != NULL; i++) {
        if (dp_slice_equal_text(key, given)) return true;
    }
    return false;
}

/* Adds one specification a line, but for tables that have a key already; *lost is set when theirs is another
 * one. */
static dp_status add_keys(const dp_invocation *invocation, dp_live_keys *work, dp_slice lines, bool *lost,
                          dp_error *error)
{
    while (lines.length > 0) {
        dp_slice line;
        dp_error is_known = DP_ERROR_INIT; /* these always parse: what is refused has a key already */
        dp_slice_split(lines, '\n', &line, &lines);
        if (line.length == 0) continue;
        dp_status added = dp_unique_keys_add(work->keys, line, &is_known);
        if (added == DP_STATUS_NO_MEMORY) return dp_error_no_memory(error, "the unique keys");
        if (added == DP_STATUS_OK) {
            put_key(work->settings, line);
        } else if (!is_given(invocation, line)) {
            *lost = true;
        }
    }
    return DP_STATUS_OK;
}

dp_status dp_live_source_keys(const dp_invocation *invocation, dp_live_keys *work, dp_error *error)
{
    dp_buffer asked = DP_BUFFER_INIT(MAX_KEY_BYTES);
    bool is_auto = dp_stream_asks_for_keys(invocation);
    bool lost = !is_auto;
    bool ignored = false;
    dp_status status = is_auto ? read_keys(invocation, &asked, error) : DP_STATUS_OK;
    const char *given;
    begin_keys(work->settings);
    for (size_t i = 0; (given = dp_invocation_nth(invocation, "unique-key", i)) != NULL; i++) {
        if (strcmp(given, DP_UNIQUE_KEY_AUTO) != 0) put_key(work->settings, dp_slice_of_text(given));
    }
    if (status == DP_STATUS_OK && is_auto) status = add_keys(invocation, work, work->stored, &lost, error);
    if (status == DP_STATUS_OK) status = add_keys(invocation, work, dp_buffer_slice(&asked), &ignored, error);
    dp_buffer_append_text(work->settings, "]}");
    dp_buffer_release(&asked);
    work->has_only_more = !lost;
    if (status == DP_STATUS_OK && work->settings->failed)
        status = dp_error_set(error, DP_STATUS_LIMIT, "the source has too many tables with keys");
    return status;
}

static dp_status load_stored(const dp_batch_sink *sink, dp_slice source, dp_live_stored *stored,
                             dp_error *error)
{
    dp_offset offset;
    bool found = false;
    dp_status status = sink->load_offset(sink->self, DP_BACKEND_POSTGRES_LOGICAL, &offset, &found, error);
    if (status != DP_STATUS_OK) return status;
    stored->has_offset = found && dp_offset_lsn(&offset, &stored->offset);
    bool is_asked = source.length > 0 && sink->load_progress != NULL;
    return is_asked ? sink->load_progress(sink->self, source, &stored->progress, error) : DP_STATUS_OK;
}

dp_status dp_live_stored_load(const dp_invocation *invocation, dp_slice source, dp_live_stored *stored,
                              dp_error *error)
{
    dp_buffer token = DP_BUFFER_INIT(8192);
    dp_status status = dp_token_of_option(invocation, "token-file", &token, error);
    dp_client_config config = dp_client_config_defaults();
    config.retry.max_attempts = 1;
    dp_http_sink_options http = {
        .server_url = dp_invocation_text(invocation, "server"),
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .token = token.length > 0 ? token.data : NULL,
        .ca_file = dp_invocation_text(invocation, "ca-file"),
        .client = &config,
    };
    dp_batch_sink sink = {.self = NULL};
    *stored = (dp_live_stored){.has_offset = false};
    if (status == DP_STATUS_OK) status = dp_http_sink_open(&http, &sink, error);
    if (status == DP_STATUS_OK) status = load_stored(&sink, source, stored, error);
    if (sink.close != NULL) sink.close(sink.self);
    dp_buffer_release(&token);
    return status;
}
