/* dpone cdc run: source -> server -> gate -> offset. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/live_source.h"
#include "cli/stream_options.h"
#include "server/run_endpoint.h"
#include "services/cdc_run.h"
#include "services/file_source.h"
#include "services/http_sink.h"
#include "services/own_offsets.h"

static const dp_option options[] = {
    {.name = "pipeline",
     .argument = "NAME",
     .help = "the pipeline's name in the journal and the offset store",
     .required = true},
    {.name = "source",
     .argument = "SOURCE",
     .help = "postgresql://USER@HOST:PORT/DATABASE, file:PATH, or - for standard input",
     .default_text = "-",
     .environment = "DPONE_SOURCE"},
    DP_OPTION_SLOT,
    DP_OPTION_PUBLICATION,
    DP_OPTION_TRANSPORT,
    {.name = "source-id",
     .argument = "TEXT",
     .help = "what names the source in the journal [default for files: file:BASENAME]"},
    DP_OPTION_SERVER,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    {.name = "state",
     .argument = "DSN",
     .help = "keep the offset in this database instead of the server's: sqlite:PATH or postgresql://...; for "
             "endpoints that keep none"},
    DP_OPTION_UNIQUE_KEY,
    DP_OPTION_IDENTITY,
    DP_OPTION_INPUT_FORMAT,
    DP_OPTION_PLUGIN,
    DP_OPTION_TRUST_NULLS,
    DP_OPTION_BATCH_EVENTS,
    DP_OPTION_BATCH_BYTES,
    {.name = "batch-wait-ms", .argument = "MS", .help = "or after this long", .default_text = "200"},
    {.name = "batches-in-flight",
     .argument = "COUNT",
     .help = "send up to so many batches side by side to a server that keeps their order, at most 16: worth "
             "more the farther the server is. 0: read nothing while a batch is on its way. With --state at "
             "most 1",
     .default_text = "2",
     .environment = "DPONE_BATCHES_IN_FLIGHT"},
    {.name = "max-event-bytes",
     .argument = "BYTES",
     .help = "a larger event is poison",
     .default_text = "8388608"},
    {.name = "offset-interval-ms",
     .argument = "MS",
     .help = "save offsets that passed the gate at most this often, and always at the end",
     .default_text = "500"},
    {.name = "until-end", .help = "end at the end of the file, or at what a live source holds now"},
    {.name = "max-batches",
     .argument = "COUNT",
     .help = "end after so many batches; 0: no limit",
     .default_text = "0"},
    {.name = "from-start",
     .help = "send what the stored offset has passed again; the offset does not move back"},
    {.name = "on-poison",
     .argument = "ACTION",
     .help = "what to do with a change whose key is missing or that is too large",
     .choices = "stop|quarantine",
     .default_text = "stop"},
    {.name = "accept-source-change",
     .help = "go on although slot, timeline, publication options or unique keys differ from what the stream "
             "was written with"},
    {.name = "source-wait-seconds",
     .argument = "SECONDS",
     .help =
         "when a live source does not take connections yet, try again for so long before giving up; 0: do "
         "not. A source that went away later is always waited for",
     .default_text = "0",
     .environment = "DPONE_SOURCE_WAIT_SECONDS"},
    {.name = "stall-seconds",
     .argument = "SECONDS",
     .help = "tell what the run waits for when it has waited so long, and when that is over; 0: do not",
     .default_text = "60",
     .environment = "DPONE_STALL_SECONDS"},
    {.name = "metrics-listen",
     .argument = "HOST:PORT",
     .help = "serve the run's own /metrics and /health here; port 0: any free one, which is told",
     .environment = "DPONE_METRICS_LISTEN"},
    {.name = "strict", .help = "exit with 4 when anything is left in quarantine"},
    {.name = NULL},
};

typedef struct progress_line {
    bool is_terminal;
    bool is_shown;
} progress_line;

static void show_progress(void *context, const dp_cdc_run_summary *summary, const dp_error *trouble)
{
    progress_line *line = context;
    if (trouble != NULL) {
        fprintf(stderr, "%sdpone: trying again: %s\n", line->is_shown ? "\n" : "", trouble->message);
        line->is_shown = false;
    } else if (line->is_terminal) {
        fprintf(stderr, "\r%llu events in %llu batches, %llu duplicates, offset %s ",
                (unsigned long long)summary->event_count, (unsigned long long)summary->batch_count,
                (unsigned long long)summary->duplicate_count,
                summary->has_offset ? summary->offset.token : "none");
        line->is_shown = true;
    }
}

static dp_status print_summary(const dp_cdc_run_summary *summary, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_buffer_append_format(
        &out,
        "{\"events\":%llu,\"accepted\":%llu,\"duplicates\":%llu,\"batches\":%llu,\"transactions\":%llu,"
        "\"skipped_transactions\":%llu,\"quarantined\":%llu,\"quarantined_before\":%llu,\"stored_offset\":",
        (unsigned long long)summary->event_count, (unsigned long long)summary->accepted_count,
        (unsigned long long)summary->duplicate_count, (unsigned long long)summary->batch_count,
        (unsigned long long)summary->transaction_count,
        (unsigned long long)summary->skipped_transaction_count, (unsigned long long)summary->poison_count,
        (unsigned long long)summary->known_poison_count);
    if (summary->has_offset) {
        dp_buffer_append_format(&out, "\"%s\"}\n", summary->offset.token);
    } else {
        dp_buffer_append_text(&out, "null}\n");
    }
    dp_status status = dp_print(dp_buffer_slice(&out), error);
    dp_buffer_release(&out);
    return status;
}

static dp_status read_numbers(const dp_invocation *invocation, dp_cdc_run_options *run, dp_error *error)
{
    uint64_t events = 0, bytes = 0, wait_ms = 0, event_bytes = 0, interval_ms = 0;
    dp_status status = dp_invocation_u64(invocation, "batch-events", 1, 1000000, &events, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "batch-bytes", 1024, 1 << 30, &bytes, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "batch-wait-ms", 0, 3600000, &wait_ms, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "max-event-bytes", 1024, 1 << 30, &event_bytes, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "offset-interval-ms", 0, 3600000, &interval_ms, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "max-batches", 0, UINT64_MAX, &run->max_batches, error);
    uint64_t in_flight = 1;
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "batches-in-flight", 0, DP_BATCH_LANES, &in_flight, error);
    bool may_overlap = dp_invocation_text(invocation, "state") == NULL;
    run->batches_in_flight = may_overlap || in_flight == 0 ? (unsigned)in_flight : 1;
    run->limits = (dp_batch_limits){(size_t)events, (size_t)bytes, (size_t)event_bytes};
    run->batch_wait_ms = (unsigned)wait_ms;
    run->offset_interval_ms = (unsigned)interval_ms;
    return status;
}

/* file:BASENAME for a file, unless --source-id says otherwise. */
static dp_status name_source(const dp_invocation *invocation, dp_buffer *name, dp_error *error)
{
    const char *given = dp_invocation_text(invocation, "source-id");
    const char *source = dp_invocation_text(invocation, "source");
    if (given != NULL) {
        dp_buffer_append_text(name, given);
    } else if (strcmp(source, "-") == 0) {
        dp_buffer_append_text(name, "file:-");
    } else if (!dp_live_source_is(source)) {
        const char *slash = strrchr(source, '/');
        const char *base = slash != NULL ? slash + 1 : strncmp(source, "file:", 5) == 0 ? source + 5 : source;
        dp_buffer_append_format(name, "file:%s", base);
    }
    return name->failed
               ? dp_error_set(error, DP_STATUS_USAGE, "--source-id: longer than %zu bytes", name->max_bytes)
               : DP_STATUS_OK;
}

