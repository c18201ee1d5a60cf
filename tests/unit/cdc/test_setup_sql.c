/* Setup SQL: the steps of each backend, their order, hostile names, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cdc/setup_sql.h"

static dp_arena *arena;

static int open_arena(void **state)
{
    (void)state;
    arena = dp_arena_new(4096, 4u << 20);
    return arena == NULL ? -1 : 0;
}

static int close_arena(void **state)
{
    (void)state;
    dp_arena_free(arena);
    return 0;
}

static const dp_table_name orders[] = {{DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("orders")}};

static dp_setup_request postgres_request(void)
{
    return (dp_setup_request){.backend = DP_BACKEND_POSTGRES_LOGICAL,
                              .tables = orders,
                              .table_count = 1,
                              .slot = DP_SLICE_LITERAL("orders"),
                              .publication = DP_SLICE_LITERAL("orders"),
                              .plugin = DP_SLICE_LITERAL("pgoutput")};
}

static dp_setup_request mssql_request(dp_backend backend)
{
    return (dp_setup_request){
        .backend = backend, .tables = orders, .table_count = 1, .database = DP_SLICE_LITERAL("shop")};
}

static dp_setup_plan make(const dp_setup_request *request)
{
    dp_setup_plan plan = {.step_count = 0};
    dp_error error = DP_ERROR_INIT;
    if (dp_setup_plan_make(request, arena, &plan, &error) != DP_STATUS_OK) fail_msg("%s", error.message);
    return plan;
}

static void assert_steps(const dp_setup_request *request, const char *expected)
{
    dp_setup_plan plan = make(request);
    char names[512] = "";
    for (size_t i = 0; i < plan.step_count; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i == 0 ? "" : " ",
                 plan.steps[i].name);
        assert_true(plan.steps[i].sql.length > 0);
        assert_int_equal(plan.steps[i].sql.data[plan.steps[i].sql.length - 1], ';');
        assert_true(strlen(plan.steps[i].description) > 30);
    }
    assert_string_equal(names, expected);
}

static void each_backend_has_its_steps_in_order(void **state)
{
    (void)state;
    dp_setup_request request = postgres_request();
    assert_steps(&request, "check_wal_level check_replica_identity create_publication create_slot");
    request.role = DP_SLICE_LITERAL("dpone");
    request.replica_identity_full = true;
    assert_steps(&request,
                 "check_wal_level set_replica_identity create_publication grant_rights create_slot");
    request = postgres_request();
    request.plugin = DP_SLICE_LITERAL("wal2json");
    request.publication = (dp_slice){NULL, 0};
    assert_steps(&request, "check_wal_level check_plugin check_replica_identity create_slot");
    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    assert_steps(&request, "use_database enable_database enable_tables");
    request.role = DP_SLICE_LITERAL("dpone");
    request.retention_hours = 168;
    assert_steps(&request, "use_database enable_database enable_tables grant_rights set_retention");
    request = mssql_request(DP_BACKEND_MSSQL_CHANGE_TRACKING);
    assert_steps(&request, "use_database allow_snapshot_isolation enable_database enable_tables");
    request.role = DP_SLICE_LITERAL("dpone");
    assert_steps(&request,
                 "use_database allow_snapshot_isolation enable_database enable_tables grant_rights");
}

static void assert_contains(const dp_setup_request *request, const char *step_name, const char *expected)
{
    dp_setup_plan plan = make(request);
    for (size_t i = 0; i < plan.step_count; i++) {
        dp_slice sql = plan.steps[i].sql;
        if (strcmp(plan.steps[i].name, step_name) != 0) continue;
        if (memmem(sql.data, sql.length, expected, strlen(expected)) == NULL) {
            fail_msg("%s does not hold\n%s\nbut is\n%.*s", step_name, expected, (int)sql.length, sql.data);
        }
        return;
    }
    fail_msg("no step %s", step_name);
}

static void statements_say_what_was_asked(void **state)
{
    (void)state;
    dp_setup_request request = postgres_request();
    assert_contains(
        &request, "create_publication",
        "CREATE PUBLICATION \"orders\" FOR TABLE \"public\".\"orders\"\n"
        "      WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);");
    assert_contains(&request, "create_slot",
                    "SELECT pg_create_logical_replication_slot('orders', 'pgoutput')");
    assert_contains(&request, "check_replica_identity", "RAISE EXCEPTION '% has no replica identity'");
    request.publish_via_partition_root = true;
    assert_contains(&request, "create_publication", "publish_via_partition_root = true);");
    request.replica_identity_full = true;
    assert_contains(&request, "set_replica_identity",
                    "ALTER TABLE \"public\".\"orders\" REPLICA IDENTITY FULL;");

    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    assert_contains(
        &request, "enable_tables",
        "  EXEC sys.sp_cdc_enable_table\n    @source_schema = N'public',\n    @source_name = N'orders',\n"
        "    @role_name = NULL,\n    @capture_instance = N'public_orders',\n"
        "    @supports_net_changes = 0,\n    @filegroup_name = NULL;");
    request.capture_instance = DP_SLICE_LITERAL("o2");
    request.filegroup = DP_SLICE_LITERAL("fg");
    request.role = DP_SLICE_LITERAL("gate");
    request.supports_net_changes = true;
    request.retention_hours = 168;
    assert_contains(
        &request, "enable_tables",
        "    @role_name = N'gate',\n    @capture_instance = N'o2',\n    @supports_net_changes = 1,\n"
        "    @filegroup_name = N'fg';");
    assert_contains(&request, "set_retention", "@retention = 10080;");

    request = mssql_request(DP_BACKEND_MSSQL_CHANGE_TRACKING);
    assert_contains(
        &request, "enable_database",
        "ALTER DATABASE [shop] SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 48 HOURS, AUTO_CLEANUP = ON);");
    assert_contains(
        &request, "enable_tables",
        "ALTER TABLE [public].[orders] ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = OFF);");
    request.track_columns_updated = true;
    request.retention_hours = 1;
    assert_contains(&request, "enable_tables", "(TRACK_COLUMNS_UPDATED = ON);");
    assert_contains(&request, "enable_database",
                    "SET CHANGE_TRACKING (CHANGE_RETENTION = 1 HOURS, AUTO_CLEANUP = ON);");
}

static void hostile_names_stay_names(void **state)
{
    (void)state;
    const dp_table_name hostile[] = {
        {DP_SLICE_LITERAL("s\"]'"), DP_SLICE_LITERAL("t\"; DROP TABLE x; --$dpone$]'\\")}};
    dp_setup_request request = postgres_request();
    request.tables = hostile;
    request.publication = DP_SLICE_LITERAL("p\"'");
    request.role = DP_SLICE_LITERAL("r\"'");
    assert_contains(
        &request, "create_publication",
        "CREATE PUBLICATION \"p\"\"'\" FOR TABLE \"s\"\"]'\".\"t\"\"; DROP TABLE x; --$dpone$]'\\\"");
    assert_contains(&request, "create_publication", "DO $dpone1$\nBEGIN");
    assert_contains(&request, "create_publication", "pubname = 'p\"''')");
    assert_contains(&request, "check_replica_identity",
                    "E'\"s\"\"]''\".\"t\"\"; DROP TABLE x; --$dpone$]''\\\\\"'::regclass");
    assert_contains(&request, "grant_rights", "ALTER ROLE \"r\"\"'\" REPLICATION;");

    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    request.tables = hostile;
    request.database = DP_SLICE_LITERAL("d]; --");
    request.role = DP_SLICE_LITERAL("r]'");
    assert_contains(&request, "use_database", "USE [d]]; --];");
    assert_contains(&request, "enable_tables", "@source_name = N't\"; DROP TABLE x; --$dpone$]''\\',");
    assert_contains(&request, "grant_rights",
                    "GRANT SELECT ON OBJECT::[s\"]]'].[t\"; DROP TABLE x; --$dpone$]]'\\] TO [r]]'];");

    request.backend = DP_BACKEND_MSSQL_CHANGE_TRACKING;
    assert_contains(&request, "enable_tables",
                    "OBJECT_ID(N'[s\"]]''].[t\"; DROP TABLE x; --$dpone$]]''\\]'))");
}

static void names_never_reach_comments(void **state)
{
    (void)state;
    dp_setup_request request = postgres_request();
    request.publication = DP_SLICE_LITERAL("zebra_publication");
    dp_setup_plan plan = make(&request);
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_setup_plan_write_sql(&plan, &out);
    dp_slice rest = dp_buffer_slice(&out);
    dp_slice line;
    bool more = true;
    while (more) {
        more = dp_slice_split(rest, '\n', &line, &rest);
        if (!dp_slice_starts_with(line, DP_SLICE_LITERAL("--"))) continue;
        assert_null(memmem(line.data, line.length, "zebra", 5));
        assert_true(line.length <= 100);
    }
    dp_buffer_release(&out);
}

static void sql_server_batches_end_with_go(void **state)
{
    (void)state;
    dp_setup_request request = mssql_request(DP_BACKEND_MSSQL_CHANGE_TRACKING);
    dp_setup_plan plan = make(&request);
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_setup_plan_write_sql(&plan, &out);
    const char *text = dp_buffer_text(&out);
    assert_non_null(strstr(text, "\n-- 1. use_database\n"));
    assert_non_null(strstr(text, "USE [shop];\nGO\n\n-- 2. allow_snapshot_isolation\n"));
    dp_buffer_release(&out);
    dp_setup_plan_write_json(&plan, &out);
    text = dp_buffer_text(&out);
    assert_non_null(strstr(text, "{\n  \"backend\": \"mssql_change_tracking\",\n  \"steps\": [\n    {\n"
                                 "      \"name\": \"use_database\",\n      \"description\": \"Everything"));
    assert_non_null(strstr(text, "      \"sql\": \"USE [shop];\"\n"));
    dp_buffer_release(&out);
}

static void refuse(const dp_setup_request *request, const char *message_start)
{
    dp_setup_plan plan;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_setup_plan_make(request, arena, &plan, &error), DP_STATUS_USAGE);
    if (strncmp(error.message, message_start, strlen(message_start)) != 0) {
        fail_msg("got '%s', expected '%s...'", error.message, message_start);
    }
}

static void what_is_missing_or_impossible_is_named(void **state)
{
    (void)state;
    static const char long_name[] = "0123456789012345678901234567890123456789012345678901234567890123";
    dp_setup_request request = postgres_request();
    request.table_count = 0;
    refuse(&request, "missing required option --table SCHEMA.TABLE");
    request = postgres_request();
    request.slot.length = 0;
    refuse(&request, "missing required option --slot NAME");
    request = postgres_request();
    request.publication.length = 0;
    refuse(&request, "missing required option --publication NAME");
    request = postgres_request();
    request.publication = dp_slice_of_text(long_name);
    refuse(&request, "--publication: '0123");
    request = postgres_request();
    request.role = DP_SLICE_LITERAL("a\nGO\nDROP");
    refuse(&request, "--role: 'a?GO?DROP' holds a control character");
    request = postgres_request();
    request.plugin = DP_SLICE_LITERAL("test_decoding");
    refuse(&request, "--publication does not apply to --plugin test_decoding");
    request.publication.length = 0;
    request.publish_via_partition_root = true;
    refuse(&request, "--publish-via-partition-root does not apply to --plugin test_decoding");
    static const char *const bad_slots[] = {"Orders", "a-b", "a b", "a'b", "ä"};
    for (size_t i = 0; i < sizeof bad_slots / sizeof bad_slots[0]; i++) {
        request = postgres_request();
        request.slot = dp_slice_of_text(bad_slots[i]);
        refuse(&request, "--slot: '");
    }
    const dp_table_name twice[] = {orders[0], {DP_SLICE_LITERAL("p"), DP_SLICE_LITERAL("q")}, orders[0]};
    request = postgres_request();
    request.tables = twice;
    request.table_count = 3;
    refuse(&request, "--table: 'public.orders' is given twice");
    const dp_table_name too_long[] = {{DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL(long_name)}};
    request = postgres_request();
    request.tables = too_long;
    refuse(&request, "--table: '0123");

    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    request.database.length = 0;
    refuse(&request, "missing required option --database NAME");
    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    request.tables = twice;
    request.table_count = 2;
    request.capture_instance = DP_SLICE_LITERAL("x");
    refuse(&request, "--capture-instance names one instance, and 2 tables are given");
    char wide_name[100];
    memset(wide_name, 'x', sizeof wide_name);
    const dp_table_name wide[] = {{DP_SLICE_LITERAL("dbo"), {wide_name, sizeof wide_name}}};
    request = mssql_request(DP_BACKEND_MSSQL_CDC);
    request.tables = wide;
    refuse(&request, "--table: the capture instance of 'dbo.xxx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_backend_has_its_steps_in_order, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(statements_say_what_was_asked, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(hostile_names_stay_names, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(names_never_reach_comments, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(sql_server_batches_end_with_go, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(what_is_missing_or_impossible_is_named, open_arena, close_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
