/* dpone offsets list, show, set, delete: offsets of a state database, by hand. */
#include <pwd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/state_options.h"
#include "services/state_admin.h"

#define ARENA_BYTES ((size_t)64 << 20)

#define PIPELINE_OPTION                                                                                      \
    {                                                                                                        \
        .name = "pipeline", .argument = "NAME", .help = "the pipeline whose offset it is", .required = true  \
    }
#define TABLE_OPTION                                                                                         \
    {                                                                                                        \
        .name = "table", .argument = "SCHEMA.TABLE",                                                         \
        .help = "the source table; *.* is the offset of a pipeline that reads many through one slot",        \
        .default_text = "*.*"                                                                                \
    }
#define BACKEND_OPTION                                                                                       \
    {                                                                                                        \
        .name = "backend", .argument = "BACKEND", .help = "the change stream that the token belongs to",     \
        .default_text = "postgres_logical", .choices = DP_BACKEND_CHOICES                                    \
    }
#define WHO_OPTION                                                                                           \
    {                                                                                                        \
        .name = "who", .argument = "NAME", .help = "who does this, for the audit; without it USER@HOST",     \
        .environment = "DPONE_WHO"                                                                           \
    }
#define WHY_OPTION                                                                                           \
    {                                                                                                        \
        .name = "why", .argument = "TEXT", .help = "why, for the audit", .required = true                    \
    }

/* --- what the commands share --------------------------------------------------------------------------- */

void dp_offset_rows_write_json(const dp_offset_row *rows, size_t count, dp_json_writer *writer)
{
    dp_json_begin_array(writer);
    for (size_t i = 0; i < count; i++) {
        dp_json_begin_object(writer);
        dp_json_member_slice(writer, "pipeline", rows[i].pipeline_name);
        dp_json_member_slice(writer, "source_schema", rows[i].source_schema);
        dp_json_member_slice(writer, "source_table", rows[i].source_table);
        dp_json_member_slice(writer, "backend", rows[i].backend);
        dp_json_member_slice(writer, "token", rows[i].token);
        dp_json_member_bool(writer, "snapshot_complete", rows[i].snapshot_complete);
        dp_json_member_time(writer, "loaded_at", rows[i].loaded_at_us);
        dp_json_member_time(writer, "updated_at", rows[i].updated_at_us);
        dp_json_end_object(writer);
    }
    dp_json_end_array(writer);
}

static void put_line(dp_buffer *out, const dp_offset_row *row)
{
    char updated[DP_CLOCK_TEXT_BYTES];
    size_t start = out->length;
    dp_clock_format_utc(row->updated_at_us, updated);
    dp_buffer_append_format(out, "%.*s  %.*s.%.*s  %.*s  %.*s  %s%s", DP_SLICE_PRINT(row->pipeline_name),
                            DP_SLICE_PRINT(row->source_schema), DP_SLICE_PRINT(row->source_table),
                            DP_SLICE_PRINT(row->backend), DP_SLICE_PRINT(row->token), updated,
                            row->snapshot_complete ? "" : "  snapshot not complete");
    dp_utf8_make_printable(out->data + start, out->length - start);
    dp_buffer_append_byte(out, '\n');
}

static dp_status print_rows(const dp_invocation *invocation, const dp_offset_row *rows, size_t count,
                            dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(ARENA_BYTES);
    if (dp_wants_json(invocation)) {
        dp_json_writer writer = dp_json_writer_pretty(&out);
        dp_offset_rows_write_json(rows, count, &writer);
        dp_buffer_append_byte(&out, '\n');
    } else {
        for (size_t i = 0; i < count; i++) {
            put_line(&out, &rows[i]);
        }
    }
    dp_status status =
        out.failed ? dp_error_no_memory(error, "the list") : dp_print(dp_buffer_slice(&out), error);
    dp_buffer_release(&out);
    return status;
}

/* Schema and table are split at the first dot. */
static dp_status read_name(const dp_invocation *invocation, dp_offset_row *row, dp_error *error)
{
    dp_slice table = dp_slice_of_text(dp_invocation_text(invocation, "table"));
    row->pipeline_name = dp_slice_of_text(dp_invocation_text(invocation, "pipeline"));
    row->backend = dp_slice_of_text(dp_invocation_text(invocation, "backend"));
    if (row->pipeline_name.length == 0 || !dp_utf8_valid(row->pipeline_name, NULL)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--pipeline: expected a name");
    }
    if (!dp_utf8_valid(table, NULL) || !dp_slice_split(table, '.', &row->source_schema, &row->source_table) ||
        row->source_schema.length == 0 || row->source_table.length == 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "--table: '%.*s' is not SCHEMA.TABLE",
                            DP_SLICE_PRINT(table));
    }
    return DP_STATUS_OK;
}

static dp_actor read_actor(const dp_invocation *invocation, char buffer[256])
{
    const char *who = dp_invocation_text(invocation, "who");
    if (who == NULL) {
        char host[128] = "localhost";
        const struct passwd *user = getpwuid(getuid());
        gethostname(host, sizeof host - 1);
        snprintf(buffer, 256, "%.100s@%s", user == NULL ? "unknown" : user->pw_name, host);
        who = buffer;
    }
    return (dp_actor){dp_slice_of_text(who), dp_slice_of_text(dp_invocation_text(invocation, "why"))};
}

