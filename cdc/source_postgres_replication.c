/* The source over the streaming replication protocol (PostgreSQL manual, "Streaming Replication Protocol" and
 * "Logical Streaming Replication Protocol").
 *
 *   server -> client   'w' start:int64 end:int64 time:int64 data   |   'k' end:int64 time:int64 reply:byte
 *   client -> server   'r' written:int64 flushed:int64 applied:int64 time:int64 reply:byte
 *
 * For a commit the header's start is the transaction's end LSN, as in the rows of the SQL functions: the
 * output plugin's writes are stamped with the end of the commit record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/byte_reader.h"
#include "base/clock.h"
#include "base/planted_fault.h"
#include "cdc/source_postgres_common.h"

enum {
    POLL_MAX_BYTES = 4 << 20, /* delivered by one poll */
    GATHER_US = 200,          /* over TCP: one read of many rows instead of one read a row */
    LAST_FEEDBACK_MS = 10000,
    END_CHECK_MS = 100, /* how often a server that is asked for its end is asked again */
    DEFAULT_IDLE_MS = 10000,
    STANDBY_LOOK_MS = 2000, /* how often a standby is asked whether it was promoted */
    MAX_COMMAND_BYTES = 64 * 1024
};

#define POSTGRES_EPOCH_US (INT64_C(946684800) * 1000000)

typedef struct replication_source {
    dp_postgres_link link;
    bool is_streaming;
    bool is_broken; /* sending failed: the next poll drops the connection */
    bool was_started;
    bool is_plain; /* the plugin refused the richer options */
    dp_error broken;

    dp_lsn received;
    dp_lsn confirmed; /* everything below is durable and its offset saved; never goes back */
    int64_t feedback_at_us;
    int64_t feedback_interval_us;

    bool in_transaction;
    bool has_reached; /* reached: the last place that was seen outside a transaction */
    dp_lsn reached;
    dp_lsn target; /* until_end: where the log ended when the source was opened */

    bool has_quiet_end; /* quiet_end: a keepalive's position with nothing after it */
    dp_lsn quiet_end;
    bool is_offered; /* quiet_end is being offered as an idle position */
    int64_t offer_again_us;
    int64_t look_again_us;
    bool is_asked; /* the server wants an answer, perhaps because it is shutting down */
} replication_source;

/* --- feedback --- */

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static void send_feedback(replication_source *source, bool wants_reply)
{
    if (!source->is_streaming || source->is_broken) return;
    uint8_t message[34] = {'r'};
    uint64_t written =
        source->received.value > source->confirmed.value ? source->received.value : source->confirmed.value;
    put_u64(message + 1, written);
    uint64_t flushed = dp_fault_is_planted(DP_FAULT_KEEPALIVE_AS_FLUSH) ? written : source->confirmed.value;
    put_u64(message + 9, flushed);
    put_u64(message + 17, flushed);
    put_u64(message + 25, (uint64_t)(dp_clock_wall_us() - POSTGRES_EPOCH_US));
    message[33] = wants_reply ? 1 : 0;
    source->feedback_at_us = dp_clock_monotonic_us();
    dp_error_clear(&source->broken);
    dp_slice bytes = {(const char *)message, sizeof message};
    source->is_broken = dp_postgres_stream_send(source->link.session, bytes, &source->broken) != DP_STATUS_OK;
}

static void send_feedback_when_due(replication_source *source)
{
    int64_t age_us = dp_clock_monotonic_us() - source->feedback_at_us;
    bool wants_end = source->link.options.until_end && age_us >= END_CHECK_MS * 1000;
    if (wants_end || age_us >= source->feedback_interval_us) send_feedback(source, wants_end);
}

/* --- starting --- */

/* The replication grammar knows '' but no backslashes. */
static void put_option_value(dp_buffer *out, const char *text)
{
    dp_buffer_append_byte(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'') dp_buffer_append_byte(out, '\'');
        dp_buffer_append_byte(out, *text);
    }
    dp_buffer_append_byte(out, '\'');
}

/* A list of identifiers inside a literal. */
static void put_publication(dp_buffer *out, const char *name)
{
    dp_buffer_append_text(out, "'\"");
    for (; *name != '\0'; name++) {
        if (*name == '\'' || *name == '"') dp_buffer_append_byte(out, *name);
        dp_buffer_append_byte(out, *name);
    }
    dp_buffer_append_text(out, "\"'");
}

