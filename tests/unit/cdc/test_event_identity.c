/* Event ids against golden vectors that tests/golden/make_event_ids.py computed without dpone. */
#include "tests/unit/support/cmocka_includes.h"

#include "base/hex.h"
#include "cdc/event_identity.h"
#include "cdc/python_number.h"
#include "cdc/table_cache.h"

static const dp_column_spec columns[] = {
    {{"price", 5}, DP_TYPE_NUMERIC, false}, /* not in the order of names, so that sorting shows */
    {{"id", 2}, DP_TYPE_INTEGER, true},     {{"ratio", 5}, DP_TYPE_FLOAT, false},
    {{"note", 4}, DP_TYPE_TEXT, false},     {{"paid", 4}, DP_TYPE_BOOLEAN, false},
};
enum { COLUMN_COUNT = sizeof columns / sizeof columns[0] };

#define TEXT(text)                                                                                           \
    {                                                                                                        \
        DP_VALUE_PRESENT, DP_SLICE_LITERAL(text)                                                             \
    }
#define NULL_VALUE                                                                                           \
    {                                                                                                        \
        DP_VALUE_NULL,                                                                                       \
        {                                                                                                    \
            NULL, 0                                                                                          \
        }                                                                                                    \
    }
#define ABSENT                                                                                               \
    {                                                                                                        \
        DP_VALUE_ABSENT,                                                                                     \
        {                                                                                                    \
            NULL, 0                                                                                          \
        }                                                                                                    \
    }
#define UNCHANGED                                                                                            \
    {                                                                                                        \
        DP_VALUE_UNCHANGED,                                                                                  \
        {                                                                                                    \
            NULL, 0                                                                                          \
        }                                                                                                    \
    }

static const dp_value new_row[COLUMN_COUNT] = {TEXT("1.50"), TEXT("10"), TEXT("1e+20"),
                                               TEXT("a \"b\"\n\xc3\xa9\xf0\x9f\x98\x80\x01"), TEXT("t")};
static const dp_value old_row[COLUMN_COUNT] = {TEXT("0.1"), TEXT("9"), TEXT("NaN"), NULL_VALUE, TEXT("f")};
static const dp_value unchanged_note[COLUMN_COUNT] = {TEXT("1.50"), TEXT("10"), TEXT("1e+20"), UNCHANGED,
                                                      TEXT("t")};
static const dp_value old_note[COLUMN_COUNT] = {ABSENT, ABSENT, ABSENT, TEXT("old"), ABSENT};
static const dp_value key_only[COLUMN_COUNT] = {ABSENT, TEXT("10"), ABSENT, ABSENT, ABSENT};

typedef struct identity_case {
    const char *name;
    const char *unique_key; /* NULL: none */
    dp_operation operation;
    uint64_t position;
    uint64_t sequence;
    const dp_value *data;
    const dp_value *before;
} identity_case;

static const identity_case cases[] = {
    {"insert_row", NULL, DP_OPERATION_INSERT, 0x16B6C50, 0, new_row, NULL},
    {"insert_key", "public.orders=id", DP_OPERATION_INSERT, 0x16B6C50, 3, new_row, NULL},
    {"insert_two_columns_key", "public.orders=note,id", DP_OPERATION_INSERT, 0x16B6C50, 0, new_row, NULL},
    {"update_with_old_row", NULL, DP_OPERATION_UPDATE, 0x1A000000FF, 0, new_row, old_row},
    {"update_unchanged", NULL, DP_OPERATION_UPDATE, 0x1A000000FF, 0, unchanged_note, NULL},
    {"key_from_before", "public.orders=id,note", DP_OPERATION_UPDATE, 0x1A000000FF, 0, unchanged_note,
     old_note},
    {"delete_key_only", NULL, DP_OPERATION_DELETE, UINT64_MAX, 0, key_only, NULL},
    {"truncate_row", NULL, DP_OPERATION_TRUNCATE, 1, 0, NULL, NULL},
    {"truncate_key", "public.orders=id", DP_OPERATION_TRUNCATE, 1, 0, NULL, NULL},
    {"python_row", NULL, DP_OPERATION_INSERT, 0x16B6C50, 0, new_row, NULL},
    {"python_key", "public.orders=id", DP_OPERATION_INSERT, 0x16B6C50, 0, new_row, NULL},
    {"python_delete", "public.orders=id", DP_OPERATION_DELETE, 0x16B6C50, 0, key_only, NULL},
};

