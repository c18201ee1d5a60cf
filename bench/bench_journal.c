/* The journal, and ingestion as a whole (reading, digest, receipt), beside a bare INSERT loop into the same
 * ordered tables, at several batch sizes, in one run: only the ratios count. With an argument N: also what
 * one event costs while the journal grows to N million.
 *
 *   bench_journal [DIRECTORY] [MILLIONS]
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/journal_api.h"
#include "state/journal.h"
#include "state/migrate.h"
#include "tests/unit/support/batch_builder.h"

#define ROUND_US               1500000
#define ROW_BYTES              150
#define MAX_ROWS_A_TRANSACTION 100

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_journal: %s: %s\n", what, why);
    exit(1);
}

/* A row of about 150 bytes of data, as the project's other figures assume. */
static void row_data(char *out, size_t capacity, uint64_t number)
{
    snprintf(out, capacity,
             "{\"id\":%llu,\"customer\":\"customer-%06llu\",\"amount\":\"%llu.50\",\"status\":\"open\","
             "\"note\":\"the quick brown fox jumps over the lazy dog and on\",\"created\":\"2026-01-02 "
             "03:04:05\"}",
             (unsigned long long)number, (unsigned long long)(number % 1000000),
             (unsigned long long)(number % 1000));
}

static void event_id(uint64_t number, char out[65])
{
    static dp_sha256 *hash;
    uint8_t digest[32];
    if (hash == NULL) hash = dp_sha256_new();
    dp_sha256_digest(hash, (dp_slice){(const char *)&number, sizeof number}, digest);
    dp_hex_encode(digest, 32, out);
    out[64] = '\0';
}

/* --- bodies -------------------------------------------------------------------------------------------- */

static void add_event(batch_builder *batch, uint64_t number, uint64_t xid, unsigned ordinal)
{
    char id[65];
    char data[256];
    event_id(number, id);
    row_data(data, sizeof data, number);
    dp_buffer_append_format(
        &batch->body,
        "{\"event_id\":\"%s\",\"operation\":\"insert\",\"source_schema\":\"public\","
        "\"source_table\":\"orders\",\"position\":\"%llX/%llX\",\"transaction_id\":\"%llu\","
        "\"sequence\":0,\"ordinal\":%u,\"data\":%s,\"before\":null,\"unchanged\":[]}\n",
        id, (unsigned long long)(number >> 24), (unsigned long long)(number & 0xffffff) * 256,
        (unsigned long long)xid, ordinal, data);
    batch->count++;
}

static void build(batch_builder *batch, uint64_t *number, uint64_t *xid, unsigned events, char id[65])
{
    batch_begin(batch, NULL);
    for (unsigned done = 0; done < events;) {
        unsigned rows = events - done < MAX_ROWS_A_TRANSACTION ? events - done : MAX_ROWS_A_TRANSACTION;
        ++*xid;
        for (unsigned i = 0; i < rows; i++) {
            add_event(batch, (*number)++, *xid, i);
        }
        dp_buffer_append_format(
            &batch->body,
            "{\"type\":\"commit\",\"transaction_id\":\"%llu\",\"end_position\":\"%llX/%llX\","
            "\"committed_at\":\"2026-01-02T03:04:05.678901Z\",\"count\":%u}\n",
            (unsigned long long)*xid, (unsigned long long)(*number >> 24),
            (unsigned long long)(*number & 0xffffff) * 256, rows);
        done += rows;
    }
    batch_end(batch, id);
}

/* --- the bare loop ------------------------------------------------------------------------------------- */

typedef struct bare {
    sqlite3 *connection;
    sqlite3_stmt *begin, *commit, *event, *transaction;
} bare;

static sqlite3_stmt *prepare(sqlite3 *connection, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(connection, sql, -1, &statement, NULL) != SQLITE_OK)
        fail(sql, sqlite3_errmsg(connection));
    return statement;
}

static void bare_open(bare *self, const char *path)
{
    if (sqlite3_open(path, &self->connection) != SQLITE_OK) fail(path, "cannot be opened");
    sqlite3_exec(self->connection,
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; "
                 "PRAGMA cache_size = -4096",
                 NULL, NULL, NULL);
    self->begin = prepare(self->connection, "BEGIN IMMEDIATE");
    self->commit = prepare(self->connection, "COMMIT");
    self->event =
        prepare(self->connection,
                "INSERT INTO dpone_event (event_number, event_id, operation, source_schema, source_table, "
                "position, sequence, data) VALUES (?1, ?2, 0, 'public', 'orders', ?3, 0, ?4)");
    self->transaction =
        prepare(self->connection, "INSERT INTO dpone_transaction (stream_id, end_position, transaction_id, "
                                  "committed_at_us, stored_at_us, first_number, event_count) "
                                  "VALUES (1, ?1, ?2, 1, 1, ?3, ?4)");
}

