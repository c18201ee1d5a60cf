#include "services/source_compare.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hex.h"
#include "cdc/event_compare.h"
#include "cdc/event_writer.h"
#include "cdc/poison.h"

enum { POLL_MS = 200, LINE_ARENA_BYTES = 65536, ID_TEXT_DIGITS = 16 };

#define MAX_TRANSACTION_BYTES ((size_t)4 << 30)

/* A transaction of either side: its lines, each with its newline, and where it ends. */
typedef struct transaction {
    dp_buffer lines;
    uint64_t event_count;
    dp_position end;
    /* In the artifact. */
    bool is_there;
    char file_name[64];
    uint64_t first_line;
} transaction;

typedef struct comparison {
    const dp_source_compare_options *options;
    const dp_artifact_manifest *manifest;
    dp_artifact *artifact;
    dp_artifact_verification *verification;
    dp_source_compare_summary *summary;
    dp_decoder *decoder;
    dp_event_writer *writer;
    dp_arena *arena;
    transaction ours;   /* the artifact's next */
    transaction theirs; /* the source's present one */
    uint64_t poison_count;
    bool is_past_end;
    bool has_end;
    dp_lsn last_end;
} comparison;

/* --- the artifact's side --- */

static dp_status take_line(comparison *self, const dp_artifact_line *line, bool *is_complete, dp_error *error)
{
    dp_wire_line parsed;
    transaction *ours = &self->ours;
    if (ours->lines.length == 0) {
        snprintf(ours->file_name, sizeof ours->file_name, "%s", line->file_name);
        ours->first_line = line->line_number;
    }
    dp_buffer_append_slice(&ours->lines, line->text);
    dp_buffer_append_byte(&ours->lines, '\n');
    if (ours->lines.failed) return dp_error_set(error, DP_STATUS_LIMIT, "a transaction is too large");
    *is_complete = dp_slice_starts_with(line->text, DP_SLICE_LITERAL("{\"type\":\"commit\""));
    if (!*is_complete) {
        ours->event_count++;
        return DP_STATUS_OK;
    }
    dp_arena_reset(self->arena);
    dp_status status = dp_wire_line_scan(line->text, line->line_number, self->arena, &parsed, error);
    if (status != DP_STATUS_OK) return status;
    if (parsed.kind == DP_LINE_COMMIT &&
        dp_position_parse(self->manifest->stream.backend, parsed.commit.end_position, &ours->end))
        return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA, "%s line %llu: a commit line without a position",
                        line->file_name, (unsigned long long)line->line_number);
}

static dp_status read_next(comparison *self, dp_error *error)
{
    dp_artifact_line line;
    bool is_complete = false;
    dp_buffer_clear(&self->ours.lines);
    self->ours.event_count = 0;
    self->ours.is_there = false;
    while (!is_complete) {
        dp_status status = dp_artifact_next(self->artifact, &line, error);
        if (status != DP_STATUS_OK || line.text.data == NULL) return status;
        status = take_line(self, &line, &is_complete, error);
        if (status != DP_STATUS_OK) return status;
    }
    self->ours.is_there = true;
    return DP_STATUS_OK;
}

/* --- one transaction on both sides --- */

typedef struct event_place {
    dp_event event;
    uint64_t index;
    dp_slice line;
} event_place;

static int compare_places(const void *left, const void *right)
{
    const event_place *l = left;
    const event_place *r = right;
    int order = memcmp(&l->event.id, &r->event.id, sizeof l->event.id);
    return order != 0 ? order : (l->index > r->index) - (l->index < r->index);
}

