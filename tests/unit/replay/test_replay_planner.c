/* The planner's decision table, and every combination of its inputs against the rules written down again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "replay/replay_planner.h"

static const char *const valid_tokens[3][4] = {
    [DP_BACKEND_POSTGRES_LOGICAL] = {"0/9", "0/10", "1/0", "10/0"},
    [DP_BACKEND_MSSQL_CDC] = {"0x9", "0x10", "0x00000027000000AF0005", "0x10000000000000000000"},
    [DP_BACKEND_MSSQL_CHANGE_TRACKING] = {"9", "10", "11", "100"},
};

static dp_offset offset_of(dp_backend backend, const char *token)
{
    dp_offset offset;
    assert_true(dp_offset_of_token(backend, dp_slice_of_text(token), &offset));
    return offset;
}

static void list_blockers(const dp_replay_plan *plan, char *out, size_t capacity)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < DP_REPLAY_BLOCKER_COUNT; i++) {
        if (!plan->blockers[i]) continue;
        const char *text = dp_replay_blocker_text((dp_replay_blocker)i);
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", used == 0 ? "" : " ", text);
    }
}

#define MISMATCH  "offset.backend_mismatch."
#define WINDOW    "replay.invalid_window"
#define RETENTION "replay.start_before_retention"
#define WATERMARK "replay.to_after_high_watermark"
#define REWIND    "replay.requires_allow_rewind"
#define ARTIFACT  "replay.artifact_required_for_consumed_postgres_slot"

typedef struct plan_case {
    const char *name;
    dp_backend backend;
    const char *stored; /* "token" or "backend:token"; NULL: none */
    const char *from;
    const char *to;
    const char *retention;
    const char *watermark;
    const char *artifact;
    bool allow_rewind;
    bool warns;
    const char *blockers;
} plan_case;

#define PG  DP_BACKEND_POSTGRES_LOGICAL
#define CDC DP_BACKEND_MSSQL_CDC
#define CT  DP_BACKEND_MSSQL_CHANGE_TRACKING

static const plan_case table[] = {
    {"only a start", PG, NULL, "0/10", NULL, NULL, NULL, "", false, false, ""},
    {"from the stored offset on", PG, "0/10", "0/10", NULL, NULL, NULL, "", false, false, ""},
    {"ahead of the stored offset", PG, "0/10", "1/0", NULL, NULL, NULL, "", false, false, ""},
    {"an empty window", PG, NULL, "0/10", "0/10", NULL, NULL, "", false, false, ""},
    {"a window that ends before it starts", PG, NULL, "0/10", "0/9", NULL, NULL, "", false, false, WINDOW},
    {"from exactly the retention minimum", PG, NULL, "0/10", NULL, "0/10", NULL, "", false, false, ""},
    {"from below the retention minimum", PG, NULL, "0/9", NULL, "0/10", NULL, "", false, false, RETENTION},
    {"to exactly the high watermark", PG, NULL, "0/9", "0/10", NULL, "0/10", "", false, false, ""},
    {"to beyond the high watermark", PG, NULL, "0/9", "1/0", NULL, "0/10", "", false, false, WATERMARK},
    {"from beyond the high watermark, open end", PG, NULL, "1/0", NULL, NULL, "0/10", "", false, false, ""},
    {"rewind not allowed, no artifact", PG, "0/10", "0/9", NULL, NULL, NULL, "", false, true,
     REWIND " " ARTIFACT},
    {"rewind allowed, no artifact", PG, "0/10", "0/9", NULL, NULL, NULL, "", true, true, ARTIFACT},
    {"rewind not allowed, artifact", PG, "0/10", "0/9", NULL, NULL, NULL, "s3://b/a", false, true, REWIND},
    {"rewind allowed, artifact", PG, "0/10", "0/9", NULL, NULL, NULL, "s3://b/a", true, true, ""},
    {"SQL Server needs no artifact", CDC, "0x10", "0x9", NULL, NULL, NULL, "", true, true, ""},
    {"Change Tracking needs no artifact", CT, "10", "9", NULL, NULL, NULL, "", true, true, ""},
    {"SQL Server rewind not allowed", CDC, "0x10", "0x9", NULL, NULL, NULL, "", false, true, REWIND},
    {"a foreign stored offset hides the rewind", PG, "mssql_cdc:0x10", "0/9", NULL, NULL, NULL, "", false,
     false, MISMATCH "stored_offset"},
    {"a foreign start skips every comparison with it", PG, "0/10", "mssql_change_tracking:9", "0/9", "1/0",
     NULL, "", false, false, MISMATCH "replay_from"},
    {"a foreign end skips window and watermark", PG, NULL, "0/10", "mssql_cdc:0x1", NULL, "0/9", "", false,
     false, MISMATCH "replay_to"},
    {"a foreign retention minimum", PG, NULL, "0/9", NULL, "mssql_cdc:0x10", NULL, "", false, false,
     MISMATCH "retention_min"},
    {"a foreign high watermark", PG, NULL, "0/9", "1/0", NULL, "mssql_cdc:0x10", "", false, false,
     MISMATCH "high_watermark"},
    {"all offsets foreign", PG, "mssql_cdc:0x1", "mssql_cdc:0x1", "mssql_cdc:0x1", "mssql_cdc:0x1",
     "mssql_cdc:0x1", "", false, false,
     MISMATCH "stored_offset " MISMATCH "replay_from " MISMATCH "replay_to " MISMATCH
              "retention_min " MISMATCH "high_watermark"},
    {"everything wrong that can be wrong at once", PG, "1/0", "0/9", "0/1", "0/10", "0/0", "", false, true,
     WINDOW " " RETENTION " " WATERMARK " " REWIND " " ARTIFACT},
    {"mismatch before all others", PG, "1/0", "0/9", "0/1", "0/10", "mssql_cdc:0x1", "", false, true,
     MISMATCH "high_watermark " WINDOW " " RETENTION " " REWIND " " ARTIFACT},
};

