#include "cdc/table_name.h"

#include "base/utf8.h"

bool dp_table_name_take(dp_slice *rest, char **store, dp_slice *name)
{
    char *start = *store;
    size_t at = 0;
    if (rest->length > 0 && rest->data[0] == '"') {
        for (at = 1;; at++) {
            if (at >= rest->length) return false;
            if (rest->data[at] == '"') {
                if (at + 1 >= rest->length || rest->data[at + 1] != '"') break;
                at++;
            }
            *(*store)++ = rest->data[at];
        }
        at++;
    } else {
        while (at < rest->length && memchr(".,=\"", rest->data[at], 4) == NULL) {
            *(*store)++ = rest->data[at++];
        }
    }
    *name = (dp_slice){start, (size_t)(*store - start)};
    *rest = (dp_slice){rest->data + at, rest->length - at};
    return name->length > 0;
}

dp_status dp_table_name_parse(dp_slice text, const char *option_name, dp_arena *arena, dp_table_name *name,
                              dp_error *error)
{
    char *store = dp_arena_alloc(arena, text.length + 1);
    if (store == NULL) return dp_error_no_memory(error, "a table name");
    dp_slice rest = text;
    dp_table_name result;
    bool complete =
        dp_table_name_take(&rest, &store, &result.schema) && rest.length > 0 && rest.data[0] == '.';
    if (complete) {
        rest = (dp_slice){rest.data + 1, rest.length - 1};
        complete = dp_table_name_take(&rest, &store, &result.table) && rest.length == 0;
    }
    if (!complete) {
        dp_error_set(error, DP_STATUS_USAGE, "--%s: '%.*s' is not a table; expected schema.table",
                     option_name, DP_SLICE_PRINT(text));
        dp_error_hint(error, "a name with '.', ',', '=' or '\"' in it is written in double quotes: "
                             "public.\"odd.name\"");
        return DP_STATUS_USAGE;
    }
    if (!dp_utf8_is_plain(text)) {
        return dp_error_set(error, DP_STATUS_USAGE,
                            "--%s: '%.*s' holds a control character or is not UTF-8; expected schema.table",
                            option_name, DP_SLICE_PRINT(text));
    }
    *name = result;
    return DP_STATUS_OK;
}
