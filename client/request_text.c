#include "client/request_text.h"

#include <stdio.h>

#include "base/uuid.h"

/* --- checks --- */

static bool is_token_byte(unsigned char byte)
{
    if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'))
        return true;
    return byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL;
}

static bool is_token(const char *text)
{
    if (text == NULL || *text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (!is_token_byte((unsigned char)*text)) return false;
    }
    return true;
}

dp_status dp_request_header_check(const dp_client_header *header, dp_error *error)
{
    if (!is_token(header->name)) {
        return dp_error_set(error, DP_STATUS_USAGE, "header name '%.80s' is not a token (RFC 9110, 5.6.2)",
                            header->name == NULL ? "" : header->name);
    }
    for (const char *at = header->value; at != NULL; at++) {
        if (*at == '\0') return DP_STATUS_OK;
        unsigned char byte = (unsigned char)*at;
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F) {
            return dp_error_set(error, DP_STATUS_USAGE, "the value of header '%.80s' has a control character",
                                header->name);
        }
    }
    return dp_error_set(error, DP_STATUS_USAGE, "header '%.80s' has no value", header->name);
}

static bool has_scheme(dp_slice url, dp_slice scheme, dp_slice *rest)
{
    if (url.length < scheme.length) return false;
    if (!dp_slice_equal_ignoring_case(dp_slice_make(url.data, scheme.length), scheme)) return false;
    *rest = dp_slice_make(url.data + scheme.length, url.length - scheme.length);
    return true;
}

/* Gives what follows "http://" or "https://". */
static bool split_scheme(const char *url, dp_slice *rest)
{
    dp_slice text = dp_slice_of_text(url);
    return has_scheme(text, DP_SLICE_LITERAL("http://"), rest) ||
           has_scheme(text, DP_SLICE_LITERAL("https://"), rest);
}

static size_t authority_length(dp_slice rest)
{
    size_t length = 0;
    while (length < rest.length && strchr("/?#", rest.data[length]) == NULL) {
        length++;
    }
    return length;
}

dp_status dp_request_url_check(const char *url, const char *what, dp_error *error)
{
    dp_slice rest;
    if (!split_scheme(url, &rest)) {
        size_t shown = strchr(url, '@') == NULL ? 200 : 0; /* may hold a password */
        return dp_error_set(error, DP_STATUS_USAGE, "%s '%.*s' does not begin with http:// or https://", what,
                            (int)shown, url);
    }
    if (authority_length(rest) == 0) return dp_error_set(error, DP_STATUS_USAGE, "%s names no host", what);
    for (const char *at = url; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte <= 0x20 || byte == 0x7F) {
            return dp_error_set(error, DP_STATUS_USAGE,
                                "%s has a blank or control character; expected it to be percent-encoded",
                                what);
        }
    }
    return DP_STATUS_OK;
}

/* --- the URL --- */

static bool names_a_scheme(const char *url)
{
    size_t length = strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-.");
    return strncmp(url + length, "://", 3) == 0;
}

static void append_joined(dp_buffer *out, const char *base, const char *path)
{
    size_t base_length = strlen(base);
    while (base_length > 0 && base[base_length - 1] == '/') {
        base_length--;
    }
    dp_buffer_append(out, base, base_length);
    bool no_path = path[0] == '\0' || path[0] == '?';
    if (path[0] != '/' && !no_path) dp_buffer_append_byte(out, '/');
    dp_buffer_append_text(out, path);
}

static dp_status append_url(dp_buffer *out, const dp_client_config *config, const dp_client_request *request,
                            dp_error *error)
{
    const char *url = request->url;
    if (url == NULL) return dp_error_set(error, DP_STATUS_USAGE, "the request has no URL");
    if (names_a_scheme(url)) {
        dp_buffer_append_text(out, url);
    } else if (config->base_url != NULL) {
        append_joined(out, config->base_url, url);
    } else {
        return dp_error_set(error, DP_STATUS_USAGE, "URL '%.200s' names no scheme and there is no base_url",
                            url);
    }
    const char *joined = dp_buffer_text(out);
    if (joined == NULL) return dp_error_no_memory(error, "the request's URL");
    return dp_request_url_check(joined, "the request's URL", error);
}

