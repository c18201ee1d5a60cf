/* The pipeline against a scripted source and a sink in memory that checks, at every call, that the offset
 * never runs ahead of what it holds. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/clock.h"
#include "cdc/batch_reader.h"
#include "services/cdc_run.h"
#include "tests/unit/support/pgoutput_message.h"

enum { MAX_RECORDS = 400, MAX_STEPS = 64, TABLE = 1 };

/* What the sink does with the next batches, in turn; after the last step it accepts. */
typedef enum step {
    ACCEPT,
    FAIL_TRANSPORT,
    ANSWER_503,
    ANSWER_413,
    ANSWER_409_CONFLICT,
    ANSWER_409_IN_FLIGHT,
    ANSWER_NOT_COMMITTED,
    ANSWER_SINK_FAILED,
    ANSWER_WRONG_BATCH,
    ANSWER_WRONG_COUNT,
    ANSWER_WRONG_OFFSET,
    ANSWER_GARBAGE
} step;

typedef struct fixture {
    /* source */
    dp_record records[MAX_RECORDS];
    size_t record_count;
    size_t next_record;
    size_t records_per_poll;
    bool idle_at_end;
    dp_lsn idle_position;
    dp_lsn confirmed;
    dp_buffer message;
    /* sink */
    step steps[MAX_STEPS];
    size_t step_count;
    size_t submit_count;
    dp_slice submitted;
    unsigned lane;
    dp_buffer answer;
    struct script_transaction {
        uint32_t xid;
        uint64_t end;
        size_t row_count; /* without poison */
        size_t held_count;
    } transactions[MAX_STEPS];
    size_t transaction_count;
    dp_lsn durable_end; /* the newest complete transaction held */
    dp_lsn saved;
    bool has_saved;
    bool holds_foreign_offset;
    unsigned load_failures; /* so many requests fail before one succeeds */
    unsigned save_failures;
    uint64_t stored_events; /* distinct */
    uint64_t staged_count;
    char order[4096]; /* "xid:ordinal " of every event held */
    uint64_t quarantined;
    uint64_t quarantined_before; /* so many of them are there already */
    unsigned quarantine_failures;
    size_t largest_body;
    dp_batch_reader *reader;
    /* run */
    dp_plugin plugin;
    dp_unique_keys *keys;
    dp_cdc_run_options options;
    dp_cdc_run_summary summary;
    dp_error error;
    volatile sig_atomic_t stop;
    bool stop_on_trouble;
} fixture;

/* --- the source --- */

static dp_status poll_source(void *self, int timeout_ms, const dp_record_sink *sink,
                             dp_source_progress *progress, dp_error *error)
{
    (void)timeout_ms;
    fixture *f = self;
    for (size_t i = 0; i < f->records_per_poll && f->next_record < f->record_count; i++) {
        dp_status status = sink->record(sink->context, &f->records[f->next_record++], error);
        if (status != DP_STATUS_OK) return status;
    }
    progress->ended = f->next_record == f->record_count;
    progress->has_idle_position = progress->ended && f->idle_at_end;
    progress->idle_position = f->idle_position;
    return DP_STATUS_OK;
}

static dp_status confirm_source(void *self, dp_lsn position, dp_error *error)
{
    (void)error;
    fixture *f = self;
    assert_true(position.value >= f->confirmed.value);
    assert_true(f->has_saved && position.value <= f->saved.value); /* confirmed <= stored */
    f->confirmed = position;
    return DP_STATUS_OK;
}

/* --- the sink --- */

static dp_status load_offset(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error)
{
    (void)backend;
    fixture *f = self;
    if (f->load_failures > 0) {
        f->load_failures--;
        return dp_error_set(error, DP_STATUS_REMOTE, "connection refused");
    }
    *found = f->has_saved || f->holds_foreign_offset;
    if (f->holds_foreign_offset) dp_offset_of_token(DP_BACKEND_MSSQL_CDC, DP_SLICE_LITERAL("0x1"), offset);
    if (f->has_saved) *offset = dp_offset_of_lsn(f->saved);
    return DP_STATUS_OK;
}

static dp_status save_offset(void *self, const dp_offset *offset, dp_error *error)
{
    fixture *f = self;
    if (f->save_failures > 0) {
        f->save_failures--;
        return dp_error_set(error, DP_STATUS_REMOTE, "connection refused");
    }
    dp_lsn position;
    assert_true(dp_offset_lsn(offset, &position));
    /* stored <= durable: every row of every transaction that the offset has passed is held */
    for (size_t i = 0; i < f->transaction_count; i++) {
        if (f->transactions[i].end <= position.value)
            assert_int_equal(f->transactions[i].held_count, f->transactions[i].row_count);
    }
    assert_true(!f->has_saved || position.value > f->saved.value);
    f->saved = position;
    f->has_saved = true;
    return DP_STATUS_OK;
}