static void run(bare *self, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE) fail("bare loop", sqlite3_errmsg(self->connection));
    sqlite3_reset(statement);
}

/* Rows are made before the clock starts, as the bodies are. */
typedef struct bare_row {
    uint8_t id[32];
    char position[32];
    char data[256];
} bare_row;

static double bare_round(const char *path, unsigned events)
{
    bare self;
    bare_open(&self, path);
    bare_row *rows = calloc(events, sizeof *rows);
    uint64_t number = 1;
    uint64_t stored = 0;
    int64_t spent_us = 0;
    if (rows == NULL) fail("bare loop", "out of memory");
    while (spent_us < ROUND_US) {
        for (unsigned i = 0; i < events; i++) {
            char hex[65];
            event_id(number + i, hex);
            dp_hex_decode((dp_slice){hex, 64}, rows[i].id, NULL);
            snprintf(rows[i].position, sizeof rows[i].position, "%llX/%llX",
                     (unsigned long long)(number >> 24), (unsigned long long)(number & 0xffffff) * 256);
            row_data(rows[i].data, sizeof rows[i].data, number + i);
        }
        int64_t start_us = dp_clock_monotonic_us();
        run(&self, self.begin);
        for (unsigned i = 0; i < events; i++) {
            sqlite3_bind_int64(self.event, 1, (int64_t)(number + i));
            sqlite3_bind_blob(self.event, 2, rows[i].id, 32, SQLITE_STATIC);
            sqlite3_bind_text(self.event, 3, rows[i].position, -1, SQLITE_STATIC);
            sqlite3_bind_text(self.event, 4, rows[i].data, -1, SQLITE_STATIC);
            run(&self, self.event);
            if (i + 1 == events || (i + 1) % MAX_ROWS_A_TRANSACTION == 0) {
                uint8_t position[10] = {0};
                char xid[24];
                uint64_t end = number + i + 1;
                for (size_t byte = 0; byte < 8; byte++) {
                    position[9 - byte] = (uint8_t)(end >> (8 * byte));
                }
                snprintf(xid, sizeof xid, "%llu", (unsigned long long)end);
                sqlite3_bind_blob(self.transaction, 1, position, 10, SQLITE_STATIC);
                sqlite3_bind_text(self.transaction, 2, xid, -1, SQLITE_STATIC);
                sqlite3_bind_int64(self.transaction, 3, (int64_t)end);
                sqlite3_bind_int64(self.transaction, 4, MAX_ROWS_A_TRANSACTION);
                run(&self, self.transaction);
            }
        }
        run(&self, self.commit);
        spent_us += dp_clock_monotonic_us() - start_us;
        number += events;
        stored += events;
    }
    sqlite3_finalize(self.begin);
    sqlite3_finalize(self.commit);
    sqlite3_finalize(self.event);
    sqlite3_finalize(self.transaction);
    sqlite3_close(self.connection);
    free(rows);
    return (double)stored * 1e6 / (double)spent_us;
}

/* --- ingestion ----------------------------------------------------------------------------------------- */

typedef struct ingestion {
    dp_journal_api *api;
    dp_api_reply reply;
    uint64_t number;
    uint64_t xid;
} ingestion;

static void ingest_open(ingestion *self, const char *path)
{
    char dsn[600];
    dp_error error = DP_ERROR_INIT;
    snprintf(dsn, sizeof dsn, "sqlite:%s", path);
    const dp_journal_api_options options = {.state_dsn = dsn, .migrate = true};
    if (dp_journal_api_open(&options, &self->api, &error) != DP_STATUS_OK) fail(path, error.message);
    self->reply = (dp_api_reply)DP_API_REPLY_INIT;
    self->number = 1;
    self->xid = 0;
}

static int64_t ingest_batch(ingestion *self, unsigned events)
{
    batch_builder batch;
    char id[65];
    build(&batch, &self->number, &self->xid, events, id);
    int64_t start_us = dp_clock_monotonic_us();
    dp_journal_api_ingest(self->api, DP_SLICE_LITERAL("orders-cdc"), (dp_slice){id, 64}, 1,
                          dp_buffer_slice(&batch.body), &self->reply);
    int64_t spent_us = dp_clock_monotonic_us() - start_us;
    if (self->reply.http_status != 200) fail("ingestion", dp_buffer_text(&self->reply.body));
    dp_buffer_release(&batch.body);
    return spent_us;
}

static double ingest_round(const char *path, unsigned events)
{
    ingestion self;
    uint64_t stored = 0;
    int64_t spent_us = 0;
    ingest_open(&self, path);
    while (spent_us < ROUND_US) {
        spent_us += ingest_batch(&self, events);
        stored += events;
    }
    dp_journal_api_close(self.api);
    dp_api_reply_release(&self.reply);
    return (double)stored * 1e6 / (double)spent_us;
}

