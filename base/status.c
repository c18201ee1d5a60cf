#include "base/status.h"

#include <stddef.h>

typedef struct status_entry {
    const char *name;
    const char *text;
    int exit_code;
    bool retryable;
} status_entry;

static const status_entry entries[] = {
#define DP_STATUS_ENTRY(name, exit_code, retryable, text) {#name, text, exit_code, retryable},
    DP_STATUS_LIST(DP_STATUS_ENTRY)
#undef DP_STATUS_ENTRY
};

_Static_assert(sizeof entries / sizeof entries[0] == DP_STATUS_COUNT, "every status has an entry");

static const status_entry *entry_of(dp_status status)
{
    size_t index = (size_t)status;
    return index < DP_STATUS_COUNT ? &entries[index] : &entries[DP_STATUS_INTERNAL];
}

const char *dp_status_name(dp_status status)
{
    return entry_of(status)->name;
}

const char *dp_status_text(dp_status status)
{
    return entry_of(status)->text;
}

int dp_status_exit_code(dp_status status)
{
    return entry_of(status)->exit_code;
}

bool dp_status_retryable(dp_status status)
{
    return entry_of(status)->retryable;
}
