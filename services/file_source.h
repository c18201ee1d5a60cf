/* A capture as a pipeline's source: a file, read to its end or followed as it grows, or standard input. */
#ifndef DPONE_SERVICES_FILE_SOURCE_H
#define DPONE_SERVICES_FILE_SOURCE_H

#include "cdc/capture_reader.h"
#include "cdc/change_source.h"

typedef struct dp_file_source_options {
    const char *source; /* "-", a path, or "file:" and a path */
    dp_capture_options capture;
    bool until_end; /* end at the end of the file instead of waiting for more; standard input always ends */
} dp_file_source_options;

/* Opens the input. *plugin points to what the input turns out to hold: read it when the first record arrives.
 * Polling answers USAGE with a hint for forms that carry no positions: they cannot be delivered exactly once.
 */
dp_status dp_file_source_open(const dp_file_source_options *options, dp_change_source *source,
                              const dp_plugin **plugin, dp_error *error);

#endif
