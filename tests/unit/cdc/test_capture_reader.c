/* Captures become records, the same ones in whatever form and pieces they come; what cannot be read safely is
 * refused with line and byte. */
#include "tests/unit/support/cmocka_includes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/hex.h"
#include "cdc/capture_reader.h"

enum { MAX_TEXT_BYTES = 16 << 20 };

typedef struct reading {
    dp_capture_form form;
    dp_plugin plugin;
    bool has_started;
    dp_buffer text; /* "<lsn>|<xid>|<data>;" for each record */
    dp_status status;
    dp_error error;
    uint64_t line; /* of the last record */
    uint64_t offset;
} reading;

static dp_status on_start(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    reading *r = context;
    (void)error;
    assert_false(r->has_started);
    r->has_started = true;
    r->form = form;
    r->plugin = plugin;
    return DP_STATUS_OK;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    reading *r = context;
    (void)error;
    assert_true(r->has_started);
    if (record->has_lsn) {
        char lsn[DP_LSN_TEXT_BYTES];
        dp_lsn_format(record->lsn, lsn);
        dp_buffer_append_format(&r->text, "%s|%u|", lsn, record->xid);
    }
    dp_buffer_append_slice(&r->text, record->data);
    dp_buffer_append_byte(&r->text, ';');
    return DP_STATUS_OK;
}

/* Feeds the input in pieces, each a copy of exactly its size. */
static void read_pieces(reading *r, const dp_capture_options *options, dp_slice input, size_t piece_bytes)
{
    dp_capture_sink sink = {r, on_start, on_record};
    dp_capture_reader *reader = dp_capture_reader_new(options, &sink);
    assert_non_null(reader);
    dp_buffer_clear(&r->text);
    dp_error_clear(&r->error);
    r->has_started = false;
    r->status = DP_STATUS_OK;
    for (size_t at = 0; at < input.length && r->status == DP_STATUS_OK; at += piece_bytes) {
        size_t length = input.length - at < piece_bytes ? input.length - at : piece_bytes;
        char *piece = malloc(length);
        assert_non_null(piece);
        memcpy(piece, input.data + at, length);
        r->status = dp_capture_reader_feed(reader, (dp_slice){piece, length}, &r->error);
        free(piece);
    }
    if (r->status == DP_STATUS_OK) r->status = dp_capture_reader_finish(reader, &r->error);
    r->line = dp_capture_reader_line(reader);
    r->offset = dp_capture_reader_offset(reader);
    dp_capture_reader_free(reader);
}

static const size_t piece_sizes[] = {1, 2, 3, 7, 61, 4096, SIZE_MAX / 2};
enum { PIECE_SIZE_COUNT = sizeof piece_sizes / sizeof piece_sizes[0] };

#define AUTO (-1)

static dp_capture_options options_of(int form, int plugin)
{
    dp_capture_options options = {.has_form = form != AUTO, .has_plugin = plugin != AUTO};
    if (form != AUTO) options.form = (dp_capture_form)form;
    if (plugin != AUTO) options.plugin = (dp_plugin)plugin;
    return options;
}

#define UNALIGNED DP_CAPTURE_FORM_PSQL_UNALIGNED
#define CSV       DP_CAPTURE_FORM_CSV
#define COPY      DP_CAPTURE_FORM_COPY_TEXT
#define RAW_TEXT  DP_CAPTURE_FORM_RAW_TEST_DECODING
#define RAW_JSON  DP_CAPTURE_FORM_RAW_WAL2JSON
#define PGOUTPUT  DP_PLUGIN_PGOUTPUT
#define TEXT      DP_PLUGIN_TEST_DECODING
#define JSON_1    DP_PLUGIN_WAL2JSON_1
#define JSON_2    DP_PLUGIN_WAL2JSON_2

