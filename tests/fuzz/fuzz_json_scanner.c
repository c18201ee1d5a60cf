/* Any bytes as JSON: an error with its place, or a document that, written again, says the same. */
#include <stdlib.h>

#include "base/json_scanner.h"
#include "base/json_writer.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

static void put_string(dp_buffer *out, const dp_json_token *token)
{
    dp_buffer text = DP_BUFFER_INIT(1 << 22);
    dp_json_unescape(token->text, &text);
    check(!text.failed && text.length <= token->text.length);
    check(dp_utf8_valid(dp_buffer_slice(&text), NULL));
    dp_json_put_string(out, dp_buffer_slice(&text));
    dp_buffer_release(&text);
}

/* Writes the document compactly; false where it is not one. The comma is due after every value but the last.
 */
static bool rewrite(dp_slice input, dp_buffer *out)
{
    dp_json_scanner scanner;
    dp_json_token token;
    bool comma = false;
    dp_json_scanner_init(&scanner, input);
    for (;;) {
        dp_json_kind kind = dp_json_next(&scanner, &token);
        if (kind == DP_JSON_ERROR) {
            check(scanner.fault != NULL && scanner.fault_at <= input.length);
            return false;
        }
        if (kind == DP_JSON_END) return true;
        check(token.at < input.length);
        bool closes = kind == DP_JSON_END_OBJECT || kind == DP_JSON_END_ARRAY;
        if (comma && !closes) dp_buffer_append_byte(out, ',');
        if (kind == DP_JSON_KEY || kind == DP_JSON_STRING) {
            check(token.text.data >= input.data &&
                  token.text.data + token.text.length <= input.data + input.length);
            put_string(out, &token);
        } else {
            dp_buffer_append_slice(out, token.text);
        }
        if (kind == DP_JSON_KEY) dp_buffer_append_byte(out, ':');
        comma = kind != DP_JSON_KEY && kind != DP_JSON_BEGIN_OBJECT && kind != DP_JSON_BEGIN_ARRAY;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dp_buffer first = DP_BUFFER_INIT(1 << 24);
    dp_buffer second = DP_BUFFER_INIT(1 << 24);
    if (rewrite((dp_slice){(const char *)data, size}, &first)) {
        check(rewrite(dp_buffer_slice(&first), &second));
        check(dp_slice_equal(dp_buffer_slice(&first), dp_buffer_slice(&second)));
        dp_json_scanner scanner;
        dp_json_token token;
        dp_slice source;
        dp_json_scanner_init(&scanner, dp_buffer_slice(&first));
        dp_json_next(&scanner, &token);
        check(dp_json_skip_value(&scanner, &token, &source));
        check(dp_slice_equal(source, dp_buffer_slice(&first)));
    }
    dp_buffer_release(&first);
    dp_buffer_release(&second);
    return 0;
}
