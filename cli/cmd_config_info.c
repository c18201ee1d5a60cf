/* dpone config-info: the server's settings in force and where each came from. */
#include "base/json_writer.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/server_settings.h"

static const dp_option options[] = {
    DP_SETTING_LIST(DP_SERVER_SETTING_OPTION) DP_OPTION_FORMAT,
    {.name = NULL},
};

/* Copies `text` without the password between a DSN's user name and host. */
static void put_without_user_password(dp_buffer *out, const char *text)
{
    const char *at = strrchr(text, '@');
    const char *scheme = at == NULL ? NULL : strstr(text, "://");
    const char *colon = scheme == NULL || scheme > at ? NULL : strchr(scheme + 3, ':');
    if (colon == NULL || colon > at) {
        dp_buffer_append_text(out, text);
        return;
    }
    dp_buffer_append(out, text, (size_t)(colon - text) + 1);
    dp_buffer_append_text(out, "***");
    dp_buffer_append_text(out, at);
}

/* The value of the next parameter `...password=`, or of one whose name is percent-encoded. */
static const char *next_secret(const char *text)
{
    static const char name[] = "password=";
    const char *plain = strcasestr(text, name);
    const char *query = strchr(text, '?');
    const char *end = plain == NULL ? text + strlen(text) : plain;
    for (const char *at = query == NULL ? strchr(text, '&') : query; at != NULL && at < end;
         at = strchr(at + 1, '&')) {
        size_t length = strcspn(at + 1, "=&");
        if (at[1 + length] == '=' && memchr(at + 1, '%', length) != NULL) return at + length + 2;
    }
    return plain == NULL ? NULL : plain + sizeof name - 1;
}

/* Copies `text`, and "***" for the value of every secret parameter, up to the next '&'. */
static void put_without_parameters(dp_buffer *out, const char *text)
{
    const char *secret;
    while ((secret = next_secret(text)) != NULL) {
        dp_buffer_append(out, text, (size_t)(secret - text));
        dp_buffer_append_text(out, "***");
        text = secret + strcspn(secret, "&");
    }
    dp_buffer_append_text(out, text);
}

/* A DSN may hold passwords, and any text bytes that steer a terminal or end a line. */
static void put_shown(dp_buffer *out, dp_setting setting, const char *text)
{
    if (setting == DP_SETTING_STATE) {
        dp_buffer half = DP_BUFFER_INIT(1 << 16);
        put_without_user_password(&half, text);
        put_without_parameters(out, half.length == 0 ? "" : dp_buffer_text(&half));
        dp_buffer_release(&half);
    } else {
        dp_buffer_append_text(out, text);
    }
    if (out->length > 0) dp_utf8_make_printable(out->data, out->length);
}

static void put_text_row(dp_buffer *out, const dp_settings *settings, dp_setting setting)
{
    const dp_setting_value *value = &settings->values[setting];
    dp_buffer shown = DP_BUFFER_INIT(1 << 16);
    if (value->text != NULL) put_shown(&shown, setting, value->text);
    const char *text = value->text == NULL ? "(none)" : dp_buffer_text(&shown);
    dp_buffer_append_format(out, "%-26s %-24s %s", dp_setting_environment(setting), text == NULL ? "" : text,
                            dp_setting_origin_text(value->origin));
    if (value->name != NULL)
        dp_buffer_append_format(out, " (%s%s)", value->origin == DP_SETTING_FROM_FLAG ? "--" : "",
                                value->name);
    dp_buffer_append_byte(out, '\n');
    dp_buffer_release(&shown);
}

static void put_json_member(dp_json_writer *json, const dp_settings *settings, dp_setting setting)
{
    const dp_setting_value *value = &settings->values[setting];
    dp_buffer shown = DP_BUFFER_INIT(1 << 16);
    if (value->text != NULL) put_shown(&shown, setting, value->text);
    dp_json_key(json, dp_setting_environment(setting));
    dp_json_begin_object(json);
    dp_json_key(json, "value");
    dp_json_text(json, value->text == NULL ? NULL : dp_buffer_text(&shown));
    dp_json_key(json, "origin");
    dp_json_text(json, dp_setting_origin_text(value->origin));
    dp_json_key(json, "given_as");
    dp_json_text(json, value->name);
    dp_json_end_object(json);
    dp_buffer_release(&shown);
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    dp_settings settings;
    (void)exit_code;
    dp_status status = dp_server_settings_load(invocation, &settings, error);
    if (status != DP_STATUS_OK) return status;
    if (settings.unknown != NULL)
        fprintf(stderr, "dpone: warning: .env has what is no setting: %s\n", settings.unknown);
    dp_buffer out = DP_BUFFER_INIT(1 << 20);
    bool as_json = dp_wants_json(invocation);
    dp_json_writer json = dp_json_writer_pretty(&out);
    if (as_json) dp_json_begin_object(&json);
    for (dp_setting setting = 0; setting < DP_SETTING_COUNT; setting++) {
        if (as_json) {
            put_json_member(&json, &settings, setting);
        } else {
            put_text_row(&out, &settings, setting);
        }
    }
    if (as_json) dp_json_end_object(&json);
    if (as_json) dp_buffer_append_byte(&out, '\n');
    status = out.failed ? dp_error_no_memory(error, "the settings") : dp_print(dp_buffer_slice(&out), error);
    dp_buffer_release(&out);
    dp_settings_release(&settings);
    return status;
}

const dp_command dp_command_config_info = {
    .path = "config-info",
    .summary = "the server's settings in force and where each came from",
    .arguments = "",
    .description =
        "Resolves the settings as 'dpone serve' would with the same flags, environment and .env, and\n"
        "prints each with its origin. Passwords in a DSN are hidden.",
    .examples = "  dpone config-info\n  SERVER_PORT=9000 dpone config-info --max-concurrency 100\n",
    .options = options,
    .exit_codes = "0 all settings are valid, 2 one is not",
    .run = run,
};
