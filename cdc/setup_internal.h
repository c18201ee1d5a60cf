/* What the dialects of setup_sql.c share. Not for use outside cdc/. */
#ifndef DPONE_CDC_SETUP_INTERNAL_H
#define DPONE_CDC_SETUP_INTERNAL_H

#include "base/sql_quote.h"
#include "cdc/setup_sql.h"

enum { DP_SETUP_MAX_STEPS = 8, DP_SETUP_MAX_SQL_BYTES = 4 << 20 };

typedef struct dp_setup_builder {
    const dp_setup_request *request;
    dp_arena *arena;
    dp_buffer sql; /* of the step being written */
    dp_setup_step steps[DP_SETUP_MAX_STEPS];
    size_t step_count;
    bool failed; /* memory was refused */
} dp_setup_builder;

/* Ends the step whose statements are in builder->sql. */
void dp_setup_end_step(dp_setup_builder *builder, const char *name, const char *description);

/* Each validates what its dialect needs, then writes its steps. */
dp_status dp_setup_postgres(dp_setup_builder *builder, dp_error *error);
dp_status dp_setup_mssql_cdc(dp_setup_builder *builder, dp_error *error);
dp_status dp_setup_mssql_change_tracking(dp_setup_builder *builder, dp_error *error);

/* Whether tables[index] is the first of its schema. */
bool dp_setup_first_of_schema(const dp_setup_request *request, size_t index);

/* USAGE when the name is missing, too long for the dialect, not UTF-8, or holds a control character. */
typedef enum dp_setup_dialect { DP_SETUP_POSTGRES, DP_SETUP_MSSQL } dp_setup_dialect;
dp_status dp_setup_check_name(dp_setup_dialect dialect, const char *option_name, dp_slice name,
                              dp_error *error);
dp_status dp_setup_check_optional_name(dp_setup_dialect dialect, const char *option_name, dp_slice name,
                                       dp_error *error);

#endif
