/* Which form a capture has and which plugin printed it, from its first bytes.
 *
 * A row begins with an LSN, a separator, a transaction id and the separator again; the separator tells the
 * form. What begins otherwise is a raw stream, or something that cannot be read, which is refused with what
 * to use instead.
 */
#include "cdc/capture_internal.h"

/* Enough for the first line's head and the first words of its data. */
enum { DETECT_BYTES = 4096 };

static dp_frame_result refuse(const dp_capture_reader *reader, const dp_frame *frame, const char *what,
                              const char *hint)
{
    dp_frame_fault(reader, frame, 0, what);
    dp_error_hint(frame->error, "%s", hint);
    return DP_FRAME_FAILED;
}

static dp_slice first_line(dp_slice bytes)
{
    dp_slice line;
    dp_slice rest;
    dp_slice_split(bytes, '\n', &line, &rest);
    return line;
}

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* The separator of the row or header that `bytes` begin with, or 0. */
static char find_separator(dp_slice bytes, bool is_final, bool *is_header)
{
    dp_slice line = first_line(bytes);
    *is_header = line.length >= 12 && line.data[3] == line.data[7] && memcmp(line.data, "lsn", 3) == 0 &&
                 memcmp(line.data + 4, "xid", 3) == 0 && memcmp(line.data + 8, "data", 4) == 0 &&
                 (line.length == 12 || (line.length == 13 && line.data[12] == '\r'));
    if (*is_header) return line.data[3];
    size_t at = 0;
    bool is_quoted = line.length > 0 && line.data[0] == '"';
    if (is_quoted) at++;
    while (at < line.length && (is_hex_digit(line.data[at]) || line.data[at] == '/')) {
        at++;
    }
    if (is_quoted) at++;
    if (at == 0 || at >= line.length) return 0;
    return dp_begins_row(bytes, line.data[at], is_final) == DP_ANSWER_YES ? line.data[at] : 0;
}

static dp_frame_result refuse_unreadable(const dp_capture_reader *reader, const dp_frame *frame)
{
    dp_slice line = first_line(frame->bytes);
    if (memchr(line.data, 0, line.length < 64 ? line.length : 64) != NULL) {
        return refuse(
            reader, frame,
            "binary data: pgoutput as pg_recvlogical writes it does not say where messages end",
            "use psql --csv -c \"SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes(...)\"");
    }
    if (line.data[0] == ' ' || memmem(line.data, line.length, " | ", 3) != NULL) {
        return refuse(reader, frame, "psql's aligned output", "use psql --csv, or COPY ... TO STDOUT");
    }
    if (dp_slice_starts_with(line, DP_SLICE_LITERAL("\\x"))) {
        return refuse(reader, frame, "pgoutput's data without lsn and xid",
                      "select lsn, xid, data, in this order, from the slot's function");
    }
    if ((unsigned char)line.data[0] >= 0xEF) {
        return refuse(reader, frame, "a byte order mark or bytes that are no UTF-8",
                      "take the capture again as plain UTF-8");
    }
    return refuse(
        reader, frame, "not a capture of logical decoding as far as can be told",
        "rows of lsn, xid, data by psql --csv or COPY are read, and what pg_recvlogical writes with "
        "test_decoding or wal2json; --input-format says which");
}

static dp_frame_result detect_form(dp_capture_reader *reader, const dp_frame *frame)
{
    if (reader->separator == ',') {
        reader->form = DP_CAPTURE_FORM_CSV;
    } else if (reader->separator == '\t') {
        reader->form = DP_CAPTURE_FORM_COPY_TEXT;
        reader->is_undecided_tab = true;
    } else if (reader->separator != 0) {
        reader->form = DP_CAPTURE_FORM_PSQL_UNALIGNED;
    } else if (frame->bytes.data[0] == '{') {
        reader->form = DP_CAPTURE_FORM_RAW_WAL2JSON;
    } else if (dp_begins_test_decoding(frame->bytes, frame->is_final) == DP_ANSWER_YES) {
        reader->form = DP_CAPTURE_FORM_RAW_TEST_DECODING;
    } else {
        return refuse_unreadable(reader, frame);
    }
    return DP_FRAME_RECORD;
}

