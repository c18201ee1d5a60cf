"""What PostgreSQL 15 does not have yet, on real servers of later versions: reading from a standby (16), failover slots (17),
published generated columns and idle timeouts of slots (18). Skipped where the server is older; `make
test-postgres-versions` runs it on every version."""
import json
import os
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import live  # noqa: E402
from support.dpone import BINARY as DPONE  # noqa: E402
from support.pipeline import lsn  # noqa: E402
from support.postgres import PostgresServer, since  # noqa: E402
from test_live_source import NOW, wait_for  # noqa: E402


class VersionTest(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.pg = PostgresServer(settings=self.settings)
        self.addCleanup(self.pg.cleanup)
        self.journal = live.Journal()
        self.addCleanup(self.journal.cleanup)
        self.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")

    def run_once(self, pg, *options, name="s"):
        return live.run(pg, self.journal.url, name, name, *NOW, *options)

    def assert_runs(self, pg, *options, name="s"):
        code, summary, errors = self.run_once(pg, *options, name=name)
        self.assertEqual(code, 0, errors)
        return summary

    def assert_blocked(self, code, word, pg, *options, name="s"):
        exit_code, _, errors = self.run_once(pg, *options, name=name)
        self.assertEqual(exit_code, 1, errors)
        self.assertIn(code, errors)
        self.assertIn(word, errors)

    def doctor(self, pg, *words):
        done = subprocess.run([DPONE, "cdc", "doctor", "--format", "json", "--source", pg.dsn(), *words], capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return {finding["code"]: finding for finding in json.loads(done.stdout)["findings"]}

    def ids(self, name="s"):
        return [int(change[4]["id"]) for _, _, changes in live.journal(self.journal.url, name) for change in changes]

    def timeline(self, name="s"):
        with urllib.request.urlopen(f"{self.journal.url}/v1/pipelines/{name}", timeout=60) as reply:
            return json.load(reply)["streams"][0]["settings"]["timeline"]


class IdentityTest(VersionTest):
    @since(15, "column lists")
    def test_doctor_finds_a_column_list_that_leaves_out_the_replica_identity(self):
        self.pg.psql("CREATE TABLE listed (id int PRIMARY KEY, v text, w text); ALTER TABLE listed REPLICA IDENTITY FULL;"
                     "CREATE PUBLICATION listing FOR TABLE listed (id, v); INSERT INTO listed VALUES (1)")
        with self.assertRaisesRegex(Exception, "cannot update table"):
            self.pg.psql("UPDATE listed SET v = 'x'")
        finding = self.doctor(self.pg, "--publication", "listing")["source.replica_identity_unpublished"]
        self.assertEqual(finding["severity"], "error")
        self.assertRegex(finding["message"], r"public\.listed.*: w$")
        self.pg.psql("ALTER TABLE listed REPLICA IDENTITY DEFAULT; UPDATE listed SET v = 'x'")
        self.assertNotIn("source.replica_identity_unpublished", self.doctor(self.pg, "--publication", "listing"))
        self.assertNotIn("source.replica_identity_unpublished", self.doctor(self.pg, "--publication", "dpone"))

    @since(18, "published generated columns")
    def test_generated_columns_are_read_when_they_are_published(self):
        self.pg.psql("CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);"
                     "ALTER TABLE made REPLICA IDENTITY FULL; CREATE PUBLICATION making FOR TABLE made;"
                     "SELECT pg_create_logical_replication_slot('s', 'pgoutput'); INSERT INTO made VALUES (1)")
        with self.assertRaisesRegex(Exception, "cannot update table"):
            self.pg.psql("UPDATE made SET id = 2")
        finding = self.doctor(self.pg, "--publication", "making")["source.replica_identity_unpublished"]
        self.assertRegex(finding["message"], r"public\.made.*: twice$")
        words = ("--publication", "making")
        self.assert_runs(self.pg, *words)
        self.pg.psql(finding["fix"])
        self.assertNotIn("source.replica_identity_unpublished", self.doctor(self.pg, *words))
        self.pg.psql("UPDATE made SET id = 3")
        self.assert_blocked("source.publication_options_changed", "hint", self.pg, *words)
        self.assert_runs(self.pg, *words, "--accept-source-change")
        data = [change[4] for _, _, changes in live.journal(self.journal.url, "s") for change in changes]
        self.assertEqual(data, [{"id": "1"}, {"id": "3", "twice": "6"}])


@since(18, "idle timeouts of slots")
class IdleTimeoutTest(VersionTest):
    settings = {"idle_replication_slot_timeout": "1s"}

    def test_a_slot_that_nobody_reads_is_given_up(self):
        self.pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput'); INSERT INTO t VALUES (1)")
        self.assert_runs(self.pg)
        self.assertIn("idle_replication_slot_timeout", self.doctor(self.pg, "--slot", "s")["source.slot_at_risk"]["fix"])

        def is_given_up():
            self.pg.psql("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t; CHECKPOINT")
            return self.pg.query_value("SELECT invalidation_reason FROM pg_replication_slots WHERE slot_name = 's'") == "idle_timeout"

        wait_for("the timeout", is_given_up)
        for transport in ("replication", "sql"):
            self.assert_blocked("source.slot_invalidated", "idle_timeout", self.pg, "--transport", transport)
        findings = self.doctor(self.pg, "--slot", "s")
        self.assertIn("source.slot_invalidated", findings)
        self.assertNotIn("source.slot_at_risk", findings)

    def test_a_slot_that_is_read_is_kept_however_quiet_it_is(self):
        self.pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        follower = live.Follower(self.pg, self.journal.url, "s", "s", *NOW)
        self.addCleanup(follower.stop)
        wait_for("the reader", lambda: self.pg.query("SELECT pid FROM pg_stat_replication"))
        until = time.monotonic() + 4
        while time.monotonic() < until:
            self.pg.psql("CHECKPOINT")
            time.sleep(0.5)
        self.pg.psql("INSERT INTO t VALUES (1)")
        wait_for("the row", lambda: self.ids() == [1])
        self.assertNotIn("source.slot_at_risk", self.doctor(self.pg, "--slot", "s"))
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())


class StandbyTest(VersionTest):
    """A standby with a physical slot on its primary, so that neither takes log or rows from the other's readers."""

    def setUp(self):
        super().setUp()
        self.pg.psql("SELECT pg_create_physical_replication_slot('standby')")
        self.standby = self.pg.standby({"hot_standby_feedback": "on", "primary_slot_name": "standby", "wal_receiver_status_interval": "1s",
                                        **self.standby_settings})
        self.addCleanup(self.standby.cleanup)

    standby_settings = {}

    def catch_up(self):
        end = self.pg.query_value("SELECT pg_current_wal_flush_lsn()")
        wait_for("the standby", lambda: self.standby.query_value(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == "t")

    def promote(self):
        self.assertEqual(self.standby.query_value("SELECT pg_promote()"), "t")


@since(16, "logical decoding on a standby")
class DecodingStandbyTest(StandbyTest):
    def create_slot(self, name="s"):
        """It waits for the primary to log its running transactions."""
        creator = threading.Thread(target=self.standby.psql, args=(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')",))
        creator.start()
        while creator.is_alive():
            self.pg.psql("SELECT pg_log_standby_snapshot()")
            creator.join(0.1)

    def test_a_standby_is_read_by_either_transport(self):
        for transport in ("replication", "sql"):
            self.create_slot(transport)
        self.pg.psql("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
        self.catch_up()
        for transport in ("replication", "sql"):
            with self.subTest(transport=transport):
                self.assert_runs(self.standby, "--transport", transport, name=transport)
                self.assertEqual(self.ids(transport), [1, 2])
        self.assertIn("source.standby", self.doctor(self.standby, "--slot", "sql"))
        self.pg.psql("INSERT INTO t VALUES (3)")
        self.catch_up()
        for transport in ("replication", "sql"):
            self.assertEqual(self.assert_runs(self.standby, "--transport", transport, name=transport)["events"], 1)

    def test_a_standby_that_is_promoted_while_it_is_read_is_read_on(self):
        self.create_slot()
        follower = live.Follower(self.standby, self.journal.url, "s", "s", *NOW)
        self.addCleanup(follower.stop)
        self.pg.psql("INSERT INTO t VALUES (1)")
        wait_for("the first row", lambda: self.ids() == [1])
        self.catch_up()
        self.pg.stop()
        self.promote()
        self.standby.psql("INSERT INTO t VALUES (2)")
        wait_for("the second row", lambda: self.ids() == [1, 2])
        wait_for("the journal to know the timeline", lambda: self.timeline() == 2)
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())
        self.standby.psql("INSERT INTO t VALUES (3)")
        self.assert_runs(self.standby)
        self.assertEqual(self.ids(), [1, 2, 3])

    def test_a_slot_that_conflicts_with_recovery_is_told(self):
        self.create_slot()
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.catch_up()
        self.assert_runs(self.standby)
        self.pg._settings["wal_level"] = "replica"
        self.pg._write_settings()
        self.pg.restart()
        wait_for("the conflict", lambda: self.standby.query_value("SELECT conflicting FROM pg_replication_slots WHERE slot_name = 's'") == "t")
        self.assert_blocked("source.", "hint", self.standby)
        self.assertIn("source.slot_invalidated", self.doctor(self.standby, "--slot", "s"))


@since(17, "failover slots")
class FailoverSlotTest(StandbyTest):
    standby_settings = {"sync_replication_slots": "on"}

    def setUp(self):
        super().setUp()
        self.pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput', false, false, true)")

    def is_synced(self):
        return self.standby.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 's' AND synced AND NOT temporary")

    def test_a_failover_slot_is_read_on_where_it_was_copied_to(self):
        self.pg.psql("ALTER SYSTEM SET synchronized_standby_slots = 'standby'; SELECT pg_reload_conf()")
        follower = live.Follower(self.pg, self.journal.url, "s", "s", *NOW)
        self.addCleanup(follower.stop)
        for number in range(1, 4):
            self.pg.psql(f"INSERT INTO t VALUES ({number})")
        wait_for("the rows", lambda: self.ids() == [1, 2, 3])
        wait_for("the slot on the standby", self.is_synced)
        self.assert_blocked("source.slot_unusable", "until it is promoted", self.standby, name="s")
        follower.stop()
        self.pg.psql("INSERT INTO t VALUES (4)")  # the standby has it, no reader had
        self.catch_up()
        self.pg.stop()
        self.promote()
        self.standby.psql("INSERT INTO t VALUES (5)")
        self.assert_runs(self.standby)
        self.assertEqual(self.ids(), [1, 2, 3, 4, 5])
        self.assertEqual(self.timeline(), 2)

    def test_a_reader_that_runs_follows_the_failover(self):
        """By a DSN that names both servers and asks for the one that writes."""
        dsn = (f"postgresql://postgres@127.0.0.1:{self.pg.port},127.0.0.1:{self.standby.port}/postgres?target_session_attrs=read-write")
        pair = type("Pair", (), {"dsn": lambda _, over="tcp": dsn, "environment": self.pg.environment})()
        follower = live.Follower(pair, self.journal.url, "s", "s", *NOW)
        self.addCleanup(follower.stop)
        self.pg.psql("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
        wait_for("the rows", lambda: self.ids() == [1, 2])
        wait_for("the slot on the standby", self.is_synced)
        offset = lsn(self.pg.query_value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's'"))
        self.catch_up()
        self.pg.stop()
        self.promote()
        self.standby.psql("INSERT INTO t VALUES (3)")
        wait_for("the third row", lambda: self.ids() == [1, 2, 3])
        self.assertEqual(self.timeline(), 2)
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())
        self.assertGreater(live.journal(self.journal.url, "s")[-1][1], offset)


if __name__ == "__main__":
    unittest.main()
