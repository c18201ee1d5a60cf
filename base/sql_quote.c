#include "base/sql_quote.h"

#include <stdio.h>

static void put_doubled(dp_buffer *out, dp_slice text, char doubled)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] == doubled) dp_buffer_append_byte(out, doubled);
        dp_buffer_append_byte(out, text.data[i]);
    }
}

void dp_sql_put_identifier(dp_buffer *out, dp_slice name)
{
    dp_buffer_append_byte(out, '"');
    put_doubled(out, name, '"');
    dp_buffer_append_byte(out, '"');
}

void dp_sql_put_literal(dp_buffer *out, dp_slice text)
{
    bool has_backslash = text.length > 0 && memchr(text.data, '\\', text.length) != NULL;
    if (has_backslash) dp_buffer_append_byte(out, 'E');
    dp_buffer_append_byte(out, '\'');
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        if (byte == '\'' || byte == '\\') dp_buffer_append_byte(out, byte);
        dp_buffer_append_byte(out, byte);
    }
    dp_buffer_append_byte(out, '\'');
}

static bool contains(dp_slice text, dp_slice needle)
{
    return text.length > 0 && memmem(text.data, text.length, needle.data, needle.length) != NULL;
}

void dp_sql_put_dollar_quoted(dp_buffer *out, dp_slice body)
{
    char tag[40] = "$dpone$";
    for (unsigned number = 1; contains(body, dp_slice_of_text(tag)); number++) {
        snprintf(tag, sizeof tag, "$dpone%u$", number);
    }
    dp_buffer_append_text(out, tag);
    dp_buffer_append_slice(out, body);
    dp_buffer_append_text(out, tag);
}

void dp_sql_put_bracketed(dp_buffer *out, dp_slice name)
{
    dp_buffer_append_byte(out, '[');
    put_doubled(out, name, ']');
    dp_buffer_append_byte(out, ']');
}

void dp_sql_put_national_literal(dp_buffer *out, dp_slice text)
{
    dp_buffer_append_text(out, "N'");
    put_doubled(out, text, '\'');
    dp_buffer_append_byte(out, '\'');
}
