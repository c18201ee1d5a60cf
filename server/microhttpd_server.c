/* The HTTP server of server/http.h on libmicrohttpd: start, stop and what there is one of. microhttpd_parts.h
 * lists the other parts. */
#include "server/http.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/listen_socket.h"
#include "server/microhttpd_connection.h"
#include "server/microhttpd_inbox.h"
#include "server/microhttpd_loop.h"
#include "server/microhttpd_refusal.h"

enum {
    /* What a connection's memory holds beside the header: the library's records, the answer's header, and so
     * much of a header above the limit that it is refused by us. Untouched memory costs nothing, because
     * nobody clears it (microhttpd_redirects.c). */
    MEMORY_BESIDE_HEADER_BYTES = 16 * 1024,
    DRAIN_US = 100000,
    /* Above this many connections a thread ends each after its answer: an idle one that has been used holds
     * all of its memory, one that has not holds next to nothing. */
    CROWDED_CONNECTIONS = 2048,
    RESERVED_FILES = 128
};

/* Releases after it have strictness levels of their own. */
#define LIBRARY_WITH_KNOWN_LAYOUT "0.9.75"

/* The path stays as it was sent; our own code decodes it. */
static size_t keep_encoded(void *context, struct MHD_Connection *mhd, char *text)
{
    (void)context;
    (void)mhd;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_library(void *context, const char *format,
                                                              va_list arguments)
{
    dp_http_loop *loop = context;
    char text[512];
    dp_http_note_refusal(loop, format, arguments);
    if (!dp_log_enabled(loop->server->log, DP_LOG_DEBUG)) return;
    vsnprintf(text, sizeof text, format, arguments);
    dp_slice trimmed = dp_slice_trim(dp_slice_of_text(text));
    dp_log_entry(loop->server->log, DP_LOG_DEBUG, "server.http", "libmicrohttpd",
                 dp_log_slice("text", trimmed));
}

static unsigned connection_limit(const dp_http_options *options)
{
    struct rlimit files;
    uint64_t limit = options->max_connections;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* each connection is a file */
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_max > 2 * RESERVED_FILES && limit > files.rlim_max - RESERVED_FILES)
            limit = files.rlim_max - RESERVED_FILES;
    }
    return (unsigned)(limit / options->thread_count);
}