static const struct {
    const char *input;
    const char *records;
    int form;   /* given, or AUTO */
    int plugin; /* given, or AUTO */
    dp_capture_form expected_form;
    dp_plugin expected_plugin;
} readable[] = {
    /* psql -At */
    {"0/1|9|BEGIN 9\n0/2|9|COMMIT 9\n", "0/1|9|BEGIN 9;0/2|9|COMMIT 9;", AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1|9|BEGIN 9", "0/1|9|BEGIN 9;", AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1;9;BEGIN 9\n\n\n", "0/1|9|BEGIN 9;", AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1 9 BEGIN 9\n", "0/1|9|BEGIN 9;", AUTO, AUTO, UNALIGNED, TEXT},
    {"lsn|xid|data\n0/1|9|BEGIN 9\n", "0/1|9|BEGIN 9;", AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1|9|table a.b: INSERT: c[text]:'x\n0/1|9|COMMIT 9' d[text]:''''\n0/2|9|COMMIT 9\n",
     "0/1|9|table a.b: INSERT: c[text]:'x\n0/1|9|COMMIT 9' d[text]:'''';0/2|9|COMMIT 9;", AUTO, AUTO,
     UNALIGNED, TEXT},
    {"0/1|9|table a.\"b\n0/1|9|'\": INSERT: c[integer]:1\n",
     "0/1|9|table a.\"b\n0/1|9|'\": INSERT: c[integer]:1;", AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1|9|message: transactional: 1 prefix: p, sz: 5 content:it's\n\n0/2|9|COMMIT 9\n",
     "0/1|9|message: transactional: 1 prefix: p, sz: 5 content:it's\n;0/2|9|COMMIT 9;", AUTO, AUTO, UNALIGNED,
     TEXT},
    {"0/1|9|message: transactional: 1 prefix: a, sz: 1 content:b\nc, sz: 2 content:de\n0/2|9|COMMIT 9\n",
     "0/1|9|message: transactional: 1 prefix: a, sz: 1 content:b\nc, sz: 2 content:de;0/2|9|COMMIT 9;", AUTO,
     AUTO, UNALIGNED, TEXT},
    {"0/1|9|message: transactional: 1 prefix: p, sz: 0 content:",
     "0/1|9|message: transactional: 1 prefix: p, sz: 0 "
     "content:;",
     AUTO, AUTO, UNALIGNED, TEXT},
    {"0/1|9|{\"action\":\"B\"}\n0/2|9|{\"action\":\"C\"}\n",
     "0/1|9|{\"action\":\"B\"};0/2|9|{\"action\":\"C\"};", AUTO, AUTO, UNALIGNED, JSON_2},
    {"0/1|9|{\"xid\":9,\"change\":[\n0/2|9|]}\n", "0/1|9|{\"xid\":9,\"change\":[;0/2|9|]};", AUTO, AUTO,
     UNALIGNED, JSON_1},
    {"0/1|9|{\n\t\"change\": [\n\t\t,{\n\t]\n}\n0/2|9|{\n}\n",
     "0/1|9|{\n\t\"change\": [\n\t\t,{\n\t]\n};0/2|9|{\n};", AUTO, AUTO, UNALIGNED, JSON_1},
    {"0/1|9|\\x4243\n0/2|9|\\x\n", "0/1|9|BC;0/2|9|;", AUTO, AUTO, UNALIGNED, PGOUTPUT},
    {"0/1,9,BEGIN 9\n0/1,9,table a.b: INSERT: c[text]:'\"'\n",
     "0/1|9|BEGIN 9;0/1|9|table a.b: INSERT: c[text]:'\"';", UNALIGNED, AUTO, UNALIGNED, TEXT},
    /* tabs: COPY's unless a line shows to be psql's */
    {"0/1\t9\tBEGIN 9\n0/2\t9\ttable a.b: INSERT: c[text]:'x\ny\\n'\n",
     "0/1|9|BEGIN 9;0/2|9|table a.b: INSERT: c[text]:'x\ny\\n';", AUTO, AUTO, COPY, TEXT},
    {"0/1\t9\ttable a.b: INSERT: c[text]:'\\d'\n0/1\t9\ttable a.b: INSERT: c[text]:'\\n'\n",
     "0/1|9|table a.b: INSERT: c[text]:'\\d';0/1|9|table a.b: INSERT: c[text]:'\\n';", AUTO, AUTO, UNALIGNED,
     TEXT},
    {"0/1\t9\ttable a.b: INSERT: c[text]:'x\\ny\\\\n\\t\\v\\b\\f\\r'\n",
     "0/1|9|table a.b: INSERT: c[text]:'x\ny\\n\t\v\b\f\r';", AUTO, AUTO, COPY, TEXT},
    {"0/1\t9\t{\"action\":\"I\",\"x\":\"\\\"\"}\n", "0/1|9|{\"action\":\"I\",\"x\":\"\\\"\"};", AUTO, AUTO,
     UNALIGNED, JSON_2},
    {"0/1\t9\tmessage: transactional: 1 prefix: p, sz: 3 content:a\\nb\n0/1\t9\ttable a.b: INSERT: "
     "c[text]:'\\n'\n",
     "0/1|9|message: transactional: 1 prefix: p, sz: 3 content:a\nb;0/1|9|table a.b: INSERT: c[text]:'\n';",
     AUTO, AUTO, COPY, TEXT},
    {"0/1\t9\tmessage: transactional: 1 prefix: p, sz: 3 content:a\\d\n0/1\t9\tBEGIN 9\n",
     "0/1|9|message: transactional: 1 prefix: p, sz: 3 content:a\\d;0/1|9|BEGIN 9;", AUTO, AUTO, UNALIGNED,
     TEXT},
    {"0/1\t9\t{\n\t\"change\": [\n\t]\n}\n", "0/1|9|{\n\t\"change\": [\n\t]\n};", AUTO, AUTO, UNALIGNED,
     JSON_1},
    {"0/1\t9\t{\\n\\t\"change\": [\\n\\t]\\n}\n", "0/1|9|{\n\t\"change\": [\n\t]\n};", AUTO, AUTO, COPY,
     JSON_1},
    {"0/1\t9\t\\x4243\n", "0/1|9|BC;", AUTO, AUTO, UNALIGNED, PGOUTPUT},
    {"0/1\t9\ttable a.b: INSERT: c[text]:'C:\\temp'\n", "0/1|9|table a.b: INSERT: c[text]:'C:\\temp';",
     UNALIGNED, AUTO, UNALIGNED, TEXT},
    /* COPY text */
    {"0/1\t9\t\\\\x4243\n", "0/1|9|BC;", AUTO, AUTO, COPY, PGOUTPUT},
    {"0/1\t9\tBEGIN 9\n\\.\n", "0/1|9|BEGIN 9;", AUTO, AUTO, COPY, TEXT},
    {"0/1\t9\tBEGIN 9\n\\.", "0/1|9|BEGIN 9;", COPY, TEXT, COPY, TEXT},
    {"lsn\txid\tdata\n0/1\t9\tBEGIN 9\n", "0/1|9|BEGIN 9;", AUTO, AUTO, COPY, TEXT},
    /* CSV */
    {"lsn,xid,data\n0/1,9,BEGIN 9\n", "0/1|9|BEGIN 9;", AUTO, AUTO, CSV, TEXT},
    {"lsn,xid,data\r\n0/1,9,BEGIN 9\r\n0/1,9,\"a\nb\"\r\n", "0/1|9|BEGIN 9;0/1|9|a\nb;", AUTO, AUTO, CSV,
     TEXT},
    {"\"0/1\",\"9\",\"{\"\"action\"\":\"\"B\"\"}\"\n", "0/1|9|{\"action\":\"B\"};", AUTO, AUTO, CSV, JSON_2},
    {"0/1,9,\"table a.b: INSERT: c[text]:'x\n0/2,9,COMMIT 9\n\"\"'\"\n0/2,9,COMMIT 9",
     "0/1|9|table a.b: INSERT: c[text]:'x\n0/2,9,COMMIT 9\n\"';0/2|9|COMMIT 9;", AUTO, AUTO, CSV, TEXT},
    {"0/1,9,\"\"\"\"", "0/1|9|\";", AUTO, TEXT, CSV, TEXT},
    {"0/1,9,\\x4243\n0/1,9,\"\\x44\"\n", "0/1|9|BC;0/1|9|D;", AUTO, AUTO, CSV, PGOUTPUT},
    {"0/1,9,\"{\n\t\"\"xid\"\": 9,\"\n", "0/1|9|{\n\t\"xid\": 9,;", AUTO, AUTO, CSV, JSON_1},
    /* pg_recvlogical */
    {"BEGIN 9\ntable a.b: INSERT: c[text]:'x\nCOMMIT 9'\nCOMMIT 9\n",
     "BEGIN 9;table a.b: INSERT: c[text]:'x\nCOMMIT 9';COMMIT 9;", AUTO, AUTO, RAW_TEXT, TEXT},
    {"message: transactional: 0 prefix: p, sz: 18 content:x\nCOMMIT 9\nBEGIN 8\nBEGIN 9\n",
     "message: transactional: 0 prefix: p, sz: 18 content:x\nCOMMIT 9\nBEGIN 8;BEGIN 9;", AUTO, AUTO,
     RAW_TEXT, TEXT},
    {"{\"action\":\"B\"}\n{\"action\":\"C\"}\n", "{\"action\":\"B\"};{\"action\":\"C\"};", AUTO, AUTO,
     RAW_JSON, JSON_2},
    {"{\"change\":[\n{\"kind\":\"insert\"}\n,{\"a\":\"]}\\\"\\\\\"}\n]}\n{\"change\":[]}\n",
     "{\"change\":[;{\"kind\":\"insert\"};,{\"a\":\"]}\\\"\\\\\"};]};{\"change\":[]};", AUTO, AUTO, RAW_JSON,
     JSON_1},
    {"{\n\t\"xid\": 1,\n\t\"change\": [\n\t\t{\n\t\t\t\"kind\": \"insert\"\n\t\t}\n\t]\n}\n",
     "{\n\t\"xid\": 1,\n\t\"change\": [;\t\t{\n\t\t\t\"kind\": \"insert\"\n\t\t};\t]\n};", AUTO, AUTO,
     RAW_JSON, JSON_1},
};

static void records_are_the_same_in_whatever_pieces_they_come(void **state)
{
    (void)state;
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) {
        dp_capture_options options = options_of(readable[i].form, readable[i].plugin);
        for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
            read_pieces(&r, &options, dp_slice_of_text(readable[i].input), piece_sizes[p]);
            if (r.status != DP_STATUS_OK) fail_msg("%s\n  %s", readable[i].input, r.error.message);
            assert_string_equal(dp_buffer_text(&r.text), readable[i].records);
            assert_int_equal(r.plugin, readable[i].expected_plugin);
            if (r.form != readable[i].expected_form)
                fail_msg("%s\n  is taken for %d", readable[i].input, (int)r.form);
        }
    }
    dp_buffer_release(&r.text);
}

