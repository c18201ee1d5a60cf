/* test_decoding's text becomes changes with the exact values; every other shape is an error with its byte
 * offset. */
#include "tests/unit/support/decoded_text.h"

/* Each row is decoded inside transaction 900, at position 0/10, by a fresh decoder. */
static const struct {
    const char *record;
    const char *expected;
} rows[] = {
    {"table public.orders: INSERT: id[integer]:10 name[text]:'x''y'",
     "insert public.orders @0/10 x900 #0/0 {id:i='10' name:x='x'y'}\n"},
    {"table public.orders: INSERT: a[bigint]:-9223372036854775808 b[smallint]:0 c[oid]:4294967295",
     "insert public.orders @0/10 x900 #0/0 {a:i='-9223372036854775808' b:i='0' c:x='4294967295'}\n"},
    {"table public.orders: INSERT: r[real]:1.5e-07 d[double precision]:NaN e[double precision]:-Infinity "
     "n[numeric]:1.50 m[numeric(10,2)]:Infinity",
     "insert public.orders @0/10 x900 #0/0 {r:f='1.5e-07' d:f='NaN' e:f='-Infinity' n:n='1.50' "
     "m:n='Infinity'}\n"},
    {"table public.orders: INSERT: t[boolean]:true f[boolean]:false n[boolean]:null s[text]:'true' "
     "d[mybool]:'t'",
     "insert public.orders @0/10 x900 #0/0 {t:b='t' f:b='f' n:b=NULL s:x='true' d:x='t'}\n"},
    {"table public.orders: INSERT: b[bit]:B'101' v[bit varying]:B'' t[text]:'B''1'''",
     "insert public.orders @0/10 x900 #0/0 {b:x='101' v:x='' t:x='B'1''}\n"},
    {"table public.orders: INSERT: a[integer[]]:'{1,2}' q[\"Ty[p]\"\"e\"]:'x' r[\"Ty[p]e\"[]]:'{x}' "
     "v[character varying(20)]:'v' c[\"char\"]:'z' z[timestamp(3) without time zone]:'2026-01-02 03:04:05'",
     "insert public.orders @0/10 x900 #0/0 {a:x='{1,2}' q:x='x' r:x='{x}' v:x='v' c:x='z' "
     "z:x='2026-01-02 03:04:05'}\n"},
    {"table public.orders: INSERT: n[text]:'null' u[text]:'unchanged-toast-datum' v[text]:null",
     "insert public.orders @0/10 x900 #0/0 {n:x='null' u:x='unchanged-toast-datum' v:x=NULL}\n"},
    {"table public.orders: INSERT: e[text]:'' q[text]:'''' w[text]:''''''",
     "insert public.orders @0/10 x900 #0/0 {e:x='' q:x=''' w:x=''''}\n"},
    {"table public.orders: INSERT: a[text]:'l1\nCOMMIT 900' b[text]:' new-tuple: x[text]:' c[text]:'\\n "
     "\xc3\xa9'",
     "insert public.orders @0/10 x900 #0/0 {a:x='l1\nCOMMIT 900' b:x=' new-tuple: x[text]:' c:x='\\n "
     "\xc3\xa9'}\n"},
    {"table \"We.ird\"\"Sch\".\"Ta: INSERT:\": INSERT: \"Co:l\"[integer]:1 \"a[b]\"[text]:'x' "
     "\"\"\"\"[text]:'y'",
     "insert We.ird\"Sch.Ta: INSERT: @0/10 x900 #0/0 {Co:l:i='1' a[b]:x='x' \":x='y'}\n"},
    {"table public.none: INSERT:", "insert public.none @0/10 x900 #0/0 {}\n"},
    {"table public.orders: UPDATE: id[integer]:1 v[text]:unchanged-toast-datum",
     "update public.orders @0/10 x900 #0/0 {id:i='1' v:x~}\n"},
    {"table public.orders: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:'new'",
     "update public.orders @0/10 x900 #0/0 {id:i='2' v:x='new'} was {id:i='1'}\n"},
    {"table public.orders: UPDATE: old-key: a[integer]:1 b[text]:'long' new-tuple: a[integer]:1 "
     "b[text]:unchanged-toast-datum c[text]:null",
     "update public.orders @0/10 x900 #0/0 {a:i='1' b:x~ c:x=NULL} was {a:i='1' b:x='long'}\n"},
    {"table public.orders: UPDATE: old-key: new-tuple: a[text]:'x'",
     "update public.orders @0/10 x900 #0/0 {a:x='x'} was {}\n"},
    {"table public.orders: DELETE: id[integer]:3", "delete public.orders @0/10 x900 #0/0 {id:i='3'}\n"},
    {"table public.orders: DELETE: (no-tuple-data)", "delete public.orders @0/10 x900 #0/0 {}\n"},
    {"table public.a: TRUNCATE: (no-flags)",
     "truncate public.a @0/10 x900 #0/0 {\"cascade\":false,\"restart_identity\":false}\n"},
    {"table public.a, public.\"b, c\": TRUNCATE: restart_seqs cascade",
     "truncate public.a @0/10 x900 #0/0 {\"cascade\":true,\"restart_identity\":true}\n"
     "truncate public.b, c @0/10 x900 #0/1 {\"cascade\":true,\"restart_identity\":true}\n"},
    {"table public.a, public.a: TRUNCATE: cascade",
     "truncate public.a @0/10 x900 #0/0 {\"cascade\":true,\"restart_identity\":false}\n"
     "truncate public.a @0/10 x900 #1/1 {\"cascade\":true,\"restart_identity\":false}\n"},
    {"message: transactional: 1 prefix: p, sz: 5 content:hello", ""},
    {"message: transactional: 0 prefix: p, sz: 3 content:abc, sz: 10 content:it's\nTABLE", ""},
    {"message: transactional: 1 prefix: , sz: 0 content:", ""},
    {"message: transactional: 1 prefix: p, sz: 9 content:cut", ""},
    {"message: transactional: 1 prefix: \xff, sz: 2 content:\xfe'", ""},
};

