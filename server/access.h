/* Who may use /v1. Pure but for reading the token's file.
 *
 * With a token: `Authorization: Bearer`, compared in constant time. Without one: only this machine, and no
 * request that a browser or a proxy could have been talked into sending for somebody else.
 */
#ifndef DPONE_SERVER_ACCESS_H
#define DPONE_SERVER_ACCESS_H

#include "base/error.h"
#include "base/slice.h"

typedef enum dp_access {
    DP_ACCESS_GRANTED,
    DP_ACCESS_TOKEN_REQUIRED, /* no token is configured and the request is not plainly local */
    DP_ACCESS_TOKEN_MISSING,  /* no usable Authorization header */
    DP_ACCESS_TOKEN_WRONG
} dp_access;

typedef struct dp_access_facts {
    bool peer_is_loopback;
    bool was_forwarded; /* Forwarded or any X-Forwarded-* header */
    bool has_origin;
    dp_slice host;          /* of the Host header; empty when there is none */
    dp_slice authorization; /* empty when there is none */
    size_t authorization_count;
} dp_access_facts;

/* `token` empty: none is configured. */
dp_access dp_access_decide(dp_slice token, const dp_access_facts *facts);

/* Whether a Host value names this machine: localhost, *.localhost, 127.x.x.x, [::1], with or without port. */
bool dp_access_is_loopback_host(dp_slice host);

/* Reads a token: the file's content without white space at its ends, 16 to 4096 visible characters. USAGE
 * names the file and what is wrong, never the content. */
dp_status dp_access_read_token(const char *path, char out[4097], dp_error *error);

#endif
