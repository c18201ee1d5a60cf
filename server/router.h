/* Every route of the server, listed once, and the decision which of them a method and path mean.
 *
 * Pure. Parameters are slices of the path, still percent-encoded. A parameter is one non-empty segment.
 */
#ifndef DPONE_SERVER_ROUTER_H
#define DPONE_SERVER_ROUTER_H

#include "base/slice.h"

/* X(name, method, pattern). The order decides between patterns that both match. */
#define DP_ROUTE_LIST(X)                                                                                     \
    X(MSG, "GET", "/msg")                                                                                    \
    X(HEALTH, "GET", "/health")                                                                              \
    X(FAIL_COUNT, "POST", "/fail/count/{count}")                                                             \
    X(FAIL_DURATION, "POST", "/fail/duration/{seconds}")                                                     \
    X(FAIL_RESET, "POST", "/fail/reset")                                                                     \
    X(FAIL_STATUS, "GET", "/fail/status")                                                                    \
    X(READY, "GET", "/ready")                                                                                \
    X(METRICS, "GET", "/metrics")                                                                            \
    X(OPENAPI, "GET", "/openapi.json")                                                                       \
    X(DOCS, "GET", "/docs")                                                                                  \
    X(REDOC, "GET", "/redoc")                                                                                \
    X(PIPELINES, "GET", "/v1/pipelines")                                                                     \
    X(PIPELINE, "GET", "/v1/pipelines/{pipeline}")                                                           \
    X(BATCHES, "POST", "/v1/pipelines/{pipeline}/batches")                                                   \
    X(EVENTS, "GET", "/v1/pipelines/{pipeline}/events")                                                      \
    X(CONSUMERS, "GET", "/v1/pipelines/{pipeline}/consumers")                                                \
    X(CONSUMER_GET, "GET", "/v1/pipelines/{pipeline}/consumers/{consumer}")                                  \
    X(CONSUMER_PUT, "PUT", "/v1/pipelines/{pipeline}/consumers/{consumer}")                                  \
    X(CONSUMER_DELETE, "DELETE", "/v1/pipelines/{pipeline}/consumers/{consumer}")                            \
    X(OFFSETS, "GET", "/v1/pipelines/{pipeline}/offsets")                                                    \
    X(OFFSET_GET, "GET", "/v1/pipelines/{pipeline}/offsets/{backend}/{schema}/{table}")                      \
    X(OFFSET_PUT, "PUT", "/v1/pipelines/{pipeline}/offsets/{backend}/{schema}/{table}")                      \
    X(OFFSET_DELETE, "DELETE", "/v1/pipelines/{pipeline}/offsets/{backend}/{schema}/{table}")                \
    X(SOURCE_PUT, "PUT", "/v1/pipelines/{pipeline}/source")                                                  \
    X(QUARANTINE, "GET", "/v1/pipelines/{pipeline}/quarantine")                                              \
    X(QUARANTINE_ADD, "POST", "/v1/pipelines/{pipeline}/quarantine")                                         \
    X(QUARANTINE_RESOLVE, "POST", "/v1/pipelines/{pipeline}/quarantine/resolve")                             \
    X(AUDIT, "GET", "/v1/pipelines/{pipeline}/audit")                                                        \
    X(AUDIT_ADD, "POST", "/v1/pipelines/{pipeline}/audit")                                                   \
    X(REPLAY_PLANS, "POST", "/v1/replay-plans")                                                              \
    X(COMMIT_DECISIONS, "POST", "/v1/commit-decisions")

typedef enum dp_route {
#define DP_ROUTE_ENUM(name, method, pattern) DP_ROUTE_##name,
    DP_ROUTE_LIST(DP_ROUTE_ENUM)
#undef DP_ROUTE_ENUM
        DP_ROUTE_COUNT
} dp_route;

typedef enum dp_route_outcome {
    DP_ROUTE_FOUND,
    DP_ROUTE_UNKNOWN_PATH,
    DP_ROUTE_WRONG_METHOD,  /* `allow` lists what the path answers */
    DP_ROUTE_TRAILING_SLASH /* the path without its last slash is one of ours: redirect there */
} dp_route_outcome;

enum { DP_ROUTE_MAX_PARAMETERS = 4 };

typedef struct dp_route_match {
    dp_route_outcome outcome;
    dp_route route; /* FOUND and WRONG_METHOD: one whose pattern matches; else DP_ROUTE_COUNT */
    unsigned parameter_count;
    dp_slice parameters[DP_ROUTE_MAX_PARAMETERS];
    char allow[32]; /* "GET, PUT" */
} dp_route_match;

void dp_route_find(dp_slice method, dp_slice path, dp_route_match *match);

const char *dp_route_method(dp_route route);
const char *dp_route_pattern(dp_route route);

#endif
