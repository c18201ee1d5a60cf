#include "server/events_stream.h"

#include <stdlib.h>

enum { PAGE_BYTES = 256 * 1024 };

/* Belongs to the answer until `close`; while a page is being read, to the worker as well. */
typedef struct events_stream {
    dp_worker_job job; /* first: the pool hands this back */
    pthread_mutex_t lock;
    dp_application *application;
    dp_http_request *request;
    dp_events_reader *reader;
    size_t length;
    size_t sent;
    bool is_reading; /* a worker fills the page */
    bool is_closed;  /* nobody takes the page any more */
    bool ended;
    bool broken;
    char page[PAGE_BYTES];
} events_stream;

static void free_stream(events_stream *stream)
{
    dp_events_reader_close(stream->reader);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* Fills the page; nobody else touches it meanwhile. */
static void read_page(events_stream *stream)
{
    dp_error error = DP_ERROR_INIT;
    size_t length = 0;
    dp_status status = dp_events_reader_read(stream->reader, stream->page, PAGE_BYTES, &length, &error);
    stream->sent = 0;
    stream->length = status == DP_STATUS_OK ? length : 0;
    stream->broken = status != DP_STATUS_OK;
    stream->ended = status == DP_STATUS_OK && length == 0;
    if (stream->broken)
        dp_log_entry(stream->application->log, DP_LOG_ERROR, "server.events", "an answer was cut",
                     dp_log_text("error", error.message));
}

static void read_next_page(dp_worker_job *job)
{
    events_stream *stream = (events_stream *)(void *)job;
    read_page(stream);
    pthread_mutex_lock(&stream->lock);
    stream->is_reading = false;
    bool closed = stream->is_closed;
    /* Under the lock: close() comes before the request ends. */
    if (!closed) dp_http_stream_ready(stream->request);
    pthread_mutex_unlock(&stream->lock);
    if (closed) free_stream(stream);
}

static dp_http_stream_state take(void *context, char *out, size_t capacity, size_t *length)
{
    events_stream *stream = context;
    dp_http_stream_state state = DP_HTTP_STREAM_WAIT;
    pthread_mutex_lock(&stream->lock);
    if (stream->is_reading) {
        state = DP_HTTP_STREAM_WAIT;
    } else if (stream->broken) {
        state = DP_HTTP_STREAM_BROKEN;
    } else if (stream->sent < stream->length) {
        size_t left = stream->length - stream->sent;
        *length = left < capacity ? left : capacity;
        memcpy(out, stream->page + stream->sent, *length);
        stream->sent += *length;
        state = DP_HTTP_STREAM_DATA;
    } else if (stream->ended) {
        state = DP_HTTP_STREAM_END;
    } else {
        stream->is_reading = true;
        dp_worker_pool_submit(stream->application->readers, &stream->job, true);
    }
    pthread_mutex_unlock(&stream->lock);
    return state;
}

static void close_stream(void *context)
{
    events_stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    stream->is_closed = true;
    bool is_reading = stream->is_reading;
    pthread_mutex_unlock(&stream->lock);
    if (!is_reading) free_stream(stream);
}

static events_stream *new_stream(dp_exchange *exchange, dp_events_reader *reader)
{
    events_stream *stream = malloc(sizeof *stream);
    if (stream == NULL) return NULL;
    memset(stream, 0, offsetof(events_stream, page));
    pthread_mutex_init(&stream->lock, NULL);
    stream->job.run = read_next_page;
    stream->application = exchange->application;
    stream->request = exchange->request;
    stream->reader = reader;
    return stream;
}

static void send_stream(dp_exchange *exchange, events_stream *stream)
{
    char origin[512];
    dp_http_response response = {.status = 200};
    dp_exchange_add_headers(exchange, &response, "application/x-ndjson", origin, sizeof origin);
    const dp_http_stream body = {.context = stream, .read = take, .close = close_stream};
    dp_http_respond_stream(exchange->request, &response, &body);
}

bool dp_events_stream_answer(dp_exchange *exchange, dp_slice pipeline, const dp_events_query *query,
                             uint64_t *mark)
{
    dp_api_reply reply = DP_API_REPLY_INIT;
    dp_events_reader *reader = NULL;
    dp_events_reader_open(exchange->application->journal, pipeline, query, &reader, &reply);
    if (reader == NULL) dp_exchange_respond_reply(exchange, &reply);
    dp_api_reply_release(&reply);
    if (reader == NULL) return true;
    events_stream *stream = new_stream(exchange, reader);
    if (stream == NULL) {
        dp_events_reader_close(reader);
        dp_exchange_respond_code(exchange, 503, "out_of_memory", "Out of memory");
        return true;
    }
    read_page(stream);
    if (stream->broken) {
        free_stream(stream);
        dp_exchange_respond_code(exchange, 503, "store_unavailable", "The journal could not be read");
    } else if (stream->ended && mark != NULL) {
        *mark = dp_events_reader_mark(reader);
        free_stream(stream);
        return false;
    } else {
        send_stream(exchange, stream);
    }
    return true;
}
