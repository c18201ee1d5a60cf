/* A configuration that owns every string it points to. */
#ifndef DPONE_CLIENT_CONFIG_H
#define DPONE_CLIENT_CONFIG_H

#include "base/arena.h"
#include "client/client.h"

/* Copies `from` with all its strings into the arena. */
dp_status dp_client_config_copy(const dp_client_config *from, dp_arena *arena, dp_client_config *to,
                                dp_error *error);

/* How long an operation waits for a slot: pool_ms where given, else the bulkhead's own setting. */
int64_t dp_client_config_pool_us(const dp_client_config *config);

#endif
