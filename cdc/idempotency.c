#include "cdc/idempotency.h"

#include <stdlib.h>

#include "base/hex.h"

typedef struct known_id {
    dp_event_id id;
    size_t first_index;
    bool repeated;
} known_id;

struct dp_idempotency {
    uint64_t multipliers[4];
    size_t max_ids;
    known_id *ids; /* in order of first appearance */
    size_t id_count;
    size_t id_capacity;
    uint32_t *slots; /* index + 1 into ids; 0 is empty; a power of two, at most half full */
    size_t slot_count;
    dp_event_id *duplicates;
    size_t duplicate_count;
    size_t duplicate_capacity;
    uint64_t total;
};

/* SplitMix64 (Steele, Lea, Flood 2014): one seed becomes four unrelated multipliers. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

dp_idempotency *dp_idempotency_new(uint64_t seed, size_t max_ids)
{
    dp_idempotency *check = calloc(1, sizeof *check);
    if (check == NULL) return NULL;
    for (size_t i = 0; i < 4; i++) {
        check->multipliers[i] = next_random(&seed) | 1;
    }
    check->max_ids = max_ids < UINT32_MAX / 4 ? max_ids : UINT32_MAX / 4;
    return check;
}

void dp_idempotency_free(dp_idempotency *check)
{
    if (check == NULL) return;
    free(check->ids);
    free(check->slots);
    free(check->duplicates);
    free(check);
}

void dp_idempotency_reset(dp_idempotency *check)
{
    check->id_count = 0;
    check->duplicate_count = 0;
    check->total = 0;
    if (check->slots != NULL) memset(check->slots, 0, check->slot_count * sizeof *check->slots);
}

static size_t first_slot(const dp_idempotency *check, const dp_event_id *id)
{
    uint64_t words[4];
    memcpy(words, id->bytes, sizeof words);
    uint64_t hash = 0;
    for (size_t i = 0; i < 4; i++) {
        hash += (words[i] ^ words[i] >> 32) * check->multipliers[i];
    }
    return (size_t)(hash >> 20) & (check->slot_count - 1);
}

static void place(dp_idempotency *check, uint32_t index)
{
    size_t slot = first_slot(check, &check->ids[index].id);
    while (check->slots[slot] != 0) {
        slot = (slot + 1) & (check->slot_count - 1);
    }
    check->slots[slot] = index + 1;
}

/* Keeps the table at most half full and the list large enough for one more id. */
static bool make_room(dp_idempotency *check)
{
    if (check->id_count == check->id_capacity) {
        size_t capacity = check->id_capacity == 0 ? 256 : check->id_capacity * 2;
        known_id *grown = realloc(check->ids, capacity * sizeof *grown);
        if (grown == NULL) return false;
        check->ids = grown;
        check->id_capacity = capacity;
    }
    if (check->id_count * 2 < check->slot_count) return true;
    size_t slot_count = check->slot_count == 0 ? 1024 : check->slot_count * 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) return false;
    free(check->slots);
    check->slots = slots;
    check->slot_count = slot_count;
    for (size_t i = 0; i < check->id_count; i++) {
        place(check, (uint32_t)i);
    }
    return true;
}

static bool note_duplicate(dp_idempotency *check, known_id *known)
{
    if (known->repeated) return true;
    if (check->duplicate_count == check->duplicate_capacity) {
        size_t capacity = check->duplicate_capacity == 0 ? 64 : check->duplicate_capacity * 2;
        dp_event_id *grown = realloc(check->duplicates, capacity * sizeof *grown);
        if (grown == NULL) return false;
        check->duplicates = grown;
        check->duplicate_capacity = capacity;
    }
    known->repeated = true;
    check->duplicates[check->duplicate_count++] = known->id;
    return true;
}

dp_status dp_idempotency_add(dp_idempotency *check, const dp_event_id *id, size_t index, size_t *first_index,
                             dp_error *error)
{
    if (!make_room(check)) return dp_error_no_memory(error, "the ids of a batch");
    size_t slot = first_slot(check, id);
    for (; check->slots[slot] != 0; slot = (slot + 1) & (check->slot_count - 1)) {
        known_id *known = &check->ids[check->slots[slot] - 1];
        if (memcmp(known->id.bytes, id->bytes, sizeof id->bytes) != 0) continue;
        if (!note_duplicate(check, known)) return dp_error_no_memory(error, "the repeated ids of a batch");
        check->total++;
        *first_index = known->first_index;
        return DP_STATUS_OK;
    }
    if (check->id_count >= check->max_ids) {
        return dp_error_set(error, DP_STATUS_LIMIT, "more than %zu different event ids", check->max_ids);
    }
    check->ids[check->id_count] = (known_id){*id, index, false};
    check->slots[slot] = (uint32_t)++check->id_count;
    check->total++;
    *first_index = index;
    return DP_STATUS_OK;
}

dp_idempotency_result dp_idempotency_evaluate(const dp_idempotency *check)
{
    return (dp_idempotency_result){
        .passed = check->duplicate_count == 0,
        .total_events = check->total,
        .unique_events = check->id_count,
        .duplicate_count = check->total - check->id_count,
        .duplicate_ids = check->duplicates,
        .duplicate_id_count = check->duplicate_count,
    };
}

void dp_idempotency_write_json(const dp_idempotency_result *result, dp_json_writer *writer)
{
    dp_json_begin_object(writer);
    dp_json_key(writer, "passed");
    dp_json_bool(writer, result->passed);
    dp_json_key(writer, "total_events");
    dp_json_u64(writer, result->total_events);
    dp_json_key(writer, "unique_events");
    dp_json_u64(writer, result->unique_events);
    dp_json_key(writer, "duplicate_count");
    dp_json_u64(writer, result->duplicate_count);
    dp_json_key(writer, "duplicate_event_ids");
    dp_json_begin_array(writer);
    for (size_t i = 0; i < result->duplicate_id_count; i++) {
        char hex[DP_SHA256_HEX_LENGTH];
        dp_hex_encode(result->duplicate_ids[i].bytes, DP_SHA256_BYTES, hex);
        dp_json_string(writer, (dp_slice){hex, sizeof hex});
    }
    dp_json_end_array(writer);
    dp_json_end_object(writer);
}
