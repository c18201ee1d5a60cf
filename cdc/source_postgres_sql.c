/* The source over SQL: pg_logical_slot_peek_changes shows what the slot holds without consuming it, and
 * pg_replication_slot_advance moves the slot once the offset behind it is saved. The consuming functions are
 * never used: what they return is gone from the slot before anyone has stored it.
 *
 * A peek always begins at the slot's position, so the next one waits until the one before is confirmed.
 * Nobody holds the slot in between: each peek tells where the slot stood when it was done, before its rows
 * are delivered, so that what another consumer took away is not passed over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/sql_quote.h"
#include "cdc/source_postgres_common.h"

enum {
    PEEK_ROWS = 20000, /* the server ends a peek only after a whole transaction */
    DEFAULT_IDLE_MS = 10000,
    MAX_SQL_BYTES = 64 * 1024
};

typedef struct sql_source {
    dp_postgres_link link;
    char slot[64]; /* the one that is read: the slot, or its copy */
    bool is_started;
    bool is_peeking;    /* rows of a peek are still coming: nothing else may be asked */
    bool is_plain;      /* the plugin refused the richer options */
    bool has_delivered; /* delivered: the end of the last transaction handed over, not yet confirmed */
    dp_lsn delivered;
    dp_lsn last_row; /* of the peek before */
    dp_lsn confirmed;
    dp_lsn target; /* until_end: where the log ended when the source was opened */
    int64_t idle_again_us;
    dp_buffer bytes; /* one record, decoded from hexadecimal */
} sql_source;

static dp_status sql_start(void *self, bool has_stored, dp_lsn stored, dp_error *error)
{
    sql_source *source = self;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_postgres_link_prepare(&source->link, has_stored, stored, &cause);
    if (status != DP_STATUS_OK) return dp_postgres_link_fail(&source->link, &cause, error);
    dp_postgres_link_works(&source->link);
    source->is_started = true;
    source->has_delivered = false;
    return DP_STATUS_OK;
}

/* --- peeking --- */

static void put_publication(dp_buffer *out, const char *name)
{
    dp_buffer quoted = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_sql_put_identifier(&quoted, dp_slice_of_text(name));
    dp_sql_put_literal(out, dp_buffer_slice(&quoted));
    dp_buffer_release(&quoted);
}

/* `bounds`: up to which position and how many rows. */
static void build_peek(const sql_source *source, const char *bounds, dp_buffer *sql)
{
    bool is_binary = source->link.plugin == DP_PLUGIN_PGOUTPUT;
    /* The subquery runs when the first row is put out, and so after the whole peek. */
    dp_buffer_append_text(sql, "SELECT lsn, xid, data, (SELECT confirmed_flush_lsn FROM pg_replication_slots "
                               "WHERE slot_name = ");
    dp_sql_put_literal(sql, dp_slice_of_text(source->slot));
    dp_buffer_append_format(sql, ") FROM pg_logical_slot_peek_%schanges(", is_binary ? "binary_" : "");
    dp_sql_put_literal(sql, dp_slice_of_text(source->slot));
    dp_buffer_append_format(sql, ", %s", bounds);
    const dp_plugin_option *option = dp_plugin_options(source->link.plugin, !source->is_plain);
    for (; option->name != NULL; option++) {
        dp_buffer_append_format(sql, ", '%s', ", option->name);
        if (option->value == NULL) {
            put_publication(sql, source->link.options.publication);
        } else {
            dp_sql_put_literal(sql, dp_slice_of_text(option->value));
        }
    }
    dp_buffer_append_byte(sql, ')');
}

/* bytea in hexadecimal, as the session's bytea_output has it. */
static dp_status decode_bytes(sql_source *source, dp_slice text, dp_slice *data, dp_error *error)
{
    dp_buffer_clear(&source->bytes);
    bool is_hex =
        dp_slice_starts_with(text, DP_SLICE_LITERAL("\\x")) &&
        dp_buffer_reserve(&source->bytes, text.length / 2) &&
        dp_hex_decode((dp_slice){text.data + 2, text.length - 2}, (uint8_t *)source->bytes.data, NULL);
    if (!is_hex)
        return dp_error_set(error, DP_STATUS_DATA, "the source's data column is not hexadecimal bytea");
    *data = (dp_slice){source->bytes.data, (text.length - 2) / 2};
    return DP_STATUS_OK;
}