typedef struct table_fixture {
    dp_unique_keys *keys;
    dp_table_cache *cache;
    const dp_table *table;
} table_fixture;

static table_fixture table_new(const char *unique_key)
{
    table_fixture f = {.keys = dp_unique_keys_new()};
    dp_error error = DP_ERROR_INIT;
    if (unique_key != NULL)
        assert_int_equal(dp_unique_keys_add(f.keys, dp_slice_of_text(unique_key), &error), DP_STATUS_OK);
    f.cache = dp_table_cache_new(f.keys);
    dp_status status = dp_table_cache_intern(f.cache, DP_SLICE_LITERAL("public"), DP_SLICE_LITERAL("orders"),
                                             columns, COLUMN_COUNT, &f.table, &error);
    assert_int_equal(status, DP_STATUS_OK);
    return f;
}

static void table_free(table_fixture *f)
{
    dp_table_cache_free(f->cache);
    dp_unique_keys_free(f->keys);
}

static dp_change change_of(const identity_case *c, const dp_table *table)
{
    return (dp_change){.operation = c->operation,
                       .table = table,
                       .data = c->data,
                       .before = c->before,
                       .has_position = true,
                       .position = {c->position},
                       .has_transaction_id = true,
                       .transaction_id = 900,
                       .sequence = c->sequence};
}

static void check_id(const char *name, const char *identity_name, const char *id, const char *canonical)
{
    const identity_case *c = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, name) == 0) c = &cases[i];
    }
    assert_non_null(c);
    dp_identity_kind kind;
    assert_true(dp_identity_parse(dp_slice_of_text(identity_name), &kind));
    dp_event_identity *identity = dp_event_identity_new(kind);
    table_fixture f = table_new(c->unique_key);
    dp_change change = change_of(c, f.table);
    dp_error error = DP_ERROR_INIT;
    /* Twice: an identity object keeps nothing from one change to the next. */
    for (int round = 0; round < 2; round++) {
        dp_event_id computed;
        char hex[DP_SHA256_HEX_LENGTH + 1] = "";
        assert_int_equal(dp_event_identity_id(identity, &change, &computed, &error), DP_STATUS_OK);
        dp_slice text = dp_event_identity_canonical(identity);
        if (!dp_slice_equal_text(text, canonical))
            fail_msg("%s:\n%.*s\nexpected\n%s", name, (int)text.length, text.data, canonical);
        dp_hex_encode(computed.bytes, DP_SHA256_BYTES, hex);
        assert_string_equal(hex, id);
    }
    table_free(&f);
    dp_event_identity_free(identity);
}

static void check_number(const char *kind, const char *text, const char *expected)
{
    dp_buffer out = DP_BUFFER_INIT(1 << 16);
    bool written = strcmp(kind, "float") == 0 ? dp_python_put_float(&out, dp_slice_of_text(text))
                                              : dp_python_put_numeric(&out, dp_slice_of_text(text));
    assert_true(written);
    if (!dp_slice_equal_text(dp_buffer_slice(&out), expected)) {
        fail_msg("%s '%s' is written as '%.*s', Python writes '%s'", kind, text, (int)out.length, out.data,
                 expected);
    }
    dp_buffer_release(&out);
}

static void ids_equal_the_golden_vectors(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/event_ids.txt", getenv("DPONE_SOURCE_DIR"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[8192];
    size_t id_count = 0;
    size_t number_count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *fields[5] = {0};
        char *rest = line;
        for (size_t i = 0; i < 5 && rest != NULL; i++) {
            fields[i] = strsep(&rest, "\t");
        }
        if (strcmp(fields[0], "id") == 0) {
            check_id(fields[1], fields[2], fields[3], fields[4]);
            id_count++;
        } else {
            check_number(fields[0], fields[1], fields[2]);
            number_count++;
        }
    }
    fclose(file);
    assert_int_equal(id_count, sizeof cases / sizeof cases[0]);
    assert_true(number_count > 30);
}

