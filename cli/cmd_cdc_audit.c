/* dpone cdc audit: who changed what by hand, when and why. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cdc/commit_time.h"
#include "cli/commands.h"
#include "cli/journal_options.h"

#define MAX_PAGE_BYTES ((size_t)256 << 20)

typedef struct audit_filter {
    const char *since; /* as entries write their time; NULL: from the beginning */
    dp_slice action;   /* empty: every action */
    uint64_t limit;    /* 0: all */
    bool is_json;
} audit_filter;

/* --- options --- */

static const dp_option options[] = {
    DP_OPTION_PIPELINE,
    DP_OPTION_JOURNAL_SERVER,
    DP_OPTION_STATE,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    {.name = "since",
     .argument = "TIME",
     .help = "only entries from then on, in UTC: 2026-11-20, 2026-11-20T08:30 or 2026-11-20T08:30:00Z"},
    {.name = "action",
     .argument = "NAME",
     .help = "only this action, such as offset.set, or one kind of actions, such as replay"},
    {.name = "limit",
     .argument = "COUNT",
     .help = "at most so many entries, the newest ones; 0 for all",
     .default_text = "100"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

/* The time as entries write it, so that texts compare as times do: what is not given is zero. */
static dp_status read_since(const char *text, char since[DP_CLOCK_TEXT_BYTES], dp_error *error)
{
    static const char zeros[] = "0000-00-00T00:00:00.000000";
    char checked[DP_CLOCK_TEXT_BYTES];
    int64_t microseconds;
    dp_slice given = dp_slice_of_text(text);
    if (given.length > 16 && given.data[given.length - 1] == 'Z') given.length--;
    bool is_cut_well = given.length == 10 || given.length == 16 || given.length == 19 ||
                       (given.length > 20 && given.length < sizeof zeros);
    if (is_cut_well && (given.length == 10 || given.data[10] == 'T' || given.data[10] == ' ')) {
        snprintf(since, DP_CLOCK_TEXT_BYTES, "%.*s%sZ", (int)given.length, given.data, zeros + given.length);
        snprintf(checked, sizeof checked, "%.10s %.15s+00", since, since + 11);
        since[10] = 'T';
        if (dp_commit_time_parse(dp_slice_of_text(checked), &microseconds)) return DP_STATUS_OK;
    }
    return dp_error_set(error, DP_STATUS_USAGE,
                        "--since: '%s' is no time in UTC; expected one such as 2026-11-20 or "
                        "2026-11-20T08:30:00Z",
                        text);
}

static dp_status read_filter(const dp_invocation *invocation, char since[DP_CLOCK_TEXT_BYTES],
                             audit_filter *filter, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, "since");
    *filter = (audit_filter){.action = dp_slice_of_text(dp_invocation_text(invocation, "action")),
                             .is_json = dp_wants_json(invocation),
                             .since = text == NULL ? NULL : since};
    dp_status status = dp_invocation_u64(invocation, "limit", 0, INT64_MAX, &filter->limit, error);
    if (status == DP_STATUS_OK && text != NULL) status = read_since(text, since, error);
    return status;
}

/* --- entries --- */

static const char *text_of(const json_t *entry, const char *member)
{
    const char *text = json_string_value(json_object_get(entry, member));
    return text == NULL ? "-" : text;
}

static void put_line(dp_buffer *out, const json_t *entry)
{
    static const char *const members[] = {"at", "action", "subject", "who", "why", "old", "new"};
    size_t start = out->length;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (i > 0) dp_buffer_append_text(out, "  ");
        dp_buffer_append_text(out, text_of(entry, members[i]));
    }
    dp_utf8_make_printable(out->data + start, out->length - start);
    dp_buffer_append_byte(out, '\n');
}

/* What was stored as the text of an object is an object again. */
static void unfold(json_t *entry, const char *member)
{
    const char *text = json_string_value(json_object_get(entry, member));
    json_t *value = text == NULL ? NULL : json_loads(text, 0, NULL);
    if (value != NULL) json_object_set_new(entry, member, value);
}

