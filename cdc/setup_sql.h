/* The SQL that prepares a source for change capture, as a list of steps that each say why.
 *
 * Pure: it connects nowhere; someone with the rights runs the statements. Every statement can be run again
 * where the dialect allows it. Names are quoted and never appear in comments. The plan views nothing of the
 * request: its texts live in the arena.
 */
#ifndef DPONE_CDC_SETUP_SQL_H
#define DPONE_CDC_SETUP_SQL_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "cdc/change.h"
#include "cdc/table_name.h"

typedef struct dp_setup_request {
    dp_backend backend;
    const dp_table_name *tables;
    size_t table_count;
    dp_slice role; /* who reads; empty: no grants. For mssql_cdc it is the gating role */

    /* postgres_logical */
    dp_slice slot;
    dp_slice publication; /* required by pgoutput, unused by the other plugins */
    dp_slice plugin;
    bool publish_via_partition_root;
    bool replica_identity_full; /* set REPLICA IDENTITY FULL instead of asking for a key */

    /* mssql_cdc and mssql_change_tracking */
    dp_slice database;
    uint64_t retention_hours; /* 0: the server's default (3 days of CDC, 2 of Change Tracking) */

    /* mssql_cdc */
    dp_slice capture_instance; /* empty: schema_table; only with one table */
    dp_slice filegroup;        /* empty: the default one */
    bool supports_net_changes; /* needs a primary key or a unique index */

    /* mssql_change_tracking */
    bool track_columns_updated;
} dp_setup_request;

typedef struct dp_setup_step {
    const char *name;        /* static, such as "create_publication" */
    const char *description; /* static; why */
    dp_slice sql;            /* one or more statements, each ended by ';' */
} dp_setup_step;

#define DP_SETUP_MAX_TABLES 200

typedef struct dp_setup_plan {
    dp_backend backend;
    dp_setup_step *steps;
    size_t step_count;
} dp_setup_plan;

/* USAGE names the option that is missing or cannot be a name there. */
dp_status dp_setup_plan_make(const dp_setup_request *request, dp_arena *arena, dp_setup_plan *plan,
                             dp_error *error);

/* A script for psql or sqlcmd, the reason for each step as a comment above it. */
void dp_setup_plan_write_sql(const dp_setup_plan *plan, dp_buffer *out);

/* {"backend":…,"steps":[{"name":…,"description":…,"sql":…}]}, indented, and a newline. */
void dp_setup_plan_write_json(const dp_setup_plan *plan, dp_buffer *out);

#endif
