/* dpone cdc replay-plan: reads offsets from the command line, asks the planner, renders its plan. */
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "replay/plan_render.h"
#include "services/stored_offset.h"

static const dp_option options[] = {
    {.name = "backend",
     .argument = "BACKEND",
     .help = "the change stream that the tokens belong to",
     .choices = DP_BACKEND_CHOICES,
     .required = true},
    {.name = "pipeline-name", .argument = "NAME", .help = "the pipeline to replay", .required = true},
    {.name = "schema", .argument = "SCHEMA", .help = "schema of the source table", .required = true},
    {.name = "table", .argument = "TABLE", .help = "the source table", .required = true},
    {.name = "stored-offset", .argument = "TOKEN", .help = "the offset that the pipeline has stored"},
    {.name = "state",
     .argument = "DSN",
     .help = "read the stored offset from this state database instead: sqlite:PATH or postgresql://..."},
    {.name = "replay-from",
     .argument = "TOKEN",
     .help = "start of the window, exclusive: the end of what stays as it is",
     .required = true},
    {.name = "replay-to",
     .argument = "TOKEN",
     .help = "end of the window, inclusive; without it the window is open"},
    {.name = "retention-min",
     .argument = "TOKEN",
     .help = "the lowest offset that the source can still be read from"},
    {.name = "high-watermark", .argument = "TOKEN", .help = "the highest offset that the source has reached"},
    {.name = "artifact-uri", .argument = "URI", .help = "an exported window to read instead of the source"},
    {.name = "allow-rewind", .help = "accept a start that is behind the stored offset"},
    DP_OPTION_PLAN_FORMAT,
    {.name = NULL},
};

static dp_status read_name(const dp_invocation *invocation, const char *option, dp_slice *name,
                           dp_error *error)
{
    dp_slice text = dp_slice_of_text(dp_invocation_text(invocation, option));
    if (text.length == 0)
        return dp_error_set(error, DP_STATUS_USAGE, "--%s is empty; expected a name", option);
    if (!dp_utf8_valid(text, NULL)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--%s is not valid UTF-8; expected a name", option);
    }
    *name = text;
    return DP_STATUS_OK;
}

typedef struct plan_input {
    dp_replay_request request;
    dp_offset stored_offset, replay_from, replay_to, retention_min, high_watermark;
} plan_input;

/* Leaves *target NULL when the option is not given. */
static dp_status read_offset(const dp_invocation *invocation, const char *option, dp_offset *storage,
                             const dp_offset **target, dp_backend backend, dp_error *error)
{
    const char *text = dp_invocation_text(invocation, option);
    if (text == NULL) return DP_STATUS_OK;
    dp_status status = dp_offset_parse(dp_slice_of_text(text), backend, option, storage, error);
    if (status == DP_STATUS_OK) *target = storage;
    return status;
}

static dp_status read_offsets(const dp_invocation *invocation, plan_input *input, dp_error *error)
{
    dp_replay_request *request = &input->request;
    const struct {
        const char *option;
        dp_offset *storage;
        const dp_offset **target;
    } offsets[] = {
        {"stored-offset", &input->stored_offset, &request->stored_offset},
        {"replay-from", &input->replay_from, &request->replay_from},
        {"replay-to", &input->replay_to, &request->replay_to},
        {"retention-min", &input->retention_min, &request->retention_min},
        {"high-watermark", &input->high_watermark, &request->high_watermark},
    };
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        dp_status status = read_offset(invocation, offsets[i].option, offsets[i].storage, offsets[i].target,
                                       request->backend, error);
        if (status != DP_STATUS_OK) return status;
    }
    return DP_STATUS_OK;
}

