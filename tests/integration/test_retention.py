"""dpone state prune: by position, age and size, in small steps, never past an offset; a kill leaves a sound journal."""
import json
import os
import signal
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.dpone import clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")


class RetentionTest(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="dpone-retention-"))
        self.path = f"{self.directory}/journal.db"
        self.dsn = f"sqlite:{self.path}"
        self.server = self.enterContext(DponeServer(state=self.dsn))
        code, _, errors = pipeline.run(self.server.url, CAPTURE)
        self.assertEqual(code, 0, errors)
        self.journal = pipeline.journal(self.server.url)
        self.ends = [json.loads(line)["end_position"] for line in self.journal if line.startswith('{"type"')]

    def prune(self, *options, env=None):
        done = dpone("state", "prune", "--state", self.dsn, "--pipeline", "orders", "--pause-ms", "0", "--who", "tester",
                     *options, env=env)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr

    def left(self):
        """The journal as it can be read now: from where retention has deleted to."""
        stream = self.server.json("GET", "/v1/pipelines/orders")[2]["streams"][0]
        start = f"?from={stream['pruned']}" if stream["pruned"] else ""
        status, _, body = self.server.request("GET", "/v1/pipelines/orders/events" + start)
        self.assertEqual(status, 200, body)
        return body.decode().removesuffix("\n").split("\n") if body else []

    def after(self, index):
        """The lines after the transaction with this index."""
        seen = -1
        for number, line in enumerate(self.journal):
            if line.startswith('{"type"'):
                seen += 1
                if seen == index:
                    return self.journal[number + 1:]
        return []

    def test_by_position(self):
        code, summary, errors = self.prune("--to", self.ends[30])
        self.assertEqual(code, 0, errors)
        self.assertEqual((summary["transactions"], summary["to"]), (31, self.ends[30]))
        self.assertEqual(self.left(), self.after(30))
        status, _, answer = self.server.json("GET", f"/v1/pipelines/orders/events?from={self.ends[5]}")
        self.assertEqual((status, answer["code"]), (410, "events_pruned"))

    def test_by_age_everything_that_was_passed_goes(self):
        code, summary, errors = self.prune("--older-than-hours", "0")
        self.assertEqual(code, 0, errors)
        self.assertEqual(summary["transactions"], len(self.ends))
        self.assertEqual(self.left(), [])
        self.assertEqual(self.prune("--older-than-hours", "1")[1]["transactions"], 0)

    def test_by_age_what_is_young_stays(self):
        code, summary, _ = self.prune("--older-than-hours", "1")
        self.assertEqual((code, summary["events"], summary["to"]), (0, 0, None))
        self.assertEqual(self.left(), self.journal)

    def test_by_size_whole_transactions_stay(self):
        code, summary, errors = self.prune("--keep-events", "100")
        self.assertEqual(code, 0, errors)
        events = sum('"event_id"' in line for line in self.left())
        self.assertGreaterEqual(events, 100)
        self.assertLess(events, 100 + 60)
        self.assertEqual(self.left(), self.journal[-len(self.left()):])

    def test_by_bytes_the_newest_events_stay(self):
        code, summary, errors = self.prune("--keep-bytes", "20000")
        self.assertEqual(code, 0, errors)
        left = self.left()
        self.assertGreater(summary["events"], 0)
        self.assertEqual(left, self.journal[-len(left):])
        self.assertEqual(self.prune("--keep-bytes", "1000000000")[1]["events"], 0)

    def test_nothing_above_an_offset_or_a_consumer_is_deleted(self):
        for name, index in (("orders%2Fconsumers%2Fbilling", 12), ("orders-of-another", 3)):
            status, _, body = self.server.json(
                "PUT", f"/v1/pipelines/{name}/offsets/postgres_logical/*/*", {"Content-Type": "application/json"},
                json.dumps({"token": self.ends[index]}))
            self.assertEqual(status, 200, body)
        code, _, errors = self.prune("--to", self.ends[13])
        self.assertEqual(code, 1)
        self.assertIn(f"{self.ends[12]}, of orders/consumers/billing", errors)
        code, summary, errors = self.prune("--older-than-hours", "0")
        self.assertEqual(code, 0, errors)
        self.assertEqual((summary["transactions"], summary["limited_by_offset"]), (13, self.ends[12]))
        self.assertEqual(self.left(), self.after(12))

    def test_a_dry_run_counts_and_changes_nothing(self):
        code, summary, _ = self.prune("--to", self.ends[30], "--dry-run")
        self.assertEqual((code, summary["transactions"]), (0, 31))
        self.assertEqual(self.left(), self.journal)

    def test_what_was_deleted_counts_as_a_duplicate_when_it_is_sent_again(self):
        self.assertEqual(self.prune("--to", self.ends[30])[0], 0)
        code, summary, errors = pipeline.run(self.server.url, CAPTURE, "--from-start")
        self.assertEqual(code, 0, errors)
        self.assertEqual(summary["accepted"], 0)
        self.assertEqual(self.left(), self.after(30))

    def test_a_kill_after_any_step_leaves_a_sound_journal_and_the_next_run_finishes(self):
        for nth in (1, 4):
            code, _, _ = self.prune("--to", self.ends[40], "--step-events", "10",
                                    env=clean_environment(DPONE_CRASH_AT=f"prune_step_done:{nth}"))
            self.assertEqual(code, -signal.SIGKILL)
            left = self.left()
            self.assertEqual(left, self.journal[-len(left):])
            self.assertLess(len(left), len(self.journal))
        code, _, errors = self.prune("--to", self.ends[40], "--step-events", "10", "--why", "the rest")
        self.assertEqual(code, 0, errors)
        self.assertEqual(self.left(), self.after(40))
        with sqlite3.connect(self.path) as database:
            events, transactions = (database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                                    for table in ("dpone_event", "dpone_transaction"))
        self.assertEqual((events, transactions), (sum('"event_id"' in line for line in self.after(40)), len(self.ends) - 41))
        actions = [row["action"] for row in self.server.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]]
        self.assertEqual(actions, ["prune.finished", "prune.started", "prune.started", "prune.started"])

    def test_an_export_of_what_was_deleted_is_refused(self):
        self.prune("--to", self.ends[30])
        done = dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--from", self.ends[3],
                     "--output", f"{self.directory}/artifact")
        self.assertEqual(done.returncode, 1)
        self.assertIn("replay.start_before_retention", done.stderr)
        done = dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", f"{self.directory}/artifact")
        self.assertEqual(json.loads(done.stdout)["from"], self.ends[30])


if __name__ == "__main__":
    unittest.main()
