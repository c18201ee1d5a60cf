/* Hit, lead, join; eviction by size and by age. */
#include "tests/unit/support/cmocka_includes.h"

#include <stdio.h>

#include "server/idempotency_cache.h"

static dp_idempotency_cache *new_cache(uint32_t max_entries)
{
    static const uint8_t hash_key[DP_SIPHASH_KEY_BYTES] = {1, 2, 3};
    return dp_idempotency_cache_new(max_entries, 100, hash_key);
}

static dp_idempotency_outcome begin(dp_idempotency_cache *cache, const char *id, int64_t now_us,
                                    dp_idempotency_waiter *waiter, char *value)
{
    return dp_idempotency_cache_begin(cache, dp_slice_of_text(id), now_us, waiter, value);
}

static void store(dp_idempotency_cache *cache, const char *id, const char *text, int64_t now_us)
{
    dp_idempotency_waiter leader;
    char value[DP_UUID_TEXT_BYTES] = "";
    assert_int_equal(begin(cache, id, now_us, &leader, value), DP_IDEMPOTENCY_LEAD);
    snprintf(value, sizeof value, "%s", text);
    assert_null(dp_idempotency_cache_finish(cache, &leader, value, now_us));
}

/* The stored text, or "" when a request would have to lead. */
static const char *look(dp_idempotency_cache *cache, const char *id, int64_t now_us)
{
    static char value[DP_UUID_TEXT_BYTES];
    dp_idempotency_waiter waiter;
    value[0] = '\0';
    if (begin(cache, id, now_us, &waiter, value) == DP_IDEMPOTENCY_LEAD)
        dp_idempotency_cache_abandon(cache, &waiter);
    return value;
}

static void remembers_by_every_byte_of_the_id(void **state)
{
    (void)state;
    char one[4001];
    char other[4001];
    memset(one, 'k', 4000);
    one[4000] = '\0';
    memcpy(other, one, sizeof one);
    other[3999] = 'x';
    dp_idempotency_cache *cache = new_cache(10);
    store(cache, "Key", "one", 0);
    store(cache, one, "long", 0);
    assert_string_equal(look(cache, "Key", 0), "one");
    assert_string_equal(look(cache, "key", 0), "");
    assert_string_equal(look(cache, "Key ", 0), "");
    assert_string_equal(look(cache, one, 0), "long");
    assert_string_equal(look(cache, other, 0), "");
    dp_idempotency_cache_free(cache);
}

static void evicts_the_least_recently_used(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(2);
    store(cache, "a", "A", 0);
    store(cache, "b", "B", 0);
    assert_string_equal(look(cache, "a", 0), "A"); /* a hit refreshes */
    store(cache, "c", "C", 0);
    assert_string_equal(look(cache, "a", 0), "A");
    assert_string_equal(look(cache, "b", 0), "");
    assert_string_equal(look(cache, "c", 0), "C");
    assert_int_equal(dp_idempotency_cache_counts(cache).evictions_size, 1);
    dp_idempotency_cache_free(cache);
}

static void age_counts_from_creation_not_from_use(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(10);
    store(cache, "a", "A", 0);
    assert_string_equal(look(cache, "a", 99), "A");
    assert_string_equal(look(cache, "a", 100), "");
    assert_int_equal(dp_idempotency_cache_counts(cache).evictions_age, 1);
    assert_int_equal(dp_idempotency_cache_counts(cache).entries, 0);
    dp_idempotency_cache_free(cache);
}

static void expires_the_oldest_first_and_only_so_many(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(10);
    store(cache, "a", "A", 0);
    store(cache, "b", "B", 1);
    store(cache, "c", "C", 50);
    assert_int_equal(dp_idempotency_cache_expire(cache, 120, 1), 1);
    assert_int_equal(dp_idempotency_cache_expire(cache, 120, 10), 1);
    assert_string_equal(look(cache, "c", 120), "C");
    dp_idempotency_cache_free(cache);
}

static void a_smaller_size_evicts_at_once(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(1000);
    char id[16];
    for (int i = 0; i < 1000; i++) { /* enough for the table to grow */
        snprintf(id, sizeof id, "%d", i);
        store(cache, id, "v", 0);
    }
    dp_idempotency_cache_configure(cache, 10, 100);
    assert_int_equal(dp_idempotency_cache_counts(cache).entries, 10);
    assert_string_equal(look(cache, "999", 0), "v");
    assert_string_equal(look(cache, "989", 0), "");
    dp_idempotency_cache_free(cache);
}

