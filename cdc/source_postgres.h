/* A live PostgreSQL slot as a pipeline's source: over the replication protocol, or over SQL where a
 * replication connection is not possible.
 *
 * Neither decodes; both stop instead of reading on over a gap (source_blockers.h), wait for a slot that
 * another consumer reads, and come back by themselves after a lost connection. What is reported to the server
 * as flushed is only what the pipeline has confirmed, and never goes back. One thread.
 */
#ifndef DPONE_CDC_SOURCE_POSTGRES_H
#define DPONE_CDC_SOURCE_POSTGRES_H

#include "cdc/change_source.h"
#include "cdc/postgres_preflight.h"

/* Hears that the server has gone on to another timeline while the source was being read. Everything confirmed
 * is history of that timeline. Unless the stream was not interrupted (a standby that was promoted while it
 * was read), nothing was read there yet, and what else was delivered may not be history of it. Whatever it
 * returns but OK refuses the timeline. */
typedef struct dp_timeline_listener {
    void *context;
    /* NULL: nobody listens */
    dp_status (*changed)(void *context, const dp_timeline *timeline, bool is_uninterrupted, dp_error *error);
} dp_timeline_listener;

typedef struct dp_postgres_source_options {
    const char *dsn; /* all borrowed until the source is closed */
    const char *slot;
    const char *publication; /* pgoutput only */
    bool has_plugin;         /* otherwise the slot's own */
    dp_plugin plugin;
    bool until_end;            /* end at what the server held when the source was opened */
    unsigned idle_interval_ms; /* how often a quiet slot is moved on; 0: 10000 */
    /* Over SQL only: reads a temporary copy of the slot, which ends with the connection, so that the slot
     * itself stays where it is, also while another consumer reads it. */
    bool on_copy;
    dp_timeline_listener timeline;
} dp_postgres_source_options;

/* What the journal keeps with the stream. */
typedef struct dp_postgres_source_identity {
    char source[300]; /* "<system identifier>/<database>" */
    dp_plugin plugin; /* the decoder that fits the slot */
    dp_timeline timeline;
    dp_buffer settings; /* a JSON object; its owner releases it */
    dp_lsn begin;       /* on a copy: what ends at or below it is not delivered any more */
} dp_postgres_source_identity;

/* Connects and checks all that can be checked without knowing the offset. Errors: USAGE, BLOCKED with a
 * source blocker, REMOTE. */
dp_status dp_postgres_replication_open(const dp_postgres_source_options *options,
                                       dp_postgres_source_identity *identity, dp_change_source *source,
                                       dp_error *error);

/* Whether everything up to `position`, read on timeline `before`, is part of the history of timeline `now`,
 * which the server is on: then reading goes on there without a gap. Asks over a connection of its own, for
 * replication where that is possible; a server that does not tell is a no. */
bool dp_postgres_is_common_history(const char *dsn, const dp_timeline *before, uint32_t now, dp_lsn position);

/* The same over SQL: peek, deliver, pg_replication_slot_advance; never the consuming function. */
dp_status dp_postgres_sql_open(const dp_postgres_source_options *options,
                               dp_postgres_source_identity *identity, dp_change_source *source,
                               dp_error *error);

#endif