/* --- list and show ------------------------------------------------------------------------------------- */

static const dp_option list_options[] = {
    DP_STATE_OPTION,
    {.name = "pipeline", .argument = "NAME", .help = "only this pipeline"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

static dp_status run_list(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_state_report report;
    dp_arena *arena = dp_arena_new(65536, ARENA_BYTES);
    if (arena == NULL) return dp_error_no_memory(error, "the list");
    dp_status status = dp_state_read_report(dp_invocation_text(invocation, "state"),
                                            dp_slice_of_text(dp_invocation_text(invocation, "pipeline")),
                                            arena, &report, error);
    if (status == DP_STATUS_OK && !report.is_current) {
        dp_error_set(error, DP_STATUS_USAGE, "the state database is not up to date");
        dp_error_hint(error, "run: dpone state migrate");
        status = DP_STATUS_USAGE;
    }
    if (status == DP_STATUS_OK) status = print_rows(invocation, report.offsets, report.offset_count, error);
    dp_arena_free(arena);
    return status;
}

const dp_command dp_command_offsets_list = {
    .path = "offsets list",
    .summary = "list the stored offsets",
    .arguments = "",
    .description = "",
    .examples = "  dpone offsets list --format json\n",
    .options = list_options,
    .exit_codes = "",
    .run = run_list,
};

static const dp_option show_options[] = {
    DP_STATE_OPTION, PIPELINE_OPTION, TABLE_OPTION, BACKEND_OPTION, DP_OPTION_FORMAT, {.name = NULL},
};

static dp_status run_show(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_offset_row row = {.token = {NULL, 0}};
    dp_status status = read_name(invocation, &row, error);
    if (status != DP_STATUS_OK) return status;
    dp_arena *arena = dp_arena_new(1024, ARENA_BYTES);
    if (arena == NULL) return dp_error_no_memory(error, "an offset");
    status = dp_state_load_offset(dp_invocation_text(invocation, "state"), &row, arena, error);
    if (status == DP_STATUS_OK) status = print_rows(invocation, &row, 1, error);
    dp_arena_free(arena);
    return status;
}

const dp_command dp_command_offsets_show = {
    .path = "offsets show",
    .summary = "show the offset that a pipeline resumes from",
    .arguments = "",
    .description = "A table without an offset of its own is answered with the pipeline's *.* offset.",
    .examples = "  dpone offsets show --pipeline orders-cdc\n"
                "  dpone offsets show --pipeline orders-cdc --table public.orders\n",
    .options = show_options,
    .exit_codes = "0 found, 1 there is none",
    .run = run_show,
};

/* --- set and delete ------------------------------------------------------------------------------------ */

static const dp_option set_options[] = {
    DP_STATE_OPTION,
    PIPELINE_OPTION,
    TABLE_OPTION,
    BACKEND_OPTION,
    {.name = "token", .argument = "TOKEN", .help = "where reading resumes", .required = true},
    {.name = "snapshot-incomplete", .help = "the initial snapshot is not complete at this offset"},
    {.name = "allow-rewind", .help = "accept a token behind the stored one: changes are loaded again"},
    WHO_OPTION,
    WHY_OPTION,
    {.name = NULL},
};

static dp_status run_set(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    char who[256];
    dp_offset_save save = {.allow_rewind = dp_invocation_switch(invocation, "allow-rewind"),
                           .actor = read_actor(invocation, who)};
    dp_status status = read_name(invocation, &save.row, error);
    if (status != DP_STATUS_OK) return status;
    save.row.token = dp_slice_of_text(dp_invocation_text(invocation, "token"));
    save.row.snapshot_complete = !dp_invocation_switch(invocation, "snapshot-incomplete");
    return dp_state_save_offset(dp_invocation_text(invocation, "state"), &save, error);
}

const dp_command dp_command_offsets_set = {
    .path = "offsets set",
    .summary = "store an offset by hand; recorded in the audit",
    .arguments = "",
    .description =
        "Stop the pipeline first: a running one saves its own. A token behind the stored one is refused "
        "without --allow-rewind.",
    .examples = "  dpone offsets set --pipeline orders-cdc --token 0/16B6D28 --allow-rewind --why 'replay of "
                "Monday'\n",
    .options = set_options,
    .exit_codes = "0 stored, 1 refused",
    .run = run_set,
};

static const dp_option delete_options[] = {
    DP_STATE_OPTION, PIPELINE_OPTION, TABLE_OPTION, BACKEND_OPTION, WHO_OPTION, WHY_OPTION, {.name = NULL},
};

static dp_status run_delete(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    char who[256];
    dp_offset_row row = {.token = {NULL, 0}};
    const dp_actor actor = read_actor(invocation, who);
    dp_status status = read_name(invocation, &row, error);
    if (status != DP_STATUS_OK) return status;
    return dp_state_delete_offset(dp_invocation_text(invocation, "state"), &row, &actor, error);
}

const dp_command dp_command_offsets_delete = {
    .path = "offsets delete",
    .summary = "delete an offset; recorded in the audit",
    .arguments = "",
    .description = "The pipeline then starts as if it had never run. Deletes exactly the row that is named.",
    .examples =
        "  dpone offsets delete --pipeline orders-cdc --table public.orders --why 'table was dropped'\n",
    .options = delete_options,
    .exit_codes = "0 deleted, 1 there is none",
    .run = run_delete,
};
