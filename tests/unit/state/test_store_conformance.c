/* What every store driver must do, written against the interface. Runs on a SQLite file of its own, or on the
 * database that DPONE_CONFORMANCE_DSN names (another driver's tests set it). Every test uses pipelines of its
 * own, so the database need not be empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cdc/batch_reader.h"
#include "state/journal.h"
#include "state/migrate.h"
#include "state/offsets.h"
#include "tests/unit/support/batch_builder.h"
#include "tests/unit/support/temporary_directory.h"

#define NOW INT64_C(1767323045678901)

static struct {
    temporary_directory directory;
    bool has_directory;
    char dsn[600];
    dp_store *store;
    dp_arena *arena;
    char pipeline[64]; /* of the test that runs */
} suite;

#define DRIVER (suite.store->driver)

static void check(dp_status status, const dp_error *error)
{
    if (status != DP_STATUS_OK) fail_msg("%s: %s", dp_status_name(status), error->message);
}

#define OK(call)                                                                                             \
    do {                                                                                                     \
        dp_error error = DP_ERROR_INIT;                                                                      \
        check((call), &error);                                                                               \
    } while (0)
#define GIVES(expected, call)                                                                                \
    do {                                                                                                     \
        dp_error error = DP_ERROR_INIT;                                                                      \
        assert_int_equal((call), (expected));                                                                \
    } while (0)

static int open_suite(void **state)
{
    dp_error error = DP_ERROR_INIT;
    uint32_t applied;
    const char *given = getenv("DPONE_CONFORMANCE_DSN");
    (void)state;
    if (given == NULL) {
        suite.has_directory = temporary_directory_make(&suite.directory);
        snprintf(suite.dsn, sizeof suite.dsn, "sqlite:%s/state.db", suite.directory.path);
    } else {
        snprintf(suite.dsn, sizeof suite.dsn, "%s", given);
    }
    suite.arena = dp_arena_new(4096, 1 << 24);
    if (dp_store_connect(suite.dsn, NULL, &suite.store, &error) != DP_STATUS_OK ||
        dp_schema_migrate(suite.store, NOW, &applied, &error) != DP_STATUS_OK) {
        print_error("%s\n", error.message);
        return -1;
    }
    return 0;
}

static int close_suite(void **state)
{
    (void)state;
    dp_store_close(suite.store);
    dp_arena_free(suite.arena);
    if (suite.has_directory) temporary_directory_remove(&suite.directory);
    return 0;
}

static int begin_test(void **state)
{
    static unsigned number;
    (void)state;
    dp_arena_reset(suite.arena);
    snprintf(suite.pipeline, sizeof suite.pipeline, "p%d-%u-%lld", (int)getpid(), ++number,
             (long long)dp_clock_wall_us());
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    DRIVER->rollback(suite.store);
    return 0;
}

static void begin(void)
{
    OK(DRIVER->begin(suite.store, true, &error));
}

static void commit(void)
{
    OK(DRIVER->commit(suite.store, &error));
}

/* A driver may send rows without waiting: what is wrong with them shows at the commit at the latest. */
static void expect_conflict(dp_status status)
{
    dp_error error = DP_ERROR_INIT;
    if (status == DP_STATUS_OK) {
        status = DRIVER->commit(suite.store, &error);
    } else {
        DRIVER->rollback(suite.store);
    }
    assert_int_equal(status, DP_STATUS_CONFLICT);
}

#define EXPECT_CONFLICT(call)                                                                                \
    do {                                                                                                     \
        dp_error error = DP_ERROR_INIT;                                                                      \
        expect_conflict((call));                                                                             \
    } while (0)

static dp_stream_key key_of(const char *source)
{
    return (dp_stream_key){dp_slice_of_text(suite.pipeline), dp_slice_of_text(source),
                           DP_BACKEND_POSTGRES_LOGICAL};
}

static dp_position position_of(unsigned number)
{
    dp_position position = {.bytes = {0}};
    for (size_t i = 0; i < 4; i++) {
        position.bytes[9 - i] = (uint8_t)(number >> (8 * i));
    }
    return position;
}

/* Inside a write transaction. */
static dp_stream open_stream(void)
{
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    OK(DRIVER->stream_open(suite.store, &key, DP_IDENTITY_V1, NOW, suite.arena, &stream, &error));
    return stream;
}

/* --- schema -------------------------------------------------------------------------------------------- */

static void a_migrated_database_is_current(void **state)
{
    (void)state;
    uint32_t applied = 99;
    dp_schema_state schema;
    OK(dp_schema_migrate(suite.store, NOW, &applied, &error));
    assert_int_equal(applied, 0);
    OK(dp_schema_inspect(suite.store, &schema, &error));
    assert_int_equal(schema.applied, schema.known);
    OK(dp_schema_require(suite.store, &error));
}

