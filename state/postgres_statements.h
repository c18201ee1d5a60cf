/* Every statement the PostgreSQL driver prepares, in one list. Prepared on first use on each connection.
 *
 * All parameters and results are binary. :"offset_table" stands for the configured, quoted name.
 */
#ifndef DPONE_STATE_POSTGRES_STATEMENTS_H
#define DPONE_STATE_POSTGRES_STATEMENTS_H

#define DP_PG_STREAM_COLUMNS                                                                                 \
    "stream_id, pipeline, source, backend, identity, next_event_number, high_position, pruned_position, "    \
    "passed_position, has_staged, staged_transaction_id, staged_first_number, staged_count, "                \
    "transaction_count, event_count, settings, created_at_us, updated_at_us, partitioned_below"

#define DP_PG_TRANSACTION_COLUMNS                                                                            \
    "end_position, transaction_id, committed_at_us, stored_at_us, first_number, event_count"

#define DP_PG_EVENT_COLUMNS                                                                                  \
    "event_number, sequence, operation, event_id, source_schema, source_table, position, data, before, "     \
    "unchanged, metadata"

#define DP_PG_RECEIPT_COLUMNS "stream_id, batch_id, staged, http_status, body, created_at_us"

#define DP_PG_OFFSET_COLUMNS                                                                                 \
    "pipeline_name, source_schema, source_table, backend, token, snapshot_complete, "                        \
    "\"__dpone__loaded_at\"::timestamp, \"__dpone__updated_at\"::timestamp"

#define DP_PG_OFFSET_KEY                                                                                     \
    "pipeline_name = $1::text AND source_schema = $2::text AND source_table = $3::text AND backend = "       \
    "$4::text"

#define DP_PG_QUARANTINE_COLUMNS                                                                             \
    "quarantine_id, pipeline, source, backend, source_schema, source_table, position, transaction_id, "      \
    "end_position, reason, detail, event, state, created_at_us, resolved_at_us, resolved_by, resolution, "   \
    "event_key"

#define DP_PG_AUDIT_COLUMNS "audit_id, at_us, actor, action, pipeline, subject, reason, old_value, new_value"

