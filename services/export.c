#include "services/export.h"

#include "base/arena.h"
#include "base/hex.h"
#include "cdc/event_compare.h"
#include "replay/replay_planner.h"

enum { PROGRESS_LINES = 20000, COMPARE_ARENA_BYTES = 64 * 1024 };

#define COMPARE_ARENA_MAX_BYTES ((size_t)4 << 30)

/* --- the window --- */

static dp_status blocked(dp_replay_blocker blocker, const dp_offset *given, const char *than,
                         const dp_offset *bound, dp_error *error)
{
    const char *code = dp_replay_blocker_text(blocker);
    return dp_error_set_code(error, DP_STATUS_BLOCKED, code, "%s: %s is %s %s", code, given->token, than,
                             bound->token);
}

static dp_status check_window(const dp_stream_facts *stream, const dp_offset *from, const dp_offset *to,
                              dp_error *error)
{
    if (from != NULL && dp_offset_compare(from, to) > 0) {
        return blocked(DP_REPLAY_BLOCKER_INVALID_WINDOW, from, "after the window's end", to, error);
    }
    if (from != NULL && stream->has_pruned && dp_offset_compare(from, &stream->pruned) < 0) {
        return blocked(DP_REPLAY_BLOCKER_START_BEFORE_RETENTION, from, "before the journal's retention",
                       &stream->pruned, error);
    }
    if (dp_offset_compare(to, &stream->high) > 0) {
        return blocked(DP_REPLAY_BLOCKER_TO_AFTER_HIGH_WATERMARK, to, "after the journal's high watermark",
                       &stream->high, error);
    }
    return DP_STATUS_OK;
}

/* --- export --- */

typedef struct exporter {
    dp_artifact_writer *writer;
    const dp_export_options *options;
    uint64_t line_count;
} exporter;

static dp_status take_line(void *context, dp_slice line, dp_error *error)
{
    exporter *self = context;
    if (++self->line_count % PROGRESS_LINES == 0 && self->options->progress != NULL)
        self->options->progress(self->options->progress_context, self->line_count);
    return dp_artifact_writer_put(self->writer, line, error);
}

dp_status dp_export(dp_journal_link *link, const dp_stream_facts *stream, const dp_export_options *options,
                    dp_export_summary *summary, dp_error *error)
{
    if (!stream->has_high) {
        return dp_error_set_code(error, DP_STATUS_NOT_FOUND, "journal_empty",
                                 "the journal holds nothing of pipeline '%.*s' yet",
                                 DP_SLICE_PRINT(stream->pipeline));
    }
    dp_export_summary result = {.to = options->to == NULL ? stream->high : *options->to};
    const dp_offset *from = options->from != NULL ? options->from
                            : stream->has_pruned  ? &stream->pruned
                                                  : NULL;
    result.has_from = from != NULL;
    if (from != NULL) result.from = *from;
    dp_status status = check_window(stream, from, &result.to, error);
    if (status != DP_STATUS_OK) return status;
    dp_artifact_write_options write = {
        .path = options->path,
        .stream = {stream->pipeline, stream->source, stream->backend, stream->identity, stream->settings},
        .has_from = result.has_from,
        .from = result.from.position,
        .zstd_level = options->zstd_level,
        .file_bytes = options->file_bytes,
    };
    exporter self = {.options = options};
    status = dp_artifact_writer_open(&write, &self.writer, error);
    if (status != DP_STATUS_OK) return status;
    dp_line_visitor visitor = {&self, take_line};
    dp_journal_window window = {.from = from, .to = &result.to};
    status = dp_journal_link_events(link, stream, &window, &visitor, error);
    if (status == DP_STATUS_OK)
        status = dp_artifact_writer_finish(self.writer, result.to.position, &result.totals, error);
    dp_artifact_writer_free(self.writer);
    if (status == DP_STATUS_OK) *summary = result;
    return status;
}

/* --- comparison --- */

typedef struct comparison {
    dp_artifact *artifact;
    dp_artifact_verification *verification;
    dp_arena *arena;
    uint64_t journal_lines;
} comparison;

static dp_status add(comparison *self, const dp_artifact_line *line, const char *what)
{
    dp_artifact_verification_add(self->verification, DP_ARTIFACT_FINDING_JOURNAL, line->file_name,
                                 line->line_number, "%s", what);
    return DP_STATUS_CANCELLED; /* what follows a difference says nothing new */
}

static bool same_commit(const dp_commit_line *left, const dp_commit_line *right)
{
    return dp_slice_equal(left->end_position, right->end_position) && left->count == right->count &&
           dp_slice_equal(left->transaction_id, right->transaction_id);
}