static void what_is_rolled_back_is_not_there(void **state)
{
    (void)state;
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    begin();
    open_stream();
    DRIVER->rollback(suite.store);
    DRIVER->rollback(suite.store); /* harmless when none is open */
    GIVES(DP_STATUS_NOT_FOUND, DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
}

static void a_reader_sees_what_was_committed_and_cannot_write(void **state)
{
    (void)state;
    static const dp_store_options read_only = {.read_only = true};
    dp_store *reader;
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    OK(dp_store_open(suite.dsn, &read_only, &reader, &error));
    begin();
    open_stream();
    GIVES(DP_STATUS_NOT_FOUND, DRIVER->stream_find(reader, &key, suite.arena, &stream, &error));
    commit();
    OK(DRIVER->stream_find(reader, &key, suite.arena, &stream, &error));
    dp_error error = DP_ERROR_INIT;
    dp_status status = DRIVER->begin(reader, true, &error);
    const dp_audit_row row = {
        .actor = DP_SLICE_LITERAL("a"), .action = DP_SLICE_LITERAL("b"), .subject = DP_SLICE_LITERAL("c")};
    if (status == DP_STATUS_OK) status = DRIVER->audit_insert(reader, &row, &error);
    assert_true(status != DP_STATUS_OK);
    dp_store_close(reader);
}

/* --- streams ------------------------------------------------------------------------------------------- */

static void a_stream_keeps_everything_that_is_saved(void **state)
{
    (void)state;
    dp_stream found;
    const dp_stream_key key = key_of("s");
    begin();
    dp_stream stream = open_stream();
    assert_int_equal(stream.next_event_number, 1);
    assert_false(stream.has_high || stream.has_pruned || stream.has_passed || stream.has_staged);
    assert_null(stream.settings.data);
    stream.next_event_number = INT64_C(1) << 40;
    stream.has_high = stream.has_pruned = stream.has_passed = stream.has_staged = true;
    stream.high = position_of(3);
    stream.pruned = position_of(1);
    stream.passed = position_of(2);
    stream.staged_transaction_id = DP_SLICE_LITERAL("900");
    stream.staged_first_number = 77;
    stream.staged_count = 5;
    stream.transaction_count = 11;
    stream.event_count = 12;
    stream.settings = DP_SLICE_LITERAL("{\"slot\":\"s\"}");
    stream.updated_at_us = NOW + 5;
    OK(DRIVER->stream_save(suite.store, &stream, &error));
    commit();
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &found, &error));
    assert_int_equal(found.stream_id, stream.stream_id);
    assert_int_equal(found.identity, DP_IDENTITY_V1);
    assert_true(found.next_event_number == stream.next_event_number);
    assert_memory_equal(&found.high, &stream.high, sizeof found.high);
    assert_memory_equal(&found.pruned, &stream.pruned, sizeof found.pruned);
    assert_memory_equal(&found.passed, &stream.passed, sizeof found.passed);
    assert_true(found.has_staged && dp_slice_equal_text(found.staged_transaction_id, "900"));
    assert_int_equal(found.staged_first_number, 77);
    assert_int_equal(found.staged_count, 5);
    assert_int_equal(found.transaction_count, 11);
    assert_int_equal(found.event_count, 12);
    assert_true(dp_slice_equal_text(found.settings, "{\"slot\":\"s\"}"));
    assert_true(found.created_at_us == NOW && found.updated_at_us == NOW + 5);
}

static dp_status count_stream(void *context, const dp_stream *row, dp_error *error)
{
    unsigned *count = context;
    (void)row, (void)error;
    return ++*count == 2 ? DP_STATUS_CANCELLED : DP_STATUS_OK;
}

static void streams_of_a_pipeline_are_told_apart(void **state)
{
    (void)state;
    unsigned count = 0;
    dp_stream streams[3];
    static const char *const sources[] = {"a", "b", "c"};
    begin();
    for (size_t i = 0; i < 3; i++) {
        dp_stream_key key = key_of(sources[i]);
        OK(DRIVER->stream_open(suite.store, &key, DP_IDENTITY_DPONE_PY, NOW, suite.arena, &streams[i],
                               &error));
    }
    commit();
    assert_true(streams[0].stream_id != streams[1].stream_id && streams[1].stream_id != streams[2].stream_id);
    dp_row_visitor visitor = {.context = &count, .stream = count_stream};
    OK(DRIVER->stream_list(suite.store, dp_slice_of_text(suite.pipeline), &visitor, &error));
    assert_int_equal(count, 2); /* ended early, which is no error */
}

static void event_numbers_are_never_given_twice(void **state)
{
    (void)state;
    int64_t first;
    int64_t second;
    begin();
    dp_stream stream = open_stream();
    OK(DRIVER->reserve_numbers(suite.store, &stream, 100, &first, &error));
    stream.next_event_number = first + 100;
    OK(DRIVER->stream_save(suite.store, &stream, &error));
    OK(DRIVER->reserve_numbers(suite.store, &stream, 1, &second, &error));
    assert_true(second >= first + 100);
    stream.next_event_number = INT64_C(1) << 62;
    GIVES(DP_STATUS_FULL, DRIVER->reserve_numbers(suite.store, &stream, 1, &second, &error));
}

/* --- transactions -------------------------------------------------------------------------------------- */

typedef struct seen_transactions {
    unsigned count;
    dp_transaction_row rows[16];
    char ids[16][8];
} seen_transactions;

static dp_status see_transaction(void *context, const dp_transaction_row *row, dp_error *error)
{
    seen_transactions *seen = context;
    (void)error;
    snprintf(seen->ids[seen->count], 8, "%.*s", (int)row->transaction_id.length,
             row->transaction_id.data == NULL ? "" : row->transaction_id.data);
    seen->rows[seen->count++] = *row;
    return DP_STATUS_OK;
}

