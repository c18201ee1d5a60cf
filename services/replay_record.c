#include "services/replay_record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json_writer.h"

enum { ID_LENGTH = 16, MAX_LINE_BYTES = 1 << 20 };

struct dp_replay_record {
    int descriptor;
    const char *path;
    dp_replay_subject subject;
    char id[ID_LENGTH + 1];
};

const char *dp_replay_record_id(const dp_replay_record *record)
{
    return record->id;
}

static void make_id(const dp_replay_subject *subject, char id[ID_LENGTH + 1])
{
    uint8_t digest[DP_SHA256_BYTES] = {0};
    dp_sha256 *hash = dp_sha256_new();
    const char *const parts[] = {subject->pipeline, subject->source,     subject->origin,
                                 subject->endpoint, subject->from.token, subject->to.token};
    if (hash != NULL && dp_sha256_begin(hash)) {
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            dp_sha256_update(hash, dp_slice_make(parts[i], strlen(parts[i]) + 1));
        }
        dp_sha256_finish(hash, digest);
    }
    dp_sha256_free(hash);
    dp_hex_encode(digest, ID_LENGTH / 2, id);
    id[ID_LENGTH] = '\0';
}

/* --- reading what is there --- */

static uint64_t count_of(const json_t *line, const char *member)
{
    json_int_t value = json_integer_value(json_object_get(line, member));
    return value < 0 ? 0 : (uint64_t)value;
}

static bool offset_of(const json_t *line, const char *member, dp_backend backend, dp_offset *offset)
{
    const char *text = json_string_value(json_object_get(line, member));
    return text != NULL && dp_offset_of_token(backend, dp_slice_of_text(text), offset);
}

static void take_line(const dp_replay_record *record, const json_t *line, dp_replay_resume *resume)
{
    const char *id = json_string_value(json_object_get(line, "replay_id"));
    const char *what = json_string_value(json_object_get(line, "record"));
    dp_backend backend = record->subject.from.backend;
    if (id == NULL || what == NULL || strcmp(id, record->id) != 0) return;
    if (strcmp(what, "started") == 0) {
        *resume = (dp_replay_resume){.is_resumed = true};
        resume->has_stored = offset_of(line, "stored_offset", backend, &resume->stored);
    } else if (strcmp(what, "progress") == 0 && resume->is_resumed) {
        resume->has_position = offset_of(line, "position", backend, &resume->position);
        resume->counts = (dp_replay_counts){count_of(line, "transactions"), count_of(line, "events"),
                                            count_of(line, "accepted"), count_of(line, "duplicates"),
                                            count_of(line, "batches")};
    } else if (strcmp(what, "finished") == 0) {
        const char *outcome = json_string_value(json_object_get(line, "outcome"));
        if (outcome != NULL && strcmp(outcome, "done") == 0)
            *resume = (dp_replay_resume){.is_resumed = false};
    }
}

/* A line that a kill has cut is no JSON: it is passed over, and ended so that the next stands on its own. */
static dp_status read_lines(dp_replay_record *record, dp_replay_resume *resume, dp_error *error)
{
    FILE *file = fdopen(dup(record->descriptor), "r");
    if (file == NULL) return dp_error_no_memory(error, "the record of a replay");
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool is_cut = false;
    rewind(file);
    while ((length = getline(&text, &capacity, file)) > 0) {
        is_cut = text[length - 1] != '\n';
        json_t *line = json_loadb(text, (size_t)length, 0, NULL);
        if (line != NULL && !is_cut) take_line(record, line, resume);
        json_decref(line);
    }
    free(text);
    fclose(file);
    if (is_cut && write(record->descriptor, "\n", 1) != 1) {
        return dp_error_set(error, DP_STATUS_IO, "unable to write '%s': %s", record->path, strerror(errno));
    }
    return DP_STATUS_OK;
}

