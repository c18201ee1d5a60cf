/* Closing while the other side still sends.
 *
 * A socket that is closed with unread bytes resets the connection, and the reset can overtake the answer: a
 * client that sends a large body would see a broken connection instead of 413. So a second handle of such a
 * socket is kept for a while, and what arrives on it is thrown away. Belongs to one event thread.
 */
#ifndef DPONE_SERVER_LINGERING_H
#define DPONE_SERVER_LINGERING_H

#include "server/timer_heap.h"

typedef struct dp_lingering_socket dp_lingering_socket;

typedef struct dp_lingering {
    dp_timer_heap *timers;
    uint32_t timer_kind; /* marks the timers that are ours: give them to dp_lingering_continue */
    dp_lingering_socket *first;
    unsigned count;
} dp_lingering;

/* Takes a second handle of `file`, which the caller closes. Does nothing when too many linger already. */
void dp_lingering_begin(dp_lingering *lingering, int file, int64_t now_us);

/* A timer of ours has come due. */
void dp_lingering_continue(dp_lingering *lingering, dp_timer *timer, int64_t now_us);

/* Closes all of them. */
void dp_lingering_end(dp_lingering *lingering);

#endif
