"""The journal on PostgreSQL through `dpone serve`: every rule that holds on SQLite, shared offsets, several servers on
one state, and faults of the database and of the connection to it. Nothing acknowledged is missing, nothing is doubled."""
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_batch_order  # noqa: E402
import test_ingest  # noqa: E402
from support import pipeline  # noqa: E402
from support.batch import Batch, transaction  # noqa: E402
from support.cutting_proxy import CuttingProxy  # noqa: E402
from support.legacy import check_legacy_poison, legacy_poison  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.patience import wait_until  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

LONG = os.environ.get("DPONE_LONG_TESTS") == "1"
FEW_LOCKS = {"max_locks_per_transaction": "10", "max_connections": "12", "max_prepared_transactions": "0",
             "max_wal_senders": "0", "max_worker_processes": "0", "autovacuum_max_workers": "1", "shared_buffers": "4MB"}
postgres = None
numbers = itertools.count(1)


def setUpModule():
    global postgres
    postgres = PostgresServer(settings={"max_connections": "100"})


def tearDownModule():
    postgres.cleanup()


def new_schema():
    return f"state_{next(numbers)}"


def state_dsn(schema, **dsn):
    return f"{postgres.dsn(**dsn)}?dpone_schema={schema}"


def stored(schema):
    """The events of the journal in its order, read with SQL alone: (transaction, ordinal, data)."""
    rows = postgres.query(f"""SELECT t.transaction_id, e.event_number - t.first_number, e.data
        FROM {schema}.dpone_transaction t JOIN {schema}.dpone_event e USING (stream_id)
        WHERE e.event_number >= t.first_number AND e.event_number < t.first_number + t.event_count
        ORDER BY t.stream_id, t.end_position, e.event_number""")
    return [(xid, int(ordinal), json.loads(data)) for xid, ordinal, data in rows]


def expected(lines):
    return [(line["transaction_id"], line["ordinal"], line["data"]) for line in lines if "event_id" in line]


class RulesTest(test_ingest.IngestTest):
    """The rules of ingestion, as they are tested on SQLite."""

    def setUp(self):
        self.schema = new_schema()
        self.server = self.enterContext(DponeServer(state=state_dsn(self.schema)))

    def test_a_locked_store_is_503_with_retry_after(self):
        for number in range(3):  # what comes next is presumed to find the stream as it is
            self.accept(Batch(transaction(897 + number, f"0/{number + 1}00", 1), f"0/{number + 1}00"))
        self.accept(Batch(transaction(900, "0/1000", 1), "0/1000"))
        holder = subprocess.Popen(postgres.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=postgres.environment())
        holder.stdin.write(f"BEGIN; SELECT 'locked' FROM {self.schema}.dpone_stream FOR UPDATE;\n".encode())
        holder.stdin.flush()
        while b"locked" not in holder.stdout.readline():
            pass
        batch = Batch(transaction(901, "0/2000", 1), "0/2000")
        part = Batch(transaction(902, "0/3000", 4)[2:], "0/3000")  # of which the beginning is missing: refused, once that is sure
        replies = {}
        first = threading.Thread(target=lambda: replies.update(part=part.send(self.server)))
        first.start()
        wait_until(lambda: postgres.query_value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1",
                   "a writer that waits for the stream")
        replies["whole"] = batch.send(self.server)
        first.join()
        for status, headers, body in replies.values():
            self.assertEqual((status, body["code"]), (503, "store_busy"), body)
            self.assertGreater(int(headers["Retry-After"]), 0)
        holder.communicate(b"ROLLBACK;\n")
        self.assertEqual(part.send(self.server)[2]["code"], "ordinal_gap")
        self.accept(batch)

    def test_a_full_store_is_503_and_nothing_is_acknowledged(self):
        """A trigger stands for the full disk: the status is what PostgreSQL reports with it."""
        self.accept(Batch(transaction(900, "0/1000", 1), "0/1000"))
        postgres.psql(f"""CREATE FUNCTION {self.schema}.full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON {self.schema}.dpone_event EXECUTE FUNCTION {self.schema}.full()""")
        for count in (1, 100):
            batch = Batch(transaction(901, "0/2000", count), "0/2000")
            status, headers, body = batch.send(self.server)
            self.assertEqual((status, body["code"]), (503, "store_full"), body)
            self.assertGreater(int(headers["Retry-After"]), 0)
        self.assertEqual(len(self.journal()), 2)
        postgres.psql(f"DROP TRIGGER full_disk ON {self.schema}.dpone_event")
        self.accept(batch)


class ConformanceTest(unittest.TestCase):
    def test_the_driver_does_what_every_driver_must_do(self):
        program = os.path.join(os.environ["DPONE_BUILD_DIR"], "tests", "unit", "unit_state_test_store_conformance")
        done = subprocess.run([program], env={**os.environ, "DPONE_CONFORMANCE_DSN": state_dsn(new_schema())},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout.decode("utf-8", "replace"))
        self.assertIn(b"PASSED", done.stdout)


