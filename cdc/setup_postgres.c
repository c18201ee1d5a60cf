/* Setup SQL for PostgreSQL logical decoding: publication first, then slot. */
#include "cdc/setup_internal.h"

static void put_table(dp_buffer *out, const dp_table_name *table)
{
    dp_sql_put_identifier(out, table->schema);
    dp_buffer_append_byte(out, '.');
    dp_sql_put_identifier(out, table->table);
}

/* The table as a literal that ::regclass reads. */
static void put_table_literal(dp_buffer *out, const dp_table_name *table)
{
    dp_buffer name = DP_BUFFER_INIT(1024);
    put_table(&name, table);
    if (name.failed) out->failed = true;
    dp_sql_put_literal(out, dp_buffer_slice(&name));
    dp_buffer_release(&name);
}

/* DO $dpone$BEGIN ... END$dpone$; around what was written to `body`, which is emptied. */
static void put_block(dp_setup_builder *builder, dp_buffer *body)
{
    dp_buffer block = DP_BUFFER_INIT(DP_SETUP_MAX_SQL_BYTES);
    dp_buffer_append_text(&block, "\nBEGIN\n");
    dp_buffer_append_slice(&block, dp_buffer_slice(body));
    dp_buffer_append_text(&block, "END\n");
    if (block.failed || body->failed) builder->failed = true;
    dp_buffer_append_text(&builder->sql, "DO ");
    dp_sql_put_dollar_quoted(&builder->sql, dp_buffer_slice(&block));
    dp_buffer_append_text(&builder->sql, ";\n");
    dp_buffer_release(&block);
    dp_buffer_release(body);
}

static void check_wal_level(dp_setup_builder *builder)
{
    dp_buffer body = DP_BUFFER_INIT(4096);
    dp_buffer_append_text(
        &body, "  IF current_setting('wal_level') <> 'logical' THEN\n"
               "    RAISE EXCEPTION 'wal_level is %, expected logical', current_setting('wal_level')\n"
               "      USING HINT = 'ALTER SYSTEM SET wal_level = logical; then restart the server';\n"
               "  END IF;\n");
    put_block(builder, &body);
    dp_setup_end_step(
        builder, "check_wal_level",
        "Logical decoding reads the write-ahead log, which holds what it needs only with wal_level = "
        "logical. Changing it takes a restart.");
}

/* Servers that know output_plugin_libraries allow only pgoutput and test_decoding unless told otherwise. */
static void check_plugin_is_allowed(dp_setup_builder *builder)
{
    dp_buffer body = DP_BUFFER_INIT(4096);
    dp_buffer_append_text(
        &body, "  IF position('wal2json' IN current_setting('output_plugin_libraries', true)) = 0 THEN\n"
               "    RAISE WARNING 'output_plugin_libraries does not name wal2json'\n"
               "      USING HINT = 'add it and reload, or the slot cannot be created';\n"
               "  END IF;\n");
    put_block(builder, &body);
    dp_setup_end_step(
        builder, "check_plugin",
        "wal2json is an extension: it must be installed, and allowed where the server keeps a list of "
        "the libraries that may decode.");
}

static void set_replica_identity(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    for (size_t i = 0; i < request->table_count; i++) {
        dp_buffer_append_text(&builder->sql, "ALTER TABLE ");
        put_table(&builder->sql, &request->tables[i]);
        dp_buffer_append_text(&builder->sql, " REPLICA IDENTITY FULL;\n");
    }
    dp_setup_end_step(
        builder, "set_replica_identity",
        "With REPLICA IDENTITY FULL updates and deletes carry the whole old row. It costs log volume on "
        "every update and delete.");
}

