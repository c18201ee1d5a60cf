/* The SQLite driver: the events of a batch as a table that one INSERT ... SELECT reads.
 *
 * A statement for each row would look up the end of the tree, open a cursor and halt for each; one statement
 * for the whole batch does so once, and no value is bound. https://www.sqlite.org/vtab.html
 */
#include <stdlib.h>

#include "state/sqlite_internal.h"

typedef struct event_table {
    sqlite3_vtab base;
    const sqlite_new_events *source; /* the connection's */
} event_table;

typedef struct event_cursor {
    sqlite3_vtab_cursor base;
    size_t run;   /* index into the runs */
    size_t index; /* in the run */
} event_cursor;

enum {
    COLUMN_NUMBER,
    COLUMN_ID,
    COLUMN_OPERATION,
    COLUMN_SCHEMA,
    COLUMN_TABLE,
    COLUMN_POSITION,
    COLUMN_SEQUENCE,
    COLUMN_DATA,
    COLUMN_BEFORE,
    COLUMN_UNCHANGED,
    COLUMN_METADATA
};

#define DECLARATION                                                                                          \
    "CREATE TABLE x (event_number, event_id, operation, source_schema, source_table, position, sequence, "   \
    "data, before, unchanged, metadata)"

static int event_table_connect(sqlite3 *connection, void *source, int argc, const char *const *argv,
                               sqlite3_vtab **out, char **error)
{
    (void)argc, (void)argv, (void)error;
    int code = sqlite3_declare_vtab(connection, DECLARATION);
    if (code != SQLITE_OK) return code;
    event_table *table = calloc(1, sizeof *table);
    if (table == NULL) return SQLITE_NOMEM;
    table->source = source;
    *out = &table->base;
    return SQLITE_OK;
}

static int event_table_disconnect(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

/* There is one plan: all rows in order. */
static int event_table_plan(sqlite3_vtab *table, sqlite3_index_info *plan)
{
    (void)table;
    plan->estimatedCost = 1000;
    return SQLITE_OK;
}

static int event_cursor_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    event_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) return SQLITE_NOMEM;
    *out = &cursor->base;
    return SQLITE_OK;
}

static int event_cursor_close(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static const sqlite_new_events *source_of(const sqlite3_vtab_cursor *cursor)
{
    return ((const event_table *)(const void *)cursor->pVtab)->source;
}

/* Moves past the runs that are at their end. */
static void settle(event_cursor *cursor)
{
    const sqlite_new_events *source = source_of(&cursor->base);
    while (cursor->run < source->run_count && cursor->index >= source->runs[cursor->run].count) {
        cursor->run++;
        cursor->index = 0;
    }
}

static int event_cursor_first(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
                              sqlite3_value **argv)
{
    (void)plan, (void)text, (void)argc, (void)argv;
    event_cursor *cursor = (event_cursor *)base;
    cursor->run = cursor->index = 0;
    settle(cursor);
    return SQLITE_OK;
}

static int event_cursor_next(sqlite3_vtab_cursor *base)
{
    event_cursor *cursor = (event_cursor *)base;
    cursor->index++;
    settle(cursor);
    return SQLITE_OK;
}

static int event_cursor_at_end(sqlite3_vtab_cursor *base)
{
    return ((event_cursor *)base)->run >= source_of(base)->run_count;
}

static void give_text(sqlite3_context *out, dp_slice text)
{
    if (text.data == NULL) {
        sqlite3_result_null(out);
    } else {
        sqlite3_result_text(out, text.data, (int)text.length, SQLITE_STATIC);
    }
}

static int event_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *out, int column)
{
    const event_cursor *cursor = (const event_cursor *)base;
    const dp_event_run *run = &source_of(base)->runs[cursor->run];
    const dp_event *event = &run->events[cursor->index];
    switch (column) {
    case COLUMN_NUMBER: sqlite3_result_int64(out, run->first_number + (int64_t)cursor->index); break;
    case COLUMN_ID: sqlite3_result_blob(out, event->id.bytes, sizeof event->id.bytes, SQLITE_STATIC); break;
    case COLUMN_OPERATION: sqlite3_result_int(out, (int)event->operation); break;
    case COLUMN_SCHEMA: give_text(out, event->source_schema); break;
    case COLUMN_TABLE: give_text(out, event->source_table); break;
    case COLUMN_POSITION: give_text(out, event->position); break;
    case COLUMN_SEQUENCE:
        if (event->has_sequence) sqlite3_result_int64(out, (int64_t)event->sequence);
        break; /* without a result the value is NULL */
    case COLUMN_DATA: give_text(out, event->data); break;
    case COLUMN_BEFORE: give_text(out, event->before); break;
    case COLUMN_UNCHANGED: give_text(out, event->unchanged); break;
    case COLUMN_METADATA: give_text(out, event->metadata); break;
    }
    return SQLITE_OK;
}

static int event_cursor_number(sqlite3_vtab_cursor *base, sqlite3_int64 *number)
{
    const event_cursor *cursor = (const event_cursor *)base;
    *number = source_of(base)->runs[cursor->run].first_number + (int64_t)cursor->index;
    return SQLITE_OK;
}

/* Without a xCreate the table is there for this connection only and stands in no schema. */
static const sqlite3_module event_module = {
    .xConnect = event_table_connect,
    .xBestIndex = event_table_plan,
    .xDisconnect = event_table_disconnect,
    .xOpen = event_cursor_open,
    .xClose = event_cursor_close,
    .xFilter = event_cursor_first,
    .xNext = event_cursor_next,
    .xEof = event_cursor_at_end,
    .xColumn = event_cursor_column,
    .xRowid = event_cursor_number,
};

int sqlite_event_rows_register(sqlite_store *self)
{
    return sqlite3_create_module(self->connection, "dpone_new_event", &event_module, &self->new_events);
}

dp_status sqlite_events_insert(dp_store *store, int64_t stream_id, const dp_event_run *runs, size_t run_count,
                               dp_error *error)
{
    (void)stream_id; /* numbers are shared by all streams */
    sqlite_store *self = (sqlite_store *)store;
    const char *doing = "store events";
    sqlite3_stmt *insert = sqlite_statement_of(self, STATEMENT_EVENT_INSERT, doing, error);
    if (insert == NULL) return error == NULL || error->status == DP_STATUS_OK ? DP_STATUS_IO : error->status;
    self->new_events = (sqlite_new_events){runs, run_count};
    dp_status status = sqlite_run(self, insert, doing, error);
    self->new_events = (sqlite_new_events){NULL, 0};
    return status;
}
