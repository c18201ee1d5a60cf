/* wal2json's documents become changes with PostgreSQL's own text; every other shape is an error with its
 * offset. */
#include "tests/unit/support/decoded_text.h"

#define BEGIN_2                   "{\"action\":\"B\",\"xid\":900}"
#define COLUMN(name, type, value) "{\"name\":\"" name "\",\"type\":\"" type "\",\"value\":" value "}"
#define INSERT(columns)           "{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[" columns "]}"
#define UPDATE(columns, identity)                                                                            \
    "{\"action\":\"U\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[" columns "],\"identity\":[" identity   \
    "]}"

/* Each is decoded inside transaction 900, at position 0/10, by a fresh decoder. */
static const struct {
    const char *record;
    const char *expected;
} format_2_rows[] = {
    {INSERT(COLUMN("id", "integer", "10") "," COLUMN("name", "text", "\"x'y\\n\\\"\\u00e9\"")),
     "insert s.t @0/10 x900 #0/0 {id:i='10' name:x='x'y\n\"\xc3\xa9'}\n"},
    {INSERT(
         COLUMN("n", "numeric(10,2)", "1.50") "," COLUMN("r", "real", "1e+20") "," COLUMN("o", "oid", "7")),
     "insert s.t @0/10 x900 #0/0 {n:n='1.50' r:f='1e+20' o:x='7'}\n"},
    {INSERT(COLUMN("t", "boolean", "true") "," COLUMN("f", "boolean", "false") "," COLUMN("n", "boolean",
                                                                                          "null")),
     "insert s.t @0/10 x900 #0/0 {t:b='t' f:b='f' n:b=NULL}\n"},
    {INSERT(COLUMN("b", "bytea", "\"00ff\"") "," COLUMN("e", "bytea", "\"\"") "," COLUMN("a", "bytea[]",
                                                                                         "\"{00}\"")),
     "insert s.t @0/10 x900 #0/0 {b:x='\\x00ff' e:x='\\x' a:x='{00}'}\n"},
    {INSERT(COLUMN("d", "bytea", "\"\\\\x00ff\"")), "insert s.t @0/10 x900 #0/0 {d:x='\\x00ff'}\n"},
    {INSERT(COLUMN("j", "jsonb", "\"{\\\"a\\\": [1, null]}\"")),
     "insert s.t @0/10 x900 #0/0 {j:j='{\"a\": [1, null]}'}\n"},
    {INSERT(""), "insert s.t @0/10 x900 #0/0 {}\n"},
    {"{\"action\":\"I\",\"table\":\"t\",\"columns\":[{\"value\":1,\"typeoid\":23,\"type\":\"integer\","
     "\"name\":\"id\","
     "\"position\":[1,{}]}],\"schema\":\"s\",\"pk\":[{\"name\":\"id\",\"type\":\"integer\"}]}",
     "insert s.t @0/10 x900 #0/0 {id:i='1'}\n"},
    {UPDATE(COLUMN("id", "integer", "1") "," COLUMN("v", "text", "\"n\""), COLUMN("id", "integer", "1")),
     "update s.t @0/10 x900 #0/0 {id:i='1' v:x='n'}\n"},
    {UPDATE(COLUMN("id", "integer", "2") "," COLUMN("v", "text", "\"n\""), COLUMN("id", "integer", "1")),
     "update s.t @0/10 x900 #0/0 {id:i='2' v:x='n'} was {id:i='1'}\n"},
    {UPDATE(COLUMN("id", "integer", "1"), ""), "update s.t @0/10 x900 #0/0 {id:i='1'}\n"},
    {"{\"action\":\"U\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[" COLUMN("id", "integer", "1") "]}",
     "update s.t @0/10 x900 #0/0 {id:i='1'}\n"},
    {UPDATE(COLUMN("a", "integer", "1") "," COLUMN("c", "integer", "2") "," COLUMN("e", "integer", "3"),
            COLUMN("a", "integer", "1") "," COLUMN("b", "text", "\"long\"") "," COLUMN(
                "c", "integer", "2") "," COLUMN("d", "text", "\"long too\"")),
     "update s.t @0/10 x900 #0/0 {a:i='1' b:x~ c:i='2' d:x~ e:i='3'} was {a:i='1' b:x='long' c:i='2' "
     "d:x='long "
     "too'}\n"},
    {UPDATE("", COLUMN("b", "text", "\"long\"")), "update s.t @0/10 x900 #0/0 {b:x~} was {b:x='long'}\n"},
    {"{\"action\":\"D\",\"schema\":\"s\",\"table\":\"t\",\"identity\":[" COLUMN("id", "integer", "3") "]}",
     "delete s.t @0/10 x900 #0/0 {id:i='3'}\n"},
    {"{\"action\":\"D\",\"schema\":\"s\",\"table\":\"t\"}", "delete s.t @0/10 x900 #0/0 {}\n"},
    {"{\"action\":\"T\",\"lsn\":\"0/10\",\"schema\":\"s\",\"table\":\"t\"}",
     "truncate s.t @0/10 x900 #0/0\n"},
    {"{\"action\":\"M\",\"transactional\":true,\"prefix\":\"p\",\"content\":\"\xff\"}", ""},
    {"{\"lsn\":\"0/10\",\"action\":\"M\",\"transactional\":true,\"prefix\":\"p\",\"content\":\"c\"}", ""},
};