static void transactions_are_found_and_read_in_order(void **state)
{
    (void)state;
    static const unsigned ends[] = {10, 20, 300, 70000};
    dp_transaction_row rows[4];
    begin();
    dp_stream stream = open_stream();
    for (size_t i = 0; i < 4; i++) {
        rows[i] = (dp_transaction_row){.end_position = position_of(ends[i]),
                                       .transaction_id = DP_SLICE_LITERAL("9"),
                                       .has_committed_at = true,
                                       .committed_at_us = NOW - 1,
                                       .stored_at_us = NOW,
                                       .first_number = (int64_t)i * 10,
                                       .event_count = i + 1};
    }
    rows[3].transaction_id = (dp_slice){NULL, 0};
    rows[3].has_committed_at = false;
    OK(DRIVER->transactions_insert(suite.store, stream.stream_id, rows, 4, &error));
    commit();

    seen_transactions seen = {.count = 0};
    dp_row_visitor visitor = {.context = &seen, .transaction = see_transaction};
    const dp_position wanted[] = {position_of(10), position_of(11), position_of(70000)};
    OK(DRIVER->transactions_find(suite.store, stream.stream_id, wanted, 3, &visitor, &error));
    assert_int_equal(seen.count, 2);
    assert_memory_equal(&seen.rows[0].end_position, &wanted[0], sizeof wanted[0]);
    assert_string_equal(seen.ids[0], "9");
    assert_true(seen.rows[0].has_committed_at && seen.rows[0].committed_at_us == NOW - 1);
    assert_true(seen.rows[0].stored_at_us == NOW);
    assert_null(seen.rows[1].transaction_id.data);
    assert_false(seen.rows[1].has_committed_at);
    assert_int_equal(seen.rows[1].first_number, 30);
    assert_int_equal(seen.rows[1].event_count, 4);

    static const struct {
        unsigned from;
        unsigned to;
        uint64_t limit;
        unsigned expected;
    } windows[] = {{0, 0, 0, 4},    {10, 0, 0, 3}, {9, 0, 0, 4},    {0, 20, 0, 2},
                   {10, 300, 0, 2}, {0, 0, 3, 3},  {70000, 0, 0, 0}};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const dp_transaction_window window = {.has_from = windows[i].from != 0,
                                              .from = position_of(windows[i].from),
                                              .has_to = windows[i].to != 0,
                                              .to = position_of(windows[i].to),
                                              .limit = windows[i].limit};
        seen.count = 0;
        OK(DRIVER->transactions_read(suite.store, stream.stream_id, &window, &visitor, &error));
        assert_int_equal(seen.count, windows[i].expected);
    }
    begin();
    EXPECT_CONFLICT(DRIVER->transactions_insert(suite.store, stream.stream_id, rows, 1, &error));
    begin();
    OK(DRIVER->transactions_delete(suite.store, stream.stream_id, position_of(20), &error));
    commit();
    seen.count = 0;
    const dp_transaction_window all = {.limit = 0};
    OK(DRIVER->transactions_read(suite.store, stream.stream_id, &all, &visitor, &error));
    assert_int_equal(seen.count, 2);
}

/* --- events -------------------------------------------------------------------------------------------- */

typedef struct seen_events {
    unsigned count;
    int64_t numbers[64];
    bool all_equal;
    const dp_event *expected; /* one for each, or NULL */
} seen_events;

static bool same(dp_slice left, dp_slice right)
{
    return (left.data == NULL) == (right.data == NULL) && dp_slice_equal(left, right);
}

static dp_status see_event(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    seen_events *seen = context;
    (void)error;
    if (seen->expected != NULL) {
        const dp_event *expected = &seen->expected[seen->count];
        seen->all_equal =
            seen->all_equal && memcmp(&row->id, &expected->id, sizeof row->id) == 0 && row->has_id &&
            row->operation == expected->operation && row->has_sequence == expected->has_sequence &&
            row->sequence == expected->sequence && same(row->source_schema, expected->source_schema) &&
            same(row->source_table, expected->source_table) && same(row->position, expected->position) &&
            same(row->data, expected->data) && same(row->before, expected->before) &&
            same(row->unchanged, expected->unchanged) && same(row->metadata, expected->metadata);
    }
    seen->numbers[seen->count++] = number;
    return seen->count == 64 ? DP_STATUS_CANCELLED : DP_STATUS_OK;
}

static void events_keep_every_field(void **state)
{
    (void)state;
    /* Tabs, newlines, backslashes, quotes and text beyond ASCII: whatever a bulk format could trip over. */
    dp_event events[] = {
        {.has_id = true,
         .id = {.bytes = {0, 1, 2, 0x5c, 0x0a, 0x09, 255}},
         .operation = DP_OPERATION_UPDATE,
         .has_sequence = true,
         .sequence = INT64_MAX,
         .source_schema = DP_SLICE_LITERAL("pub\tlic\n"),
         .source_table = DP_SLICE_LITERAL("t\\N\"'"),
         .position = DP_SLICE_LITERAL("0/16B6C50"),
         .data = DP_SLICE_LITERAL("{\"a\":\"\xc3\xa9\\u0000\\n\\\\N\", \"b\" : 1.50}"),
         .before = DP_SLICE_LITERAL("{\"a\":null}"),
         .unchanged = DP_SLICE_LITERAL("[\"doc\"]"),
         .metadata = DP_SLICE_LITERAL("{\"k\":1}")},
        {.has_id = true,
         .id = {.bytes = {9}},
         .operation = DP_OPERATION_TRUNCATE,
         .source_schema = DP_SLICE_LITERAL("s"),
         .source_table = DP_SLICE_LITERAL("t"),
         .position = DP_SLICE_LITERAL("0/1"),
         .data = DP_SLICE_LITERAL("{}")},
        {.has_id = true,
         .id = {.bytes = {10}},
         .operation = DP_OPERATION_DELETE,
         .has_sequence = true,
         .source_schema = DP_SLICE_LITERAL("s"),
         .source_table = DP_SLICE_LITERAL("t"),
         .position = DP_SLICE_LITERAL("0/2"),
         .data = DP_SLICE_LITERAL("{\"id\":1}")},
    };
    int64_t first;
    begin();
    dp_stream stream = open_stream();
    OK(DRIVER->reserve_numbers(suite.store, &stream, 1000, &first, &error));
    const dp_event_run runs[] = {{first, events, 2}, {first + 50, events + 2, 1}};
    OK(DRIVER->events_insert(suite.store, stream.stream_id, runs, 2, &error));
    stream.next_event_number = first + 1000;
    OK(DRIVER->stream_save(suite.store, &stream, &error));
    commit();
    seen_events seen = {.all_equal = true, .expected = events};
    dp_row_visitor visitor = {.context = &seen, .event = see_event};
    const dp_number_range ranges[] = {{first, 10}, {first + 20, 5}, {first + 50, 1}};
    OK(DRIVER->events_read(suite.store, stream.stream_id, ranges, 3, &visitor, &error));
    assert_int_equal(seen.count, 3);
    assert_true(seen.all_equal);
    assert_true(seen.numbers[0] == first && seen.numbers[1] == first + 1 && seen.numbers[2] == first + 50);
    begin();
    EXPECT_CONFLICT(DRIVER->events_insert(suite.store, stream.stream_id, runs, 1, &error));
    begin();
    const dp_number_range second_on = {first + 1, 100};
    OK(DRIVER->events_delete(suite.store, stream.stream_id, second_on, &error));
    commit();
    seen = (seen_events){.all_equal = true, .expected = events};
    OK(DRIVER->events_read(suite.store, stream.stream_id, ranges, 3, &visitor, &error));
    assert_int_equal(seen.count, 1);
}

