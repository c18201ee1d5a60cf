#include "client/http_curl.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* What is set on an easy handle for the method; it is set again only when it changes. */
typedef enum method_shape { SHAPE_UNSET, SHAPE_GET, SHAPE_HEAD, SHAPE_POST, SHAPE_CUSTOM } method_shape;

typedef enum refusal {
    REFUSAL_NONE,
    REFUSAL_CALLER,
    REFUSAL_TOO_LARGE,
    REFUSAL_HEAD,
    REFUSAL_MEMORY
} refusal;

typedef struct open_socket {
    int fd;
    int local_port; /* 0: not asked for yet */
} open_socket;

struct dp_transport_handle {
    CURL *easy;
    dp_transport_channel *channel;
    dp_transport_exchange *exchange;
    dp_transport_handle *previous;
    dp_transport_handle *next;
    struct curl_slist lines[DP_TRANSPORT_MAX_LINES];
    char error_text[CURL_ERROR_SIZE];
    method_shape shape;
    char *url; /* what CURLOPT_URL holds now */
    size_t url_capacity;
    CURLU *parsed_url;  /* the same; set, libcurl need not parse and print it again for every request */
    bool head_complete; /* the empty line after the fields has been seen */
    bool request_begun; /* connected, the request is being sent */
    bool source_ended;
    bool connection_spoilt; /* the pooled connection had bytes in it that belong to no request */
    refusal refused;
    int64_t last_progress_us; /* the last sign of life that is known */
    int64_t looked_at_us;     /* when the counters were asked last */
    curl_off_t sent_bytes;    /* as of then */
    curl_off_t received_bytes;
};

struct dp_transport_channel {
    CURLM *multi;
    const dp_client_config *config;
    dp_transport_handle *active;
    dp_transport_handle *idle;
    dp_transport_exchange *ended_first;
    dp_transport_exchange *ended_last;
    size_t active_count;
    size_t new_count; /* of them, started and not yet on their way */
    bool http_2_seen;
    bool http_1_over_tls_seen;
    open_socket *sockets;
    size_t socket_count;
    size_t socket_capacity;
};

dp_status dp_transport_global_init(dp_error *error)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT); /* counts, and is thread-safe since 7.84 */
    if (code == CURLE_OK) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_INTERNAL, "libcurl cannot start: %s", curl_easy_strerror(code));
}

/* --- callbacks of one transfer --- */

static size_t refuse(dp_transport_handle *handle, refusal why)
{
    if (handle->refused == REFUSAL_NONE) handle->refused = why;
    return 0;
}

/* "HTTP/1.1 200 OK": libcurl has checked the form. */
static void begin_reply(dp_transport_handle *handle, dp_slice line)
{
    dp_transport_exchange *exchange = handle->exchange;
    dp_slice version;
    dp_slice rest;
    uint64_t status = 0;
    if (dp_slice_split(line, ' ', &version, &rest)) {
        dp_slice digits;
        dp_slice_split(dp_slice_trim(rest), ' ', &digits, &rest);
        if (!dp_slice_to_u64(digits, 999, &status)) status = 0;
    }
    exchange->http_status = (int)status;
    bool is_1_0 = dp_slice_equal(version, DP_SLICE_LITERAL("HTTP/1.0"));
    bool is_1_1 = dp_slice_equal(version, DP_SLICE_LITERAL("HTTP/1.1"));
    exchange->http_version = is_1_1 ? 11 : is_1_0 ? 10 : 20;
    handle->head_complete = false;
    dp_buffer_clear(&exchange->reply->head);
    dp_buffer_clear(&exchange->reply->body);
}

/* After 303 See Other everything but HEAD goes on as GET (RFC 9110, 15.4.4); libcurl would repeat a method
 * that it was given by name. */