enum { FIRST_BACKOFF_MS = 200, LAST_BACKOFF_MS = 3200 };

typedef struct run_resources {
    const dp_invocation *invocation;
    const dp_batch_source *stream;
    dp_unique_keys *keys;
    dp_buffer source_name;
    dp_buffer token;
    dp_postgres_source_identity live;
    bool has_only_more_keys; /* than the stream was written with */
    dp_change_source source;
    dp_batch_sink sink;
    unsigned stall_seconds;
    unsigned source_wait_seconds;
    dp_run_monitor *monitor;
    dp_run_endpoint *endpoint;
} run_resources;

static dp_status on_timeline(void *context, const dp_timeline *timeline, bool is_uninterrupted,
                             dp_error *error);

/* False when told to stop. */
static bool sleep_unless_stopped(unsigned wait_ms, const volatile sig_atomic_t *stop)
{
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)wait_ms * 1000;
    while (*stop == 0 && dp_clock_monotonic_us() < until_us) {
        dp_clock_sleep_ms(50);
    }
    return *stop == 0;
}

/* Opens the source, waiting for one that is away. An attempt that failed just before the server came up looks
 * like one that was refused: so a refusal ends it only when it comes twice. */
static dp_status await_live(const dp_invocation *invocation, run_resources *resources,
                            const dp_cdc_run_options *run, dp_error *error)
{
    const dp_timeline_listener listener = {resources, on_timeline};
    const char *dsn = dp_invocation_text(invocation, "source");
    const volatile sig_atomic_t *stop = dp_stop_on_signals();
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)resources->source_wait_seconds * 1000000;
    unsigned backoff_ms = FIRST_BACKOFF_MS;
    for (bool was_away = true;; backoff_ms *= backoff_ms < LAST_BACKOFF_MS ? 2 : 1) {
        dp_error cause = DP_ERROR_INIT;
        dp_cdc_run_summary nothing = {.has_offset = false};
        dp_status status =
            dp_live_source_open(invocation, &listener, &resources->live, &resources->source, &cause);
        bool may_wait = status == DP_STATUS_REMOTE && dp_clock_monotonic_us() < until_us;
        bool is_away = may_wait && dp_postgres_is_away(dsn, &cause);
        if (status == DP_STATUS_OK) return status;
        if (!may_wait || !(is_away || was_away)) {
            *error = cause;
            return status;
        }
        was_away = is_away;
        run->report(run->report_context, &nothing, &cause);
        if (!sleep_unless_stopped(backoff_ms, stop))
            return dp_error_set(error, DP_STATUS_CANCELLED, "stopped while the source was away");
    }
}

