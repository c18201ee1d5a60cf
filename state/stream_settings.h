/* What a stream reads from, as a JSON object kept with it, and what has changed between two such objects.
 *
 * Events stored under one set of settings may come again under another with other ids or other rows, so a
 * change stops a pipeline until someone accepts it. Pure.
 */
#ifndef DPONE_STATE_STREAM_SETTINGS_H
#define DPONE_STATE_STREAM_SETTINGS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

/* The members of the object; each may hold any JSON value. X(name, member, blocker) */
#define DP_STREAM_SETTING_LIST(X)                                                                            \
    X(SYSTEM_IDENTIFIER, "system_identifier", "source.system_identifier_changed")                            \
    X(TIMELINE, "timeline", "source.timeline_changed")                                                       \
    X(TIMELINE_BEGIN, "timeline_begin", "source.timeline_changed")                                           \
    X(DATABASE, "database", "source.database_changed")                                                       \
    X(SLOT, "slot", "source.slot_changed")                                                                   \
    X(PLUGIN, "plugin", "source.plugin_changed")                                                             \
    X(PROTOCOL_OPTIONS, "protocol_options", "source.protocol_options_changed")                               \
    X(PUBLICATION, "publication", "source.publication_changed")                                              \
    X(PUBLICATION_OPTIONS, "publication_options", "source.publication_options_changed")                      \
    X(UNIQUE_KEYS, "unique_keys", "source.unique_keys_changed")

typedef enum dp_stream_setting {
#define DP_STREAM_SETTING_ENUM(name, member, blocker) DP_STREAM_SETTING_##name,
    DP_STREAM_SETTING_LIST(DP_STREAM_SETTING_ENUM)
#undef DP_STREAM_SETTING_ENUM
        DP_STREAM_SETTING_COUNT
} dp_stream_setting;

/* The blocker for a stream that is written with another identity. */
#define DP_STREAM_IDENTITY_BLOCKER "source.identity_changed"

typedef struct dp_stream_settings {
    dp_slice values[DP_STREAM_SETTING_COUNT]; /* source text; data NULL: not given */
} dp_stream_settings;

/* Reads the object; the values view the text. USAGE for a repeated or unknown member, or no object. */
dp_status dp_stream_settings_parse(dp_slice json, dp_stream_settings *settings, dp_error *error);

/* changed[i] is set where both have a value and the two say different things. What is not given on one side
 * is not a change, nor is a timeline's beginning that one side does not know (null), or of another timeline.
 */
dp_status dp_stream_settings_compare(const dp_stream_settings *stored, const dp_stream_settings *given,
                                     dp_arena *arena, bool changed[DP_STREAM_SETTING_COUNT], bool *any,
                                     dp_error *error);

/* Writes the object that has what is given, and else what is stored. */
void dp_stream_settings_merge(const dp_stream_settings *stored, const dp_stream_settings *given,
                              dp_buffer *out);

const char *dp_stream_setting_blocker(dp_stream_setting setting);

#endif