static void append_shown(dp_buffer *out, const char *method, dp_slice url)
{
    dp_slice rest = url;
    has_scheme(url, DP_SLICE_LITERAL("http://"), &rest);
    has_scheme(url, DP_SLICE_LITERAL("https://"), &rest);
    size_t scheme_length = url.length - rest.length;
    dp_slice authority = {rest.data, authority_length(rest)};
    size_t host_at = 0;
    for (size_t i = 0; i < authority.length; i++) {
        if (authority.data[i] == '@') host_at = i + 1;
    }
    dp_slice path = {rest.data + host_at, rest.length - host_at};
    for (size_t i = 0; i < path.length; i++) {
        if (path.data[i] == '?' || path.data[i] == '#') path.length = i;
    }
    dp_buffer_append_text(out, method);
    dp_buffer_append_byte(out, ' ');
    dp_buffer_append(out, url.data, scheme_length);
    dp_buffer_append_slice(out, path);
}

/* --- header lines --- */

typedef struct line_writer {
    dp_request_text *text;
    size_t offsets[DP_REQUEST_MAX_LINES]; /* the buffer may move while lines are added */
} line_writer;

static void add_line(line_writer *writer, const char *name, const char *value)
{
    dp_buffer *out = &writer->text->memory;
    writer->offsets[writer->text->line_count++] = out->length;
    dp_buffer_append_text(out, name);
    /* libcurl's notation: "Name;" sends an empty value, "Name:" removes a header that it would add */
    bool empty = value != NULL && value[0] == '\0';
    dp_buffer_append_text(out, value == NULL ? ":" : empty ? ";" : ": ");
    if (value != NULL) dp_buffer_append_text(out, value);
    dp_buffer_append_byte(out, '\0');
}

static bool same_name(const char *left, const char *right)
{
    return dp_slice_equal_ignoring_case(dp_slice_of_text(left), dp_slice_of_text(right));
}

static const char *find_header(const dp_client_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (same_name(headers[i].name, name)) return headers[i].value;
    }
    return NULL;
}

static const char *given_header(const dp_client_config *config, const dp_client_request *request,
                                const char *name)
{
    const char *value = find_header(request->headers, request->header_count, name);
    return value != NULL ? value : find_header(config->headers, config->header_count, name);
}

static dp_status check_request(const dp_client_request *request, dp_error *error)
{
    if (request->header_count > DP_REQUEST_MAX_HEADERS) {
        return dp_error_set(error, DP_STATUS_USAGE, "the request has %zu headers; at most %d are allowed",
                            request->header_count, DP_REQUEST_MAX_HEADERS);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        dp_status status = dp_request_header_check(&request->headers[i], error);
        if (status != DP_STATUS_OK) return status;
        if (same_name(request->headers[i].name, "Content-Length") ||
            same_name(request->headers[i].name, "Transfer-Encoding")) {
            return dp_error_set(error, DP_STATUS_USAGE, "header '%s' is set by the client itself",
                                request->headers[i].name);
        }
    }
    if (request->method != NULL && !is_token(request->method)) {
        return dp_error_set(error, DP_STATUS_USAGE, "method '%.80s' is not a token", request->method);
    }
    if (request->body_source != NULL && request->body.length > 0) {
        return dp_error_set(error, DP_STATUS_USAGE, "the request has both a body and a body source");
    }
    dp_client_header id = {"X-Request-ID", request->request_id};
    dp_client_header type = {"Content-Type", request->content_type};
    dp_status status = DP_STATUS_OK;
    if (request->request_id != NULL) status = dp_request_header_check(&id, error);
    if (status == DP_STATUS_OK && request->content_type != NULL)
        status = dp_request_header_check(&type, error);
    return status;
}

/* Only where there is a body or may be taken to be one: libcurl looks at every line for every field of its
 * own. */
