#include "server/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/access.h"
#include "server/application.h"
#include "server/http.h"
#include "server/service_notify.h"
#include "server/tls_files.h"

enum { WATCH_INTERVAL_MS = 500, MIN_SILENCE_S = 120, HELD_GRACE_US = 5000000 };

typedef struct running {
    const dp_serve_options *options;
    dp_settings settings; /* in force; owned */
    dp_log *log;
    dp_application *application;
    dp_http_server *http;
    dp_journal_api *journal;
    char token[4097];
    dp_tls_files tls; /* empty without TLS */
    struct timespec dotenv_changed;
    int64_t dotenv_bytes;
} running;

static dp_log_level level_of(const dp_settings *settings)
{
    dp_log_level level = DP_LOG_INFO;
    dp_log_level_parse(dp_slice_of_text(dp_settings_text(settings, DP_SETTING_LOG_LEVEL)), &level);
    return level;
}

static dp_log_format format_of(const dp_settings *settings)
{
    dp_log_format format = DP_LOG_FORMAT_JSON;
    dp_log_format_parse(dp_slice_of_text(dp_settings_text(settings, DP_SETTING_LOG_FORMAT)), &format);
    return format;
}

/* Colour for people at a terminal, unless they asked for none (NO_COLOR) or it has none. */
static bool wants_colour(int file)
{
    const char *refusal = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    if (refusal != NULL && refusal[0] != '\0') return false;
    if (terminal != NULL && strcmp(terminal, "dumb") == 0) return false;
    return isatty(file) == 1;
}

static dp_status start_log(running *run, dp_error *error)
{
    const dp_log_options options = {.file = STDERR_FILENO,
                                    .level = level_of(&run->settings),
                                    .format = format_of(&run->settings),
                                    .colour = wants_colour(STDERR_FILENO)};
    return dp_log_new(&options, &run->log, error);
}

static void apply_timeouts(running *run)
{
    dp_http_server_set_timeouts(
        run->http, (int64_t)dp_settings_number(&run->settings, DP_SETTING_HEADER_TIMEOUT) * 1000000,
        (int64_t)dp_settings_number(&run->settings, DP_SETTING_BODY_TIMEOUT) * 1000000);
}

/* Longer than every phase that has a deadline of its own. */
static unsigned silence_timeout_s(const dp_settings *settings)
{
    uint64_t header_s = dp_settings_number(settings, DP_SETTING_HEADER_TIMEOUT);
    uint64_t body_s = dp_settings_number(settings, DP_SETTING_BODY_TIMEOUT);
    uint64_t longest_s = header_s > body_s ? header_s : body_s;
    return (unsigned)(longest_s + 60 > MIN_SILENCE_S ? longest_s + 60 : MIN_SILENCE_S);
}

static dp_status start_http(running *run, dp_error *error)
{
    const dp_settings *settings = &run->settings;
    const dp_http_options options = {
        .host = dp_settings_text(settings, DP_SETTING_HOST),
        .port = (uint16_t)dp_settings_number(settings, DP_SETTING_PORT),
        .thread_count = (unsigned)dp_settings_number(settings, DP_SETTING_WORKERS),
        .max_connections = (unsigned)dp_settings_number(settings, DP_SETTING_MAX_CONNECTIONS),
        .max_header_bytes = (size_t)dp_settings_number(settings, DP_SETTING_MAX_HEADER_BYTES),
        .silence_timeout_s = silence_timeout_s(settings),
        .request_user_bytes = dp_application_request_bytes(),
        .tls_certificate = run->tls.certificate.data,
        .tls_key = run->tls.key.data,
        .log = run->log,
    };
    dp_http_handlers handlers = dp_application_handlers(run->application);
    dp_status status = dp_http_server_start(&options, &handlers, &run->http, error);
    if (status != DP_STATUS_OK) return status;
    dp_application_attach(run->application, run->http);
    apply_timeouts(run);
    return DP_STATUS_OK;
}

/* Connections are to be the last thing that runs out: where requests at work may take them all, nobody can
 * ask for /health any more. */
static void warn_of_few_connections(const running *run)
{
    uint64_t connections = dp_settings_number(&run->settings, DP_SETTING_MAX_CONNECTIONS);
    uint64_t concurrency = dp_settings_number(&run->settings, DP_SETTING_MAX_CONCURRENCY);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < connections) connections = files.rlim_cur;
    if (connections > concurrency) return;
    dp_log_entry(run->log, DP_LOG_WARNING, "server.startup",
                 "requests at work may take every connection, and /health then waits",
                 dp_log_integer("connections", (int64_t)connections),
                 dp_log_integer("max_concurrency", (int64_t)concurrency));
}

