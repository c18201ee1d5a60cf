/* The migrations of each driver, embedded at build time from migrations/<driver>/NNNN_name.sql. */
#ifndef DPONE_STATE_MIGRATIONS_H
#define DPONE_STATE_MIGRATIONS_H

#include "state/store.h"

extern const dp_migration dp_migrations_postgres[];
extern const dp_migration dp_migrations_sqlite[];

#endif
