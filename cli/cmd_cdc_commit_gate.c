/* dpone cdc commit-gate: reads a receipt or flags, asks the gate, renders its decision. */
#include <unistd.h>

#include "base/file.h"
#include "cli/commands.h"
#include "replay/plan_render.h"
#include "services/receipt.h"

static const dp_option options[] = {
    {.name = "backend",
     .argument = "BACKEND",
     .help = "the backend that the next offset must belong to",
     .choices = DP_BACKEND_CHOICES,
     .required = true},
    {.name = "receipt",
     .argument = "FILE",
     .help = "read the receipt from a file; - or no flag below means standard input"},
    {.name = "next-offset", .argument = "TOKEN", .help = "the offset to commit, token or backend:token"},
    {.name = "sink-status",
     .argument = "STATUS",
     .help = "what the sink reported; success, succeeded, completed and committed pass"},
    {.name = "load-status", .argument = "STATUS", .help = "what the load reported; committed passes"},
    {.name = "idempotency-passed",
     .argument = "BOOLEAN",
     .help = "whether the batch passed the idempotency check",
     .choices = "true|false"},
    {.name = NULL},
};

static bool has_flags(const dp_invocation *invocation)
{
    return dp_invocation_given(invocation, "next-offset") || dp_invocation_given(invocation, "sink-status") ||
           dp_invocation_given(invocation, "load-status") ||
           dp_invocation_given(invocation, "idempotency-passed");
}

static dp_status print_decision(const dp_gate_result *result, int *exit_code, dp_error *error)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    dp_gate_result_write_json(result, &out);
    dp_status status = dp_print_and_release(&out, error);
    if (status == DP_STATUS_OK) *exit_code = result->can_commit ? 0 : 1;
    return status;
}

/* What is not given does not pass: a script that forgets a flag never commits by accident. */
static dp_status decide_by_flags(const dp_invocation *invocation, dp_backend backend, int *exit_code,
                                 dp_error *error)
{
    dp_offset offset;
    const char *token = dp_invocation_text(invocation, "next-offset");
    const char *passed = dp_invocation_text(invocation, "idempotency-passed");
    if (token != NULL) {
        dp_status status = dp_offset_parse(dp_slice_of_text(token), backend, "next-offset", &offset, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_gate_input input = {
        .next_offset = token == NULL ? NULL : &offset,
        .expected_backend = backend,
        .sink_status = dp_slice_of_text(dp_invocation_text(invocation, "sink-status")),
        .load_status = dp_slice_of_text(dp_invocation_text(invocation, "load-status")),
        .idempotency_passed = passed != NULL && strcmp(passed, "true") == 0,
    };
    dp_gate_result result = dp_commit_gate_evaluate(&input);
    return print_decision(&result, exit_code, error);
}

static dp_status decide_by_receipt(const char *path, dp_backend backend, int *exit_code, dp_error *error)
{
    dp_buffer text = DP_BUFFER_INIT(2 * DP_RECEIPT_MAX_BYTES);
    dp_receipt receipt;
    dp_status status = dp_file_read(path, DP_RECEIPT_MAX_BYTES, &text, error);
    if (status == DP_STATUS_OK) {
        status = dp_receipt_parse(dp_buffer_slice(&text), dp_file_display_name(path), &receipt, error);
    }
    dp_buffer_release(&text);
    if (status != DP_STATUS_OK) return status;
    dp_gate_result result = dp_receipt_evaluate(&receipt, backend);
    return print_decision(&result, exit_code, error);
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_backend backend;
    if (!dp_backend_parse(dp_slice_of_text(dp_invocation_text(invocation, "backend")), &backend)) {
        return dp_error_set(error, DP_STATUS_USAGE, "--backend: expected one of " DP_BACKEND_CHOICES);
    }
    const char *path = dp_invocation_text(invocation, "receipt");
    if (has_flags(invocation)) {
        if (path == NULL) return decide_by_flags(invocation, backend, exit_code, error);
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--receipt and flags for its members were both given; expected one of them");
    }
    if (path == NULL && isatty(STDIN_FILENO)) {
        dp_error_set(error, DP_STATUS_USAGE, "no receipt: standard input is a terminal");
        dp_error_hint(error, "pipe a receipt in, or give --next-offset, --sink-status, --load-status and "
                             "--idempotency-passed");
        return DP_STATUS_USAGE;
    }
    return decide_by_receipt(path == NULL ? "-" : path, backend, exit_code, error);
}

const dp_command dp_command_cdc_commit_gate = {
    .path = "cdc commit-gate",
    .summary = "decide whether an offset may be committed",
    .arguments = "",
    .description =
        "An offset may move only when the data behind it is durable: there is a next offset of the expected "
        "backend, the sink succeeded, the load is committed and the batch passed the idempotency check. "
        "Reads a "
        "receipt as the server answers it, or its members from flags; what is not given does not pass. "
        "Prints "
        "the decision as JSON and saves nothing.",
    .examples = "  dpone cdc commit-gate --backend postgres_logical < receipt.json\n"
                "      judge a receipt: exit 0 when the offset may be committed\n"
                "  dpone cdc commit-gate --backend postgres_logical --next-offset 0/16B6D28 \\\n"
                "      --sink-status success --load-status committed --idempotency-passed true\n"
                "      judge what a loader of your own reported\n",
    .options = options,
    .exit_codes = "0 may be committed, 1 may not, 2 bad usage, 3 the receipt cannot be read, 4 a malformed "
                  "receipt",
    .run = run,
};
