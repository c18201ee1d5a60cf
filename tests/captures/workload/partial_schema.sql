-- Tables without a usable replica identity, which only some plugins can follow, and a publication that leaves things
-- out. The publication of this set is made here.
CREATE TABLE public.no_key (a integer, b text);
CREATE TABLE public.nothing_identity (id integer PRIMARY KEY, v text);
ALTER TABLE public.nothing_identity REPLICA IDENTITY NOTHING;
CREATE TABLE public.filtered (id integer PRIMARY KEY, visible boolean, v text);
ALTER TABLE public.filtered REPLICA IDENTITY FULL;
CREATE TABLE public.some_columns (secret text, id integer PRIMARY KEY, v text);
CREATE TABLE public.inserts_only (id integer PRIMARY KEY, v text);
CREATE PUBLICATION dpone FOR TABLE public.filtered WHERE (visible), public.some_columns (id, v);
CREATE PUBLICATION dpone_inserts FOR TABLE public.inserts_only WITH (publish = 'insert');
