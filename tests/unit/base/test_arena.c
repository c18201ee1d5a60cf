/* Arenas: aligned, bounded, and reusable after a reset. */
#include "tests/unit/support/cmocka_includes.h"

#include <stdalign.h>

#include "base/arena.h"

static void everything_is_aligned_and_separate(void **state)
{
    (void)state;
    dp_arena *arena = dp_arena_new(256, 1 << 20);
    unsigned char *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = dp_arena_alloc(arena, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_equal(pieces[i][j], i);
        }
    }
    dp_arena_free(arena);
}

static void the_maximum_is_the_sum_of_all_chunks(void **state)
{
    (void)state;
    dp_arena *arena = dp_arena_new(256, 1024);
    size_t granted = 0;
    while (dp_arena_alloc(arena, 64) != NULL) {
        granted += 64;
    }
    assert_int_equal(granted, 1024);
    assert_int_equal(dp_arena_used_bytes(arena), 1024);
    assert_null(dp_arena_alloc(arena, 1));
    dp_arena_reset(arena);
    assert_int_equal(dp_arena_used_bytes(arena), 0);
    assert_non_null(dp_arena_alloc(arena, 768));
    assert_null(dp_arena_alloc(arena, 768));
    dp_arena_free(arena);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    dp_arena *arena = dp_arena_new(64, SIZE_MAX);
    assert_null(dp_arena_alloc(arena, SIZE_MAX));
    assert_null(dp_arena_alloc(arena, SIZE_MAX - 15));
    assert_null(dp_arena_alloc(arena, SIZE_MAX - 40));
    assert_null(dp_arena_alloc_zeroed(arena, SIZE_MAX / 2, 3));
    assert_non_null(dp_arena_alloc(arena, 1));
    dp_arena_free(arena);
    dp_arena_free(NULL);
}

static void zeroed_memory_is_zero_after_a_reset_too(void **state)
{
    (void)state;
    static const char zeros[100] = {0};
    dp_arena *arena = dp_arena_new(256, 4096);
    memset(dp_arena_alloc(arena, 100), 0xFF, 100);
    dp_arena_reset(arena);
    assert_memory_equal(dp_arena_alloc_zeroed(arena, 25, 4), zeros, 100);
    dp_arena_free(arena);
}

static void copies_tell_empty_from_failed(void **state)
{
    (void)state;
    dp_arena *arena = dp_arena_new(64, 64);
    dp_slice copy = dp_arena_copy(arena, (dp_slice){NULL, 0});
    assert_non_null(copy.data);
    assert_int_equal(copy.length, 0);
    copy = dp_arena_copy(arena, DP_SLICE_LITERAL("text\0more"));
    assert_true(dp_slice_equal(copy, DP_SLICE_LITERAL("text\0more")));
    char large[65] = {0};
    copy = dp_arena_copy(arena, (dp_slice){large, sizeof large});
    assert_null(copy.data);
    dp_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_aligned_and_separate),
        cmocka_unit_test(the_maximum_is_the_sum_of_all_chunks),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(zeroed_memory_is_zero_after_a_reset_too),
        cmocka_unit_test(copies_tell_empty_from_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