static void put_object(dp_buffer *out, json_t *entry)
{
    unfold(entry, "old");
    unfold(entry, "new");
    char *text = json_dumps(entry, JSON_COMPACT);
    dp_buffer_append_text(out, text == NULL ? "null" : text);
    dp_buffer_append_byte(out, '\n');
    free(text);
}

static bool is_recent(const audit_filter *filter, const json_t *entry)
{
    return filter->since == NULL || strcmp(text_of(entry, "at"), filter->since) >= 0;
}

/* The action itself, or what stands before its dot. */
static bool is_wanted(const audit_filter *filter, const json_t *entry)
{
    dp_slice action = dp_slice_of_text(text_of(entry, "action"));
    if (filter->action.length == 0) return true;
    return dp_slice_starts_with(action, filter->action) &&
           (action.length == filter->action.length || action.data[filter->action.length] == '.');
}

/* Prints what is wanted of a page. *has_recent: whether any of it was recent enough; `left` counts down. */
static dp_status print_page(const audit_filter *filter, const json_t *page, uint64_t *left, bool *has_recent,
                            dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(MAX_PAGE_BYTES);
    size_t index;
    json_t *entry;
    *has_recent = false;
    json_array_foreach(json_object_get(page, "audit"), index, entry)
    {
        if (!is_recent(filter, entry)) continue;
        *has_recent = true;
        if (*left == 0 || !is_wanted(filter, entry)) continue;
        (*left)--;
        if (filter->is_json) {
            put_object(&out, entry);
        } else {
            put_line(&out, entry);
        }
    }
    return dp_print_and_release(&out, error);
}

/* Entries are numbered in the order in which they were written. Servers on several machines need not agree on
 * the time to the millisecond, so reading ends after a whole page of older entries. */
static dp_status print_all(dp_journal_link *link, dp_slice pipeline, const audit_filter *filter,
                           dp_error *error)
{
    uint64_t left = filter->limit == 0 ? UINT64_MAX : filter->limit;
    int64_t below = INT64_MAX;
    bool has_more = true;
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && has_more && left > 0) {
        json_t *page = NULL;
        bool has_recent = false;
        status = dp_journal_link_page(link, pipeline, DP_JOURNAL_CALL_LIST_AUDIT, below, &page, error);
        if (status == DP_STATUS_OK) status = print_page(filter, page, &left, &has_recent, error);
        const json_t *next = json_object_get(page, "next_before");
        has_more = has_recent && json_is_integer(next) && json_integer_value(next) < below;
        below = json_integer_value(next);
        json_decref(page);
    }
    return status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    char since[DP_CLOCK_TEXT_BYTES];
    audit_filter filter;
    dp_journal_link *link = NULL;
    (void)exit_code;
    dp_status status = read_filter(invocation, since, &filter, error);
    if (status == DP_STATUS_OK) status = dp_journal_of_options(invocation, false, &link, error);
    if (status != DP_STATUS_OK) return status;
    status = print_all(link, dp_slice_of_text(dp_invocation_text(invocation, "pipeline")), &filter, error);
    dp_journal_link_close(link);
    return status;
}

const dp_command dp_command_cdc_audit = {
    .path = "cdc audit",
    .summary = "who changed what by hand, when and why",
    .arguments = "",
    .description =
        "One line an entry, newest first: time in UTC, action, subject, who, why, the value before and the "
        "value after; a dash where there is none. With --format json one JSON object a line, in which the "
        "values of replays and prunes are objects: window, counts and outcome.\n\n"
        "Actions: offset.set, offset.rewind, offset.delete; replay.started, replay.resumed, "
        "replay.finished; prune.started, prune.finished, prune.interrupted; quarantine.replayed, "
        "quarantine.discarded. A replay or a prune that was started and has no end was killed.\n\n"
        "What was done to the offset of a consumer is under the pipeline PIPELINE/consumers/NAME.",
    .examples =
        "  dpone cdc audit --pipeline orders\n"
        "  dpone cdc audit --pipeline orders --action replay --since \"$(date -u -d '1 week ago' +%F)\"\n"
        "  dpone cdc audit --pipeline orders --state sqlite:dpone.db --limit 0 --format json\n"
        "  dpone cdc audit --pipeline orders/consumers/billing\n",
    .options = options,
    .exit_codes = "",
    .run = run,
};
