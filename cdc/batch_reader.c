#include "cdc/batch_reader.h"

#include <stdlib.h>

#include "base/hex.h"
#include "cdc/event_shapes.h"

struct dp_batch_reader {
    dp_batch_read_limits limits;
    dp_sha256 *hash;
    dp_event_shapes *shapes;
    dp_arena *arena; /* decoded names only */
    dp_event *events;
    size_t event_capacity;
    dp_batch_group *groups;
    size_t group_capacity;
    dp_batch batch;
    /* the state of one read */
    uint64_t line_number;
    size_t next_at; /* where the next line starts in the body */
    bool group_open;
    uint64_t next_ordinal; /* of the open group */
};

#define ARENA_CHUNK_BYTES 4096

dp_batch_reader *dp_batch_reader_new(const dp_batch_read_limits *limits)
{
    dp_batch_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return NULL;
    reader->limits = *limits;
    reader->hash = dp_sha256_new();
    reader->shapes = dp_event_shapes_new();
    reader->arena = dp_arena_new(ARENA_CHUNK_BYTES, limits->max_body_bytes * 2 + 2 * ARENA_CHUNK_BYTES);
    if (reader->hash == NULL || reader->shapes == NULL || reader->arena == NULL) {
        dp_batch_reader_free(reader);
        return NULL;
    }
    return reader;
}

void dp_batch_reader_free(dp_batch_reader *reader)
{
    if (reader == NULL) return;
    dp_sha256_free(reader->hash);
    dp_event_shapes_free(reader->shapes);
    dp_arena_free(reader->arena);
    free(reader->events);
    free(reader->groups);
    free(reader);
}

static dp_status fault(dp_batch_reader *reader, dp_error *error, const char *code, const char *text)
{
    return dp_error_set_code(error, DP_STATUS_DATA, code, "line %llu: %s",
                             (unsigned long long)reader->line_number, text);
}

/* Makes room for one more element; false when memory is refused. */
static bool grow(void **elements, size_t *capacity, size_t count, size_t element_bytes)
{
    if (count < *capacity) return true;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(*elements, wanted * element_bytes);
    if (grown == NULL) return false;
    *elements = grown;
    *capacity = wanted;
    return true;
}

/* The next line without its newline. A body whose last line has none was cut. */
static dp_status next_line(dp_batch_reader *reader, dp_slice body, dp_slice *line, dp_error *error)
{
    reader->line_number++;
    const char *start = body.data + reader->next_at;
    size_t left = body.length - reader->next_at;
    const char *newline = left == 0 ? NULL : memchr(start, '\n', left);
    size_t length = newline == NULL ? left : (size_t)(newline - start);
    if (length > reader->limits.max_line_bytes) {
        return dp_error_set_code(error, DP_STATUS_LIMIT, "event_too_large",
                                 "line %llu: longer than the limit of %zu bytes",
                                 (unsigned long long)reader->line_number, reader->limits.max_line_bytes);
    }
    if (newline == NULL) {
        return fault(reader, error, "batch_cut",
                     left == 0 ? "the body ends here, before its trailer" : "the body ends inside this line");
    }
    *line = (dp_slice){start, length};
    reader->next_at += length + 1;
    return DP_STATUS_OK;
}

static bool equal_ids(dp_slice left, dp_slice right)
{
    return (left.data == NULL) == (right.data == NULL) && dp_slice_equal(left, right);
}

static dp_status check_event(dp_batch_reader *reader, const dp_event *event, dp_error *error)
{
    dp_position ignored;
    if (!event->has_id || event->position.data == NULL) {
        return fault(reader, error, "id_missing", "an event without id or position cannot be stored");
    }
    if (!dp_position_parse(reader->batch.header.backend, event->position, &ignored)) {
        return fault(reader, error, "backend_mismatch", "the position is not one of the batch's backend");
    }
    return DP_STATUS_OK;
}

static dp_batch_group *open_group(dp_batch_reader *reader, dp_slice transaction_id, dp_error *error)
{
    dp_batch *batch = &reader->batch;
    if (!grow((void **)&reader->groups, &reader->group_capacity, batch->group_count,
              sizeof(dp_batch_group))) {
        dp_error_no_memory(error, "the transactions of a batch");
        return NULL;
    }
    dp_batch_group *group = &reader->groups[batch->group_count++];
    memset(group, 0, sizeof *group);
    group->first_event = batch->event_count;
    group->transaction_id = transaction_id;
    return group;
}

