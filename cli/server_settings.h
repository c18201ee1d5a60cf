/* The options that `dpone serve` and `dpone config-info` share, and the resolution of the settings from
 * flags, environment and .env. */
#ifndef DPONE_CLI_SERVER_SETTINGS_H
#define DPONE_CLI_SERVER_SETTINGS_H

#include "cli/command.h"
#include "server/settings.h"

/* The rows of an option table that come from the settings. */
#define DP_SERVER_SETTING_OPTION(id, flag_name, environment_name, bare, fallback, kind, minimum, maximum,    \
                                 allowed, live, placeholder, text)                                           \
    {.name = (flag_name),                                                                                    \
     .argument = (placeholder),                                                                              \
     .help = (text),                                                                                         \
     .default_text = (fallback),                                                                             \
     .environment = (environment_name)},

/* Reads .env anew each time. `context` is the dp_invocation. */
dp_status dp_server_settings_load(void *context, dp_settings *settings, dp_error *error);

#endif
