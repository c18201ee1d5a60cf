/* What is wrong with a source, a slot and a publication: findings, each with a stable code, a severity, and
 * the SQL or command that mends it. Reads only. The blockers of source_blockers.h are findings too.
 */
#ifndef DPONE_CDC_POSTGRES_CHECKS_H
#define DPONE_CDC_POSTGRES_CHECKS_H

#include "cdc/postgres_preflight.h"

/* X(name, text, exit code of doctor when it is the worst) */
#define DP_SEVERITY_LIST(X)                                                                                  \
    X(INFO, "info", 0)                                                                                       \
    X(WARNING, "warning", 0)                                                                                 \
    X(ERROR, "error", 1)

typedef enum dp_severity {
#define DP_SEVERITY_ENUM(name, text, exit_code) DP_SEVERITY_##name,
    DP_SEVERITY_LIST(DP_SEVERITY_ENUM)
#undef DP_SEVERITY_ENUM
} dp_severity;

const char *dp_severity_text(dp_severity severity);

/* X(code, severity, meaning, what mends it where the finding itself does not say): beside the blockers, which
 * are errors */
#define DP_SOURCE_FINDING_LIST(X)                                                                            \
    X("source.unreachable", ERROR, "no connection to the source",                                            \
      "start the server, or correct --source, pg_hba.conf and firewalls until psql connects with it")        \
    X("source.slots_exhausted", WARNING, "every replication slot is taken", "")                              \
    X("source.senders_exhausted", WARNING, "every sender process is taken", "")                              \
    X("source.table_not_published", ERROR, "a table that was asked for is not in the publication", "")       \
    X("source.publication_partial", WARNING, "the publication leaves out some operations", "")               \
    X("source.replica_identity_missing", ERROR,                                                              \
      "a published table has no replica identity: PostgreSQL refuses its UPDATE and DELETE statements", "")  \
    X("source.replica_identity_unpublished", ERROR,                                                          \
      "a publication leaves out columns of a replica identity: PostgreSQL refuses the table's UPDATE and "   \
      "DELETE statements",                                                                                   \
      "")                                                                                                    \
    X("source.key_missing", INFO,                                                                            \
      "a table has no primary key: without --unique-key the whole row is hashed", "")                        \
    X("source.slot_at_risk", WARNING,                                                                        \
      "the slot is about to lose log that it needs, or nobody reads it and idle_replication_slot_timeout "   \
      "is set",                                                                                              \
      "")                                                                                                    \
    X("source.retention_unbounded", INFO,                                                                    \
      "max_slot_wal_keep_size is unlimited: a slot that nobody reads fills the disk", "")                    \
    X("source.retained_wal", WARNING, "the slot holds back more than 1 GiB of log", "")                      \
    X("source.long_transaction", WARNING, "a transaction older than an hour keeps the slot from moving on",  \
      "")                                                                                                    \
    X("source.standby", INFO, "the server is a standby",                                                     \
      "connect to the primary, or to a standby of version 16 or later with hot_standby_feedback = on")       \
    X("source.version_untested", INFO, "the server's version is older than those dpone is tested with",      \
      "upgrade the server to version 13 or later")                                                           \
    X("server.unreachable", ERROR, "the dpone server does not answer, or not as one",                        \
      "start it with 'dpone serve --state DSN', or name another one with --server")                          \
    X("server.unchecked", INFO, "no dpone server was named, and none answers at the default address",        \
      "name it with --server, or start one with 'dpone serve --state DSN'")                                  \
    X("server.store_unavailable", ERROR,                                                                     \
      "the server does not reach its store, or its schema is not current",                                   \
      "ask 'dpone state status --state DSN', and run 'dpone state migrate --state DSN' where it says so")    \
    X("server.store_missing", ERROR, "the server runs without a store and refuses batches",                  \
      "restart it with 'dpone serve --state DSN'")                                                           \
    X("server.version_differs", WARNING, "the server is of another version than this program",               \
      "upgrade the older one: the server first, then its readers")                                           \
    X("source.offset_missing", INFO, "no offset is stored yet: reading starts at the slot's position",       \
      "dpone cdc run stores one with the first batch; 'dpone offsets set' starts elsewhere")

typedef struct dp_finding {
    const char *code;
    dp_severity severity;
    dp_slice message; /* one line */
    dp_slice fix;     /* SQL or a command; empty when there is nothing to do */
} dp_finding;

typedef struct dp_finding_sink {
    void *context;
    dp_status (*finding)(void *context, const dp_finding *finding, dp_error *error);
} dp_finding_sink;

typedef struct dp_check_request {
    const char *slot;        /* NULL: not asked */
    const char *publication; /* NULL: not asked */
    dp_slice tables;         /* names separated by newlines, as schema.table */
    bool has_plugin;
    dp_plugin plugin;
    bool has_stored;
    dp_lsn stored;
} dp_check_request;

/* Runs every check over a connection of its own. OK also when there are findings; REMOTE and the rest only
 * when a check could not be run. A source that cannot be reached is a finding. */
dp_status dp_postgres_check(const char *dsn, const dp_check_request *request, const dp_finding_sink *sink,
                            dp_error *error);

/* Reports a finding of the list with its own severity; an empty `fix` stands for the list's. */
dp_status dp_finding_report(const dp_finding_sink *sink, const char *code, dp_slice message, dp_slice fix,
                            dp_error *error);

/* Reports an error as a finding: its own code where it has one of the lists, else `code`. */
dp_status dp_finding_of_error(const char *code, const dp_error *cause, const dp_finding_sink *sink,
                              dp_error *error);

#endif
