/* Opens artifacts: the manifest, and the lines of its files one after the other. */
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hex.h"
#include "services/artifact_internal.h"

struct dp_artifact {
    char *directory;
    json_t *document;
    char *settings; /* as text */
    dp_artifact_manifest manifest;
    dp_artifact_file *files;
    size_t next_file;
    bool is_open;
    artifact_lines lines;
};

const char *artifact_directory(const dp_artifact *artifact)
{
    return artifact->directory;
}

const dp_artifact_manifest *dp_artifact_manifest_of(const dp_artifact *artifact)
{
    return &artifact->manifest;
}

/* --- the manifest --- */

static dp_status malformed(const char *member, const char *expected, dp_error *error)
{
    return dp_error_set_code(error, DP_STATUS_DATA, "manifest_malformed",
                             ARTIFACT_MANIFEST_NAME ": member '%s' must be %s", member, expected);
}

static dp_status read_text(const json_t *object, const char *member, dp_slice *text, dp_error *error)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value)) return malformed(member, "a string", error);
    *text = dp_slice_make(json_string_value(value), json_string_length(value));
    return DP_STATUS_OK;
}

static dp_status read_count(const json_t *object, const char *member, uint64_t *count, dp_error *error)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return malformed(member, "a count", error);
    *count = (uint64_t)json_integer_value(value);
    return DP_STATUS_OK;
}

static dp_status read_position(const json_t *object, const char *member, dp_backend backend, bool *has,
                               dp_position *position, dp_error *error)
{
    const json_t *value = json_object_get(object, member);
    *has = json_is_string(value);
    if (json_is_null(value)) return DP_STATUS_OK;
    dp_slice text =
        *has ? dp_slice_make(json_string_value(value), json_string_length(value)) : dp_slice_make("", 0);
    return dp_position_parse(backend, text, position) ? DP_STATUS_OK
                                                      : malformed(member, "a position or null", error);
}

static dp_status read_totals(const json_t *object, dp_backend backend, dp_artifact_totals *totals,
                             dp_error *error)
{
    bool has_last;
    dp_status status = read_count(object, "lines", &totals->line_count, error);
    if (status == DP_STATUS_OK)
        status = read_count(object, "transactions", &totals->transaction_count, error);
    if (status == DP_STATUS_OK) status = read_count(object, "events", &totals->event_count, error);
    if (status == DP_STATUS_OK)
        status =
            read_position(object, "first_position", backend, &totals->has_positions, &totals->first, error);
    if (status == DP_STATUS_OK)
        status = read_position(object, "last_position", backend, &has_last, &totals->last, error);
    return status;
}

/* A name that stays inside the artifact's directory. */
static dp_status read_name(const json_t *object, const char *member, dp_slice *name, dp_error *error)
{
    dp_status status = read_text(object, member, name, error);
    if (status != DP_STATUS_OK) return status;
    bool is_plain = name->length > 0 && name->length < 64 && name->data[0] != '.' &&
                    memchr(name->data, '/', name->length) == NULL &&
                    memchr(name->data, '\0', name->length) == NULL;
    return is_plain ? DP_STATUS_OK : malformed(member, "a plain file name", error);
}

static dp_status read_file(const json_t *object, dp_backend backend, dp_artifact_file *file, dp_error *error)
{
    dp_slice compression;
    dp_status status = read_name(object, "name", &file->name, error);
    if (status == DP_STATUS_OK) status = read_name(object, "index", &file->index_name, error);
    if (status == DP_STATUS_OK) status = read_text(object, "compression", &compression, error);
    if (status == DP_STATUS_OK) status = read_count(object, "bytes", &file->bytes, error);
    if (status == DP_STATUS_OK) status = read_count(object, "content_bytes", &file->content_bytes, error);
    if (status == DP_STATUS_OK) status = read_text(object, "sha256", &file->sha256, error);
    if (status == DP_STATUS_OK) status = read_text(object, "index_sha256", &file->index_sha256, error);
    if (status == DP_STATUS_OK) status = read_totals(object, backend, &file->totals, error);
    if (status != DP_STATUS_OK) return status;
    file->is_compressed = dp_slice_equal_text(compression, "zstd");
    return file->is_compressed || dp_slice_equal_text(compression, "none")
               ? DP_STATUS_OK
               : malformed("compression", "none or zstd", error);
}

