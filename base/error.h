/* A caller-owned error: a status, a stable code, one line for people and an optional hint.
 *
 * The first error wins: setting an error that is already set changes nothing, so a clean-up path cannot hide
 * the cause. A layer may prepend one "while ...". Messages are bounded and truncated at a whole character.
 * Control characters and bytes that are not UTF-8 are replaced, so that hostile input cannot forge a log line
 * and a message is always fit for JSON.
 * Never allocates. Not shared between threads.
 */
#ifndef DPONE_BASE_ERROR_H
#define DPONE_BASE_ERROR_H

#include "base/status.h"

typedef struct dp_error {
    dp_status status;
    char code[64];     /* stable, such as "event_conflict"; empty when there is none */
    char message[768]; /* one line: the input, what is wrong, what was expected */
    char hint[384];    /* what to do about it; empty when there is none */
} dp_error;

#define DP_ERROR_INIT                                                                                        \
    {                                                                                                        \
        .status = DP_STATUS_OK                                                                               \
    }

/* Forgets the error, so that the object can be used again. */
void dp_error_clear(dp_error *error);

/* Sets the error unless one is set already; returns the status that is in force afterwards.
 * A null error only passes the status through. */
dp_status dp_error_set(dp_error *error, dp_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As dp_error_set, with a stable code beside the message. */
dp_status dp_error_set_code(dp_error *error, dp_status status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets DP_STATUS_NO_MEMORY, naming what was being built. */
dp_status dp_error_no_memory(dp_error *error, const char *what);

/* Adds a hint unless there is one. */
void dp_error_hint(dp_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prepends "while <doing>: " to the message. */
void dp_error_while(dp_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