/* Event number `index` of the many: every third, or every one, has what the others have not. */
static dp_event one_of_many(size_t index, bool is_mixed)
{
    static const char *const data[] = {"{\"a\":1}", "{\"a\":\"\\\\t\"}", "{}"};
    bool differs = is_mixed && index % 3 == 1;
    dp_event event = {.has_id = true,
                      .operation = index % 2 == 0 ? DP_OPERATION_INSERT : DP_OPERATION_DELETE,
                      .has_sequence = index % 5 != 0,
                      .sequence = index % 5 != 0 ? index : 0,
                      .source_schema = dp_slice_of_text(differs ? "other" : "s"),
                      .source_table = dp_slice_of_text(differs ? "" : "t"),
                      .position = dp_slice_of_text(index % 7 == 0 ? "0/1" : "0/2"),
                      .data = dp_slice_of_text(data[index % 3]),
                      .before = differs ? DP_SLICE_LITERAL("{\"a\":0}") : (dp_slice){NULL, 0},
                      .unchanged = differs ? (dp_slice){NULL, 0} : DP_SLICE_LITERAL("[\"doc\"]"),
                      .metadata = differs ? DP_SLICE_LITERAL("") : (dp_slice){NULL, 0}};
    memcpy(event.id.bytes, &index, sizeof index);
    return event;
}

typedef struct many_events {
    bool is_mixed;
    size_t count;
    size_t equal_count;
    int64_t first_number;
    size_t gap_at; /* numbers from this event on are greater by 10 */
} many_events;

static dp_status compare_one_of_many(void *context, int64_t number, const dp_event *row, dp_error *error)
{
    many_events *many = context;
    dp_event expected = one_of_many(many->count, many->is_mixed);
    seen_events seen = {.all_equal = true, .expected = &expected};
    dp_status status = see_event(&seen, number, row, error);
    int64_t wanted = many->first_number + (int64_t)many->count + (many->count < many->gap_at ? 0 : 10);
    if (seen.all_equal && number == wanted) many->equal_count++;
    many->count++;
    return status;
}

/* However many travel together, and whatever they have in common. */
static void check_many_events(size_t count, bool is_mixed)
{
    dp_event *events = calloc(count, sizeof *events);
    many_events many = {.is_mixed = is_mixed, .gap_at = count / 3};
    assert_non_null(events);
    begin();
    dp_stream stream = open_stream();
    OK(DRIVER->reserve_numbers(suite.store, &stream, count + 10, &many.first_number, &error));
    for (size_t i = 0; i < count; i++) {
        events[i] = one_of_many(i, is_mixed);
    }
    const dp_event_run runs[] = {{many.first_number, events, many.gap_at},
                                 {many.first_number + 10 + (int64_t)many.gap_at, events + many.gap_at,
                                  count - many.gap_at}};
    bool one_run = many.gap_at == 0;
    OK(DRIVER->events_insert(suite.store, stream.stream_id, one_run ? runs + 1 : runs, one_run ? 1 : 2,
                             &error));
    stream.next_event_number = many.first_number + (int64_t)count + 10;
    OK(DRIVER->stream_save(suite.store, &stream, &error));
    commit();
    dp_row_visitor visitor = {.context = &many, .event = compare_one_of_many};
    const dp_number_range all = {many.first_number, count + 10};
    OK(DRIVER->events_read(suite.store, stream.stream_id, &all, 1, &visitor, &error));
    assert_int_equal(many.count, count);
    assert_int_equal(many.equal_count, count);
    free(events);
}

static void any_number_of_events_keeps_every_field(void **state)
{
    static const size_t counts[] = {1, 2, 100, 511, 512, 513, 1200, 1201, 2500};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        check_many_events(counts[i], false);
        check_many_events(counts[i], true);
    }
}

static void a_reading_may_end_early_and_start_again(void **state)
{
    (void)state;
    dp_event events[200];
    int64_t first;
    begin();
    dp_stream stream = open_stream();
    OK(DRIVER->reserve_numbers(suite.store, &stream, 200, &first, &error));
    for (size_t i = 0; i < 200; i++) {
        events[i] = (dp_event){.has_id = true,
                               .source_schema = DP_SLICE_LITERAL("s"),
                               .source_table = DP_SLICE_LITERAL("t"),
                               .position = DP_SLICE_LITERAL("0/1"),
                               .data = DP_SLICE_LITERAL("{}")};
    }
    const dp_event_run run = {first, events, 200};
    OK(DRIVER->events_insert(suite.store, stream.stream_id, &run, 1, &error));
    stream.next_event_number = first + 200;
    OK(DRIVER->stream_save(suite.store, &stream, &error));
    commit();
    for (int i = 0; i < 3; i++) {
        seen_events seen = {.count = 0};
        dp_row_visitor visitor = {.context = &seen, .event = see_event};
        const dp_number_range all = {first, 200};
        OK(DRIVER->events_read(suite.store, stream.stream_id, &all, 1, &visitor, &error));
        assert_int_equal(seen.count, 64);
    }
}

/* --- receipts ------------------------------------------------------------------------------------------ */

