"""dpone cdc follow: consumers with durable offsets of their own, programs that take batches, kills in between."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.dpone import BINARY, clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")


class FollowTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="dpone-follow-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.dsn = f"sqlite:{self.directory}/journal.db"
        self.server = DponeServer(state=self.dsn)
        self.server.start()
        self.addCleanup(self.server.stop)

    def fill(self):
        code, _, errors = pipeline.run(self.server.url, CAPTURE)
        self.assertEqual(code, 0, errors)
        self.journal = pipeline.journal(self.server.url)

    def command(self, consumer, *options):
        return ["cdc", "follow", "--pipeline", "orders", "--consumer", consumer, "--server", self.server.url, *options]

    def follow(self, consumer, *options, env=None):
        done = dpone(*self.command(consumer, "--until-end", *options), env=env)
        return done.returncode, done.stdout.removesuffix("\n").split("\n") if done.stdout else [], done.stderr

    def offset(self, consumer):
        return pipeline.stored_offset(self.server.url, f"orders%2Fconsumers%2F{consumer}")

    def test_consumers_read_everything_once_each_from_their_own_offset(self):
        self.fill()
        for consumer in ("billing", "search"):
            code, lines, errors = self.follow(consumer, "--batch-events", "20")
            self.assertEqual(code, 0, errors)
            self.assertEqual(lines, self.journal)
            self.assertEqual(self.follow(consumer)[1], [])
            self.assertEqual(self.offset(consumer), pipeline.ends(self.journal)[-1])

    def test_a_program_gets_the_batches_and_its_failure_commits_nothing(self):
        self.fill()
        target = f"{self.directory}/taken"
        code, _, errors = self.follow("billing", "--exec", "exit 7")
        self.assertEqual(code, 3)
        self.assertIn("exit code 7", errors)
        self.assertEqual(self.offset("billing"), 0, "where it begins is stored, nothing more")
        code, lines, errors = self.follow("billing", "--batch-events", "20", "--exec", f"cat >> '{target}'")
        self.assertEqual(code, 0, errors)
        with open(target, encoding="utf-8") as file:
            self.assertEqual(file.read().removesuffix("\n").split("\n"), self.journal)
        self.assertEqual(json.loads(lines[-1])["events"], sum('"event_id"' in line for line in self.journal))

    def test_a_program_that_does_not_read_its_input_is_no_accident(self):
        self.fill()
        self.assertEqual(self.follow("billing", "--exec", "true")[0], 0)

    def test_after_a_kill_the_batch_that_was_not_committed_comes_again(self):
        self.fill()
        code, before, _ = self.follow("billing", "--batch-events", "20",
                                      env=clean_environment(DPONE_CRASH_AT="follow_taken:3"))
        self.assertEqual(code, -signal.SIGKILL)
        code, after, errors = self.follow("billing", "--batch-events", "20")
        self.assertEqual(code, 0, errors)
        seen = list(dict.fromkeys(before + after))
        self.assertEqual(seen, list(dict.fromkeys(self.journal)))
        self.assertGreater(len(before) + len(after), len(self.journal), "one batch came twice")

    def test_it_waits_for_what_is_not_there_yet_and_stops_in_order(self):
        printed = open(f"{self.directory}/printed", "w+", encoding="utf-8")
        self.addCleanup(printed.close)
        process = subprocess.Popen([BINARY, *self.command("billing", "--poll-ms", "20")], stdout=printed,
                                   stderr=subprocess.PIPE, text=True, env=clean_environment(), cwd="/")
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        self.fill()
        give_up = time.monotonic() + 30
        while self.offset("billing") != pipeline.ends(self.journal)[-1] and time.monotonic() < give_up:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, errors)
        printed.seek(0)
        self.assertEqual(printed.read().removesuffix("\n").split("\n"), self.journal)

    def test_a_consumer_can_be_moved_back_and_from_says_where_a_new_one_begins(self):
        self.fill()
        ends = [json.loads(line)["end_position"] for line in self.journal if line.startswith('{"type"')]
        code, lines, _ = self.follow("late", "--from", ends[-2])
        self.assertEqual((code, sum(line.startswith('{"type"') for line in lines)), (0, 1))
        status, _, body = self.server.json(
            "PUT", "/v1/pipelines/orders%2Fconsumers%2Flate/offsets/postgres_logical/*/*",
            {"Content-Type": "application/json"}, json.dumps({"token": ends[0], "allow_rewind": True, "who": "t", "why": "x"}))
        self.assertEqual(status, 200, body)
        self.assertEqual(sum(line.startswith('{"type"') for line in self.follow("late")[1]), len(ends) - 1)

    def test_a_name_that_no_consumer_may_have_is_refused_before_anything_is_asked(self):
        self.assertEqual(dpone("cdc", "follow", "--pipeline", "orders", "--consumer", "a/b", "--server", "http://127.0.0.1:9").returncode, 2)

    def test_directly_on_a_state_database(self):
        self.fill()
        done = dpone("cdc", "follow", "--pipeline", "orders", "--consumer", "local", "--state", self.dsn, "--until-end")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.removesuffix("\n").split("\n"), self.journal)


if __name__ == "__main__":
    unittest.main()
