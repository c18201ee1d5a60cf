/* An allocator whose n-th allocation fails, for test_*allocation_failures.c: the linker puts it in place of
 * the real one (--wrap, tests/unit/CMakeLists.txt). Include it in one file of a test. */
#ifndef DPONE_TESTS_FAILING_ALLOCATOR_H
#define DPONE_TESTS_FAILING_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static long allocation_count;
static long failing_allocation; /* 0: none */

static bool fails_now(void)
{
    return ++allocation_count == failing_allocation;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

/* Runs `body` with every allocation failing in turn, then without a failure, which must succeed. `body`
 * returns whether it succeeded, and itself checks what a failure must look like. Returns how many allocations
 * there are. */
static long fail_each_allocation(bool (*body)(void *context), void *context)
{
    for (long n = 1;; n++) {
        allocation_count = 0;
        failing_allocation = n;
        bool succeeded = body(context);
        long made = allocation_count;
        failing_allocation = 0;
        if (made < n) return succeeded ? n - 1 : -1;
    }
}

#endif
