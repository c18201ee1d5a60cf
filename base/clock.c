#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t dp_clock_monotonic_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

int64_t dp_clock_wall_us(void)
{
    return read_clock_us(CLOCK_REALTIME);
}

void dp_clock_sleep_ms(unsigned duration_ms)
{
    struct timespec duration = {duration_ms / 1000, (long)(duration_ms % 1000) * 1000000};
    nanosleep(&duration, NULL);
}

void dp_clock_format_utc(int64_t wall_us, char out[DP_CLOCK_TEXT_BYTES])
{
    const int64_t first_us = INT64_C(-62135596800) * 1000000; /* 0001-01-01 */
    const int64_t last_us = INT64_C(253402300799) * 1000000 + 999999;
    if (wall_us < first_us) wall_us = first_us;
    if (wall_us > last_us) wall_us = last_us;
    int64_t seconds = wall_us / 1000000;
    int64_t fraction_us = wall_us % 1000000;
    if (fraction_us < 0) {
        fraction_us += 1000000;
        seconds--;
    }
    time_t time = (time_t)seconds;
    struct tm parts;
    gmtime_r(&time, &parts);
    snprintf(out, DP_CLOCK_TEXT_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", (parts.tm_year + 1900) % 10000,
             (parts.tm_mon + 1) % 100, parts.tm_mday % 100, parts.tm_hour % 100, parts.tm_min % 100,
             parts.tm_sec % 100, (int)fraction_us);
}
