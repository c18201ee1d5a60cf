"""dpone cdc replay: plans from live facts, delivers with the same ids, goes on after a kill, and leaves a true record."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import artifact, pipeline  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone import BINARY, clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")
POINTS = ["replay_rewound", "replay_sent", "replay_receipt_read", "replay_progress_saved", "replay_loaded"]


class ReplayTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="dpone-replay-"))
        cls.server = cls.enterClassContext(DponeServer(state=f"sqlite:{cls.directory}/journal.db"))
        code, _, errors = pipeline.run(cls.server.url, CAPTURE)
        assert code == 0, errors
        cls.journal = pipeline.journal(cls.server.url)
        cls.ids = [json.loads(line)["event_id"] for line in cls.journal if '"event_id"' in line]
        cls.ends = [json.loads(line)["end_position"] for line in cls.journal if line.startswith('{"type"')]

    def setUp(self):
        self.work = tempfile.mkdtemp(dir=self.directory)

    def command(self, endpoint, *options, origin=None, start="0/0"):
        where = ["--server", self.server.url] if origin is None else origin
        return ["cdc", "replay", "--pipeline", "orders", *where, "--endpoint", endpoint, "--replay-from", start,
                "--pause-check-ms", "0", "--record", f"{self.work}/record.jsonl", "--who", "tester", *options]

    def replay(self, endpoint, *options, env=None, **where):
        done = dpone(*self.command(endpoint, *options, **where), env=env)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr

    def records(self):
        with open(f"{self.work}/record.jsonl", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def fresh_server(self):
        server = DponeServer(state=f"sqlite:{tempfile.mkdtemp(dir=self.directory)}/target.db")
        server.start()
        self.addCleanup(server.stop)
        return server

    def test_a_window_behind_the_stored_offset_is_blocked_and_nothing_is_sent(self):
        with Downstream() as downstream:
            done = dpone(*self.command(downstream.url, "--format", "json"))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(json.loads(done.stdout)["blockers"], ["replay.requires_allow_rewind"])
            self.assertEqual(downstream.batches, 0)
            self.assertFalse(os.path.exists(f"{self.work}/record.jsonl"))

    def test_a_window_beyond_the_high_watermark_is_blocked(self):
        with Downstream() as downstream:
            done = dpone(*self.command(downstream.url, "--allow-rewind", "--replay-to", "FF/0", "--format", "json"))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(json.loads(done.stdout)["blockers"], ["replay.to_after_high_watermark"])

    def test_a_dry_run_counts_and_changes_nothing(self):
        with Downstream() as downstream:
            done = dpone(*self.command(downstream.url, "--allow-rewind", "--dry-run", "--replay-to", self.ends[9],
                                       start=self.ends[4]))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout.strip().split("\n")[-1])["transactions"], 5)
            self.assertEqual(downstream.batches, 0)

    def test_the_same_ids_arrive_in_order_and_the_steps_are_told(self):
        with Downstream() as downstream:
            code, summary, errors = self.replay(downstream.url, "--allow-rewind", "--batch-events", "7")
            self.assertEqual(code, 0, errors)
            self.assertEqual(downstream.event_ids(), self.ids)
            self.assertEqual((summary["events"], summary["accepted"]), (len(self.ids), len(self.ids)))
        steps = [line.split(" ")[1].rstrip(":") for line in errors.strip().split("\n")]
        self.assertEqual(steps, ["pause_pipeline", "verify_retention", "set_start_offset", "load_idempotent_delta",
                                 "compare_target", "commit_offset_after_sink_commit"])

    def test_who_when_why_window_and_outcome_are_on_record_and_in_the_audit(self):
        with Downstream() as downstream:
            code, summary, errors = self.replay(downstream.url, "--allow-rewind", "--why", "a drill")
            self.assertEqual(code, 0, errors)
        started, finished = self.records()[0], self.records()[-1]
        self.assertEqual((started["who"], started["why"], started["replay_from"]), ("tester", "a drill", "0/0"))
        self.assertEqual((finished["outcome"], finished["events"]), ("done", len(self.ids)))
        audit = self.server.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]
        ours = [row for row in audit if summary["replay_id"] in row["subject"] and row["why"] == "a drill"]
        self.assertEqual([row["action"] for row in ours], ["replay.finished", "replay.started"])
        self.assertEqual(json.loads(ours[0]["new"])["outcome"], "done")

    def test_a_dpone_endpoint_is_compared_and_its_offset_returns_to_where_it_was(self):
        target = self.fresh_server()
        self.assertEqual(self.replay(target.url)[0], 0)
        self.assertEqual(pipeline.journal(target.url), self.journal)
        self.assertEqual(pipeline.stored_offset(target.url), pipeline.lsn(self.ends[-1]))
        code, summary, errors = self.replay(target.url, "--allow-rewind", "--replay-to", self.ends[20], start=self.ends[3])
        self.assertEqual(code, 0, errors)
        self.assertEqual((summary["accepted"], summary["duplicates"]), (0, summary["events"]))
        self.assertEqual(pipeline.stored_offset(target.url), pipeline.lsn(self.ends[-1]))
        actions = [row["action"] for row in target.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]]
        self.assertIn("offset.rewind", actions)

    def test_a_window_that_would_pass_undelivered_transactions_is_refused(self):
        target = self.fresh_server()
        self.assertEqual(self.replay(target.url, "--replay-to", self.ends[3])[0], 0)
        for options in (["--replay-to", self.ends[9]], ["--dry-run"]):
            code, _, errors = self.replay(target.url, *options, start=self.ends[4])
            self.assertEqual(code, 1, errors)
            self.assertIn("replay.gap_before_window", errors)
            self.assertIn(f"--replay-from {self.ends[3]}", errors)
        self.assertEqual(pipeline.stored_offset(target.url), pipeline.lsn(self.ends[3]))
        nothing_between = "{:X}/{:X}".format(*divmod(pipeline.lsn(self.ends[3]) + 1, 1 << 32))
        self.assertEqual(self.replay(target.url, start=nothing_between)[0], 0)
        self.assertEqual(pipeline.journal(target.url), self.journal)

    def test_a_kill_at_every_point_is_resumed_with_nothing_doubled_and_a_true_record(self):
        for point in POINTS:
            for nth in (1, 3) if point in POINTS[1:3] else (1,):
                with self.subTest(point=point, nth=nth):
                    self.work = tempfile.mkdtemp(dir=self.directory)
                    target = self.fresh_server()
                    self.assertEqual(self.replay(target.url, "--replay-to", self.ends[40])[0], 0)
                    self.work = tempfile.mkdtemp(dir=self.directory)
                    options = ["--allow-rewind", "--batch-events", "20"]
                    killed, _, _ = self.replay(target.url, *options, start=self.ends[10],
                                               env=clean_environment(DPONE_CRASH_AT=f"{point}:{nth}"))
                    self.assertEqual(killed, -signal.SIGKILL, "the point was not reached")
                    self.assertNotIn("finished", [line["record"] for line in self.records()])
                    code, summary, errors = self.replay(target.url, *options, start=self.ends[10])
                    self.assertEqual(code, 0, errors)
                    self.assertTrue(summary["resumed"])
                    self.assertEqual(pipeline.journal(target.url), self.journal)
                    self.assertEqual(pipeline.stored_offset(target.url), pipeline.lsn(self.ends[-1]))
                    kinds = [line["record"] for line in self.records() if line["record"] != "progress"]
                    self.assertEqual(kinds, ["started", "resumed", "finished"])
                    target.stop()

    def test_a_stop_signal_ends_in_order_and_the_next_run_goes_on(self):
        with Downstream() as downstream:
            process = subprocess.Popen([BINARY, *self.command(downstream.url, "--allow-rewind", "--batch-events", "5",
                                                              "--rate", "10")], stderr=subprocess.PIPE,
                                       stdout=subprocess.PIPE, env=clean_environment(), cwd="/")
            give_up = time.monotonic() + 120
            while downstream.batches < 3 and time.monotonic() < give_up:
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 3)
            self.assertEqual(self.records()[-1]["outcome"], "interrupted")
            self.assertLess(len(downstream.ledger), len(self.ids))
            code, summary, errors = self.replay(downstream.url, "--allow-rewind")
            self.assertEqual(code, 0, errors)
            self.assertTrue(summary["resumed"])
            self.assertIn("another --record begins anew", errors)
            self.assertEqual(downstream.event_ids(), self.ids)

    def test_an_endpoint_that_refuses_ends_the_replay_with_its_answer(self):
        with Downstream() as downstream:
            downstream.refuse_with = 422
            code, _, errors = self.replay(downstream.url, "--allow-rewind")
            self.assertEqual(code, 1)
            self.assertIn("not now", errors)
            self.assertEqual(self.records()[-1]["outcome"], "failed")

    def test_an_endpoint_that_takes_less_at_once_gets_smaller_batches(self):
        with Downstream() as downstream:
            downstream.max_bytes = 3000
            code, summary, errors = self.replay(downstream.url, "--allow-rewind")
            self.assertEqual(code, 0, errors)
            self.assertEqual((downstream.event_ids(), summary["events"]), (self.ids, len(self.ids)))
            self.assertEqual(summary["transactions"], len(self.ends))
        with DponeServer("--max-batch-bytes", "4096", "--max-event-bytes", "4096",
                         state=f"sqlite:{tempfile.mkdtemp(dir=self.directory)}/target.db") as target:
            code, _, errors = self.replay(target.url, "--allow-rewind", "--record", f"{self.work}/second.jsonl")
            self.assertEqual(code, 0, errors)
            self.assertEqual(pipeline.journal(target.url), self.journal)

    def test_an_endpoint_that_cannot_be_asked_for_its_offset_gets_nothing(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            code, _, errors = self.replay(f"http://127.0.0.1:{closed.getsockname()[1]}")
        self.assertEqual(code, 3)
        self.assertIn("asking the endpoint for its offset", errors)
        self.assertNotIn("pause_pipeline:", errors)

    def test_a_record_that_is_no_file_is_refused(self):
        with Downstream() as downstream:
            code, _, errors = self.replay(downstream.url, "--allow-rewind", "--record", "/dev/full")
            self.assertEqual((code, downstream.batches), (2, 0))
            self.assertIn("no regular file", errors)

    def test_a_single_event_that_is_too_large_ends_it_by_name(self):
        with Downstream() as downstream:
            downstream.max_bytes = 300
            code, _, errors = self.replay(downstream.url, "--allow-rewind")
            self.assertNotEqual(code, 0)
            self.assertIn("a single event is larger than the endpoint takes", errors)
            self.assertEqual((self.records()[-1]["outcome"], downstream.ledger), ("failed", {}))

    def test_it_waits_as_long_as_the_endpoint_asks_and_keeps_the_rate(self):
        with Downstream() as downstream:
            downstream.first_answers = [(429, 2), (503, 1)]
            rate = len(self.ids) // 4
            code, summary, errors = self.replay(downstream.url, "--allow-rewind", "--rate", str(rate))
            self.assertEqual(code, 0, errors)
            waits = [later - earlier for earlier, later in zip(downstream.asked_at, downstream.asked_at[1:])]
            self.assertGreaterEqual(waits[0], 1.9)
            self.assertGreaterEqual(waits[1], 0.9)
            self.assertGreaterEqual(downstream.asked_at[-1] - downstream.asked_at[2], 1.5, "a burst after the waits")
            self.assertEqual(downstream.event_ids(), self.ids)

    def test_an_artifact_alone_is_enough_and_a_damaged_one_is_refused_before_anything_is_sent(self):
        path = f"{self.work}/artifact"
        done = dpone("cdc", "export", "--pipeline", "orders", "--server", self.server.url, "--output", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        origin = ["--artifact-uri", f"file:{path}"]
        with Downstream() as downstream:
            code, _, errors = self.replay(downstream.url, "--replay-to", self.ends[30], start=self.ends[5], origin=origin)
            self.assertEqual(code, 0, errors)
            expected = self.ids_between(5, 30)
            self.assertEqual(downstream.event_ids(), expected)
            artifact.write_lines(path, artifact.lines(path)[:-2])
            before = downstream.batches
            code, _, errors = self.replay(downstream.url, origin=origin)
            self.assertEqual(code, 4)
            self.assertIn("line_missing", errors)
            self.assertEqual(downstream.batches, before)

    def test_an_artifact_that_does_not_cover_the_window_blocks(self):
        path = f"{self.work}/artifact"
        dpone("cdc", "export", "--pipeline", "orders", "--server", self.server.url, "--output", path,
              "--from", self.ends[5], "--to", self.ends[9])
        with Downstream() as downstream:
            done = dpone(*self.command(downstream.url, "--format", "json", "--replay-to", self.ends[10],
                                       start=self.ends[4], origin=["--artifact-uri", path]))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(json.loads(done.stdout)["blockers"],
                             ["replay.start_before_retention", "replay.to_after_high_watermark"])

    def ids_between(self, first, last):
        found, index = [], 0
        for line in map(json.loads, self.journal):
            if line.get("type") == "commit":
                index += 1
            elif first < index <= last:
                found.append(line["event_id"])
        return found


if __name__ == "__main__":
    unittest.main()
