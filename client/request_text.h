/* The text of a request: its absolute URL, its header lines, and the form of it that may be shown to people.
 * Pure but for the fresh request id. Refuses what could split a header or leave the allowed schemes. */
#ifndef DPONE_CLIENT_REQUEST_TEXT_H
#define DPONE_CLIENT_REQUEST_TEXT_H

#include "base/buffer.h"
#include "client/client.h"

enum { DP_REQUEST_MAX_HEADERS = 64, DP_REQUEST_MAX_LINES = 2 * DP_REQUEST_MAX_HEADERS + 8 };

typedef struct dp_request_text {
    dp_buffer memory; /* url, shown, method, the URL as it was given, lines; each ended by NUL */
    const char *url;
    const char *method;
    const char *shown; /* "GET http://host/path": no user info, no query */
    size_t shown_at;
    size_t method_at;
    size_t given_at;
    size_t lines_at; /* 0: what comes before the lines is not complete */
    const char *lines[DP_REQUEST_MAX_LINES];
    size_t line_count;
} dp_request_text;

#define DP_REQUEST_TEXT_INIT                                                                                 \
    {                                                                                                        \
        .memory = DP_BUFFER_INIT(4U << 20)                                                                   \
    }

/* `request_id` holds the id to send when no header names one, and afterwards the one that is sent. Status
 * USAGE names what is wrong. A text may be made again, with the same configuration: its memory is kept, and
 * its URL too where it is the same. */
dp_status dp_request_text_make(dp_request_text *text, const dp_client_config *config,
                               const dp_client_request *request, char request_id[256], dp_error *error);

void dp_request_text_release(dp_request_text *text);

/* Whether the URL names http or https and a host. */
dp_status dp_request_url_check(const char *url, const char *what, dp_error *error);

/* Whether name is a token and value is free of line breaks and NUL (RFC 9110, 5.1 and 5.5). */
dp_status dp_request_header_check(const dp_client_header *header, dp_error *error);

#endif
