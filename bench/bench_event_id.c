/* Nanoseconds for one event id beside a bare SHA-256 of the same canonical bytes, in one run, interleaved.
 * usage: bench_event_id [ids] */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cdc/event_identity.h"
#include "cdc/table_cache.h"

enum { COLUMN_COUNT = 6, ROUNDS = 5 };

static const dp_column_spec columns[COLUMN_COUNT] = {
    {{"id", 2}, DP_TYPE_INTEGER, true},      {{"customer", 8}, DP_TYPE_INTEGER, false},
    {{"amount", 6}, DP_TYPE_NUMERIC, false}, {{"status", 6}, DP_TYPE_TEXT, false},
    {{"note", 4}, DP_TYPE_TEXT, false},      {{"updated_at", 10}, DP_TYPE_TEXT, false},
};

static dp_value text(const char *value)
{
    return (dp_value){DP_VALUE_PRESENT, dp_slice_of_text(value)};
}

static double ns_per(int64_t started_us, size_t count)
{
    return (double)(dp_clock_monotonic_us() - started_us) * 1000.0 / (double)count;
}

static void run(const char *name, const char *unique_key, size_t id_count)
{
    dp_error error = DP_ERROR_INIT;
    dp_unique_keys *keys = dp_unique_keys_new();
    if (unique_key != NULL) dp_unique_keys_add(keys, dp_slice_of_text(unique_key), &error);
    dp_table_cache *cache = dp_table_cache_new(keys);
    const dp_table *table;
    dp_table_cache_intern(cache, DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("orders"), columns,
                          COLUMN_COUNT, &table, &error);
    dp_value row[COLUMN_COUNT] = {
        text("1234567"),
        text("4711"),
        text("99.50"),
        text("paid"),
        text("a note of the customer that is about ninety bytes long, as notes of customers tend to be."),
        text("2026-01-02 03:04:05.678901+00")};
    dp_change change = {
        .table = table, .data = row, .has_position = true, .has_transaction_id = true, .transaction_id = 900};
    dp_event_identity *identity = dp_event_identity_new(DP_IDENTITY_V1);
    dp_sha256 *hash = dp_sha256_new();
    double best_id = 1e9, best_hash = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        dp_event_id id;
        int64_t started_us = dp_clock_monotonic_us();
        for (size_t i = 0; i < id_count; i++) {
            change.position.value = i;
            dp_event_identity_id(identity, &change, &id, &error);
        }
        double id_ns = ns_per(started_us, id_count);
        dp_slice canonical = dp_event_identity_canonical(identity);
        started_us = dp_clock_monotonic_us();
        for (size_t i = 0; i < id_count; i++) {
            dp_sha256_digest(hash, canonical, id.bytes);
        }
        double hash_ns = ns_per(started_us, id_count);
        if (id_ns < best_id) best_id = id_ns;
        if (hash_ns < best_hash) best_hash = hash_ns;
    }
    printf("event id, %s: %.0f ns; bare SHA-256 of the same %zu bytes: %.0f ns; ratio %.2f\n", name, best_id,
           dp_event_identity_canonical(identity).length, best_hash, best_id / best_hash);
    dp_sha256_free(hash);
    dp_event_identity_free(identity);
    dp_table_cache_free(cache);
    dp_unique_keys_free(keys);
}

int main(int argc, char **argv)
{
    size_t id_count = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
    run("key of one column", "public.orders=id", id_count);
    run("whole row", NULL, id_count);
    return 0;
}
