/* Writes an artifact beside its place and renames it there when it is whole and durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/hex.h"
#include "base/json_writer.h"
#include "services/artifact_internal.h"

enum { PENDING_BYTES = 256 * 1024, LINE_ARENA_BYTES = 64 * 1024 };

/* A file that is being written, hashed as it goes. */
typedef struct hashed_file {
    int descriptor;
    dp_sha256 *hash;
    dp_buffer pending;
    uint64_t bytes;
} hashed_file;

struct dp_artifact_writer {
    char *path;
    char *partial;
    int directory;   /* locked while this export runs */
    dp_buffer texts; /* what the stream's slices point to */
    dp_artifact_stream stream;
    bool has_from;
    dp_position from;
    int zstd_level;
    uint64_t file_bytes;

    dp_zstd_writer *zstd;
    hashed_file events;
    hashed_file index;
    unsigned file_number; /* of the file that is open; 0: none has been */
    bool is_file_open;
    uint64_t content_bytes;
    dp_artifact_totals before; /* when the file that is open was begun */
    bool has_file_first;
    dp_position file_first;

    artifact_follower follower;
    dp_arena *arena;
    dp_buffer files; /* the manifest's list so far */
    bool finished;
};

static dp_status io_error(const dp_artifact_writer *writer, const char *doing, dp_error *error)
{
    dp_status status = errno == ENOSPC || errno == EDQUOT ? DP_STATUS_FULL : DP_STATUS_IO;
    return dp_error_set(error, status, "unable to %s in '%s': %s", doing, writer->partial, strerror(errno));
}

/* --- hashed files --- */

static dp_status write_out(dp_artifact_writer *writer, hashed_file *file, dp_error *error)
{
    dp_slice left = dp_buffer_slice(&file->pending);
    if (file->pending.failed) return dp_error_no_memory(error, "an artifact");
    dp_sha256_update(file->hash, left);
    file->bytes += left.length;
    while (left.length > 0) {
        ssize_t count = write(file->descriptor, left.data, left.length);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return io_error(writer, "write", error);
        left.data += count;
        left.length -= (size_t)count;
    }
    dp_buffer_clear(&file->pending);
    return DP_STATUS_OK;
}

static dp_status open_file(dp_artifact_writer *writer, hashed_file *file, const char *name, dp_error *error)
{
    file->descriptor =
        openat(writer->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->descriptor < 0) return io_error(writer, "create a file", error);
    file->bytes = 0;
    return dp_sha256_begin(file->hash) ? DP_STATUS_OK : dp_error_no_memory(error, "a digest");
}

static dp_status close_file(dp_artifact_writer *writer, hashed_file *file,
                            char sha256[DP_SHA256_HEX_LENGTH + 1], dp_error *error)
{
    dp_status status = write_out(writer, file, error);
    uint8_t digest[DP_SHA256_BYTES];
    if (status == DP_STATUS_OK && !dp_sha256_finish(file->hash, digest))
        status = dp_error_no_memory(error, "a digest");
    if (status == DP_STATUS_OK && fsync(file->descriptor) != 0)
        status = io_error(writer, "make a file durable", error);
    if (close(file->descriptor) != 0 && status == DP_STATUS_OK)
        status = io_error(writer, "close a file", error);
    file->descriptor = -1;
    if (status != DP_STATUS_OK) return status;
    dp_hex_encode(digest, sizeof digest, sha256);
    sha256[DP_SHA256_HEX_LENGTH] = '\0';
    return DP_STATUS_OK;
}

/* --- the current events file and its index --- */

static void name_files(const dp_artifact_writer *writer, char events[64], char index[64])
{
    snprintf(events, 64, "events-%05u.ndjson%s", writer->file_number, writer->zstd != NULL ? ".zst" : "");
    snprintf(index, 64, "events-%05u.index", writer->file_number);
}

static dp_status begin_files(dp_artifact_writer *writer, dp_error *error)
{
    char events[64], index[64];
    writer->file_number++;
    name_files(writer, events, index);
    dp_status status = open_file(writer, &writer->events, events, error);
    if (status == DP_STATUS_OK) status = open_file(writer, &writer->index, index, error);
    if (status != DP_STATUS_OK) return status;
    artifact_put_index_header(&writer->index.pending, &writer->stream);
    writer->is_file_open = true;
    writer->content_bytes = 0;
    writer->before = writer->follower.totals;
    writer->has_file_first = false;
    return DP_STATUS_OK;
}