static void an_input_without_records_is_no_error(void **state)
{
    (void)state;
    static const char *const inputs[] = {"", "\n", "lsn,xid,data\n", "lsn,xid,data", "lsn|xid|data\r\n"};
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_capture_options options = options_of(AUTO, AUTO);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
            read_pieces(&r, &options, dp_slice_of_text(inputs[i]), piece_sizes[p]);
            if (r.status != DP_STATUS_OK) fail_msg("'%s': %s", inputs[i], r.error.message);
            assert_false(r.has_started);
        }
    }
    dp_buffer_release(&r.text);
}

static const struct {
    const char *input;
    const char *message;
    const char *hint; /* a part of it */
    int form;
    int plugin;
} refused[] = {
    {"hello\n", "line 1, byte 0: not a capture", "--input-format", AUTO, AUTO},
    {"    lsn    | xid |  data\n-----+---\n", "line 1, byte 0: psql's aligned output", "--csv", AUTO, AUTO},
    {" 0/1 | 9 | BEGIN 9\n", "line 1, byte 0: psql's aligned output", "--csv", AUTO, AUTO},
    {"\\x4200\n", "line 1, byte 0: pgoutput's data without lsn and xid", "select lsn", AUTO, AUTO},
    {"\xef\xbb\xbflsn,xid,data\n", "line 1, byte 0: a byte order mark", "UTF-8", AUTO, AUTO},
    {"0/1|9|what\n", "line 1, byte 0: data that no known plugin prints", "--plugin", AUTO, AUTO},
    {"0/1|9|{\"foo\":1}\n", "line 1, byte 0: data that no known plugin prints", "--plugin", AUTO, AUTO},
    {"BEGIN 9\n", "line 1, byte 0: the input is of another plugin", "--plugin", AUTO, JSON_2},
    {"0/1|9|BEGIN 9\n", "line 1, byte 0: expected a row of lsn, xid and data separated by commas", "detected",
     CSV, AUTO},
    {"0/1,9,BEGIN 9\n", "line 1, byte 0: expected a row of lsn, xid and data separated by tabs", "detected",
     COPY, AUTO},
    {"0/1|9|BEGIN 9\nforged\n", "line 2, byte 14: expected a row", "--csv", AUTO, AUTO},
    {"0/1|9|BEGIN 9\n(1 row)\n", "line 2, byte 14: expected a row", "psql's row count", AUTO, AUTO},
    {"0/1|9|BEGIN 9\n\n0/1|9|COMMIT 9\n", "line 3, byte 15: text after a blank line", "", AUTO, AUTO},
    {"0/1|9|table a.b: INSERT: c[text]:'x\ny\n", "line 3, byte 38: the input ends inside quotes", "", AUTO,
     AUTO},
    {"0/1|4294967296|BEGIN 9\n", "line 1, byte 0: not a capture", "", AUTO, AUTO},
    {"0/123456789|9|BEGIN 9\n", "line 1, byte 0: not a capture", "", AUTO, AUTO},
    {"0/1|9|BEGIN 9\n0/1|9", "line 2, byte 14: expected a row", "", AUTO, AUTO},
    /* a message that may be cut, or a forged row */
    {"0/1|9|message: transactional: 1 prefix: p, sz: 15 content:x\n0/1|9|COMMIT 9\n0/2|9|COMMIT 9\n",
     "line 2, byte 60: the end of a logical message cannot be told", "--csv or COPY", AUTO, AUTO},
    {"0/1|9|message: transactional: 1 prefix: p, sz: 16 content:x\n0/1|9|COMMIT 9\n0/2|9|COMMIT 9\n",
     "line 2, byte 60: the end of a logical message cannot be told", "--csv or COPY", AUTO, AUTO},
    {"0/1|9|message: transactional: 1 prefix: p, sz: 9 content:x\n",
     "line 1, byte 6: the end of a logical message", "--csv or COPY", AUTO, AUTO},
    {"message: transactional: 1 prefix: p, sz: 1 content:xy\nBEGIN 9\n",
     "line 1, byte 0: the end of a logical message", "", AUTO, AUTO},
    /* one byte short: the rest of the line is no record, so the message does not end there */
    {"message: transactional: 0 prefix: p, sz: 17 content:x\nCOMMIT 9\nBEGIN 8\nBEGIN 9\n",
     "line 1, byte 0: the end of a logical message", "", AUTO, AUTO},
    {"0/1\t9\tmessage: transactional: 1 prefix: p, sz: 9 content:x\n0/1\t9\tCOMMIT 9\n",
     "line 1, byte 0: rows separated by tabs that may be COPY's or psql's", "--input-format", AUTO, AUTO},
    /* pgoutput */
    {"0/1|9|\\x42\n0/1|9|\\x4\n", "line 2, byte 20: expected a hexadecimal digit", "", AUTO, AUTO},
    {"0/1|9|\\x42\n0/1|9|\\x4g\n", "line 2, byte 20: expected a hexadecimal digit", "", AUTO, AUTO},
    {"0/1|9|BEGIN 9\n", "line 1, byte 6: expected pgoutput's data in hexadecimal", "bytea_output", AUTO,
     PGOUTPUT},
    {"0/1\t9\t\\x42\n", "line 1, byte 6: expected pgoutput's data in hexadecimal", "", COPY, PGOUTPUT},
    /* CSV */
    {"0/1,9,BEGIN 9\n0/1,9,a,b\n", "line 2, byte 21: a comma or quote in a CSV value", "psql-unaligned", AUTO,
     AUTO},
    {"0/1,9,BEGIN 9\n0/1,9,a\"\n", "line 2, byte 21: a comma or quote in a CSV value", "psql-unaligned", AUTO,
     AUTO},
    {"0/1,9,BEGIN 9\n0/1,9,\"a\"b\n", "line 2, byte 23: expected the end of the row", "", AUTO, AUTO},
    {"0/1,9,BEGIN 9\n0/1,9,\"a\n", "line 3, byte 23: the input ends inside quotes", "", AUTO, AUTO},
    {"0/1,9,BEGIN 9\r\n0/1,9,a\n", "line 2, byte 22: a line end of another kind", "", AUTO, AUTO},
    {"0/1,9,BEGIN 9\n0/1,9,\"a\"\r\n", "line 2, byte 24: a line end of another kind", "", AUTO, AUTO},
    {"0/1,9,BEGIN 9\r\n0/1,9,\"a\r\nb\"\r\n", "line 3, byte 28: a value with CRLF", "", AUTO, AUTO},
    {"xid,lsn,data\n9,0/1,BEGIN 9\n", "line 1, byte 0: not a capture", "", AUTO, AUTO},
    {"lsn,xid,data\nforged\n", "line 2, byte 13: expected a row", "select lsn", AUTO, AUTO},
    /* COPY text */
    {"0/1\t9\tBEGIN 9\n0/1\t9\ta\\q\n", "line 2, byte 21: a byte or escape that COPY does not write",
     "psql-unaligned", COPY, AUTO},
    {"0/1\t9\tBEGIN 9\n0/1\t9\ta\tb\n", "line 2, byte 21: a byte or escape", "", COPY, AUTO},
    {"0/1\t9\tBEGIN 9\r\n", "line 1, byte 13: a byte or escape", "", COPY, AUTO},
    {"0/1\t9\tBEGIN 9\n0/1\t9\t\\N\n", "line 2, byte 20: a byte or escape", "", COPY, AUTO},
    {"0/1\t9\tBEGIN 9\n\\.\n0/1\t9\tBEGIN 9\n", "line 3, byte 17: text after", "", AUTO, AUTO},
    /* raw wal2json */
    {"{\"change\":[\n]}}\n", "line 2, byte 14: a bracket that closes nothing", "", AUTO, AUTO},
    {"{\"change\":\"\n\"}\n", "line 1, byte 11: a line ends inside a JSON string", "", AUTO, AUTO},
};