static dp_status submit(void *self, const dp_batch_delivery *delivery, dp_error *error)
{
    (void)error;
    fixture *f = self;
    assert_null(delivery->after); /* as long as one batch is in flight */
    f->lane = delivery->lane;
    f->submitted = delivery->body;
    f->submit_count++;
    if (delivery->body.length > f->largest_body) f->largest_body = delivery->body.length;
    return DP_STATUS_OK;
}

static uint64_t lsn_of(dp_position position)
{
    char text[DP_POSITION_TEXT_BYTES];
    dp_lsn lsn;
    size_t length = dp_position_format(DP_BACKEND_POSTGRES_LOGICAL, position, text);
    assert_true(dp_lsn_parse((dp_slice){text, length}, &lsn));
    return lsn.value;
}

static void hold(fixture *f, const dp_batch *batch, uint64_t *accepted)
{
    for (size_t g = 0; g < batch->group_count; g++) {
        const dp_batch_group *group = &batch->groups[g];
        bool is_known = group->has_commit && lsn_of(group->end_position) <= f->durable_end.value;
        for (size_t i = 0; i < group->event_count; i++) {
            const dp_event *event = &batch->events[group->first_event + i];
            if (is_known) continue;
            size_t used = strlen(f->order);
            snprintf(f->order + used, sizeof f->order - used, "%.*s:%llu ", (int)event->transaction_id.length,
                     event->transaction_id.data, (unsigned long long)event->ordinal);
            (*accepted)++;
        }
        if (group->has_commit && !is_known) f->durable_end.value = lsn_of(group->end_position);
    }
    f->stored_events += *accepted;
    for (size_t i = 0; i < f->transaction_count; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "%u:", f->transactions[i].xid);
        f->transactions[i].held_count = 0;
        for (const char *at = f->order; (at = strstr(at, prefix)) != NULL; at++) {
            f->transactions[i].held_count++;
        }
    }
}

static void answer_receipt(fixture *f, step how, dp_batch_answer *answer)
{
    const dp_batch *batch = NULL;
    dp_error error = DP_ERROR_INIT;
    if (dp_batch_reader_read(f->reader, f->submitted, &batch, &error) != DP_STATUS_OK)
        fail_msg("%s", error.message);
    uint64_t accepted = 0;
    hold(f, batch, &accepted);
    bool is_staged = batch->group_count > 0 && !batch->groups[batch->group_count - 1].has_commit;
    f->staged_count += is_staged;
    dp_buffer_clear(&f->answer);
    dp_buffer_append_format(&f->answer,
                            "{\"batch_id\":\"%s\",\"sink_status\":\"%s\",\"load_status\":\"%s\","
                            "\"accepted\":%llu,\"duplicates\":%llu,"
                            "\"idempotency_passed\":true,\"next_offset\":",
                            how == ANSWER_WRONG_BATCH ? "00" : batch->batch_id_hex,
                            how == ANSWER_SINK_FAILED ? "failed" : "success",
                            is_staged                     ? "staged"
                            : how == ANSWER_NOT_COMMITTED ? "pending"
                                                          : "committed",
                            (unsigned long long)accepted + (how == ANSWER_WRONG_COUNT ? 1 : 0),
                            (unsigned long long)(batch->event_count - accepted));
    if (batch->header.has_next_offset) {
        dp_slice token = how == ANSWER_WRONG_OFFSET ? DP_SLICE_LITERAL("F/F") : batch->header.next_token;
        dp_buffer_append_format(
            &f->answer, "{\"backend\":\"postgres_logical\",\"token\":\"%.*s\",\"snapshot_complete\":true}}",
            (int)token.length, token.data);
    } else {
        dp_buffer_append_text(&f->answer, "null}");
    }
    *answer = (dp_batch_answer){.http_status = 200, .body = dp_buffer_slice(&f->answer)};
}