static void put_position(dp_json_writer *json, const char *key, dp_backend backend,
                         const dp_position *position)
{
    char text[DP_POSITION_TEXT_BYTES];
    dp_json_key(json, key);
    if (position == NULL) {
        dp_json_null(json);
        return;
    }
    dp_position_format(backend, *position, text);
    dp_json_text(json, text);
}

static void list_files(dp_artifact_writer *writer, const char *events_sha256, const char *index_sha256)
{
    char events[64], index[64];
    const dp_artifact_totals *now = &writer->follower.totals;
    name_files(writer, events, index);
    if (writer->files.length > 0) dp_buffer_append_byte(&writer->files, ',');
    dp_json_writer json = dp_json_writer_compact(&writer->files);
    dp_json_begin_object(&json);
    dp_json_member_text(&json, "name", events);
    dp_json_member_text(&json, "compression", writer->zstd != NULL ? "zstd" : "none");
    dp_json_member_u64(&json, "bytes", writer->events.bytes);
    dp_json_member_u64(&json, "content_bytes", writer->content_bytes);
    dp_json_member_text(&json, "sha256", events_sha256);
    dp_json_member_text(&json, "index", index);
    dp_json_member_text(&json, "index_sha256", index_sha256);
    dp_json_member_u64(&json, "lines", now->line_count - writer->before.line_count);
    dp_json_member_u64(&json, "transactions", now->transaction_count - writer->before.transaction_count);
    dp_json_member_u64(&json, "events", now->event_count - writer->before.event_count);
    put_position(&json, "first_position", writer->stream.backend, &writer->file_first);
    put_position(&json, "last_position", writer->stream.backend, &now->last);
    dp_json_end_object(&json);
}

static dp_status end_files(dp_artifact_writer *writer, dp_error *error)
{
    char events_sha256[DP_SHA256_HEX_LENGTH + 1], index_sha256[DP_SHA256_HEX_LENGTH + 1];
    dp_status status = DP_STATUS_OK;
    writer->is_file_open = false;
    if (writer->zstd != NULL)
        status = dp_zstd_compress(writer->zstd, dp_slice_make("", 0), true, &writer->events.pending, error);
    if (status == DP_STATUS_OK) status = close_file(writer, &writer->events, events_sha256, error);
    if (status == DP_STATUS_OK) status = close_file(writer, &writer->index, index_sha256, error);
    if (status != DP_STATUS_OK) return status;
    list_files(writer, events_sha256, index_sha256);
    dp_crash_point(DP_CRASH_EXPORT_FILE_DONE);
    return DP_STATUS_OK;
}

static dp_status store_line(dp_artifact_writer *writer, dp_slice line, dp_error *error)
{
    uint64_t tag = artifact_line_tag(line);
    uint8_t bytes[ARTIFACT_TAG_BYTES];
    for (int i = 0; i < ARTIFACT_TAG_BYTES; i++) {
        bytes[i] = (uint8_t)(tag >> (8 * i));
    }
    dp_buffer_append(&writer->index.pending, bytes, sizeof bytes);
    writer->content_bytes += line.length + 1;
    dp_status status = DP_STATUS_OK;
    if (writer->zstd == NULL) {
        dp_buffer_append_slice(&writer->events.pending, line);
        dp_buffer_append_byte(&writer->events.pending, '\n');
    } else {
        status = dp_zstd_compress(writer->zstd, line, false, &writer->events.pending, error);
        if (status == DP_STATUS_OK)
            status =
                dp_zstd_compress(writer->zstd, DP_SLICE_LITERAL("\n"), false, &writer->events.pending, error);
    }
    if (status == DP_STATUS_OK && writer->events.pending.length >= PENDING_BYTES)
        status = write_out(writer, &writer->events, error);
    if (status == DP_STATUS_OK && writer->index.pending.length >= PENDING_BYTES)
        status = write_out(writer, &writer->index, error);
    return status;
}

