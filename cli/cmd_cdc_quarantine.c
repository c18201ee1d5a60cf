/* dpone cdc quarantine list, show, export, replay, discard. */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "cli/stream_options.h"
#include "services/http_sink.h"
#include "services/output.h"
#include "services/quarantine.h"

#define JOURNAL_OPTIONS                                                                                      \
    DP_OPTION_PIPELINE, DP_OPTION_JOURNAL_SERVER, DP_OPTION_STATE, DP_OPTION_TOKEN_FILE, DP_OPTION_CA_FILE
#define ID_OPTION                                                                                            \
    {                                                                                                        \
        .name = "id", .argument = "NUMBER",                                                                  \
        .help = "the entry, as list shows it; may be given more than once", .repeatable = true,              \
        .required = true                                                                                     \
    }

#define ENTRIES_OPTION                                                                                       \
    {                                                                                                        \
        .name = "entries", .argument = "STATE", .help = "which entries",                                     \
        .choices = "open|replayed|discarded|all", .default_text = "open"                                     \
    }

#define MAX_OUTPUT_BYTES ((size_t)1 << 30)

/* --- entries --- */

/* All entries, however many pages they are. */
static dp_status read_entries(dp_journal_link *link, dp_slice pipeline, json_t **answer, dp_error *error)
{
    int64_t after_id = 0;
    json_t *all = NULL;
    bool has_more = true;
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && has_more) {
        json_t *page = NULL;
        status =
            dp_journal_link_page(link, pipeline, DP_JOURNAL_CALL_LIST_QUARANTINE, after_id, &page, error);
        const json_t *next = json_object_get(page, "next_after");
        has_more = json_is_integer(next) && json_integer_value(next) > after_id;
        after_id = json_integer_value(next);
        if (all == NULL) {
            all = page;
            continue;
        }
        json_array_extend(json_object_get(all, "quarantine"), json_object_get(page, "quarantine"));
        json_decref(page);
    }
    if (status == DP_STATUS_OK) {
        *answer = all;
    } else {
        json_decref(all);
    }
    return status;
}

static dp_status open_entries(const dp_invocation *invocation, bool writes, dp_journal_link **link,
                              json_t **answer, dp_error *error)
{
    dp_status status = dp_journal_of_options(invocation, writes, link, error);
    if (status != DP_STATUS_OK) return status;
    return read_entries(*link, dp_slice_of_text(dp_invocation_text(invocation, "pipeline")), answer, error);
}

static json_t *entries_of(const json_t *answer)
{
    return json_object_get(answer, "quarantine");
}

static bool is_wanted(const dp_invocation *invocation, const json_t *entry)
{
    const char *state = dp_invocation_text(invocation, "entries");
    return state == NULL || strcmp(state, "all") == 0 ||
           strcmp(state, json_string_value(json_object_get(entry, "state"))) == 0;
}

static dp_status parse_id(const char *text, json_int_t *id, dp_error *error)
{
    uint64_t value;
    if (!dp_slice_to_u64(dp_slice_of_text(text), INT64_MAX, &value))
        return dp_error_set(error, DP_STATUS_USAGE, "--id: '%s' is no number of an entry", text);
    *id = (json_int_t)value;
    return DP_STATUS_OK;
}

static dp_status find_entry(const json_t *answer, const char *id_text, json_t **entry, dp_error *error)
{
    json_int_t id = 0;
    size_t index;
    json_t *each;
    dp_status status = parse_id(id_text, &id, error);
    if (status != DP_STATUS_OK) return status;
    json_array_foreach(entries_of(answer), index, each)
    {
        if (json_integer_value(json_object_get(each, "quarantine_id")) != id) continue;
        *entry = each;
        return DP_STATUS_OK;
    }
    return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "quarantine_not_found",
                             "the pipeline's quarantine has no entry %s", id_text);
}

