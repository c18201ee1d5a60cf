-- A column type whose output need not be valid UTF-8.
CREATE TABLE public.t (id integer PRIMARY KEY, one "char");
