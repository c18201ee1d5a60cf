"""dpone cdc audit: what was changed by hand is listed, from a server and from the state, newest first."""
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

ORDERS = os.path.join(os.environ["DPONE_SOURCE_DIR"], "examples", "captures", "orders.pgoutput.csv")


class AuditTest(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="dpone-audit-"))
        self.path = f"{self.directory}/journal.db"
        self.server = self.enterContext(DponeServer(state=f"sqlite:{self.path}"))

    def audit(self, *options, pipeline="orders"):
        return dpone("cdc", "audit", "--pipeline", pipeline, *options)

    def entries(self, *options, pipeline="orders"):
        """What the server lists, after a look that the state lists the same."""
        served = self.audit("--server", self.server.url, "--format", "json", *options, pipeline=pipeline)
        stored = self.audit("--state", f"sqlite:{self.path}", "--format", "json", *options, pipeline=pipeline)
        self.assertEqual((served.returncode, served.stderr), (0, ""))
        self.assertEqual((stored.returncode, stored.stdout, stored.stderr), (0, served.stdout, ""))
        return [json.loads(line) for line in served.stdout.splitlines()]

    def insert(self, *rows):
        """Rows of (time in seconds, who, action, why)."""
        with contextlib.closing(sqlite3.connect(self.path)) as state, state:
            state.executemany("INSERT INTO dpone_audit (at_us, actor, action, pipeline, subject, reason)"
                              " VALUES (? * 1000000, ?, ?, 'orders', 's', ?)", rows)

    def test_a_replay_leaves_who_why_window_counts_and_outcome(self):
        code, summary, errors = pipeline.run(self.server.url, ORDERS)
        self.assertEqual(code, 0, errors)
        with Downstream() as downstream:
            done = dpone("cdc", "replay", "--pipeline", "orders", "--server", self.server.url, "--endpoint", downstream.url,
                         "--replay-from", "0/0", "--allow-rewind", "--who", "tester", "--why", "a drill", "--record",
                         f"{self.directory}/record.jsonl")
            self.assertEqual(done.returncode, 0, done.stderr)
        finished, started = self.entries("--action", "replay")
        self.assertEqual([(entry["action"], entry["who"], entry["why"]) for entry in (started, finished)],
                         [("replay.started", "tester", "a drill"), ("replay.finished", "tester", "a drill")])
        self.assertEqual((finished["new"]["outcome"], finished["new"]["events"], finished["new"]["replay_from"]),
                         ("done", summary["events"], "0/0"))
        self.assertEqual(self.entries("--action", "replay.finished"), [finished])
        self.assertEqual(self.entries("--action", "repl"), [])
        line = self.audit("--server", self.server.url).stdout.splitlines()[0]
        self.assertTrue(line.startswith(f"{finished['at']}  replay.finished  {finished['subject']}  tester  a drill  -  {{"), line)

    def test_what_was_done_to_a_consumer_is_under_its_own_name(self):
        self.assertEqual(pipeline.run(self.server.url, ORDERS)[0], 0)
        end = self.server.json("GET", "/v1/pipelines/orders")[2]["streams"][0]["high_watermark"]
        for body in ({"token": end}, {"token": "0/1", "allow_rewind": True, "who": "tester", "why": "again"}):
            status, _, reply = self.server.json("PUT", "/v1/pipelines/orders/consumers/billing", {"Content-Type": "application/json"},
                                                json.dumps(body))
            self.assertEqual(status, 200, reply)
        entry, = self.entries(pipeline="orders/consumers/billing")
        self.assertEqual((entry["action"], entry["who"], entry["old"], entry["new"]), ("offset.rewind", "tester", end, "0/1"))
        self.assertEqual(self.entries(), [])

    def test_more_than_a_page_is_listed_as_far_as_it_is_asked_for(self):
        self.insert(*[(1000 + n, "a", "b", str(n)) for n in range(2500)])
        newest_first = [str(n) for n in reversed(range(2500))]
        for options, expected in (([], newest_first[:100]), (["--limit", "0"], newest_first),
                                  (["--limit", "1001"], newest_first[:1001]),
                                  (["--limit", "0", "--since", "1970-01-01T00:20:00Z"], newest_first[:2300])):
            with self.subTest(options=options):
                self.assertEqual([entry["why"] for entry in self.entries(*options)], expected)

    def test_since_is_a_time_in_utc_down_to_what_is_given(self):
        day = 1763596800  # 2025-11-20
        self.insert((day - 1, "a", "b", "before"), (day, "a", "b", "midnight"), (day + 30600, "a", "b", "half past eight"),
                    (day + 20000, "a", "b", "of a clock that is behind"))
        for since, expected in (("2025-11-20", 3), ("2025-11-20T08:30", 1), ("2025-11-20 08:30", 1), ("2025-11-20T08:30:00Z", 1),
                                ("2025-11-20T08:30:00.000001Z", 0), ("2025-11-20T08:29:59", 1), ("2025-11-19", 4)):
            with self.subTest(since=since):
                self.assertEqual(len(self.entries("--since", since)), expected)
        for since in ("", "yesterday", "2025-11-2", "2025-11-20Z", "2025-13-20", "2025-11-20T", "2025-11-20T08", "2025-11-20T25:00",
                      "2025-11-20T08:30:00+01", "2025-11-20T08:30:00.0000000"):
            with self.subTest(since=since):
                done = self.audit("--server", self.server.url, "--since", since)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn("--since: ", done.stderr)

    def test_nobody_forges_a_line(self):
        self.insert((1, "a\n2026-01-01T00:00:00.000000Z  offset.set", "b", "\x1b[2K\u2028"))
        lines = self.audit("--server", self.server.url).stdout.split("\n")
        self.assertEqual(len(lines), 2, lines)
        self.assertEqual([character for character in lines[0] if not character.isprintable()], [])

    def test_a_pipeline_without_entries_lists_none(self):
        self.assertEqual(self.entries(pipeline="unknown"), [])

    def test_a_journal_that_is_not_there_is_an_error(self):
        self.assertEqual(self.audit("--state", f"sqlite:{self.directory}/nothing.db").returncode, 3)
        self.assertFalse(os.path.exists(f"{self.directory}/nothing.db"))


if __name__ == "__main__":
    unittest.main()