/* Against a list in order of use: what is evicted leaves its slot to those that lay behind it. */
static void finds_what_a_plain_list_would_after_many_evictions(void **state)
{
    (void)state;
    enum { ENTRIES = 100, IDS = 150 };
    static int used[ENTRIES]; /* most recent first */
    int count = 0;
    uint32_t random = 1;
    dp_idempotency_cache *cache = new_cache(ENTRIES);
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        int id = (int)(random >> 8) % IDS;
        int at = 0;
        while (at < count && used[at] != id) {
            at++;
        }
        char text[16];
        snprintf(text, sizeof text, "%d", id);
        const char *expected = at < count ? text : "";
        assert_string_equal(look(cache, text, 0), expected);
        if (at == count) store(cache, text, text, 0);
        if (at == count && count < ENTRIES) count++;
        if (at == ENTRIES) at--;
        memmove(used + 1, used, (size_t)at * sizeof *used);
        used[0] = id;
    }
    dp_idempotency_cache_free(cache);
}

static void those_who_join_get_the_leaders_value_in_order(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(10);
    dp_idempotency_waiter leader;
    dp_idempotency_waiter first;
    dp_idempotency_waiter second;
    char value[DP_UUID_TEXT_BYTES] = "";
    assert_int_equal(begin(cache, "a", 0, &leader, value), DP_IDEMPOTENCY_LEAD);
    assert_int_equal(begin(cache, "a", 0, &first, value), DP_IDEMPOTENCY_JOIN);
    assert_int_equal(begin(cache, "a", 0, &second, value), DP_IDEMPOTENCY_JOIN);
    assert_int_equal(dp_idempotency_cache_counts(cache).entries, 0);
    dp_idempotency_waiter *list = dp_idempotency_cache_finish(cache, &leader, value, 0);
    assert_ptr_equal(list, &first);
    assert_ptr_equal(list->next, &second);
    assert_null(second.next);
    assert_null(first.entry);
    assert_int_equal(dp_idempotency_cache_counts(cache).in_flight, 0);
    dp_idempotency_cache_free(cache);
}

static void the_first_who_joined_leads_when_the_leader_gives_up(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(10);
    dp_idempotency_waiter leader;
    dp_idempotency_waiter first;
    dp_idempotency_waiter second;
    dp_idempotency_waiter late;
    char value[DP_UUID_TEXT_BYTES] = "value";
    begin(cache, "a", 0, &leader, value);
    begin(cache, "a", 0, &first, value);
    begin(cache, "a", 0, &second, value);
    assert_ptr_equal(dp_idempotency_cache_abandon(cache, &leader), &first);
    assert_true(first.leads);
    assert_int_equal(begin(cache, "a", 0, &late, value), DP_IDEMPOTENCY_JOIN);
    assert_null(dp_idempotency_cache_abandon(cache, &second)); /* one who only waits */
    assert_ptr_equal(dp_idempotency_cache_finish(cache, &first, value, 0), &late);
    assert_string_equal(look(cache, "a", 0), "value");
    dp_idempotency_cache_free(cache);
}

static void a_leader_without_followers_leaves_nothing_behind(void **state)
{
    (void)state;
    dp_idempotency_cache *cache = new_cache(10);
    dp_idempotency_waiter leader;
    char value[DP_UUID_TEXT_BYTES] = "";
    begin(cache, "a", 0, &leader, value);
    assert_null(dp_idempotency_cache_abandon(cache, &leader));
    assert_null(dp_idempotency_cache_abandon(cache, &leader)); /* twice is harmless */
    assert_int_equal(dp_idempotency_cache_counts(cache).in_flight, 0);
    assert_int_equal(begin(cache, "a", 0, &leader, value), DP_IDEMPOTENCY_LEAD);
    dp_idempotency_cache_free(cache); /* also with one in flight */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_by_every_byte_of_the_id),
        cmocka_unit_test(evicts_the_least_recently_used),
        cmocka_unit_test(age_counts_from_creation_not_from_use),
        cmocka_unit_test(expires_the_oldest_first_and_only_so_many),
        cmocka_unit_test(a_smaller_size_evicts_at_once),
        cmocka_unit_test(finds_what_a_plain_list_would_after_many_evictions),
        cmocka_unit_test(those_who_join_get_the_leaders_value_in_order),
        cmocka_unit_test(the_first_who_joined_leads_when_the_leader_gives_up),
        cmocka_unit_test(a_leader_without_followers_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
