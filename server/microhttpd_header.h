/* What is asked of a request's header, and what the library hides of it.
 *
 * The rules are those of server/header_rules.h; here the fields are collected and the limits compared. Never
 * answers: a fault is marked in the request.
 */
#ifndef DPONE_SERVER_MICROHTTPD_HEADER_H
#define DPONE_SERVER_MICROHTTPD_HEADER_H

#include "server/microhttpd_parts.h"

/* The header is complete. The texts are those that the library gives with it. */
void dp_http_check_header(dp_http_request *request, const char *method, const char *version);

/* The fields that have been read so far, as when the library refuses the rest. */
void dp_http_collect_fields(dp_http_request *request);

/* The first fault counts. `detail` is constant text. */
void dp_http_mark_malformed(dp_http_request *request, unsigned status, const char *detail);

#endif
