/* Every pair of state and event, then properties over random histories, then 64 threads at a half-open
 * breaker. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/circuit_breaker.h"

#define SECOND INT64_C(1000000)

static const dp_breaker_permit nothing = {0, false};

static dp_breaker in_state(dp_breaker_state state, unsigned failure_count, bool probe_out)
{
    dp_breaker breaker = dp_breaker_make(3, 30 * SECOND);
    breaker.state = state;
    breaker.failure_count = failure_count;
    breaker.probe_out = probe_out;
    breaker.reopen_at_us = 100 * SECOND;
    breaker.generation = 7;
    return breaker;
}

static void every_state_and_event_does_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        dp_breaker_state state;
        unsigned failures;
        bool probe_out;
        dp_breaker_event event;
        int64_t now_s;
        uint64_t generation; /* of the permit; the breaker's is 7 */
        bool admitted;
        bool probe;
        int64_t retry_in_s;
        dp_breaker_state after;
        unsigned failures_after;
        bool probe_out_after;
    } rows[] = {
        {"closed admits", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_ASK, 0, 0, true, false, 0,
         DP_BREAKER_CLOSED, 2, false},
        {"closed: a success resets the count", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_SUCCESS, 0, 7, false,
         false, 0, DP_BREAKER_CLOSED, 0, false},
        {"closed: a failure counts", DP_BREAKER_CLOSED, 1, false, DP_BREAKER_FAILURE, 0, 7, false, false, 0,
         DP_BREAKER_CLOSED, 2, false},
        {"closed: the third failure opens", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_FAILURE, 0, 7, false,
         false, 0, DP_BREAKER_OPEN, 0, false},
        {"closed: a permit given back changes nothing", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_GIVE_BACK, 0,
         7, false, false, 0, DP_BREAKER_CLOSED, 2, false},
        {"closed: an old failure is ignored", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_FAILURE, 0, 6, false,
         false, 0, DP_BREAKER_CLOSED, 2, false},
        {"closed: an old success is ignored", DP_BREAKER_CLOSED, 2, false, DP_BREAKER_SUCCESS, 0, 6, false,
         false, 0, DP_BREAKER_CLOSED, 2, false},
        {"open refuses with the time left", DP_BREAKER_OPEN, 0, false, DP_BREAKER_ASK, 90, 0, false, false,
         10, DP_BREAKER_OPEN, 0, false},
        {"open: after the recovery time a probe passes", DP_BREAKER_OPEN, 0, false, DP_BREAKER_ASK, 100, 0,
         true, true, 0, DP_BREAKER_HALF_OPEN, 0, true},
        {"open: an old success is ignored", DP_BREAKER_OPEN, 0, false, DP_BREAKER_SUCCESS, 90, 6, false,
         false, 0, DP_BREAKER_OPEN, 0, false},
        {"open: an old failure is ignored", DP_BREAKER_OPEN, 0, false, DP_BREAKER_FAILURE, 90, 6, false,
         false, 0, DP_BREAKER_OPEN, 0, false},
        {"open: an old permit given back is ignored", DP_BREAKER_OPEN, 0, false, DP_BREAKER_GIVE_BACK, 90, 6,
         false, false, 0, DP_BREAKER_OPEN, 0, false},
        {"open: no permit of this generation exists", DP_BREAKER_OPEN, 0, false, DP_BREAKER_SUCCESS, 90, 7,
         false, false, 0, DP_BREAKER_OPEN, 0, false},
        {"half-open refuses beside a probe", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_ASK, 101, 0, false,
         false, 0, DP_BREAKER_HALF_OPEN, 0, true},
        {"half-open admits one when none is out", DP_BREAKER_HALF_OPEN, 0, false, DP_BREAKER_ASK, 101, 0,
         true, true, 0, DP_BREAKER_HALF_OPEN, 0, true},
        {"half-open: success closes", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_SUCCESS, 101, 7, false, false,
         0, DP_BREAKER_CLOSED, 0, false},
        {"half-open: failure opens", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_FAILURE, 101, 7, false, false,
         0, DP_BREAKER_OPEN, 0, false},
        {"half-open: a cancelled probe gives its permit back", DP_BREAKER_HALF_OPEN, 0, true,
         DP_BREAKER_GIVE_BACK, 101, 7, false, false, 0, DP_BREAKER_HALF_OPEN, 0, false},
        {"half-open: an old failure is ignored", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_FAILURE, 101, 6,
         false, false, 0, DP_BREAKER_HALF_OPEN, 0, true},
        {"half-open: an old success is ignored", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_SUCCESS, 101, 6,
         false, false, 0, DP_BREAKER_HALF_OPEN, 0, true},
        {"half-open: an old permit frees nothing", DP_BREAKER_HALF_OPEN, 0, true, DP_BREAKER_GIVE_BACK, 101,
         6, false, false, 0, DP_BREAKER_HALF_OPEN, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        dp_breaker breaker = in_state(rows[i].state, rows[i].failures, rows[i].probe_out);
        dp_breaker_permit permit = {rows[i].generation, false};
        dp_breaker_answer answer =
            dp_breaker_step(&breaker, rows[i].event, permit, rows[i].now_s * SECOND, 0);
        assert_int_equal(answer.admitted, rows[i].admitted);
        assert_int_equal(answer.permit.probe, rows[i].probe);
        assert_int_equal(answer.retry_in_us, rows[i].retry_in_s * SECOND);
        assert_int_equal(answer.changed, rows[i].state != rows[i].after);
        assert_int_equal(answer.from, rows[i].state);
        assert_int_equal(breaker.state, rows[i].after);
        assert_int_equal(breaker.failure_count, rows[i].failures_after);
        assert_int_equal(breaker.probe_out, rows[i].probe_out_after);
        if (answer.admitted) assert_int_equal(answer.permit.generation, breaker.generation);
    }
}