/* Row n of a transaction follows row n-1 or repeats an earlier one; the first in the body may be any. */
static dp_status check_ordinal(dp_batch_reader *reader, const dp_event *event, bool first, dp_error *error)
{
    if (!first && event->ordinal > reader->next_ordinal) {
        return dp_error_set_code(error, DP_STATUS_CONFLICT, "ordinal_gap",
                                 "line %llu: ordinal %llu follows %llu in one transaction",
                                 (unsigned long long)reader->line_number, (unsigned long long)event->ordinal,
                                 (unsigned long long)reader->next_ordinal - 1);
    }
    if (first || event->ordinal == reader->next_ordinal) reader->next_ordinal = event->ordinal + 1;
    return DP_STATUS_OK;
}

/* The event lies behind those of the batch already. */
static dp_status take_event(dp_batch_reader *reader, const dp_event *event, dp_error *error)
{
    dp_batch *batch = &reader->batch;
    dp_status status = check_event(reader, event, error);
    if (status != DP_STATUS_OK) return status;
    bool first = !reader->group_open;
    if (first && open_group(reader, event->transaction_id, error) == NULL) return DP_STATUS_NO_MEMORY;
    dp_batch_group *group = &reader->groups[batch->group_count - 1];
    if (!first && !equal_ids(group->transaction_id, event->transaction_id)) {
        return fault(reader, error, "batch_malformed",
                     "another transaction begins before the commit line of the one before");
    }
    status = check_ordinal(reader, event, first, error);
    if (status != DP_STATUS_OK) return status;
    batch->event_count++;
    group->event_count++;
    reader->group_open = true;
    return DP_STATUS_OK;
}

static dp_status take_commit(dp_batch_reader *reader, const dp_commit_line *commit, dp_error *error)
{
    dp_batch *batch = &reader->batch;
    dp_position end;
    if (commit->end_position.data == NULL ||
        !dp_position_parse(batch->header.backend, commit->end_position, &end)) {
        return fault(reader, error, "backend_mismatch", "the end position is not one of the batch's backend");
    }
    if (!reader->group_open && open_group(reader, commit->transaction_id, error) == NULL) {
        return DP_STATUS_NO_MEMORY;
    }
    dp_batch_group *group = &reader->groups[batch->group_count - 1];
    if (!equal_ids(group->transaction_id, commit->transaction_id)) {
        return fault(reader, error, "batch_malformed",
                     "the commit line names another transaction than the events before it");
    }
    if (group->event_count > 0 && commit->count != reader->next_ordinal) {
        return fault(reader, error, "count_mismatch",
                     "the commit line's count is not the number of the transaction's rows");
    }
    group->has_commit = true;
    group->commit = *commit;
    group->end_position = end;
    reader->group_open = false;
    return DP_STATUS_OK;
}

static dp_status take_header(dp_batch_reader *reader, const dp_wire_line *line, dp_error *error)
{
    if (line->kind != DP_LINE_HEADER) {
        return fault(reader, error, "batch_malformed", "a batch begins with its header, \"type\":\"batch\"");
    }
    reader->batch.header = line->header;
    if (line->header.has_next_offset && line->header.next_backend != line->header.backend) {
        return fault(reader, error, "backend_mismatch", "the next offset belongs to another backend");
    }
    return DP_STATUS_OK;
}

/* The digest over the event and commit lines, which lie in one piece between header and trailer. */
static dp_status compute_batch_id(dp_batch_reader *reader, dp_slice lines, dp_error *error)
{
    dp_batch *batch = &reader->batch;
    bool ok = dp_sha256_begin(reader->hash) && dp_sha256_update(reader->hash, lines);
    if (batch->header.has_next_offset) ok = ok && dp_sha256_update(reader->hash, batch->header.next_token);
    if (!ok || !dp_sha256_finish(reader->hash, batch->batch_id)) {
        return dp_error_set(error, DP_STATUS_INTERNAL, "unable to compute a SHA-256");
    }
    dp_hex_encode(batch->batch_id, DP_SHA256_BYTES, batch->batch_id_hex);
    batch->batch_id_hex[DP_SHA256_HEX_LENGTH] = '\0';
    return DP_STATUS_OK;
}

