#include "cdc/source_postgres_common.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json_writer.h"

enum {
    FIRST_BACKOFF_MS = 200,
    LAST_BACKOFF_MS = 5000,
    MAX_SETTINGS_BYTES = 4 << 20,
    AHEAD_ATTEMPTS = 2 /* the consumer before us may have saved its last offset while we looked */
};

dp_record_kind dp_record_kind_of(dp_plugin plugin, dp_slice data)
{
    static const struct {
        const char *begins;
        const char *commits;
    } words[] = {
        [DP_PLUGIN_PGOUTPUT] = {"B", "C"},
        [DP_PLUGIN_TEST_DECODING] = {"BEGIN", "COMMIT"},
        [DP_PLUGIN_WAL2JSON_1] = {"", ""}, /* one document holds a whole transaction */
        [DP_PLUGIN_WAL2JSON_2] = {"{\"action\":\"B\"", "{\"action\":\"C\""},
    };
    if (plugin == DP_PLUGIN_WAL2JSON_1) return DP_RECORD_COMMITS;
    if (dp_slice_starts_with(data, dp_slice_of_text(words[plugin].begins))) return DP_RECORD_BEGINS;
    if (dp_slice_starts_with(data, dp_slice_of_text(words[plugin].commits))) return DP_RECORD_COMMITS;
    return DP_RECORD_OTHER;
}

dp_status dp_postgres_link_deliver(const dp_postgres_link *link, const dp_record_sink *sink,
                                   const dp_record *record, dp_error *error)
{
    dp_status status = sink->record(sink->context, record, error);
    if (status != DP_STATUS_DATA && status != DP_STATUS_POISON) return status;
    char place[DP_LSN_TEXT_BYTES] = "no position"; /* RELATION and TYPE messages have none */
    if (record->has_lsn) dp_lsn_format(record->lsn, place);
    dp_error_while(error, "decoding the message at %s of slot '%s'", place, link->options.slot);
    return status;
}

const dp_plugin_option *dp_plugin_options(dp_plugin plugin, bool is_rich)
{
    static const dp_plugin_option pgoutput[] = {
        {"proto_version", "1"}, {"publication_names", NULL}, {NULL, NULL}};
    static const dp_plugin_option test_decoding[] = {
        {"include-xids", "on"}, {"include-timestamp", "on"}, {NULL, NULL}};
    static const dp_plugin_option wal2json[] = {{"format-version", "2"},     {"include-lsn", "on"},
                                                {"include-xids", "on"},      {"include-transaction", "on"},
                                                {"include-timestamp", "on"}, {NULL, NULL}};
    /* Since 2.6: without it NaN and Infinity are printed as null. */
    static const dp_plugin_option rich_wal2json[] = {{"format-version", "2"},
                                                     {"include-lsn", "on"},
                                                     {"include-xids", "on"},
                                                     {"include-transaction", "on"},
                                                     {"include-timestamp", "on"},
                                                     {"numeric-data-types-as-string", "on"},
                                                     {NULL, NULL}};
    switch (plugin) {
    case DP_PLUGIN_PGOUTPUT: return pgoutput;
    case DP_PLUGIN_TEST_DECODING: return test_decoding;
    case DP_PLUGIN_WAL2JSON_1:
    case DP_PLUGIN_WAL2JSON_2: break;
    }
    return is_rich ? rich_wal2json : wal2json;
}

/* --- judging --- */

static dp_status blocked_timeline(const dp_timeline *now, const dp_timeline *expected, dp_error *error)
{
    char begin[DP_LSN_TEXT_BYTES];
    char wanted[DP_LSN_TEXT_BYTES];
    if (now->number != expected->number)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_TIMELINE_CHANGED, "timeline %u, expected %u",
                                 now->number, expected->number);
    dp_lsn_format(now->begin, begin);
    dp_lsn_format(expected->begin, wanted);
    return dp_source_blocked(error, DP_SOURCE_BLOCKER_TIMELINE_CHANGED,
                             "timeline %u of this server began at %s, expected %s", now->number, begin,
                             wanted);
}