dp_status dp_replay_record_open(const char *path, const dp_replay_subject *subject, dp_replay_record **record,
                                dp_replay_resume *resume, dp_error *error)
{
    dp_replay_record *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "the record of a replay");
    self->path = path;
    self->subject = *subject;
    make_id(subject, self->id);
    *resume = (dp_replay_resume){.is_resumed = false};
    struct stat facts;
    self->descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dp_status status = DP_STATUS_OK;
    if (self->descriptor < 0) {
        status = dp_error_set(error, DP_STATUS_IO, "unable to open '%s': %s", path, strerror(errno));
    } else if (fstat(self->descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        status = dp_error_set(error, DP_STATUS_USAGE, "the record '%s' is no regular file", path);
    } else if (flock(self->descriptor, LOCK_EX | LOCK_NB) != 0) {
        status = dp_error_set(error, DP_STATUS_BUSY, "another replay uses the record '%s'", path);
    } else {
        status = read_lines(self, resume, error);
    }
    if (status != DP_STATUS_OK) {
        dp_replay_record_close(self);
        return status;
    }
    *record = self;
    return DP_STATUS_OK;
}

void dp_replay_record_close(dp_replay_record *record)
{
    if (record == NULL) return;
    if (record->descriptor >= 0) close(record->descriptor);
    free(record);
}

/* --- appending --- */

static void put_counts(dp_json_writer *json, const dp_replay_counts *counts)
{
    dp_json_member_u64(json, "transactions", counts->transactions);
    dp_json_member_u64(json, "events", counts->events);
    dp_json_member_u64(json, "accepted", counts->accepted);
    dp_json_member_u64(json, "duplicates", counts->duplicates);
    dp_json_member_u64(json, "batches", counts->batches);
}

static dp_json_writer begin(const dp_replay_record *record, dp_buffer *line, const char *what)
{
    char now[DP_CLOCK_TEXT_BYTES];
    dp_clock_format_utc(dp_clock_wall_us(), now);
    dp_json_writer json = dp_json_writer_compact(line);
    dp_json_begin_object(&json);
    dp_json_member_text(&json, "record", what);
    dp_json_member_text(&json, "replay_id", record->id);
    dp_json_member_text(&json, "at", now);
    return json;
}

static dp_status append(const dp_replay_record *record, dp_json_writer *json, dp_buffer *line,
                        dp_error *error)
{
    dp_json_end_object(json);
    dp_buffer_append_byte(line, '\n');
    dp_status status = DP_STATUS_OK;
    if (line->failed) {
        status = dp_error_no_memory(error, "the record of a replay");
    } else if (write(record->descriptor, line->data, line->length) != (ssize_t)line->length ||
               (fdatasync(record->descriptor) != 0 && errno != EINVAL && errno != EROFS)) {
        status = dp_error_set(error, DP_STATUS_IO, "unable to write '%s': %s", record->path, strerror(errno));
    }
    dp_buffer_release(line);
    return status;
}

dp_status dp_replay_record_start(dp_replay_record *record, const char *who, const char *why,
                                 const dp_offset *stored, bool is_resumed, dp_error *error)
{
    dp_buffer line = DP_BUFFER_INIT(MAX_LINE_BYTES);
    const dp_replay_subject *subject = &record->subject;
    dp_json_writer json = begin(record, &line, is_resumed ? "resumed" : "started");
    dp_json_member_text(&json, "who", who);
    dp_json_member_text(&json, "why", why);
    dp_json_member_text(&json, "pipeline", subject->pipeline);
    dp_json_member_text(&json, "source", subject->source);
    dp_json_member_text(&json, "origin", subject->origin);
    dp_json_member_text(&json, "endpoint", subject->endpoint);
    dp_json_member_text(&json, "replay_from", subject->from.token);
    dp_json_member_text(&json, "replay_to", subject->to.token);
    dp_json_member_text(&json, "stored_offset", stored == NULL ? NULL : stored->token);
    return append(record, &json, &line, error);
}

dp_status dp_replay_record_progress(dp_replay_record *record, const dp_offset *position,
                                    const dp_replay_counts *counts, dp_error *error)
{
    dp_buffer line = DP_BUFFER_INIT(MAX_LINE_BYTES);
    dp_json_writer json = begin(record, &line, "progress");
    dp_json_member_text(&json, "position", position->token);
    put_counts(&json, counts);
    return append(record, &json, &line, error);
}

dp_status dp_replay_record_finish(dp_replay_record *record, const char *outcome, const char *detail,
                                  const dp_replay_counts *counts, dp_error *error)
{
    dp_buffer line = DP_BUFFER_INIT(MAX_LINE_BYTES);
    dp_json_writer json = begin(record, &line, "finished");
    dp_json_member_text(&json, "outcome", outcome);
    dp_json_member_text(&json, "detail", detail);
    put_counts(&json, counts);
    return append(record, &json, &line, error);
}
