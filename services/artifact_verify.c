/* Compares an artifact with its manifest and says which line of which file is not what was written. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hex.h"
#include "services/artifact_internal.h"

enum {
    RESYNC_LINES = 100000, /* how far a line is looked for when it is not where it should be */
    LINE_ARENA_BYTES = 64 * 1024
};

#define INDEX_MAX_BYTES ((size_t)8 << 30)

const char *dp_artifact_finding_text(dp_artifact_finding_kind kind)
{
    switch (kind) {
#define FINDING_TEXT(name, text, description)                                                                \
    case DP_ARTIFACT_FINDING_##name: return text;
        DP_ARTIFACT_FINDING_LIST(FINDING_TEXT)
#undef FINDING_TEXT
    }
    return "";
}

void dp_artifact_verification_add(dp_artifact_verification *verification, dp_artifact_finding_kind kind,
                                  const char *file_name, uint64_t line_number, const char *format, ...)
{
    uint64_t at = verification->finding_count++;
    if (at >= sizeof verification->first / sizeof verification->first[0]) return;
    dp_artifact_finding *finding = &verification->first[at];
    *finding = (dp_artifact_finding){.kind = kind, .line_number = line_number};
    snprintf(finding->file_name, sizeof finding->file_name, "%s", file_name == NULL ? "" : file_name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->detail, sizeof finding->detail, format, arguments);
    va_end(arguments);
}

typedef struct verifier {
    const dp_artifact *artifact;
    const dp_artifact_manifest *manifest;
    dp_artifact_verification *result;
    artifact_follower follower;
    dp_sha256 *hash;
    dp_arena *arena;

    /* The file at hand. */
    const dp_artifact_file *file;
    const char *name;
    dp_buffer index;
    const uint8_t *tags;
    uint64_t tag_count;
    uint64_t next_tag;     /* the line that should come next, from 0 */
    uint8_t *is_found;     /* one a tag: the line was there */
    uint64_t changed_at;   /* the finding of the line before was "changed": its place in the index + 1 */
    bool has_tag_findings; /* what follows from them is not told again */
} verifier;

static uint64_t tag_at(const verifier *check, uint64_t line)
{
    const uint8_t *bytes = check->tags + line * ARTIFACT_TAG_BYTES;
    uint64_t tag = 0;
    for (int i = 0; i < ARTIFACT_TAG_BYTES; i++) {
        tag |= (uint64_t)bytes[i] << (8 * i);
    }
    return tag;
}

static unsigned long long number(uint64_t line)
{
    return (unsigned long long)line + 1;
}

/* --- where a line that is not the expected one belongs --- */

static bool find_ahead(const verifier *check, uint64_t tag, uint64_t *line)
{
    uint64_t end =
        check->tag_count - check->next_tag > RESYNC_LINES ? check->next_tag + RESYNC_LINES : check->tag_count;
    for (uint64_t i = check->next_tag; i < end; i++) {
        if (tag_at(check, i) != tag) continue;
        *line = i;
        return true;
    }
    return false;
}

static bool find_behind(const verifier *check, uint64_t tag, uint64_t *line)
{
    uint64_t start = check->next_tag > RESYNC_LINES ? check->next_tag - RESYNC_LINES : 0;
    for (uint64_t i = check->next_tag; i > start; i--) {
        if (tag_at(check, i - 1) != tag) continue;
        *line = i - 1;
        return true;
    }
    return false;
}

/* A line that was reported missing has turned up later. */
static void report_moved(verifier *check, uint64_t line_number, uint64_t line)
{
    check->is_found[line] = 1;
    dp_artifact_verification *result = check->result;
    uint64_t kept = sizeof result->first / sizeof result->first[0];
    for (uint64_t i = 0; i < result->finding_count && i < kept; i++) {
        dp_artifact_finding *finding = &result->first[i];
        if (finding->kind != DP_ARTIFACT_FINDING_LINE_MISSING ||
            strcmp(finding->file_name, check->name) != 0 || finding->line_number != line + 1)
            continue;
        finding->kind = DP_ARTIFACT_FINDING_LINE_MOVED;
        finding->line_number = line_number;
        snprintf(finding->detail, sizeof finding->detail, "the line was written as line %llu", number(line));
        return;
    }
    dp_artifact_verification_add(result, DP_ARTIFACT_FINDING_LINE_MOVED, check->name, line_number,
                                 "the line was written as line %llu", number(line));
}

