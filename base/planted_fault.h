/* Bugs that tests plant on purpose, to see that the oracle of the live tests catches each, in one list.
 * Builds of type Release contain none of this.
 *
 * A test sets DPONE_FAULT=name; the place named below then does the wrong thing.
 */
#ifndef DPONE_BASE_PLANTED_FAULT_H
#define DPONE_BASE_PLANTED_FAULT_H

#include <stdbool.h>

/* X(name, text, what goes wrong) */
#define DP_FAULT_LIST(X)                                                                                     \
    X(OFFSET_EARLY, "offset_early", "the offset is saved before its batch is answered")                      \
    X(SEQUENCE_DROPPED, "sequence_dropped", "changes that share a position all get sequence 0")              \
    X(ACK_BEFORE_COMMIT, "ack_before_commit", "the server answers a batch that it has not committed")        \
    X(STALE_RESEND, "stale_resend", "a transaction that is sent again is put behind its own staged rows")    \
    X(KEEPALIVE_AS_FLUSH, "keepalive_as_flush", "what was received is reported as flushed")

typedef enum dp_fault {
#define DP_FAULT_ENUM(name, text, what) DP_FAULT_##name,
    DP_FAULT_LIST(DP_FAULT_ENUM)
#undef DP_FAULT_ENUM
} dp_fault;

#ifdef DPONE_CRASH_POINTS
bool dp_fault_is_planted(dp_fault fault);
#else
static inline bool dp_fault_is_planted(dp_fault fault)
{
    (void)fault;
    return false;
}
#endif

#endif
