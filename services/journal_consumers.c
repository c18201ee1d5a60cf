/* Consumers as a service: named readers of a journal, each with a durable offset of its own. */
#include "base/clock.h"
#include "services/consumer_name.h"
#include "services/journal_internal.h"
#include "services/json_body.h"
#include "state/offsets.h"

#define STAR DP_SLICE_LITERAL("*")

static void write_row(dp_json_writer *writer, dp_slice consumer, const dp_offset_row *row)
{
    dp_json_member_slice(writer, "consumer", consumer);
    dp_json_member_slice(writer, "backend", row->backend);
    dp_json_member_slice(writer, "token", row->token);
    dp_json_member_time(writer, "loaded_at", row->loaded_at_us);
    dp_json_member_time(writer, "updated_at", row->updated_at_us);
}

/* --- the list ------------------------------------------------------------------------------------------ */

typedef struct consumer_list {
    dp_json_writer writer;
    dp_slice pipeline;
} consumer_list;

static dp_status put_consumer(void *context, const dp_offset_row *row, dp_error *error)
{
    consumer_list *self = context;
    dp_slice name;
    (void)error;
    if (!dp_consumer_of_key(row->pipeline_name, self->pipeline, &name)) return DP_STATUS_OK;
    dp_json_begin_object(&self->writer);
    write_row(&self->writer, name, row);
    dp_json_end_object(&self->writer);
    return DP_STATUS_OK;
}

void dp_journal_api_list_consumers(dp_journal_api *api, dp_slice pipeline, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    consumer_list list = {.writer = journal_reply_begin(reply), .pipeline = pipeline};
    dp_row_visitor visitor = {.context = &list, .offset = put_consumer};
    dp_json_begin_object(&list.writer);
    dp_json_key(&list.writer, "consumers");
    dp_json_begin_array(&list.writer);
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = store->driver->offset_list(store, dp_slice_make(NULL, 0), &visitor, &error);
        journal_give_reader(api, store, status);
    }
    dp_json_end_array(&list.writer);
    dp_json_end_object(&list.writer);
    journal_reply_end(reply, status, &error);
}

/* --- one consumer -------------------------------------------------------------------------------------- */

/* A request about one consumer, on a connection. */
typedef struct consumer_call {
    const dp_consumer_choice *choice;
    dp_store *store;
    dp_arena *arena;
    dp_api_reply *reply;
    char key[DP_CONSUMER_KEY_BYTES];
    dp_slice pipeline_name; /* `key` */
    dp_backend backend;
    bool has_stream; /* the pipeline may have none yet */
    dp_stream stream;
} consumer_call;

/* The stream says the backend; before there is one, the request does, or it is PostgreSQL's. */
static dp_status find_stream(consumer_call *call, dp_error *error)
{
    const dp_consumer_choice *choice = call->choice;
    const journal_stream_choice wanted = {choice->pipeline, choice->source, choice->backend};
    dp_status status = journal_choose_stream(call->store, &wanted, &call->stream, NULL, error);
    call->has_stream = status == DP_STATUS_OK;
    call->backend = call->has_stream ? call->stream.key.backend : DP_BACKEND_POSTGRES_LOGICAL;
    if (strcmp(error->code, "pipeline_not_found") != 0) return status;
    dp_error_clear(error);
    if (choice->backend.data != NULL && !dp_backend_parse(choice->backend, &call->backend)) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "backend_unknown", "'%.*s' is no backend",
                                 DP_SLICE_PRINT(choice->backend));
    }
    return DP_STATUS_OK;
}

static dp_offset_row row_of(const consumer_call *call)
{
    return (dp_offset_row){.pipeline_name = call->pipeline_name,
                           .source_schema = STAR,
                           .source_table = STAR,
                           .backend = dp_backend_text(call->backend)};
}

