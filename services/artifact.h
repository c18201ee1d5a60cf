/* An artifact: a window of a journal as files, complete in itself: what replays on another machine.
 *
 * A directory with `manifest.json`, files `events-NNNNN.ndjson[.zst]` (event and commit lines as batches
 * carry them; a transaction never spans two files) and, beside each, `events-NNNNN.index`: eight bytes a line
 * that let a verifier say which line was changed, dropped, doubled or moved. It is written under the name
 * `<path>.partial`, made durable, and renamed when its manifest is in it, so that a path either holds a whole
 * artifact or none. docs/artifacts.md describes the format.
 *
 * Threads: each object belongs to one. Texts in a manifest live as long as the artifact it was read from.
 */
#ifndef DPONE_SERVICES_ARTIFACT_H
#define DPONE_SERVICES_ARTIFACT_H

#include "base/buffer.h"
#include "base/error.h"
#include "cdc/event_identity.h"
#include "cdc/position.h"

#define DP_ARTIFACT_SCHEMA             "dpone.cdc.artifact.v1"
#define DP_ARTIFACT_MAX_LINE_BYTES     ((size_t)1 << 30)
#define DP_ARTIFACT_DEFAULT_FILE_BYTES ((uint64_t)256 << 20)

/* The stream an artifact was taken from. */
typedef struct dp_artifact_stream {
    dp_slice pipeline;
    dp_slice source;
    dp_backend backend;
    dp_identity_kind identity;
    dp_slice settings; /* what the stream reads from, a JSON object; empty: unknown */
} dp_artifact_stream;

typedef struct dp_artifact_totals {
    uint64_t line_count;
    uint64_t transaction_count;
    uint64_t event_count;
    bool has_positions; /* false: there is no transaction */
    dp_position first;  /* where the first transaction ends */
    dp_position last;
} dp_artifact_totals;

typedef struct dp_artifact_file {
    dp_slice name;
    dp_slice index_name;
    bool is_compressed;
    uint64_t bytes;
    uint64_t content_bytes;
    dp_artifact_totals totals;
    dp_slice sha256;
    dp_slice index_sha256;
} dp_artifact_file;

/* The window is (from, to]. */
typedef struct dp_artifact_manifest {
    dp_artifact_stream stream;
    bool has_from; /* false: from the beginning */
    dp_position from;
    dp_position to;
    dp_artifact_totals totals;
    dp_slice event_ids_sha256; /* over the ids' 32 bytes in order */
    dp_slice created_at;
    const dp_artifact_file *files;
    size_t file_count;
} dp_artifact_manifest;

/* --- writing --- */

typedef struct dp_artifact_writer dp_artifact_writer;

typedef struct dp_artifact_write_options {
    const char *path; /* must not exist; a leading file: is allowed */
    dp_artifact_stream stream;
    bool has_from;
    dp_position from;
    int zstd_level;      /* 0: not compressed */
    uint64_t file_bytes; /* a file ends with the transaction that reaches it; 0: 256 MiB */
} dp_artifact_write_options;

/* Clears away what an export that was killed has left. USAGE when the path exists, BUSY when another export
 * writes it. Slices and path are copied. */
dp_status dp_artifact_writer_open(const dp_artifact_write_options *options, dp_artifact_writer **writer,
                                  dp_error *error);

/* One event or commit line without its newline. DATA for anything else, for an event without an id, and for
 * transactions out of order. */
dp_status dp_artifact_writer_put(dp_artifact_writer *writer, dp_slice line, dp_error *error);

/* Ends the window at `to`, makes everything durable and gives the artifact its name. DATA inside a
 * transaction. */
dp_status dp_artifact_writer_finish(dp_artifact_writer *writer, dp_position to, dp_artifact_totals *totals,
                                    dp_error *error);

/* Removes what was not finished. NULL is allowed. */
void dp_artifact_writer_free(dp_artifact_writer *writer);

/* --- reading --- */

typedef struct dp_artifact dp_artifact;

