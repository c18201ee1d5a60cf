/* Batches as they are sent: read back by the reader, split for a smaller server, rolled back. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/batch_reader.h"
#include "cdc/batch_writer.h"
#include "tests/unit/support/change_fixture.h"

static const dp_batch_source stream = {DP_SLICE_LITERAL("orders-cdc"), DP_BACKEND_POSTGRES_LOGICAL,
                                       DP_SLICE_LITERAL("7/shop"), DP_IDENTITY_V1};
static const dp_batch_limits limits = {1000, 1 << 20, 1 << 16};

typedef struct fixture {
    change_fixture changes;
    dp_batch_writer *writer;
    dp_sha256 *hash;
    dp_batch_body body;
    dp_batch_reader *reader;
    dp_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->changes = change_fixture_new("public.orders=id");
    f->writer = dp_batch_writer_new(DP_IDENTITY_V1, &limits);
    f->hash = dp_sha256_new();
    f->body.bytes = (dp_buffer)DP_BUFFER_INIT(2 << 20);
    dp_batch_read_limits read_limits = {2 << 20, 1 << 16};
    f->reader = dp_batch_reader_new(&read_limits);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    change_fixture_free(&f->changes);
    dp_batch_writer_free(f->writer);
    dp_sha256_free(f->hash);
    dp_buffer_release(&f->body.bytes);
    dp_batch_reader_free(f->reader);
    free(f);
    return 0;
}

static void put_transaction(fixture *f, uint32_t xid, uint64_t end, size_t event_count, bool commit)
{
    for (size_t i = 0; i < event_count; i++) {
        dp_change change = change_fixture_insert(&f->changes, end - 0x10 + i, i);
        change.transaction_id = xid;
        assert_int_equal(dp_batch_writer_put_event(f->writer, &change, &f->error), DP_STATUS_OK);
    }
    dp_transaction_end transaction = {true, xid, true, {end}, false, 0, event_count};
    if (commit)
        assert_int_equal(dp_batch_writer_put_commit(f->writer, &transaction, &f->error), DP_STATUS_OK);
}

static const dp_batch *compose_and_read(fixture *f, dp_slice lines, size_t event_count,
                                        const dp_batch_offsets *offsets)
{
    const dp_batch *batch = NULL;
    assert_int_equal(dp_batch_compose(f->hash, lines, event_count, &stream, offsets, &f->body, &f->error),
                     DP_STATUS_OK);
    if (dp_batch_reader_read(f->reader, dp_buffer_slice(&f->body.bytes), &batch, &f->error) != DP_STATUS_OK) {
        fail_msg("%s\n%.*s", f->error.message, (int)f->body.bytes.length, f->body.bytes.data);
    }
    assert_string_equal(batch->batch_id_hex, f->body.batch_id);
    return batch;
}

static void what_is_written_is_read_back(void **state)
{
    fixture *f = *state;
    put_transaction(f, 900, 0x100, 3, true);
    put_transaction(f, 901, 0x200, 2, true);
    dp_batch_offsets offsets = {true, {0x200}, true, {0x80}, true, {0x300}};
    const dp_batch *batch = compose_and_read(f, dp_batch_writer_lines(f->writer), 5, &offsets);
    assert_int_equal(batch->event_count, 5);
    assert_int_equal(batch->group_count, 2);
    assert_true(batch->groups[0].has_commit && batch->groups[1].has_commit);
    assert_false(dp_batch_writer_mark(f->writer).has_duplicates);
}

static void an_idle_advance_is_an_empty_batch_with_an_offset(void **state)
{
    fixture *f = *state;
    dp_batch_offsets offsets = {.has_next_offset = true, .next_offset = {0x500}};
    const dp_batch *batch = compose_and_read(f, dp_batch_writer_lines(f->writer), 0, &offsets);
    assert_int_equal(batch->event_count, 0);
    assert_non_null(memmem(f->body.bytes.data, f->body.bytes.length, "\"token\":\"0/500\"", 15));
}

static void a_batch_that_ends_inside_a_transaction_shows_it(void **state)
{
    fixture *f = *state;
    put_transaction(f, 900, 0x100, 3, false);
    dp_batch_offsets none = {.has_next_offset = false};
    const dp_batch *batch = compose_and_read(f, dp_batch_writer_lines(f->writer), 3, &none);
    assert_int_equal(batch->group_count, 1);
    assert_false(batch->groups[0].has_commit);
}

/* Halved again and again, every part is a valid batch and together they hold every event once, in order. */
static void halves_are_batches_of_their_own(void **state)
{
    fixture *f = *state;
    put_transaction(f, 900, 0x100, 5, true);
    put_transaction(f, 901, 0x200, 1, true);
    put_transaction(f, 902, 0x300, 2, true);
    dp_slice queue[16] = {dp_batch_writer_lines(f->writer)};
    size_t counts[16] = {8};
    size_t queued = 1;
    size_t leaf_count = 0;
    const char *expected_start = queue[0].data;
    while (queued > 0) {
        dp_slice lines = queue[--queued];
        size_t count = counts[queued];
        dp_batch_offsets none = {.has_next_offset = false};
        const dp_batch *batch = compose_and_read(f, lines, count, &none);
        assert_int_equal(batch->event_count, count);
        dp_slice parts[2];
        size_t part_counts[2];
        if (!dp_batch_split(lines, count, parts, part_counts)) {
            assert_int_equal(count, 1);
            assert_ptr_equal(lines.data, expected_start);
            expected_start += lines.length;
            leaf_count++;
            continue;
        }
        for (size_t i = 2; i > 0; i--) { /* the first part on top */
            queue[queued] = parts[i - 1];
            counts[queued++] = part_counts[i - 1];
        }
    }
    assert_int_equal(leaf_count, 8);
}

