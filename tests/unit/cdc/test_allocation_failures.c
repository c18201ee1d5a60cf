/* Each allocation of decoding, identity and batching is made to fail in turn: the outcome is
 * DP_STATUS_NO_MEMORY or the same bytes as without a failure, never a crash, a leak or half an event. The
 * allocator is replaced at link time. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/batch_writer.h"
#include "cdc/capture_reader.h"
#include "cdc/decoder.h"
#include "tests/unit/support/failing_allocator.h"
#include "tests/unit/support/pgoutput_message.h"

static dp_batch_writer *batch;

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    (void)context;
    return dp_batch_writer_put_event(batch, change, error);
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    (void)context;
    return dp_batch_writer_put_commit(batch, end, error);
}

typedef struct script {
    dp_plugin plugin;
    dp_slice capture; /* read through the capture reader instead of `records`, in pieces; empty: none */
    size_t record_count;
    dp_record records[80];
} script;

static dp_status on_start(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    (void)context;
    (void)form;
    (void)plugin;
    (void)error;
    return DP_STATUS_OK;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    return dp_decoder_feed(context, record, error);
}

static dp_status read_capture(const script *input, dp_decoder *decoder, dp_error *error)
{
    enum { PIECE_BYTES = 50 };
    dp_capture_options options = {.has_form = false};
    dp_capture_sink sink = {decoder, on_start, on_record};
    dp_capture_reader *reader = dp_capture_reader_new(&options, &sink);
    dp_status status = reader == NULL ? DP_STATUS_NO_MEMORY : DP_STATUS_OK;
    for (size_t at = 0; at < input->capture.length && status == DP_STATUS_OK; at += PIECE_BYTES) {
        size_t left = input->capture.length - at;
        dp_slice piece = {input->capture.data + at, left < PIECE_BYTES ? left : PIECE_BYTES};
        status = dp_capture_reader_feed(reader, piece, error);
    }
    if (status == DP_STATUS_OK) status = dp_capture_reader_finish(reader, error);
    dp_capture_reader_free(reader);
    return status;
}

/* Runs the whole path; the composed body goes to `body`. */
static dp_status run_path(const script *input, dp_batch_body *body, dp_error *error)
{
    static const dp_batch_limits limits = {100000, 1 << 20, 1 << 19};
    static const dp_batch_source source = {DP_SLICE_LITERAL("p"), DP_BACKEND_POSTGRES_LOGICAL,
                                           DP_SLICE_LITERAL("s"), DP_IDENTITY_V1};
    dp_status status = DP_STATUS_NO_MEMORY;
    dp_change_sink sink = {NULL, on_change, on_commit};
    dp_unique_keys *keys = dp_unique_keys_new();
    batch = dp_batch_writer_new(DP_IDENTITY_V1, &limits);
    dp_decoder *decoder = keys == NULL ? NULL : dp_decoder_new(input->plugin, keys, &sink);
    dp_sha256 *hash = dp_sha256_new();
    if (keys == NULL || batch == NULL || decoder == NULL || hash == NULL) goto done;
    status = dp_unique_keys_add(keys, DP_SLICE_LITERAL("public.orders=id"), error);
    for (size_t i = 0; i < input->record_count && status == DP_STATUS_OK; i++) {
        status = dp_decoder_feed(decoder, &input->records[i], error);
    }
    if (status == DP_STATUS_OK && input->capture.length > 0) status = read_capture(input, decoder, error);
    dp_batch_offsets none = {.has_next_offset = false};
    if (status == DP_STATUS_OK) {
        status = dp_batch_compose(hash, dp_batch_writer_lines(batch), dp_batch_writer_event_count(batch),
                                  &source, &none, body, error);
    }
done:
    dp_decoder_free(decoder);
    dp_batch_writer_free(batch);
    dp_sha256_free(hash);
    dp_unique_keys_free(keys);
    return status;
}

typedef struct attempt {
    const script *input;
    dp_batch_body expected;
    long refused_count;
} attempt;

/* One run: refused as out of memory, or the same bytes as without a failure. */
static bool run_once(void *context)
{
    attempt *a = context;
    dp_batch_body body = {.bytes = DP_BUFFER_INIT(1 << 20)};
    dp_error error = DP_ERROR_INIT;
    dp_status status = run_path(a->input, &body, &error);
    if (status == DP_STATUS_OK) {
        assert_true(dp_slice_equal(dp_buffer_slice(&body.bytes), dp_buffer_slice(&a->expected.bytes)));
    } else {
        if (status != DP_STATUS_NO_MEMORY) fail_msg("%s", error.message);
        a->refused_count++;
    }
    dp_buffer_release(&body.bytes);
    return status == DP_STATUS_OK;
}