static dp_receipt_row receipt_of(int64_t stream_id, const char *key, bool staged, int64_t at_us)
{
    return (dp_receipt_row){.pipeline = dp_slice_of_text(suite.pipeline),
                            .source = DP_SLICE_LITERAL("s"),
                            .identity = DP_IDENTITY_V1,
                            .idempotency_key = dp_slice_of_text(key),
                            .stream_id = stream_id,
                            .batch_id = {1, 2, 3},
                            .staged = staged,
                            .http_status = 200,
                            .body = DP_SLICE_LITERAL("{\"a\":\"\\\\\"}"),
                            .created_at_us = at_us};
}

static dp_status find_receipt(const char *key, dp_receipt_row *receipt)
{
    dp_error error = DP_ERROR_INIT;
    *receipt = (dp_receipt_row){.pipeline = dp_slice_of_text(suite.pipeline),
                                .source = DP_SLICE_LITERAL("s"),
                                .identity = DP_IDENTITY_V1,
                                .idempotency_key = dp_slice_of_text(key)};
    return DRIVER->receipt_find(suite.store, receipt, suite.arena, &error);
}

static void receipts_are_found_by_their_key(void **state)
{
    (void)state;
    dp_receipt_row found;
    begin();
    dp_stream stream = open_stream();
    const dp_receipt_row rows[] = {receipt_of(stream.stream_id, "k1", false, NOW),
                                   receipt_of(stream.stream_id, "K1", false, NOW + 1)};
    OK(DRIVER->receipt_insert(suite.store, &rows[0], &error));
    OK(DRIVER->receipt_insert(suite.store, &rows[1], &error));
    commit();
    assert_int_equal(find_receipt("k1", &found), DP_STATUS_OK);
    assert_memory_equal(found.batch_id, rows[0].batch_id, sizeof found.batch_id);
    assert_true(dp_slice_equal(found.body, rows[0].body));
    assert_int_equal(found.http_status, 200);
    assert_true(found.created_at_us == NOW && found.stream_id == stream.stream_id && !found.staged);
    assert_int_equal(find_receipt("k2", &found), DP_STATUS_NOT_FOUND);
    OK(DRIVER->receipt_last(suite.store, stream.stream_id, suite.arena, &found, &error));
    assert_true(found.created_at_us == NOW + 1);
    begin();
    EXPECT_CONFLICT(DRIVER->receipt_insert(suite.store, &rows[0], &error));
    begin();
    OK(DRIVER->receipts_delete(suite.store, stream.stream_id, NOW + 1, &error));
    commit();
    assert_int_equal(find_receipt("k1", &found), DP_STATUS_NOT_FOUND);
    assert_int_equal(find_receipt("K1", &found), DP_STATUS_OK);
}

static void what_is_expected_is_found_or_given_up(void **state)
{
    (void)state;
    const dp_stream_key key = key_of("s");
    dp_receipt_row found = receipt_of(0, "k1", false, NOW);
    if (DRIVER->stream_expect == NULL) return;
    for (int round = 0; round < 3; round++) { /* a new stream; one without the receipt; one with it */
        begin();
        OK(DRIVER->stream_expect(suite.store, &key, &found, &error));
        DRIVER->rollback(suite.store);
        begin();
        OK(DRIVER->stream_expect(suite.store, &key, &found, &error));
        dp_stream stream = open_stream();
        assert_int_equal(find_receipt("k1", &found), round < 2 ? DP_STATUS_NOT_FOUND : DP_STATUS_OK);
        const dp_receipt_row row = receipt_of(stream.stream_id, "k1", false, NOW);
        if (round == 1) OK(DRIVER->receipt_insert(suite.store, &row, &error));
        commit();
    }
    assert_true(found.created_at_us == NOW);
}

static void receipts_of_staged_batches_are_dropped_together(void **state)
{
    (void)state;
    dp_receipt_row found;
    begin();
    dp_stream stream = open_stream();
    const dp_receipt_row plain = receipt_of(stream.stream_id, "plain", false, NOW);
    const dp_receipt_row dropped = receipt_of(stream.stream_id, "dropped", true, NOW);
    OK(DRIVER->receipt_insert(suite.store, &dropped, &error));
    OK(DRIVER->receipts_delete(suite.store, stream.stream_id, NOW + 1, &error)); /* leaves staged ones */
    commit();
    assert_int_equal(find_receipt("dropped", &found), DP_STATUS_OK);
    begin();
    OK(DRIVER->receipt_insert(suite.store, &plain, &error));
    OK(DRIVER->receipts_drop_staged(suite.store, stream.stream_id, &error));
    commit();
    assert_int_equal(find_receipt("plain", &found), DP_STATUS_OK);
    assert_int_equal(find_receipt("dropped", &found), DP_STATUS_NOT_FOUND);
}

/* --- offsets, quarantine, audit ------------------------------------------------------------------------ */

static dp_offset_row offset_of(const char *schema, const char *table, const char *token)
{
    return (dp_offset_row){.pipeline_name = dp_slice_of_text(suite.pipeline),
                           .source_schema = dp_slice_of_text(schema),
                           .source_table = dp_slice_of_text(table),
                           .backend = DP_SLICE_LITERAL("postgres_logical"),
                           .token = dp_slice_of_text(token),
                           .snapshot_complete = true};
}

static void an_offset_is_inserted_then_updated(void **state)
{
    (void)state;
    dp_offset_row row = offset_of("s", "t", "0/1");
    dp_offset_row found = offset_of("s", "t", "");
    OK(DRIVER->offset_save(suite.store, &row, NOW, &error));
    row.token = DP_SLICE_LITERAL("0/2");
    row.snapshot_complete = false;
    OK(DRIVER->offset_save(suite.store, &row, NOW + 1000000, &error));
    OK(DRIVER->offset_find(suite.store, &found, suite.arena, &error));
    assert_true(dp_slice_equal_text(found.token, "0/2"));
    assert_false(found.snapshot_complete);
    assert_true(found.loaded_at_us == NOW);
    assert_true(found.updated_at_us == NOW + 1000000);
    found = offset_of("s", "T", "");
    GIVES(DP_STATUS_NOT_FOUND, DRIVER->offset_find(suite.store, &found, suite.arena, &error));
    OK(DRIVER->offset_delete(suite.store, &row, &error));
    GIVES(DP_STATUS_NOT_FOUND, DRIVER->offset_delete(suite.store, &row, &error));
}

