#include "state/offsets.h"

#include "base/crash_point.h"
#include "base/json_writer.h"

#define STAR DP_SLICE_LITERAL("*")

static bool is_star(const dp_offset_row *row)
{
    return dp_slice_equal(row->source_schema, STAR) && dp_slice_equal(row->source_table, STAR);
}

dp_status dp_offsets_load(dp_store *store, dp_offset_row *row, dp_arena *arena, dp_error *error)
{
    dp_status status = store->driver->offset_find(store, row, arena, error);
    if (status != DP_STATUS_NOT_FOUND || is_star(row)) return status;
    dp_offset_row star = *row;
    star.source_schema = star.source_table = STAR;
    status = store->driver->offset_find(store, &star, arena, error);
    if (status == DP_STATUS_OK) *row = star;
    return status;
}

/* --- saving -------------------------------------------------------------------------------------------- */

static dp_status check_names(const dp_offset_row *row, dp_backend *backend, dp_position *position,
                             dp_error *error)
{
    bool one_star = dp_slice_equal(row->source_schema, STAR) != dp_slice_equal(row->source_table, STAR);
    if (row->pipeline_name.length == 0 || row->source_schema.length == 0 || row->source_table.length == 0 ||
        one_star) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "offset_name_invalid",
                                 "an offset needs a pipeline, and schema and table, or * for both");
    }
    if (!dp_backend_parse(row->backend, backend)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "backend_unknown", "'%.*s' is no backend",
                                 DP_SLICE_PRINT(row->backend));
    }
    if (!dp_position_parse(*backend, row->token, position)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "token_malformed",
                                 "'%.*s' is no token of %.*s; expected %s", DP_SLICE_PRINT(row->token),
                                 DP_SLICE_PRINT(row->backend), dp_position_expected_form(*backend));
    }
    return DP_STATUS_OK;
}

typedef struct scope_check {
    bool saves_star;
    bool found; /* a row of the other scope */
} scope_check;

static dp_status look_for_other_scope(void *context, const dp_offset_row *row, dp_error *error)
{
    scope_check *self = context;
    (void)error;
    if (is_star(row) == self->saves_star) return DP_STATUS_OK;
    self->found = true;
    return DP_STATUS_CANCELLED;
}

static dp_status check_scope(dp_store *store, const dp_offset_row *row, dp_error *error)
{
    scope_check check = {.saves_star = is_star(row)};
    dp_row_visitor visitor = {.context = &check, .offset = look_for_other_scope};
    dp_status status = store->driver->offset_list(store, row->pipeline_name, &visitor, error);
    if (status != DP_STATUS_OK || !check.found) return status;
    dp_error_set_code(error, DP_STATUS_CONFLICT, "offset_scope_conflict",
                      check.saves_star
                          ? "the pipeline has offsets of single tables; it cannot have one for all"
                          : "the pipeline has one offset for all tables; it cannot have one a table");
    dp_error_hint(error, "delete the others first: dpone offsets delete");
    return DP_STATUS_CONFLICT;
}

typedef struct audit_entry {
    const dp_actor *actor;
    const char *action;
    const dp_offset_row *row;
    dp_slice old_token;
    dp_slice new_token;
} audit_entry;

static dp_status write_audit(dp_store *store, const audit_entry *entry, int64_t now_us, dp_error *error)
{
    dp_buffer subject = DP_BUFFER_INIT(1 << 16);
    dp_buffer_append_slice(&subject, entry->row->backend);
    dp_buffer_append_byte(&subject, ':');
    dp_buffer_append_slice(&subject, entry->row->source_schema);
    dp_buffer_append_byte(&subject, '.');
    dp_buffer_append_slice(&subject, entry->row->source_table);
    dp_status status;
    if (subject.failed) {
        status = dp_error_no_memory(error, "an audit record");
    } else {
        const dp_audit_row record = {.at_us = now_us,
                                     .actor = entry->actor->who,
                                     .action = dp_slice_of_text(entry->action),
                                     .pipeline = entry->row->pipeline_name,
                                     .subject = dp_buffer_slice(&subject),
                                     .reason = entry->actor->why,
                                     .old_value = entry->old_token,
                                     .new_value = entry->new_token};
        status = store->driver->audit_insert(store, &record, error);
    }
    dp_buffer_release(&subject);
    return status;
}

