/* The name of a source table as the command line writes it: schema.table. Pure.
 *
 * Names are taken as they are, without folding of case; a name that contains '.', ',', '=' or '"' is written
 * in double quotes, a quote inside doubled, as in SQL: public."odd.name".
 */
#ifndef DPONE_CDC_TABLE_NAME_H
#define DPONE_CDC_TABLE_NAME_H

#include "base/arena.h"
#include "base/error.h"

typedef struct dp_table_name {
    dp_slice schema;
    dp_slice table;
} dp_table_name;

/* Reads one name, bare or quoted, from the front of *rest; it is unquoted at *store, which advances by at
 * most what *rest does. False when there is none. */
bool dp_table_name_take(dp_slice *rest, char **store, dp_slice *name);

/* The names live in the arena. USAGE names the option, the text and the expected form; a name that is empty,
 * not UTF-8, or holds a control character is refused. */
dp_status dp_table_name_parse(dp_slice text, const char *option_name, dp_arena *arena, dp_table_name *name,
                              dp_error *error);

#endif
