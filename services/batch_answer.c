#include "services/batch_answer.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

static bool read_count(const json_t *root, const char *member, uint64_t *count)
{
    const json_t *value = json_object_get(root, member);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *count = (uint64_t)json_integer_value(value);
    return true;
}

static dp_status check(const json_t *root, const dp_batch_body *batch, dp_batch_counts *counts,
                       dp_error *error)
{
    const char *batch_id = json_string_value(json_object_get(root, "batch_id"));
    if (batch_id == NULL || strcmp(batch_id, batch->batch_id) != 0) {
        return dp_error_set(error, DP_STATUS_DATA, "the receipt is of batch '%.64s', but batch %s was sent",
                            batch_id == NULL ? "" : batch_id, batch->batch_id);
    }
    const char *load_status = json_string_value(json_object_get(root, "load_status"));
    dp_batch_counts result = {.is_staged = load_status != NULL && strcasecmp(load_status, "staged") == 0};
    if (!read_count(root, "staged_dropped", &result.dropped_count)) result.dropped_count = 0;
    if (!read_count(root, "accepted", &result.accepted_count) ||
        !read_count(root, "duplicates", &result.duplicate_count)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "the receipt's members 'accepted' and 'duplicates' must be counts");
    }
    if (result.accepted_count > batch->event_count ||
        batch->event_count - result.accepted_count != result.duplicate_count) {
        return dp_error_set(
            error, DP_STATUS_DATA,
            "the receipt counts %llu accepted and %llu duplicate events, but the batch has %zu",
            (unsigned long long)result.accepted_count, (unsigned long long)result.duplicate_count,
            batch->event_count);
    }
    *counts = result;
    return DP_STATUS_OK;
}

dp_status dp_batch_answer_check(dp_slice json, const dp_batch_body *batch, dp_batch_counts *counts,
                                dp_error *error)
{
    json_error_t fault;
    json_t *root = json_loadb(json.data, json.length, JSON_REJECT_DUPLICATES, &fault);
    if (root == NULL) return dp_error_set(error, DP_STATUS_DATA, "the receipt is not JSON: %s", fault.text);
    dp_status status = check(root, batch, counts, error);
    json_decref(root);
    return status;
}

void dp_batch_tally_add(dp_batch_tally *tally, const dp_batch_counts *counts, bool is_replayed)
{
    uint64_t event_count = counts->accepted_count + counts->duplicate_count;
    uint64_t accepted_count = is_replayed ? 0 : counts->accepted_count;
    uint64_t dropped_count = counts->dropped_count;
    if (is_replayed) dropped_count = counts->is_staged ? 0 : tally->staged_count;
    if (dropped_count > tally->staged_count) dropped_count = tally->staged_count; /* of another run */
    tally->accepted_count += accepted_count;
    tally->accepted_count -= dropped_count;
    tally->duplicate_count += event_count - accepted_count + dropped_count;
    tally->staged_count = counts->is_staged ? tally->staged_count - dropped_count + accepted_count : 0;
}

static dp_status status_of(unsigned http_status)
{
    switch (http_status) {
    case 409:
    case 422: return DP_STATUS_CONFLICT;
    case 401:
    case 403:
    case 404: return DP_STATUS_USAGE;
    case 413: return DP_STATUS_LIMIT;
    case 408:
    case 425:
    case 429: return DP_STATUS_REMOTE; /* these pass */
    default: return http_status >= 400 && http_status < 500 ? DP_STATUS_DATA : DP_STATUS_REMOTE;
    }
}

dp_status dp_batch_refusal(unsigned http_status, dp_slice json, dp_error *error)
{
    return dp_batch_refusal_of("the server", http_status, json, error);
}

dp_status dp_batch_refusal_of(const char *who, unsigned http_status, dp_slice json, dp_error *error)
{
    char code[64];
    snprintf(code, sizeof code, "http_%u", http_status);
    json_error_t fault;
    json_t *root = json_loadb(json.data, json.length, 0, &fault);
    const char *given_code = json_string_value(json_object_get(root, "code"));
    const char *detail = json_string_value(json_object_get(root, "detail"));
    if (given_code != NULL) snprintf(code, sizeof code, "%s", given_code);
    dp_status status = dp_error_set_code(error, status_of(http_status), code, "%s answered %u %s: %s", who,
                                         http_status, code, detail == NULL ? "no detail" : detail);
    json_decref(root);
    return status;
}

bool dp_batch_answer_is_in_flight(unsigned http_status, dp_slice json)
{
    dp_error refusal = DP_ERROR_INIT;
    if (http_status != 409) return false;
    dp_batch_refusal(http_status, json, &refusal);
    return strcmp(refusal.code, "request_in_flight") == 0;
}
