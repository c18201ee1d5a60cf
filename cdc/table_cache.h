/* Descriptions of tables, interned: what pgoutput announces in RELATION messages and what the text plugins
 * repeat with every row.
 *
 * Owns every dp_table it returns; a pointer stays valid until dp_table_cache_collect or free, also after its
 * description was replaced. Knows the configured unique keys and resolves them once per description. Not
 * shared between threads.
 */
#ifndef DPONE_CDC_TABLE_CACHE_H
#define DPONE_CDC_TABLE_CACHE_H

#include "cdc/change.h"
#include "cdc/unique_keys.h"

typedef struct dp_table_cache dp_table_cache;

/* What a decoder knows of one column when it meets a table. */
typedef struct dp_column_spec {
    dp_slice name;
    dp_type_class type_class;
    bool is_identity;
} dp_column_spec;

/* `keys` (may be NULL: no keys) is borrowed and must outlive the cache. NULL when memory is refused. */
dp_table_cache *dp_table_cache_new(const dp_unique_keys *keys);
void dp_table_cache_free(dp_table_cache *cache);

/* The description of schema.name with exactly these columns in this order: the one returned before when
 * nothing changed, else a new one. A table that appears with several column lists in turn (an unchanged TOAST
 * column left out by a text plugin) has a description for each. DATA for a repeated column name, LIMIT
 * above 1,664 columns. */
dp_status dp_table_cache_intern(dp_table_cache *cache, dp_slice schema, dp_slice name,
                                const dp_column_spec *columns, size_t column_count, const dp_table **table,
                                dp_error *error);

/* Forgets all descriptions of a table but the eight used last; call between transactions only, when no change
 * is held. The counters of `sequence` are kept. */
void dp_table_cache_collect(dp_table_cache *cache);

/* A description held beyond the next collect, such as pgoutput's by relation id; the cache must outlive it.
 */
void dp_table_retain(const dp_table *table);
void dp_table_release(const dp_table *table); /* NULL is allowed */

/* The number of changes of `table` before this one that share its position in the transaction; counts this
 * one. */
uint64_t dp_table_next_sequence(const dp_table *table, uint64_t transaction_number, bool has_position,
                                dp_lsn position);

#endif
