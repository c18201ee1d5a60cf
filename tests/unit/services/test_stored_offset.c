/* The stored offset of a pipeline, read without touching the database. */
#include "tests/unit/support/cmocka_includes.h"

#include <sys/stat.h>
#include <unistd.h>

#include "services/stored_offset.h"
#include "state/migrate.h"
#include "state/offsets.h"

static char directory[] = "/tmp/dpone-test-stored-XXXXXX";
static char dsn[128];

static void save(dp_store *store, const char *pipeline, const char *schema, const char *table,
                 const char *backend, const char *token)
{
    dp_error error = DP_ERROR_INIT;
    const dp_offset_save row = {.row = {.pipeline_name = dp_slice_of_text(pipeline),
                                        .source_schema = dp_slice_of_text(schema),
                                        .source_table = dp_slice_of_text(table),
                                        .backend = dp_slice_of_text(backend),
                                        .token = dp_slice_of_text(token),
                                        .snapshot_complete = true}};
    if (dp_offsets_save(store, &row, 1000000, &error) != DP_STATUS_OK) fail_msg("%s", error.message);
}

static int make_state(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(dsn, sizeof dsn, "sqlite:%s/state.db", directory);
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    if (dp_store_connect(dsn, NULL, &store, &error) != DP_STATUS_OK) return -1;
    uint32_t applied;
    if (dp_schema_migrate(store, 1000000, &applied, &error) != DP_STATUS_OK) return -1;
    save(store, "orders", "public", "orders", "postgres_logical", "0/16B6D28");
    save(store, "orders", "public", "orders", "mssql_cdc", "0x0A");
    save(store, "whole", "*", "*", "postgres_logical", "1/0");
    dp_store_close(store);
    return 0;
}

static int remove_state(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static dp_status load(const char *state_dsn, const char *pipeline, const char *table, dp_backend backend,
                      bool *is_stored, dp_offset *offset, dp_error *error)
{
    const dp_stored_offset_query query = {state_dsn, dp_slice_of_text(pipeline), DP_SLICE_LITERAL("public"),
                                          dp_slice_of_text(table), backend};
    return dp_stored_offset_load(&query, is_stored, offset, error);
}

static void finds_the_table_or_the_pipeline_or_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *pipeline;
        const char *table;
        dp_backend backend;
        const char *token; /* NULL: none is stored */
    } cases[] = {
        {"orders", "orders", DP_BACKEND_POSTGRES_LOGICAL, "0/16B6D28"},
        {"orders", "orders", DP_BACKEND_MSSQL_CDC, "0x0A"},
        {"orders", "orders", DP_BACKEND_MSSQL_CHANGE_TRACKING, NULL},
        {"orders", "items", DP_BACKEND_POSTGRES_LOGICAL, NULL},
        {"whole", "items", DP_BACKEND_POSTGRES_LOGICAL, "1/0"},
        {"whole", "*", DP_BACKEND_POSTGRES_LOGICAL, "1/0"},
        {"nobody", "orders", DP_BACKEND_POSTGRES_LOGICAL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        bool is_stored = false;
        dp_offset offset = {.token = "untouched"};
        dp_status status =
            load(dsn, cases[i].pipeline, cases[i].table, cases[i].backend, &is_stored, &offset, &error);
        if (status != DP_STATUS_OK) fail_msg("%s", error.message);
        assert_int_equal(is_stored, cases[i].token != NULL);
        assert_string_equal(offset.token, cases[i].token == NULL ? "untouched" : cases[i].token);
        assert_int_equal(error.status, DP_STATUS_OK);
    }
}

static void a_database_that_is_not_there_is_not_made(void **state)
{
    (void)state;
    char missing[160];
    snprintf(missing, sizeof missing, "sqlite:%s/missing.db", directory);
    dp_error error = DP_ERROR_INIT;
    bool is_stored;
    dp_offset offset;
    assert_int_not_equal(load(missing, "orders", "orders", DP_BACKEND_POSTGRES_LOGICAL, &is_stored, &offset,
                              &error),
                         DP_STATUS_OK);
    assert_true(error.message[0] != '\0');
    assert_int_equal(access(missing + 7, F_OK), -1);
}

static void a_malformed_dsn_is_a_usage_error(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    bool is_stored;
    dp_offset offset;
    assert_int_equal(load("mysql://x", "orders", "orders", DP_BACKEND_POSTGRES_LOGICAL, &is_stored, &offset,
                          &error),
                     DP_STATUS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_table_or_the_pipeline_or_nothing),
        cmocka_unit_test(a_database_that_is_not_there_is_not_made),
        cmocka_unit_test(a_malformed_dsn_is_a_usage_error),
    };
    return cmocka_run_group_tests(tests, make_state, remove_state);
}
