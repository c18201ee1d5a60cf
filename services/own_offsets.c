#include "services/own_offsets.h"

#include <stdlib.h>

#include "base/clock.h"
#include "state/migrate.h"
#include "state/offsets.h"

typedef struct own_offsets {
    dp_batch_sink inner;
    dp_store *store;
    dp_arena *arena;
    const char *pipeline;
} own_offsets;

static dp_offset_row row_of(const own_offsets *own, dp_backend backend)
{
    return (dp_offset_row){
        .pipeline_name = dp_slice_of_text(own->pipeline),
        .source_schema = DP_SLICE_LITERAL("*"),
        .source_table = DP_SLICE_LITERAL("*"),
        .backend = dp_backend_text(backend),
    };
}

static dp_status load_offset(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error)
{
    own_offsets *own = self;
    dp_offset_row row = row_of(own, backend);
    dp_error cause = DP_ERROR_INIT;
    dp_arena_reset(own->arena);
    dp_status status = dp_offsets_load(own->store, &row, own->arena, &cause);
    *found = status == DP_STATUS_OK;
    if (status == DP_STATUS_NOT_FOUND) return DP_STATUS_OK;
    if (status == DP_STATUS_OK && !dp_offset_of_token(backend, row.token, offset)) {
        status = dp_error_set(&cause, DP_STATUS_DATA,
                              "the stored token '%.*s' is not what it should be; expected %s",
                              DP_SLICE_PRINT(row.token), dp_offset_expected_form(backend));
    }
    if (status == DP_STATUS_OK) offset->snapshot_complete = row.snapshot_complete;
    if (status != DP_STATUS_OK && error->status == DP_STATUS_OK) *error = cause;
    return status;
}

static dp_status save_offset(void *self, const dp_offset *offset, dp_error *error)
{
    own_offsets *own = self;
    dp_offset_save save = {.row = row_of(own, offset->backend)};
    save.row.token = dp_slice_of_text(offset->token);
    save.row.snapshot_complete = offset->snapshot_complete;
    return dp_offsets_save(own->store, &save, dp_clock_wall_us(), error);
}

static dp_status submit(void *self, const dp_batch_delivery *delivery, dp_error *error)
{
    const own_offsets *own = self;
    return own->inner.submit(own->inner.self, delivery, error);
}

static void drop(void *self, unsigned lane)
{
    const own_offsets *own = self;
    own->inner.drop(own->inner.self, lane);
}

static dp_status wait_for_answer(void *self, int timeout_ms, bool *done, dp_batch_answer *answer,
                                 dp_error *error)
{
    const own_offsets *own = self;
    return own->inner.wait(own->inner.self, timeout_ms, done, answer, error);
}

static dp_status quarantine(void *self, const dp_batch_source *stream, const dp_poison_record *record,
                            bool *is_new, dp_error *error)
{
    const own_offsets *own = self;
    return own->inner.quarantine(own->inner.self, stream, record, is_new, error);
}

static void close_own(void *self)
{
    own_offsets *own = self;
    if (own->inner.close != NULL) own->inner.close(own->inner.self);
    if (own->store != NULL) dp_store_close(own->store);
    dp_arena_free(own->arena);
    free(own);
}

static dp_status open_store(const char *dsn, dp_store **store, dp_error *error)
{
    uint32_t applied_count;
    dp_store *unchecked = NULL;
    dp_status status = dp_store_connect(dsn, NULL, &unchecked, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_schema_migrate(unchecked, dp_clock_wall_us(), &applied_count, error);
    dp_store_close(unchecked);
    return status == DP_STATUS_OK ? dp_store_open(dsn, NULL, store, error) : status;
}

dp_status dp_own_offsets_use(const char *state_dsn, const char *pipeline, dp_batch_sink *sink,
                             dp_error *error)
{
    own_offsets *own = calloc(1, sizeof *own);
    dp_arena *arena = dp_arena_new(4096, 1 << 20);
    if (own == NULL || arena == NULL) {
        free(own);
        dp_arena_free(arena);
        return dp_error_no_memory(error, "the offset store");
    }
    *own = (own_offsets){.arena = arena, .pipeline = pipeline};
    dp_status status = open_store(state_dsn, &own->store, error);
    if (status != DP_STATUS_OK) {
        close_own(own);
        return status;
    }
    own->inner = *sink;
    /* What a foreign endpoint is told of the source is nothing: it keeps no settings either. */
    *sink = (dp_batch_sink){
        .self = own,
        .load_offset = load_offset,
        .save_offset = save_offset,
        .submit = submit,
        .wait = wait_for_answer,
        .drop = drop,
        .quarantine = quarantine,
        .close = close_own,
    };
    return DP_STATUS_OK;
}
