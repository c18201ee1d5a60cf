/* Reads the offset that a pipeline has stored, for decisions made without the pipeline. Never writes: the
 * database is opened read-only and closed again. One call, one thread. */
#ifndef DPONE_SERVICES_STORED_OFFSET_H
#define DPONE_SERVICES_STORED_OFFSET_H

#include "replay/offset_token.h"

typedef struct dp_stored_offset_query {
    const char *state_dsn;
    dp_slice pipeline_name;
    dp_slice source_schema;
    dp_slice source_table;
    dp_backend backend;
} dp_stored_offset_query;

/* *is_stored says whether there is one, for the table or for the whole pipeline; only then is *offset
 * written. The errors of dp_store_open; DATA when the stored token is none of the backend's. */
dp_status dp_stored_offset_load(const dp_stored_offset_query *query, bool *is_stored, dp_offset *offset,
                                dp_error *error);

#endif
