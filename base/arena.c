#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity;
    size_t used;
    alignas(max_align_t) char bytes[];
} arena_chunk;

struct dp_arena {
    arena_chunk *first;
    arena_chunk *current;
    size_t chunk_bytes;
    size_t max_bytes;
    size_t reserved_bytes;
    size_t used_bytes;
};

static arena_chunk *chunk_new(size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof(arena_chunk)) return NULL;
    arena_chunk *chunk = malloc(sizeof(arena_chunk) + capacity);
    if (chunk == NULL) return NULL;
    *chunk = (arena_chunk){.capacity = capacity};
    return chunk;
}

static void chunks_free(arena_chunk *chunk)
{
    while (chunk != NULL) {
        arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

dp_arena *dp_arena_new(size_t chunk_bytes, size_t max_bytes)
{
    dp_arena *arena = malloc(sizeof *arena);
    if (arena == NULL) return NULL;
    if (chunk_bytes > max_bytes) chunk_bytes = max_bytes;
    arena_chunk *first = chunk_new(chunk_bytes);
    if (first == NULL) {
        free(arena);
        return NULL;
    }
    *arena = (dp_arena){first, first, chunk_bytes, max_bytes, chunk_bytes, 0};
    return arena;
}

void dp_arena_free(dp_arena *arena)
{
    if (arena == NULL) return;
    chunks_free(arena->first);
    free(arena);
}

static arena_chunk *chunk_append(dp_arena *arena, size_t bytes)
{
    size_t capacity = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
    if (capacity > arena->max_bytes - arena->reserved_bytes) capacity = bytes;
    if (capacity > arena->max_bytes - arena->reserved_bytes) return NULL;
    arena_chunk *chunk = chunk_new(capacity);
    if (chunk == NULL) return NULL;
    arena->current->next = chunk;
    arena->current = chunk;
    arena->reserved_bytes += capacity;
    return chunk;
}

void *dp_arena_alloc(dp_arena *arena, size_t bytes)
{
    const size_t alignment = alignof(max_align_t);
    if (bytes > SIZE_MAX - alignment) return NULL;
    bytes = (bytes + alignment - 1) & ~(alignment - 1);
    arena_chunk *chunk = arena->current;
    if (chunk->capacity - chunk->used < bytes) {
        chunk = chunk_append(arena, bytes);
        if (chunk == NULL) return NULL;
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += bytes;
    arena->used_bytes += bytes;
    return result;
}

void *dp_arena_alloc_zeroed(dp_arena *arena, size_t count, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, element_bytes, &bytes)) return NULL;
    void *result = dp_arena_alloc(arena, bytes);
    if (result != NULL) memset(result, 0, bytes);
    return result;
}

dp_slice dp_arena_copy(dp_arena *arena, dp_slice slice)
{
    char *copy = dp_arena_alloc(arena, slice.length == 0 ? 1 : slice.length);
    if (copy == NULL) return (dp_slice){NULL, 0};
    if (slice.length > 0) memcpy(copy, slice.data, slice.length);
    return (dp_slice){copy, slice.length};
}

void dp_arena_reset(dp_arena *arena)
{
    chunks_free(arena->first->next);
    arena->first->next = NULL;
    arena->first->used = 0;
    arena->current = arena->first;
    arena->reserved_bytes = arena->first->capacity;
    arena->used_bytes = 0;
}

size_t dp_arena_used_bytes(const dp_arena *arena)
{
    return arena->used_bytes;
}
