/* Opening the socket a server listens on, and telling who is at the other end of one. */
#ifndef DPONE_SERVER_LISTEN_SOCKET_H
#define DPONE_SERVER_LISTEN_SOCKET_H

#include "base/error.h"

#include <stdint.h>
#include <sys/socket.h>

/* Non-blocking, closed on exec. *bound_port is the real one when `port` is 0. USAGE for a host that is no
 * address, IO when it cannot be bound. */
dp_status dp_listen_socket_open(const char *host, uint16_t port, int *file, uint16_t *bound_port,
                                dp_error *error);

/* 127.0.0.0/8, ::1, and the first mapped into IPv6. */
bool dp_socket_address_is_loopback(const struct sockaddr *address);

#endif