/* The source of a live stream is "<system identifier>/<database>", whatever the address. */
static dp_status open_live(const dp_invocation *invocation, run_resources *resources, dp_cdc_run_options *run,
                           dp_error *error)
{
    dp_status status = await_live(invocation, resources, run, error);
    if (status != DP_STATUS_OK) return status;
    run->plugin = &resources->live.plugin;
    if (!dp_invocation_given(invocation, "source-id")) {
        dp_buffer_clear(&resources->source_name);
        dp_buffer_append_text(&resources->source_name, resources->live.source);
    }
    dp_buffer stored = DP_BUFFER_INIT(64u << 20);
    dp_live_keys keys = {.keys = resources->keys, .settings = &resources->live.settings};
    if (resources->sink.load_keys != NULL) {
        status = resources->sink.load_keys(resources->sink.self, dp_buffer_slice(&resources->source_name),
                                           &stored, error);
    }
    keys.stored = dp_buffer_slice(&stored);
    if (status == DP_STATUS_OK) status = dp_live_source_keys(invocation, &keys, error);
    resources->has_only_more_keys = keys.has_only_more;
    dp_buffer_release(&stored);
    return status;
}

static dp_status open_source(const dp_invocation *invocation, run_resources *resources,
                             dp_cdc_run_options *run, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, "source");
    if (dp_live_source_is(text)) return open_live(invocation, resources, run, error);
    if (strstr(text, "://") != NULL && strncmp(text, "file:", 5) != 0) {
        return dp_error_set(
            error, DP_STATUS_USAGE,
            "--source: no such kind of source; expected postgresql://USER@HOST:PORT/DATABASE, "
            "file:PATH, or - for standard input");
    }
    if (dp_stream_asks_for_keys(invocation)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--unique-key auto asks a live source; '%s' is a file",
                            text);
    }
    dp_file_source_options file = {
        .source = text,
        .capture = dp_stream_capture(invocation),
        .until_end = dp_invocation_switch(invocation, "until-end"),
    };
    return dp_file_source_open(&file, &resources->source, &run->plugin, error);
}

static dp_status open_sink(const dp_invocation *invocation, dp_buffer *token, dp_batch_sink *sink,
                           dp_error *error)
{
    dp_status status = dp_token_of_option(invocation, "token-file", token, error);
    if (status != DP_STATUS_OK) return status;
    dp_http_sink_options http = {
        .server_url = dp_invocation_text(invocation, "server"),
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .token = token->length > 0 ? token->data : NULL,
        .ca_file = dp_invocation_text(invocation, "ca-file"),
    };
    status = dp_http_sink_open(&http, sink, error);
    const char *state = dp_invocation_text(invocation, "state");
    if (status != DP_STATUS_OK || state == NULL) return status;
    return dp_own_offsets_use(state, http.pipeline, sink, error);
}

