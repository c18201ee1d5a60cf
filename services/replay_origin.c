#include "services/replay_origin.h"

#include "base/arena.h"
#include "cdc/event_scanner.h"

enum { PAGE_EVENTS = 20000, ARENA_BYTES = 64 * 1024 };

#define MAX_TRANSACTION_BYTES ((size_t)4 << 30)
#define ARENA_MAX_BYTES       ((size_t)1 << 30)

/* Collects lines until a commit completes a transaction. */
typedef struct collector {
    const dp_offset *from;
    const dp_offset *to;
    const dp_transaction_visitor *visitor;
    dp_buffer lines;
    uint64_t event_count;
    dp_arena *arena;
    bool is_past_end;
} collector;

static bool is_commit(dp_slice line)
{
    return dp_slice_starts_with(line, DP_SLICE_LITERAL("{\"type\":\"commit\""));
}

static dp_status end_transaction(collector *self, dp_slice line, dp_error *error)
{
    dp_wire_line parsed;
    dp_replay_transaction transaction = {.lines = dp_buffer_slice(&self->lines),
                                         .event_count = self->event_count};
    dp_arena_reset(self->arena);
    dp_status status = dp_wire_line_scan(line, 1, self->arena, &parsed, error);
    if (status != DP_STATUS_OK) return status;
    if (parsed.kind != DP_LINE_COMMIT ||
        !dp_offset_of_token(self->from->backend, parsed.commit.end_position, &transaction.end)) {
        return dp_error_set(error, DP_STATUS_DATA, "a commit line without a position of the backend");
    }
    self->is_past_end = dp_offset_compare(&transaction.end, self->to) > 0;
    if (!self->is_past_end && dp_offset_compare(&transaction.end, self->from) > 0)
        status = self->visitor->transaction(self->visitor->context, &transaction, error);
    dp_buffer_clear(&self->lines);
    self->event_count = 0;
    return status;
}

static dp_status collect(collector *self, dp_slice line, dp_error *error)
{
    dp_buffer_append_slice(&self->lines, line);
    dp_buffer_append_byte(&self->lines, '\n');
    if (self->lines.failed) {
        return dp_error_set(error, DP_STATUS_LIMIT, "a transaction is larger than %zu bytes",
                            MAX_TRANSACTION_BYTES);
    }
    if (is_commit(line)) return end_transaction(self, line, error);
    self->event_count++;
    return DP_STATUS_OK;
}

/* --- the journal --- */

static dp_status keep_line(void *context, dp_slice line, dp_error *error)
{
    dp_buffer *page = context;
    dp_buffer_append_slice(page, line);
    dp_buffer_append_byte(page, '\n');
    return page->failed
               ? dp_error_set(error, DP_STATUS_LIMIT, "a transaction is too large for a page of the journal")
               : DP_STATUS_OK;
}

static dp_status collect_page(collector *self, dp_slice page, dp_offset *reached, dp_error *error)
{
    dp_slice line;
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && page.length > 0) {
        dp_slice_split(page, '\n', &line, &page);
        if (is_commit(line)) {
            dp_wire_line parsed;
            dp_arena_reset(self->arena);
            if (dp_wire_line_scan(line, 1, self->arena, &parsed, error) != DP_STATUS_OK) return error->status;
            if (parsed.kind == DP_LINE_COMMIT)
                dp_offset_of_token(self->from->backend, parsed.commit.end_position, reached);
        }
        status = collect(self, line, error);
    }
    return status;
}

static dp_status read_journal(collector *self, const dp_replay_origin *origin, dp_error *error)
{
    dp_offset reached = *self->from;
    dp_buffer page = DP_BUFFER_INIT(MAX_TRANSACTION_BYTES);
    dp_status status = DP_STATUS_OK;
    do {
        dp_buffer_clear(&page);
        dp_line_visitor visitor = {&page, keep_line};
        dp_journal_window window = {.from = &reached, .to = self->to, .limit = PAGE_EVENTS};
        status = dp_journal_link_events(origin->journal, origin->stream, &window, &visitor, error);
        if (status == DP_STATUS_OK) status = collect_page(self, dp_buffer_slice(&page), &reached, error);
    } while (status == DP_STATUS_OK && page.length > 0 && dp_offset_compare(&reached, self->to) < 0);
    dp_buffer_release(&page);
    return status;
}

/* --- the artifact --- */

static dp_status read_artifact(collector *self, const dp_replay_origin *origin, dp_error *error)
{
    dp_artifact *artifact = NULL;
    dp_artifact_line line = {.line_number = 0};
    dp_status status = dp_artifact_open(origin->artifact_path, &artifact, error);
    if (status != DP_STATUS_OK) return status;
    do {
        status = dp_artifact_next(artifact, &line, error);
        if (status == DP_STATUS_OK && line.text.data != NULL) status = collect(self, line.text, error);
    } while (status == DP_STATUS_OK && line.text.data != NULL && !self->is_past_end);
    dp_artifact_close(artifact);
    return status;
}

dp_status dp_replay_origin_read(const dp_replay_origin *origin, const dp_offset *from, const dp_offset *to,
                                const dp_transaction_visitor *visitor, dp_error *error)
{
    collector self = {.from = from,
                      .to = to,
                      .visitor = visitor,
                      .lines = DP_BUFFER_INIT(MAX_TRANSACTION_BYTES),
                      .arena = dp_arena_new(ARENA_BYTES, ARENA_MAX_BYTES)};
    dp_status status = self.arena == NULL        ? dp_error_no_memory(error, "a replay")
                       : origin->journal != NULL ? read_journal(&self, origin, error)
                                                 : read_artifact(&self, origin, error);
    dp_buffer_release(&self.lines);
    dp_arena_free(self.arena);
    return status == DP_STATUS_CANCELLED && error->status == DP_STATUS_OK ? DP_STATUS_OK : status;
}