/* Reads the manifest only. `path` may begin with file: or file://. USAGE when there is none; DATA when it is
 * malformed or was changed (code manifest_changed). */
dp_status dp_artifact_open(const char *path, dp_artifact **artifact, dp_error *error);
void dp_artifact_close(dp_artifact *artifact);
const dp_artifact_manifest *dp_artifact_manifest_of(const dp_artifact *artifact);

typedef struct dp_artifact_line {
    dp_slice text; /* without its newline; data NULL at the end. Valid until the next call */
    const char *file_name;
    uint64_t line_number;
} dp_artifact_line;

/* The next line, the files one after the other. Checks no digest: verify first. */
dp_status dp_artifact_next(dp_artifact *artifact, dp_artifact_line *line, dp_error *error);

/* --- verifying --- */

/* X(name, text, description) */
#define DP_ARTIFACT_FINDING_LIST(X)                                                                          \
    X(OTHER_ARTIFACT, "manifest_of_another_artifact", "the file belongs to another manifest")                \
    X(FILE_MISSING, "file_missing", "the manifest names a file that is not there")                           \
    X(FILE_CUT, "file_cut", "the file ends too early")                                                       \
    X(FILE_DAMAGED, "file_damaged", "the file's bytes are not what was written")                             \
    X(INDEX_DAMAGED, "index_damaged", "the index of the file's lines is not what was written")               \
    X(LINE_CHANGED, "line_changed", "the line is not what was written")                                      \
    X(LINE_MISSING, "line_missing", "a line that was written is not there")                                  \
    X(LINE_REPEATED, "line_repeated", "the line is there twice")                                             \
    X(LINE_MOVED, "line_moved", "the line stands at another place than it was written to")                   \
    X(LINE_ADDED, "line_added", "the line was not written")                                                  \
    X(LINE_MALFORMED, "line_malformed", "the line is no event and no commit")                                \
    X(ORDER, "order_broken", "transactions or their rows are out of order or incomplete")                    \
    X(COUNT, "count_mismatch", "there are more or fewer than the manifest says")                             \
    X(IDS, "event_ids_mismatch", "the digest of the event ids is another")                                   \
    X(JOURNAL, "journal_differs", "the journal does not hold the same")                                      \
    X(SOURCE_MISSING, "missing_from_artifact", "the source has an event that the artifact has not")          \
    X(SOURCE_EXTRA, "not_in_source", "the artifact has an event that the source has not")                    \
    X(SOURCE_DIFFERS, "differs_from_source", "the source has other content under the same event id")

typedef enum dp_artifact_finding_kind {
#define DP_ARTIFACT_FINDING_ENUM(name, text, description) DP_ARTIFACT_FINDING_##name,
    DP_ARTIFACT_FINDING_LIST(DP_ARTIFACT_FINDING_ENUM)
#undef DP_ARTIFACT_FINDING_ENUM
} dp_artifact_finding_kind;

const char *dp_artifact_finding_text(dp_artifact_finding_kind kind);

typedef struct dp_artifact_finding {
    dp_artifact_finding_kind kind;
    char file_name[64];   /* empty: the artifact as a whole */
    uint64_t line_number; /* 0: the file as a whole */
    char detail[256];
} dp_artifact_finding;

typedef struct dp_artifact_verification {
    dp_artifact_totals totals; /* of what is there */
    uint64_t finding_count;    /* all of them; 0: the artifact is what was written */
    dp_artifact_finding first[20];
} dp_artifact_verification;

/* Reads every byte and compares it with the manifest. OK also when there are findings; IO and NO_MEMORY when
 * it could not be read. */
dp_status dp_artifact_verify(const dp_artifact *artifact, dp_artifact_verification *verification,
                             dp_error *error);

/* Adds a finding; past the twentieth they are only counted. */
void dp_artifact_verification_add(dp_artifact_verification *verification, dp_artifact_finding_kind kind,
                                  const char *file_name, uint64_t line_number, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