static const dp_offset *optional(const char *text, dp_backend backend, dp_offset *storage)
{
    if (text == NULL) return NULL;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_offset_parse(dp_slice_of_text(text), backend, "x", storage, &error), DP_STATUS_OK);
    return storage;
}

static void decides_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const plan_case *row = &table[i];
        dp_offset storage[5];
        dp_replay_request request = {
            .backend = row->backend,
            .stored_offset = optional(row->stored, row->backend, &storage[0]),
            .replay_from = optional(row->from, row->backend, &storage[1]),
            .replay_to = optional(row->to, row->backend, &storage[2]),
            .retention_min = optional(row->retention, row->backend, &storage[3]),
            .high_watermark = optional(row->watermark, row->backend, &storage[4]),
            .artifact_uri = dp_slice_of_text(row->artifact),
            .allow_rewind = row->allow_rewind,
        };
        dp_replay_plan plan = dp_replay_plan_make(&request);
        char blockers[1024];
        list_blockers(&plan, blockers, sizeof blockers);
        if (strcmp(blockers, row->blockers) != 0) {
            fail_msg("%s: got [%s], expected [%s]", row->name, blockers, row->blockers);
        }
        assert_int_equal(plan.safe_to_execute, row->blockers[0] == '\0');
        assert_int_equal(plan.warnings[DP_REPLAY_WARNING_REWINDS_STORED_OFFSET], row->warns);
    }
}

/* An input of the exhaustive test: absent, one of four ascending tokens, or foreign. */
enum { ABSENT, RANK_1, RANK_2, RANK_3, RANK_4, FOREIGN, INPUT_COUNT };

static bool known(int input)
{
    return input >= RANK_1 && input <= RANK_4;
}

static const dp_offset *input_offset(dp_backend backend, int input, dp_offset *storage)
{
    if (input == ABSENT) return NULL;
    dp_backend other = (dp_backend)(((int)backend + 1) % 3);
    *storage = input == FOREIGN ? offset_of(other, valid_tokens[other][0])
                                : offset_of(backend, valid_tokens[backend][input - RANK_1]);
    return storage;
}

typedef struct combination {
    dp_backend backend;
    int stored, from, to, retention, watermark;
    bool artifact, allow;
} combination;

