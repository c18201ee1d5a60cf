/* A bump allocator for everything that lives as long as one batch.
 *
 * Allocation is a pointer move; nothing is freed one by one. Reset keeps the first chunk. Refuses to grow
 * past its maximum. Pointers are valid until the next reset or free. Not shared between threads.
 */
#ifndef DPONE_BASE_ARENA_H
#define DPONE_BASE_ARENA_H

#include "base/slice.h"

typedef struct dp_arena dp_arena;

/* chunk_bytes is the usual growth step; max_bytes bounds the sum of all chunks. NULL when memory is refused.
 */
dp_arena *dp_arena_new(size_t chunk_bytes, size_t max_bytes);
void dp_arena_free(dp_arena *arena);

/* Memory aligned for any object, not zeroed; NULL past the maximum or when memory is refused. */
void *dp_arena_alloc(dp_arena *arena, size_t bytes);

/* As dp_arena_alloc for `count` elements, zeroed, the product checked. */
void *dp_arena_alloc_zeroed(dp_arena *arena, size_t count, size_t element_bytes);

/* A copy that lives in the arena; data is NULL on failure, also for an empty slice then. */
dp_slice dp_arena_copy(dp_arena *arena, dp_slice slice);

void dp_arena_reset(dp_arena *arena);

/* Bytes handed out since the last reset, padding included. */
size_t dp_arena_used_bytes(const dp_arena *arena);

#endif
