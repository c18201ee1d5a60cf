#include "services/file_source.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "services/input.h"

enum { FOLLOW_INTERVAL_MS = 200 };

typedef struct file_source {
    dp_input input;
    dp_capture_reader *reader;
    bool until_end;
    dp_plugin plugin;           /* known when the first record is delivered */
    const dp_record_sink *sink; /* of the poll that runs */
} file_source;

/* Forms without a position for each change and commit cannot be made exact by any later stage. */
static dp_status check_positions(dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    bool is_raw = form == DP_CAPTURE_FORM_RAW_TEST_DECODING ||
                  (form == DP_CAPTURE_FORM_RAW_WAL2JSON && plugin == DP_PLUGIN_WAL2JSON_1);
    if (!is_raw) return DP_STATUS_OK;
    dp_error_set(error, DP_STATUS_USAGE,
                 "a raw %.*s stream carries no positions, so its changes cannot be delivered exactly once",
                 DP_SLICE_PRINT(plugin == DP_PLUGIN_TEST_DECODING ? DP_SLICE_LITERAL("test_decoding")
                                                                  : DP_SLICE_LITERAL("wal2json")));
    dp_error_hint(error, "capture rows of lsn, xid, data with pg_logical_slot_peek_changes, or read the slot "
                         "itself: --source postgresql://...");
    return DP_STATUS_USAGE;
}

static dp_status on_start(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    file_source *source = context;
    source->plugin = plugin;
    return check_positions(form, plugin, error);
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    file_source *source = context;
    dp_status status = source->sink->record(source->sink->context, record, error);
    if (status == DP_STATUS_DATA || status == DP_STATUS_POISON) {
        dp_error_while(error, "decoding line %llu, byte %llu of '%s'",
                       (unsigned long long)dp_capture_reader_line(source->reader),
                       (unsigned long long)dp_capture_reader_offset(source->reader), source->input.name);
    }
    return status;
}

/* A followed file that became shorter was replaced or rotated: going on would skip or repeat. */
static dp_status check_not_truncated(const file_source *source, dp_error *error)
{
    struct stat properties;
    if (fstat(source->input.descriptor, &properties) != 0 || !S_ISREG(properties.st_mode))
        return DP_STATUS_OK;
    if ((uint64_t)properties.st_size >= source->input.read_bytes) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_DATA,
                        "'%s' has become shorter than what was read of it (%llu bytes)", source->input.name,
                        (unsigned long long)source->input.read_bytes);
}

static dp_status at_end(file_source *source, int timeout_ms, dp_source_progress *progress, dp_error *error)
{
    if (source->until_end || source->input.is_standard_input) {
        progress->ended = true;
        return dp_capture_reader_finish(source->reader, error);
    }
    dp_status status = check_not_truncated(source, error);
    if (status == DP_STATUS_OK)
        dp_clock_sleep_ms(timeout_ms < FOLLOW_INTERVAL_MS ? (unsigned)timeout_ms : FOLLOW_INTERVAL_MS);
    return status;
}

static dp_status poll(void *self, int timeout_ms, const dp_record_sink *sink, dp_source_progress *progress,
                      dp_error *error)
{
    file_source *source = self;
    source->sink = sink;
    dp_slice piece;
    dp_status status = dp_input_read(&source->input, &piece, error);
    if (status != DP_STATUS_OK) return status;
    if (piece.length == 0) return at_end(source, timeout_ms, progress, error);
    return dp_capture_reader_feed(source->reader, piece, error);
}

static void close_source(void *self)
{
    file_source *source = self;
    dp_capture_reader_free(source->reader);
    dp_input_close(&source->input);
    free(source);
}

dp_status dp_file_source_open(const dp_file_source_options *options, dp_change_source *source,
                              const dp_plugin **plugin, dp_error *error)
{
    file_source *self = calloc(1, sizeof *self);
    if (self == NULL) return dp_error_no_memory(error, "a source");
    self->until_end = options->until_end;
    dp_status status = dp_input_open(options->source, &self->input, error);
    if (status != DP_STATUS_OK) {
        free(self);
        return status;
    }
    dp_capture_sink sink = {self, on_start, on_record};
    self->reader = dp_capture_reader_new(&options->capture, &sink);
    if (self->reader == NULL) {
        close_source(self);
        return dp_error_no_memory(error, "the capture reader");
    }
    *source = (dp_change_source){.self = self, .poll = poll, .close = close_source};
    *plugin = &self->plugin;
    return DP_STATUS_OK;
}
