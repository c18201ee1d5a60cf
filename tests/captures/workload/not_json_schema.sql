-- Names that wal2json 2.5 writes without escaping.
CREATE SCHEMA "My Types";
CREATE TYPE "My Types".mood AS ENUM ('ok');
CREATE TYPE public."Quoted Type" AS ENUM ('ok');
CREATE TYPE public."With ""quote""" AS ENUM ('ok');
CREATE TABLE public.fine (id integer PRIMARY KEY, m public."Quoted Type"[]);
CREATE TABLE public.one_quoted_type (id integer PRIMARY KEY, m public."Quoted Type");
CREATE TABLE public.schema_quoted_type (id integer PRIMARY KEY, m "My Types".mood);
CREATE TABLE public.quote_in_type (id integer PRIMARY KEY, m public."With ""quote""");
CREATE TABLE public.quote_in_default (id integer PRIMARY KEY, d text DEFAULT 'a "quote" and a \ backslash');
