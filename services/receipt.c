#include "services/receipt.h"

#include <jansson.h>
#include <stdio.h>

/* Copies a member that must be a text of fewer than `capacity` bytes. */
static dp_status copy_text(const json_t *object, const char *key, char *out, size_t capacity,
                           const char *source_name, dp_error *error)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (text == NULL) {
        return dp_error_set(error, DP_STATUS_DATA, "%s: '%s' is %s; expected a string", source_name, key,
                            value == NULL ? "missing" : "not a string");
    }
    if (length >= capacity || strlen(text) != length) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "%s: '%s' is not a status; expected a string of at most %zu bytes", source_name,
                            key, capacity - 1);
    }
    memcpy(out, text, length + 1);
    return DP_STATUS_OK;
}

static dp_status read_offset(const json_t *value, const char *source_name, dp_receipt *receipt,
                             dp_error *error)
{
    if (value == NULL || json_is_null(value)) return DP_STATUS_OK;
    const json_t *backend_value = json_object_get(value, "backend");
    const json_t *token_value = json_object_get(value, "token");
    const json_t *complete = json_object_get(value, "snapshot_complete");
    if (!json_is_string(backend_value) || !json_is_string(token_value) ||
        (complete != NULL && !json_is_boolean(complete))) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "%s: 'next_offset' is not an offset; expected null or {\"backend\":\"…\","
                            "\"token\":\"…\",\"snapshot_complete\":true}",
                            source_name);
    }
    dp_backend backend;
    dp_slice backend_text = {json_string_value(backend_value), json_string_length(backend_value)};
    dp_slice token = {json_string_value(token_value), json_string_length(token_value)};
    if (!dp_backend_parse(backend_text, &backend)) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "%s: 'next_offset.backend' is '%.*s'; expected postgres_logical, mssql_cdc or "
                            "mssql_change_tracking",
                            source_name, DP_SLICE_PRINT(backend_text));
    }
    if (!dp_offset_of_token(backend, token, &receipt->next_offset)) {
        return dp_error_set(error, DP_STATUS_DATA, "%s: 'next_offset.token' is '%.*s'; expected %s",
                            source_name, DP_SLICE_PRINT(token), dp_offset_expected_form(backend));
    }
    if (complete != NULL) receipt->next_offset.snapshot_complete = json_is_true(complete);
    receipt->has_next_offset = true;
    return DP_STATUS_OK;
}

static dp_status read_receipt(const json_t *root, const char *source_name, dp_receipt *receipt,
                              dp_error *error)
{
    if (!json_is_object(root)) {
        return dp_error_set(error, DP_STATUS_DATA, "%s: not a receipt; expected a JSON object", source_name);
    }
    dp_status status = read_offset(json_object_get(root, "next_offset"), source_name, receipt, error);
    if (status != DP_STATUS_OK) return status;
    status =
        copy_text(root, "sink_status", receipt->sink_status, sizeof receipt->sink_status, source_name, error);
    if (status != DP_STATUS_OK) return status;
    status =
        copy_text(root, "load_status", receipt->load_status, sizeof receipt->load_status, source_name, error);
    if (status != DP_STATUS_OK) return status;
    const json_t *passed = json_object_get(root, "idempotency_passed");
    if (!json_is_boolean(passed)) {
        return dp_error_set(error, DP_STATUS_DATA, "%s: 'idempotency_passed' is %s; expected true or false",
                            source_name, passed == NULL ? "missing" : "not a boolean");
    }
    receipt->idempotency_passed = json_is_true(passed);
    return DP_STATUS_OK;
}

dp_status dp_receipt_parse(dp_slice json, const char *source_name, dp_receipt *receipt, dp_error *error)
{
    if (json.length > DP_RECEIPT_MAX_BYTES) {
        return dp_error_set(error, DP_STATUS_LIMIT, "%s: larger than %u bytes", source_name,
                            DP_RECEIPT_MAX_BYTES);
    }
    json_error_t fault;
    /* A NUL inside a string is valid JSON; the members that are read refuse it themselves. */
    json_t *root = json_loadb(json.length == 0 ? "" : json.data, json.length,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &fault);
    /* jansson says nothing where it finds no fault but no memory either (not in every place: inside a string
     * a refused allocation looks like a syntax error). */
    if (root == NULL && fault.text[0] == '\0') {
        return dp_error_no_memory(error, source_name);
    }
    if (root == NULL) {
        return dp_error_set(error, DP_STATUS_DATA,
                            "%s: not JSON at line %d, column %d: %s; expected a receipt", source_name,
                            fault.line, fault.column, fault.text);
    }
    dp_receipt result = {.has_next_offset = false};
    dp_status status = read_receipt(root, source_name, &result, error);
    json_decref(root);
    if (status == DP_STATUS_OK) *receipt = result;
    return status;
}

dp_gate_result dp_receipt_evaluate(const dp_receipt *receipt, dp_backend expected_backend)
{
    dp_gate_input input = {
        .next_offset = receipt->has_next_offset ? &receipt->next_offset : NULL,
        .expected_backend = expected_backend,
        .sink_status = dp_slice_of_text(receipt->sink_status),
        .load_status = dp_slice_of_text(receipt->load_status),
        .idempotency_passed = receipt->idempotency_passed,
    };
    return dp_commit_gate_evaluate(&input);
}