static void check_combination(const combination *c)
{
    dp_offset storage[5];
    dp_replay_request request = {
        .backend = c->backend,
        .stored_offset = input_offset(c->backend, c->stored, &storage[0]),
        .replay_from = input_offset(c->backend, c->from, &storage[1]),
        .replay_to = input_offset(c->backend, c->to, &storage[2]),
        .retention_min = input_offset(c->backend, c->retention, &storage[3]),
        .high_watermark = input_offset(c->backend, c->watermark, &storage[4]),
        .artifact_uri = c->artifact ? DP_SLICE_LITERAL("file:a") : (dp_slice){"", 0},
        .allow_rewind = c->allow,
    };
    dp_replay_plan plan = dp_replay_plan_make(&request);
    bool rewinds = known(c->from) && known(c->stored) && c->from < c->stored;
    const bool expected[DP_REPLAY_BLOCKER_COUNT] = {
        c->stored == FOREIGN,
        c->from == FOREIGN,
        c->to == FOREIGN,
        c->retention == FOREIGN,
        c->watermark == FOREIGN,
        known(c->from) && known(c->to) && c->from > c->to,
        known(c->from) && known(c->retention) && c->from < c->retention,
        known(c->to) && known(c->watermark) && c->to > c->watermark,
        rewinds && !c->allow,
        rewinds && c->backend == PG && !c->artifact,
    };
    assert_memory_equal(plan.blockers, expected, sizeof expected);
    assert_int_equal(plan.warnings[DP_REPLAY_WARNING_REWINDS_STORED_OFFSET], rewinds);
    assert_int_equal(plan.safe_to_execute, memchr(expected, true, sizeof expected) == NULL);
}

static void decides_every_combination_by_the_rules(void **state)
{
    (void)state;
    combination c;
    size_t count = 0;
    for (int rest = 0; rest < 3 * 2 * 2; rest++) {
        c.backend = (dp_backend)(rest % 3);
        c.artifact = rest / 3 % 2 == 1;
        c.allow = rest / 6 == 1;
        for (c.from = RANK_1; c.from < INPUT_COUNT; c.from++)
            for (c.stored = ABSENT; c.stored < INPUT_COUNT; c.stored++)
                for (c.to = ABSENT; c.to < INPUT_COUNT; c.to++)
                    for (c.retention = ABSENT; c.retention < INPUT_COUNT; c.retention++)
                        for (c.watermark = ABSENT; c.watermark < INPUT_COUNT; c.watermark++, count++)
                            check_combination(&c);
    }
    assert_int_equal(count, 12 * 5 * 6 * 6 * 6 * 6);
}

static void lists_the_steps_in_their_order(void **state)
{
    (void)state;
    static const char *const names[] = {"pause_pipeline",   "verify_retention",
                                        "set_start_offset", "load_idempotent_delta",
                                        "compare_target",   "commit_offset_after_sink_commit"};
    assert_int_equal(DP_REPLAY_STEP_COUNT, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < DP_REPLAY_STEP_COUNT; i++) {
        assert_string_equal(dp_replay_step_text((dp_replay_step)i), names[i]);
        assert_true(strlen(dp_replay_step_description((dp_replay_step)i)) > 20);
        assert_true(dp_replay_step_required((dp_replay_step)i));
    }
}

static void every_blocker_and_warning_says_what_it_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < DP_REPLAY_BLOCKER_COUNT; i++) {
        assert_non_null(strchr(dp_replay_blocker_text((dp_replay_blocker)i), '.'));
        assert_true(strlen(dp_replay_blocker_description((dp_replay_blocker)i)) > 20);
    }
    assert_string_equal(dp_replay_warning_text(DP_REPLAY_WARNING_REWINDS_STORED_OFFSET),
                        "replay.rewinds_stored_offset");
    assert_true(strlen(dp_replay_warning_description(DP_REPLAY_WARNING_REWINDS_STORED_OFFSET)) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_the_table_says),
        cmocka_unit_test(decides_every_combination_by_the_rules),
        cmocka_unit_test(lists_the_steps_in_their_order),
        cmocka_unit_test(every_blocker_and_warning_says_what_it_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