static void loading_falls_back_and_saving_keeps_one_scope(void **state)
{
    (void)state;
    dp_offset_save star = {.row = offset_of("*", "*", "0/100")};
    dp_offset_save table = {.row = offset_of("s", "t", "0/100")};
    dp_offset_row found = offset_of("s", "t", "");
    const dp_actor nobody = {.who = {NULL, 0}};
    GIVES(DP_STATUS_NOT_FOUND, dp_offsets_load(suite.store, &found, suite.arena, &error));
    OK(dp_offsets_save(suite.store, &star, NOW, &error));
    OK(dp_offsets_load(suite.store, &found, suite.arena, &error));
    assert_true(dp_slice_equal_text(found.source_schema, "*"));
    GIVES(DP_STATUS_CONFLICT, dp_offsets_save(suite.store, &table, NOW, &error));
    star.row.token = DP_SLICE_LITERAL("0/99");
    GIVES(DP_STATUS_BLOCKED, dp_offsets_save(suite.store, &star, NOW, &error));
    star.allow_rewind = true;
    OK(dp_offsets_save(suite.store, &star, NOW, &error));
    OK(dp_offsets_delete(suite.store, &star.row, &nobody, NOW, &error));
    OK(dp_offsets_save(suite.store, &table, NOW, &error));
    GIVES(DP_STATUS_CONFLICT, dp_offsets_save(suite.store, &star, NOW, &error));
}

typedef struct seen_rows {
    unsigned count;
    int64_t last_id;
    char text[64];
    bool has_null;
    dp_quarantine_state state;
} seen_rows;

static dp_status see_quarantine(void *context, const dp_quarantine_row *row, dp_error *error)
{
    seen_rows *seen = context;
    (void)error;
    seen->count++;
    seen->last_id = row->quarantine_id;
    seen->state = row->state;
    seen->has_null = row->position.data == NULL;
    snprintf(seen->text, sizeof seen->text, "%.*s", DP_SLICE_PRINT(row->event));
    return DP_STATUS_OK;
}

static void quarantine_is_listed_and_resolved_once(void **state)
{
    (void)state;
    const dp_slice pipeline = dp_slice_of_text(suite.pipeline);
    dp_quarantine_row rows[2];
    for (size_t i = 0; i < 2; i++) {
        rows[i] = (dp_quarantine_row){.pipeline = pipeline,
                                      .source = DP_SLICE_LITERAL("s"),
                                      .backend = DP_SLICE_LITERAL("postgres_logical"),
                                      .source_schema = DP_SLICE_LITERAL("public"),
                                      .source_table = DP_SLICE_LITERAL("t"),
                                      .reason = DP_SLICE_LITERAL("key_missing"),
                                      .detail = DP_SLICE_LITERAL("no key"),
                                      .event = DP_SLICE_LITERAL("{\"a\":\"\\n\"}"),
                                      .created_at_us = NOW};
    }
    begin();
    uint64_t inserted_count = 0;
    OK(DRIVER->quarantine_insert(suite.store, rows, 2, &inserted_count, &error));
    commit();
    assert_int_equal(inserted_count, 2);
    seen_rows seen = {.count = 0};
    dp_row_visitor visitor = {.context = &seen, .quarantine = see_quarantine};
    const dp_quarantine_state open = DP_QUARANTINE_OPEN;
    OK(DRIVER->quarantine_list(suite.store, pipeline, &open, 0, 0, &visitor, &error));
    assert_int_equal(seen.count, 2);
    assert_true(seen.has_null);
    assert_string_equal(seen.text, "{\"a\":\"\\n\"}");
    const dp_quarantine_row resolved = {.quarantine_id = seen.last_id,
                                        .state = DP_QUARANTINE_DISCARDED,
                                        .resolved_at_us = NOW,
                                        .resolved_by = DP_SLICE_LITERAL("ann"),
                                        .resolution = DP_SLICE_LITERAL("test data")};
    OK(DRIVER->quarantine_resolve(suite.store, &resolved, &error));
    GIVES(DP_STATUS_NOT_FOUND, DRIVER->quarantine_resolve(suite.store, &resolved, &error));
    seen.count = 0;
    OK(DRIVER->quarantine_list(suite.store, pipeline, &open, 0, 0, &visitor, &error));
    assert_int_equal(seen.count, 1);
    seen.count = 0;
    OK(DRIVER->quarantine_list(suite.store, pipeline, NULL, seen.last_id, 0, &visitor, &error));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.state, DP_QUARANTINE_DISCARDED);
    seen.count = 0;
    OK(DRIVER->quarantine_list(suite.store, pipeline, NULL, 0, 1, &visitor, &error));
    assert_int_equal(seen.count, 1);
}

static uint64_t put_poison(const char *source, const char *event, const char *key)
{
    uint64_t inserted_count = 99;
    const dp_quarantine_row row = {.pipeline = dp_slice_of_text(suite.pipeline),
                                   .source = dp_slice_of_text(source),
                                   .backend = DP_SLICE_LITERAL("postgres_logical"),
                                   .source_schema = DP_SLICE_LITERAL("public"),
                                   .source_table = DP_SLICE_LITERAL("t"),
                                   .reason = DP_SLICE_LITERAL("key_missing"),
                                   .detail = DP_SLICE_LITERAL("no key"),
                                   .event = dp_slice_of_text(event),
                                   .event_key = dp_slice_of_text(key),
                                   .state = DP_QUARANTINE_REPLAYED,
                                   .created_at_us = NOW,
                                   .resolved_at_us = NOW + 1,
                                   .resolved_by = DP_SLICE_LITERAL("ann"),
                                   .resolution = DP_SLICE_LITERAL("mended")};
    begin();
    OK(DRIVER->quarantine_insert(suite.store, &row, 1, &inserted_count, &error));
    commit();
    return inserted_count;
}

