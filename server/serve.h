/* Runs the server from start to SIGTERM: log, application, HTTP, signals, re-reading the settings. */
#ifndef DPONE_SERVER_SERVE_H
#define DPONE_SERVER_SERVE_H

#include "server/settings.h"

typedef struct dp_serve_options {
    bool watches_dotenv; /* re-read when .env changes, not only on SIGHUP */
    void *context;
    /* Reads the settings: at the start, and again later; then, on an error, the ones in force stay. */
    dp_status (*load)(void *context, dp_settings *settings, dp_error *error);
} dp_serve_options;

/* Returns when SIGTERM or SIGINT came and everything has ended. Blocks these signals and SIGHUP. */
dp_status dp_serve(const dp_serve_options *options, dp_error *error);

#endif