static dp_status wait_for_answer(void *self, int timeout_ms, bool *done, dp_batch_answer *answer,
                                 dp_error *error)
{
    fixture *f = self;
    *done = timeout_ms > 0; /* never ready at once, so that both ways of waiting are used */
    if (!*done) return DP_STATUS_OK;
    answer->lane = f->lane;
    step how = f->submit_count <= f->step_count ? f->steps[f->submit_count - 1] : ACCEPT;
    switch (how) {
    case FAIL_TRANSPORT: return dp_error_set(error, DP_STATUS_REMOTE, "connection refused");
    case ANSWER_503:
        *answer =
            (dp_batch_answer){.http_status = 503,
                              .body = DP_SLICE_LITERAL("{\"detail\":\"busy\",\"code\":\"store_busy\"}")};
        break;
    case ANSWER_413:
        *answer = (dp_batch_answer){.http_status = 413,
                                    .body = DP_SLICE_LITERAL(
                                        "{\"detail\":\"large\",\"code\":\"batch_too_large\"}")};
        break;
    case ANSWER_409_CONFLICT:
        *answer = (dp_batch_answer){.http_status = 409,
                                    .body = DP_SLICE_LITERAL(
                                        "{\"detail\":\"other content\",\"code\":\"event_conflict\"}")};
        break;
    case ANSWER_409_IN_FLIGHT:
        *answer = (dp_batch_answer){.http_status = 409,
                                    .body = DP_SLICE_LITERAL(
                                        "{\"detail\":\"stored now\",\"code\":\"request_in_flight\"}")};
        break;
    case ANSWER_GARBAGE:
        *answer = (dp_batch_answer){.http_status = 200, .body = DP_SLICE_LITERAL("<html>")};
        break;
    case ACCEPT:
    case ANSWER_NOT_COMMITTED:
    case ANSWER_SINK_FAILED:
    case ANSWER_WRONG_BATCH:
    case ANSWER_WRONG_COUNT:
    case ANSWER_WRONG_OFFSET: answer_receipt(f, how, answer); break;
    }
    answer->lane = f->lane;
    return DP_STATUS_OK;
}

static dp_status quarantine(void *self, const dp_batch_source *stream, const dp_poison_record *record,
                            bool *is_new, dp_error *error)
{
    fixture *f = self;
    assert_string_equal(record->code, "key_missing");
    if (f->quarantine_failures > 0) {
        f->quarantine_failures--;
        return dp_error_set(error, DP_STATUS_REMOTE, "connection refused");
    }
    assert_true(dp_slice_equal(stream->source, f->options.stream.source));
    *is_new = f->quarantined >= f->quarantined_before;
    f->quarantined++;
    return DP_STATUS_OK;
}

/* --- scripts --- */

static void add_record(fixture *f, uint64_t lsn, dp_slice data)
{
    assert_true(f->record_count < MAX_RECORDS);
    char *copy = malloc(data.length + 1);
    memcpy(copy, data.data, data.length);
    f->records[f->record_count++] = (dp_record){.has_lsn = true, .lsn = {lsn}, .data = {copy, data.length}};
}

static void add_relation(fixture *f)
{
    static const message_column columns[] = {{"id", 23, true}, {"note", 25, false}};
    add_record(f, 0, message_relation(&f->message, TABLE, "public", "orders", columns, 2));
}

/* A transaction whose end is `end` and whose rows have ids; a negative count of rows leaves the first id
 * NULL. */