static void recovery_time_is_spread_by_ten_per_cent(void **state)
{
    (void)state;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
        dp_breaker breaker = dp_breaker_make(1, 30 * SECOND);
        dp_breaker_step(&breaker, DP_BREAKER_FAILURE, nothing, 0, random >> 11);
        assert_in_range(breaker.reopen_at_us, 27 * SECOND, 33 * SECOND);
        if (breaker.reopen_at_us < least) least = breaker.reopen_at_us;
        if (breaker.reopen_at_us > most) most = breaker.reopen_at_us;
    }
    assert_true(least < 27 * SECOND + SECOND / 100);
    assert_true(most > 33 * SECOND - SECOND / 100);
}

/* A model without generations: the permits themselves are remembered. */
static void random_histories_keep_the_invariants(void **state)
{
    (void)state;
    enum { OUT = 40, STEPS = 200000 };
    dp_breaker_permit out[OUT];
    size_t out_count = 0;
    unsigned transitions[3] = {0};
    dp_breaker breaker = dp_breaker_make(3, 10 * SECOND);
    uint64_t seed = 42;
    int64_t now = 0;
    for (int i = 0; i < STEPS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        uint64_t random = seed >> 16;
        now += (int64_t)(random % SECOND);
        dp_breaker before = breaker;
        dp_breaker_answer answer;
        if (out_count == 0 || (out_count < OUT && random % 2 == 0)) {
            answer = dp_breaker_step(&breaker, DP_BREAKER_ASK, nothing, now, random);
            if (answer.admitted) out[out_count++] = answer.permit;
            if (!answer.admitted) assert_int_not_equal(before.state, DP_BREAKER_CLOSED);
            if (before.state == DP_BREAKER_OPEN) {
                assert_int_equal(answer.admitted, now >= before.reopen_at_us);
            }
        } else {
            size_t pick = (size_t)(random / 7 % out_count);
            static const dp_breaker_event events[] = {DP_BREAKER_SUCCESS, DP_BREAKER_FAILURE,
                                                      DP_BREAKER_FAILURE, DP_BREAKER_FAILURE,
                                                      DP_BREAKER_GIVE_BACK};
            bool stale = out[pick].generation != breaker.generation;
            answer = dp_breaker_step(&breaker, events[random / 1000 % 5], out[pick], now, random);
            out[pick] = out[--out_count];
            if (stale) assert_false(answer.changed);
        }
        if (answer.changed) transitions[breaker.state]++;
        assert_int_equal(answer.changed, before.state != breaker.state);
        size_t probes = 0;
        for (size_t n = 0; n < out_count; n++) {
            probes += out[n].probe && out[n].generation == breaker.generation;
        }
        assert_true(probes <= 1);
        assert_int_equal(probes == 1, breaker.state == DP_BREAKER_HALF_OPEN && breaker.probe_out);
        assert_true(breaker.failure_count < breaker.failure_threshold);
    }
    assert_true(transitions[DP_BREAKER_OPEN] > 100);
    assert_true(transitions[DP_BREAKER_HALF_OPEN] > 100);
    assert_true(transitions[DP_BREAKER_CLOSED] > 100);
}

typedef struct crowd {
    pthread_mutex_t lock;
    pthread_barrier_t start;
    dp_breaker breaker;
    unsigned admitted;
} crowd;

static void *ask_once(void *context)
{
    crowd *all = context;
    pthread_barrier_wait(&all->start);
    pthread_mutex_lock(&all->lock);
    if (dp_breaker_step(&all->breaker, DP_BREAKER_ASK, nothing, 31 * SECOND, 0).admitted) all->admitted++;
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static void half_open_admits_exactly_one_of_64_threads(void **state)
{
    (void)state;
    enum { THREADS = 64 };
    crowd all = {.breaker = dp_breaker_make(1, 30 * SECOND)};
    pthread_mutex_init(&all.lock, NULL);
    pthread_barrier_init(&all.start, NULL, THREADS);
    dp_breaker_step(&all.breaker, DP_BREAKER_FAILURE, nothing, 0, 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_once, &all), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(all.admitted, 1);
    pthread_barrier_destroy(&all.start);
    pthread_mutex_destroy(&all.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_and_event_does_what_the_table_says),
        cmocka_unit_test(recovery_time_is_spread_by_ten_per_cent),
        cmocka_unit_test(random_histories_keep_the_invariants),
        cmocka_unit_test(half_open_admits_exactly_one_of_64_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
