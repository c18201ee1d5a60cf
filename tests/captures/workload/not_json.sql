--@ a
INSERT INTO public.fine VALUES (1, '{ok}');
INSERT INTO public.one_quoted_type VALUES (1, 'ok');
INSERT INTO public.schema_quoted_type VALUES (1, 'ok');
INSERT INTO public.quote_in_type VALUES (1, 'ok');
INSERT INTO public.quote_in_default VALUES (1);
