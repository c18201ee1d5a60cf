-- Text that some of psql's output forms change.
CREATE TABLE public.t (id integer PRIMARY KEY, v text, one "char");