/* The event is kept as text; people and programs read it as an object. */
static void unfold_event(json_t *entry)
{
    const char *text = json_string_value(json_object_get(entry, "event"));
    json_t *event = text == NULL ? NULL : json_loads(text, JSON_DECODE_ANY, NULL);
    if (event != NULL) json_object_set_new(entry, "event", event);
}

static void put_entry(dp_buffer *out, json_t *entry, size_t flags)
{
    unfold_event(entry);
    char *text = json_dumps(entry, flags);
    dp_buffer_append_text(out, text == NULL ? "null" : text);
    dp_buffer_append_byte(out, '\n');
    free(text);
}

static dp_status print_count(const char *what, size_t count, dp_error *error)
{
    char line[64];
    int length = snprintf(line, sizeof line, "{\"%s\":%zu}\n", what, count);
    return dp_print(dp_slice_make(line, (size_t)length), error);
}

/* --- list --- */

static const dp_option list_options[] = {
    JOURNAL_OPTIONS,
    ENTRIES_OPTION,
    DP_OPTION_FORMAT,
    {.name = NULL},
};

static const char *text_member(const json_t *entry, const char *member)
{
    const char *text = json_string_value(json_object_get(entry, member));
    return text == NULL ? "-" : text;
}

static void put_row(dp_buffer *out, const json_t *entry)
{
    size_t start = out->length;
    dp_buffer_append_format(out, "%lld  %s  %s  %s.%s  %s  %s",
                            (long long)json_integer_value(json_object_get(entry, "quarantine_id")),
                            text_member(entry, "state"), text_member(entry, "reason"),
                            text_member(entry, "source_schema"), text_member(entry, "source_table"),
                            text_member(entry, "position"), text_member(entry, "detail"));
    dp_utf8_make_printable(out->data + start, out->length - start);
    dp_buffer_append_byte(out, '\n');
}

static dp_status run_list(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_journal_link *link = NULL;
    json_t *answer = NULL;
    json_t *entry;
    size_t index;
    (void)exit_code;
    dp_buffer out = DP_BUFFER_INIT(MAX_OUTPUT_BYTES);
    bool is_json = dp_wants_json(invocation);
    dp_status status = open_entries(invocation, false, &link, &answer, error);
    json_array_foreach(entries_of(answer), index, entry)
    {
        if (!is_wanted(invocation, entry)) continue;
        if (is_json) {
            put_entry(&out, entry, JSON_COMPACT);
        } else {
            put_row(&out, entry);
        }
    }
    json_decref(answer);
    dp_journal_link_close(link);
    if (status == DP_STATUS_OK) return dp_print_and_release(&out, error);
    dp_buffer_release(&out);
    return status;
}

const dp_command dp_command_cdc_quarantine_list = {
    .path = "cdc quarantine list",
    .summary = "the changes that were kept because they could not be identified or carried",
    .arguments = "",
    .description =
        "One line an entry: number, state, reason, table, position, detail. With --format json one "
        "JSON object a line, the event included.",
    .examples = "  dpone cdc quarantine list --pipeline orders\n",
    .options = list_options,
    .exit_codes = "",
    .run = run_list,
};

/* --- show --- */

static const dp_option show_options[] = {JOURNAL_OPTIONS, ID_OPTION, {.name = NULL}};

static dp_status run_show(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_journal_link *link = NULL;
    json_t *answer = NULL;
    const char *id;
    (void)exit_code;
    dp_buffer out = DP_BUFFER_INIT(MAX_OUTPUT_BYTES);
    dp_status status = open_entries(invocation, false, &link, &answer, error);
    for (size_t i = 0; status == DP_STATUS_OK && (id = dp_invocation_nth(invocation, "id", i)) != NULL; i++) {
        json_t *entry = NULL;
        status = find_entry(answer, id, &entry, error);
        if (status == DP_STATUS_OK) put_entry(&out, entry, JSON_INDENT(2));
    }
    json_decref(answer);
    dp_journal_link_close(link);
    if (status == DP_STATUS_OK) return dp_print_and_release(&out, error);
    dp_buffer_release(&out);
    return status;
}