static void refuse_each_allocation(const script *input)
{
    attempt a = {.input = input, .expected = {.bytes = DP_BUFFER_INIT(1 << 20)}};
    dp_error error = DP_ERROR_INIT;
    dp_status status =
        run_path(input, &a.expected, &error); /* also sets up for good what OpenSSL needs once */
    if (status != DP_STATUS_OK) fail_msg("%s", error.message);
    assert_true(fail_each_allocation(run_once, &a) > 10);
    assert_true(a.refused_count > 5);
    dp_buffer_release(&a.expected.bytes);
}

static dp_record record_of(uint64_t lsn, dp_slice data)
{
    char *copy = __real_malloc(data.length + 1);
    memcpy(copy, data.data, data.length);
    return (
        dp_record){.has_lsn = true, .lsn = {lsn}, .has_xid = true, .xid = 900, .data = {copy, data.length}};
}

static void free_records(script *input)
{
    for (size_t i = 0; i < input->record_count; i++) {
        free((void *)(uintptr_t)input->records[i].data.data);
    }
}

static void pgoutput_survives_every_refused_allocation(void **state)
{
    (void)state;
    static const message_column columns[] = {{"id", 23, true}, {"note", 25, false}};
    const char *values[] = {"10", "some \"text\""};
    const uint32_t ids[] = {1};
    dp_buffer message = DP_BUFFER_INIT(1 << 16);
    script input = {.plugin = DP_PLUGIN_PGOUTPUT};
    input.records[input.record_count++] = record_of(0x10, message_begin(&message, 0x100, 900));
    /* More tables than the caches have room for at first, so that growing is refused as well. */
    for (uint32_t id = 1; id <= 70; id++) {
        char name[16];
        snprintf(name, sizeof name, "%s", id == 1 ? "orders" : "t");
        if (id > 1) snprintf(name, sizeof name, "t%u", id);
        input.records[input.record_count++] =
            record_of(0, message_relation(&message, id, "public", name, columns, 2));
    }
    input.records[input.record_count++] = record_of(0x20, message_insert(&message, 1, values, 2));
    input.records[input.record_count++] =
        record_of(0x30, message_update(&message, 1, 'O', values, values, 2));
    input.records[input.record_count++] = record_of(0x40, message_truncate(&message, 0, ids, 1));
    input.records[input.record_count++] = record_of(0x130, message_commit(&message, 0x100, 0x130, 0));
    refuse_each_allocation(&input);
    free_records(&input);
    dp_buffer_release(&message);
}

static void test_decoding_survives_every_refused_allocation(void **state)
{
    (void)state;
    static const script input = {
        .plugin = DP_PLUGIN_TEST_DECODING,
        .capture =
            DP_SLICE_LITERAL("lsn,xid,data\n"
                             "0/10,900,BEGIN 900\n"
                             "0/20,900,table public.orders: INSERT: id[integer]:1 note[text]:'it''s'\n"
                             "0/20,900,\"table public.orders: INSERT: id[integer]:1 note[text]:'\"\"'\"\n"
                             "0/20,900,\"table public.orders: UPDATE: old-key: id[integer]:1 new-tuple: "
                             "id[integer]:2 \"\"N\"\"[text]:'a''b'\"\n"
                             "0/20,900,table public.orders: DELETE: id[integer]:1\n"
                             "0/20,900,\"table public.orders, public.t: TRUNCATE: (no-flags)\"\n"
                             "0/30,900,COMMIT 900\n")};
    refuse_each_allocation(&input);
}

static void wal2json_survives_every_refused_allocation(void **state)
{
    (void)state;
    static const script inputs[] = {
        {.plugin = DP_PLUGIN_WAL2JSON_2,
         .capture = DP_SLICE_LITERAL("0/10\t900\t{\"action\":\"B\"}\n"
                                     "0/"
                                     "20\t900\t{\"action\":\"U\",\"schema\":\"public\",\"table\":\"orders\","
                                     "\"columns\":[{\"name\":\"id\",\"type\":"
                                     "\"integer\",\"value\":1},{\"name\":\"n\\u0041\",\"type\":\"bytea\","
                                     "\"value\":\"00\"}],\"identity\":[{\"name\":"
                                     "\"id\",\"type\":\"integer\",\"value\":2},{\"name\":\"long\",\"type\":"
                                     "\"text\",\"value\":\"x\\ny\"}]}\n"
                                     "0/30\t900\t{\"action\":\"C\"}\n")},
        {.plugin = DP_PLUGIN_WAL2JSON_1,
         .capture = DP_SLICE_LITERAL("0/10|900|{\"change\":[\n"
                                     "0/"
                                     "20|900|{\"kind\":\"delete\",\"schema\":\"public\",\"table\":\"orders\","
                                     "\"oldkeys\":{\"keynames\":[\"id\",\"b\"],"
                                     "\"keytypes\":[\"integer\",\"text\"],\"keyvalues\":[1,\"x\\ty\"]}}\n"
                                     "0/30|900|]}\n")},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        refuse_each_allocation(&inputs[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pgoutput_survives_every_refused_allocation),
        cmocka_unit_test(test_decoding_survives_every_refused_allocation),
        cmocka_unit_test(wal2json_survives_every_refused_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