typedef struct save_job {
    dp_store *store;
    const dp_offset_save *save;
    dp_backend backend;
    dp_position position;
    int64_t now_us;
    dp_arena *arena;
    dp_slice old_token; /* data NULL: none is stored */
    bool rewinds;
} save_job;

static dp_status check_regression(save_job *job, dp_error *error)
{
    dp_offset_row stored = job->save->row;
    dp_position old_position;
    dp_status status = job->store->driver->offset_find(job->store, &stored, job->arena, error);
    if (status == DP_STATUS_NOT_FOUND) return DP_STATUS_OK;
    if (status != DP_STATUS_OK) return status;
    job->old_token = stored.token;
    /* A stored token that does not parse was not written by us: anything is better than it. */
    job->rewinds = dp_position_parse(job->backend, stored.token, &old_position) &&
                   dp_position_compare(job->position, old_position) < 0;
    if (!job->rewinds || job->save->allow_rewind) return DP_STATUS_OK;
    dp_error_set_code(error, DP_STATUS_BLOCKED, "offset_regression", "%.*s is behind the stored offset %.*s",
                      DP_SLICE_PRINT(job->save->row.token), DP_SLICE_PRINT(stored.token));
    dp_error_hint(error, "a rewind makes changes load again; allow it with --allow-rewind");
    return DP_STATUS_BLOCKED;
}

static dp_status save_in_transaction(save_job *job, dp_error *error)
{
    const dp_offset_row *row = &job->save->row;
    dp_status status = check_scope(job->store, row, error);
    if (status == DP_STATUS_OK) status = check_regression(job, error);
    if (status == DP_STATUS_OK) status = job->store->driver->offset_save(job->store, row, job->now_us, error);
    if (status != DP_STATUS_OK || job->save->actor.who.data == NULL) return status;
    const audit_entry entry = {.actor = &job->save->actor,
                               .action = job->rewinds ? "offset.rewind" : "offset.set",
                               .row = row,
                               .old_token = job->old_token,
                               .new_token = row->token};
    return write_audit(job->store, &entry, job->now_us, error);
}

static dp_status end_transaction(dp_store *store, dp_status status, dp_error *error)
{
    if (status == DP_STATUS_OK) return store->driver->commit(store, error);
    store->driver->rollback(store);
    return status;
}

dp_status dp_offsets_save(dp_store *store, const dp_offset_save *save, int64_t now_us, dp_error *error)
{
    dp_backend backend;
    dp_position position;
    dp_status status = check_names(&save->row, &backend, &position, error);
    if (status != DP_STATUS_OK) return status;
    save_job job = {.store = store, .save = save, .backend = backend, .position = position, .now_us = now_us};
    job.arena = dp_arena_new(1024, 1 << 20);
    if (job.arena == NULL) return dp_error_no_memory(error, "an offset");
    status = store->driver->begin(store, true, error);
    if (status == DP_STATUS_OK) {
        status = save_in_transaction(&job, error);
        if (status == DP_STATUS_OK) dp_crash_point(DP_CRASH_OFFSET_WRITTEN);
        status = end_transaction(store, status, error);
    }
    if (status == DP_STATUS_OK) dp_crash_point(DP_CRASH_OFFSET_UNANSWERED);
    dp_arena_free(job.arena);
    return status;
}

/* --- deleting ------------------------------------------------------------------------------------------ */

dp_status dp_offsets_delete(dp_store *store, const dp_offset_row *row, const dp_actor *actor, int64_t now_us,
                            dp_error *error)
{
    dp_arena *arena = dp_arena_new(1024, 1 << 20);
    if (arena == NULL) return dp_error_no_memory(error, "an offset");
    dp_status status = store->driver->begin(store, true, error);
    if (status == DP_STATUS_OK) {
        dp_offset_row stored = *row;
        status = store->driver->offset_find(store, &stored, arena, error);
        if (status == DP_STATUS_OK) status = store->driver->offset_delete(store, row, error);
        const audit_entry entry = {
            .actor = actor, .action = "offset.delete", .row = row, .old_token = stored.token};
        if (status == DP_STATUS_OK && actor->who.data != NULL) {
            status = write_audit(store, &entry, now_us, error);
        }
        status = end_transaction(store, status, error);
    }
    dp_arena_free(arena);
    return status;
}