static dp_status compare_lines(comparison *self, const dp_artifact_line *line, dp_slice journal_line,
                               dp_error *error)
{
    dp_wire_line ours, theirs;
    dp_arena_reset(self->arena);
    if (dp_wire_line_scan(line->text, line->line_number, self->arena, &ours, error) != DP_STATUS_OK ||
        dp_wire_line_scan(journal_line, line->line_number, self->arena, &theirs, error) != DP_STATUS_OK) {
        dp_error_clear(error);
        return add(self, line, "the line cannot be read");
    }
    if (ours.kind != theirs.kind) return add(self, line, "the journal's transaction is longer or shorter");
    if (ours.kind == DP_LINE_COMMIT) {
        return same_commit(&ours.commit, &theirs.commit) ? DP_STATUS_OK
                                                         : add(self, line, "the journal's commit is another");
    }
    char text[128] = "the journal has event ";
    size_t at = strlen(text);
    dp_hex_encode(theirs.event.id.bytes, 8, text + at);
    memcpy(text + at + 16, "... here", 9);
    if (memcmp(&ours.event.id, &theirs.event.id, sizeof ours.event.id) != 0) return add(self, line, text);
    bool equal = false;
    dp_status status = dp_event_equal_content(&ours.event, &theirs.event, self->arena, &equal, error);
    if (status != DP_STATUS_OK) return status;
    return equal ? DP_STATUS_OK : add(self, line, "the journal has other content under the same event id");
}

static dp_status compare_line(void *context, dp_slice journal_line, dp_error *error)
{
    comparison *self = context;
    dp_artifact_line line;
    self->journal_lines++;
    dp_status status = dp_artifact_next(self->artifact, &line, error);
    if (status != DP_STATUS_OK) return status;
    if (line.text.data == NULL) return add(self, &line, "the journal goes on after the artifact's last line");
    if (dp_slice_equal(line.text, journal_line)) return DP_STATUS_OK;
    return compare_lines(self, &line, journal_line, error);
}

static dp_status compare_all(comparison *self, dp_journal_link *link, const dp_stream_facts *stream,
                             const dp_artifact_manifest *manifest, dp_error *error)
{
    dp_offset from = dp_offset_of_position(stream->backend, manifest->from);
    dp_offset to = dp_offset_of_position(stream->backend, manifest->to);
    dp_offset begin = {.backend = stream->backend};
    if (!manifest->has_from && stream->has_pruned)
        return blocked(DP_REPLAY_BLOCKER_START_BEFORE_RETENTION, &begin, "before the journal's retention",
                       &stream->pruned, error);
    dp_status status = check_window(stream, manifest->has_from ? &from : NULL, &to, error);
    if (status != DP_STATUS_OK) return status;
    uint64_t findings = self->verification->finding_count;
    dp_line_visitor visitor = {self, compare_line};
    dp_journal_window window = {.from = manifest->has_from ? &from : NULL, .to = &to};
    status = dp_journal_link_events(link, stream, &window, &visitor, error);
    if (status != DP_STATUS_OK || self->verification->finding_count > findings) return status;
    dp_artifact_line line;
    status = dp_artifact_next(self->artifact, &line, error);
    if (status == DP_STATUS_OK && line.text.data != NULL)
        add(self, &line, "the journal ends before this line");
    return status;
}

dp_status dp_export_compare(dp_journal_link *link, const dp_stream_facts *stream, const char *path,
                            dp_artifact_verification *verification, dp_error *error)
{
    comparison self = {.verification = verification};
    dp_status status = dp_artifact_open(path, &self.artifact, error);
    if (status != DP_STATUS_OK) return status;
    const dp_artifact_manifest *manifest = dp_artifact_manifest_of(self.artifact);
    self.arena = dp_arena_new(COMPARE_ARENA_BYTES, COMPARE_ARENA_MAX_BYTES);
    if (self.arena == NULL) {
        status = dp_error_no_memory(error, "a comparison");
    } else if (manifest->stream.backend != stream->backend || manifest->stream.identity != stream->identity ||
               !dp_slice_equal(manifest->stream.source, stream->source)) {
        dp_artifact_verification_add(verification, DP_ARTIFACT_FINDING_JOURNAL, NULL, 0,
                                     "the journal's stream has another source, backend or identity");
    } else {
        status = compare_all(&self, link, stream, manifest, error);
    }
    dp_arena_free(self.arena);
    dp_artifact_close(self.artifact);
    return status;
}
