/* The one list of outcomes. Every fallible function of dpone returns one of these.
 *
 * Each entry names the process exit code a command ends with when the status is what stopped it, whether
 * repeating the same call later can succeed, and a text for people. Never holds state; safe from any thread.
 */
#ifndef DPONE_BASE_STATUS_H
#define DPONE_BASE_STATUS_H

#include <stdbool.h>

/* X(name, exit code, retryable, text) */
#define DP_STATUS_LIST(X)                                                                                    \
    X(OK, 0, false, "ok")                                                                                    \
    X(BLOCKED, 1, false, "refused by policy")                                                                \
    X(CONFLICT, 1, false, "conflicts with what is stored")                                                   \
    X(NOT_FOUND, 1, false, "not found")                                                                      \
    X(USAGE, 2, false, "bad usage or configuration")                                                         \
    X(IO, 3, false, "input or output failed")                                                                \
    X(REMOTE, 3, true, "a remote party failed")                                                              \
    X(TIMEOUT, 3, true, "timed out")                                                                         \
    X(BUSY, 3, true, "busy")                                                                                 \
    X(FULL, 3, true, "no space left")                                                                        \
    X(COMMIT_UNKNOWN, 3, true, "the outcome of a COMMIT is unknown: read the state again before retrying")   \
    X(CANCELLED, 3, false, "cancelled")                                                                      \
    X(NO_MEMORY, 3, true, "out of memory")                                                                   \
    X(DATA, 4, false, "malformed data")                                                                      \
    X(LIMIT, 4, false, "a size limit was exceeded")                                                          \
    X(POISON, 4, false, "a change that cannot be identified or applied")                                     \
    X(INTERNAL, 3, false, "internal error")

typedef enum dp_status {
#define DP_STATUS_ENUM(name, exit_code, retryable, text) DP_STATUS_##name,
    DP_STATUS_LIST(DP_STATUS_ENUM)
#undef DP_STATUS_ENUM
        DP_STATUS_COUNT
} dp_status;

/* The short name, as in "DATA". */
const char *dp_status_name(dp_status status);

/* A text for people, as in "malformed data". */
const char *dp_status_text(dp_status status);

/* The process exit code: 0 done, 1 refused, 2 usage, 3 I/O or remote, 4 data. */
int dp_status_exit_code(dp_status status);

/* Whether the same call can succeed later without anything else being changed. */
bool dp_status_retryable(dp_status status);

#endif