const dp_command dp_command_cdc_quarantine_show = {
    .path = "cdc quarantine show",
    .summary = "entries of the quarantine with everything that is known of them",
    .arguments = "",
    .description = "",
    .examples = "  dpone cdc quarantine show --pipeline orders --id 3\n",
    .options = show_options,
    .exit_codes = "0 shown, 1 there is no such entry",
    .run = run_show,
};

/* --- export --- */

static const dp_option export_options[] = {
    JOURNAL_OPTIONS,
    ENTRIES_OPTION,
    {.name = "output", .argument = "FILE", .help = "the file to write; must not exist", .required = true},
    {.name = NULL},
};

/* One export at a time writes the temporary file: the one that holds its lock, while it still has its name.
 */
static bool lock_partial(const char *partial, int descriptor)
{
    struct stat opened, named;
    return flock(descriptor, LOCK_EX | LOCK_NB) == 0 && fstat(descriptor, &opened) == 0 &&
           lstat(partial, &named) == 0 && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static dp_status fill_partial(const char *partial, dp_output *file, const dp_buffer *content, dp_error *error)
{
    if (!lock_partial(partial, file->descriptor))
        return dp_error_set(error, DP_STATUS_BUSY, "another export writes '%s'", partial);
    if (ftruncate(file->descriptor, 0) != 0)
        return dp_error_set(error, DP_STATUS_IO, "unable to empty '%s': %s", partial, strerror(errno));
    dp_buffer_append_slice(&file->pending, dp_buffer_slice(content));
    return dp_output_sync(file, error);
}

static dp_status write_file(const char *path, const dp_buffer *content, dp_error *error)
{
    dp_output file;
    char partial[4096];
    int length = snprintf(partial, sizeof partial, "%s.partial", path);
    if (length < 0 || length >= (int)sizeof partial)
        return dp_error_set(error, DP_STATUS_USAGE, "--output: the path is too long");
    if (access(path, F_OK) == 0)
        return dp_error_set(error, DP_STATUS_USAGE, "'%s' exists; expected a new file", path);
    dp_status status = dp_output_append_to(partial, &file, error);
    if (status != DP_STATUS_OK) return status;
    status = fill_partial(partial, &file, content, error);
    if (status == DP_STATUS_OK && access(path, F_OK) == 0)
        status = dp_error_set(error, DP_STATUS_USAGE, "'%s' exists; expected a new file", path);
    if (status == DP_STATUS_OK && rename(partial, path) != 0)
        status = dp_error_set(error, DP_STATUS_IO, "unable to rename '%s': %s", partial, strerror(errno));
    if (status != DP_STATUS_OK && status != DP_STATUS_BUSY) unlink(partial);
    dp_output_close(&file);
    return status;
}

static dp_status run_export(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_journal_link *link = NULL;
    json_t *answer = NULL;
    json_t *entry;
    size_t index;
    size_t count = 0;
    (void)exit_code;
    dp_buffer content = DP_BUFFER_INIT(MAX_OUTPUT_BYTES);
    dp_status status = open_entries(invocation, false, &link, &answer, error);
    json_array_foreach(entries_of(answer), index, entry)
    {
        if (!is_wanted(invocation, entry)) continue;
        put_entry(&content, entry, JSON_COMPACT);
        count++;
    }
    if (status == DP_STATUS_OK && content.failed) status = dp_error_no_memory(error, "the quarantine");
    if (status == DP_STATUS_OK)
        status = write_file(dp_invocation_text(invocation, "output"), &content, error);
    dp_buffer_release(&content);
    json_decref(answer);
    dp_journal_link_close(link);
    if (status != DP_STATUS_OK) return status;
    return print_count("exported", count, error);
}

const dp_command dp_command_cdc_quarantine_export = {
    .path = "cdc quarantine export",
    .summary = "write entries of the quarantine to a file, one JSON object a line",
    .arguments = "",
    .description = "The file is written under a temporary name and renamed when it is durable.",
    .examples = "  dpone cdc quarantine export --pipeline orders --output poison.ndjson\n",
    .options = export_options,
    .exit_codes = "",
    .run = run_export,
};

/* --- the end of entries --- */

static dp_status resolve(dp_journal_link *link, const dp_invocation *invocation, json_t *ids,
                         const char *state, const char *why, dp_error *error)
{
    char who[64];
    json_t *answer = NULL;
    json_t *body = json_pack("{s:O,s:s,s:s,s:s}", "ids", ids, "state", state, "who",
                             dp_journal_who(invocation, who), "why", why);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    dp_status status =
        text == NULL
            ? dp_error_no_memory(error, "a resolution")
            : dp_journal_link_call(link, dp_slice_of_text(dp_invocation_text(invocation, "pipeline")),
                                   DP_JOURNAL_CALL_RESOLVE_QUARANTINE, text, &answer, error);
    free(text);
    json_decref(body);
    json_decref(answer);
    return status;
}

/* --- replay --- */

static const dp_option replay_options[] = {
    JOURNAL_OPTIONS,
    {.name = "id", .argument = "NUMBER", .help = "the entry, as list shows it", .required = true},
    {.name = "event",
     .argument = "FILE",
     .help = "the mended event, a JSON object; - for standard input [default: the entry's]"},
    DP_OPTION_UNIQUE_KEY,
    {.name = "identity",
     .argument = "NAME",
     .help = "the identity of the entry's stream, where the journal does not know the stream [default: v1]",
     .choices = "v1|dpone-py"},
    {.name = "event-id", .argument = "HEX", .help = "the event's id in a stream of identity dpone-py"},
    {.name = "endpoint",
     .argument = "URL",
     .help = "where to deliver [default: the server; needed with --state]"},
    DP_OPTION_ENDPOINT_TOKEN_FILE,
    DP_OPTION_WHO,
    {.name = "why", .argument = "TEXT", .help = "how it was mended, for the audit", .required = true},
    {.name = NULL},
};

static dp_status read_event(const dp_invocation *invocation, const json_t *entry, json_t **event,
                            dp_error *error)
{
    const char *path = dp_invocation_text(invocation, "event");
    dp_buffer text = DP_BUFFER_INIT(MAX_OUTPUT_BYTES);
    dp_status status = DP_STATUS_OK;
    if (path != NULL) {
        status = dp_file_read(path, MAX_OUTPUT_BYTES, &text, error);
    } else {
        dp_buffer_append_text(&text, text_member(entry, "event"));
    }
    json_error_t fault;
    json_t *parsed =
        text.length == 0 ? NULL : json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, &fault);
    dp_buffer_release(&text);
    if (status != DP_STATUS_OK) return status;
    /* A whole entry, as export writes it, is as good as its event. */
    json_t *inner = json_object_get(parsed, "event");
    *event = json_is_object(inner) ? json_incref(inner) : json_incref(parsed);
    json_decref(parsed);
    return json_is_object(*event) ? DP_STATUS_OK
                                  : dp_error_set(error, DP_STATUS_USAGE, "the event is not one JSON object");
}

