#include "cdc/batch_writer.h"

#include <stdlib.h>

#include "base/hex.h"
#include "base/json_writer.h"

/* The ids of the batch in order, and an open-addressing index over them; the index is cleared by raising the
 * generation, so a small batch after a large one costs little. */
typedef struct id_set {
    dp_event_id *ids;
    struct id_slot {
        uint32_t at; /* in ids */
        uint32_t generation;
    } * slots;
    size_t slot_count; /* a power of two, or 0; ids has room for half as many */
    size_t count;
    uint32_t generation;
} id_set;

struct dp_batch_writer {
    dp_batch_limits limits;
    dp_event_writer *events;
    dp_buffer lines;
    size_t event_count;
    size_t commit_count;
    id_set ids;
    bool has_duplicates;
};

enum { FIRST_ID_SLOTS = 2048, COMMIT_LINE_BYTES = 256 };

dp_batch_writer *dp_batch_writer_new(dp_identity_kind identity, const dp_batch_limits *limits)
{
    dp_batch_writer *batch = calloc(1, sizeof *batch);
    if (batch == NULL) return NULL;
    batch->limits = *limits;
    batch->ids.generation = 1;
    /* Over the soft limit by at most the event that reaches it and its commit. */
    batch->lines = (dp_buffer)DP_BUFFER_INIT(limits->max_bytes + limits->max_event_bytes + COMMIT_LINE_BYTES);
    batch->events = dp_event_writer_new(identity, DP_ROW_EXACT);
    if (batch->events == NULL) {
        dp_batch_writer_free(batch);
        return NULL;
    }
    return batch;
}

void dp_batch_writer_free(dp_batch_writer *batch)
{
    if (batch == NULL) return;
    dp_event_writer_free(batch->events);
    dp_buffer_release(&batch->lines);
    free(batch->ids.slots);
    free(batch->ids.ids);
    free(batch);
}

static void clear_index(id_set *set)
{
    if (++set->generation != 0) return;
    memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    set->generation = 1;
}

/* The slot of an id, or the free one where it belongs. An id is a hash already: any eight bytes of it will
 * do. */
static struct id_slot *find_slot(const id_set *set, const dp_event_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->bytes, sizeof hash);
    size_t at = hash & (set->slot_count - 1);
    while (set->slots[at].generation == set->generation &&
           memcmp(&set->ids[set->slots[at].at], id, sizeof *id) != 0) {
        at = (at + 1) & (set->slot_count - 1);
    }
    return &set->slots[at];
}

/* Whether some id stands there twice. */
static bool index_all(id_set *set)
{
    bool has_duplicates = false;
    clear_index(set);
    for (size_t i = 0; i < set->count; i++) {
        struct id_slot *slot = find_slot(set, &set->ids[i]);
        has_duplicates |= slot->generation == set->generation;
        *slot = (struct id_slot){(uint32_t)i, set->generation};
    }
    return has_duplicates;
}

static bool grow_ids(id_set *set)
{
    size_t slot_count = set->slot_count == 0 ? FIRST_ID_SLOTS : set->slot_count * 2;
    if (slot_count > UINT32_MAX) return false;
    dp_event_id *ids = realloc(set->ids, slot_count / 2 * sizeof *ids);
    if (ids == NULL) return false;
    set->ids = ids;
    struct id_slot *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) return false;
    free(set->slots);
    set->slots = slots;
    set->slot_count = slot_count;
    index_all(set);
    return true;
}

/* Remembers the id; *seen says whether it was there. */
static bool add_id(id_set *set, const dp_event_id *id, bool *seen)
{
    if (2 * (set->count + 1) > set->slot_count && !grow_ids(set)) return false;
    struct id_slot *slot = find_slot(set, id);
    *seen = slot->generation == set->generation;
    if (!*seen) *slot = (struct id_slot){(uint32_t)set->count, set->generation};
    set->ids[set->count++] = *id;
    return true;
}

void dp_batch_writer_clear(dp_batch_writer *batch)
{
    dp_buffer_clear(&batch->lines);
    batch->event_count = batch->commit_count = 0;
    batch->has_duplicates = false;
    clear_index(&batch->ids);
    batch->ids.count = 0;
}

