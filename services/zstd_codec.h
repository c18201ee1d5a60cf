/* zstd frames as streams: the only user of libzstd. Each frame carries its content's checksum. One thread. */
#ifndef DPONE_SERVICES_ZSTD_CODEC_H
#define DPONE_SERVICES_ZSTD_CODEC_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_zstd_writer dp_zstd_writer;
typedef struct dp_zstd_reader dp_zstd_reader;

/* `level` is zstd's, 1 to 19. NULL when memory is refused. */
dp_zstd_writer *dp_zstd_writer_new(int level);
void dp_zstd_writer_free(dp_zstd_writer *writer);

/* Appends what the input compresses to; `ends` closes the frame, and the next call begins another. */
dp_status dp_zstd_compress(dp_zstd_writer *writer, dp_slice input, bool ends, dp_buffer *out,
                           dp_error *error);

/* NULL when memory is refused. Frames that want more than 128 MiB of memory are refused when they are read.
 */
dp_zstd_reader *dp_zstd_reader_new(void);
void dp_zstd_reader_free(dp_zstd_reader *reader);

/* Takes from the front of *input and writes up to `capacity` bytes. *length 0 with an empty *input: more
 * input is needed. *at_frame_end says whether the last frame is complete. DATA for what is not zstd or was
 * damaged. */
dp_status dp_zstd_decompress(dp_zstd_reader *reader, dp_slice *input, char *out, size_t capacity,
                             size_t *length, bool *at_frame_end, dp_error *error);

#endif
