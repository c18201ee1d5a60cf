#include "services/check_idempotency.h"

#include <sys/random.h>

#include "cdc/event_scanner.h"
#include "cdc/idempotency.h"
#include "services/input.h"

enum { MAX_LINE_BYTES = 256 << 20 };

typedef struct check_run {
    dp_idempotency *check;
    dp_arena *arena; /* of one line */
    dp_buffer rest;  /* the start of a line whose end has not been read */
    uint64_t line_number;
} check_run;

static dp_status check_line(check_run *run, dp_slice line, dp_error *error)
{
    dp_wire_line scanned;
    size_t first_index;
    run->line_number++;
    if (line.length == 0) return DP_STATUS_OK;
    dp_arena_reset(run->arena);
    dp_status status = dp_wire_line_scan(line, run->line_number, run->arena, &scanned, error);
    if (status != DP_STATUS_OK || scanned.kind != DP_LINE_EVENT) return status;
    if (!scanned.event.has_id) {
        dp_error_set(error, DP_STATUS_DATA, "line %llu: the event has no id and cannot be checked",
                     (unsigned long long)run->line_number);
        dp_error_hint(error, "decode with --require-id a capture that carries positions");
        return DP_STATUS_DATA;
    }
    return dp_idempotency_add(run->check, &scanned.event.id, (size_t)run->line_number, &first_index, error);
}

static dp_status keep_rest(check_run *run, dp_slice piece, dp_error *error)
{
    dp_buffer_append_slice(&run->rest, piece);
    if (!run->rest.failed) return DP_STATUS_OK;
    if (run->rest.out_of_memory) return dp_error_no_memory(error, "a line");
    return dp_error_set(error, DP_STATUS_LIMIT, "line %llu: longer than %d bytes",
                        (unsigned long long)run->line_number + 1, MAX_LINE_BYTES);
}

/* Checks every line that ends in the piece. */
static dp_status check_piece(check_run *run, dp_slice piece, dp_error *error)
{
    dp_slice line;
    dp_slice tail;
    while (dp_slice_split(piece, '\n', &line, &tail)) {
        dp_status status = DP_STATUS_OK;
        if (run->rest.length > 0) {
            status = keep_rest(run, line, error);
            line = dp_buffer_slice(&run->rest);
        }
        if (status == DP_STATUS_OK) status = check_line(run, line, error);
        if (status != DP_STATUS_OK) return status;
        dp_buffer_clear(&run->rest);
        piece = tail;
    }
    return keep_rest(run, line, error);
}

static dp_status check_all(check_run *run, dp_input *input, dp_error *error)
{
    for (;;) {
        dp_slice piece;
        dp_status status = dp_input_read(input, &piece, error);
        if (status == DP_STATUS_OK && piece.length == 0)
            return check_line(run, dp_buffer_slice(&run->rest), error);
        if (status == DP_STATUS_OK) status = check_piece(run, piece, error);
        if (status != DP_STATUS_OK) return status;
    }
}

static dp_status read_source(check_run *run, const char *source, dp_error *error)
{
    dp_input input;
    dp_status status = dp_input_open(source, &input, error);
    if (status != DP_STATUS_OK) return status;
    status = check_all(run, &input, error);
    if (status == DP_STATUS_DATA) dp_error_while(error, "checking %s", input.name);
    dp_input_close(&input);
    return status;
}

dp_status dp_check_idempotency(const dp_check_idempotency_options *options, dp_buffer *out, bool *passed,
                               dp_error *error)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        return dp_error_set(error, DP_STATUS_INTERNAL, "the kernel gives no random numbers");
    }
    check_run run = {.check = dp_idempotency_new(seed, options->max_events),
                     .arena = dp_arena_new(4096, MAX_LINE_BYTES),
                     .rest = DP_BUFFER_INIT(MAX_LINE_BYTES)};
    dp_status status = DP_STATUS_OK;
    if (run.check == NULL || run.arena == NULL) status = dp_error_no_memory(error, "the check");
    if (status == DP_STATUS_OK) status = read_source(&run, options->source, error);
    if (status == DP_STATUS_OK) {
        dp_idempotency_result result = dp_idempotency_evaluate(run.check);
        dp_json_writer writer = dp_json_writer_pretty(out);
        dp_idempotency_write_json(&result, &writer);
        dp_buffer_append_byte(out, '\n');
        *passed = result.passed;
    }
    dp_buffer_release(&run.rest);
    if (run.arena != NULL) dp_arena_free(run.arena);
    if (run.check != NULL) dp_idempotency_free(run.check);
    return status;
}
