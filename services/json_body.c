#include "services/json_body.h"

static dp_status refuse(dp_error *error, const char *name, const char *expected)
{
    return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed", "\"%s\": expected %s", name, expected);
}

static bool is_allowed(const char *name, const char *const *allowed)
{
    for (; *allowed != NULL; allowed++) {
        if (strcmp(name, *allowed) == 0) return true;
    }
    return false;
}

static dp_status check_members(json_t *object, const char *const *allowed, dp_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!is_allowed(name, allowed)) {
            return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed",
                                     "\"%.100s\" is an unknown member", name);
        }
    }
    return DP_STATUS_OK;
}

dp_status dp_json_body_parse(dp_slice body, const char *const *allowed, bool may_be_empty, json_t **object,
                             dp_error *error)
{
    json_error_t fault;
    if (may_be_empty && dp_slice_trim(body).length == 0) body = DP_SLICE_LITERAL("{}");
    json_t *parsed =
        json_loadb(body.data == NULL ? "" : body.data, body.length, JSON_REJECT_DUPLICATES, &fault);
    if (parsed == NULL) {
        return dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed",
                                 "the body is not JSON: line %d: %s", fault.line, fault.text);
    }
    dp_status status = DP_STATUS_OK;
    if (!json_is_object(parsed)) {
        status = dp_error_set_code(error, DP_STATUS_USAGE, "body_malformed", "the body is not a JSON object");
    } else {
        status = check_members(parsed, allowed, error);
    }
    if (status != DP_STATUS_OK) {
        json_decref(parsed);
        return status;
    }
    *object = parsed;
    return DP_STATUS_OK;
}

dp_status dp_json_body_text(const json_t *object, const char *name, bool required, dp_slice *text,
                            dp_error *error)
{
    const json_t *value = json_object_get(object, name);
    *text = (dp_slice){NULL, 0};
    if (value == NULL || json_is_null(value)) {
        return required ? refuse(error, name, "a text") : DP_STATUS_OK;
    }
    if (!json_is_string(value) || (required && json_string_length(value) == 0)) {
        return refuse(error, name, "a text that is not empty");
    }
    *text = (dp_slice){json_string_value(value), json_string_length(value)};
    return DP_STATUS_OK;
}

dp_status dp_json_body_bool(const json_t *object, const char *name, bool otherwise, bool *value,
                            dp_error *error)
{
    const json_t *member = json_object_get(object, name);
    *value = otherwise;
    if (member == NULL) return DP_STATUS_OK;
    if (!json_is_boolean(member)) return refuse(error, name, "true or false");
    *value = json_is_true(member);
    return DP_STATUS_OK;
}
