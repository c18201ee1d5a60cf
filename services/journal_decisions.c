/* Replay plans and commit decisions: bodies in, the pure modules' answers out. */
#include "replay/plan_render.h"
#include "services/journal_internal.h"
#include "services/json_body.h"

static dp_status malformed(dp_error *error, const char *name, const char *expected)
{
    return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed", "\"%s\": expected %s", name, expected);
}

static dp_status parse_backend(const json_t *object, const char *name, dp_backend *backend, dp_error *error)
{
    dp_slice text;
    dp_status status = dp_json_body_text(object, name, true, &text, error);
    if (status == DP_STATUS_OK && !dp_backend_parse(text, backend)) {
        return malformed(error, name, "postgres_logical, mssql_cdc or mssql_change_tracking");
    }
    return status;
}

static dp_status parse_offset_object(const json_t *value, const char *name, dp_offset *offset,
                                     dp_error *error)
{
    const json_t *token = json_object_get(value, "token");
    const json_t *snapshot = json_object_get(value, "snapshot_complete");
    dp_backend backend;
    dp_status status = parse_backend(value, "backend", &backend, error);
    if (status != DP_STATUS_OK) return status;
    if (!json_is_string(token) ||
        !dp_offset_of_token(backend, (dp_slice){json_string_value(token), json_string_length(token)},
                            offset)) {
        return malformed(error, name, dp_offset_expected_form(backend));
    }
    if (snapshot != NULL && !json_is_boolean(snapshot))
        return malformed(error, "snapshot_complete", "true or false");
    offset->snapshot_complete = snapshot == NULL || json_is_true(snapshot);
    return DP_STATUS_OK;
}

/* An object, a token of `backend`, "backend:token", or null; *target stays NULL for null and absent. */
static dp_status parse_offset(const json_t *object, const char *name, dp_backend backend, dp_offset *storage,
                              const dp_offset **target, dp_error *error)
{
    const json_t *value = json_object_get(object, name);
    dp_status status;
    if (value == NULL || json_is_null(value)) return DP_STATUS_OK;
    if (json_is_object(value)) {
        status = parse_offset_object(value, name, storage, error);
    } else if (json_is_string(value)) {
        const dp_slice text = {json_string_value(value), json_string_length(value)};
        status = dp_offset_parse(text, backend, name, storage, error);
    } else {
        status = malformed(error, name, "an offset or null");
    }
    if (status == DP_STATUS_OK) *target = storage;
    return status;
}

/* --- replay plans -------------------------------------------------------------------------------------- */

typedef struct plan_input {
    dp_replay_request request;
    dp_offset stored_offset, replay_from, replay_to, retention_min, high_watermark;
} plan_input;

static dp_status parse_plan_offsets(const json_t *body, plan_input *input, dp_error *error)
{
    dp_replay_request *request = &input->request;
    dp_status status = DP_STATUS_OK;
#define PARSE_FIELD(name, field)                                                                             \
    if (status == DP_STATUS_OK) {                                                                            \
        status = parse_offset(body, #field, request->backend, &input->field, &request->field, error);        \
    }
    DP_REPLAY_FIELD_LIST(PARSE_FIELD)
#undef PARSE_FIELD
    if (status == DP_STATUS_OK && request->replay_from == NULL)
        return malformed(error, "replay_from", "an offset");
    return status;
}

static dp_status parse_plan(const json_t *body, plan_input *input, dp_error *error)
{
    dp_replay_request *request = &input->request;
    dp_status status = parse_backend(body, "backend", &request->backend, error);
    if (status == DP_STATUS_OK) {
        status = dp_json_body_text(body, "pipeline_name", true, &request->pipeline_name, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_text(body, "source_schema", true, &request->source_schema, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_text(body, "source_table", true, &request->source_table, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_text(body, "artifact_uri", false, &request->artifact_uri, error);
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_bool(body, "allow_rewind", false, &request->allow_rewind, error);
    }
    if (status == DP_STATUS_OK) status = parse_plan_offsets(body, input, error);
    return status;
}

void dp_journal_api_plan_replay(dp_journal_api *api, dp_slice body, dp_api_reply *reply)
{
    static const char *const allowed[] = {"backend",        "pipeline_name", "source_schema", "source_table",
                                          "stored_offset",  "replay_from",   "replay_to",     "retention_min",
                                          "high_watermark", "artifact_uri",  "allow_rewind",  NULL};
    (void)api; /* the planner never looks anything up */
    dp_error error = DP_ERROR_INIT;
    plan_input input = {.request = {.backend = DP_BACKEND_POSTGRES_LOGICAL}};
    json_t *object;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) {
        status = parse_plan(object, &input, &error);
        if (status == DP_STATUS_OK) {
            dp_replay_plan plan = dp_replay_plan_make(&input.request);
            journal_reply_begin(reply);
            dp_replay_plan_write_json(&plan, &reply->body);
            journal_reply_ok(reply);
        }
        json_decref(object);
    }
    if (status != DP_STATUS_OK) journal_reply_failure(reply, status, &error);
}

/* --- commit decisions ---------------------------------------------------------------------------------- */

static dp_status parse_gate(const json_t *body, dp_gate_input *input, dp_offset *next_offset, dp_error *error)
{
    dp_status status = parse_backend(body, "expected_backend", &input->expected_backend, error);
    if (status == DP_STATUS_OK) {
        status = parse_offset(body, "next_offset", input->expected_backend, next_offset, &input->next_offset,
                              error);
    }
    if (status == DP_STATUS_OK)
        status = dp_json_body_text(body, "sink_status", true, &input->sink_status, error);
    if (status == DP_STATUS_OK)
        status = dp_json_body_text(body, "load_status", true, &input->load_status, error);
    if (status == DP_STATUS_OK && json_object_get(body, "idempotency_passed") == NULL) {
        return malformed(error, "idempotency_passed", "true or false");
    }
    if (status == DP_STATUS_OK) {
        status = dp_json_body_bool(body, "idempotency_passed", false, &input->idempotency_passed, error);
    }
    return status;
}

void dp_journal_api_decide_commit(dp_journal_api *api, dp_slice body, dp_api_reply *reply)
{
    static const char *const allowed[] = {"next_offset", "expected_backend",   "sink_status",
                                          "load_status", "idempotency_passed", NULL};
    (void)api;
    dp_error error = DP_ERROR_INIT;
    dp_gate_input input = {.next_offset = NULL};
    dp_offset next_offset;
    json_t *object;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) {
        status = parse_gate(object, &input, &next_offset, &error);
        if (status == DP_STATUS_OK) {
            dp_gate_result result = dp_commit_gate_evaluate(&input);
            journal_reply_begin(reply);
            dp_gate_result_write_json(&result, &reply->body);
            journal_reply_ok(reply);
        }
        json_decref(object);
    }
    if (status != DP_STATUS_OK) journal_reply_failure(reply, status, &error);
}