static void go_on_as_get(dp_transport_handle *handle)
{
    if (handle->exchange->http_status != 303 || handle->shape != SHAPE_CUSTOM) return;
    if (curl_easy_setopt(handle->easy, CURLOPT_CUSTOMREQUEST, NULL) == CURLE_OK) handle->shape = SHAPE_UNSET;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    dp_transport_handle *handle = context;
    dp_slice line = {data, size * count};
    if (dp_slice_starts_with(line, DP_SLICE_LITERAL("HTTP/"))) {
        begin_reply(handle, line);
        return line.length;
    }
    dp_slice text = dp_slice_trim(line);
    if (text.length == 0) {
        handle->head_complete = true;
        go_on_as_get(handle);
        return line.length;
    }
    if (handle->head_complete) return line.length; /* a trailer field after a chunked body */
    dp_buffer *head = &handle->exchange->reply->head;
    dp_buffer_append_slice(head, text);
    dp_buffer_append_byte(head, '\n');
    if (head->failed) return refuse(handle, head->out_of_memory ? REFUSAL_MEMORY : REFUSAL_HEAD);
    return line.length;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    dp_transport_handle *handle = context;
    dp_transport_exchange *exchange = handle->exchange;
    dp_slice part = {data, size * count};
    bool to_sink = exchange->sink != NULL && exchange->http_status >= 200 && exchange->http_status < 300;
    if (to_sink) {
        exchange->sink_written = true;
        return exchange->sink->write(exchange->sink->context, part) ? part.length
                                                                    : refuse(handle, REFUSAL_CALLER);
    }
    dp_buffer *body = &exchange->reply->body;
    dp_buffer_append_slice(body, part);
    if (body->failed) return refuse(handle, body->out_of_memory ? REFUSAL_MEMORY : REFUSAL_TOO_LARGE);
    return part.length;
}

static size_t on_read(char *out, size_t size, size_t count, void *context)
{
    dp_transport_handle *handle = context;
    const dp_client_body_source *source = handle->exchange->source;
    size_t length = 0;
    if (!source->read(source->context, out, size * count, &length) || length > size * count) {
        refuse(handle, REFUSAL_CALLER);
        return CURL_READFUNC_ABORT;
    }
    if (length == 0) handle->source_ended = true;
    return length;
}

/* libcurl starts the body again for a redirect, or when a pooled connection turns out to be dead. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    dp_transport_handle *handle = context;
    const dp_client_body_source *source = handle->exchange->source;
    handle->source_ended = false;
    bool done =
        origin == SEEK_SET && offset == 0 && source->rewind != NULL && source->rewind(source->context);
    return done ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_CANTSEEK;
}

static bool starts_with_https(const char *url)
{
    dp_slice start = {url, strnlen(url, 8)};
    return dp_slice_equal_ignoring_case(start, DP_SLICE_LITERAL("https://"));
}

/* --- the channel's sockets, by local port: libcurl names no socket to the callback before a request --- */

static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    dp_transport_channel *channel = context;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) return CURL_SOCKET_BAD;
    if (channel->socket_count == channel->socket_capacity) {
        size_t capacity = channel->socket_capacity == 0 ? 8 : 2 * channel->socket_capacity;
        open_socket *grown = realloc(channel->sockets, capacity * sizeof *grown);
        if (grown == NULL) return fd; /* works; is only not looked after */
        channel->sockets = grown;
        channel->socket_capacity = capacity;
    }
    channel->sockets[channel->socket_count++] = (open_socket){.fd = fd};
    return fd;
}

static int on_close_socket(void *context, curl_socket_t fd)
{
    dp_transport_channel *channel = context;
    for (size_t i = 0; i < channel->socket_count; i++) {
        if (channel->sockets[i].fd == fd) channel->sockets[i] = channel->sockets[--channel->socket_count];
    }
    return close(fd);
}

