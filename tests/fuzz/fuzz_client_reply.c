/* Any bytes as what a server says in a reply: Retry-After, header fields and the body of a refusal. */
#include <stdlib.h>

#include "client/outcome.h"
#include "client/response.h"
#include "client/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(dp_slice input)
{
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    if (!dp_response_prepare(&response, 1 << 20)) abort();
    dp_buffer_append_slice(&response.memory->head, input);
    if (!dp_response_finish(&response)) abort();
    for (size_t i = 0; i < response.field_count; i++) {
        dp_slice name = response.fields[i].name;
        if (memchr(name.data, '\n', name.length) != NULL) abort();
        if (response.fields[i].value.length > input.length) abort();
    }
    dp_client_response_header(&response, "Retry-After");
    dp_client_response_release(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dp_slice input = {(const char *)data, size};
    int64_t wait_us = dp_retry_after_us(input, INT64_C(784111777) * 1000000);
    if (wait_us < -1 || wait_us > (INT64_C(1) << 40) * 1000000) abort();
    dp_outcome outcome = dp_outcome_of(DP_EXCHANGE_REPLIED, 409, input);
    if (outcome.kind != DP_CLIENT_STATUS_ERROR || outcome.breaker != DP_BREAKER_SUCCESS) abort();
    if (size > 0) check_fields(input);
    return 0;
}