static void what_cannot_be_read_is_refused_with_line_and_byte(void **state)
{
    (void)state;
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        dp_capture_options options = options_of(refused[i].form, refused[i].plugin);
        for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
            read_pieces(&r, &options, dp_slice_of_text(refused[i].input), piece_sizes[p]);
            if (r.status != DP_STATUS_DATA ||
                strncmp(r.error.message, refused[i].message, strlen(refused[i].message)) != 0) {
                fail_msg("%s\n  in pieces of %zu: %s '%s', records '%s'", refused[i].input, piece_sizes[p],
                         dp_status_name(r.status), r.error.message, dp_buffer_text(&r.text));
            }
            if (strstr(r.error.hint, refused[i].hint) == NULL)
                fail_msg("%s\n  hint '%s'", refused[i].input, r.error.hint);
        }
    }
    dp_buffer_release(&r.text);
}

static void pgoutput_of_pg_recvlogical_is_refused_with_what_to_use(void **state)
{
    (void)state;
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_capture_options options = options_of(AUTO, AUTO);
    read_pieces(&r, &options, DP_SLICE_LITERAL("B\0\0\0\0\x01\x9c\x40\xd8\n"), 4096);
    assert_int_equal(r.status, DP_STATUS_DATA);
    assert_non_null(strstr(r.error.hint, "pg_logical_slot_peek_binary_changes"));
    dp_buffer_release(&r.text);
}

