#include "services/follow.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/crash_point.h"
#include "cdc/event_scanner.h"
#include "services/consumer_name.h"

#define MAX_PAGE_BYTES ((size_t)4 << 30)

enum {
    WAIT_S = 30,            /* for events, in one request */
    FIRST_BACKOFF_MS = 500, /* between calls while the journal is away */
    LAST_BACKOFF_MS = 5000
};

typedef struct follower {
    const dp_follow_options *options;
    dp_follow_summary *summary;
    bool is_found; /* the stream, once: facts are of it */
    dp_stream_facts facts;
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

/* --- waiting --- */

static void pause_for(const follower *self, unsigned wait_ms)
{
    int64_t until_us = dp_clock_monotonic_us() + (int64_t)wait_ms * 1000;
    while (!is_stopping(self) && dp_clock_monotonic_us() < until_us) {
        dp_clock_sleep_ms(wait_ms < 50 ? wait_ms : 50);
    }
}

static void tell_outage(const follower *self, const dp_error *trouble, int64_t since_us)
{
    if (self->options->outage == NULL) return;
    self->options->outage(trouble, (dp_clock_monotonic_us() - since_us) / 1000);
}

/* Repeats work for as long as the journal is away. When told to stop, a failure ends it: CANCELLED. */
static dp_status insist(follower *self, dp_status (*work)(follower *self, dp_error *error), dp_error *error)
{
    int64_t since_us = 0; /* 0: it is not away */
    unsigned backoff_ms = FIRST_BACKOFF_MS;
    for (;;) {
        dp_error trouble = DP_ERROR_INIT;
        dp_status status = work(self, &trouble);
        bool may_pass = dp_status_retryable(status);
        if (status == DP_STATUS_OK && since_us != 0) tell_outage(self, NULL, since_us);
        if (status == DP_STATUS_OK) return status;
        if (is_stopping(self) && (may_pass || status == DP_STATUS_CANCELLED))
            return dp_error_set(error, DP_STATUS_CANCELLED, "stopped before the journal answered");
        if (self->options->until_end || !may_pass) {
            if (error->status == DP_STATUS_OK) *error = trouble;
            return status;
        }
        if (since_us == 0) {
            since_us = dp_clock_monotonic_us();
            tell_outage(self, &trouble, since_us);
        }
        pause_for(self, backoff_ms);
        backoff_ms = backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : backoff_ms * 2;
    }
}

/* --- the offset --- */

static dp_status call_consumer(follower *self, dp_journal_call call, const char *json, json_t **answer,
                               dp_error *error)
{
    return dp_journal_link_consumer(self->options->link, &self->options->stream,
                                    dp_slice_of_text(self->options->consumer), call, json, answer, error);
}

static dp_status read_offset(follower *self, const json_t *answer, dp_error *error)
{
    const char *token = json_string_value(json_object_get(answer, "token"));
    dp_slice backend = dp_slice_of_text(json_string_value(json_object_get(answer, "backend")));
    dp_offset *offset = &self->summary->offset;
    self->summary->has_offset = dp_backend_parse(backend, &self->backend) &&
                                dp_offset_of_token(self->backend, dp_slice_of_text(token), offset);
    if (self->summary->has_offset) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA, "the consumer's offset is no token");
}

static dp_status put_token(follower *self, const dp_offset *offset, dp_error *error)
{
    char body[160] = "{}";
    json_t *answer = NULL;
    if (offset != NULL) snprintf(body, sizeof body, "{\"token\":\"%s\"}", offset->token);
    dp_status status = call_consumer(self, DP_JOURNAL_CALL_PUT_CONSUMER, body, &answer, error);
    if (status == DP_STATUS_OK) status = read_offset(self, answer, error);
    json_decref(answer);
    return status;
}

/* Where it begins is stored at once, so that retention keeps what follows. */
static dp_status load_offset(follower *self, dp_error *error)
{
    json_t *answer = NULL;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = call_consumer(self, DP_JOURNAL_CALL_GET_CONSUMER, NULL, &answer, &cause);
    if (status == DP_STATUS_OK) {
        status = read_offset(self, answer, error);
    } else if (strcmp(cause.code, "consumer_not_found") == 0) {
        status = put_token(self, self->options->from, error);
    } else {
        *error = cause;
    }
    json_decref(answer);
    return status;
}

