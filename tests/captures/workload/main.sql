-- The main workload. A line "--@ NAME" starts a part that the session NAME runs; sessions stay open from part to part,
-- so that transactions of two sessions interleave. Every row that exists at the end was sent whole, or is completed by
-- the rule that an unchanged TOAST value keeps what the row had before.

--@ a
-- One row a transaction.
INSERT INTO public.customers VALUES (1, 'Ada', 'ada@example.org', NULL);
INSERT INTO public.customers VALUES (2, 'O''Hara', NULL, '');
UPDATE public.customers SET email = 'o.hara@example.org' WHERE id = 2;
DELETE FROM public.customers WHERE id = 2;

-- Several tables in one transaction, whose rows alternate.
BEGIN;
INSERT INTO public.customers VALUES (3, 'Grace', 'grace@example.org', 'first');
INSERT INTO public.orders VALUES (10, 3, 99.50, false, '2026-01-02 03:04:05.678901+00', 'a "quoted" word');
INSERT INTO public.customers VALUES (4, 'Linus', NULL, NULL);
INSERT INTO public.orders VALUES (11, 4, -0.01, NULL, NULL, NULL);
UPDATE public.orders SET paid = true WHERE id IN (10, 11);
DELETE FROM public.orders WHERE id = 11;
COMMIT;

-- COPY: the rows of one page share an LSN. Two tables one after the other in one transaction.
BEGIN;
COPY public.orders FROM STDIN;
100	1	1.00	t	2026-01-01 00:00:00+00	copied
101	1	2.00	f	2026-01-01 00:00:01+00	copied
102	3	3.00	t	2026-01-01 00:00:02+00	\N
103	3	4.00	f	2026-01-01 00:00:03+00	
104	4	5.00	\N	\N	with\ttab
\.
COPY public.no_key FROM STDIN;
1	same
1	same
2	other
\N	\N
\.
COMMIT;
COPY public.customers (id, name) FROM STDIN;
20	twenty
21	twenty one
22	twenty two
\.