/* BLOCKED when the slot stands past what was confirmed: what lies between was not in the peek. */
static dp_status check_slot(const sql_source *source, const dp_postgres_slot *slot, dp_error *error)
{
    const dp_postgres_link *link = &source->link;
    if (link->options.on_copy) return DP_STATUS_OK; /* nobody else knows the copy */
    return dp_postgres_check_offset(slot, link->options.slot, link->has_position, link->position, error);
}

static dp_status check_first_row(const sql_source *source, const dp_postgres_rows *row, dp_error *error)
{
    dp_postgres_slot slot = {.exists = true};
    slot.has_confirmed = dp_lsn_parse(dp_postgres_value(row, 0, 3), &slot.confirmed);
    return check_slot(source, &slot, error);
}

/* A peek without rows tells nothing of the slot. */
static dp_status check_after_empty_peek(const sql_source *source, dp_error *error)
{
    dp_postgres_slot slot;
    dp_status status = dp_postgres_read_slot(source->link.session, source->slot, &slot, error);
    return status == DP_STATUS_OK ? check_slot(source, &slot, error) : status;
}

static dp_status deliver(sql_source *source, const dp_postgres_rows *row, const dp_record_sink *sink,
                         bool *is_sink_fault, dp_error *error)
{
    uint64_t xid = 0;
    dp_record record = {.has_lsn = true, .has_xid = true, .data = dp_postgres_value(row, 0, 2)};
    bool is_row = dp_lsn_parse(dp_postgres_value(row, 0, 0), &record.lsn) &&
                  dp_slice_to_u64(dp_postgres_value(row, 0, 1), UINT32_MAX, &xid);
    if (!is_row) return dp_error_set(error, DP_STATUS_DATA, "a row of the slot has no lsn or no xid");
    record.xid = (uint32_t)xid;
    source->last_row = record.lsn;
    if (source->link.plugin == DP_PLUGIN_PGOUTPUT) {
        dp_status status = decode_bytes(source, record.data, &record.data, error);
        if (status != DP_STATUS_OK) return status;
    }
    if (dp_record_kind_of(source->link.plugin, record.data) == DP_RECORD_COMMITS) {
        source->has_delivered = true;
        source->delivered = record.lsn;
    }
    *is_sink_fault = true;
    dp_status status = dp_postgres_link_deliver(&source->link, sink, &record, error);
    if (status == DP_STATUS_OK) *is_sink_fault = false;
    return status;
}

static dp_status peek(sql_source *source, const dp_record_sink *sink, size_t *row_count, bool *is_sink_fault,
                      dp_error *error)
{
    char bounds[32];
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    snprintf(bounds, sizeof bounds, "NULL, %d", PEEK_ROWS);
    build_peek(source, bounds, &sql);
    const char *text = dp_buffer_text(&sql);
    dp_status status = text == NULL ? dp_error_no_memory(error, "a statement")
                                    : dp_postgres_rows_start(source->link.session, text, error);
    dp_buffer_release(&sql);
    *row_count = 0;
    while (status == DP_STATUS_OK) {
        dp_postgres_rows *row;
        status = dp_postgres_rows_next(source->link.session, &row, error);
        if (status != DP_STATUS_OK) return status;
        if (row == NULL) break;
        if (++*row_count == 1) status = check_first_row(source, row, error);
        if (status == DP_STATUS_OK) status = deliver(source, row, sink, is_sink_fault, error);
        dp_postgres_rows_free(row);
    }
    return status == DP_STATUS_OK && *row_count == 0 ? check_after_empty_peek(source, error) : status;
}

/* --- the interface --- */

static bool is_unknown_option_of(const sql_source *source, const dp_error *cause)
{
    return source->link.plugin == DP_PLUGIN_WAL2JSON_2 && !source->is_plain &&
           strstr(cause->message, "is unknown") != NULL;
}

