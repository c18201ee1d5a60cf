/* Structured logs: one line an entry, JSON for machines or coloured text for people.
 *
 * Writing an entry never waits for the reader of the log: lines go into a bounded ring that a thread of its
 * own writes out; when the ring is full, lines are dropped and counted, and the count is logged when there is
 * room again. Every text is escaped, so that no input can forge a line or steer a terminal; bytes that are
 * not UTF-8 are shown as \xNN. Safe from any thread.
 */
#ifndef DPONE_BASE_LOG_H
#define DPONE_BASE_LOG_H

#include "base/error.h"
#include "base/slice.h"

/* X(name, label in JSON, colour) */
#define DP_LOG_LEVEL_LIST(X)                                                                                 \
    X(DEBUG, "debug", "36")                                                                                  \
    X(INFO, "info", "32")                                                                                    \
    X(WARNING, "warning", "33")                                                                              \
    X(ERROR, "error", "31")

typedef enum dp_log_level {
#define DP_LOG_LEVEL_ENUM(name, label, colour) DP_LOG_##name,
    DP_LOG_LEVEL_LIST(DP_LOG_LEVEL_ENUM)
#undef DP_LOG_LEVEL_ENUM
} dp_log_level;

typedef enum dp_log_format { DP_LOG_FORMAT_JSON, DP_LOG_FORMAT_CONSOLE } dp_log_format;

typedef enum dp_log_kind {
    DP_LOG_KIND_TEXT,
    DP_LOG_KIND_INTEGER,
    DP_LOG_KIND_REAL,
    DP_LOG_KIND_BOOL
} dp_log_kind;

typedef struct dp_log_field {
    const char *name;
    dp_log_kind kind;
    dp_slice text;
    int64_t integer;
    double real;
} dp_log_field;

static inline dp_log_field dp_log_slice(const char *name, dp_slice text)
{
    return (dp_log_field){.name = name, .kind = DP_LOG_KIND_TEXT, .text = text};
}

static inline dp_log_field dp_log_text(const char *name, const char *text)
{
    return dp_log_slice(name, dp_slice_of_text(text));
}

static inline dp_log_field dp_log_integer(const char *name, int64_t value)
{
    return (dp_log_field){.name = name, .kind = DP_LOG_KIND_INTEGER, .integer = value};
}

/* Shown with three decimals. */
static inline dp_log_field dp_log_real(const char *name, double value)
{
    return (dp_log_field){.name = name, .kind = DP_LOG_KIND_REAL, .real = value};
}

static inline dp_log_field dp_log_bool(const char *name, bool value)
{
    return (dp_log_field){.name = name, .kind = DP_LOG_KIND_BOOL, .integer = value};
}

typedef struct dp_log dp_log;

typedef struct dp_log_options {
    int file;           /* written to, never closed */
    dp_log_level level; /* entries below it cost one comparison */
    dp_log_format format;
    bool colour;       /* console only */
    size_t ring_bytes; /* what may wait for the writer; 0 means 1 MiB */
} dp_log_options;

/* Starts the writer thread. */
dp_status dp_log_new(const dp_log_options *options, dp_log **log, dp_error *error);

/* Waits up to two seconds for what is in the ring to be written, then gives up. Null is allowed. */
void dp_log_free(dp_log *log);

/* For a process that is about to end while other threads may still log: writes out what there is, as
 * dp_log_free, and leaves the log usable; what is logged from now on is not written. */
void dp_log_end(dp_log *log);

/* Level and format may change at any time. */
void dp_log_configure(dp_log *log, dp_log_level level, dp_log_format format);

/* A null log is never enabled, and writing to it does nothing. */
bool dp_log_enabled(const dp_log *log, dp_log_level level);

/* One entry; `logger` names the part of the program. An entry is cut at 8 KiB. */
void dp_log_write(dp_log *log, dp_log_level level, const char *logger, const char *message,
                  const dp_log_field *fields, size_t field_count);

/* dp_log_entry(log, DP_LOG_INFO, "server.startup", "started", dp_log_integer("port", 8000)); at least one
 * field. The fields are evaluated only when the level is enabled. */
#define dp_log_entry(log, level, logger, message, ...)                                                       \
    do {                                                                                                     \
        if (dp_log_enabled(log, level)) {                                                                    \
            const dp_log_field dp_log_fields[] = {__VA_ARGS__};                                              \
            dp_log_write(log, level, logger, message, dp_log_fields,                                         \
                         sizeof dp_log_fields / sizeof dp_log_fields[0]);                                    \
        }                                                                                                    \
    } while (0)

uint64_t dp_log_dropped_count(const dp_log *log);

/* "DEBUG", "info", ...: any case; "json", "console". */
bool dp_log_level_parse(dp_slice text, dp_log_level *level);
bool dp_log_format_parse(dp_slice text, dp_log_format *format);

/* Renders an entry with its newline into `out`; returns its length, at most capacity. For tests, too. */
size_t dp_log_render(dp_log_format format, bool colour, int64_t wall_us, dp_log_level level,
                     const char *logger, const char *message, const dp_log_field *fields, size_t field_count,
                     char *out, size_t capacity);

#endif