static dp_status reply_row(consumer_call *call, dp_error *error)
{
    dp_offset_row row = row_of(call);
    dp_status status = call->store->driver->offset_find(call->store, &row, call->arena, error);
    if (status == DP_STATUS_NOT_FOUND) {
        dp_error_clear(error);
        return dp_error_set_code(error, status, "consumer_not_found", "the pipeline has no such consumer");
    }
    if (status != DP_STATUS_OK) return status;
    char high[DP_POSITION_TEXT_BYTES] = "";
    bool has_high = call->has_stream && call->stream.has_high;
    if (has_high) dp_position_format(call->backend, call->stream.high, high);
    dp_json_writer writer = journal_reply_begin(call->reply);
    dp_json_begin_object(&writer);
    dp_json_member_slice(&writer, "pipeline", call->choice->pipeline);
    write_row(&writer, call->choice->consumer, &row);
    dp_json_member_text(&writer, "high_watermark", has_high ? high : NULL);
    dp_json_end_object(&writer);
    return DP_STATUS_OK;
}

static dp_status begin_call(consumer_call *call, dp_error *error)
{
    size_t length;
    dp_status status =
        dp_consumer_key(call->choice->pipeline, call->choice->consumer, call->key, &length, error);
    if (status != DP_STATUS_OK) return status;
    call->pipeline_name = dp_slice_make(call->key, length);
    call->arena = dp_arena_new(1024, 1 << 20);
    return call->arena == NULL ? dp_error_no_memory(error, "a consumer") : DP_STATUS_OK;
}

void dp_journal_api_get_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    consumer_call call = {.choice = choice, .reply = reply};
    dp_status status = begin_call(&call, &error);
    if (status == DP_STATUS_OK) status = journal_take_reader(api, &call.store, &error);
    if (status == DP_STATUS_OK) {
        status = find_stream(&call, &error);
        if (status == DP_STATUS_OK) status = reply_row(&call, &error);
        journal_give_reader(api, call.store, status);
    }
    dp_arena_free(call.arena);
    journal_reply_end(reply, status, &error);
}

/* --- committing ---------------------------------------------------------------------------------------- */

/* High and pruned positions only grow, so that what is refused here would be refused later as well; what
 * grows past the token meanwhile is met by the next reading. */
static dp_status check_position(const consumer_call *call, dp_slice token, dp_error *error)
{
    dp_position position;
    char text[DP_POSITION_TEXT_BYTES] = "nothing";
    if (!dp_position_parse(call->backend, token, &position)) return DP_STATUS_OK; /* saving refuses it */
    bool has_high = call->has_stream && call->stream.has_high;
    if (!has_high || dp_position_compare(position, call->stream.high) > 0) {
        if (has_high) dp_position_format(call->backend, call->stream.high, text);
        return dp_error_set_code(error, DP_STATUS_CONFLICT, "offset_ahead_of_journal",
                                 "%.*s is ahead of the journal, which holds %s%s", DP_SLICE_PRINT(token),
                                 has_high ? "events up to " : "", text);
    }
    if (call->stream.has_pruned && dp_position_compare(position, call->stream.pruned) < 0) {
        dp_position_format(call->backend, call->stream.pruned, text);
        return dp_error_set_code(error, DP_STATUS_CONFLICT, "events_pruned",
                                 "retention has deleted events up to %s", text);
    }
    return DP_STATUS_OK;
}

static dp_status save_token(consumer_call *call, const json_t *body, dp_slice token, dp_error *error)
{
    dp_offset_save save = {.row = row_of(call)};
    save.row.token = token;
    save.row.snapshot_complete = true;
    dp_status status = dp_json_body_bool(body, "allow_rewind", false, &save.allow_rewind, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "who", false, &save.actor.who, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "why", false, &save.actor.why, error);
    if (status == DP_STATUS_OK) status = dp_offsets_save(call->store, &save, dp_clock_wall_us(), error);
    return status;
}

