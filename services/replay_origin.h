/* Where a replay reads from: a journal, in pages, or an artifact. Hands out whole transactions of a window.
 */
#ifndef DPONE_SERVICES_REPLAY_ORIGIN_H
#define DPONE_SERVICES_REPLAY_ORIGIN_H

#include "services/artifact.h"
#include "services/journal_link.h"

typedef struct dp_replay_origin {
    dp_journal_link *journal; /* NULL: the artifact */
    const dp_stream_facts *stream;
    const char *artifact_path;
} dp_replay_origin;

/* One transaction: its event lines and its commit line, each with its newline. */
typedef struct dp_replay_transaction {
    dp_slice lines;
    uint64_t event_count;
    dp_offset end;
} dp_replay_transaction;

typedef struct dp_transaction_visitor {
    void *context;
    dp_status (*transaction)(void *context, const dp_replay_transaction *transaction, dp_error *error);
} dp_transaction_visitor;

/* The transactions that end in (from, to], in order. No request to the journal is open while the visitor
 * works, so it may take its time. */
dp_status dp_replay_origin_read(const dp_replay_origin *origin, const dp_offset *from, const dp_offset *to,
                                const dp_transaction_visitor *visitor, dp_error *error);

#endif
