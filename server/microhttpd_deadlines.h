/* How long the phases of a connection may take: a header, a body. The event thread's own.
 *
 * What has come is not looked at, only when it was complete; silence is the library's own matter.
 */
#ifndef DPONE_SERVER_MICROHTTPD_DEADLINES_H
#define DPONE_SERVER_MICROHTTPD_DEADLINES_H

#include "server/microhttpd_parts.h"

/* The next phase begins now. `tracked`: it has a deadline. */
void dp_http_set_phase(dp_http_connection *owner, bool tracked, int64_t timeout_us);

/* The timer of a connection has come due: closes it when its phase has lasted too long, or when the sender of
 * the body has gone. */
void dp_http_expire(dp_http_connection *owner);

#endif