dp_status dp_artifact_writer_put(dp_artifact_writer *writer, dp_slice line, dp_error *error)
{
    dp_status status = writer->is_file_open ? DP_STATUS_OK : begin_files(writer, error);
    uint64_t transactions = writer->follower.totals.transaction_count;
    if (status == DP_STATUS_OK)
        status = artifact_follow(&writer->follower, line, writer->follower.totals.line_count + 1,
                                 writer->arena, error);
    if (status == DP_STATUS_OK) status = store_line(writer, line, error);
    if (status != DP_STATUS_OK || writer->follower.totals.transaction_count == transactions) return status;
    dp_crash_point(DP_CRASH_EXPORT_TRANSACTION);
    if (!writer->has_file_first) {
        writer->has_file_first = true;
        writer->file_first = writer->follower.totals.last;
    }
    return writer->content_bytes >= writer->file_bytes ? end_files(writer, error) : DP_STATUS_OK;
}

/* --- the manifest --- */

static void put_window(dp_artifact_writer *writer, dp_json_writer *json, const dp_position *to)
{
    dp_json_key(json, "window");
    dp_json_begin_object(json);
    put_position(json, "from", writer->stream.backend, writer->has_from ? &writer->from : NULL);
    put_position(json, "to", writer->stream.backend, to);
    dp_json_end_object(json);
}

static void compose_manifest(dp_artifact_writer *writer, const dp_position *to, const char *ids_sha256,
                             dp_buffer *out)
{
    const dp_artifact_totals *totals = &writer->follower.totals;
    char now[DP_CLOCK_TEXT_BYTES];
    dp_clock_format_utc(dp_clock_wall_us(), now);
    dp_json_writer json = dp_json_writer_pretty(out);
    dp_json_begin_object(&json);
    dp_json_member_text(&json, "schema", DP_ARTIFACT_SCHEMA);
    dp_json_member_slice(&json, "pipeline", writer->stream.pipeline);
    dp_json_member_text(&json, "backend", dp_backend_text(writer->stream.backend).data);
    dp_json_member_slice(&json, "source", writer->stream.source);
    dp_json_member_text(&json, "identity", dp_identity_text(writer->stream.identity).data);
    dp_json_key(&json, "settings");
    if (writer->stream.settings.length > 0) {
        dp_json_raw(&json, writer->stream.settings);
    } else {
        dp_json_null(&json);
    }
    put_window(writer, &json, to);
    put_position(&json, "first_position", writer->stream.backend,
                 totals->has_positions ? &totals->first : NULL);
    put_position(&json, "last_position", writer->stream.backend,
                 totals->has_positions ? &totals->last : NULL);
    dp_json_member_u64(&json, "lines", totals->line_count);
    dp_json_member_u64(&json, "transactions", totals->transaction_count);
    dp_json_member_u64(&json, "events", totals->event_count);
    dp_json_member_text(&json, "event_ids_sha256", ids_sha256);
    dp_json_member_text(&json, "created_at", now);
    dp_json_key(&json, "files");
    dp_buffer list = DP_BUFFER_INIT(ARTIFACT_MANIFEST_MAX_BYTES);
    dp_buffer_append_byte(&list, '[');
    dp_buffer_append_slice(&list, dp_buffer_slice(&writer->files));
    dp_buffer_append_byte(&list, ']');
    dp_json_raw(&json, dp_buffer_slice(&list));
    dp_buffer_release(&list);
    dp_json_end_object(&json);
}

/* The last member is the digest of all bytes before it. */
static dp_status seal_manifest(dp_buffer *manifest, dp_sha256 *hash, dp_error *error)
{
    uint8_t digest[DP_SHA256_BYTES];
    char hex[DP_SHA256_HEX_LENGTH + 1] = "";
    while (manifest->length > 0 && manifest->data[manifest->length - 1] != '}') {
        manifest->length--;
    }
    if (manifest->failed || manifest->length < 2) return dp_error_no_memory(error, "a manifest");
    manifest->length--;
    while (manifest->data[manifest->length - 1] == '\n') {
        manifest->length--;
    }
    if (!dp_sha256_digest(hash, dp_buffer_slice(manifest), digest))
        return dp_error_no_memory(error, "a digest");
    dp_hex_encode(digest, sizeof digest, hex);
    dp_buffer_append_format(manifest, ",\n  \"manifest_sha256\": \"%s\"\n}\n", hex);
    return manifest->failed ? dp_error_no_memory(error, "a manifest") : DP_STATUS_OK;
}