/* The separator that a form given by the user asks for. */
static dp_frame_result check_separator(dp_capture_reader *reader, const dp_frame *frame)
{
    switch (reader->form) {
    case DP_CAPTURE_FORM_CSV:
        if (reader->separator == ',') return DP_FRAME_RECORD;
        return refuse(reader, frame, "expected a row of lsn, xid and data separated by commas",
                      "leave --input-format out to have the form detected");
    case DP_CAPTURE_FORM_COPY_TEXT:
        if (reader->separator == '\t') return DP_FRAME_RECORD;
        return refuse(reader, frame, "expected a row of lsn, xid and data separated by tabs",
                      "leave --input-format out to have the form detected");
    case DP_CAPTURE_FORM_PSQL_UNALIGNED:
        if (reader->separator != 0) return DP_FRAME_RECORD;
        return refuse_unreadable(reader, frame);
    case DP_CAPTURE_FORM_RAW_TEST_DECODING:
    case DP_CAPTURE_FORM_RAW_WAL2JSON: break;
    }
    return DP_FRAME_RECORD;
}

/* Past white space and quotes, also as COPY escapes them. */
static size_t skip_to_name(dp_slice data, size_t at)
{
    while (at < data.length && memchr(" \t\r\n\"\\", data.data[at], 6) != NULL) {
        bool is_escape =
            data.data[at] == '\\' && at + 1 < data.length && memchr("ntr", data.data[at + 1], 3) != NULL;
        at += is_escape ? 2 : 1;
    }
    return at;
}

/* The format by the name of the first member; CSV doubles its quotes. */
static dp_answer detect_wal2json(dp_slice data, bool is_final, dp_plugin *plugin)
{
    static const dp_slice format_1[] = {DP_SLICE_LITERAL("xid"),       DP_SLICE_LITERAL("nextlsn"),
                                        DP_SLICE_LITERAL("timestamp"), DP_SLICE_LITERAL("origin"),
                                        DP_SLICE_LITERAL("change"),    DP_SLICE_LITERAL("kind")};
    size_t at = skip_to_name(data, 1);
    size_t start = at;
    while (at < data.length && data.data[at] >= 'a' && data.data[at] <= 'z') {
        at++;
    }
    if (at == data.length) return is_final ? DP_ANSWER_NO : DP_ANSWER_UNKNOWN;
    dp_slice name = {data.data + start, at - start};
    if (dp_slice_equal_text(name, "action")) {
        *plugin = DP_PLUGIN_WAL2JSON_2;
        return DP_ANSWER_YES;
    }
    *plugin = DP_PLUGIN_WAL2JSON_1;
    for (size_t i = 0; i < sizeof format_1 / sizeof format_1[0]; i++) {
        if (dp_slice_equal(name, format_1[i])) return DP_ANSWER_YES;
    }
    return DP_ANSWER_NO;
}

static dp_answer detect_plugin(dp_slice data, bool is_final, dp_plugin *plugin)
{
    if (data.length > 0 && data.data[0] == '"') data = (dp_slice){data.data + 1, data.length - 1};
    if (data.length == 0) return is_final ? DP_ANSWER_NO : DP_ANSWER_UNKNOWN;
    if (data.data[0] == '\\') {
        *plugin = DP_PLUGIN_PGOUTPUT;
        return DP_ANSWER_YES;
    }
    if (data.data[0] == '{') return detect_wal2json(data, is_final, plugin);
    if (memchr(",]", data.data[0], 2) != NULL) {
        *plugin = DP_PLUGIN_WAL2JSON_1;
        return DP_ANSWER_YES;
    }
    *plugin = DP_PLUGIN_TEST_DECODING;
    return dp_begins_test_decoding(data, is_final);
}

static bool is_rows(dp_capture_form form)
{
    return form == DP_CAPTURE_FORM_PSQL_UNALIGNED || form == DP_CAPTURE_FORM_CSV ||
           form == DP_CAPTURE_FORM_COPY_TEXT;
}