static void a_record_above_the_maximum_is_refused(void **state)
{
    (void)state;
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_buffer input = DP_BUFFER_INIT(MAX_TEXT_BYTES);
    dp_buffer_append_text(&input, "0/1|9|table a.b: INSERT: c[text]:'");
    for (int i = 0; i < 1000; i++) {
        dp_buffer_append_text(&input, "0123456789");
    }
    dp_buffer_append_text(&input, "'\n");
    for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
        dp_capture_options options = options_of(AUTO, AUTO);
        options.max_record_bytes = 10000;
        read_pieces(&r, &options, dp_buffer_slice(&input), piece_sizes[p]);
        assert_int_equal(r.status, DP_STATUS_LIMIT);
        options.max_record_bytes = 10100;
        read_pieces(&r, &options, dp_buffer_slice(&input), piece_sizes[p]);
        assert_int_equal(r.status, DP_STATUS_OK);
    }
    dp_buffer_release(&input);
    dp_buffer_release(&r.text);
}

static void the_place_of_a_record_is_known(void **state)
{
    (void)state;
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_capture_options options = options_of(AUTO, AUTO);
    for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
        read_pieces(&r, &options, DP_SLICE_LITERAL("lsn,xid,data\n0/1,9,\"a\nb\"\n0/2,9,COMMIT 9\n"),
                    piece_sizes[p]);
        assert_int_equal(r.status, DP_STATUS_DATA); /* no plugin prints 'a' */
        options.has_plugin = true;
        options.plugin = TEXT;
        read_pieces(&r, &options, DP_SLICE_LITERAL("lsn,xid,data\n0/1,9,\"a\nb\"\n0/2,9,COMMIT 9\n"),
                    piece_sizes[p]);
        assert_int_equal(r.status, DP_STATUS_OK);
        assert_int_equal(r.line, 4);
        assert_int_equal(r.offset, 25);
        options.has_plugin = false;
    }
    dp_buffer_release(&r.text);
}

