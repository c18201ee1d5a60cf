/* What a mistyped word may have meant. */
#include "tests/unit/support/cmocka_includes.h"

#include "cli/suggest.h"

static void near_words_are_found_and_far_ones_are_not(void **state)
{
    (void)state;
    static const struct {
        const char *typed;
        const char *best; /* of format, from, table; NULL: none */
    } cases[] = {
        {"formta", "format"},
        {"fromat", "format"},
        {"form", "from"},
        {"frm", "from"},
        {"tables", "table"},
        {"tabel", "table"},
        {"TABLE", NULL},
        {"t", NULL},
        {"", NULL},
        {"xyz", NULL},
        {"format", "format"},
        {"forma", "format"},
        {"informatics", NULL},
        {"a word of more than sixty-three characters, which nobody ever typed as an option", NULL},
    };
    static const char *const candidates[] = {"format", "from", "table"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_suggestion suggestion = {.best = NULL};
        for (size_t j = 0; j < 3; j++) {
            dp_suggest(&suggestion, dp_slice_of_text(cases[i].typed), candidates[j]);
        }
        const char *best = suggestion.best == NULL ? "none" : suggestion.best;
        assert_string_equal(best, cases[i].best == NULL ? "none" : cases[i].best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(near_words_are_found_and_far_ones_are_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
