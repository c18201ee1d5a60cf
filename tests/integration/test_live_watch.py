"""What is told while a run goes on: stalls by name when they begin and end, the run's own metrics, and status."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import live  # noqa: E402
from support.dpone import BINARY as DPONE, SOURCE_DIR  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

NOW = ["--offset-interval-ms", "0", "--batch-wait-ms", "20", "--stall-seconds", "2"]


def wait_for(what, condition, seconds=60, log=None):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}" + (": " + log() if log else ""))


def scrape(url):
    with urllib.request.urlopen(url, timeout=60) as reply:
        text = reply.read().decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    return text, values


def documented(heading):
    with open(os.path.join(SOURCE_DIR, "docs", "monitoring.md"), encoding="utf-8") as page:
        section = page.read().split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)(?:\{[^}]*\})?` \| (\w+) \|", section, re.M))


class WatchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pg = PostgresServer(settings={"wal_sender_timeout": "10s"})
        cls.addClassCleanup(cls.pg.cleanup)
        cls.pg.psql("CREATE TABLE t (id serial PRIMARY KEY, v text); CREATE PUBLICATION dpone FOR TABLE t")
        cls.journal = live.Journal()
        cls.addClassCleanup(cls.journal.cleanup)

    def insert(self):
        self.pg.psql("INSERT INTO t (v) VALUES ('x')")

    def slot(self):
        name = re.sub("[^a-z0-9_]", "", self.id().rsplit(".", 1)[1].removeprefix("test_"))[:60]
        self.pg.psql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
        self.addCleanup(self.pg.psql, f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}' AND NOT active")
        return name

    def follow(self, name, *options, **more):
        follower = live.Follower(self.pg, self.journal.url, name, name, *NOW, *options, **more)
        self.addCleanup(follower.stop)
        return follower

    def assert_told_once(self, follower, began, over):
        """One line when the stall began, one when it was over."""
        log = follower.log()
        self.assertEqual(len(re.findall(began, log)), 1, log)
        self.assertEqual(log.count(f"no longer stalled: {over}, over after"), 1, log)

    def stalled(self, follower, pattern):
        return wait_for(f"{pattern}", lambda: re.search(pattern, follower.log()), 120, follower.log)

    def over(self, follower, name):
        return wait_for(f"the end of {name}", lambda: f"no longer stalled: {name}" in follower.log(), 60)

    # --- stalls ------------------------------------------------------------------------------------------------------

    def test_a_server_that_does_not_answer(self):
        name = self.slot()
        follower = self.follow(name)
        self.insert()
        wait_for("the first row", lambda: len(live.journal(self.journal.url, name)) == 1)
        server = self.journal.server.process
        server.send_signal(signal.SIGSTOP)
        try:
            self.insert()
            self.stalled(follower, r"dpone: stalled: waiting for the server since ([2-9]|\d\d+) s")
        finally:
            server.send_signal(signal.SIGCONT)
        self.over(follower, "server")
        wait_for("the second row", lambda: len(live.journal(self.journal.url, name)) == 2)
        follower.stop()
        self.assert_told_once(follower, "dpone: stalled: waiting for the server", "server")
        self.assertEqual(follower.codes, [0], follower.log())

    def test_a_server_that_is_down_is_told_with_the_reason(self):
        name = self.slot()
        follower = self.follow(name, "--stall-seconds", "8")
        self.insert()
        wait_for("the first row", lambda: len(live.journal(self.journal.url, name)) == 1)
        self.journal.stop()
        try:
            self.insert()
            self.stalled(follower, r"dpone: stalled: waiting for the server since \d+ s: .+")
        finally:
            self.journal.start()
        self.over(follower, "server")

    def test_a_slot_that_is_held(self):
        name = self.slot()
        holder = subprocess.Popen([self.pg.binary("pg_recvlogical"), "-d", self.pg.dsn(), "-S", name, "--start", "-f", "/dev/null",
                                   "-o", "proto_version=1", "-o", "publication_names=dpone"], stderr=subprocess.DEVNULL)
        try:
            pid = wait_for("the holder", lambda: self.pg.query_value(
                f"SELECT coalesce(active_pid::text, '') FROM pg_replication_slots WHERE slot_name = '{name}'"))
            follower = self.follow(name)
            self.stalled(follower, f"dpone: stalled: slot held by pid {pid} since ([2-9]|\\d\\d+) s")
        finally:
            holder.terminate()
            holder.wait()
        self.over(follower, "slot")
        self.insert()
        wait_for("the row", lambda: len(live.journal(self.journal.url, name)) == 1)
        follower.stop()
        self.assert_told_once(follower, "dpone: stalled: slot held", "slot")

    def test_a_source_that_is_down(self):
        name = self.slot()
        follower = self.follow(name, environment={"DPONE_STALL_SECONDS": "1"})
        self.insert()
        wait_for("the first row", lambda: len(live.journal(self.journal.url, name)) == 1)
        self.pg.stop()
        self.addCleanup(self.pg.start)
        self.stalled(follower, r"dpone: stalled: waiting for the source since \d+ s: .+")
        self.pg.start()
        self.over(follower, "source")

    def test_the_limit_comes_from_the_environment_and_nothing_is_told_when_it_is_zero(self):
        name = self.slot()
        command = live.run_command(self.pg, self.journal.url, name, name)
        done = subprocess.run([*command, "--until-end"], env={**self.pg.environment(), "DPONE_STALL_SECONDS": "soon"},
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("stall-seconds", done.stderr)
        holder = subprocess.Popen([self.pg.binary("pg_recvlogical"), "-d", self.pg.dsn(), "-S", name, "--start", "-f", "/dev/null",
                                   "-o", "proto_version=1", "-o", "publication_names=dpone"], stderr=subprocess.DEVNULL)
        try:
            follower = live.Follower(self.pg, self.journal.url, name, name, environment={"DPONE_STALL_SECONDS": "0"})
            self.addCleanup(follower.stop)
            time.sleep(4)
            self.assertNotIn("stalled", follower.log())
        finally:
            holder.terminate()
            holder.wait()
        follower.stop()

    def test_a_run_that_moves_is_never_called_stalled(self):
        name, rows = self.slot(), 0
        for limit in (2, 8, 24):  # a machine that stands still for so long stalls the run indeed
            follower = self.follow(name, "--stall-seconds", str(limit))
            end = time.monotonic() + 3 * limit
            while time.monotonic() < end and "stalled" not in follower.log():
                self.insert()
                rows += 1
                self.pg.psql("CREATE TABLE other AS SELECT generate_series(1, 2000); DROP TABLE other")
                time.sleep(0.2)
            wait_for("all rows", lambda: len(live.journal(self.journal.url, name)) == rows)
            follower.stop()
            if "stalled" not in follower.log():
                break
        self.assertNotIn("stalled", follower.log())

    # --- metrics -----------------------------------------------------------------------------------------------------

    def metrics_of(self, follower):
        return self.stalled(follower, r"dpone: metrics on (http://127\.0\.0\.1:\d+/metrics)").group(1)

    def test_every_metric_of_a_run_is_documented_and_tells_the_truth(self):
        name = self.slot()
        self.insert()
        follower = self.follow(name, "--metrics-listen", "127.0.0.1:0")
        url = self.metrics_of(follower)
        wait_for("the first row", lambda: len(live.journal(self.journal.url, name)) == 1)
        label, slot = f'{{pipeline="{name}"}}', f'{{pipeline="{name}",slot="{name}"}}'
        wait_for("the event to be counted", lambda: scrape(url)[1]["dpone_run_events_total" + label] == 1)
        wait_for("the offset to be saved", lambda: scrape(url)[1]["dpone_run_offset_position" + label] > 0)
        wait_for("the slot to be looked at", lambda: scrape(url)[1].get("dpone_slot_active" + slot) == 1)
        text, values = scrape(url)
        self.assertEqual(dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M)), documented("Metrics of a run"))
        for metric, wanted in (("run_batches_total", 1), ("run_transactions_total", 1), ("run_duplicate_events_total", 0),
                               ("run_quarantined_total", 0)):
            self.assertEqual(values[f"dpone_{metric}{label}"], wanted, metric)
        self.assertAlmostEqual(values["dpone_run_last_receipt_timestamp_seconds" + label], time.time(), delta=60)
        self.assertEqual((values["dpone_source_up" + slot], values["dpone_slot_usable" + slot]), (1, 1))
        self.assertGreater(values["dpone_run_offset_position" + label], 0)
        self.assertGreaterEqual(values["dpone_source_end_position" + slot], values["dpone_slot_confirmed_position" + slot])
        # A transaction that writes is seen getting older.
        holder = subprocess.Popen(self.pg.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdin.write(b"BEGIN; INSERT INTO t (v) VALUES ('held'); SELECT 1;\n")
        holder.stdin.flush()
        holder.stdout.readline()
        wait_for("its age", lambda: scrape(url)[1]["dpone_source_oldest_transaction_seconds" + slot] > 1)
        holder.stdin.write(b"ROLLBACK;\n")
        holder.communicate()
        # Behind, in bytes and in seconds, while the server is down; and then not any more.
        self.journal.stop()
        self.addCleanup(lambda: self.journal.server.process.poll() is None or self.journal.start())
        self.insert()
        wait_for("the stall", lambda: scrape(url)[1][f'dpone_run_stalled{{pipeline="{name}",reason="server"}}'] == 1)
        wait_for("the lag", lambda: scrape(url)[1]["dpone_slot_lag_bytes" + slot] > 0 and scrape(url)[1]["dpone_slot_lag_seconds" + slot] > 2)
        self.journal.start()
        wait_for("the end of the lag", lambda: scrape(url)[1]["dpone_slot_lag_seconds" + slot] == 0)
        wait_for("the end of the stall", lambda: scrape(url)[1][f'dpone_run_stalled{{pipeline="{name}",reason="server"}}'] == 0)
        values = scrape(url)[1]
        self.assertEqual(values[f'dpone_run_stalls_total{{pipeline="{name}",reason="server"}}'], 1)
        self.pg.stop()
        self.addCleanup(self.pg.start)
        wait_for("the source to be down", lambda: scrape(url)[1]["dpone_source_up" + slot] == 0)
        self.pg.start()

    def test_nothing_else_is_served_and_a_taken_port_is_an_error(self):
        name = self.slot()
        follower = self.follow(name, "--metrics-listen", "127.0.0.1:0")
        url = self.metrics_of(follower)
        base = url.removesuffix("/metrics")
        with urllib.request.urlopen(base + "/health", timeout=60) as reply:
            self.assertEqual(json.load(reply), {"status": "ok"})
        for path, method, wanted in (("/", "GET", 404), ("/v1/pipelines", "GET", 404), ("/metrics", "POST", 405)):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(base + path, method=method), timeout=60)
            self.assertEqual(refused.exception.code, wanted)
            refused.exception.close()
        port = base.rsplit(":", 1)[1]
        for address, code in ((f"127.0.0.1:{port}", 3), ("127.0.0.1", 2), ("nowhere:x", 2)):
            exit_code, _, errors = live.run(self.pg, self.journal.url, name, name, "--metrics-listen", address)
            self.assertEqual(exit_code, code, errors)

    def test_a_file_has_metrics_of_the_run_alone(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "none.csv")
            os.mkfifo(path)
            run = subprocess.Popen([DPONE, "cdc", "run", "--pipeline", "file", "--source", "-", "--server", self.journal.url,
                                    "--metrics-listen", "127.0.0.1:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
            line = run.stderr.readline().decode()
            text, values = scrape(re.search(r"http://\S+", line).group(0))
            self.assertIn('dpone_run_events_total{pipeline="file"}', values)
            self.assertNotIn("dpone_slot_", text)
            run.communicate()


if __name__ == "__main__":
    unittest.main()
