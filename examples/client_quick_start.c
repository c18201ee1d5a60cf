/* The shortest useful program: one GET with retries, circuit breaker and request id.
 *
 *   cc client_quick_start.c $(pkg-config --cflags --libs dpone-client) -o client_quick_start
 *   ./client_quick_start http://127.0.0.1:8000
 */
#include <stdio.h>

#include "client/client.h"

int main(int argc, char **argv)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = argc > 1 ? argv[1] : "http://127.0.0.1:8000";

    dp_error error = DP_ERROR_INIT;
    dp_client *client = NULL;
    if (dp_client_new(&config, &client, &error) != DP_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return dp_status_exit_code(error.status);
    }

    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_status status = dp_client_get(client, "/msg", &response, &error);
    if (status == DP_STATUS_OK) {
        printf("%.*s\n", (int)response.body.length, response.body.data);
    } else {
        fprintf(stderr, "%s\n", error.message);
    }

    dp_client_response_release(&response);
    dp_client_free(client);
    return dp_status_exit_code(status);
}
