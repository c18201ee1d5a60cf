/* What the resilient client costs beside bare libcurl: requests per second and CPU time of the calling
 * thread.
 *
 *   bench_client [SECONDS PER CASE]
 *   bench_client SECONDS CASE bare|ours   one side of case 0, 1, ... alone, for a profiler
 *
 * Both talk to one minimal peer in this process (an epoll thread that answers 60 bytes of JSON). Bare libcurl
 * means a handle whose options are set once for the same bytes on the wire, the head and the body of its
 * reply collected in memory: curl_easy_perform for one connection, the multi interface for several in flight.
 * The two take turns in short rounds, since the machine's speed changes from minute to minute: only the ratio
 * of a round counts, and the medians of the rounds are printed.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "client/client.h"

enum { IN_FLIGHT = 8, ROUNDS = 21, MAX_FDS = 1024 };

/* --- the peer --- */

static const char peer_reply[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"
    "{\"message_id\":\"123e4567-e89b-42d3-a456-426614174000\",\"n\":12}";

typedef struct peer_connection {
    char head[4096];
    size_t head_length;
    size_t body_left;
} peer_connection;

static peer_connection *connections[MAX_FDS];

static void answer(int fd)
{
    if (send(fd, peer_reply, sizeof peer_reply - 1, MSG_NOSIGNAL) < 0) perror("peer: send");
}

/* Takes received bytes; answers every request that is complete with them. */
static void take_bytes(int fd, peer_connection *connection, const char *bytes, size_t length)
{
    while (length > 0) {
        if (connection->body_left > 0) {
            size_t taken = length < connection->body_left ? length : connection->body_left;
            connection->body_left -= taken;
            bytes += taken;
            length -= taken;
            if (connection->body_left == 0) answer(fd);
            continue;
        }
        connection->head[connection->head_length++] = *bytes++;
        length--;
        size_t at = connection->head_length;
        if (at == sizeof connection->head - 1) abort();
        if (at < 4 || memcmp(connection->head + at - 4, "\r\n\r\n", 4) != 0) continue;
        connection->head[at] = '\0';
        const char *field = strcasestr(connection->head, "Content-Length:");
        connection->body_left = field == NULL ? 0 : strtoul(field + 15, NULL, 10);
        connection->head_length = 0;
        if (connection->body_left == 0) answer(fd);
    }
}

static void serve(int epoll, int fd)
{
    static char bytes[1 << 18];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got > 0) {
        take_bytes(fd, connections[fd], bytes, (size_t)got);
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void *run_peer(void *context)
{
    int listener = *(int *)context;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(epoll, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd != listener) {
                serve(epoll, fd);
                continue;
            }
            int accepted = accept(listener, NULL, NULL);
            if (accepted < 0 || accepted >= MAX_FDS) abort();
            int on = 1;
            setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            connections[accepted] = calloc(1, sizeof(peer_connection));
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = accepted};
            epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
        }
    }
    return NULL;
}

static int start_peer(void)
{
    static int listener;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    pthread_t thread;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&thread, NULL, run_peer, &listener) != 0) {
        perror("bench_client: peer");
        exit(3);
    }
    return ntohs(address.sin_port);
}

/* --- the two clients --- */

typedef struct bench_case {
    const char *name;
    size_t body_bytes; /* 0: GET */
    bool many;         /* IN_FLIGHT at once */
} bench_case;

typedef struct measure {
    uint64_t requests;
    int64_t wall_us;
    int64_t cpu_us; /* of the calling thread */
} measure;

static char url[64];
static char *body;

static int64_t thread_cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_client: %s\n", what);
    exit(3);
}

static size_t collect(char *data, size_t size, size_t count, void *context)
{
    dp_buffer_append(context, data, size * count);
    return size * count;
}

typedef struct bare_reply {
    dp_buffer head;
    dp_buffer body;
} bare_reply;

typedef struct bare {
    CURL *easy[IN_FLIGHT];
    bare_reply replies[IN_FLIGHT];
    CURLM *multi;
    struct curl_slist *headers;
} bare;

static void bare_open(bare *self, const bench_case *what)
{
    self->headers = curl_slist_append(NULL, "X-Request-ID: 123e4567-e89b-42d3-a456-426614174000");
    if (what->body_bytes > 0)
        self->headers = curl_slist_append(self->headers, "Content-Type: application/json");
    self->multi = curl_multi_init();
    for (int i = 0; i < IN_FLIGHT; i++) {
        CURL *easy = self->easy[i] = curl_easy_init();
        self->replies[i] = (bare_reply){DP_BUFFER_INIT(1 << 20), DP_BUFFER_INIT(1 << 20)};
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "dpone/" DPONE_VERSION);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self->headers);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &self->replies[i].body);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, collect);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, &self->replies[i].head);
        if (what->body_bytes == 0) continue;
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)what->body_bytes);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    }
}