static void check_replica_identity(dp_setup_builder *builder, bool publishes)
{
    const dp_setup_request *request = builder->request;
    dp_buffer body = DP_BUFFER_INIT(DP_SETUP_MAX_SQL_BYTES);
    for (size_t i = 0; i < request->table_count; i++) {
        dp_buffer_append_text(&body, "  IF EXISTS (SELECT FROM pg_class c WHERE c.oid = ");
        put_table_literal(&body, &request->tables[i]);
        dp_buffer_append_text(
            &body, "::regclass\n"
                   "      AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS\n"
                   "        (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)))) "
                   "THEN\n"
                   "    RAISE ");
        dp_buffer_append_text(&body, publishes ? "EXCEPTION" : "WARNING");
        dp_buffer_append_text(&body, " '% has no replica identity', ");
        put_table_literal(&body, &request->tables[i]);
        dp_buffer_append_text(&body,
                              "\n      USING HINT = 'add a primary key, or set REPLICA IDENTITY FULL';\n"
                              "  END IF;\n");
    }
    put_block(builder, &body);
    dp_setup_end_step(builder, "check_replica_identity",
                      publishes ? "Updates and deletes carry the old key, by default the primary key. Once a "
                                  "table without one is "
                                  "published, PostgreSQL refuses its UPDATE and DELETE statements."
                                : "Updates and deletes carry the old key, by default the primary key. "
                                  "Without one they say nothing "
                                  "about which row was meant.");
}

static void put_missing_table(dp_buffer *body, dp_slice publication, const dp_table_name *table)
{
    dp_buffer_append_text(body, "    IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = ");
    dp_sql_put_literal(body, publication);
    dp_buffer_append_text(
        body, " AND (p.puballtables OR EXISTS\n"
              "        (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = ");
    put_table_literal(body, table);
    dp_buffer_append_text(body, "::regclass))) THEN\n      ALTER PUBLICATION ");
    dp_sql_put_identifier(body, publication);
    dp_buffer_append_text(body, " ADD TABLE ");
    put_table(body, table);
    dp_buffer_append_text(body, ";\n    END IF;\n");
}

static void put_new_publication(dp_buffer *body, const dp_setup_request *request)
{
    dp_buffer_append_text(body, "  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = ");
    dp_sql_put_literal(body, request->publication);
    dp_buffer_append_text(body, ") THEN\n    CREATE PUBLICATION ");
    dp_sql_put_identifier(body, request->publication);
    dp_buffer_append_text(body, " FOR TABLE ");
    for (size_t i = 0; i < request->table_count; i++) {
        if (i > 0) dp_buffer_append_text(body, ", ");
        put_table(body, &request->tables[i]);
    }
    dp_buffer_append_format(body,
                            "\n      WITH (publish = 'insert, update, delete, truncate', "
                            "publish_via_partition_root = %s);\n",
                            request->publish_via_partition_root ? "true" : "false");
}

static void create_publication(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    dp_buffer body = DP_BUFFER_INIT(DP_SETUP_MAX_SQL_BYTES);
    put_new_publication(&body, request);
    dp_buffer_append_text(&body, "  ELSIF EXISTS (SELECT FROM pg_publication WHERE pubname = ");
    dp_sql_put_literal(&body, request->publication);
    dp_buffer_append_format(&body, " AND pubviaroot <> %s) THEN\n",
                            request->publish_via_partition_root ? "true" : "false");
    dp_buffer_append_text(&body, "    RAISE EXCEPTION 'publication % exists with another "
                                 "publish_via_partition_root', ");
    dp_sql_put_literal(&body, request->publication);
    dp_buffer_append_text(&body,
                          "\n      USING HINT = 'changing it changes event ids: use another publication';\n"
                          "  ELSE\n");
    for (size_t i = 0; i < request->table_count; i++) {
        put_missing_table(&body, request->publication, &request->tables[i]);
    }
    dp_buffer_append_text(&body, "  END IF;\n");
    put_block(builder, &body);
    dp_setup_end_step(
        builder, "create_publication",
        "The publication names the tables whose changes pgoutput sends. It must exist before the slot: "
        "a slot decodes with the catalog as it was at each change, and a publication created later is "
        "unknown there.");
}

static void grant_rights(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    dp_buffer body = DP_BUFFER_INIT(4096);
    dp_buffer_append_text(&body, "  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ");
    dp_sql_put_literal(&body, request->role);
    dp_buffer_append_text(&body, " AND (rolreplication OR rolsuper)) THEN\n    ALTER ROLE ");
    dp_sql_put_identifier(&body, request->role);
    dp_buffer_append_text(&body, " REPLICATION;\n  END IF;\n");
    put_block(builder, &body);
    for (size_t i = 0; i < request->table_count; i++) {
        if (dp_setup_first_of_schema(request, i)) {
            dp_buffer_append_text(&builder->sql, "GRANT USAGE ON SCHEMA ");
            dp_sql_put_identifier(&builder->sql, request->tables[i].schema);
            dp_buffer_append_text(&builder->sql, " TO ");
            dp_sql_put_identifier(&builder->sql, request->role);
            dp_buffer_append_text(&builder->sql, ";\n");
        }
        dp_buffer_append_text(&builder->sql, "GRANT SELECT ON TABLE ");
        put_table(&builder->sql, &request->tables[i]);
        dp_buffer_append_text(&builder->sql, " TO ");
        dp_sql_put_identifier(&builder->sql, request->role);
        dp_buffer_append_text(&builder->sql, ";\n");
    }
    dp_setup_end_step(
        builder, "grant_rights",
        "Reading a slot takes the REPLICATION attribute; comparing the target with the source takes "
        "SELECT. Managed services grant a role of their own instead of the attribute.");
}

