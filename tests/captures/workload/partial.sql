--@ a
INSERT INTO public.no_key VALUES (1, 'one'), (2, 'two');
UPDATE public.no_key SET b = 'uno' WHERE a = 1;
DELETE FROM public.no_key WHERE a = 2;
INSERT INTO public.nothing_identity VALUES (1, 'one'), (2, 'two');
UPDATE public.nothing_identity SET id = 3 WHERE id = 1;
DELETE FROM public.nothing_identity WHERE id = 2;
-- A row filter turns an update into an insert or a delete.
BEGIN;
INSERT INTO public.filtered VALUES (1, true, 'seen'), (2, false, 'hidden'), (3, true, 'seen'), (4, NULL, 'hidden');
COMMIT;
UPDATE public.filtered SET v = 'seen again' WHERE id = 1;
UPDATE public.filtered SET v = 'still hidden' WHERE id = 2;
UPDATE public.filtered SET visible = true WHERE id = 2;
UPDATE public.filtered SET visible = false WHERE id = 3;
DELETE FROM public.filtered WHERE id IN (1, 4);
INSERT INTO public.some_columns VALUES ('secret', 1, 'public');
UPDATE public.some_columns SET secret = 'other' WHERE id = 1;
UPDATE public.some_columns SET id = 2 WHERE id = 1;
INSERT INTO public.inserts_only VALUES (1, 'sent');
UPDATE public.inserts_only SET v = 'not sent';
DELETE FROM public.inserts_only;
TRUNCATE public.inserts_only, public.some_columns;