static void add_transaction(fixture *f, uint32_t xid, uint64_t end, int row_count)
{
    add_record(f, end - 0x80, message_begin(&f->message, end - 0x10, xid));
    add_relation(f);
    for (int i = 0; i < abs(row_count); i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        const char *values[] = {row_count < 0 && i == 0 ? NULL : id, "note"};
        add_record(f, end - 0x70 + (uint64_t)i, message_insert(&f->message, TABLE, values, 2));
    }
    add_record(f, end, message_commit(&f->message, end - 0x10, end, 0));
    size_t poison_count = row_count < 0;
    f->transactions[f->transaction_count++] =
        (struct script_transaction){xid, end, (size_t)abs(row_count) - poison_count, 0};
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->message = (dp_buffer)DP_BUFFER_INIT(1 << 20);
    f->answer = (dp_buffer)DP_BUFFER_INIT(1 << 20);
    f->records_per_poll = 5;
    dp_batch_read_limits limits = {1 << 24, 1 << 23};
    f->reader = dp_batch_reader_new(&limits);
    f->keys = dp_unique_keys_new();
    f->plugin = DP_PLUGIN_PGOUTPUT;
    dp_unique_keys_add(f->keys, DP_SLICE_LITERAL("public.orders=id"), &f->error);
    f->options = (dp_cdc_run_options){
        .plugin = &f->plugin,
        .keys = f->keys,
        .stream = {DP_SLICE_LITERAL("p"), DP_BACKEND_POSTGRES_LOGICAL, DP_SLICE_LITERAL("s"), DP_IDENTITY_V1},
        .limits = {4, 1 << 20, 1 << 16},
        .batch_wait_ms = 60000,
        .batches_in_flight = 1,
        .stop = &f->stop,
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (size_t i = 0; i < f->record_count; i++) {
        free((void *)(uintptr_t)f->records[i].data.data);
    }
    dp_buffer_release(&f->message);
    dp_buffer_release(&f->answer);
    dp_batch_reader_free(f->reader);
    dp_unique_keys_free(f->keys);
    free(f);
    return 0;
}

static dp_status run(fixture *f)
{
    dp_change_source source = {.self = f, .poll = poll_source, .confirm = confirm_source};
    dp_batch_sink sink = {.self = f,
                          .load_offset = load_offset,
                          .save_offset = save_offset,
                          .submit = submit,
                          .wait = wait_for_answer,
                          .quarantine = quarantine};
    f->next_record = 0;
    f->submit_count = 0;
    dp_error_clear(&f->error);
    return dp_cdc_run(&f->options, &source, &sink, &f->summary, &f->error);
}

static void assert_run(fixture *f, dp_status expected)
{
    dp_status status = run(f);
    if (status != expected) fail_msg("%s: %s", dp_status_name(status), f->error.message);
}

/* --- what is promised --- */

static void every_change_arrives_once_in_order_and_the_offset_follows(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 3);
    add_transaction(f, 902, 0x3000, 1);
    assert_run(f, DP_STATUS_OK);
    assert_string_equal(f->order, "900:0 900:1 901:0 901:1 901:2 902:0 ");
    assert_int_equal(f->saved.value, 0x3000);
    assert_int_equal(f->confirmed.value, 0x3000);
    assert_int_equal(f->summary.transaction_count, 3);
    assert_int_equal(f->summary.accepted_count, 6);
}

static void a_large_transaction_is_sent_in_parts_and_the_offset_waits_for_its_commit(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 1);
    add_transaction(f, 901, 0x2000, 30);
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->stored_events, 31);
    assert_true(f->staged_count >= 6);
    assert_int_equal(f->saved.value, 0x2000);
    assert_true(f->largest_body < 4000);
}

static void a_second_run_sends_nothing_that_the_offset_has_passed(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 9);
    assert_run(f, DP_STATUS_OK);
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->summary.event_count, 0);
    assert_int_equal(f->summary.skipped_transaction_count, 2);
    assert_int_equal(f->stored_events, 11);
}

static void an_offset_inside_a_commit_record_has_passed_its_transaction(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 2);
    f->has_saved = true;
    f->saved.value = 0x1000 - 8; /* the record begins 16 bytes before its end */
    f->transactions[0].row_count = 0;
    assert_run(f, DP_STATUS_OK);
    assert_string_equal(f->order, "901:0 901:1 ");
    assert_int_equal(f->summary.skipped_transaction_count, 1);
    assert_int_equal(f->saved.value, 0x2000);
}

static void from_start_sends_all_again_and_the_offset_does_not_move(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 2);
    assert_run(f, DP_STATUS_OK);
    f->options.from_start = true;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->summary.duplicate_count, 4);
    assert_int_equal(f->stored_events, 4);
    assert_int_equal(f->saved.value, 0x2000);
}

static void a_sink_that_fails_gets_the_same_batch_until_it_takes_it(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    f->steps[0] = FAIL_TRANSPORT;
    f->steps[1] = ANSWER_503;
    f->step_count = 2;
    int64_t begun_us = dp_clock_monotonic_us();
    assert_run(f, DP_STATUS_OK);
    assert_true(dp_clock_monotonic_us() - begun_us >= 1500000); /* half a second, then a whole one */
    assert_int_equal(f->submit_count, 3);
    assert_int_equal(f->stored_events, 2);
    assert_int_equal(f->saved.value, 0x1000);
}

static void a_sink_that_fails_to_load_or_save_offsets_is_asked_again(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 2);
    f->load_failures = 1;
    f->save_failures = 2;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->saved.value, 0x2000);
    assert_int_equal(f->confirmed.value, 0x2000);
}

static void an_offset_of_another_backend_is_never_gone_on_from(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    f->holds_foreign_offset = true;
    assert_run(f, DP_STATUS_BLOCKED);
    assert_non_null(strstr(f->error.message, "0x1"));
    assert_int_equal(f->submit_count, 0);
}

static void a_batch_that_is_too_large_is_halved_until_it_fits(void **state)
{
    fixture *f = *state;
    f->options.limits.max_events = 100;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 3);
    f->steps[0] = ANSWER_413; /* the whole */
    f->steps[1] = ANSWER_413; /* its first half */
    f->step_count = 2;
    assert_run(f, DP_STATUS_OK);
    assert_string_equal(f->order, "900:0 900:1 901:0 901:1 901:2 ");
    assert_int_equal(f->saved.value, 0x2000);
}

