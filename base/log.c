#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

enum {
    MAX_ENTRY_BYTES = 8192,
    DEFAULT_RING_BYTES = 1 << 20,
    /* A pipe that poll calls writable takes this much without blocking (pipe(7), PIPE_BUF). */
    WRITE_BYTES = 4096,
    FLUSH_MS = 2000
};

struct dp_log {
    int file;
    bool owns_file;
    bool is_socket;
    bool colour;
    _Atomic int level;
    _Atomic int format;
    _Atomic uint64_t dropped;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    char *ring;
    size_t capacity;
    size_t head; /* offset of the first byte that is not yet written */
    size_t used;
    uint64_t dropped_reported;
    bool stopping;
    int64_t give_up_us; /* when stopping */
};

static const struct {
    const char *label;
    const char *name;
    const char *colour;
} levels[] = {
#define DP_LOG_LEVEL_ROW(name, label, colour) {label, #name, colour},
    DP_LOG_LEVEL_LIST(DP_LOG_LEVEL_ROW)
#undef DP_LOG_LEVEL_ROW
};

/* A fixed piece of memory; what does not fit is left out, and room for the ending is kept. */
typedef struct line {
    char *out;
    size_t length;
    size_t capacity;
    bool full;
} line;

static void put(line *to, const char *data, size_t length)
{
    if (to->full || length > to->capacity - to->length) {
        to->full = true;
        return;
    }
    memcpy(to->out + to->length, data, length);
    to->length += length;
}

static void put_text(line *to, const char *text)
{
    put(to, text, strlen(text));
}

/* How many bytes the character at the front has, or 0 when it is not to be shown as it is: control
 * characters (C0, DEL, C1), line and paragraph separators, text direction controls, and bytes that are not
 * UTF-8. */
static size_t showable(dp_slice text)
{
    unsigned char first = (unsigned char)text.data[0];
    if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (length > text.length || !dp_utf8_valid(dp_slice_make(text.data, length), NULL)) return 0;
    unsigned char second = (unsigned char)text.data[1];
    if (first == 0xC2 && second < 0xA0) return 0;
    if (first == 0xE2 && (second == 0x80 || second == 0x81)) {
        unsigned char third = (unsigned char)text.data[2];
        bool hidden = (second == 0x80 && third >= 0xA8 && third <= 0xAE) || (second == 0x81 && third >= 0xA6);
        if (hidden) return 0;
    }
    return length;
}

/* Escapes for JSON; for the console the escapes are the same but a backslash stays single in front of xNN. */
static void put_escaped(line *to, dp_slice text, bool json)
{
    while (text.length > 0 && !to->full) {
        size_t length = showable(text);
        char escape[8];
        if (length == 0) {
            length = 1;
            snprintf(escape, sizeof escape, json ? "\\\\x%02x" : "\\x%02x", (unsigned char)text.data[0]);
            put_text(to, escape);
        } else if (text.data[0] == '"' || text.data[0] == '\\') {
            escape[0] = '\\';
            escape[1] = text.data[0];
            put(to, escape, 2);
        } else {
            put(to, text.data, length);
        }
        text = dp_slice_make(text.data + length, text.length - length);
    }
}

static void put_value(line *to, const dp_log_field *field, bool json)
{
    char number[40];
    switch (field->kind) {
    case DP_LOG_KIND_TEXT:
        put_text(to, "\"");
        put_escaped(to, field->text, json);
        put_text(to, "\"");
        return;
    case DP_LOG_KIND_INTEGER: snprintf(number, sizeof number, "%lld", (long long)field->integer); break;
    case DP_LOG_KIND_REAL: snprintf(number, sizeof number, "%.3f", field->real); break;
    case DP_LOG_KIND_BOOL: snprintf(number, sizeof number, "%s", field->integer ? "true" : "false"); break;
    }
    put_text(to, number);
}

/* Drops a field that does not fit as a whole, so that the line stays valid JSON. */
static void put_field(line *to, const dp_log_field *field, bool json)
{
    size_t before = to->length;
    put_text(to, json ? ",\"" : " ");
    put_text(to, field->name);
    put_text(to, json ? "\":" : "=");
    put_value(to, field, json);
    if (!to->full) return;
    to->length = before;
    to->full = false;
}

