#include "cdc/source_blockers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *code;
    const char *meaning;
    const char *remedy;
} blockers[] = {
#define DP_SOURCE_BLOCKER_ROW(name, code, meaning, remedy) {code, meaning, remedy},
    DP_SOURCE_BLOCKER_LIST(DP_SOURCE_BLOCKER_ROW)
#undef DP_SOURCE_BLOCKER_ROW
};

const char *dp_source_blocker_code(dp_source_blocker blocker)
{
    return blockers[blocker].code;
}

const char *dp_source_blocker_remedy(dp_source_blocker blocker)
{
    return blockers[blocker].remedy;
}

dp_status dp_source_blocked(dp_error *error, dp_source_blocker blocker, const char *format, ...)
{
    char what[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    dp_error_set_code(error, DP_STATUS_BLOCKED, blockers[blocker].code, "%s: %s: %s", blockers[blocker].code,
                      what, blockers[blocker].meaning);
    dp_error_hint(error, "%s", blockers[blocker].remedy);
    return DP_STATUS_BLOCKED;
}

bool dp_source_blocker_is(const dp_error *error, dp_source_blocker blocker)
{
    return strcmp(error->code, blockers[blocker].code) == 0;
}