/* GnuTLS's ordinary choice still has the two versions that RFC 8996 gave up. */
static const char tls_versions[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";

static bool start_daemon(dp_http_loop *loop, const dp_http_options *options, int listen_file)
{
    struct MHD_OptionItem tls[4] = {{MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (options->tls_certificate != NULL) {
        union {
            const char *text;
            void *for_mhd; /* MHD copies it */
        } certificate = {options->tls_certificate}, key = {options->tls_key}, versions = {tls_versions};
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, certificate.for_mhd};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key.for_mhd};
        tls[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions.for_mhd};
        tls[3] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    loop->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, dp_http_handle, loop, MHD_OPTION_EXTERNAL_LOGGER, log_library, loop,
        MHD_OPTION_LISTEN_SOCKET, listen_file, MHD_OPTION_CONNECTION_LIMIT, connection_limit(options),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, options->max_header_bytes + MEMORY_BESIDE_HEADER_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, options->silence_timeout_s, MHD_OPTION_STRICT_FOR_CLIENT, 0,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, dp_http_begin_request, loop, MHD_OPTION_NOTIFY_COMPLETED,
        dp_http_complete_request, NULL, MHD_OPTION_NOTIFY_CONNECTION, dp_http_notify_connection, loop,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    return loop->daemon != NULL;
}

static dp_status start_loop(dp_http_loop *loop, const dp_http_options *options, dp_error *error)
{
    dp_http_server *server = loop->server;
    int listen_file = fcntl(server->listen_file, F_DUPFD_CLOEXEC, 3);
    loop->wake_file = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->now_us = dp_clock_monotonic_us();
    if (listen_file < 0 || loop->wake_file < 0)
        return dp_error_set(error, DP_STATUS_IO, "unable to start an event thread: %s", strerror(errno));
    if (!start_daemon(loop, options, listen_file)) {
        close(listen_file);
        dp_error_set(error, DP_STATUS_IO, "unable to start libmicrohttpd");
        if (options->tls_certificate != NULL)
            dp_error_hint(error, "check that --tls-cert and --tls-key are PEM files that belong together");
        return DP_STATUS_IO;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) return dp_error_set(error, DP_STATUS_IO, "libmicrohttpd was built without epoll");
    loop->poll_file = info->epoll_fd;
    return DP_STATUS_OK;
}

static dp_status start_threads(dp_http_server *server, dp_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int fault = 0;
    for (unsigned i = 0; i < server->thread_count && fault == 0; i++) {
        fault = pthread_create(&server->loops[i].thread, NULL, dp_http_run_loop, &server->loops[i]);
        server->loops[i].thread_started = fault == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (fault == 0) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_IO, "unable to start an event thread: %s", strerror(fault));
}

dp_status dp_http_server_start(const dp_http_options *options, const dp_http_handlers *handlers,
                               dp_http_server **out, dp_error *error)
{
    dp_http_server *server = calloc(1, sizeof *server + options->thread_count * sizeof(dp_http_loop));
    if (server == NULL) return dp_error_no_memory(error, "the HTTP server");
    server->handlers = *handlers;
    server->log = options->log;
    server->user_bytes = options->request_user_bytes;
    server->max_header_bytes = options->max_header_bytes;
    server->crowded_connections = CROWDED_CONNECTIONS / options->thread_count;
    server->knows_layout = strcmp(MHD_get_version(), LIBRARY_WITH_KNOWN_LAYOUT) == 0;
    server->listen_file = -1;
    dp_http_server_set_timeouts(server, 60 * 1000000, 60 * 1000000);
    dp_status status =
        dp_listen_socket_open(options->host, options->port, &server->listen_file, &server->port, error);
    for (unsigned i = 0; status == DP_STATUS_OK && i < options->thread_count; i++) {
        server->loops[i].server = server;
        server->loops[i].wake_file = -1;
        server->loops[i].lingering =
            (dp_lingering){.timers = &server->loops[i].timers, .timer_kind = DP_HTTP_TIMER_LINGER};
        pthread_mutex_init(&server->loops[i].inbox_lock, NULL);
        server->thread_count = i + 1;
        status = start_loop(&server->loops[i], options, error);
    }
    if (status == DP_STATUS_OK) status = start_threads(server, error);
    if (status != DP_STATUS_OK) {
        dp_http_server_stop(server, 0, 0);
        dp_http_server_free(server);
        return status;
    }
    *out = server;
    return DP_STATUS_OK;
}

void dp_http_server_set_timeouts(dp_http_server *server, int64_t header_timeout_us, int64_t body_timeout_us)
{
    atomic_store(&server->header_timeout_us, header_timeout_us);
    atomic_store(&server->body_timeout_us, body_timeout_us);
}

uint16_t dp_http_server_port(const dp_http_server *server)
{
    return server->port;
}

unsigned dp_http_server_connection_count(const dp_http_server *server)
{
    return atomic_load_explicit(&server->connections, memory_order_relaxed);
}

static void stop_accepting(dp_http_server *server)
{
    atomic_store(&server->draining, true);
    for (unsigned i = 0; i < server->thread_count; i++) {
        dp_http_wake_loop(&server->loops[i]);
    }
    if (server->listen_file >= 0) close(server->listen_file);
    server->listen_file = -1;
}

/* Nothing is at work, and nothing has been for a moment: what clients had already sent is answered. */
static bool is_drained(const dp_http_server *server)
{
    if (atomic_load_explicit(&server->active, memory_order_acquire) > 0) return false;
    return dp_clock_monotonic_us() - atomic_load(&server->last_activity_us) > DRAIN_US;
}

static bool has_ended(const dp_http_server *server)
{
    for (unsigned i = 0; i < server->thread_count; i++) {
        const dp_http_loop *loop = &server->loops[i];
        if (loop->thread_started && !atomic_load_explicit(&loop->ended, memory_order_acquire)) return false;
    }
    return true;
}

static bool end_loops(dp_http_server *server, int64_t held_grace_us)
{
    int64_t give_up_us = dp_clock_monotonic_us() + held_grace_us;
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    for (unsigned i = 0; i < server->thread_count; i++) {
        dp_http_wake_loop(&server->loops[i]);
    }
    while (!has_ended(server)) {
        if (held_grace_us > 0 && dp_clock_monotonic_us() > give_up_us) return false;
        usleep(1000);
    }
    return true;
}

dp_http_stop dp_http_server_stop(dp_http_server *server, int64_t grace_us, int64_t held_grace_us)
{
    int64_t give_up_us = dp_clock_monotonic_us() + grace_us;
    atomic_store(&server->last_activity_us, dp_clock_monotonic_us());
    stop_accepting(server);
    while (grace_us > 0 && !is_drained(server) && dp_clock_monotonic_us() < give_up_us) {
        usleep(5000);
    }
    bool finished = atomic_load(&server->active) == 0;
    if (!end_loops(server, held_grace_us)) return DP_HTTP_STOP_STUCK;
    for (unsigned i = 0; i < server->thread_count; i++) {
        dp_http_loop *loop = &server->loops[i];
        if (loop->thread_started) pthread_join(loop->thread, NULL);
        if (loop->daemon != NULL) MHD_stop_daemon(loop->daemon);
        loop->daemon = NULL;
    }
    return finished ? DP_HTTP_STOP_FINISHED : DP_HTTP_STOP_CUT;
}

void dp_http_server_free(dp_http_server *server)
{
    if (server == NULL) return;
    for (unsigned i = 0; i < server->thread_count; i++) {
        dp_http_loop *loop = &server->loops[i];
        while (loop->free_requests != NULL) {
            dp_http_request *request = loop->free_requests;
            loop->free_requests = request->free_next;
            dp_kept_answer_release(&request->kept);
            free(request);
        }
        dp_lingering_end(&loop->lingering);
        dp_timer_heap_release(&loop->timers);
        if (loop->wake_file >= 0) close(loop->wake_file);
        pthread_mutex_destroy(&loop->inbox_lock);
    }
    free(server);
}
