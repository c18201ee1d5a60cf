/* Options and renderings that the commands on a state database share. */
#ifndef DPONE_CLI_STATE_OPTIONS_H
#define DPONE_CLI_STATE_OPTIONS_H

#include "base/json_writer.h"
#include "state/store.h"

/* A row of an option table. */
#define DP_STATE_OPTION                                                                                      \
    {                                                                                                        \
        .name = "state", .argument = "DSN",                                                                  \
        .help = "the state database: sqlite:PATH or postgresql://USER@HOST/DATABASE",                        \
        .default_text = DP_STATE_DEFAULT_DSN, .environment = "DPONE_STATE"                                   \
    }

/* An array of objects with the columns of the offset table. */
void dp_offset_rows_write_json(const dp_offset_row *rows, size_t count, dp_json_writer *writer);

#endif
