/* The complete test flow of the test server: healthy, failing, recovered, idempotent, and failure before
 * cache.
 *
 *   dpone serve --host 127.0.0.1 --port 8000 &
 *   ./client_complete_flow http://127.0.0.1:8000
 *
 * The client makes one attempt only, so that every induced failure can be seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

enum { BODY_BYTES = 256 };

static dp_client *client;

/* Ends the program when the reply is not what the flow expects. Copies the body for comparison. */
static void expect(const char *method, const char *path, const char *request_id, int status,
                   char body[BODY_BYTES])
{
    dp_client_request request = {.method = method, .url = path, .request_id = request_id};
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_request_send(client, &request, &response, &error);
    printf("%-4s %-14s %3d %s\n", method, path, response.http_status, dp_client_kind_name(response.kind));
    if (response.http_status != status) {
        fprintf(stderr, "expected status %d: %s\n", status, error.message);
        exit(1);
    }
    if (body != NULL) snprintf(body, BODY_BYTES, "%.*s", (int)response.body.length, response.body.data);
    dp_client_response_release(&response);
}

static void expect_same(const char *left, const char *right)
{
    if (strcmp(left, right) == 0) return;
    fprintf(stderr, "expected the same message twice: %s and %s\n", left, right);
    exit(1);
}

int main(int argc, char **argv)
{
    dp_client_config config = dp_client_config_defaults();
    config.base_url = argc > 1 ? argv[1] : "http://127.0.0.1:8000";
    config.retry.max_attempts = 1;
    dp_error error = DP_ERROR_INIT;
    if (dp_client_new(&config, &client, &error) != DP_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return dp_status_exit_code(error.status);
    }
    char first[BODY_BYTES];
    char again[BODY_BYTES];

    expect("GET", "/health", NULL, 200, NULL); /* 1. healthy */
    expect("POST", "/fail/count/3", NULL, 200, NULL);
    for (int i = 0; i < 3; i++) {
        expect("GET", "/msg", NULL, 500, NULL); /* 2. fails three times */
    }
    expect("GET", "/msg", NULL, 200, NULL); /* 3. recovers */

    expect("GET", "/msg", "test-123", 200, first); /* 4. the same request id gets the same message */
    expect("GET", "/msg", "test-123", 200, again);
    expect_same(first, again);

    expect("POST", "/fail/count/1", NULL, 200, NULL); /* 5. a failure comes before the cache ... */
    expect("GET", "/msg", "test-123", 500, NULL);
    expect("GET", "/msg", "test-123", 200, again); /* ... and does not touch it */
    expect_same(first, again);

    dp_client_free(client);
    puts("the complete flow is as specified");
    return 0;
}
