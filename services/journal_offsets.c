/* Offsets as a service: load, save, delete, list. */
#include "base/clock.h"
#include "services/journal_internal.h"
#include "services/json_body.h"
#include "state/offsets.h"

void journal_write_offset(dp_json_writer *writer, const dp_offset_row *row)
{
    dp_json_begin_object(writer);
    dp_json_member_slice(writer, "pipeline", row->pipeline_name);
    dp_json_member_slice(writer, "source_schema", row->source_schema);
    dp_json_member_slice(writer, "source_table", row->source_table);
    dp_json_member_slice(writer, "backend", row->backend);
    dp_json_member_slice(writer, "token", row->token);
    dp_json_member_bool(writer, "snapshot_complete", row->snapshot_complete);
    dp_json_member_time(writer, "loaded_at", row->loaded_at_us);
    dp_json_member_time(writer, "updated_at", row->updated_at_us);
    dp_json_end_object(writer);
}

static dp_offset_row row_of_name(const dp_offset_name *name)
{
    return (dp_offset_row){.pipeline_name = name->pipeline,
                           .source_schema = name->source_schema,
                           .source_table = name->source_table,
                           .backend = name->backend};
}

static void reply_not_found(dp_api_reply *reply)
{
    dp_api_reply_error(reply, 404, "offset_not_found", "no offset is stored under this name");
}

static void reply_row(const dp_offset_row *row, dp_api_reply *reply)
{
    dp_json_writer writer = journal_reply_begin(reply);
    journal_write_offset(&writer, row);
    journal_reply_ok(reply);
}

/* Loads the row with a connection that is there, and replies. */
static dp_status load_and_reply(dp_store *store, const dp_offset_name *name, dp_api_reply *reply,
                                dp_error *error)
{
    dp_arena *arena = dp_arena_new(1024, 1 << 20);
    if (arena == NULL) return dp_error_no_memory(error, "an offset");
    dp_offset_row row = row_of_name(name);
    dp_status status = dp_offsets_load(store, &row, arena, error);
    if (status == DP_STATUS_OK) reply_row(&row, reply);
    if (status == DP_STATUS_NOT_FOUND) reply_not_found(reply);
    dp_arena_free(arena);
    return status;
}

static bool is_answered(dp_status status)
{
    return status == DP_STATUS_OK || status == DP_STATUS_NOT_FOUND;
}

void dp_journal_api_get_offset(dp_journal_api *api, const dp_offset_name *name, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = load_and_reply(store, name, reply, &error);
        journal_give_reader(api, store, status);
    }
    if (!is_answered(status)) journal_reply_failure(reply, status, &error);
}

static dp_status parse_save(const json_t *body, dp_offset_save *save, dp_error *error)
{
    dp_status status = dp_json_body_text(body, "token", true, &save->row.token, error);
    if (status == DP_STATUS_OK) {
        status = dp_json_body_bool(body, "snapshot_complete", true, &save->row.snapshot_complete, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_bool(body, "allow_rewind", false, &save->allow_rewind, error);
    }
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "who", false, &save->actor.who, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "why", false, &save->actor.why, error);
    return status;
}

/* Saves, and answers with the row as it is stored now. */
static dp_status save_and_reply(dp_journal_api *api, const dp_offset_name *name, const dp_offset_save *save,
                                dp_api_reply *reply, dp_error *error)
{
    journal_writer *writer;
    dp_status status = journal_take_writer(api, &writer, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_offsets_save(writer->store, save, dp_clock_wall_us(), error);
    if (status == DP_STATUS_OK) status = load_and_reply(writer->store, name, reply, error);
    journal_give_writer(api, writer, status);
    return status;
}

void dp_journal_api_put_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                               dp_api_reply *reply)
{
    static const char *const allowed[] = {"token", "snapshot_complete", "allow_rewind", "who", "why", NULL};
    dp_error error = DP_ERROR_INIT;
    dp_offset_save save = {.row = row_of_name(name)};
    json_t *object;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) {
        status = parse_save(object, &save, &error);
        if (status == DP_STATUS_OK) status = save_and_reply(api, name, &save, reply, &error);
        json_decref(object);
    }
    if (!is_answered(status)) journal_reply_failure(reply, status, &error);
}

static dp_status delete_offset(dp_journal_api *api, const dp_offset_name *name, const dp_actor *actor,
                               dp_error *error)
{
    dp_offset_row row = row_of_name(name);
    journal_writer *writer;
    dp_status status = journal_take_writer(api, &writer, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_offsets_delete(writer->store, &row, actor, dp_clock_wall_us(), error);
    journal_give_writer(api, writer, status);
    return status;
}

void dp_journal_api_delete_offset(dp_journal_api *api, const dp_offset_name *name, dp_slice body,
                                  dp_api_reply *reply)
{
    static const char *const allowed[] = {"who", "why", NULL};
    dp_error error = DP_ERROR_INIT;
    dp_actor actor;
    json_t *object;
    dp_status status = dp_json_body_parse(body, allowed, true, &object, &error);
    if (status == DP_STATUS_OK) {
        status = dp_json_body_text(object, "who", false, &actor.who, &error);
        if (status == DP_STATUS_OK) status = dp_json_body_text(object, "why", false, &actor.why, &error);
        if (status == DP_STATUS_OK) status = delete_offset(api, name, &actor, &error);
        json_decref(object);
    }
    if (status == DP_STATUS_NOT_FOUND) {
        reply_not_found(reply);
    } else if (status != DP_STATUS_OK) {
        journal_reply_failure(reply, status, &error);
    } else {
        dp_json_writer writer = journal_reply_begin(reply);
        dp_json_raw(&writer, DP_SLICE_LITERAL("{\"deleted\":true}"));
        journal_reply_ok(reply);
    }
}

static dp_status put_row(void *context, const dp_offset_row *row, dp_error *error)
{
    (void)error;
    journal_write_offset(context, row);
    return DP_STATUS_OK;
}

void dp_journal_api_list_offsets(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    dp_json_writer writer = journal_reply_begin(reply);
    dp_row_visitor visitor = {.context = &writer, .offset = put_row};
    dp_json_begin_object(&writer);
    dp_json_key(&writer, "offsets");
    dp_json_begin_array(&writer);
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = store->driver->offset_list(store, pipeline, &visitor, &error);
        journal_give_reader(api, store, status);
    }
    dp_json_end_array(&writer);
    dp_json_end_object(&writer);
    journal_reply_end(reply, status, &error);
}
