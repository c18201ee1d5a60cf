-- One table, for logical messages that try to look like something else.
CREATE TABLE public.t (id integer PRIMARY KEY, v text);
