/* dpone cdc plan: reads names from the command line, asks for the setup SQL, renders it. */
#include "cdc/setup_sql.h"
#include "cli/commands.h"
#include "cli/common_options.h"

static const dp_option options[] = {
    {.name = "backend",
     .argument = "BACKEND",
     .help = "the change stream to prepare",
     .choices = DP_BACKEND_CHOICES,
     .required = true},
    {.name = "table",
     .argument = "SCHEMA.TABLE",
     .help = "a table to capture; at least one",
     .repeatable = true,
     .required = true},
    {.name = "role", .argument = "NAME", .help = "who reads: gets the rights it needs"},
    {.name = "slot", .argument = "NAME", .help = "replication slot to create (postgres_logical, required)"},
    {.name = "plugin",
     .argument = "PLUGIN",
     .help = "output plugin of the slot (postgres_logical; pgoutput unless given)",
     .choices = "pgoutput|test_decoding|wal2json"},
    {.name = "publication",
     .argument = "NAME",
     .help = "publication to create (postgres_logical, required by pgoutput)"},
    {.name = "publish-via-partition-root",
     .help = "publish changes of partitions as changes of their root (postgres_logical)"},
    {.name = "replica-identity-full",
     .help = "make updates and deletes carry the whole old row (postgres_logical)"},
    {.name = "database",
     .argument = "NAME",
     .help = "the database to prepare (mssql_cdc and mssql_change_tracking, required)"},
    {.name = "retention-hours",
     .argument = "HOURS",
     .help = "how long changes are kept (mssql_cdc and mssql_change_tracking; the server's default unless "
             "given)"},
    {.name = "capture-instance",
     .argument = "NAME",
     .help = "name of the capture instance (mssql_cdc, with one table; schema_table unless given)"},
    {.name = "filegroup", .argument = "NAME", .help = "where the change tables are kept (mssql_cdc)"},
    {.name = "supports-net-changes",
     .help = "also keep what net changes need: a primary key or unique index (mssql_cdc)"},
    {.name = "track-columns-updated", .help = "also record which columns changed (mssql_change_tracking)"},
    DP_OPTION_FORMAT,
    {.name = NULL},
};

enum {
    POSTGRES = 1 << DP_BACKEND_POSTGRES_LOGICAL,
    CAPTURE = 1 << DP_BACKEND_MSSQL_CDC,
    TRACKING = 1 << DP_BACKEND_MSSQL_CHANGE_TRACKING
};

/* An option that the backend would ignore is refused: it was meant to do something. */
static dp_status check_applicable(const dp_invocation *invocation, dp_backend backend, dp_error *error)
{
    static const struct {
        const char *option;
        unsigned backends;
    } applicable[] = {
        {"slot", POSTGRES},
        {"plugin", POSTGRES},
        {"publication", POSTGRES},
        {"publish-via-partition-root", POSTGRES},
        {"replica-identity-full", POSTGRES},
        {"database", CAPTURE | TRACKING},
        {"retention-hours", CAPTURE | TRACKING},
        {"capture-instance", CAPTURE},
        {"filegroup", CAPTURE},
        {"supports-net-changes", CAPTURE},
        {"track-columns-updated", TRACKING},
    };
    for (size_t i = 0; i < sizeof applicable / sizeof applicable[0]; i++) {
        if ((applicable[i].backends & 1u << backend) != 0) continue;
        if (!dp_invocation_given(invocation, applicable[i].option)) continue;
        dp_slice name = dp_backend_text(backend);
        dp_error_set(error, DP_STATUS_USAGE, "--%s does not apply to --backend %.*s", applicable[i].option,
                     DP_SLICE_PRINT(name));
        dp_error_hint(error, "see 'dpone cdc plan --help'");
        return DP_STATUS_USAGE;
    }
    return DP_STATUS_OK;
}

static dp_slice text_of(const dp_invocation *invocation, const char *option)
{
    return dp_slice_of_text(dp_invocation_text(invocation, option));
}