static void a_rollback_forgets_lines_and_ids(void **state)
{
    fixture *f = *state;
    put_transaction(f, 900, 0x100, 2, true);
    dp_batch_mark mark = dp_batch_writer_mark(f->writer);
    size_t length = dp_batch_writer_lines(f->writer).length;
    put_transaction(f, 901, 0x200, 1200, true); /* enough to grow the index */
    assert_true(dp_batch_writer_is_full(f->writer));
    dp_batch_writer_rollback(f->writer, mark);
    assert_int_equal(dp_batch_writer_lines(f->writer).length, length);
    assert_int_equal(dp_batch_writer_event_count(f->writer), 2);
    assert_false(dp_batch_writer_is_full(f->writer));
    put_transaction(f, 901, 0x200, 3, true);
    assert_false(dp_batch_writer_mark(f->writer).has_duplicates);
    put_transaction(f, 900, 0x100, 1, true);
    assert_true(dp_batch_writer_mark(f->writer).has_duplicates);
    dp_batch_writer_clear(f->writer);
    assert_false(dp_batch_writer_mark(f->writer).has_duplicates);
}

static void what_stands_before_a_mark_can_be_taken_out(void **state)
{
    fixture *f = *state;
    put_transaction(f, 900, 0x100, 3, true);
    dp_batch_mark mark = dp_batch_writer_mark(f->writer);
    put_transaction(f, 901, 0x200, 2, false);
    dp_slice lines = dp_batch_writer_lines(f->writer);
    char *tail = strndup(lines.data + mark.line_bytes, lines.length - mark.line_bytes);
    dp_batch_writer_drop_before(f->writer, mark);
    assert_true(dp_slice_equal_text(dp_batch_writer_lines(f->writer), tail));
    assert_int_equal(dp_batch_writer_event_count(f->writer), 2);
    assert_int_equal(dp_batch_writer_commit_count(f->writer), 0);
    put_transaction(f, 900, 0x100, 3, true);
    assert_false(dp_batch_writer_mark(f->writer).has_duplicates);
    put_transaction(f, 901, 0x200, 1, true);
    assert_true(dp_batch_writer_mark(f->writer).has_duplicates);
    free(tail);
}

static void an_event_above_its_limit_is_refused_and_leaves_nothing(void **state)
{
    fixture *f = *state;
    char *large = malloc((1 << 16) + 1);
    memset(large, 'x', 1 << 16);
    large[1 << 16] = '\0';
    f->changes.data[3] = present(large);
    dp_change change = change_fixture_insert(&f->changes, 0x100, 0);
    assert_int_equal(dp_batch_writer_put_event(f->writer, &change, &f->error), DP_STATUS_LIMIT);
    assert_string_equal(f->error.code, "event_too_large");
    assert_int_equal(dp_batch_writer_lines(f->writer).length, 0);
    free(large);
}

/* What an earlier batch has left must not decide what is poison. */
static void an_event_above_its_limit_is_refused_also_where_there_is_room(void **state)
{
    fixture *f = *state;
    for (uint64_t end = 0x1000; dp_batch_writer_lines(f->writer).length < 1 << 18; end += 0x1000) {
        put_transaction(f, 900, end, 10, true);
    }
    dp_batch_writer_clear(f->writer);
    an_event_above_its_limit_is_refused_and_leaves_nothing(state);
    assert_int_equal(dp_batch_writer_event_count(f->writer), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_back),
        TEST(an_idle_advance_is_an_empty_batch_with_an_offset),
        TEST(a_batch_that_ends_inside_a_transaction_shows_it),
        TEST(halves_are_batches_of_their_own),
        TEST(a_rollback_forgets_lines_and_ids),
        TEST(what_stands_before_a_mark_can_be_taken_out),
        TEST(an_event_above_its_limit_is_refused_and_leaves_nothing),
        TEST(an_event_above_its_limit_is_refused_also_where_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
