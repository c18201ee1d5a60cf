/* What the library refuses by itself, answered by the application as any other malformed request. See
 * server/microhttpd_redirects.h for how the library comes to ask.
 */
#ifndef DPONE_SERVER_MICROHTTPD_REFUSAL_H
#define DPONE_SERVER_MICROHTTPD_REFUSAL_H

#include <stdarg.h>

#include "server/microhttpd_parts.h"

/* The library logs what it is going to answer before it makes the answer: takes the status from that entry.
 */
void dp_http_note_refusal(dp_http_loop *loop, const char *format, va_list arguments);

#endif
