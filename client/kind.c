/* Names and predicates of the error kinds, from the one list in client.h. */
#include "client/kind.h"
#include "client/client.h"

typedef struct kind_entry {
    const char *name;
    const char *text;
    dp_status status;
    bool retryable;
} kind_entry;

static const kind_entry entries[] = {
#define DP_CLIENT_KIND_ENTRY(kind, name, status, retryable, text) {name, text, DP_STATUS_##status, retryable},
    DP_CLIENT_KIND_LIST(DP_CLIENT_KIND_ENTRY)
#undef DP_CLIENT_KIND_ENTRY
};

static const kind_entry *entry_of(dp_client_kind kind)
{
    static const kind_entry unknown = {"unknown", "unknown", DP_STATUS_INTERNAL, false};
    size_t index = (size_t)kind;
    return index < DP_CLIENT_KIND_COUNT ? &entries[index] : &unknown;
}

const char *dp_client_kind_name(dp_client_kind kind)
{
    return entry_of(kind)->name;
}

const char *dp_client_kind_text(dp_client_kind kind)
{
    return entry_of(kind)->text;
}

bool dp_client_kind_retryable(dp_client_kind kind)
{
    return entry_of(kind)->retryable;
}

dp_status dp_client_kind_status(dp_client_kind kind, bool retryable)
{
    if (kind == DP_CLIENT_STATUS_ERROR && retryable) return DP_STATUS_REMOTE;
    return entry_of(kind)->status;
}

bool dp_client_kind_is_timeout(dp_client_kind kind)
{
    return kind == DP_CLIENT_TIMEOUT || kind == DP_CLIENT_SERVER_TIMEOUT || kind == DP_CLIENT_POOL_TIMEOUT;
}

bool dp_client_kind_has_status(dp_client_kind kind)
{
    switch (kind) {
    case DP_CLIENT_OK:
    case DP_CLIENT_SERVER_TIMEOUT:
    case DP_CLIENT_SERVICE_UNAVAILABLE:
    case DP_CLIENT_SERVER_ERROR:
    case DP_CLIENT_AUTHENTICATION_ERROR:
    case DP_CLIENT_NOT_FOUND:
    case DP_CLIENT_INVALID_REQUEST:
    case DP_CLIENT_STATUS_ERROR:
    case DP_CLIENT_RESPONSE_TOO_LARGE: return true;
    case DP_CLIENT_CONNECTION_ERROR:
    case DP_CLIENT_TIMEOUT:
    case DP_CLIENT_POOL_TIMEOUT:
    case DP_CLIENT_CIRCUIT_OPEN:
    case DP_CLIENT_CANCELLED:
    case DP_CLIENT_UNUSABLE_REQUEST:
    case DP_CLIENT_NO_MEMORY:
    case DP_CLIENT_KIND_COUNT: return false;
    }
    return false;
}

bool dp_client_kind_is_local(dp_client_kind kind)
{
    return kind == DP_CLIENT_POOL_TIMEOUT || kind == DP_CLIENT_CIRCUIT_OPEN || kind == DP_CLIENT_CANCELLED ||
           kind == DP_CLIENT_UNUSABLE_REQUEST || kind == DP_CLIENT_NO_MEMORY;
}
