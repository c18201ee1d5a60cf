/* Why a live source stops instead of continuing over a gap: one list of stable codes, each with what it means
 * and the command that resolves it. Pure.
 *
 * The codes are the `code` of the error a source returns, of the findings of `dpone cdc doctor`, and of the
 * table in docs/postgres.md, which a test compares with this list.
 */
#ifndef DPONE_CDC_SOURCE_BLOCKERS_H
#define DPONE_CDC_SOURCE_BLOCKERS_H

#include "base/error.h"

/* X(name, code, meaning, remedy) */
#define DP_SOURCE_BLOCKER_LIST(X)                                                                            \
    X(SYSTEM_IDENTIFIER_CHANGED, "source.system_identifier_changed",                                         \
      "the server is another cluster than the one the offset was taken from",                                \
      "connect to the right server, or start a new pipeline with 'dpone cdc run --pipeline NEW'")            \
    X(DATABASE_CHANGED, "source.database_changed",                                                           \
      "the connection leads to another database than the one the offset was taken from",                     \
      "correct the database name in --source, or start a new pipeline with 'dpone cdc run --pipeline NEW'")  \
    X(TIMELINE_CHANGED, "source.timeline_changed",                                                           \
      "the server was promoted from a point before the stored offset: changes that were delivered never "    \
      "happened on it",                                                                                      \
      "compare the target with the source, then 'dpone offsets set --allow-rewind' to a position of the "    \
      "new timeline")                                                                                        \
    X(OFFSET_AHEAD_OF_SERVER, "source.offset_ahead_of_server",                                               \
      "the stored offset lies beyond the end of the server's log: the server was restored from a backup or " \
      "lost its tail",                                                                                       \
      "compare the target with the source, then 'dpone offsets set --allow-rewind' to a position the "       \
      "server has")                                                                                          \
    X(SLOT_MISSING, "source.slot_missing", "the replication slot does not exist",                            \
      "create it with 'dpone cdc setup'; changes since the stored offset are lost unless a snapshot or an "  \
      "artifact fills them in")                                                                              \
    X(SLOT_INVALIDATED, "source.slot_invalidated",                                                           \
      "the server has given the slot up: max_slot_wal_keep_size, idle_replication_slot_timeout or a "        \
      "conflict invalidated it",                                                                             \
      "drop the slot with 'SELECT pg_drop_replication_slot(...)', create it with 'dpone cdc setup', and "    \
      "fill the gap from a snapshot")                                                                        \
    X(SLOT_IN_USE, "source.slot_in_use", "another connection reads the slot",                                \
      "wait, or end it with 'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots'")            \
    X(SLOT_AHEAD_OF_OFFSET, "source.slot_ahead_of_offset",                                                   \
      "the slot has moved past the stored offset: another consumer read it, and what lies between is no "    \
      "longer sent",                                                                                         \
      "fill the gap from a snapshot or an artifact, then 'dpone offsets set' to the slot's position")        \
    X(SLOT_RECREATED, "source.slot_recreated",                                                               \
      "the slot keeps no log as old as the stored offset: it was dropped and created again, or read far on " \
      "by another consumer",                                                                                 \
      "fill the gap from a snapshot or an artifact, then 'dpone offsets set' to the slot's position")        \
    X(SLOT_UNUSABLE, "source.slot_unusable",                                                                 \
      "the slot is a physical one, a temporary one, or belongs to another database",                         \
      "name a logical slot of this database with --slot, or create one with 'dpone cdc setup'")              \
    X(SLOT_TWO_PHASE, "source.slot_two_phase",                                                               \
      "the slot decodes two-phase transactions when they are prepared, before anyone knows whether they "    \
      "will "                                                                                                \
      "be committed",                                                                                        \
      "create another slot without two_phase with 'dpone cdc setup', or from version 18 on use "             \
      "ALTER_REPLICATION_SLOT ... (TWO_PHASE false)")                                                        \
    X(PLUGIN_CHANGED, "source.plugin_changed", "the slot's output plugin is not the one that was asked for", \
      "give the slot's own plugin with --plugin, or create another slot with 'dpone cdc setup'")             \
    X(PLUGIN_UNAVAILABLE, "source.plugin_unavailable",                                                       \
      "the server does not load the output plugin: it is not installed, or output_plugin_libraries does "    \
      "not allow it",                                                                                        \
      "install the plugin and add it to output_plugin_libraries, or use --plugin pgoutput")                  \
    X(PUBLICATION_MISSING, "source.publication_missing",                                                     \
      "the publication does not exist, or did not when the slot's position was written",                     \
      "create the publication, then the slot, with 'dpone cdc setup'")                                       \
    X(PUBLICATION_CHANGED, "source.publication_changed",                                                     \
      "row filters, column lists or publish_via_partition_root of the publication have changed, which "      \
      "changes event ids",                                                                                   \
      "change them back with ALTER PUBLICATION, or start a new pipeline with 'dpone cdc run --pipeline "     \
      "NEW'")                                                                                                \
    X(WAL_LEVEL_TOO_LOW, "source.wal_level_too_low", "wal_level is not logical",                             \
      "ALTER SYSTEM SET wal_level = 'logical' and restart the server")                                       \
    X(PRIVILEGE_MISSING, "source.privilege_missing", "the role may not do what reading needs",               \
      "ALTER ROLE ... REPLICATION, and what 'dpone cdc doctor' names")

typedef enum dp_source_blocker {
#define DP_SOURCE_BLOCKER_ENUM(name, code, meaning, remedy) DP_SOURCE_BLOCKER_##name,
    DP_SOURCE_BLOCKER_LIST(DP_SOURCE_BLOCKER_ENUM)
#undef DP_SOURCE_BLOCKER_ENUM
        DP_SOURCE_BLOCKER_COUNT
} dp_source_blocker;

const char *dp_source_blocker_code(dp_source_blocker blocker);
const char *dp_source_blocker_remedy(dp_source_blocker blocker);

/* Sets BLOCKED with the code, "<code>: <what>: <meaning>" and the remedy as the hint. */
dp_status dp_source_blocked(dp_error *error, dp_source_blocker blocker, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether an error carries this blocker. */
bool dp_source_blocker_is(const dp_error *error, dp_source_blocker blocker);

#endif
