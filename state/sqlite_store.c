/* The SQLite driver: connection, transactions, migrations. WAL with synchronous=FULL, so that a COMMIT is on
 * disk when it returns; BEGIN IMMEDIATE, so that a writer never meets a lock half-way. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "state/migrations.h"
#include "state/sqlite_internal.h"

#define DEFAULT_BUSY_TIMEOUT_MS 5000

/* A checkpoint costs two syncs; 4,000 pages (16 MiB) between them keep that small beside the commits. */
#define SETTINGS                                                                                             \
    "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -4096; "               \
    "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 67108864"

static const char *const statement_sql[] = {
#define STATEMENT_SQL(name, sql) sql,
    DP_SQLITE_STATEMENT_LIST(STATEMENT_SQL) DP_SQLITE_OFFSET_STATEMENT_LIST(STATEMENT_SQL)
#undef STATEMENT_SQL
};

static dp_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return DP_STATUS_BUSY;
    case SQLITE_FULL: return DP_STATUS_FULL;
    case SQLITE_NOMEM: return DP_STATUS_NO_MEMORY;
    case SQLITE_CONSTRAINT: return DP_STATUS_CONFLICT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return DP_STATUS_DATA;
    case SQLITE_TOOBIG: return DP_STATUS_LIMIT;
    default: return DP_STATUS_IO;
    }
}

static int folder_reason(const char *path)
{
    char folder[PATH_MAX];
    if ((size_t)snprintf(folder, sizeof folder, "%s", path) >= sizeof folder) return 0;
    return access(dirname(folder), W_OK | X_OK) == 0 ? 0 : errno;
}

/* SQLite tries to read what it could not write, and its error is that of the second try: "No such file" for a
 * folder that forbids a new file. This asks the folder itself. */
static int reason_of_cantopen(const char *path, int system_errno, bool creates)
{
    int reason = system_errno == ENOENT && creates ? folder_reason(path) : 0;
    return reason == 0 ? system_errno : reason;
}

/* A database with a write-ahead log cannot even be read where the log's index cannot be made beside it. */
static bool explain_cantopen(const sqlite_store *self, int code, const char *doing, dp_error *error)
{
    int reason = (code & 0xff) == SQLITE_CANTOPEN ? folder_reason(self->path) : 0;
    if (reason != EACCES && reason != EROFS) return false;
    dp_error_set(error, DP_STATUS_IO, "unable to %s ('%s'): %s", doing, self->path, strerror(reason));
    dp_error_hint(error,
                  "SQLite needs files beside the database, also for reading: its folder must be writable for "
                  "uid %u; copy the database to read it elsewhere",
                  (unsigned)geteuid());
    return true;
}

/* Sets the error for a result code of SQLite; `doing` completes "unable to". */
static dp_status fail(sqlite_store *self, int code, const char *doing, dp_error *error)
{
    if (explain_cantopen(self, code, doing, error)) return DP_STATUS_IO;
    dp_status status = status_of(code);
    const char *cause = self->connection == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(self->connection);
    dp_error_set(error, status, "unable to %s ('%s'): %s", doing, self->path, cause);
    if (status == DP_STATUS_BUSY) dp_error_hint(error, "another process holds the database; try again");
    return status;
}

sqlite3_stmt *sqlite_statement_of(sqlite_store *self, sqlite_statement id, const char *doing, dp_error *error)
{
    sqlite3_stmt *statement = self->statements[id];
    if (statement != NULL) return statement;
    const char *sql = statement_sql[id];
    char with_table[1024];
    const char *mark = strstr(sql, "%s");
    if (mark != NULL) {
        snprintf(with_table, sizeof with_table, "%.*s%s%s", (int)(mark - sql), sql, self->offset_table,
                 mark + 2);
        sql = with_table;
    }
    int code = sqlite3_prepare_v3(self->connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (code != SQLITE_OK) {
        fail(self, code, doing, error);
        return NULL;
    }
    self->statements[id] = statement;
    return statement;
}

dp_status sqlite_end(sqlite_store *self, sqlite3_stmt *statement, int code, const char *doing,
                     dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    if (code != SQLITE_DONE && code != SQLITE_ROW) status = fail(self, code, doing, error);
    sqlite3_reset(statement);
    return status;
}

dp_status sqlite_run(sqlite_store *self, sqlite3_stmt *statement, const char *doing, dp_error *error)
{
    return sqlite_end(self, statement, sqlite3_step(statement), doing, error);
}

dp_status sqlite_visited(dp_status answer, const dp_error *error)
{
    bool early = answer == DP_STATUS_CANCELLED && (error == NULL || error->status == DP_STATUS_OK);
    return early ? DP_STATUS_OK : answer;
}

/* --- connection ---------------------------------------------------------------------------------------- */

static void sqlite_close(dp_store *store)
{
    sqlite_store *self = (sqlite_store *)store;
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(self->statements[i]);
    }
    sqlite3_close(self->connection);
    free(self);
}