static void create_slot(dp_setup_builder *builder)
{
    const dp_setup_request *request = builder->request;
    dp_buffer body = DP_BUFFER_INIT(4096);
    dp_buffer_append_text(&body, "  IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = ");
    dp_sql_put_literal(&body, request->slot);
    dp_buffer_append_text(&body, " AND (plugin IS DISTINCT FROM ");
    dp_sql_put_literal(&body, request->plugin);
    dp_buffer_append_text(&body,
                          "\n      OR database IS DISTINCT FROM current_database())) THEN\n"
                          "    RAISE EXCEPTION 'slot % exists with another plugin or in another database', ");
    dp_sql_put_literal(&body, request->slot);
    dp_buffer_append_text(&body, ";\n  END IF;\n");
    put_block(builder, &body);
    dp_buffer_append_text(&builder->sql, "SELECT pg_create_logical_replication_slot(");
    dp_sql_put_literal(&builder->sql, request->slot);
    dp_buffer_append_text(&builder->sql, ", ");
    dp_sql_put_literal(&builder->sql, request->plugin);
    dp_buffer_append_text(&builder->sql,
                          ")\n  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = ");
    dp_sql_put_literal(&builder->sql, request->slot);
    dp_buffer_append_text(&builder->sql, ");\n");
    dp_setup_end_step(
        builder, "create_slot",
        "From here on the server keeps every change until it is confirmed. A slot that nobody reads "
        "fills the disk: drop it when the pipeline goes away, and set max_slot_wal_keep_size.");
}

static bool is_slot_name(dp_slice name)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    }
    return name.length > 0 && name.length <= 63;
}

static dp_status check_request(const dp_setup_request *request, bool publishes, dp_error *error)
{
    dp_status status = dp_setup_check_name(DP_SETUP_POSTGRES, "slot", request->slot, error);
    if (status != DP_STATUS_OK) return status;
    if (!is_slot_name(request->slot)) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--slot: '%.*s' is no slot name; expected lower-case letters, digits and '_'",
                            DP_SLICE_PRINT(request->slot));
    }
    status = dp_setup_check_name(DP_SETUP_POSTGRES, "plugin", request->plugin, error);
    if (status == DP_STATUS_OK && publishes) {
        status = dp_setup_check_name(DP_SETUP_POSTGRES, "publication", request->publication, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_setup_check_optional_name(DP_SETUP_POSTGRES, "role", request->role, error);
    }
    if (status == DP_STATUS_OK && !publishes &&
        (request->publication.length > 0 || request->publish_via_partition_root)) {
        status = dp_error_set(error, DP_STATUS_USAGE,
                              "--%s does not apply to --plugin %.*s; only pgoutput "
                              "reads a publication",
                              request->publication.length > 0 ? "publication" : "publish-via-partition-root",
                              DP_SLICE_PRINT(request->plugin));
    }
    return status;
}

dp_status dp_setup_postgres(dp_setup_builder *builder, dp_error *error)
{
    const dp_setup_request *request = builder->request;
    bool publishes = dp_slice_equal(request->plugin, DP_SLICE_LITERAL("pgoutput"));
    dp_status status = check_request(request, publishes, error);
    if (status != DP_STATUS_OK) return status;
    check_wal_level(builder);
    if (dp_slice_equal(request->plugin, DP_SLICE_LITERAL("wal2json"))) check_plugin_is_allowed(builder);
    if (request->replica_identity_full) {
        set_replica_identity(builder);
    } else {
        check_replica_identity(builder, publishes);
    }
    if (publishes) create_publication(builder);
    if (request->role.length > 0) grant_rights(builder);
    create_slot(builder);
    return DP_STATUS_OK;
}