static dp_status open_sink(const dp_invocation *invocation, dp_buffer *token, dp_batch_sink *sink,
                           dp_error *error)
{
    const char *endpoint = dp_invocation_text(invocation, "endpoint");
    const char *option = "endpoint-token-file";
    if (endpoint == NULL && dp_invocation_given(invocation, "state"))
        return dp_error_set(error, DP_STATUS_USAGE, "--state: expected --endpoint beside it");
    if (endpoint == NULL && !dp_invocation_given(invocation, "endpoint-token-file")) option = "token-file";
    dp_status status = dp_token_of_option(invocation, option, token, error);
    if (status != DP_STATUS_OK) return status;
    dp_http_sink_options http = {
        .server_url = endpoint == NULL ? dp_invocation_text(invocation, "server") : endpoint,
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .token = token->length > 0 ? token->data : NULL,
        .ca_file = dp_invocation_text(invocation, "ca-file"),
    };
    return dp_http_sink_open(&http, sink, error);
}

/* The identity that the entry's stream was written with. */
static dp_status find_identity(const dp_invocation *invocation, dp_journal_link *link, const json_t *entry,
                               dp_identity_kind *identity, dp_error *error)
{
    const char *given = dp_invocation_text(invocation, "identity");
    dp_error unknown = DP_ERROR_INIT;
    dp_stream_facts facts;
    const dp_stream_choice choice = {dp_slice_of_text(dp_invocation_text(invocation, "pipeline")),
                                     dp_slice_of_text(text_member(entry, "source")),
                                     dp_slice_of_text(text_member(entry, "backend"))};
    dp_status status = dp_journal_link_facts(link, &choice, &facts, &unknown);
    *identity = DP_IDENTITY_V1;
    if (given != NULL) dp_identity_parse(dp_slice_of_text(given), identity);
    if (status == DP_STATUS_NOT_FOUND) return DP_STATUS_OK;
    if (status != DP_STATUS_OK) {
        *error = unknown;
        return status;
    }
    bool is_another = given != NULL && *identity != facts.identity;
    *identity = facts.identity;
    dp_stream_facts_release(&facts);
    if (!is_another) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE, "--identity: the entry's stream was written with '%.*s'",
                        DP_SLICE_PRINT(dp_identity_text(*identity)));
}

