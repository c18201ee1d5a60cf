/* Setup SQL for SQL Server: change data capture and change tracking. */
#include "cdc/setup_internal.h"

enum { MAX_CAPTURE_INSTANCE_BYTES = 100 };

static void put_table(dp_buffer *out, const dp_table_name *table)
{
    dp_sql_put_bracketed(out, table->schema);
    dp_buffer_append_byte(out, '.');
    dp_sql_put_bracketed(out, table->table);
}

static void put_table_literal(dp_buffer *out, const dp_table_name *table)
{
    dp_buffer name = DP_BUFFER_INIT(4096);
    put_table(&name, table);
    if (name.failed) out->failed = true;
    dp_sql_put_national_literal(out, dp_buffer_slice(&name));
    dp_buffer_release(&name);
}

static void use_database(dp_setup_builder *builder)
{
    dp_buffer_append_text(&builder->sql, "USE ");
    dp_sql_put_bracketed(&builder->sql, builder->request->database);
    dp_buffer_append_text(&builder->sql, ";\n");
    dp_setup_end_step(
        builder, "use_database",
        "Everything below happens in this database. Where USE is not allowed, connect to it instead.");
}

static void grant_select(dp_setup_builder *builder, const dp_table_name *table)
{
    dp_buffer_append_text(&builder->sql, "GRANT SELECT ON OBJECT::");
    put_table(&builder->sql, table);
    dp_buffer_append_text(&builder->sql, " TO ");
    dp_sql_put_bracketed(&builder->sql, builder->request->role);
    dp_buffer_append_text(&builder->sql, ";\n");
}

/* schema_table unless one was given: the default of sp_cdc_enable_table. */
static void put_capture_instance(dp_buffer *out, const dp_setup_request *request, const dp_table_name *table)
{
    dp_buffer name = DP_BUFFER_INIT(4096);
    if (request->capture_instance.length > 0) {
        dp_buffer_append_slice(&name, request->capture_instance);
    } else {
        dp_buffer_append_slice(&name, table->schema);
        dp_buffer_append_byte(&name, '_');
        dp_buffer_append_slice(&name, table->table);
    }
    if (name.failed) out->failed = true;
    dp_sql_put_national_literal(out, dp_buffer_slice(&name));
    dp_buffer_release(&name);
}

static void put_optional_literal(dp_buffer *out, dp_slice text)
{
    if (text.length == 0) {
        dp_buffer_append_text(out, "NULL");
    } else {
        dp_sql_put_national_literal(out, text);
    }
}

static void enable_capture(dp_setup_builder *builder, const dp_table_name *table)
{
    const dp_setup_request *request = builder->request;
    dp_buffer *sql = &builder->sql;
    dp_buffer_append_text(sql, "IF NOT EXISTS (SELECT 1 FROM cdc.change_tables WHERE capture_instance = ");
    put_capture_instance(sql, request, table);
    dp_buffer_append_text(sql, ")\n  EXEC sys.sp_cdc_enable_table\n    @source_schema = ");
    dp_sql_put_national_literal(sql, table->schema);
    dp_buffer_append_text(sql, ",\n    @source_name = ");
    dp_sql_put_national_literal(sql, table->table);
    dp_buffer_append_text(sql, ",\n    @role_name = ");
    put_optional_literal(sql, request->role);
    dp_buffer_append_text(sql, ",\n    @capture_instance = ");
    put_capture_instance(sql, request, table);
    dp_buffer_append_format(sql, ",\n    @supports_net_changes = %d,\n    @filegroup_name = ",
                            request->supports_net_changes ? 1 : 0);
    put_optional_literal(sql, request->filegroup);
    dp_buffer_append_text(sql, ";\n");
}

static dp_status check_mssql_names(const dp_setup_request *request, dp_error *error)
{
    dp_status status = dp_setup_check_name(DP_SETUP_MSSQL, "database", request->database, error);
    if (status == DP_STATUS_OK) {
        status = dp_setup_check_optional_name(DP_SETUP_MSSQL, "role", request->role, error);
    }
    return status;
}

static dp_status check_capture_instances(const dp_setup_request *request, dp_error *error)
{
    if (request->capture_instance.length > 0 && request->table_count > 1) {
        return dp_error_set(
            error, DP_STATUS_USAGE,
            "--capture-instance names one instance, and %zu tables are given; expected one --table",
            request->table_count);
    }
    dp_status status =
        dp_setup_check_optional_name(DP_SETUP_MSSQL, "capture-instance", request->capture_instance, error);
    if (status == DP_STATUS_OK) {
        status = dp_setup_check_optional_name(DP_SETUP_MSSQL, "filegroup", request->filegroup, error);
    }
    if (status != DP_STATUS_OK) return status;
    for (size_t i = 0; i < request->table_count; i++) {
        size_t length = request->capture_instance.length > 0
                            ? request->capture_instance.length
                            : request->tables[i].schema.length + 1 + request->tables[i].table.length;
        if (length <= MAX_CAPTURE_INSTANCE_BYTES) continue;
        dp_error_set(error, DP_STATUS_USAGE,
                     "--table: the capture instance of '%.*s.%.*s' is longer than %d bytes",
                     DP_SLICE_PRINT(request->tables[i].schema), DP_SLICE_PRINT(request->tables[i].table),
                     MAX_CAPTURE_INSTANCE_BYTES);
        dp_error_hint(error, "give it a short name with --capture-instance");
        return DP_STATUS_USAGE;
    }
    return DP_STATUS_OK;
}

