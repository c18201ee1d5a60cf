#include "base/planted_fault.h"

#ifdef DPONE_CRASH_POINTS

#include <stdlib.h>
#include <string.h>

bool dp_fault_is_planted(dp_fault fault)
{
    static const char *const names[] = {
#define DP_FAULT_TEXT(name, text, what) text,
        DP_FAULT_LIST(DP_FAULT_TEXT)
#undef DP_FAULT_TEXT
    };
    const char *planted = getenv("DPONE_FAULT");
    return planted != NULL && strcmp(planted, names[fault]) == 0;
}

#else

typedef int dp_planted_faults_are_compiled_out; /* ISO C wants a declaration in every file */

#endif
