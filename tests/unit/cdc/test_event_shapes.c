/* The short way of reading event lines: it reads the usual ones, and nothing differently from the scanner. */
#include <stdio.h>

#include "tests/unit/support/cmocka_includes.h"

#include "cdc/event_shapes.h"
#include "tests/unit/support/same_event.h"

#define LINE(id, operation, table, position, xid, numbers, rest)                                             \
    "{\"event_id\":\"" id "\",\"operation\":\"" operation "\",\"source_schema\":\"public\","                 \
    "\"source_table\":\"" table "\",\"position\":\"" position "\",\"transaction_id\":" xid "," numbers       \
    ",\"data\":" rest "}"
#define ID_1    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define ID_2    "a0112233445566778899aabbccddeeff00112233445566778899aabbccddeef0"
#define NUMBERS "\"sequence\":0,\"ordinal\":7"
#define REST    ",\"before\":null,\"unchanged\":[]"

static const char learned[] =
    LINE(ID_1, "insert", "t", "0/16B6C50", "\"900\"", NUMBERS,
         "{\"id\":10,\"name\":\"a \\\"b\\\" \xc3\xa9\",\"flag\":true,\"none\":null}" REST);

static dp_arena *arena;

static void learn(dp_event_shapes *shapes, const char *text)
{
    dp_wire_line line;
    dp_error error = DP_ERROR_INIT;
    const dp_slice slice = dp_slice_of_text(text);
    assert_int_equal(dp_wire_line_scan(slice, 1, arena, &line, &error), DP_STATUS_OK);
    dp_event_shapes_learn(shapes, slice, &line.event);
}

/* Reads the line both ways; whether the short way took it. */
static bool read_both(dp_event_shapes *shapes, const char *text)
{
    dp_event event;
    dp_wire_line line;
    dp_error error = DP_ERROR_INIT;
    const dp_slice slice = dp_slice_of_text(text);
    dp_arena_reset(arena);
    if (!dp_event_shapes_scan(shapes, slice, 5, &event)) return false;
    if (dp_wire_line_scan(slice, 5, arena, &line, &error) != DP_STATUS_OK) {
        fail_msg("the scanner refuses '%s': %s", text, error.message);
    }
    assert_int_equal(line.kind, DP_LINE_EVENT);
    if (!same_event(&event, &line.event)) fail_msg("read differently: '%s'", text);
    return true;
}

static void lines_like_an_earlier_one_are_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        learned,
        LINE(ID_2, "insert", "t", "FFFFFFFF/ffffffff", "\"12345678901234567890\"",
             "\"sequence\":123456789012345678,\"ordinal\":10",
             "{\"id\":-1,\"name\":\"\",\"flag\":\"\\u00e9\\n\",\"none\":\"0\"}" REST),
    };
    dp_event_shapes *shapes = dp_event_shapes_new();
    learn(shapes, learned);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(read_both(shapes, texts[i]));
    }
    dp_event_shapes_free(shapes);
}

static void other_lines_are_left_to_the_scanner(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        LINE(ID_1, "delete", "t", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "u", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "t", "0x1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "t", "0/1", "null", NUMBERS, "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"a\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", NUMBERS, "{\"id\":1,\"name\":1,\"flag\":1}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1.5}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":{}}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", "\"sequence\":null,\"ordinal\":1",
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1},\"before\":null,\"unchanged\":[\"x\"]"),
        LINE(ID_1, "insert", "t", "0/1", "\"9\"", NUMBERS,
             "{\"id\":1,\"name\":1,\"flag\":1,\"none\":1}" REST ",\"metadata\":{}"),
    };
    dp_event_shapes *shapes = dp_event_shapes_new();
    learn(shapes, learned);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (read_both(shapes, texts[i])) fail_msg("not usual: '%s'", texts[i]);
    }
    dp_event_shapes_free(shapes);
}

