/* The journal as a service: what the /v1 routes and the commands ask of it, without a word of HTTP parsing.
 *
 * A request is a function call with slices; the answer is a dp_api_reply: status, stable code, body. The
 * adapter only carries it. The service sequences reader -> journal -> receipt and never sleeps, but a call
 * may wait for the database: run it on a worker thread, not on an event loop.
 *
 * Threads: every function of one dp_journal_api may be called from any number of threads at once. Batches
 * of one stream are written one at a time, batches of different streams side by side where the database can;
 * reads have connections of their own and never wait for a writer. A dp_events_reader
 * belongs to one thread at a time.
 * Ownership: slices are borrowed for the call; a reply owns its body until dp_api_reply_release.
 *
 * Routes, as the server wires them ({x} is percent-decoded; `*` stands for itself):
 *   POST   /v1/pipelines/{pipeline}/batches                             dp_journal_api_ingest
 *   GET    /v1/pipelines                                                dp_journal_api_list_pipelines
 *   GET    /v1/pipelines/{pipeline}                                     dp_journal_api_show_pipeline
 *   GET    /v1/pipelines/{pipeline}/events?from=&to=&limit=&source=&backend=&consumer=
 *                                                                       dp_events_reader_open, _read
 *   GET    /v1/pipelines/{pipeline}/offsets                             dp_journal_api_list_offsets
 *   GET    /v1/pipelines/{pipeline}/offsets/{backend}/{schema}/{table}  dp_journal_api_get_offset
 *   PUT    the same                                                     dp_journal_api_put_offset
 *   DELETE the same                                                     dp_journal_api_delete_offset
 *   GET    /v1/pipelines/{pipeline}/consumers                           dp_journal_api_list_consumers
 *   GET    /v1/pipelines/{pipeline}/consumers/{consumer}                dp_journal_api_get_consumer
 *   PUT    the same                                                     dp_journal_api_put_consumer
 *   DELETE the same                                                     dp_journal_api_delete_consumer
 *   PUT    /v1/pipelines/{pipeline}/source                              dp_journal_api_put_source
 *   GET    /v1/pipelines/{pipeline}/quarantine?after=                   dp_journal_api_list_quarantine
 *   POST   /v1/pipelines/{pipeline}/quarantine                          dp_journal_api_add_quarantine
 *   POST   /v1/pipelines/{pipeline}/quarantine/resolve                  dp_journal_api_resolve_quarantine
 *   GET    /v1/pipelines/{pipeline}/audit?before=                       dp_journal_api_list_audit
 *   POST   /v1/pipelines/{pipeline}/audit                               dp_journal_api_add_audit
 *   POST   /v1/replay-plans                                             dp_journal_api_plan_replay
 *   POST   /v1/commit-decisions                                         dp_journal_api_decide_commit
 *   GET    /ready                                                       dp_journal_api_check_ready
 */
#ifndef DPONE_SERVICES_JOURNAL_API_H
#define DPONE_SERVICES_JOURNAL_API_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_journal_api dp_journal_api;
typedef struct dp_events_reader dp_events_reader;

#define DP_JOURNAL_DEFAULT_BATCH_BYTES (16u << 20)
#define DP_JOURNAL_DEFAULT_EVENT_BYTES (8u << 20)

typedef struct dp_journal_api_options {
    const char *state_dsn;   /* sqlite:PATH or postgresql://...; NULL: sqlite:dpone.db */
    size_t max_batch_bytes;  /* 0: 16 MiB; a larger body is 413 */
    size_t max_event_bytes;  /* 0: 8 MiB; a longer line is 413 */
    unsigned reader_count;   /* connections for reads; 0: 4 */
    unsigned writer_count;   /* connections for batches; 0: 4; always 1 where the database has one writer */
    unsigned store_wait_ms;  /* how long a lock of another process is waited for; 0: 5000, then 503 */
    unsigned writer_wait_ms; /* how long a batch waits for the one before it; 0: 10000, then 503 */
    bool migrate;            /* bring the schema up to date when opening; otherwise an old one is refused */
    bool read_only;          /* opens no connection that could write: calls that write are refused */
} dp_journal_api_options;

typedef struct dp_api_reply {
    unsigned http_status;
    const char *content_type; /* "application/json"; static */
    char code[64];            /* the body's "code"; empty for 2xx */
    unsigned retry_after_s;   /* 0: no Retry-After header */
    bool replayed;            /* send Idempotency-Replayed: true */
    char fault[1280];         /* what is wrong with the store, with its hint, for the log; else empty */
    dp_buffer body;
} dp_api_reply;

#define DP_API_REPLY_INIT                                                                                    \
    {                                                                                                        \
        .content_type = "application/json", .body = DP_BUFFER_INIT(64u << 20)                                \
    }

void dp_api_reply_release(dp_api_reply *reply);