static int local_port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t length = sizeof address;
    if (getsockname(fd, &address.any, &length) != 0) return 0;
    if (address.any.sa_family == AF_INET) return ntohs(address.v4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

static int find_socket(dp_transport_channel *channel, int local_port)
{
    for (size_t i = 0; i < channel->socket_count; i++) {
        open_socket *known = &channel->sockets[i];
        if (known->local_port == 0) known->local_port = local_port_of(known->fd);
        if (known->local_port == local_port) return known->fd;
    }
    return -1;
}

/* HTTP/2 frames come unasked. What TLS has negotiated is known from the replies before. */
static bool may_be_http2(const dp_transport_handle *handle)
{
    const dp_transport_channel *channel = handle->channel;
    switch (channel->config->http_version) {
    case DP_CLIENT_HTTP_1_1: return false;
    case DP_CLIENT_HTTP_2_CLEARTEXT: return true;
    case DP_CLIENT_HTTP_AUTO: break;
    }
    return starts_with_https(handle->url) && (channel->http_2_seen || !channel->http_1_over_tls_seen);
}

/* Bytes on a pooled HTTP/1 connection before the request is sent belong to no request: taken for its reply
 * they would answer everything that follows with the answer before. libcurl 7.88 only looks whether it is
 * closed. */
static bool has_unasked_bytes(const dp_transport_handle *handle, int local_port)
{
    long connections = 0;
    char byte;
    if (handle->request_begun || may_be_http2(handle)) return false; /* a redirect's second leg; frames */
    curl_easy_getinfo(handle->easy, CURLINFO_NUM_CONNECTS, &connections);
    int fd = connections > 0 ? -1 : find_socket(handle->channel, local_port);
    return fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int on_request_begins(void *context, char *peer, char *local, int peer_port, int local_port)
{
    (void)peer, (void)local, (void)peer_port;
    dp_transport_handle *handle = context;
    if (has_unasked_bytes(handle, local_port)) {
        handle->connection_spoilt = true;
        return CURL_PREREQFUNC_ABORT; /* closes the connection */
    }
    handle->request_begun = true;
    handle->looked_at_us = 0; /* the clock begins when it is read next */
    return CURL_PREREQFUNC_OK;
}

/* --- handles --- */

static bool set_tls(CURL *easy, const dp_client_config *config)
{
    bool ok = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, config->tls.verify ? 1L : 0L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, config->tls.verify ? 2L : 0L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    if (config->tls.ca_file != NULL) {
        ok = ok && curl_easy_setopt(easy, CURLOPT_CAINFO, config->tls.ca_file) == CURLE_OK;
    }
    if (config->tls.certificate != NULL) {
        ok = ok && curl_easy_setopt(easy, CURLOPT_SSLCERT, config->tls.certificate) == CURLE_OK;
    }
    if (config->tls.private_key != NULL) {
        ok = ok && curl_easy_setopt(easy, CURLOPT_SSLKEY, config->tls.private_key) == CURLE_OK;
    }
    return ok;
}

static long curl_version_of(dp_client_http_version version)
{
    switch (version) {
    case DP_CLIENT_HTTP_AUTO: return CURL_HTTP_VERSION_2TLS;
    case DP_CLIENT_HTTP_1_1: return CURL_HTTP_VERSION_1_1;
    case DP_CLIENT_HTTP_2_CLEARTEXT: return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    }
    return CURL_HTTP_VERSION_1_1;
}

static bool set_network(CURL *easy, const dp_client_config *config)
{
    bool ok =
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, curl_version_of(config->http_version)) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)config->timeouts.connect_ms) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, config->follow_redirects ? 1L : 0L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)config->max_redirects) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_USERAGENT, config->user_agent) == CURLE_OK;
    if (config->proxy != NULL) ok = ok && curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy) == CURLE_OK;
    if (config->no_proxy != NULL)
        ok = ok && curl_easy_setopt(easy, CURLOPT_NOPROXY, config->no_proxy) == CURLE_OK;
    return ok;
}

static bool set_callbacks(dp_transport_handle *handle)
{
    CURL *easy = handle->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->error_text) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKDATA, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request_begins) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, handle) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, handle->channel) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, handle->channel) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L) == CURLE_OK;
}

static void handle_free(dp_transport_handle *handle)
{
    if (handle == NULL) return;
    curl_easy_cleanup(handle->easy);
    curl_url_cleanup(handle->parsed_url);
    free(handle->url);
    free(handle);
}