static dp_status replay_entry(const dp_invocation *invocation, dp_journal_link *link, const json_t *entry,
                              dp_error *error)
{
    dp_unique_keys *keys = NULL;
    json_t *event = NULL;
    dp_batch_sink sink = {.close = NULL};
    dp_buffer token = DP_BUFFER_INIT(8192), lines = DP_BUFFER_INIT(MAX_OUTPUT_BYTES);
    bool is_duplicate = false;
    if (strcmp(text_member(entry, "state"), "open") != 0) {
        return dp_error_set_code(error, DP_STATUS_CONFLICT, "quarantine_not_open", "the entry is %s already",
                                 text_member(entry, "state"));
    }
    dp_status status = dp_stream_unique_keys(invocation, &keys, error);
    if (status == DP_STATUS_OK) status = read_event(invocation, entry, &event, error);
    dp_quarantine_mending mending = {
        .event = event, .keys = keys, .event_id = dp_invocation_text(invocation, "event-id")};
    if (status == DP_STATUS_OK) status = find_identity(invocation, link, entry, &mending.identity, error);
    if (status == DP_STATUS_OK) status = dp_quarantine_mend(&mending, &lines, error);
    if (status == DP_STATUS_OK) status = open_sink(invocation, &token, &sink, error);
    dp_quarantine_delivery delivery = {
        .pipeline = dp_invocation_text(invocation, "pipeline"),
        .quarantine_id = json_integer_value(json_object_get(entry, "quarantine_id")),
        .source = dp_slice_of_text(json_string_value(json_object_get(entry, "source"))),
        .identity = mending.identity,
        .lines = dp_buffer_slice(&lines),
    };
    if (status == DP_STATUS_OK) status = dp_quarantine_deliver(&delivery, &sink, &is_duplicate, error);
    if (status == DP_STATUS_OK) {
        json_t *ids = json_pack("[I]", (json_int_t)delivery.quarantine_id);
        status = resolve(link, invocation, ids, "replayed", dp_invocation_text(invocation, "why"), error);
        json_decref(ids);
    }
    if (status == DP_STATUS_OK) {
        char line[160];
        int length = snprintf(line, sizeof line, "{\"replayed\":%lld,\"duplicate\":%s}\n",
                              (long long)delivery.quarantine_id, is_duplicate ? "true" : "false");
        status = dp_print(dp_slice_make(line, (size_t)length), error);
    }
    if (sink.close != NULL) sink.close(sink.self);
    dp_unique_keys_free(keys);
    json_decref(event);
    dp_buffer_release(&token);
    dp_buffer_release(&lines);
    return status;
}

