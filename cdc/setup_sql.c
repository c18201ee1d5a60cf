#include "cdc/setup_sql.h"

#include "base/json_writer.h"
#include "base/utf8.h"
#include "cdc/setup_internal.h"

void dp_setup_end_step(dp_setup_builder *builder, const char *name, const char *description)
{
    dp_slice sql = dp_arena_copy(builder->arena, dp_slice_trim(dp_buffer_slice(&builder->sql)));
    if (builder->sql.failed || sql.data == NULL) builder->failed = true;
    builder->steps[builder->step_count++] = (dp_setup_step){name, description, sql};
    dp_buffer_clear(&builder->sql);
}

bool dp_setup_first_of_schema(const dp_setup_request *request, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (dp_slice_equal(request->tables[i].schema, request->tables[index].schema)) return false;
    }
    return true;
}

/* PostgreSQL cuts names at 63 bytes without an error; SQL Server's sysname holds 128 UTF-16 units. */
static bool fits(dp_setup_dialect dialect, dp_slice name)
{
    if (dialect == DP_SETUP_POSTGRES) return name.length <= 63;
    size_t units = 0;
    for (size_t i = 0; i < name.length; i++) {
        unsigned char byte = (unsigned char)name.data[i];
        if ((byte & 0xC0) != 0x80) units += byte >= 0xF0 ? 2 : 1;
    }
    return units <= 128;
}

dp_status dp_setup_check_optional_name(dp_setup_dialect dialect, const char *option_name, dp_slice name,
                                       dp_error *error)
{
    if (!dp_utf8_is_plain(name)) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--%s: '%.*s' holds a control character or is not UTF-8; expected a name",
                            option_name, DP_SLICE_PRINT(name));
    }
    if (!fits(dialect, name)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--%s: '%.*s' is too long; expected at most %s",
                            option_name, DP_SLICE_PRINT(name),
                            dialect == DP_SETUP_POSTGRES ? "63 bytes" : "128 characters");
    }
    return DP_STATUS_OK;
}

dp_status dp_setup_check_name(dp_setup_dialect dialect, const char *option_name, dp_slice name,
                              dp_error *error)
{
    if (name.length == 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "missing required option --%s NAME", option_name);
    }
    return dp_setup_check_optional_name(dialect, option_name, name, error);
}

static bool is_repeated(const dp_setup_request *request, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (dp_slice_equal(request->tables[i].schema, request->tables[index].schema) &&
            dp_slice_equal(request->tables[i].table, request->tables[index].table)) {
            return true;
        }
    }
    return false;
}

static dp_status check_tables(const dp_setup_request *request, dp_error *error)
{
    dp_setup_dialect dialect =
        request->backend == DP_BACKEND_POSTGRES_LOGICAL ? DP_SETUP_POSTGRES : DP_SETUP_MSSQL;
    if (request->table_count == 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "missing required option --table SCHEMA.TABLE");
    }
    if (request->table_count > DP_SETUP_MAX_TABLES) {
        return dp_error_set(error, DP_STATUS_USAGE, "--table: more than %d tables", DP_SETUP_MAX_TABLES);
    }
    for (size_t i = 0; i < request->table_count; i++) {
        dp_status status = dp_setup_check_name(dialect, "table", request->tables[i].schema, error);
        if (status == DP_STATUS_OK) {
            status = dp_setup_check_name(dialect, "table", request->tables[i].table, error);
        }
        if (status != DP_STATUS_OK) return status;
        if (is_repeated(request, i)) {
            return dp_error_set(error, DP_STATUS_USAGE, "--table: '%.*s.%.*s' is given twice",
                                DP_SLICE_PRINT(request->tables[i].schema),
                                DP_SLICE_PRINT(request->tables[i].table));
        }
    }
    return DP_STATUS_OK;
}

static dp_status write_steps(dp_setup_builder *builder, dp_error *error)
{
    switch (builder->request->backend) {
    case DP_BACKEND_POSTGRES_LOGICAL: return dp_setup_postgres(builder, error);
    case DP_BACKEND_MSSQL_CDC: return dp_setup_mssql_cdc(builder, error);
    case DP_BACKEND_MSSQL_CHANGE_TRACKING: return dp_setup_mssql_change_tracking(builder, error);
    }
    return dp_error_set(error, DP_STATUS_INTERNAL, "unknown backend");
}

dp_status dp_setup_plan_make(const dp_setup_request *request, dp_arena *arena, dp_setup_plan *plan,
                             dp_error *error)
{
    dp_setup_builder builder = {
        .request = request, .arena = arena, .sql = DP_BUFFER_INIT(DP_SETUP_MAX_SQL_BYTES)};
    dp_status status = check_tables(request, error);
    if (status == DP_STATUS_OK) status = write_steps(&builder, error);
    dp_buffer_release(&builder.sql);
    if (status != DP_STATUS_OK) return status;
    dp_setup_step *steps = dp_arena_alloc(arena, sizeof builder.steps);
    if (builder.failed || steps == NULL) return dp_error_no_memory(error, "the setup plan");
    memcpy(steps, builder.steps, sizeof builder.steps);
    *plan = (dp_setup_plan){request->backend, steps, builder.step_count};
    return DP_STATUS_OK;
}

/* "-- " lines of at most 100 characters. */
static void append_comment(dp_buffer *out, const char *text)
{
    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > 97) {
            length = 97;
            while (text[length] != ' ') {
                length--;
            }
        }
        dp_buffer_append_text(out, "-- ");
        dp_buffer_append(out, text, length);
        dp_buffer_append_byte(out, '\n');
        text += length;
        while (*text == ' ') {
            text++;
        }
    }
}

void dp_setup_plan_write_sql(const dp_setup_plan *plan, dp_buffer *out)
{
    bool postgres = plan->backend == DP_BACKEND_POSTGRES_LOGICAL;
    dp_slice backend = dp_backend_text(plan->backend);
    dp_buffer_append_format(out, "-- dpone: prepare a source for %.*s\n", DP_SLICE_PRINT(backend));
    append_comment(
        out, postgres ? "Run with: psql -X -v ON_ERROR_STOP=1 -f FILE. Each statement is a transaction of "
                        "its own; every step may be run again."
                      : "Run with: sqlcmd -b -x -i FILE (-x leaves names that look like $(variables) "
                        "alone). Every step may be run again.");
    for (size_t i = 0; i < plan->step_count; i++) {
        const dp_setup_step *step = &plan->steps[i];
        dp_buffer_append_format(out, "\n-- %zu. %s\n", i + 1, step->name);
        append_comment(out, step->description);
        dp_buffer_append_slice(out, step->sql);
        dp_buffer_append_text(out, postgres ? "\n" : "\nGO\n");
    }
}

void dp_setup_plan_write_json(const dp_setup_plan *plan, dp_buffer *out)
{
    dp_json_writer writer = dp_json_writer_pretty(out);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "backend");
    dp_json_string(&writer, dp_backend_text(plan->backend));
    dp_json_key(&writer, "steps");
    dp_json_begin_array(&writer);
    for (size_t i = 0; i < plan->step_count; i++) {
        dp_json_begin_object(&writer);
        dp_json_key(&writer, "name");
        dp_json_text(&writer, plan->steps[i].name);
        dp_json_key(&writer, "description");
        dp_json_text(&writer, plan->steps[i].description);
        dp_json_key(&writer, "sql");
        dp_json_string(&writer, plan->steps[i].sql);
        dp_json_end_object(&writer);
    }
    dp_json_end_array(&writer);
    dp_json_end_object(&writer);
    dp_buffer_append_byte(out, '\n');
}
