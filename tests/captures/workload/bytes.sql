-- Bytes that are no UTF-8 in a database whose encoding is UTF-8: the first byte of a longer character in a "char"
-- (before PostgreSQL 16), and a logical message made of bytes.

--@ a
INSERT INTO public.t VALUES (1, 'a');
INSERT INTO public.t VALUES (2, 'é'::text::"char");
SELECT pg_logical_emit_message(true, 'bytes', '\xff000a80'::bytea) \g /dev/null
INSERT INTO public.t VALUES (3, 'c');