static dp_status read_tables(const dp_invocation *invocation, dp_arena *arena, dp_setup_request *request,
                             dp_error *error)
{
    size_t count = 0;
    while (dp_invocation_nth(invocation, "table", count) != NULL) {
        count++;
    }
    dp_table_name *tables = dp_arena_alloc_zeroed(arena, count + 1, sizeof *tables);
    if (tables == NULL) return dp_error_no_memory(error, "the tables");
    for (size_t i = 0; i < count; i++) {
        dp_slice text = dp_slice_of_text(dp_invocation_nth(invocation, "table", i));
        dp_status status = dp_table_name_parse(text, "table", arena, &tables[i], error);
        if (status != DP_STATUS_OK) return status;
    }
    request->tables = tables;
    request->table_count = count;
    return DP_STATUS_OK;
}

static dp_status read_request(const dp_invocation *invocation, dp_arena *arena, dp_setup_request *request,
                              dp_error *error)
{
    if (!dp_backend_parse(text_of(invocation, "backend"), &request->backend)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--backend: expected one of " DP_BACKEND_CHOICES);
    }
    dp_status status = check_applicable(invocation, request->backend, error);
    if (status == DP_STATUS_OK) status = read_tables(invocation, arena, request, error);
    if (status == DP_STATUS_OK && dp_invocation_given(invocation, "retention-hours")) {
        status = dp_invocation_u64(invocation, "retention-hours", 1, 87600, &request->retention_hours, error);
    }
    if (status != DP_STATUS_OK) return status;
    request->role = text_of(invocation, "role");
    request->slot = text_of(invocation, "slot");
    request->plugin = dp_invocation_given(invocation, "plugin") ? text_of(invocation, "plugin")
                                                                : DP_SLICE_LITERAL("pgoutput");
    request->publication = text_of(invocation, "publication");
    request->publish_via_partition_root = dp_invocation_switch(invocation, "publish-via-partition-root");
    request->replica_identity_full = dp_invocation_switch(invocation, "replica-identity-full");
    request->database = text_of(invocation, "database");
    request->capture_instance = text_of(invocation, "capture-instance");
    request->filegroup = text_of(invocation, "filegroup");
    request->supports_net_changes = dp_invocation_switch(invocation, "supports-net-changes");
    request->track_columns_updated = dp_invocation_switch(invocation, "track-columns-updated");
    return DP_STATUS_OK;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    (void)exit_code;
    dp_arena *arena = dp_arena_new(64 << 10, 16 << 20);
    if (arena == NULL) return dp_error_no_memory(error, "the setup plan");
    dp_setup_request request = {.backend = DP_BACKEND_POSTGRES_LOGICAL};
    dp_setup_plan plan;
    dp_buffer out = DP_BUFFER_INIT(16u << 20);
    dp_status status = read_request(invocation, arena, &request, error);
    if (status == DP_STATUS_OK) status = dp_setup_plan_make(&request, arena, &plan, error);
    if (status == DP_STATUS_OK) {
        if (dp_wants_json(invocation)) {
            dp_setup_plan_write_json(&plan, &out);
        } else {
            dp_setup_plan_write_sql(&plan, &out);
        }
        status = dp_print_and_release(&out, error);
    }
    dp_arena_free(arena);
    return status;
}

const dp_command dp_command_cdc_plan = {
    .path = "cdc plan",
    .summary = "print the SQL that prepares a source for change capture",
    .arguments = "",
    .description =
        "Prints statements and why each is needed; runs nothing. Someone with the rights reads them and runs "
        "them. "
        "They may be run again: what exists is left as it is, and what exists differently stops the script.\n"
        "\n"
        "Names are taken as they are and quoted for the dialect. A name with '.', ',', '=' or '\"' in it is "
        "written "
        "in double quotes: --table 'public.\"odd.name\"'.",
    .examples =
        "  dpone cdc plan --backend postgres_logical --slot orders --publication orders \\\n"
        "      --table public.orders --table public.items --role dpone > setup.sql\n"
        "  psql -X -v ON_ERROR_STOP=1 -f setup.sql\n"
        "      publication, then slot, for two tables\n"
        "  dpone cdc plan --backend mssql_cdc --database shop --table dbo.orders --retention-hours 168\n"
        "      SQL Server change data capture that keeps a week\n"
        "  dpone cdc plan --backend mssql_change_tracking --database shop --table dbo.orders --format json\n"
        "      SQL Server change tracking, as JSON\n",
    .options = options,
    .exit_codes = "0 done, 2 bad usage or a missing option",
    .run = run,
};
