/* Method and path to route. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/router.h"

static void finds_routes_and_tells_why_not(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *path;
        dp_route_outcome outcome;
        dp_route route;
        const char *allow;
        const char *first_parameter;
    } rows[] = {
        {"GET", "/msg", DP_ROUTE_FOUND, DP_ROUTE_MSG, "", NULL},
        {"HEAD", "/msg", DP_ROUTE_WRONG_METHOD, DP_ROUTE_MSG, "GET", NULL},
        {"get", "/msg", DP_ROUTE_WRONG_METHOD, DP_ROUTE_MSG, "GET", NULL},
        {"GET", "/msg/", DP_ROUTE_TRAILING_SLASH, DP_ROUTE_COUNT, "", NULL},
        {"GET", "/msg//", DP_ROUTE_UNKNOWN_PATH, DP_ROUTE_COUNT, "", NULL},
        {"GET", "/", DP_ROUTE_UNKNOWN_PATH, DP_ROUTE_COUNT, "", NULL},
        {"GET", "/MSG", DP_ROUTE_UNKNOWN_PATH, DP_ROUTE_COUNT, "", NULL},
        {"POST", "/fail/count/5", DP_ROUTE_FOUND, DP_ROUTE_FAIL_COUNT, "", "5"},
        {"POST", "/fail/count/", DP_ROUTE_UNKNOWN_PATH, DP_ROUTE_COUNT, "", NULL},
        {"POST", "/fail/count/5/", DP_ROUTE_TRAILING_SLASH, DP_ROUTE_COUNT, "", NULL},
        {"POST", "/fail/count/a/b", DP_ROUTE_UNKNOWN_PATH, DP_ROUTE_COUNT, "", NULL},
        {"GET", "/fail/reset", DP_ROUTE_WRONG_METHOD, DP_ROUTE_FAIL_RESET, "POST", NULL},
        {"GET", "/v1/pipelines/a%2Fb", DP_ROUTE_FOUND, DP_ROUTE_PIPELINE, "", "a%2Fb"},
        {"POST", "/v1/pipelines/p/batches", DP_ROUTE_FOUND, DP_ROUTE_BATCHES, "", "p"},
        {"POST", "/v1/pipelines/p/offsets/b/s/t", DP_ROUTE_WRONG_METHOD, DP_ROUTE_OFFSET_DELETE,
         "GET, PUT, DELETE", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_route_match match;
        dp_route_find(dp_slice_of_text(rows[i].method), dp_slice_of_text(rows[i].path), &match);
        assert_int_equal(match.outcome, rows[i].outcome);
        assert_int_equal(match.route, rows[i].route);
        assert_string_equal(match.allow, rows[i].allow);
        if (rows[i].first_parameter != NULL)
            assert_true(dp_slice_equal_text(match.parameters[0], rows[i].first_parameter));
    }
}

static void every_route_finds_itself(void **state)
{
    (void)state;
    for (dp_route route = 0; route < DP_ROUTE_COUNT; route++) {
        dp_route_match match;
        dp_route_find(dp_slice_of_text(dp_route_method(route)), dp_slice_of_text(dp_route_pattern(route)),
                      &match);
        assert_int_equal(match.outcome, DP_ROUTE_FOUND);
        assert_int_equal(match.route, route);
    }
}

static void parameters_come_in_the_order_of_the_path(void **state)
{
    (void)state;
    dp_route_match match;
    dp_route_find(DP_SLICE_LITERAL("GET"), DP_SLICE_LITERAL("/v1/pipelines/p/offsets/b/s/*"), &match);
    static const char *const expected[] = {"p", "b", "s", "*"};
    assert_int_equal(match.parameter_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(dp_slice_equal_text(match.parameters[i], expected[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_routes_and_tells_why_not),
        cmocka_unit_test(every_route_finds_itself),
        cmocka_unit_test(parameters_come_in_the_order_of_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
