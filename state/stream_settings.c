#include "state/stream_settings.h"

#include "base/json_scanner.h"
#include "base/json_writer.h"
#include "cdc/event_compare.h"

static const char *const members[] = {
#define MEMBER(name, member, blocker) member,
    DP_STREAM_SETTING_LIST(MEMBER)
#undef MEMBER
};

static const char *const blockers[] = {
#define BLOCKER(name, member, blocker) blocker,
    DP_STREAM_SETTING_LIST(BLOCKER)
#undef BLOCKER
};

const char *dp_stream_setting_blocker(dp_stream_setting setting)
{
    return blockers[setting];
}

static dp_status refuse(dp_error *error, const char *fault, size_t at)
{
    return dp_error_set_code(error, DP_STATUS_USAGE, "settings_malformed", "settings, byte %zu: %s", at + 1,
                             fault);
}

static size_t find_setting(dp_slice name)
{
    size_t setting = 0;
    while (setting < DP_STREAM_SETTING_COUNT && !dp_slice_equal_text(name, members[setting])) {
        setting++;
    }
    return setting;
}

dp_status dp_stream_settings_parse(dp_slice json, dp_stream_settings *settings, dp_error *error)
{
    dp_stream_settings parsed = {.values = {{NULL, 0}}};
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_scanner_init(&scanner, json);
    if (dp_json_next(&scanner, &token) != DP_JSON_BEGIN_OBJECT) return refuse(error, "expected an object", 0);
    while (dp_json_next(&scanner, &token) == DP_JSON_KEY) {
        size_t setting = find_setting(token.text);
        if (setting == DP_STREAM_SETTING_COUNT) return refuse(error, "an unknown member", token.at);
        if (parsed.values[setting].data != NULL) return refuse(error, "a repeated member", token.at);
        dp_json_next(&scanner, &token);
        if (!dp_json_skip_value(&scanner, &token, &parsed.values[setting])) break;
    }
    if (token.kind != DP_JSON_END_OBJECT || dp_json_next(&scanner, &token) != DP_JSON_END) {
        return refuse(error, scanner.fault == NULL ? "expected one object" : scanner.fault, scanner.fault_at);
    }
    *settings = parsed;
    return DP_STATUS_OK;
}

dp_status dp_stream_settings_compare(const dp_stream_settings *stored, const dp_stream_settings *given,
                                     dp_arena *arena, bool changed[DP_STREAM_SETTING_COUNT], bool *any,
                                     dp_error *error)
{
    *any = false;
    for (size_t i = 0; i < DP_STREAM_SETTING_COUNT; i++) {
        changed[i] = false;
        if (stored->values[i].data == NULL || given->values[i].data == NULL) continue;
        bool is_begin = i == DP_STREAM_SETTING_TIMELINE_BEGIN;
        bool is_unknown =
            dp_slice_equal_text(stored->values[i], "null") || dp_slice_equal_text(given->values[i], "null");
        if (is_begin && (is_unknown || changed[DP_STREAM_SETTING_TIMELINE])) continue;
        bool equal = true;
        dp_status status = dp_json_equal(stored->values[i], given->values[i], arena, &equal, error);
        if (status != DP_STATUS_OK) return status;
        changed[i] = !equal;
        *any = *any || !equal;
    }
    return DP_STATUS_OK;
}

void dp_stream_settings_merge(const dp_stream_settings *stored, const dp_stream_settings *given,
                              dp_buffer *out)
{
    dp_json_writer writer = dp_json_writer_compact(out);
    dp_json_begin_object(&writer);
    for (size_t i = 0; i < DP_STREAM_SETTING_COUNT; i++) {
        dp_slice value = given->values[i].data != NULL ? given->values[i] : stored->values[i];
        if (value.data == NULL) continue;
        dp_json_key(&writer, members[i]);
        dp_json_raw(&writer, value);
    }
    dp_json_end_object(&writer);
}
