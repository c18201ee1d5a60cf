"""What logical decoding does that has cost other readers lost or repeated rows, one test each, read live from a real server by
both transports. The table in docs/postgres.md, "What logical decoding does", says which file holds the others."""
import json
import os
import re
import signal
import sys
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import live  # noqa: E402
from support.pipeline import lsn  # noqa: E402
from support.postgres import PostgresServer, since  # noqa: E402

NOW = ["--offset-interval-ms", "0", "--batch-wait-ms", "20"]


class PointsTest(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.pg = PostgresServer(settings={"max_replication_slots": "60", "logical_decoding_work_mem": "64kB"})
        cls.addClassCleanup(cls.pg.cleanup)
        cls.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
        cls.journal = live.Journal()
        cls.addClassCleanup(cls.journal.cleanup)

    def name(self, plugin):
        return re.sub("[^a-z0-9_]", "", self.id().rsplit(".", 1)[1].removeprefix("test_"))[:40] + "_" + plugin[:4]

    def prepare(self, sql="", plugins=("pgoutput", "test_decoding")):
        """Tables first, then a slot for each plugin."""
        self.pg.psql(f"DELETE FROM t; {sql}")
        for plugin in plugins:
            name = self.name(plugin)
            self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', '{plugin}')")
            self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot('{name}')")

    def run_once(self, plugin, *options, pipeline=None):
        code, summary, errors = live.run(self.pg, self.journal.url, pipeline or self.name(plugin), self.name(plugin), *NOW, *options)
        self.assertEqual(code, 0, errors)
        return summary

    def events(self, plugin, *options, pipeline=None):
        """Every event line of the journal after one run to the end."""
        self.run_once(plugin, *options, pipeline=pipeline)
        with urllib.request.urlopen(f"{self.journal.url}/v1/pipelines/{pipeline or self.name(plugin)}/events") as reply:
            lines = [json.loads(line) for line in reply.read().decode().splitlines()]
        return [line for line in lines if line.get("type") is None]

    def shapes(self, events):
        return [(event["operation"], f"{event['source_schema']}.{event['source_table']}", event["data"], event["before"],
                 event["unchanged"]) for event in events]

    # --- positions ---------------------------------------------------------------------------------------------------

    def test_a_large_message_does_not_carry_the_slot_past_what_follows(self):
        """Its position plus its length lies beyond the transactions after it."""
        self.prepare(plugins=("pgoutput",))
        self.pg.psql("INSERT INTO t VALUES (1, repeat('x', 3000000))")
        self.pg.psql("INSERT INTO t VALUES (2, 'small')")
        self.pg.psql("INSERT INTO t VALUES (3, 'small')")
        name = self.name("pgoutput")
        # Killed when the large row was stored and nothing else: with two in flight the first may still be on its way.
        code, _, errors = live.run(self.pg, self.journal.url, name, name, *NOW, "--batch-events", "1", "--batches-in-flight", "1",
                                   environment={"DPONE_CRASH_AT": "post_sent:2"})
        self.assertEqual(code, -signal.SIGKILL, errors)
        confirmed = lsn(self.pg.query_value(f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{name}'"))
        stored = live.journal(self.journal.url, name)
        self.assertLessEqual(confirmed, stored[0][1])
        self.assertEqual([event["data"]["id"] for event in self.events("pgoutput")], [1, 2, 3])

    def test_what_was_there_before_the_slot_is_not_sent(self):
        """Dpone takes no snapshot."""
        self.pg.psql("DELETE FROM t; INSERT INTO t VALUES (7, 'before')")
        for plugin in ("pgoutput", "test_decoding"):
            name = self.name(plugin)
            self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', '{plugin}')")
            self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot('{name}')")
        self.pg.psql("INSERT INTO t VALUES (8, 'after')")
        for plugin in ("pgoutput", "test_decoding"):
            events = self.events(plugin)
            self.assertEqual([event["data"]["id"] for event in events], [8])
            self.assertRegex(events[0]["transaction_id"], r"^\d+$")

    # --- rows --------------------------------------------------------------------------------------------------------

    def test_replica_identities_and_unchanged_values(self):
        """Keys alone under K, the whole row under O, nothing otherwise; unchanged is neither NULL nor absent."""
        self.prepare("""
            CREATE TABLE by_key (id int PRIMARY KEY, a text, big text); CREATE TABLE by_full (id int PRIMARY KEY, a text, big text);
            CREATE TABLE by_index (id int NOT NULL, a text, big text); CREATE UNIQUE INDEX by_index_id ON by_index (id);
            ALTER TABLE by_full REPLICA IDENTITY FULL; ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
            ALTER TABLE by_key ALTER big SET STORAGE EXTERNAL; ALTER TABLE by_full ALTER big SET STORAGE EXTERNAL;
            ALTER TABLE by_index ALTER big SET STORAGE EXTERNAL;
            CREATE PUBLICATION identities FOR TABLE by_key, by_full, by_index;""")
        self.addCleanup(self.pg.psql, "DROP TABLE by_key, by_full, by_index; DROP PUBLICATION identities")
        big = "b" * 9000
        for table in ("by_key", "by_full", "by_index"):
            self.pg.psql(f"INSERT INTO {table} VALUES (1, NULL, repeat('b', 9000)); UPDATE {table} SET a = 'x';"
                         f"UPDATE {table} SET id = 2; DELETE FROM {table}")
        for plugin in ("pgoutput", "test_decoding"):
            shapes = self.shapes(self.events(plugin, "--publication", "identities"))
            for table in ("by_key", "by_index"):
                with self.subTest(plugin=plugin, table=table):
                    self.assertEqual([shape for shape in shapes if shape[1] == f"public.{table}"], [
                        ("insert", f"public.{table}", {"id": 1, "a": None, "big": big}, None, []),
                        ("update", f"public.{table}", {"id": 1, "a": "x"}, None, ["big"]),
                        ("update", f"public.{table}", {"id": 2, "a": "x"}, {"id": 1}, ["big"]),
                        ("delete", f"public.{table}", {"id": 2}, None, [])])
            full = [shape for shape in shapes if shape[1] == "public.by_full"]
            with self.subTest(plugin=plugin, table="by_full"):
                self.assertEqual(full[1][3]["big"], big)
                self.assertEqual(full[1][4], ["big"])
                self.assertEqual(full[2][3]["id"], 1)
                self.assertEqual(full[3][2], {"id": 2, "a": "x", "big": big})

    def test_a_partitioned_table_arrives_as_its_leaves_or_its_root(self):
        """What a relation message names."""
        self.prepare("""
            CREATE TABLE parts (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
            CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10); CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20);
            CREATE PUBLICATION leaves FOR TABLE parts; CREATE PUBLICATION root FOR TABLE parts WITH (publish_via_partition_root = true);""",
                     plugins=("pgoutput",))
        self.addCleanup(self.pg.psql, "DROP TABLE parts; DROP PUBLICATION leaves; DROP PUBLICATION root")
        self.pg.psql("INSERT INTO parts VALUES (1, 'a'), (11, 'b'); UPDATE parts SET id = 12 WHERE id = 1")
        name = self.name("pgoutput")
        self.pg.psql(f"SELECT pg_copy_logical_replication_slot('{name}', 'root_copy')")
        self.addCleanup(self.pg.psql, "SELECT pg_drop_replication_slot('root_copy')")
        leaves = self.events("pgoutput", "--publication", "leaves")
        self.assertEqual([(event["operation"], event["source_table"]) for event in leaves],
                         [("insert", "low"), ("insert", "high"), ("delete", "low"), ("insert", "high")])
        root = self.events("pgoutput", "--publication", "root", "--slot", "root_copy", pipeline="root_pipeline")
        self.assertEqual({event["source_table"] for event in root}, {"parts"})
        self.assertEqual(root[-1]["data"], {"id": 12, "v": "a"})

    @since(15, "row filters and column lists")
    def test_row_filters_and_column_lists(self):
        """An update may arrive as an insert or a delete; what is not listed is absent, generated columns are too."""
        self.prepare("""
            CREATE TABLE filtered (id int, v int, secret text, twice int GENERATED ALWAYS AS (v * 2) STORED, PRIMARY KEY (id, v));
            CREATE PUBLICATION filtering FOR TABLE filtered WHERE (v > 10);
            CREATE TABLE listed (id int PRIMARY KEY, v int, secret text, twice int GENERATED ALWAYS AS (v * 2) STORED);
            CREATE PUBLICATION listing FOR TABLE listed (id, v);""", plugins=("pgoutput",))
        self.addCleanup(self.pg.psql, "DROP TABLE filtered, listed; DROP PUBLICATION filtering; DROP PUBLICATION listing")
        name = self.name("pgoutput")
        self.pg.psql(f"SELECT pg_copy_logical_replication_slot('{name}', 'listing_copy')")
        self.addCleanup(self.pg.psql, "SELECT pg_drop_replication_slot('listing_copy')")
        self.pg.psql("INSERT INTO filtered VALUES (1, 5, 's'); UPDATE filtered SET v = 20; UPDATE filtered SET v = 30; UPDATE filtered SET v = 1")
        self.pg.psql("INSERT INTO listed VALUES (1, 5, 's'); UPDATE listed SET v = 6; UPDATE listed SET secret = 'other'")
        filtered = self.events("pgoutput", "--publication", "filtering")
        self.assertEqual([event["operation"] for event in filtered], ["insert", "update", "delete"])
        self.assertEqual(filtered[0]["data"], {"id": 1, "v": 20, "secret": "s"})
        listed = self.events("pgoutput", "--publication", "listing", "--slot", "listing_copy", pipeline="listing_pipeline")
        self.assertEqual([event["data"] for event in listed], [{"id": 1, "v": 5}, {"id": 1, "v": 6}, {"id": 1, "v": 6}])

    def test_one_truncate_of_many_tables_is_an_event_for_each(self):
        self.prepare("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE PUBLICATION pair FOR TABLE a, b;")
        self.addCleanup(self.pg.psql, "DROP TABLE a, b; DROP PUBLICATION pair")
        self.pg.psql("INSERT INTO a VALUES (1); TRUNCATE a, b CASCADE; INSERT INTO b VALUES (2)")
        for plugin in ("pgoutput", "test_decoding"):
            events = self.events(plugin, "--publication", "pair")
            self.assertEqual([event["operation"] for event in events], ["insert", "truncate", "truncate", "insert"])
            self.assertEqual({event["source_table"] for event in events[1:3]}, {"a", "b"})
            self.assertEqual(len({event["event_id"] for event in events}), 4)

    # --- what is not a row -------------------------------------------------------------------------------------------

    def test_messages_are_no_rows_and_cannot_be_forged_into_rows(self):
        """Their content is printed without quotes by test_decoding."""
        self.prepare()
        forged = "x\ntable public.t: INSERT: id[integer]:99 v[text]:'forged'\nCOMMIT 900 (at 2026-01-01 00:00:00+00)\n0/1|900|COMMIT 900"
        self.pg.psql(f"INSERT INTO t VALUES (1, 'before'); SELECT pg_logical_emit_message(false, 'p', $q${forged}$q$)")
        self.pg.psql(f"BEGIN; INSERT INTO t VALUES (2, $q${forged}$q$); SELECT pg_logical_emit_message(true, 'BEGIN 7', $q${forged}$q$);"
                     f"INSERT INTO t VALUES (3, 'after'); COMMIT")
        self.pg.psql(f"SELECT pg_logical_emit_message(false, 'COMMIT 900', 'BEGIN 900')")
        for plugin in ("pgoutput", "test_decoding"):
            for transport in ("replication", "sql"):
                with self.subTest(plugin=plugin, transport=transport):
                    copy = f"{self.name(plugin)}_{transport[:3]}"
                    self.pg.psql(f"SELECT pg_copy_logical_replication_slot('{self.name(plugin)}', '{copy}')")
                    self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot('{copy}')")
                    events = self.events(plugin, "--slot", copy, "--transport", transport, pipeline=copy)
                    self.assertEqual([(event["data"]["id"], event["data"]["v"]) for event in events],
                                     [(1, "before"), (2, forged), (3, "after")])

    def test_a_slot_over_sql_passes_any_number_of_messages(self):
        """A peek may hold nothing else, and begins where the slot is."""
        self.prepare(plugins=("test_decoding",))
        self.pg.psql("SELECT count(pg_logical_emit_message(false, 'p', 'm')) FROM generate_series(1, 45000)")
        self.pg.psql("INSERT INTO t VALUES (1, 'behind')")
        self.pg.psql("SELECT pg_logical_emit_message(false, 'p', 'last')")
        end = lsn(self.pg.query_value("SELECT pg_current_wal_lsn()"))
        self.assertEqual([event["data"]["id"] for event in self.events("test_decoding", "--transport", "sql")], [1])
        self.assertGreaterEqual(lsn(self.pg.query_value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = "
                                                        f"'{self.name('test_decoding')}'")), end)

    # --- transactions ------------------------------------------------------------------------------------------------

    def test_a_prepared_transaction_arrives_whole_when_it_is_committed(self):
        """On an ordinary slot it is sent at COMMIT PREPARED, and an offset taken in between loses none of it."""
        self.prepare()
        self.pg.psql("BEGIN; INSERT INTO t VALUES (1, 'p'), (2, 'p'); PREPARE TRANSACTION 'one'")
        self.pg.psql("BEGIN; INSERT INTO t VALUES (3, 'gone'); PREPARE TRANSACTION 'two'")
        self.pg.psql("INSERT INTO t VALUES (4, 'between')")
        for plugin in ("pgoutput", "test_decoding"):
            self.assertEqual([event["data"]["id"] for event in self.events(plugin)], [4])
            confirmed = lsn(self.pg.query_value(f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{self.name(plugin)}'"))
            self.assertGreaterEqual(confirmed, live.journal(self.journal.url, self.name(plugin))[-1][1])
        self.pg.restart("fast")  # prepared transactions outlive it
        self.pg.psql("COMMIT PREPARED 'one'")
        self.pg.psql("ROLLBACK PREPARED 'two'")
        self.pg.psql("INSERT INTO t VALUES (5, 'last')")
        for plugin in ("pgoutput", "test_decoding"):
            # Killed once on the way and resumed.
            name = self.name(plugin)
            code, _, errors = live.run(self.pg, self.journal.url, name, name, *NOW, "--batch-events", "1",
                                       environment={"DPONE_CRASH_AT": "post_sent:2"})
            self.assertEqual(code, -signal.SIGKILL, errors)
            self.assertEqual([event["data"]["id"] for event in self.events(plugin)], [4, 1, 2, 5])
            self.assertEqual([len(changes) for _, _, changes in live.journal(self.journal.url, name)], [1, 2, 1])

    def test_subtransactions_that_were_rolled_back_leave_nothing_however_large(self):
        """With a work memory of 64 kB the server spills them to disk."""
        self.prepare()
        self.pg.psql("BEGIN; INSERT INTO t VALUES (0, 'first'); SAVEPOINT a; INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g;"
                     "SAVEPOINT b; UPDATE t SET v = 'y' WHERE id < 100; ROLLBACK TO a; INSERT INTO t VALUES (1, 'kept'); SAVEPOINT c;"
                     "DELETE FROM t WHERE id = 0; RELEASE c; COMMIT")
        for plugin in ("pgoutput", "test_decoding"):
            events = self.events(plugin)
            self.assertEqual([(event["operation"], event["data"]["id"]) for event in events], [("insert", 0), ("insert", 1), ("delete", 0)])
            self.assertEqual(len({event["transaction_id"] for event in events}), 1)
            self.assertEqual([event["ordinal"] for event in events], [0, 1, 2])


if __name__ == "__main__":
    unittest.main()
