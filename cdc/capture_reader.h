/* Reads a capture: the bytes of logical decoding output as psql or pg_recvlogical wrote them, to records.
 *
 * Push parser: bytes are fed in pieces of any size, records are handed to a callback. Pure: no I/O. Memory is
 * bounded by the largest record. Recognises the form and the plugin from the first bytes unless told; refuses
 * what cannot be read safely and says what to use instead. Every error is DATA (or LIMIT for an oversized
 * record) and names the line number and the byte offset in the input. After an error, or an error of the
 * callback, only dp_capture_reader_free may be called. Not shared between threads.
 */
#ifndef DPONE_CDC_CAPTURE_READER_H
#define DPONE_CDC_CAPTURE_READER_H

#include "cdc/decoder.h"

/* X(name, text, summary): text is what --input-format takes */
#define DP_CAPTURE_FORM_LIST(X)                                                                              \
    X(PSQL_UNALIGNED, "psql-unaligned", "rows of lsn, xid, data as psql -At prints them, any separator")     \
    X(CSV, "csv", "rows of lsn, xid, data as psql --csv and COPY ... CSV write them")                        \
    X(COPY_TEXT, "copy-text", "rows of lsn, xid, data as COPY ... TO STDOUT writes them")                    \
    X(RAW_TEST_DECODING, "raw-test-decoding", "what pg_recvlogical writes with test_decoding: no positions") \
    X(RAW_WAL2JSON, "raw-wal2json",                                                                          \
      "what pg_recvlogical writes with wal2json: positions with format 2 and include-lsn")

typedef enum dp_capture_form {
#define DP_CAPTURE_FORM_ENUM(name, text, summary) DP_CAPTURE_FORM_##name,
    DP_CAPTURE_FORM_LIST(DP_CAPTURE_FORM_ENUM)
#undef DP_CAPTURE_FORM_ENUM
} dp_capture_form;

bool dp_capture_form_parse(dp_slice text, dp_capture_form *form);

typedef struct dp_capture_options {
    bool has_form; /* otherwise detected */
    dp_capture_form form;
    bool has_plugin; /* otherwise detected */
    dp_plugin plugin;
    bool is_wal2json;        /* the plugin is wal2json, its format detected */
    size_t max_record_bytes; /* 0: 1 GiB, the largest value PostgreSQL can send */
} dp_capture_options;

typedef struct dp_capture_reader dp_capture_reader;

typedef struct dp_capture_sink {
    void *context;
    /* Called once, when form and plugin are known and before the first record. */
    dp_status (*start)(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error);
    /* Slices live until it returns. */
    dp_status (*record)(void *context, const dp_record *record, dp_error *error);
} dp_capture_sink;

/* NULL when memory is refused. */
dp_capture_reader *dp_capture_reader_new(const dp_capture_options *options, const dp_capture_sink *sink);
void dp_capture_reader_free(dp_capture_reader *reader);

/* Reads what is complete in the bytes seen so far; keeps the rest. */
dp_status dp_capture_reader_feed(dp_capture_reader *reader, dp_slice bytes, dp_error *error);

/* The input has ended: a last line without a newline counts when it is complete; an empty input is no error
 * and never calls the sink. */
dp_status dp_capture_reader_finish(dp_capture_reader *reader, dp_error *error);

/* The line (from 1) and the byte (from 0) at which the record handed out last began; for errors of later
 * stages. */
uint64_t dp_capture_reader_line(const dp_capture_reader *reader);
uint64_t dp_capture_reader_offset(const dp_capture_reader *reader);

#endif
