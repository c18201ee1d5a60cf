"""A live source: every blocker by its name, slots that are quiet, held by others or behind a slow sink, promotions, and the
text of every kind of value."""
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import live  # noqa: E402
from support import scripted_peer  # noqa: E402
from support.dpone import BINARY as DPONE  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.patience import wait_until  # noqa: E402
from support.pipeline import lsn  # noqa: E402
from support.postgres import PostgresError, PostgresServer, major_version, since  # noqa: E402

NOW = ["--offset-interval-ms", "0", "--batch-wait-ms", "20"]


def wait_for(what, condition, seconds=120):
    return wait_until(condition, what, seconds)


class SourceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pg = PostgresServer(settings={"max_replication_slots": "60", "wal_sender_timeout": "2s"})
        cls.addClassCleanup(cls.pg.cleanup)
        cls.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (v text); CREATE DATABASE elsewhere")
        cls.pg.psql("CREATE PUBLICATION dpone FOR TABLE t")
        cls.journal = live.Journal()
        cls.addClassCleanup(cls.journal.cleanup)
        cls.next_id = 0

    def insert(self, count=1):
        for _ in range(count):
            type(self).next_id += 1
            self.pg.psql(f"INSERT INTO t VALUES ({self.next_id}, 'x')")

    def slot(self, plugin="pgoutput"):
        """A new slot named after the test, and a pipeline of the same name."""
        name = re.sub("[^a-z0-9_]", "", self.id().rsplit(".", 1)[1].removeprefix("test_"))[:60]
        self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', '{plugin}')")
        self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}' AND NOT active")
        return name

    def run_once(self, name, *options, **more):
        return live.run(self.pg, self.journal.url, name, name, *NOW, *options, **more)

    def assert_blocked(self, code, name, *options, **more):
        exit_code, _, errors = self.run_once(name, *options, **more)
        self.assertEqual(exit_code, 1, errors)
        self.assertIn(code, errors)
        self.assertIn("hint: ", errors)

    def assert_runs(self, name, *options):
        code, summary, errors = self.run_once(name, *options)
        self.assertEqual(code, 0, errors)
        return summary

    def confirmed(self, name):
        return lsn(self.pg.query_value(f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{name}'"))

    def put_offset(self, name, token):
        request = urllib.request.Request(f"{self.journal.url}/v1/pipelines/{name}/offsets/postgres_logical/*/*", method="PUT",
                                         data=json.dumps({"token": token, "allow_rewind": True}).encode(),
                                         headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request).read()

    # --- blockers ----------------------------------------------------------------------------------------------------

    def test_a_missing_slot(self):
        self.assert_blocked("source.slot_missing", "no_such_slot")

    def test_a_slot_that_someone_else_moved_on(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        # A transaction that began before keeps the log at the offset in the slot.
        holder = subprocess.Popen(self.pg.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdin.write(b"BEGIN; INSERT INTO other VALUES ('held'); SELECT 1;\n")
        holder.stdin.flush()
        holder.stdout.readline()
        self.insert()
        self.pg.psql(f"SELECT pg_replication_slot_advance('{name}', pg_current_wal_lsn())")
        self.assert_blocked("source.slot_", name)
        holder.stdin.write(b"ROLLBACK;\n")
        holder.communicate()

    def test_a_slot_that_someone_else_reads_between_two_peeks(self):
        """Over SQL nobody holds the slot, and a peek begins where it is without a word."""
        name = self.slot()
        command = live.run_command(self.pg, self.journal.url, name, name, *NOW, "--transport", "sql")
        reader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(reader.stderr.close)
        self.addCleanup(reader.kill)
        self.insert()
        wait_for("the row", lambda: len(live.journal(self.journal.url, name)) == 1)
        deadline = time.monotonic() + 60
        while reader.poll() is None and time.monotonic() < deadline:
            type(self).next_id += 1
            self.pg.psql(f"INSERT INTO t VALUES ({self.next_id}, 'taken')")
            try:
                self.pg.psql(f"SELECT count(*) FROM pg_logical_slot_get_binary_changes('{name}', NULL, NULL, 'proto_version', '1', 'publication_names', 'dpone')")
            except PostgresError:
                pass  # the reader peeks at the moment
        self.assertEqual(reader.wait(10), 1)
        self.assertIn("source.slot_", reader.stderr.read())
        rows = [int(change[4]["id"]) for _, _, changes in live.journal(self.journal.url, name) for change in changes]
        self.assertEqual(rows, list(range(rows[0], rows[0] + len(rows))))  # perhaps not all, but none left out

    def test_a_slot_that_was_dropped_and_created_again(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        self.pg.psql(f"SELECT pg_drop_replication_slot('{name}')")
        self.insert()
        self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
        self.assert_blocked("source.slot_recreated", name)

    def test_a_server_that_lost_its_tail(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        self.put_offset(name, "F0/0")
        self.assert_blocked("source.offset_ahead_of_server", name)

    def test_a_slot_of_another_plugin(self):
        name = self.slot("test_decoding")
        self.assert_blocked("source.plugin_changed", name, "--plugin", "pgoutput")

    def test_a_slot_of_another_database(self):
        name = self.slot()
        done = subprocess.run([DPONE, "cdc", "run", "--pipeline", name, "--source", self.pg.dsn("elsewhere"), "--slot", name,
                               "--publication", "dpone", "--server", self.journal.url, "--until-end"], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("source.slot_unusable", done.stderr)

    def test_a_missing_publication(self):
        name = self.slot()
        self.assert_blocked("source.publication_missing", name, "--publication", "none")

    def test_a_publication_made_after_the_slot(self):
        """Refused by the server before 18, which since leaves the changes out with a mere warning."""
        name = self.slot()
        self.insert()
        self.pg.psql("CREATE PUBLICATION late FOR TABLE t")
        self.addCleanup(self.pg.psql, "DROP PUBLICATION late")
        for transport in ("replication", "sql"):
            self.assert_blocked("source.publication_missing", name, "--publication", "late", "--transport", transport)
        self.pg.psql("ALTER DATABASE postgres SET client_min_messages = 'error'")
        self.addCleanup(self.pg.psql, "ALTER DATABASE postgres RESET client_min_messages")
        self.assert_blocked("source.publication_missing", name, "--publication", "late")
        self.assertEqual(live.journal(self.journal.url, name), [])

    def test_a_publication_that_is_dropped_while_it_is_read(self):
        name = self.slot()
        self.pg.psql("CREATE PUBLICATION short FOR TABLE t")
        self.addCleanup(self.pg.psql, "DROP PUBLICATION IF EXISTS short")
        command = live.run_command(self.pg, self.journal.url, name, name, *NOW, "--publication", "short")
        reader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(reader.stderr.close)
        self.insert()
        wait_for("the row", lambda: len(live.journal(self.journal.url, name)) == 1)
        self.pg.psql("DROP PUBLICATION short")
        self.insert()
        end = lsn(self.pg.query_value("SELECT pg_current_wal_lsn()"))
        self.assertEqual(reader.wait(60), 1)
        self.assertIn("source.publication_missing", reader.stderr.read())
        self.pg.psql("CREATE PUBLICATION short FOR TABLE t")
        self.assert_blocked("source.publication_missing", name, "--publication", "short")
        self.assertLess(self.confirmed(name), end)

    def test_a_publication_with_other_options(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        self.pg.psql("ALTER PUBLICATION dpone SET (publish_via_partition_root = true)")
        self.addCleanup(self.pg.psql, "ALTER PUBLICATION dpone SET (publish_via_partition_root = false)")
        self.assert_blocked("source.publication_options_changed", name)
        self.assert_runs(name, "--accept-source-change")

    def test_a_table_that_joins_the_publication_brings_its_key(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        self.pg.psql("CREATE TABLE joins (id int PRIMARY KEY); ALTER PUBLICATION dpone ADD TABLE joins; INSERT INTO joins VALUES (1)")
        self.addCleanup(self.pg.psql, "ALTER PUBLICATION dpone DROP TABLE joins; DROP TABLE joins")
        self.assertEqual(self.assert_runs(name)["events"], 1)
        self.assert_blocked("source.unique_keys_changed", name, "--unique-key", "public.joins=id,id2")

    def test_a_table_keeps_the_key_it_was_first_asked_for(self):
        name = self.slot()
        self.pg.psql("CREATE TABLE rekeyed (a int PRIMARY KEY, b int NOT NULL); ALTER PUBLICATION dpone ADD TABLE rekeyed;"
                     "INSERT INTO rekeyed VALUES (1, 2)")
        self.addCleanup(self.pg.psql, "ALTER PUBLICATION dpone DROP TABLE rekeyed; DROP TABLE rekeyed")
        self.assert_runs(name)
        self.pg.psql("ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey, ADD PRIMARY KEY (b); INSERT INTO rekeyed VALUES (3, 4)")
        self.assertEqual(self.assert_runs(name)["events"], 1)

    def test_a_role_without_the_right(self):
        name = self.slot()
        self.pg.psql("CREATE ROLE nobody LOGIN")
        done = subprocess.run([DPONE, "cdc", "run", "--pipeline", name, "--source", self.pg.dsn(user="nobody"), "--slot", name,
                               "--publication", "dpone", "--server", self.journal.url, "--until-end"], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("source.privilege_missing", done.stderr)

    def test_another_cluster(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        with PostgresServer() as stranger:
            stranger.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
            stranger.psql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
            code, _, errors = live.run(stranger, self.journal.url, name, name)
        self.assertEqual(code, 1)
        self.assertIn("source.system_identifier_changed", errors)

    def test_no_password_is_shown(self):
        done = subprocess.run([DPONE, "cdc", "run", "--pipeline", "p", "--source",
                               f"postgresql://nouser:s3cret@127.0.0.1:{self.pg.port}/nodb", "--slot", "s", "--publication", "p"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertNotIn("s3cret", done.stdout + done.stderr)

    @since(14, "two-phase slots")
    def test_a_two_phase_slot_is_refused_whatever_its_plugin(self):
        for plugin in ("pgoutput", "test_decoding"):
            name = f"two_phase_{plugin}"
            self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', '{plugin}', false, true)")
            self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot('{name}')")
            self.assert_blocked("source.slot_two_phase", name)
            self.assertIn("source.slot_two_phase", self.doctor("--slot", name))

    # --- waiting -----------------------------------------------------------------------------------------------------

    def test_a_slot_in_use_is_waited_for_and_taken_over(self):
        name = self.slot()
        first = live.Follower(self.pg, self.journal.url, name, name, *NOW)
        wait_for("the first reader", lambda: self.pg.query_value(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{name}'") == "t")
        second = live.Follower(self.pg, self.journal.url, name, name, *NOW)
        wait_for("the second reader's word", lambda: "source.slot_in_use" in second.log())
        self.insert(3)
        wait_for("three rows", lambda: len(live.journal(self.journal.url, name)) == 3)
        first.stop()
        self.insert(2)
        wait_for("five rows", lambda: len(live.journal(self.journal.url, name)) == 5)
        second.stop()
        self.assertEqual(second.codes, [0], second.log())

    def test_a_sink_that_is_down_does_not_cost_the_connection(self):
        name = self.slot()
        follower = live.Follower(self.pg, self.journal.url, name, name, *NOW)
        self.insert()
        wait_for("the first row", lambda: len(live.journal(self.journal.url, name)) == 1)
        for rows in (3, 5, 7):  # a machine that stands still for longer than wal_sender_timeout costs it once
            pid = self.pg.query_value("SELECT pid FROM pg_stat_replication")
            self.journal.stop()
            self.insert(2)
            time.sleep(5)  # more than twice wal_sender_timeout
            pid_afterwards = self.pg.query("SELECT pid FROM pg_stat_replication")
            self.journal.start()
            wait_for("all rows", lambda: len(live.journal(self.journal.url, name)) == rows)
            if pid_afterwards == [(pid,)]:
                break
        self.assertEqual(pid_afterwards, [(pid,)], follower.log())
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())

    def test_an_offset_store_that_is_slow_does_not_cost_the_connection(self):
        name = self.slot()
        with Downstream() as downstream:
            downstream.offset_delay_s = 7  # more than three times wal_sender_timeout
            follower = live.Follower(self.pg, downstream.url, name, name, *NOW)
            for _ in range(3):  # a machine that stands still for longer than wal_sender_timeout costs it once
                pids = wait_for("the reader", lambda: self.pg.query("SELECT pid FROM pg_stat_replication"))
                self.insert()
                end = lsn(self.pg.query_value("SELECT pg_current_wal_lsn()"))
                wait_for("the offset", lambda: downstream.offset is not None and lsn(downstream.offset["token"]) >= end)
                wait_for("the slot", lambda: self.confirmed(name) >= end)
                pids_afterwards = self.pg.query("SELECT pid FROM pg_stat_replication")
                if pids_afterwards == pids:
                    break
            self.assertEqual(pids_afterwards, pids, follower.log())
            follower.stop()

    def test_a_quiet_slot_moves_on_while_others_write(self):
        name = self.slot()
        follower = live.Follower(self.pg, self.journal.url, name, name, *NOW)
        wait_for("the reader", lambda: self.pg.query("SELECT pid FROM pg_stat_replication"))
        ends = []
        for _ in range(3):
            self.pg.psql("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 3000); CHECKPOINT")
            ends.append(lsn(self.pg.query_value("SELECT pg_current_wal_lsn()")))
            wait_for("the slot to pass what others wrote", lambda: self.confirmed(name) >= ends[-1])
        # And the log before it is given up: what is retained is the last round's or so, however many there were.
        wait_for("the log to be given up", lambda: lsn(self.pg.query_value(
            f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{name}'")) >= ends[-2])
        follower.stop()
        self.assertEqual(live.journal(self.journal.url, name), [])

    def test_a_quiet_slot_over_sql_moves_on_too(self):
        name = self.slot()
        self.pg.psql("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        end = lsn(self.pg.query_value("SELECT pg_current_wal_lsn()"))
        self.assert_runs(name, "--transport", "sql")
        self.assertGreaterEqual(self.confirmed(name), end)

    def test_a_reader_ends_in_order_and_confirms_what_is_stored(self):
        name = self.slot()
        follower = live.Follower(self.pg, self.journal.url, name, name, "--offset-interval-ms", "3600000")
        self.insert(3)
        wait_for("three rows", lambda: len(live.journal(self.journal.url, name)) == 3)
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())
        self.assertGreaterEqual(self.confirmed(name), live.journal(self.journal.url, name)[-1][1])

    # --- doctor, setup, status ---------------------------------------------------------------------------------------

    def dpone(self, *words):
        done = subprocess.run([DPONE, *words, "--source", self.pg.dsn()], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def test_setup_may_run_again_and_doctor_finds_nothing_wrong(self):
        words = ["--slot", "made", "--publication", "made", "--table", "public.t"]
        self.addCleanup(self.pg.psql, "SELECT pg_drop_replication_slot('made'); DROP PUBLICATION made")
        for _ in range(2):
            code, out, errors = self.dpone("cdc", "setup", *words)
            self.assertEqual(code, 0, errors)
        code, out, errors = self.dpone("cdc", "doctor", "--format", "json", *words)
        self.assertEqual(code, 0, out + errors)
        self.assertEqual(json.loads(out)["errors"], 0)

    def test_doctor_names_what_mends_each_finding(self):
        self.pg.psql("CREATE TABLE keyless (v int); CREATE PUBLICATION partial FOR TABLE keyless WITH (publish = 'insert, update')")
        self.addCleanup(self.pg.psql, "DROP PUBLICATION partial; DROP TABLE keyless")
        code, out, _ = self.dpone("cdc", "doctor", "--format", "json", "--slot", "none", "--publication", "partial",
                                  "--table", "public.t")
        self.assertEqual(code, 1)
        findings = {finding["code"]: finding for finding in json.loads(out)["findings"]}
        for wanted in ("source.slot_missing", "source.publication_partial", "source.table_not_published",
                       "source.replica_identity_missing", "source.key_missing"):
            self.assertIn(wanted, findings)
            self.assertTrue(findings[wanted]["fix"])
        self.pg.psql(findings["source.publication_partial"]["fix"])
        self.pg.psql(findings["source.table_not_published"]["fix"])
        _, out, _ = self.dpone("cdc", "doctor", "--format", "json", "--slot", "none", "--publication", "partial", "--table", "public.t")
        codes = {finding["code"] for finding in json.loads(out)["findings"]}
        self.assertFalse(codes & {"source.publication_partial", "source.table_not_published"})

    def doctor(self, *words):
        code, out, errors = self.dpone("cdc", "doctor", "--format", "json", *words)
        self.assertIn(code, (0, 1), errors)
        findings = {finding["code"]: finding for finding in json.loads(out)["findings"]}
        for finding in findings.values():
            self.assertTrue(finding["fix"], finding)
            self.assertIn(finding["severity"], ("info", "warning", "error"))
        self.assertEqual(code, 1 if any(finding["severity"] == "error" for finding in findings.values()) else 0)
        return findings

    def test_doctor_looks_at_the_server_and_its_store_without_a_pipeline(self):
        self.assertFalse([code for code in self.doctor("--server", self.journal.url) if code.startswith("server.")])
        with DponeServer(state="none") as storeless:
            self.assertEqual(self.doctor("--server", storeless.url)["server.store_missing"]["severity"], "error")
        self.assertEqual(self.doctor("--server", "http://127.0.0.1:1")["server.unreachable"]["severity"], "error")
        old = [scripted_peer.reply(200, b'{"status":"ready","state":"sqlite","version":"0.0.9"}', "Content-Type: application/json")]
        down = [scripted_peer.reply(503, b'{"detail":"the schema is older than this program"}', "Content-Type: application/json")]
        other = [scripted_peer.reply(200, b"<html>", "Content-Type: text/html")]
        for script, code, severity, word in ((old, "server.version_differs", "warning", "0.0.9"),
                                             (down, "server.store_unavailable", "error", "the schema is older"),
                                             (other, "server.unreachable", "error", "no dpone server")):
            with self.subTest(code=code), scripted_peer.ScriptedPeer(script) as peer:
                finding = self.doctor("--server", peer.url)[code]
                self.assertEqual(finding["severity"], severity)
                self.assertIn(word, finding["message"])

    def test_doctor_looks_at_the_stored_offset(self):
        name = self.slot()
        words = ("--slot", name, "--publication", "dpone", "--pipeline", name, "--server", self.journal.url)
        self.assertIn("source.offset_missing", self.doctor(*words))
        self.insert()
        self.assert_runs(name)
        self.assertNotIn("source.offset_missing", self.doctor(*words))
        self.put_offset(name, "F0/0")
        self.assertIn("source.offset_ahead_of_server", self.doctor(*words))

    def test_doctor_finds_a_plugin_that_the_server_does_not_allow(self):
        if self.pg.query("SELECT 1 FROM pg_settings WHERE name = 'output_plugin_libraries'") == []:
            self.skipTest("this server allows every plugin")
        self.pg.require_plugin("wal2json")
        name = self.slot("wal2json")
        self.addCleanup(self.reload, "RESET output_plugin_libraries")
        self.reload("SET output_plugin_libraries = 'pgoutput, test_decoding'")
        finding = self.doctor("--slot", name)["source.plugin_unavailable"]
        self.assertIn("source.plugin_unavailable", self.doctor("--plugin", "wal2json-2"))
        self.assertNotIn("source.plugin_unavailable", self.doctor("--plugin", "pgoutput"))
        self.assert_blocked("source.plugin_unavailable", name)
        for statement in finding["fix"].split(";"):
            self.pg.psql(statement)
        wait_for("the reload", lambda: "source.plugin_unavailable" not in self.doctor("--slot", name))

    def reload(self, change):
        """Returns when new sessions see it."""
        self.pg.psql(f"ALTER SYSTEM {change}")
        loaded = self.pg.query_value("SELECT pg_conf_load_time()")
        self.pg.psql("SELECT pg_reload_conf()")
        wait_for("the reload", lambda: self.pg.query_value("SELECT pg_conf_load_time()") != loaded)

    def test_doctor_reports_a_source_that_is_down(self):
        done = subprocess.run([DPONE, "cdc", "doctor", "--source", "postgresql://127.0.0.1:1/x", "--format", "json"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("source.unreachable", [finding["code"] for finding in json.loads(done.stdout)["findings"]])

    def test_status_shows_the_lag(self):
        name = self.slot()
        self.insert(3)
        code, out, errors = self.dpone("cdc", "status", "--slot", name, "--format", "json")
        self.assertEqual(code, 0, errors)
        status = json.loads(out)
        self.assertEqual(status["state"], "inactive")
        self.assertGreater(status["lag_bytes"], 0)
        self.assert_runs(name)
        _, out, _ = self.dpone("cdc", "status", "--slot", name, "--format", "json", "--pipeline", name, "--server", self.journal.url)
        status = json.loads(out)
        self.assertEqual(status["stored_offset"], status["confirmed"])
        self.assertRegex(status["last_receipt_at"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        self.assertRegex(status["last_batch_id"], "^[0-9a-f]{64}$")
        self.assertIsNone(status["server_trouble"])
        _, out, _ = self.dpone("cdc", "status", "--slot", name, "--pipeline", name, "--server", self.journal.url)
        self.assertIn(f"last receipt {status['last_receipt_at']} batch {status['last_batch_id'][:12]}", out)
        _, out, _ = self.dpone("cdc", "status", "--slot", name, "--pipeline", name, "--server", "http://127.0.0.1:1")
        self.assertIn("stored offset unknown", out)
        self.assertEqual(self.dpone("cdc", "status", "--slot", "none")[0], 1)

    def test_a_watched_slot_shows_rates_and_seconds(self):
        name = self.slot()
        self.insert()
        self.assert_runs(name)
        watch = subprocess.Popen([DPONE, "cdc", "status", "--slot", name, "--watch", "--interval-s", "1", "--format", "json",
                                  "--pipeline", name, "--server", self.journal.url, "--source", self.pg.dsn()],
                                 stdout=subprocess.PIPE, text=True)
        first = json.loads(watch.stdout.readline())
        self.assertEqual((first["bytes_per_second"], first["events_per_second"]), (None, None))
        self.insert(50)
        lines = []

        def shows(condition):
            """Reads on until a line is so."""
            while not condition(lines[-1]) if lines else True:
                self.assertLess(len(lines), 100, lines)
                lines.append(json.loads(watch.stdout.readline()))

        shows(lambda line: line["lag_bytes"] > 0 and line["lag_seconds"] > 1)
        self.assert_runs(name)
        shows(lambda line: line["events_per_second"] > 0)
        shows(lambda line: line["lag_bytes"] == 0 or line["lag_seconds"] == 0)
        watch.send_signal(signal.SIGTERM)
        watch.communicate()
        self.assertTrue(any(line["bytes_per_second"] > 0 for line in lines), lines)
        self.assertTrue(all(line["lag_seconds"] == 0 for line in lines if line["lag_bytes"] == 0), lines)

    def test_a_watched_slot_that_stands_still_is_called_stalled(self):
        name = self.slot()
        self.insert()
        watch = subprocess.Popen([DPONE, "cdc", "status", "--slot", name, "--watch", "--interval-s", "1", "--stall-s", "2",
                                  "--format", "json", "--source", self.pg.dsn()], stdout=subprocess.PIPE, text=True)
        states = [json.loads(watch.stdout.readline())["state"] for _ in range(4)]
        watch.send_signal(signal.SIGTERM)
        watch.communicate()
        self.assertEqual(watch.returncode, 0)
        self.assertEqual((states[0], states[-1]), ("inactive", "stalled"))


class InvalidatedSlotTest(unittest.TestCase):
    def test_a_slot_that_lost_its_log(self):
        with PostgresServer(settings={"max_slot_wal_keep_size": "16MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}) as pg:
            journal = live.Journal()
            self.addCleanup(journal.cleanup)
            pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
            pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
            for _ in range(5):
                pg.psql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 15000000)); SELECT pg_switch_wal(); CHECKPOINT")
            code, _, errors = live.run(pg, journal.url, "s", "s")
            self.assertEqual(code, 1, errors)
            self.assertIn("source.slot_invalidated", errors)


class AwayTest(unittest.TestCase):
    """A source that does not take connections when a run starts."""

    def setUp(self):
        self.pg = PostgresServer()
        self.addCleanup(self.pg.cleanup)
        self.journal = live.Journal()
        self.addCleanup(self.journal.cleanup)
        self.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t; CREATE ROLE reader LOGIN REPLICATION;"
                     "SELECT pg_create_logical_replication_slot('s', 'pgoutput'); INSERT INTO t VALUES (1)")

    def command(self, user, *options):
        return [DPONE, "cdc", "run", "--pipeline", "s", "--source", self.pg.dsn(user=user), "--slot", "s", "--publication", "dpone",
                "--server", self.journal.url, "--until-end", *options]

    def test_it_is_waited_for_as_long_as_was_asked_for(self):
        self.pg.psql("ALTER DATABASE postgres CONNECTION LIMIT 0")
        self.pg.stop()
        done = subprocess.run(self.command("reader"), capture_output=True, text=True)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertNotIn("trying again", done.stderr)
        done = subprocess.run(self.command("reader", "--source-wait-seconds", "1"), capture_output=True, text=True)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("trying again", done.stderr)
        # Connections for replication are not counted against the limit, others are.
        command = self.command("reader", "--source-wait-seconds", "600", "--transport", "sql")
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.stderr.close)
        self.addCleanup(run.kill)
        self.assertIn("trying again", run.stderr.readline())
        self.pg.start()
        while "too many connections" not in run.stderr.readline():
            self.assertIsNone(run.poll())
        self.pg.psql("ALTER DATABASE postgres CONNECTION LIMIT -1")
        self.assertEqual(run.wait(120), 0)
        self.assertEqual(len(live.journal(self.journal.url, "s")), 1)

    def test_a_refusal_is_not_waited_out(self):
        done = subprocess.run(self.command("stranger", "--source-wait-seconds", "600"), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn('role "stranger" does not exist', done.stderr)
        self.pg.psql("SELECT pg_drop_replication_slot('s')")
        done = subprocess.run(self.command("reader", "--source-wait-seconds", "600"), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 1, done.stderr)

    def test_a_run_that_waits_is_stopped_by_a_signal(self):
        self.pg.stop()
        run = subprocess.Popen(self.command("reader", "--source-wait-seconds", "600"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.stderr.close)
        self.assertIn("trying again", run.stderr.readline())
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(60), 3)


class PromotionTest(unittest.TestCase):
    """The same cluster is promoted in place, which starts another timeline."""

    def setUp(self):
        self.pg = PostgresServer()
        self.addCleanup(self.pg.cleanup)
        self.journal = live.Journal()
        self.addCleanup(self.journal.cleanup)
        self.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
        self.pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")

    def promote(self):
        self.pg.stop()
        with open(os.path.join(self.pg.data, "standby.signal"), "w", encoding="ascii"):
            pass
        self.pg.start()
        self.assertEqual(self.pg.query_value("SELECT pg_promote()"), "t")

    def timeline(self):
        with urllib.request.urlopen(self.journal.url + "/v1/pipelines/s", timeout=60) as reply:
            return json.load(reply)["streams"][0]["settings"]["timeline"]

    def test_a_reader_that_runs_goes_on_over_common_history(self):
        follower = live.Follower(self.pg, self.journal.url, "s", "s", *NOW)
        self.pg.psql("INSERT INTO t VALUES (1)")
        wait_for("the first row", lambda: len(live.journal(self.journal.url, "s")) == 1)
        self.promote()
        self.pg.psql("INSERT INTO t VALUES (2)")
        wait_for("the second row", lambda: len(live.journal(self.journal.url, "s")) == 2)
        # The journal knows the timeline that was delivered last, or a later start would compare with an older one. From
        # version 16 on the server was read on while it was promoted, and is asked a little later.
        wait_for("the journal to know the timeline", lambda: self.timeline() == 2)
        follower.stop()
        self.assertEqual(follower.codes, [0], follower.log())
        code, _, errors = live.run(self.pg, self.journal.url, "s", "s")
        self.assertEqual(code, 0, errors)

    def test_a_reader_that_starts_afterwards_goes_on_over_common_history(self):
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.assertEqual(live.run(self.pg, self.journal.url, "s", "s")[0], 0)
        self.promote()
        self.pg.psql("INSERT INTO t VALUES (2)")
        code, _, errors = live.run(self.pg, self.journal.url, "s", "s")
        self.assertEqual(code, 0, errors)
        self.promote()
        self.promote()  # two timelines further
        self.pg.psql("INSERT INTO t VALUES (3)")
        code, _, errors = live.run(self.pg, self.journal.url, "s", "s")
        self.assertEqual(code, 0, errors)
        self.assertEqual(len(live.journal(self.journal.url, "s")), 3)


class StandbyTest(unittest.TestCase):
    """A real standby that took the slot along, as version 17 does by itself: its files are copied here."""

    def setUp(self):
        self.pg = PostgresServer(settings={"wal_keep_size": "64MB"})
        self.addCleanup(self.pg.cleanup)
        self.journal = live.Journal()
        self.addCleanup(self.journal.cleanup)
        self.pg.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
        self.pg.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        self.standby = self.pg.standby()
        self.addCleanup(self.standby.cleanup)

    def run_once(self, pg, *options):
        return live.run(pg, self.journal.url, "s", "s", *NOW, *options)

    def catch_up(self):
        end = self.pg.query_value("SELECT pg_current_wal_flush_lsn()")
        wait_for("the standby", lambda: self.standby.query_value(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == "t")

    def fail_over(self):
        """The primary is gone; what the standby has not got is lost."""
        self.pg.stop()
        self.standby.stop()
        self.standby.take_slot(self.pg, "s")
        self.standby.start()
        self.assertEqual(self.standby.query_value("SELECT pg_promote()"), "t")

    def test_a_standby_that_has_everything_is_read_on(self):
        self.pg.psql("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
        self.assertEqual(self.run_once(self.pg)[0], 0)
        self.catch_up()
        self.fail_over()
        self.standby.psql("INSERT INTO t VALUES (3)")
        code, _, errors = self.run_once(self.standby)
        self.assertEqual(code, 0, errors)
        self.assertEqual([changes[0][4]["id"] for _, _, changes in live.journal(self.journal.url, "s")], ["1", "2", "3"])

    def test_a_standby_that_lacks_what_was_delivered_is_not_read_on(self):
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.assertEqual(self.run_once(self.pg)[0], 0)
        self.catch_up()
        self.standby.stop()
        self.pg.psql("INSERT INTO t VALUES (2)")  # never reaches the standby, but the journal
        self.assertEqual(self.run_once(self.pg)[0], 0)
        self.standby.start_alone()
        self.fail_over()
        self.standby.psql("INSERT INTO t VALUES (20, repeat('x', 100000)); SELECT pg_switch_wal(); INSERT INTO t VALUES (21)")
        code, _, errors = self.run_once(self.standby)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.timeline_changed", errors)
        self.assertEqual(len(live.journal(self.journal.url, "s")), 2)

    def test_a_standby_that_lacks_what_only_the_journal_holds_is_not_read_on_either(self):
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.assertEqual(self.run_once(self.pg)[0], 0)
        self.catch_up()
        self.standby.stop()
        self.pg.psql("INSERT INTO t VALUES (2)")
        code, _, errors = live.run(self.pg, self.journal.url, "s", "s", *NOW, environment={"DPONE_CRASH_AT": "receipt_read:1"})
        self.assertEqual(code, -signal.SIGKILL, errors)  # stored, and the offset is not
        self.assertEqual(len(live.journal(self.journal.url, "s")), 2)
        self.standby.start_alone()
        self.fail_over()
        self.standby.psql("INSERT INTO t VALUES (20)")
        code, _, errors = self.run_once(self.standby)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.timeline_changed", errors)

    def pad(self, pg):
        """Past the offset: another history, and not just a shorter one."""
        pg.psql("SELECT pg_logical_emit_message(false, 'pad', repeat('x', 100000)); SELECT pg_switch_wal();"
                "INSERT INTO t VALUES (1000)")

    def start_reader(self, dsn):
        reader = subprocess.Popen([DPONE, "cdc", "run", "--pipeline", "s", "--source", dsn, "--slot", "s", "--publication", "dpone",
                                   "--unique-key", "auto", "--server", self.journal.url, *NOW], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        self.addCleanup(reader.stderr.close)
        self.addCleanup(reader.kill)
        return reader

    def assert_stops(self, reader, word):
        self.assertEqual(reader.wait(60), 1)
        errors = reader.stderr.read()
        self.assertIn("source.timeline_changed", errors)
        self.assertIn(word, errors)

    def assert_is_refused(self, pg, word):
        code, _, errors = self.run_once(pg)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.timeline_changed", errors)
        self.assertIn(word, errors)

    def test_neither_a_former_primary_nor_a_sibling_is_read_on(self):
        """Whether the run goes there while it reads, or starts there; a sibling's timeline may have the same number."""
        sibling = self.pg.standby()
        self.addCleanup(sibling.cleanup)
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.catch_up()
        end = self.pg.query_value("SELECT pg_current_wal_flush_lsn()")
        wait_for("the sibling", lambda: sibling.query_value(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == "t")
        sibling.stop()
        hosts = ",".join(f"127.0.0.1:{pg.port}" for pg in (self.standby, self.pg, sibling))
        dsn = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
        reader = self.start_reader(dsn)
        self.pg.psql("INSERT INTO t VALUES (2)")
        wait_for("two rows", lambda: len(live.journal(self.journal.url, "s")) == 2)
        self.catch_up()
        self.fail_over()
        self.standby.psql("INSERT INTO t VALUES (3)")
        wait_for("three rows", lambda: len(live.journal(self.journal.url, "s")) == 3)

        self.pg.start()
        self.pad(self.pg)
        self.standby.stop()
        self.assert_stops(reader, "timeline 1, expected 2")
        self.assert_is_refused(self.pg, "timeline_changed")
        self.pg.stop()

        self.standby.start()
        reader = self.start_reader(dsn)
        self.standby.psql("INSERT INTO t VALUES (4)")
        wait_for("four rows", lambda: len(live.journal(self.journal.url, "s")) == 4)
        sibling.take_slot(self.pg, "s")
        sibling.start_alone()
        self.assertEqual(sibling.query_value("SELECT pg_promote()"), "t")
        self.pad(sibling)
        self.standby.stop()
        self.assert_stops(reader, "timeline 2 of this server began at")
        self.assert_is_refused(sibling, "timeline_changed")
        sibling.stop()
        with open(os.path.join(sibling.data, "standby.signal"), "w", encoding="ascii"):
            pass
        sibling.start()
        self.assertEqual(sibling.query_value("SELECT pg_promote()"), "t")
        self.assert_is_refused(sibling, "timeline_changed")  # a third one, out of another second one
        self.assertEqual(len(live.journal(self.journal.url, "s")), 4)

    def test_two_that_were_promoted_at_the_same_point_are_told_apart_by_reading_again(self):
        sibling = self.pg.standby()
        self.addCleanup(sibling.cleanup)
        self.pg.psql("INSERT INTO t VALUES (1)")
        self.assertEqual(self.run_once(self.pg)[0], 0)
        self.catch_up()
        self.fail_over()  # after a stop in order both have everything
        sibling.stop()
        sibling.take_slot(self.pg, "s")
        sibling.start_alone()
        self.assertEqual(sibling.query_value("SELECT pg_promote()"), "t")
        self.standby.psql("SELECT pg_logical_emit_message(false, 'pad', repeat('x', 100000)); INSERT INTO t VALUES (2, 'here')")
        self.assertEqual(self.run_once(self.standby)[0], 0)
        sibling.psql("INSERT INTO t VALUES (2, 'there')")
        self.pad(sibling)
        code, _, errors = self.run_once(sibling, "--from-start")
        self.assertEqual(code, 1, errors)
        self.assertIn("transaction_differs", errors)
        self.assertEqual(self.run_once(self.standby, "--from-start")[0], 0)


VALUES = {
    "smallint": "-32768", "bigint": "9223372036854775807", "boolean": "true", "real": "0.1", "double precision": "'Infinity'",
    "numeric": "'NaN'", "numeric(60,30)": "12345678901234567890.123456789012345678901234567890", "money": "1234.56",
    "char(5)": "'ab'", "varchar(10)": "'ä€😀'", "text": "E'q''uote\\\\ \\n\\t end'", "bytea": "'\\xdeadbeef00'",
    "date": "'infinity'", "time": "'23:59:59.999999'", "timetz": "'01:02:03+05:30'", "timestamp": "'-infinity'",
    "timestamptz": "'2026-01-02 03:04:05.678901+09'", "interval": "'1 year -2 days 03:04:05.5'", "uuid": "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
    "json": "'{\"a\": [1, 2.50]}'", "jsonb": "'{\"b\": null, \"a\": 1.0}'", "xml": "'<a>x</a>'", "inet": "'192.168.1.5/24'",
    "cidr": "'10.0.0.0/8'", "macaddr": "'08:00:2b:01:02:03'", "bit(4)": "B'1010'", "varbit": "B'101'", "point": "'(1,2)'",
    "polygon": "'((0,0),(1,1),(1,0))'", "tsvector": "'a fat cat'", "tsquery": "'fat & cat'", "int4range": "'[1,10)'",
    "tstzrange": "'[2026-01-01, infinity)'", "int4multirange": "'{[1,2),[5,7)}'", "int[]": "'{1,NULL,3}'", "text[][]": "'{{a,\"b,c\"},{NULL,\"\"}}'",
    "pg_lsn": "'16/B374D848'", "oid": "4294967295", "regclass": "'pg_class'", "mood": "'sad'", "positive": "7", "pair": "'(1,\"x y\")'",
    "hstore_like": "'{\"(1,a)\",\"(2,b)\"}'",
}
if major_version() < 14:
    del VALUES["int4multirange"]


class TypesTest(unittest.TestCase):
    """What is stored is the server's own text, whatever the reader's role or the database are set to."""

    @classmethod
    def setUpClass(cls):
        cls.pg = PostgresServer()
        cls.addClassCleanup(cls.pg.cleanup)
        cls.journal = live.Journal()
        cls.addClassCleanup(cls.journal.cleanup)
        cls.pg.psql("""CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
                       CREATE TYPE pair AS (a int, b text); CREATE DOMAIN hstore_like AS pair[];
                       ALTER DATABASE postgres SET DateStyle = 'German'; ALTER DATABASE postgres SET IntervalStyle = 'iso_8601';
                       ALTER DATABASE postgres SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE postgres SET bytea_output = 'escape';
                       ALTER DATABASE postgres SET extra_float_digits = -3;""")
        columns = ", ".join(f'c{i} {name}' for i, name in enumerate(VALUES))
        wide = ", ".join(f"w{i} int" for i in range(1598))
        cls.pg.psql(f"CREATE TABLE kinds (id int PRIMARY KEY, {columns}); CREATE TABLE wide (id int PRIMARY KEY, note text, {wide});"
                    "CREATE PUBLICATION dpone FOR TABLE kinds, wide")
        for plugin in ("pgoutput", "test_decoding"):
            cls.pg.psql(f"SELECT pg_create_logical_replication_slot('{plugin}', '{plugin}')")
        cls.pg.psql("INSERT INTO kinds VALUES (1, " + ", ".join(VALUES.values()) + "); INSERT INTO kinds (id) VALUES (2);"
                    "INSERT INTO wide VALUES (1, 'w', " + ", ".join(str(i) for i in range(1598)) + ")")

    def rows(self, plugin, transport):
        slot = f"{plugin}_{transport}"
        self.pg.psql(f"SELECT pg_copy_logical_replication_slot('{plugin}', '{slot}')")
        code, _, errors = live.run(self.pg, self.journal.url, slot, slot, "--transport", transport)
        self.assertEqual(code, 0, errors)
        return [change[4] for transaction in live.journal(self.journal.url, slot) for change in transaction[2]]

    def test_every_type_is_the_servers_own_text(self):
        settings = ("SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = UTC; SET bytea_output = hex;"
                    "SET extra_float_digits = 3; SET search_path = ''; SET lc_monetary = 'C';")
        wanted = {}
        for i, name in enumerate(VALUES):
            wanted[f"c{i}"] = self.pg.psql(f"{settings} SELECT c{i} FROM public.kinds WHERE id = 1", ["-At"]).rstrip("\n")
        wanted["c2"] = "true"  # psql prints booleans as t and f
        for plugin, transport in itertools.product(("pgoutput", "test_decoding"), ("replication", "sql")):
            first, second, wide = self.rows(plugin, transport)[:3]
            with self.subTest(plugin=plugin, transport=transport):
                self.assertEqual({name: first[name].rstrip("\n") for name in wanted}, wanted)
                self.assertEqual(set(second.values()), {"2", None})
                self.assertEqual(len(wide), 1600)
                self.assertEqual(wide["w1597"], "1597")

    def test_a_field_above_the_event_limit_is_poison(self):
        self.pg.psql("SELECT pg_create_logical_replication_slot('large', 'pgoutput')")
        self.pg.psql("INSERT INTO wide (id, note) VALUES (2, repeat('x', 3000000))")
        code, _, errors = live.run(self.pg, self.journal.url, "large", "large", "--max-event-bytes", "1000000")
        self.assertEqual(code, 4, errors)
        self.assertEqual(live.journal(self.journal.url, "large"), [])


if __name__ == "__main__":
    unittest.main()
