/* The written forms of plans and decisions, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "replay/plan_render.h"

static dp_offset offset_of(dp_backend backend, const char *token)
{
    dp_offset offset;
    assert_true(dp_offset_of_token(backend, dp_slice_of_text(token), &offset));
    return offset;
}

static dp_replay_request request_of(const dp_offset *from)
{
    return (dp_replay_request){
        .backend = DP_BACKEND_POSTGRES_LOGICAL,
        .pipeline_name = DP_SLICE_LITERAL("orders-cdc"),
        .source_schema = DP_SLICE_LITERAL("public"),
        .source_table = DP_SLICE_LITERAL("orders"),
        .replay_from = from,
    };
}

#define STEP(name, description)                                                                              \
    "    {\n      \"name\": \"" name "\",\n      \"description\": \"" description                            \
    "\",\n      \"required\": true\n    }"

#define STEPS                                                                                                                                                                                       \
    "  \"steps\": [\n" STEP(                                                                                                                                                                        \
        "pause_pipeline",                                                                                                                                                                           \
        "Stop the pipeline, so that nothing else moves its offset "                                                                                                                                 \
        "while the window is replayed.") ",\n" STEP("verify_retention",                                                                                                                             \
                                                    "Check that the source, or the artifact, still holds "                                                                                          \
                                                    "every change of the "                                                                                                                          \
                                                    "window.") ",\n" STEP("set_start_offset",                                                                                                       \
                                                                          "Set the offset that reading "                                                                                            \
                                                                          "starts from to replay_from, "                                                                                            \
                                                                          "on record who and why.") ","                                                                                             \
                                                                                                    "\n" STEP(                                                                                      \
                                                                                                        "lo"                                                                                        \
                                                                                                        "ad"                                                                                        \
                                                                                                        "_i"                                                                                        \
                                                                                                        "de"                                                                                        \
                                                                                                        "mp"                                                                                        \
                                                                                                        "ot"                                                                                        \
                                                                                                        "en"                                                                                        \
                                                                                                        "t_"                                                                                        \
                                                                                                        "de"                                                                                        \
                                                                                                        "lt"                                                                                        \
                                                                                                        "a",                                                                                        \
                                                                                                        "Lo"                                                                                        \
                                                                                                        "ad"                                                                                        \
                                                                                                        " t"                                                                                        \
                                                                                                        "he"                                                                                        \
                                                                                                        " w"                                                                                        \
                                                                                                        "in"                                                                                        \
                                                                                                        "do"                                                                                        \
                                                                                                        "w;"                                                                                        \
                                                                                                        " c"                                                                                        \
                                                                                                        "ha"                                                                                        \
                                                                                                        "ng"                                                                                        \
                                                                                                        "es"                                                                                        \
                                                                                                        " t"                                                                                        \
                                                                                                        "ha"                                                                                        \
                                                                                                        "t "                                                                                        \
                                                                                                        "ar"                                                                                        \
                                                                                                        "e "                                                                                        \
                                                                                                        "al"                                                                                        \
                                                                                                        "re"                                                                                        \
                                                                                                        "ad"                                                                                        \
                                                                                                        "y "                                                                                        \
                                                                                                        "th"                                                                                        \
                                                                                                        "er"                                                                                        \
                                                                                                        "e "                                                                                        \
                                                                                                        "co"                                                                                        \
                                                                                                        "un"                                                                                        \
                                                                                                        "t "                                                                                        \
                                                                                                        "as"                                                                                        \
                                                                                                        " "                                                                                         \
                                                                                                        "du"                                                                                        \
                                                                                                        "pl"                                                                                        \
                                                                                                        "ic"                                                                                        \
                                                                                                        "at"                                                                                        \
                                                                                                        "es"                                                                                        \
                                                                                                        " a"                                                                                        \
                                                                                                        "nd"                                                                                        \
                                                                                                        " c"                                                                                        \
                                                                                                        "ha"                                                                                        \
                                                                                                        "ng"                                                                                        \
                                                                                                        "e "                                                                                        \
                                                                                                        "no"                                                                                        \
                                                                                                        "th"                                                                                        \
                                                                                                        "in"                                                                                        \
                                                                                                        "g"                                                                                         \
                                                                                                        ".") ",\n" STEP("compare_target",                                                           \
                                                                                                                        "Compare the target with the source over the window before the pipeline "   \
                                                                                                                        "goes on.") ",\n" STEP("commit_offset_after_sink_commit",                   \
                                                                                                                                               "Save the offset only after the target's commit is " \
                                                                                                                                               "durable and the commit gate has passed.") "\n  ],\n"

static void assert_text(dp_buffer *out, const char *expected)
{
    assert_false(out->failed);
    assert_string_equal(dp_buffer_text(out), expected);
    dp_buffer_release(out);
}

static void a_safe_plan_as_json(void **state)
{
    (void)state;
    dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/16B6D28");
    dp_replay_request request = request_of(&from);
    dp_replay_plan plan = dp_replay_plan_make(&request);
    dp_buffer out = DP_BUFFER_INIT(65536);
    dp_replay_plan_write_json(&plan, &out);
    assert_text(&out, "{\n"
                      "  \"safe_to_execute\": true,\n"
                      "  \"backend\": \"postgres_logical\",\n"
                      "  \"pipeline_name\": \"orders-cdc\",\n"
                      "  \"source_schema\": \"public\",\n"
                      "  \"source_table\": \"orders\",\n"
                      "  \"stored_offset\": null,\n"
                      "  \"replay_from\": {\n"
                      "    \"backend\": \"postgres_logical\",\n"
                      "    \"token\": \"0/16B6D28\",\n"
                      "    \"snapshot_complete\": true\n"
                      "  },\n"
                      "  \"replay_to\": null,\n"
                      "  \"retention_min\": null,\n"
                      "  \"high_watermark\": null,\n"
                      "  \"artifact_uri\": null,\n"
                      "  \"allow_rewind\": false,\n" STEPS "  \"blockers\": [],\n"
                      "  \"warnings\": []\n"
                      "}\n");
}

static void a_blocked_plan_as_json_keeps_the_order_of_keys_and_blockers(void **state)
{
    (void)state;
    dp_offset stored = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "1/0");
    dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/10");
    dp_offset to = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/9");
    dp_offset foreign = offset_of(DP_BACKEND_MSSQL_CDC, "0x0a");
    dp_replay_request request = request_of(&from);
    request.stored_offset = &stored;
    request.replay_to = &to;
    request.high_watermark = &foreign;
    request.source_table = DP_SLICE_LITERAL("we\"ird\n");
    dp_replay_plan plan = dp_replay_plan_make(&request);
    dp_buffer out = DP_BUFFER_INIT(65536);
    dp_replay_plan_write_json(&plan, &out);
    const char *text = dp_buffer_text(&out);
    assert_non_null(strstr(text, "  \"source_table\": \"we\\\"ird\\n\",\n"));
    assert_non_null(
        strstr(text, "  \"high_watermark\": {\n    \"backend\": \"mssql_cdc\",\n    \"token\": \"0x0a\",\n"));
    assert_non_null(strstr(text, "  \"blockers\": [\n"
                                 "    \"offset.backend_mismatch.high_watermark\",\n"
                                 "    \"replay.invalid_window\",\n"
                                 "    \"replay.requires_allow_rewind\",\n"
                                 "    \"replay.artifact_required_for_consumed_postgres_slot\"\n"
                                 "  ],\n"
                                 "  \"warnings\": [\n"
                                 "    \"replay.rewinds_stored_offset\"\n"
                                 "  ]\n"
                                 "}\n"));
    dp_buffer_release(&out);
}

static void a_blocked_plan_as_markdown(void **state)
{
    (void)state;
    dp_offset stored = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/16B6D28");
    dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/16B6B00");
    dp_offset foreign = offset_of(DP_BACKEND_MSSQL_CDC, "0x0A");
    dp_replay_request request = request_of(&from);
    request.stored_offset = &stored;
    request.retention_min = &foreign;
    request.artifact_uri = DP_SLICE_LITERAL("s3://bucket/orders");
    dp_replay_plan plan = dp_replay_plan_make(&request);
    dp_buffer out = DP_BUFFER_INIT(65536);
    dp_replay_plan_write_markdown(&plan, &out);
    assert_text(
        &out,
        "# Replay plan\n\n**Blocked.**\n\n"
        "| | |\n|---|---|\n"
        "| backend | `postgres_logical` |\n"
        "| pipeline_name | `orders-cdc` |\n"
        "| source_schema | `public` |\n"
        "| source_table | `orders` |\n"
        "| stored_offset | `0/16B6D28` |\n"
        "| replay_from | `0/16B6B00` |\n"
        "| replay_to | not given |\n"
        "| retention_min | `0x0A` of mssql_cdc |\n"
        "| high_watermark | not given |\n"
        "| artifact_uri | `s3://bucket/orders` |\n"
        "| allow_rewind | no |\n"
        "\n## Blockers\n\n"
        "- `offset.backend_mismatch.retention_min`: the retention minimum belongs to another backend than "
        "the plan\n"
        "- `replay.requires_allow_rewind`: replay_from is behind the stored offset and rewinding is not "
        "allowed\n"
        "\n## Warnings\n\n"
        "- `replay.rewinds_stored_offset`: replay_from is behind the stored offset: changes that were loaded "
        "are "
        "loaded again\n"
        "\n## Steps\n\n"
        "1. `pause_pipeline`: Stop the pipeline, so that nothing else moves its offset while the window is "
        "replayed.\n"
        "2. `verify_retention`: Check that the source, or the artifact, still holds every change of the "
        "window.\n"
        "3. `set_start_offset`: Set the offset that reading starts from to replay_from, on record who and "
        "why.\n"
        "4. `load_idempotent_delta`: Load the window; changes that are already there count as duplicates and "
        "change "
        "nothing.\n"
        "5. `compare_target`: Compare the target with the source over the window before the pipeline goes "
        "on.\n"
        "6. `commit_offset_after_sink_commit`: Save the offset only after the target's commit is durable and "
        "the "
        "commit gate has passed.\n");
}

static void a_safe_plan_as_markdown_says_so(void **state)
{
    (void)state;
    dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/1");
    dp_replay_request request = request_of(&from);
    request.allow_rewind = true;
    dp_replay_plan plan = dp_replay_plan_make(&request);
    dp_buffer out = DP_BUFFER_INIT(65536);
    dp_replay_plan_write_markdown(&plan, &out);
    const char *text = dp_buffer_text(&out);
    assert_non_null(strstr(text, "**Safe to execute.**"));
    assert_non_null(strstr(text, "| allow_rewind | yes |\n"));
    assert_non_null(strstr(text, "## Blockers\n\nNone.\n\n## Warnings\n\nNone.\n"));
    dp_buffer_release(&out);
}

static void no_name_can_change_the_page(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *span;
    } cases[] = {
        {"a|b", "| `a\\|b` |"},          {"`rm`", "| `` `rm` `` |"},       {"a``b", "| ``` a``b ``` |"},
        {"a\n# Safe", "| `a # Safe` |"}, {"a\r\x1b[31m", "| `a  [31m` |"}, {"**x** <b>", "| `**x** <b>` |"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/1");
        dp_replay_request request = request_of(&from);
        request.pipeline_name = dp_slice_of_text(cases[i].name);
        dp_replay_plan plan = dp_replay_plan_make(&request);
        dp_buffer out = DP_BUFFER_INIT(65536);
        dp_replay_plan_write_markdown(&plan, &out);
        if (strstr(dp_buffer_text(&out), cases[i].span) == NULL) {
            fail_msg("%s not in %s", cases[i].span, dp_buffer_text(&out));
        }
        dp_buffer_release(&out);
    }
}

static void a_decision_as_json(void **state)
{
    (void)state;
    dp_offset next = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/16B6D28");
    dp_gate_input input = {&next, DP_BACKEND_POSTGRES_LOGICAL, DP_SLICE_LITERAL("success"),
                           DP_SLICE_LITERAL("committed"), true};
    dp_gate_result result = dp_commit_gate_evaluate(&input);
    dp_buffer out = DP_BUFFER_INIT(65536);
    dp_gate_result_write_json(&result, &out);
    assert_text(&out,
                "{\n  \"can_commit\": true,\n  \"next_offset\": {\n    \"backend\": \"postgres_logical\",\n"
                "    \"token\": \"0/16B6D28\",\n    \"snapshot_complete\": true\n  },\n"
                "  \"blockers\": []\n}\n");
    input = (dp_gate_input){.expected_backend = DP_BACKEND_POSTGRES_LOGICAL};
    result = dp_commit_gate_evaluate(&input);
    dp_buffer blocked = DP_BUFFER_INIT(65536);
    dp_gate_result_write_json(&result, &blocked);
    assert_text(&blocked, "{\n  \"can_commit\": false,\n  \"next_offset\": null,\n  \"blockers\": [\n"
                          "    \"offset_missing\",\n    \"sink_not_success\",\n    \"load_not_committed\",\n"
                          "    \"idempotency_failed\"\n  ]\n}\n");
}

static void a_buffer_too_small_fails_and_never_overruns(void **state)
{
    (void)state;
    dp_offset from = offset_of(DP_BACKEND_POSTGRES_LOGICAL, "0/1");
    dp_replay_request request = request_of(&from);
    dp_replay_plan plan = dp_replay_plan_make(&request);
    for (size_t maximum = 0; maximum < 512; maximum++) {
        dp_buffer json = DP_BUFFER_INIT(maximum);
        dp_buffer page = DP_BUFFER_INIT(maximum);
        dp_replay_plan_write_json(&plan, &json);
        dp_replay_plan_write_markdown(&plan, &page);
        assert_true(json.failed && page.failed);
        assert_true(json.length <= maximum && page.length <= maximum);
        dp_buffer_release(&json);
        dp_buffer_release(&page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_safe_plan_as_json),
        cmocka_unit_test(a_blocked_plan_as_json_keeps_the_order_of_keys_and_blockers),
        cmocka_unit_test(a_blocked_plan_as_markdown),
        cmocka_unit_test(a_safe_plan_as_markdown_says_so),
        cmocka_unit_test(no_name_can_change_the_page),
        cmocka_unit_test(a_decision_as_json),
        cmocka_unit_test(a_buffer_too_small_fails_and_never_overruns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
