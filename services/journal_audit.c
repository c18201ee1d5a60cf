/* The audit as a service, and the end of quarantined changes, which is audited. */
#include "base/clock.h"
#include "services/journal_internal.h"
#include "services/json_body.h"

enum { MAX_ROWS = 1000, MAX_IDS = 10000 };

typedef struct audit_page {
    dp_json_writer writer;
    unsigned count;
    int64_t last_id;
} audit_page;

static dp_status put_row(void *context, const dp_audit_row *row, dp_error *error)
{
    audit_page *page = context;
    dp_json_writer *writer = &page->writer;
    (void)error;
    page->count++;
    page->last_id = row->audit_id;
    dp_json_begin_object(writer);
    dp_json_key(writer, "audit_id");
    dp_json_i64(writer, row->audit_id);
    dp_json_member_time(writer, "at", row->at_us);
    dp_json_member_slice(writer, "who", row->actor);
    dp_json_member_slice(writer, "action", row->action);
    dp_json_member_slice(writer, "subject", row->subject);
    dp_json_member_slice(writer, "why", row->reason);
    dp_json_member_slice(writer, "old", row->old_value);
    dp_json_member_slice(writer, "new", row->new_value);
    dp_json_end_object(writer);
    return DP_STATUS_OK;
}

void dp_journal_api_list_audit(dp_journal_api *api, dp_slice pipeline, dp_slice before, dp_api_reply *reply)
{
    dp_error error = DP_ERROR_INIT;
    dp_store *store;
    uint64_t below_id = INT64_MAX;
    if (before.data != NULL && !dp_slice_to_u64(before, INT64_MAX, &below_id)) {
        dp_api_reply_error(reply, 400, "before_malformed", "before: expected the number of an entry");
        return;
    }
    audit_page page = {.writer = journal_reply_begin(reply)};
    dp_row_visitor visitor = {.context = &page, .audit = put_row};
    dp_json_begin_object(&page.writer);
    dp_json_key(&page.writer, "audit");
    dp_json_begin_array(&page.writer);
    dp_status status = journal_take_reader(api, &store, &error);
    if (status == DP_STATUS_OK) {
        status = store->driver->audit_list(store, pipeline, (int64_t)below_id, MAX_ROWS, &visitor, &error);
        journal_give_reader(api, store, status);
    }
    dp_json_end_array(&page.writer);
    dp_json_key(&page.writer, "next_before");
    if (page.count == MAX_ROWS) {
        dp_json_u64(&page.writer, (uint64_t)page.last_id);
    } else {
        dp_json_null(&page.writer);
    }
    dp_json_end_object(&page.writer);
    journal_reply_end(reply, status, &error);
}

static void reply_count(dp_api_reply *reply, const char *key, uint64_t count)
{
    dp_json_writer writer = journal_reply_begin(reply);
    dp_json_begin_object(&writer);
    dp_json_key(&writer, key);
    dp_json_u64(&writer, count);
    dp_json_end_object(&writer);
    journal_reply_ok(reply);
}

dp_status journal_write_with(dp_journal_api *api, void *context,
                             dp_status (*work)(dp_store *store, void *context, dp_error *error),
                             dp_error *error)
{
    journal_writer *writer;
    dp_status status = journal_take_writer(api, &writer, error);
    if (status != DP_STATUS_OK) return status;
    dp_store *store = writer->store;
    status = store->driver->begin(store, true, error);
    if (status == DP_STATUS_OK) {
        status = work(store, context, error);
        if (status == DP_STATUS_OK) {
            status = store->driver->commit(store, error);
        } else {
            store->driver->rollback(store);
        }
    }
    journal_give_writer(api, writer, status);
    return status;
}

/* --- adding --- */

static dp_status insert_row(dp_store *store, void *context, dp_error *error)
{
    return store->driver->audit_insert(store, context, error);
}

static dp_status parse_row(const json_t *body, dp_audit_row *row, dp_error *error)
{
    dp_status status = dp_json_body_text(body, "who", true, &row->actor, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "action", true, &row->action, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "subject", true, &row->subject, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "why", false, &row->reason, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "old", false, &row->old_value, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "new", false, &row->new_value, error);
    return status;
}

void dp_journal_api_add_audit(dp_journal_api *api, dp_slice pipeline, dp_slice body, dp_api_reply *reply)
{
    static const char *const allowed[] = {"who", "action", "subject", "why", "old", "new", NULL};
    dp_error error = DP_ERROR_INIT;
    dp_audit_row row = {.at_us = dp_clock_wall_us(), .pipeline = pipeline};
    json_t *object = NULL;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) status = parse_row(object, &row, &error);
    if (status == DP_STATUS_OK) status = journal_write_with(api, &row, insert_row, &error);
    if (status == DP_STATUS_OK) {
        reply_count(reply, "added", 1);
    } else {
        journal_reply_failure(reply, status, &error);
    }
    json_decref(object);
}