static void refusals_stop_with_evidence_and_leave_the_offset(void **state)
{
    static const struct {
        step how;
        dp_status status;
        const char *evidence;
    } table[] = {
        {ANSWER_409_CONFLICT, DP_STATUS_CONFLICT, "event_conflict: other content"},
        {ANSWER_NOT_COMMITTED, DP_STATUS_BLOCKED, "load_not_committed"},
        {ANSWER_WRONG_BATCH, DP_STATUS_DATA, "the receipt is of batch '00'"},
        {ANSWER_WRONG_COUNT, DP_STATUS_DATA, "the receipt counts"},
        {ANSWER_WRONG_OFFSET, DP_STATUS_DATA, "the receipt's next_offset is F/F, but the batch said 0/1000"},
        {ANSWER_GARBAGE, DP_STATUS_DATA, "receipt"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        void *fresh;
        set_up(&fresh);
        fixture *f = fresh;
        add_transaction(f, 900, 0x1000, 2);
        add_transaction(f, 901, 0x2000, 2);
        f->steps[0] = table[i].how;
        f->step_count = 1;
        f->options.limits.max_events = 2;
        assert_run(f, table[i].status);
        if (strstr(f->error.message, table[i].evidence) == NULL)
            fail_msg("'%s' lacks '%s'", f->error.message, table[i].evidence);
        assert_false(f->has_saved);
        assert_int_equal(f->confirmed.value, 0);
        tear_down(&fresh);
    }
}

static void a_part_that_the_sink_failed_to_take_stops_the_run(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 3);
    f->options.limits.max_events = 2;
    f->steps[0] = ANSWER_SINK_FAILED; /* staged; the commit comes with the second part */
    f->step_count = 1;
    assert_run(f, DP_STATUS_BLOCKED);
    assert_string_equal(f->error.code, "sink_not_success");
    assert_int_equal(f->submit_count, 1);
    assert_false(f->has_saved);
}

static void a_batch_that_is_still_being_stored_is_asked_for_again(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    f->steps[0] = ANSWER_409_IN_FLIGHT;
    f->step_count = 1;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->submit_count, 2);
    assert_int_equal(f->saved.value, 0x1000);
}

/* The small transaction is sent alone, and what is held back of the large one is full by itself. */
static void lines_that_are_held_back_leave_room_for_the_next_event(void **state)
{
    fixture *f = *state;
    char large[7000], medium[3000];
    memset(large, 'x', sizeof large);
    memset(medium, 'x', sizeof medium);
    large[sizeof large - 1] = medium[sizeof medium - 1] = '\0';
    const char *notes[] = {"small", large, medium};
    f->options.limits = (dp_batch_limits){100, 1024, 8192};
    add_transaction(f, 900, 0x1000, 1);
    add_record(f, 0x1f80, message_begin(&f->message, 0x1ff0, 901));
    for (int i = 0; i < 3; i++) {
        char id[] = {(char)('0' + i), '\0'};
        const char *values[] = {id, notes[i]};
        add_record(f, 0x1f90 + (uint64_t)i, message_insert(&f->message, TABLE, values, 2));
    }
    add_record(f, 0x2000, message_commit(&f->message, 0x1ff0, 0x2000, 0));
    f->transactions[f->transaction_count++] = (struct script_transaction){901, 0x2000, 3, 0};
    assert_run(f, DP_STATUS_OK);
    assert_string_equal(f->order, "900:0 901:0 901:1 901:2 ");
    assert_int_equal(f->saved.value, 0x2000);
}

static void a_source_that_goes_back_is_stopped(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x2000, 1);
    add_transaction(f, 901, 0x1000, 1);
    assert_run(f, DP_STATUS_BLOCKED);
    assert_string_equal(f->error.code, "offset_regression");
}

static void poison_stops_before_its_transaction_and_keeps_what_is_complete(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, -3);
    f->options.limits.max_events = 100;
    assert_run(f, DP_STATUS_POISON);
    assert_string_equal(f->order, "900:0 900:1 ");
    assert_int_equal(f->saved.value, 0x1000);
}

static void quarantined_poison_leaves_no_gap_in_the_ordinals(void **state)
{
    fixture *f = *state;
    f->options.on_poison = DP_ON_POISON_QUARANTINE;
    add_transaction(f, 900, 0x1000, -3);
    add_transaction(f, 901, 0x2000, -1); /* nothing is left of it */
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->quarantined, 2);
    assert_int_equal(f->summary.poison_count, 2);
    assert_string_equal(f->order, "900:0 900:1 ");
    assert_int_equal(f->saved.value, 0x2000);
}