/* Quotes a table's name for SQL. False when it is too long. */
static bool quote_name(const char *name, char *out, size_t capacity)
{
    size_t length = 0;
    out[length++] = '"';
    for (; *name != '\0'; name++) {
        if (length + 4 > capacity) return false;
        if (*name == '"') out[length++] = '"';
        out[length++] = *name;
    }
    out[length++] = '"';
    out[length] = '\0';
    return true;
}

static dp_status execute(sqlite_store *self, const char *sql, const char *doing, dp_error *error)
{
    int code = sqlite3_exec(self->connection, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? DP_STATUS_OK : fail(self, code, doing, error);
}

/* Changing to WAL does not wait for a lock by itself, so it is tried again until the timeout. */
static dp_status enter_wal(sqlite_store *self, unsigned timeout_ms, dp_error *error)
{
    int64_t deadline_us = dp_clock_monotonic_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        int code = sqlite3_exec(self->connection, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (code == SQLITE_OK) return DP_STATUS_OK;
        if (status_of(code) != DP_STATUS_BUSY || dp_clock_monotonic_us() >= deadline_us) {
            return fail(self, code, "open the state database", error);
        }
        const struct timespec pause = {.tv_nsec = 5000000};
        nanosleep(&pause, NULL);
    }
}

static dp_status migrations_exist(sqlite_store *self, bool *exist, dp_error *error)
{
    const char *doing = "read the schema";
    sqlite3_stmt *statement = sqlite_statement_of(self, STATEMENT_MIGRATION_EXISTS, doing, error);
    if (statement == NULL) return error == NULL ? DP_STATUS_IO : error->status;
    int code = sqlite3_step(statement);
    *exist = code == SQLITE_ROW;
    return sqlite_end(self, statement, code, doing, error);
}

/* A file that was opened because it is a state stays as it is when it turns out to be none: another program's
 * database keeps its journal mode, an empty file stays empty. */
static dp_status may_change(sqlite_store *self, const dp_store_options *options, bool *may, dp_error *error)
{
    *may = !self->read_only;
    return *may && options->existing ? migrations_exist(self, may, error) : DP_STATUS_OK;
}

static dp_status configure(sqlite_store *self, const dp_store_options *options, dp_error *error)
{
    unsigned timeout_ms = options->busy_timeout_ms == 0 ? DEFAULT_BUSY_TIMEOUT_MS : options->busy_timeout_ms;
    sqlite3_busy_timeout(self->connection, (int)timeout_ms);
    sqlite3_extended_result_codes(self->connection, 1);
    bool may_enter = false;
    dp_status status = may_change(self, options, &may_enter, error);
    if (status == DP_STATUS_OK && may_enter) status = enter_wal(self, timeout_ms, error);
    if (status == DP_STATUS_OK) status = execute(self, SETTINGS, "open the state database", error);
    return status;
}

/* SQLite would wait for ever at a pipe, and call a device locked. */
static dp_status refuse_other_than_file(const char *path, dp_error *error)
{
    struct stat properties;
    if (stat(path, &properties) != 0 || S_ISREG(properties.st_mode)) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "state: '%s' is %s; expected a SQLite file", path,
                        S_ISDIR(properties.st_mode) ? "a directory" : "no regular file");
}

static dp_status connect_to(sqlite_store *self, const char *path, const dp_store_options *options,
                            dp_error *error)
{
    dp_status status = refuse_other_than_file(path, error);
    if (status != DP_STATUS_OK) return status;
    int flags = SQLITE_OPEN_NOMUTEX | (self->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    if (!self->read_only && !options->existing) flags |= SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(path, &self->connection, flags, NULL);
    if (code == SQLITE_CANTOPEN && sqlite3_system_errno(self->connection) != 0) {
        bool creates = (flags & SQLITE_OPEN_CREATE) != 0;
        int reason = reason_of_cantopen(path, sqlite3_system_errno(self->connection), creates);
        bool is_missing = reason == ENOENT && !creates;
        dp_error_set(error, DP_STATUS_IO, "unable to open the state database ('%s'): %s", path,
                     strerror(reason));
        if (reason == EACCES || reason == EROFS) {
            dp_error_hint(error, "its folder must be writable for uid %u", (unsigned)geteuid());
        }
        if (is_missing) dp_error_hint(error, "dpone state migrate makes one");
        return DP_STATUS_IO;
    }
    if (code == SQLITE_OK) code = sqlite_event_rows_register(self);
    if (code != SQLITE_OK) return fail(self, code, "open the state database", error);
    return configure(self, options, error);
}

#define TABLE_PARAMETER "?dpone_offset_table="

/* Splits PATH[?dpone_offset_table=NAME]; the name in the DSN comes after the one in the options. */
static dp_status read_target(sqlite_store *self, const char *target, const dp_store_options *options,
                             dp_error *error)
{
    const char *parameter = strstr(target, TABLE_PARAMETER);
    size_t length = parameter == NULL ? strlen(target) : (size_t)(parameter - target);
    const char *table = options->offset_table;
    if (table == NULL && parameter != NULL) table = parameter + strlen(TABLE_PARAMETER);
    if (table == NULL) table = DP_STATE_DEFAULT_OFFSET_TABLE;
    if (length == 0 || length >= sizeof self->path) {
        return dp_error_set(error, DP_STATUS_USAGE, "state: the path of a SQLite file has 1 to %zu bytes",
                            sizeof self->path - 1);
    }
    memcpy(self->path, target, length);
    if (strcmp(self->path, ":memory:") == 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "state: sqlite::memory: cannot be shared; name a file");
    }
    if (table[0] == '\0' || !quote_name(table, self->offset_table, sizeof self->offset_table)) {
        return dp_error_set(error, DP_STATUS_USAGE, "state: '%.80s' is no name for the offset table", table);
    }
    return DP_STATUS_OK;
}