static dp_status read_files(dp_artifact *artifact, dp_error *error)
{
    const json_t *list = json_object_get(artifact->document, "files");
    if (!json_is_array(list)) return malformed("files", "an array", error);
    size_t count = json_array_size(list);
    artifact->files = calloc(count + 1, sizeof *artifact->files);
    if (artifact->files == NULL) return dp_error_no_memory(error, "a manifest");
    for (size_t i = 0; i < count; i++) {
        dp_status status =
            read_file(json_array_get(list, i), artifact->manifest.stream.backend, &artifact->files[i], error);
        if (status != DP_STATUS_OK) return status;
    }
    artifact->manifest.files = artifact->files;
    artifact->manifest.file_count = count;
    return DP_STATUS_OK;
}

static dp_status read_stream(dp_artifact *artifact, dp_error *error)
{
    dp_artifact_stream *stream = &artifact->manifest.stream;
    dp_slice text;
    dp_status status = read_text(artifact->document, "pipeline", &stream->pipeline, error);
    if (status == DP_STATUS_OK) status = read_text(artifact->document, "source", &stream->source, error);
    if (status == DP_STATUS_OK) status = read_text(artifact->document, "backend", &text, error);
    if (status == DP_STATUS_OK && !dp_backend_parse(text, &stream->backend))
        status = malformed("backend", "a backend that this version knows", error);
    if (status == DP_STATUS_OK) status = read_text(artifact->document, "identity", &text, error);
    if (status == DP_STATUS_OK && !dp_identity_parse(text, &stream->identity))
        status = malformed("identity", "an identity that this version knows", error);
    if (status != DP_STATUS_OK) return status;
    const json_t *settings = json_object_get(artifact->document, "settings");
    if (!json_is_object(settings)) return DP_STATUS_OK;
    artifact->settings = json_dumps(settings, JSON_COMPACT);
    stream->settings = dp_slice_of_text(artifact->settings);
    return artifact->settings == NULL ? dp_error_no_memory(error, "a manifest") : DP_STATUS_OK;
}

static dp_status read_manifest(dp_artifact *artifact, dp_error *error)
{
    dp_artifact_manifest *manifest = &artifact->manifest;
    dp_slice schema;
    bool has_to = false;
    dp_status status = read_text(artifact->document, "schema", &schema, error);
    if (status == DP_STATUS_OK && !dp_slice_equal_text(schema, DP_ARTIFACT_SCHEMA))
        status = malformed("schema", DP_ARTIFACT_SCHEMA, error);
    if (status == DP_STATUS_OK) status = read_stream(artifact, error);
    if (status != DP_STATUS_OK) return status;
    dp_backend backend = manifest->stream.backend;
    const json_t *window = json_object_get(artifact->document, "window");
    status = read_position(window, "from", backend, &manifest->has_from, &manifest->from, error);
    if (status == DP_STATUS_OK) status = read_position(window, "to", backend, &has_to, &manifest->to, error);
    if (status == DP_STATUS_OK && !has_to) status = malformed("window.to", "a position", error);
    if (status == DP_STATUS_OK) status = read_totals(artifact->document, backend, &manifest->totals, error);
    if (status == DP_STATUS_OK)
        status = read_text(artifact->document, "event_ids_sha256", &manifest->event_ids_sha256, error);
    if (status == DP_STATUS_OK)
        status = read_text(artifact->document, "created_at", &manifest->created_at, error);
    return status == DP_STATUS_OK ? read_files(artifact, error) : status;
}

/* The digest that ends the manifest is over every byte before it. */
static dp_status check_seal(dp_slice text, dp_error *error)
{
    static const char marker[] = ",\n  \"manifest_sha256\": \"";
    size_t tail = sizeof marker - 1 + DP_SHA256_HEX_LENGTH + sizeof "\"\n}\n" - 1;
    uint8_t found[DP_SHA256_BYTES], given[DP_SHA256_BYTES];
    bool has_seal =
        text.length > tail && memcmp(text.data + text.length - tail, marker, sizeof marker - 1) == 0;
    dp_sha256 *hash = dp_sha256_new();
    if (hash == NULL) return dp_error_no_memory(error, "a digest");
    if (has_seal) {
        dp_slice content = dp_slice_make(text.data, text.length - tail);
        dp_slice hex = dp_slice_make(content.data + content.length + sizeof marker - 1, DP_SHA256_HEX_LENGTH);
        has_seal = dp_hex_decode(hex, given, NULL) && dp_sha256_digest(hash, content, found) &&
                   memcmp(found, given, sizeof found) == 0;
    }
    dp_sha256_free(hash);
    if (has_seal) return DP_STATUS_OK;
    return dp_error_set_code(error, DP_STATUS_DATA, "manifest_changed",
                             ARTIFACT_MANIFEST_NAME " is not what was written: its digest does not match");
}