static void skip_missing(verifier *check, uint64_t line_number, uint64_t until)
{
    for (uint64_t line = check->next_tag; line < until; line++) {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_LINE_MISSING, check->name, line + 1,
                                     "written line %llu is not there; line %llu is what came after it",
                                     number(line), (unsigned long long)line_number);
    }
}

static void check_tag(verifier *check, dp_slice text, uint64_t line_number)
{
    uint64_t tag = artifact_line_tag(text);
    uint64_t line;
    uint64_t changed_at = check->changed_at;
    check->changed_at = 0;
    if (check->next_tag < check->tag_count && tag_at(check, check->next_tag) == tag) {
        check->is_found[check->next_tag++] = 1;
        return;
    }
    check->has_tag_findings = true;
    if (changed_at > 0 && tag_at(check, changed_at - 1) == tag) {
        /* The line before did not replace this one but stands in front of it. */
        uint64_t at = check->result->finding_count - 1;
        if (at < sizeof check->result->first / sizeof check->result->first[0])
            check->result->first[at].kind = DP_ARTIFACT_FINDING_LINE_ADDED;
        check->is_found[changed_at - 1] = 1;
    } else if (find_ahead(check, tag, &line)) {
        skip_missing(check, line_number, line);
        check->is_found[line] = 1;
        check->next_tag = line + 1;
    } else if (find_behind(check, tag, &line)) {
        if (check->is_found[line]) {
            dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_LINE_REPEATED, check->name,
                                         line_number, "the line is written line %llu once more",
                                         number(line));
        } else {
            report_moved(check, line_number, line);
        }
    } else if (check->next_tag < check->tag_count) {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_LINE_CHANGED, check->name,
                                     line_number, "the line is not what was written as line %llu",
                                     number(check->next_tag));
        check->changed_at = ++check->next_tag;
    } else {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_LINE_ADDED, check->name, line_number,
                                     "%llu lines were written", (unsigned long long)check->tag_count);
    }
}

/* --- the index --- */

static bool digest_matches(verifier *check, dp_slice bytes, dp_slice expected_hex)
{
    uint8_t digest[DP_SHA256_BYTES];
    char hex[DP_SHA256_HEX_LENGTH];
    if (!dp_sha256_digest(check->hash, bytes, digest)) return false;
    dp_hex_encode(digest, sizeof digest, hex);
    return dp_slice_equal(dp_slice_make(hex, sizeof hex), expected_hex);
}

static void load_tags(verifier *check, dp_slice bytes)
{
    size_t header = 0;
    while (header < bytes.length && bytes.data[header] != '\n') {
        header++;
    }
    if (header < bytes.length) header++;
    check->tags = (const uint8_t *)bytes.data + header;
    check->tag_count = (bytes.length - header) / ARTIFACT_TAG_BYTES;
}

