/* dpone cdc check-idempotency: asks the service whether any event occurs twice, and prints its answer. */
#include "cli/commands.h"
#include "services/check_idempotency.h"

static const dp_option options[] = {
    {.name = "max-events",
     .argument = "N",
     .help = "refuse more different events than this; each takes about 50 bytes of memory",
     .default_text = "10000000"},
    {.name = NULL},
};

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    uint64_t max_events = 0;
    dp_status status = dp_invocation_u64(invocation, "max-events", 1, 1000000000, &max_events, error);
    if (status != DP_STATUS_OK) return status;
    const dp_check_idempotency_options check = {
        .source = invocation->argument_count == 1 ? invocation->arguments[0] : "-",
        .max_events = (size_t)max_events,
    };
    bool passed = false;
    dp_buffer out = DP_BUFFER_INIT((size_t)1 << 36); /* one line a duplicate; bounded by max-events */
    status = dp_check_idempotency(&check, &out, &passed, error);
    if (status != DP_STATUS_OK) {
        dp_buffer_release(&out);
        return status;
    }
    status = dp_print_and_release(&out, error);
    if (status == DP_STATUS_OK) *exit_code = passed ? 0 : 1;
    return status;
}

const dp_command dp_command_cdc_check_idempotency = {
    .path = "cdc check-idempotency",
    .summary = "check event lines for events that occur twice",
    .arguments = "[FILE]",
    .max_arguments = 1,
    .description =
        "Reads event lines from FILE, or standard input without one, as decode prints them or a batch "
        "carries "
        "them; lines of other kinds are skipped. Prints how many events there are and the id of each "
        "duplicate "
        "once, in order of first repetition. A batch with duplicates inside does not pass the commit gate.",
    .examples = "  dpone cdc decode capture.csv --unique-key public.orders=id | dpone cdc check-idempotency\n"
                "      exit 0 when no event occurs twice\n"
                "  dpone cdc check-idempotency events.ndjson\n",
    .options = options,
    .exit_codes =
        "0 passed, 1 there are duplicates, 2 bad usage, 3 the input cannot be read, 4 a malformed line "
        "or an event without an id",
    .run = run,
};