static void format_2_rows_become_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof format_2_rows / sizeof format_2_rows[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
        decoded_text_expect(&decoded, BEGIN_2, "");
        decoded_text_expect(&decoded, format_2_rows[i].record, format_2_rows[i].expected);
        decoded_text_close(&decoded);
    }
}

static const struct {
    const char *record;
    const char *message;
} format_2_faults[] = {
    {"", "byte 0: unexpected end of input"},
    {"[]", "byte 0: expected a JSON object"},
    {"{\"action\":\"I\"", "byte 13: unexpected end of input"},
    {"{} {}", "byte 3: unexpected text after the value"},
    {"{}", "byte 0: a document without \"action\""},
    {"{\"change\":[]}", "byte 0: a document without \"action\""},
    {"{\"action\":\"X\"}", "byte 10: expected an action"},
    {"{\"action\":1}", "byte 10: expected an action"},
    {"{\"action\":\"I\",\"action\":\"I\"}", "byte 14: member \"action\" appears twice"},
    {"{\"action\":\"C\",\"xid\":901}", "byte 0: the document is of transaction 901, but its row says 900"},
    {"{\"action\":\"C\",\"xid\":-1}", "byte 20: expected a transaction id"},
    {"{\"action\":\"C\",\"nextlsn\":\"16\"}", "byte 24: expected an LSN"},
    {"{\"action\":\"C\",\"nextlsn\":\"0/20\"}",
     "byte 0: the transaction ends at 0/20, but its row says 0/10"},
    {"{\"action\":\"C\",\"timestamp\":\"today\"}", "byte 26: expected a commit time"},
    {BEGIN_2, "a transaction begins inside transaction 900"},
    {"{\"action\":\"T\",\"lsn\":\"0/11\",\"schema\":\"s\",\"table\":\"t\"}",
     "byte 0: the change is at 0/11, but its row says 0/10"},
    {"{\"action\":\"I\",\"table\":\"t\",\"columns\":[]}", "byte 0: a change without \"schema\""},
    {"{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\"}", "byte 0: a change without \"columns\""},
    {"{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":{}}",
     "byte 49: expected an array of columns"},
    {"{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[1]}", "byte 50: expected a column"},
    {"{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[],\"identity\":[]}",
     "byte 0: a change with \"identity\""},
    {"{\"action\":\"D\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[]}",
     "byte 0: a change with \"columns\""},
    {INSERT("{\"type\":\"text\",\"value\":1}"), "byte 50: a column without \"name\""},
    {INSERT("{\"name\":\"a\",\"value\":1}"), "byte 50: a column without \"type\""},
    {INSERT("{\"name\":\"a\",\"type\":\"text\"}"), "byte 50: a column without \"value\""},
    {INSERT("{\"name\":\"a\",\"name\":\"b\"}"), "byte 62: member \"name\" appears twice"},
    {INSERT(COLUMN("a", "text", "[1]")), "byte 84: a value that type 'text' of column 'a' cannot have"},
    {INSERT(COLUMN("a", "text", "true")), "byte 84: a value that type 'text'"},
    {INSERT(COLUMN("a", "boolean", "1")), "byte 87: a value that type 'boolean'"},
    {INSERT(COLUMN("a", "text", "\"\\u0000\"")), "byte 84: a string with a zero character"},
    {INSERT(COLUMN("a", "text", "\"\xff\"")), "byte 85: invalid UTF-8 in string"},
    {INSERT(COLUMN("a", "bytea", "\"abc\"")), "byte 85: a bytea value that is not hexadecimal"},
    {INSERT(COLUMN("a", "text", "\"x\"") "," COLUMN("a", "text", "\"y\"")),
     "table 's.t' names column 'a' twice"},
    {UPDATE(COLUMN("a", "text", "\"x\""), COLUMN("a", "text", "\"y\"") "," COLUMN("a", "text", "\"z\"")),
     "byte 0: the old row names column 'a' twice"},
    {UPDATE(COLUMN("a", "text", "\"x\""), COLUMN("b", "text", "\"y\"") "," COLUMN("b", "text", "\"z\"")),
     "table 's.t' names column 'b' twice"},
};

