/* Shared by the two live sources of this folder only: connecting, judging, and coming back. */
#ifndef DPONE_CDC_SOURCE_POSTGRES_COMMON_H
#define DPONE_CDC_SOURCE_POSTGRES_COMMON_H

#include "cdc/source_postgres.h"

/* A timeline's history file has one line for each promotion. */
enum { DP_POSTGRES_MAX_HISTORY_BYTES = 1 << 20 };

/* Connection attempts: when the next one is due, and why there is none. */
typedef struct dp_postgres_link {
    dp_postgres_source_options options;
    dp_plugin plugin;
    bool is_replication;              /* set before opening */
    dp_postgres_session *session;     /* NULL: not connected */
    dp_postgres_expectation expected; /* of the server, from the first connection on */
    dp_postgres_slot slot;            /* as it was when last asked */
    dp_buffer publication_settings;   /* from the first connection on */
    bool has_position;                /* the slot's position when first seen, or the offset */
    dp_lsn position;
    int64_t next_attempt_us;
    unsigned backoff_ms;
    unsigned ahead_count; /* attempts in a row that found the slot ahead of the offset */
    dp_error trouble;     /* why the last attempt failed */
    bool has_news;        /* `trouble` was not told yet */
} dp_postgres_link;

/* Connects for the first time and fills in `identity`. */
dp_status dp_postgres_link_open(dp_postgres_link *link, const dp_postgres_source_options *options,
                                dp_postgres_source_identity *identity, dp_postgres_server *server,
                                dp_error *error);
void dp_postgres_link_close(dp_postgres_link *link);

/* Connects unless connected, and judges server, slot, offset and publication. */
dp_status dp_postgres_link_prepare(dp_postgres_link *link, bool has_stored, dp_lsn stored, dp_error *error);

/* What was asked just now: whether it is still the server that was read, on the timeline that was, or on one
 * that goes on from it. */
dp_status dp_postgres_link_check(dp_postgres_link *link, const dp_postgres_server *server, dp_error *error);

/* Goes on on another timeline unless the listener refuses. */
dp_status dp_postgres_link_adopt(dp_postgres_link *link, const dp_timeline *timeline, bool is_uninterrupted,
                                 dp_error *error);

/* After a failure: whether the source may try again later (the failure is kept as the trouble) or must stop.
 * Drops the connection. */
dp_status dp_postgres_link_fail(dp_postgres_link *link, const dp_error *cause, dp_error *error);

/* A connection works: the next failure starts with the shortest wait again. */
void dp_postgres_link_works(dp_postgres_link *link);

/* Waits for the next attempt, at most timeout_ms; true when it is due. Hands over the trouble once. */
bool dp_postgres_link_await(dp_postgres_link *link, int timeout_ms, dp_source_progress *progress);

/* Whether a record opens or closes a transaction: all that a source looks at. */
typedef enum dp_record_kind { DP_RECORD_BEGINS, DP_RECORD_COMMITS, DP_RECORD_OTHER } dp_record_kind;
dp_record_kind dp_record_kind_of(dp_plugin plugin, dp_slice data);

/* Hands a record on; malformed data is told with its place in the stream. */
dp_status dp_postgres_link_deliver(const dp_postgres_link *link, const dp_record_sink *sink,
                                   const dp_record *record, dp_error *error);

/* The plugin options that both sources read with, in turn: name, value, ended by NULL. `is_rich` asks for
 * what older versions of the plugin do not know. The publication's name is quoted as an identifier. */
typedef struct dp_plugin_option {
    const char *name;
    const char *value; /* NULL: the publication */
} dp_plugin_option;
const dp_plugin_option *dp_plugin_options(dp_plugin plugin, bool is_rich);

#endif