static void add_body_lines(line_writer *writer, const dp_client_config *config,
                           const dp_client_request *request)
{
    enum { EXPECTED_ABOVE_BYTES = 512 * 1024 }; /* libcurl asks for "100 Continue" above 1 MiB */
    bool has_body = request->body.length > 0 || request->body_source != NULL;
    if (!has_body && (request->method == NULL || strcmp(request->method, "GET") == 0)) return;
    if (given_header(config, request, "Content-Type") == NULL) {
        const char *type = request->content_type == NULL ? "application/json" : request->content_type;
        add_line(writer, "Content-Type", has_body ? type : NULL);
    }
    bool may_expect = request->body_source != NULL || request->body.length > EXPECTED_ABOVE_BYTES;
    if (may_expect && given_header(config, request, "Expect") == NULL) add_line(writer, "Expect", NULL);
}

static void add_lines(line_writer *writer, const dp_client_config *config, const dp_client_request *request,
                      char request_id[256])
{
    for (size_t i = 0; i < config->header_count; i++) {
        const dp_client_header *header = &config->headers[i];
        if (find_header(request->headers, request->header_count, header->name) == NULL) {
            add_line(writer, header->name, header->value);
        }
    }
    for (size_t i = 0; i < request->header_count; i++) {
        add_line(writer, request->headers[i].name, request->headers[i].value);
    }
    const char *id = given_header(config, request, "X-Request-ID");
    bool in_header = id != NULL;
    if (!in_header) id = request->request_id;
    if (id == NULL) {
        dp_uuid_v4(request_id);
        id = request_id;
    } else {
        snprintf(request_id, 256, "%s", id);
    }
    if (!in_header) add_line(writer, "X-Request-ID", id);
    add_body_lines(writer, config, request);
}

static bool is_same_target(const dp_request_text *text, const char *method, const char *url)
{
    if (text->lines_at == 0 || url == NULL) return false;
    return strcmp(text->memory.data + text->method_at, method) == 0 &&
           strcmp(text->memory.data + text->given_at, url) == 0;
}

/* Everything before the lines. */
static dp_status make_target(dp_request_text *text, const dp_client_config *config,
                             const dp_client_request *request, const char *method, dp_error *error)
{
    dp_buffer *memory = &text->memory;
    text->lines_at = 0;
    dp_buffer_clear(memory);
    dp_status status = append_url(memory, config, request, error);
    if (status != DP_STATUS_OK) return status;
    size_t url_length = memory->length;
    dp_buffer_append_byte(memory, '\0');
    text->shown_at = memory->length;
    /* The URL that is copied from must not move meanwhile. */
    if (!dp_buffer_reserve(memory, url_length + strlen(method) + 2))
        return dp_error_no_memory(error, "the request");
    append_shown(memory, method, dp_slice_make(memory->data, url_length));
    dp_buffer_append_byte(memory, '\0');
    text->method_at = memory->length;
    dp_buffer_append(memory, method, strlen(method) + 1);
    text->given_at = memory->length;
    dp_buffer_append(memory, request->url, strlen(request->url) + 1);
    if (memory->failed) return dp_error_no_memory(error, "the request");
    text->lines_at = memory->length;
    return DP_STATUS_OK;
}

dp_status dp_request_text_make(dp_request_text *text, const dp_client_config *config,
                               const dp_client_request *request, char request_id[256], dp_error *error)
{
    const char *method = request->method == NULL ? "GET" : request->method;
    dp_status status = check_request(request, error);
    if (status == DP_STATUS_OK && !is_same_target(text, method, request->url)) {
        status = make_target(text, config, request, method, error);
    }
    if (status != DP_STATUS_OK) return status;
    text->memory.length = text->lines_at;
    text->line_count = 0;
    line_writer writer; /* not cleared: only the offsets of lines that were added are read */
    writer.text = text;
    add_lines(&writer, config, request, request_id);
    if (text->memory.failed) {
        text->lines_at = 0;
        return dp_error_no_memory(error, "the request's headers");
    }
    text->url = text->memory.data;
    text->method = text->memory.data + text->method_at;
    text->shown = text->memory.data + text->shown_at;
    for (size_t i = 0; i < text->line_count; i++) {
        text->lines[i] = text->memory.data + writer.offsets[i];
    }
    return DP_STATUS_OK;
}

void dp_request_text_release(dp_request_text *text)
{
    dp_buffer_release(&text->memory);
    text->lines_at = text->line_count = 0;
}
