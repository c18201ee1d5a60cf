/* Reads the small JSON bodies of requests through jansson: one object, its members by name and type. */
#ifndef DPONE_SERVICES_JSON_BODY_H
#define DPONE_SERVICES_JSON_BODY_H

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

/* Parses one object without repeated members, whose members are all in `allowed` (ended by NULL). An empty
 * body is an empty object when `may_be_empty`. USAGE body_malformed names the fault. The caller releases it
 * with json_decref. */
dp_status dp_json_body_parse(dp_slice body, const char *const *allowed, bool may_be_empty, json_t **object,
                             dp_error *error);

/* A text member; absent and null give data NULL, unless it is required. The slice lives as long as the
 * object. USAGE names the member. */
dp_status dp_json_body_text(const json_t *object, const char *name, bool required, dp_slice *text,
                            dp_error *error);

/* A member that is true or false; absent gives `otherwise`. */
dp_status dp_json_body_bool(const json_t *object, const char *name, bool otherwise, bool *value,
                            dp_error *error);

#endif
