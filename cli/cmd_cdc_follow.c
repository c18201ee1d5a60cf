/* dpone cdc follow: the journal as a named consumer. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/journal_options.h"
#include "services/follow.h"

static const dp_option options[] = {
    DP_OPTION_PIPELINE,
    {.name = "consumer", .argument = "NAME", .help = "whose offset is read and committed", .required = true},
    DP_OPTION_JOURNAL_SERVER,
    DP_OPTION_STATE,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    DP_OPTION_SOURCE_ID,
    DP_OPTION_BACKEND,
    {.name = "exec",
     .argument = "PROGRAM",
     .help = "run this with each batch on its standard input, and commit when it ends with 0"},
    {.name = "from",
     .argument = "TOKEN",
     .help = "where a consumer without an offset begins, exclusive [default: where the journal begins]"},
    {.name = "batch-events",
     .argument = "COUNT",
     .help = "a batch ends with the transaction that reaches so many events",
     .default_text = "1000"},
    {.name = "poll-ms",
     .argument = "MS",
     .help = "how often to look for more with --state; a server says so by itself",
     .default_text = "500"},
    {.name = "until-end", .help = "end when nothing is left instead of waiting for more"},
    {.name = NULL},
};

/* The offset moves next: lines that went into a file are made durable before it does. Pipes and terminals
 * refuse to sync, and have handed the lines on. */
static dp_status print_lines(void *context, dp_slice lines, dp_error *error)
{
    (void)context;
    dp_status status = dp_print(lines, error);
    if (status != DP_STATUS_OK || fdatasync(STDOUT_FILENO) == 0 || errno == EINVAL || errno == EROFS ||
        errno == ENOTSUP)
        return status;
    return dp_error_set(error, DP_STATUS_IO, "unable to make standard output durable: %s", strerror(errno));
}

/* --- a program --- */

/* False when the program does not read to the end, which is its own business. */
static bool write_all(int descriptor, dp_slice lines)
{
    while (lines.length > 0) {
        ssize_t count = write(descriptor, lines.data, lines.length);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return false;
        lines.data += count;
        lines.length -= (size_t)count;
    }
    return true;
}

static void become_program(const char *program, const int ends[2])
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &usual, NULL);
    if (dup2(ends[0], STDIN_FILENO) < 0) _exit(126);
    close(ends[0]);
    close(ends[1]);
    execl("/bin/sh", "sh", "-c", program, (char *)NULL);
    _exit(127);
}

static dp_status await_program(const char *program, pid_t child, dp_error *error)
{
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return DP_STATUS_OK;
    dp_status status =
        WIFEXITED(state)
            ? dp_error_set_code(error, DP_STATUS_REMOTE, "program_failed",
                                "'%s' ended with exit code %d; the batch is not committed", program,
                                WEXITSTATUS(state))
            : dp_error_set_code(error, DP_STATUS_REMOTE, "program_failed",
                                "'%s' was ended by a signal; the batch is not committed", program);
    dp_error_hint(error, "run follow again: it hands the same batch on");
    return status;
}