static dp_slice load_capture(dp_buffer *content, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/captures/postgres-15/%s", getenv("DPONE_SOURCE_DIR"), name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("cannot open %s", path);
    dp_buffer_clear(content);
    char block[65536];
    size_t length;
    while ((length = fread(block, 1, sizeof block, file)) > 0) {
        dp_buffer_append(content, block, length);
    }
    fclose(file);
    return dp_buffer_slice(content);
}

/* Captures of the same rows in different forms; the first is the standard. Empty: end of the group. */
static const char *const same_records[][8] = {
    {"main/pgoutput.csv", "main/pgoutput.copy.csv", "main/pgoutput.copy.txt", "main/pgoutput.at.txt", NULL},
    {"main/test_decoding.csv", "main/test_decoding.copy.csv", "main/test_decoding.copy.txt",
     "main/test_decoding.at.txt", "main/test_decoding.tab.txt", NULL},
    {"main/wal2json-2.csv", "main/wal2json-2.copy.txt", "main/wal2json-2.at.txt", NULL},
    {"main/wal2json-1.csv", "main/wal2json-1.at.txt", NULL},
    {"main/wal2json-1-chunks.csv", "main/wal2json-1-chunks.at.txt", NULL},
    {"messages/pgoutput.csv", "messages/pgoutput.at.txt", NULL},
    {"messages/test_decoding.csv", "messages/test_decoding.copy.csv", "messages/test_decoding.copy.txt",
     NULL},
    {"messages/wal2json-2.csv", "messages/wal2json-2.at.txt", NULL},
    {"messages/wal2json-1.csv", "messages/wal2json-1.at.txt", NULL},
};

