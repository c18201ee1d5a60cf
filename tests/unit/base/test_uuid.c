/* UUIDs: their form, and that no two are the same, across threads and forks too. */
#include "tests/unit/support/cmocka_includes.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uuid.h"

static void have_the_form_of_version_4(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++) {
        char text[DP_UUID_TEXT_BYTES];
        dp_uuid_v4(text);
        assert_int_equal(strlen(text), 36);
        for (size_t at = 0; at < 36; at++) {
            bool dash = at == 8 || at == 13 || at == 18 || at == 23;
            assert_int_equal(text[at] == '-', dash);
            if (!dash) assert_non_null(strchr("0123456789abcdef", text[at]));
        }
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

static int compare(const void *left, const void *right)
{
    return strcmp(left, right);
}

enum { THREADS = 4, EACH = 5000 };
static char made[THREADS][EACH][DP_UUID_TEXT_BYTES];

static void *make(void *context)
{
    char(*texts)[DP_UUID_TEXT_BYTES] = context;
    for (size_t i = 0; i < EACH; i++) {
        dp_uuid_v4(texts[i]);
    }
    return NULL;
}

static void are_different_in_all_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make, made[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    char(*all)[DP_UUID_TEXT_BYTES] = made[0];
    qsort(all, THREADS * EACH, DP_UUID_TEXT_BYTES, compare);
    for (size_t i = 1; i < THREADS * EACH; i++) {
        if (strcmp(all[i - 1], all[i]) == 0) fail_msg("%s twice", all[i]);
    }
}

static void a_forked_child_makes_its_own(void **state)
{
    (void)state;
    char text[DP_UUID_TEXT_BYTES];
    dp_uuid_v4(text); /* fills the pool that the child would inherit */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dp_uuid_v4(text);
        _exit(write(ends[1], text, sizeof text) == sizeof text ? 0 : 1);
    }
    char of_child[DP_UUID_TEXT_BYTES] = "";
    dp_uuid_v4(text);
    assert_int_equal(read(ends[0], of_child, sizeof of_child), sizeof of_child);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_string_not_equal(text, of_child);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(have_the_form_of_version_4),
        cmocka_unit_test(are_different_in_all_threads),
        cmocka_unit_test(a_forked_child_makes_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
