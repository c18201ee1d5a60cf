/* The promise of an acknowledgement, under full disks, failing writes and syncs, locks and power cuts: what
 * was answered with 200 is there, what was not may be sent again, and the database is sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "services/journal_api.h"
#include "services/state_admin.h"
#include "tests/unit/support/batch_builder.h"
#include "tests/unit/support/faulty_disk.h"
#include "tests/unit/support/temporary_directory.h"

#define PIPELINE DP_SLICE_LITERAL("orders-cdc")

typedef struct fixture {
    temporary_directory directory;
    char dsn[300];
    dp_journal_api *api;
    dp_api_reply reply;
    dp_buffer expected; /* the lines of every transaction whose commit was acknowledged */
    dp_buffer staged;   /* acknowledged lines of a transaction without its commit */
    unsigned xid;       /* of the transaction under way */
    unsigned ordinal;
} fixture;

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);
    *state = self;
    self->reply = (dp_api_reply)DP_API_REPLY_INIT;
    self->expected = (dp_buffer)DP_BUFFER_INIT(1 << 28);
    self->staged = (dp_buffer)DP_BUFFER_INIT(1 << 28);
    self->xid = 10;
    if (!temporary_directory_make(&self->directory)) return -1;
    snprintf(self->dsn, sizeof self->dsn, "sqlite:%s/state.db", self->directory.path);
    faulty_disk_install();
    return 0;
}

static int tear_down(void **state)
{
    fixture *self = *state;
    dp_journal_api_close(self->api);
    faulty_disk_remove();
    dp_api_reply_release(&self->reply);
    dp_buffer_release(&self->expected);
    dp_buffer_release(&self->staged);
    temporary_directory_remove(&self->directory);
    free(self);
    return 0;
}

static bool open_api(fixture *self)
{
    dp_error error = DP_ERROR_INIT;
    const dp_journal_api_options options = {.state_dsn = self->dsn, .migrate = true, .store_wait_ms = 50};
    self->api = NULL;
    return dp_journal_api_open(&options, &self->api, &error) == DP_STATUS_OK;
}

static void close_api(fixture *self)
{
    dp_journal_api_close(self->api);
    self->api = NULL;
}

/* --- batches ------------------------------------------------------------------------------------------- */

/* Builds a batch of one part: rows of the transaction under way, with or without its commit line. */
static void build_part(fixture *self, batch_builder *batch, unsigned rows, bool commit)
{
    batch_begin(batch, NULL);
    for (unsigned i = 0; i < rows; i++) {
        batch_event(batch, self->xid, self->ordinal + i);
    }
    if (commit) batch_commit(batch, self->xid, self->ordinal + rows);
}

static unsigned send(fixture *self, dp_slice body, const char *id)
{
    dp_journal_api_ingest(self->api, PIPELINE, dp_slice_of_text(id), 1, body, &self->reply);
    return self->reply.http_status;
}

/* What an acknowledgement promises. */
static void acknowledge(fixture *self, dp_slice lines, unsigned rows, bool commit)
{
    dp_buffer_append_slice(&self->staged, lines);
    self->ordinal += rows;
    if (!commit) return;
    dp_buffer_append_slice(&self->expected, dp_buffer_slice(&self->staged));
    dp_buffer_clear(&self->staged);
    self->xid++;
    self->ordinal = 0;
}

/* Sends a part until it is acknowledged or `attempts` are used up; true when it was. A refusal must be one
 * that says "try again". */
static bool deliver(fixture *self, unsigned rows, bool commit, unsigned attempts)
{
    batch_builder batch;
    char id[65];
    build_part(self, &batch, rows, commit);
    size_t lines_end = batch.body.length;
    dp_slice body = batch_end(&batch, id);
    unsigned status = 0;
    while (attempts-- > 0 && status != 200) {
        status = send(self, body, id);
        if (status != 200 && (status != 503 || self->reply.retry_after_s == 0)) {
            fail_msg("a fault was answered with %u %s", status, dp_buffer_text(&self->reply.body));
        }
    }
    if (status == 200) {
        acknowledge(self, (dp_slice){body.data + batch.lines_at, lines_end - batch.lines_at}, rows, commit);
    }
    dp_buffer_release(&batch.body);
    return status == 200;
}

/* --- checking ------------------------------------------------------------------------------------------ */

static void read_journal(fixture *self, dp_buffer *out)
{
    const dp_events_query all = {.from = {NULL, 0}};
    dp_events_reader *reader;
    dp_error error = DP_ERROR_INIT;
    char piece[8192];
    size_t length = 1;
    dp_buffer_clear(out);
    dp_events_reader_open(self->api, PIPELINE, &all, &reader, &self->reply);
    if (reader == NULL) return; /* nothing yet */
    while (length > 0) {
        assert_int_equal(dp_events_reader_read(reader, piece, sizeof piece, &length, &error), DP_STATUS_OK);
        dp_buffer_append(out, piece, length);
    }
    dp_events_reader_close(reader);
}

/* Everything acknowledged is there; `exact`: and nothing else. */
static void check_journal(fixture *self, bool exact)
{
    dp_buffer lines = DP_BUFFER_INIT(1 << 28);
    dp_error error = DP_ERROR_INIT;
    read_journal(self, &lines);
    if (lines.length < self->expected.length ||
        (self->expected.length > 0 && memcmp(lines.data, self->expected.data, self->expected.length) != 0)) {
        fail_msg("acknowledged events are missing: %zu bytes of %zu", lines.length, self->expected.length);
    }
    if (exact) assert_int_equal(lines.length, self->expected.length);
    dp_buffer_release(&lines);
    uint8_t digest[DP_SHA256_BYTES];
    if (dp_state_check(self->dsn, digest, &error) != DP_STATUS_OK) fail_msg("%s", error.message);
}