static void poison_that_is_in_quarantine_already_is_counted_apart(void **state)
{
    fixture *f = *state;
    f->options.on_poison = DP_ON_POISON_QUARANTINE;
    f->quarantined_before = 1;
    add_transaction(f, 900, 0x1000, -3);
    add_transaction(f, 901, 0x2000, -1);
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->summary.poison_count, 1);
    assert_int_equal(f->summary.known_poison_count, 1);
    assert_string_equal(f->order, "900:0 900:1 ");
}

static void a_quarantine_that_is_down_is_waited_for(void **state)
{
    fixture *f = *state;
    f->options.on_poison = DP_ON_POISON_QUARANTINE;
    f->quarantine_failures = 2;
    add_transaction(f, 900, 0x1000, -2);
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->quarantined, 1);
    assert_int_equal(f->saved.value, 0x1000);
}

static void an_idle_position_moves_the_offset_with_an_empty_batch(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 1);
    f->idle_at_end = true;
    f->idle_position.value = 0x9000;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->saved.value, 0x9000);
    assert_int_equal(f->confirmed.value, 0x9000);
}

static void input_that_ends_inside_a_transaction_is_an_error(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    add_transaction(f, 901, 0x2000, 2);
    f->record_count--; /* without the commit */
    f->transaction_count--;
    assert_run(f, DP_STATUS_DATA);
    assert_non_null(strstr(f->error.message, "ends inside a transaction"));
    assert_int_equal(f->saved.value, 0x1000);
    free((void *)(uintptr_t)f->records[f->record_count].data.data);
}

static void max_batches_ends_in_order(void **state)
{
    fixture *f = *state;
    for (uint32_t i = 0; i < 10; i++) {
        add_transaction(f, 900 + i, 0x1000 * (i + 1), 4);
    }
    f->options.max_batches = 2;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->summary.batch_count, 2);
    assert_true(f->has_saved && f->saved.value < 0xA000);
    f->options.max_batches = 0;
    assert_run(f, DP_STATUS_OK);
    assert_int_equal(f->stored_events, 40);
    assert_int_equal(f->saved.value, 0xA000);
}

static void a_stop_ends_while_the_sink_is_down(void **state)
{
    fixture *f = *state;
    add_transaction(f, 900, 0x1000, 2);
    for (size_t i = 0; i < MAX_STEPS; i++) {
        f->steps[i] = FAIL_TRANSPORT;
    }
    f->step_count = MAX_STEPS;
    f->stop = 1;
    dp_status status = run(f);
    assert_true(status == DP_STATUS_OK || status == DP_STATUS_CANCELLED);
    assert_false(f->has_saved);
}

/* --- several batches in flight --- */

/* A sink that keeps order: it answers the lanes in any order and takes a batch only after the one it names.
 */
typedef struct ordered_sink {
    fixture *f;
    struct lane {
        bool is_busy;
        dp_slice body;
        char batch_id[80];
        char after[80];
        dp_buffer answer;
    } lanes[DP_BATCH_LANES];
    char stored[512][80];
    size_t stored_count;
    uint64_t random;
    bool keeps_order;
    unsigned most_busy;
    unsigned count_425, count_413, count_lost, dropped;
} ordered_sink;

static unsigned next_random(ordered_sink *sink)
{
    sink->random = sink->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(sink->random >> 33);
}

static unsigned busy_count(const ordered_sink *sink)
{
    unsigned count = 0;
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        count += sink->lanes[i].is_busy;
    }
    return count;
}

static bool is_stored(const ordered_sink *sink, const char *batch_id)
{
    for (size_t i = 0; i < sink->stored_count; i++) {
        if (strcmp(sink->stored[i], batch_id) == 0) return true;
    }
    return false;
}

static dp_status ordered_submit(void *self, const dp_batch_delivery *delivery, dp_error *error)
{
    (void)error;
    ordered_sink *sink = self;
    struct lane *lane = &sink->lanes[delivery->lane];
    assert_false(lane->is_busy);
    lane->is_busy = true;
    lane->body = delivery->body;
    snprintf(lane->batch_id, sizeof lane->batch_id, "%s", delivery->batch_id);
    snprintf(lane->after, sizeof lane->after, "%s", delivery->after == NULL ? "" : delivery->after);
    if (busy_count(sink) > sink->most_busy) sink->most_busy = busy_count(sink);
    return DP_STATUS_OK;
}