static dp_status put_page_end(follower *self, dp_error *error)
{
    return put_token(self, &self->page_end, error);
}

static dp_status commit_offset(follower *self, dp_error *error)
{
    dp_status status = insist(self, put_page_end, error);
    if (status != DP_STATUS_OK) {
        dp_error_while(error, "committing the consumer's offset");
        return status;
    }
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

/* The journal may hold nothing of the stream yet: is_found then stays false. */
static dp_status find_stream(follower *self, dp_error *error)
{
    dp_error cause = DP_ERROR_INIT;
    dp_status status =
        dp_journal_link_facts(self->options->link, &self->options->stream, &self->facts, &cause);
    self->is_found = status == DP_STATUS_OK;
    if (status == DP_STATUS_NOT_FOUND && !self->options->until_end) return DP_STATUS_OK;
    if (status != DP_STATUS_OK) {
        *error = cause;
    } else if (self->facts.backend != self->backend) {
        status = dp_error_set(error, DP_STATUS_USAGE, "the consumer has an offset of %s, the stream is of %s",
                              dp_backend_text(self->backend).data, dp_backend_text(self->facts.backend).data);
    }
    return status;
}

static dp_status read_page(follower *self, dp_error *error)
{
    bool waits = !self->options->until_end && dp_journal_link_can_wait(self->options->link);
    const dp_journal_window window = {.consumer = dp_slice_of_text(self->options->consumer),
                                      .limit = self->options->batch_events,
                                      .wait_s = waits ? WAIT_S : 0,
                                      .stop = self->options->stop};
    const dp_line_visitor visitor = {self, keep_line};
    self->page_events = self->page_transactions = 0;
    dp_buffer_clear(&self->page);
    return dp_journal_link_events(self->options->link, &self->facts, &window, &visitor, error);
}

static dp_status hand_on(follower *self, dp_error *error)
{
    dp_status status = self->options->take(self->options->context, dp_buffer_slice(&self->page), error);
    if (status == DP_STATUS_OK) dp_crash_point(DP_CRASH_FOLLOW_TAKEN);
    return status == DP_STATUS_OK ? commit_offset(self, error) : status;
}

/* The next page, empty when there is none yet. */
static dp_status next_page(follower *self, dp_error *error)
{
    dp_buffer_clear(&self->page);
    dp_status status = self->is_found ? DP_STATUS_OK : insist(self, find_stream, error);
    if (status != DP_STATUS_OK || is_stopping(self)) return status;
    return self->is_found ? insist(self, read_page, error) : DP_STATUS_OK;
}

static dp_status follow(follower *self, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && !is_stopping(self)) {
        dp_error trouble = DP_ERROR_INIT;
        status = next_page(self, &trouble);
        if (status == DP_STATUS_CANCELLED && is_stopping(self)) return DP_STATUS_OK;
        if (status != DP_STATUS_OK) {
            *error = trouble;
        } else if (self->page.length > 0) {
            status = hand_on(self, error);
        } else if (self->options->until_end) {
            break;
        } else if (!self->is_found || !dp_journal_link_can_wait(self->options->link)) {
            pause_for(self, self->options->poll_ms);
        }
    }
    return status;
}

dp_status dp_follow(const dp_follow_options *options, dp_follow_summary *summary, dp_error *error)
{
    *summary = (dp_follow_summary){.batches = 0};
    follower self = {.options = options, .summary = summary, .page = DP_BUFFER_INIT(MAX_PAGE_BYTES)};
    if (!dp_consumer_name_is_valid(dp_slice_of_text(options->consumer))) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--consumer: '%s' is no name; expected 1 to %d bytes without '/' and control "
                            "characters",
                            options->consumer, DP_CONSUMER_NAME_BYTES);
    }
    self.arena = dp_arena_new(65536, (size_t)1 << 30);
    dp_status status = self.arena == NULL ? dp_error_no_memory(error, "a consumer") : DP_STATUS_OK;
    if (status == DP_STATUS_OK) dp_journal_link_heed(options->link, options->stop);
    if (status == DP_STATUS_OK) status = load_offset(&self, error);
    if (status == DP_STATUS_OK) status = follow(&self, error);
    dp_stream_facts_release(&self.facts);
    dp_buffer_release(&self.page);
    dp_arena_free(self.arena);
    return status;
}
