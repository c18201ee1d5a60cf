/* Receipts: what is read, what is refused and how the refusal is worded, and every prefix of a good one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "services/receipt.h"

#define GOOD                                                                                                 \
    "{\"batch_id\":\"ab\",\"sink_status\":\"success\",\"load_status\":\"committed\",\"accepted\":1,"         \
    "\"duplicates\":0,\"idempotency_passed\":true,\"next_offset\":{\"backend\":\"postgres_logical\","        \
    "\"token\":\"0/16B6D28\",\"snapshot_complete\":true},\"end_position\":\"0/16B6D28\"}"

#define REST "\"sink_status\":\"success\",\"load_status\":\"committed\",\"idempotency_passed\":true}"

static dp_status parse(const char *json, dp_receipt *receipt, dp_error *error)
{
    return dp_receipt_parse(dp_slice_of_text(json), "receipt", receipt, error);
}

static void a_receipt_that_may_commit_is_read(void **state)
{
    (void)state;
    dp_receipt receipt;
    dp_error error = DP_ERROR_INIT;
    assert_int_equal(parse(GOOD, &receipt, &error), DP_STATUS_OK);
    assert_true(receipt.has_next_offset);
    assert_string_equal(receipt.next_offset.token, "0/16B6D28");
    dp_gate_result result = dp_receipt_evaluate(&receipt, DP_BACKEND_POSTGRES_LOGICAL);
    assert_true(result.can_commit);
    result = dp_receipt_evaluate(&receipt, DP_BACKEND_MSSQL_CDC);
    assert_false(result.can_commit);
    assert_true(result.blockers[DP_GATE_BLOCKER_OFFSET_BACKEND_MISMATCH]);
}

static void a_receipt_without_an_offset_is_read_and_blocked(void **state)
{
    (void)state;
    static const char *const cases[] = {"{" REST, "{\"next_offset\":null," REST};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_receipt receipt;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(parse(cases[i], &receipt, &error), DP_STATUS_OK);
        dp_gate_result result = dp_receipt_evaluate(&receipt, DP_BACKEND_POSTGRES_LOGICAL);
        assert_true(result.blockers[DP_GATE_BLOCKER_OFFSET_MISSING]);
        assert_null(result.next_offset);
    }
}

static void snapshot_complete_is_kept_and_true_by_default(void **state)
{
    (void)state;
    dp_receipt receipt;
    dp_error error = DP_ERROR_INIT;
    parse("{\"next_offset\":{\"backend\":\"mssql_cdc\",\"token\":\"0x1\"}," REST, &receipt, &error);
    assert_true(receipt.next_offset.snapshot_complete);
    parse("{\"next_offset\":{\"backend\":\"mssql_cdc\",\"token\":\"0x1\",\"snapshot_complete\":false}," REST,
          &receipt, &error);
    assert_false(receipt.next_offset.snapshot_complete);
    assert_int_equal(error.status, DP_STATUS_OK);
}

static void malformed_receipts_are_data_errors_that_name_the_fault(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *says;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"{}x", "not JSON"},
        {"[]", "not a receipt; expected a JSON object"},
        {"null", "not a receipt"},
        {"\"success\"", "not a receipt"},
        {"{\"sink_status\":\"a\",\"sink_status\":\"b\"}", "not JSON"},
        {"{\"sink_status\":\"\xff\"}", "not JSON"},
        {"{}", "'sink_status' is missing; expected a string"},
        {"{\"sink_status\":1}", "'sink_status' is not a string"},
        {"{\"sink_status\":null}", "'sink_status' is not a string"},
        {"{\"sink_status\":\"success\\u0000\"}", "'sink_status' is not a status"},
        {"{\"sink_status\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
         "expected a string of at most 63 bytes"},
        {"{\"sink_status\":\"success\"}", "'load_status' is missing"},
        {"{\"sink_status\":\"success\",\"load_status\":\"committed\"}", "'idempotency_passed' is missing"},
        {"{\"sink_status\":\"success\",\"load_status\":\"committed\",\"idempotency_passed\":\"true\"}",
         "'idempotency_passed' is not a boolean; expected true or false"},
        {"{\"next_offset\":\"0/1\"," REST, "'next_offset' is not an offset"},
        {"{\"next_offset\":{}," REST, "'next_offset' is not an offset"},
        {"{\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":1}," REST,
         "'next_offset' is not an offset"},
        {"{\"next_offset\":{\"backend\":\"mssql_cdc\",\"token\":\"0x1\",\"snapshot_complete\":1}," REST,
         "'next_offset' is not an offset"},
        {"{\"next_offset\":{\"backend\":\"oracle\",\"token\":\"1\"}," REST,
         "'next_offset.backend' is 'oracle'"},
        {"{\"next_offset\":{\"backend\":\"postgres_logical\",\"token\":\"12\"}," REST,
         "'next_offset.token' is '12'; expected X/X"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dp_receipt receipt = {.sink_status = "untouched"};
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(parse(cases[i].json, &receipt, &error), DP_STATUS_DATA);
        assert_string_equal(receipt.sink_status, "untouched");
        if (strstr(error.message, cases[i].says) == NULL) {
            fail_msg("'%s' says '%s', not '%s'", cases[i].json, error.message, cases[i].says);
        }
        assert_memory_equal(error.message, "receipt: ", 9);
    }
}

static void every_prefix_of_a_receipt_is_refused(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof GOOD - 1; length++) {
        dp_receipt receipt;
        dp_error error = DP_ERROR_INIT;
        assert_int_equal(dp_receipt_parse((dp_slice){GOOD, length}, "receipt", &receipt, &error),
                         DP_STATUS_DATA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_that_may_commit_is_read),
        cmocka_unit_test(a_receipt_without_an_offset_is_read_and_blocked),
        cmocka_unit_test(snapshot_complete_is_kept_and_true_by_default),
        cmocka_unit_test(malformed_receipts_are_data_errors_that_name_the_fault),
        cmocka_unit_test(every_prefix_of_a_receipt_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