static void bare_close(bare *self)
{
    for (int i = 0; i < IN_FLIGHT; i++) {
        curl_easy_cleanup(self->easy[i]);
        dp_buffer_release(&self->replies[i].head);
        dp_buffer_release(&self->replies[i].body);
    }
    curl_multi_cleanup(self->multi);
    curl_slist_free_all(self->headers);
}

static void bare_clear(bare_reply *reply)
{
    dp_buffer_clear(&reply->head);
    dp_buffer_clear(&reply->body);
}

static bool bare_is_whole(const bare_reply *reply, CURLcode code)
{
    return code == CURLE_OK && reply->head.length > 0 && reply->body.length == 60;
}

static uint64_t bare_run_one(bare *self, int64_t until_us)
{
    uint64_t count = 0;
    while (dp_clock_monotonic_us() < until_us) {
        bare_clear(&self->replies[0]);
        if (!bare_is_whole(&self->replies[0], curl_easy_perform(self->easy[0]))) fail("bare request");
        count++;
    }
    return count;
}

static uint64_t bare_run_many(bare *self, int64_t until_us)
{
    uint64_t count = 0;
    int running = 0;
    for (int i = 0; i < IN_FLIGHT; i++) {
        bare_clear(&self->replies[i]);
        curl_easy_setopt(self->easy[i], CURLOPT_PRIVATE, &self->replies[i]);
        curl_multi_add_handle(self->multi, self->easy[i]);
    }
    int left = IN_FLIGHT;
    while (left > 0) {
        curl_multi_perform(self->multi, &running);
        CURLMsg *message;
        int queued;
        bool any = false;
        while ((message = curl_multi_info_read(self->multi, &queued)) != NULL) {
            CURL *easy = message->easy_handle;
            bare_reply *reply = NULL;
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&reply);
            if (!bare_is_whole(reply, message->data.result)) fail("bare request");
            count++;
            any = true;
            curl_multi_remove_handle(self->multi, easy);
            bare_clear(reply);
            if (dp_clock_monotonic_us() < until_us) {
                curl_multi_add_handle(self->multi, easy);
            } else {
                left--;
            }
        }
        if (!any) curl_multi_poll(self->multi, NULL, 0, 1000, NULL);
    }
    return count;
}

static dp_client_request request_of(const bench_case *what)
{
    dp_client_request request = {.url = url};
    if (what->body_bytes > 0) {
        request.method = "POST";
        request.body = dp_slice_make(body, what->body_bytes);
    }
    return request;
}

static uint64_t ours_run_one(dp_client *client, const bench_case *what, int64_t until_us)
{
    uint64_t count = 0;
    dp_client_request request = request_of(what);
    dp_client_response response = DP_CLIENT_RESPONSE_INIT;
    dp_error error = DP_ERROR_INIT;
    while (dp_clock_monotonic_us() < until_us) {
        if (dp_client_request_send(client, &request, &response, &error) != DP_STATUS_OK) fail(error.message);
        if (response.body.length != 60) fail("our reply is not whole");
        count++;
    }
    dp_client_response_release(&response);
    return count;
}

static uint64_t ours_run_many(dp_client_queue *queue, const bench_case *what, int64_t until_us)
{
    uint64_t count = 0;
    dp_client_request request = request_of(what);
    dp_error error = DP_ERROR_INIT;
    for (int i = 0; i < IN_FLIGHT; i++) {
        if (dp_client_submit(queue, &request, NULL, &error) != DP_STATUS_OK) fail(error.message);
    }
    while (dp_client_queue_in_flight(queue) > 0) {
        dp_client_wait(queue, -1, -1, NULL, &error);
        dp_client_call *call;
        while ((call = dp_client_queue_next(queue)) != NULL) {
            if (dp_client_call_response(call)->body.length != 60) fail(dp_client_call_error(call)->message);
            count++;
            dp_client_call_free(call);
            if (dp_clock_monotonic_us() < until_us) dp_client_submit(queue, &request, NULL, &error);
        }
    }
    return count;
}

/* --- rounds --- */

typedef struct pair {
    bare bare_side;
    dp_client *client;
    dp_client_queue *queue;
} pair;