static dp_status write_manifest(dp_artifact_writer *writer, dp_position to, dp_error *error)
{
    uint8_t digest[DP_SHA256_BYTES];
    char ids_sha256[DP_SHA256_HEX_LENGTH + 1] = "";
    char ignored[DP_SHA256_HEX_LENGTH + 1];
    if (!dp_sha256_finish(writer->follower.ids, digest)) return dp_error_no_memory(error, "a digest");
    dp_hex_encode(digest, sizeof digest, ids_sha256);
    compose_manifest(writer, &to, ids_sha256, &writer->events.pending);
    dp_status status = seal_manifest(&writer->events.pending, writer->events.hash, error);
    if (status == DP_STATUS_OK) status = open_file(writer, &writer->events, ARTIFACT_MANIFEST_NAME, error);
    return status == DP_STATUS_OK ? close_file(writer, &writer->events, ignored, error) : status;
}

/* --- the directory --- */

static dp_status sync_parent(const dp_artifact_writer *writer, dp_error *error)
{
    char *parent = strdup(writer->path);
    if (parent == NULL) return dp_error_no_memory(error, "a path");
    char *slash = strrchr(parent, '/');
    if (slash != NULL) slash[slash == parent ? 1 : 0] = '\0';
    int descriptor = open(slash == NULL ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    bool ok = descriptor >= 0 && (fsync(descriptor) == 0 || errno == EINVAL);
    dp_status status = ok ? DP_STATUS_OK : io_error(writer, "make the new name durable", error);
    if (descriptor >= 0) close(descriptor);
    return status;
}

dp_status dp_artifact_writer_finish(dp_artifact_writer *writer, dp_position to, dp_artifact_totals *totals,
                                    dp_error *error)
{
    if (writer->follower.rows > 0) {
        return dp_error_set(error, DP_STATUS_DATA, "the window ends inside a transaction, after %llu rows",
                            (unsigned long long)writer->follower.rows);
    }
    dp_status status = writer->is_file_open ? end_files(writer, error) : DP_STATUS_OK;
    if (status == DP_STATUS_OK) status = write_manifest(writer, to, error);
    if (status != DP_STATUS_OK) return status;
    dp_crash_point(DP_CRASH_EXPORT_MANIFEST_WRITTEN);
    if (fsync(writer->directory) != 0) return io_error(writer, "make the directory durable", error);
    if (rename(writer->partial, writer->path) != 0) return io_error(writer, "rename", error);
    writer->finished = true;
    dp_crash_point(DP_CRASH_EXPORT_RENAMED);
    status = sync_parent(writer, error);
    if (status == DP_STATUS_OK) *totals = writer->follower.totals;
    return status;
}

/* Removes what an export numbers: only names that one writes. */
static void remove_partial_files(const dp_artifact_writer *writer)
{
    char name[64];
    unlinkat(writer->directory, ARTIFACT_MANIFEST_NAME, 0);
    for (unsigned number = 1, missing = 0; missing < 2; number++) {
        bool found = false;
        const char *const suffixes[] = {"ndjson", "ndjson.zst", "index"};
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            snprintf(name, sizeof name, "events-%05u.%s", number, suffixes[i]);
            if (unlinkat(writer->directory, name, 0) == 0) found = true;
        }
        missing = found ? 0 : missing + 1;
    }
}