static dp_status sqlite_open(const char *target, const dp_store_options *options, dp_store **store,
                             dp_error *error)
{
    sqlite_store *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "a database connection");
    self->base.driver = &dp_store_sqlite;
    self->read_only = options->read_only;
    dp_status status = read_target(self, target, options, error);
    if (status == DP_STATUS_OK) status = connect_to(self, self->path, options, error);
    if (status != DP_STATUS_OK) {
        sqlite_close(&self->base);
        return status;
    }
    *store = &self->base;
    return DP_STATUS_OK;
}

/* --- transactions -------------------------------------------------------------------------------------- */

static dp_status run_by_id(sqlite_store *self, sqlite_statement id, const char *doing, dp_error *error)
{
    sqlite3_stmt *statement = sqlite_statement_of(self, id, doing, error);
    if (statement == NULL) return DP_STATUS_IO;
    return sqlite_run(self, statement, doing, error);
}

static dp_status sqlite_begin(dp_store *store, bool write, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    return run_by_id(self, write ? STATEMENT_BEGIN_WRITE : STATEMENT_BEGIN_READ, "begin a transaction",
                     error);
}

static void sqlite_rollback(dp_store *store)
{
    sqlite_store *self = (sqlite_store *)store;
    dp_error ignored = DP_ERROR_INIT;
    /* Some errors have rolled back already. */
    if (sqlite3_get_autocommit(self->connection) == 0) {
        run_by_id(self, STATEMENT_ROLLBACK, "roll back", &ignored);
    }
}

/* After a failed write or sync of the commit frame nobody can say whether it is on disk: a crash now may
 * bring it back. Only "full" and "busy" are known to have stored nothing. */
static dp_status sqlite_commit(dp_store *store, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    sqlite3_stmt *statement = sqlite_statement_of(self, STATEMENT_COMMIT, "commit", error);
    if (statement == NULL) {
        sqlite_rollback(store);
        return DP_STATUS_IO;
    }
    int code = sqlite3_step(statement);
    dp_status status = DP_STATUS_OK;
    if (code != SQLITE_DONE) {
        status = status_of(code);
        if (status == DP_STATUS_IO) status = DP_STATUS_COMMIT_UNKNOWN;
        dp_error_set(error, status, "unable to commit ('%s'): %s", self->path,
                     sqlite3_errmsg(self->connection));
    }
    sqlite3_reset(statement);
    if (status != DP_STATUS_OK) sqlite_rollback(store);
    return status;
}

/* --- migrations ---------------------------------------------------------------------------------------- */

static dp_status sqlite_migration_ensure(dp_store *store, dp_error *error)
{
    return execute(
        (sqlite_store *)store,
        "CREATE TABLE IF NOT EXISTS dpone_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
        "checksum TEXT NOT NULL, applied_at_us INTEGER NOT NULL) STRICT",
        "create the table of migrations", error);
}

static dp_status sqlite_migration_list(dp_store *store, const dp_row_visitor *visitor, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "read the migrations";
    bool exist = false;
    dp_status status = migrations_exist(self, &exist, error);
    if (status != DP_STATUS_OK || !exist) return status;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->connection,
                                  "SELECT version, name, checksum FROM dpone_migration ORDER BY version", -1,
                                  &statement, NULL);
    if (code != SQLITE_OK) return fail(self, code, doing, error);
    while (status == DP_STATUS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        status = visitor->migration(visitor->context, (uint32_t)sqlite3_column_int64(statement, 0),
                                    column_text(statement, 1), column_text(statement, 2), error);
    }
    dp_status ended = sqlite_end(self, statement, code, doing, error);
    sqlite3_finalize(statement);
    return status == DP_STATUS_OK ? ended : sqlite_visited(status, error);
}

