/* An artifact compared with what a source still has: which events of the window the artifact lacks, which it
 * has that never were, and which have other content.
 *
 * Reads the source from where it stands to the artifact's last position and asks it to move on only through
 * `confirm`: give it a copy of a slot (dp_postgres_source_options.on_copy). Holds one transaction of each
 * side in memory. One thread.
 */
#ifndef DPONE_SERVICES_SOURCE_COMPARE_H
#define DPONE_SERVICES_SOURCE_COMPARE_H

#include "cdc/change_source.h"
#include "services/artifact.h"

typedef struct dp_source_compare_options {
    const char *artifact_path;
    const dp_change_source *source; /* ends at what it holds now */
    dp_lsn begin;                   /* what ends at or below it is not delivered any more */
    dp_plugin plugin;
    const dp_unique_keys *keys;
    bool trust_nulls;
} dp_source_compare_options;

typedef struct dp_source_compare_summary {
    uint64_t compared_transactions; /* of the artifact: found in the source, equal or not, or found missing */
    uint64_t compared_events;
    uint64_t gone_transactions; /* of the artifact: below where the source begins, so not compared */
    uint64_t gone_events;
} dp_source_compare_summary;

/* Adds findings. USAGE for an artifact that is not of PostgreSQL; REMOTE when the source was lost. */
dp_status dp_source_compare(const dp_source_compare_options *options, dp_artifact_verification *verification,
                            dp_source_compare_summary *summary, dp_error *error);

/* Adds the unique keys that the artifact's stream was written with. DATA when they cannot be read. */
dp_status dp_source_compare_keys(const dp_artifact_manifest *manifest, dp_unique_keys *keys, dp_error *error);

#endif