/* The state is only read, and only when it was asked for. */
static dp_status load_stored_offset(const dp_invocation *invocation, plan_input *input, dp_error *error)
{
    dp_replay_request *request = &input->request;
    const char *dsn = dp_invocation_text(invocation, "state");
    if (dsn == NULL) return DP_STATUS_OK;
    if (request->stored_offset != NULL) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--state and --stored-offset were both given; expected one of them");
    }
    const dp_stored_offset_query query = {.state_dsn = dsn,
                                          .pipeline_name = request->pipeline_name,
                                          .source_schema = request->source_schema,
                                          .source_table = request->source_table,
                                          .backend = request->backend};
    bool is_stored = false;
    dp_status status = dp_stored_offset_load(&query, &is_stored, &input->stored_offset, error);
    if (status == DP_STATUS_OK && is_stored) request->stored_offset = &input->stored_offset;
    return status;
}

static dp_status read_request(const dp_invocation *invocation, plan_input *input, dp_error *error)
{
    dp_replay_request *request = &input->request;
    if (!dp_backend_parse(dp_slice_of_text(dp_invocation_text(invocation, "backend")), &request->backend)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--backend: expected one of " DP_BACKEND_CHOICES);
    }
    dp_status status = read_name(invocation, "pipeline-name", &request->pipeline_name, error);
    if (status == DP_STATUS_OK) status = read_name(invocation, "schema", &request->source_schema, error);
    if (status == DP_STATUS_OK) status = read_name(invocation, "table", &request->source_table, error);
    if (status != DP_STATUS_OK) return status;
    request->artifact_uri = dp_slice_of_text(dp_invocation_text(invocation, "artifact-uri"));
    if (!dp_utf8_valid(request->artifact_uri, NULL)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--artifact-uri is not valid UTF-8; expected a URI");
    }
    request->allow_rewind = dp_invocation_switch(invocation, "allow-rewind");
    status = read_offsets(invocation, input, error);
    return status == DP_STATUS_OK ? load_stored_offset(invocation, input, error) : status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    plan_input input = {.request = {.backend = DP_BACKEND_POSTGRES_LOGICAL}};
    dp_status status = read_request(invocation, &input, error);
    if (status != DP_STATUS_OK) return status;
    dp_replay_plan plan = dp_replay_plan_make(&input.request);
    dp_buffer out = DP_BUFFER_INIT(16u << 20);
    if (dp_wants_json(invocation)) {
        dp_replay_plan_write_json(&plan, &out);
    } else {
        dp_replay_plan_write_markdown(&plan, &out);
    }
    status = dp_print_and_release(&out, error);
    if (status == DP_STATUS_OK) *exit_code = plan.safe_to_execute ? 0 : 1;
    return status;
}

const dp_command dp_command_cdc_replay_plan = {
    .path = "cdc replay-plan",
    .summary = "decide whether a replay is safe, and list its steps",
    .arguments = "",
    .description = "Compares the offsets you observed and says whether reading the window (replay-from, "
                   "replay-to] again "
                   "is safe. Nothing is changed, and nothing is connected to unless --state says so.\n"
                   "\n"
                   "Tokens compare by value: 0/9 is before 0/10. postgres_logical takes X/X, mssql_cdc takes "
                   "0x and up to "
                   "20 hexadecimal digits, mssql_change_tracking a version number. A token of another "
                   "backend is written "
                   "backend:token, and blocks the plan by name.",
    .examples =
        "  dpone cdc replay-plan --backend postgres_logical --pipeline-name orders-cdc --schema public \\\n"
        "      --table orders --stored-offset 0/16B6D28 --replay-from 0/16B6D28\n"
        "      from where the pipeline stands, to the end: safe, exit 0\n"
        "  dpone cdc replay-plan --backend postgres_logical --pipeline-name orders-cdc --schema public \\\n"
        "      --table orders --stored-offset 0/16B6D28 --replay-from 0/16B6B00 --replay-to 0/16B6D28 \\\n"
        "      --artifact-uri file:///var/lib/dpone/orders --allow-rewind --format json\n"
        "      what has been loaded once more, from an exported window, as JSON\n"
        "  dpone cdc replay-plan --backend postgres_logical --pipeline-name orders-cdc --schema public \\\n"
        "      --table orders --state sqlite:dpone.db --replay-from 0/16B6B00\n"
        "      with the offset that is stored\n",
    .options = options,
    .exit_codes = "0 safe to execute, 1 blocked, 2 bad usage or a malformed token",
    .run = run,
};
