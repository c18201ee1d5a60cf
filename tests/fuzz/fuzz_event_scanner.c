/* Any bytes as one line, and as a whole batch body: an error or a result, never a fault. What a line gives
 * must lie inside the line or the arena. */
#include <stdlib.h>

#include "base/json_scanner.h"
#include "cdc/batch_reader.h"
#include "cdc/event_compare.h"
#include "cdc/event_shapes.h"
#include "tests/unit/support/same_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const dp_event *event, dp_slice line)
{
    const dp_slice parts[] = {event->data, event->before, event->unchanged, event->metadata};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].data == NULL) continue;
        if (parts[i].data < line.data || parts[i].data + parts[i].length > line.data + line.length) abort();
    }
}

/* What the short way accepts, the careful way accepts too, up to the same byte. */
static void check_short_way(dp_slice input)
{
    dp_json_scanner quick;
    dp_json_scanner careful;
    dp_json_token token;
    dp_slice names[64];
    dp_slice source;
    size_t count;
    dp_json_scanner_init(&quick, input);
    if (dp_json_next(&quick, &token) != DP_JSON_BEGIN_OBJECT) return;
    if (!dp_json_skip_flat_object(&quick, names, 64, &count)) return;
    dp_json_scanner_init(&careful, input);
    dp_json_next(&careful, &token);
    if (!dp_json_skip_value(&careful, &token, &source) || careful.position != quick.position) abort();
}

/* Two lines: what the first taught reads the second as the scanner does, or not at all. */
static void check_shapes(dp_slice input, dp_arena *arena)
{
    dp_slice first;
    dp_slice second;
    dp_event event;
    dp_wire_line line;
    dp_error error = DP_ERROR_INIT;
    if (!dp_slice_split(input, '\n', &first, &second)) return;
    if (dp_wire_line_scan(first, 1, arena, &line, &error) != DP_STATUS_OK || line.kind != DP_LINE_EVENT)
        return;
    dp_event_shapes *shapes = dp_event_shapes_new();
    dp_event_shapes_learn(shapes, first, &line.event);
    if (dp_event_shapes_scan(shapes, second, 2, &event) &&
        (dp_wire_line_scan(second, 2, arena, &line, &error) != DP_STATUS_OK ||
         !same_event(&event, &line.event))) {
        abort();
    }
    dp_event_shapes_free(shapes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const dp_batch_read_limits limits = {.max_body_bytes = 1 << 20, .max_line_bytes = 1 << 16};
    dp_slice input = {(const char *)data, size};
    dp_error error = DP_ERROR_INIT;
    check_short_way(input);
    dp_arena *arena = dp_arena_new(4096, 8 << 20);
    dp_wire_line line;
    if (dp_wire_line_scan(input, 1, arena, &line, &error) == DP_STATUS_OK && line.kind == DP_LINE_EVENT) {
        bool equal = false;
        check_event(&line.event, input);
        if (dp_event_equal_content(&line.event, &line.event, arena, &equal, &error) == DP_STATUS_OK &&
            !equal) {
            abort();
        }
    }
    dp_error_clear(&error);
    dp_slice head;
    dp_slice tail;
    bool equal;
    check_shapes(input, arena);
    if (dp_slice_split(input, '\n', &head, &tail)) dp_json_equal(head, tail, arena, &equal, &error);
    dp_arena_free(arena);
    dp_error_clear(&error);
    dp_batch_reader *reader = dp_batch_reader_new(&limits);
    const dp_batch *batch;
    dp_batch_reader_read(reader, input, &batch, &error);
    dp_batch_reader_free(reader);
    return 0;
}
