#include "cli/server_settings.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/dotenv.h"

typedef struct sources {
    const dp_invocation *invocation;
    const dp_dotenv *dotenv;
} sources;

static const char *flag_value(void *context, const char *name)
{
    const sources *from = context;
    const char *last = NULL;
    for (size_t i = 0; i < from->invocation->value_count; i++) {
        const struct dp_option_value *value = &from->invocation->values[i];
        if (strcmp(value->option->name, name) == 0) last = value->text;
    }
    return last;
}

static const char *environment_value(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static const char *dotenv_value(void *context, const char *name)
{
    const sources *from = context;
    return dp_dotenv_get(from->dotenv, name);
}

static char *misspelt_names(const dp_dotenv *dotenv)
{
    dp_buffer names = DP_BUFFER_INIT(4096); /* with more than that, none: something else is wrong */
    for (const char *name = dp_dotenv_next_name(dotenv, NULL); name != NULL;
         name = dp_dotenv_next_name(dotenv, name)) {
        if (!dp_setting_is_misspelt(name)) continue;
        dp_buffer_append_format(&names, "%s%s", names.length == 0 ? "" : ", ", name);
    }
    const char *text = names.length == 0 ? NULL : dp_buffer_text(&names);
    char *copy = text == NULL ? NULL : strdup(text);
    dp_buffer_release(&names);
    return copy;
}

dp_status dp_server_settings_load(void *context, dp_settings *settings, dp_error *error)
{
    dp_dotenv *dotenv;
    dp_status status = dp_dotenv_load(".env", &dotenv, error);
    if (status != DP_STATUS_OK) return status;
    sources own = {context, dotenv};
    const dp_setting_sources from = {&own, flag_value, environment_value, dotenv_value};
    status = dp_settings_resolve(&from, settings, error);
    if (status == DP_STATUS_OK) settings->unknown = misspelt_names(dotenv);
    dp_dotenv_free(dotenv);
    return status;
}