dp_status dp_batch_writer_put_event(dp_batch_writer *batch, const dp_change *change, dp_error *error)
{
    size_t start = batch->lines.length;
    size_t maximum = batch->lines.max_bytes;
    /* The event's own limit is enforced while it is written, so that an oversized one costs no more memory.
     */
    size_t event_end = start + batch->limits.max_event_bytes;
    if (event_end < maximum) batch->lines.max_bytes = event_end;
    bool id_missing = false;
    dp_status status = dp_event_writer_put_event(batch->events, &batch->lines, change, &id_missing, error);
    batch->lines.max_bytes = maximum;
    if (status != DP_STATUS_OK) return status;
    /* The maximum only limits growth: memory of an earlier batch may have taken more. What is poison must not
     * depend on that. */
    if (batch->lines.length > event_end) {
        batch->lines.length = start;
        return dp_error_set_code(error, DP_STATUS_LIMIT, "event_too_large", "an event of more than %zu bytes",
                                 batch->limits.max_event_bytes);
    }
    if (id_missing) {
        batch->lines.length = start;
        return dp_error_set_code(error, DP_STATUS_POISON, "position_missing",
                                 "a change of table '%.*s.%.*s' carries no position",
                                 DP_SLICE_PRINT(change->table->schema), DP_SLICE_PRINT(change->table->name));
    }
    dp_event_id id = dp_event_writer_last_id(batch->events);
    bool seen;
    if (!add_id(&batch->ids, &id, &seen)) {
        batch->lines.length = start;
        return dp_error_no_memory(error, "the ids of a batch");
    }
    batch->has_duplicates |= seen;
    batch->event_count++;
    return DP_STATUS_OK;
}

dp_status dp_batch_writer_put_commit(dp_batch_writer *batch, const dp_transaction_end *end, dp_error *error)
{
    dp_status status = dp_event_writer_put_commit(&batch->lines, end, error);
    if (status == DP_STATUS_OK) batch->commit_count++;
    return status;
}

dp_batch_mark dp_batch_writer_mark(const dp_batch_writer *batch)
{
    return (dp_batch_mark){batch->lines.length, batch->event_count, batch->commit_count,
                           batch->has_duplicates};
}

void dp_batch_writer_rollback(dp_batch_writer *batch, dp_batch_mark mark)
{
    batch->lines.length = mark.line_bytes;
    batch->event_count = mark.event_count;
    batch->commit_count = mark.commit_count;
    batch->has_duplicates = mark.has_duplicates;
    batch->ids.count = mark.event_count;
    index_all(&batch->ids);
}

void dp_batch_writer_drop_before(dp_batch_writer *batch, dp_batch_mark mark)
{
    dp_buffer_consume(&batch->lines, mark.line_bytes);
    batch->event_count -= mark.event_count;
    batch->commit_count -= mark.commit_count;
    id_set *set = &batch->ids;
    set->count = batch->event_count;
    if (set->count > 0) memmove(set->ids, set->ids + mark.event_count, set->count * sizeof *set->ids);
    batch->has_duplicates = index_all(set);
}

size_t dp_batch_writer_event_count(const dp_batch_writer *batch)
{
    return batch->event_count;
}

size_t dp_batch_writer_commit_count(const dp_batch_writer *batch)
{
    return batch->commit_count;
}

void dp_batch_writer_lower_max_event(dp_batch_writer *batch, size_t max_event_bytes)
{
    if (max_event_bytes < batch->limits.max_event_bytes) batch->limits.max_event_bytes = max_event_bytes;
}

bool dp_batch_writer_is_full(const dp_batch_writer *batch)
{
    return batch->event_count >= batch->limits.max_events || batch->lines.length >= batch->limits.max_bytes;
}

static void put_token(dp_json_writer *json, const char *key, bool present, dp_lsn lsn)
{
    char text[DP_LSN_TEXT_BYTES];
    dp_lsn_format(lsn, text);
    dp_json_key(json, key);
    dp_json_text(json, present ? text : NULL);
}