/* --- faults -------------------------------------------------------------------------------------------- */

static void a_full_disk_refuses_and_loses_nothing(void **state)
{
    fixture *self = *state;
    assert_true(open_api(self));
    assert_true(deliver(self, 20, true, 1));
    for (unsigned operations = 1; operations < 8; operations++) {
        faulty_disk_fail(operations, true, SQLITE_FULL);
        assert_false(deliver(self, 200, true, 1));
        assert_string_equal(self->reply.code, "store_full");
        assert_false(deliver(self, 200, true, 1));
        faulty_disk_heal();
        check_journal(self, true);
    }
    assert_true(deliver(self, 200, true, 1));
    close_api(self);
    assert_true(open_api(self));
    check_journal(self, true);
}

/* One run of parts and whole transactions; a fault may hit it once. */
static void run_scenario(fixture *self)
{
    static const struct {
        unsigned rows;
        bool commit;
    } parts[] = {{5, true}, {40, false}, {30, false}, {3, true}, {1, true}, {60, true}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        assert_true(deliver(self, parts[i].rows, parts[i].commit, 4));
    }
}

static void an_error_at_each_write_and_sync_is_survived(void **state)
{
    fixture *self = *state;
    bool reached = true;
    for (unsigned operation = 1; reached; operation++) {
        if (self->api == NULL) assert_true(open_api(self));
        faulty_disk_fail(operation, false, SQLITE_IOERR_WRITE);
        run_scenario(self);
        reached = faulty_disk_failed();
        faulty_disk_heal();
        check_journal(self, true);
        if (operation % 8 == 0) close_api(self);
    }
    assert_true(faulty.operations > 100); /* the loop has met faults */
}

static void an_error_while_opening_is_reported_and_harmless(void **state)
{
    fixture *self = *state;
    bool opened = false;
    for (unsigned operation = 1; !opened; operation++) {
        faulty_disk_fail(operation, false, SQLITE_IOERR_WRITE);
        opened = open_api(self);
        faulty_disk_heal();
        assert_true(operation < 1000);
    }
    assert_true(deliver(self, 3, true, 1));
    check_journal(self, true);
}

static void a_lock_of_another_process_means_try_again(void **state)
{
    fixture *self = *state;
    int ready[2];
    int done[2];
    char byte = 0;
    assert_true(open_api(self));
    assert_true(deliver(self, 3, true, 1));
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *connection;
        sqlite3_vfs_register(faulty.real, 1);
        bool ok = sqlite3_open(self->dsn + strlen("sqlite:"), &connection) == SQLITE_OK &&
                  sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
        byte = ok ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1) _exit(2);
        if (read(done[0], &byte, 1) != 1) _exit(3);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_false(deliver(self, 3, true, 1));
    assert_string_equal(self->reply.code, "store_busy");
    check_journal(self, true); /* readers are not locked out */
    assert_int_equal(write(done[1], &byte, 1), 1);
    waitpid(child, NULL, 0);
    assert_true(deliver(self, 3, true, 1));
    check_journal(self, true);
    close(ready[0]), close(ready[1]), close(done[0]), close(done[1]);
}

/* --- power cuts ---------------------------------------------------------------------------------------- */

/* Delivers parts until the power fails. The part that was under way is delivered again afterwards. */
static void run_until_cut(fixture *self, unsigned *seed)
{
    bool alive = open_api(self);
    while (alive) {
        unsigned rows = 1 + (unsigned)rand_r(seed) % 60;
        bool commit = rand_r(seed) % 3 != 0;
        if (faulty_disk_failed()) break;
        alive = deliver(self, rows, commit, 1);
    }
    faulty_disk_cut_power();
    close_api(self);
}

/* After a cut a sender starts from its stored offset: the transaction that was under way comes again from row
 * 0, and so may the last one that was acknowledged. */
static void begin_again(fixture *self)
{
    self->ordinal = 0;
    dp_buffer_clear(&self->staged);
}

static void an_acknowledged_event_survives_every_power_cut(void **state)
{
    fixture *self = *state;
    unsigned rounds = getenv("DPONE_LONG_TESTS") == NULL ? 60 : 1000;
    unsigned seed = 20260102;
    for (unsigned round = 0; round < rounds; round++) {
        faulty_disk_fail(1 + (unsigned)rand_r(&seed) % 120, true, SQLITE_IOERR_WRITE);
        run_until_cut(self, &seed);
        faulty_disk_restore(&seed);
        begin_again(self);
        assert_true(open_api(self));
        check_journal(self, false);
        /* A commit that was not acknowledged may be there all the same; sending it again tells. */
        dp_buffer lines = DP_BUFFER_INIT(1 << 28);
        read_journal(self, &lines);
        if (lines.length > self->expected.length) {
            dp_buffer_clear(&self->expected);
            dp_buffer_append_slice(&self->expected, dp_buffer_slice(&lines));
            self->xid++;
        }
        dp_buffer_release(&lines);
        close_api(self);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_refuses_and_loses_nothing),
        TEST(an_error_at_each_write_and_sync_is_survived),
        TEST(an_error_while_opening_is_reported_and_harmless),
        TEST(a_lock_of_another_process_means_try_again),
        TEST(an_acknowledged_event_survives_every_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