static dp_status load_manifest(dp_artifact *artifact, dp_error *error)
{
    char path[ARTIFACT_PATH_BYTES];
    struct stat properties;
    if (!artifact_join(artifact->directory, ARTIFACT_MANIFEST_NAME, path))
        return dp_error_set(error, DP_STATUS_USAGE, "the artifact's path is too long");
    if (stat(path, &properties) != 0) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "artifact_missing",
                                 "'%s' holds no artifact: there is no " ARTIFACT_MANIFEST_NAME,
                                 artifact->directory);
    }
    if (!S_ISREG(properties.st_mode))
        return dp_error_set(error, DP_STATUS_USAGE, "'%s' is no regular file", path);
    dp_buffer text = DP_BUFFER_INIT(ARTIFACT_MANIFEST_MAX_BYTES);
    dp_status status = dp_file_read(path, ARTIFACT_MANIFEST_MAX_BYTES, &text, error);
    if (status == DP_STATUS_OK) status = check_seal(dp_buffer_slice(&text), error);
    if (status == DP_STATUS_OK) {
        json_error_t fault;
        artifact->document = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, &fault);
        if (artifact->document == NULL)
            status =
                dp_error_set_code(error, DP_STATUS_DATA, "manifest_malformed",
                                  ARTIFACT_MANIFEST_NAME " is not JSON: line %d: %s", fault.line, fault.text);
    }
    dp_buffer_release(&text);
    return status == DP_STATUS_OK ? read_manifest(artifact, error) : status;
}

dp_status dp_artifact_open(const char *path, dp_artifact **artifact, dp_error *error)
{
    dp_artifact *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "an artifact");
    self->lines.descriptor = -1;
    self->directory = strdup(artifact_path_of(path));
    dp_status status =
        self->directory == NULL ? dp_error_no_memory(error, "an artifact") : load_manifest(self, error);
    if (status != DP_STATUS_OK) {
        dp_artifact_close(self);
        return status;
    }
    *artifact = self;
    return DP_STATUS_OK;
}

void dp_artifact_close(dp_artifact *artifact)
{
    if (artifact == NULL) return;
    if (artifact->is_open) artifact_lines_close(&artifact->lines);
    json_decref(artifact->document);
    free(artifact->settings);
    free(artifact->files);
    free(artifact->directory);
    free(artifact);
}

/* --- lines --- */

dp_status dp_artifact_next(dp_artifact *artifact, dp_artifact_line *line, dp_error *error)
{
    for (;;) {
        if (!artifact->is_open) {
            if (artifact->next_file == artifact->manifest.file_count) {
                *line = (dp_artifact_line){.text = {NULL, 0}};
                return DP_STATUS_OK;
            }
            const dp_artifact_file *file = &artifact->files[artifact->next_file];
            dp_status status = artifact_lines_open(artifact->directory, file->name.data, file->is_compressed,
                                                   NULL, &artifact->lines, error);
            if (status != DP_STATUS_OK) return status == DP_STATUS_NOT_FOUND ? DP_STATUS_IO : status;
            artifact->is_open = true;
        }
        dp_slice text;
        dp_status status = artifact_lines_next(&artifact->lines, &text, error);
        if (status != DP_STATUS_OK) {
            dp_error_while(error, "reading %s", artifact->lines.name);
            return status;
        }
        if (text.data != NULL) {
            *line = (dp_artifact_line){text, artifact->lines.name, artifact->lines.line_number};
            return DP_STATUS_OK;
        }
        artifact_lines_close(&artifact->lines);
        artifact->is_open = false;
        artifact->next_file++;
    }
}
