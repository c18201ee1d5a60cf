#include "cdc/postgres_preflight.h"

#include <stdio.h>

const char *dp_postgres_plugin_name(dp_plugin plugin)
{
    switch (plugin) {
    case DP_PLUGIN_PGOUTPUT: return "pgoutput";
    case DP_PLUGIN_TEST_DECODING: return "test_decoding";
    case DP_PLUGIN_WAL2JSON_1:
    case DP_PLUGIN_WAL2JSON_2: break;
    }
    return "wal2json";
}

bool dp_postgres_plugin_of(const char *name, dp_plugin *plugin)
{
    static const dp_plugin plugins[] = {DP_PLUGIN_PGOUTPUT, DP_PLUGIN_TEST_DECODING, DP_PLUGIN_WAL2JSON_2};
    for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++) {
        if (strcmp(name, dp_postgres_plugin_name(plugins[i])) != 0) continue;
        *plugin = plugins[i];
        return true;
    }
    return false;
}

dp_status dp_postgres_check_server(const dp_postgres_server *server, const dp_postgres_expectation *expected,
                                   dp_error *error)
{
    if (expected->is_known && strcmp(server->system_identifier, expected->system_identifier) != 0) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SYSTEM_IDENTIFIER_CHANGED,
                                 "the server's system identifier is %s, expected %s",
                                 server->system_identifier, expected->system_identifier);
    }
    if (expected->is_known && strcmp(server->database, expected->database) != 0) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_DATABASE_CHANGED, "database '%s', expected '%s'",
                                 server->database, expected->database);
    }
    if (expected->has_stored && expected->stored.value > server->flushed.value) {
        char stored[DP_LSN_TEXT_BYTES];
        char flushed[DP_LSN_TEXT_BYTES];
        dp_lsn_format(expected->stored, stored);
        dp_lsn_format(server->flushed, flushed);
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_OFFSET_AHEAD_OF_SERVER,
                                 "the stored offset is %s, the server's log ends at %s", stored, flushed);
    }
    return DP_STATUS_OK;
}

dp_status dp_postgres_check_slot(const dp_postgres_slot *slot, const char *name, dp_plugin plugin,
                                 const char *database, dp_error *error)
{
    if (!slot->exists) return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_MISSING, "slot '%s'", name);
    if (!slot->is_logical || slot->is_temporary || strcmp(slot->database, database) != 0) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_UNUSABLE, "slot '%s'", name);
    }
    if (slot->is_invalidated) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_INVALIDATED, "slot '%s' (%s)", name,
                                 slot->invalidation_reason[0] != '\0' ? slot->invalidation_reason
                                                                      : "its log is lost");
    }
    if (slot->is_synced) {
        return dp_source_blocked(
            error, DP_SOURCE_BLOCKER_SLOT_UNUSABLE,
            "slot '%s' is a copy that this standby keeps of the primary's until it is promoted", name);
    }
    if (slot->is_two_phase)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_TWO_PHASE, "slot '%s'", name);
    if (strcmp(slot->plugin, dp_postgres_plugin_name(plugin)) != 0) {
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_PLUGIN_CHANGED,
                                 "slot '%s' is of plugin %s, expected %s", name, slot->plugin,
                                 dp_postgres_plugin_name(plugin));
    }
    return DP_STATUS_OK;
}

dp_status dp_postgres_check_offset(const dp_postgres_slot *slot, const char *name, bool has_stored,
                                   dp_lsn stored, dp_error *error)
{
    if (!has_stored || !slot->has_confirmed || slot->confirmed.value <= stored.value) return DP_STATUS_OK;
    char confirmed[DP_LSN_TEXT_BYTES];
    char offset[DP_LSN_TEXT_BYTES];
    dp_lsn_format(slot->confirmed, confirmed);
    dp_lsn_format(stored, offset);
    bool is_recreated = slot->has_restart && slot->restart.value > stored.value;
    return dp_source_blocked(
        error, is_recreated ? DP_SOURCE_BLOCKER_SLOT_RECREATED : DP_SOURCE_BLOCKER_SLOT_AHEAD_OF_OFFSET,
        "slot '%s' is at %s, the stored offset at %s", name, confirmed, offset);
}

dp_status dp_postgres_explain_start(const char *sqlstate, const char *slot, const dp_error *cause,
                                    dp_error *error)
{
    const char *said = cause->message;
    if (strcmp(sqlstate, "55006") == 0) /* object_in_use */
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_IN_USE, "slot '%s'", slot);
    if (strstr(said, "may not be used as an output plugin") != NULL || strcmp(sqlstate, "58P01") == 0)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_PLUGIN_UNAVAILABLE, "%.200s", said);
    if (strstr(said, "publication") != NULL && strcmp(sqlstate, "42704") == 0)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_PUBLICATION_MISSING, "%.200s", said);
    if (strcmp(sqlstate, "42704") == 0)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_MISSING, "slot '%s'", slot);
    if (strstr(said, "wal_level") != NULL)
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_WAL_LEVEL_TOO_LOW, "%.200s", said);
    if (strcmp(sqlstate, "55000") == 0 &&
        (strstr(said, "invalidated") != NULL || strstr(said, "can no longer") != NULL))
        return dp_source_blocked(error, DP_SOURCE_BLOCKER_SLOT_INVALIDATED, "%.200s", said);
    if (error->status == DP_STATUS_OK) *error = *cause;
    return error->status;
}