/* Between opening and locking it, another export may have renamed the folder: then it is a whole artifact. */
static bool is_still_partial(const dp_artifact_writer *writer)
{
    struct stat opened, named;
    return fstat(writer->directory, &opened) == 0 && lstat(writer->partial, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static dp_status open_directory(dp_artifact_writer *writer, dp_error *error)
{
    struct stat properties;
    if (lstat(writer->path, &properties) == 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "'%s' exists; expected a path for a new artifact",
                            writer->path);
    }
    if (mkdir(writer->partial, 0700) != 0 && errno != EEXIST) {
        return dp_error_set(error, DP_STATUS_IO, "unable to create '%s': %s", writer->partial,
                            strerror(errno));
    }
    writer->directory = open(writer->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (writer->directory < 0) return io_error(writer, "open the directory", error);
    if (flock(writer->directory, LOCK_EX | LOCK_NB) != 0) {
        close(writer->directory);
        writer->directory = -1;
        return dp_error_set(error, DP_STATUS_BUSY, "another export writes '%s'", writer->partial);
    }
    if (!is_still_partial(writer)) {
        close(writer->directory);
        writer->directory = -1;
        return dp_error_set(error, DP_STATUS_BUSY, "another export has just finished '%s'", writer->path);
    }
    remove_partial_files(writer);
    return DP_STATUS_OK;
}

static dp_slice keep(dp_artifact_writer *writer, dp_slice text)
{
    size_t at = writer->texts.length;
    dp_buffer_append_slice(&writer->texts, text);
    return dp_slice_make(writer->texts.data + at, text.length);
}

static dp_status keep_options(dp_artifact_writer *writer, const dp_artifact_write_options *options,
                              dp_error *error)
{
    const dp_artifact_stream *stream = &options->stream;
    const char *path = artifact_path_of(options->path);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length == 0) return dp_error_set(error, DP_STATUS_USAGE, "the artifact's path is empty");
    writer->path = strndup(path, length);
    if (writer->path == NULL || asprintf(&writer->partial, "%s.partial", writer->path) < 0) {
        writer->partial = NULL;
        return dp_error_no_memory(error, "a path");
    }
    /* One reservation, so that the slices never move. */
    if (!dp_buffer_reserve(&writer->texts,
                           stream->pipeline.length + stream->source.length + stream->settings.length + 1))
        return dp_error_no_memory(error, "an artifact");
    writer->stream = *stream;
    writer->stream.pipeline = keep(writer, stream->pipeline);
    writer->stream.source = keep(writer, stream->source);
    writer->stream.settings = keep(writer, stream->settings);
    writer->has_from = options->has_from;
    writer->from = options->from;
    writer->zstd_level = options->zstd_level;
    writer->file_bytes = options->file_bytes == 0 ? DP_ARTIFACT_DEFAULT_FILE_BYTES : options->file_bytes;
    return DP_STATUS_OK;
}

static bool allocate(dp_artifact_writer *writer)
{
    writer->events.hash = dp_sha256_new();
    writer->index.hash = dp_sha256_new();
    writer->arena = dp_arena_new(LINE_ARENA_BYTES, DP_ARTIFACT_MAX_LINE_BYTES);
    if (writer->zstd_level > 0) writer->zstd = dp_zstd_writer_new(writer->zstd_level);
    writer->follower = (artifact_follower){
        .backend = writer->stream.backend,
        .has_window_from = writer->has_from,
        .window_from = writer->from,
        .ids = dp_sha256_new(),
    };
    return writer->events.hash != NULL && writer->index.hash != NULL && writer->arena != NULL &&
           (writer->zstd_level == 0 || writer->zstd != NULL) && writer->follower.ids != NULL &&
           dp_sha256_begin(writer->follower.ids);
}

dp_status dp_artifact_writer_open(const dp_artifact_write_options *options, dp_artifact_writer **writer,
                                  dp_error *error)
{
    dp_artifact_writer *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "an artifact");
    self->directory = self->events.descriptor = self->index.descriptor = -1;
    self->events.pending.max_bytes = self->index.pending.max_bytes = DP_ARTIFACT_MAX_LINE_BYTES * 2;
    self->files.max_bytes = ARTIFACT_MANIFEST_MAX_BYTES;
    self->texts.max_bytes = ARTIFACT_MANIFEST_MAX_BYTES;
    dp_status status = keep_options(self, options, error);
    if (status == DP_STATUS_OK && !allocate(self)) status = dp_error_no_memory(error, "an artifact");
    if (status == DP_STATUS_OK) status = open_directory(self, error);
    if (status != DP_STATUS_OK) {
        dp_artifact_writer_free(self);
        return status;
    }
    *writer = self;
    return DP_STATUS_OK;
}

static void release_file(hashed_file *file)
{
    if (file->descriptor >= 0) close(file->descriptor);
    dp_sha256_free(file->hash);
    dp_buffer_release(&file->pending);
}

void dp_artifact_writer_free(dp_artifact_writer *writer)
{
    if (writer == NULL) return;
    if (writer->directory >= 0 && !writer->finished) {
        remove_partial_files(writer);
        rmdir(writer->partial);
    }
    if (writer->directory >= 0) close(writer->directory);
    release_file(&writer->events);
    release_file(&writer->index);
    dp_sha256_free(writer->follower.ids);
    dp_zstd_writer_free(writer->zstd);
    dp_arena_free(writer->arena);
    dp_buffer_release(&writer->files);
    dp_buffer_release(&writer->texts);
    free(writer->partial);
    free(writer->path);
    free(writer);
}
