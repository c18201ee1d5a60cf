#include "cli/stream_options.h"

#include "base/file.h"

dp_status dp_stream_unique_keys(const dp_invocation *invocation, dp_unique_keys **keys, dp_error *error)
{
    dp_unique_keys *result = dp_unique_keys_new();
    if (result == NULL) return dp_error_no_memory(error, "the unique keys");
    const char *text;
    for (size_t i = 0; (text = dp_invocation_nth(invocation, "unique-key", i)) != NULL; i++) {
        if (strcmp(text, DP_UNIQUE_KEY_AUTO) == 0) continue;
        dp_status status = dp_unique_keys_add(result, dp_slice_of_text(text), error);
        if (status != DP_STATUS_OK) {
            dp_unique_keys_free(result);
            return status;
        }
    }
    *keys = result;
    return DP_STATUS_OK;
}

bool dp_stream_asks_for_keys(const dp_invocation *invocation)
{
    const char *text;
    for (size_t i = 0; (text = dp_invocation_nth(invocation, "unique-key", i)) != NULL; i++) {
        if (strcmp(text, DP_UNIQUE_KEY_AUTO) == 0) return true;
    }
    return false;
}

/* The choices of an option are the texts of its list, so that a parsed value is always known. */
dp_identity_kind dp_stream_identity(const dp_invocation *invocation)
{
    dp_identity_kind kind = DP_IDENTITY_V1;
    dp_identity_parse(dp_slice_of_text(dp_invocation_text(invocation, "identity")), &kind);
    return kind;
}

bool dp_stream_plugin(const dp_invocation *invocation, dp_plugin *plugin)
{
    static const dp_slice texts[] = {DP_PLUGIN_LIST(DP_SLICE_ENTRY)};
    dp_slice text = dp_slice_of_text(dp_invocation_text(invocation, "plugin"));
    int found = dp_slice_find(text, texts, sizeof texts / sizeof texts[0]);
    if (found >= 0) *plugin = (dp_plugin)found;
    return found >= 0;
}

dp_capture_options dp_stream_capture(const dp_invocation *invocation)
{
    dp_capture_options options = {.has_form = false};
    options.has_form = dp_capture_form_parse(dp_slice_of_text(dp_invocation_text(invocation, "input-format")),
                                             &options.form);
    options.has_plugin = dp_stream_plugin(invocation, &options.plugin);
    options.is_wal2json = strcmp(dp_invocation_text(invocation, "plugin"), "wal2json") == 0;
    return options;
}

void dp_stream_warn_of_nulls(uint64_t count)
{
    if (count == 0) return;
    fprintf(stderr,
            "dpone: warning: %llu events have a null float or numeric that may have been NaN or Infinity, "
            "which wal2json "
            "prints alike unless its option numeric-data-types-as-string is on\n",
            (unsigned long long)count);
}
