#include "replay/replay_planner.h"

/* Whether `left` < `right`. Unknown or foreign offsets have no order: the comparison is skipped. */
static bool is_before(const dp_replay_request *request, const dp_offset *left, const dp_offset *right)
{
    if (left == NULL || right == NULL) return false;
    if (left->backend != request->backend || right->backend != request->backend) return false;
    return dp_offset_compare(left, right) < 0;
}

static bool is_foreign(const dp_replay_request *request, const dp_offset *offset)
{
    return offset != NULL && offset->backend != request->backend;
}

dp_replay_plan dp_replay_plan_make(const dp_replay_request *request)
{
    dp_replay_plan plan = {.request = *request, .safe_to_execute = true};
    bool rewinds = is_before(request, request->replay_from, request->stored_offset);
    bool consumed_slot = rewinds && request->backend == DP_BACKEND_POSTGRES_LOGICAL;

#define FLAG_MISMATCH(name, field)                                                                           \
    plan.blockers[DP_REPLAY_BLOCKER_MISMATCH_##name] = is_foreign(request, request->field);
    DP_REPLAY_FIELD_LIST(FLAG_MISMATCH)
#undef FLAG_MISMATCH
    plan.blockers[DP_REPLAY_BLOCKER_INVALID_WINDOW] =
        is_before(request, request->replay_to, request->replay_from);
    plan.blockers[DP_REPLAY_BLOCKER_START_BEFORE_RETENTION] =
        is_before(request, request->replay_from, request->retention_min);
    plan.blockers[DP_REPLAY_BLOCKER_TO_AFTER_HIGH_WATERMARK] =
        is_before(request, request->high_watermark, request->replay_to);
    plan.blockers[DP_REPLAY_BLOCKER_REQUIRES_ALLOW_REWIND] = rewinds && !request->allow_rewind;
    plan.blockers[DP_REPLAY_BLOCKER_ARTIFACT_REQUIRED] = consumed_slot && request->artifact_uri.length == 0;
    plan.warnings[DP_REPLAY_WARNING_REWINDS_STORED_OFFSET] = rewinds;

    for (size_t i = 0; i < DP_REPLAY_BLOCKER_COUNT; i++) {
        if (plan.blockers[i]) plan.safe_to_execute = false;
    }
    return plan;
}

#define LIST_TEXT(name, text, description)        text,
#define LIST_DESCRIPTION(name, text, description) description,

const char *dp_replay_blocker_text(dp_replay_blocker blocker)
{
    static const char *const texts[] = {DP_REPLAY_BLOCKER_LIST(LIST_TEXT)};
    return texts[blocker];
}

const char *dp_replay_blocker_description(dp_replay_blocker blocker)
{
    static const char *const descriptions[] = {DP_REPLAY_BLOCKER_LIST(LIST_DESCRIPTION)};
    return descriptions[blocker];
}

const char *dp_replay_warning_text(dp_replay_warning warning)
{
    static const char *const texts[] = {DP_REPLAY_WARNING_LIST(LIST_TEXT)};
    return texts[warning];
}

const char *dp_replay_warning_description(dp_replay_warning warning)
{
    static const char *const descriptions[] = {DP_REPLAY_WARNING_LIST(LIST_DESCRIPTION)};
    return descriptions[warning];
}

static const struct {
    const char *text;
    const char *description;
    bool required;
} steps[] = {
#define DP_REPLAY_STEP_ENTRY(name, text, description, required) {text, description, required},
    DP_REPLAY_STEP_LIST(DP_REPLAY_STEP_ENTRY)
#undef DP_REPLAY_STEP_ENTRY
};

const char *dp_replay_step_text(dp_replay_step step)
{
    return steps[step].text;
}

const char *dp_replay_step_description(dp_replay_step step)
{
    return steps[step].description;
}

bool dp_replay_step_required(dp_replay_step step)
{
    return steps[step].required;
}
