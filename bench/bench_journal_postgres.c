/* Ingestion into a PostgreSQL journal beside a bare COPY of the same rows into the same table, at several
 * batch sizes, in one run: only the ratios count. Both take short turns, so that what else the machine does
 * meets both alike; printed are the medians, and between what the middle half of the ratios lies. The bare
 * COPY is what a careful loader does: BEGIN, one COPY of rows that are ready, COMMIT, each waited for, on one
 * connection, with the durability of ingestion. bench/journal_postgres.py starts a server for it.
 *
 *   bench_journal_postgres DSN compare [EVENTS A BATCH...]
 *   bench_journal_postgres DSN streams              (several side by side)
 *   bench_journal_postgres DSN grow MILLIONS        (what one event costs while the journal grows)
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "services/journal_api.h"
#include "tests/unit/support/batch_builder.h"

#define STREAMS_ROUND_US       1500000
#define TURN_US                150000
#define COPY_STREAM_ID         1000000 /* beside those that ingestion makes */
#define TURN_COUNT             15
#define MAX_ROWS_A_TRANSACTION 100

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_journal_postgres: %s: %s\n", what, why);
    exit(1);
}

/* About 150 bytes of data, as the project's other figures assume. */
static void row_data(char *out, size_t capacity, uint64_t number)
{
    snprintf(out, capacity,
             "{\"id\":%llu,\"customer\":\"customer-%06llu\",\"amount\":\"%llu.50\",\"status\":\"open\","
             "\"note\":\"the quick brown fox jumps over the lazy dog\",\"created\":\"2026-01-02 03:04:05\"}",
             (unsigned long long)number, (unsigned long long)(number % 1000000),
             (unsigned long long)(number % 1000));
}

static void event_id(uint64_t number, char out[65])
{
    static _Thread_local dp_sha256 *hash;
    uint8_t digest[32];
    if (hash == NULL) hash = dp_sha256_new();
    dp_sha256_digest(hash, (dp_slice){(const char *)&number, sizeof number}, digest);
    dp_hex_encode(digest, 32, out);
    out[64] = '\0';
}

static void position_text(uint64_t number, char out[32])
{
    snprintf(out, 32, "%llX/%llX", (unsigned long long)(number >> 24),
             (unsigned long long)(number & 0xffffff) * 256);
}

/* --- the bare COPY ----------------------------------------------------------------------------------------
 */

static void execute(PGconn *connection, const char *sql, ExecStatusType expected)
{
    PGresult *result = PQexec(connection, sql);
    if (PQresultStatus(result) != expected) fail(sql, PQerrorMessage(connection));
    PQclear(result);
}

static void copy_rows(dp_buffer *out, uint64_t number, unsigned count)
{
    dp_buffer_clear(out);
    for (unsigned i = 0; i < count; i++) {
        char id[65];
        char data[256];
        char position[32];
        event_id(number + i, id);
        row_data(data, sizeof data, number + i);
        position_text(number + i, position);
        dp_buffer_append_format(out, "%u\t%llu\t0\t0\t\\\\x%s\tpublic\torders\t%s\t%s\t\\N\t\\N\t\\N\n",
                                COPY_STREAM_ID, (unsigned long long)(number + i), id, position, data);
    }
}

static double copy_turn(PGconn *connection, unsigned count, uint64_t *number)
{
    dp_buffer rows = DP_BUFFER_INIT(64u << 20);
    uint64_t stored = 0;
    int64_t spent_us = 0;
    while (spent_us < TURN_US) {
        copy_rows(&rows, *number, count);
        int64_t start_us = dp_clock_monotonic_us();
        execute(connection, "BEGIN", PGRES_COMMAND_OK);
        execute(connection, "COPY etl_state.dpone_event FROM STDIN", PGRES_COPY_IN);
        if (PQputCopyData(connection, rows.data, (int)rows.length) != 1 ||
            PQputCopyEnd(connection, NULL) != 1) {
            fail("COPY", PQerrorMessage(connection));
        }
        PGresult *result;
        while ((result = PQgetResult(connection)) != NULL) {
            if (PQresultStatus(result) != PGRES_COMMAND_OK) fail("COPY", PQerrorMessage(connection));
            PQclear(result);
        }
        execute(connection, "COMMIT", PGRES_COMMAND_OK);
        spent_us += dp_clock_monotonic_us() - start_us;
        *number += count;
        stored += count;
    }
    dp_buffer_release(&rows);
    return (double)stored * 1e6 / (double)spent_us;
}