/* USAGE for a malformed DSN or an old schema (hint: dpone state migrate), IO or BUSY from the store. */
dp_status dp_journal_api_open(const dp_journal_api_options *options, dp_journal_api **api, dp_error *error);

/* No call may be running. NULL is allowed. */
void dp_journal_api_close(dp_journal_api *api);

/* The limits in force, so that an adapter can refuse a body before it has read it. */
size_t dp_journal_api_max_batch_bytes(const dp_journal_api *api);
size_t dp_journal_api_max_event_bytes(const dp_journal_api *api);

/* How many calls that write, and that read, can be at work at once, and how long a further one may wait. */
unsigned dp_journal_api_writer_count(const dp_journal_api *api);
unsigned dp_journal_api_reader_count(const dp_journal_api *api);
unsigned dp_journal_api_wait_ms(const dp_journal_api *api);

/* A reply for a failure that the adapter itself has found, in the common form {"detail":…,"code":…}. */
void dp_api_reply_error(dp_api_reply *reply, unsigned http_status, const char *code, const char *detail);

/* One batch. `idempotency_key` is the header's value, data NULL when the header is missing; when it was sent
 * more than once the adapter passes key_count > 1 and the answer is 400. */
void dp_journal_api_ingest(dp_journal_api *api, dp_slice pipeline, dp_slice idempotency_key,
                           unsigned key_count, dp_slice body, dp_api_reply *reply);

/* A batch that was sent before the one that it comes after is known to be stored (the header Dpone-After).
 * Zero it, then set the first members; slices must stay until it is no longer parked. */
typedef struct dp_batch_waiter {
    dp_slice pipeline;
    dp_slice after;                               /* the Idempotency-Key that must be stored first */
    void (*wake)(struct dp_batch_waiter *waiter); /* on another thread; it is not parked any more */
    bool is_parked;
    struct dp_batch_waiter *next;
} dp_batch_waiter;

/* Whether the batch with this body may be ingested now. False with `parks`: it is parked until the other one
 * has been stored or refused here, which calls `wake`, perhaps before this returns; of what other servers
 * store nobody is told, so ask again now and then. */
bool dp_journal_api_may_follow(dp_journal_api *api, dp_batch_waiter *waiter, dp_slice body, bool parks);

/* True: it was parked and is the caller's again, and will not be woken. */
bool dp_journal_api_unpark(dp_journal_api *api, dp_batch_waiter *waiter);

/* 425 predecessor_missing, with Retry-After. */
void dp_journal_api_refuse_follower(const dp_batch_waiter *waiter, dp_api_reply *reply);

void dp_journal_api_list_pipelines(dp_journal_api *api, dp_api_reply *reply);
void dp_journal_api_show_pipeline(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply);

typedef struct dp_offset_name {
    dp_slice pipeline;
    dp_slice backend;
    dp_slice source_schema; /* "*" with "*": the pipeline's one offset */
    dp_slice source_table;
} dp_offset_name;

/* 200 {"offsets":[...]} of a pipeline; of all when its data is NULL. */
void dp_journal_api_list_offsets(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply);

/* 200 {"pipeline","source_schema","source_table","backend","token","snapshot_complete","loaded_at",
 * "updated_at"}, schema and table being those of the row that answers; 404 offset_not_found. */
void dp_journal_api_get_offset(dp_journal_api *api, const dp_offset_name *name, dp_api_reply *reply);

/* Body {"token":…,"snapshot_complete":true,"allow_rewind":false,"who":…,"why":…}; all but token optional.
 * 200 with the row; 409 offset_regression for an older token unless allow_rewind, 409 offset_scope_conflict
 * when `*` and per-table rows would mix. Durable when it returns. */
void dp_journal_api_put_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                               dp_api_reply *reply);

/* 200 {"deleted":true}, 404 offset_not_found. Body {"who":…,"why":…} or empty. */
void dp_journal_api_delete_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                                  dp_api_reply *reply);

/* A named reader of a pipeline's journal. `source` and `backend` choose a stream where the pipeline has more
 * than one; data NULL otherwise. A consumer has one offset a backend. */
typedef struct dp_consumer_choice {
    dp_slice pipeline;
    dp_slice consumer;
    dp_slice source;
    dp_slice backend;
} dp_consumer_choice;

/* {"consumers":[{"consumer":…,"backend":…,"token":…,"loaded_at":…,"updated_at":…}]}, by name. */
void dp_journal_api_list_consumers(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply);

/* 200 {"pipeline","consumer","backend","token","high_watermark","loaded_at","updated_at"}; 404
 * consumer_not_found. */
void dp_journal_api_get_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_api_reply *reply);

/* Registers, and commits what was applied: body {"token":…,"allow_rewind":false,"who":…,"why":…}, all
 * optional. Without a token a consumer that is not there begins where the journal begins, and one that is
 * there stays as it is. 200 as get_consumer. 409 offset_regression for an older token unless allow_rewind,
 * 409 offset_ahead_of_journal above the high watermark, 409 events_pruned below what retention has deleted. A
 * registered consumer holds retention back. Durable when it returns. */
