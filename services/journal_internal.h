/* What the files of the journal service share: connections, replies, and what statuses mean to a client. */
#ifndef DPONE_SERVICES_JOURNAL_INTERNAL_H
#define DPONE_SERVICES_JOURNAL_INTERNAL_H

#include <pthread.h>

#include "base/json_writer.h"
#include "cdc/batch_reader.h"
#include "services/journal_api.h"
#include "state/journal.h"
#include "state/store.h"

#define DP_JOURNAL_POOL 16

/* A batch that is being worked on; lives on its caller's stack. */
typedef struct batch_in_flight {
    const dp_batch_header *header;
    dp_slice key;
    struct batch_in_flight *next;
} batch_in_flight;

/* What batches that come after another one need to know of those that were stored here lately, so that the
 * database is asked only about what another server stored. */
enum { JOURNAL_RECENT_BATCHES = 64, JOURNAL_MAX_KEY_BYTES = 255 };

typedef struct recent_batch {
    uint64_t pipeline_hash;
    uint8_t key_length;
    char key[JOURNAL_MAX_KEY_BYTES];
} recent_batch;

/* A connection that may write and the scratch memory of the batch it works on. */
typedef struct journal_writer {
    dp_store *store; /* NULL after a lost connection: opened again by the next call */
    dp_journal *journal;
    bool busy;
} journal_writer;

struct dp_journal_api {
    char *dsn;
    dp_journal_api_options options;
    bool has_concurrent_writers;

    pthread_mutex_t pool_lock; /* guards everything below */
    pthread_cond_t reader_free;
    pthread_cond_t writer_free;
    journal_writer writers[DP_JOURNAL_POOL]; /* options.writer_count of them; a busy one is its taker's */
    dp_store *idle_readers[DP_JOURNAL_POOL];
    unsigned idle_reader_count;
    unsigned reader_count; /* idle and in use */
    dp_batch_reader *idle_parsers[DP_JOURNAL_POOL];
    unsigned idle_parser_count;
    batch_in_flight *in_flight;
    recent_batch recent[JOURNAL_RECENT_BATCHES]; /* a ring */
    uint64_t recent_count;                       /* ever */
    dp_batch_waiter *waiters;
};

/* Takes the right to write and a connection that works; BUSY after the configured wait. Ended by give_writer,
 * which drops the connection when the status says that it may be broken. */
dp_status journal_take_writer(dp_journal_api *api, journal_writer **writer, dp_error *error);
/* The same without waiting; false when there is none, for whatever reason. */
bool journal_try_writer(dp_journal_api *api, journal_writer **writer);
void journal_give_writer(dp_journal_api *api, journal_writer *writer, dp_status status);

/* Runs `work` in a write transaction of its own. */
dp_status journal_write_with(dp_journal_api *api, void *context,
                             dp_status (*work)(dp_store *store, void *context, dp_error *error),
                             dp_error *error);

/* Says that a batch is stored, or has failed, and wakes those that wait for it. No lock is held. */
void journal_note_batch_end(dp_journal_api *api, dp_slice pipeline, dp_slice key, bool is_stored);

/* A connection for reading; BUSY when none becomes free in time. */
dp_status journal_take_reader(dp_journal_api *api, dp_store **reader, dp_error *error);
void journal_give_reader(dp_journal_api *api, dp_store *reader, dp_status status);

/* Fills in the reply for a status of the store or the journal. */
void journal_reply_failure(dp_api_reply *reply, dp_status status, const dp_error *error);

#define JOURNAL_PIPELINE_NAME_BYTES 1023

/* False when the reply says why no stream may be written under this name. */
bool journal_check_pipeline(dp_slice name, dp_api_reply *reply);

/* Ends a body that was written into reply->body. */
void journal_reply_ok(dp_api_reply *reply);

/* The same when the status is OK; else fills in the reply for the failure. */
void journal_reply_end(dp_api_reply *reply, dp_status status, const dp_error *error);

/* Begins an empty reply with a writer on its body. */
dp_json_writer journal_reply_begin(dp_api_reply *reply);

/* Which stream of a pipeline a request means; data NULL leaves it to there being only one. */
typedef struct journal_stream_choice {
    dp_slice pipeline;
    dp_slice source;
    dp_slice backend;
} journal_stream_choice;

/* The stream, whose texts are not to be used, and a mark that changes when any stream of the pipeline shows
 * more (NULL: not wanted). NOT_FOUND pipeline_not_found, stream_not_found; USAGE stream_ambiguous. The mark
 * is written always. */
dp_status journal_choose_stream(dp_store *store, const journal_stream_choice *choice, dp_stream *stream,
                                uint64_t *mark, dp_error *error);

/* {"pipeline_name":…,"source_schema":…,…} */
void journal_write_offset(dp_json_writer *writer, const dp_offset_row *row);

#endif
