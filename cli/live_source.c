#include "cli/live_source.h"

#include "cli/stream_options.h"

enum { MAX_KEY_BYTES = 4 << 20 };

bool dp_live_source_is(const char *source)
{
    dp_slice text = dp_slice_of_text(source);
    return dp_slice_starts_with(text, DP_SLICE_LITERAL("postgresql://")) ||
           dp_slice_starts_with(text, DP_SLICE_LITERAL("postgres://"));
}

dp_status dp_live_source_open(const dp_invocation *invocation, dp_postgres_source_identity *identity,
                              dp_change_source *source, dp_error *error)
{
    dp_capture_options capture = dp_stream_capture(invocation);
    dp_postgres_source_options options = {
        .dsn = dp_invocation_text(invocation, "source"),
        .slot = dp_invocation_text(invocation, "slot"),
        .publication = dp_invocation_text(invocation, "publication"),
        .has_plugin = capture.has_plugin,
        .plugin = capture.plugin,
        .until_end = dp_invocation_switch(invocation, "until-end"),
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

dp_status dp_live_source_keys(const dp_invocation *invocation, dp_unique_keys *keys, dp_error *error)
{
    dp_postgres_session *session;
    dp_buffer lines = DP_BUFFER_INIT(MAX_KEY_BYTES);
    dp_status status = dp_postgres_connect(dp_invocation_text(invocation, "source"), false, &session, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_keys(session, dp_invocation_text(invocation, "publication"), &lines, error);
    dp_postgres_disconnect(session);
    dp_slice rest = dp_buffer_slice(&lines);
    while (status == DP_STATUS_OK && rest.length > 0) {
        dp_slice line;
        dp_error is_known = DP_ERROR_INIT; /* the catalog's names always parse: a key was given by hand */
        dp_slice_split(rest, '\n', &line, &rest);
        if (dp_unique_keys_add(keys, line, &is_known) == DP_STATUS_NO_MEMORY)
            status = dp_error_no_memory(error, "the unique keys");
    }
    dp_buffer_release(&lines);
    return status;
}
