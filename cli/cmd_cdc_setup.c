/* dpone cdc setup: runs what dpone cdc plan prints for PostgreSQL, publication first, then slot. */
#include "base/json_writer.h"
#include "cdc/postgres_preflight.h"
#include "cdc/setup_sql.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/live_source.h"

static const dp_option options[] = {
    {.name = "source",
     .argument = "DSN",
     .help = "postgresql://USER@HOST:PORT/DATABASE of someone with the rights",
     .environment = "DPONE_SOURCE"},
    {.name = "slot",
     .argument = "NAME",
     .help = "the replication slot to create",
     .environment = "DPONE_SLOT",
     .required = true},
    DP_OPTION_PUBLICATION,
    {.name = "plugin",
     .argument = "NAME",
     .help = "the slot's output plugin",
     .choices = "pgoutput|test_decoding|wal2json",
     .default_text = "pgoutput"},
    {.name = "table",
     .argument = "SCHEMA.TABLE",
     .help = "a table to capture; at least one",
     .repeatable = true,
     .required = true},
    {.name = "role", .argument = "NAME", .help = "who reads: gets the rights it needs"},
    {.name = "publish-via-partition-root", .help = "publish changes of partitions as changes of their root"},
    {.name = "replica-identity-full", .help = "make updates and deletes carry the whole old row"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

static dp_slice text_of(const dp_invocation *invocation, const char *option)
{
    return dp_slice_of_text(dp_invocation_text(invocation, option));
}

static dp_status read_request(const dp_invocation *invocation, dp_arena *arena, dp_setup_request *request,
                              dp_error *error)
{
    size_t count = 0;
    while (dp_invocation_nth(invocation, "table", count) != NULL)
        count++;
    dp_table_name *tables = dp_arena_alloc_zeroed(arena, count + 1, sizeof *tables);
    if (tables == NULL) return dp_error_no_memory(error, "the tables");
    for (size_t i = 0; i < count; i++) {
        dp_slice text = dp_slice_of_text(dp_invocation_nth(invocation, "table", i));
        dp_status status = dp_table_name_parse(text, "table", arena, &tables[i], error);
        if (status != DP_STATUS_OK) return status;
    }
    *request = (dp_setup_request){
        .backend = DP_BACKEND_POSTGRES_LOGICAL,
        .tables = tables,
        .table_count = count,
        .role = text_of(invocation, "role"),
        .slot = text_of(invocation, "slot"),
        .publication = text_of(invocation, "publication"),
        .plugin = text_of(invocation, "plugin"),
        .publish_via_partition_root = dp_invocation_switch(invocation, "publish-via-partition-root"),
        .replica_identity_full = dp_invocation_switch(invocation, "replica-identity-full"),
    };
    return DP_STATUS_OK;
}

/* A step that raised says itself what is wrong and what was expected. */
static dp_status run_step(dp_postgres_session *session, const dp_setup_step *step, dp_arena *arena,
                          dp_error *error)
{
    char *sql = dp_arena_alloc(arena, step->sql.length + 1);
    if (sql == NULL) return dp_error_no_memory(error, "a statement");
    memcpy(sql, step->sql.data, step->sql.length);
    sql[step->sql.length] = '\0';
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_postgres_query(session, sql, NULL, &cause);
    if (status == DP_STATUS_OK) return status;
    bool is_raised = strcmp(dp_postgres_sqlstate(session), "P0001") == 0;
    dp_error explained = DP_ERROR_INIT;
    dp_postgres_explain_start(dp_postgres_sqlstate(session), "", &cause, &explained);
    if (is_raised) {
        dp_error_set_code(error, DP_STATUS_BLOCKED, "setup_refused", "%s", cause.message);
    } else if (error->status == DP_STATUS_OK) {
        *error = explained;
    }
    dp_error_while(error, "running step %s", step->name);
    dp_error_hint(error, "'dpone cdc plan' prints the statements; steps before this one stay done");
    return error->status;
}

static dp_status run_plan(const dp_invocation *invocation, const dp_setup_plan *plan, dp_arena *arena,
                          dp_postgres_slot *slot, dp_error *error)
{
    dp_postgres_session *session;
    dp_status status = dp_postgres_connect(dp_invocation_text(invocation, "source"), false, &session, error);
    if (status != DP_STATUS_OK) return status;
    for (size_t i = 0; i < plan->step_count && status == DP_STATUS_OK; i++) {
        status = run_step(session, &plan->steps[i], arena, error);
    }
    const char *name = dp_invocation_text(invocation, "slot");
    if (status == DP_STATUS_OK) status = dp_postgres_read_slot(session, name, slot, error);
    dp_postgres_disconnect(session);
    return status;
}

static void render(const dp_invocation *invocation, const dp_setup_plan *plan, const dp_postgres_slot *slot,
                   dp_buffer *out)
{
    char position[DP_LSN_TEXT_BYTES];
    dp_lsn_format(slot->confirmed, position);
    if (!dp_wants_json(invocation)) {
        for (size_t i = 0; i < plan->step_count; i++) {
            dp_buffer_append_format(out, "done  %s\n", plan->steps[i].name);
        }
        dp_buffer_append_format(out, "slot '%s' (%s) begins at %s\n", dp_invocation_text(invocation, "slot"),
                                slot->plugin, position);
        return;
    }
    dp_json_writer json = dp_json_writer_pretty(out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "steps");
    dp_json_begin_array(&json);
    for (size_t i = 0; i < plan->step_count; i++) {
        dp_json_text(&json, plan->steps[i].name);
    }
    dp_json_end_array(&json);
    dp_json_key(&json, "slot");
    dp_json_text(&json, dp_invocation_text(invocation, "slot"));
    dp_json_key(&json, "plugin");
    dp_json_text(&json, slot->plugin);
    dp_json_key(&json, "position");
    dp_json_text(&json, position);
    dp_json_end_object(&json);
    dp_buffer_append_byte(out, '\n');
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_status status = dp_live_source_require(invocation, error);
    if (status != DP_STATUS_OK) return status;
    dp_arena *arena = dp_arena_new(64 << 10, 64 << 20);
    if (arena == NULL) return dp_error_no_memory(error, "the setup");
    dp_setup_request request;
    dp_setup_plan plan;
    dp_postgres_slot slot = {.exists = false};
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    status = read_request(invocation, arena, &request, error);
    if (status == DP_STATUS_OK) status = dp_setup_plan_make(&request, arena, &plan, error);
    if (status == DP_STATUS_OK) status = run_plan(invocation, &plan, arena, &slot, error);
    if (status == DP_STATUS_OK) {
        render(invocation, &plan, &slot, &out);
        status = dp_print_and_release(&out, error);
    }
    dp_arena_free(arena);
    return status;
}

const dp_command dp_command_cdc_setup = {
    .path = "cdc setup",
    .summary = "create the publication, then the slot, on a live PostgreSQL",
    .arguments = "",
    .description =
        "Runs the statements that 'dpone cdc plan' prints, in the same order. May be run again: what exists "
        "is left as it is, and what exists differently stops it. From then on the server keeps every change "
        "until it is confirmed.",
    .examples = "  dpone cdc setup --source postgresql://admin@db.example/shop --slot orders \\\n"
                "      --publication orders --table public.orders --table public.items --role dpone\n"
                "      publication and slot for two tables, and the rights to read them\n",
    .options = options,
    .exit_codes =
        "0 done, 1 something exists differently or a right is missing, 2 usage, 3 the source cannot "
        "be reached",
    .run = run,
};
