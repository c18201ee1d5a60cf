/* Reads the answer to a batch: the counts of an accepted one beside its receipt, the code and detail of a
 * refusal. */
#ifndef DPONE_SERVICES_BATCH_ANSWER_H
#define DPONE_SERVICES_BATCH_ANSWER_H

#include "cdc/batch_writer.h"
#include "services/receipt.h"

typedef struct dp_batch_counts {
    uint64_t accepted_count;
    uint64_t duplicate_count;
    uint64_t dropped_count; /* of events that earlier, staged batches were counted for as accepted */
    bool is_staged;
} dp_batch_counts;

/* What has become of the events of many batches. */
typedef struct dp_batch_tally {
    uint64_t accepted_count;
    uint64_t duplicate_count;
    uint64_t staged_count; /* of the accepted: rows whose commit line has not been answered yet */
} dp_batch_tally;

/* Checks that the answer is of this batch and counts all of its events. DATA names what does not fit. */
dp_status dp_batch_answer_check(dp_slice json, const dp_batch_body *batch, dp_batch_counts *counts,
                                dp_error *error);

/* Adds a batch. Rows that were accepted as staged and then dropped, because their transaction was known or
 * came again, become duplicates. A replayed answer tells what an earlier delivery stored: this one stored
 * nothing, and what was staged before it belongs to a transaction that is known. */
void dp_batch_tally_add(dp_batch_tally *tally, const dp_batch_counts *counts, bool is_replayed);

/* Turns a refusal into an error: its code (or "http_<status>") and detail, and the status that fits: CONFLICT
 * for 409 and 422, USAGE for 401, 403 and 404, LIMIT for 413, REMOTE for 408, 425 and 429, DATA for other
 * 4xx, REMOTE for the rest. Always returns an error. */
dp_status dp_batch_refusal(unsigned http_status, dp_slice json, dp_error *error);

/* The same, of something other than "the server". */
dp_status dp_batch_refusal_of(const char *who, unsigned http_status, dp_slice json, dp_error *error);

/* Whether the server is still working on an earlier delivery of the same batch. */
bool dp_batch_answer_is_in_flight(unsigned http_status, dp_slice json);

#endif