--@ a
-- Numbers.
BEGIN;
INSERT INTO public.numbers VALUES (1, -32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', '-Infinity', -99999999.99, false, '-1.5'::money, 0);
INSERT INTO public.numbers VALUES (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 'Infinity', 99999999.99, true, 1234567.89::numeric::money, 4294967295);
INSERT INTO public.numbers VALUES (3, 0, 0, 0, 'NaN', 'NaN', 'NaN', 'NaN', NULL, NULL, NULL);
INSERT INTO public.numbers VALUES (4, NULL, NULL, NULL, '-0', '-0', '-0', 0, false, 0::money, 1);
INSERT INTO public.numbers VALUES (5, 1, 1, 1, 1e-45, 4.94065645841246544e-324, '1.500', 1.5, true, NULL, NULL);
INSERT INTO public.numbers VALUES (6, 1, 1, 9007199254740993, 3.4028235e38, 1.7976931348623157e308, '0.000000000000000000000000000000000000000001', 0.10, true, NULL, NULL);
INSERT INTO public.numbers VALUES (7, 1, 1, 1, 0.1, 0.1, (repeat('1234567890', 100))::numeric, 1, true, NULL, NULL);
INSERT INTO public.numbers VALUES (8, 1, 1, 1, 16777216, 1e15, ('-' || repeat('9', 500) || '.' || repeat('1234567890', 50))::numeric, 1, true, NULL, NULL);
INSERT INTO public.numbers VALUES (9, 1, 1, 1, 1e6, 1e16, '1e30', 1, true, NULL, NULL);
INSERT INTO public.numbers VALUES (10, 1, 1, 1, 123456.789, 0.30000000000000004, '100', 100.00, true, NULL, NULL);
COMMIT;
UPDATE public.numbers SET f8 = 'NaN', n = '-Infinity' WHERE id = 1;

--@ a
-- Text that means something to a shell, to SQL, to CSV, to COPY, to JSON or to psql's output.
BEGIN;
INSERT INTO public.texts VALUES (1, '', '', '', '', '');
INSERT INTO public.texts VALUES (2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.texts VALUES (3, 'single '' double " back ` both ''"''', '''', '"', '''', '"');
INSERT INTO public.texts VALUES (4, E'line one\nline two\r\nline three\rend', E'\n', E'\n', E'\n', E'a\nb');
INSERT INTO public.texts VALUES (5, E'tab\there', E'\t', E'\t', E'\t', E'\t');
INSERT INTO public.texts VALUES (6, E'back\\slash \\n \\x41 \\N \\.', '\', '\\', '\', '\.');
INSERT INTO public.texts VALUES (7, 'pipe | comma , semicolon ; colon : bracket [ ] brace { } paren ( )', '|', ',', '|', '||');
INSERT INTO public.texts VALUES (8, E'x\n0/1|900|COMMIT 900', E'\n0/1|900|COMMIT 900', 'x', 'x', E'x\n0/1|900|BEGIN');
INSERT INTO public.texts VALUES (9, E'x\n0/1,900,COMMIT 900\n0/1\t900\tCOMMIT 900\n', E'"\n0/1,900,"', 'x', 'x', 'x');
INSERT INTO public.texts VALUES (10, E'''\n0/1|900|table public.customers: INSERT: id[integer]:666 name[text]:''forged''', E'''\nCOMMIT 900', 'x', 'x', 'x');
INSERT INTO public.texts VALUES (11, 'unchanged-toast-datum', 'null', 'null', 'n', 'null');
INSERT INTO public.texts VALUES (12, 'true', ' leading', 'a', 'b', 'trailing ');
INSERT INTO public.texts VALUES (13, 'Grüße, Ελληνικά, עברית, 日本語, ‏RTL', 'é', 'ñ', 'x', 'ß');
INSERT INTO public.texts VALUES (14, U&'astral \+01F600 \+01D11E \+10FFFD combining e\0301 zwj \+01F468\200D\+01F469', U&'\+01F600', U&'\+01F600', 'x', U&'\+01F600');
INSERT INTO public.texts VALUES (15, U&'bom \FEFF line sep \2028 par sep \2029 nel \0085 nbsp \00A0 replacement \FFFD', U&'\2028', U&'\0085', 'x', 'x');
INSERT INTO public.texts SELECT 16, (SELECT string_agg(chr(i), '' ORDER BY i) FROM generate_series(1, 31) AS i) || chr(127), E'\x01', E'\x1f', E'\x1b', E'\x7f';
INSERT INTO public.texts VALUES (17, '{"json": "looks\u0000 like it", "a": [1, null]}', '\u0041', '', '', '</script>');
INSERT INTO public.texts VALUES (18, E'ends with backslash\\', E'\\''', E'''''', 'x', E'\\');
INSERT INTO public.texts VALUES (19, E'\\x4243', '0x42', '1e5', '1', '-1');
INSERT INTO public.texts VALUES (20, E'a\n', E'\n\n', '', '', '');
INSERT INTO public.texts VALUES (21, E'(no-tuple-data)', E'old-key: id[integer]:1 new-tuple: ', 'x', 'x', 'old-key:');
INSERT INTO public.texts SELECT 22, E'x\n' || chr(92) || E'.\nafter', E'\\.', 'x', 'x', 'x';
COMMIT;
UPDATE public.texts SET v = E'new\n''value''' WHERE id = 1;
UPDATE public.texts SET id = 102 WHERE id = 2;
DELETE FROM public.texts WHERE id = 8;

--@ a
-- Dates and times.
BEGIN;
INSERT INTO public.times VALUES (1, '2026-01-02', '03:04:05.678901', '03:04:05.678901+05:30', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901+00', '2026-01-02 03:04:05+00', '1 year 2 mons 3 days 04:05:06.789012');
INSERT INTO public.times VALUES (2, 'infinity', '24:00:00', '00:00:00-15:59', 'infinity', 'infinity', 'infinity', '-1 year -2 mons +3 days -04:05:06');
INSERT INTO public.times VALUES (3, '-infinity', '00:00:00', '00:00:00+00', '-infinity', '-infinity', '-infinity', '0');
INSERT INTO public.times VALUES (4, '0044-03-15 BC', '12:00', '12:00:00.1+00', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', '0001-01-01 00:00:00+00', '178000000 years');
INSERT INTO public.times VALUES (5, '5874897-12-31', '23:59:59.999999', '23:59:59.999999+00', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00', '-00:00:00.000001');
INSERT INTO public.times VALUES (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
COMMIT;

--@ a
-- Everything that is made of other things.
BEGIN;
INSERT INTO public.composed (id) VALUES (1);
INSERT INTO public.composed VALUES (2, '\x00ff10275c0a7c22'::bytea, '{1,NULL,-3}', ARRAY['a', NULL, '', 'NULL', 'with "quote"', 'with ''single''', E'new\nline', 'back\slash', 'comma, brace {}', ' '],
    ARRAY['sad', 'it''s ok', 'very "happy"']::mood[], '{ "b" : 1,  "a": [1.0, null, "x\u0041\n"], "b": 2 }', '{"b": 1, "a": [1.0, null, "x\u0041\n", "é\"\\"], "n": 12345678901234567890.5}',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '[1,10)', '(,1.5]', '[2026-01-01 00:00:00+00,infinity)', '{[1,3),[5,9)}',
    'it''s ok', 7, ROW(1, 'it''s, "x" \ y')::pair, B'10101', B'101', 'a:1A fat:2B,4C ''cat''''s''', '(1.5,-2)', '((1,1),(0,0))', 'public.orders', '<a b="c">d</a>');
INSERT INTO public.composed VALUES (3, ''::bytea, '{}', '{}', '{}', 'null', 'null', '00000000-0000-0000-0000-000000000000', '::1', '::/0', 'ff:ff:ff:ff:ff:ff', 'empty', 'empty', '(,)', '{}',
    'very "happy"', 1, ROW(NULL, NULL)::pair, B'00000', B'', '', '(NaN,Infinity)', '((0,0),(0,0))', 'pg_catalog.pg_class', '');
INSERT INTO public.composed (id, by, ia, ta, j, jb, net, class) VALUES (4, decode(repeat('de', 20), 'hex') || '\x0a5c6e27'::bytea, '{{1,2},{3,4}}', '[0:1]={a,b}', '"text"', '"te\"xt"', '2001:db8::1/64', '"My Schema"."dot.ted"');
INSERT INTO public.composed (id, ta, p, j, jb) VALUES (5, ARRAY[ARRAY['a"b', 'c\d'], ARRAY['{', '}']], ROW(NULL, ''), '123456789012345678901234567890.10', 'true');
COMMIT;
UPDATE public.composed SET m = 'sad', by = '\x' WHERE id = 2;

--@ a
-- TOAST: a long value left alone by an update is not in the log.
INSERT INTO public.customers VALUES (5, 'Toast', NULL, noise(1, 2050));
UPDATE public.customers SET email = 'changed@example.org' WHERE id = 5;
UPDATE public.customers SET id = 6 WHERE id = 5;
UPDATE public.customers SET notes = 'short now' WHERE id = 6;
INSERT INTO public.customers VALUES (7, 'Toasted delete', NULL, noise(2, 2050));
DELETE FROM public.customers WHERE id = 7;
INSERT INTO public.customers VALUES (8, 'Stays', NULL, noise(3, 2050) || E'\nlast''line');
BEGIN;
UPDATE public.customers SET name = 'Stays''t' WHERE id = 8;
UPDATE public.customers SET email = 'e' WHERE id = 8;
COMMIT;
-- Under FULL the old row carries the value.
BEGIN;
INSERT INTO public.full_identity VALUES (1, 'one', noise(4, 2050));
INSERT INTO public.full_identity VALUES (2, 'two', NULL);
INSERT INTO public.full_identity VALUES (NULL, NULL, NULL);
INSERT INTO public.full_identity VALUES (3, 'three', 'small');
COMMIT;
UPDATE public.full_identity SET label = 'one changed' WHERE id = 1;
UPDATE public.full_identity SET label = NULL WHERE id = 2;
UPDATE public.full_identity SET big = 'now set' WHERE id IS NULL;
DELETE FROM public.full_identity WHERE id = 3;
INSERT INTO public.toast_key VALUES (noise(5, 2200), 1);
UPDATE public.toast_key SET n = 2;

--@ a
-- Replica identities.
INSERT INTO public.full_with_key VALUES (1, 'a', 1.50), (2, NULL, 'NaN');
UPDATE public.full_with_key SET amount = 2.50 WHERE id = 1;
UPDATE public.full_with_key SET id = 3, label = 'moved' WHERE id = 2;
DELETE FROM public.full_with_key WHERE id = 1;
INSERT INTO public.index_identity VALUES (1, 'v', 'A-1'), (2, NULL, 'B''2'), (3, 'w', E'C\n3');
UPDATE public.index_identity SET v = 'changed' WHERE id = 1;
UPDATE public.index_identity SET id = 10 WHERE id = 2;
UPDATE public.index_identity SET code = 'A-1b' WHERE id = 1;
DELETE FROM public.index_identity WHERE id = 3;
INSERT INTO public.composite_key VALUES ('x', 1, 'one'), ('y', 2, 'two'), (NULL, 3, '');
UPDATE public.composite_key SET v = 'x2' WHERE a = 1;
UPDATE public.composite_key SET a = 20 WHERE a = 2;
DELETE FROM public.composite_key WHERE a = 3;
BEGIN;
INSERT INTO public.no_key VALUES (3, 'three'), (3, 'three');
COMMIT;
-- Keys change places within one transaction; an upsert; a row that comes, changes and goes.
BEGIN;
UPDATE public.orders SET id = -1 WHERE id = 100;
UPDATE public.orders SET id = 100 WHERE id = 101;
UPDATE public.orders SET id = 101 WHERE id = -1;
INSERT INTO public.orders VALUES (100, 1, 7, true, NULL, NULL) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount;
INSERT INTO public.orders VALUES (900, 1, 7, true, NULL, NULL);
UPDATE public.orders SET amount = 8 WHERE id = 900;
DELETE FROM public.orders WHERE id = 900;
COMMIT;
INSERT INTO public.all_null VALUES (1, NULL, NULL, NULL);
UPDATE public.all_null SET a = 1, b = 'set', c = 0;
UPDATE public.all_null SET a = NULL, b = NULL, c = NULL;

--@ a
-- Names that need quoting, rows without columns, generated columns, partitions.
INSERT INTO public."CamelCase" VALUES (1, 'reserved', 'x');
INSERT INTO sales."Order Items" VALUES (1, 9.90, 'hi', 'apostrophe', 'значение', '値🗝', 'b\s', 'c', 'd', 'e');
UPDATE sales."Order Items" SET "Item ID" = 2, "unit.price" = NULL;
DELETE FROM sales."Order Items" WHERE "Item ID" = 2;
INSERT INTO sales."Order Items" VALUES (3, 1.10, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "My Schema"."dot.ted" VALUES (1, 'dot'), (2, 'ted');
INSERT INTO "My Schema"."таблица 😀" VALUES (1, '😀');
INSERT INTO "My Schema"."tricky: INSERT: x[integer]:1" VALUES (1, 'x'), (2, NULL);
UPDATE "My Schema"."tricky: INSERT: x[integer]:1" SET id = 3 WHERE id = 2;
INSERT INTO public.zero_columns DEFAULT VALUES;
INSERT INTO public.zero_columns DEFAULT VALUES;
INSERT INTO public.generated (id, w, h, after) VALUES (1, 3, 4, 'z');
UPDATE public.generated SET w = 5;
INSERT INTO public.measurements VALUES ('2025-06-01', 1, 1.5), ('2026-06-01', 2, 2.5), ('2026-07-01', 3, 'NaN');
UPDATE public.measurements SET v = 3.5 WHERE id = 2;
UPDATE public.measurements SET day = '2025-12-31' WHERE id = 3;
DELETE FROM public.measurements WHERE id = 1;

--@ a
-- The shape of a table changes between transactions and within one.
INSERT INTO public.evolving VALUES (1, 1, 'one'), (2, 2, 'two');
ALTER TABLE public.evolving ADD COLUMN c text DEFAULT 'dflt';
INSERT INTO public.evolving VALUES (3, 3, 'three', 'c3');
ALTER TABLE public.evolving DROP COLUMN b;
INSERT INTO public.evolving VALUES (4, 4, 'c4');
ALTER TABLE public.evolving RENAME COLUMN c TO "C two";
UPDATE public.evolving SET "C two" = 'renamed' WHERE id = 3;
ALTER TABLE public.evolving ALTER COLUMN a TYPE text USING 'a' || a;
DELETE FROM public.evolving WHERE id = 4;
BEGIN;
INSERT INTO public.evolving VALUES (5, 'a5', 'c5');
ALTER TABLE public.evolving ADD COLUMN d integer;
INSERT INTO public.evolving VALUES (6, 'a6', 'c6', 6);
ALTER TABLE public.evolving ALTER COLUMN d TYPE numeric(8,3);
INSERT INTO public.evolving VALUES (7, 'a7', 'c7', 7);
ALTER TABLE public.evolving RENAME TO evolved;
UPDATE public.evolved SET d = id;
ALTER TABLE public.evolved RENAME TO evolving;
COMMIT;
-- Each row once more in the final shape, so that the end state follows from the stream alone.
UPDATE public.evolving SET d = d + 0.125;
BEGIN;
CREATE TABLE public.born_late (id integer PRIMARY KEY, t text);
INSERT INTO public.born_late VALUES (1, 'in the transaction that made the table');
COMMIT;
CREATE TABLE public.died_early (id integer PRIMARY KEY, t text);
INSERT INTO public.died_early VALUES (1, 'gone at the end');
DROP TABLE public.died_early;

--@ a
-- Subtransactions: what was rolled back to a savepoint is not sent, the rest has the xid of the whole.
BEGIN;
INSERT INTO public.orders VALUES (200, 1, 1, true, NULL, 'top');
SAVEPOINT one;
INSERT INTO public.orders VALUES (201, 1, 2, true, NULL, 'rolled back');
ROLLBACK TO SAVEPOINT one;
SAVEPOINT two;
INSERT INTO public.orders VALUES (202, 1, 3, true, NULL, 'subtransaction');
SAVEPOINT three;
INSERT INTO public.orders VALUES (203, 1, 4, true, NULL, 'subsubtransaction');
RELEASE SAVEPOINT three;
RELEASE SAVEPOINT two;
INSERT INTO public.orders VALUES (204, 1, 5, true, NULL, 'top again');
COMMIT;
-- The first change is in a subtransaction.
BEGIN;
SAVEPOINT one;
INSERT INTO public.orders VALUES (205, 1, 6, true, NULL, 'only in a subtransaction');
RELEASE SAVEPOINT one;
COMMIT;
DO $$ BEGIN
  INSERT INTO public.orders VALUES (206, 1, 6, true, NULL, 'before the exception');
  BEGIN
    INSERT INTO public.orders VALUES (207, 1, 6, true, NULL, 'undone');
    RAISE EXCEPTION 'undo';
  EXCEPTION WHEN raise_exception THEN
    INSERT INTO public.orders VALUES (208, 1, 6, true, NULL, 'in the handler');
  END;
END $$;

--@ a
-- Two sessions at once: changes interleave in the log, transactions do not in the stream.
BEGIN;
INSERT INTO public.orders VALUES (300, 1, 1, true, NULL, 'a first');
--@ b
BEGIN;
INSERT INTO public.orders VALUES (400, 1, 1, true, NULL, 'b first');
INSERT INTO public.customers VALUES (40, 'b', NULL, NULL);
--@ a
INSERT INTO public.customers VALUES (30, 'a', NULL, NULL);
INSERT INTO public.orders VALUES (301, 1, 1, true, NULL, 'a second');
--@ b
INSERT INTO public.orders VALUES (401, 1, 1, true, NULL, 'b second');
COMMIT;
--@ a
INSERT INTO public.orders VALUES (302, 1, 1, true, NULL, 'a third, after b has committed');
COMMIT;

--@ a
-- Transactions that leave nothing: with a transaction id alone, a lock alone, undone, in tables that are not logged.
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL \g /dev/null
COMMIT;
BEGIN;
SELECT 1 FROM public.orders WHERE id = 10 FOR UPDATE \g /dev/null
COMMIT;
BEGIN;
INSERT INTO public.orders VALUES (500, 1, 1, true, NULL, 'never');
ROLLBACK;
INSERT INTO public.unlogged_table VALUES (1, 'not in the log');
CREATE TEMPORARY TABLE temporary_table (id integer);
INSERT INTO temporary_table VALUES (1);
DROP TABLE temporary_table;
ANALYZE public.orders;
-- A prepared transaction is sent at COMMIT PREPARED by slots without two-phase decoding.
BEGIN;
INSERT INTO public.orders VALUES (600, 1, 1, true, NULL, 'prepared');
PREPARE TRANSACTION 'dpone ''gid''';
INSERT INTO public.orders VALUES (601, 1, 1, true, NULL, 'between prepare and commit');
COMMIT PREPARED 'dpone ''gid''';
BEGIN;
INSERT INTO public.orders VALUES (602, 1, 1, true, NULL, 'prepared and rolled back');
PREPARE TRANSACTION 'undone';
ROLLBACK PREPARED 'undone';

--@ a
-- Logical messages, in a transaction and outside, and a transaction that is nothing but a message.
BEGIN;
INSERT INTO public.customers VALUES (50, 'before the message', NULL, NULL);
SELECT pg_logical_emit_message(true, 'dpone', 'transactional') \g /dev/null
SELECT pg_logical_emit_message(false, 'dpone', 'not transactional') \g /dev/null
INSERT INTO public.customers VALUES (51, 'after the message', NULL, NULL);
COMMIT;
SELECT pg_logical_emit_message(true, 'dpone', 'alone') \g /dev/null
SELECT pg_logical_emit_message(false, 'dpone', '') \g /dev/null

--@ a
-- An origin: what a subscriber writes. pgoutput sends an ORIGIN message after BEGIN.
SELECT pg_replication_origin_create('dpone origin ''x''') \g /dev/null
SELECT pg_replication_origin_session_setup('dpone origin ''x''') \g /dev/null
BEGIN;
SELECT pg_replication_origin_xact_setup('0/AABBCCDD', '2026-01-02 03:04:05.5+00') \g /dev/null
INSERT INTO public.customers VALUES (60, 'from elsewhere', NULL, NULL);
COMMIT;
SELECT pg_replication_origin_session_reset() \g /dev/null

--@ a
-- TRUNCATE.
INSERT INTO public.parent (t) VALUES ('one'), ('two');
INSERT INTO public.child VALUES (1, 1, 'c1'), (2, 2, 'c2');
TRUNCATE public.child;
INSERT INTO public.child VALUES (3, 1, 'c3');
TRUNCATE public.parent RESTART IDENTITY CASCADE;
INSERT INTO public.parent (t) VALUES ('again one');
INSERT INTO public.child VALUES (4, 1, 'c4');
BEGIN;
INSERT INTO public.all_null VALUES (2, 2, 'two', 2), (3, 3, 'three', 3);
TRUNCATE public.all_null, "My Schema"."dot.ted", public.zero_columns;
INSERT INTO public.all_null VALUES (4, NULL, 'after the truncate', NULL);
INSERT INTO public.zero_columns DEFAULT VALUES;
COMMIT;
TRUNCATE public.measurements;
INSERT INTO public.measurements VALUES ('2026-08-01', 4, -0.5);

--@ a
-- A larger COPY over several pages: few LSNs, many rows, in two tables that share the pattern.
BEGIN;
CREATE TEMPORARY TABLE source_rows AS SELECT i FROM generate_series(1, 40) AS i;
\copy (SELECT 1000 + i, i, i::numeric / 4, i % 2 = 0, '2026-02-01 00:00:00+00'::timestamptz + i * interval '1 hour', repeat('padding ', 5) FROM source_rows ORDER BY i) TO 'copy_orders.txt'
\copy public.orders FROM 'copy_orders.txt'
\copy (SELECT i % 3, 'row ' || i FROM source_rows ORDER BY i) TO 'copy_no_key.txt'
\copy public.no_key FROM 'copy_no_key.txt'
COMMIT;
BEGIN;
UPDATE public.orders SET paid = NOT paid WHERE id BETWEEN 1001 AND 1005;
DELETE FROM public.orders WHERE id BETWEEN 1006 AND 1030;
COMMIT;
INSERT INTO public.customers VALUES (99, 'last', 'last@example.org', NULL);