static void put_header(dp_buffer *body, const dp_batch_source *source, const dp_batch_offsets *offsets)
{
    dp_json_writer json = dp_json_writer_compact(body);
    dp_json_begin_object(&json);
    dp_json_key(&json, "type");
    dp_json_text(&json, "batch");
    dp_json_key(&json, "schema");
    dp_json_text(&json, DP_BATCH_SCHEMA);
    dp_json_key(&json, "pipeline");
    dp_json_string(&json, source->pipeline);
    dp_json_key(&json, "backend");
    dp_json_string(&json, dp_backend_text(source->backend));
    dp_json_key(&json, "source");
    dp_json_string(&json, source->source);
    dp_json_key(&json, "identity");
    dp_json_string(&json, dp_identity_text(source->identity));
    dp_json_key(&json, "next_offset");
    if (offsets->has_next_offset) {
        dp_json_begin_object(&json);
        dp_json_key(&json, "backend");
        dp_json_string(&json, dp_backend_text(source->backend));
        put_token(&json, "token", true, offsets->next_offset);
        dp_json_key(&json, "snapshot_complete");
        dp_json_bool(&json, true);
        dp_json_end_object(&json);
    } else {
        dp_json_null(&json);
    }
    put_token(&json, "stored_offset", offsets->has_stored_offset, offsets->stored_offset);
    put_token(&json, "high_watermark", offsets->has_high_watermark, offsets->high_watermark);
    dp_json_end_object(&json);
    dp_buffer_append_byte(body, '\n');
}

static bool compute_id(dp_sha256 *hash, dp_slice lines, const dp_batch_offsets *offsets,
                       char hex[DP_SHA256_HEX_LENGTH + 1])
{
    char token[DP_LSN_TEXT_BYTES];
    size_t token_length = offsets->has_next_offset ? dp_lsn_format(offsets->next_offset, token) : 0;
    uint8_t digest[DP_SHA256_BYTES];
    bool hashed = dp_sha256_begin(hash) && dp_sha256_update(hash, lines) &&
                  dp_sha256_update(hash, (dp_slice){token, token_length}) && dp_sha256_finish(hash, digest);
    if (!hashed) return false;
    dp_hex_encode(digest, sizeof digest, hex);
    hex[DP_SHA256_HEX_LENGTH] = '\0';
    return true;
}

dp_slice dp_batch_writer_lines(const dp_batch_writer *batch)
{
    return dp_buffer_slice(&batch->lines);
}

dp_status dp_batch_compose(dp_sha256 *hash, dp_slice lines, size_t event_count, const dp_batch_source *source,
                           const dp_batch_offsets *offsets, dp_batch_body *body, dp_error *error)
{
    dp_buffer *bytes = &body->bytes;
    if (!compute_id(hash, lines, offsets, body->batch_id)) return dp_error_no_memory(error, "a batch id");
    dp_buffer_clear(bytes);
    put_header(bytes, source, offsets);
    body->lines_start = bytes->length;
    body->lines_length = lines.length;
    body->event_count = event_count;
    dp_buffer_append_slice(bytes, lines);
    dp_buffer_append_slice(bytes, DP_SLICE_LITERAL("{\"type\":\"end\",\"count\":"));
    dp_buffer_append_u64(bytes, event_count);
    dp_buffer_append_slice(bytes, DP_SLICE_LITERAL(",\"batch_id\":\""));
    dp_buffer_append_text(bytes, body->batch_id);
    dp_buffer_append_slice(bytes, DP_SLICE_LITERAL("\"}\n"));
    if (!bytes->failed) return DP_STATUS_OK;
    return bytes->out_of_memory
               ? dp_error_no_memory(error, "a batch")
               : dp_error_set(error, DP_STATUS_LIMIT, "a batch of more than %zu bytes", bytes->max_bytes);
}

/* Event lines begin with their id, commit lines with their type: both are this file's own writing. */
static bool is_commit_line(const char *line)
{
    return strncmp(line, "{\"type\"", 7) == 0;
}

bool dp_batch_split(dp_slice lines, size_t event_count, dp_slice parts[2], size_t event_counts[2])
{
    if (event_count < 2) return false;
    size_t seen_count = 0;
    size_t at = 0;
    while (at < lines.length) {
        /* The cut goes before the first event of the second half, so after any commit of the first. */
        if (!is_commit_line(lines.data + at) && seen_count++ == event_count / 2) break;
        at = (size_t)((const char *)memchr(lines.data + at, '\n', lines.length - at) - lines.data) + 1;
    }
    parts[0] = (dp_slice){lines.data, at};
    parts[1] = (dp_slice){lines.data + at, lines.length - at};
    event_counts[0] = event_count / 2;
    event_counts[1] = event_count - event_count / 2;
    return true;
}
