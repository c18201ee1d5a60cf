/* A client and its peer on the loopback, for one test: prepare, change the configuration, connect, end. */
#ifndef DPONE_TESTS_CLIENT_RIG_H
#define DPONE_TESTS_CLIENT_RIG_H

#include "tests/unit/support/cmocka_includes.h"

#include "client/client.h"
#include "tests/unit/support/loopback_peer.h"

typedef struct client_rig {
    peer *server;
    dp_client_config config; /* the peer's address and short waits; read by rig_connect */
    dp_client *client;
    dp_client_response response;
    dp_error error;
} client_rig;

static inline client_rig prepared_rig(peer_function script, void *context)
{
    client_rig rig = {
        .config = dp_client_config_defaults(), .response = DP_CLIENT_RESPONSE_INIT, .error = DP_ERROR_INIT};
    rig.server = peer_start(script, context);
    rig.config.base_url = rig.server->base_url;
    rig.config.retry.min_wait_ms = 1;
    rig.config.retry.max_wait_ms = 5;
    rig.config.retry.multiplier_ms = 2;
    rig.config.proxy = "";
    return rig;
}

static inline void rig_connect(client_rig *rig)
{
    dp_status status = dp_client_new(&rig->config, &rig->client, &rig->error);
    if (status != DP_STATUS_OK) fail_msg("%s", rig->error.message);
}

static inline client_rig connected_rig(peer_function script, void *context)
{
    client_rig rig = prepared_rig(script, context);
    rig_connect(&rig);
    return rig;
}

static inline void rig_end(client_rig *rig)
{
    dp_client_response_release(&rig->response);
    dp_client_free(rig->client);
    peer_stop(rig->server);
}

/* --- peers --- */

static inline void say_ok(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number, (void)request;
    peer_say_status(reply, 200, "Content-Type: application/json\r\nX-Two:  b \r\n", "{\"a\":1}");
}

typedef struct plan {
    unsigned fail_count; /* the first so many fail with 500 */
    char ids[512][64];
} plan;

static inline void fail_then_succeed(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    plan *script = self->context;
    if (number < 512) peer_field(request, "X-Request-ID", script->ids[number], sizeof script->ids[0]);
    peer_say_status(reply, number < script->fail_count ? 500 : 200, "", "{}");
}

static inline void never_reply(peer *self, unsigned number, const char *request, peer_reply *reply)
{
    (void)self, (void)number, (void)request, (void)reply;
}

/* --- requests of other threads --- */

typedef struct background {
    dp_client *client;
    dp_client_request request;
    dp_client_kind kind;
    unsigned attempts;
} background;

static inline void *run_in_background(void *context)
{
    background *job = context;
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    dp_client_request_send(job->client, &job->request, &response, &error);
    job->kind = response.kind;
    job->attempts = response.attempts;
    dp_client_response_release(&response);
    return NULL;
}

static inline bool has_requests(peer *server, unsigned count)
{
    pthread_mutex_lock(&server->lock);
    bool seen = server->request_count >= count;
    pthread_mutex_unlock(&server->lock);
    return seen;
}

static inline void wait_for_requests(peer *server, unsigned count)
{
    while (!has_requests(server, count)) {
        usleep(1000);
    }
}

#endif
