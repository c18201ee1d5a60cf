/* What the files of the journal share: journal.c decides what a batch is and stores it, journal_compare.c
 * holds it against what is stored, journal_prune.c deletes. */
#ifndef DPONE_STATE_JOURNAL_INTERNAL_H
#define DPONE_STATE_JOURNAL_INTERNAL_H

#include "cdc/idempotency.h"
#include "state/journal.h"

struct dp_journal {
    dp_arena *arena;   /* what lives for one batch */
    dp_arena *compare; /* scratch of one comparison */
    dp_idempotency *ids;
};

#define DP_JOURNAL_ARENA_CHUNK_BYTES ((size_t)64 << 10)
#define DP_JOURNAL_ARENA_MAX_BYTES   ((size_t)256 << 20)

typedef enum group_kind {
    GROUP_EMPTY,    /* a transaction without rows: nothing to store */
    GROUP_NEW,      /* ends above the high watermark */
    GROUP_KNOWN,    /* ends at or below it: must be there */
    GROUP_PRUNED,   /* ends at or below the pruned watermark: counts as seen */
    GROUP_REPEATED, /* the batch has it before */
    GROUP_STAGED    /* has no commit line yet */
} group_kind;

typedef struct group_plan {
    group_kind kind;
    bool found; /* KNOWN: `row` is what is stored */
    dp_transaction_row row;
} group_plan;

typedef struct append_job {
    dp_journal *journal;
    dp_store *store;
    dp_stream *stream;
    const dp_batch *batch;
    int64_t now_us;
    size_t *first_of; /* for each event the index of the first one with its id */
    group_plan *plans;
    dp_event_run *runs;
    size_t run_count;
    dp_transaction_row *rows;
    size_t row_count;
    bool has_numbers; /* numbers have been reserved, from next_number on */
    int64_t next_number;
    uint64_t accepted;
    uint64_t dropped; /* staged rows of earlier batches */
    dp_error *error;
} append_job;

static inline const dp_event *append_event_at(const append_job *job, size_t index)
{
    return &job->batch->events[index];
}

/* --- journal_compare.c --- */

/* Each sets the job's error. */
dp_status append_conflict(append_job *job, const char *code, uint64_t line, const char *text);
dp_status append_event_conflict(append_job *job, const dp_event *event);

dp_status append_equal_content(append_job *job, const dp_event *left, const dp_event *right, bool *equal);

/* Whether the event repeats one of its own group: nothing to store or compare. */
bool append_repeats_in_group(const append_job *job, const dp_batch_group *group, size_t index);

/* The different events of a group. */
uint64_t append_different_events(const append_job *job, const dp_batch_group *group);

bool append_ends_below_high(const dp_stream *stream, const dp_batch_group *group);

/* Finds the transactions that must be there, into the job's plans. */
dp_status append_find_known(append_job *job);

/* Compares the group's first `count` different events with the stored ones of the same ordinals; `code`: of
 * the conflict when another event is there. */
dp_status append_compare_stored(append_job *job, const dp_batch_group *group, int64_t first_number,
                                uint64_t count, const char *code);

/* Compares the staged rows with those of the stored transaction, a window at a time. */
dp_status append_compare_staging(append_job *job, const dp_transaction_row *row, uint64_t line_number);

#endif
