/* Any bytes as a logged text: the line stays one line of printable UTF-8, and in JSON a JSON object. */
#include <stdlib.h>

#include "base/json_scanner.h"
#include "base/log.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

static void check_json(dp_slice line)
{
    dp_json_scanner scanner;
    dp_json_token token;
    dp_json_kind kind;
    dp_json_scanner_init(&scanner, line);
    while ((kind = dp_json_next(&scanner, &token)) != DP_JSON_END) {
        check(kind != DP_JSON_ERROR);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char line[4096];
    const dp_log_field fields[] = {dp_log_slice("text", dp_slice_make((const char *)data, size)),
                                   dp_log_integer("number", (int64_t)size)};
    for (int format = 0; format < 2; format++) {
        size_t length = dp_log_render((dp_log_format)format, false, 0, DP_LOG_INFO, "fuzz", "message", fields,
                                      2, line, sizeof line);
        check(length > 0 && length <= sizeof line && line[length - 1] == '\n');
        check(dp_utf8_valid(dp_slice_make(line, length), NULL));
        for (size_t i = 0; i + 1 < length; i++) {
            check((unsigned char)line[i] >= 0x20 && line[i] != 0x7F);
        }
        if (format == DP_LOG_FORMAT_JSON) check_json(dp_slice_make(line, length - 1));
    }
    return 0;
}
