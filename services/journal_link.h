/* A journal that a command works on: a server's through HTTP, or a state database's directly. The same
 * questions, the same answers, whichever it is. Belongs to one thread.
 */
#ifndef DPONE_SERVICES_JOURNAL_LINK_H
#define DPONE_SERVICES_JOURNAL_LINK_H

#include <jansson.h>
#include <signal.h>

#include "cdc/event_identity.h"
#include "replay/offset_token.h"

typedef struct dp_journal_link dp_journal_link;

typedef struct dp_journal_link_options {
    const char *server_url; /* used unless state_dsn is given */
    const char *token;      /* bearer token; NULL: none */
    const char *ca_file;    /* certificates to trust, PEM; NULL: the system's */
    const char *state_dsn;  /* NULL: the server's journal */
    bool writes;            /* false: a state database is opened read-only */
} dp_journal_link_options;

dp_status dp_journal_link_open(const dp_journal_link_options *options, dp_journal_link **link,
                               dp_error *error);
void dp_journal_link_close(dp_journal_link *link);

/* Which stream of a pipeline; empty members leave it to there being only one. */
typedef struct dp_stream_choice {
    dp_slice pipeline;
    dp_slice source;
    dp_slice backend;
} dp_stream_choice;

/* What is known of a stream. Texts live until dp_stream_facts_release. */
typedef struct dp_stream_facts {
    json_t *document;
    char *settings_text;
    dp_slice pipeline;
    dp_slice source;
    dp_backend backend;
    dp_identity_kind identity;
    dp_slice settings; /* a JSON object; empty: unknown */
    bool has_high;     /* false: the journal holds nothing of it yet */
    dp_offset high;
    bool has_pruned; /* retention has deleted what ends at or below it */
    dp_offset pruned;
    bool has_stored; /* the lowest offset that the pipeline has stored for the backend */
    dp_offset stored;
    uint64_t transaction_count;
    uint64_t event_count;
} dp_stream_facts;

/* NOT_FOUND for an unknown pipeline or stream; USAGE when the choice fits more than one. */
dp_status dp_journal_link_facts(dp_journal_link *link, const dp_stream_choice *choice, dp_stream_facts *facts,
                                dp_error *error);
void dp_stream_facts_release(dp_stream_facts *facts);

/* Called for each event and commit line, without its newline. CANCELLED without an error set ends the reading
 * early and counts as success. */
typedef struct dp_line_visitor {
    void *context;
    dp_status (*line)(void *context, dp_slice line, dp_error *error);
} dp_line_visitor;

typedef struct dp_journal_window {
    const dp_offset *from; /* exclusive; NULL: open */
    const dp_offset *to;   /* inclusive; NULL: open */
    uint64_t limit;        /* end after the transaction that reaches so many events; 0: no limit */
    dp_slice consumer;     /* begin after this consumer's offset instead; empty: none */
    unsigned wait_s;       /* a server waits so long for events when there are none */
    const volatile sig_atomic_t *stop; /* NULL: cannot be stopped */
} dp_journal_window;

/* Calls of one JSON object end, too, soon after *stop is set, CANCELLED, when a server does not answer. */
void dp_journal_link_heed(dp_journal_link *link, const volatile sig_atomic_t *stop);

/* Whether the journal is a server's, which can wait. */
bool dp_journal_link_can_wait(const dp_journal_link *link);

/* The lines of a window of a stream. REMOTE when the answer was cut, CANCELLED when it was stopped. */
dp_status dp_journal_link_events(dp_journal_link *link, const dp_stream_facts *stream,
                                 const dp_journal_window *window, const dp_line_visitor *visitor,
                                 dp_error *error);

/* Calls of the service that take and give one JSON object. X(name, method, what follows the pipeline, a
 * member that its answer always holds or NULL: something else that answers is no dpone server) */
#define DP_JOURNAL_CALL_LIST(X)                                                                              \
    X(SHOW, "GET", "", "streams")                                                                            \
    X(GET_OFFSET, "GET", "/offsets/postgres_logical/%2A/%2A", NULL)                                          \
    X(PUT_OFFSET, "PUT", "/offsets/postgres_logical/%2A/%2A", NULL)                                          \
    X(LIST_QUARANTINE, "GET", "/quarantine", "quarantine")                                                   \
    X(RESOLVE_QUARANTINE, "POST", "/quarantine/resolve", "resolved")                                         \
    X(GET_CONSUMER, "GET", "/consumers/", "token")                                                           \
    X(PUT_CONSUMER, "PUT", "/consumers/", "token")                                                           \
    X(LIST_AUDIT, "GET", "/audit", "audit")                                                                  \
    X(ADD_AUDIT, "POST", "/audit", NULL)

typedef enum dp_journal_call {
#define DP_JOURNAL_CALL_ENUM(name, method, path, member) DP_JOURNAL_CALL_##name,
    DP_JOURNAL_CALL_LIST(DP_JOURNAL_CALL_ENUM)
#undef DP_JOURNAL_CALL_ENUM
} dp_journal_call;

/* `json` NULL: no body. *answer is the caller's to decref. A refusal becomes the status that fits, with the
 * service's code and text. */
dp_status dp_journal_link_call(dp_journal_link *link, dp_slice pipeline, dp_journal_call call,
                               const char *json, json_t **answer, dp_error *error);

/* A page of up to 1000 entries: LIST_QUARANTINE those above the number, oldest first, LIST_AUDIT those below
 * it, newest first. */
dp_status dp_journal_link_page(dp_journal_link *link, dp_slice pipeline, dp_journal_call call, int64_t number,
                               json_t **answer, dp_error *error);

/* The same for a call that concerns one consumer of a stream. */
dp_status dp_journal_link_consumer(dp_journal_link *link, const dp_stream_choice *choice, dp_slice consumer,
                                   dp_journal_call call, const char *json, json_t **answer, dp_error *error);

#endif
