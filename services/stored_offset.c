#include "services/stored_offset.h"

#include "state/offsets.h"

static dp_status read_row(const dp_offset_row *row, dp_backend backend, dp_offset *offset, dp_error *error)
{
    if (!dp_offset_of_token(backend, row->token, offset)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "the stored token '%.*s' is not what it should be; expected %s",
                            DP_SLICE_PRINT(row->token), dp_offset_expected_form(backend));
    }
    offset->snapshot_complete = row->snapshot_complete;
    return DP_STATUS_OK;
}

static dp_status load(dp_store *store, const dp_stored_offset_query *query, dp_arena *arena, bool *is_stored,
                      dp_offset *offset, dp_error *error)
{
    dp_offset_row row = {.pipeline_name = query->pipeline_name,
                         .source_schema = query->source_schema,
                         .source_table = query->source_table,
                         .backend = dp_backend_text(query->backend)};
    dp_error not_found = DP_ERROR_INIT;
    dp_status status = dp_offsets_load(store, &row, arena, &not_found);
    if (status == DP_STATUS_NOT_FOUND) {
        *is_stored = false;
        return DP_STATUS_OK;
    }
    if (status == DP_STATUS_OK) status = read_row(&row, query->backend, offset, &not_found);
    if (status == DP_STATUS_OK) *is_stored = true;
    if (status != DP_STATUS_OK) *error = not_found;
    return status;
}

dp_status dp_stored_offset_load(const dp_stored_offset_query *query, bool *is_stored, dp_offset *offset,
                                dp_error *error)
{
    static const dp_store_options read_only = {.read_only = true};
    dp_store *store = NULL;
    dp_arena *arena = dp_arena_new(4096, 1 << 20);
    if (arena == NULL) return dp_error_no_memory(error, "the stored offset");
    dp_status status = dp_store_open(query->state_dsn, &read_only, &store, error);
    if (status == DP_STATUS_OK) {
        status = load(store, query, arena, is_stored, offset, error);
        dp_store_close(store);
    }
    dp_arena_free(arena);
    return status;
}