/* A consumer that is there stays; another begins where the journal does. */
static dp_status register_consumer(consumer_call *call, const json_t *body, dp_error *error)
{
    char begin[DP_POSITION_TEXT_BYTES];
    dp_offset_row row = row_of(call);
    const dp_position none = {0};
    dp_status status = call->store->driver->offset_find(call->store, &row, call->arena, error);
    if (status != DP_STATUS_NOT_FOUND) return status;
    dp_error_clear(error);
    bool has_pruned = call->has_stream && call->stream.has_pruned;
    size_t length = dp_position_format(call->backend, has_pruned ? call->stream.pruned : none, begin);
    status = save_token(call, body, dp_slice_make(begin, length), error);
    /* Another request has registered it at the same time, and has gone on since. */
    if (strcmp(error->code, "offset_regression") != 0) return status;
    dp_error_clear(error);
    return DP_STATUS_OK;
}

static dp_status put_offset(consumer_call *call, const json_t *body, dp_error *error)
{
    dp_slice token;
    dp_status status = dp_json_body_text(body, "token", false, &token, error);
    if (status == DP_STATUS_OK) status = find_stream(call, error);
    if (status != DP_STATUS_OK) return status;
    if (token.data == NULL) {
        status = register_consumer(call, body, error);
    } else {
        status = check_position(call, token, error);
        if (status == DP_STATUS_OK) status = save_token(call, body, token, error);
    }
    return status == DP_STATUS_OK ? reply_row(call, error) : status;
}

typedef dp_status consumer_action(consumer_call *call, const json_t *body, dp_error *error);

/* Takes the right to write for an action with a body. */
static void change(dp_journal_api *api, consumer_call *call, dp_slice body, const char *const *allowed,
                   consumer_action *action)
{
    dp_error error = DP_ERROR_INIT;
    journal_writer *writer;
    json_t *object = NULL;
    dp_status status = begin_call(call, &error);
    if (status == DP_STATUS_OK) status = dp_json_body_parse(body, allowed, true, &object, &error);
    if (status == DP_STATUS_OK) status = journal_take_writer(api, &writer, &error);
    if (status == DP_STATUS_OK) {
        call->store = writer->store;
        status = action(call, object, &error);
        journal_give_writer(api, writer, status);
    }
    json_decref(object);
    dp_arena_free(call->arena);
    journal_reply_end(call->reply, status, &error);
}

void dp_journal_api_put_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_slice body,
                                 dp_api_reply *reply)
{
    consumer_call call = {.choice = choice, .reply = reply};
    static const char *const allowed[] = {"token", "allow_rewind", "who", "why", NULL};
    change(api, &call, body, allowed, put_offset);
}

/* --- deleting ------------------------------------------------------------------------------------------ */

static dp_status delete_offset(consumer_call *call, const json_t *body, dp_error *error)
{
    dp_actor actor;
    dp_status status = dp_json_body_text(body, "who", false, &actor.who, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "why", false, &actor.why, error);
    if (status == DP_STATUS_OK) status = find_stream(call, error);
    if (status != DP_STATUS_OK) return status;
    const dp_offset_row row = row_of(call);
    status = dp_offsets_delete(call->store, &row, &actor, dp_clock_wall_us(), error);
    if (status == DP_STATUS_NOT_FOUND) {
        dp_error_clear(error);
        return dp_error_set_code(error, status, "consumer_not_found", "the pipeline has no such consumer");
    }
    if (status != DP_STATUS_OK) return status;
    dp_json_writer writer = journal_reply_begin(call->reply);
    dp_json_raw(&writer, DP_SLICE_LITERAL("{\"deleted\":true}"));
    return DP_STATUS_OK;
}

void dp_journal_api_delete_consumer(dp_journal_api *api, const dp_consumer_choice *choice, dp_slice body,
                                    dp_api_reply *reply)
{
    consumer_call call = {.choice = choice, .reply = reply};
    static const char *const allowed[] = {"who", "why", NULL};
    change(api, &call, body, allowed, delete_offset);
}