/* After a promotion what was delivered is common to both timelines only up to the switch point. */
static dp_status judge_timeline(dp_postgres_link *link, uint32_t number, dp_slice history, dp_error *error)
{
    dp_timeline *expected = &link->expected.timeline;
    dp_timeline now = dp_timeline_of(number, history);
    dp_lsn position = link->has_position ? link->position : (dp_lsn){0};
    if (!link->expected.is_known || dp_timeline_is_same(&now, expected)) {
        if (!link->expected.is_known || !expected->has_begin) *expected = now;
        return DP_STATUS_OK;
    }
    if (!dp_timeline_is_common(history, expected, position)) return blocked_timeline(&now, expected, error);
    return dp_postgres_link_adopt(link, &now, false, error);
}

dp_status dp_postgres_link_check(dp_postgres_link *link, const dp_postgres_server *server, dp_error *error)
{
    dp_buffer history = DP_BUFFER_INIT(DP_POSTGRES_MAX_HISTORY_BYTES);
    dp_status status = dp_postgres_check_server(server, &link->expected, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_read_history(link->session, server->timeline, &history, error);
    if (status == DP_STATUS_OK)
        status = judge_timeline(link, server->timeline, dp_buffer_slice(&history), error);
    dp_buffer_release(&history);
    return status;
}

dp_status dp_postgres_link_adopt(dp_postgres_link *link, const dp_timeline *timeline, bool is_uninterrupted,
                                 dp_error *error)
{
    const dp_timeline_listener *listener = &link->options.timeline;
    dp_status status = listener->changed == NULL
                           ? DP_STATUS_OK
                           : listener->changed(listener->context, timeline, is_uninterrupted, error);
    if (status == DP_STATUS_OK) link->expected.timeline = *timeline;
    return status;
}

static bool read_history_apart(const char *dsn, bool is_replication, uint32_t timeline, dp_buffer *history)
{
    dp_postgres_session *session;
    dp_error ignored = DP_ERROR_INIT; /* what cannot be shown is not so */
    if (dp_postgres_connect(dsn, is_replication, &session, &ignored) != DP_STATUS_OK) return false;
    dp_status status = dp_postgres_read_history(session, timeline, history, &ignored);
    dp_postgres_disconnect(session);
    return status == DP_STATUS_OK;
}

bool dp_postgres_is_common_history(const char *dsn, const dp_timeline *before, uint32_t now, dp_lsn position)
{
    dp_buffer history = DP_BUFFER_INIT(DP_POSTGRES_MAX_HISTORY_BYTES);
    bool is_told =
        read_history_apart(dsn, true, now, &history) || read_history_apart(dsn, false, now, &history);
    bool is_common = is_told && dp_timeline_is_common(dp_buffer_slice(&history), before, position);
    dp_buffer_release(&history);
    return is_common;
}

/* Row filters, column lists and publish_via_partition_root decide event ids: they are read at the first
 * connection and compared at every later one. */
static dp_status check_publication(dp_postgres_link *link, dp_error *error)
{
    if (link->plugin != DP_PLUGIN_PGOUTPUT) return DP_STATUS_OK;
    const char *name = link->options.publication;
    bool exists = false;
    dp_buffer settings = DP_BUFFER_INIT(MAX_SETTINGS_BYTES);
    dp_status status = dp_postgres_read_publication(link->session, name, &exists, &settings, error);
    if (status == DP_STATUS_OK && !exists) {
        status = dp_source_blocked(error, DP_SOURCE_BLOCKER_PUBLICATION_MISSING, "publication '%s'", name);
    } else if (status == DP_STATUS_OK && link->publication_settings.length == 0) {
        dp_buffer_append_slice(&link->publication_settings, dp_buffer_slice(&settings));
    } else if (status == DP_STATUS_OK &&
               !dp_slice_equal(dp_buffer_slice(&settings), dp_buffer_slice(&link->publication_settings))) {
        status = dp_source_blocked(error, DP_SOURCE_BLOCKER_PUBLICATION_CHANGED, "publication '%s'", name);
    }
    dp_buffer_release(&settings);
    return status;
}

static dp_status check_wal_level(dp_postgres_link *link, dp_error *error)
{
    char level[32];
    dp_status status = dp_postgres_read_setting(link->session, "wal_level", level, sizeof level, error);
    if (status != DP_STATUS_OK || strcmp(level, "logical") == 0) return status;
    return dp_source_blocked(error, DP_SOURCE_BLOCKER_WAL_LEVEL_TOO_LOW, "wal_level is '%s'", level);
}

static dp_status connect_link(dp_postgres_link *link, dp_postgres_server *server, dp_error *error)
{
    dp_status status = dp_postgres_connect(link->options.dsn, link->is_replication, &link->session, error);
    if (status == DP_STATUS_OK) status = dp_postgres_read_server(link->session, server, error);
    if (status == DP_STATUS_OK) status = dp_postgres_link_check(link, server, error);
    return status;
}

dp_status dp_postgres_link_prepare(dp_postgres_link *link, bool has_stored, dp_lsn stored, dp_error *error)
{
    link->expected.has_stored = has_stored;
    link->expected.stored = stored;
    if (has_stored && (!link->has_position || stored.value > link->position.value)) link->position = stored;
    link->has_position |= has_stored;
    dp_postgres_server server;
    dp_status status = DP_STATUS_OK;
    if (link->session == NULL) {
        status = connect_link(link, &server, error);
    } else if ((status = dp_postgres_read_server(link->session, &server, error)) == DP_STATUS_OK) {
        status = dp_postgres_check_server(&server, &link->expected, error);
    }
    const char *name = link->options.slot;
    if (status == DP_STATUS_OK) status = dp_postgres_read_slot(link->session, name, &link->slot, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_check_slot(&link->slot, name, link->plugin, link->expected.database, error);
    if (status == DP_STATUS_OK && link->slot.is_active && !link->options.on_copy) {
        status = dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_IN_USE, "slot '%s' (server process %lld)",
                                   name, (long long)link->slot.active_pid);
    }
    if (status == DP_STATUS_OK)
        status = dp_postgres_check_offset(&link->slot, name, link->has_position,
                                          has_stored ? stored : link->position, error);
    if (status == DP_STATUS_OK) status = check_publication(link, error);
    if (status == DP_STATUS_OK && !link->has_position) {
        link->has_position = link->slot.has_confirmed;
        link->position = link->slot.confirmed;
    }
    return status;
}

/* --- the first connection --- */

static void write_settings(const dp_postgres_link *link, dp_buffer *out)
{
    dp_json_writer json = dp_json_writer_compact(out);
    bool has_publication = link->plugin == DP_PLUGIN_PGOUTPUT;
    char begin[DP_LSN_TEXT_BYTES];
    dp_lsn_format(link->expected.timeline.begin, begin);
    dp_json_begin_object(&json);
    dp_json_key(&json, "system_identifier");
    dp_json_text(&json, link->expected.system_identifier);
    dp_json_key(&json, "timeline");
    dp_json_u64(&json, link->expected.timeline.number);
    dp_json_key(&json, "timeline_begin");
    dp_json_text(&json, link->expected.timeline.has_begin ? begin : NULL);
    dp_json_key(&json, "database");
    dp_json_text(&json, link->expected.database);
    dp_json_key(&json, "slot");
    dp_json_text(&json, link->options.slot);
    dp_json_key(&json, "plugin");
    dp_json_text(&json, link->slot.plugin);
    dp_json_key(&json, "publication");
    dp_json_text(&json, has_publication ? link->options.publication : NULL);
    dp_json_key(&json, "publication_options");
    dp_json_raw(&json,
                has_publication ? dp_buffer_slice(&link->publication_settings) : DP_SLICE_LITERAL("null"));
    dp_json_end_object(&json);
}

static dp_status choose_plugin(dp_postgres_link *link, dp_error *error)
{
    dp_status status = dp_postgres_read_slot(link->session, link->options.slot, &link->slot, error);
    if (status != DP_STATUS_OK) return status;
    link->plugin = link->options.plugin;
    bool is_known = link->options.has_plugin || !link->slot.exists ||
                    dp_postgres_plugin_of(link->slot.plugin, &link->plugin);
    if (!is_known) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "slot '%s' is of plugin '%s'; expected pgoutput, test_decoding or wal2json",
                            link->options.slot, link->slot.plugin);
    }
    bool has_publication = link->options.publication != NULL && link->options.publication[0] != '\0';
    if (link->plugin == DP_PLUGIN_PGOUTPUT && !has_publication)
        return dp_error_set(error, DP_STATUS_USAGE, "a slot of plugin pgoutput needs --publication");
    return DP_STATUS_OK;
}