static dp_status lose(sql_source *source, const dp_error *cause, dp_error *error)
{
    bool is_unknown_option = is_unknown_option_of(source, cause);
    source->is_plain |= is_unknown_option;
    dp_error explained = DP_ERROR_INIT;
    dp_postgres_explain_start(dp_postgres_sqlstate(source->link.session), source->link.options.slot, cause,
                              &explained);
    source->is_started = false;
    dp_status status = dp_postgres_link_fail(&source->link, &explained, error);
    if (is_unknown_option) { /* nothing is wrong: it is asked again at once, with what this version knows */
        source->link.next_attempt_us = 0;
        source->link.has_news = false;
    }
    return status;
}

/* What a peek that began after the log reached `end` and found no transaction says: nothing is left below it.
 */
static void note_quiet_end(sql_source *source, dp_lsn end, dp_source_progress *progress)
{
    bool is_end = source->link.options.until_end && end.value >= source->target.value;
    int64_t now_us = dp_clock_monotonic_us();
    progress->ended = is_end;
    if (end.value <= source->confirmed.value || (!is_end && now_us < source->idle_again_us)) return;
    unsigned interval_ms = source->link.options.idle_interval_ms;
    source->idle_again_us = now_us + (int64_t)(interval_ms > 0 ? interval_ms : DEFAULT_IDLE_MS) * 1000;
    progress->has_idle_position = true;
    progress->idle_position = end;
}

/* So many messages outside transactions that they ended the peek: the next one begins at the last of them. */
static void pass_messages(sql_source *source, dp_source_progress *progress)
{
    progress->has_idle_position = true;
    progress->idle_position = source->last_row;
    source->has_delivered = true;
    source->delivered = source->last_row;
}

/* Moves the slot to what was confirmed. A lost connection shows at the next poll; the slot may stay behind.
 */
static void advance(sql_source *source)
{
    dp_lsn position = source->link.position;
    bool is_due = source->is_started && !source->is_peeking && source->link.has_position &&
                  position.value > source->confirmed.value;
    if (!is_due) return;
    char text[DP_LSN_TEXT_BYTES];
    dp_lsn_format(position, text);
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    dp_buffer_append_text(&sql, "SELECT pg_replication_slot_advance(");
    dp_sql_put_literal(&sql, dp_slice_of_text(source->slot));
    dp_buffer_append_format(&sql, ", '%s')", text);
    const char *statement = dp_buffer_text(&sql);
    dp_error cause = DP_ERROR_INIT;
    if (statement != NULL && dp_postgres_query(source->link.session, statement, NULL, &cause) == DP_STATUS_OK)
        source->confirmed = position;
    dp_buffer_release(&sql);
}

/* A standby may have been promoted meanwhile, and a pooler leads to another server without a word. All that
 * was delivered is confirmed before each peek. */
static dp_status check_server(sql_source *source, const dp_postgres_server *server, dp_error *error)
{
    bool is_other = server->timeline != source->link.expected.timeline.number ||
                    strcmp(server->system_identifier, source->link.expected.system_identifier) != 0;
    return is_other ? dp_postgres_link_check(&source->link, server, error) : DP_STATUS_OK;
}

static dp_status sql_poll(void *self, int timeout_ms, const dp_record_sink *sink,
                          dp_source_progress *progress, dp_error *error)
{
    sql_source *source = self;
    *progress = (dp_source_progress){.ended = false};
    if (!source->is_started) {
        progress->restarted = dp_postgres_link_await(&source->link, timeout_ms, progress);
        return DP_STATUS_OK;
    }
    if (source->has_delivered) {
        progress->wants_confirm = true;
        return DP_STATUS_OK;
    }
    bool is_sink_fault = false;
    size_t row_count = 0;
    dp_postgres_server server;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_postgres_read_server(source->link.session, &server, &cause);
    if (status == DP_STATUS_OK) status = check_server(source, &server, &cause);
    source->is_peeking = true;
    if (status == DP_STATUS_OK) status = peek(source, sink, &row_count, &is_sink_fault, &cause);
    source->is_peeking = false;
    if (is_sink_fault) {
        if (error->status == DP_STATUS_OK) *error = cause;
        return status;
    }
    if (status != DP_STATUS_OK) return lose(source, &cause, error);
    progress->has_high_watermark = true;
    progress->high_watermark = server.flushed;
    advance(source);
    if (source->has_delivered) return DP_STATUS_OK;
    /* Rows without a commit are messages outside transactions. */
    if (row_count >= PEEK_ROWS) {
        pass_messages(source, progress);
    } else {
        note_quiet_end(source, server.flushed, progress);
    }
    if (!progress->ended && !progress->has_idle_position) dp_clock_sleep_ms((unsigned)timeout_ms);
    return DP_STATUS_OK;
}

