/* What libmicrohttpd calls: connections and requests as they begin, go on and end.
 *
 * The first four functions are callbacks of the library, and run on the event thread.
 */
#ifndef DPONE_SERVER_MICROHTTPD_CONNECTION_H
#define DPONE_SERVER_MICROHTTPD_CONNECTION_H

#include "server/microhttpd_parts.h"

void *dp_http_begin_request(void *context, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result dp_http_handle(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                               const char *version, const char *upload_data, size_t *upload_length,
                               void **request_slot);
void dp_http_complete_request(void *context, struct MHD_Connection *mhd, void **request_slot,
                              enum MHD_RequestTerminationCode code);
void dp_http_notify_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                               enum MHD_ConnectionNotificationCode code);

/* NULL: there was no memory for it. */
dp_http_connection *dp_http_connection_of(struct MHD_Connection *mhd);

/* The connection has a new request. NULL: no memory. */
dp_http_request *dp_http_add_request(dp_http_connection *owner, struct MHD_Connection *mhd);

/* Its header is complete, or refused: from here on it is counted. */
void dp_http_start_request(dp_http_request *request);

/* Nothing more will come of it: on_done, once. */
void dp_http_finish_request(dp_http_request *request);

#endif
