--@ a
-- Two customers arrive, each with an order.
BEGIN;
INSERT INTO public.customers VALUES (1, 'Ada Lovelace', 'ada@example.org'), (2, 'Grace Hopper', 'grace@example.org');
INSERT INTO public.orders VALUES (10, 1, 99.50, 'new'), (11, 2, 12.00, 'new');
COMMIT;
-- One order is paid.
UPDATE public.orders SET status = 'paid' WHERE id = 10;
-- A delivery of orders comes in by COPY: its rows share one LSN.
COPY public.orders FROM STDIN;
12	1	7.25	new
13	2	1250.00	new
14	2	3.99	new
\.
-- One customer changes a name, an order is cancelled.
BEGIN;
UPDATE public.customers SET name = 'Grace B. Hopper', email = NULL WHERE id = 2;
DELETE FROM public.orders WHERE id = 11;
COMMIT;
-- An order gets another number.
BEGIN;
UPDATE public.orders SET id = 110 WHERE id = 10;
UPDATE public.orders SET status = 'paid' WHERE id = 12;
COMMIT;
