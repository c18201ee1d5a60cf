/* Shared by the capture reader's files only: how one record is found at the front of the bytes at hand.
 *
 * A framer looks at the bytes from the record's first to the last one at hand and answers with the record, or
 * with the wish for more. It is asked again with the same bytes and more behind them, and keeps in `scan` how
 * far it has looked, so that a record is scanned once, in whatever pieces it arrives.
 */
#ifndef DPONE_CDC_CAPTURE_INTERNAL_H
#define DPONE_CDC_CAPTURE_INTERNAL_H

#include "base/buffer.h"
#include "cdc/capture_reader.h"

typedef enum dp_frame_result {
    DP_FRAME_RECORD, /* `record` and `length_bytes` are set */
    DP_FRAME_SKIP,   /* no record: a header, a blank line; `length_bytes` is set */
    DP_FRAME_MORE,   /* never when the input is final */
    DP_FRAME_FAILED  /* the error is set */
} dp_frame_result;

typedef struct dp_frame {
    dp_slice bytes; /* what is at hand, from the record's first byte */
    bool is_final;  /* nothing follows */
    dp_record record;
    size_t length_bytes; /* of the record with its line end */
    bool is_one_line;    /* and the line end is its only newline */
    dp_error *error;
} dp_frame;

/* How far a record that is not complete has been looked through. */
typedef struct dp_frame_scan {
    size_t at;
    size_t needed_bytes; /* no need to look again with fewer bytes at hand */
    char quote;          /* the open quote, or 0 */
    bool has_doubled;    /* doubled quotes were met */
} dp_frame_scan;

typedef enum dp_line_end { DP_LINE_END_UNKNOWN, DP_LINE_END_LF, DP_LINE_END_CRLF } dp_line_end;

struct dp_capture_reader {
    dp_capture_options options;
    dp_capture_sink sink;
    size_t max_record_bytes;

    bool is_detected;
    bool has_started;
    dp_capture_form form;
    dp_plugin plugin;
    char separator;
    bool is_undecided_tab; /* copy-text so far; a line that cannot be makes it psql-unaligned */
    bool may_be_header;    /* nothing has been read */
    bool has_ended;        /* COPY's end marker was read */
    dp_line_end line_end;
    unsigned json_depth; /* raw wal2json, format 1: open brackets of the document */
    bool in_json_string;
    bool after_backslash;

    dp_buffer pending; /* the front of a record whose end is not at hand */
    dp_buffer decoded; /* the data of a record after unescaping */
    dp_frame_scan scan;

    uint64_t offset; /* of the next record */
    uint64_t line;
    uint64_t record_offset; /* of the record handed out last */
    uint64_t record_line;
};

/* Sets DATA: "line <n>, byte <n>: <what>", `at` bytes into the record. */
dp_frame_result dp_frame_fault(const dp_capture_reader *reader, const dp_frame *frame, size_t at,
                               const char *what);

/* More bytes, or `what` as a fault when there are none. */
dp_frame_result dp_frame_more(dp_capture_reader *reader, const dp_frame *frame, const char *what);

typedef enum dp_answer { DP_ANSWER_NO, DP_ANSWER_YES, DP_ANSWER_UNKNOWN } dp_answer;

/* capture_detect.c: form, plugin and separator from the first bytes. RECORD: detected. */
dp_frame_result dp_capture_detect(dp_capture_reader *reader, dp_frame *frame);

/* capture_rows.c */
dp_frame_result dp_frame_row(dp_capture_reader *reader, dp_frame *frame);

/* Whether `bytes` begin with an LSN, the separator, a transaction id and the separator. UNKNOWN when they are
 * cut. */
dp_answer dp_begins_row(dp_slice bytes, char separator, bool is_final);

/* capture_raw.c */
dp_frame_result dp_frame_raw(dp_capture_reader *reader, dp_frame *frame);

/* Whether `bytes` begin as a record of test_decoding does. */
dp_answer dp_begins_test_decoding(dp_slice bytes, bool is_final);

/* Finds the end of a test_decoding record that begins at `start`: a newline outside quotes, or for a message
 * the newline after its stated size. *end is the newline's offset, or the length of final bytes. Continues at
 * scan. */
dp_frame_result dp_frame_test_decoding(dp_capture_reader *reader, dp_frame *frame, size_t start, size_t *end);

#endif