static void an_old_row_is_read_like_that_of_an_earlier_line(void **state)
{
    (void)state;
    static const char first[] = LINE(ID_1, "update", "t", "0/1", "\"9\"", NUMBERS,
                                     "{\"id\":1,\"n\":2},\"before\":{\"id\":0},\"unchanged\":[]");
    static const char second[] = LINE(ID_2, "update", "t", "0/2", "\"9\"", NUMBERS,
                                      "{\"id\":5,\"n\":6},\"before\":{\"id\":7},\"unchanged\":[]");
    static const char without[] =
        LINE(ID_2, "update", "t", "0/2", "\"9\"", NUMBERS, "{\"id\":5,\"n\":6}" REST);
    dp_event_shapes *shapes = dp_event_shapes_new();
    learn(shapes, without);
    assert_false(read_both(shapes, second));
    learn(shapes, first);
    assert_true(read_both(shapes, second));
    assert_true(read_both(shapes, without));
    dp_event_shapes_clear(shapes);
    assert_false(read_both(shapes, second));
    dp_event_shapes_free(shapes);
}

/* Names that are not what they seem must not be learned as a head. */
static void an_unusual_head_is_not_learned(void **state)
{
    (void)state;
    static const char *const texts[] = {
        LINE(ID_1, "insert", "\\u0074", "0/1", "\"9\"", NUMBERS, "{\"id\":1}" REST),
        "{\"event_id\":\"" ID_1
        "\",\"source_schema\":\"public\",\"operation\":\"insert\",\"source_table\":\"t\","
        "\"position\":\"0/1\",\"transaction_id\":\"9\"," NUMBERS ",\"data\":{\"id\":1}" REST "}",
        "{\"event_id\":\"" ID_1
        "\", \"operation\":\"insert\",\"source_schema\":\"public\",\"source_table\":\"t\","
        "\"position\":\"0/1\",\"transaction_id\":\"9\"," NUMBERS ",\"data\":{\"id\":1}" REST "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        dp_event_shapes *shapes = dp_event_shapes_new();
        learn(shapes, texts[i]);
        assert_false(read_both(shapes, texts[i]));
        dp_event_shapes_free(shapes);
    }
}

static void more_tables_than_are_remembered_are_all_read(void **state)
{
    (void)state;
    char lines[20][400];
    dp_event_shapes *shapes = dp_event_shapes_new();
    for (int i = 0; i < 20; i++) {
        snprintf(lines[i], sizeof lines[i],
                 LINE(ID_1, "insert", "table_%d", "0/1", "\"9\"", NUMBERS, "{\"id\":1}" REST), i);
        learn(shapes, lines[i]);
        assert_true(read_both(shapes, lines[i]));
    }
    assert_false(read_both(shapes, lines[0]));
    assert_true(read_both(shapes, lines[15]));
    dp_event_shapes_free(shapes);
}

/* Every byte of a line replaced, dropped and doubled. */
static void a_damaged_line_is_never_read_differently(void **state)
{
    (void)state;
    static const char others[] = "\"\\{}[],:0-aF/ \n\x01\x80\xff";
    char text[600];
    const size_t length = sizeof learned - 1;
    dp_event_shapes *shapes = dp_event_shapes_new();
    learn(shapes, learned);
    for (size_t at = 0; at < length; at++) {
        for (size_t i = 0; i < sizeof others - 1; i++) {
            memcpy(text, learned, sizeof learned);
            text[at] = others[i];
            read_both(shapes, text);
        }
        memcpy(text, learned, at);
        memcpy(text + at, learned + at + 1, length - at);
        read_both(shapes, text);
        memcpy(text, learned, at + 1);
        memcpy(text + at + 1, learned + at, length - at + 1);
        read_both(shapes, text);
        memcpy(text, learned, at);
        text[at] = '\0';
        assert_false(read_both(shapes, text));
    }
    dp_event_shapes_free(shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_like_an_earlier_one_are_read),
        cmocka_unit_test(other_lines_are_left_to_the_scanner),
        cmocka_unit_test(an_old_row_is_read_like_that_of_an_earlier_line),
        cmocka_unit_test(an_unusual_head_is_not_learned),
        cmocka_unit_test(more_tables_than_are_remembered_are_all_read),
        cmocka_unit_test(a_damaged_line_is_never_read_differently),
    };
    arena = dp_arena_new(4096, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dp_arena_free(arena);
    return failed;
}