static dp_status open_resources(const dp_invocation *invocation, run_resources *resources,
                                dp_cdc_run_options *run, dp_error *error)
{
    uint64_t stall_seconds = 0, wait_seconds = 0;
    dp_status status = read_numbers(invocation, run, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "stall-seconds", 0, 86400, &stall_seconds, error);
    if (status == DP_STATUS_OK)
        status = dp_invocation_u64(invocation, "source-wait-seconds", 0, 86400, &wait_seconds, error);
    resources->stall_seconds = (unsigned)stall_seconds;
    resources->source_wait_seconds = (unsigned)wait_seconds;
    if (status == DP_STATUS_OK) status = dp_stream_unique_keys(invocation, &resources->keys, error);
    if (status == DP_STATUS_OK) status = name_source(invocation, &resources->source_name, error);
    if (status == DP_STATUS_OK) status = open_sink(invocation, &resources->token, &resources->sink, error);
    if (status == DP_STATUS_OK) status = open_source(invocation, resources, run, error);
    return status;
}

static void close_resources(run_resources *resources)
{
    dp_run_endpoint_stop(resources->endpoint);
    dp_run_monitor_stop(resources->monitor);
    if (resources->source.close != NULL) resources->source.close(resources->source.self);
    if (resources->sink.close != NULL) resources->sink.close(resources->sink.self);
    dp_unique_keys_free(resources->keys);
    dp_buffer_release(&resources->source_name);
    dp_buffer_release(&resources->token);
    dp_buffer_release(&resources->live.settings);
}

/* After a promotion: when the stored offset and all that the journal holds lie before the point where the new
 * timeline began, nothing was delivered that never happened, and nothing is left out. */
static bool is_timeline_acceptable(const dp_invocation *invocation, const run_resources *resources,
                                   const dp_batch_source *stream)
{
    dp_offset offset;
    dp_lsn position = {0};
    bool found = false;
    dp_stream_progress progress;
    dp_error ignored = DP_ERROR_INIT; /* what cannot be asked stays a blocker */
    const dp_batch_sink *sink = &resources->sink;
    if (sink->load_progress == NULL ||
        sink->load_progress(sink->self, stream->source, &progress, &ignored) != DP_STATUS_OK)
        return false;
    if (progress.timeline.number == 0 || progress.timeline.number == resources->live.timeline.number)
        return false;
    dp_status status = sink->load_offset(sink->self, DP_BACKEND_POSTGRES_LOGICAL, &offset, &found, &ignored);
    if (status != DP_STATUS_OK || !found || !dp_offset_lsn(&offset, &position)) return false;
    if (progress.has_high_watermark && progress.high_watermark.value > position.value)
        position = progress.high_watermark;
    return dp_postgres_is_common_history(dp_invocation_text(invocation, "source"), &progress.timeline,
                                         resources->live.timeline.number, position);
}

/* The journal keeps what a live stream reads from, and stops a stream that suddenly reads something else. */
static dp_status announce(const dp_invocation *invocation, const run_resources *resources,
                          const dp_batch_source *stream, dp_error *error)
{
    if (resources->live.settings.length == 0 || resources->sink.announce == NULL) return DP_STATUS_OK;
    dp_announcement announcement = {
        .stream = stream,
        .settings = dp_buffer_slice(&resources->live.settings),
        .accepts_change = dp_invocation_switch(invocation, "accept-source-change"),
        .accepts_more_keys = resources->has_only_more_keys,
        .accepts_timeline = is_timeline_acceptable(invocation, resources, stream),
    };
    return resources->sink.announce(resources->sink.self, &announcement, error);
}

/* Writes the value of a member that the settings have: what stands before these are digits and names. */
static bool put_member(dp_buffer *settings, const char *member, const char *value)
{
    dp_buffer changed = DP_BUFFER_INIT(settings->max_bytes);
    const char *at = memmem(settings->data, settings->length, member, strlen(member));
    if (at == NULL) return false;
    size_t before = (size_t)(at - settings->data) + strlen(member);
    size_t after = before;
    while (after < settings->length && settings->data[after] != ',' && settings->data[after] != '}') {
        after++;
    }
    dp_buffer_append(&changed, settings->data, before);
    dp_buffer_append_text(&changed, value);
    dp_buffer_append(&changed, settings->data + after, settings->length - after);
    if (changed.failed) {
        dp_buffer_release(&changed);
        return false;
    }
    dp_buffer_release(settings);
    *settings = changed;
    return true;
}

