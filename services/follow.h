/* Follows a journal as a named consumer: reads what is new, hands it on, and only then commits the consumer's
 * own offset (services/consumer_name.h), which retention respects. A server's journal is waited for by a
 * request that the server holds until there is something; a state database's is looked at again. Once it has
 * begun, a journal that is away is waited for, unless it is to end at the end. At least
 * once: a kill between handing on and committing hands the same batch on again. One thread.
 */
#ifndef DPONE_SERVICES_FOLLOW_H
#define DPONE_SERVICES_FOLLOW_H

#include <signal.h>

#include "services/journal_link.h"

typedef struct dp_follow_options {
    dp_journal_link *link; /* opened for writing: the offset is committed through it */
    dp_stream_choice stream;
    const char *consumer;
    const dp_offset *from; /* where a consumer without an offset begins; NULL: where the journal begins */
    uint64_t batch_events; /* hand on after the transaction that reaches so many */
    unsigned poll_ms;      /* how often a state database is looked at, or a journal without the stream */
    bool until_end;        /* end when nothing is left instead of waiting */
    const volatile sig_atomic_t *stop;
    /* Told once when the journal is found away, and once (trouble NULL) when it answers again. May be NULL.
     */
    void (*outage)(const dp_error *trouble, int64_t lasted_ms);
    void *context;
    /* Takes whole transactions as lines; they are committed when it returns OK. */
    dp_status (*take)(void *context, dp_slice lines, dp_error *error);
} dp_follow_options;

typedef struct dp_follow_summary {
    uint64_t batches;
    uint64_t events;
    uint64_t transactions;
    bool has_offset;
    dp_offset offset; /* committed */
} dp_follow_summary;

/* Until the end, a stop, or an error; OK for the first two, but CANCELLED when a batch that was handed on
 * could not be committed before the stop. *summary is filled in always. */
dp_status dp_follow(const dp_follow_options *options, dp_follow_summary *summary, dp_error *error);

#endif