static dp_frame_result check_plugin(dp_capture_reader *reader, const dp_frame *frame)
{
    bool is_text_stream = reader->form == DP_CAPTURE_FORM_RAW_TEST_DECODING;
    bool is_json_stream = reader->form == DP_CAPTURE_FORM_RAW_WAL2JSON;
    bool is_json = reader->plugin == DP_PLUGIN_WAL2JSON_1 || reader->plugin == DP_PLUGIN_WAL2JSON_2;
    if ((is_text_stream && reader->plugin != DP_PLUGIN_TEST_DECODING) || (is_json_stream && !is_json) ||
        (reader->options.is_wal2json && !is_json)) {
        return refuse(reader, frame, "the input is of another plugin than the one named",
                      "leave --plugin out to have it detected");
    }
    return DP_FRAME_RECORD;
}

/* Finds the plugin by the data of the first row, or the first record of a raw stream. */
static dp_frame_result find_plugin(dp_capture_reader *reader, const dp_frame *frame, dp_slice row)
{
    dp_slice data = row;
    if (is_rows(reader->form)) {
        dp_slice lsn;
        dp_slice xid;
        dp_slice rest;
        if (row.length == 0 || !dp_slice_split(row, reader->separator, &lsn, &rest) ||
            !dp_slice_split(rest, reader->separator, &xid, &data)) {
            /* A header alone holds no record, so that any plugin will do. */
            return frame->is_final && row.length == 0 ? DP_FRAME_RECORD : DP_FRAME_MORE;
        }
    }
    dp_plugin plugin = reader->plugin;
    dp_answer answer = detect_plugin(data, frame->is_final, &plugin);
    bool has_plenty = frame->bytes.length >= DETECT_BYTES;
    if (answer == DP_ANSWER_UNKNOWN && !has_plenty) return DP_FRAME_MORE;
    if (answer != DP_ANSWER_YES) {
        return refuse(reader, frame, "data that no known plugin prints first",
                      "say which it is with --plugin");
    }
    reader->plugin = plugin;
    return DP_FRAME_RECORD;
}

/* pgoutput's first backslash tells COPY, which doubles it, from psql. */
static void decide_tab_by_pgoutput(dp_capture_reader *reader, dp_slice row)
{
    if (!reader->is_undecided_tab || reader->plugin != DP_PLUGIN_PGOUTPUT) return;
    dp_slice line = first_line(row);
    reader->is_undecided_tab = false;
    if (memmem(line.data, line.length, "\t\\\\x", 4) == NULL) reader->form = DP_CAPTURE_FORM_PSQL_UNALIGNED;
}

dp_frame_result dp_capture_detect(dp_capture_reader *reader, dp_frame *frame)
{
    dp_slice bytes = frame->bytes;
    bool has_line = memchr(bytes.data, '\n', bytes.length) != NULL;
    if (!has_line && bytes.length < DETECT_BYTES && !frame->is_final) return DP_FRAME_MORE;
    bool is_header;
    reader->form = reader->options.form;
    reader->plugin = reader->options.is_wal2json ? DP_PLUGIN_WAL2JSON_2 : reader->options.plugin;
    reader->is_undecided_tab = false;
    reader->separator = find_separator(bytes, frame->is_final, &is_header);
    dp_frame_result result =
        reader->options.has_form ? check_separator(reader, frame) : detect_form(reader, frame);
    if (result != DP_FRAME_RECORD) return result;
    dp_slice row = bytes;
    if (is_header && is_rows(reader->form)) {
        dp_slice header;
        if (!dp_slice_split(bytes, '\n', &header, &row)) row = (dp_slice){bytes.data, 0};
        if (!frame->is_final && memchr(row.data, '\n', row.length) == NULL && row.length < DETECT_BYTES) {
            return DP_FRAME_MORE;
        }
        if (row.length > 0 && dp_begins_row(row, reader->separator, frame->is_final) == DP_ANSWER_NO) {
            return DP_FRAME_RECORD; /* the framer says what is wrong with that row */
        }
    }
    if (!reader->options.has_plugin) result = find_plugin(reader, frame, row);
    if (result == DP_FRAME_RECORD) result = check_plugin(reader, frame);
    if (result == DP_FRAME_RECORD) decide_tab_by_pgoutput(reader, row);
    return result;
}