static dp_status put_timeline(dp_buffer *settings, const dp_timeline *timeline, dp_error *error)
{
    char number[16];
    char begin[DP_LSN_TEXT_BYTES];
    char quoted[DP_LSN_TEXT_BYTES + 2] = "null";
    dp_lsn_format(timeline->begin, begin);
    snprintf(number, sizeof number, "%u", timeline->number);
    if (timeline->has_begin) snprintf(quoted, sizeof quoted, "\"%s\"", begin);
    bool is_put =
        put_member(settings, "\"timeline\":", number) && put_member(settings, "\"timeline_begin\":", quoted);
    return is_put ? DP_STATUS_OK : dp_error_no_memory(error, "the source's settings");
}

/* What the journal holds may lie behind the offset that the source knows, and must be common history, too. */
static dp_status compare_with_journal(const run_resources *resources, const dp_timeline *timeline,
                                      bool *is_common, dp_error *error)
{
    const dp_batch_sink *sink = &resources->sink;
    dp_stream_progress progress = {.has_receipt = false};
    dp_status status = sink->load_progress == NULL
                           ? DP_STATUS_OK
                           : sink->load_progress(sink->self, resources->stream->source, &progress, error);
    if (status != DP_STATUS_OK) return status;
    *is_common =
        !progress.has_high_watermark ||
        dp_postgres_is_common_history(dp_invocation_text(resources->invocation, "source"),
                                      &resources->live.timeline, timeline->number, progress.high_watermark);
    return DP_STATUS_OK;
}

/* A promotion while the pipeline runs. The journal learns the timeline before anything of it is delivered: a
 * later start would compare with one that lacks what was delivered since. */
static dp_status on_timeline(void *context, const dp_timeline *timeline, bool is_uninterrupted,
                             dp_error *error)
{
    run_resources *resources = context;
    const dp_batch_sink *sink = &resources->sink;
    bool is_common = is_uninterrupted;
    if (resources->stream == NULL || sink->announce == NULL) return DP_STATUS_OK;
    dp_status status =
        is_uninterrupted ? DP_STATUS_OK : compare_with_journal(resources, timeline, &is_common, error);
    if (status == DP_STATUS_OK) status = put_timeline(&resources->live.settings, timeline, error);
    if (status != DP_STATUS_OK) return status;
    dp_announcement announcement = {.stream = resources->stream,
                                    .settings = dp_buffer_slice(&resources->live.settings),
                                    .accepts_timeline = is_common};
    status = sink->announce(sink->self, &announcement, error);
    if (status == DP_STATUS_OK) resources->live.timeline = *timeline;
    return status;
}

/* On a thread of the monitor's: one write a line. */
static void say(void *context, const char *text)
{
    const progress_line *line = context;
    fprintf(stderr, "%sdpone: %s\n", line->is_terminal ? "\n" : "", text);
}

static dp_status start_endpoint(const dp_invocation *invocation, run_resources *resources, dp_error *error)
{
    dp_run_endpoint_options endpoint = {
        .address = dp_invocation_text(invocation, "metrics-listen"),
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .monitor = resources->monitor,
    };
    if (dp_live_source_is(dp_invocation_text(invocation, "source")))
        endpoint.slot = dp_invocation_text(invocation, "slot");
    if (endpoint.address == NULL) return DP_STATUS_OK;
    dp_status status = dp_run_endpoint_start(&endpoint, &resources->endpoint, error);
    if (status != DP_STATUS_OK) return status;
    const char *host = dp_run_endpoint_host(resources->endpoint);
    bool is_v6 = strchr(host, ':') != NULL;
    fprintf(stderr, "dpone: metrics on http://%s%s%s:%u/metrics\n", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
            dp_run_endpoint_port(resources->endpoint));
    return DP_STATUS_OK;
}