/* The one line on standard output: programs that start the server wait for it and read the port from it. */
static void report_ready(const running *run)
{
    const dp_settings *settings = &run->settings;
    const char *host = dp_settings_text(settings, DP_SETTING_HOST);
    bool is_v6 = strchr(host, ':') != NULL;
    unsigned port = dp_http_server_port(run->http);
    const char *scheme = dp_settings_text(settings, DP_SETTING_TLS_CERT) == NULL ? "http" : "https";
    dp_log_entry(
        run->log, DP_LOG_INFO, "server.startup", "dpone server started", dp_log_text("host", host),
        dp_log_integer("port", port), dp_log_text("version", DPONE_VERSION),
        dp_log_integer("workers", (int64_t)dp_settings_number(settings, DP_SETTING_WORKERS)),
        dp_log_integer("max_concurrency", (int64_t)dp_settings_number(settings, DP_SETTING_MAX_CONCURRENCY)),
        dp_log_integer("request_timeout", (int64_t)dp_settings_number(settings, DP_SETTING_REQUEST_TIMEOUT)),
        dp_log_integer("cache_max_size", (int64_t)dp_settings_number(settings, DP_SETTING_CACHE_MAX_SIZE)),
        dp_log_integer("cache_ttl_seconds",
                       (int64_t)dp_settings_number(settings, DP_SETTING_CACHE_TTL_SECONDS)));
    warn_of_few_connections(run);
    printf("dpone: listening on %s://%s%s%s:%u\n", scheme, is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
    fflush(stdout);
    dp_service_notify("READY=1");
}

/* Names the settings that changed but need a restart. */
static void log_unapplied(const running *run, const dp_settings *fresh)
{
    for (dp_setting setting = 0; setting < DP_SETTING_COUNT; setting++) {
        const char *before = dp_settings_text(&run->settings, setting);
        const char *after = dp_settings_text(fresh, setting);
        bool same = before == NULL || after == NULL ? before == after : strcmp(before, after) == 0;
        if (same || dp_setting_is_live(setting)) continue;
        dp_log_entry(run->log, DP_LOG_WARNING, "server.settings", "a changed setting needs a restart",
                     dp_log_text("setting", dp_setting_environment(setting)));
    }
}

static void warn_of_misspelt(const running *run)
{
    if (run->settings.unknown == NULL) return;
    dp_log_entry(run->log, DP_LOG_WARNING, "server.settings", ".env has what is no setting",
                 dp_log_text("names", run->settings.unknown));
}

static void reload(running *run)
{
    dp_settings fresh;
    dp_error error = DP_ERROR_INIT;
    dp_service_notify("RELOADING=1");
    if (run->options->load(run->options->context, &fresh, &error) != DP_STATUS_OK) {
        dp_log_entry(run->log, DP_LOG_ERROR, "server.settings", "settings not reloaded; the old ones stay",
                     dp_log_text("error", error.message));
        dp_service_notify("READY=1");
        return;
    }
    log_unapplied(run, &fresh);
    dp_settings_release(&run->settings);
    run->settings = fresh;
    dp_log_configure(run->log, level_of(&run->settings), format_of(&run->settings));
    dp_application_configure(run->application, &run->settings);
    apply_timeouts(run);
    warn_of_misspelt(run);
    dp_log_entry(run->log, DP_LOG_INFO, "server.settings", "settings reloaded",
                 dp_log_integer("max_concurrency",
                                (int64_t)dp_settings_number(&run->settings, DP_SETTING_MAX_CONCURRENCY)));
    dp_service_notify("READY=1");
}

/* Whether .env is another than when last asked; a missing one counts as empty. */
static bool dotenv_changed(running *run)
{
    struct stat now = {0};
    if (stat(".env", &now) != 0) now = (struct stat){.st_size = -1};
    bool same = now.st_size == run->dotenv_bytes && now.st_mtim.tv_sec == run->dotenv_changed.tv_sec &&
                now.st_mtim.tv_nsec == run->dotenv_changed.tv_nsec;
    run->dotenv_bytes = now.st_size;
    run->dotenv_changed = now.st_mtim;
    return !same;
}

static void wait_for_end(running *run, const sigset_t *signals)
{
    const struct timespec interval = {.tv_nsec = WATCH_INTERVAL_MS * 1000000L};
    for (;;) {
        siginfo_t info;
        int signal = run->options->watches_dotenv ? sigtimedwait(signals, &info, &interval)
                                                  : sigwaitinfo(signals, &info);
        if (signal == SIGTERM || signal == SIGINT) {
            dp_log_entry(run->log, DP_LOG_INFO, "server.shutdown", "dpone server stopping",
                         dp_log_text("signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"));
            return;
        }
        if (signal == SIGHUP || (signal < 0 && errno == EAGAIN && dotenv_changed(run))) reload(run);
    }
}

/* A call to the state does not return, and nothing can take it back: its thread still uses everything. The
 * database ends what this process had begun as it does after a crash; whoever waits for a receipt has none.
 */
_Noreturn static void abandon(running *run)
{
    dp_log_entry(run->log, DP_LOG_WARNING, "server.shutdown",
                 "dpone server stopped without the end of a call to the state",
                 dp_log_bool("everything_finished", false));
    dp_log_end(run->log);
    _exit(0);
}

static void stop(running *run)
{
    dp_service_notify("STOPPING=1");
    dp_application_end_waiting(run->application);
    int64_t grace_us = (int64_t)dp_settings_number(&run->settings, DP_SETTING_SHUTDOWN_TIMEOUT) * 1000000;
    dp_http_stop outcome = dp_http_server_stop(run->http, grace_us, HELD_GRACE_US);
    bool finished = outcome == DP_HTTP_STOP_FINISHED;
    if (outcome == DP_HTTP_STOP_STUCK ||
        !dp_application_finish_work(run->application, dp_clock_monotonic_us() + HELD_GRACE_US))
        abandon(run);
    dp_log_entry(run->log, finished ? DP_LOG_INFO : DP_LOG_WARNING, "server.shutdown", "dpone server stopped",
                 dp_log_bool("everything_finished", finished));
}

static dp_status read_secrets(running *run, dp_error *error)
{
    const char *token_file = dp_settings_text(&run->settings, DP_SETTING_AUTH_TOKEN_FILE);
    const char *certificate = dp_settings_text(&run->settings, DP_SETTING_TLS_CERT);
    const char *key = dp_settings_text(&run->settings, DP_SETTING_TLS_KEY);
    dp_status status = DP_STATUS_OK;
    if ((certificate == NULL) != (key == NULL))
        return dp_error_set(error, DP_STATUS_USAGE, "--tls-cert and --tls-key are only valid together");
    if (token_file != NULL) status = dp_access_read_token(token_file, run->token, error);
    if (status == DP_STATUS_OK && certificate != NULL)
        status = dp_tls_files_read(certificate, key, &run->tls, error);
    return status;
}

static dp_status open_state(running *run, dp_error *error)
{
    const dp_settings *settings = &run->settings;
    const char *dsn = dp_settings_text(settings, DP_SETTING_STATE);
    if (strcmp(dsn, "none") == 0) return DP_STATUS_OK;
    const dp_journal_api_options options = {
        .state_dsn = dsn,
        .max_batch_bytes = (size_t)dp_settings_number(settings, DP_SETTING_MAX_BATCH_BYTES),
        .max_event_bytes = (size_t)dp_settings_number(settings, DP_SETTING_MAX_EVENT_BYTES),
        .writer_count = (unsigned)dp_settings_number(settings, DP_SETTING_STATE_WRITERS),
        .reader_count = (unsigned)dp_settings_number(settings, DP_SETTING_STATE_READERS),
        .migrate = true,
    };
    return dp_journal_api_open(&options, &run->journal, error);
}

static dp_status start(running *run, dp_error *error)
{
    dp_status status = read_secrets(run, error);
    if (status == DP_STATUS_OK) status = start_log(run, error);
    if (status == DP_STATUS_OK) warn_of_misspelt(run);
    if (status == DP_STATUS_OK) status = open_state(run, error);
    if (status != DP_STATUS_OK) return status;
    const dp_application_options options = {
        .settings = &run->settings, .log = run->log, .journal = run->journal, .token = run->token};
    status = dp_application_new(&options, &run->application, error);
    return status == DP_STATUS_OK ? start_http(run, error) : status;
}

dp_status dp_serve(const dp_serve_options *options, dp_error *error)
{
    running run = {.options = options};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    dotenv_changed(&run); /* before it is read, so that a change in between is noticed */
    dp_status status = options->load(options->context, &run.settings, error);
    if (status == DP_STATUS_OK) status = start(&run, error);
    if (status == DP_STATUS_OK) {
        report_ready(&run);
        wait_for_end(&run, &signals);
        stop(&run);
    }
    dp_http_server_free(run.http);
    dp_application_free(run.application);
    dp_journal_api_close(run.journal);
    dp_log_free(run.log);
    dp_settings_release(&run.settings);
    dp_tls_files_release(&run.tls);
    return status;
}
