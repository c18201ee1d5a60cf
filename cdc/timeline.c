#include "cdc/timeline.h"

/* The next line that says something; false when there is none left. */
static bool next_line(dp_slice *history, dp_timeline *parent, dp_lsn *left_at)
{
    while (history->length > 0) {
        dp_slice line;
        dp_slice number;
        dp_slice rest;
        dp_slice position;
        uint64_t value = 0;
        dp_slice_split(*history, '\n', &line, history);
        if (!dp_slice_split(dp_slice_trim(line), '\t', &number, &rest)) continue;
        dp_slice_split(dp_slice_trim(rest), '\t', &position, &rest);
        if (!dp_slice_to_u64(dp_slice_trim(number), UINT32_MAX, &value)) continue;
        if (!dp_lsn_parse(dp_slice_trim(position), left_at)) continue;
        parent->number = (uint32_t)value;
        return true;
    }
    return false;
}

dp_timeline dp_timeline_of(uint32_t number, dp_slice history)
{
    dp_timeline parent = {.number = 0};
    dp_timeline timeline = {.number = number};
    while (next_line(&history, &parent, &timeline.begin)) {
        timeline.has_begin = true;
    }
    return timeline;
}

bool dp_timeline_is_same(const dp_timeline *one, const dp_timeline *other)
{
    if (one->number != other->number) return false;
    return !one->has_begin || !other->has_begin || one->begin.value == other->begin.value;
}

bool dp_timeline_is_common(dp_slice history, const dp_timeline *before, dp_lsn position)
{
    dp_timeline parent = {.number = 0};
    dp_lsn left_at;
    while (next_line(&history, &parent, &left_at)) {
        if (dp_timeline_is_same(&parent, before)) return position.value <= left_at.value;
        parent = (dp_timeline){.has_begin = true, .begin = left_at};
    }
    return false;
}
