#include "server/listen_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096 };

dp_status dp_listen_socket_open(const char *host, uint16_t port, int *file, uint16_t *bound_port,
                                dp_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    int fault = getaddrinfo(host, service, &hints, &found);
    if (fault != 0)
        return dp_error_set(error, DP_STATUS_USAGE, "--host: '%s' is no address: %s", host,
                            gai_strerror(fault));
    int socket_file = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    bool bound =
        socket_file >= 0 && setsockopt(socket_file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(socket_file, found->ai_addr, found->ai_addrlen) == 0 && listen(socket_file, LISTEN_BACKLOG) == 0;
    int cause = errno;
    freeaddrinfo(found);
    struct sockaddr_storage own;
    socklen_t own_length = sizeof own;
    if (bound) bound = getsockname(socket_file, (struct sockaddr *)&own, &own_length) == 0;
    if (!bound) {
        if (socket_file >= 0) close(socket_file);
        dp_error_set(error, DP_STATUS_IO, "unable to listen on %s port %u: %s", host, (unsigned)port,
                     strerror(cause));
        if (cause == EADDRINUSE)
            dp_error_hint(error, "another program uses the port; choose one with --port");
        return DP_STATUS_IO;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&own;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&own;
    *bound_port = ntohs(own.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
    *file = socket_file;
    return DP_STATUS_OK;
}

bool dp_socket_address_is_loopback(const struct sockaddr *address)
{
    union {
        const struct sockaddr *any;
        const struct sockaddr_in *v4;
        const struct sockaddr_in6 *v6;
    } peer = {.any = address};
    if (address->sa_family == AF_INET) return ntohl(peer.v4->sin_addr.s_addr) >> 24 == 127;
    if (address->sa_family != AF_INET6) return false;
    const struct in6_addr *v6 = &peer.v6->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}
