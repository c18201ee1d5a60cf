/* Writes identifiers and literals into SQL, so that no name can change a statement.
 *
 * Pure; failures are the buffer's. The text must hold no NUL byte. Use parameters where a protocol has them;
 * this is for statements that take none (DDL, replication commands, scripts).
 */
#ifndef DPONE_BASE_SQL_QUOTE_H
#define DPONE_BASE_SQL_QUOTE_H

#include "base/buffer.h"

/* "name", a quote inside doubled. PostgreSQL and SQLite. */
void dp_sql_put_identifier(dp_buffer *out, dp_slice name);

/* 'text', a quote inside doubled; with a backslash inside E'text', backslashes doubled, which means the same
 * whatever standard_conforming_strings says. PostgreSQL. */
void dp_sql_put_literal(dp_buffer *out, dp_slice text);

/* $tag$body$tag$ with a tag that the body does not contain. PostgreSQL. The body must not end in '$'. */
void dp_sql_put_dollar_quoted(dp_buffer *out, dp_slice body);

/* [name], a ']' inside doubled. SQL Server. */
void dp_sql_put_bracketed(dp_buffer *out, dp_slice name);

/* N'text', a quote inside doubled. SQL Server. */
void dp_sql_put_national_literal(dp_buffer *out, dp_slice text);

#endif