static dp_transport_handle *handle_new(dp_transport_channel *channel)
{
    dp_transport_handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) return NULL;
    handle->channel = channel;
    handle->easy = curl_easy_init();
    if (handle->easy == NULL || !set_callbacks(handle) || !set_network(handle->easy, channel->config) ||
        !set_tls(handle->easy, channel->config)) {
        handle_free(handle);
        return NULL;
    }
    return handle;
}

static dp_transport_handle *take_handle(dp_transport_channel *channel)
{
    dp_transport_handle *handle = channel->idle;
    if (handle != NULL) {
        channel->idle = handle->next;
    } else {
        handle = handle_new(channel);
        if (handle == NULL) return NULL;
    }
    channel->active_count++;
    handle->previous = NULL;
    handle->next = channel->active;
    if (channel->active != NULL) channel->active->previous = handle;
    channel->active = handle;
    return handle;
}

static void give_handle_back(dp_transport_handle *handle)
{
    dp_transport_channel *channel = handle->channel;
    channel->active_count--;
    if (handle->previous == NULL) {
        channel->active = handle->next;
    } else {
        handle->previous->next = handle->next;
    }
    if (handle->next != NULL) handle->next->previous = handle->previous;
    handle->exchange->handle = NULL;
    handle->exchange = NULL;
    handle->next = channel->idle;
    channel->idle = handle;
}

/* --- starting an exchange --- */

/* A URL that cannot be parsed is left to libcurl, which ends the transfer with the reason. */
static bool set_parsed_url(dp_transport_handle *handle, const char *url)
{
    if (handle->parsed_url == NULL) handle->parsed_url = curl_url();
    if (handle->parsed_url == NULL) return false;
    CURLUcode code = curl_url_set(handle->parsed_url, CURLUPART_URL, url, 0);
    if (code == CURLUE_OUT_OF_MEMORY) return false;
    return curl_easy_setopt(handle->easy, CURLOPT_CURLU, code == CURLUE_OK ? handle->parsed_url : NULL) ==
           CURLE_OK;
}

static bool set_url(dp_transport_handle *handle, const char *url)
{
    if (handle->url != NULL && strcmp(handle->url, url) == 0) return true;
    size_t bytes = strlen(url) + 1;
    if (bytes > handle->url_capacity) {
        char *grown = realloc(handle->url, bytes);
        if (grown == NULL) return false;
        handle->url = grown;
        handle->url_capacity = bytes;
    }
    handle->url[0] = '\0'; /* holds nothing libcurl knows until it has accepted it */
    bool secure = starts_with_https(url);
    const char *redirects = secure ? "https" : "http,https"; /* never back to clear text */
    /* Where HTTP/2 may come of it, wait for a connection that is being made instead of opening another. */
    bool may_share = secure || handle->channel->config->http_version == DP_CLIENT_HTTP_2_CLEARTEXT;
    if (curl_easy_setopt(handle->easy, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(handle->easy, CURLOPT_REDIR_PROTOCOLS_STR, redirects) != CURLE_OK ||
        curl_easy_setopt(handle->easy, CURLOPT_PIPEWAIT, may_share ? 1L : 0L) != CURLE_OK ||
        !set_parsed_url(handle, url)) {
        return false;
    }
    memcpy(handle->url, url, bytes);
    return true;
}

static bool set_lines(dp_transport_handle *handle)
{
    const dp_transport_exchange *exchange = handle->exchange;
    size_t count =
        exchange->line_count < DP_TRANSPORT_MAX_LINES ? exchange->line_count : DP_TRANSPORT_MAX_LINES;
    for (size_t i = 0; i < count; i++) {
        /* libcurl reads the list and never writes to it, whatever the type of `data` says */
        handle->lines[i].data = (char *)(uintptr_t)exchange->lines[i];
        handle->lines[i].next = i + 1 < count ? &handle->lines[i + 1] : NULL;
    }
    return curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, count == 0 ? NULL : handle->lines) == CURLE_OK;
}

