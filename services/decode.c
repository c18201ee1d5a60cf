#include "services/decode.h"

#include "cdc/poison.h"
#include "services/input.h"
#include "services/output.h"

typedef struct decode_run {
    const dp_decode_options *options;
    dp_decode_summary *summary;
    dp_capture_reader *reader;
    dp_decoder *decoder; /* made when the plugin is known */
    dp_event_writer *writer;
    dp_output output;
    dp_output quarantine;
    bool has_quarantine;
} decode_run;

static dp_status quarantine(decode_run *run, const dp_change *change, const dp_error *cause, dp_error *error)
{
    dp_buffer context = DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_buffer bytes = DP_BUFFER_INIT(SIZE_MAX / 2);
    dp_poison_record record;
    dp_status status = dp_poison_describe(run->writer, change, cause, &context, &bytes, &record, error);
    if (status == DP_STATUS_OK) {
        dp_poison_put_line(&run->quarantine.pending, &record);
        run->summary->poison_count++;
        status = dp_output_flush_when_large(&run->quarantine, error);
    }
    dp_buffer_release(&context);
    dp_buffer_release(&bytes);
    return status;
}

static dp_status write_change(decode_run *run, const dp_change *change, dp_error *error)
{
    dp_buffer *out = &run->output.pending;
    if (run->options->format == DP_DECODE_ROWS)
        return dp_event_writer_put_row(run->writer, out, change, error);
    bool id_missing = false;
    dp_status status = dp_event_writer_put_event(run->writer, out, change, &id_missing, error);
    if (status == DP_STATUS_OK && id_missing) run->summary->without_id_count++;
    return status;
}

static dp_status on_change(void *context, const dp_change *change, dp_error *error)
{
    decode_run *run = context;
    if (run->options->require_id && !(change->has_position && change->has_transaction_id)) {
        dp_error_set(error, DP_STATUS_DATA,
                     "a change of table '%.*s.%.*s' carries no %s, so it has no event id",
                     DP_SLICE_PRINT(change->table->schema), DP_SLICE_PRINT(change->table->name),
                     change->has_position ? "transaction id" : "position");
        dp_error_hint(error, "capture rows of lsn, xid, data with pg_logical_slot_peek_changes");
        return DP_STATUS_DATA;
    }
    dp_status status = write_change(run, change, error);
    if (status == DP_STATUS_OK) {
        run->summary->event_count++;
        return dp_output_flush_when_large(&run->output, error);
    }
    if (!run->has_quarantine || !dp_poison_is(error)) return status;
    const dp_error cause = *error;
    dp_error_clear(error);
    return quarantine(run, change, &cause, error);
}

static dp_status on_commit(void *context, const dp_transaction_end *end, dp_error *error)
{
    decode_run *run = context;
    run->summary->transaction_count++;
    if (run->options->format == DP_DECODE_ROWS || end->change_count == 0) return DP_STATUS_OK;
    return dp_event_writer_put_commit(&run->output.pending, end, error);
}

static dp_status on_start(void *context, dp_capture_form form, dp_plugin plugin, dp_error *error)
{
    decode_run *run = context;
    run->summary->is_recognised = true;
    run->summary->form = form;
    run->summary->plugin = plugin;
    dp_change_sink sink = {run, on_change, on_commit};
    run->decoder = dp_decoder_new(plugin, run->options->keys, &sink);
    if (run->decoder == NULL) return dp_error_no_memory(error, "the decoder");
    dp_decoder_set_trust_nulls(run->decoder, run->options->trust_nulls);
    return DP_STATUS_OK;
}

static dp_status on_record(void *context, const dp_record *record, dp_error *error)
{
    decode_run *run = context;
    run->summary->record_count++;
    dp_status status = dp_decoder_feed(run->decoder, record, error);
    if (status != DP_STATUS_OK && status != DP_STATUS_IO) {
        dp_error_while(error, "decoding line %llu, byte %llu",
                       (unsigned long long)dp_capture_reader_line(run->reader),
                       (unsigned long long)dp_capture_reader_offset(run->reader));
    }
    return status;
}

static dp_status check_end(const decode_run *run, const dp_input *input, dp_error *error)
{
    if (run->decoder == NULL || !dp_decoder_in_transaction(run->decoder)) return DP_STATUS_OK;
    dp_error_set(error, DP_STATUS_DATA, "'%s' ends inside a transaction, after line %llu", input->name,
                 (unsigned long long)dp_capture_reader_line(run->reader));
    dp_error_hint(error, "the capture was cut: take it again");
    return DP_STATUS_DATA;
}

static dp_status read_all(decode_run *run, dp_input *input, dp_error *error)
{
    run->summary->size_bytes = input->size_bytes;
    for (;;) {
        dp_slice piece;
        dp_status status = dp_input_read(input, &piece, error);
        if (status != DP_STATUS_OK) return status;
        if (piece.length == 0) break;
        status = dp_capture_reader_feed(run->reader, piece, error);
        if (status != DP_STATUS_OK) return status;
        run->summary->read_bytes = input->read_bytes;
        if (run->options->progress != NULL)
            run->options->progress(run->options->progress_context, run->summary);
        /* A pipe's reader sees what is complete, not what fills a buffer. */
        if (input->is_standard_input) status = dp_output_flush(&run->output, error);
        if (status != DP_STATUS_OK) return status;
    }
    dp_status status = dp_capture_reader_finish(run->reader, error);
    return status == DP_STATUS_OK ? check_end(run, input, error) : status;
}

static dp_status set_up(decode_run *run, dp_error *error)
{
    dp_capture_sink sink = {run, on_start, on_record};
    run->output = dp_output_standard();
    run->reader = dp_capture_reader_new(&run->options->capture, &sink);
    run->writer = dp_event_writer_new(run->options->identity, run->options->style);
    if (run->reader == NULL || run->writer == NULL) return dp_error_no_memory(error, "the decoder");
    if (run->options->quarantine_path == NULL) return DP_STATUS_OK;
    dp_status status = dp_output_append_to(run->options->quarantine_path, &run->quarantine, error);
    run->has_quarantine = status == DP_STATUS_OK;
    return status;
}

/* What was decoded before a fault is written too; the first error is the one that is told. */
static dp_status finish(decode_run *run, dp_status status, dp_error *error)
{
    dp_error later = DP_ERROR_INIT;
    dp_status flushed = status == DP_STATUS_IO ? DP_STATUS_OK : dp_output_flush(&run->output, &later);
    if (run->has_quarantine && flushed == DP_STATUS_OK) flushed = dp_output_sync(&run->quarantine, &later);
    if (status != DP_STATUS_OK || flushed == DP_STATUS_OK) return status;
    *error = later;
    return flushed;
}

dp_status dp_decode(const dp_decode_options *options, dp_decode_summary *summary, dp_error *error)
{
    *summary = (dp_decode_summary){.is_recognised = false};
    dp_input input;
    dp_status status = dp_input_open(options->source, &input, error);
    if (status != DP_STATUS_OK) return status;
    decode_run run = {.options = options, .summary = summary};
    status = set_up(&run, error);
    if (status == DP_STATUS_OK) status = finish(&run, read_all(&run, &input, error), error);
    if (run.decoder != NULL) summary->doubtful_null_count = dp_decoder_doubtful_null_count(run.decoder);
    dp_decoder_free(run.decoder);
    dp_capture_reader_free(run.reader);
    dp_event_writer_free(run.writer);
    dp_output_close(&run.output);
    if (run.has_quarantine) dp_output_close(&run.quarantine);
    dp_input_close(&input);
    return status;
}
