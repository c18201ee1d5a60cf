#include "cdc/event_compare.h"

#include <stdlib.h>

#include "base/json_scanner.h"

/* A parsed value; containers hold their elements as an array, objects ordered by name. */
typedef struct json_node {
    dp_json_kind kind;
    dp_slice name; /* decoded; members of an object only */
    dp_slice text; /* strings: decoded; others: source text */
    struct json_node *children;
    struct json_node *next; /* while a container is being read */
    size_t child_count;
} json_node;

typedef struct json_builder {
    dp_json_scanner scanner;
    dp_arena *arena;
    bool out_of_memory;
} json_builder;

static dp_slice decode(json_builder *builder, const dp_json_token *token)
{
    if (!token->has_escapes) return token->text;
    char *out = dp_arena_alloc(builder->arena, token->text.length);
    if (out == NULL) {
        builder->out_of_memory = true;
        return token->text;
    }
    return (dp_slice){out, dp_json_unescape_into(token->text, out)};
}

static int compare_names(const void *left, const void *right)
{
    return dp_slice_compare(((const json_node *)left)->name, ((const json_node *)right)->name);
}

/* Turns the list of a container's elements, last first, into an array. */
static bool gather(json_builder *builder, json_node *container, json_node *last, size_t count)
{
    container->children = dp_arena_alloc_zeroed(builder->arena, count + 1, sizeof(json_node));
    container->child_count = count;
    if (container->children == NULL) return false;
    for (; last != NULL; last = last->next) {
        container->children[--count] = *last;
    }
    if (container->kind == DP_JSON_BEGIN_OBJECT) {
        qsort(container->children, container->child_count, sizeof(json_node), compare_names);
    }
    return true;
}

/* Builds the value whose first token is given. The scanner bounds the depth. False on a fault. */
static bool build(json_builder *builder, const dp_json_token *first,
                  json_node *node) // NOLINT(misc-no-recursion)
{
    node->kind = first->kind;
    node->text = first->kind == DP_JSON_STRING ? decode(builder, first) : first->text;
    if (first->kind == DP_JSON_ERROR || first->kind == DP_JSON_END) return false;
    if (first->kind != DP_JSON_BEGIN_OBJECT && first->kind != DP_JSON_BEGIN_ARRAY) return true;
    json_node *last = NULL;
    size_t count = 0;
    dp_json_token token;
    for (;;) {
        dp_json_kind kind = dp_json_next(&builder->scanner, &token);
        if (kind == DP_JSON_END_OBJECT || kind == DP_JSON_END_ARRAY) break;
        json_node *child = dp_arena_alloc_zeroed(builder->arena, 1, sizeof *child);
        if (child == NULL) {
            builder->out_of_memory = true;
            return false;
        }
        if (kind == DP_JSON_KEY) {
            child->name = decode(builder, &token);
            dp_json_next(&builder->scanner, &token);
        }
        if (!build(builder, &token, child)) return false;
        child->next = last;
        last = child;
        count++;
    }
    if (gather(builder, node, last, count)) return true;
    builder->out_of_memory = true;
    return false;
}

/* A decimal number as sign, significant digits and exponent: value = 0.digits * 10^exponent. */
typedef struct decimal {
    bool negative;
    dp_slice source; /* where the digits are, with at most one point among them */
    int64_t exponent;
    bool is_zero;
    bool exact; /* false when the exponent is too large to compare */
} decimal;

static decimal read_decimal(dp_slice text)
{
    decimal number = {.exact = true};
    size_t at = 0;
    if (text.data[0] == '-') {
        number.negative = true;
        at++;
    }
    size_t mantissa = at;
    while (at < text.length && text.data[at] != 'e' && text.data[at] != 'E') {
        at++;
    }
    size_t end = at;
    uint64_t power = 0;
    bool negative_power = false;
    if (at < text.length) {
        at++;
        if (text.data[at] == '+' || text.data[at] == '-') negative_power = text.data[at++] == '-';
        number.exact = dp_slice_to_u64((dp_slice){text.data + at, text.length - at}, INT32_MAX, &power);
    }
    const char *point = memchr(text.data + mantissa, '.', end - mantissa);
    size_t integer_digits = point == NULL ? end - mantissa : (size_t)(point - text.data) - mantissa;
    number.exponent = (int64_t)integer_digits + (negative_power ? -(int64_t)power : (int64_t)power);
    while (mantissa < end && (text.data[mantissa] == '0' || text.data[mantissa] == '.')) {
        if (text.data[mantissa] == '0') number.exponent--;
        mantissa++;
    }
    while (end > mantissa && (text.data[end - 1] == '0' || text.data[end - 1] == '.')) {
        end--;
    }
    number.source = (dp_slice){text.data + mantissa, end - mantissa};
    number.is_zero = end == mantissa;
    return number;
}

