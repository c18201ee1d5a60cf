/* The journal service: opening, connections, replies, and the questions that are one query. */
#include "services/journal_api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "services/journal_internal.h"
#include "state/migrate.h"

#define DEFAULT_READER_COUNT   4
#define DEFAULT_WRITER_WAIT_MS 10000
#define DEFAULT_WRITER_COUNT   4

/* --- replies ------------------------------------------------------------------------------------------- */

void dp_api_reply_release(dp_api_reply *reply)
{
    dp_buffer_release(&reply->body);
}

dp_json_writer journal_reply_begin(dp_api_reply *reply)
{
    dp_buffer_clear(&reply->body);
    reply->content_type = "application/json";
    reply->code[0] = '\0';
    reply->retry_after_s = 0;
    reply->replayed = false;
    reply->fault[0] = '\0';
    return dp_json_writer_compact(&reply->body);
}

static void set_code(dp_api_reply *reply, const char *code)
{
    size_t length = strnlen(code, sizeof reply->code - 1);
    memcpy(reply->code, code, length);
    reply->code[length] = '\0';
}

void dp_api_reply_error(dp_api_reply *reply, unsigned http_status, const char *code, const char *detail)
{
    unsigned retry_after_s = reply->retry_after_s;
    dp_json_writer writer = journal_reply_begin(reply);
    reply->retry_after_s = retry_after_s;
    reply->http_status = http_status;
    set_code(reply, code);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "detail");
    dp_json_text(&writer, detail);
    dp_json_key(&writer, "code");
    dp_json_text(&writer, code);
    dp_json_end_object(&writer);
}

void journal_reply_ok(dp_api_reply *reply)
{
    if (reply->body.failed) {
        reply->retry_after_s = 1;
        dp_api_reply_error(reply, 503, "out_of_memory", "the answer does not fit into memory");
        return;
    }
    reply->http_status = 200;
}

void journal_reply_end(dp_api_reply *reply, dp_status status, const dp_error *error)
{
    if (status == DP_STATUS_OK) {
        journal_reply_ok(reply);
    } else {
        journal_reply_failure(reply, status, error);
    }
}

typedef struct failure_kind {
    unsigned http_status;
    const char *code;       /* when the error has none */
    unsigned retry_after_s; /* 0: repeating it as it is cannot help */
} failure_kind;

static failure_kind kind_of(dp_status status)
{
    switch (status) {
    case DP_STATUS_BLOCKED: return (failure_kind){409, "blocked", 0};
    case DP_STATUS_CONFLICT: return (failure_kind){409, "conflict", 0};
    case DP_STATUS_NOT_FOUND: return (failure_kind){404, "not_found", 0};
    case DP_STATUS_USAGE: return (failure_kind){400, "bad_request", 0};
    case DP_STATUS_LIMIT: return (failure_kind){413, "too_large", 0};
    case DP_STATUS_POISON: return (failure_kind){400, "poison", 0};
    case DP_STATUS_BUSY:
    case DP_STATUS_TIMEOUT: return (failure_kind){503, "store_busy", 1};
    case DP_STATUS_FULL: return (failure_kind){503, "store_full", 30};
    case DP_STATUS_NO_MEMORY: return (failure_kind){503, "out_of_memory", 1};
    case DP_STATUS_IO:
    case DP_STATUS_REMOTE:
    case DP_STATUS_CANCELLED: return (failure_kind){503, "store_unavailable", 2};
    case DP_STATUS_COMMIT_UNKNOWN: return (failure_kind){503, "commit_unknown", 1};
    case DP_STATUS_DATA: return (failure_kind){500, "store_damaged", 0};
    case DP_STATUS_OK:
    case DP_STATUS_INTERNAL:
    case DP_STATUS_COUNT: break;
    }
    return (failure_kind){500, "internal", 0};
}

/* What an operator has to look at; what passes by itself soon is not. */
static bool is_fault_of_store(dp_status status)
{
    return status == DP_STATUS_IO || status == DP_STATUS_REMOTE || status == DP_STATUS_FULL ||
           status == DP_STATUS_DATA;
}

