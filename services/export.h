/* A window of a journal as an artifact, and an artifact compared with a journal. */
#ifndef DPONE_SERVICES_EXPORT_H
#define DPONE_SERVICES_EXPORT_H

#include "services/artifact.h"
#include "services/journal_link.h"

typedef struct dp_export_options {
    const char *path;
    const dp_offset *from; /* NULL: from where the journal begins */
    const dp_offset *to;   /* NULL: what the journal holds now */
    int zstd_level;        /* 0: not compressed */
    uint64_t file_bytes;   /* 0: 256 MiB */
    /* Called now and then with the counts so far; may be NULL. */
    void (*progress)(void *context, uint64_t events);
    void *progress_context;
} dp_export_options;

typedef struct dp_export_summary {
    bool has_from;
    dp_offset from;
    dp_offset to;
    dp_artifact_totals totals;
} dp_export_summary;

/* BLOCKED replay.start_before_retention and replay.to_after_high_watermark for a window that the journal does
 * not hold. */
dp_status dp_export(dp_journal_link *link, const dp_stream_facts *stream, const dp_export_options *options,
                    dp_export_summary *summary, dp_error *error);

/* Adds what differs between the artifact and the same window of the stream. BLOCKED when the journal does not
 * hold the window any more. */
dp_status dp_export_compare(dp_journal_link *link, const dp_stream_facts *stream, const char *path,
                            dp_artifact_verification *verification, dp_error *error);

#endif