static void every_other_shape_of_format_2_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof format_2_faults / sizeof format_2_faults[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
        decoded_text_expect(&decoded, BEGIN_2, "");
        decoded_text_refuse(&decoded, format_2_faults[i].record, DP_STATUS_DATA, format_2_faults[i].message);
        decoded_text_close(&decoded);
    }
}

static void after_any_row_a_fault_is_told_as_by_a_fresh_decoder(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof format_2_rows / sizeof format_2_rows[0]; i++) {
        for (size_t k = 0; k < sizeof format_2_faults / sizeof format_2_faults[0]; k++) {
            decoded_text decoded;
            decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
            decoded_text_expect(&decoded, BEGIN_2, "");
            decoded_text_expect(&decoded, format_2_rows[i].record, NULL);
            decoded_text_refuse(&decoded, format_2_faults[k].record, DP_STATUS_DATA,
                                format_2_faults[k].message);
            decoded_text_close(&decoded);
        }
    }
}

#define TIME_2      ",\"timestamp\":\"2026-01-02 03:04:05.678901+00\""
#define OTHER_TIME  ",\"timestamp\":\"2026-01-02 03:04:06+00\""
#define TABLE_2     ",\"schema\":\"s\",\"table\":\"t\""
#define ID(value)   COLUMN("id", "integer", value)
#define NOTE(value) COLUMN("note", "text", value)