static bool set_body(dp_transport_handle *handle)
{
    const dp_transport_exchange *exchange = handle->exchange;
    CURL *easy = handle->easy;
    if (exchange->source != NULL) {
        return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->source->length) ==
                   CURLE_OK;
    }
    return curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.length) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                            exchange->body.length == 0 ? "" : exchange->body.data) == CURLE_OK;
}

static method_shape shape_of(const dp_transport_exchange *exchange)
{
    bool has_body = exchange->source != NULL || exchange->body.length > 0;
    if (strcmp(exchange->method, "POST") == 0) return SHAPE_POST;
    if (strcmp(exchange->method, "GET") == 0 && !has_body) return SHAPE_GET;
    if (strcmp(exchange->method, "HEAD") == 0 && !has_body) return SHAPE_HEAD;
    return SHAPE_CUSTOM;
}

static bool set_method(dp_transport_handle *handle)
{
    const dp_transport_exchange *exchange = handle->exchange;
    CURL *easy = handle->easy;
    method_shape shape = shape_of(exchange);
    bool ok = true;
    if (shape != handle->shape || shape == SHAPE_CUSTOM) {
        handle->shape = SHAPE_UNSET;
        ok = curl_easy_setopt(easy, CURLOPT_NOBODY, 0L) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL) == CURLE_OK;
    }
    bool has_body = exchange->source != NULL || exchange->body.length > 0;
    if (ok && shape != handle->shape) {
        if (shape == SHAPE_HEAD) ok = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
        if (shape == SHAPE_POST || (shape == SHAPE_CUSTOM && has_body)) {
            ok = curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK;
        }
        if (shape == SHAPE_CUSTOM) {
            ok = ok && curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method) == CURLE_OK;
        }
        if (ok) handle->shape = shape;
    }
    return ok && (shape == SHAPE_GET || shape == SHAPE_HEAD || !(has_body || shape == SHAPE_POST) ||
                  set_body(handle));
}

static void reset_for_start(dp_transport_handle *handle, dp_transport_exchange *exchange)
{
    exchange->handle = handle;
    exchange->end = DP_EXCHANGE_NO_CONNECTION;
    exchange->http_status = exchange->http_version = 0;
    exchange->sink_written = exchange->reused = false;
    exchange->connect_us = exchange->first_byte_us = 0;
    exchange->message[0] = '\0';
    exchange->next_ended = NULL;
    dp_buffer_clear(&exchange->reply->head);
    dp_buffer_clear(&exchange->reply->body);
    handle->exchange = exchange;
    handle->error_text[0] = '\0';
    handle->head_complete = handle->request_begun = handle->source_ended = false;
    handle->connection_spoilt = false;
    handle->refused = REFUSAL_NONE;
    handle->sent_bytes = handle->received_bytes = 0;
    handle->looked_at_us = 0;
}

static bool cannot_start(dp_transport_exchange *exchange)
{
    exchange->end = DP_EXCHANGE_NO_MEMORY;
    snprintf(exchange->message, sizeof exchange->message, "out of memory for the request");
    return false;
}

bool dp_transport_start(dp_transport_channel *channel, dp_transport_exchange *exchange)
{
    dp_transport_handle *handle = take_handle(channel);
    if (handle == NULL) return cannot_start(exchange);
    reset_for_start(handle, exchange);
    if (!set_url(handle, exchange->url) || !set_lines(handle) || !set_method(handle) ||
        curl_multi_add_handle(channel->multi, handle->easy) != CURLM_OK) {
        give_handle_back(handle);
        return cannot_start(exchange);
    }
    channel->new_count++;
    return true;
}

/* --- ending an exchange --- */

/* libcurl follows a redirect only where it may; where it may not, the 3xx reply is what the caller gets. */
static bool is_refused_redirect(const dp_transport_handle *handle, CURLcode code)
{
    int status = handle->exchange->http_status;
    if (status < 300 || status > 399 || !handle->head_complete) return false;
    return code == CURLE_TOO_MANY_REDIRECTS ||
           (code == CURLE_UNSUPPORTED_PROTOCOL && strstr(handle->error_text, "HTTP/") == NULL);
}