static void rows_become_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
        decoded_text_expect(&decoded, "BEGIN 900", "");
        decoded_text_expect(&decoded, rows[i].record, rows[i].expected);
        decoded_text_close(&decoded);
    }
}

static const struct {
    const char *record;
    const char *message;
    dp_status status;
} faults[] = {
    {"", "byte 0: an empty record", DP_STATUS_DATA},
    {"tab", "byte 0: 'tab' is no test_decoding record", DP_STATUS_DATA},
    {"BEGIN 900", "a transaction begins inside transaction 900", DP_STATUS_DATA},
    {"BEGIN900", "byte 5: expected a space", DP_STATUS_DATA},
    {"BEGIN x", "byte 6: expected a transaction id", DP_STATUS_DATA},
    {"BEGIN 4294967296", "byte 6: expected a transaction id", DP_STATUS_DATA},
    {"BEGIN 901", "byte 6: BEGIN is of transaction 901, but its row says 900", DP_STATUS_DATA},
    {"COMMIT 901", "byte 0: COMMIT of transaction 901 inside transaction 900", DP_STATUS_DATA},
    {"COMMIT 900 (at noon)", "byte 15: expected a commit time", DP_STATUS_DATA},
    {"COMMIT 900 (at 2026", "byte 15: a commit time without its ')'", DP_STATUS_DATA},
    {"COMMIT 900 x", "byte 10: text after the end", DP_STATUS_DATA},
    {"COMMIT PREPARED 'g', txid 900", "byte 0: a prepared transaction", DP_STATUS_DATA},
    {"PREPARE TRANSACTION 'g', txid 900", "byte 0: a prepared transaction", DP_STATUS_DATA},
    {"opening a streamed block for transaction TXN 900", "byte 0: a streamed transaction", DP_STATUS_DATA},
    {"table ", "byte 6: expected a name", DP_STATUS_DATA},
    {"table orders: INSERT: id[integer]:1", "byte 12: expected '.'", DP_STATUS_DATA},
    {"table public.Orders: INSERT: id[integer]:1", "byte 13: expected a name", DP_STATUS_DATA},
    {"table public.\"\": INSERT: id[integer]:1", "byte 13: an empty name", DP_STATUS_DATA},
    {"table public.\"x: INSERT: id[integer]:1", "byte 13: a quote that is not closed", DP_STATUS_DATA},
    {"table public.a: UPSERT: id[integer]:1", "byte 14: expected ': INSERT:'", DP_STATUS_DATA},
    {"table public.a, public.b: INSERT: id[integer]:1", "byte 24: expected ': INSERT:'", DP_STATUS_DATA},
    {"table public.a: INSERT: (no-tuple-data)", "byte 39: a change without a row", DP_STATUS_DATA},
    {"table public.a: INSERT:id[integer]:1", "byte 23: expected a space", DP_STATUS_DATA},
    {"table public.a: INSERT: [integer]:1", "byte 24: expected a name", DP_STATUS_DATA},
    {"table public.a: INSERT: id:1", "byte 26: expected '['", DP_STATUS_DATA},
    {"table public.a: INSERT: id[]:1", "byte 27: an empty type name", DP_STATUS_DATA},
    {"table public.a: INSERT: id[integer:1", "byte 27: a type name without its ']'", DP_STATUS_DATA},
    {"table public.a: INSERT: id[integer[3]]:1", "byte 35: expected ']'", DP_STATUS_DATA},
    {"table public.a: INSERT: id[\"x]:1", "byte 27: a quote that is not closed", DP_STATUS_DATA},
    {"table public.a: INSERT: id[integer]1", "byte 35: expected ':'", DP_STATUS_DATA},
    {"table public.a: INSERT: id[integer]:", "byte 36: expected a quoted value", DP_STATUS_DATA},
    {"table public.a: INSERT: id[integer]:ten", "byte 36: expected a quoted value", DP_STATUS_DATA},
    {"table public.a: INSERT: id[text]:'x", "byte 33: a quote that is not closed", DP_STATUS_DATA},
    {"table public.a: INSERT: id[text]:'x''", "byte 33: a quote that is not closed", DP_STATUS_DATA},
    {"table public.a: INSERT: id[text]:'x'y", "byte 36: expected a space", DP_STATUS_DATA},
    {"table public.a: INSERT: b[boolean]:t", "byte 35: expected true, false or null", DP_STATUS_DATA},
    {"table public.a: INSERT: b[bit]:B'012'", "byte 35: expected a bit", DP_STATUS_DATA},
    {"table public.a: INSERT: b[text]:'\xff'", "byte 33: not valid UTF-8", DP_STATUS_DATA},
    {"table public.a: INSERT: a[text]:'x' a[text]:'y'", "table 'public.a' names column 'a' twice",
     DP_STATUS_DATA},
    {"table public.a: UPDATE: old-key: id[integer]:1", "byte 46: expected ' new-tuple:'", DP_STATUS_DATA},
    {"table public.a: UPDATE: old-key: b[text]:'x' new-tuple: a[text]:'x'",
     "byte 0: column 'b' of the old row is missing", DP_STATUS_DATA},
    {"table public.a: UPDATE: old-key: a[text]:'x' a[text]:'y' new-tuple: a[text]:'x'",
     "byte 0: column 'a' of the old row appears twice", DP_STATUS_DATA},
    {"table public.a: UPDATE: a[text]:'x' new-tuple: a[text]:'x'", "byte 35: text after the end",
     DP_STATUS_DATA},
    {"table public.a: TRUNCATE:", "byte 25: expected (no-flags)", DP_STATUS_DATA},
    {"table public.a: TRUNCATE: cascade restart_seqs", "byte 33: text after the end", DP_STATUS_DATA},
    {"message: transactional: 2 prefix: p, sz: 0 content:", "byte 24: expected 0 or 1", DP_STATUS_DATA},
    {"message: transactional: 1 prefix: p, sz: 2 content:abc", "byte 54: a message whose stated size",
     DP_STATUS_DATA},
    {"message: transactional: 1 prefix: p", "byte 35: a message whose stated size", DP_STATUS_DATA},
};

