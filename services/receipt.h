/* The receipt of a batch, as a server answers it and as the commit gate judges it.
 *
 * A value: nothing is owned, and nothing of the JSON is kept. Members that the gate does not need are allowed
 * and ignored, so that a receipt may grow.
 */
#ifndef DPONE_SERVICES_RECEIPT_H
#define DPONE_SERVICES_RECEIPT_H

#include "replay/commit_gate.h"

#define DP_RECEIPT_MAX_BYTES (1u << 20)

typedef struct dp_receipt {
    bool has_next_offset; /* false: null or missing, the batch moves no offset */
    dp_offset next_offset;
    char sink_status[64];
    char load_status[64];
    bool idempotency_passed;
} dp_receipt;

/* Parses {"next_offset":{"backend":…,"token":…[,"snapshot_complete":…]}|null,"sink_status":…,"load_status":…,
 * "idempotency_passed":…}. DATA names `source_name`, the member, and what was expected. */
dp_status dp_receipt_parse(dp_slice json, const char *source_name, dp_receipt *receipt, dp_error *error);

/* What the gate decides about the receipt; the result points into it. */
dp_gate_result dp_receipt_evaluate(const dp_receipt *receipt, dp_backend expected_backend);

#endif