static dp_status see_key(void *context, const dp_quarantine_row *row, dp_error *error)
{
    char *text = context;
    (void)error;
    assert_int_equal(row->state, DP_QUARANTINE_REPLAYED);
    assert_true(row->resolved_at_us == NOW + 1);
    assert_true(dp_slice_equal_text(row->resolved_by, "ann"));
    assert_true(dp_slice_equal_text(row->resolution, "mended"));
    size_t used = strlen(text);
    snprintf(text + used, 200 - used, "%.*s ", DP_SLICE_PRINT(row->event_key));
    return DP_STATUS_OK;
}

static void quarantine_keeps_an_event_once(void **state)
{
    (void)state;
    char key_1[80], key_2[80], expected[200], seen[200] = "";
    snprintf(key_1, sizeof key_1, "1-%s", suite.pipeline); /* keys are unique in the whole store */
    snprintf(key_2, sizeof key_2, "2-%s", suite.pipeline);
    assert_int_equal(put_poison("s", "{\"a\":1}", key_1), 1);
    assert_int_equal(put_poison("s", "{\"a\":1}", key_1), 0);
    /* rows from before there were keys: both stay, and their event is found by its text */
    assert_int_equal(put_poison("", "{\"a\":2}", NULL), 1);
    assert_int_equal(put_poison("", "{\"a\":2}", NULL), 1);
    assert_int_equal(put_poison("s", "{\"a\":2}", key_2), 0);
    assert_int_equal(put_poison("t", "{\"a\":3}", NULL), 1);
    assert_int_equal(put_poison("s", "{\"a\":3}", key_2), 1);
    dp_row_visitor visitor = {.context = seen, .quarantine = see_key};
    OK(DRIVER->quarantine_list(suite.store, dp_slice_of_text(suite.pipeline), NULL, 0, 0, &visitor, &error));
    snprintf(expected, sizeof expected, "%s    %s ", key_1, key_2);
    assert_string_equal(seen, expected);
}

static dp_status see_audit(void *context, const dp_audit_row *row, dp_error *error)
{
    seen_rows *seen = context;
    (void)error;
    seen->last_id = row->audit_id;
    if (seen->count++ == 0) snprintf(seen->text, sizeof seen->text, "%.*s", DP_SLICE_PRINT(row->action));
    return DP_STATUS_OK;
}

static void the_audit_is_read_newest_first(void **state)
{
    (void)state;
    const dp_slice pipeline = dp_slice_of_text(suite.pipeline);
    static const char *const actions[] = {"first", "second", "third"};
    for (size_t i = 0; i < 3; i++) {
        const dp_audit_row row = {.at_us = NOW + (int64_t)i,
                                  .actor = DP_SLICE_LITERAL("ann"),
                                  .action = dp_slice_of_text(actions[i]),
                                  .pipeline = pipeline,
                                  .subject = DP_SLICE_LITERAL("x")};
        OK(DRIVER->audit_insert(suite.store, &row, &error));
    }
    seen_rows seen = {.count = 0};
    dp_row_visitor visitor = {.context = &seen, .audit = see_audit};
    OK(DRIVER->audit_list(suite.store, pipeline, INT64_MAX, 2, &visitor, &error));
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.text, "third");
    const int64_t below_id = seen.last_id;
    seen = (seen_rows){.count = 0};
    OK(DRIVER->audit_list(suite.store, pipeline, below_id, 2, &visitor, &error));
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.text, "first");
}

/* --- the journal over the driver ----------------------------------------------------------------------- */