static dp_status sqlite_migration_apply(dp_store *store, const dp_migration *migration, dp_slice checksum,
                                        int64_t now_us, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "record a migration";
    dp_status status = execute(self, migration->sql, "run a migration", error);
    if (status != DP_STATUS_OK) return status;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->connection, "INSERT INTO dpone_migration VALUES (?1, ?2, ?3, ?4)", -1,
                                  &statement, NULL);
    if (code != SQLITE_OK) return fail(self, code, doing, error);
    sqlite3_bind_int64(statement, 1, migration->version);
    bind_text(statement, 2, dp_slice_of_text(migration->name));
    bind_text(statement, 3, checksum);
    sqlite3_bind_int64(statement, 4, now_us);
    status = sqlite_run(self, statement, doing, error);
    sqlite3_finalize(statement);
    return status;
}

/* An offset table of another name is made here, because migrations are the same for everyone. */
static dp_status sqlite_migration_done(dp_store *store, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    char sql[1024];
    snprintf(sql, sizeof sql,
             "CREATE TABLE IF NOT EXISTS %s (pipeline_name TEXT NOT NULL, source_schema TEXT NOT NULL, "
             "source_table TEXT NOT NULL, backend TEXT NOT NULL, token TEXT NOT NULL, "
             "snapshot_complete BOOLEAN NOT NULL, "
             "\"__dpone__loaded_at\" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
             "\"__dpone__updated_at\" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
             "PRIMARY KEY (pipeline_name, source_schema, source_table, backend))",
             self->offset_table);
    return execute(self, sql, "create the offset table", error);
}

/* --- the whole database -------------------------------------------------------------------------------- */

static dp_status sqlite_size_bytes(dp_store *store, uint64_t *bytes, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "read the database's size";
    sqlite3_stmt *statement = sqlite_statement_of(self, STATEMENT_PAGE_COUNT, doing, error);
    if (statement == NULL) return DP_STATUS_IO;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) *bytes = (uint64_t)sqlite3_column_int64(statement, 0);
    return sqlite_end(self, statement, code, doing, error);
}

static dp_status sqlite_check(dp_store *store, dp_error *error)
{
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "check the database";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->connection, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (code != SQLITE_OK) return fail(self, code, doing, error);
    dp_status status = DP_STATUS_OK;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW && !dp_slice_equal_text(column_text(statement, 0), "ok")) {
        status = dp_error_set(error, DP_STATUS_DATA, "'%s' is damaged: %.300s", self->path,
                              (const char *)sqlite3_column_text(statement, 0));
    }
    dp_status ended = sqlite_end(self, statement, code, doing, error);
    sqlite3_finalize(statement);
    return status == DP_STATUS_OK ? ended : status;
}

const dp_store_driver dp_store_sqlite = {
    .name = "sqlite",
    .migrations = dp_migrations_sqlite,
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .migration_ensure = sqlite_migration_ensure,
    .migration_list = sqlite_migration_list,
    .migration_apply = sqlite_migration_apply,
    .migration_done = sqlite_migration_done,
    .stream_open = sqlite_stream_open,
    .stream_find = sqlite_stream_find,
    .stream_list = sqlite_stream_list,
    .stream_save = sqlite_stream_save,
    .reserve_numbers = sqlite_reserve_numbers,
    .transactions_insert = sqlite_transactions_insert,
    .transactions_find = sqlite_transactions_find,
    .transactions_read = sqlite_transactions_read,
    .transactions_delete = sqlite_transactions_delete,
    .events_insert = sqlite_events_insert,
    .events_read = sqlite_events_read,
    .events_delete = sqlite_events_delete,
    .receipt_find = sqlite_receipt_find,
    .receipt_insert = sqlite_receipt_insert,
    .receipts_drop_staged = sqlite_receipts_drop_staged,
    .receipts_delete = sqlite_receipts_delete,
    .receipt_list = sqlite_receipt_list,
    .receipt_last = sqlite_receipt_last,
    .offset_find = sqlite_offset_find,
    .offset_save = sqlite_offset_save,
    .offset_delete = sqlite_offset_delete,
    .offset_list = sqlite_offset_list,
    .quarantine_insert = sqlite_quarantine_insert,
    .quarantine_list = sqlite_quarantine_list,
    .quarantine_resolve = sqlite_quarantine_resolve,
    .audit_insert = sqlite_audit_insert,
    .audit_list = sqlite_audit_list,
    .size_bytes = sqlite_size_bytes,
    .check = sqlite_check,
};