void journal_reply_failure(dp_api_reply *reply, dp_status status, const dp_error *error)
{
    failure_kind kind = kind_of(status);
    reply->retry_after_s = kind.retry_after_s;
    dp_api_reply_error(reply, kind.http_status, error->code[0] != '\0' ? error->code : kind.code,
                       error->message[0] != '\0' ? error->message : dp_status_text(status));
    if (is_fault_of_store(status)) {
        snprintf(reply->fault, sizeof reply->fault, "%s%s%s",
                 error->message[0] != '\0' ? error->message : dp_status_text(status),
                 error->hint[0] != '\0' ? "; " : "", error->hint);
    }
}

/* --- opening ------------------------------------------------------------------------------------------- */

static void fill_defaults(dp_journal_api_options *options)
{
    if (options->max_batch_bytes == 0) options->max_batch_bytes = DP_JOURNAL_DEFAULT_BATCH_BYTES;
    if (options->max_event_bytes == 0) options->max_event_bytes = DP_JOURNAL_DEFAULT_EVENT_BYTES;
    if (options->reader_count == 0) options->reader_count = DEFAULT_READER_COUNT;
    if (options->reader_count > DP_JOURNAL_POOL) options->reader_count = DP_JOURNAL_POOL;
    if (options->writer_wait_ms == 0) options->writer_wait_ms = DEFAULT_WRITER_WAIT_MS;
    if (options->writer_count == 0) options->writer_count = DEFAULT_WRITER_COUNT;
    if (options->writer_count > DP_JOURNAL_POOL) options->writer_count = DP_JOURNAL_POOL;
}

/* A database that lets one write at a time gets one writer: they would only wait inside it. */
static dp_status limit_writers(dp_journal_api *api, dp_error *error)
{
    dp_state_dsn dsn;
    dp_status status = dp_state_dsn_parse(api->dsn, &dsn, error);
    if (status != DP_STATUS_OK) return status;
    api->has_concurrent_writers = dsn.driver->concurrent_writers;
    if (!api->has_concurrent_writers) api->options.writer_count = 1;
    return DP_STATUS_OK;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)dp_clock_monotonic_us();
    return seed;
}

/* Waits on the monotonic clock, so that a change of the wall clock cannot prolong it. */
static bool init_locks(dp_journal_api *api)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&api->pool_lock, NULL) != 0) return false;
    if (pthread_condattr_init(&attributes) != 0) return false;
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&api->reader_free, &attributes) == 0 &&
              pthread_cond_init(&api->writer_free, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
}

static bool make_journals(dp_journal_api *api)
{
    for (unsigned i = 0; i < api->options.writer_count; i++) {
        api->writers[i].journal = dp_journal_new(random_seed());
        if (api->writers[i].journal == NULL) return false;
    }
    return true;
}

static dp_status open_store(const dp_journal_api *api, bool read_only, dp_store **store, dp_error *error)
{
    const dp_store_options options = {.read_only = read_only, .busy_timeout_ms = api->options.store_wait_ms};
    return dp_store_open(api->dsn, &options, store, error);
}

static dp_status migrate(const char *dsn, dp_error *error)
{
    dp_store *store;
    uint32_t applied;
    dp_status status = dp_store_connect(dsn, NULL, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_schema_migrate(store, dp_clock_wall_us(), &applied, error);
    dp_store_close(store);
    return status;
}

/* The first connection tells whether the DSN and the schema are right. */
static dp_status open_first(dp_journal_api *api, dp_error *error)
{
    if (!api->options.read_only) return open_store(api, false, &api->writers[0].store, error);
    dp_store *reader;
    dp_status status = open_store(api, true, &reader, error);
    if (status != DP_STATUS_OK) return status;
    api->idle_readers[api->idle_reader_count++] = reader;
    api->reader_count++;
    return DP_STATUS_OK;
}

dp_status dp_journal_api_open(const dp_journal_api_options *options, dp_journal_api **api, dp_error *error)
{
    dp_journal_api *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "the journal service");
    self->options = *options;
    fill_defaults(&self->options);
    self->dsn = strdup(options->state_dsn == NULL ? DP_STATE_DEFAULT_DSN : options->state_dsn);
    dp_status status = DP_STATUS_OK;
    if (!init_locks(self) || self->dsn == NULL) status = dp_error_no_memory(error, "the journal service");
    if (status == DP_STATUS_OK) status = limit_writers(self, error);
    if (status == DP_STATUS_OK && !make_journals(self))
        status = dp_error_no_memory(error, "the journal service");
    if (status == DP_STATUS_OK && options->migrate) status = migrate(self->dsn, error);
    if (status == DP_STATUS_OK) status = open_first(self, error);
    if (status != DP_STATUS_OK) {
        dp_journal_api_close(self);
        return status;
    }
    *api = self;
    return DP_STATUS_OK;
}