class TablesTest(unittest.TestCase):
    """What other programs meet in the database."""

    def start(self, schema, **options):
        server = DponeServer(state=state_dsn(schema, **options))
        server.start()
        self.addCleanup(server.stop)
        return server

    def test_offsets_live_in_the_table_of_the_python_tool(self):
        postgres.psql("""CREATE SCHEMA etl_state; CREATE TABLE etl_state.etl_cdc_offset (
            pipeline_name text NOT NULL, source_schema text NOT NULL, source_table text NOT NULL, backend text NOT NULL,
            token text NOT NULL, snapshot_complete boolean NOT NULL,
            __dpone__loaded_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
            __dpone__updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
            PRIMARY KEY (pipeline_name, source_schema, source_table, backend));
            INSERT INTO etl_state.etl_cdc_offset VALUES ('old', 'public', 'orders', 'postgres_logical', '0/AA', true,
                '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901')""")
        server = DponeServer(state=postgres.dsn())
        server.start()
        self.addCleanup(server.stop)
        status, _, row = server.json("GET", "/v1/pipelines/old/offsets/postgres_logical/public/orders")
        self.assertEqual((status, row["token"], row["loaded_at"]), (200, "0/AA", "2026-01-02T03:04:05.678901Z"), row)
        status, _, row = server.json("PUT", "/v1/pipelines/old/offsets/postgres_logical/public/orders",
                                     {"Content-Type": "application/json"},
                                     json.dumps({"token": "0/BB", "snapshot_complete": False}))
        self.assertEqual(status, 200, row)
        rows = postgres.query("""SELECT token, snapshot_complete, __dpone__loaded_at::text,
            abs(extract(epoch FROM (now() AT TIME ZONE 'UTC') - __dpone__updated_at)) < 3600 FROM etl_state.etl_cdc_offset""")
        self.assertEqual(rows, [("0/BB", "f", "2026-01-02 03:04:05.678901", "t")])
        types = postgres.query("""SELECT data_type FROM information_schema.columns WHERE table_schema = 'etl_state'
            AND table_name = 'etl_cdc_offset' ORDER BY ordinal_position""")
        self.assertEqual([row[0] for row in types], ["text"] * 5 + ["boolean"] + ["timestamp without time zone"] * 2)

    def test_the_names_of_schema_and_offset_table_are_free(self):
        server = DponeServer(state=postgres.dsn() + "?dpone_schema=odd%22%20Schema&dpone_offset_table=my%20offsets")
        server.start()
        self.addCleanup(server.stop)
        batch = Batch(transaction(900, "0/1000", 30), "0/1000")
        self.assertEqual(batch.send(server)[0], 200)
        status, _, _ = server.json("PUT", "/v1/pipelines/orders/offsets/postgres_logical/*/*", {"Content-Type": "application/json"},
                                   json.dumps({"token": "0/1000", "snapshot_complete": True}))
        self.assertEqual(status, 200)
        self.assertEqual(postgres.query('SELECT pipeline_name, token FROM "odd"" Schema"."my offsets"'), [("orders", "0/1000")])
        others = [subprocess.Popen([os.environ["DPONE_BINARY"], "state", "migrate", "--state", postgres.dsn()
                                    + "?dpone_schema=odd%22%20Schema&dpone_offset_table=later"], stdout=subprocess.DEVNULL) for _ in range(4)]
        self.assertEqual([other.wait(60) for other in others], [0] * 4)  # made once, although the schema is up to date
        self.assertEqual(postgres.query('SELECT token FROM "odd"" Schema".later'), [])
        postgres.psql('CREATE TABLE "odd"" Schema".strange (pipeline_name text, token text)')
        done = subprocess.run([os.environ["DPONE_BINARY"], "state", "migrate", "--state", postgres.dsn()
                               + "?dpone_schema=odd%22%20Schema&dpone_offset_table=strange"], capture_output=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"reading the offset table 'strange'", done.stderr)

    def test_many_servers_may_start_on_an_empty_database_at_once(self):
        schema = new_schema()
        servers = [DponeServer(state=state_dsn(schema)) for _ in range(6)]
        threads = [threading.Thread(target=server.start) for server in servers]
        for thread in threads:
            thread.start()
        for thread, server in zip(threads, servers):
            thread.join()
            self.addCleanup(server.stop)
        for server in servers:
            self.assertEqual(server.json("GET", "/ready")[0], 200)
        versions = postgres.query(f"SELECT version, length(checksum) FROM {schema}.dpone_migration ORDER BY version")
        self.assertEqual(versions[0], ("1", "64"))
        self.assertEqual([int(row[0]) for row in versions], list(range(1, len(versions) + 1)))

    def documented(self, schema):
        """The SQL of docs/state-postgres.md, by its roles."""
        with open(os.path.join(os.environ["DPONE_SOURCE_DIR"], "docs", "state-postgres.md"), encoding="utf-8") as page:
            blocks = re.findall(r"```sql\n(.*?)```", page.read(), re.S)
        return [block.replace("etl_state", schema) for block in blocks]

    def test_the_documented_privileges_are_enough(self):
        schema = new_schema()
        roles, grants = self.documented(schema)
        postgres.psql(roles)
        binary = os.environ["DPONE_BINARY"]
        subprocess.run([binary, "state", "migrate", "--state", state_dsn(schema, user="dpone_owner")], check=True,
                       stdout=subprocess.DEVNULL)
        done = subprocess.run([binary, "state", "status", "--state", state_dsn(schema, user="dpone_server")], capture_output=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"permission denied for schema {schema} (USAGE)".encode(), done.stderr)
        postgres.psql(grants, user="dpone_owner")
        server = self.start(schema, user="dpone_server")
        for number in range(1, 5):
            lines = transaction(900 + number, f"0/{number}000", 30)
            self.assertEqual(Batch(lines[:7]).send(server)[0], 200)
            self.assertEqual(Batch(lines[7:], f"0/{number}000").send(server)[0], 200)
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
        body = json.dumps({"token": "0/4000", "snapshot_complete": True})
        self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        body = json.dumps({"token": "0/3000", "snapshot_complete": True, "allow_rewind": True, "who": "me", "why": "test"})
        self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        self.assertEqual(len(pipeline.journal(server.url)), 4 * 31)
        self.assertEqual(server.json("DELETE", path)[0], 200)
        self.check_a_missing_grant(schema, server)
        server.stop()
        with self.assertRaisesRegex(RuntimeError, "permission denied"):
            DponeServer(state=state_dsn(schema, user="dpone_server") + "_other").start()

    def check_a_missing_grant(self, schema, server):
        """It is not the sender's fault: 503 until it is granted, and the server says which."""
        self.assertEqual(server.json("GET", "/ready")[0], 200)
        for number, (grant, name) in enumerate((("INSERT ON {}.dpone_event", "dpone_event"), ("UPDATE ON {}.dpone_stream", "dpone_stream"),
                                                ("USAGE ON SCHEMA {}", "dpone_|permission denied for schema"), ("INSERT ON {}.dpone_receipt", "dpone_receipt")), 6):
            with self.subTest(grant):
                batch = Batch(transaction(900 + number, f"0/{number}000", 30), f"0/{number}000")
                postgres.psql(f"REVOKE {grant.format(schema)} FROM dpone_server")
                for _ in range(2):
                    status, headers, body = batch.send(server)
                    self.assertEqual((status, body["code"]), (503, "store_unavailable"), body)
                    self.assertRegex(body["detail"], name)
                    self.assertGreater(int(headers["Retry-After"]), 0)
                status, headers, body = server.json("GET", "/ready")
                self.assertEqual(status, 503)
                self.assertRegex(body["detail"], name)
                self.assertGreater(int(headers["Retry-After"]), 0)
                postgres.psql(f"GRANT {grant.format(schema)} TO dpone_server")
                self.assertEqual(batch.send(server)[0], 200)
                self.assertEqual(server.json("GET", "/ready")[0], 200)
        first = [entry for entry in server.log_entries() if "server.state" in entry.values()][0]
        self.assertIn("permission denied for table dpone_event", str(first))
        self.assertIn("docs/state-postgres.md", str(first))
        self.assertIn("error", str(first).lower())

    def test_a_login_that_is_refused_is_503(self):
        schema = new_schema()
        postgres.psql(f"CREATE ROLE {schema} LOGIN SUPERUSER")
        server = self.start(schema, user=schema)
        postgres.psql(f"ALTER ROLE {schema} NOLOGIN")
        postgres.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{schema}'")
        batch = Batch(transaction(900, "0/1000", 3), "0/1000")
        give_up = time.monotonic() + 30
        while "not permitted to log in" not in server.log_text() and time.monotonic() < give_up:
            status, headers, body = batch.send(server)  # the first may find its connection being ended
            self.assertEqual((status, body["code"]), (503, "store_unavailable"), body)
            self.assertGreater(int(headers["Retry-After"]), 0)
            time.sleep(0.3)
        self.assertIn("not permitted to log in", body["detail"])
        self.assertIn("not permitted to log in", server.log_text())
        status, _, body = server.json("GET", "/ready")
        self.assertEqual(status, 503)
        self.assertIn("not permitted to log in", body["detail"])
        postgres.psql(f"ALTER ROLE {schema} LOGIN")
        self.assertEqual(batch.send(server)[0], 200)

    def test_a_dump_can_be_restored(self):
        postgres.require_client("pg_dump")
        schema = new_schema()
        server = self.start(schema)
        lines = transaction(900, "0/1000", 50)
        self.assertEqual(Batch(lines, "0/1000").send(server)[0], 200)
        dump = os.path.join(server.directory, "state.dump")
        common = ["-h", postgres.socket_dir, "-p", str(postgres.port), "-U", "postgres"]
        subprocess.run([postgres.binary("pg_dump"), *common, "--format=custom", f"--schema={schema}", f"--file={dump}", "postgres"],
                       check=True, env=postgres.environment())
        postgres.psql("CREATE DATABASE restored")
        subprocess.run([postgres.binary("pg_restore"), *common, "--dbname=restored", dump], check=True, env=postgres.environment())
        other = self.start(schema, database="restored")
        self.assertEqual([json.loads(line) for line in pipeline.journal(other.url)], lines)
        self.assertEqual(Batch(lines, "0/1000").send(other)[1]["Idempotency-Replayed"], "true")
        self.assertEqual(Batch(transaction(901, "0/2000", 5), "0/2000").send(other)[0], 200)

    def make_first_schema(self, schema, more=""):
        """As psql runs it; a migration that has been released never changes, so neither does its checksum."""
        path = os.path.join(os.environ["DPONE_SOURCE_DIR"], "migrations", "postgres", "0001_journal.sql")
        with open(path, encoding="utf-8") as file:
            script = file.read()
        checksum = hashlib.sha256(script.encode()).hexdigest()
        self.assertEqual(checksum, "7bbc89d8b9954b35d5b451a22e18a99973cec89af79fd051e183eb8329f4052c")
        postgres.psql(f"""BEGIN; CREATE SCHEMA {schema}; SET search_path = {schema};
            CREATE TABLE dpone_migration (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                applied_at_us bigint NOT NULL); INSERT INTO dpone_migration VALUES (1, '0001_journal', '{checksum}', 1);
            {script} {more} COMMIT""", ["-v", "offset_table=etl_cdc_offset"])

    def test_a_database_made_by_the_first_migration_is_taken_over_with_its_data(self):
        schema = new_schema()
        self.make_first_schema(schema, """
            INSERT INTO dpone_stream (pipeline, source, backend, identity, next_event_number, high_position, transaction_count,
                event_count, created_at_us, updated_at_us)
                VALUES ('orders', '7/shop', 'postgres_logical', 'v1', 2, '\\x00000000000000001000', 1, 1, 1, 1);
            INSERT INTO dpone_transaction VALUES (1, '\\x00000000000000001000', '900', 1767323045678901, 1, 1, 1);
            INSERT INTO dpone_event VALUES (1, 1, 0, 0, decode(repeat('ab', 32), 'hex'), 'public', 'orders', '0/F00', '{"id":1}');
            INSERT INTO etl_cdc_offset VALUES ('orders', '*', '*', 'postgres_logical', '0/1000', true);
            INSERT INTO dpone_quarantine (pipeline, source, backend, source_schema, source_table, position, reason, detail,
                event, state, created_at_us) SELECT 'orders', '', '', 'public', 't', '0/1', 'key_missing', 'no key',
                '%s', 'open', 1 FROM generate_series(1, 2);
            """ % legacy_poison())
        server = self.start(schema)
        lines = [json.loads(line) for line in pipeline.journal(server.url)]
        self.assertEqual([line.get("event_id", "commit") for line in lines], ["ab" * 32, "commit"])
        self.assertEqual(Batch(transaction(901, "0/2000", 30), "0/2000").send(server)[0], 200)
        self.assertEqual(len(pipeline.journal(server.url)), 33)
        self.assertEqual(server.json("GET", "/v1/pipelines/orders/offsets/postgres_logical/*/*")[2]["token"], "0/1000")
        check_legacy_poison(self, server)

    def test_an_unpartitioned_journal_goes_on_where_it_was(self):
        """Two streams, one of them inside a transaction, a role with the rights of before; then the newer schema."""
        schema = new_schema()
        with DponeServer(state=state_dsn(schema)) as server:
            self.assertEqual(Batch(transaction(900, "0/1000", 30), "0/1000").send(server)[0], 200)
            self.assertEqual(Batch(transaction(900, "0/1000", 7), "0/1000", pipeline="p2").send(server, pipeline="p2")[0], 200)
            large = transaction(901, "0/2000", 60)
            self.assertEqual(Batch(large[:25]).send(server)[0], 200)
            before = pipeline.journal(server.url)
        newer, schema = schema, new_schema()
        self.make_first_schema(schema)
        postgres.psql(f"CREATE ROLE old_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO old_{schema}; "
                      f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO PUBLIC; "
                      f"CREATE ROLE passes_{schema}; CREATE ROLE counts_{schema}; GRANT SELECT, REFERENCES ON {schema}.dpone_event "
                      f"TO passes_{schema} WITH GRANT OPTION; GRANT UPDATE (operation), REFERENCES (stream_id) "
                      f"ON {schema}.dpone_event TO counts_{schema}")
        for table in ("stream", "transaction", "event", "receipt"):
            columns = postgres.query_value(f"""SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
                WHERE table_schema = '{schema}' AND table_name = 'dpone_{table}'""")
            postgres.psql(f"INSERT INTO {schema}.dpone_{table} ({columns}) OVERRIDING SYSTEM VALUE "
                          f"SELECT {columns} FROM {newer}.dpone_{table}")
        for table, column in (("stream", "stream_id"), ("receipt", "receipt_id")):
            postgres.psql(f"SELECT setval(pg_get_serial_sequence('{schema}.dpone_{table}', '{column}'), 1000)")
        subprocess.run([os.environ["DPONE_BINARY"], "state", "migrate", "--state", state_dsn(schema)], check=True, stdout=subprocess.DEVNULL)
        for table in ("dpone_event", "dpone_event_streams"):
            self.assertEqual(postgres.query(f"""SELECT has_table_privilege('passes_{schema}', t, 'SELECT WITH GRANT OPTION'),
                has_table_privilege('passes_{schema}', t, 'INSERT WITH GRANT OPTION'),
                has_column_privilege('counts_{schema}', t, 'stream_id', 'REFERENCES'),
                has_column_privilege('counts_{schema}', t, 'operation', 'REFERENCES'),
                has_table_privilege('counts_{schema}', t, 'REFERENCES') FROM (VALUES ('{schema}.{table}')) AS x(t)"""),
                [("t", "f", "t", "f", "f")])
        server = self.start(schema, user=f"old_{schema}")
        self.assertEqual(pipeline.journal(server.url), before)
        status, _, body = Batch(large[25:], "0/2000").send(server)
        self.assertEqual(status, 200, body)
        for name in ("orders", "p2"):
            lines = transaction(902, "0/3000", 40)
            self.assertEqual(Batch(lines, "0/3000", pipeline=name).send(server, pipeline=name)[0], 200)
            self.assertEqual(Batch(lines, "0/3000", pipeline=name).send(server, pipeline=name)[1]["Idempotency-Replayed"], "true")
        self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)],
                         transaction(900, "0/1000", 30) + large + transaction(902, "0/3000", 40))
        self.assertEqual(len(pipeline.journal(server.url, "p2")), 7 + 40 + 2)
        counts = dict(postgres.query(f"SELECT tableoid::regclass::text, count(*) FROM {schema}.dpone_event GROUP BY 1"))
        self.assertEqual({name.split(".")[-1]: int(count) for name, count in counts.items()},
                         {"dpone_event_before": 30 + 60 + 40 + 7, "dpone_event_2_1": 40})  # the staged one went on there
        self.check_retirement(schema, server)

    def check_retirement(self, schema, server):
        """Retention drops the old table when no stream needs it any more, one that was inside a transaction included."""
        def prune(name, to):
            subprocess.run([os.environ["DPONE_BINARY"], "state", "prune", "--state", state_dsn(schema, user=f"old_{schema}"),
                            "--pipeline", name, "--to", to], check=True, stdout=subprocess.DEVNULL, timeout=60)
            return postgres.query_value(f"SELECT to_regclass('{schema}.dpone_event_before') IS NULL")

        body = json.dumps({"token": "0/4000", "snapshot_complete": True})
        for name in ("orders", "p2"):
            path = f"/v1/pipelines/{name}/offsets/postgres_logical/*/*"
            self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        self.assertEqual(prune("orders", "0/2000"), "f")  # as many rows of its transaction 902 are still there
        self.assertEqual(prune("p2", "0/3000"), "f")
        for name in ("orders", "p2"):
            lines = transaction(903, "0/4000", 20)
            self.assertEqual(Batch(lines, "0/4000", pipeline=name).send(server, pipeline=name)[2]["accepted"], 20)
        self.assertEqual(prune("orders", "0/3000"), "t")
        for name in ("orders", "p2"):
            self.assertEqual([json.loads(line) for line in pipeline.journal(server.url, name)], lines)
            new = transaction(904, "0/5000", 5)
            self.assertEqual(Batch(new, "0/5000", pipeline=name).send(server, pipeline=name)[2]["accepted"], 5)
            self.assertEqual(Batch(lines, "0/4000", pipeline=name).send(server, "other", pipeline=name)[2]["duplicates"], 20)
        done = subprocess.run([os.environ["DPONE_BINARY"], "state", "status", "--check", "--state", state_dsn(schema)], capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_another_history_is_refused(self):
        schema = new_schema()
        self.start(schema)
        postgres.psql(f"UPDATE {schema}.dpone_migration SET checksum = repeat('0', 64) WHERE version = 1")
        with self.assertRaisesRegex(RuntimeError, "is not the one this program has"):
            DponeServer(state=state_dsn(schema)).start()

    def test_no_password_is_ever_printed(self):
        for dsn in ("postgresql://u:se%cret@127.0.0.1:1/x", "postgresql://u:secret/y@127.0.0.1:1/x",
                    "postgresql://u:secret@127.0.0.1:1/x"):
            with self.assertRaises(RuntimeError) as raised:
                DponeServer(state=dsn).start()
            self.assertNotIn("secret", str(raised.exception))
            self.assertNotIn("se%cret", str(raised.exception))


class CopyTest(unittest.TestCase):
    def copy(self, source, target, code=0):
        done = subprocess.run([os.environ["DPONE_BINARY"], "state", "copy", "--from", source, "--to", target],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout.decode(), done.stderr.decode()

    def fill(self, server):
        """Two pipelines, more than one page of transactions, an odd mix of values, an offset and its audit."""
        for name in ("orders", "p2"):
            lines = []
            for number in range(1, 1300):
                lines += transaction(900 + number, f"0/{number * 0x1000:X}", 2)
            lines += transaction(5000, "0/F000000", 40, before={"id": 1, "note": "caf\u00e9 \u2028 \\"}, metadata={"a": [1, None]},
                                 unchanged=["blob"], operation="update", sequence=3)
            self.answered = Batch(lines, "0/F000000", pipeline=name)
            self.assertEqual(self.answered.send(server, pipeline=name)[0], 200)
            lines = transaction(5001, "0/F100000", 6)
            self.assertEqual(Batch(lines[:3], pipeline=name).send(server, pipeline=name)[0], 200)
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
        for token, more in (("0/5000", {}), ("0/4000", {"allow_rewind": True, "who": "me", "why": "a test"})):
            body = json.dumps({"token": token, "snapshot_complete": True, **more})
            self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)

    def test_there_and_back_again(self):
        with DponeServer(state="sqlite:first.db") as first:
            self.fill(first)
            journals = [pipeline.journal(first.url, name) for name in ("orders", "p2")]
            kept = first.json("GET", "/v1/pipelines/orders/offsets/postgres_logical/*/*")[2]
            self.assertLess(kept["loaded_at"], kept["updated_at"])
            first.stop()
            database = state_dsn(new_schema())
            there, _ = self.copy(f"sqlite:{first.directory}/first.db", database)
            self.assertIn("events 5276\nstaged 6\nreceipts 4\n", there)
            back, _ = self.copy(database, f"sqlite:{first.directory}/second.db")
            self.assertEqual(there, back)
            self.check_soundness(there.split()[-1], f"sqlite:{first.directory}/first.db", database, f"sqlite:{first.directory}/second.db")
            for state in (database, "sqlite:second.db"):
                server = DponeServer(state=state, directory=first.directory)
                server.start()
                self.addCleanup(server.stop)
                self.assertEqual([pipeline.journal(server.url, name) for name in ("orders", "p2")], journals)
                _, _, row = server.json("GET", "/v1/pipelines/orders/offsets/postgres_logical/*/*")
                self.assertEqual((row["token"], row["loaded_at"], row["updated_at"]), ("0/4000", kept["loaded_at"], kept["updated_at"]))
                self.assertEqual(self.answered.send(server, pipeline="p2")[1]["Idempotency-Replayed"], "true")
                lines = transaction(5001, "0/F100000", 6)
                self.assertEqual(Batch(lines[:3]).send(server)[1]["Idempotency-Replayed"], "true")
                reply = Batch(lines[3:], "0/F100000").send(server)  # the rest of what was under way
                self.assertEqual((reply[0], reply[2]["accepted"], reply[2]["load_status"]), (200, 3, "committed"), reply[2])
                reply = Batch(lines, "0/F100000", pipeline="p2").send(server, pipeline="p2")  # or all of it again
                self.assertEqual((reply[0], reply[2]["accepted"]), (200, 6), reply[2])
                for name in ("orders", "p2"):
                    self.assertEqual([json.loads(line) for line in pipeline.journal(server.url, name)[-7:]], lines)
                reply = Batch(transaction(901, "0/1000", 2), "0/1000").send(server)
                self.assertEqual((reply[0], reply[2]["duplicates"]), (200, 2), reply[2])
                server.stop()
            _, message = self.copy(f"sqlite:{first.directory}/first.db", database, code=1)
            self.assertIn("holds streams", message)

    def check(self, state):
        done = subprocess.run([os.environ["DPONE_BINARY"], "state", "status", "--check", "--state", state], capture_output=True, timeout=120)
        return done.returncode, (done.stdout + done.stderr).decode().splitlines()[-1]

    def check_soundness(self, digest, *states):
        """`state status --check` reads all of it on either driver, and says the same of what says the same."""
        for state in states:
            self.assertEqual(self.check(state), (0, f"sound {digest}"))
        schema = states[1].split("=")[-1]
        for damage, repair, complaint in (
                ("UPDATE {}.dpone_stream SET event_count = event_count + 1 WHERE stream_id = 2",
                 "UPDATE {}.dpone_stream SET event_count = event_count - 1 WHERE stream_id = 2", "its counts are not"),
                ("UPDATE {}.dpone_stream SET pruned_position = high_position WHERE stream_id = 2",
                 "UPDATE {}.dpone_stream SET pruned_position = NULL WHERE stream_id = 2", "its pruned watermark"),
                ("CREATE TABLE {0}.kept AS SELECT * FROM {0}.dpone_event WHERE stream_id = 2 AND event_number = 5; "
                 "DELETE FROM {0}.dpone_event WHERE stream_id = 2 AND event_number = 5",
                 "INSERT INTO {0}.dpone_event SELECT * FROM {0}.kept", "events of a stored transaction are missing")):
            postgres.psql(damage.format(schema))
            code, line = self.check(states[1])
            self.assertEqual(code, 4, line)
            self.assertIn(complaint, line)
            postgres.psql(repair.format(schema))
        self.assertEqual(self.check(states[1]), (0, f"sound {digest}"))

    def test_a_source_that_is_written_to_meanwhile_is_warned_of(self):
        source, target = new_schema(), new_schema()
        with DponeServer(state=state_dsn(source)) as server:
            self.assertEqual(Batch(transaction(900, "0/1000", 3), "0/1000").send(server)[0], 200)
        subprocess.run([os.environ["DPONE_BINARY"], "state", "migrate", "--state", state_dsn(target)], check=True, stdout=subprocess.DEVNULL)
        postgres.psql(f"""CREATE FUNCTION {target}.write() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE {source}.dpone_stream SET updated_at_us = updated_at_us + 1; RETURN NULL; END $$;
            CREATE TRIGGER write AFTER INSERT ON {target}.dpone_transaction EXECUTE FUNCTION {target}.write()""")
        _, message = self.copy(state_dsn(source), state_dsn(target))
        self.assertIn("warning: --from was written to meanwhile", message)
        _, message = self.copy(state_dsn(source), state_dsn(new_schema()))
        self.assertEqual(message, "")
        _, message = self.copy(state_dsn(source), "", code=2)
        self.assertIn("--to: empty", message)

    def test_a_copy_that_fails_leaves_nothing(self):
        with DponeServer(state="sqlite:first.db") as first:
            self.fill(first)
            first.stop()
            schema = new_schema()
            DponeServer(state=state_dsn(schema)).__enter__().stop()
            postgres.psql(f"""CREATE FUNCTION {schema}.alter_it() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF NEW.event_number = 77 THEN NEW.data = '{{}}'; END IF; RETURN NEW; END $$;
                CREATE TRIGGER alter_it BEFORE INSERT ON {schema}.dpone_event FOR EACH ROW EXECUTE FUNCTION {schema}.alter_it()""")
            _, message = self.copy(f"sqlite:{first.directory}/first.db", state_dsn(schema), code=4)
            self.assertIn("is not what was read", message)
            self.assertEqual(postgres.query_value(f"SELECT count(*) FROM {schema}.dpone_event"), "0")
            self.assertEqual(postgres.query_value(f"SELECT count(*) FROM {schema}.dpone_stream"), "0")


class Sender:
    """Sends the batches of one stream in order to any of several servers, again and again until each is accepted."""

    def __init__(self, servers, name, seed):
        self.servers = servers
        self.name = name
        self.random = random.Random(seed)
        self.lines = []
        self.replies = []

    def deliver(self, lines, next_offset=None, seconds=60):
        batch = Batch(lines, next_offset, pipeline=self.name)
        give_up = time.monotonic() + seconds
        while True:
            try:
                status, headers, body = batch.send(self.random.choice(self.servers), pipeline=self.name)
            except (OSError, ValueError, AttributeError) as failure:
                status, headers, body = 0, {}, repr(failure)
            self.replies.append(status)
            if status == 200:
                self.lines += lines
                return body
            if status not in (0, 503) and not (status == 409 and body["code"] == "request_in_flight"):
                raise AssertionError(f"{self.name}: {status} {body}")
            if time.monotonic() > give_up:
                raise AssertionError(f"{self.name}: not accepted in time: {status} {body}")
            time.sleep(0.05)


class Nginx(DponeServer):
    """nginx in front of several servers; only what a sender needs of a server."""

    def __init__(self, ports):
        super().__init__()
        self._ports = ports

    def start(self):
        self.port = self._reserved.number
        path = os.path.join(self.directory, "nginx.conf")
        upstream = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;" for port in self._ports)
        folders = "".join(f"{name}_temp_path {self.directory}/{name};" for name in
                          ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(path, "w", encoding="ascii") as file:
            file.write(f"""daemon off; worker_processes 1; pid {self.directory}/nginx.pid; error_log {self.directory}/error.log;
                {"user root;" if os.geteuid() == 0 else ""} events {{ }}
                http {{ access_log off; {folders} upstream dpone {{ {upstream} keepalive 8; }}
                server {{ listen 127.0.0.1:{self.port}; client_max_body_size 16m; location / {{
                    proxy_pass http://dpone; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_set_header Host $host; proxy_next_upstream error timeout non_idempotent; }} }} }}""")
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen([program, "-c", path, "-p", self.directory], stdout=subprocess.PIPE, stderr=self._log)
        self.wait_until_healthy()


def start_servers(test, count, dsn):
    servers = [DponeServer(state=dsn) for _ in range(count)]
    for server in servers:
        server.start()
        test.addCleanup(server.stop)
    return servers


class SeveralServersTest(unittest.TestCase):
    def run_streams(self, servers, schema, stream_count, transaction_count, meanwhile, through=None):
        """Transactions of several streams, some of them in parts sent to different servers; all must be stored once."""
        senders = [Sender(through or servers, f"p{index}", index) for index in range(stream_count)]
        failures = []

        def run(sender):
            try:
                for number in range(1, transaction_count + 1):
                    end = f"0/{number * 0x1000:X}"
                    lines = transaction(900 + number, end, sender.random.randint(1, 40), first_id=number * 1000)
                    if sender.random.random() < 0.3 and len(lines) > 2:
                        cut = sender.random.randint(1, len(lines) - 1)
                        sender.deliver(lines[:cut])
                        lines = lines[cut:]
                    sender.deliver(lines, end)
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=run, args=(sender,)) for sender in senders]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            meanwhile()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        for sender in senders:
            for server in servers:
                if server.process is not None and server.process.poll() is None:
                    lines = [json.loads(line) for line in pipeline.journal(server.url, sender.name)]
                    self.assertEqual(lines, sender.lines)
                    break
        self.assertEqual(postgres.query_value(f"SELECT count(*) FROM {schema}.dpone_event"),
                         str(sum(len(expected(sender.lines)) for sender in senders)))
        return senders

    def report(self, senders, kills):
        if not LONG:
            return
        replies = [status for sender in senders for status in sender.replies]
        print(f"{self.id().split('.')[-1]}: {next(kills)} kills, {replies.count(200)} batches acknowledged, "
              f"{replies.count(503)} answered 503, {replies.count(409)} 409, {replies.count(0)} without an answer, "
              f"{sum(len(expected(sender.lines)) for sender in senders)} events stored once", file=sys.stderr)

    def test_clients_switch_between_servers(self):
        schema = new_schema()
        servers = start_servers(self, 3, state_dsn(schema))
        self.run_streams(servers, schema, 4, 15, lambda: time.sleep(0.05))

    def test_servers_behind_nginx_are_killed_at_random(self):
        """As docs/state-postgres.md has it: nginx repeats a request on the next server."""
        schema = new_schema()
        servers = start_servers(self, 3, state_dsn(schema))
        chance = random.Random(11)
        kills = itertools.count()
        with Nginx([server.port for server in servers]) as nginx:
            def kill_one():
                time.sleep(chance.random() * 0.3)
                next(kills)
                victim = chance.choice(servers)
                victim.stop(9)
                victim.start()

            senders = self.run_streams(servers, schema, *((4, 300) if LONG else (2, 20)), kill_one, through=[nginx])
            self.assertTrue(all(sender.lines for sender in senders))
            self.report(senders, kills)

    def test_servers_are_killed_at_random(self):
        schema = new_schema()
        servers = start_servers(self, 3, state_dsn(schema))
        chance = random.Random(7)
        kills = itertools.count()

        def kill_one():
            time.sleep(chance.random() * 0.3)
            next(kills)
            victim = chance.choice(servers)
            victim.stop(9)
            victim.start()

        self.report(self.run_streams(servers, schema, *((4, 300) if LONG else (3, 25)), kill_one), kills)

    def test_a_server_dies_at_its_worst_moments(self):
        schema = new_schema()
        other, = start_servers(self, 1, state_dsn(schema))
        for number, point in enumerate(("inside_transaction", "committed_unanswered"), 1):
            with DponeServer(state=state_dsn(schema), environment={"DPONE_CRASH_AT": point}) as victim:
                batch = Batch(transaction(900 + number, f"0/{number}000", 50), f"0/{number}000")
                with self.assertRaises(OSError):
                    batch.send(victim)
                victim.process.wait(20)
            status, headers, body = batch.send(other)
            self.assertEqual((status, body["accepted"]), (200, 50), body)
            self.assertEqual(headers["Idempotency-Replayed"], "true" if point == "committed_unanswered" else None)
        self.assertEqual(len(stored(schema)), 100)

    def test_the_same_batch_at_once_through_different_servers_is_stored_once(self):
        schema = new_schema()
        servers = start_servers(self, 3, state_dsn(schema))
        for number in range(1, 8):
            end = f"0/{number * 0x1000:X}"
            batch = Batch(transaction(900 + number, end, 200), end)
            replies = servers[0].concurrently(6, lambda index: batch.send(servers[index % 3]))
            for status, _, body in replies:
                self.assertTrue(status == 200 or body["code"] == "request_in_flight", body)
            accepted = {reply[2]["accepted"] for reply in replies if reply[0] == 200}
            self.assertEqual(accepted, {200})  # one stores it, the others repeat its receipt
        self.assertEqual(len(stored(schema)), 7 * 200)

    def test_batches_in_flight_to_two_servers_are_stored_in_the_senders_order(self):
        schema = new_schema()
        servers = start_servers(self, 2, state_dsn(schema))
        batches = test_batch_order.chain(12)
        give_up = time.monotonic() + test_batch_order.PATIENCE_S
        senders = [test_batch_order.Sender(give_up, servers[n % 2], batches[n], batches[n - 1] if n > 0 else None)
                   for n in reversed(range(12))]
        for sender in senders:
            sender.join(max(0, give_up - time.monotonic()))
        self.assertEqual([sender.answer and sender.answer[0] for sender in senders], [200] * 12)
        held = [json.loads(line) for line in pipeline.journal(servers[0].url)]
        self.assertEqual([line["end_position"] for line in held if line.get("type") == "commit"],
                         [f"0/{0x1000 * n:X}" for n in range(1, 13)])

    def test_a_run_with_batches_in_flight_outlives_the_death_of_one_of_two_servers(self):
        capture = pipeline.capture("main/pgoutput.csv")
        wanted = [json.loads(line) for line in pipeline.decode(capture)]
        schema = new_schema()
        servers = start_servers(self, 2, state_dsn(schema))
        with Nginx([server.port for server in servers]) as nginx:
            run = subprocess.Popen(pipeline.run_command(f"http://127.0.0.1:{nginx.port}", capture, "--until-end", "--batch-events", "3",
                                                        "--batches-in-flight", "4"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.addCleanup(run.stderr.close)
            self.addCleanup(run.wait)
            self.addCleanup(run.kill)
            victim = 0
            while run.poll() is None and victim < 2:
                before = len(pipeline.journal(servers[1 - victim % 2].url))
                servers[victim % 2].stop(9)
                while run.poll() is None and len(pipeline.journal(servers[1 - victim % 2].url)) <= before:
                    time.sleep(0.01)  # the other one goes on alone
                servers[victim % 2].start()
                victim += 1
            self.assertEqual(run.wait(120), 0, run.stderr.read())
        self.assertGreater(victim, 0)
        self.assertEqual([json.loads(line) for line in pipeline.journal(servers[0].url)], wanted)
        self.assertEqual(len(stored(schema)), sum("event_id" in line for line in wanted))

    def lock_streams(self, schema):
        """A session that holds the lock of every stream that is there."""
        holder = subprocess.Popen(postgres.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=postgres.environment())
        self.addCleanup(holder.communicate)
        holder.stdin.write(f"BEGIN; SELECT 'locked' FROM {schema}.dpone_stream FOR UPDATE;\n".encode())
        holder.stdin.flush()
        while b"locked" not in holder.stdout.readline():
            pass
        return holder

    def test_locked_streams_leave_the_other_writers_to_others(self):
        schema = new_schema()
        server = DponeServer(state=state_dsn(schema), environment={"SERVER_STATE_WRITERS": "6"})
        server.start()
        self.addCleanup(server.stop)
        senders = [Sender([server], f"p{index}", index) for index in range(6)]
        for sender in senders[:5]:
            sender.deliver(transaction(900, "0/1000", 3), "0/1000")
        holder = self.lock_streams(schema)
        threads = [threading.Thread(target=sender.deliver, args=(transaction(901, "0/2000", 3), "0/2000", 120)) for sender in senders[:5]]
        for thread in threads:
            thread.start()
        wait_until(lambda: postgres.query_value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "5",
                   "five writers that wait for their streams")
        senders[5].deliver(transaction(900, "0/1000", 3), "0/1000")
        holder.stdin.write(b"ROLLBACK;\n")
        holder.stdin.flush()
        for thread in threads:
            thread.join()
        self.assertEqual(len(stored(schema)), 5 * 6 + 3)

    @unittest.skipUnless(LONG, "takes a quarter of a minute")
    def test_waiting_for_a_writer_has_an_end(self):
        schema = new_schema()
        server = DponeServer(state=state_dsn(schema), environment={"SERVER_STATE_WRITERS": "1"})
        server.start()
        self.addCleanup(server.stop)
        self.assertEqual(Batch(transaction(900, "0/1000", 3), "0/1000").send(server)[0], 200)
        holder = self.lock_streams(schema)
        begun = time.monotonic()
        batches = [Batch(transaction(901 + n, f"0/{n + 2}000", 3), f"0/{n + 2}000") for n in range(7)]
        replies = server.concurrently(7, lambda n: batches[n].send(server))
        self.assertEqual({(status, body["code"]) for status, _, body in replies}, {(503, "store_busy")})
        self.assertTrue(all(int(headers["Retry-After"]) > 0 for _, headers, _ in replies))
        self.assertLess(time.monotonic() - begun, 28)  # one after the other they would take 35
        holder.stdin.write(b"ROLLBACK;\n")
        holder.stdin.flush()

    def test_an_offset_never_goes_back_through_another_server(self):
        schema = new_schema()
        servers = start_servers(self, 3, state_dsn(schema))
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"

        def put(index):
            body = json.dumps({"token": f"0/{index + 1:X}", "snapshot_complete": True})
            return servers[index % 3].json("PUT", path, {"Content-Type": "application/json"}, body)[0]

        for _ in range(5):
            statuses = servers[0].concurrently(24, put)
            self.assertTrue(set(statuses) <= {200, 409}, statuses)
            self.assertEqual(servers[0].json("GET", path)[2]["token"], "0/18")


class FaultTest(unittest.TestCase):
    def setUp(self):
        self.schema = new_schema()

    def check(self, sender):
        self.assertEqual(stored(self.schema), expected(sender.lines))

    def test_a_connection_cut_at_every_protocol_step(self):
        with CuttingProxy(postgres.port) as proxy:
            server, = start_servers(self, 1, proxy.dsn(query=f"?dpone_schema={self.schema}"))
            sender = Sender([server], "orders", 1)
            number = itertools.count(1)

            def deliver(count):
                end = f"0/{next(number) * 0x1000:X}"
                sender.deliver(transaction(900, end, count), end)

            def begin_partition():
                postgres.psql(f"UPDATE {self.schema}.dpone_stream SET next_event_number = (next_event_number / 1000000 + 1) * 1000000")

            def be_presumed():
                deliver(1)  # what comes next finds the stream as it was left

            for count, prepare in ((3, lambda: None), (3, be_presumed), (60, lambda: None), (60, begin_partition)):  # and DDL
                prepare()
                deliver(count)
                prepare()
                proxy.cut_at(10 ** 9, "before")
                deliver(count)
                steps = proxy.messages
                self.assertGreater(steps, 10)
                for mode in ("before", "after"):
                    for step in range(1, steps + 1):
                        prepare()
                        proxy.cut_at(step, mode)
                        deliver(count)
                        self.assertEqual(proxy.cuts, 1, (mode, step))
                        proxy.heal()
            self.check(sender)
            self.assertIn(503, sender.replies)

    def test_a_cut_during_commit_is_resolved_by_reading_back(self):
        """The answer to COMMIT never comes, yet the batch is acknowledged at once, without a repetition."""
        with CuttingProxy(postgres.port) as proxy:
            sender = Sender([], "orders", 1)
            number = itertools.count(1)

            def deliver():
                end = f"0/{next(number) * 0x1000:X}"
                sender.deliver(transaction(900, end, 3), end)

            for before, round_trips in ((1, 2), (2, 1)):  # the stream is locked first, or presumed
                for cut in (False, True):
                    sender.servers = start_servers(self, 1, proxy.dsn(query=f"?dpone_schema={self.schema}"))
                    for _ in range(before):
                        deliver()
                    proxy.cut_at(last if cut else 10 ** 9, "after")
                    deliver()
                    if not cut:
                        last = proxy.messages  # the Sync after COMMIT
                        self.assertEqual(proxy.types.count("S"), round_trips)
                    self.assertEqual((proxy.cuts, proxy.types[last - 1]), (1 if cut else 0, "S"))
                    proxy.heal()
                    deliver()
            self.assertEqual(set(sender.replies), {200})
            self.check(sender)

    def test_what_a_server_presumes_of_a_stream_is_checked(self):
        """A server that stored the last batches of a stream does not ask how it is, but is told when it is not so."""
        one, other = start_servers(self, 2, state_dsn(self.schema))
        sender = Sender([one], "orders", 1)
        number = itertools.count(1)

        def deliver(server, count=2):
            end = f"0/{next(number) * 0x1000:X}"
            sender.servers = [server]
            sender.deliver(transaction(900, end, count), end)

        def presume():
            for _ in range(3):
                deliver(one)

        presume()
        deliver(other)
        deliver(one)  # its numbers come after those of the other one
        presume()
        lines = transaction(901, f"0/{next(number) * 0x1000:X}", 4)
        sender.servers = [other]
        sender.deliver(lines[:2])
        sender.servers = [one]
        sender.deliver(lines[2:])  # continues what only the other one has seen
        presume()
        postgres.psql(f"UPDATE {self.schema}.dpone_stream SET next_event_number = 5000")  # by hand
        deliver(one)
        self.assertEqual(postgres.query_value(f"SELECT max(event_number) FROM {self.schema}.dpone_event"), "5001")
        presume()
        end = f"0/{next(number) * 0x1000:X}"
        batch = Batch(transaction(902, end, 3), end)
        status, _, receipt = batch.send(one)
        sender.lines += transaction(902, end, 3)
        for server in (one, other, one):
            self.assertEqual((batch.send(server)[0], batch.send(server)[2]), (status, receipt))
        self.assertEqual(Batch(transaction(903, end, 3), end).send(one, key=batch.batch_id)[2]["code"], "idempotency_key_reused")
        self.assertEqual(Batch(transaction(902, end, 3), end).send(one, key="other")[2]["duplicates"], 3)
        self.assertEqual(set(sender.replies), {200})
        self.check(sender)

    def test_the_database_stops_at_once_and_comes_back(self):
        """A server of its own that keeps what it commits."""
        with PostgresServer(fsync=True) as database:
            server = DponeServer(state=database.dsn())
            server.start()
            self.addCleanup(server.stop)
            sender = Sender([server], "orders", 1)
            running = threading.Event()

            def run():
                for number in range(1, 3000 if LONG else 400):
                    end = f"0/{number * 0x1000:X}"
                    sender.deliver(transaction(900 + number, end, 20), end)
                running.set()

            thread = threading.Thread(target=run)
            thread.start()
            for _ in range(20 if LONG else 3):
                time.sleep(0.3)
                database.restart("immediate")
            thread.join()
            self.assertTrue(running.is_set())
            lines = [json.loads(line) for line in pipeline.journal(server.url)]
            self.assertEqual(lines, sender.lines)

    def test_sessions_are_terminated_while_they_write(self):
        servers = start_servers(self, 2, state_dsn(self.schema))

        def terminate():
            time.sleep(0.05)
            postgres.query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                           "WHERE application_name = 'dpone' AND pid <> pg_backend_pid()")

        SeveralServersTest.run_streams(self, servers, self.schema, 3, 15, terminate)

    def test_a_serialization_failure_is_503_and_can_be_repeated(self):
        server, = start_servers(self, 1, state_dsn(self.schema))
        sender = Sender([server], "orders", 1)
        sender.deliver(transaction(900, "0/1000", 3), "0/1000")
        for code, reason in (("40001", "store_busy"), ("40P01", "store_busy"), ("55P03", "store_busy"), ("53200", "store_busy"),
                             ("57014", "store_busy"), ("25006", "store_unavailable"), ("57P01", "store_unavailable"),
                             ("53100", "store_full")):
            for table in ("dpone_event", "dpone_transaction", "dpone_receipt"):
                with self.subTest(code=code, table=table):
                    postgres.psql(f"""CREATE FUNCTION {self.schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
                        $$ BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{code}'; END $$;
                        CREATE TRIGGER refuse BEFORE INSERT ON {self.schema}.{table} EXECUTE FUNCTION {self.schema}.refuse()""")
                    try:
                        status, headers, body = Batch(transaction(901, "0/2000", 3), "0/2000").send(server)
                    finally:
                        postgres.psql(f"DROP TRIGGER refuse ON {self.schema}.{table}; DROP FUNCTION {self.schema}.refuse")
                    self.assertEqual((status, body["code"]), (503, reason), body)
                    self.assertGreater(int(headers["Retry-After"]), 0)
                    self.check(sender)
        sender.deliver(transaction(901, "0/2000", 3), "0/2000")
        self.check(sender)

    def test_a_database_that_is_away_is_503_and_not_ready(self):
        with CuttingProxy(postgres.port) as proxy:
            server, = start_servers(self, 1, proxy.dsn(query=f"?dpone_schema={self.schema}"))
            sender = Sender([server], "orders", 1)
            sender.deliver(transaction(900, "0/1000", 3), "0/1000")
            proxy.refusing = True
            proxy.cut_all()
            status, headers, body = Batch(transaction(901, "0/2000", 3), "0/2000").send(server)
            self.assertEqual((status, body["code"]), (503, "store_unavailable"), body)
            self.assertGreater(int(headers["Retry-After"]), 0)
            self.assertEqual(server.json("GET", "/ready")[0], 503)
            self.assertEqual(server.json("GET", "/health")[0], 200)
            proxy.refusing = False
            sender.deliver(transaction(901, "0/2000", 3), "0/2000")
            self.assertEqual(server.json("GET", "/ready")[0], 200)
            self.check(sender)


class FailoverTest(unittest.TestCase):
    def test_servers_follow_a_promotion_and_lose_nothing(self):
        with PostgresServer(fsync=True) as primary, primary.standby() as standby:
            primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.psql("SELECT pg_reload_conf()")
            while primary.query_value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1":
                time.sleep(0.05)
            dsn = (f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
                   "?target_session_attrs=read-write")
            servers = start_servers(self, 2, dsn)
            sender = Sender(servers, "orders", 3)
            half, stopped = threading.Event(), threading.Event()
            failures = []

            def run():
                try:
                    for number in range(1, 201):
                        end = f"0/{number * 0x1000:X}"
                        sender.deliver(transaction(900 + number, end, 20), end)
                        if number == 60:
                            half.set()
                        if number == 150:  # the rest is for the other one
                            stopped.wait(120)
                except Exception as failure:
                    failures.append(failure)
                half.set()

            thread = threading.Thread(target=run)
            thread.start()
            half.wait()
            primary.stop("immediate")
            stopped.set()
            wait_until(lambda: 503 in sender.replies or failures, "a batch that finds no primary")
            standby.psql("SELECT pg_promote()")
            thread.join()
            self.assertEqual(failures, [])
            lines = [json.loads(line) for line in pipeline.journal(servers[0].url)]
            self.assertEqual(lines, sender.lines)
            self.assertIn(503, sender.replies)

    def test_a_standby_is_read_but_never_written(self):
        with postgres.standby() as standby:
            schema = new_schema()
            server = DponeServer(state=state_dsn(schema))
            server.start()
            self.addCleanup(server.stop)
            self.assertEqual(Batch(transaction(900, "0/1000", 3), "0/1000").send(server)[0], 200)
            position = postgres.query_value("SELECT pg_current_wal_lsn()")
            while standby.query_value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") != "t":
                time.sleep(0.05)
            dsn = f"{standby.dsn()}?dpone_schema={schema}"
            done = subprocess.run([os.environ["DPONE_BINARY"], "state", "status", "--state", dsn], stdout=subprocess.PIPE, check=True)
            self.assertIn(b"1 transactions, 3 events", done.stdout)
            with self.assertRaisesRegex(RuntimeError, "standby or read-only"):
                DponeServer(state=dsn).start()


class RetentionTest(unittest.TestCase):
    def test_what_an_offset_has_passed_can_be_pruned_while_servers_write(self):
        schema = new_schema()
        servers = start_servers(self, 2, state_dsn(schema))
        sender = Sender(servers, "orders", 5)
        for number in range(1, 41):
            sender.deliver(transaction(900 + number, f"0/{number * 0x1000:X}", 25), f"0/{number * 0x1000:X}")
        prune = [os.environ["DPONE_BINARY"], "state", "prune", "--state", state_dsn(schema), "--pipeline", "orders", "--to", "0/1E000"]
        refused = subprocess.run(prune, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        body = json.dumps({"token": "0/28000", "snapshot_complete": True})
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
        self.assertEqual(servers[0].json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        done = subprocess.run(prune, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(stored(schema)), 10 * 25)
        self.assertEqual(postgres.query_value(f"SELECT count(*) FROM {schema}.dpone_event"), str(10 * 25))
        lines = transaction(901, "0/1000", 25) + transaction(902, "0/2000", 25)  # pruned: counts as seen
        reply = Batch(lines, "0/2000").send(servers[1])
        self.assertEqual((reply[0], reply[2]["duplicates"]), (200, 50))
        sender.deliver(transaction(941, "0/29000", 5), "0/29000")

    def fill_partitions(self, schema, server):
        """Five transactions; the third lies across the end of a partition, the fourth begins another one further on."""
        lines = []
        for number in range(1, 6):
            if number == 3:
                postgres.psql(f"UPDATE {schema}.dpone_stream SET next_event_number = 1999980")
            if number == 4:
                postgres.psql(f"UPDATE {schema}.dpone_stream SET next_event_number = 7000000")
            lines.append(transaction(900 + number, f"0/{number}000", 50))
            self.assertEqual(Batch(lines[-1], f"0/{number}000").send(server)[0], 200)
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
        body = json.dumps({"token": "0/5000", "snapshot_complete": True})
        self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        return lines

    def tables(self, schema):
        """How many events are in each partition."""
        rows = postgres.query(f"""SELECT c.relname, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s',
            c.oid::regclass), false, true, '')))[1]::text::int FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = '{schema}.dpone_event_streams'::regclass ORDER BY 1""")
        return {name.replace("dpone_event_1_", ""): int(count) for name, count in rows}

    def prune(self, schema, to):
        subprocess.run([os.environ["DPONE_BINARY"], "state", "prune", "--state", state_dsn(schema), "--pipeline", "orders",
                        "--to", to], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def test_by_bytes_where_numbers_have_gaps(self):
        """As after an upgrade: the last events are far below the number that comes next."""
        schema = new_schema()
        server, = start_servers(self, 1, state_dsn(schema))
        for number in range(1, 41):
            postgres.psql(f"UPDATE {schema}.dpone_stream SET next_event_number = next_event_number + 5000")
            lines = transaction(900 + number, f"0/{number}000", 50)
            for line in lines[:-1]:
                line["data"]["note"] = "x" * 500
            self.assertEqual(Batch(lines, f"0/{number}000").send(server)[0], 200)
        postgres.psql(f"UPDATE {schema}.dpone_stream SET next_event_number = 3000000")
        path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
        body = json.dumps({"token": "0/40000", "snapshot_complete": True})
        self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
        subprocess.run([os.environ["DPONE_BINARY"], "state", "prune", "--state", state_dsn(schema), "--pipeline", "orders",
                        "--keep-bytes", "500000"], check=True, stdout=subprocess.DEVNULL, timeout=60)
        left = int(postgres.query_value(f"SELECT sum(pg_column_size(e.*)) FROM {schema}.dpone_event e"))
        self.assertGreater(left, 350000)
        self.assertLess(left, 700000)

    def test_whole_partitions_are_dropped_and_the_rest_is_deleted(self):
        schema = new_schema()
        server, = start_servers(self, 1, state_dsn(schema))
        lines = self.fill_partitions(schema, server)
        self.assertEqual(self.tables(schema), {"0": 100, "1": 20, "2": 30, "7": 100})
        self.prune(schema, "0/1000")
        self.assertEqual(self.tables(schema), {"0": 50, "1": 20, "2": 30, "7": 100})
        self.prune(schema, "0/2000")
        self.assertEqual(self.tables(schema), {"1": 20, "2": 30, "7": 100})
        self.prune(schema, "0/3000")
        self.assertEqual(self.tables(schema), {"7": 100})
        self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], lines[3] + lines[4])
        self.prune(schema, "0/5000")
        self.assertEqual(self.tables(schema), {"7": 0})
        self.assertEqual(Batch(lines[0] + lines[1], "0/2000").send(server)[2]["duplicates"], 100)
        self.assertEqual(Batch(transaction(906, "0/6000", 50), "0/6000").send(server)[2]["accepted"], 50)
        self.assertEqual(self.tables(schema), {"7": 50})

    def test_a_prune_that_is_cut_at_any_step_is_finished_by_the_next(self):
        schema = new_schema()
        server, = start_servers(self, 1, state_dsn(schema))
        with CuttingProxy(postgres.port) as proxy:
            dsn = proxy.dsn(query=f"?dpone_schema={schema}")
            lines = self.fill_partitions(schema, server)
            prune = [os.environ["DPONE_BINARY"], "state", "prune", "--pipeline", "orders", "--pause-ms", "0", "--state"]
            postgres.psql(f"CREATE SCHEMA saved_{schema}; CREATE TABLE saved_{schema}.e AS TABLE {schema}.dpone_event; "
                          f"CREATE TABLE saved_{schema}.t AS TABLE {schema}.dpone_transaction; "
                          f"CREATE TABLE saved_{schema}.s AS TABLE {schema}.dpone_stream")
            step = 0
            while True:
                step += 1
                proxy.cut_at(step, "after")
                done = subprocess.run([*prune, dsn, "--to", "0/3000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                cut = proxy.cuts > 0
                proxy.heal()
                self.prune(schema, "0/3000")
                left = self.tables(schema)
                self.assertEqual({name: count for name, count in left.items() if count}, {"7": 100}, (step, done.stderr))
                self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], lines[3] + lines[4])
                if not cut:
                    self.assertEqual(done.returncode, 0, done.stderr)
                    break
                postgres.psql(f"""SELECT {schema}.dpone_event_add_partition(1, part) FROM unnest(ARRAY[0, 1, 2]) part;
                    INSERT INTO {schema}.dpone_event SELECT * FROM saved_{schema}.e WHERE event_number < 7000000;
                    INSERT INTO {schema}.dpone_transaction SELECT * FROM saved_{schema}.t WHERE first_number < 7000000;
                    UPDATE {schema}.dpone_stream d SET transaction_count = s.transaction_count, event_count = s.event_count,
                        pruned_position = s.pruned_position FROM saved_{schema}.s s WHERE s.stream_id = d.stream_id""")
            self.assertGreater(step, 30)

    def test_events_that_a_killed_prune_left_behind_are_gone_after_the_next(self):
        """Killed when the last transactions are deleted: no target of size or age leads to their events again."""
        schema = new_schema()
        server, = start_servers(self, 1, state_dsn(schema))
        lines = self.fill_partitions(schema, server)
        prune = [os.environ["DPONE_BINARY"], "state", "prune", "--state", state_dsn(schema), "--pipeline", "orders",
                 "--keep-events", "100"]
        killed = subprocess.run(prune, env=dict(os.environ, DPONE_CRASH_AT="prune_step_done"), stdout=subprocess.DEVNULL,
                                timeout=60)
        self.assertEqual(killed.returncode, -9)
        self.assertEqual(postgres.query_value(f"SELECT count(*) FROM {schema}.dpone_transaction"), "2")
        self.assertEqual(self.tables(schema), {"0": 100, "1": 20, "2": 30, "7": 100})
        subprocess.run([*prune, "--dry-run"], check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.assertEqual(self.tables(schema), {"0": 100, "1": 20, "2": 30, "7": 100})
        subprocess.run(prune, check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.assertEqual(self.tables(schema), {"7": 100})
        self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], lines[3] + lines[4])

    def test_more_partitions_than_a_transaction_can_lock_are_used_and_dropped(self):
        with PostgresServer(settings=FEW_LOCKS) as few:
            server = DponeServer(state=few.dsn())
            server.start()
            self.addCleanup(server.stop)
            lines = transaction(901, "0/1000", 50)
            self.assertEqual(Batch(lines, "0/1000").send(server)[0], 200)
            for part in range(1, 201, 20):
                few.psql(f"SELECT etl_state.dpone_event_add_partition(1, part) FROM generate_series({part}, {part} + 19) part")
            with self.assertRaisesRegex(Exception, "out of shared memory"):
                few.psql("SELECT count(*) FROM etl_state.dpone_event")
            few.psql("UPDATE etl_state.dpone_stream SET next_event_number = 399999980")
            lines += transaction(902, "0/2000", 50)
            self.assertEqual(Batch(lines, "0/2000").send(server)[2]["accepted"], 50)
            for _ in range(12):  # as often as would let PostgreSQL keep a plan
                self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], lines)
            body = json.dumps({"token": "0/2000", "snapshot_complete": True})
            path = "/v1/pipelines/orders/offsets/postgres_logical/*/*"
            self.assertEqual(server.json("PUT", path, {"Content-Type": "application/json"}, body)[0], 200)
            subprocess.run([os.environ["DPONE_BINARY"], "state", "prune", "--state", few.dsn(), "--pipeline", "orders",
                            "--to", "0/1000"], check=True, stdout=subprocess.DEVNULL, timeout=60)
            self.assertEqual(few.query_value("SELECT count(*) FROM pg_inherits "
                                             "WHERE inhparent = 'etl_state.dpone_event_streams'::regclass"), "2")
            self.assertEqual(few.query_value("SELECT count(*) FROM etl_state.dpone_event"), "50")

    def test_what_is_being_read_is_deleted_row_by_row_and_dropped_later(self):
        schema = new_schema()
        server, = start_servers(self, 1, state_dsn(schema))
        lines = self.fill_partitions(schema, server)
        reader = subprocess.Popen(postgres.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=postgres.environment())
        reader.stdin.write(f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM {schema}.dpone_event;\n".encode())
        reader.stdin.flush()
        while b"250" not in reader.stdout.readline():
            pass
        self.prune(schema, "0/3000")
        self.assertEqual(self.tables(schema), {"0": 0, "1": 0, "2": 0, "7": 100})
        out, _ = reader.communicate(f"SELECT count(*) FROM {schema}.dpone_event;\n".encode(), timeout=60)
        self.assertIn(b"250", out)
        self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], lines[3] + lines[4])
        self.prune(schema, "0/4000")
        self.assertEqual(self.tables(schema), {"7": 50})


if __name__ == "__main__":
    unittest.main()
