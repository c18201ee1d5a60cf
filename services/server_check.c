#include "services/server_check.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"

enum { MAX_ANSWER_BYTES = 65536 };

static void copy_text(char *out, size_t out_bytes, const json_t *text)
{
    const char *value = json_string_value(text);
    snprintf(out, out_bytes, "%s", value == NULL ? "" : value);
}

static dp_status read_answer(const dp_client_response *response, dp_server_look *look, dp_error *error)
{
    json_t *answer = json_loadb(response->body.data, response->body.length, 0, NULL);
    const char *status = json_string_value(json_object_get(answer, "status"));
    bool is_ready = response->http_status == 200 && status != NULL && strcmp(status, "ready") == 0;
    bool is_refusal = response->http_status == 503 && json_is_string(json_object_get(answer, "detail"));
    if (is_ready || is_refusal) {
        const char *state = json_string_value(json_object_get(answer, "state"));
        *look = (dp_server_look){.is_ready = is_ready};
        look->has_store = is_refusal || state == NULL || strcmp(state, "none") != 0;
        copy_text(look->detail, sizeof look->detail, json_object_get(answer, "detail"));
        copy_text(look->version, sizeof look->version, json_object_get(answer, "version"));
    }
    json_decref(answer);
    if (is_ready || is_refusal) return DP_STATUS_OK;
    return dp_error_set(error, DP_STATUS_REMOTE, "what answers there is no dpone server: GET /ready gives %d",
                        response->http_status);
}

dp_status dp_server_check(const char *server_url, dp_server_look *look, dp_error *error)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = server_url;
    config.retry.max_attempts = 1;
    config.max_response_bytes = MAX_ANSWER_BYTES;
    dp_client *client = NULL;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_client_new(&config, &client, error);
    if (status != DP_STATUS_OK) return status;
    status = dp_client_get(client, "/ready", &response, &cause);
    if (response.http_status != 0) {
        status = read_answer(&response, look, error);
    } else if (error->status == DP_STATUS_OK) {
        *error = cause;
    }
    dp_client_response_release(&response);
    dp_client_free(client);
    return status;
}
