/* The text that Prometheus reads. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/metrics.h"

static dp_buffer rendered(const dp_metrics *metrics)
{
    const dp_metric_gauges gauges = {.queue_depth = 7, .max_concurrency = 50, .uptime_seconds = 1.5};
    dp_buffer text = DP_BUFFER_INIT(1 << 20);
    dp_metrics_render(metrics, &gauges, &text);
    assert_non_null(dp_buffer_text(&text));
    return text;
}

static void counts_by_route_and_status(void **state)
{
    (void)state;
    static dp_metrics metrics;
    dp_metrics_count_request(&metrics, DP_ROUTE_MSG, 200, 300);
    dp_metrics_count_request(&metrics, DP_ROUTE_MSG, 200, 3000);
    dp_metrics_count_request(&metrics, DP_ROUTE_COUNT, 404, 1);
    dp_metrics_count_request(&metrics, DP_ROUTE_MSG, 599, 1);
    dp_buffer text = rendered(&metrics);
    assert_non_null(
        strstr(text.data, "dpone_http_requests_total{method=\"GET\",route=\"/msg\",status=\"200\"} 2\n"));
    assert_non_null(strstr(text.data, "route=\"other\",status=\"404\"} 1\n"));
    assert_non_null(strstr(text.data, "route=\"/msg\",status=\"other\"} 1\n"));
    assert_non_null(strstr(text.data, "dpone_queue_depth 7\n"));
    assert_non_null(strstr(text.data, "dpone_uptime_seconds 1.5\n"));
    dp_buffer_release(&text);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    static dp_metrics metrics;
    dp_metrics_observe_wait(&metrics, 100);      /* at a bound: in it */
    dp_metrics_observe_wait(&metrics, 101);      /* just above */
    dp_metrics_observe_wait(&metrics, 90000000); /* above all */
    dp_buffer text = rendered(&metrics);
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_bucket{le=\"0.0001\"} 1\n"));
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_bucket{le=\"0.00025\"} 2\n"));
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_bucket{le=\"60\"} 2\n"));
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_count 3\n"));
    assert_non_null(strstr(text.data, "dpone_queue_wait_seconds_sum 90.000201\n"));
    dp_buffer_release(&text);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    dp_buffer text = DP_BUFFER_INIT(100);
    dp_metrics_put_label(&text, DP_SLICE_LITERAL("a\"b\\c\nd"));
    assert_true(dp_slice_equal_text(dp_buffer_slice(&text), "a\\\"b\\\\c\\nd"));
    dp_buffer_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_route_and_status),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(label_values_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