static dp_status run_replay(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_journal_link *link = NULL;
    json_t *answer = NULL;
    json_t *entry = NULL;
    (void)exit_code;
    dp_status status = open_entries(invocation, true, &link, &answer, error);
    if (status == DP_STATUS_OK)
        status = find_entry(answer, dp_invocation_text(invocation, "id"), &entry, error);
    if (status == DP_STATUS_OK) status = replay_entry(invocation, link, entry, error);
    json_decref(answer);
    dp_journal_link_close(link);
    return status;
}

const dp_command dp_command_cdc_quarantine_replay = {
    .path = "cdc quarantine replay",
    .summary = "deliver a quarantined change after it was mended",
    .arguments = "",
    .description =
        "Computes the change's event id from the mended event as the stream's identity v1 does, delivers it "
        "as a "
        "transaction of its own, asks the commit gate, and marks the entry as replayed, with who and how in "
        "the audit. "
        "Mending is either another --unique-key, or --event with the corrected event: take it from `dpone "
        "cdc quarantine show` or export.\n\n"
        "An id of identity dpone-py needs types and columns that an event does not tell: give it with "
        "--event-id. Delivered twice, it is a duplicate the second time.",
    .examples =
        "  dpone cdc quarantine replay --pipeline orders --id 3 --unique-key public.orders=id --why 'right "
        "key'\n"
        "  dpone cdc quarantine replay --pipeline orders --id 4 --event mended.json --why 'id from "
        "invoice'\n",
    .options = replay_options,
    .exit_codes = "0 replayed, 1 no such open entry, or the endpoint refused, 2 usage, 3 I/O or remote "
                  "failure, 4 still poison",
    .run = run_replay,
};

/* --- discard --- */

static const dp_option discard_options[] = {
    JOURNAL_OPTIONS, ID_OPTION,
    DP_OPTION_WHO,   {.name = "why", .argument = "TEXT", .help = "why, for the audit", .required = true},
    {.name = NULL},
};

static dp_status run_discard(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_journal_link *link = NULL;
    json_t *ids = json_array();
    const char *text;
    (void)exit_code;
    dp_status status = ids == NULL ? dp_error_no_memory(error, "entries") : DP_STATUS_OK;
    for (size_t i = 0; status == DP_STATUS_OK && (text = dp_invocation_nth(invocation, "id", i)) != NULL;
         i++) {
        json_int_t id = 0;
        status = parse_id(text, &id, error);
        if (status == DP_STATUS_OK) json_array_append_new(ids, json_integer(id));
    }
    if (status == DP_STATUS_OK) status = dp_journal_of_options(invocation, true, &link, error);
    if (status == DP_STATUS_OK)
        status = resolve(link, invocation, ids, "discarded", dp_invocation_text(invocation, "why"), error);
    size_t count = json_array_size(ids);
    json_decref(ids);
    dp_journal_link_close(link);
    if (status != DP_STATUS_OK) return status;
    return print_count("discarded", count, error);
}

const dp_command dp_command_cdc_quarantine_discard = {
    .path = "cdc quarantine discard",
    .summary = "decide that quarantined changes will never be delivered",
    .arguments = "",
    .description = "The entries stay, with who and why; all of the given ones or none.",
    .examples = "  dpone cdc quarantine discard --pipeline orders --id 3 --id 4 --why 'test rows'\n",
    .options = discard_options,
    .exit_codes = "0 discarded, 1 one of them is not open",
    .run = run_discard,
};