static void ordered_drop(void *self, unsigned number)
{
    ordered_sink *sink = self;
    sink->dropped += sink->lanes[number].is_busy;
    sink->lanes[number].is_busy = false;
}

static bool is_large(dp_slice body)
{
    size_t lines = 0;
    for (size_t i = 0; i < body.length; i++) {
        lines += body.data[i] == '\n';
    }
    return lines > 5;
}

static void store(ordered_sink *sink, struct lane *lane, dp_batch_answer *answer)
{
    fixture *f = sink->f;
    f->submitted = lane->body;
    if (is_stored(sink, lane->batch_id)) { /* the same receipt again */
        *answer = (dp_batch_answer){
            .http_status = 200, .body = dp_buffer_slice(&lane->answer), .is_replayed = true};
        return;
    }
    answer_receipt(f, ACCEPT, answer);
    lane->answer.max_bytes = 1 << 20;
    dp_buffer_clear(&lane->answer);
    dp_buffer_append_slice(&lane->answer, answer->body);
    answer->body = dp_buffer_slice(&lane->answer);
    snprintf(sink->stored[sink->stored_count++], sizeof sink->stored[0], "%s", lane->batch_id);
    assert_true(sink->stored_count < 512);
}

static dp_status ordered_wait(void *self, int timeout_ms, bool *done, dp_batch_answer *answer,
                              dp_error *error)
{
    ordered_sink *sink = self;
    *done = busy_count(sink) > 0 && (timeout_ms > 0 || next_random(sink) % 3 == 0);
    if (!*done) return DP_STATUS_OK;
    unsigned number = next_random(sink) % DP_BATCH_LANES;
    while (!sink->lanes[number].is_busy) {
        number = (number + 1) % DP_BATCH_LANES;
    }
    struct lane *lane = &sink->lanes[number];
    lane->is_busy = false;
    unsigned fate = next_random(sink) % 10;
    bool follows = lane->after[0] != '\0';
    *answer =
        (dp_batch_answer){.http_status = 413,
                          .body = DP_SLICE_LITERAL("{\"detail\":\"large\",\"code\":\"batch_too_large\"}")};
    if (follows && !is_stored(sink, lane->after)) {
        sink->count_425++;
        *answer = (dp_batch_answer){.http_status = 425,
                                    .body = DP_SLICE_LITERAL(
                                        "{\"detail\":\"early\",\"code\":\"predecessor_missing\"}")};
    } else if (follows && fate == 0) { /* lost before it came, or its answer was */
        sink->count_lost++;
        answer->lane = number;
        if (next_random(sink) % 2 == 0) store(sink, lane, answer);
        answer->lane = number;
        return dp_error_set(error, DP_STATUS_REMOTE, "connection reset");
    } else if (fate == 1 && is_large(lane->body) && !is_stored(sink, lane->batch_id)) {
        sink->count_413++;
    } else {
        store(sink, lane, answer);
    }
    answer->lane = number;
    answer->keeps_order = sink->keeps_order;
    return DP_STATUS_OK;
}

/* The sink's self is the ordered sink; what is shared with the other tests asks for the fixture. */
static dp_status ordered_load(void *self, dp_backend backend, dp_offset *offset, bool *found, dp_error *error)
{
    return load_offset(((ordered_sink *)self)->f, backend, offset, found, error);
}

static dp_status ordered_save(void *self, const dp_offset *offset, dp_error *error)
{
    return save_offset(((ordered_sink *)self)->f, offset, error);
}

static dp_status run_ordered(ordered_sink *sink)
{
    fixture *f = sink->f;
    dp_change_source source = {.self = f, .poll = poll_source, .confirm = confirm_source};
    dp_batch_sink seam = {.self = sink,
                          .load_offset = ordered_load,
                          .save_offset = ordered_save,
                          .submit = ordered_submit,
                          .wait = ordered_wait,
                          .drop = ordered_drop};
    dp_status status = dp_cdc_run(&f->options, &source, &seam, &f->summary, &f->error);
    assert_int_equal(busy_count(sink), 0);
    for (unsigned i = 0; i < DP_BATCH_LANES; i++) {
        dp_buffer_release(&sink->lanes[i].answer);
    }
    return status;
}

