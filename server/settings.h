/* The server's settings: listed once, with bounds, names and defaults; resolved from flag, environment,
 * .env and default, in that order; each value remembers where it came from.
 *
 * Pure: the sources are functions the caller gives. The bare names of the specification (MAX_CONCURRENCY)
 * rank below the SERVER_ ones within the same source.
 */
#ifndef DPONE_SERVER_SETTINGS_H
#define DPONE_SERVER_SETTINGS_H

#include "base/error.h"
#include "base/slice.h"

typedef enum dp_setting_kind {
    DP_SETTING_NUMBER,
    DP_SETTING_BOOL,
    DP_SETTING_TEXT,
    DP_SETTING_ORIGINS, /* of browsers, separated by commas; or "*" */
    DP_SETTING_CHOICE
} dp_setting_kind;

/* X(ID, flag, environment, bare name or NULL, default or NULL, kind, minimum, maximum, choices or NULL, live,
 * placeholder, help). "live": SIGHUP applies a change. */
#define DP_SETTING_LIST(X)                                                                                   \
    X(HOST, "host", "SERVER_HOST", NULL, "0.0.0.0", TEXT, 0, 0, NULL, false, "ADDRESS",                      \
      "address to listen on")                                                                                \
    X(PORT, "port", "SERVER_PORT", NULL, "8000", NUMBER, 0, 65535, NULL, false, "PORT",                      \
      "port to listen on; 0 takes a free one and reports it")                                                \
    X(WORKERS, "workers", "SERVER_WORKERS", NULL, "1", NUMBER, 1, 64, NULL, false, "COUNT",                  \
      "event threads, 1-64; they share counts and cache")                                                    \
    X(MAX_CONCURRENCY, "max-concurrency", "SERVER_MAX_CONCURRENCY", "MAX_CONCURRENCY", "50", NUMBER, 1,      \
      1000, NULL, true, "COUNT", "requests to /msg at work at once, 1-1000; others wait in order")           \
    X(MAX_QUEUE, "max-queue", "SERVER_MAX_QUEUE", NULL, "10000", NUMBER, 0, 1000000, NULL, true, "COUNT",    \
      "requests that may wait before newcomers get 503")                                                     \
    X(REQUEST_TIMEOUT, "request-timeout", "SERVER_REQUEST_TIMEOUT", "REQUEST_TIMEOUT", "30", NUMBER, 1, 300, \
      NULL, true, "SECONDS", "waiting and work of one request to /msg, 1-300 s; then 408")                   \
    X(CACHE_MAX_SIZE, "cache-max-size", "SERVER_CACHE_MAX_SIZE", "CACHE_MAX_SIZE", "1000", NUMBER, 1,        \
      100000, NULL, true, "COUNT", "entries of the idempotency cache, 1-100000")                             \
    X(CACHE_TTL_SECONDS, "cache-ttl-seconds", "SERVER_CACHE_TTL_SECONDS", "CACHE_TTL_SECONDS", "300",        \
      NUMBER, 1, 86400, NULL, true, "SECONDS", "age at which an entry is dropped, 1-86400 s")                \
    X(LOG_LEVEL, "log-level", "SERVER_LOG_LEVEL", NULL, "INFO", CHOICE, 0, 0, "DEBUG|INFO|WARNING|ERROR",    \
      true, "LEVEL", "least important level that is logged")                                                 \
    X(LOG_FORMAT, "log-format", "SERVER_LOG_FORMAT", NULL, "json", CHOICE, 0, 0, "json|console", true,       \
      "FORMAT", "json for machines, console for people")                                                     \
    X(ENABLE_DOCS, "enable-docs", "SERVER_ENABLE_DOCS", NULL, "true", BOOL, 0, 0, NULL, true, "BOOL",        \
      "serve /docs and /openapi.json")                                                                       \
    X(CORS_ENABLED, "cors-enabled", "SERVER_CORS_ENABLED", NULL, "false", BOOL, 0, 0, NULL, true, "BOOL",    \
      "answer cross-origin requests of browsers")                                                            \
    X(CORS_ORIGINS, "cors-origins", "SERVER_CORS_ORIGINS", NULL, NULL, ORIGINS, 0, 0, NULL, true, "LIST",    \
      "allowed origins, separated by commas; none or * allows any")                                          \
    X(MAX_CONNECTIONS, "max-connections", "SERVER_MAX_CONNECTIONS", NULL, "16384", NUMBER, 16, 1000000,      \
      NULL, false, "COUNT", "connections kept open; the limit of open files may lower it")                   \
    X(MAX_WAITING_READERS, "max-waiting-readers", "SERVER_MAX_WAITING_READERS", NULL, "1000", NUMBER, 0,     \
      100000, NULL, true, "COUNT", "requests for events that may wait for some; more get 503")               \
    X(MAX_HEADER_BYTES, "max-header-bytes", "SERVER_MAX_HEADER_BYTES", NULL, "32768", NUMBER, 8192, 32768,   \
      NULL, false, "BYTES", "largest header block of a request, 8-32 KiB; more is 431")                      \
    X(HEADER_TIMEOUT, "header-timeout", "SERVER_HEADER_TIMEOUT", NULL, "60", NUMBER, 1, 3600, NULL, true,    \
      "SECONDS", "from the start of a connection, or the last answer on it, to the next complete header")    \
    X(BODY_TIMEOUT, "body-timeout", "SERVER_BODY_TIMEOUT", NULL, "60", NUMBER, 1, 3600, NULL, true,          \
      "SECONDS", "from the complete header to the complete body")                                            \
    X(SHUTDOWN_TIMEOUT, "shutdown-timeout", "SERVER_SHUTDOWN_TIMEOUT", NULL, "30", NUMBER, 0, 3600, NULL,    \
      true, "SECONDS", "how long running requests may take to finish after SIGTERM")                         \
    X(AUTH_TOKEN_FILE, "token-file", "SERVER_AUTH_TOKEN_FILE", NULL, NULL, TEXT, 0, 0, NULL, false, "FILE",  \
      "file with the bearer token that /v1 asks for; without one /v1 answers only this machine")             \
    X(TLS_CERT, "tls-cert", "SERVER_TLS_CERT", NULL, NULL, TEXT, 0, 0, NULL, false, "FILE",                  \
      "certificate chain (PEM); with --tls-key the server speaks HTTPS")                                     \
    X(TLS_KEY, "tls-key", "SERVER_TLS_KEY", NULL, NULL, TEXT, 0, 0, NULL, false, "FILE",                     \
      "private key (PEM) of the certificate")                                                                \
    X(STATE, "state", "DPONE_STATE", NULL, "sqlite:dpone.db", TEXT, 0, 0, NULL, false, "DSN",                \
      "journal and offsets: sqlite:PATH, postgresql://..., or none for the test endpoints alone")            \
    X(MAX_BATCH_BYTES, "max-batch-bytes", "SERVER_MAX_BATCH_BYTES", NULL, "16777216", NUMBER, 1024,          \
      1073741824, NULL, false, "BYTES", "largest batch; more is 413")                                        \
    X(MAX_EVENT_BYTES, "max-event-bytes", "SERVER_MAX_EVENT_BYTES", NULL, "8388608", NUMBER, 1024,           \
      1073741824, NULL, false, "BYTES", "largest single event of a batch")                                   \
    X(STATE_WRITERS, "state-writers", "SERVER_STATE_WRITERS", NULL, "4", NUMBER, 1, 16, NULL, false,         \
      "COUNT", "connections to a PostgreSQL state for writing, 1-16; SQLite has one")                        \
    X(STATE_READERS, "state-readers", "SERVER_STATE_READERS", NULL, "4", NUMBER, 1, 16, NULL, false,         \
      "COUNT", "connections to the state for reading, 1-16")