/* Records that are nearly like each other, as a server or somebody else may write them. */
static const char *const nearly_alike[] = {
    "{\"action\":\"I\",\"xid\":900" TIME_2 ",\"lsn\":\"0/10\"" TABLE_2
    ",\"columns\":[" ID("1") "," NOTE("\"a\"") "]}",
    "{\"action\":\"I\",\"xid\":900" TIME_2 ",\"lsn\":\"0/FF\"" TABLE_2
    ",\"columns\":[" ID("-2") "," NOTE("\"\\u00e9\\n\"") "]}",
    "{\"action\":\"I\",\"xid\":900" OTHER_TIME ",\"lsn\":\"0/10\"" TABLE_2
    ",\"columns\":[" ID("null") "," NOTE("null") "]}",
    "{\"action\":\"I\",\"xid\":900,\"timestamp\":null,\"lsn\":\"0/11\"" TABLE_2 ",\"columns\":[" ID("1") "]}",
    "{\"action\":\"I\",\"xid\":null" TABLE_2 ",\"columns\":[" ID("\"3\"") "," NOTE("\"\xc3\xa9\"") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" ID("4") "," NOTE("\"b\"") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"lsn\":\"0/12\",\"columns\":[" ID("4") "," NOTE("\"b\"") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" ID("4") "," NOTE("\"b\"") "],\"lsn\":\"0/13\"}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" ID("4") "," NOTE("\"b\"") "],\"pk\":[]}",
    "{\"action\":\"I\",\"schema\":\"s\",\"lsn\":\"0/14\",\"table\":\"t\",\"columns\":[" ID("4") "," NOTE(
        "\"b\"") "]}",
    "{\"action\":\"I\",\"origin\":1" TABLE_2 ",\"columns\":[" ID("4") "," NOTE("\"b\"") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" NOTE("\"b\"") "," ID("4") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" COLUMN("id", "text", "\"4\"") "," NOTE("\"b\"") "]}",
    "{\"action\":\"I\"" TABLE_2 ",\"columns\":[" COLUMN("id", "bytea", "\"00\"") "," NOTE("\"b\"") "]}",
    "{\"action\":\"I\"" TABLE_2
    ",\"columns\":[" ID("4") "," COLUMN("note", "jsonb", "\"{\\\"a\\\":[]}\"") "]}",
    "{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t[\",\"columns\":[" ID("5") "]}",
    "{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t[u\",\"columns\":[" ID("5") "]}",
    "{\"action\":\"I\",\"schema\":\"s\\u0020\",\"table\":\"t\",\"columns\":[" ID("5") "]}",
    "{\"action\":\"U\"" TABLE_2 ",\"columns\":[" ID("4") "," NOTE("\"b\"") "],\"identity\":[" ID("4") "]}",
    "{\"action\":\"U\"" TABLE_2 ",\"columns\":[" ID("5") "," NOTE("\"c\"") "],\"identity\":[" ID("4") "]}",
    "{\"action\":\"U\"" TABLE_2 ",\"columns\":[" ID("5") "],\"identity\":[" ID("4") "," NOTE("\"long\"") "]}",
    "{\"action\":\"U\"" TABLE_2 ",\"columns\":[" ID("5") "," NOTE("\"c\"") "],\"identity\":[]}",
    "{\"action\":\"U\"" TABLE_2 ",\"columns\":[" ID("6") "," NOTE("\"c\"") "]}",
    "{\"action\":\"U\"" TABLE_2 ",\"identity\":[" ID("4") "],\"columns\":[" ID("4") "," NOTE("\"b\"") "]}",
    "{\"action\":\"D\"" TABLE_2 ",\"identity\":[" ID("4") "]}",
    "{\"action\":\"D\"" TABLE_2 ",\"identity\":[" ID("7") "," NOTE("null") "]}",
    "{\"action\":\"T\"" TABLE_2 "}",
};

/* A blank behind a record keeps it from being read as an earlier one. */
static void feed_carefully(decoded_text *decoded, const char *record)
{
    char text[1024];
    snprintf(text, sizeof text, "%s ", record);
    decoded_text_expect(decoded, text, NULL);
}

static void a_record_that_is_like_an_earlier_one_is_read_as_if_it_were_the_first(void **state)
{
    (void)state;
    const size_t count = sizeof nearly_alike / sizeof nearly_alike[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            const size_t order[] = {i, i, k, k, i, k};
            decoded_text plain, careful;
            decoded_text_open(&plain, DP_PLUGIN_WAL2JSON_2);
            decoded_text_open(&careful, DP_PLUGIN_WAL2JSON_2);
            plain.lsn = careful.lsn = plain.xid = careful.xid = 0;
            decoded_text_expect(&plain, "{\"action\":\"B\",\"xid\":900" TIME_2 "}", "");
            feed_carefully(&careful, "{\"action\":\"B\",\"xid\":900" TIME_2 "}");
            for (size_t n = 0; n < sizeof order / sizeof order[0]; n++) {
                feed_carefully(&careful, nearly_alike[order[n]]);
                decoded_text_expect(&plain, nearly_alike[order[n]], dp_buffer_text(&careful.text));
            }
            decoded_text_close(&plain);
            decoded_text_close(&careful);
        }
    }
}