void dp_journal_api_close(dp_journal_api *api)
{
    if (api == NULL) return;
    /* Writers last: only a connection that may write leaves a SQLite database without its log beside it. */
    for (unsigned i = 0; i < api->idle_reader_count; i++) {
        dp_store_close(api->idle_readers[i]);
    }
    for (unsigned i = 0; i < DP_JOURNAL_POOL; i++) {
        dp_store_close(api->writers[i].store);
        dp_journal_free(api->writers[i].journal);
    }
    for (unsigned i = 0; i < api->idle_parser_count; i++) {
        dp_batch_reader_free(api->idle_parsers[i]);
    }
    free(api->dsn);
    free(api);
}

size_t dp_journal_api_max_batch_bytes(const dp_journal_api *api)
{
    return api->options.max_batch_bytes;
}

size_t dp_journal_api_max_event_bytes(const dp_journal_api *api)
{
    return api->options.max_event_bytes;
}

unsigned dp_journal_api_writer_count(const dp_journal_api *api)
{
    return api->options.writer_count;
}

unsigned dp_journal_api_reader_count(const dp_journal_api *api)
{
    return api->options.reader_count;
}

unsigned dp_journal_api_wait_ms(const dp_journal_api *api)
{
    return api->options.writer_wait_ms;
}

/* --- connections --------------------------------------------------------------------------------------- */

static struct timespec deadline_after_ms(unsigned wait_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += wait_ms / 1000;
    deadline.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}

/* Whether the connection can be used again after a call that ended so. */
static bool is_healthy(dp_status status)
{
    return status != DP_STATUS_IO && status != DP_STATUS_REMOTE && status != DP_STATUS_COMMIT_UNKNOWN;
}

/* The first idle one, so that no more connections are made than there is work for. */
static journal_writer *idle_writer(dp_journal_api *api)
{
    for (unsigned i = 0; i < api->options.writer_count; i++) {
        if (!api->writers[i].busy) return &api->writers[i];
    }
    return NULL;
}

/* Where one connection was lost, those that are idle are, too, or nothing is lost with them: closing them
 * saves as many calls from finding out one after the other. */
static void drop_idle_if_lost(dp_journal_api *api, dp_status status)
{
    dp_store *idle[2 * DP_JOURNAL_POOL];
    size_t count = 0;
    if (status != DP_STATUS_REMOTE && status != DP_STATUS_COMMIT_UNKNOWN) return;
    pthread_mutex_lock(&api->pool_lock);
    for (unsigned i = 0; i < api->options.writer_count; i++) {
        journal_writer *writer = &api->writers[i];
        if (writer->busy || writer->store == NULL) continue;
        idle[count++] = writer->store;
        writer->store = NULL;
    }
    while (api->idle_reader_count > 0) {
        idle[count++] = api->idle_readers[--api->idle_reader_count];
        api->reader_count--;
    }
    pthread_cond_broadcast(&api->reader_free);
    pthread_mutex_unlock(&api->pool_lock);
    for (size_t i = 0; i < count; i++) {
        dp_store_close(idle[i]);
    }
}

dp_status journal_take_writer(dp_journal_api *api, journal_writer **writer, dp_error *error)
{
    if (api->options.read_only) {
        return dp_error_set_code(error, DP_STATUS_BLOCKED, "read_only", "the state was opened read-only");
    }
    struct timespec deadline = deadline_after_ms(api->options.writer_wait_ms);
    int waited = 0;
    pthread_mutex_lock(&api->pool_lock);
    journal_writer *found = idle_writer(api);
    while (found == NULL && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&api->writer_free, &api->pool_lock, &deadline);
        found = idle_writer(api);
    }
    if (found != NULL) found->busy = true;
    pthread_mutex_unlock(&api->pool_lock);
    if (found == NULL) return dp_error_set(error, DP_STATUS_BUSY, "the journal is busy with other batches");
    dp_status status = DP_STATUS_OK;
    if (found->store == NULL) status = open_store(api, false, &found->store, error);
    if (status == DP_STATUS_OK) {
        *writer = found;
        return DP_STATUS_OK;
    }
    journal_give_writer(api, found, status);
    return status == DP_STATUS_USAGE ? DP_STATUS_IO : status; /* it was right when the service was opened */
}