static dp_exchange_end end_of_refusal(refusal refused)
{
    switch (refused) {
    case REFUSAL_NONE:
    case REFUSAL_HEAD: return DP_EXCHANGE_NO_CONNECTION;
    case REFUSAL_CALLER: return DP_EXCHANGE_REFUSED;
    case REFUSAL_TOO_LARGE: return DP_EXCHANGE_TOO_LARGE;
    case REFUSAL_MEMORY: return DP_EXCHANGE_NO_MEMORY;
    }
    return DP_EXCHANGE_NO_CONNECTION;
}

static dp_exchange_end end_of_code(const dp_transport_handle *handle, CURLcode code)
{
    if (handle->refused != REFUSAL_NONE) return end_of_refusal(handle->refused);
    if (is_refused_redirect(handle, code)) return DP_EXCHANGE_REPLIED;
    switch ((int)code) { /* a list of the library's, of which most mean that the connection is no good */
    case CURLE_OK:
        /* A connection closed inside the header is no error to libcurl. */
        return handle->head_complete ? DP_EXCHANGE_REPLIED : DP_EXCHANGE_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT: return DP_EXCHANGE_TIMED_OUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR: return DP_EXCHANGE_UNTRUSTED;
    case CURLE_OUT_OF_MEMORY: /* also libcurl's word for a header line that is too long for it */
        return handle->request_begun ? DP_EXCHANGE_NO_CONNECTION : DP_EXCHANGE_NO_MEMORY;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_NOT_BUILT_IN:
    case CURLE_FAILED_INIT: return DP_EXCHANGE_UNUSABLE;
    default: return DP_EXCHANGE_NO_CONNECTION;
    }
}

static void describe(dp_transport_handle *handle, CURLcode code)
{
    dp_transport_exchange *exchange = handle->exchange;
    const char *text = handle->error_text[0] != '\0' ? handle->error_text : curl_easy_strerror(code);
    switch (handle->refused) {
    case REFUSAL_NONE: break;
    case REFUSAL_CALLER: text = "the body's source or sink gave up"; break;
    case REFUSAL_TOO_LARGE: text = "the reply's body is larger than max_response_bytes"; break;
    case REFUSAL_HEAD: text = "the reply's header is larger than 256 KiB"; break;
    case REFUSAL_MEMORY: text = "out of memory for the reply"; break;
    }
    if (code == CURLE_OK && handle->refused == REFUSAL_NONE) text = "the reply ended inside its header";
    snprintf(exchange->message, sizeof exchange->message, "%s", text);
}

