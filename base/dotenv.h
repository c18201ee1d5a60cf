/* Reads `.env` files: NAME=value lines, `#` comments, optional `export `, values bare, in '...' (as they are)
 * or in "..." (with \n \t \" \\ \$ escapes); a byte order mark is skipped. No variable expansion. Pure but
 * for dp_dotenv_load. */
#ifndef DPONE_BASE_DOTENV_H
#define DPONE_BASE_DOTENV_H

#include "base/error.h"
#include "base/slice.h"

typedef struct dp_dotenv dp_dotenv;

/* USAGE names `source_name`, the line and what is wrong with it. */
dp_status dp_dotenv_parse(dp_slice text, const char *source_name, dp_dotenv **dotenv, dp_error *error);

/* Parses the file; a missing file is an empty set, a pipe is refused. At most 1 MiB. */
dp_status dp_dotenv_load(const char *path, dp_dotenv **dotenv, dp_error *error);

void dp_dotenv_free(dp_dotenv *dotenv);

/* The value of a name (the last one when repeated), or NULL. */
const char *dp_dotenv_get(const dp_dotenv *dotenv, const char *name);

/* Steps through the names in the order of the file: NULL begins, and NULL ends. */
const char *dp_dotenv_next_name(const dp_dotenv *dotenv, const char *name);

#endif