static bool equal_digits(dp_slice left, dp_slice right)
{
    size_t l = 0;
    size_t r = 0;
    for (;;) {
        if (l < left.length && left.data[l] == '.') l++;
        if (r < right.length && right.data[r] == '.') r++;
        if (l == left.length || r == right.length) return l == left.length && r == right.length;
        if (left.data[l++] != right.data[r++]) return false;
    }
}

static bool equal_numbers(dp_slice left, dp_slice right)
{
    if (dp_slice_equal(left, right)) return true;
    decimal a = read_decimal(left);
    decimal b = read_decimal(right);
    if (a.is_zero || b.is_zero) return a.is_zero && b.is_zero;
    return a.exact && b.exact && a.negative == b.negative && a.exponent == b.exponent &&
           equal_digits(a.source, b.source);
}

static bool equal_nodes(const json_node *left, const json_node *right) // NOLINT(misc-no-recursion)
{
    if (left->kind != right->kind || left->child_count != right->child_count) return false;
    if (left->kind == DP_JSON_STRING) return dp_slice_equal(left->text, right->text);
    if (left->kind == DP_JSON_NUMBER) return equal_numbers(left->text, right->text);
    for (size_t i = 0; i < left->child_count; i++) {
        if (!dp_slice_equal(left->children[i].name, right->children[i].name) ||
            !equal_nodes(&left->children[i], &right->children[i])) {
            return false;
        }
    }
    return true;
}

static dp_status parse(dp_slice text, dp_arena *arena, json_node *root, dp_error *error)
{
    json_builder builder = {.arena = arena};
    dp_json_token token;
    dp_json_scanner_init(&builder.scanner, text);
    dp_json_next(&builder.scanner, &token);
    bool ok = build(&builder, &token, root);
    if (builder.out_of_memory) return dp_error_no_memory(error, "two documents to compare");
    if (!ok || dp_json_next(&builder.scanner, &token) != DP_JSON_END) {
        return dp_error_set(error, DP_STATUS_DATA, "a stored document is not valid JSON at byte %zu",
                            builder.scanner.fault_at);
    }
    return DP_STATUS_OK;
}

dp_status dp_json_equal(dp_slice left, dp_slice right, dp_arena *arena, bool *equal, dp_error *error)
{
    json_node left_root = {.child_count = 0};
    json_node right_root = {.child_count = 0};
    if (dp_slice_equal(left, right)) {
        *equal = true;
        return DP_STATUS_OK;
    }
    dp_status status = parse(left, arena, &left_root, error);
    if (status == DP_STATUS_OK) status = parse(right, arena, &right_root, error);
    if (status == DP_STATUS_OK) *equal = equal_nodes(&left_root, &right_root);
    return status;
}

static bool same_text_or_null(dp_slice left, dp_slice right)
{
    return (left.data == NULL) == (right.data == NULL) && dp_slice_equal(left, right);
}

dp_status dp_event_equal_content(const dp_event *left, const dp_event *right, dp_arena *arena, bool *equal,
                                 dp_error *error)
{
    bool same = left->has_id == right->has_id && memcmp(&left->id, &right->id, sizeof left->id) == 0 &&
                left->operation == right->operation && left->ordinal == right->ordinal &&
                left->has_sequence == right->has_sequence && left->sequence == right->sequence &&
                dp_slice_equal(left->source_schema, right->source_schema) &&
                dp_slice_equal(left->source_table, right->source_table) &&
                same_text_or_null(left->position, right->position) &&
                same_text_or_null(left->transaction_id, right->transaction_id);
    if (!same) {
        *equal = false;
        return DP_STATUS_OK;
    }
    return dp_json_equal(left->data, right->data, arena, equal, error);
}