static void read_timing(dp_transport_handle *handle)
{
    dp_transport_exchange *exchange = handle->exchange;
    curl_off_t first_byte = 0;
    long connections = 0;
    curl_easy_getinfo(handle->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
    curl_easy_getinfo(handle->easy, CURLINFO_NUM_CONNECTS, &connections);
    exchange->first_byte_us = first_byte;
    exchange->reused = connections == 0 && handle->request_begun;
    if (!exchange->reused) {
        curl_off_t connected = 0;
        curl_easy_getinfo(handle->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
        exchange->connect_us = connected;
    }
}

static void end_exchange(dp_transport_handle *handle, dp_exchange_end end)
{
    dp_transport_channel *channel = handle->channel;
    dp_transport_exchange *exchange = handle->exchange;
    exchange->end = end;
    if (exchange->http_version == 20) channel->http_2_seen = true;
    if (exchange->http_version == 11 && starts_with_https(handle->url)) channel->http_1_over_tls_seen = true;
    read_timing(handle);
    curl_multi_remove_handle(channel->multi, handle->easy);
    give_handle_back(handle);
}

static void append_ended(dp_transport_channel *channel, dp_transport_exchange *exchange)
{
    exchange->next_ended = NULL;
    if (channel->ended_last == NULL) {
        channel->ended_first = exchange;
    } else {
        channel->ended_last->next_ended = exchange;
    }
    channel->ended_last = exchange;
}

dp_transport_exchange *dp_transport_next_ended(dp_transport_channel *channel)
{
    dp_transport_exchange *exchange = channel->ended_first;
    if (exchange == NULL) return NULL;
    channel->ended_first = exchange->next_ended;
    if (channel->ended_first == NULL) channel->ended_last = NULL;
    return exchange;
}

/* Nothing has been sent yet: the same exchange goes to another connection. Each time one is closed, so it
 * ends. */
static bool start_again(dp_transport_handle *handle)
{
    dp_transport_channel *channel = handle->channel;
    handle->connection_spoilt = false;
    handle->error_text[0] = '\0';
    channel->new_count++;
    curl_multi_remove_handle(channel->multi, handle->easy);
    return curl_multi_add_handle(channel->multi, handle->easy) == CURLM_OK;
}

static void collect_ended(dp_transport_channel *channel)
{
    int left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(channel->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        dp_transport_handle *handle = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &handle);
        dp_transport_exchange *exchange = handle->exchange;
        if (handle->connection_spoilt && start_again(handle)) continue;
        dp_exchange_end end = end_of_code(handle, code);
        if (end != DP_EXCHANGE_REPLIED || code != CURLE_OK) describe(handle, code);
        end_exchange(handle, end);
        append_ended(channel, exchange);
    }
}

/* --- time --- */

static bool still_sending(const dp_transport_handle *handle)
{
    const dp_transport_exchange *exchange = handle->exchange;
    if (exchange->http_status != 0) return false; /* the reply has begun */
    if (exchange->source != NULL) return !handle->source_ended;
    return handle->sent_bytes < (curl_off_t)exchange->body.length;
}

/* libcurl's counters say whether anything has moved, in either direction. They are asked four times within
 * the shorter limit instead of at every packet: reading the clock costs as much as handling a small one. */
static int64_t look_interval_us(const dp_client_config *config)
{
    uint32_t read_ms = config->timeouts.read_ms;
    uint32_t write_ms = config->timeouts.write_ms;
    return (int64_t)(read_ms < write_ms ? read_ms : write_ms) * 1000 / 4;
}

static void look_at_counters(dp_transport_handle *handle, int64_t now_us)
{
    curl_off_t sent = 0;
    curl_off_t received = 0;
    long head = 0;
    curl_easy_getinfo(handle->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    curl_easy_getinfo(handle->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    curl_easy_getinfo(handle->easy, CURLINFO_HEADER_SIZE, &head);
    received += head;
    if (handle->looked_at_us == 0) handle->last_progress_us = now_us;
    if (sent != handle->sent_bytes || received != handle->received_bytes) handle->last_progress_us = now_us;
    handle->sent_bytes = sent;
    handle->received_bytes = received;
    handle->looked_at_us = now_us;
}

/* When the exchange has to be given up unless something moves. */
static int64_t patience_ends_us(const dp_transport_handle *handle, const char **why)
{
    const dp_client_config *config = handle->channel->config;
    int64_t ends = INT64_MAX;
    if (handle->request_begun) {
        bool sending = still_sending(handle);
        uint32_t limit_ms = sending ? config->timeouts.write_ms : config->timeouts.read_ms;
        *why = sending ? "write timeout: the server accepts no more of the request"
                       : "read timeout: the server sends no (more) reply";
        ends = handle->last_progress_us + (int64_t)limit_ms * 1000;
    }
    if (handle->exchange->deadline_us <= ends) {
        *why = "total timeout";
        ends = handle->exchange->deadline_us;
    }
    return ends;
}

/* Gives the time at which this handle has to be looked at again, or 0 when its exchange has ended. */
static int64_t check_time(dp_transport_handle *handle, int64_t now_us)
{
    dp_transport_channel *channel = handle->channel;
    int64_t look_us = INT64_MAX;
    if (handle->request_begun) {
        int64_t interval_us = look_interval_us(channel->config);
        if (handle->looked_at_us == 0 || now_us >= handle->looked_at_us + interval_us)
            look_at_counters(handle, now_us);
        look_us = handle->looked_at_us + interval_us;
    }
    const char *why = NULL;
    int64_t ends_us = patience_ends_us(handle, &why);
    if (ends_us > now_us) return ends_us < look_us ? ends_us : look_us;
    dp_transport_exchange *exchange = handle->exchange;
    snprintf(exchange->message, sizeof exchange->message, "%s", why);
    end_exchange(handle, DP_EXCHANGE_TIMED_OUT);
    append_ended(channel, exchange);
    return 0;
}

static int64_t end_the_overdue(dp_transport_channel *channel, int64_t now_us)
{
    int64_t next_us = INT64_MAX;
    for (dp_transport_handle *handle = channel->active, *following; handle != NULL; handle = following) {
        following = handle->next;
        int64_t check_us = check_time(handle, now_us);
        if (check_us > 0 && check_us < next_us) next_us = check_us;
    }
    return next_us;
}

static void perform(dp_transport_channel *channel)
{
    int running = 0;
    channel->new_count = 0;
    curl_multi_perform(channel->multi, &running);
    collect_ended(channel);
}

static int poll_timeout_ms(int64_t until_us, int64_t now_us)
{
    const int64_t longest_ms = 3600 * 1000;
    if (until_us <= now_us) return 0;
    if (until_us - now_us >= longest_ms * 1000) return (int)longest_ms;
    return (int)((until_us - now_us + 999) / 1000);
}

void dp_transport_run(dp_transport_channel *channel, int extra_fd, int64_t until_us, bool *extra_ready)
{
    *extra_ready = false;
    if (channel->new_count > 0) perform(channel);
    bool ended = channel->ended_first != NULL;
    if (ended && extra_fd < 0) return;
    int64_t now_us = dp_clock_monotonic_us();
    int64_t timer_us = end_the_overdue(channel, now_us);
    if (channel->ended_first != NULL) until_us = 0;
    if (timer_us < until_us) until_us = timer_us;
    struct curl_waitfd extra = {.fd = extra_fd, .events = CURL_WAIT_POLLIN};
    unsigned extra_count = extra_fd < 0 ? 0 : 1;
    curl_multi_poll(channel->multi, extra_count == 0 ? NULL : &extra, extra_count,
                    poll_timeout_ms(until_us, now_us), NULL);
    *extra_ready = extra_count == 1 && extra.revents != 0;
    if (channel->active != NULL) perform(channel);
    if (channel->active != NULL) end_the_overdue(channel, dp_clock_monotonic_us());
}

/* A new handle's timer is due at once, so running the timers runs what is new and nothing else. Where that is
 * most of what there is, looking at everything is cheaper: no list of sockets to keep. */
void dp_transport_kick(dp_transport_channel *channel)
{
    int running = 0;
    if (2 * channel->new_count >= channel->active_count) {
        perform(channel);
        return;
    }
    channel->new_count = 0;
    curl_multi_socket_action(channel->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_ended(channel);
}

void dp_transport_abort(dp_transport_channel *channel, dp_transport_exchange *exchange)
{
    (void)channel;
    dp_transport_handle *handle = exchange->handle;
    if (handle == NULL) return;
    snprintf(exchange->message, sizeof exchange->message, "cancelled");
    end_exchange(handle, DP_EXCHANGE_CANCELLED);
}

void dp_transport_wake(dp_transport_channel *channel)
{
    curl_multi_wakeup(channel->multi);
}

/* --- the channel --- */

dp_transport_channel *dp_transport_channel_new(const dp_client_config *config)
{
    dp_transport_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) return NULL;
    channel->config = config;
    channel->multi = curl_multi_init();
    if (channel->multi == NULL) {
        free(channel);
        return NULL;
    }
    curl_multi_setopt(channel->multi, CURLMOPT_MAXCONNECTS, (long)config->bulkhead.max_concurrency);
    return channel;
}

void dp_transport_channel_free(dp_transport_channel *channel)
{
    if (channel == NULL) return;
    while (channel->idle != NULL) {
        dp_transport_handle *handle = channel->idle;
        channel->idle = handle->next;
        handle_free(handle);
    }
    curl_multi_cleanup(channel->multi);
    free(channel->sockets);
    free(channel);
}
