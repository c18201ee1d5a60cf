/* Answers of the HTTP adapter: at once, later from any thread, or piece by piece (server/http.h).
 *
 * A request without an answer is suspended, which is what dp_http_defer does. All of this is the event
 * thread's, but for dp_http_respond and dp_http_respond_stream of a request that was handed over.
 */
#ifndef DPONE_SERVER_MICROHTTPD_ANSWER_H
#define DPONE_SERVER_MICROHTTPD_ANSWER_H

#include "server/microhttpd_parts.h"

/* It no longer waits for an answer. */
void dp_http_forget_deferred(dp_http_request *request);

/* The connection takes the answer up when it goes on. */
void dp_http_resume(dp_http_request *request);

/* The answer that was set and has not been given to the library. */
void dp_http_forget_answer(dp_http_request *request);

/* The request is over before the library has let go of the answer. */
void dp_http_end_stream(dp_http_request *request);

/* Gives the answer to the library. MHD_NO: it cannot be sent. */
enum MHD_Result dp_http_queue_answer(dp_http_request *request);

#endif