static dp_status sql_confirm(void *self, dp_lsn position, dp_error *error)
{
    (void)error;
    sql_source *source = self;
    source->link.has_position = true;
    source->link.position = position;
    if (source->has_delivered && position.value >= source->delivered.value) source->has_delivered = false;
    advance(source); /* or after the peek, whose rows are still coming */
    return DP_STATUS_OK;
}

static void sql_close(void *self)
{
    sql_source *source = self;
    dp_postgres_link_close(&source->link);
    dp_buffer_release(&source->bytes);
    free(source);
}

/* A copy does not outlive an error of its session, and a later one may begin further on: whether the plugin
 * refuses the richer options is asked before anything is read. The peek ends at its first record. */
static void learn_options(sql_source *source)
{
    dp_error cause = DP_ERROR_INIT;
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    build_peek(source, "'0/1', NULL", &sql);
    const char *statement = dp_buffer_text(&sql);
    if (statement != NULL) dp_postgres_query(source->link.session, statement, NULL, &cause);
    source->is_plain |= is_unknown_option_of(source, &cause);
    dp_buffer_release(&sql);
}

static dp_status make_copy(sql_source *source, dp_error *error)
{
    dp_buffer sql = DP_BUFFER_INIT(MAX_SQL_BYTES);
    snprintf(source->slot, sizeof source->slot, "dpone_copy_%ld_%llx", (long)getpid(),
             (unsigned long long)dp_clock_monotonic_us());
    dp_buffer_append_text(&sql, "SELECT pg_copy_logical_replication_slot(");
    dp_sql_put_literal(&sql, dp_slice_of_text(source->link.options.slot));
    dp_buffer_append_format(&sql, ", '%s', true)", source->slot);
    const char *statement = dp_buffer_text(&sql);
    dp_status status = statement == NULL ? dp_error_no_memory(error, "a statement")
                                         : dp_postgres_query(source->link.session, statement, NULL, error);
    dp_buffer_release(&sql);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "making a temporary copy of the slot");
        dp_error_hint(error, "it needs one free replication slot (max_replication_slots), and is dropped "
                             "when the command ends");
    }
    return status;
}

/* A copy begins where the slot stands now, which may be further than when it was looked at. */
static dp_status copy_slot(sql_source *source, dp_lsn *begin, dp_error *error)
{
    dp_postgres_slot copy = {.exists = false};
    dp_status status = make_copy(source, error);
    if (status == DP_STATUS_OK && source->link.plugin == DP_PLUGIN_WAL2JSON_2) {
        learn_options(source);
        if (source->is_plain) status = make_copy(source, error);
    }
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_slot(source->link.session, source->slot, &copy, error);
    *begin = copy.confirmed;
    return status;
}

dp_status dp_postgres_sql_open(const dp_postgres_source_options *options,
                               dp_postgres_source_identity *identity, dp_change_source *source,
                               dp_error *error)
{
    sql_source *made = calloc(1, sizeof *made);
    if (made == NULL) return dp_error_no_memory(error, "the source");
    made->bytes = (dp_buffer)DP_BUFFER_INIT(1u << 30);
    dp_postgres_server server;
    dp_status status = dp_postgres_link_open(&made->link, options, identity, &server, error);
    snprintf(made->slot, sizeof made->slot, "%s", options->slot);
    if (status == DP_STATUS_OK && options->on_copy) status = copy_slot(made, &identity->begin, error);
    if (status != DP_STATUS_OK) {
        sql_close(made);
        return status;
    }
    made->target = server.flushed;
    *source = (dp_change_source){
        .self = made, .start = sql_start, .poll = sql_poll, .confirm = sql_confirm, .close = sql_close};
    return DP_STATUS_OK;
}