static void real_captures_hold_the_same_records_in_every_form(void **state)
{
    (void)state;
    if (getenv("DPONE_SOURCE_DIR") == NULL) skip();
    dp_buffer content = DP_BUFFER_INIT(MAX_TEXT_BYTES);
    reading standard = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_capture_options options = options_of(AUTO, AUTO);
    for (size_t group = 0; group < sizeof same_records / sizeof same_records[0]; group++) {
        for (size_t i = 0; same_records[group][i] != NULL; i++) {
            dp_slice input = load_capture(&content, same_records[group][i]);
            if (i == 0) read_pieces(&standard, &options, input, SIZE_MAX / 2);
            for (size_t p = 0; p < PIECE_SIZE_COUNT; p++) {
                read_pieces(&r, &options, input, piece_sizes[p]);
                if (r.status != DP_STATUS_OK) fail_msg("%s: %s", same_records[group][i], r.error.message);
                assert_int_equal(r.plugin, standard.plugin);
                if (!dp_slice_equal(dp_buffer_slice(&r.text), dp_buffer_slice(&standard.text))) {
                    fail_msg("%s differs from %s", same_records[group][i], same_records[group][0]);
                }
            }
        }
    }
    dp_buffer_release(&content);
    dp_buffer_release(&standard.text);
    dp_buffer_release(&r.text);
}