static void a_change_without_begin_names_the_option(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
    decoded_text_refuse(&decoded, INSERT(COLUMN("a", "integer", "1")), DP_STATUS_DATA,
                        "byte 0: a change outside a transaction");
    assert_non_null(strstr(decoded.error.hint, "include-transaction"));
    decoded_text_close(&decoded);
}

static void a_commit_ends_at_nextlsn_and_takes_from_begin_what_it_lacks(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
    decoded_text_expect(
        &decoded,
        "{\"action\":\"B\",\"xid\":900,\"timestamp\":\"2026-01-02 03:04:05.678901+00\",\"lsn\":\"0/28\","
        "\"nextlsn\":\"0/30\"}",
        "");
    decoded.lsn = 0x30;
    decoded_text_expect(&decoded, "{\"action\":\"C\",\"xid\":900,\"lsn\":\"0/28\",\"nextlsn\":\"0/30\"}",
                        "commit x900 @0/30 t=1767323045678901 n=0\n");
    decoded_text_expect(&decoded, BEGIN_2, "");
    decoded_text_expect(&decoded, "{\"action\":\"C\",\"timestamp\":\"1970-01-01 00:00:00+00\"}",
                        "commit x900 @0/30 t=0 n=0\n");
    decoded_text_close(&decoded);
}

static void a_raw_stream_takes_its_positions_from_the_documents(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
    decoded.lsn = 0;
    decoded.xid = 0;
    decoded_text_expect(&decoded, "{\"action\":\"B\",\"xid\":7,\"nextlsn\":\"0/30\"}", "");
    decoded_text_expect(&decoded,
                        "{\"action\":\"T\",\"xid\":7,\"lsn\":\"0/20\",\"schema\":\"s\",\"table\":\"t\"}",
                        "truncate s.t @0/20 x7 #0/0\n");
    decoded_text_expect(&decoded, "{\"action\":\"T\",\"schema\":\"s\",\"table\":\"t\"}",
                        "truncate s.t @- x7 #0/1\n");
    decoded_text_expect(&decoded, "{\"action\":\"C\",\"xid\":7}", "commit x7 @0/30 t=- n=2\n");
    decoded_text_expect(&decoded, "{\"action\":\"B\"}", "");
    decoded_text_expect(&decoded, "{\"action\":\"C\"}", "commit x- @- t=- n=0\n");
    decoded_text_close(&decoded);
}

#define FLOAT_NULL INSERT(COLUMN("f", "double precision", "null"))

static void a_null_float_may_be_nan_unless_the_stream_shows_numbers_as_strings(void **state)
{
    (void)state;
    static const struct {
        const char *before; /* an insert decoded first, or NULL */
        const char *record;
        const char *refusal; /* NULL: decodes */
        bool trust_nulls;
    } cases[] = {
        {NULL, FLOAT_NULL, "byte 96: column 'f' of 's.t' is null, which wal2json also prints for NaN", false},
        {NULL, INSERT(COLUMN("n", "numeric(3,1)", "null")), "byte 92: column 'n'", false},
        {NULL, INSERT(COLUMN("i", "integer", "null") "," COLUMN("t", "text", "null")), NULL, false},
        {NULL, FLOAT_NULL, NULL, true},
        {NULL, INSERT(COLUMN("f", "real", "null") "," COLUMN("id", "integer", "\"1\"")), NULL, false},
        {NULL, INSERT(COLUMN("f", "real", "null") "," COLUMN("id", "integer", "1")), "byte 84: column 'f'",
         false},
        {INSERT(COLUMN("n", "numeric", "\"NaN\"")), FLOAT_NULL, NULL, false},
        {INSERT(COLUMN("t", "text", "\"1\"")), FLOAT_NULL, "byte 96: column 'f'", false},
        {INSERT(COLUMN("n", "numeric", "\"1\"") "," COLUMN("m", "numeric", "1")), FLOAT_NULL,
         "byte 96: column 'f'", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_2);
        dp_decoder_set_trust_nulls(decoded.decoder, cases[i].trust_nulls);
        decoded_text_expect(&decoded, BEGIN_2, "");
        if (cases[i].before != NULL) decoded_text_expect(&decoded, cases[i].before, NULL);
        if (cases[i].refusal == NULL) {
            decoded_text_expect(&decoded, cases[i].record, NULL);
            assert_int_equal(dp_decoder_doubtful_null_count(decoded.decoder), 0);
        } else {
            decoded_text_refuse(&decoded, cases[i].record, DP_STATUS_DATA, cases[i].refusal);
            assert_non_null(strstr(decoded.error.hint, "numeric-data-types-as-string"));
        }
        decoded_text_close(&decoded);
    }
}