static void build_command(const replication_source *source, dp_lsn start, dp_buffer *out)
{
    char position[DP_LSN_TEXT_BYTES];
    dp_lsn_format(start, position);
    dp_buffer_append_format(out, "START_REPLICATION SLOT \"%s\" LOGICAL %s", source->link.options.slot,
                            position);
    const dp_plugin_option *option = dp_plugin_options(source->link.plugin, !source->is_plain);
    for (const char *before = " ("; option->name != NULL; option++, before = ", ") {
        dp_buffer_append_format(out, "%s\"%s\" ", before, option->name);
        if (option->value == NULL) {
            put_publication(out, source->link.options.publication);
        } else {
            put_option_value(out, option->value);
        }
    }
    dp_buffer_append_byte(out, ')');
}

static dp_status start_stream(replication_source *source, dp_lsn start, dp_error *error)
{
    dp_buffer command = DP_BUFFER_INIT(MAX_COMMAND_BYTES);
    build_command(source, start, &command);
    const char *text = dp_buffer_text(&command);
    dp_error cause = DP_ERROR_INIT;
    dp_status status = text == NULL ? dp_error_no_memory(&cause, "a replication command")
                                    : dp_postgres_stream_start(source->link.session, text, &cause);
    bool is_unknown_option = status != DP_STATUS_OK && source->link.plugin == DP_PLUGIN_WAL2JSON_2 &&
                             !source->is_plain && strstr(cause.message, "is unknown") != NULL;
    dp_buffer_release(&command);
    if (is_unknown_option) {
        source->is_plain = true;
        return start_stream(source, start, error);
    }
    if (status == DP_STATUS_OK) return status;
    return dp_postgres_explain_start(dp_postgres_sqlstate(source->link.session), source->link.options.slot,
                                     &cause, error);
}

/* A position below the slot's own is moved forward silently by the server, so the slot is looked at once more
 * when it is ours and no one else can move it. And the server may have been promoted since it was asked for
 * its timeline. */