static void assert_poison(const char *unique_key, const dp_value *data, const dp_value *before,
                          const char *reason)
{
    table_fixture f = table_new(unique_key);
    identity_case c = {"", unique_key, DP_OPERATION_UPDATE, 1, 0, data, before};
    dp_change change = change_of(&c, f.table);
    dp_event_identity *identity = dp_event_identity_new(DP_IDENTITY_V1);
    dp_error error = DP_ERROR_INIT;
    dp_event_id id;
    assert_int_equal(dp_event_identity_id(identity, &change, &id, &error), DP_STATUS_POISON);
    assert_string_equal(error.code, "key_missing");
    if (strstr(error.message, reason) == NULL) fail_msg("'%s' does not mention '%s'", error.message, reason);
    dp_event_identity_free(identity);
    table_free(&f);
}

static void a_key_column_that_is_missing_or_null_is_poison(void **state)
{
    (void)state;
    assert_poison("public.orders=id,note", key_only, NULL,
                  "key column 'note' of table 'public.orders' is not in the change");
    assert_poison("public.orders=note", old_row, NULL, "is NULL");
    assert_poison("public.orders=nowhere", new_row, NULL, "key column 'nowhere'");
    /* NULL in the new row is not papered over by the old row. */
    assert_poison("public.orders=note", old_row, old_note, "is NULL");
}

static void a_change_without_position_has_no_id(void **state)
{
    (void)state;
    table_fixture f = table_new(NULL);
    dp_change change = change_of(&cases[0], f.table);
    change.has_position = false;
    dp_event_identity *identity = dp_event_identity_new(DP_IDENTITY_V1);
    dp_error error = DP_ERROR_INIT;
    dp_event_id id;
    assert_int_equal(dp_event_identity_id(identity, &change, &id, &error), DP_STATUS_POISON);
    assert_string_equal(error.code, "position_missing");
    dp_event_identity_free(identity);
    table_free(&f);
}

static void text_that_is_no_integer_or_boolean_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"", "-", "01", "1.0", "0x1", "1 ", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        table_fixture f = table_new(NULL);
        dp_value row[COLUMN_COUNT];
        memcpy(row, new_row, sizeof row);
        row[1].text = dp_slice_of_text(bad[i]);
        identity_case c = {"", NULL, DP_OPERATION_INSERT, 1, 0, row, NULL};
        dp_change change = change_of(&c, f.table);
        dp_event_identity *identity = dp_event_identity_new(DP_IDENTITY_V1);
        dp_error error = DP_ERROR_INIT;
        dp_event_id id;
        assert_int_equal(dp_event_identity_id(identity, &change, &id, &error), DP_STATUS_DATA);
        dp_event_identity_free(identity);
        table_free(&f);
    }
}

/* What must not change the id does not; what must, does. */
static void each_identifying_field_changes_the_id_and_metadata_does_not(void **state)
{
    (void)state;
    table_fixture f = table_new("public.orders=id");
    dp_event_identity *identity = dp_event_identity_new(DP_IDENTITY_V1);
    dp_change base = change_of(&cases[1], f.table);
    dp_change variants[] = {base, base, base, base, base, base};
    variants[0].position.value++;
    variants[1].sequence++;
    variants[2].transaction_id++;
    variants[3].operation = DP_OPERATION_UPDATE;
    variants[4].ordinal += 7;
    variants[5].metadata = DP_SLICE_LITERAL("{\"a\":1}");
    dp_error error = DP_ERROR_INIT;
    dp_event_id expected;
    dp_event_identity_id(identity, &base, &expected, &error);
    for (size_t i = 0; i < 6; i++) {
        dp_event_id id;
        assert_int_equal(dp_event_identity_id(identity, &variants[i], &id, &error), DP_STATUS_OK);
        bool equal = memcmp(&id, &expected, sizeof id) == 0;
        assert_int_equal(equal, i >= 4);
    }
    dp_event_identity_free(identity);
    table_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_golden_vectors),
        cmocka_unit_test(a_key_column_that_is_missing_or_null_is_poison),
        cmocka_unit_test(a_change_without_position_has_no_id),
        cmocka_unit_test(text_that_is_no_integer_or_boolean_is_refused),
        cmocka_unit_test(each_identifying_field_changes_the_id_and_metadata_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