/* The journal alone: batches that are read already, their rows and a commit. */
static double journal_round(const char *path, unsigned events)
{
    static const dp_batch_read_limits limits = {64u << 20, 8u << 20};
    char dsn[600];
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    uint32_t applied;
    uint64_t number = 1;
    uint64_t xid = 0;
    uint64_t stored = 0;
    int64_t spent_us = 0;
    dp_journal *journal = dp_journal_new(7);
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    snprintf(dsn, sizeof dsn, "sqlite:%s", path);
    if (dp_store_connect(dsn, NULL, &store, &error) != DP_STATUS_OK ||
        dp_schema_migrate(store, 0, &applied, &error) != DP_STATUS_OK) {
        fail(path, error.message);
    }
    while (spent_us < ROUND_US) {
        batch_builder builder;
        const dp_batch *batch;
        dp_stream stream;
        dp_journal_outcome outcome;
        char id[65];
        build(&builder, &number, &xid, events, id);
        dp_status status = dp_batch_reader_read(reader, dp_buffer_slice(&builder.body), &batch, &error);
        int64_t start_us = dp_clock_monotonic_us();
        if (status == DP_STATUS_OK) status = store->driver->begin(store, true, &error);
        if (status == DP_STATUS_OK) {
            status = dp_journal_open_stream(journal, store, &batch->header, 0, &stream, &error);
        }
        if (status == DP_STATUS_OK) {
            status = dp_journal_append(journal, store, &stream, batch, 0, &outcome, &error);
        }
        if (status == DP_STATUS_OK) status = store->driver->commit(store, &error);
        if (status != DP_STATUS_OK) fail("journal", error.message);
        spent_us += dp_clock_monotonic_us() - start_us;
        stored += events;
        dp_buffer_release(&builder.body);
    }
    dp_store_close(store);
    dp_batch_reader_free(reader);
    dp_journal_free(journal);
    return (double)stored * 1e6 / (double)spent_us;
}

static void remove_database(const char *path)
{
    char side[600];
    unlink(path);
    snprintf(side, sizeof side, "%s-wal", path);
    unlink(side);
    snprintf(side, sizeof side, "%s-shm", path);
    unlink(side);
}

/* The bare loop needs the tables, so the service makes them. */
static void make_tables(const char *path)
{
    ingestion self;
    remove_database(path);
    ingest_open(&self, path);
    dp_journal_api_close(self.api);
    dp_api_reply_release(&self.reply);
}

static void compare(const char *path)
{
    static const unsigned sizes[] = {1, 100, 1000, 10000};
    printf("%8s %14s %14s %6s %14s %6s\n", "events", "bare INSERT/s", "journal/s", "ratio", "ingestion/s",
           "ratio");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double best[3] = {0, 0, 0};
        for (int round = 0; round < 2; round++) {
            double rates[3];
            make_tables(path);
            rates[0] = bare_round(path, sizes[i]);
            remove_database(path);
            rates[1] = journal_round(path, sizes[i]);
            remove_database(path);
            rates[2] = ingest_round(path, sizes[i]);
            for (size_t kind = 0; kind < 3; kind++) {
                if (rates[kind] > best[kind]) best[kind] = rates[kind];
            }
        }
        printf("%8u %14.0f %14.0f %6.2f %14.0f %6.2f\n", sizes[i], best[0], best[1], best[1] / best[0],
               best[2], best[2] / best[0]);
        fflush(stdout);
    }
}

static void grow(const char *path, unsigned millions)
{
    ingestion self;
    remove_database(path);
    ingest_open(&self, path);
    printf("%10s %16s %16s\n", "million", "us/event", "bytes/event");
    for (unsigned million = 1; million <= millions; million++) {
        int64_t spent_us = 0;
        for (unsigned i = 0; i < 1000; i++) {
            spent_us += ingest_batch(&self, 1000);
        }
        struct stat file;
        if (stat(path, &file) != 0) fail(path, "cannot be seen");
        printf("%10u %16.2f %16.1f\n", million, (double)spent_us / 1e6,
               (double)file.st_size / (million * 1e6));
        fflush(stdout);
    }
    dp_journal_api_close(self.api);
    dp_api_reply_release(&self.reply);
}

int main(int argc, char **argv)
{
    char path[500];
    char data[256];
    snprintf(path, sizeof path, "%s/bench_journal.%d.db", argc > 1 ? argv[1] : ".", (int)getpid());
    row_data(data, sizeof data, 123456);
    printf("data of %zu bytes a row\n", strlen(data));
    compare(path);
    if (argc > 2) grow(path, (unsigned)strtoul(argv[2], NULL, 10));
    remove_database(path);
    return 0;
}