/* The index is used only when it is what was written; *is_ours false when it belongs to another pipeline. */
static dp_status read_index(verifier *check, bool *is_ours, dp_error *error)
{
    char path[ARTIFACT_PATH_BYTES];
    const char *index_name = check->file->index_name.data;
    dp_buffer header = DP_BUFFER_INIT(1u << 20);
    *is_ours = true;
    check->tag_count = 0;
    dp_buffer_clear(&check->index);
    if (!artifact_join(artifact_directory(check->artifact), index_name, path))
        return dp_error_set(error, DP_STATUS_USAGE, "the artifact's path is too long");
    dp_error ignored = DP_ERROR_INIT;
    if (artifact_is_special(path)) dp_error_set(&ignored, DP_STATUS_IO, "'%s' is no regular file", path);
    if (ignored.status != DP_STATUS_OK ||
        dp_file_read(path, INDEX_MAX_BYTES, &check->index, &ignored) != DP_STATUS_OK) {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_FILE_MISSING, index_name, 0, "%s",
                                     ignored.message);
        return DP_STATUS_OK;
    }
    dp_slice bytes = dp_buffer_slice(&check->index);
    artifact_put_index_header(&header, &check->manifest->stream);
    if (digest_matches(check, bytes, check->file->index_sha256)) {
        load_tags(check, bytes);
    } else if (!dp_slice_starts_with(bytes, dp_buffer_slice(&header)) &&
               dp_slice_starts_with(bytes, DP_SLICE_LITERAL("{\"schema\":\"" ARTIFACT_INDEX_SCHEMA "\""))) {
        dp_slice first_line, rest;
        *is_ours = false;
        dp_slice_split(bytes, '\n', &first_line, &rest);
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_OTHER_ARTIFACT, check->name, 0,
                                     "the manifest is of pipeline '%.*s', the file of %.*s",
                                     DP_SLICE_PRINT(check->manifest->stream.pipeline),
                                     DP_SLICE_PRINT(first_line));
    } else {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_INDEX_DAMAGED, index_name, 0,
                                     "its SHA-256 is not the manifest's");
    }
    dp_buffer_release(&header);
    return DP_STATUS_OK;
}

/* --- a file --- */

static void check_structure(verifier *check, dp_slice text, uint64_t line_number)
{
    dp_error fault = DP_ERROR_INIT;
    if (artifact_follow(&check->follower, text, line_number, check->arena, &fault) == DP_STATUS_OK) return;
    if (check->has_tag_findings) return;
    bool is_order = strcmp(fault.code, "order_broken") == 0;
    dp_artifact_verification_add(check->result,
                                 is_order ? DP_ARTIFACT_FINDING_ORDER : DP_ARTIFACT_FINDING_LINE_MALFORMED,
                                 check->name, line_number, "%s", fault.message);
}

static dp_status check_lines(verifier *check, artifact_lines *lines, dp_error *error)
{
    for (;;) {
        dp_slice text;
        dp_error fault = DP_ERROR_INIT;
        dp_status status = artifact_lines_next(lines, &text, &fault);
        if (status == DP_STATUS_DATA) {
            bool is_cut = strcmp(fault.code, "file_cut") == 0;
            dp_artifact_verification_add(
                check->result, is_cut ? DP_ARTIFACT_FINDING_FILE_CUT : DP_ARTIFACT_FINDING_FILE_DAMAGED,
                check->name, lines->line_number + 1, "%s", fault.message);
            check->has_tag_findings = true;
            return DP_STATUS_OK;
        }
        if (status != DP_STATUS_OK) return dp_error_set(error, status, "%s", fault.message);
        if (text.data == NULL) break;
        if (check->tag_count > 0) check_tag(check, text, lines->line_number);
        check_structure(check, text, lines->line_number);
    }
    if (check->tag_count > 0 && check->next_tag < check->tag_count) {
        check->has_tag_findings = true;
        skip_missing(check, lines->line_number + 1, check->tag_count);
    }
    return DP_STATUS_OK;
}

static void check_digest(verifier *check, const artifact_lines *lines)
{
    uint8_t digest[DP_SHA256_BYTES];
    char hex[DP_SHA256_HEX_LENGTH + 1] = "";
    if (dp_sha256_finish(check->hash, digest)) dp_hex_encode(digest, sizeof digest, hex);
    if (dp_slice_equal(dp_slice_of_text(hex), check->file->sha256) && lines->raw_bytes == check->file->bytes)
        return;
    if (check->has_tag_findings) return;
    dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_FILE_DAMAGED, check->name, 0,
                                 "its SHA-256 is %.16s..., the manifest says %.16s...", hex,
                                 check->file->sha256.data);
}

