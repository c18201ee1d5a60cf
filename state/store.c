#include "state/store.h"

#include "state/migrate.h"

/* The scheme of a DSN, the driver behind it, and whether the driver wants the whole DSN. */
static const struct scheme {
    const char *prefix;
    const dp_store_driver *driver;
    bool whole;
} schemes[] = {
    {"sqlite:", &dp_store_sqlite, false},
    {"postgresql://", &dp_store_postgres, true},
    {"postgres://", &dp_store_postgres, true},
};

static const dp_slice quarantine_states[] = {DP_QUARANTINE_STATE_LIST(DP_SLICE_ENTRY)};

dp_slice dp_quarantine_state_text(dp_quarantine_state state)
{
    return quarantine_states[state];
}

bool dp_quarantine_state_parse(dp_slice text, dp_quarantine_state *state)
{
    int found =
        dp_slice_find(text, quarantine_states, sizeof quarantine_states / sizeof quarantine_states[0]);
    if (found >= 0) *state = (dp_quarantine_state)found;
    return found >= 0;
}

dp_status dp_state_dsn_parse(const char *text, dp_state_dsn *dsn, dp_error *error)
{
    if (text == NULL || text[0] == '\0') text = DP_STATE_DEFAULT_DSN;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i].prefix);
        if (strncmp(text, schemes[i].prefix, length) != 0) continue;
        if (text[length] == '\0') {
            return dp_error_set(error, DP_STATUS_USAGE,
                                "state: '%s' names no database; expected sqlite:PATH or "
                                "postgresql://USER@HOST/DATABASE",
                                schemes[i].prefix);
        }
        *dsn = (dp_state_dsn){schemes[i].driver, schemes[i].whole ? text : text + length};
        return DP_STATUS_OK;
    }
    dp_error_set(error, DP_STATUS_USAGE,
                 "state: not a DSN of a state database; expected sqlite:PATH or "
                 "postgresql://USER@HOST/DATABASE");
    if (strchr(text, ':') == NULL) dp_error_hint(error, "for a file write sqlite:PATH");
    return DP_STATUS_USAGE;
}

dp_status dp_store_connect(const char *dsn, const dp_store_options *options, dp_store **store,
                           dp_error *error)
{
    static const dp_store_options defaults = {.read_only = false};
    dp_state_dsn parsed;
    dp_status status = dp_state_dsn_parse(dsn, &parsed, error);
    if (status != DP_STATUS_OK) return status;
    return parsed.driver->open(parsed.target, options == NULL ? &defaults : options, store, error);
}

dp_status dp_store_open(const char *dsn, const dp_store_options *options, dp_store **store, dp_error *error)
{
    dp_store *opened;
    dp_store_options existing = options == NULL ? (dp_store_options){.read_only = false} : *options;
    existing.existing = true; /* what is refused for its missing schema is not made first */
    dp_status status = dp_store_connect(dsn, &existing, &opened, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_schema_require(opened, error);
    if (status != DP_STATUS_OK) {
        dp_store_close(opened);
        return status;
    }
    *store = opened;
    return DP_STATUS_OK;
}

void dp_store_close(dp_store *store)
{
    if (store != NULL) store->driver->close(store);
}
