/* The two clocks: a monotonic one for durations and deadlines, the wall clock for people and records. */
#ifndef DPONE_BASE_CLOCK_H
#define DPONE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Microseconds since an arbitrary start; never goes back. */
int64_t dp_clock_monotonic_us(void);

/* Microseconds since 1970-01-01T00:00:00Z. */
int64_t dp_clock_wall_us(void);

/* Sleeps at least so long, unless a signal comes. */
void dp_clock_sleep_ms(unsigned duration_ms);

#define DP_CLOCK_TEXT_BYTES 40

/* Writes "YYYY-MM-DDTHH:MM:SS.ffffffZ" and a NUL; years outside 0001..9999 are clamped. */
void dp_clock_format_utc(int64_t wall_us, char out[DP_CLOCK_TEXT_BYTES]);

#endif
