/* dpone state copy: from one state database into another, verified. */
#include <inttypes.h>

#include "base/hex.h"
#include "cli/commands.h"
#include "services/state_copy.h"

static const dp_option options[] = {
    {.name = "from", .argument = "DSN", .help = "the state database to read", .required = true},
    {.name = "to",
     .argument = "DSN",
     .help = "the empty state database to fill; it is created",
     .required = true},
    {.name = NULL},
};

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_state_copy_result result;
    char digest[DP_SHA256_HEX_LENGTH + 1] = "";
    (void)exit_code;
    dp_status status = dp_state_copy(dp_invocation_text(invocation, "from"),
                                     dp_invocation_text(invocation, "to"), &result, error);
    if (status != DP_STATUS_OK) return status;
    dp_hex_encode(result.digest, sizeof result.digest, digest);
    dp_buffer out = DP_BUFFER_INIT(4096);
    dp_buffer_append_format(&out, "streams %" PRIu64 "\ntransactions %" PRIu64 "\nevents %" PRIu64 "\n",
                            result.stream_count, result.transaction_count, result.event_count);
    dp_buffer_append_format(&out, "staged %" PRIu64 "\nreceipts %" PRIu64 "\n", result.staged_count,
                            result.receipt_count);
    dp_buffer_append_format(&out, "offsets %" PRIu64 "\nquarantine %" PRIu64 "\naudit %" PRIu64 "\n",
                            result.offset_count, result.quarantine_count, result.audit_count);
    dp_buffer_append_format(&out, "verified %s\n", digest);
    return dp_print_and_release(&out, error);
}

const dp_command dp_command_state_copy = {
    .path = "state copy",
    .summary = "copy a state database into another, also of the other kind, and verify it",
    .arguments = "",
    .description =
        "Copies streams with their transactions, events and receipts, rows that wait for their commit "
        "line, offsets, quarantine and audit in one transaction, reads the copy back and compares it by "
        "digest before it commits. Senders go on against the copy where they were. "
        "Stop the servers and runs on the source first; the target must hold nothing.",
    .examples = "  dpone state copy --from sqlite:dpone.db --to postgresql://dpone@db/cdc\n"
                "  dpone state copy --from postgresql://dpone@db/cdc --to sqlite:copy.db\n",
    .options = options,
    .exit_codes = "0 copied and verified, 1 the target holds something already",
    .run = run,
};
