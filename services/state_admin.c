#include "services/state_admin.h"

#include "base/clock.h"
#include "services/state_copy.h"

static const dp_store_options read_only = {.read_only = true};

dp_status dp_state_migrate(const char *dsn, uint32_t *applied_count, dp_schema_state *schema, dp_error *error)
{
    dp_store *store;
    dp_status status = dp_store_connect(dsn, NULL, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_schema_migrate(store, dp_clock_wall_us(), applied_count, error);
    if (status == DP_STATUS_OK) status = dp_schema_inspect(store, schema, error);
    dp_store_close(store);
    return status;
}

/* --- the report ---------------------------------------------------------------------------------------- */

typedef struct report_job {
    dp_arena *arena;
    dp_state_report *report;
    size_t stream_capacity;
    size_t offset_capacity;
} report_job;

/* Room for one more element; what was there is copied, because an arena frees nothing. */
static void *grow(dp_arena *arena, void *elements, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity) return elements;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = dp_arena_alloc(arena, wanted * element_bytes);
    if (grown == NULL) return NULL;
    if (count > 0) memcpy(grown, elements, count * element_bytes);
    *capacity = wanted;
    return grown;
}

static bool keep(dp_arena *arena, dp_slice *text)
{
    if (text->data == NULL) return true;
    *text = dp_arena_copy(arena, *text);
    return text->data != NULL;
}

static dp_status keep_stream(void *context, const dp_stream *row, dp_error *error)
{
    report_job *self = context;
    dp_state_report *report = self->report;
    dp_stream *grown = grow(self->arena, report->streams, report->stream_count, &self->stream_capacity,
                            sizeof *report->streams);
    if (grown == NULL) return dp_error_no_memory(error, "the streams");
    report->streams = grown;
    dp_stream *stream = &report->streams[report->stream_count++];
    *stream = *row;
    bool ok = keep(self->arena, &stream->key.pipeline) && keep(self->arena, &stream->key.source) &&
              keep(self->arena, &stream->staged_transaction_id) && keep(self->arena, &stream->settings);
    return ok ? DP_STATUS_OK : dp_error_no_memory(error, "the streams");
}

static dp_status keep_offset(void *context, const dp_offset_row *row, dp_error *error)
{
    report_job *self = context;
    dp_state_report *report = self->report;
    dp_offset_row *grown = grow(self->arena, report->offsets, report->offset_count, &self->offset_capacity,
                                sizeof *report->offsets);
    if (grown == NULL) return dp_error_no_memory(error, "the offsets");
    report->offsets = grown;
    dp_offset_row *offset = &report->offsets[report->offset_count++];
    *offset = *row;
    bool ok = keep(self->arena, &offset->pipeline_name) && keep(self->arena, &offset->source_schema) &&
              keep(self->arena, &offset->source_table) && keep(self->arena, &offset->backend) &&
              keep(self->arena, &offset->token);
    return ok ? DP_STATUS_OK : dp_error_no_memory(error, "the offsets");
}

static dp_status count_open(void *context, const dp_quarantine_row *row, dp_error *error)
{
    report_job *self = context;
    (void)row, (void)error;
    self->report->open_quarantine_count++;
    return DP_STATUS_OK;
}

static dp_status fill_report(dp_store *store, dp_slice pipeline, report_job *job, dp_error *error)
{
    const dp_store_driver *driver = store->driver;
    const dp_quarantine_state open = DP_QUARANTINE_OPEN;
    dp_row_visitor visitor = {
        .context = job, .stream = keep_stream, .offset = keep_offset, .quarantine = count_open};
    dp_status status = driver->stream_list(store, pipeline, &visitor, error);
    if (status == DP_STATUS_OK) status = driver->offset_list(store, pipeline, &visitor, error);
    if (status == DP_STATUS_OK)
        status = driver->quarantine_list(store, pipeline, &open, 0, 0, &visitor, error);
    if (status == DP_STATUS_OK && driver->size_bytes != NULL) {
        status = driver->size_bytes(store, &job->report->size_bytes, error);
        job->report->has_size = true;
    }
    return status;
}

dp_status dp_state_read_report(const char *dsn, dp_slice pipeline, dp_arena *arena, dp_state_report *report,
                               dp_error *error)
{
    dp_store *store;
    report_job job = {.arena = arena, .report = report};
    dp_status status = dp_store_connect(dsn, &read_only, &store, error);
    if (status != DP_STATUS_OK) return status;
    *report = (dp_state_report){.stream_count = 0};
    status = dp_schema_inspect(store, &report->schema, error);
    report->is_current = status == DP_STATUS_OK && report->schema.applied == report->schema.known;
    if (report->is_current) status = fill_report(store, pipeline, &job, error);
    dp_store_close(store);
    return status;
}

dp_status dp_state_check(const char *dsn, uint8_t digest[DP_SHA256_BYTES], dp_error *error)
{
    dp_store *store;
    dp_state_copy_result found;
    dp_status status = dp_store_open(dsn, &read_only, &store, error);
    if (status != DP_STATUS_OK) return status;
    if (store->driver->check != NULL) status = store->driver->check(store, error);
    if (status == DP_STATUS_OK) status = dp_state_read_all(store, &found, error);
    if (status == DP_STATUS_OK) memcpy(digest, found.digest, sizeof found.digest);
    dp_store_close(store);
    return status;
}

/* --- offsets ------------------------------------------------------------------------------------------- */

static dp_status not_found(const dp_offset_row *row, dp_status status, dp_error *error)
{
    if (status != DP_STATUS_NOT_FOUND) return status;
    return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "offset_not_found",
                             "no offset of pipeline '%.*s' for %.*s.%.*s (%.*s)",
                             DP_SLICE_PRINT(row->pipeline_name), DP_SLICE_PRINT(row->source_schema),
                             DP_SLICE_PRINT(row->source_table), DP_SLICE_PRINT(row->backend));
}

dp_status dp_state_load_offset(const char *dsn, dp_offset_row *row, dp_arena *arena, dp_error *error)
{
    dp_store *store;
    dp_status status = dp_store_open(dsn, &read_only, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = not_found(row, dp_offsets_load(store, row, arena, error), error);
    dp_store_close(store);
    return status;
}

dp_status dp_state_save_offset(const char *dsn, const dp_offset_save *save, dp_error *error)
{
    dp_store *store;
    dp_status status = dp_store_open(dsn, NULL, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_offsets_save(store, save, dp_clock_wall_us(), error);
    dp_store_close(store);
    return status;
}

dp_status dp_state_delete_offset(const char *dsn, const dp_offset_row *row, const dp_actor *actor,
                                 dp_error *error)
{
    dp_store *store;
    dp_status status = dp_store_open(dsn, NULL, &store, error);
    if (status != DP_STATUS_OK) return status;
    status = not_found(row, dp_offsets_delete(store, row, actor, dp_clock_wall_us(), error), error);
    dp_store_close(store);
    return status;
}