static void every_other_shape_is_refused_with_its_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
        decoded_text_expect(&decoded, "BEGIN 900", "");
        decoded_text_refuse(&decoded, faults[i].record, faults[i].status, faults[i].message);
        decoded_text_close(&decoded);
    }
}

static void a_zero_byte_in_a_value_is_refused(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    decoded_text_expect(&decoded, "BEGIN 900", "");
    assert_int_equal(decoded_text_feed(&decoded, DP_SLICE_LITERAL("table a.b: INSERT: c[text]:'x\0y'")),
                     DP_STATUS_DATA);
    assert_string_equal(decoded.error.message, "byte 29: a zero byte, which PostgreSQL text cannot hold");
    decoded_text_close(&decoded);
}

static void a_commit_gives_the_end_position_and_the_time(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    decoded_text_expect(&decoded, "BEGIN 900", "");
    decoded.lsn = 0x100000030;
    decoded_text_expect(&decoded, "COMMIT 900 (at 2026-01-02 03:04:05.678901+00)",
                        "commit x900 @1/30 t=1767323045678901 n=0\n");
    decoded_text_expect(&decoded, "BEGIN", "");
    decoded_text_expect(&decoded, "COMMIT (at 2026-01-02 03:04:05+05:30)",
                        "commit x900 @1/30 t=1767303245000000 n=0\n");
    decoded_text_close(&decoded);
}

static void a_raw_stream_has_no_positions_and_takes_the_xid_from_begin(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    decoded.lsn = 0;
    decoded.xid = 0;
    decoded_text_expect(&decoded, "BEGIN 7", "");
    decoded_text_expect(&decoded, "table a.b: INSERT: c[integer]:1", "insert a.b @- x7 #0/0 {c:i='1'}\n");
    decoded_text_expect(&decoded, "table a.b: INSERT: c[integer]:1", "insert a.b @- x7 #1/1 {c:i='1'}\n");
    decoded_text_expect(&decoded, "COMMIT 7", "commit x7 @- t=- n=2\n");
    decoded_text_expect(&decoded, "BEGIN", "");
    decoded_text_expect(&decoded, "COMMIT", "commit x- @- t=- n=0\n");
    decoded_text_close(&decoded);
}

