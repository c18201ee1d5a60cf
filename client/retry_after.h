/* Reads a Retry-After field (RFC 9110, 10.2.3): a number of seconds, or a date in one of the three forms of
 * 5.6.7. Pure. */
#ifndef DPONE_CLIENT_RETRY_AFTER_H
#define DPONE_CLIENT_RETRY_AFTER_H

#include "base/slice.h"

/* The wait from now in microseconds, at least 0; seconds past 2^40 read as 2^40. -1: neither form, ignore it.
 * wall_now_us is the time since 1970 that a date is compared with. */
int64_t dp_retry_after_us(dp_slice value, int64_t wall_now_us);

#endif