static dp_status append(batch_builder *builder, dp_journal_outcome *outcome, dp_error *error)
{
    static const dp_batch_read_limits limits = {1 << 22, 1 << 20};
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    dp_journal *journal = dp_journal_new(7);
    const dp_batch *batch;
    dp_stream stream;
    char id[65];
    dp_status status = dp_batch_reader_read(reader, batch_end(builder, id), &batch, error);
    if (status == DP_STATUS_OK) status = DRIVER->begin(suite.store, true, error);
    if (status == DP_STATUS_OK) {
        status = dp_journal_open_stream(journal, suite.store, &batch->header, NOW, &stream, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_journal_append(journal, suite.store, &stream, batch, NOW, outcome, error);
    }
    if (status == DP_STATUS_OK) {
        status = DRIVER->commit(suite.store, error);
    } else {
        DRIVER->rollback(suite.store);
    }
    dp_journal_free(journal);
    dp_batch_reader_free(reader);
    dp_buffer_release(&builder->body);
    return status;
}

static void append_transactions(unsigned from_xid, unsigned to_xid, unsigned rows, uint64_t accepted,
                                uint64_t duplicates)
{
    batch_builder builder;
    dp_journal_outcome outcome;
    batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
    for (unsigned xid = from_xid; xid < to_xid; xid++) {
        batch_transaction(&builder, xid, rows);
    }
    OK(append(&builder, &outcome, &error));
    assert_int_equal(outcome.accepted, accepted);
    assert_int_equal(outcome.duplicates, duplicates);
}

static void the_journal_tells_new_from_known(void **state)
{
    (void)state;
    batch_builder builder;
    dp_journal_outcome outcome;
    append_transactions(10, 20, 3, 30, 0);
    append_transactions(10, 20, 3, 0, 30);
    append_transactions(15, 25, 3, 15, 15);
    batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
    batch_transaction(&builder, 24, 2);
    GIVES(DP_STATUS_CONFLICT, append(&builder, &outcome, &error));
    append_transactions(25, 26, 700, 700, 0); /* numbers go on after a refusal */
}

static void staged_rows_become_visible_with_their_commit(void **state)
{
    (void)state;
    batch_builder builder;
    dp_journal_outcome outcome;
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    append_transactions(9, 10, 2, 2, 0);
    for (unsigned part = 0; part < 3; part++) {
        batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
        for (unsigned i = 0; i < 100; i++) {
            batch_event(&builder, 10, part * 100 + i);
        }
        OK(append(&builder, &outcome, &error));
        assert_true(outcome.staged);
    }
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    assert_int_equal(stream.transaction_count, 1);
    assert_int_equal(stream.staged_count, 300);
    batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
    batch_commit(&builder, 10, 300);
    OK(append(&builder, &outcome, &error));
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    assert_int_equal(stream.transaction_count, 2);
    assert_int_equal(stream.event_count, 302);
    assert_false(stream.has_staged);
    append_transactions(10, 11, 300, 0, 300);
    append_transactions(11, 12, 2, 2, 0);
}

/* A sender that starts over and over uses up no numbers: in PostgreSQL each jump would be a partition. */
static void rows_that_are_staged_again_take_the_numbers_of_those_before(void **state)
{
    (void)state;
    batch_builder builder;
    dp_journal_outcome outcome;
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    append_transactions(9, 10, 2, 2, 0);
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    const int64_t next = stream.next_event_number;
    for (unsigned count = 30; count > 25; count--) {
        batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
        for (unsigned i = 0; i < count; i++) {
            batch_event(&builder, 10, i);
        }
        OK(append(&builder, &outcome, &error));
        OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
        assert_true(stream.has_staged && stream.staged_count == count);
        assert_int_equal(stream.staged_first_number, next);
    }
    append_transactions(10, 12, 40, 80, 0); /* another cut, and one more behind it */
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    assert_int_equal(stream.next_event_number, next + 80);
    batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
    batch_event(&builder, 11, 0);
    OK(append(&builder, &outcome, &error)); /* a part of what is stored */
    append_transactions(11, 12, 40, 0, 40);
    append_transactions(12, 13, 2, 2, 0);
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    assert_int_equal(stream.next_event_number, next + 82);
}

static dp_status prune(unsigned to, const dp_position *passed, uint64_t max_events, dp_prune_result *result)
{
    dp_error error = DP_ERROR_INIT;
    dp_journal *journal = dp_journal_new(7);
    const dp_stream_key key = key_of("s");
    dp_status status = DRIVER->begin(suite.store, true, &error);
    if (status == DP_STATUS_OK) {
        status = dp_journal_prune(journal, suite.store, &key, position_of(to), passed, max_events, NOW,
                                  result, &error);
    }
    if (status == DP_STATUS_OK) {
        status = DRIVER->commit(suite.store, &error);
    } else {
        DRIVER->rollback(suite.store);
    }
    dp_journal_free(journal);
    return status;
}

static void retention_deletes_only_what_has_been_passed(void **state)
{
    (void)state;
    dp_prune_result result;
    dp_stream stream;
    const dp_stream_key key = key_of("s");
    const dp_position passed = position_of(test_end(14));
    append_transactions(10, 20, 3, 30, 0);
    assert_int_equal(prune(test_end(12), NULL, 1000, &result), DP_STATUS_BLOCKED);
    assert_int_equal(prune(test_end(15), &passed, 1000, &result), DP_STATUS_BLOCKED);
    assert_int_equal(prune(test_end(14), &passed, 7, &result), DP_STATUS_OK);
    assert_int_equal(result.transactions, 2);
    assert_int_equal(result.events, 6);
    assert_true(result.more);
    assert_int_equal(prune(test_end(14), &passed, 1000, &result), DP_STATUS_OK);
    assert_int_equal(result.transactions, 3);
    assert_false(result.more);
    OK(DRIVER->stream_find(suite.store, &key, suite.arena, &stream, &error));
    assert_int_equal(stream.event_count, 15);
    assert_memory_equal(&stream.pruned, &passed, sizeof passed);
    /* At or below the watermark an event counts as seen, whatever it says; above it nothing has changed. */
    append_transactions(10, 20, 3, 0, 30);
    append_transactions(11, 12, 5, 0, 5);
    batch_builder builder;
    dp_journal_outcome outcome;
    batch_begin_as(&builder, suite.pipeline, "s", "v1", NULL);
    batch_transaction(&builder, 16, 2);
    GIVES(DP_STATUS_CONFLICT, append(&builder, &outcome, &error));
}

static void a_database_can_be_measured_and_checked(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    if (DRIVER->size_bytes != NULL) {
        OK(DRIVER->size_bytes(suite.store, &bytes, &error));
        assert_true(bytes > 0);
    }
    if (DRIVER->check != NULL) OK(DRIVER->check(suite.store, &error));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_migrated_database_is_current),
        TEST(what_is_rolled_back_is_not_there),
        TEST(a_reader_sees_what_was_committed_and_cannot_write),
        TEST(a_stream_keeps_everything_that_is_saved),
        TEST(streams_of_a_pipeline_are_told_apart),
        TEST(event_numbers_are_never_given_twice),
        TEST(transactions_are_found_and_read_in_order),
        TEST(events_keep_every_field),
        TEST(any_number_of_events_keeps_every_field),
        TEST(a_reading_may_end_early_and_start_again),
        TEST(receipts_are_found_by_their_key),
        TEST(what_is_expected_is_found_or_given_up),
        TEST(receipts_of_staged_batches_are_dropped_together),
        TEST(an_offset_is_inserted_then_updated),
        TEST(loading_falls_back_and_saving_keeps_one_scope),
        TEST(quarantine_is_listed_and_resolved_once),
        TEST(quarantine_keeps_an_event_once),
        TEST(the_audit_is_read_newest_first),
        TEST(the_journal_tells_new_from_known),
        TEST(staged_rows_become_visible_with_their_commit),
        TEST(rows_that_are_staged_again_take_the_numbers_of_those_before),
        TEST(retention_deletes_only_what_has_been_passed),
        TEST(a_database_can_be_measured_and_checked),
    };
    return cmocka_run_group_tests(tests, open_suite, close_suite);
}