/* One that is connected: connecting may fail slowly, and the reason has to be told. */
bool journal_try_writer(dp_journal_api *api, journal_writer **writer)
{
    if (api->options.read_only) return false;
    pthread_mutex_lock(&api->pool_lock);
    journal_writer *found = idle_writer(api);
    bool ok = found != NULL && found->store != NULL;
    if (ok) found->busy = true;
    pthread_mutex_unlock(&api->pool_lock);
    if (ok) *writer = found;
    return ok;
}

void journal_give_writer(dp_journal_api *api, journal_writer *writer, dp_status status)
{
    if (!is_healthy(status)) {
        dp_store_close(writer->store);
        writer->store = NULL;
    }
    pthread_mutex_lock(&api->pool_lock);
    writer->busy = false;
    pthread_cond_signal(&api->writer_free);
    pthread_mutex_unlock(&api->pool_lock);
    drop_idle_if_lost(api, status);
}

/* Waits until a reader is idle or a new one may be opened. Called with the pool locked. */
static bool wait_for_reader(dp_journal_api *api)
{
    struct timespec deadline = deadline_after_ms(api->options.writer_wait_ms);
    while (api->idle_reader_count == 0 && api->reader_count >= api->options.reader_count) {
        if (pthread_cond_timedwait(&api->reader_free, &api->pool_lock, &deadline) == ETIMEDOUT) return false;
    }
    return true;
}

dp_status journal_take_reader(dp_journal_api *api, dp_store **reader, dp_error *error)
{
    pthread_mutex_lock(&api->pool_lock);
    if (!wait_for_reader(api)) {
        pthread_mutex_unlock(&api->pool_lock);
        return dp_error_set(error, DP_STATUS_BUSY, "all connections for reading are in use");
    }
    dp_store *idle = api->idle_reader_count > 0 ? api->idle_readers[--api->idle_reader_count] : NULL;
    if (idle == NULL) api->reader_count++;
    pthread_mutex_unlock(&api->pool_lock);
    if (idle != NULL) {
        *reader = idle;
        return DP_STATUS_OK;
    }
    dp_status status = open_store(api, true, reader, error);
    if (status == DP_STATUS_OK) return status;
    pthread_mutex_lock(&api->pool_lock);
    api->reader_count--;
    pthread_cond_signal(&api->reader_free);
    pthread_mutex_unlock(&api->pool_lock);
    return status == DP_STATUS_USAGE ? DP_STATUS_IO : status;
}

void journal_give_reader(dp_journal_api *api, dp_store *reader, dp_status status)
{
    bool keep = is_healthy(status);
    if (!keep) dp_store_close(reader);
    pthread_mutex_lock(&api->pool_lock);
    if (keep) {
        api->idle_readers[api->idle_reader_count++] = reader;
    } else {
        api->reader_count--;
    }
    pthread_cond_signal(&api->reader_free);
    pthread_mutex_unlock(&api->pool_lock);
    drop_idle_if_lost(api, status);
}

/* --- readiness ----------------------------------------------------------------------------------------- */

void dp_journal_api_check_ready(dp_journal_api *api, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *reader;
    const char *state = "";
    dp_status status = journal_take_reader(api, &reader, &error);
    if (status == DP_STATUS_OK) {
        state = reader->driver->name;
        status = dp_schema_require(reader, &error);
        if (status == DP_STATUS_OK && !api->options.read_only && reader->driver->check_grants != NULL)
            status = reader->driver->check_grants(reader, &error);
        journal_give_reader(api, reader, status);
    }
    if (status != DP_STATUS_OK) {
        journal_reply_failure(reply, status, &error);
        reply->http_status = 503;
        if (reply->retry_after_s == 0) reply->retry_after_s = 5;
        return;
    }
    dp_json_writer writer = journal_reply_begin(reply);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "status");
    dp_json_text(&writer, "ready");
    dp_json_key(&writer, "state");
    dp_json_text(&writer, state);
    dp_json_key(&writer, "version");
    dp_json_text(&writer, DPONE_VERSION);
    dp_json_end_object(&writer);
    journal_reply_ok(reply);
}
