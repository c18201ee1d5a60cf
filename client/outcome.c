#include "client/outcome.h"

#include "base/json_scanner.h"

/* Whether the body is a JSON object with the member "code":"request_in_flight". */
static bool says_request_in_flight(dp_slice body)
{
    enum { LONGEST_LOOKED_AT = 65536 };
    if (body.length == 0 || body.length > LONGEST_LOOKED_AT) return false;
    dp_json_scanner scanner;
    dp_json_scanner_init(&scanner, body);
    dp_json_token token;
    if (dp_json_next(&scanner, &token) != DP_JSON_BEGIN_OBJECT) return false;
    while (dp_json_next(&scanner, &token) == DP_JSON_KEY) {
        bool is_code = !token.has_escapes && dp_slice_equal_text(token.text, "code");
        dp_json_kind kind = dp_json_next(&scanner, &token);
        if (is_code) return kind == DP_JSON_STRING && dp_slice_equal_text(token.text, "request_in_flight");
        dp_slice skipped;
        if (!dp_json_skip_value(&scanner, &token, &skipped)) return false;
    }
    return false;
}

static dp_outcome failed(dp_client_kind kind)
{
    return (dp_outcome){kind, true, DP_BREAKER_FAILURE};
}

static dp_outcome healthy(dp_client_kind kind, bool retryable)
{
    return (dp_outcome){kind, retryable, DP_BREAKER_SUCCESS};
}

static dp_outcome of_status(int status, dp_slice body)
{
    if (status < 200 || status > 599) return failed(DP_CLIENT_CONNECTION_ERROR); /* no final HTTP status */
    if (status < 300) return healthy(DP_CLIENT_OK, false);
    switch (status) {
    case 400:
    case 422: return healthy(DP_CLIENT_INVALID_REQUEST, false);
    case 401:
    case 403: return healthy(DP_CLIENT_AUTHENTICATION_ERROR, false);
    case 404: return healthy(DP_CLIENT_NOT_FOUND, false);
    case 408: return failed(DP_CLIENT_SERVER_TIMEOUT);
    case 409: return healthy(DP_CLIENT_STATUS_ERROR, says_request_in_flight(body));
    case 425: /* Too Early (RFC 8470) */
    case 429: return healthy(DP_CLIENT_STATUS_ERROR, true);
    case 501: /* what the server does not implement it does not implement a second later */
    case 505: return healthy(DP_CLIENT_SERVER_ERROR, false);
    case 502:
    case 503:
    case 504: return failed(DP_CLIENT_SERVICE_UNAVAILABLE);
    default: return status >= 500 ? failed(DP_CLIENT_SERVER_ERROR) : healthy(DP_CLIENT_STATUS_ERROR, false);
    }
}

dp_outcome dp_outcome_of(dp_exchange_end end, int http_status, dp_slice body)
{
    switch (end) {
    case DP_EXCHANGE_REPLIED: return of_status(http_status, body);
    case DP_EXCHANGE_NO_CONNECTION: return failed(DP_CLIENT_CONNECTION_ERROR);
    case DP_EXCHANGE_UNTRUSTED: return (dp_outcome){DP_CLIENT_CONNECTION_ERROR, false, DP_BREAKER_FAILURE};
    case DP_EXCHANGE_TIMED_OUT: return failed(DP_CLIENT_TIMEOUT);
    case DP_EXCHANGE_TOO_LARGE: return healthy(DP_CLIENT_RESPONSE_TOO_LARGE, false);
    case DP_EXCHANGE_REFUSED:
    case DP_EXCHANGE_CANCELLED: return (dp_outcome){DP_CLIENT_CANCELLED, false, DP_BREAKER_GIVE_BACK};
    case DP_EXCHANGE_UNUSABLE: return (dp_outcome){DP_CLIENT_UNUSABLE_REQUEST, false, DP_BREAKER_GIVE_BACK};
    case DP_EXCHANGE_NO_MEMORY: return (dp_outcome){DP_CLIENT_NO_MEMORY, false, DP_BREAKER_GIVE_BACK};
    }
    return (dp_outcome){DP_CLIENT_UNUSABLE_REQUEST, false, DP_BREAKER_GIVE_BACK};
}