static dp_status start_monitor(dp_invocation *invocation, run_resources *resources, progress_line *line,
                               dp_cdc_run_options *run, dp_error *error)
{
    dp_run_monitor_options monitor = {
        .stall_seconds = resources->stall_seconds, .say = say, .say_context = line};
    bool is_watched = monitor.stall_seconds > 0 || dp_invocation_text(invocation, "metrics-listen") != NULL;
    if (!is_watched) return DP_STATUS_OK;
    if (dp_live_source_is(dp_invocation_text(invocation, "source"))) {
        monitor.look = dp_live_look;
        monitor.look_context = invocation;
    }
    dp_status status = dp_run_monitor_start(&monitor, &resources->monitor, error);
    if (status != DP_STATUS_OK) return status;
    run->publish = dp_run_monitor_publish;
    run->publish_context = resources->monitor;
    return start_endpoint(invocation, resources, error);
}

static dp_status run_command(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    run_resources resources = {.source_name = DP_BUFFER_INIT(1024), .token = DP_BUFFER_INIT(8192)};
    progress_line line = {.is_terminal = isatty(STDERR_FILENO) == 1};
    dp_cdc_run_options run = {.report = show_progress, .report_context = &line};
    dp_status status = dp_check_pipeline(invocation, error);
    if (status == DP_STATUS_OK) status = open_resources(invocation, &resources, &run, error);
    if (status == DP_STATUS_OK) {
        run.keys = resources.keys;
        run.stream = (dp_batch_source){
            .pipeline = dp_slice_of_text(dp_invocation_text(invocation, "pipeline")),
            .backend = DP_BACKEND_POSTGRES_LOGICAL,
            .source = dp_buffer_slice(&resources.source_name),
            .identity = dp_stream_identity(invocation),
        };
        run.on_poison = strcmp(dp_invocation_text(invocation, "on-poison"), "stop") == 0
                            ? DP_ON_POISON_STOP
                            : DP_ON_POISON_QUARANTINE;
        run.trust_nulls = dp_invocation_switch(invocation, "trust-nulls");
        run.from_start = dp_invocation_switch(invocation, "from-start");
        run.stop = dp_stop_on_signals();
        dp_cdc_run_summary summary = {.has_offset = false};
        resources.invocation = invocation;
        resources.stream = &run.stream;
        status = announce(invocation, &resources, &run.stream, error);
        if (status == DP_STATUS_OK) status = start_monitor(invocation, &resources, &line, &run, error);
        bool has_begun = status == DP_STATUS_OK;
        if (has_begun) status = dp_cdc_run(&run, &resources.source, &resources.sink, &summary, error);
        if (line.is_shown) fputc('\n', stderr);
        dp_stream_warn_of_nulls(summary.doubtful_null_count);
        dp_error print_error = DP_ERROR_INIT;
        dp_status printed = DP_STATUS_OK;
        if (has_begun && status != DP_STATUS_USAGE) printed = print_summary(&summary, &print_error);
        if (status == DP_STATUS_OK && printed != DP_STATUS_OK) {
            status = printed;
            *error = print_error;
        }
        bool is_strict = dp_invocation_switch(invocation, "strict");
        if (status == DP_STATUS_OK && summary.poison_count + summary.known_poison_count > 0 && is_strict)
            *exit_code = dp_status_exit_code(DP_STATUS_POISON);
    }
    close_resources(&resources);
    return status;
}

const dp_command dp_command_cdc_run = {
    .path = "cdc run",
    .summary = "carry changes from a source into the server's journal and move the offset behind them",
    .arguments = "",
    .description = "Reads changes, gives each its id, sends them in batches, asks the commit gate about "
                   "every receipt and saves the offset.\n\n"
                   "Goes on after the stored offset when it is run again. A server that is down is waited "
                   "for, for as long as it takes; the "
                   "offset never moves ahead of what the journal holds. Ends in order on SIGTERM and SIGINT. "
                   "Prints one JSON line with what it "
                   "did.",
    .examples =
        "  dpone cdc run --pipeline orders --source file:capture.csv --until-end\n"
        "  dpone cdc run --pipeline orders --source postgresql://dpone@db.example/shop --slot orders \\\n"
        "      --publication orders --unique-key auto\n"
        "      follow a replication slot until told to stop\n"
        "  psql --csv -c \"SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes(...)\" shop |\n"
        "      dpone cdc run --pipeline orders --source - --server http://127.0.0.1:8000\n",
    .options = options,
    .exit_codes = "0 done, 1 the journal or the commit gate refused, 2 usage, 3 I/O or remote failure, 4 "
                  "malformed input or poison",
    .run = run_command,
};