static void batches_in_flight_are_taken_in_order_whatever_becomes_of_them(void **state)
{
    tear_down(state);
    unsigned early = 0, split = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        assert_int_equal(set_up(state), 0);
        fixture *f = *state;
        ordered_sink *sink = calloc(1, sizeof *sink);
        *sink = (ordered_sink){.f = f, .random = seed, .keeps_order = true};
        char expected[sizeof f->order] = "";
        for (uint32_t i = 0; i < 24; i++) {
            int rows =
                1 + (int)(next_random(sink) % 3) + (next_random(sink) % 8 == 0 ? 9 : 0); /* some in parts */
            add_transaction(f, 900 + i, 0x1000 * (i + 1), rows);
            for (int row = 0; row < rows; row++) {
                size_t used = strlen(expected);
                snprintf(expected + used, sizeof expected - used, "%u:%d ", 900 + i, row);
            }
        }
        f->options.limits.max_events = 3;
        f->options.batches_in_flight = 1 + (unsigned)(seed % DP_BATCH_LANES);
        if (run_ordered(sink) != DP_STATUS_OK)
            fail_msg("seed %llu: %s", (unsigned long long)seed, f->error.message);
        assert_string_equal(f->order, expected);
        assert_int_equal(f->saved.value, 0x1000 * 24);
        assert_int_equal(f->confirmed.value, 0x1000 * 24);
        assert_true(sink->most_busy <= f->options.batches_in_flight);
        if (f->options.batches_in_flight >= 4) assert_true(sink->most_busy > 2);
        early += sink->count_425;
        split += sink->count_413;
        lost += sink->count_lost;
        free(sink);
        tear_down(state);
    }
    assert_true(early > 0 && split > 0 && lost > 0); /* all of it has happened */
    assert_int_equal(set_up(state), 0);
}

static void a_sink_that_keeps_no_order_gets_one_batch_at_a_time(void **state)
{
    fixture *f = *state;
    ordered_sink *sink = calloc(1, sizeof *sink);
    *sink = (ordered_sink){.f = f, .random = 7};
    for (uint32_t i = 0; i < 20; i++) {
        add_transaction(f, 900 + i, 0x1000 * (i + 1), 2);
    }
    f->options.batches_in_flight = 8;
    assert_int_equal(run_ordered(sink), DP_STATUS_OK);
    assert_int_equal(sink->most_busy, 1);
    assert_int_equal(f->saved.value, 0x14000);
    free(sink);
}

static void without_preparing_ahead_nothing_is_read_while_a_batch_is_in_flight(void **state)
{
    fixture *f = *state;
    ordered_sink *sink = calloc(1, sizeof *sink);
    *sink = (ordered_sink){.f = f, .random = 7, .keeps_order = true};
    for (uint32_t i = 0; i < 20; i++) {
        add_transaction(f, 900 + i, 0x1000 * (i + 1), 2);
    }
    f->options.batches_in_flight = 0;
    assert_int_equal(run_ordered(sink), DP_STATUS_OK);
    assert_int_equal(sink->most_busy, 1);
    assert_int_equal(f->stored_events, 40);
    free(sink);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_change_arrives_once_in_order_and_the_offset_follows),
        TEST(a_large_transaction_is_sent_in_parts_and_the_offset_waits_for_its_commit),
        TEST(a_second_run_sends_nothing_that_the_offset_has_passed),
        TEST(an_offset_inside_a_commit_record_has_passed_its_transaction),
        TEST(from_start_sends_all_again_and_the_offset_does_not_move),
        TEST(a_sink_that_fails_gets_the_same_batch_until_it_takes_it),
        TEST(a_sink_that_fails_to_load_or_save_offsets_is_asked_again),
        TEST(an_offset_of_another_backend_is_never_gone_on_from),
        TEST(a_batch_that_is_too_large_is_halved_until_it_fits),
        TEST(refusals_stop_with_evidence_and_leave_the_offset),
        TEST(a_source_that_goes_back_is_stopped),
        TEST(a_part_that_the_sink_failed_to_take_stops_the_run),
        TEST(a_batch_that_is_still_being_stored_is_asked_for_again),
        TEST(lines_that_are_held_back_leave_room_for_the_next_event),
        TEST(a_quarantine_that_is_down_is_waited_for),
        TEST(poison_stops_before_its_transaction_and_keeps_what_is_complete),
        TEST(quarantined_poison_leaves_no_gap_in_the_ordinals),
        TEST(poison_that_is_in_quarantine_already_is_counted_apart),
        TEST(an_idle_position_moves_the_offset_with_an_empty_batch),
        TEST(input_that_ends_inside_a_transaction_is_an_error),
        TEST(max_batches_ends_in_order),
        TEST(a_stop_ends_while_the_sink_is_down),
        TEST(batches_in_flight_are_taken_in_order_whatever_becomes_of_them),
        TEST(a_sink_that_keeps_no_order_gets_one_batch_at_a_time),
        TEST(without_preparing_ahead_nothing_is_read_while_a_batch_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