static dp_status verify_file(verifier *check, const dp_artifact_file *file, dp_error *error)
{
    bool is_ours;
    check->file = file;
    check->name = file->name.data;
    check->next_tag = check->changed_at = 0;
    check->has_tag_findings = false;
    dp_status status = read_index(check, &is_ours, error);
    if (status != DP_STATUS_OK || !is_ours) return status;
    check->is_found = calloc(check->tag_count + 1, 1);
    if (check->is_found == NULL) return dp_error_no_memory(error, "the index of an artifact");
    artifact_lines lines;
    dp_error missing = DP_ERROR_INIT;
    status = artifact_lines_open(artifact_directory(check->artifact), check->name, file->is_compressed,
                                 check->hash, &lines, &missing);
    if (status == DP_STATUS_NOT_FOUND) {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_FILE_MISSING, check->name, 0, "%s",
                                     missing.message);
        status = DP_STATUS_OK;
    } else if (status != DP_STATUS_OK) {
        *error = missing;
    } else {
        status = check_lines(check, &lines, error);
        if (status == DP_STATUS_OK) status = artifact_lines_drain(&lines, error);
        if (status == DP_STATUS_OK) check_digest(check, &lines);
        artifact_lines_close(&lines);
    }
    free(check->is_found);
    check->is_found = NULL;
    return status;
}

/* --- the whole --- */

static void check_count(verifier *check, const char *what, uint64_t found, uint64_t expected)
{
    if (found == expected) return;
    dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_COUNT, NULL, 0,
                                 "%llu %s, the manifest says %llu", (unsigned long long)found, what,
                                 (unsigned long long)expected);
}

static void check_totals(verifier *check)
{
    const dp_artifact_totals *expected = &check->manifest->totals;
    const dp_artifact_totals *found = &check->follower.totals;
    uint8_t digest[DP_SHA256_BYTES];
    char hex[DP_SHA256_HEX_LENGTH + 1] = "";
    if (check->follower.rows > 0) {
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_ORDER, NULL, 0,
                                     "the last transaction has no commit line");
    }
    check_count(check, "lines", found->line_count, expected->line_count);
    check_count(check, "transactions", found->transaction_count, expected->transaction_count);
    check_count(check, "events", found->event_count, expected->event_count);
    if (dp_sha256_finish(check->follower.ids, digest)) dp_hex_encode(digest, sizeof digest, hex);
    if (!dp_slice_equal(dp_slice_of_text(hex), check->manifest->event_ids_sha256))
        dp_artifact_verification_add(check->result, DP_ARTIFACT_FINDING_IDS, NULL, 0,
                                     "the ids or their order are not what was exported");
}

dp_status dp_artifact_verify(const dp_artifact *artifact, dp_artifact_verification *verification,
                             dp_error *error)
{
    memset(verification, 0, sizeof *verification);
    verifier check = {
        .artifact = artifact,
        .manifest = dp_artifact_manifest_of(artifact),
        .result = verification,
        .hash = dp_sha256_new(),
        .arena = dp_arena_new(LINE_ARENA_BYTES, DP_ARTIFACT_MAX_LINE_BYTES),
        .index = DP_BUFFER_INIT(INDEX_MAX_BYTES),
    };
    check.follower = (artifact_follower){
        .backend = check.manifest->stream.backend,
        .has_window_from = check.manifest->has_from,
        .window_from = check.manifest->from,
        .ids = dp_sha256_new(),
    };
    dp_status status = DP_STATUS_OK;
    if (check.hash == NULL || check.arena == NULL || check.follower.ids == NULL ||
        !dp_sha256_begin(check.follower.ids))
        status = dp_error_no_memory(error, "verifying an artifact");
    for (size_t i = 0; status == DP_STATUS_OK && i < check.manifest->file_count; i++) {
        status = verify_file(&check, &check.manifest->files[i], error);
    }
    if (status == DP_STATUS_OK) check_totals(&check);
    verification->totals = check.follower.totals;
    dp_sha256_free(check.hash);
    dp_sha256_free(check.follower.ids);
    dp_arena_free(check.arena);
    dp_buffer_release(&check.index);
    return status;
}
