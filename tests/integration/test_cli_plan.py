"""dpone cdc plan: what it prints runs on a real server, twice, with names that try to get out of their quotes."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.postgres import PostgresError, PostgresServer

DPONE = os.environ["DPONE_BINARY"]
ODD_SCHEMA = "s\"]' .$dpone$"
ODD_TABLE = "t\"; DROP TABLE victim; --\\'"
ODD_PUBLICATION = "p\"' $dpone$\\"
ODD_ROLE = "r\"'"


def run(*arguments):
    return subprocess.run([DPONE, "cdc", "plan", *arguments], capture_output=True, text=True, timeout=60)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def option(schema, table):
    return f"--table={quoted(schema)}.{quoted(table)}"


class Usage(unittest.TestCase):
    def refuse(self, message, *arguments):
        done = run(*arguments)
        self.assertEqual(done.returncode, 2, done)
        self.assertEqual(done.stdout, "")
        self.assertIn(message, done.stderr.splitlines()[0])

    def test_missing_options_are_named(self):
        self.refuse("missing required option --backend")
        self.refuse("missing required option --table", "--backend", "postgres_logical", "--slot", "s")
        self.refuse("missing required option --slot", "--backend", "postgres_logical", "--table", "a.b")
        self.refuse("missing required option --publication", "--backend", "postgres_logical", "--table", "a.b",
                    "--slot", "s")
        self.refuse("missing required option --database", "--backend", "mssql_cdc", "--table", "a.b")
        self.refuse("missing required option --database", "--backend", "mssql_change_tracking", "--table", "a.b")

    def test_an_option_of_another_backend_is_refused(self):
        self.refuse("--slot does not apply to --backend mssql_cdc", "--backend", "mssql_cdc", "--table", "a.b",
                    "--database", "d", "--slot", "s")
        self.refuse("--track-columns-updated does not apply", "--backend", "mssql_cdc", "--table", "a.b",
                    "--database", "d", "--track-columns-updated")
        self.refuse("--database does not apply to --backend postgres_logical", "--backend", "postgres_logical",
                    "--table", "a.b", "--database", "d")

    def test_malformed_values_are_refused(self):
        self.refuse("--backend: 'oracle' is not one of", "--backend", "oracle", "--table", "a.b")
        self.refuse("--table: 'orders' is not a table; expected schema.table", "--backend", "mssql_cdc",
                    "--table", "orders", "--database", "d")
        self.refuse("--retention-hours: '0' is not a whole number from 1 to 87600", "--backend", "mssql_cdc",
                    "--table", "a.b", "--database", "d", "--retention-hours", "0")
        self.refuse("--slot: 'S' is no slot name", "--backend", "postgres_logical", "--table", "a.b", "--slot", "S",
                    "--publication", "p")


class SqlServer(unittest.TestCase):
    def test_json_and_text_hold_the_same_statements(self):
        for backend in ("mssql_cdc", "mssql_change_tracking"):
            arguments = ("--backend", backend, "--database", "shop", "--table", "dbo.orders", "--table", "dbo.items",
                         "--role", "reader", "--retention-hours", "24")
            plan = json.loads(run(*arguments, "--format", "json").stdout)
            text = run(*arguments).stdout
            self.assertEqual(list(plan), ["backend", "steps"])
            self.assertEqual(plan["backend"], backend)
            at = 0
            for step in plan["steps"]:
                self.assertEqual(list(step), ["name", "description", "sql"])
                at = text.index(step["sql"] + "\nGO\n", at)


class Postgres(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PostgresServer()
        cls.server.psql(f"""
            CREATE TABLE victim (id int PRIMARY KEY);
            CREATE TABLE public.orders (id int PRIMARY KEY, amount numeric);
            CREATE TABLE public.keyless (id int);
            CREATE SCHEMA {quoted(ODD_SCHEMA)};
            CREATE TABLE {quoted(ODD_SCHEMA)}.{quoted(ODD_TABLE)} (id int PRIMARY KEY);
            CREATE TABLE public.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
            CREATE TABLE public.part1 PARTITION OF public.parted FOR VALUES FROM (0) TO (10);
            CREATE ROLE {quoted(ODD_ROLE)} LOGIN""")

    @classmethod
    def tearDownClass(cls):
        cls.server.cleanup()

    def tearDown(self):
        self.server.psql("""
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;
            DO $$ DECLARE p text; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP
              EXECUTE format('DROP PUBLICATION %I', p); END LOOP; END $$""")

    def plan(self, *arguments):
        done = run("--backend", "postgres_logical", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_hostile_names_run_and_run_again(self):
        sql = self.plan("--slot", "odd", "--publication", ODD_PUBLICATION, "--role", ODD_ROLE,
                        option(ODD_SCHEMA, ODD_TABLE), "--table", "public.orders")
        self.server.psql(sql)
        self.server.psql(sql)
        self.assertEqual(self.server.query("SELECT pubname, schemaname, tablename FROM pg_publication_tables ORDER BY 2"),
                         [(ODD_PUBLICATION, "public", "orders"), (ODD_PUBLICATION, ODD_SCHEMA, ODD_TABLE)])
        self.assertEqual(self.server.query("SELECT slot_name, plugin FROM pg_replication_slots"), [("odd", "pgoutput")])
        self.assertEqual(self.server.query("SELECT rolreplication FROM pg_roles WHERE NOT rolsuper AND rolcanlogin"),
                         [("t",)])
        self.assertEqual(self.server.query_value("SELECT count(*) FROM victim"), "0")

    def test_the_role_can_read_the_slot_and_the_table(self):
        self.server.psql(self.plan("--slot", "orders", "--publication", "orders", "--role", ODD_ROLE,
                                   "--table", "public.orders"))
        self.server.psql("INSERT INTO orders VALUES (1, 2)")
        out = self.server.psql("SELECT count(*) > 0 FROM pg_logical_slot_peek_binary_changes('orders', NULL, NULL, "
                               "'proto_version', '1', 'publication_names', 'orders'); SELECT count(*) FROM orders",
                               ["-A", "-t"], user=ODD_ROLE)
        self.assertEqual(out.split(), ["t", "1"])

    def test_json_statements_run_one_by_one(self):
        plan = json.loads(self.plan("--slot", "orders", "--publication", "orders", "--table", "public.orders",
                                    "--format", "json"))
        self.assertEqual([step["name"] for step in plan["steps"]],
                         ["check_wal_level", "check_replica_identity", "create_publication", "create_slot"])
        for step in plan["steps"]:
            self.server.psql(step["sql"])
        self.assertEqual(self.server.query_value("SELECT count(*) FROM pg_replication_slots"), "1")

    def test_a_table_without_identity_stops_before_it_is_published(self):
        sql = self.plan("--slot", "orders", "--publication", "orders", "--table", "public.keyless")
        with self.assertRaisesRegex(PostgresError, 'keyless" has no replica identity'):
            self.server.psql(sql)
        self.assertEqual(self.server.query("SELECT FROM pg_publication"), [])
        self.server.psql(self.plan("--slot", "orders", "--publication", "orders", "--table", "public.keyless",
                                   "--replica-identity-full"))
        self.server.psql("INSERT INTO keyless VALUES (1); DELETE FROM keyless;"
                         "ALTER TABLE keyless REPLICA IDENTITY DEFAULT")

    def test_text_plugins_need_no_publication(self):
        sql = self.plan("--slot", "text", "--plugin", "test_decoding", "--table", "public.orders")
        self.server.psql(sql)
        self.assertEqual(self.server.query("SELECT plugin FROM pg_replication_slots"), [("test_decoding",)])
        self.assertEqual(self.server.query("SELECT FROM pg_publication"), [])

    def test_wal2json_runs_where_it_is_installed(self):
        self.server.require_plugin("wal2json")
        self.server.psql(self.plan("--slot", "json", "--plugin", "wal2json", "--table", "public.orders"))
        self.assertEqual(self.server.query("SELECT plugin FROM pg_replication_slots"), [("wal2json",)])

    def test_a_slot_of_another_plugin_stops_the_script(self):
        self.server.psql(self.plan("--slot", "text", "--plugin", "test_decoding", "--table", "public.orders"))
        with self.assertRaisesRegex(PostgresError, "slot text exists with another plugin"):
            self.server.psql(self.plan("--slot", "text", "--publication", "p", "--table", "public.orders"))

    def test_a_table_is_added_to_a_publication_that_exists(self):
        self.server.psql(self.plan("--slot", "orders", "--publication", "orders", "--table", "public.orders"))
        self.server.psql(self.plan("--slot", "orders", "--publication", "orders", "--table", "public.orders",
                                   "--table", "public.victim"))
        self.assertEqual(self.server.query("SELECT tablename FROM pg_publication_tables ORDER BY 1"),
                         [("orders",), ("victim",)])

    def test_partition_root_is_as_asked_and_never_changed_silently(self):
        self.server.psql(self.plan("--slot", "parted", "--publication", "parted", "--table", "public.parted",
                                   "--publish-via-partition-root"))
        self.assertEqual(self.server.query("SELECT pubviaroot FROM pg_publication"), [("t",)])
        with self.assertRaisesRegex(PostgresError, "exists with another publish_via_partition_root"):
            self.server.psql(self.plan("--slot", "parted", "--publication", "parted", "--table", "public.parted"))

    def test_wal_level_is_checked_first(self):
        plan = self.plan("--slot", "s", "--publication", "p", "--table", "public.orders")
        with PostgresServer(settings={"wal_level": "replica"}) as server:
            with self.assertRaisesRegex(PostgresError, "wal_level is replica, expected logical"):
                server.psql(plan)


if __name__ == "__main__":
    unittest.main()