static dp_status read_places(comparison *self, const transaction *from, event_place **places, dp_error *error)
{
    dp_slice line, rest = dp_buffer_slice(&from->lines);
    event_place *result = dp_arena_alloc_zeroed(self->arena, from->event_count + 1, sizeof *result);
    if (result == NULL) return dp_error_no_memory(error, "a comparison");
    for (uint64_t i = 0; i < from->event_count; i++) {
        dp_wire_line parsed;
        dp_slice_split(rest, '\n', &line, &rest);
        dp_status status = dp_wire_line_scan(line, from->first_line + i, self->arena, &parsed, error);
        if (status != DP_STATUS_OK) return status;
        if (parsed.kind != DP_LINE_EVENT) return dp_error_set(error, DP_STATUS_DATA, "no event line");
        result[i] = (event_place){.event = parsed.event, .index = i, .line = line};
    }
    qsort(result, from->event_count, sizeof *result, compare_places);
    *places = result;
    return DP_STATUS_OK;
}

static void add(comparison *self, dp_artifact_finding_kind kind, const event_place *place, bool is_ours)
{
    char id[ID_TEXT_DIGITS + 1] = "";
    char end[DP_POSITION_TEXT_BYTES];
    uint64_t line = is_ours ? self->ours.first_line + place->index : 0;
    const transaction *in = is_ours ? &self->ours : &self->theirs;
    dp_hex_encode(place->event.id.bytes, ID_TEXT_DIGITS / 2, id);
    dp_position_format(self->manifest->stream.backend, in->end, end);
    dp_slice operation = dp_operation_text(place->event.operation);
    dp_artifact_verification_add(self->verification, kind, is_ours ? self->ours.file_name : NULL, line,
                                 "event %s..., %.*s of %.*s.%.*s in the transaction that ends at %s", id,
                                 DP_SLICE_PRINT(operation), DP_SLICE_PRINT(place->event.source_schema),
                                 DP_SLICE_PRINT(place->event.source_table), end);
}

static dp_status compare_content(comparison *self, const event_place *ours, event_place *theirs,
                                 dp_error *error)
{
    bool is_equal = false;
    theirs->event.ordinal = ours->event.ordinal; /* another event more or less is told by itself */
    dp_status status = dp_event_equal_content(&ours->event, &theirs->event, self->arena, &is_equal, error);
    if (status == DP_STATUS_OK && !is_equal) add(self, DP_ARTIFACT_FINDING_SOURCE_DIFFERS, ours, true);
    return status;
}

static dp_status compare_events(comparison *self, dp_error *error)
{
    event_place *ours, *theirs;
    uint64_t before = self->verification->finding_count;
    uint64_t i = 0, k = 0, moved = UINT64_MAX;
    dp_arena_reset(self->arena);
    dp_status status = read_places(self, &self->ours, &ours, error);
    if (status == DP_STATUS_OK) status = read_places(self, &self->theirs, &theirs, error);
    while (status == DP_STATUS_OK && (i < self->ours.event_count || k < self->theirs.event_count)) {
        int order = i == self->ours.event_count ? 1
                    : k == self->theirs.event_count
                        ? -1
                        : memcmp(&ours[i].event.id, &theirs[k].event.id, sizeof ours[i].event.id);
        if (order < 0) {
            add(self, DP_ARTIFACT_FINDING_SOURCE_EXTRA, &ours[i++], true);
        } else if (order > 0) {
            add(self, DP_ARTIFACT_FINDING_SOURCE_MISSING, &theirs[k++], false);
        } else {
            status = compare_content(self, &ours[i], &theirs[k], error);
            if (ours[i].index != theirs[k].index && ours[i].index < moved) moved = ours[i].index;
            i++;
            k++;
        }
    }
    if (moved != UINT64_MAX && before == self->verification->finding_count)
        dp_artifact_verification_add(self->verification, DP_ARTIFACT_FINDING_ORDER, self->ours.file_name,
                                     self->ours.first_line + moved,
                                     "the source has the same events of the transaction in another order");
    return status;
}

/* A whole transaction that only one side has: its first event stands for it. */
static dp_status add_whole(comparison *self, bool is_ours, dp_error *error)
{
    event_place *places;
    const transaction *in = is_ours ? &self->ours : &self->theirs;
    dp_arena_reset(self->arena);
    dp_status status = read_places(self, in, &places, error);
    for (uint64_t i = 0; status == DP_STATUS_OK && i < in->event_count; i++) {
        add(self, is_ours ? DP_ARTIFACT_FINDING_SOURCE_EXTRA : DP_ARTIFACT_FINDING_SOURCE_MISSING, &places[i],
            is_ours);
    }
    return status;
}

