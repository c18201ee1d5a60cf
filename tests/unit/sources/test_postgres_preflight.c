/* Whether reading may start: the decision table of the blockers. */
#include "tests/unit/support/cmocka_includes.h"

#include "cdc/postgres_preflight.h"
#include "cdc/source_postgres_common.h"

static const dp_postgres_slot good_slot = {
    .exists = true,
    .is_logical = true,
    .plugin = "pgoutput",
    .database = "shop",
    .has_confirmed = true,
    .confirmed = {0x500},
    .has_restart = true,
    .restart = {0x400},
};

static void a_good_slot_passes(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_postgres_check_slot(&good_slot, "s", DP_PLUGIN_PGOUTPUT, "shop", &error),
                     DP_STATUS_OK);
    assert_int_equal(dp_postgres_check_offset(&good_slot, "s", false, (dp_lsn){0}, &error), DP_STATUS_OK);
    assert_int_equal(dp_postgres_check_offset(&good_slot, "s", true, (dp_lsn){0x500}, &error), DP_STATUS_OK);
    assert_int_equal(dp_postgres_check_offset(&good_slot, "s", true, (dp_lsn){0x501}, &error), DP_STATUS_OK);
}

static void each_fault_of_a_slot_has_its_blocker(void **state)
{
    (void)state;
    struct {
        dp_postgres_slot slot;
        dp_source_blocker blocker;
    } rows[] = {
        {good_slot, DP_SOURCE_BLOCKER_SLOT_MISSING},     {good_slot, DP_SOURCE_BLOCKER_SLOT_UNUSABLE},
        {good_slot, DP_SOURCE_BLOCKER_SLOT_UNUSABLE},    {good_slot, DP_SOURCE_BLOCKER_SLOT_UNUSABLE},
        {good_slot, DP_SOURCE_BLOCKER_SLOT_INVALIDATED}, {good_slot, DP_SOURCE_BLOCKER_PLUGIN_CHANGED},
        {good_slot, DP_SOURCE_BLOCKER_SLOT_TWO_PHASE},   {good_slot, DP_SOURCE_BLOCKER_SLOT_UNUSABLE},
    };
    rows[0].slot.exists = false;
    rows[1].slot.is_logical = false;
    rows[2].slot.is_temporary = true;
    strcpy(rows[3].slot.database, "other");
    rows[4].slot.is_invalidated = true;
    strcpy(rows[5].slot.plugin, "wal2json");
    rows[6].slot.is_two_phase = true;
    rows[7].slot.is_synced = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_postgres_check_slot(&rows[i].slot, "s", DP_PLUGIN_PGOUTPUT, "shop", &error),
                         DP_STATUS_BLOCKED);
        assert_string_equal(error.code, dp_source_blocker_code(rows[i].blocker));
        assert_string_equal(error.hint, dp_source_blocker_remedy(rows[i].blocker));
    }
}

static void a_slot_past_the_offset_is_a_gap(void **state)
{
    (void)state;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(dp_postgres_check_offset(&good_slot, "s", true, (dp_lsn){0x4FF}, &error),
                     DP_STATUS_BLOCKED);
    assert_string_equal(error.code, "source.slot_ahead_of_offset");
    dp_error_clear(&error);
    assert_int_equal(dp_postgres_check_offset(&good_slot, "s", true, (dp_lsn){0x3FF}, &error),
                     DP_STATUS_BLOCKED);
    assert_string_equal(error.code, "source.slot_recreated");
}

