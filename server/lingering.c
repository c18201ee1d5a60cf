#include "server/lingering.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_SOCKETS = 64, LONGEST_US = 5000000, STEP_US = 5000, PIECES_A_STEP = 64, PIECE_BYTES = 65536 };

#define MAX_BYTES ((size_t)64 << 20)

struct dp_lingering_socket {
    dp_lingering_socket *previous;
    dp_lingering_socket *next;
    int file;
    size_t bytes;
    int64_t give_up_us;
    dp_timer timer;
};

static void end_one(dp_lingering *lingering, dp_lingering_socket *one)
{
    *(one->previous == NULL ? &lingering->first : &one->previous->next) = one->next;
    if (one->next != NULL) one->next->previous = one->previous;
    dp_timer_heap_cancel(lingering->timers, &one->timer);
    close(one->file);
    free(one);
    lingering->count--;
}

void dp_lingering_continue(dp_lingering *lingering, dp_timer *timer, int64_t now_us)
{
    char *at = (char *)timer;
    dp_lingering_socket *one = (dp_lingering_socket *)(void *)(at - offsetof(dp_lingering_socket, timer));
    char ignored[PIECE_BYTES];
    ssize_t got = 0;
    for (unsigned i = 0; i < PIECES_A_STEP; i++) {
        got = recv(one->file, ignored, sizeof ignored, MSG_DONTWAIT);
        if (got <= 0) break;
        one->bytes += (size_t)got;
    }
    bool waits = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (waits && one->bytes < MAX_BYTES && now_us < one->give_up_us &&
        dp_timer_heap_set(lingering->timers, &one->timer, now_us + STEP_US))
        return;
    end_one(lingering, one);
}

void dp_lingering_begin(dp_lingering *lingering, int file, int64_t now_us)
{
    if (lingering->count == MAX_SOCKETS) return;
    dp_lingering_socket *one = calloc(1, sizeof *one);
    if (one == NULL) return;
    one->file = fcntl(file, F_DUPFD_CLOEXEC, 3);
    one->give_up_us = now_us + LONGEST_US;
    one->timer.kind = lingering->timer_kind;
    if (one->file < 0 || !dp_timer_heap_set(lingering->timers, &one->timer, now_us + STEP_US)) {
        if (one->file >= 0) close(one->file);
        free(one);
        return;
    }
    shutdown(one->file, SHUT_WR); /* the answer is complete */
    one->next = lingering->first;
    if (one->next != NULL) one->next->previous = one;
    lingering->first = one;
    lingering->count++;
}

void dp_lingering_end(dp_lingering *lingering)
{
    while (lingering->first != NULL) {
        end_one(lingering, lingering->first);
    }
}
