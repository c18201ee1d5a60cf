/* Options, and what goes with them, that commands of every kind have in common. */
#ifndef DPONE_CLI_COMMON_OPTIONS_H
#define DPONE_CLI_COMMON_OPTIONS_H

#include <signal.h>

#include "base/buffer.h"
#include "cli/command.h"

/* Entries for an option table. */
#define DP_OPTION_FORMAT                                                                                     \
    {                                                                                                        \
        .name = "format", .argument = "FORMAT", .help = "text for people or JSON for programs",              \
        .default_text = "text", .choices = "text|json"                                                       \
    }
#define DP_OPTION_PLAN_FORMAT                                                                                \
    {                                                                                                        \
        .name = "format", .argument = "FORMAT",                                                              \
        .help = "how a plan is printed: Markdown for people or JSON for programs", .default_text = "md",     \
        .choices = "md|json"                                                                                 \
    }
#define DP_OPTION_BATCH_EVENTS                                                                               \
    {                                                                                                        \
        .name = "batch-events", .argument = "COUNT", .help = "send a batch after so many events",            \
        .default_text = "2000"                                                                               \
    }
#define DP_OPTION_BATCH_BYTES                                                                                \
    {                                                                                                        \
        .name = "batch-bytes", .argument = "BYTES", .help = "or after so many bytes",                        \
        .default_text = "1048576"                                                                            \
    }
#define DP_OPTION_TOKEN_FILE                                                                                 \
    {                                                                                                        \
        .name = "token-file", .argument = "FILE", .help = "file that holds the server's bearer token",       \
        .environment = "DPONE_TOKEN_FILE"                                                                    \
    }
#define DP_OPTION_CA_FILE                                                                                    \
    {                                                                                                        \
        .name = "ca-file", .argument = "FILE",                                                               \
        .help = "certificates to trust (PEM) instead of the system's", .environment = "DPONE_CA_FILE"        \
    }
#define DP_OPTION_ENDPOINT_TOKEN_FILE                                                                        \
    {                                                                                                        \
        .name = "endpoint-token-file", .argument = "FILE",                                                   \
        .help = "file that holds the endpoint's bearer token"                                                \
    }
#define DP_OPTION_WHO                                                                                        \
    {                                                                                                        \
        .name = "who", .argument = "NAME", .help = "who does this, for the audit [default: the user]"        \
    }

/* Whether --format is json. */
bool dp_wants_json(const dp_invocation *invocation);

/* Whether --pipeline is a name at all: USAGE for an empty one. */
dp_status dp_check_pipeline(const dp_invocation *invocation, dp_error *error);

/* The token is the file's one line; the buffer stays empty without the option. USAGE names option and file.
 */
dp_status dp_token_of_option(const dp_invocation *invocation, const char *option, dp_buffer *token,
                             dp_error *error);

/* From now on SIGTERM and SIGINT do not end the process but set the flag. */
const volatile sig_atomic_t *dp_stop_on_signals(void);

#endif
