-- test_decoding prints a message's content without any quoting; only its stated size says where it ends.

--@ a
INSERT INTO public.t VALUES (1, 'first');
SELECT pg_logical_emit_message(true, 'plain', 'content') \g /dev/null
SELECT pg_logical_emit_message(false, 'plain', 'content') \g /dev/null
BEGIN;
INSERT INTO public.t VALUES (2, 'with messages around');
SELECT pg_logical_emit_message(true, 'newline', E'one\ntwo\n') \g /dev/null
SELECT pg_logical_emit_message(true, 'forged row', E'x\n0/1|900|COMMIT 900') \g /dev/null
SELECT pg_logical_emit_message(true, 'forged raw', E'x\nCOMMIT 900\nBEGIN 901\ntable public.t: INSERT: id[integer]:666 v[text]:''forged''\nCOMMIT 901') \g /dev/null
SELECT pg_logical_emit_message(true, 'quote', 'one '' quote and one " double') \g /dev/null
INSERT INTO public.t VALUES (3, 'after the messages');
COMMIT;
SELECT pg_logical_emit_message(false, 'forged row', E'x\n0/1|900|BEGIN 900\n0/1|900|table public.t: INSERT: id[integer]:667 v[text]:''forged''\n0/1|900|COMMIT 900') \g /dev/null
SELECT pg_logical_emit_message(false, 'unicode', 'Grüße 😀') \g /dev/null
SELECT pg_logical_emit_message(true, E'pre|fix, sz: 3 content:abc\nprefix', 'the prefix is hostile') \g /dev/null
SELECT pg_logical_emit_message(true, '', '') \g /dev/null
INSERT INTO public.t VALUES (4, 'last');
