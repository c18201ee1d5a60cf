/* Reads a whole batch body: header, transactions, trailer; checks that nothing was cut, changed or misplaced.
 *
 * The batch it returns views the body, which must outlive it. batch_id is computed again: the SHA-256 over
 * the exact bytes of the event and commit lines, each with its newline, followed by the next offset's token.
 * Ordinals are checked within the body; whether the first group continues what is stored is for the journal
 * to say. Pure; memory is bounded by the body's length. A reader is used by one thread at a time and its
 * memory is reused, so a batch is valid until the next read.
 */
#ifndef DPONE_CDC_BATCH_READER_H
#define DPONE_CDC_BATCH_READER_H

#include "cdc/event_scanner.h"

typedef struct dp_batch_reader dp_batch_reader;

/* The changes of one transaction that are in the body, in stream order. */
typedef struct dp_batch_group {
    size_t first_event;      /* index into events */
    size_t event_count;      /* 0: a commit line alone, for rows sent before or for an empty transaction */
    bool has_commit;         /* false only for the last group: the rest comes with the next batch */
    dp_slice transaction_id; /* data NULL for null */
    dp_position end_position;
    dp_commit_line commit;
} dp_batch_group;

typedef struct dp_batch {
    dp_batch_header header;
    const dp_event *events;
    size_t event_count;
    const dp_batch_group *groups;
    size_t group_count;
    uint8_t batch_id[DP_SHA256_BYTES];
    char batch_id_hex[DP_SHA256_HEX_LENGTH + 1];
} dp_batch;

typedef struct dp_batch_read_limits {
    size_t max_body_bytes;
    size_t max_line_bytes;
} dp_batch_read_limits;

/* NULL when memory is refused. */
dp_batch_reader *dp_batch_reader_new(const dp_batch_read_limits *limits);
void dp_batch_reader_free(dp_batch_reader *reader);

/* On OK *batch is set, owned by the reader. Otherwise the error names line and fault, and its code is one of:
 *   DATA      line_malformed, identity_unknown, schema_unknown, batch_cut, batch_malformed, count_mismatch,
 *             digest_mismatch, backend_mismatch, id_missing
 *   CONFLICT  ordinal_gap (the next row of a transaction is missing)
 *   LIMIT     batch_too_large, event_too_large
 */
dp_status dp_batch_reader_read(dp_batch_reader *reader, dp_slice body, const dp_batch **batch,
                               dp_error *error);

/* The header alone, for what can be begun before the rest has been read; errors as above. *header is valid
 * until the next read. */
dp_status dp_batch_reader_peek(dp_batch_reader *reader, dp_slice body, dp_batch_header *header,
                               dp_error *error);

#endif