typedef enum dp_setting {
#define DP_SETTING_ENUM(id, flag, environment, bare, fallback, kind, minimum, maximum, choices, live,        \
                        placeholder, help)                                                                   \
    DP_SETTING_##id,
    DP_SETTING_LIST(DP_SETTING_ENUM)
#undef DP_SETTING_ENUM
        DP_SETTING_COUNT
} dp_setting;

typedef enum dp_setting_origin {
    DP_SETTING_FROM_DEFAULT,
    DP_SETTING_FROM_DOTENV,
    DP_SETTING_FROM_ENVIRONMENT,
    DP_SETTING_FROM_FLAG
} dp_setting_origin;

typedef struct dp_setting_value {
    char *text;      /* owned; NULL when the setting has no value */
    uint64_t number; /* numbers, and booleans as 0 or 1 */
    dp_setting_origin origin;
    const char *name; /* the flag or variable that gave it; NULL for a default */
} dp_setting_value;

typedef struct dp_settings {
    dp_setting_value values[DP_SETTING_COUNT];
    char *unknown; /* owned; names in .env that look like settings and are none; NULL without any */
} dp_settings;

/* The value of a flag or variable, or NULL. */
typedef const char *(*dp_setting_lookup)(void *context, const char *name);

typedef struct dp_setting_sources {
    void *context;
    dp_setting_lookup flag; /* by flag name, without dashes */
    dp_setting_lookup environment;
    dp_setting_lookup dotenv;
} dp_setting_sources;

/* Resolves and checks every setting. USAGE names the flag or variable, the value and what is allowed. */
dp_status dp_settings_resolve(const dp_setting_sources *sources, dp_settings *settings, dp_error *error);

void dp_settings_release(dp_settings *settings);

static inline uint64_t dp_settings_number(const dp_settings *settings, dp_setting setting)
{
    return settings->values[setting].number;
}

static inline const char *dp_settings_text(const dp_settings *settings, dp_setting setting)
{
    return settings->values[setting].text;
}

const char *dp_setting_environment(dp_setting setting);

/* Whether the name is `SERVER_...` and no setting: most likely one that is misspelt. */
bool dp_setting_is_misspelt(const char *name);
bool dp_setting_is_live(dp_setting setting);

/* "flag", "environment", ".env", "default". */
const char *dp_setting_origin_text(dp_setting_origin origin);

#endif
