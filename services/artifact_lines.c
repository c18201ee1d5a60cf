/* Lines of artifacts: tags, the order they must have, and reading them from a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_writer.h"
#include "base/siphash.h"
#include "services/artifact_internal.h"

enum { PIECE_BYTES = 256 * 1024 };

const char *artifact_path_of(const char *path_or_uri)
{
    if (strncmp(path_or_uri, "file://", 7) == 0) return path_or_uri + 7;
    return strncmp(path_or_uri, "file:", 5) == 0 ? path_or_uri + 5 : path_or_uri;
}

bool artifact_join(const char *directory, const char *name, char out[ARTIFACT_PATH_BYTES])
{
    int length = snprintf(out, ARTIFACT_PATH_BYTES, "%s/%s", directory, name);
    return length > 0 && length < ARTIFACT_PATH_BYTES;
}

bool artifact_is_special(const char *path)
{
    struct stat properties;
    return stat(path, &properties) == 0 && !S_ISREG(properties.st_mode);
}

uint64_t artifact_line_tag(dp_slice line)
{
    static const uint8_t key[DP_SIPHASH_KEY_BYTES] = "dpone artifact 1";
    return dp_siphash(key, line);
}

void artifact_put_index_header(dp_buffer *out, const dp_artifact_stream *stream)
{
    dp_json_writer json = dp_json_writer_compact(out);
    dp_json_begin_object(&json);
    dp_json_key(&json, "schema");
    dp_json_text(&json, ARTIFACT_INDEX_SCHEMA);
    dp_json_key(&json, "pipeline");
    dp_json_string(&json, stream->pipeline);
    dp_json_key(&json, "source");
    dp_json_string(&json, stream->source);
    dp_json_key(&json, "backend");
    dp_json_string(&json, dp_backend_text(stream->backend));
    dp_json_key(&json, "identity");
    dp_json_string(&json, dp_identity_text(stream->identity));
    dp_json_end_object(&json);
    dp_buffer_append_byte(out, '\n');
}

/* --- order --- */

static dp_status broken(dp_error *error, const char *what, uint64_t found, uint64_t expected)
{
    return dp_error_set_code(error, DP_STATUS_DATA, "order_broken", "%s %llu, expected %llu", what,
                             (unsigned long long)found, (unsigned long long)expected);
}

static dp_status follow_event(artifact_follower *follower, const dp_event *event, dp_error *error)
{
    uint64_t expected = follower->rows++;
    follower->totals.event_count++;
    if (!event->has_id) {
        return dp_error_set_code(error, DP_STATUS_DATA, "line_malformed", "the event has no id");
    }
    if (follower->ids != NULL) {
        dp_sha256_update(follower->ids, dp_slice_make((const char *)event->id.bytes, DP_SHA256_BYTES));
    }
    if (event->ordinal == expected) return DP_STATUS_OK;
    follower->rows = event->ordinal + 1;
    return broken(error, "the row's ordinal is", event->ordinal, expected);
}

static dp_status follow_commit(artifact_follower *follower, const dp_commit_line *commit, dp_error *error)
{
    dp_artifact_totals *totals = &follower->totals;
    uint64_t rows = follower->rows;
    dp_position end;
    follower->rows = 0;
    totals->transaction_count++;
    if (commit->end_position.data == NULL ||
        !dp_position_parse(follower->backend, commit->end_position, &end)) {
        return dp_error_set_code(error, DP_STATUS_DATA, "line_malformed", "the commit has no end position");
    }
    bool is_after = totals->has_positions       ? dp_position_compare(end, totals->last) > 0
                    : follower->has_window_from ? dp_position_compare(end, follower->window_from) > 0
                                                : true;
    if (!totals->has_positions) totals->first = end;
    totals->has_positions = true;
    totals->last = end;
    if (!is_after) {
        return dp_error_set_code(error, DP_STATUS_DATA, "order_broken",
                                 "the transaction ends at %.*s, not after what is before it",
                                 DP_SLICE_PRINT(commit->end_position));
    }
    return commit->count == rows ? DP_STATUS_OK
                                 : broken(error, "the transaction has so many rows:", rows, commit->count);
}

dp_status artifact_follow(artifact_follower *follower, dp_slice line, uint64_t line_number, dp_arena *arena,
                          dp_error *error)
{
    dp_wire_line parsed;
    follower->totals.line_count++;
    dp_arena_reset(arena);
    dp_status status = dp_wire_line_scan(line, line_number, arena, &parsed, error);
    if (status != DP_STATUS_OK) return status;
    switch (parsed.kind) {
    case DP_LINE_EVENT: return follow_event(follower, &parsed.event, error);
    case DP_LINE_COMMIT: return follow_commit(follower, &parsed.commit, error);
    case DP_LINE_HEADER:
    case DP_LINE_TRAILER: break;
    }
    return dp_error_set_code(error, DP_STATUS_DATA, "line_malformed", "line %llu is no event and no commit",
                             (unsigned long long)line_number);
}

/* --- reading --- */

