/* Any bytes as what a stranger controls of a request: method, target, Host and Authorization, one a line.
 * What is accepted stays within the input, and decisions do not depend on how it was encoded. */
#include <stdlib.h>

#include "server/access.h"
#include "server/request_target.h"
#include "server/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

static bool is_within(dp_slice part, dp_slice whole)
{
    return part.data >= whole.data && part.data + part.length <= whole.data + whole.length;
}

static void check_query(dp_slice query)
{
    static const char *const names[] = {"delay", "from", "limit", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dp_slice value;
        uint32_t number;
        if (!dp_query_last(query, names[i], &value)) continue;
        check(is_within(value, query));
        if (dp_request_number(value, 30000, &number) == DP_NUMBER_OK) check(number <= 30000);
        char *decoded = malloc(value.length + 1);
        if (decoded != NULL) check(dp_percent_decode(value, true, decoded) <= value.length);
        free(decoded);
    }
}

static void check_route(dp_slice method, dp_slice path)
{
    dp_route_match match;
    dp_route_find(method, path, &match);
    check((match.outcome == DP_ROUTE_FOUND || match.outcome == DP_ROUTE_WRONG_METHOD) ==
          (match.route != DP_ROUTE_COUNT));
    check((match.allow[0] != '\0') == (match.outcome == DP_ROUTE_WRONG_METHOD) ||
          match.outcome == DP_ROUTE_FOUND);
    for (unsigned i = 0; match.outcome == DP_ROUTE_FOUND && i < match.parameter_count; i++) {
        check(is_within(match.parameters[i], path) && match.parameters[i].length > 0);
        check(memchr(match.parameters[i].data, '/', match.parameters[i].length) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dp_slice rest = {(const char *)data, size};
    dp_slice method;
    dp_slice raw;
    dp_access_facts facts = {.peer_is_loopback = true, .authorization_count = 1};
    dp_slice_split(rest, '\n', &method, &rest);
    dp_slice_split(rest, '\n', &raw, &rest);
    dp_slice_split(rest, '\n', &facts.host, &facts.authorization);
    dp_request_target target;
    if (dp_request_target_parse(raw, &target)) {
        /* An authority alone means "/". */
        check(is_within(target.path, raw) || dp_slice_equal_text(target.path, "/"));
        check(is_within(target.query, raw));
        check(target.path.length > 0 && target.path.data[0] == '/');
        check_route(method, target.path);
        check_query(target.query);
    }
    const dp_slice token = DP_SLICE_LITERAL("0123456789abcdef");
    bool granted = dp_access_decide(token, &facts) == DP_ACCESS_GRANTED;
    if (granted)
        check(memmem(facts.authorization.data, facts.authorization.length, token.data, token.length));
    bool local = dp_access_decide(dp_slice_make("", 0), &facts) == DP_ACCESS_GRANTED;
    check(local == dp_access_is_loopback_host(facts.host));
    return 0;
}