static void put_head_json(line *to, const char *time, dp_log_level level, const char *logger,
                          const char *message)
{
    put_text(to, "{\"timestamp\":\"");
    put_text(to, time);
    put_text(to, "\",\"level\":\"");
    put_text(to, levels[level].label);
    put_text(to, "\",\"logger\":\"");
    put_escaped(to, dp_slice_of_text(logger), true);
    put_text(to, "\",\"message\":\"");
    put_escaped(to, dp_slice_of_text(message), true);
    put_text(to, "\"");
}

static void put_head_console(line *to, const char *time, dp_log_level level, const char *logger,
                             const char *message, bool colour)
{
    char head[96];
    snprintf(head, sizeof head, colour ? "%s \033[%sm%-7s\033[0m " : "%s %.0s%-7s ", time,
             levels[level].colour, levels[level].name);
    put_text(to, head);
    put_text(to, logger);
    put_text(to, ": ");
    put_escaped(to, dp_slice_of_text(message), false);
}

size_t dp_log_render(dp_log_format format, bool colour, int64_t wall_us, dp_log_level level,
                     const char *logger, const char *message, const dp_log_field *fields, size_t field_count,
                     char *out, size_t capacity)
{
    line to = {.out = out, .capacity = capacity - 2};
    char time[DP_CLOCK_TEXT_BYTES];
    bool json = format == DP_LOG_FORMAT_JSON;
    dp_clock_format_utc(wall_us, time);
    if (json) {
        put_head_json(&to, time, level, logger, message);
    } else {
        put_head_console(&to, time, level, logger, message, colour);
    }
    for (size_t i = 0; i < field_count; i++) {
        put_field(&to, &fields[i], json);
    }
    if (json) to.out[to.length++] = '}';
    to.out[to.length++] = '\n';
    return to.length;
}

/* Copies into the ring; the lock is held and there is room. */
static void append(dp_log *log, const char *data, size_t length)
{
    size_t at = (log->head + log->used) % log->capacity;
    size_t first = length < log->capacity - at ? length : log->capacity - at;
    memcpy(log->ring + at, data, first);
    memcpy(log->ring, data + first, length - first);
    log->used += length;
}

static void append_or_drop(dp_log *log, const char *data, size_t length)
{
    if (length > log->capacity - log->used) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return;
    }
    append(log, data, length);
}

/* Tells how many lines were lost, once there is room to say so. */
static void report_dropped(dp_log *log)
{
    uint64_t dropped = atomic_load_explicit(&log->dropped, memory_order_relaxed);
    if (dropped == log->dropped_reported || log->used > log->capacity / 2) return;
    char text[512];
    dp_log_field field = dp_log_integer("dropped", (int64_t)(dropped - log->dropped_reported));
    size_t length = dp_log_render((dp_log_format)atomic_load(&log->format), log->colour, dp_clock_wall_us(),
                                  DP_LOG_WARNING, "log", "log lines were dropped: nobody read them in time",
                                  &field, 1, text, sizeof text);
    log->dropped_reported = dropped;
    append_or_drop(log, text, length);
}