static dp_status check_again(const replication_source *source, dp_error *error)
{
    dp_postgres_session *session;
    dp_postgres_slot slot;
    dp_postgres_server server;
    const dp_postgres_link *link = &source->link;
    dp_status status = dp_postgres_connect(link->options.dsn, true, &session, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_server(session, &server, error);
    if (status == DP_STATUS_OK) status = dp_postgres_read_slot(session, link->options.slot, &slot, error);
    dp_postgres_disconnect(session);
    if (status != DP_STATUS_OK) return status;
    if (server.timeline != link->expected.timeline.number)
        return dp_error_set_code(error, DP_STATUS_REMOTE, "postgres.promoted",
                                 "the source was promoted while the stream was started");
    return dp_postgres_check_offset(&slot, link->options.slot, link->has_position, link->position, error);
}

static dp_status read_timeout(replication_source *source, dp_error *error)
{
    char text[32];
    uint64_t timeout_ms = 0;
    dp_status status =
        dp_postgres_read_setting(source->link.session, "wal_sender_timeout", text, sizeof text, error);
    if (status != DP_STATUS_OK) return status;
    bool has_timeout = dp_slice_to_u64(dp_slice_of_text(text), INT32_MAX, &timeout_ms) && timeout_ms > 0;
    uint64_t interval_ms =
        has_timeout && timeout_ms / 3 < LAST_FEEDBACK_MS ? timeout_ms / 3 : LAST_FEEDBACK_MS;
    source->feedback_interval_us = (int64_t)interval_ms * 1000;
    return DP_STATUS_OK;
}

static dp_status try_start(replication_source *source, bool has_stored, dp_lsn stored, dp_error *error)
{
    dp_status status = dp_postgres_link_prepare(&source->link, has_stored, stored, error);
    if (status == DP_STATUS_OK) status = read_timeout(source, error);
    dp_lsn start = source->link.has_position ? source->link.position : (dp_lsn){0};
    if (status == DP_STATUS_OK) status = start_stream(source, start, error);
    if (status == DP_STATUS_OK) status = check_again(source, error);
    if (status != DP_STATUS_OK) return status;
    if (has_stored && stored.value > source->confirmed.value) source->confirmed = stored;
    source->received = source->confirmed;
    source->is_streaming = true;
    source->is_broken = false;
    source->in_transaction = false;
    source->has_quiet_end = false;
    source->is_offered = false;
    send_feedback(source, source->link.options.until_end);
    return DP_STATUS_OK;
}

static dp_status replication_start(void *self, bool has_stored, dp_lsn stored, dp_error *error)
{
    replication_source *source = self;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = try_start(source, has_stored, stored, &cause);
    if (status == DP_STATUS_OK) {
        dp_postgres_link_works(&source->link);
        source->was_started = true;
        return DP_STATUS_OK;
    }
    return dp_postgres_link_fail(&source->link, &cause, error);
}

/* --- a standby --- */

/* Whether a session leads to the server that the stream comes from: its slot is read by the stream's process.
 */
static dp_status is_same_server(replication_source *source, dp_postgres_session *session,
                                dp_postgres_server *server, bool *is_same, dp_error *error)
{
    dp_postgres_slot slot = {.exists = false};
    dp_status status = dp_postgres_read_server(session, server, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_read_slot(session, source->link.options.slot, &slot, error);
    *is_same = status == DP_STATUS_OK && slot.is_active &&
               slot.active_pid == dp_postgres_process(source->link.session) &&
               strcmp(server->system_identifier, source->link.expected.system_identifier) == 0;
    return status;
}

/* The stream of a standby goes on without a word when that is promoted, or follows a primary that was: the
 * journal must know the timeline, or it takes what was read since for another history. */
static dp_status look_at_standby(replication_source *source, dp_error *error)
{
    dp_postgres_session *session;
    dp_postgres_server server = {.timeline = 0};
    bool is_same = false;
    int64_t now_us = dp_clock_monotonic_us();
    if (!dp_postgres_is_standby(source->link.session) || now_us < source->look_again_us) return DP_STATUS_OK;
    source->look_again_us = now_us + STANDBY_LOOK_MS * 1000;
    dp_buffer history = DP_BUFFER_INIT(DP_POSTGRES_MAX_HISTORY_BYTES);
    dp_error ignored = DP_ERROR_INIT; /* asked again soon */
    if (dp_postgres_connect(source->link.options.dsn, true, &session, &ignored) != DP_STATUS_OK)
        return DP_STATUS_OK;
    dp_status status = is_same_server(source, session, &server, &is_same, &ignored);
    is_same = is_same && server.timeline != source->link.expected.timeline.number;
    if (status == DP_STATUS_OK && is_same)
        status = dp_postgres_read_history(session, server.timeline, &history, &ignored);
    dp_timeline now = dp_timeline_of(server.timeline, dp_buffer_slice(&history));
    dp_postgres_disconnect(session);
    dp_buffer_release(&history);
    if (status != DP_STATUS_OK || !is_same) return DP_STATUS_OK;
    dp_error cause = DP_ERROR_INIT;
    status = dp_postgres_link_adopt(&source->link, &now, true, &cause);
    if (status == DP_STATUS_OK || dp_status_retryable(status)) return DP_STATUS_OK;
    *error = cause;
    return status;
}

/* --- reading --- */

static void note_record(replication_source *source, const dp_record *record)
{
    source->has_quiet_end = false;
    source->is_offered = false;
    if (record->lsn.value > source->received.value) source->received = record->lsn;
    switch (dp_record_kind_of(source->link.plugin, record->data)) {
    case DP_RECORD_BEGINS: source->in_transaction = true; break;
    case DP_RECORD_COMMITS:
        source->in_transaction = false;
        source->has_reached = true;
        source->reached = record->lsn;
        break;
    case DP_RECORD_OTHER: break;
    }
}

static dp_status take_keepalive(replication_source *source, dp_byte_reader *reader)
{
    dp_lsn end = {dp_byte_reader_u64(reader)};
    dp_byte_reader_u64(reader); /* the server's clock */
    source->is_asked |= dp_byte_reader_u8(reader) == 1;
    if (reader->failed) return DP_STATUS_DATA;
    if (end.value > source->received.value) source->received = end;
    if (source->in_transaction) return DP_STATUS_OK;
    source->has_reached = true;
    source->reached = end;
    if (source->has_quiet_end && end.value == source->quiet_end.value) return DP_STATUS_OK;
    source->has_quiet_end = true;
    if (!source->is_offered) source->quiet_end = end;
    return DP_STATUS_OK;
}

static dp_status take_message(replication_source *source, dp_slice message, const dp_record_sink *sink,
                              dp_error *error)
{
    dp_byte_reader reader = dp_byte_reader_of(message);
    uint8_t type = dp_byte_reader_u8(&reader);
    dp_status status = DP_STATUS_DATA;
    if (type == 'k') {
        status = take_keepalive(source, &reader);
    } else if (type == 'w') {
        dp_record record = {.lsn = {dp_byte_reader_u64(&reader)}};
        dp_byte_reader_u64(&reader); /* the end: the same as the start in logical replication */
        dp_byte_reader_u64(&reader); /* the server's clock */
        record.has_lsn = record.lsn.value != 0;
        record.data = dp_byte_reader_bytes(&reader, dp_byte_reader_left(&reader));
        if (!reader.failed) {
            note_record(source, &record);
            return dp_postgres_link_deliver(&source->link, sink, &record, error);
        }
    }
    return status == DP_STATUS_OK
               ? status
               : dp_error_set(error, DP_STATUS_DATA,
                              "slot '%s' sent an unexpected replication message of type 0x%02x, %zu bytes",
                              source->link.options.slot, type, message.length);
}

static bool has_ended(const replication_source *source)
{
    return source->link.options.until_end && !source->in_transaction && source->has_reached &&
           source->reached.value >= source->target.value;
}

/* Delivers what is in memory, up to *left bytes. *is_sink_fault tells whose error it is. */
static dp_status drain(replication_source *source, const dp_record_sink *sink, size_t *left,
                       bool *is_sink_fault, dp_error *error)
{
    while (*left > 0 && !has_ended(source)) {
        dp_slice message;
        dp_status status = dp_postgres_stream_next(source->link.session, &message, error);
        if (status != DP_STATUS_OK || message.data == NULL) return status;
        *left -= message.length < *left ? message.length : *left;
        status = take_message(source, message, sink, error);
        if (status != DP_STATUS_OK) {
            *is_sink_fault = true;
            return status;
        }
    }
    return DP_STATUS_OK;
}

/* Reads until the socket is empty or enough was delivered, waiting only for the first bytes. */
static dp_status read_stream(replication_source *source, int timeout_ms, const dp_record_sink *sink,
                             bool *is_sink_fault, dp_error *error)
{
    size_t left = POLL_MAX_BYTES;
    dp_postgres_session *session = source->link.session;
    dp_status status = drain(source, sink, &left, is_sink_fault, error);
    bool may_wait = left == POLL_MAX_BYTES;
    while (status == DP_STATUS_OK && left > 0 && !has_ended(source)) {
        bool is_ready = false;
        status = dp_postgres_stream_wait(session, 0, &is_ready, error);
        if (status == DP_STATUS_OK && !is_ready) {
            if (!may_wait) return DP_STATUS_OK;
            status = dp_postgres_stream_wait(session, timeout_ms, &is_ready, error);
            if (status != DP_STATUS_OK || !is_ready) return status;
            if (!dp_postgres_is_local(session)) usleep(GATHER_US);
        }
        may_wait = false;
        if (status == DP_STATUS_OK) status = dp_postgres_stream_take(session, error);
        if (status == DP_STATUS_OK) status = drain(source, sink, &left, is_sink_fault, error);
    }
    return status;
}

/* A quiet slot must move on, or the server keeps its log for ever; but each step costs a batch and a saved
 * offset, so it is offered now and then only, and at once when the server asks or the end is wanted. */
static void offer_idle_position(replication_source *source, dp_source_progress *progress)
{
    bool has_news =
        source->has_quiet_end && !source->in_transaction && source->quiet_end.value > source->confirmed.value;
    if (!has_news) return;
    int64_t now_us = dp_clock_monotonic_us();
    bool is_due = source->link.options.until_end || source->is_asked || now_us >= source->offer_again_us;
    if (is_due && !source->is_offered) {
        unsigned interval_ms = source->link.options.idle_interval_ms;
        source->is_offered = true;
        source->offer_again_us = now_us + (int64_t)(interval_ms > 0 ? interval_ms : DEFAULT_IDLE_MS) * 1000;
    }
    if (!source->is_offered) return;
    progress->has_idle_position = true;
    progress->idle_position = source->quiet_end;
}

static dp_status lose_connection(replication_source *source, const dp_error *cause,
                                 dp_source_progress *progress, dp_error *error)
{
    dp_error explained = DP_ERROR_INIT;
    const char *sqlstate = dp_postgres_sqlstate(source->link.session);
    dp_postgres_explain_start(sqlstate, source->link.options.slot, cause, &explained);
    source->is_streaming = false;
    source->in_transaction = false;
    progress->has_idle_position = false;
    return dp_postgres_link_fail(&source->link, &explained, error);
}

static dp_status replication_poll(void *self, int timeout_ms, const dp_record_sink *sink,
                                  dp_source_progress *progress, dp_error *error)
{
    replication_source *source = self;
    *progress = (dp_source_progress){.ended = false};
    if (!source->is_streaming) {
        progress->restarted = dp_postgres_link_await(&source->link, timeout_ms, progress);
        return DP_STATUS_OK;
    }
    bool is_sink_fault = false;
    dp_error cause = DP_ERROR_INIT;
    send_feedback_when_due(source);
    dp_status status = read_stream(source, timeout_ms, sink, &is_sink_fault, &cause);
    if (is_sink_fault) {
        if (error->status == DP_STATUS_OK) *error = cause;
        return status;
    }
    if (status == DP_STATUS_OK && source->is_broken) {
        status = source->broken.status;
        cause = source->broken;
    }
    if (status != DP_STATUS_OK) return lose_connection(source, &cause, progress, error);
    status = look_at_standby(source, error);
    if (status != DP_STATUS_OK) return status;
    progress->ended = has_ended(source);
    progress->has_high_watermark = source->received.value > 0;
    progress->high_watermark = source->received;
    offer_idle_position(source, progress);
    if (source->is_asked || dp_fault_is_planted(DP_FAULT_KEEPALIVE_AS_FLUSH)) send_feedback(source, false);
    source->is_asked = false;
    return DP_STATUS_OK;
}

static dp_status replication_tick(void *self, dp_error *error)
{
    (void)error;
    send_feedback_when_due(self); /* a failure shows at the next poll */
    return DP_STATUS_OK;
}

static dp_status replication_confirm(void *self, dp_lsn position, dp_error *error)
{
    (void)error;
    replication_source *source = self;
    if (position.value <= source->confirmed.value) return DP_STATUS_OK;
    source->confirmed = position;
    source->link.has_position = true;
    source->link.position = position;
    bool is_offer_taken = source->is_offered && source->quiet_end.value <= position.value;
    if (is_offer_taken) {
        source->is_offered = false;
        source->has_quiet_end = false;
    }
    send_feedback(source, false);
    return DP_STATUS_OK;
}

static void replication_close(void *self)
{
    replication_source *source = self;
    if (source->is_streaming && !source->is_broken) {
        send_feedback(source, false);
        if (!source->is_broken) dp_postgres_stream_end(source->link.session);
    }
    dp_postgres_link_close(&source->link);
    free(source);
}

dp_status dp_postgres_replication_open(const dp_postgres_source_options *options,
                                       dp_postgres_source_identity *identity, dp_change_source *source,
                                       dp_error *error)
{
    replication_source *made = calloc(1, sizeof *made);
    if (made == NULL) return dp_error_no_memory(error, "the source");
    dp_postgres_server server;
    made->link.is_replication = true;
    dp_status status = dp_postgres_link_open(&made->link, options, identity, &server, error);
    if (status != DP_STATUS_OK) {
        replication_close(made);
        return status;
    }
    made->target = server.flushed;
    *source = (dp_change_source){
        .self = made,
        .start = replication_start,
        .poll = replication_poll,
        .tick = replication_tick,
        .confirm = replication_confirm,
        .close = replication_close,
    };
    return DP_STATUS_OK;
}
