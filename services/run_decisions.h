/* What a pipeline decides from values alone: what a receipt allows, whether to deliver again, how long to
 * wait. Pure: no clock, no I/O, nothing is kept.
 */
#ifndef DPONE_SERVICES_RUN_DECISIONS_H
#define DPONE_SERVICES_RUN_DECISIONS_H

#include "services/batch_sink.h"
#include "services/receipt.h"

enum { DP_RUN_FIRST_BACKOFF_MS = 500, DP_RUN_LAST_BACKOFF_MS = 5000 };

/* What the gate has against the receipt of a part, which moves no offset: it is not asked for one, and its
 * rows may be staged. A sink that failed to take it must stop the run all the same: the offset of a later
 * part would pass its rows. */
dp_gate_result dp_run_judge_part(const dp_receipt *receipt, dp_backend backend, bool has_duplicates);

/* Whether delivering the same batch again may help: a transport failure, a server error, or a refusal that
 * passes. `status` is how the delivery ended; OK: with the answer. */
bool dp_run_is_worth_repeating(dp_status status, const dp_batch_answer *answer);

/* How long to wait for a sink that is down: the backoff, or longer where the sink asked for it, at most
 * DP_RUN_LAST_BACKOFF_MS. */
unsigned dp_run_wait_ms(unsigned backoff_ms, unsigned retry_after_s);

/* Of the delivery after that one. */
unsigned dp_run_next_backoff_ms(unsigned backoff_ms);

#endif