static dp_status run_program(void *context, dp_slice lines, dp_error *error)
{
    const char *program = context;
    int ends[2];
    if (pipe(ends) != 0)
        return dp_error_set(error, DP_STATUS_IO, "unable to make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) become_program(program, ends);
    close(ends[0]);
    if (child < 0) {
        close(ends[1]);
        return dp_error_set(error, DP_STATUS_IO, "unable to start '%s': %s", program, strerror(errno));
    }
    write_all(ends[1], lines);
    close(ends[1]);
    return await_program(program, child, error);
}

/* --- the command --- */

static void tell_outage(const dp_error *trouble, int64_t lasted_ms)
{
    if (trouble != NULL) {
        fprintf(stderr, "dpone: warning: the journal is away, waiting for it: %s\n", trouble->message);
    } else {
        fprintf(stderr, "dpone: info: the journal is back after %.1f s\n", (double)lasted_ms / 1000);
    }
}

static dp_status print_summary(const dp_follow_summary *summary, bool to_stderr, dp_error *error)
{
    char line[256];
    int length =
        snprintf(line, sizeof line,
                 "{\"batches\":%llu,\"transactions\":%llu,\"events\":%llu,\"offset\":%s%s%s}\n",
                 (unsigned long long)summary->batches, (unsigned long long)summary->transactions,
                 (unsigned long long)summary->events, summary->has_offset ? "\"" : "",
                 summary->has_offset ? summary->offset.token : "null", summary->has_offset ? "\"" : "");
    if (!to_stderr) return dp_print(dp_slice_make(line, (size_t)length), error);
    fputs(line, stderr);
    return DP_STATUS_OK;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    const char *program = dp_invocation_text(invocation, "exec");
    char command[4096] = "";
    dp_offset from;
    uint64_t poll_ms = 0;
    (void)exit_code;
    if (program != NULL && snprintf(command, sizeof command, "%s", program) >= (int)sizeof command)
        return dp_error_set(error, DP_STATUS_USAGE, "--exec: longer than %zu bytes", sizeof command - 1);
    dp_follow_options follow = {
        .stream = dp_journal_stream_choice(invocation),
        .consumer = dp_invocation_text(invocation, "consumer"),
        .until_end = dp_invocation_switch(invocation, "until-end"),
        .stop = dp_stop_on_signals(),
        .outage = tell_outage,
        .context = command,
        .take = program == NULL ? print_lines : run_program,
    };
    dp_status status = dp_invocation_u64(invocation, "batch-events", 1, 1000000, &follow.batch_events, error);
    if (status == DP_STATUS_OK) status = dp_invocation_u64(invocation, "poll-ms", 1, 600000, &poll_ms, error);
    if (status == DP_STATUS_OK)
        status =
            dp_journal_offset(invocation, "from", DP_BACKEND_POSTGRES_LOGICAL, &from, &follow.from, error);
    if (status == DP_STATUS_OK) status = dp_journal_of_options(invocation, true, &follow.link, error);
    if (status != DP_STATUS_OK) return status;
    follow.poll_ms = (unsigned)poll_ms;
    signal(SIGPIPE, SIG_IGN); /* a program may end before it has read everything */
    dp_follow_summary summary;
    status = dp_follow(&follow, &summary, error);
    dp_error print_error = DP_ERROR_INIT;
    dp_status printed = DP_STATUS_OK;
    if (status != DP_STATUS_USAGE) printed = print_summary(&summary, program == NULL, &print_error);
    dp_journal_link_close(follow.link);
    if (status != DP_STATUS_OK || printed == DP_STATUS_OK) return status;
    *error = print_error;
    return printed;
}

const dp_command dp_command_cdc_follow = {
    .path = "cdc follow",
    .summary = "read the journal as a named consumer, from its own durable offset",
    .arguments = "",
    .description =
        "Prints event and commit lines of whole transactions and commits the consumer's offset behind them; "
        "with --exec each batch goes to a program, and is committed when the program ends with 0. Waits for "
        "more unless --until-end is given; a server answers as soon as there is something, and one that is "
        "away later on is waited for. Any number of "
        "consumers follow independently, and retention keeps "
        "what they have not read.\n\n"
        "At least once: after a kill the batch that was not committed comes again, with the same event ids. "
        "A consumer's offset is that of the pipeline PIPELINE/consumers/NAME: `dpone offsets list` shows it, "
        "`dpone offsets set --allow-rewind` lets it read again, and `dpone offsets delete` ends it.",
    .examples = "  dpone cdc follow --pipeline orders --consumer billing --until-end\n"
                "  dpone cdc follow --pipeline orders --consumer search --exec './index-events'\n",
    .options = options,
    .exit_codes = "0 stopped in order, 1 refused, 2 usage, 3 I/O or remote failure, or the program failed",
    .run = run,
};
