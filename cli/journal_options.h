/* The options that say which journal a command works on, and how they are read. */
#ifndef DPONE_CLI_JOURNAL_OPTIONS_H
#define DPONE_CLI_JOURNAL_OPTIONS_H

#include "cli/common_options.h"
#include "services/journal_link.h"

/* Entries for an option table. */
#define DP_OPTION_PIPELINE                                                                                   \
    {                                                                                                        \
        .name = "pipeline", .argument = "NAME", .help = "the pipeline's name in the journal",                \
        .required = true                                                                                     \
    }
#define DP_OPTION_JOURNAL_SERVER                                                                             \
    {                                                                                                        \
        .name = "server", .argument = "URL", .help = "the dpone server whose journal is meant",              \
        .default_text = "http://127.0.0.1:8000", .environment = "DPONE_SERVER"                               \
    }
#define DP_OPTION_STATE                                                                                      \
    {                                                                                                        \
        .name = "state", .argument = "DSN",                                                                  \
        .help = "the journal in this state database instead: sqlite:PATH or postgresql://..."                \
    }
#define DP_OPTION_SOURCE_ID                                                                                  \
    {                                                                                                        \
        .name = "source-id", .argument = "TEXT",                                                             \
        .help = "which source, where the pipeline has more than one stream"                                  \
    }
#define DP_OPTION_BACKEND                                                                                    \
    {                                                                                                        \
        .name = "backend", .argument = "BACKEND",                                                            \
        .help = "which backend, where the pipeline has more than one stream",                                \
        .choices = "postgres_logical|mssql_cdc|mssql_change_tracking"                                        \
    }

/* --state, or --server with --token-file. Giving both --state and --server is USAGE. */
dp_status dp_journal_of_options(const dp_invocation *invocation, bool writes, dp_journal_link **link,
                                dp_error *error);

/* --pipeline, --source-id and --backend. */
dp_stream_choice dp_journal_stream_choice(const dp_invocation *invocation);

/* A token option of the backend; *target stays NULL when it is not given. */
dp_status dp_journal_offset(const dp_invocation *invocation, const char *option, dp_backend backend,
                            dp_offset *storage, const dp_offset **target, dp_error *error);

/* Who does this, for the audit: --who, else USER or LOGNAME, else the user's number. */
const char *dp_journal_who(const dp_invocation *invocation, char storage[64]);

/* Rewrites one line on standard error when it is a terminal, about five times a second. */
typedef struct dp_progress_line {
    bool is_terminal;
    bool is_shown;
    int64_t shown_at_us;
} dp_progress_line;

dp_progress_line dp_progress_line_of_stderr(void);
void dp_progress_line_show(dp_progress_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void dp_progress_line_end(dp_progress_line *line);

#endif
