/* What writing, reading and verifying artifacts share: names, line tags, and the line reader of one file. */
#ifndef DPONE_SERVICES_ARTIFACT_INTERNAL_H
#define DPONE_SERVICES_ARTIFACT_INTERNAL_H

#include "base/arena.h"
#include "base/sha256.h"
#include "cdc/event_scanner.h"
#include "services/artifact.h"
#include "services/zstd_codec.h"

#define ARTIFACT_MANIFEST_NAME      "manifest.json"
#define ARTIFACT_MANIFEST_MAX_BYTES ((size_t)64 << 20)
#define ARTIFACT_INDEX_SCHEMA       "dpone.cdc.artifact-index.v1"
#define ARTIFACT_TAG_BYTES          8
#define ARTIFACT_PATH_BYTES         4096

/* Removes file: or file:// from a URI. */
const char *artifact_path_of(const char *path_or_uri);

/* False when the joined path is too long. */
bool artifact_join(const char *directory, const char *name, char out[ARTIFACT_PATH_BYTES]);

/* Whether something other than a regular file is there: a pipe would be waited at, a device never ends. */
bool artifact_is_special(const char *path);

/* A line's tag in the index. It finds places; the SHA-256 of the file is what proves. */
uint64_t artifact_line_tag(dp_slice line);

/* The header line of an index, with its newline. */
void artifact_put_index_header(dp_buffer *out, const dp_artifact_stream *stream);

/* Follows event and commit lines: counts them, and says what is wrong with their order. */
typedef struct artifact_follower {
    dp_backend backend;
    dp_artifact_totals totals;
    uint64_t rows; /* of the transaction that is open */
    bool has_window_from;
    dp_position window_from;
    dp_sha256 *ids;
} artifact_follower;

/* DATA with code line_malformed or order_broken. Counts the line in any case. */
dp_status artifact_follow(artifact_follower *follower, dp_slice line, uint64_t line_number, dp_arena *arena,
                          dp_error *error);

/* One events file, line by line. */
typedef struct artifact_lines {
    int descriptor;
    const char *name; /* borrowed */
    dp_sha256 *hash;  /* NULL: not wanted */
    dp_zstd_reader *zstd;
    char *raw;
    dp_slice raw_left;
    dp_buffer text;
    size_t text_at;
    uint64_t line_number;
    uint64_t raw_bytes;
    uint64_t content_bytes;
    bool is_raw_ended;
    bool is_frame_ended;
} artifact_lines;

/* NOT_FOUND when there is no such regular file. */
dp_status artifact_lines_open(const char *directory, const char *name, bool is_compressed, dp_sha256 *hash,
                              artifact_lines *lines, dp_error *error);
/* text.data is NULL at the end. DATA with code file_cut or zstd_damaged. */
dp_status artifact_lines_next(artifact_lines *lines, dp_slice *line, dp_error *error);
/* Reads what is left without looking at it, so that the digest covers the whole file. */
dp_status artifact_lines_drain(artifact_lines *lines, dp_error *error);
void artifact_lines_close(artifact_lines *lines);

/* The directory that an open artifact lies in. */
const char *artifact_directory(const dp_artifact *artifact);

#endif
