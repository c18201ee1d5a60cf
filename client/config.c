#include "client/config.h"

#include "client/request_text.h"

dp_client_config dp_client_config_defaults(void)
{
    return (dp_client_config){
        .retry = {.max_attempts = 3,
                  .min_wait_ms = 1000,
                  .max_wait_ms = 60000,
                  .multiplier_ms = 2000,
                  .jitter = true,
                  .retry_after_max_ms = 300000,
                  .budget = true,
                  .budget_percent = 20,
                  .budget_per_second = 10},
        .breaker = {.enabled = true, .failure_threshold = 5, .recovery_ms = 30000},
        .bulkhead = {.max_concurrency = 50, .max_waiting = 10000, .acquire_timeout_ms = 30000},
        .timeouts = {.connect_ms = 60000, .read_ms = 15000, .write_ms = 15000},
        .tls = {.verify = true},
        .follow_redirects = true,
        .max_redirects = 10,
        .http_version = DP_CLIENT_HTTP_AUTO,
        .max_response_bytes = 64U << 20,
        .user_agent = "dpone/" DPONE_VERSION,
        .log_level = DP_CLIENT_LOG_INFO,
    };
}

#define DAY_MS (24U * 3600 * 1000)

typedef struct number_field {
    const char *name;
    uint64_t value;
    uint64_t minimum;
    uint64_t maximum;
} number_field;

static dp_status check_numbers(const dp_client_config *config, dp_error *error)
{
    const number_field fields[] = {
        {"retry.max_attempts", config->retry.max_attempts, 1, 100},
        {"retry.min_wait_ms", config->retry.min_wait_ms, 0, DAY_MS},
        {"retry.max_wait_ms", config->retry.max_wait_ms, 0, DAY_MS},
        {"retry.multiplier_ms", config->retry.multiplier_ms, 0, DAY_MS},
        {"retry.retry_after_max_ms", config->retry.retry_after_max_ms, 0, DAY_MS},
        {"retry.budget_percent", config->retry.budget_percent, 0, 1000},
        {"retry.budget_per_second", config->retry.budget_per_second, 0, 100000},
        {"breaker.failure_threshold", config->breaker.failure_threshold, 1, 1000000},
        {"breaker.recovery_ms", config->breaker.recovery_ms, 1, DAY_MS},
        {"bulkhead.max_concurrency", config->bulkhead.max_concurrency, 1, 10000},
        {"bulkhead.max_waiting", config->bulkhead.max_waiting, 0, 1000000},
        {"bulkhead.acquire_timeout_ms", config->bulkhead.acquire_timeout_ms, 0, DAY_MS},
        {"timeouts.connect_ms", config->timeouts.connect_ms, 1, DAY_MS},
        {"timeouts.read_ms", config->timeouts.read_ms, 1, DAY_MS},
        {"timeouts.write_ms", config->timeouts.write_ms, 1, DAY_MS},
        {"timeouts.pool_ms", config->timeouts.pool_ms, 0, DAY_MS},
        {"timeouts.total_ms", config->timeouts.total_ms, 0, DAY_MS},
        {"max_redirects", config->max_redirects, 0, 100},
        {"max_response_bytes", config->max_response_bytes, 1, SIZE_MAX / 4},
        {"header_count", config->header_count, 0, DP_REQUEST_MAX_HEADERS},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const number_field *field = &fields[i];
        if (field->value >= field->minimum && field->value <= field->maximum) continue;
        return dp_error_set(error, DP_STATUS_USAGE, "client setting %s is %llu; expected %llu to %llu",
                            field->name, (unsigned long long)field->value, (unsigned long long)field->minimum,
                            (unsigned long long)field->maximum);
    }
    return DP_STATUS_OK;
}

static dp_status check_base_url(const char *url, dp_error *error)
{
    dp_status status = dp_request_url_check(url, "base_url", error);
    if (status == DP_STATUS_OK && strpbrk(url, "?#") != NULL) {
        return dp_error_set(error, DP_STATUS_USAGE, "base_url has a query or a fragment; expected neither");
    }
    return status;
}

dp_status dp_client_config_validate(const dp_client_config *config, dp_error *error)
{
    dp_status status = check_numbers(config, error);
    if (status != DP_STATUS_OK) return status;
    if (config->retry.min_wait_ms > config->retry.max_wait_ms) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "client setting retry.min_wait_ms is %u; expected at most retry.max_wait_ms, %u",
                            config->retry.min_wait_ms, config->retry.max_wait_ms);
    }
    if ((config->tls.private_key != NULL) && config->tls.certificate == NULL) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "client setting tls.private_key needs tls.certificate beside it");
    }
    dp_client_header agent = {"User-Agent", config->user_agent};
    status = dp_request_header_check(&agent, error);
    for (size_t i = 0; status == DP_STATUS_OK && i < config->header_count; i++) {
        status = dp_request_header_check(&config->headers[i], error);
    }
    if (status == DP_STATUS_OK && config->base_url != NULL) status = check_base_url(config->base_url, error);
    return status;
}

static bool copy_text(dp_arena *arena, const char **text)
{
    if (*text == NULL) return true;
    dp_slice copy = dp_arena_copy(arena, dp_slice_make(*text, strlen(*text) + 1));
    *text = copy.data;
    return copy.data != NULL;
}

static bool copy_headers(dp_arena *arena, dp_client_config *config)
{
    if (config->header_count == 0) return true;
    dp_client_header *headers = dp_arena_alloc_zeroed(arena, config->header_count, sizeof *headers);
    if (headers == NULL) return false;
    for (size_t i = 0; i < config->header_count; i++) {
        headers[i] = config->headers[i];
        if (!copy_text(arena, &headers[i].name) || !copy_text(arena, &headers[i].value)) return false;
    }
    config->headers = headers;
    return true;
}

dp_status dp_client_config_copy(const dp_client_config *from, dp_arena *arena, dp_client_config *to,
                                dp_error *error)
{
    dp_client_config copy = *from;
    const char **texts[] = {&copy.base_url, &copy.tls.ca_file, &copy.tls.certificate, &copy.tls.private_key,
                            &copy.proxy,    &copy.no_proxy,    &copy.user_agent};
    bool ok = copy_headers(arena, &copy);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ok = ok && copy_text(arena, texts[i]);
    }
    if (!ok) return dp_error_no_memory(error, "the client's configuration");
    *to = copy;
    return DP_STATUS_OK;
}

int64_t dp_client_config_pool_us(const dp_client_config *config)
{
    uint32_t chosen =
        config->timeouts.pool_ms > 0 ? config->timeouts.pool_ms : config->bulkhead.acquire_timeout_ms;
    return (int64_t)chosen * 1000;
}
