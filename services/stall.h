/* What a run waits for, and when waiting is a stall: decisions over facts and times. Pure.
 *
 * A run that waits is not wrong, so a stall is never an error: it is named once when it begins and once when
 * it is over.
 */
#ifndef DPONE_SERVICES_STALL_H
#define DPONE_SERVICES_STALL_H

#include "cdc/change.h"

/* X(name, label of the metric, meaning): the first that holds is the one that is told */
#define DP_STALL_LIST(X)                                                                                     \
    X(SERVER, "server", "the server has not answered")                                                       \
    X(SLOT, "slot", "another connection reads the slot")                                                     \
    X(SOURCE, "source", "the source cannot be read")                                                         \
    X(TRANSACTION, "transaction", "one transaction is still arriving and the offset waits for its end")      \
    X(SENDER, "sender", "the source sends nothing though the slot is behind")

typedef enum dp_stall {
#define DP_STALL_ENUM(name, label, meaning) DP_STALL_##name,
    DP_STALL_LIST(DP_STALL_ENUM)
#undef DP_STALL_ENUM
        DP_STALL_NONE,
    DP_STALL_COUNT = DP_STALL_NONE
} dp_stall;

const char *dp_stall_label(dp_stall stall); /* not for NONE */

/* All times are monotonic; 0: it is not so. */
typedef struct dp_stall_facts {
    int64_t sink_since_us;   /* the sink owes an answer */
    int64_t source_since_us; /* the source is not being read */
    bool is_slot_held;       /* by another connection */
    int64_t open_since_us;   /* the transaction in transit began to arrive */
    uint64_t open_row_count; /* that have arrived of it or, at most, since the offset moved */
    int64_t quiet_since_us;  /* nothing came and the slot has not moved though it is behind */
    int64_t holder_pid;      /* of the connection that reads the slot; 0: not known */
    int64_t lag_bytes;
    const char *sink_trouble; /* why, as last told; NULL or "": nothing was told */
    const char *source_trouble;
} dp_stall_facts;

typedef struct dp_stall_state {
    dp_stall stall;   /* told last, or NONE */
    int64_t since_us; /* when it began */
} dp_stall_state;

/* What the run waits for now, and since when; NONE: it does not wait, or not for `limit_us` yet. */
dp_stall_state dp_stall_judge(const dp_stall_facts *facts, int64_t now_us, int64_t limit_us);

enum { DP_STALL_TEXT_BYTES = 700 };

/* "waiting for the server since 62 s: ..." */
void dp_stall_text(dp_stall_state state, const dp_stall_facts *facts, int64_t now_us,
                   char out[DP_STALL_TEXT_BYTES]);

#endif
