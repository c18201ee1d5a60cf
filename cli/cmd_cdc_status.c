/* dpone cdc status: where slot and stored offset stand, and how far they are behind. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/sql_quote.h"
#include "cdc/postgres_inspect.h"
#include "cli/commands.h"
#include "cli/live_source.h"
#include "cli/stream_options.h"
#include "services/lag_clock.h"

static const dp_option options[] = {
    {.name = "source",
     .argument = "DSN",
     .help = "postgresql://USER@HOST:PORT/DATABASE",
     .environment = "DPONE_SOURCE"},
    {.name = "slot",
     .argument = "NAME",
     .help = "the replication slot",
     .environment = "DPONE_SLOT",
     .required = true},
    {.name = "pipeline", .argument = "NAME", .help = "also show the pipeline's stored offset"},
    DP_OPTION_SERVER,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    {.name = "watch", .help = "again and again until interrupted"},
    {.name = "interval-s",
     .argument = "SECONDS",
     .help = "how long --watch waits in between",
     .default_text = "2"},
    {.name = "stall-s",
     .argument = "SECONDS",
     .help = "with --watch: say 'stalled' when the slot has not moved for so long though it is behind",
     .default_text = "60"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

/* One look at everything. */
typedef struct sample {
    dp_postgres_server server;
    dp_postgres_slot slot;
    bool has_lag_seconds;
    double lag_seconds;
    dp_live_stored stored;
    dp_error stored_trouble;
    int64_t taken_us;
} sample;

typedef struct progress {
    bool has_previous;
    sample previous;
    int64_t moved_us; /* when the slot last moved, or was not behind */
    dp_lag_clock lag_clock;
} progress;

static dp_status read_lag_seconds(dp_postgres_session *session, sample *now, dp_error *error)
{
    if (!now->slot.is_active) return DP_STATUS_OK;
    char sql[160];
    snprintf(sql, sizeof sql,
             "SELECT round(extract(epoch FROM coalesce(flush_lag, interval '0'))::numeric, 3)::text FROM "
             "pg_stat_replication WHERE pid = %lld",
             (long long)now->slot.active_pid);
    dp_postgres_rows *rows;
    dp_status status = dp_postgres_query(session, sql, &rows, error);
    if (status != DP_STATUS_OK) return status;
    if (dp_postgres_row_count(rows) == 1) {
        now->has_lag_seconds = true;
        now->lag_seconds = strtod(dp_postgres_value(rows, 0, 0).data, NULL);
    }
    dp_postgres_rows_free(rows);
    return DP_STATUS_OK;
}

