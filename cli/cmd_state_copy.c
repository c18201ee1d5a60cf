/* dpone state copy: from one state database into another, verified. */
#include <inttypes.h>

#include "base/hex.h"
#include "cli/commands.h"
#include "cli/journal_options.h"
#include "services/state_copy.h"

static const dp_option options[] = {
    {.name = "from", .argument = "DSN", .help = "the state database to read", .required = true},
    {.name = "to",
     .argument = "DSN",
     .help = "the empty state database to fill; it is created",
     .required = true},
    {.name = NULL},
};

static void show_progress(void *context, bool verifying, uint64_t events)
{
    dp_progress_line_show(context, "%llu events %s", (unsigned long long)events,
                          verifying ? "verified" : "copied");
}

/* An empty DSN, as from a variable that is not set, is not the default one here. */
static dp_status require_named(const dp_invocation *invocation, const char *option, dp_error *error)
{
    if (dp_invocation_text(invocation, option)[0] != '\0') return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_USAGE,
                        "--%s: empty; expected sqlite:PATH or postgresql://USER@HOST/DATABASE", option);
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_state_copy_result result;
    char digest[DP_SHA256_HEX_LENGTH + 1] = "";
    (void)exit_code;
    bool source_changed = false;
    dp_progress_line line = dp_progress_line_of_stderr();
    const dp_state_copy_options copy = {.from_dsn = dp_invocation_text(invocation, "from"),
                                        .to_dsn = dp_invocation_text(invocation, "to"),
                                        .progress = show_progress,
                                        .context = &line};
    dp_status status = require_named(invocation, "from", error);
    if (status == DP_STATUS_OK) status = require_named(invocation, "to", error);
    if (status == DP_STATUS_OK) status = dp_state_copy(&copy, &result, &source_changed, error);
    dp_progress_line_end(&line);
    if (status != DP_STATUS_OK) return status;
    if (source_changed) {
        fputs("dpone: warning: --from was written to meanwhile (or cannot be read again): the copy is as it "
              "was "
              "when the copy began\n",
              stderr);
    }
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
        "Stop the servers and runs on the source first (what they store meanwhile is not in the copy, which "
        "is "
        "warned of); the target must hold nothing. A copy that is interrupted stores nothing.",
    .examples = "  dpone state copy --from sqlite:dpone.db --to postgresql://dpone@db/cdc\n"
                "  dpone state copy --from postgresql://dpone@db/cdc --to sqlite:copy.db\n",
    .options = options,
    .exit_codes = "0 copied and verified, 1 the target holds something already",
    .run = run,
};