/* Every distance of a quote from the next and from the ends of the blocks in which they are looked for. */
static void quotes_are_undoubled_wherever_they_stand(void **state)
{
    (void)state;
    static const char letters[] = "ab,\n\"\"\"\"";
    static const size_t pieces[] = {SIZE_MAX / 2, 97, 5};
    dp_buffer input = DP_BUFFER_INIT(MAX_TEXT_BYTES);
    dp_buffer expected = DP_BUFFER_INIT(MAX_TEXT_BYTES);
    reading r = {.text = DP_BUFFER_INIT(MAX_TEXT_BYTES)};
    dp_capture_options options = options_of(DP_CAPTURE_FORM_CSV, DP_PLUGIN_WAL2JSON_2);
    uint64_t random = 1;
    for (unsigned round = 0; round < 600; round++) {
        dp_buffer_clear(&input);
        dp_buffer_clear(&expected);
        for (unsigned row = 0; row < 3; row++) {
            dp_buffer_append_text(&input, "0/1,9,\"");
            dp_buffer_append_text(&expected, "0/1|9|");
            /* From nearly only quotes to nearly none. */
            uint64_t kinds = round % 3 == 0 ? 8 : round % 3 == 1 ? 5 : 64;
            for (unsigned i = 0; i < (round + 31 * row) % 331; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                uint64_t kind = (random >> 33) % kinds;
                char letter = kind < sizeof letters - 1 ? letters[kind] : 'x';
                dp_buffer_append_byte(&expected, letter);
                dp_buffer_append_text(&input, letter == '"' ? "\"\"" : (char[]){letter, '\0'});
            }
            dp_buffer_append_text(&input, "\"\n");
            dp_buffer_append_byte(&expected, ';');
        }
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            read_pieces(&r, &options, dp_buffer_slice(&input), pieces[p]);
            if (r.status != DP_STATUS_OK) fail_msg("round %u: %s", round, r.error.message);
            if (!dp_slice_equal(dp_buffer_slice(&r.text), dp_buffer_slice(&expected)))
                fail_msg("round %u: '%s' is not '%s'", round, dp_buffer_text(&r.text),
                         dp_buffer_text(&expected));
        }
    }
    dp_buffer_release(&input);
    dp_buffer_release(&expected);
    dp_buffer_release(&r.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_the_same_in_whatever_pieces_they_come),
        cmocka_unit_test(an_input_without_records_is_no_error),
        cmocka_unit_test(what_cannot_be_read_is_refused_with_line_and_byte),
        cmocka_unit_test(pgoutput_of_pg_recvlogical_is_refused_with_what_to_use),
        cmocka_unit_test(a_record_above_the_maximum_is_refused),
        cmocka_unit_test(the_place_of_a_record_is_known),
        cmocka_unit_test(quotes_are_undoubled_wherever_they_stand),
        cmocka_unit_test(real_captures_hold_the_same_records_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