static measure run_side(pair *both, const bench_case *what, bool ours, int64_t duration_us)
{
    measure result = {0};
    int64_t begun_us = dp_clock_monotonic_us();
    int64_t begun_cpu_us = thread_cpu_us();
    int64_t until_us = begun_us + duration_us;
    if (ours) {
        result.requests = what->many ? ours_run_many(both->queue, what, until_us)
                                     : ours_run_one(both->client, what, until_us);
    } else {
        result.requests =
            what->many ? bare_run_many(&both->bare_side, until_us) : bare_run_one(&both->bare_side, until_us);
    }
    result.wall_us = dp_clock_monotonic_us() - begun_us;
    result.cpu_us = thread_cpu_us() - begun_cpu_us;
    return result;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare_doubles);
    return values[ROUNDS / 2];
}

static double rate(measure m)
{
    return (double)m.requests * 1e6 / (double)m.wall_us;
}

static double cpu_each(measure m)
{
    return (double)m.cpu_us / (double)m.requests;
}

static void open_pair(pair *both, const bench_case *what)
{
    dp_error error = DP_ERROR_INIT;
    dp_client_config config = dp_client_config_defaults();
    config.proxy = "";
    if (dp_client_new(&config, &both->client, &error) != DP_STATUS_OK ||
        dp_client_queue_new(both->client, &both->queue, &error) != DP_STATUS_OK) {
        fail(error.message);
    }
    bare_open(&both->bare_side, what);
}

static void close_pair(pair *both)
{
    bare_close(&both->bare_side);
    dp_client_queue_free(both->queue);
    dp_client_free(both->client);
}

static void run_case(const bench_case *what, double seconds)
{
    pair both = {.client = NULL};
    open_pair(&both, what);
    int64_t slice_us = (int64_t)(seconds * 1e6 / (2 * ROUNDS));
    run_side(&both, what, false, slice_us);
    run_side(&both, what, true, slice_us);
    double bare_rates[ROUNDS], our_rates[ROUNDS], rate_ratios[ROUNDS];
    double bare_cpu[ROUNDS], our_cpu[ROUNDS], cpu_ratios[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        measure first = run_side(&both, what, i % 2 == 1, slice_us);
        measure second = run_side(&both, what, i % 2 == 0, slice_us);
        measure plain = i % 2 == 0 ? first : second;
        measure own = i % 2 == 0 ? second : first;
        bare_rates[i] = rate(plain);
        our_rates[i] = rate(own);
        rate_ratios[i] = rate(own) / rate(plain);
        bare_cpu[i] = cpu_each(plain);
        our_cpu[i] = cpu_each(own);
        cpu_ratios[i] = cpu_each(own) / cpu_each(plain);
    }
    printf("%-26s %9.0f %9.0f %7.3f %9.1f %9.1f %7.3f\n", what->name, median(bare_rates), median(our_rates),
           median(rate_ratios), median(bare_cpu), median(our_cpu), median(cpu_ratios));
    fflush(stdout);
    close_pair(&both);
}

static void run_one_side(const bench_case *what, double seconds, bool ours)
{
    pair both = {.client = NULL};
    open_pair(&both, what);
    measure result = run_side(&both, what, ours, (int64_t)(seconds * 1e6));
    printf("%-26s %s: %.0f requests/s, %.1f us of CPU each, %llu requests\n", what->name,
           ours ? "ours" : "bare", rate(result), cpu_each(result), (unsigned long long)result.requests);
    close_pair(&both);
}

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {"GET, one connection", 0, false},        {"POST 1 KiB, one", 1024, false},
        {"POST 256 KiB, one", 256 * 1024, false}, {"GET, 8 in flight", 0, true},
        {"POST 1 KiB, 8 in flight", 1024, true},  {"POST 256 KiB, 8 in flight", 256 * 1024, true},
    };
    enum { CASE_COUNT = sizeof cases / sizeof cases[0] };
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 3;
    body = malloc(1 << 20);
    memset(body, 'x', 1 << 20);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/msg", start_peer());
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (argc == 4) {
        run_one_side(&cases[strtoul(argv[2], NULL, 10) % CASE_COUNT], seconds, strcmp(argv[3], "ours") == 0);
        free(body);
        return 0;
    }
    printf("%-26s %9s %9s %7s %9s %9s %7s\n", "", "bare/s", "ours/s", "ratio", "bare us", "ours us", "ratio");
    for (size_t i = 0; i < CASE_COUNT; i++) {
        run_case(&cases[i], seconds);
    }
    free(body);
    return 0;
}