/* --- the end of a quarantined change --- */

typedef struct resolution {
    const json_t *ids;
    dp_slice pipeline;
    dp_quarantine_row row;
    dp_slice state;
    int64_t wanted_id;
    bool is_there; /* an open entry of this pipeline */
    bool is_done;  /* the same was done already: the answer to it was lost */
} resolution;

static dp_status look_for(void *context, const dp_quarantine_row *row, dp_error *error)
{
    resolution *self = context;
    (void)error;
    bool is_wanted = row->quarantine_id == self->wanted_id;
    self->is_there = is_wanted && row->state == DP_QUARANTINE_OPEN;
    self->is_done = is_wanted && row->state == self->row.state &&
                    dp_slice_equal(row->resolved_by, self->row.resolved_by) &&
                    dp_slice_equal(row->resolution, self->row.resolution);
    return DP_STATUS_CANCELLED;
}

static dp_status resolve_one(dp_store *store, resolution *self, int64_t id, dp_error *error)
{
    dp_row_visitor visitor = {.context = self, .quarantine = look_for};
    self->wanted_id = self->row.quarantine_id = id;
    self->is_there = self->is_done = false;
    dp_status status =
        store->driver->quarantine_list(store, self->pipeline, NULL, id - 1, 1, &visitor, error);
    if (status == DP_STATUS_OK && self->is_done) return DP_STATUS_OK;
    if (status == DP_STATUS_OK && !self->is_there) status = DP_STATUS_NOT_FOUND;
    if (status == DP_STATUS_OK) status = store->driver->quarantine_resolve(store, &self->row, error);
    if (status == DP_STATUS_NOT_FOUND) {
        return dp_error_set_code(error, status, "quarantine_not_found",
                                 "quarantine entry %lld of this pipeline is not open", (long long)id);
    }
    if (status != DP_STATUS_OK) return status;
    char subject[32];
    snprintf(subject, sizeof subject, "quarantine %lld", (long long)id);
    dp_audit_row audit = {
        .at_us = self->row.resolved_at_us,
        .actor = self->row.resolved_by,
        .action = self->row.state == DP_QUARANTINE_REPLAYED ? DP_SLICE_LITERAL("quarantine.replayed")
                                                            : DP_SLICE_LITERAL("quarantine.discarded"),
        .pipeline = self->pipeline,
        .subject = dp_slice_of_text(subject),
        .reason = self->row.resolution,
        .old_value = DP_SLICE_LITERAL("open"),
        .new_value = self->state,
    };
    return store->driver->audit_insert(store, &audit, error);
}

static dp_status resolve_all(dp_store *store, void *context, dp_error *error)
{
    resolution *self = context;
    dp_status status = DP_STATUS_OK;
    size_t index;
    const json_t *id;
    json_array_foreach(self->ids, index, id)
    {
        if (!json_is_integer(id)) {
            return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed", "\"ids\": expected numbers");
        }
        status = resolve_one(store, self, json_integer_value(id), error);
        if (status != DP_STATUS_OK) break;
    }
    return status;
}

static dp_status parse_resolution(const json_t *body, resolution *self, dp_error *error)
{
    self->ids = json_object_get(body, "ids");
    dp_status status = dp_json_body_text(body, "state", true, &self->state, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "who", true, &self->row.resolved_by, error);
    if (status == DP_STATUS_OK) status = dp_json_body_text(body, "why", true, &self->row.resolution, error);
    if (status != DP_STATUS_OK) return status;
    size_t count = json_array_size(self->ids);
    bool is_replayed = dp_slice_equal_text(self->state, "replayed");
    if (count == 0 || count > MAX_IDS || (!is_replayed && !dp_slice_equal_text(self->state, "discarded"))) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed",
                                 "expected \"ids\", an array of 1 to %d numbers, and \"state\", replayed or "
                                 "discarded",
                                 MAX_IDS);
    }
    self->row.state = is_replayed ? DP_QUARANTINE_REPLAYED : DP_QUARANTINE_DISCARDED;
    return DP_STATUS_OK;
}

void dp_journal_api_resolve_quarantine(dp_journal_api *api, dp_slice pipeline, dp_slice body,
                                       dp_api_reply *reply)
{
    static const char *const allowed[] = {"ids", "state", "who", "why", NULL};
    dp_error error = DP_ERROR_INIT;
    resolution self = {.pipeline = pipeline, .row = {.resolved_at_us = dp_clock_wall_us()}};
    json_t *object = NULL;
    dp_status status = dp_json_body_parse(body, allowed, false, &object, &error);
    if (status == DP_STATUS_OK) status = parse_resolution(object, &self, &error);
    if (status == DP_STATUS_OK) status = journal_write_with(api, &self, resolve_all, &error);
    if (status == DP_STATUS_OK) {
        reply_count(reply, "resolved", json_array_size(self.ids));
    } else {
        journal_reply_failure(reply, status, &error);
    }
    json_decref(object);
}