/* Writes some of the front of the ring without blocking for long. */
static ssize_t write_some(const dp_log *log, const char *data, size_t length)
{
    struct pollfd ready = {.fd = log->file, .events = POLLOUT};
    int count = poll(&ready, 1, 100);
    if (count <= 0) return 0;
    ssize_t written = log->is_socket ? send(log->file, data, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                     : write(log->file, data, length);
    if (written >= 0) return written;
    /* A log that cannot be written to any more must not keep the program from going on. */
    return errno == EAGAIN || errno == EINTR ? 0 : (ssize_t)length;
}

static void *write_lines(void *context)
{
    dp_log *log = context;
    char chunk[WRITE_BYTES];
    pthread_mutex_lock(&log->lock);
    for (;;) {
        report_dropped(log);
        while (log->used == 0 && !log->stopping) {
            pthread_cond_wait(&log->wake, &log->lock);
        }
        if (log->stopping && (log->used == 0 || dp_clock_monotonic_us() > log->give_up_us)) break;
        size_t length = log->used < sizeof chunk ? log->used : sizeof chunk;
        if (length > log->capacity - log->head) length = log->capacity - log->head;
        memcpy(chunk, log->ring + log->head, length);
        pthread_mutex_unlock(&log->lock);
        ssize_t written = write_some(log, chunk, length);
        pthread_mutex_lock(&log->lock);
        log->head = (log->head + (size_t)written) % log->capacity;
        log->used -= (size_t)written;
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* A terminal that poll calls writable can still block a write of many bytes, and O_NONBLOCK on the file given
 * would change it for every program that shares it: terminals and pipes are opened a second time. */
static void open_file(dp_log *log, int file)
{
    struct stat kind;
    char path[64];
    log->file = file;
    if (fstat(file, &kind) != 0) return;
    log->is_socket = S_ISSOCK(kind.st_mode);
    if (!S_ISCHR(kind.st_mode) && !S_ISFIFO(kind.st_mode)) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0) return;
    log->file = own;
    log->owns_file = true;
}

static void release(dp_log *log)
{
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->wake);
    if (log->owns_file) close(log->file);
    free(log->ring);
    free(log);
}

dp_status dp_log_new(const dp_log_options *options, dp_log **out, dp_error *error)
{
    dp_log *log = calloc(1, sizeof *log);
    if (log == NULL) return dp_error_no_memory(error, "the log");
    log->colour = options->colour;
    log->capacity = options->ring_bytes == 0 ? DEFAULT_RING_BYTES : options->ring_bytes;
    log->ring = malloc(log->capacity);
    if (log->ring == NULL) {
        free(log);
        return dp_error_no_memory(error, "the log");
    }
    atomic_store(&log->level, (int)options->level);
    atomic_store(&log->format, (int)options->format);
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->wake, NULL);
    open_file(log, options->file);
    int fault = pthread_create(&log->thread, NULL, write_lines, log);
    if (fault != 0) {
        release(log);
        return dp_error_set(error, DP_STATUS_IO, "unable to start the log's thread: %s", strerror(fault));
    }
    *out = log;
    return DP_STATUS_OK;
}

void dp_log_end(dp_log *log)
{
    if (log == NULL) return;
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    log->give_up_us = dp_clock_monotonic_us() + FLUSH_MS * 1000;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
}

void dp_log_free(dp_log *log)
{
    if (log == NULL) return;
    dp_log_end(log);
    release(log);
}

void dp_log_configure(dp_log *log, dp_log_level level, dp_log_format format)
{
    atomic_store(&log->level, (int)level);
    atomic_store(&log->format, (int)format);
}

bool dp_log_enabled(const dp_log *log, dp_log_level level)
{
    return log != NULL && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void dp_log_write(dp_log *log, dp_log_level level, const char *logger, const char *message,
                  const dp_log_field *fields, size_t field_count)
{
    if (!dp_log_enabled(log, level)) return;
    char text[MAX_ENTRY_BYTES];
    dp_log_format format = (dp_log_format)atomic_load_explicit(&log->format, memory_order_relaxed);
    size_t length = dp_log_render(format, log->colour, dp_clock_wall_us(), level, logger, message, fields,
                                  field_count, text, sizeof text);
    pthread_mutex_lock(&log->lock);
    bool was_empty = log->used == 0;
    append_or_drop(log, text, length);
    if (was_empty) pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

uint64_t dp_log_dropped_count(const dp_log *log)
{
    return log == NULL ? 0 : atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

bool dp_log_level_parse(dp_slice text, dp_log_level *level)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (!dp_slice_equal_ignoring_case(text, dp_slice_of_text(levels[i].name))) continue;
        *level = (dp_log_level)i;
        return true;
    }
    return false;
}

bool dp_log_format_parse(dp_slice text, dp_log_format *format)
{
    bool json = dp_slice_equal_ignoring_case(text, DP_SLICE_LITERAL("json"));
    if (!json && !dp_slice_equal_ignoring_case(text, DP_SLICE_LITERAL("console"))) return false;
    *format = json ? DP_LOG_FORMAT_JSON : DP_LOG_FORMAT_CONSOLE;
    return true;
}
