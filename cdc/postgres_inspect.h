/* What a PostgreSQL server says of itself, of a slot and of a publication: the facts that the source, doctor
 * and status judge. Reads only; uses nothing that differs between versions 10 and 18 without asking first.
 */
#ifndef DPONE_CDC_POSTGRES_INSPECT_H
#define DPONE_CDC_POSTGRES_INSPECT_H

#include "base/buffer.h"
#include "cdc/change.h"
#include "cdc/postgres_session.h"

typedef struct dp_postgres_server {
    char system_identifier[24];
    char database[256];
    uint32_t timeline;
    dp_lsn flushed; /* the end of the log on disk, or of what was replayed on a standby */
} dp_postgres_server;

typedef struct dp_postgres_slot {
    bool exists;
    bool is_logical;
    bool is_temporary;
    bool is_active;
    int64_t active_pid;
    char plugin[64];
    char database[256];
    char wal_status[16];          /* reserved, extended, unreserved, lost; empty before 13 */
    char invalidation_reason[64]; /* empty: none, or before 17 */
    bool is_invalidated;
    bool is_two_phase; /* since 14 */
    bool is_synced;    /* a standby's copy of the primary's slot (17), which nobody can read yet */
    bool has_confirmed;
    dp_lsn confirmed;
    bool has_restart;
    dp_lsn restart;
    int64_t retained_bytes; /* log kept for the slot */
    int64_t lag_bytes;      /* from confirmed to the end of the log */
} dp_postgres_slot;

/* IDENTIFY_SYSTEM, or the same by SQL. */
dp_status dp_postgres_read_server(dp_postgres_session *session, dp_postgres_server *server, dp_error *error);

/* A slot that is not there is not an error. */
dp_status dp_postgres_read_slot(dp_postgres_session *session, const char *name, dp_postgres_slot *slot,
                                dp_error *error);

/* The age of the oldest open transaction that has written, prepared ones included: no slot's log can be given
 * up before its end. 0 when there is none or the role may not see it. */
dp_status dp_postgres_read_oldest_transaction(dp_postgres_session *session, double *seconds, dp_error *error);

/* Whether a publication exists, and what of it decides event ids as one canonical JSON object: row filters,
 * column lists, publish_via_partition_root. Nothing is appended when it does not exist. */
dp_status dp_postgres_read_publication(dp_postgres_session *session, const char *name, bool *exists,
                                       dp_buffer *settings, dp_error *error);

/* Appends the history file of a timeline (timeline.h): by TIMELINE_HISTORY, or by SQL where the role may read
 * the server's files. Nothing for the first timeline, and where the server does not tell. */
dp_status dp_postgres_read_history(dp_postgres_session *session, uint32_t timeline, dp_buffer *history,
                                   dp_error *error);

/* A setting's value, such as wal_sender_timeout in its unit; empty when the server does not know it. */
dp_status dp_postgres_read_setting(dp_postgres_session *session, const char *name, char *value,
                                   size_t value_bytes, dp_error *error);

/* Asks each table's primary key (or its index-based replica identity) and appends one specification a line,
 * schema.table=column,column, quoted as --unique-key takes it; tables without one are left out. With an empty
 * publication all ordinary tables are asked. */
dp_status dp_postgres_read_keys(dp_postgres_session *session, const char *publication, dp_buffer *lines,
                                dp_error *error);

#endif
