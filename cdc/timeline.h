/* Timelines of a PostgreSQL cluster, judged by history files: lines of parent timeline, the position where it
 * was left, and a reason. Two servers that were promoted independently may number their timelines alike;
 * where a timeline began tells them apart, unless both began at the very same place. Pure.
 */
#ifndef DPONE_CDC_TIMELINE_H
#define DPONE_CDC_TIMELINE_H

#include "cdc/change.h"

typedef struct dp_timeline {
    uint32_t number; /* 0: not known */
    bool has_begin;  /* false: the first one of a cluster, or nobody told */
    dp_lsn begin;    /* where it left the one before */
} dp_timeline;

/* The timeline with its beginning, out of its own history file; an empty one tells nothing. */
dp_timeline dp_timeline_of(uint32_t number, dp_slice history);

/* Whether they are one, as far as both are known. */
bool dp_timeline_is_same(const dp_timeline *one, const dp_timeline *other);

/* Whether everything up to `position` that was read on `before` is part of the history. */
bool dp_timeline_is_common(dp_slice history, const dp_timeline *before, dp_lsn position);

#endif
