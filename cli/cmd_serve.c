/* dpone serve: the HTTP server. */
#include "cli/commands.h"
#include "cli/server_settings.h"
#include "server/serve.h"

static const dp_option options[] = {
    DP_SETTING_LIST(DP_SERVER_SETTING_OPTION){
        .name = "reload", .help = "apply changes of .env while running, not only on SIGHUP"},
    {.name = NULL},
};

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    const dp_serve_options serve = {.watches_dotenv = dp_invocation_switch(invocation, "reload"),
                                    .context = invocation,
                                    .load = dp_server_settings_load};
    return dp_serve(&serve, error);
}

const dp_command dp_command_serve = {
    .path = "serve",
    .summary = "the HTTP server: test endpoints and the journal",
    .arguments = "",
    .description =
        "Serves the test endpoints (/msg, /fail/*, /health), the journal (/v1/...), /ready, /metrics and\n"
        "/docs. Once it accepts connections it prints one line to standard output:\n"
        "'dpone: listening on http://HOST:PORT'. Everything else is the log, on standard error.\n"
        "Each option is also a variable, in the environment or in .env of the working directory; the order "
        "is\n"
        "flag, environment, .env, default. MAX_CONCURRENCY, REQUEST_TIMEOUT, CACHE_MAX_SIZE and\n"
        "CACHE_TTL_SECONDS are accepted below the SERVER_ names. SIGHUP reads .env again. SIGTERM and "
        "SIGINT\n"
        "stop accepting, let running requests finish, and end with exit code 0.",
    .examples = "  dpone serve --host 127.0.0.1 --port 8000\n"
                "  dpone serve --port 0 --state none --log-level DEBUG --log-format console\n",
    .options = options,
    .exit_codes = "",
    .run = run,
};