static void a_doubtful_null_of_a_table_with_a_key_is_delivered_and_counted(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    dp_buffer text = DP_BUFFER_INIT(4096);
    dp_unique_keys *keys = dp_unique_keys_new();
    assert_int_equal(dp_unique_keys_add(keys, DP_SLICE_LITERAL("s.t=id"), &error), DP_STATUS_OK);
    dp_change_sink sink = {&text, decoded_on_change, decoded_on_commit};
    dp_decoder *decoder = dp_decoder_new(DP_PLUGIN_WAL2JSON_2, keys, &sink);
    dp_record begin = {.data = DP_SLICE_LITERAL(BEGIN_2)};
    dp_record insert = {
        .data = DP_SLICE_LITERAL(INSERT(COLUMN("id", "integer", "1") "," COLUMN("f", "real", "null")))};
    assert_int_equal(dp_decoder_feed(decoder, &begin, &error), DP_STATUS_OK);
    assert_int_equal(dp_decoder_feed(decoder, &insert, &error), DP_STATUS_OK);
    assert_string_equal(dp_buffer_text(&text), "insert s.t @- x900 #0/0 {id:i='1' f:f=NULL}\n");
    assert_int_equal(dp_decoder_doubtful_null_count(decoder), 1);
    dp_decoder_free(decoder);
    dp_unique_keys_free(keys);
    dp_buffer_release(&text);
}

#define HEAD_1 "{\"xid\":900,\"nextlsn\":\"0/30\",\"timestamp\":\"1970-01-01 00:00:00+00\",\"change\":["
#define ROW_1(kind, names, types, values)                                                                    \
    "{\"kind\":\"" kind "\",\"schema\":\"s\",\"table\":\"t\",\"columnnames\":[" names                        \
    "],\"columntypes\":[" types "],\"columnvalues\":[" values "]"
#define INSERT_1 ROW_1("insert", "\"id\",\"v\"", "\"integer\",\"text\"", "1,\"x\"") "}"
#define OLD_KEYS_1(names, types, values)                                                                     \
    "\"oldkeys\":{\"keynames\":[" names "],\"keytypes\":[" types "],\"keyvalues\":[" values "]}}"
#define DELETE_1                                                                                             \
    "{\"kind\":\"delete\",\"schema\":\"s\",\"table\":\"t\"," OLD_KEYS_1("\"id\"", "\"integer\"", "1")

