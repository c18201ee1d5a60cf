#include "server/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

enum { MIN_TOKEN_BYTES = 16, MAX_TOKEN_BYTES = 4096 };

static bool is_v4_loopback(dp_slice name)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (name.length >= sizeof text) return false;
    memcpy(text, name.data, name.length);
    text[name.length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static bool ends_with_ignoring_case(dp_slice text, const char *ending)
{
    size_t length = strlen(ending);
    return text.length >= length &&
           dp_slice_equal_ignoring_case(dp_slice_make(text.data + text.length - length, length),
                                        dp_slice_of_text(ending));
}

static bool is_port(dp_slice text)
{
    uint64_t port;
    return dp_slice_to_u64(text, 65535, &port);
}

bool dp_access_is_loopback_host(dp_slice host)
{
    dp_slice name;
    dp_slice port;
    if (dp_slice_starts_with(host, DP_SLICE_LITERAL("[::1]"))) {
        dp_slice rest = {host.data + 5, host.length - 5};
        return rest.length == 0 ||
               (rest.data[0] == ':' && is_port(dp_slice_make(rest.data + 1, rest.length - 1)));
    }
    if (dp_slice_split(host, ':', &name, &port) && !is_port(port)) return false;
    return dp_slice_equal_ignoring_case(name, DP_SLICE_LITERAL("localhost")) ||
           ends_with_ignoring_case(name, ".localhost") || is_v4_loopback(name);
}

static bool tokens_equal(dp_slice expected, dp_slice given)
{
    /* The length is not secret; the comparison still takes the same time for every given text. */
    bool same_length = expected.length == given.length;
    const char *compared = same_length ? given.data : expected.data;
    return CRYPTO_memcmp(expected.data, compared, expected.length) == 0 && same_length;
}

static dp_access decide_by_token(dp_slice token, const dp_access_facts *facts)
{
    dp_slice scheme;
    dp_slice given;
    if (facts->authorization_count != 1 || !dp_slice_split(facts->authorization, ' ', &scheme, &given) ||
        !dp_slice_equal_ignoring_case(scheme, DP_SLICE_LITERAL("Bearer")))
        return DP_ACCESS_TOKEN_MISSING;
    return tokens_equal(token, dp_slice_trim(given)) ? DP_ACCESS_GRANTED : DP_ACCESS_TOKEN_WRONG;
}

dp_access dp_access_decide(dp_slice token, const dp_access_facts *facts)
{
    if (token.length > 0) return decide_by_token(token, facts);
    bool local = facts->peer_is_loopback && !facts->was_forwarded && !facts->has_origin &&
                 dp_access_is_loopback_host(facts->host);
    return local ? DP_ACCESS_GRANTED : DP_ACCESS_TOKEN_REQUIRED;
}

dp_status dp_access_read_token(const char *path, char out[4097], dp_error *error)
{
    char text[MAX_TOKEN_BYTES + 16];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return dp_error_set(error, DP_STATUS_USAGE, "--token-file: unable to read '%s': %s", path,
                            strerror(errno));
    size_t length = fread(text, 1, sizeof text, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    dp_slice token = dp_slice_trim(dp_slice_make(text, length));
    bool visible = true;
    for (size_t i = 0; i < token.length; i++) {
        visible = visible && token.data[i] > 0x20 && token.data[i] < 0x7F;
    }
    if (failed || !visible || token.length < MIN_TOKEN_BYTES || token.length > MAX_TOKEN_BYTES) {
        dp_status status =
            dp_error_set(error, DP_STATUS_USAGE,
                         "--token-file: '%s' does not hold one token of 16 to 4096 visible characters", path);
        dp_error_hint(error, "make one with: openssl rand -hex 32 > %s", path);
        return status;
    }
    memcpy(out, token.data, token.length);
    out[token.length] = '\0';
    return DP_STATUS_OK;
}
