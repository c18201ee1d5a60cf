#include "services/follow.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/crash_point.h"
#include "cdc/event_scanner.h"
#include "services/prune.h"

#define MAX_PAGE_BYTES ((size_t)4 << 30)

typedef struct follower {
    const dp_follow_options *options;
    dp_follow_summary *summary;
    char name[2048]; /* of the consumer in the offset store */
    dp_buffer page;
    uint64_t page_events;
    uint64_t page_transactions;
    dp_offset page_end;
    dp_backend backend;
    dp_arena *arena;
} follower;

static bool is_stopping(const follower *self)
{
    return self->options->stop != NULL && *self->options->stop != 0;
}

static dp_status name_consumer(follower *self, dp_error *error)
{
    const char *consumer = self->options->consumer;
    int length =
        snprintf(self->name, sizeof self->name, "%.*s" DP_CONSUMER_INFIX "%s",
                 (int)self->options->stream.pipeline.length, self->options->stream.pipeline.data, consumer);
    if (consumer[0] == '\0' || strchr(consumer, '/') != NULL || length < 0 ||
        length >= (int)sizeof self->name) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--consumer: '%s' is no name; expected a short one without '/'", consumer);
    }
    return DP_STATUS_OK;
}

static dp_status load_offset(follower *self, dp_error *error)
{
    json_t *answer = NULL;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_journal_link_call(self->options->link, dp_slice_of_text(self->name),
                                            DP_JOURNAL_CALL_GET_OFFSET, NULL, &answer, &cause);
    const char *token = json_string_value(json_object_get(answer, "token"));
    if (status == DP_STATUS_OK) {
        self->summary->has_offset =
            dp_offset_of_token(DP_BACKEND_POSTGRES_LOGICAL, dp_slice_of_text(token), &self->summary->offset);
        if (!self->summary->has_offset)
            status = dp_error_set(error, DP_STATUS_DATA, "the consumer's offset is no token");
    } else if (strcmp(cause.code, "offset_not_found") == 0) {
        status = DP_STATUS_OK;
    } else {
        *error = cause;
    }
    json_decref(answer);
    return status;
}

static dp_status commit_offset(follower *self, dp_error *error)
{
    char body[160];
    json_t *answer = NULL;
    snprintf(body, sizeof body, "{\"token\":\"%s\"}", self->page_end.token);
    dp_status status = dp_journal_link_call(self->options->link, dp_slice_of_text(self->name),
                                            DP_JOURNAL_CALL_PUT_OFFSET, body, &answer, error);
    json_decref(answer);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "committing the consumer's offset");
        return status;
    }
    self->summary->has_offset = true;
    self->summary->offset = self->page_end;
    self->summary->batches++;
    self->summary->events += self->page_events;
    self->summary->transactions += self->page_transactions;
    return DP_STATUS_OK;
}

/* --- a page --- */

static dp_status take_commit(follower *self, dp_slice line, dp_error *error)
{
    dp_wire_line parsed;
    dp_arena_reset(self->arena);
    dp_status status = dp_wire_line_scan(line, 1, self->arena, &parsed, error);
    if (status != DP_STATUS_OK) return status;
    self->page_transactions++;
    bool ok = parsed.kind == DP_LINE_COMMIT &&
              dp_offset_of_token(self->backend, parsed.commit.end_position, &self->page_end);
    return ok ? DP_STATUS_OK : dp_error_set(error, DP_STATUS_DATA, "a commit line without a position");
}

static dp_status keep_line(void *context, dp_slice line, dp_error *error)
{
    follower *self = context;
    dp_buffer_append_slice(&self->page, line);
    dp_buffer_append_byte(&self->page, '\n');
    if (self->page.failed) return dp_error_set(error, DP_STATUS_LIMIT, "a transaction is too large");
    if (dp_slice_starts_with(line, DP_SLICE_LITERAL("{\"type\":\"commit\"")))
        return take_commit(self, line, error);
    self->page_events++;
    return DP_STATUS_OK;
}

static dp_status read_page(follower *self, dp_error *error)
{
    dp_stream_facts facts;
    dp_status status = dp_journal_link_facts(self->options->link, &self->options->stream, &facts, error);
    if (status != DP_STATUS_OK) return status;
    self->backend = facts.backend;
    self->page_events = self->page_transactions = 0;
    dp_buffer_clear(&self->page);
    const dp_offset *from = self->summary->has_offset     ? &self->summary->offset
                            : self->options->from != NULL ? self->options->from
                            : facts.has_pruned            ? &facts.pruned
                                                          : NULL;
    bool has_more = facts.has_high && (from == NULL || dp_offset_compare(from, &facts.high) < 0);
    if (facts.backend != DP_BACKEND_POSTGRES_LOGICAL) {
        status = dp_error_set(error, DP_STATUS_USAGE, "only streams of postgres_logical can be followed");
    } else if (has_more) {
        dp_line_visitor visitor = {self, keep_line};
        dp_journal_window window = {.from = from, .to = &facts.high, .limit = self->options->batch_events};
        status = dp_journal_link_events(self->options->link, &facts, &window, &visitor, error);
    }
    dp_stream_facts_release(&facts);
    return status;
}

static void wait_for_more(const follower *self)
{
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)self->options->poll_ms * 1000;
    while (!is_stopping(self) && dp_clock_monotonic_us() < until_us) {
        dp_clock_sleep_ms(self->options->poll_ms < 50 ? self->options->poll_ms : 50);
    }
}

static dp_status follow(follower *self, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && !is_stopping(self)) {
        status = read_page(self, error);
        bool is_unknown = status == DP_STATUS_NOT_FOUND && !self->options->until_end;
        if (is_unknown) { /* nothing has been written yet */
            dp_error_clear(error);
            dp_buffer_clear(&self->page);
            status = DP_STATUS_OK;
        }
        if (status != DP_STATUS_OK) break;
        if (self->page.length == 0) {
            if (self->options->until_end) break;
            wait_for_more(self);
            continue;
        }
        status = self->options->take(self->options->context, dp_buffer_slice(&self->page), error);
        if (status == DP_STATUS_OK) dp_crash_point(DP_CRASH_FOLLOW_TAKEN);
        if (status == DP_STATUS_OK) status = commit_offset(self, error);
    }
    return status;
}

dp_status dp_follow(const dp_follow_options *options, dp_follow_summary *summary, dp_error *error)
{
    *summary = (dp_follow_summary){.batches = 0};
    follower self = {.options = options, .summary = summary, .page = DP_BUFFER_INIT(MAX_PAGE_BYTES)};
    self.arena = dp_arena_new(65536, (size_t)1 << 30);
    dp_status status = self.arena == NULL ? dp_error_no_memory(error, "a consumer") : DP_STATUS_OK;
    if (status == DP_STATUS_OK) status = name_consumer(&self, error);
    if (status == DP_STATUS_OK) status = load_offset(&self, error);
    if (status == DP_STATUS_OK) status = follow(&self, error);
    dp_buffer_release(&self.page);
    dp_arena_free(self.arena);
    return status;
}
