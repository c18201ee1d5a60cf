/* Whether reading may start: compares what a server says with what the pipeline knows. Pure decisions; the
 * facts come from postgres_inspect.h. Both sources and `dpone cdc doctor` ask here.
 */
#ifndef DPONE_CDC_POSTGRES_PREFLIGHT_H
#define DPONE_CDC_POSTGRES_PREFLIGHT_H

#include "cdc/decoder.h"
#include "cdc/postgres_inspect.h"
#include "cdc/source_blockers.h"
#include "cdc/timeline.h"

/* What is known of the source so far: from the first connection of this run. */
typedef struct dp_postgres_expectation {
    bool is_known;
    char system_identifier[24];
    char database[256];
    dp_timeline timeline;
    bool has_stored;
    dp_lsn stored; /* the offset: everything below it is durable */
} dp_postgres_expectation;

/* The name PostgreSQL knows a plugin by: both forms of wal2json are "wal2json". */
const char *dp_postgres_plugin_name(dp_plugin plugin);

/* The decoder for a slot's plugin; false for one that is not known. */
bool dp_postgres_plugin_of(const char *name, dp_plugin *plugin);

/* BLOCKED when the server is another one, another database, or has not reached the stored offset. The
 * timeline is compared by the caller, who can ask for its history. */
dp_status dp_postgres_check_server(const dp_postgres_server *server, const dp_postgres_expectation *expected,
                                   dp_error *error);

/* BLOCKED when the slot cannot be read without a gap. A slot that someone else reads is not judged here
 * beyond what never changes. */
dp_status dp_postgres_check_slot(const dp_postgres_slot *slot, const char *name, dp_plugin plugin,
                                 const char *database, dp_error *error);

/* BLOCKED when the slot has moved past the stored offset. */
dp_status dp_postgres_check_offset(const dp_postgres_slot *slot, const char *name, bool has_stored,
                                   dp_lsn stored, dp_error *error);

/* Turns a refusal to start reading into the blocker it means, from its SQLSTATE; other errors stay as they
 * are. */
dp_status dp_postgres_explain_start(const char *sqlstate, const char *slot, const dp_error *cause,
                                    dp_error *error);

#endif
