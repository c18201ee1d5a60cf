#include "base/crash_point.h"

#ifdef DPONE_CRASH_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define DP_CRASH_POINT_TEXT(name, text, process, where) text,
    DP_CRASH_POINT_LIST(DP_CRASH_POINT_TEXT)
#undef DP_CRASH_POINT_TEXT
};

void dp_crash_point(dp_crash_point_name point)
{
    static atomic_ulong passed_count;
    const char *wanted = getenv("DPONE_CRASH_AT");
    if (wanted == NULL) return;
    size_t length = strlen(names[point]);
    if (strncmp(wanted, names[point], length) != 0 || (wanted[length] != '\0' && wanted[length] != ':'))
        return;
    unsigned long nth = wanted[length] == ':' ? strtoul(wanted + length + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&passed_count, 1) + 1 == nth) raise(SIGKILL);
}

#else

typedef int dp_crash_points_are_compiled_out; /* ISO C wants a declaration in every file */

#endif