static dp_status take_sample(const dp_invocation *invocation, sample *now, dp_error *error)
{
    *now = (sample){.taken_us = dp_clock_monotonic_us()};
    dp_postgres_session *session;
    dp_status status = dp_postgres_connect(dp_invocation_text(invocation, "source"), false, &session, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_postgres_read_server(session, &now->server, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_read_slot(session, dp_invocation_text(invocation, "slot"), &now->slot, error);
    if (status == DP_STATUS_OK) status = read_lag_seconds(session, now, error);
    dp_postgres_disconnect(session);
    if (status != DP_STATUS_OK || dp_invocation_text(invocation, "pipeline") == NULL) return status;
    char source[sizeof now->server.system_identifier + sizeof now->server.database];
    snprintf(source, sizeof source, "%s/%s", now->server.system_identifier, now->server.database);
    dp_live_stored_load(invocation, dp_slice_of_text(source), &now->stored, &now->stored_trouble);
    return status;
}

/* A slot that is not behind is so by no second; otherwise one look shows only what the server has measured
 * for the reader that is connected, and repeated looks show it whoever reads. */
static void judge_lag_seconds(progress *self, sample *now)
{
    double seconds =
        dp_lag_clock_look(&self->lag_clock, now->taken_us, now->server.flushed, now->slot.confirmed);
    bool is_caught_up = now->slot.exists && now->slot.lag_bytes == 0;
    if (is_caught_up || (self->has_previous && now->slot.exists)) {
        now->has_lag_seconds = true;
        now->lag_seconds = is_caught_up ? 0 : seconds > now->lag_seconds ? seconds : now->lag_seconds;
    }
}

static const char *state_of(const dp_postgres_slot *slot)
{
    if (!slot->exists) return "missing";
    if (slot->is_invalidated) return "invalidated";
    return slot->is_active ? "active" : "inactive";
}

static bool is_stalled(const progress *self, const sample *now, uint64_t stall_s)
{
    return now->slot.lag_bytes > 0 && now->taken_us - self->moved_us >= (int64_t)stall_s * 1000000;
}

/* A second's share of what grew between the last two looks; 0 for what went back. */
static double rate_of(const progress *self, const sample *now, uint64_t before, uint64_t after)
{
    int64_t passed_us = now->taken_us - self->previous.taken_us;
    if (!self->has_previous || passed_us <= 0 || after < before) return 0;
    return (double)(after - before) * 1e6 / (double)passed_us;
}

static double byte_rate(const progress *self, const sample *now)
{
    return rate_of(self, now, self->previous.slot.confirmed.value, now->slot.confirmed.value);
}

static double event_rate(const progress *self, const sample *now)
{
    return rate_of(self, now, self->previous.stored.progress.event_count, now->stored.progress.event_count);
}

static bool is_stored_known(const dp_invocation *invocation, const sample *now)
{
    return dp_invocation_text(invocation, "pipeline") != NULL && now->stored_trouble.status == DP_STATUS_OK;
}

static void put_position(dp_json_writer *json, const char *key, bool has_position, dp_lsn position)
{
    char text[DP_LSN_TEXT_BYTES];
    dp_lsn_format(position, text);
    dp_json_key(json, key);
    dp_json_text(json, has_position ? text : NULL);
}

static void put_rate(dp_json_writer *json, const char *key, bool is_known, double rate)
{
    char number[32];
    dp_json_key(json, key);
    snprintf(number, sizeof number, "%.0f", rate);
    dp_json_raw(json, is_known ? dp_slice_of_text(number) : DP_SLICE_LITERAL("null"));
}

static void render_json(const dp_invocation *invocation, const sample *now, const progress *self,
                        bool stalled, dp_buffer *out)
{
    char number[32];
    dp_json_writer json = dp_json_writer_compact(out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "slot");
    dp_json_text(&json, dp_invocation_text(invocation, "slot"));
    dp_json_key(&json, "state");
    dp_json_text(&json, stalled ? "stalled" : state_of(&now->slot));
    dp_json_key(&json, "plugin");
    dp_json_text(&json, now->slot.exists ? now->slot.plugin : NULL);
    dp_json_key(&json, "wal_status");
    dp_json_text(&json, now->slot.wal_status[0] != '\0' ? now->slot.wal_status : NULL);
    put_position(&json, "confirmed", now->slot.has_confirmed, now->slot.confirmed);
    put_position(&json, "stored_offset", now->stored.has_offset, now->stored.offset);
    put_position(&json, "server_end", true, now->server.flushed);
    dp_json_key(&json, "lag_bytes");
    dp_json_i64(&json, now->slot.lag_bytes);
    dp_json_key(&json, "lag_seconds");
    snprintf(number, sizeof number, "%.3f", now->lag_seconds);
    dp_json_raw(&json, now->has_lag_seconds ? dp_slice_of_text(number) : DP_SLICE_LITERAL("null"));
    dp_json_key(&json, "retained_bytes");
    dp_json_i64(&json, now->slot.retained_bytes);
    put_rate(&json, "bytes_per_second", self->has_previous, byte_rate(self, now));
    put_rate(&json, "events_per_second", self->has_previous && is_stored_known(invocation, now),
             event_rate(self, now));
    const dp_stream_progress *known = &now->stored.progress;
    dp_json_key(&json, "last_receipt_at");
    dp_json_text(&json, known->has_receipt ? known->received_at : NULL);
    dp_json_key(&json, "last_batch_id");
    dp_json_text(&json, known->has_receipt ? known->batch_id : NULL);
    dp_json_key(&json, "server_trouble");
    dp_json_text(&json, now->stored_trouble.status == DP_STATUS_OK ? NULL : now->stored_trouble.message);
    dp_json_end_object(&json);
    dp_buffer_append_byte(out, '\n');
}

static void put_stored(const sample *now, dp_buffer *out)
{
    if (now->stored_trouble.status != DP_STATUS_OK) {
        dp_buffer_append_format(out, ", stored offset unknown (%s)", now->stored_trouble.message);
        return;
    }
    char offset[DP_LSN_TEXT_BYTES];
    const dp_stream_progress *known = &now->stored.progress;
    dp_lsn_format(now->stored.offset, offset);
    dp_buffer_append_format(out, ", stored offset %s", now->stored.has_offset ? offset : "none");
    if (known->has_receipt)
        dp_buffer_append_format(out, ", last receipt %s batch %.12s", known->received_at, known->batch_id);
}

static void render_text(const dp_invocation *invocation, const sample *now, const progress *self,
                        bool stalled, dp_buffer *out)
{
    char confirmed[DP_LSN_TEXT_BYTES];
    char end[DP_LSN_TEXT_BYTES];
    dp_lsn_format(now->slot.confirmed, confirmed);
    dp_lsn_format(now->server.flushed, end);
    dp_buffer_append_format(out, "slot %s: %s%s%s, confirmed %s, server at %s, behind %lld bytes",
                            dp_invocation_text(invocation, "slot"), stalled ? "stalled, " : "",
                            state_of(&now->slot), now->slot.exists ? "" : " (dpone cdc setup creates it)",
                            now->slot.has_confirmed ? confirmed : "-", end, (long long)now->slot.lag_bytes);
    if (now->has_lag_seconds) dp_buffer_append_format(out, " (%.3f s)", now->lag_seconds);
    dp_buffer_append_format(out, ", holds back %lld bytes", (long long)now->slot.retained_bytes);
    if (dp_invocation_text(invocation, "pipeline") != NULL) put_stored(now, out);
    if (self->has_previous) dp_buffer_append_format(out, ", %.0f bytes/s", byte_rate(self, now));
    if (self->has_previous && is_stored_known(invocation, now))
        dp_buffer_append_format(out, ", %.0f events/s", event_rate(self, now));
    dp_buffer_append_byte(out, '\n');
}

static dp_status show(const dp_invocation *invocation, progress *self, uint64_t stall_s, sample *now,
                      dp_error *error)
{
    dp_status status = take_sample(invocation, now, error);
    if (status != DP_STATUS_OK) return status;
    judge_lag_seconds(self, now);
    bool has_moved = !self->has_previous || now->slot.lag_bytes == 0 ||
                     now->slot.confirmed.value != self->previous.slot.confirmed.value;
    if (has_moved) self->moved_us = now->taken_us;
    bool stalled = is_stalled(self, now, stall_s);
    dp_buffer out = DP_BUFFER_INIT(65536);
    if (dp_wants_json(invocation)) {
        render_json(invocation, now, self, stalled, &out);
    } else {
        render_text(invocation, now, self, stalled, &out);
    }
    self->previous = *now;
    self->has_previous = true;
    return dp_print_and_release(&out, error);
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    uint64_t interval_s = 0;
    uint64_t stall_s = 0;
    dp_status status = dp_live_source_require(invocation, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "interval-s", 1, 86400, &interval_s, error);
    if (status == DP_STATUS_OK) status = dp_invocation_u64(invocation, "stall-s", 1, 86400, &stall_s, error);
    if (status != DP_STATUS_OK) return status;
    const volatile sig_atomic_t *stop = dp_stop_on_signals();
    progress self = {.has_previous = false};
    sample now = {.taken_us = 0};
    bool again = dp_invocation_switch(invocation, "watch");
    do {
        status = show(invocation, &self, stall_s, &now, error);
        for (uint64_t i = 0; again && i < interval_s * 10 && !*stop; i++) {
            dp_clock_sleep_ms(100);
        }
    } while (again && status == DP_STATUS_OK && !*stop);
    if (status == DP_STATUS_OK && (!now.slot.exists || now.slot.is_invalidated)) *exit_code = 1;
    return status;
}

const dp_command dp_command_cdc_status = {
    .path = "cdc status",
    .summary = "show where a slot and its stored offset stand, and how far behind they are",
    .arguments = "",
    .description =
        "Lag in bytes is the log between what the reader confirmed and the server's end. Lag in seconds is "
        "what the server measured for the reader that is connected, and with --watch also the time since "
        "the log first ended beyond what is confirmed. Held back is the log that the server keeps for the "
        "slot. With --pipeline, the stored offset and the last receipt are shown as well; rates need "
        "--watch.",
    .examples =
        "  dpone cdc status --source postgresql://dpone@db.example/shop --slot orders --pipeline orders\n"
        "      one line\n"
        "  dpone cdc status --source postgresql://dpone@db.example/shop --slot orders --watch --format "
        "json\n"
        "      a line every two seconds, for other programs\n",
    .options = options,
    .exit_codes = "0 the slot can be read, 1 it is missing or invalidated, 2 usage, 3 the source cannot be "
                  "reached",
    .run = run,
};