static void a_whole_document_is_a_transaction_without_change_positions(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
    decoded.lsn = 0x30;
    decoded_text_expect(&decoded,
                        HEAD_1 INSERT_1
                        "," ROW_1("update", "\"id\",\"v\"", "\"integer\",\"text\"",
                                  "2,\"x\"") "," OLD_KEYS_1("\"id\"", "\"integer\"", "1") "," DELETE_1 "]}",
                        "insert s.t @- x900 #0/0 {id:i='1' v:x='x'}\n"
                        "update s.t @- x900 #1/1 {id:i='2' v:x='x'} was {id:i='1'}\n"
                        "delete s.t @- x900 #2/2 {id:i='1'}\n"
                        "commit x900 @0/30 t=0 n=3\n");
    decoded_text_expect(&decoded, HEAD_1 "]}", "commit x900 @0/30 t=0 n=0\n");
    decoded_text_expect(
        &decoded,
        "{\n\t\"xid\": 900,\n\t\"nextlsn\": \"0/30\",\n\t\"origin\": 0,\n\t\"change\": [\n\t\t" INSERT_1
        "\n\t\t," INSERT_1 "\n\t]\n}",
        "insert s.t @- x900 #0/0 {id:i='1' v:x='x'}\n"
        "insert s.t @- x900 #1/1 {id:i='1' v:x='x'}\n"
        "commit x900 @0/30 t=- n=2\n");
    decoded_text_close(&decoded);
}

static void chunks_carry_the_position_of_their_rows(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
    decoded_text_expect(&decoded, HEAD_1, "");
    assert_true(dp_decoder_in_transaction(decoded.decoder));
    decoded_text_expect(&decoded, INSERT_1, "insert s.t @0/10 x900 #0/0 {id:i='1' v:x='x'}\n");
    decoded_text_expect(&decoded, "," DELETE_1, "delete s.t @0/10 x900 #1/1 {id:i='1'}\n");
    decoded_text_expect(
        &decoded, ",{\"kind\":\"message\",\"transactional\":true,\"prefix\":\"\",\"content\":\"\"}", "");
    decoded.lsn = 0x20;
    decoded_text_expect(&decoded, "," DELETE_1, "delete s.t @0/20 x900 #0/2 {id:i='1'}\n");
    decoded.lsn = 0x30;
    decoded_text_expect(&decoded, "]}", "commit x900 @0/30 t=0 n=3\n");
    decoded_text_close(&decoded);
}

static void a_non_transactional_message_is_no_transaction(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
    decoded.xid = 0;
    decoded_text_expect(
        &decoded,
        "{\"change\":[,{\"kind\":\"message\",\"transactional\":false,\"prefix\":\"p\",\"content\":\"c\"}]}",
        "");
    assert_false(dp_decoder_in_transaction(decoded.decoder));
    decoded_text_close(&decoded);
}

static const struct {
    const char *first; /* decoded before, or NULL */
    const char *record;
    const char *message;
} format_1_faults[] = {
    {NULL, "", "byte 0: an empty record"},
    {NULL, "[]", "byte 0: expected the '{' of a document"},
    {NULL, "{\"xid\":900}", "byte 0: a document without \"change\""},
    {NULL, "{\"action\":\"B\"}", "byte 0: a document without \"change\""},
    {NULL, "{\"xid\":901,\"change\":[", "byte 0: the document is of transaction 901, but its row says 900"},
    {NULL, "{\"xid\":1,\"xid\":1", "byte 9: member \"xid\" appears twice"},
    {NULL, "{\"change\":{}}", "byte 10: expected an array of changes"},
    {NULL, "{\"nextlsn\":\"0/30\",\"change\":[]}",
     "byte 0: the transaction ends at 0/30, but its row says 0/10"},
    {HEAD_1, "]", "byte 1: expected '}' after the changes"},
    {NULL, "{\"change\":[],\"xid\":900}", "byte 12: expected '}' after the changes"},
    {HEAD_1, "1", "byte 0: expected the '{' of a change"},
    {HEAD_1, "{\"kind\":\"insert\"", "byte 16: unexpected end of input"},
    {HEAD_1, "{\"kind\":\"upsert\"}", "byte 0: expected a change of kind insert"},
    {HEAD_1, "{}", "byte 0: expected a change of kind insert"},
    {HEAD_1, "{\"kind\":\"insert\",\"kind\":\"insert\"}", "byte 17: member \"kind\" appears twice"},
    {HEAD_1, "{\"kind\":\"insert\"}", "byte 0: a change without \"schema\" or \"table\""},
    {HEAD_1, "{\"kind\":\"insert\",\"schema\":\"s\",\"table\":\"t\"}", "byte 0: a change without columns"},
    {HEAD_1, ROW_1("delete", "", "", "") "}", "byte 0: a delete with columns"},
    {HEAD_1, ROW_1("insert", "\"a\"", "\"text\"", "") "}", "byte 0: 1 column names, 1 types and 0 values"},
    {HEAD_1, ROW_1("insert", "\"a\"", "", "\"x\"") "}", "byte 0: columns without types"},
    {HEAD_1, ROW_1("insert", "1", "\"text\"", "\"x\"") "}", "byte 57: expected a string"},
    {HEAD_1, ROW_1("insert", "\"a\"", "\"text\"", "[1]") "}",
     "byte 101: a value that type 'text' of column 'a'"},
    {HEAD_1, ROW_1("insert", "\"a\"", "\"text\"", "\"x\"") "," OLD_KEYS_1("\"a\"", "\"text\"", "\"x\""),
     "byte 0: an insert with old keys"},
    {HEAD_1, ROW_1("update", "\"a\"", "\"text\"", "\"x\"") "," OLD_KEYS_1("\"a\"", "\"text\"", ""),
     "byte 0: 1 column names, 1 types and 0 values"},
    {HEAD_1, ROW_1("insert", "\"f\"", "\"real\"", "null") "}", "byte 101: column 'f' of 's.t' is null"},
};