static dp_status take_trailer(dp_batch_reader *reader, const dp_batch_trailer *trailer, dp_slice lines,
                              bool more, dp_error *error)
{
    dp_batch *batch = &reader->batch;
    if (more) return fault(reader, error, "batch_malformed", "there is text after the trailer");
    if (trailer->count != batch->event_count) {
        return fault(reader, error, "count_mismatch", "the trailer's count is not the number of event lines");
    }
    dp_status status = compute_batch_id(reader, lines, error);
    if (status != DP_STATUS_OK) return status;
    if (memcmp(batch->batch_id, trailer->batch_id, DP_SHA256_BYTES) != 0) {
        return dp_error_set_code(error, DP_STATUS_DATA, "digest_mismatch",
                                 "line %llu: batch_id is not the digest of the lines, which is %s",
                                 (unsigned long long)reader->line_number, batch->batch_id_hex);
    }
    return DP_STATUS_OK;
}

/* Scans a line, an event into the place behind those of the batch. */
static dp_status scan_line(dp_batch_reader *reader, dp_slice line, dp_wire_line *wire, dp_error *error)
{
    size_t count = reader->batch.event_count;
    if (!grow((void **)&reader->events, &reader->event_capacity, count, sizeof(dp_event))) {
        return dp_error_no_memory(error, "the events of a batch");
    }
    wire->kind = DP_LINE_EVENT;
    if (dp_event_shapes_scan(reader->shapes, line, reader->line_number, &reader->events[count]))
        return DP_STATUS_OK;
    dp_status status = dp_wire_line_scan(line, reader->line_number, reader->arena, wire, error);
    if (status != DP_STATUS_OK || wire->kind != DP_LINE_EVENT) return status;
    reader->events[count] = wire->event;
    dp_event_shapes_learn(reader->shapes, line, &wire->event);
    return DP_STATUS_OK;
}

static dp_status read_header(dp_batch_reader *reader, dp_slice body, dp_error *error)
{
    dp_slice line;
    dp_wire_line wire;
    dp_arena_reset(reader->arena);
    reader->batch = (dp_batch){.event_count = 0};
    reader->line_number = 0;
    reader->next_at = 0;
    dp_status status = next_line(reader, body, &line, error);
    if (status == DP_STATUS_OK) status = dp_wire_line_scan(line, 1, reader->arena, &wire, error);
    return status == DP_STATUS_OK ? take_header(reader, &wire, error) : status;
}

dp_status dp_batch_reader_peek(dp_batch_reader *reader, dp_slice body, dp_batch_header *header,
                               dp_error *error)
{
    dp_status status = read_header(reader, body, error);
    if (status == DP_STATUS_OK) *header = reader->batch.header;
    return status;
}

static dp_status read_lines(dp_batch_reader *reader, dp_slice body, dp_error *error)
{
    dp_slice line;
    dp_wire_line wire;
    dp_status status = read_header(reader, body, error);
    size_t lines_at = reader->next_at;
    while (status == DP_STATUS_OK) {
        size_t at = reader->next_at;
        status = next_line(reader, body, &line, error);
        if (status != DP_STATUS_OK) break;
        status = scan_line(reader, line, &wire, error);
        if (status != DP_STATUS_OK) break;
        switch (wire.kind) {
        case DP_LINE_EVENT:
            status = take_event(reader, &reader->events[reader->batch.event_count], error);
            break;
        case DP_LINE_COMMIT: status = take_commit(reader, &wire.commit, error); break;
        case DP_LINE_HEADER: return fault(reader, error, "batch_malformed", "a second header");
        case DP_LINE_TRAILER:
            return take_trailer(reader, &wire.trailer, (dp_slice){body.data + lines_at, at - lines_at},
                                reader->next_at < body.length, error);
        }
    }
    return status;
}

dp_status dp_batch_reader_read(dp_batch_reader *reader, dp_slice body, const dp_batch **batch,
                               dp_error *error)
{
    if (body.length > reader->limits.max_body_bytes) {
        return dp_error_set_code(error, DP_STATUS_LIMIT, "batch_too_large",
                                 "the body has %zu bytes; the limit is %zu", body.length,
                                 reader->limits.max_body_bytes);
    }
    dp_event_shapes_clear(reader->shapes);
    reader->group_open = false;
    reader->next_ordinal = 0;
    dp_status status = read_lines(reader, body, error);
    if (status != DP_STATUS_OK) return status;
    reader->batch.events = reader->events;
    reader->batch.groups = reader->groups;
    *batch = &reader->batch;
    return DP_STATUS_OK;
}
