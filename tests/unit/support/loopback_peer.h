/* A small HTTP peer on the loopback for tests of the client: a thread a connection, replies made by a
 * function.
 *
 * It reads whole requests (header and a body of known length or in chunks) and sends whatever bytes the reply
 * function gives, so that broken replies are as easy as good ones. Start and stop it from one thread.
 */
#ifndef DPONE_TESTS_LOOPBACK_PEER_H
#define DPONE_TESTS_LOOPBACK_PEER_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEER_MAX_CONNECTIONS = 512, PEER_REQUEST_BYTES = 1 << 20, PEER_REPLY_BYTES = 1 << 18 };

typedef struct peer peer;

typedef struct peer_reply {
    char bytes[PEER_REPLY_BYTES];
    size_t length;
    unsigned delay_ms;
    bool (*may_go)(peer *self); /* it is held back until this says so, or for a minute; NULL: it is not */
    bool close_after;
} peer_reply;

/* `number` counts the peer's requests from 0. `request` is the header and the body, terminated. */
typedef void (*peer_function)(peer *self, unsigned number, const char *request, peer_reply *reply);

struct peer {
    int listener;
    int port;
    char base_url[64];
    peer_function function;
    void *context;
    pthread_t acceptor;
    pthread_mutex_t lock; /* guards what follows, and is the test's to use as well */
    int sockets[PEER_MAX_CONNECTIONS];
    pthread_t threads[PEER_MAX_CONNECTIONS];
    unsigned connection_count;
    unsigned request_count;
    unsigned busy_count;
    unsigned most_busy_count;
};

typedef struct peer_connection {
    peer *owner;
    int fd;
} peer_connection;

static bool peer_body_complete(const char *request, const char *body, size_t body_length)
{
    const char *length = strcasestr(request, "\r\nContent-Length:");
    if (length != NULL && length < body) return body_length >= strtoul(length + 17, NULL, 10);
    const char *chunked = strcasestr(request, "\r\nTransfer-Encoding: chunked");
    if (chunked != NULL && chunked < body) return strstr(body, "0\r\n\r\n") != NULL;
    return true;
}

/* False at the end of the connection. */
static bool peer_read_request(int fd, char *request)
{
    size_t length = 0;
    while (length + 1 < PEER_REQUEST_BYTES) {
        ssize_t got = recv(fd, request + length, PEER_REQUEST_BYTES - 1 - length, 0);
        if (got <= 0) return false;
        length += (size_t)got;
        request[length] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        if (end == NULL) continue;
        size_t body_at = (size_t)(end + 4 - request);
        if (peer_body_complete(request, end + 4, length - body_at)) return true;
    }
    return false;
}

static bool peer_send(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool peer_serve_one(peer *self, int fd, char *request, peer_reply *reply)
{
    if (!peer_read_request(fd, request)) return false;
    pthread_mutex_lock(&self->lock);
    unsigned number = self->request_count++;
    if (++self->busy_count > self->most_busy_count) self->most_busy_count = self->busy_count;
    reply->length = 0;
    reply->delay_ms = 0;
    reply->may_go = NULL;
    reply->close_after = false;
    self->function(self, number, request, reply);
    pthread_mutex_unlock(&self->lock);
    if (reply->delay_ms > 0) usleep(reply->delay_ms * 1000);
    for (unsigned i = 0; i < 60000 && reply->may_go != NULL && !reply->may_go(self); i++) {
        usleep(1000);
    }
    pthread_mutex_lock(&self->lock);
    self->busy_count--;
    pthread_mutex_unlock(&self->lock);
    return peer_send(fd, reply->bytes, reply->length) && !reply->close_after;
}

static void *peer_serve(void *context)
{
    peer_connection *connection = context;
    char *request = malloc(PEER_REQUEST_BYTES);
    peer_reply *reply = malloc(sizeof *reply);
    while (request != NULL && reply != NULL &&
           peer_serve_one(connection->owner, connection->fd, request, reply)) {
    }
    shutdown(connection->fd, SHUT_RDWR); /* closed by peer_stop, so that the number is not used again */
    free(request);
    free(reply);
    free(connection);
    return NULL;
}

static void *peer_accept(void *context)
{
    peer *self = context;
    for (;;) {
        int fd = accept(self->listener, NULL, NULL);
        if (fd < 0) return NULL;
        peer_connection *connection = malloc(sizeof *connection);
        pthread_mutex_lock(&self->lock);
        bool room = connection != NULL && self->connection_count < PEER_MAX_CONNECTIONS;
        if (room) {
            *connection = (peer_connection){self, fd};
            self->sockets[self->connection_count] = fd;
            pthread_create(&self->threads[self->connection_count], NULL, peer_serve, connection);
            self->connection_count++;
        }
        pthread_mutex_unlock(&self->lock);
        if (!room) {
            free(connection);
            close(fd);
        }
    }
}

static peer *peer_start(peer_function function, void *context)
{
    peer *self = calloc(1, sizeof *self);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    self->function = function;
    self->context = context;
    pthread_mutex_init(&self->lock, NULL);
    self->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(self->listener, (struct sockaddr *)&address, length) != 0 || listen(self->listener, 512) != 0 ||
        getsockname(self->listener, (struct sockaddr *)&address, &length) != 0) {
        abort();
    }
    self->port = ntohs(address.sin_port);
    snprintf(self->base_url, sizeof self->base_url, "http://127.0.0.1:%d", self->port);
    pthread_create(&self->acceptor, NULL, peer_accept, self);
    return self;
}

static void peer_stop(peer *self)
{
    shutdown(self->listener, SHUT_RDWR);
    pthread_join(self->acceptor, NULL);
    close(self->listener);
    for (unsigned i = 0; i < self->connection_count; i++) {
        shutdown(self->sockets[i], SHUT_RDWR);
        pthread_join(self->threads[i], NULL);
        close(self->sockets[i]);
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

__attribute__((format(printf, 2, 3))) static void peer_say(peer_reply *reply, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(reply->bytes, sizeof reply->bytes, format, arguments);
    va_end(arguments);
    reply->length = length > 0 ? (size_t)length : 0;
}

static inline void peer_say_status(peer_reply *reply, int status, const char *extra_fields, const char *body)
{
    peer_say(reply, "HTTP/1.1 %d Some\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), extra_fields,
             body);
}

/* The value of a request's field, or false. */
static inline bool peer_field(const char *request, const char *name, char *out, size_t capacity)
{
    char pattern[80];
    snprintf(pattern, sizeof pattern, "\r\n%s: ", name);
    const char *at = strcasestr(request, pattern);
    if (at == NULL) return false;
    at += strlen(pattern);
    snprintf(out, capacity, "%.*s", (int)strcspn(at, "\r"), at);
    return true;
}

#endif