/* --- ingestion --------------------------------------------------------------------------------------------
 */

typedef struct ingestion {
    dp_journal_api *api;
    char pipeline[32];
    dp_api_reply reply;
    uint64_t number;
} ingestion;

static void build(batch_builder *batch, const char *pipeline, uint64_t *number, unsigned count, char id[65])
{
    batch_begin_as(batch, pipeline, "7000/shop", "v1", NULL);
    for (unsigned done = 0; done < count;) {
        unsigned rows = count - done < MAX_ROWS_A_TRANSACTION ? count - done : MAX_ROWS_A_TRANSACTION;
        unsigned long long xid = *number;
        char position[32];
        for (unsigned i = 0; i < rows; i++) {
            char row_id[65];
            char data[256];
            event_id(*number, row_id);
            row_data(data, sizeof data, *number);
            position_text((*number)++, position);
            dp_buffer_append_format(
                &batch->body,
                "{\"event_id\":\"%s\",\"operation\":\"insert\",\"source_schema\":\"public\","
                "\"source_table\":\"orders\",\"position\":\"%s\",\"transaction_id\":\"%llu\","
                "\"sequence\":0,\"ordinal\":%u,\"data\":%s,\"before\":null,\"unchanged\":[]}\n",
                row_id, position, xid, i, data);
            batch->count++;
        }
        position_text(*number, position);
        dp_buffer_append_format(&batch->body,
                                "{\"type\":\"commit\",\"transaction_id\":\"%llu\",\"end_position\":\"%s\","
                                "\"committed_at\":\"2026-01-02T03:04:05.678901Z\",\"count\":%u}\n",
                                xid, position, rows);
        done += rows;
    }
    batch_end(batch, id);
}

static int64_t ingest_batch(ingestion *self, unsigned count)
{
    batch_builder batch;
    char id[65];
    build(&batch, self->pipeline, &self->number, count, id);
    int64_t start_us = dp_clock_monotonic_us();
    dp_journal_api_ingest(self->api, dp_slice_of_text(self->pipeline), (dp_slice){id, 64}, 1,
                          dp_buffer_slice(&batch.body), &self->reply);
    int64_t spent_us = dp_clock_monotonic_us() - start_us;
    if (self->reply.http_status != 200) fail("ingestion", dp_buffer_text(&self->reply.body));
    dp_buffer_release(&batch.body);
    return spent_us;
}

static double ingest_turn(ingestion *self, unsigned count)
{
    uint64_t stored = 0;
    int64_t spent_us = 0;
    while (spent_us < TURN_US) {
        spent_us += ingest_batch(self, count);
        stored += count;
    }
    return (double)stored * 1e6 / (double)spent_us;
}

static int by_value(const void *left, const void *right)
{
    const double *one = left;
    const double *other = right;
    return (*one > *other) - (*one < *other);
}

static double median(double values[TURN_COUNT])
{
    qsort(values, TURN_COUNT, sizeof values[0], by_value);
    return values[TURN_COUNT / 2];
}

static void compare(ingestion *self, PGconn *connection, unsigned count)
{
    double copy[TURN_COUNT];
    double ingest[TURN_COUNT];
    double ratio[TURN_COUNT];
    uint64_t number = 1;
    char partitions[128];
    execute(connection,
            "TRUNCATE etl_state.dpone_event, etl_state.dpone_transaction, etl_state.dpone_receipt, "
            "etl_state.dpone_stream",
            PGRES_COMMAND_OK);
    snprintf(partitions, sizeof partitions,
             "SELECT etl_state.dpone_event_add_partition(%u, part) FROM generate_series(0, 3) part",
             COPY_STREAM_ID);
    execute(connection, partitions, PGRES_TUPLES_OK);
    self->number = 1;
    ingest_batch(self, count); /* makes the stream and its partition, which the bare COPY finds made */
    for (size_t turn = 0; turn < TURN_COUNT; turn++) {
        copy[turn] = copy_turn(connection, count, &number);
        ingest[turn] = ingest_turn(self, count);
        ratio[turn] = ingest[turn] / copy[turn];
    }
    printf("%10u %16.0f %16.0f %8.2f", count, median(copy), median(ingest), median(ratio));
    printf("  %.2f to %.2f\n", ratio[TURN_COUNT / 4], ratio[TURN_COUNT - 1 - TURN_COUNT / 4]);
    fflush(stdout);
}