dp_status dp_postgres_link_open(dp_postgres_link *link, const dp_postgres_source_options *options,
                                dp_postgres_source_identity *identity, dp_postgres_server *server,
                                dp_error *error)
{
    link->options = *options;
    link->backoff_ms = FIRST_BACKOFF_MS;
    link->publication_settings = (dp_buffer)DP_BUFFER_INIT(MAX_SETTINGS_BYTES);
    dp_status status = connect_link(link, server, error);
    if (status != DP_STATUS_OK) return status;
    link->expected.is_known = true;
    memcpy(link->expected.system_identifier, server->system_identifier, sizeof server->system_identifier);
    memcpy(link->expected.database, server->database, sizeof server->database);
    status = check_wal_level(link, error);
    if (status == DP_STATUS_OK) status = choose_plugin(link, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_check_slot(&link->slot, options->slot, link->plugin, server->database, error);
    if (status == DP_STATUS_OK) status = check_publication(link, error);
    if (status != DP_STATUS_OK) return status;
    identity->plugin = link->plugin;
    identity->timeline = link->expected.timeline;
    snprintf(identity->source, sizeof identity->source, "%s/%s", server->system_identifier, server->database);
    identity->settings = (dp_buffer)DP_BUFFER_INIT(2 * MAX_SETTINGS_BYTES);
    write_settings(link, &identity->settings);
    return identity->settings.failed ? dp_error_no_memory(error, "the source's settings") : DP_STATUS_OK;
}

void dp_postgres_link_close(dp_postgres_link *link)
{
    dp_postgres_disconnect(link->session);
    link->session = NULL;
    dp_buffer_release(&link->publication_settings);
}

/* --- coming back --- */

static bool may_try_again(dp_postgres_link *link, const dp_error *cause)
{
    bool is_ahead = dp_source_blocker_is(cause, DP_SOURCE_BLOCKER_SLOT_AHEAD_OF_OFFSET) ||
                    dp_source_blocker_is(cause, DP_SOURCE_BLOCKER_SLOT_RECREATED);
    link->ahead_count = is_ahead ? link->ahead_count + 1 : 0;
    if (is_ahead) return link->ahead_count < AHEAD_ATTEMPTS;
    if (dp_source_blocker_is(cause, DP_SOURCE_BLOCKER_SLOT_IN_USE)) return true;
    return dp_status_retryable(cause->status);
}

dp_status dp_postgres_link_fail(dp_postgres_link *link, const dp_error *cause, dp_error *error)
{
    dp_postgres_disconnect(link->session);
    link->session = NULL;
    if (!may_try_again(link, cause)) {
        if (error->status == DP_STATUS_OK) *error = *cause;
        return cause->status;
    }
    link->trouble = *cause;
    link->has_news = true;
    link->next_attempt_us = dp_clock_monotonic_us() + (int64_t)link->backoff_ms * 1000;
    link->backoff_ms = link->backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : link->backoff_ms * 2;
    return DP_STATUS_OK;
}

void dp_postgres_link_works(dp_postgres_link *link)
{
    link->backoff_ms = FIRST_BACKOFF_MS;
    link->ahead_count = 0;
}

bool dp_postgres_link_await(dp_postgres_link *link, int timeout_ms, dp_source_progress *progress)
{
    if (link->has_news) progress->trouble = &link->trouble;
    link->has_news = false;
    int64_t left_ms = (link->next_attempt_us - dp_clock_monotonic_us() + 999) / 1000;
    if (left_ms <= 0) return true;
    dp_clock_sleep_ms((unsigned)(left_ms < timeout_ms ? left_ms : timeout_ms));
    return false;
}