static void grant_capture_rights(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    if (request->role.length == 0) return;
    for (size_t i = 0; i < request->table_count; i++) {
        grant_select(builder, &request->tables[i]);
    }
    dp_setup_end_step(
        builder, "grant_rights",
        "The gating role, created with the capture instance, lets its members query changes; they also "
        "need SELECT on the captured columns.");
}

static void set_capture_retention(dp_setup_builder *builder)
{
    if (builder->request->retention_hours == 0) return;
    dp_buffer_append_text(&builder->sql, "EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = ");
    dp_buffer_append_u64(&builder->sql, builder->request->retention_hours * 60);
    dp_buffer_append_text(&builder->sql, ";\n");
    dp_setup_end_step(
        builder, "set_retention",
        "How long changes are kept, in minutes: longer than the longest outage you want to survive "
        "without a new snapshot.");
}

dp_status dp_setup_mssql_cdc(dp_setup_builder *builder, dp_error *error)
{
    const dp_setup_request *request = builder->request;
    dp_status status = check_mssql_names(request, error);
    if (status == DP_STATUS_OK) status = check_capture_instances(request, error);
    if (status != DP_STATUS_OK) return status;
    use_database(builder);
    dp_buffer_append_text(
        &builder->sql,
        "IF NOT EXISTS (SELECT 1 FROM sys.databases WHERE name = DB_NAME() AND is_cdc_enabled = 1)\n"
        "  EXEC sys.sp_cdc_enable_db;\n");
    dp_setup_end_step(
        builder, "enable_database",
        "Creates the cdc schema and its tables. It takes sysadmin (db_owner on Azure SQL Database), and "
        "SQL Server Agent must run: its jobs fill and clean the change tables.");
    for (size_t i = 0; i < request->table_count; i++) {
        enable_capture(builder, &request->tables[i]);
    }
    dp_setup_end_step(
        builder, "enable_tables",
        "One capture instance for each table. The columns are fixed now: columns added later need a new "
        "instance.");
    grant_capture_rights(builder);
    set_capture_retention(builder);
    return DP_STATUS_OK;
}

static void enable_tracking_of_database(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    uint64_t hours = request->retention_hours == 0 ? 48 : request->retention_hours;
    dp_buffer *sql = &builder->sql;
    dp_buffer_append_text(sql,
                          "IF NOT EXISTS (SELECT 1 FROM sys.change_tracking_databases WHERE database_id = "
                          "DB_ID())\n  ALTER DATABASE ");
    dp_sql_put_bracketed(sql, request->database);
    dp_buffer_append_text(sql, " SET CHANGE_TRACKING = ON (CHANGE_RETENTION = ");
    dp_buffer_append_u64(sql, hours);
    dp_buffer_append_text(sql, " HOURS, AUTO_CLEANUP = ON);\n");
    if (request->retention_hours != 0) {
        dp_buffer_append_text(sql, "ELSE\n  ALTER DATABASE ");
        dp_sql_put_bracketed(sql, request->database);
        dp_buffer_append_text(sql, " SET CHANGE_TRACKING (CHANGE_RETENTION = ");
        dp_buffer_append_u64(sql, hours);
        dp_buffer_append_text(sql, " HOURS, AUTO_CLEANUP = ON);\n");
    }
    dp_setup_end_step(
        builder, "enable_database",
        "Starts the version counter and says how long changes are kept: longer than the longest outage "
        "you want to survive without a new snapshot.");
}

static void enable_tracking_of_tables(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    for (size_t i = 0; i < request->table_count; i++) {
        dp_buffer *sql = &builder->sql;
        dp_buffer_append_text(sql,
                              "IF NOT EXISTS (SELECT 1 FROM sys.change_tracking_tables WHERE object_id = "
                              "OBJECT_ID(");
        put_table_literal(sql, &request->tables[i]);
        dp_buffer_append_text(sql, "))\n  ALTER TABLE ");
        put_table(sql, &request->tables[i]);
        dp_buffer_append_format(sql, " ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = %s);\n",
                                request->track_columns_updated ? "ON" : "OFF");
    }
    dp_setup_end_step(
        builder, "enable_tables",
        "Each table needs a primary key: change tracking records which keys changed, not the values.");
}

static void grant_tracking_rights(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    if (request->role.length == 0) return;
    for (size_t i = 0; i < request->table_count; i++) {
        grant_select(builder, &request->tables[i]);
        dp_buffer_append_text(&builder->sql, "GRANT VIEW CHANGE TRACKING ON OBJECT::");
        put_table(&builder->sql, &request->tables[i]);
        dp_buffer_append_text(&builder->sql, " TO ");
        dp_sql_put_bracketed(&builder->sql, request->role);
        dp_buffer_append_text(&builder->sql, ";\n");
    }
    dp_setup_end_step(builder, "grant_rights",
                      "Reading changes takes SELECT on the key and VIEW CHANGE TRACKING.");
}

dp_status dp_setup_mssql_change_tracking(dp_setup_builder *builder, dp_error *error)
{
    dp_status status = check_mssql_names(builder->request, error);
    if (status != DP_STATUS_OK) return status;
    use_database(builder);
    dp_buffer_append_text(&builder->sql, "ALTER DATABASE ");
    dp_sql_put_bracketed(&builder->sql, builder->request->database);
    dp_buffer_append_text(&builder->sql, " SET ALLOW_SNAPSHOT_ISOLATION ON;\n");
    dp_setup_end_step(
        builder, "allow_snapshot_isolation",
        "The version and the rows must be read at one point in time, or a change between the two reads "
        "is lost.");
    enable_tracking_of_database(builder);
    enable_tracking_of_tables(builder);
    grant_tracking_rights(builder);
    return DP_STATUS_OK;
}