static bool is_same_text(const comparison *self)
{
    return dp_slice_equal(dp_buffer_slice(&self->ours.lines), dp_buffer_slice(&self->theirs.lines));
}

static dp_status next_of_ours(comparison *self, dp_error *error)
{
    self->summary->compared_transactions++;
    self->summary->compared_events += self->ours.event_count;
    return read_next(self, error);
}

/* The source's transaction is complete: what the artifact has before it never was. */
static dp_status meet(comparison *self, dp_error *error)
{
    dp_status status = DP_STATUS_OK;
    while (status == DP_STATUS_OK && self->ours.is_there &&
           dp_position_compare(self->ours.end, self->theirs.end) < 0) {
        status = add_whole(self, true, error);
        if (status == DP_STATUS_OK) status = next_of_ours(self, error);
    }
    if (status != DP_STATUS_OK) return status;
    if (!self->ours.is_there || dp_position_compare(self->ours.end, self->theirs.end) != 0)
        return add_whole(self, false, error);
    if (!is_same_text(self)) status = compare_events(self, error);
    return status == DP_STATUS_OK ? next_of_ours(self, error) : status;
}

/* --- the source's side --- */

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    comparison *self = context;
    dp_change numbered = *change;
    if (change->ordinal == 0) self->poison_count = 0;
    numbered.ordinal -= self->poison_count; /* the journal numbers what it holds */
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_event_writer_put_event(self->writer, &self->theirs.lines, &numbered, NULL, &cause);
    if (status == DP_STATUS_OK) {
        self->theirs.event_count++;
        return DP_STATUS_OK;
    }
    if (dp_poison_is(&cause)) { /* is in the quarantine, not in the journal */
        self->poison_count++;
        return DP_STATUS_OK;
    }
    if (error->status == DP_STATUS_OK) *error = cause;
    return status;
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    comparison *self = context;
    dp_status status = DP_STATUS_OK;
    char text[DP_LSN_TEXT_BYTES];
    size_t length = dp_lsn_format(end->end_position, text);
    dp_transaction_end counted = *end;
    counted.change_count = self->theirs.event_count;
    self->has_end = true;
    self->last_end = end->end_position;
    dp_position_parse(DP_BACKEND_POSTGRES_LOGICAL, dp_slice_make(text, length), &self->theirs.end);
    self->is_past_end = dp_position_compare(self->theirs.end, self->manifest->to) > 0;
    bool is_before =
        self->manifest->has_from && dp_position_compare(self->theirs.end, self->manifest->from) <= 0;
    if (self->theirs.event_count > 0 && !is_before && !self->is_past_end) {
        status = dp_event_writer_put_commit(&self->theirs.lines, &counted, error);
        if (status == DP_STATUS_OK) status = meet(self, error);
    }
    dp_buffer_clear(&self->theirs.lines);
    self->theirs.event_count = self->poison_count = 0;
    return status == DP_STATUS_OK && self->is_past_end ? DP_STATUS_CANCELLED : status;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    comparison *self = context;
    return dp_decoder_feed(self->decoder, record, error);
}

static dp_status read_source(comparison *self, dp_error *error)
{
    const dp_change_source *source = self->options->source;
    const dp_record_sink sink = {self, on_record};
    dp_source_progress progress = {.ended = false};
    dp_status status = source->start(source->self, false, (dp_lsn){0}, error);
    while (status == DP_STATUS_OK && !progress.ended) {
        status = source->poll(source->self, POLL_MS, &sink, &progress, error);
        if (status != DP_STATUS_OK) break;
        if (progress.trouble != NULL || progress.restarted) {
            if (progress.trouble != NULL) *error = *progress.trouble;
            return progress.trouble != NULL
                       ? error->status
                       : dp_error_set(error, DP_STATUS_REMOTE, "the connection to the source was lost");
        }
        if (progress.wants_confirm && self->has_end)
            status = source->confirm(source->self, self->last_end, error);
    }
    return status == DP_STATUS_CANCELLED && self->is_past_end ? DP_STATUS_OK : status;
}

