#include "server/settings.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct definition {
    const char *flag;
    const char *environment;
    const char *bare;
    const char *fallback;
    dp_setting_kind kind;
    uint64_t minimum;
    uint64_t maximum;
    const char *choices;
    bool live;
} definition;

static const definition definitions[DP_SETTING_COUNT] = {
#define DP_SETTING_ROW(id, flag, environment, bare, fallback, kind, minimum, maximum, choices, live,         \
                       placeholder, help)                                                                    \
    {flag, environment, bare, fallback, DP_SETTING_##kind, minimum, maximum, choices, live},
    DP_SETTING_LIST(DP_SETTING_ROW)
#undef DP_SETTING_ROW
};

const char *dp_setting_environment(dp_setting setting)
{
    return definitions[setting].environment;
}

bool dp_setting_is_misspelt(const char *name)
{
    if (!dp_slice_starts_with(dp_slice_of_text(name), DP_SLICE_LITERAL("SERVER_"))) return false;
    for (size_t i = 0; i < DP_SETTING_COUNT; i++) {
        if (strcmp(definitions[i].environment, name) == 0) return false;
    }
    return true;
}

bool dp_setting_is_live(dp_setting setting)
{
    return definitions[setting].live;
}

const char *dp_setting_origin_text(dp_setting_origin origin)
{
    switch (origin) {
    case DP_SETTING_FROM_DEFAULT: return "default";
    case DP_SETTING_FROM_DOTENV: return ".env";
    case DP_SETTING_FROM_ENVIRONMENT: return "environment";
    case DP_SETTING_FROM_FLAG: return "flag";
    }
    return "default";
}

static bool parse_bool(dp_slice text, uint64_t *value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!dp_slice_equal_ignoring_case(text, dp_slice_of_text(words[i].word))) continue;
        *value = words[i].value;
        return true;
    }
    return false;
}

/* The choice as listed, whatever the case it was given in; NULL when it is none. */
static char *find_choice(const char *choices, dp_slice text)
{
    dp_slice rest = dp_slice_of_text(choices);
    bool more = true;
    while (more) {
        dp_slice choice;
        more = dp_slice_split(rest, '|', &choice, &rest);
        if (dp_slice_equal_ignoring_case(choice, text)) return strndup(choice.data, choice.length);
    }
    return NULL;
}

/* "scheme://host[:port]", as a browser writes it: a path, even '/', would never be equal to one. */
static bool is_origin(dp_slice text)
{
    dp_slice scheme;
    dp_slice rest;
    if (dp_slice_equal_text(text, "*") || dp_slice_equal_text(text, "null")) return true;
    if (!dp_slice_split(text, ':', &scheme, &rest) || scheme.length == 0 ||
        !dp_slice_starts_with(rest, DP_SLICE_LITERAL("//")) || rest.length == 2)
        return false;
    for (size_t i = 2; i < rest.length; i++) {
        if (rest.data[i] <= ' ' || rest.data[i] > '~' || strchr("/?#@", rest.data[i]) != NULL) return false;
    }
    return true;
}

static bool are_origins(dp_slice list)
{
    bool more = true;
    while (more) {
        dp_slice one;
        more = dp_slice_split(list, ',', &one, &list);
        if (!is_origin(dp_slice_trim(one))) return false;
    }
    return true;
}

/* Fills value->text and value->number from `text`. `shown` names the flag or variable. */
static dp_status check(const definition *of, const char *shown, const char *text, dp_setting_value *value,
                       dp_error *error)
{
    dp_slice slice = dp_slice_of_text(text);
    switch (of->kind) {
    case DP_SETTING_NUMBER:
        if (!dp_slice_to_u64(slice, UINT64_MAX, &value->number) || value->number < of->minimum ||
            value->number > of->maximum)
            return dp_error_set(error, DP_STATUS_USAGE,
                                "%s: '%.100s' is not a whole number from %llu to %llu", shown, text,
                                (unsigned long long)of->minimum, (unsigned long long)of->maximum);
        break;
    case DP_SETTING_BOOL:
        if (!parse_bool(slice, &value->number))
            return dp_error_set(error, DP_STATUS_USAGE, "%s: '%.100s' is not true or false", shown, text);
        text = value->number ? "true" : "false";
        break;
    case DP_SETTING_CHOICE:
        value->text = find_choice(of->choices, slice);
        if (value->text == NULL)
            return dp_error_set(error, DP_STATUS_USAGE, "%s: '%.100s' is not one of %s", shown, text,
                                of->choices);
        return DP_STATUS_OK;
    case DP_SETTING_ORIGINS:
        if (!are_origins(slice))
            return dp_error_set(
                error, DP_STATUS_USAGE,
                "%s: '%.100s' is not a list of origins such as https://app.example:8443, or *", shown, text);
        break;
    case DP_SETTING_TEXT: break;
    }
    value->text = strdup(text);
    return value->text == NULL ? dp_error_no_memory(error, "the settings") : DP_STATUS_OK;
}

/* An empty variable counts as not set, as people write `NAME=` to say so. */
static const char *look_up(dp_setting_lookup lookup, void *context, const char *name)
{
    const char *text = lookup == NULL || name == NULL ? NULL : lookup(context, name);
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static const char *find_text(const definition *of, const dp_setting_sources *from, dp_setting_value *value)
{
    const struct {
        dp_setting_lookup lookup;
        const char *name;
        dp_setting_origin origin;
    } order[] = {
        {from->flag, of->flag, DP_SETTING_FROM_FLAG},
        {from->environment, of->environment, DP_SETTING_FROM_ENVIRONMENT},
        {from->environment, of->bare, DP_SETTING_FROM_ENVIRONMENT},
        {from->dotenv, of->environment, DP_SETTING_FROM_DOTENV},
        {from->dotenv, of->bare, DP_SETTING_FROM_DOTENV},
    };
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const char *text = order[i].origin == DP_SETTING_FROM_FLAG && order[i].lookup != NULL
                               ? order[i].lookup(from->context, order[i].name)
                               : look_up(order[i].lookup, from->context, order[i].name);
        if (text == NULL) continue;
        value->origin = order[i].origin;
        value->name = order[i].name;
        return text;
    }
    value->origin = DP_SETTING_FROM_DEFAULT;
    return of->fallback;
}

dp_status dp_settings_resolve(const dp_setting_sources *sources, dp_settings *settings, dp_error *error)
{
    dp_settings result = {0};
    for (size_t i = 0; i < DP_SETTING_COUNT; i++) {
        const definition *of = &definitions[i];
        dp_setting_value *value = &result.values[i];
        const char *text = find_text(of, sources, value);
        if (text == NULL) continue;
        char shown[80];
        snprintf(shown, sizeof shown, "%s%s", value->origin == DP_SETTING_FROM_FLAG ? "--" : "",
                 value->name == NULL ? of->environment : value->name);
        dp_status status = check(of, shown, text, value, error);
        if (status != DP_STATUS_OK) {
            if (value->origin == DP_SETTING_FROM_DOTENV) dp_error_hint(error, "the value comes from .env");
            dp_settings_release(&result);
            return status;
        }
    }
    *settings = result;
    return DP_STATUS_OK;
}

void dp_settings_release(dp_settings *settings)
{
    for (size_t i = 0; i < DP_SETTING_COUNT; i++) {
        free(settings->values[i].text);
    }
    free(settings->unknown);
    *settings = (dp_settings){0};
}
