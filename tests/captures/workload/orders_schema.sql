-- The story of the examples: customers and their orders.
CREATE TABLE public.customers (id integer PRIMARY KEY, name text NOT NULL, email text);
CREATE TABLE public.orders (id integer PRIMARY KEY, customer_id integer NOT NULL, amount numeric(10,2), status text);