static void compare_all(ingestion *self, PGconn *connection, char **sizes)
{
    static char *all[] = {"1", "100", "1000", "10000", NULL};
    printf("%10s %16s %16s %8s\n", "events", "bare COPY/s", "ingestion/s", "ratio");
    for (char **size = *sizes == NULL ? all : sizes; *size != NULL; size++) {
        compare(self, connection, (unsigned)strtoul(*size, NULL, 10));
    }
}

/* --- streams side by side --- */

typedef struct sender {
    ingestion ingestion;
    pthread_t thread;
    int64_t end_us;
    uint64_t stored;
} sender;

static void *send_until_end(void *context)
{
    sender *self = context;
    while (dp_clock_monotonic_us() < self->end_us) {
        ingest_batch(&self->ingestion, 1000);
        self->stored += 1000;
    }
    return NULL;
}

/* Wall-clock time, the making of the batches included: the ratio to one stream counts. */
static double streams_round(dp_journal_api *api, unsigned count)
{
    static sender senders[16];
    static uint64_t start_number = 1;
    uint64_t stored = 0;
    start_number += 100000000;
    int64_t start_us = dp_clock_monotonic_us();
    for (unsigned i = 0; i < count; i++) {
        senders[i] = (sender){
            .ingestion = {.api = api, .reply = DP_API_REPLY_INIT, .number = start_number},
            .end_us = start_us + STREAMS_ROUND_US,
        };
        snprintf(senders[i].ingestion.pipeline, sizeof senders[i].ingestion.pipeline, "stream-%u", i);
        if (pthread_create(&senders[i].thread, NULL, send_until_end, &senders[i]) != 0)
            fail("thread", "refused");
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(senders[i].thread, NULL);
        stored += senders[i].stored;
        dp_api_reply_release(&senders[i].ingestion.reply);
    }
    return (double)stored * 1e6 / (double)(dp_clock_monotonic_us() - start_us);
}

static void scale(dp_journal_api *api)
{
    static const unsigned counts[] = {1, 2, 4, 8, 16};
    double one = 0;
    printf("%10s %16s %8s\n", "streams", "ingestion/s", "ratio");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        double rate = streams_round(api, counts[i]);
        if (i == 0) one = rate;
        printf("%10u %16.0f %8.2f\n", counts[i], rate, rate / one);
        fflush(stdout);
    }
}

static void grow(ingestion *self, unsigned millions)
{
    printf("%10s %16s\n", "million", "us/event");
    for (unsigned million = 1; million <= millions; million++) {
        int64_t spent_us = 0;
        for (unsigned i = 0; i < 1000; i++) {
            spent_us += ingest_batch(self, 1000);
        }
        printf("%10u %16.2f\n", million, (double)spent_us / 1e6);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    ingestion self = {.reply = DP_API_REPLY_INIT, .number = 1, .pipeline = "orders-cdc"};
    dp_error error = DP_ERROR_INIT;
    if (argc < 3) fail("usage", "bench_journal_postgres DSN compare [EVENTS...] | streams | grow MILLIONS");
    const dp_journal_api_options options = {.state_dsn = argv[1], .migrate = true};
    PGconn *connection = PQconnectdb(argv[1]);
    if (PQstatus(connection) != CONNECTION_OK) fail("connect", PQerrorMessage(connection));
    if (dp_journal_api_open(&options, &self.api, &error) != DP_STATUS_OK) fail("open", error.message);
    if (strcmp(argv[2], "compare") == 0) {
        compare_all(&self, connection, argv + 3);
    } else if (strcmp(argv[2], "streams") == 0) {
        scale(self.api);
    } else if (argc > 3 && strcmp(argv[2], "grow") == 0) {
        grow(&self, (unsigned)strtoul(argv[3], NULL, 10));
    } else {
        fail(argv[2], "expected compare, streams or grow MILLIONS");
    }
    dp_journal_api_close(self.api);
    dp_api_reply_release(&self.reply);
    PQfinish(connection);
    return 0;
}
