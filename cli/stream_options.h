/* The options that name the same thing in every command that reads changes, and how their values are read. */
#ifndef DPONE_CLI_STREAM_OPTIONS_H
#define DPONE_CLI_STREAM_OPTIONS_H

#include "cdc/capture_reader.h"
#include "cdc/event_identity.h"
#include "cli/common_options.h"

#define DP_SERVER_DEFAULT "http://127.0.0.1:8000"

/* Entries for an option table. */
#define DP_OPTION_UNIQUE_KEY                                                                                 \
    {                                                                                                        \
        .name = "unique-key", .argument = "SCHEMA.TABLE=COLUMN[,COLUMN]",                                    \
        .help = "the key that identifies a row of this table in event ids; without one the whole row does",  \
        .repeatable = true                                                                                   \
    }
#define DP_OPTION_SERVER                                                                                     \
    {                                                                                                        \
        .name = "server", .argument = "URL",                                                                 \
        .help = "the dpone server, or any endpoint that answers with receipts",                              \
        .default_text = DP_SERVER_DEFAULT, .environment = "DPONE_SERVER"                                     \
    }
#define DP_OPTION_IDENTITY                                                                                   \
    {                                                                                                        \
        .name = "identity", .argument = "NAME",                                                              \
        .help = "how event ids are computed; dpone-py repeats the ids of the Python tool of the same name",  \
        .choices = "v1|dpone-py", .default_text = "v1"                                                       \
    }
#define DP_OPTION_INPUT_FORMAT                                                                               \
    {                                                                                                        \
        .name = "input-format", .argument = "FORM",                                                          \
        .help = "the form of the capture instead of recognising it",                                         \
        .choices = "auto|psql-unaligned|csv|copy-text|raw-test-decoding|raw-wal2json",                       \
        .default_text = "auto"                                                                               \
    }
#define DP_OPTION_PLUGIN                                                                                     \
    {                                                                                                        \
        .name = "plugin", .argument = "NAME", .help = "the output plugin instead of recognising it",         \
        .choices = "auto|pgoutput|test_decoding|wal2json|wal2json-1|wal2json-2", .default_text = "auto"      \
    }

#define DP_OPTION_TRUST_NULLS                                                                                \
    {                                                                                                        \
        .name = "trust-nulls",                                                                               \
        .help =                                                                                              \
            "wal2json: take a null float or numeric for NULL, though NaN and Infinity are printed so too"    \
    }

#define DP_UNIQUE_KEY_AUTO "auto" /* asks a live source for primary keys; no specification looks like it */

/* Whether --unique-key auto is among the keys. */
bool dp_stream_asks_for_keys(const dp_invocation *invocation);

/* Every --unique-key but auto. The caller frees *keys. */
dp_status dp_stream_unique_keys(const dp_invocation *invocation, dp_unique_keys **keys, dp_error *error);

dp_identity_kind dp_stream_identity(const dp_invocation *invocation);

/* --plugin; false when the source's own is to be taken. */
bool dp_stream_plugin(const dp_invocation *invocation, dp_plugin *plugin);

/* --input-format and --plugin. */
dp_capture_options dp_stream_capture(const dp_invocation *invocation);

/* Warns on standard error of `count` events with a null that may have been NaN or Infinity; nothing for 0. */
void dp_stream_warn_of_nulls(uint64_t count);

#endif
