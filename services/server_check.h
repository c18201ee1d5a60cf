/* Whether a dpone server answers, has a store that works, and is of which version: for doctor. */
#ifndef DPONE_SERVICES_SERVER_CHECK_H
#define DPONE_SERVICES_SERVER_CHECK_H

#include "base/error.h"

typedef struct dp_server_look {
    bool is_ready;
    bool has_store;
    char detail[512]; /* what it says when it is not ready */
    char version[32]; /* empty: it does not say */
} dp_server_look;

/* Asks GET /ready once. OK for every answer of a dpone server, ready or not; REMOTE, TIMEOUT and the like
 * when none came or it was not one; USAGE for a URL that is none. */
dp_status dp_server_check(const char *server_url, dp_server_look *look, dp_error *error);

#endif
