/* What the files of the journal share. */
#ifndef DPONE_STATE_JOURNAL_INTERNAL_H
#define DPONE_STATE_JOURNAL_INTERNAL_H

#include "cdc/idempotency.h"
#include "state/journal.h"

struct dp_journal {
    dp_arena *arena;   /* what lives for one batch */
    dp_arena *compare; /* scratch of one comparison */
    dp_idempotency *ids;
};

#endif