/* --- the whole --- */

/* What the source does not deliver any more cannot be compared. */
static dp_status skip_gone(comparison *self, dp_error *error)
{
    char text[DP_LSN_TEXT_BYTES];
    dp_position begin;
    size_t length = dp_lsn_format(self->options->begin, text);
    dp_position_parse(DP_BACKEND_POSTGRES_LOGICAL, dp_slice_make(text, length), &begin);
    dp_status status = read_next(self, error);
    while (status == DP_STATUS_OK && self->ours.is_there && dp_position_compare(self->ours.end, begin) <= 0) {
        self->summary->gone_transactions++;
        self->summary->gone_events += self->ours.event_count;
        status = read_next(self, error);
    }
    return status;
}

static dp_status compare_all(comparison *self, dp_error *error)
{
    const dp_change_sink sink = {self, on_change, on_commit};
    if (self->manifest->stream.backend != DP_BACKEND_POSTGRES_LOGICAL)
        return dp_error_set(error, DP_STATUS_USAGE, "only artifacts of postgres_logical have a slot");
    self->decoder = dp_decoder_new(self->options->plugin, self->options->keys, &sink);
    self->writer = dp_event_writer_new(self->manifest->stream.identity, DP_ROW_EXACT);
    self->arena = dp_arena_new(LINE_ARENA_BYTES, MAX_TRANSACTION_BYTES);
    if (self->decoder == NULL || self->writer == NULL || self->arena == NULL)
        return dp_error_no_memory(error, "a comparison");
    dp_decoder_set_trust_nulls(self->decoder, self->options->trust_nulls);
    dp_status status = skip_gone(self, error);
    if (status == DP_STATUS_OK) status = read_source(self, error);
    while (status == DP_STATUS_OK && self->ours.is_there) {
        status = add_whole(self, true, error);
        if (status == DP_STATUS_OK) status = next_of_ours(self, error);
    }
    return status;
}

dp_status dp_source_compare(const dp_source_compare_options *options, dp_artifact_verification *verification,
                            dp_source_compare_summary *summary, dp_error *error)
{
    *summary = (dp_source_compare_summary){.compared_transactions = 0};
    comparison self = {
        .options = options,
        .verification = verification,
        .summary = summary,
        .ours = {.lines = DP_BUFFER_INIT(MAX_TRANSACTION_BYTES)},
        .theirs = {.lines = DP_BUFFER_INIT(MAX_TRANSACTION_BYTES)},
    };
    dp_status status = dp_artifact_open(options->artifact_path, &self.artifact, error);
    if (status == DP_STATUS_OK) {
        self.manifest = dp_artifact_manifest_of(self.artifact);
        status = compare_all(&self, error);
    }
    dp_buffer_release(&self.ours.lines);
    dp_buffer_release(&self.theirs.lines);
    dp_decoder_free(self.decoder);
    dp_event_writer_free(self.writer);
    dp_arena_free(self.arena);
    dp_artifact_close(self.artifact);
    return status;
}

dp_status dp_source_compare_keys(const dp_artifact_manifest *manifest, dp_unique_keys *keys, dp_error *error)
{
    size_t index;
    json_t *key;
    dp_slice text = manifest->stream.settings;
    dp_status status = DP_STATUS_OK;
    json_t *settings = text.length == 0 ? NULL : json_loadb(text.data, text.length, 0, NULL);
    json_array_foreach(json_object_get(settings, "unique_keys"), index, key)
    {
        dp_slice specification = dp_slice_make(json_string_value(key), json_string_length(key));
        if (specification.data == NULL)
            status = dp_error_set(error, DP_STATUS_DATA, "manifest.json: a unique key is no text");
        if (status == DP_STATUS_OK) status = dp_unique_keys_add(keys, specification, error);
        if (status != DP_STATUS_OK) break;
    }
    json_decref(settings);
    return status;
}
