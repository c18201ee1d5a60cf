#include "base/uuid.h"

#include "base/hex.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BLOCK_BYTES = 4096, UUID_BYTES = 16 };

static _Thread_local struct {
    uint8_t bytes[BLOCK_BYTES];
    size_t used;
    unsigned generation; /* a forked child must not hand out its parent's bytes again */
} pool = {.used = BLOCK_BYTES};

/* Counts forks; asking for the process id instead would cost a system call an id. */
static _Atomic unsigned fork_generation;

static void count_fork(void)
{
    fork_generation++;
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, count_fork) != 0) abort(); /* no memory before the first id */
}

static void refill(void)
{
    size_t filled = 0;
    while (filled < sizeof pool.bytes) {
        ssize_t got = getrandom(pool.bytes + filled, sizeof pool.bytes - filled, 0);
        if (got > 0) {
            filled += (size_t)got;
        } else if (errno != EINTR) {
            abort(); /* no kernel generator: nothing unique can be made, and going on would repeat ids */
        }
    }
    pool.used = 0;
    pool.generation = fork_generation;
}

void dp_uuid_v4(char out[DP_UUID_TEXT_BYTES])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    if (pool.used + UUID_BYTES > sizeof pool.bytes || pool.generation != fork_generation) refill();
    uint8_t *bytes = pool.bytes + pool.used;
    pool.used += UUID_BYTES;
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    char hex[2 * UUID_BYTES];
    dp_hex_encode(bytes, UUID_BYTES, hex);
    memcpy(out, hex, 8);
    memcpy(out + 9, hex + 8, 4);
    memcpy(out + 14, hex + 12, 4);
    memcpy(out + 19, hex + 16, 4);
    memcpy(out + 24, hex + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[36] = '\0';
}
