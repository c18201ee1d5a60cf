/* Decodes a capture into event lines or rows: `dpone cdc decode`. Needs no database; memory does not grow
 * with input. */
#ifndef DPONE_SERVICES_DECODE_H
#define DPONE_SERVICES_DECODE_H

#include "cdc/capture_reader.h"
#include "cdc/event_writer.h"

typedef enum dp_decode_format {
    DP_DECODE_EVENTS, /* event and commit lines, as batches carry them */
    DP_DECODE_ROWS    /* flat rows with _dpone_cdc_* members */
} dp_decode_format;

typedef struct dp_decode_summary {
    bool is_recognised; /* false: the input was empty */
    dp_capture_form form;
    dp_plugin plugin;
    uint64_t read_bytes;
    uint64_t size_bytes; /* of the input, 0 when unknown */
    uint64_t record_count;
    uint64_t event_count;
    uint64_t transaction_count;
    uint64_t poison_count;        /* put into quarantine */
    uint64_t without_id_count;    /* events whose form carries no position */
    uint64_t doubtful_null_count; /* events of wal2json with a null that may have been NaN or Infinity */
} dp_decode_summary;

typedef struct dp_decode_options {
    const char *source; /* "-", a path, or "file:" and a path */
    dp_capture_options capture;
    const dp_unique_keys *keys;
    dp_identity_kind identity;
    dp_row_style style;
    dp_decode_format format;
    bool trust_nulls;            /* dp_decoder_set_trust_nulls */
    bool require_id;             /* an event without an id is an error */
    const char *quarantine_path; /* NULL: poison stops */
    /* Called after each piece of input; may be NULL. */
    void (*progress)(void *context, const dp_decode_summary *summary);
    void *progress_context;
} dp_decode_options;

/* Writes to standard output what was decoded, also when it ends with an error: everything before the fault.
 * *summary is filled in always. DATA names the line; POISON a change that cannot be identified. */
dp_status dp_decode(const dp_decode_options *options, dp_decode_summary *summary, dp_error *error);

#endif
