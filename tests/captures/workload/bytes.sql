-- What psql drops from its own output forms (-At, --csv) and COPY keeps: Unicode's noncharacters, which are valid UTF-8,
-- and bytes that are no UTF-8 at all, which only a logical message can bring into the stream.

--@ a
INSERT INTO public.t VALUES (1, U&'a\FFFEb', 'a');
INSERT INTO public.t VALUES (2, U&'a\FFFFb', 'é'::text::"char");
INSERT INTO public.t VALUES (3, U&'a\FDD0b', E'\x7f');
INSERT INTO public.t VALUES (4, U&'a\+01FFFEb', NULL);
INSERT INTO public.t VALUES (5, U&'a\+01FFFFb', NULL);
INSERT INTO public.t VALUES (6, U&'a\+10FFFFb', NULL);
INSERT INTO public.t VALUES (7, U&'\+10FFFF', NULL);
SELECT pg_logical_emit_message(true, 'bytes', '\xff0a80'::bytea) \g /dev/null
SELECT pg_logical_emit_message(true, 'zero', '\x610062'::bytea) \g /dev/null
INSERT INTO public.t VALUES (8, 'last', NULL);
