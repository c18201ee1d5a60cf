#include "server/router.h"

#include <stdio.h>

static const struct {
    const char *method;
    const char *pattern;
} routes[] = {
#define DP_ROUTE_ROW(name, method, pattern) {method, pattern},
    DP_ROUTE_LIST(DP_ROUTE_ROW)
#undef DP_ROUTE_ROW
};

const char *dp_route_method(dp_route route)
{
    return routes[route].method;
}

const char *dp_route_pattern(dp_route route)
{
    return routes[route].pattern;
}

/* Whether the path has the pattern's form; the parameters are written also when it has not. */
static bool matches(const char *pattern, dp_slice path, dp_route_match *match)
{
    const char *at = path.data;
    const char *end = path.data + path.length;
    match->parameter_count = 0;
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (at == end || *at != *pattern) return false;
            at++;
            pattern++;
            continue;
        }
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *stop = slash == NULL ? end : slash;
        if (stop == at) return false;
        match->parameters[match->parameter_count++] = dp_slice_make(at, (size_t)(stop - at));
        at = stop;
        pattern = strchr(pattern, '}') + 1;
    }
    return at == end;
}

static void add_allowed(dp_route_match *match, const char *method)
{
    size_t used = strlen(match->allow);
    snprintf(match->allow + used, sizeof match->allow - used, "%s%s", used == 0 ? "" : ", ", method);
}

static bool is_known_path(dp_slice path)
{
    dp_route_match ignored;
    for (dp_route route = 0; route < DP_ROUTE_COUNT; route++) {
        if (matches(routes[route].pattern, path, &ignored)) return true;
    }
    return false;
}

void dp_route_find(dp_slice method, dp_slice path, dp_route_match *match)
{
    match->outcome = DP_ROUTE_UNKNOWN_PATH;
    match->route = DP_ROUTE_COUNT;
    match->allow[0] = '\0';
    dp_route with_other_method = DP_ROUTE_COUNT;
    for (dp_route route = 0; route < DP_ROUTE_COUNT; route++) {
        if (!matches(routes[route].pattern, path, match)) continue;
        if (dp_slice_equal_text(method, routes[route].method)) {
            match->outcome = DP_ROUTE_FOUND;
            match->route = route;
            return;
        }
        with_other_method = route;
        add_allowed(match, routes[route].method);
    }
    match->parameter_count = 0;
    if (with_other_method != DP_ROUTE_COUNT) {
        match->outcome = DP_ROUTE_WRONG_METHOD;
        match->route = with_other_method;
    } else if (path.length > 1 && path.data[path.length - 1] == '/' &&
               is_known_path(dp_slice_make(path.data, path.length - 1))) {
        match->outcome = DP_ROUTE_TRAILING_SLASH;
    }
}
