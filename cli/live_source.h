/* The options of a live PostgreSQL source, the same in every command that reads one, and how it is opened. */
#ifndef DPONE_CLI_LIVE_SOURCE_H
#define DPONE_CLI_LIVE_SOURCE_H

#include "cdc/source_postgres.h"
#include "cli/command.h"
#include "services/batch_sink.h"
#include "services/run_monitor.h"

/* Entries for an option table. */
#define DP_OPTION_SLOT                                                                                       \
    {                                                                                                        \
        .name = "slot", .argument = "NAME", .help = "the replication slot of a live source",                 \
        .environment = "DPONE_SLOT"                                                                          \
    }
#define DP_OPTION_PUBLICATION                                                                                \
    {                                                                                                        \
        .name = "publication", .argument = "NAME", .help = "the publication that a pgoutput slot reads",     \
        .environment = "DPONE_PUBLICATION"                                                                   \
    }
#define DP_OPTION_TRANSPORT                                                                                  \
    {                                                                                                        \
        .name = "transport", .argument = "NAME",                                                             \
        .help = "how a live source is read: the replication protocol, or SQL where that is not possible",    \
        .choices = "replication|sql", .default_text = "replication"                                          \
    }

/* As dp_run_monitor_options.look, with the invocation as its context: a connection of its own each time, so
 * that a source that went away is noticed. */
dp_status dp_live_look(void *invocation, dp_slot_look *look, dp_error *error);

/* Whether --source is a DSN and not a file. */
bool dp_live_source_is(const char *source);

/* Opens the source that --source, --slot, --publication, --plugin, --transport and --until-end describe. */
dp_status dp_live_source_open(const dp_invocation *invocation, const dp_timeline_listener *listener,
                              dp_postgres_source_identity *identity, dp_change_source *source,
                              dp_error *error);

/* USAGE unless --source is a DSN. */
dp_status dp_live_source_require(const dp_invocation *invocation, dp_error *error);

typedef struct dp_live_keys {
    dp_slice stored;      /* what the stream was written with, one specification a line */
    dp_unique_keys *keys; /* those given by hand; the others are added */
    dp_buffer *settings;  /* the source's settings; the list is added */
    bool has_only_more;   /* set when nothing of what was stored is missing or different */
} dp_live_keys;

/* --unique-key auto: adds the stored keys, and the primary key of every published table that has none then: a
 * table is asked for its key once. */
dp_status dp_live_source_keys(const dp_invocation *invocation, dp_live_keys *work, dp_error *error);

/* What --server has of --pipeline. */
typedef struct dp_live_stored {
    bool has_offset;
    dp_lsn offset;
    dp_stream_progress progress; /* of the stream of `source` */
} dp_live_stored;

/* `source` is "<system identifier>/<database>"; empty when only the offset is wanted. */
dp_status dp_live_stored_load(const dp_invocation *invocation, dp_slice source, dp_live_stored *stored,
                              dp_error *error);

#endif
