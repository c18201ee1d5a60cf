#include "services/zstd_codec.h"

#include <stdlib.h>
#include <zstd.h>

enum { MAX_WINDOW_LOG = 27 };

struct dp_zstd_writer {
    ZSTD_CCtx *context;
};

struct dp_zstd_reader {
    ZSTD_DCtx *context;
    bool at_frame_end;
};

dp_zstd_writer *dp_zstd_writer_new(int level)
{
    dp_zstd_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return NULL;
    writer->context = ZSTD_createCCtx();
    if (writer->context == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(writer->context, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(writer->context, ZSTD_c_checksumFlag, 1))) {
        dp_zstd_writer_free(writer);
        return NULL;
    }
    return writer;
}

void dp_zstd_writer_free(dp_zstd_writer *writer)
{
    if (writer == NULL) return;
    ZSTD_freeCCtx(writer->context);
    free(writer);
}

dp_status dp_zstd_compress(dp_zstd_writer *writer, dp_slice input, bool ends, dp_buffer *out, dp_error *error)
{
    ZSTD_inBuffer from = {input.data, input.length, 0};
    size_t left;
    do {
        if (!dp_buffer_reserve(out, ZSTD_CStreamOutSize())) return dp_error_no_memory(error, "a zstd frame");
        ZSTD_outBuffer to = {out->data + out->length, out->capacity - out->length, 0};
        left = ZSTD_compressStream2(writer->context, &to, &from, ends ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            return dp_error_set(error, DP_STATUS_INTERNAL, "unable to compress: %s", ZSTD_getErrorName(left));
        }
        out->length += to.pos;
    } while (ends ? left != 0 : from.pos < from.size);
    return DP_STATUS_OK;
}

dp_zstd_reader *dp_zstd_reader_new(void)
{
    dp_zstd_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return NULL;
    reader->context = ZSTD_createDCtx();
    if (reader->context == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(reader->context, ZSTD_d_windowLogMax, MAX_WINDOW_LOG))) {
        dp_zstd_reader_free(reader);
        return NULL;
    }
    return reader;
}

void dp_zstd_reader_free(dp_zstd_reader *reader)
{
    if (reader == NULL) return;
    ZSTD_freeDCtx(reader->context);
    free(reader);
}

dp_status dp_zstd_decompress(dp_zstd_reader *reader, dp_slice *input, char *out, size_t capacity,
                             size_t *length, bool *at_frame_end, dp_error *error)
{
    ZSTD_inBuffer from = {input->data, input->length, 0};
    ZSTD_outBuffer to = {out, capacity, 0};
    size_t left = ZSTD_decompressStream(reader->context, &to, &from);
    if (ZSTD_isError(left)) {
        return dp_error_set_code(error, DP_STATUS_DATA, "zstd_damaged", "damaged zstd data: %s",
                                 ZSTD_getErrorName(left));
    }
    if (from.pos > 0 || to.pos > 0) reader->at_frame_end = left == 0;
    if (from.pos > 0) input->data += from.pos;
    input->length -= from.pos;
    *length = to.pos;
    *at_frame_end = reader->at_frame_end;
    return DP_STATUS_OK;
}