static void another_server_is_told_from_the_same_one(void **state)
{
    (void)state;
    const dp_postgres_server server = {
        .system_identifier = "7", .database = "shop", .timeline = 1, .flushed = {0x1000}};
    const struct {
        dp_postgres_expectation expected;
        const char *code;
    } rows[] = {
        {{.is_known = false}, ""},
        {{.is_known = true, .system_identifier = "7", .database = "shop"}, ""},
        {{.has_stored = true, .stored = {0x1000}}, ""},
        {{.is_known = true, .system_identifier = "8", .database = "shop"},
         "source.system_identifier_changed"},
        {{.is_known = true, .system_identifier = "7", .database = "other"}, "source.database_changed"},
        {{.has_stored = true, .stored = {0x1001}}, "source.offset_ahead_of_server"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_error error = DP_ERROR_INIT;
        dp_postgres_check_server(&server, &rows[i].expected, &error);
        assert_string_equal(error.code, rows[i].code);
    }
}

static void refusals_are_explained_by_their_sqlstate(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        const char *message;
        const char *code;
    } rows[] = {
        {"55006", "replication slot \"s\" is active for PID 7", "source.slot_in_use"},
        {"42704", "replication slot \"s\" does not exist", "source.slot_missing"},
        {"42704", "publication \"p\" does not exist", "source.publication_missing"},
        {"55000", "can no longer get changes from replication slot \"s\"", "source.slot_invalidated"},
        {"55000", "cannot read from logical replication slot: it has been invalidated",
         "source.slot_invalidated"},
        {"42501", "library \"wal2json\" may not be used as an output plugin", "source.plugin_unavailable"},
        {"58P01", "could not access file \"wal2json\"", "source.plugin_unavailable"},
        {"55000", "logical decoding requires wal_level >= logical", "source.wal_level_too_low"},
        {"57P01", "terminating connection due to administrator command", "postgres.57P01"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_error cause = DP_ERROR_INIT;
        dp_error error = DP_ERROR_INIT;
        dp_error_set_code(&cause, DP_STATUS_REMOTE, "postgres.57P01", "%s", rows[i].message);
        dp_postgres_explain_start(rows[i].sqlstate, "s", &cause, &error);
        assert_string_equal(error.code, rows[i].code);
    }
}

static dp_timeline timeline(uint32_t number, uint64_t begin)
{
    return (dp_timeline){.number = number, .has_begin = begin != 0, .begin = {begin}};
}

static void a_timeline_began_where_its_history_ends(void **state)
{
    (void)state;
    const dp_slice history = DP_SLICE_LITERAL("1\t0/3000148\tno recovery target specified\n"
                                              "\n2\t0/5000060\tbefore 2026-01-01\n");
    dp_timeline third = dp_timeline_of(3, history);
    assert_true(third.has_begin);
    assert_int_equal(third.begin.value, 0x5000060);
    assert_false(dp_timeline_of(1, (dp_slice){"", 0}).has_begin);
    assert_false(dp_timeline_of(2, DP_SLICE_LITERAL("1\tnonsense\tx")).has_begin);
    dp_timeline same = timeline(3, 0x5000060), sibling = timeline(3, 0x5000061), unknown = timeline(3, 0);
    dp_timeline other = timeline(2, 0x5000060);
    assert_true(dp_timeline_is_same(&third, &same));
    assert_true(dp_timeline_is_same(&third, &unknown));
    assert_false(dp_timeline_is_same(&third, &sibling));
    assert_false(dp_timeline_is_same(&third, &other));
}

static void what_was_read_is_common_up_to_where_its_timeline_was_left(void **state)
{
    (void)state;
    const dp_slice history = DP_SLICE_LITERAL("1\t0/3000148\tno recovery target specified\n"
                                              "2\t0/5000060\tno recovery target specified\n");
    const struct {
        dp_timeline before;
        uint64_t position;
        bool is_common;
    } rows[] = {
        {timeline(1, 0), 0x3000148, true},
        {timeline(1, 0), 0x3000149, false},
        {timeline(2, 0x3000148), 0x5000060, true},
        {timeline(2, 0x3000148), 0x5000061, false},
        {timeline(2, 0), 0x5000060, true},
        {timeline(2, 0x3000100), 0x3000000, false}, /* another second timeline */
        {timeline(3, 0x5000060), 0, false},         /* a former primary, or a sibling */
        {timeline(4, 0), 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dp_timeline_is_common(history, &rows[i].before, (dp_lsn){rows[i].position}),
                         rows[i].is_common);
    }
    assert_false(dp_timeline_is_common((dp_slice){"", 0}, &rows[0].before, (dp_lsn){0}));
}

static void a_record_opens_or_closes_a_transaction(void **state)
{
    (void)state;
    static const struct {
        dp_plugin plugin;
        const char *data;
        dp_record_kind kind;
    } rows[] = {
        {DP_PLUGIN_PGOUTPUT, "B....", DP_RECORD_BEGINS},
        {DP_PLUGIN_PGOUTPUT, "C....", DP_RECORD_COMMITS},
        {DP_PLUGIN_PGOUTPUT, "I....", DP_RECORD_OTHER},
        {DP_PLUGIN_TEST_DECODING, "BEGIN 700", DP_RECORD_BEGINS},
        {DP_PLUGIN_TEST_DECODING, "COMMIT 700 (at 2026-01-01)", DP_RECORD_COMMITS},
        {DP_PLUGIN_TEST_DECODING, "table public.t: INSERT: v[text]:'COMMIT'", DP_RECORD_OTHER},
        {DP_PLUGIN_WAL2JSON_2, "{\"action\":\"B\",\"xid\":1}", DP_RECORD_BEGINS},
        {DP_PLUGIN_WAL2JSON_2, "{\"action\":\"C\",\"xid\":1}", DP_RECORD_COMMITS},
        {DP_PLUGIN_WAL2JSON_2, "{\"action\":\"I\",\"schema\":\"C\"}", DP_RECORD_OTHER},
        {DP_PLUGIN_WAL2JSON_1, "{\"change\":[]}", DP_RECORD_COMMITS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dp_record_kind_of(rows[i].plugin, dp_slice_of_text(rows[i].data)), rows[i].kind);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_slot_passes),
        cmocka_unit_test(each_fault_of_a_slot_has_its_blocker),
        cmocka_unit_test(a_slot_past_the_offset_is_a_gap),
        cmocka_unit_test(another_server_is_told_from_the_same_one),
        cmocka_unit_test(refusals_are_explained_by_their_sqlstate),
        cmocka_unit_test(a_timeline_began_where_its_history_ends),
        cmocka_unit_test(what_was_read_is_common_up_to_where_its_timeline_was_left),
        cmocka_unit_test(a_record_opens_or_closes_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
