#include "server/microhttpd_redirects.h"

#include <string.h>
#include <sys/socket.h>

struct gnutls_session_int;

/* Called by the library instead of its own functions; the names behind the "was" are those. */
void *dp_http_pool_zero(void *memory, int value, size_t byte_count);
enum MHD_Result dp_http_arguments(struct MHD_Connection *mhd, enum MHD_ValueKind kind, char *text, void *each,
                                  unsigned *count);
enum MHD_Result dp_http_idle(struct MHD_Connection *mhd);
struct MHD_Response *dp_http_refusal(size_t size, void *page, enum MHD_ResponseMemoryMode mode);
size_t dp_http_chunk_size(const char *line, size_t length, uint64_t *size);
ssize_t dp_http_receive(int file, void *buffer, size_t size, int flags);
ssize_t dp_http_receive_tls(struct gnutls_session_int *session, void *buffer, size_t size);
ssize_t dp_http_send_header(struct MHD_Connection *mhd, const char *header, size_t header_size,
                            bool never_push_header, const char *body, size_t body_size, bool complete);

/* The library's own, and GnuTLS's, for calling on. */
ssize_t gnutls_record_recv(struct gnutls_session_int *session, void *buffer, size_t size);
size_t MHD_strx_to_uint64_n_(const char *line, size_t length, uint64_t *size);
enum MHD_Result MHD_connection_handle_idle(struct MHD_Connection *mhd);
ssize_t MHD_send_hdr_and_body_(struct MHD_Connection *mhd, const char *header, size_t header_size,
                               bool never_push_header, const char *body, size_t body_size, bool complete);

static _Thread_local struct MHD_Connection *current;

/* Was memset in the pools of connection memory. The pools hand out memory as malloc gave it, so nothing in
 * the library may count on zeros. What stays behind is what the same connection sent before, until it is
 * overwritten or freed. */
void *dp_http_pool_zero(void *memory, int value, size_t byte_count)
{
    (void)value;
    (void)byte_count;
    return memory;
}

/* Was MHD_parse_arguments_: the query is read by our own code. With more arguments than fit into the
 * connection's memory the library would prepare an answer and never send it. */
enum MHD_Result dp_http_arguments(struct MHD_Connection *mhd, enum MHD_ValueKind kind, char *text, void *each,
                                  unsigned *count)
{
    (void)mhd;
    (void)kind;
    (void)text;
    (void)each;
    *count = 0;
    return MHD_YES;
}

/* Was MHD_connection_handle_idle, which reads a request and finds what is wrong with it. */
enum MHD_Result dp_http_idle(struct MHD_Connection *mhd)
{
    current = mhd;
    enum MHD_Result result = MHD_connection_handle_idle(mhd);
    if (dp_http_received_odd != NULL) dp_http_see_odd(mhd);
    dp_http_received_end = dp_http_received_odd = NULL;
    return result;
}

/* The first NUL or LF without CR. An LF in front is left: what was before it is not here. */
static const char *find_odd(const char *buffer, size_t size)
{
    const char *nul = memchr(buffer, '\0', size);
    const char *end = nul == NULL ? buffer + size : nul;
    const char *feed = memchr(buffer, '\n', (size_t)(end - buffer));
    while (feed != NULL) {
        if (feed > buffer && feed[-1] != '\r') return feed;
        feed = memchr(feed + 1, '\n', (size_t)(end - feed - 1));
    }
    return nul;
}

/* The library works on what it has received at once, and on the same thread. */
static ssize_t note_received(const char *buffer, ssize_t got)
{
    dp_http_received_end = got > 0 ? buffer + got : NULL;
    dp_http_received_odd = got > 0 ? find_odd(buffer, (size_t)got) : NULL;
    return got;
}

/* Was recv. */
ssize_t dp_http_receive(int file, void *buffer, size_t size, int flags)
{
    return note_received(buffer, recv(file, buffer, size, flags));
}

/* Was gnutls_record_recv. */
ssize_t dp_http_receive_tls(struct gnutls_session_int *session, void *buffer, size_t size)
{
    return note_received(buffer, gnutls_record_recv(session, buffer, size));
}

/* Was MHD_strx_to_uint64_n_, which reads the sizes of chunks and nothing else. */
size_t dp_http_chunk_size(const char *line, size_t length, uint64_t *size)
{
    size_t digits = MHD_strx_to_uint64_n_(line, length, size);
    if (current != NULL && digits > 0) dp_http_see_chunk(current, line, digits, *size);
    return digits;
}

/* Was MHD_create_response_from_buffer where the library answers by itself. */
struct MHD_Response *dp_http_refusal(size_t size, void *page, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *made = current == NULL ? NULL : dp_http_refuse(current);
    return made == NULL ? MHD_create_response_from_buffer(size, page, mode) : made;
}

/* Was MHD_send_hdr_and_body_. A fault found when the header is complete makes the library write the header of
 * its answer twice, one behind the other: the first is left out. */
ssize_t dp_http_send_header(struct MHD_Connection *mhd, const char *header, size_t header_size,
                            bool never_push_header, const char *body, size_t body_size, bool complete)
{
    static const char between[] = "\r\n\r\nHTTP/1.1 ";
    size_t skipped = 0;
    if (dp_http_is_refused(mhd)) {
        const char *found = memmem(header, header_size, between, sizeof between - 1);
        if (found != NULL) skipped = (size_t)(found - header) + strlen("\r\n\r\n");
    }
    ssize_t sent = MHD_send_hdr_and_body_(mhd, header + skipped, header_size - skipped, never_push_header,
                                          body, body_size, complete);
    return sent < 0 ? sent : sent + (ssize_t)skipped;
}