/* X(name, sql) */
#define DP_PG_STATEMENT_LIST(X)                                                                              \
    X(BEGIN_WRITE, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")                                        \
    X(BEGIN_READ, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")                                         \
    X(COMMIT, "COMMIT")                                                                                      \
    X(XID, "SELECT pg_current_xact_id()::text")                                                              \
    X(XACT_STATUS, "SELECT pg_xact_status($1::text::xid8)")                                                  \
    X(MARKER_FIND, "SELECT 1 FROM dpone_stream WHERE stream_id = $1::bigint AND commit_marker = $2::text")   \
    X(MARKER_REPLACE, "UPDATE dpone_stream SET commit_marker = $3::text WHERE stream_id = $1::bigint AND "   \
                      "commit_marker IN ($2::text, $3::text)")                                               \
    X(ADVISORY_LOCK, "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))")                          \
    X(SCHEMA_EXISTS, "SELECT 1 FROM pg_namespace WHERE nspname = $1::text")                                  \
    X(MIGRATION_TABLE, "SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_class c JOIN pg_namespace n "    \
                       "ON n.oid = c.relnamespace "                                                          \
                       "WHERE n.nspname = $1::text AND c.relname = 'dpone_migration'")                       \
    X(TABLE_EXISTS, "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "                \
                    "WHERE n.nspname = $1::text AND c.relname = $2::text")                                   \
    X(MIGRATION_LIST, "SELECT version, name, checksum FROM dpone_migration ORDER BY version")                \
    X(MIGRATION_INSERT, "INSERT INTO dpone_migration (version, name, checksum, applied_at_us) "              \
                        "VALUES ($1::bigint, $2::text, $3::text, $4::bigint)")                               \
    X(STREAM_LOCK, "SELECT " DP_PG_STREAM_COLUMNS                                                            \
                   ", pg_current_xact_id()::text, commit_marker, xmin FROM dpone_stream WHERE "              \
                   "pipeline = $1::text AND source = $2::text AND backend = $3::text FOR UPDATE")            \
    /* Locks a row that is known already, or fails: the cast is what does. */                                \
    X(STREAM_CLAIM,                                                                                          \
      "SELECT pg_current_xact_id()::text, CASE count(*) WHEN 1 THEN 0 ELSE ('claimed ' || count(*) "         \
      "|| ' streams for dpone: it was written elsewhere, or the receipt is there; the batch is begun "       \
      "again')::integer END "                                                                                \
      "FROM (SELECT FROM dpone_stream WHERE stream_id = $1::bigint AND commit_marker = $2::text AND "        \
      "xmin = $3::xid AND NOT EXISTS (SELECT FROM dpone_receipt WHERE pipeline = $4::text AND "              \
      "source = $5::text AND identity = $6::text AND idempotency_key = $7::text) FOR UPDATE) AS claimed")    \
    X(STREAM_INSERT, "INSERT INTO dpone_stream (pipeline, source, backend, identity, created_at_us, "        \
                     "updated_at_us) "                                                                       \
                     "VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint, $5::bigint) "              \
                     "ON CONFLICT (pipeline, source, backend) DO NOTHING")                                   \
    X(STREAM_FIND, "SELECT " DP_PG_STREAM_COLUMNS " FROM dpone_stream WHERE pipeline = $1::text AND "        \
                   "source = $2::text AND backend = $3::text")                                               \
    X(STREAM_LIST, "SELECT " DP_PG_STREAM_COLUMNS " FROM dpone_stream "                                      \
                   "WHERE $1::text IS NULL OR pipeline = $1::text "                                          \
                   "ORDER BY pipeline COLLATE \"C\", source COLLATE \"C\", backend COLLATE \"C\"")           \
    X(STREAM_SAVE,                                                                                           \
      "UPDATE dpone_stream SET next_event_number = $2::bigint, high_position = $3::bytea, "                  \
      "pruned_position = $4::bytea, passed_position = $5::bytea, has_staged = $6::boolean, "                 \
      "staged_transaction_id = $7::text, staged_first_number = $8::bigint, staged_count = $9::bigint, "      \
      "transaction_count = $10::bigint, event_count = $11::bigint, settings = $12::text, "                   \
      "updated_at_us = $13::bigint, commit_marker = $14::text, partitioned_below = "                         \
      "greatest(partitioned_below, $15::bigint) WHERE stream_id = $1::bigint")                               \
    X(TRANSACTION_INSERT, "INSERT INTO dpone_transaction (stream_id, " DP_PG_TRANSACTION_COLUMNS ") "        \
                          "VALUES ($1::bigint, $2::bytea, $3::text, $4::bigint, $5::bigint, $6::bigint, "    \
                          "$7::bigint)")                                                                     \
    X(TRANSACTIONS_INSERT,                                                                                   \
      "INSERT INTO dpone_transaction (stream_id, " DP_PG_TRANSACTION_COLUMNS ") SELECT $1::bigint, * "       \
      "FROM unnest($2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])")        \
    X(TRANSACTIONS_FIND, "SELECT " DP_PG_TRANSACTION_COLUMNS " FROM dpone_transaction WHERE "                \
                         "stream_id = $1::bigint AND end_position = ANY ($2::bytea[]) "                      \
                         "ORDER BY end_position")                                                            \
    X(TRANSACTIONS_READ, "SELECT " DP_PG_TRANSACTION_COLUMNS " FROM dpone_transaction WHERE "                \
                         "stream_id = $1::bigint AND end_position > $2::bytea AND "                          \
                         "end_position <= $3::bytea ORDER BY end_position LIMIT $4::bigint")                 \
    X(TRANSACTIONS_DELETE, "DELETE FROM dpone_transaction WHERE stream_id = $1::bigint AND "                 \
                           "end_position <= $2::bytea")                                                      \
    X(READING, "LOCK TABLE ONLY dpone_event_streams IN ACCESS SHARE MODE")                                   \
    X(PARTITION_ADD, "SELECT dpone_event_add_partition($1::bigint, $2::bigint)")                             \
    X(PARTITIONS_DROP, "SELECT dpone_event_drop_partitions($1::bigint)")                                     \
    X(PARTITIONS_LEFT,                                                                                       \
      "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = "        \
      "'dpone_event_streams'::regclass AND c.relname LIKE format('dpone\\_event\\_%s\\_%%', $1::bigint) "    \
      "AND (split_part(c.relname, '_', 4)::bigint + 1) * 1000000 <= $2::bigint")                             \
    X(EVENTS_FIRST,                                                                                          \
      "SELECT event_number FROM dpone_event WHERE stream_id = $1::bigint AND "                               \
      "event_number >= $2::bigint AND event_number < $3::bigint ORDER BY event_number LIMIT 1")              \
    X(EVENT_INSERT, "INSERT INTO dpone_event (stream_id, " DP_PG_EVENT_COLUMNS ") VALUES ($1::bigint, "      \
                    "$2::bigint, $3::bigint, $4::smallint, $5::bytea, $6::text, $7::text, $8::text, "        \
                    "$9::text, $10::text, $11::text, $12::text)")                                            \
    /* An array that is NULL has no rows; the text at the end stands in for it. */                           \
    X(EVENTS_INSERT,                                                                                         \
      "INSERT INTO dpone_event (stream_id, " DP_PG_EVENT_COLUMNS ") SELECT $1::bigint, a, b, c, d, "         \
      "coalesce(e, $13::text), coalesce(f, $14::text), g, h, coalesce(i, $15::text), "                       \
      "coalesce(j, $16::text), coalesce(k, $17::text) FROM (SELECT unnest($2::bigint[]) AS a, "              \
      "unnest($3::bigint[]) AS b, unnest($4::smallint[]) AS c, unnest($5::bytea[]) AS d, "                   \
      "unnest($6::text[]) AS e, unnest($7::text[]) AS f, unnest($8::text[]) AS g, "                          \
      "unnest($9::text[]) AS h, unnest($10::text[]) AS i, unnest($11::text[]) AS j, "                        \
      "unnest($12::text[]) AS k) AS events")                                                                 \
    X(EVENTS_READ, "SELECT " DP_PG_EVENT_COLUMNS " FROM dpone_event WHERE stream_id = $1::bigint AND "       \
                   "event_number >= $2::bigint AND event_number <= $3::bigint ORDER BY event_number")        \
    X(EVENTS_DELETE, "DELETE FROM dpone_event WHERE stream_id = $1::bigint AND "                             \
                     "event_number >= $2::bigint AND event_number <= $3::bigint")                            \
    X(RECEIPT_FIND, "SELECT " DP_PG_RECEIPT_COLUMNS " FROM dpone_receipt WHERE pipeline = $1::text AND "     \
                    "source = $2::text AND identity = $3::text AND idempotency_key = $4::text")              \
    X(RECEIPT_LAST, "SELECT " DP_PG_RECEIPT_COLUMNS ", pipeline, source, identity, idempotency_key "         \
                    "FROM dpone_receipt WHERE stream_id = $1::bigint "                                       \
                    "ORDER BY created_at_us DESC, receipt_id DESC LIMIT 1")                                  \
    X(RECEIPT_LIST, "SELECT " DP_PG_RECEIPT_COLUMNS ", pipeline, source, identity, idempotency_key "         \
                    "FROM dpone_receipt WHERE stream_id = $1::bigint ORDER BY created_at_us, receipt_id")    \
    X(RECEIPT_INSERT,                                                                                        \
      "INSERT INTO dpone_receipt (pipeline, source, identity, idempotency_key, stream_id, batch_id, "        \
      "staged, http_status, body, created_at_us) VALUES ($1::text, $2::text, $3::text, $4::text, "           \
      "$5::bigint, $6::bytea, $7::boolean, $8::bigint, $9::text, $10::bigint)")                              \
    X(RECEIPTS_DROP, "DELETE FROM dpone_receipt WHERE stream_id = $1::bigint AND staged")                    \
    X(RECEIPTS_DELETE, "DELETE FROM dpone_receipt WHERE stream_id = $1::bigint AND "                         \
                       "created_at_us < $2::bigint AND NOT staged")                                          \
    X(OFFSET_FIND, "SELECT " DP_PG_OFFSET_COLUMNS " FROM :\"offset_table\" WHERE " DP_PG_OFFSET_KEY)         \
    X(OFFSET_SAVE,                                                                                           \
      "INSERT INTO :\"offset_table\" AS o (pipeline_name, source_schema, source_table, backend, token, "     \
      "snapshot_complete, \"__dpone__loaded_at\", \"__dpone__updated_at\") VALUES ($1::text, $2::text, "     \
      "$3::text, $4::text, $5::text, $6::boolean, $7::timestamp, $7::timestamp) "                            \
      "ON CONFLICT (pipeline_name, source_schema, source_table, backend) DO UPDATE SET "                     \
      "token = excluded.token, snapshot_complete = excluded.snapshot_complete, "                             \
      "\"__dpone__updated_at\" = excluded.\"__dpone__updated_at\"")                                          \
    X(OFFSET_DELETE, "DELETE FROM :\"offset_table\" WHERE " DP_PG_OFFSET_KEY)                                \
    X(OFFSET_LIST, "SELECT " DP_PG_OFFSET_COLUMNS " FROM :\"offset_table\" "                                 \
                   "WHERE $1::text IS NULL OR pipeline_name = $1::text ORDER BY pipeline_name "              \
                   "COLLATE \"C\", source_schema COLLATE \"C\", source_table COLLATE \"C\", "                \
                   "backend COLLATE \"C\"")                                                                  \
    X(QUARANTINE_INSERT,                                                                                     \
      "INSERT INTO dpone_quarantine (pipeline, source, backend, source_schema, source_table, position, "     \
      "transaction_id, end_position, reason, detail, event, state, created_at_us, resolved_at_us, "          \
      "resolved_by, resolution, event_key) SELECT $1::text, $2::text, $3::text, $4::text, $5::text, "        \
      "$6::text, $7::text, $8::text, $9::text, $10::text, $11::text, $12::text, $13::bigint, $14::bigint, "  \
      "$15::text, $16::text, $17::bytea WHERE $17::bytea IS NULL OR NOT EXISTS (SELECT 1 FROM "              \
      "dpone_quarantine WHERE pipeline = $1::text AND event_key IS NULL AND event = $11::text AND "          \
      "source IN ('', $2::text)) ON CONFLICT (event_key) DO NOTHING")                                        \
    X(QUARANTINE_LIST,                                                                                       \
      "SELECT " DP_PG_QUARANTINE_COLUMNS " FROM dpone_quarantine WHERE quarantine_id > $1::bigint AND "      \
      "($2::text IS NULL OR pipeline = $2::text) AND ($3::text IS NULL OR state = $3::text) "                \
      "ORDER BY quarantine_id LIMIT $4::bigint")                                                             \
    X(QUARANTINE_RESOLVE,                                                                                    \
      "UPDATE dpone_quarantine SET state = $2::text, resolved_at_us = $3::bigint, resolved_by = $4::text, "  \
      "resolution = $5::text WHERE quarantine_id = $1::bigint AND state = 'open'")                           \
    X(AUDIT_INSERT,                                                                                          \
      "INSERT INTO dpone_audit (at_us, actor, action, pipeline, subject, reason, old_value, new_value) "     \
      "VALUES ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text)")           \
    X(AUDIT_LIST, "SELECT " DP_PG_AUDIT_COLUMNS " FROM dpone_audit "                                         \
                  "WHERE ($1::text IS NULL OR pipeline = $1::text) AND audit_id < $2::bigint ORDER BY "      \
                  "audit_id DESC LIMIT $3::bigint")                                                          \
    X(GRANTS_MISSING,                                                                                        \
      "SELECT string_agg(privilege || ' on ' || object, ', ') FROM (VALUES ('dpone_stream', "                \
      "'SELECT,INSERT,UPDATE'), ('dpone_transaction', 'SELECT,INSERT'), ('dpone_event', "                    \
      "'SELECT,INSERT,DELETE'), ('dpone_event_streams', 'SELECT'), ('dpone_receipt', "                       \
      "'SELECT,INSERT,DELETE'), (quote_ident($1::text), 'SELECT,INSERT,UPDATE'), "                           \
      "('dpone_event_add_partition(bigint, bigint)', 'EXECUTE')) AS needed(object, privileges), "            \
      "unnest(string_to_array(privileges, ',')) AS privilege WHERE NOT CASE privilege WHEN 'EXECUTE' "       \
      "THEN has_function_privilege(object, privilege) ELSE has_table_privilege(object, privilege) END")      \
    X(SIZE, "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "                \
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND "                  \
            "c.relkind = 'r' AND c.relname LIKE 'dpone\\_%'")

typedef enum dp_pg_statement {
#define DP_PG_STATEMENT_ENUM(name, sql) DP_PG_##name,
    DP_PG_STATEMENT_LIST(DP_PG_STATEMENT_ENUM)
#undef DP_PG_STATEMENT_ENUM
        DP_PG_STATEMENT_COUNT
} dp_pg_statement;

#endif