static void every_other_shape_of_format_1_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof format_1_faults / sizeof format_1_faults[0]; i++) {
        decoded_text decoded;
        decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
        if (format_1_faults[i].first != NULL) decoded_text_expect(&decoded, format_1_faults[i].first, "");
        decoded_text_refuse(&decoded, format_1_faults[i].record, DP_STATUS_DATA, format_1_faults[i].message);
        decoded_text_close(&decoded);
    }
}

static void a_change_after_another_needs_a_comma(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
    decoded_text_expect(&decoded, HEAD_1, "");
    decoded_text_expect(&decoded, "," INSERT_1, NULL);
    decoded_text_refuse(&decoded, INSERT_1, DP_STATUS_DATA, "byte 0: expected ',' or ']'");
    decoded_text_close(&decoded);
}

static void a_chunk_of_another_transaction_is_refused(void **state)
{
    (void)state;
    decoded_text decoded;
    decoded_text_open(&decoded, DP_PLUGIN_WAL2JSON_1);
    decoded_text_expect(&decoded, HEAD_1, "");
    decoded.xid = 901;
    decoded_text_refuse(&decoded, INSERT_1, DP_STATUS_DATA,
                        "byte 0: a record of transaction 901 inside transaction 900");
    decoded_text_close(&decoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_2_rows_become_changes),
        cmocka_unit_test(every_other_shape_of_format_2_is_refused),
        cmocka_unit_test(after_any_row_a_fault_is_told_as_by_a_fresh_decoder),
        cmocka_unit_test(a_record_that_is_like_an_earlier_one_is_read_as_if_it_were_the_first),
        cmocka_unit_test(a_change_without_begin_names_the_option),
        cmocka_unit_test(a_commit_ends_at_nextlsn_and_takes_from_begin_what_it_lacks),
        cmocka_unit_test(a_raw_stream_takes_its_positions_from_the_documents),
        cmocka_unit_test(a_null_float_may_be_nan_unless_the_stream_shows_numbers_as_strings),
        cmocka_unit_test(a_doubtful_null_of_a_table_with_a_key_is_delivered_and_counted),
        cmocka_unit_test(a_whole_document_is_a_transaction_without_change_positions),
        cmocka_unit_test(chunks_carry_the_position_of_their_rows),
        cmocka_unit_test(a_non_transactional_message_is_no_transaction),
        cmocka_unit_test(every_other_shape_of_format_1_is_refused),
        cmocka_unit_test(a_change_after_another_needs_a_comma),
        cmocka_unit_test(a_chunk_of_another_transaction_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