static void a_change_of_another_transaction_is_refused(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    decoded_text_expect(&decoded, "BEGIN 900", "");
    decoded.xid = 901;
    decoded_text_refuse(&decoded, "table a.b: INSERT: c[integer]:1", DP_STATUS_DATA,
                        "byte 0: a change of transaction 901 inside transaction 900");
    decoded_text_close(&decoded);
}

static void a_row_wider_than_postgresql_allows_is_refused(void **state)
{
    (void)state;
    decoded_text decoded;
    dp_buffer record = DP_BUFFER_INIT(1 << 20);
    dp_buffer_append_text(&record, "table a.b: INSERT:");
    for (int i = 0; i < 1665; i++) {
        dp_buffer_append_format(&record, " c%d[integer]:%d", i, i);
    }
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    decoded_text_expect(&decoded, "BEGIN 900", "");
    decoded_text_refuse(&decoded, dp_buffer_text(&record), DP_STATUS_LIMIT, "byte ");
    decoded_text_close(&decoded);
    dp_buffer_release(&record);
}

/* Rows written alike are not parsed twice; each of these differs from the one before it. */
static void a_row_that_is_written_otherwise_is_parsed_again(void **state)
{
    (void)state;
    static const struct {
        const char *record;
        const char *expected;
    } steps[] = {
        {"table a.b: INSERT: i[integer]:1 v[text]:'x'", "insert a.b @0/10 x900 #0/0 {i:i='1' v:x='x'}\n"},
        {"table a.b: INSERT: i[integer]:2 v[text]:null", "insert a.b @0/10 x900 #1/1 {i:i='2' v:x=NULL}\n"},
        {"table a.b: INSERT: i[integer]:3", "insert a.b @0/10 x900 #2/2 {i:i='3'}\n"},
        {"table a.b: INSERT: i[integer]:4 v[text]:'x' w[text]:'y'",
         "insert a.b @0/10 x900 #3/3 {i:i='4' v:x='x' w:x='y'}\n"},
        {"table a.b: INSERT: i[text]:'5' v[text]:'x' w[text]:'y'",
         "insert a.b @0/10 x900 #4/4 {i:x='5' v:x='x' w:x='y'}\n"},
        {"table a.b: INSERT: v[text]:'x' i[text]:'6' w[text]:'y'",
         "insert a.b @0/10 x900 #5/5 {v:x='x' i:x='6' w:x='y'}\n"},
        {"table a.c: INSERT: v[text]:'x' i[text]:'7' w[text]:'y'",
         "insert a.c @0/10 x900 #0/6 {v:x='x' i:x='7' w:x='y'}\n"},
        {"table a.b: DELETE: i[text]:'6'", "delete a.b @0/10 x900 #6/7 {i:x='6'}\n"},
        {"table a.b: DELETE: (no-tuple-data)", "delete a.b @0/10 x900 #7/8 {}\n"},
        {"table a.b: DELETE: i[text]:'6'", "delete a.b @0/10 x900 #8/9 {i:x='6'}\n"},
        {"table a.b: UPDATE: i[text]:'6' v[text]:unchanged-toast-datum",
         "update a.b @0/10 x900 #9/10 {i:x='6' v:x~}\n"},
        {"table a.b: UPDATE: old-key: i[text]:'5' new-tuple: i[text]:'6' v[text]:'y'",
         "update a.b @0/10 x900 #10/11 {i:x='6' v:x='y'} was {i:x='5'}\n"},
    };
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_TEST_DECODING);
    for (int round = 0; round < 3; round++) {
        decoded_text_expect(&decoded, "BEGIN 900", "");
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            decoded_text_expect(&decoded, steps[i].record, steps[i].expected);
        }
        decoded_text_expect(&decoded, "COMMIT 900", "commit x900 @0/10 t=- n=12\n");
    }
    decoded_text_close(&decoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_changes),
        cmocka_unit_test(every_other_shape_is_refused_with_its_offset),
        cmocka_unit_test(a_zero_byte_in_a_value_is_refused),
        cmocka_unit_test(a_commit_gives_the_end_position_and_the_time),
        cmocka_unit_test(a_raw_stream_has_no_positions_and_takes_the_xid_from_begin),
        cmocka_unit_test(a_change_of_another_transaction_is_refused),
        cmocka_unit_test(a_row_that_is_written_otherwise_is_parsed_again),
        cmocka_unit_test(a_row_wider_than_postgresql_allows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