void dp_journal_api_put_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_slice body,
                                 dp_api_reply *reply);

/* 200 {"deleted":true}, 404 consumer_not_found. Body {"who":…,"why":…} or empty. */
void dp_journal_api_delete_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_slice body,
                                    dp_api_reply *reply);

/* What the stream reads from: body {"source":…,"backend":…,"identity":…,"settings":{…},"accept":false}. 200
 * when the stream is new, equal, or the change is accepted; 409 with "blockers":[…] (state/stream_settings.h)
 * when something differs. */
void dp_journal_api_put_source(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply);

/* Up to 1000 above the entry number `after` (data NULL: from the first), oldest first: {"quarantine":[…],
 * "next_after":n}, null when these are the last. */
void dp_journal_api_list_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice after,
                                    dp_api_reply *reply);

/* Keeps changes that could not be sent: body {"code":…,"reason":…,"context":{…},"event":…}, a record as
 * cdc/poison.h writes it, or {"records":[…]}; "source" and "backend" beside either. 200
 * {"added":n,"duplicates":n}, durable: an event that says its position and ordinal is kept once. */
void dp_journal_api_add_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice body,
                                   dp_api_reply *reply);

/* Ends open entries: body {"ids":[…],"state":"replayed"|"discarded","who":…,"why":…}. 200 {"resolved":n}, all
 * or none, audited; 404 quarantine_not_found names an id that is not open. The same once more changes
 * nothing: the answer to the first may have been lost. */
void dp_journal_api_resolve_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice body,
                                       dp_api_reply *reply);

/* Who changed what by hand, and why: up to 1000 below the entry number `before` (data NULL: from the newest),
 * newest first: {"audit":[…],"next_before":n}, null when these are the last. */
void dp_journal_api_list_audit(dp_journal_api *api, dp_slice pipeline, dp_slice before, dp_api_reply *reply);

/* Puts something done by hand on record: body {"who":…,"action":…,"subject":…,"why":…,"old":…,"new":…}, the
 * last three optional. 200 {"added":1}, durable. */
void dp_journal_api_add_audit(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply);

/* POST /v1/replay-plans: the members of the plan's JSON as input, offsets as objects, as tokens, or as
 * "backend:token". 200 with the plan whether or not it is safe; 400 for a malformed request. */
void dp_journal_api_plan_replay(dp_journal_api *api, dp_slice body, dp_api_reply *reply);

/* POST /v1/commit-decisions: {"next_offset":{…}|null,"expected_backend":…,"sink_status":…,"load_status":…,
 * "idempotency_passed":…}. 200 {"can_commit","next_offset","blockers"}. */
void dp_journal_api_decide_commit(dp_journal_api *api, dp_slice body, dp_api_reply *reply);

/* 200 {"status":"ready"} when the store answers, else 503 with Retry-After. */
void dp_journal_api_check_ready(dp_journal_api *api, dp_api_reply *reply);

/* Query parameters as text, data NULL when absent. `from` is exclusive, `to` inclusive: tokens of the
 * backend. `limit` counts events; reading ends after the transaction that reaches it. `source` and `backend`
 * choose a stream where the pipeline has more than one. `consumer` begins after the consumer's offset, or
 * where the journal begins when it has none, excludes `from`, and bounds the answer: 1000 events unless
 * `limit` says otherwise, and as many bytes as a batch may have; the transaction that reaches a bound is
 * still whole. */
typedef struct dp_events_query {
    dp_slice consumer;
    dp_slice from;
    dp_slice to;
    dp_slice limit;
    dp_slice source;
    dp_slice backend;
} dp_events_query;

/* On success *reader is set and the body is application/x-ndjson pulled by dp_events_reader_read; otherwise
 * it stays NULL and the reply says why. */
void dp_events_reader_open(dp_journal_api *api, dp_slice pipeline, const dp_events_query *query,
                           dp_events_reader **reader, dp_api_reply *reply);

/* Fills up to `capacity` bytes; *length 0 means the end. Only whole transactions appear, but an error may cut
 * one: a consumer counts a transaction only with its commit line. Memory is bounded whatever the size. */
dp_status dp_events_reader_read(dp_events_reader *reader, char *out, size_t capacity, size_t *length,
                                dp_error *error);
void dp_events_reader_close(dp_events_reader *reader);

/* A number that is another once any stream of the pipeline shows more than the reader could see when it was
 * opened; equal otherwise. dp_journal_api_mark asks for it anew. */
uint64_t dp_events_reader_mark(const dp_events_reader *reader);
dp_status dp_journal_api_mark(dp_journal_api *api, dp_slice pipeline, uint64_t *mark, dp_error *error);

#endif