dp_status artifact_lines_open(const char *directory, const char *name, bool is_compressed, dp_sha256 *hash,
                              artifact_lines *lines, dp_error *error)
{
    char path[ARTIFACT_PATH_BYTES];
    if (!artifact_join(directory, name, path)) {
        return dp_error_set(error, DP_STATUS_USAGE, "the artifact's path is too long");
    }
    if (artifact_is_special(path)) {
        return dp_error_set(error, DP_STATUS_NOT_FOUND, "'%s' is no regular file", path);
    }
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return dp_error_set(error, errno == ENOENT ? DP_STATUS_NOT_FOUND : DP_STATUS_IO,
                            "unable to open '%s': %s", path, strerror(errno));
    }
    *lines = (artifact_lines){
        .descriptor = descriptor,
        .name = name,
        .hash = hash,
        .zstd = is_compressed ? dp_zstd_reader_new() : NULL,
        .raw = malloc(PIECE_BYTES),
        .text = DP_BUFFER_INIT(DP_ARTIFACT_MAX_LINE_BYTES),
        .is_frame_ended = true,
    };
    if (lines->raw == NULL || (is_compressed && lines->zstd == NULL) ||
        (hash != NULL && !dp_sha256_begin(hash))) {
        artifact_lines_close(lines);
        return dp_error_no_memory(error, name);
    }
    return DP_STATUS_OK;
}

void artifact_lines_close(artifact_lines *lines)
{
    if (lines->raw == NULL && lines->descriptor <= 0) return;
    dp_zstd_reader_free(lines->zstd);
    free(lines->raw);
    dp_buffer_release(&lines->text);
    close(lines->descriptor);
    *lines = (artifact_lines){.descriptor = -1};
}

static dp_status read_raw(artifact_lines *lines, dp_error *error)
{
    ssize_t got;
    do {
        got = read(lines->descriptor, lines->raw, PIECE_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return dp_error_set(error, DP_STATUS_IO, "unable to read '%s': %s", lines->name, strerror(errno));
    }
    lines->raw_left = dp_slice_make(lines->raw, (size_t)got);
    lines->raw_bytes += (uint64_t)got;
    lines->is_raw_ended = got == 0;
    if (lines->hash != NULL) dp_sha256_update(lines->hash, lines->raw_left);
    return DP_STATUS_OK;
}

/* Adds to the text; *more false at the end of the file. */
static dp_status read_text(artifact_lines *lines, bool *more, dp_error *error)
{
    dp_buffer_consume(&lines->text, lines->text_at);
    lines->text_at = 0;
    size_t length = 0;
    dp_status status = DP_STATUS_OK;
    if (!dp_buffer_reserve(&lines->text, PIECE_BYTES)) {
        return dp_error_set_code(error, DP_STATUS_DATA, "file_damaged", "line %llu is longer than %zu bytes",
                                 (unsigned long long)lines->line_number + 1, DP_ARTIFACT_MAX_LINE_BYTES);
    }
    char *out = lines->text.data + lines->text.length;
    while (status == DP_STATUS_OK && length == 0) {
        if (lines->zstd != NULL) {
            status = dp_zstd_decompress(lines->zstd, &lines->raw_left, out, PIECE_BYTES, &length,
                                        &lines->is_frame_ended, error);
            if (status != DP_STATUS_OK || length > 0) break;
        } else if (lines->raw_left.length > 0) {
            length = lines->raw_left.length;
            memcpy(out, lines->raw_left.data, length);
            lines->raw_left.length = 0;
            break;
        }
        if (lines->is_raw_ended) break;
        if (lines->raw_left.length == 0) status = read_raw(lines, error);
    }
    lines->text.length += length;
    lines->content_bytes += length;
    *more = length > 0;
    return status;
}

dp_status artifact_lines_next(artifact_lines *lines, dp_slice *line, dp_error *error)
{
    size_t searched = 0;
    for (;;) {
        size_t left = lines->text.length - lines->text_at;
        const char *start = lines->text.data == NULL ? NULL : lines->text.data + lines->text_at;
        const char *newline = left == searched ? NULL : memchr(start + searched, '\n', left - searched);
        if (newline != NULL) {
            *line = dp_slice_make(start, (size_t)(newline - start));
            lines->text_at += line->length + 1;
            lines->line_number++;
            return DP_STATUS_OK;
        }
        searched = left;
        bool more = false;
        dp_status status = read_text(lines, &more, error);
        if (status != DP_STATUS_OK) return status;
        if (more) continue;
        if (left == 0 && lines->is_frame_ended) {
            *line = dp_slice_make(NULL, 0);
            return DP_STATUS_OK;
        }
        return dp_error_set_code(error, DP_STATUS_DATA, "file_cut", "the file ends inside line %llu",
                                 (unsigned long long)lines->line_number + 1);
    }
}

dp_status artifact_lines_drain(artifact_lines *lines, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && !lines->is_raw_ended) {
        status = read_raw(lines, error);
    }
    return status;
}
