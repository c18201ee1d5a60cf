"""dpone cdc follow: consumers with durable offsets of their own, programs that take batches, kills in between."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.dpone import BINARY, clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")


class Rig(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="dpone-follow-"))
        self.dsn = self.new_state()
        self.server = self.enterContext(DponeServer(state=self.dsn))

    def new_state(self):
        return f"sqlite:{self.directory}/journal.db"

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
        """As the server says; None when there is none, or when the server has just lost its database."""
        try:
            return pipeline.stored_offset(self.server.url, f"orders%2Fconsumers%2F{consumer}")
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise

    def start_follow(self, consumer, *options):
        """A follower that goes on; its standard output and error go to the files "printed" and "told"."""
        return self.start(self.command(consumer, *options))

    def start_on_state(self, consumer, *options):
        return self.start(["cdc", "follow", "--pipeline", "orders", "--consumer", consumer, "--state", self.dsn, *options])

    def start(self, command):
        with open(f"{self.directory}/printed", "wb") as printed, open(f"{self.directory}/told", "wb") as told:
            process = subprocess.Popen([BINARY, *command], stdout=printed, stderr=told, env=clean_environment(), cwd="/")
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read(self, name):
        try:
            with open(f"{self.directory}/{name}", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait_until(self, what, seconds=60):
        give_up = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), give_up, self.read("told"))
            time.sleep(0.02)

    def hold_a_batch(self):
        """A program that has taken a batch and does not end before the file is gone."""
        open(f"{self.directory}/hold", "w", encoding="utf-8").close()
        return ("--batch-events", "20", "--exec",
                f"cd '{self.directory}' && cat >> taken && echo >> runs && while [ -e hold ]; do sleep 0.05; done")

    def stop_in_order(self, process):
        self.assertIsNone(process.poll(), self.read("told"))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0, self.read("told"))

    def assert_one_outage_told(self, is_over=True):
        told = self.read("told")
        self.assertEqual((told.count("warning: the journal is away"), told.count("info: the journal is back")),
                         (1, int(is_over)), told)

    def assert_a_server_may_die_at(self, point):
        """It dies at the third time that a consumer commits."""
        self.fill()
        self.server.stop()
        self.server.environment = {"DPONE_CRASH_AT": f"{point}:3"}
        self.server.start()
        process = self.start_follow("billing", "--batch-events", "20")
        self.assertEqual(self.server.process.wait(60), -signal.SIGKILL)
        self.wait_until(lambda: "is away" in self.read("told"))
        self.server.stop()
        self.server.environment = {}
        self.server.start()
        self.wait_until(lambda: self.offset("billing") == pipeline.ends(self.journal)[-1])
        self.stop_in_order(process)
        self.assertEqual(self.read("printed").removesuffix("\n").split("\n"), self.journal, "each batch once")
        self.assert_one_outage_told()


class FollowTest(Rig):
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
        done = dpone("cdc", "follow", "--pipeline", "orders", "--consumer", "a/b", "--server", "http://127.0.0.1:9")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), "one line, no summary of nothing")

    def test_directly_on_a_state_database(self):
        self.fill()
        done = dpone("cdc", "follow", "--pipeline", "orders", "--consumer", "local", "--state", self.dsn, "--until-end")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.removesuffix("\n").split("\n"), self.journal)


class OutageTest(Rig):
    def test_a_server_that_is_away_is_waited_for_and_nothing_is_missed(self):
        process = self.start_follow("billing")
        self.wait_until(lambda: self.offset("billing") is not None)
        self.server.stop(signal.SIGKILL)
        self.wait_until(lambda: "is away" in self.read("told"))
        time.sleep(1)
        self.server.start()
        self.fill()
        self.wait_until(lambda: self.offset("billing") == pipeline.ends(self.journal)[-1])
        self.stop_in_order(process)
        self.assertEqual(self.read("printed").removesuffix("\n").split("\n"), self.journal)
        self.assert_one_outage_told()

    def test_a_batch_that_a_program_took_is_committed_when_the_server_is_back(self):
        self.fill()
        process = self.start_follow("billing", *self.hold_a_batch())
        self.wait_until(lambda: self.read("runs") != "")
        self.server.stop(signal.SIGKILL)
        os.unlink(f"{self.directory}/hold")
        self.wait_until(lambda: "is away" in self.read("told"))
        time.sleep(1)
        self.assertEqual(self.read("runs").count("\n"), 1, "it goes on only behind the commit")
        self.server.start()
        self.wait_until(lambda: self.offset("billing") == pipeline.ends(self.journal)[-1])
        self.stop_in_order(process)
        self.assertEqual(self.read("taken").removesuffix("\n").split("\n"), self.journal, "each batch once")
        self.assert_one_outage_told()

    def test_a_stop_ends_the_waiting_for_a_server_and_until_end_does_not_wait(self):
        self.fill()
        process = self.start_follow("billing")
        self.wait_until(lambda: self.offset("billing") == pipeline.ends(self.journal)[-1])
        self.server.stop(signal.SIGKILL)
        self.wait_until(lambda: "is away" in self.read("told"))
        self.stop_in_order(process)
        self.assert_one_outage_told(is_over=False)
        self.assertEqual(self.follow("billing")[0], 3)
        self.assertEqual(dpone(*self.command("billing")).returncode, 3, "the first contact is not waited for")

    def test_a_commit_that_the_server_wrote_and_did_not_store_is_sent_again(self):
        self.assert_a_server_may_die_at("offset_written")


class PostgresOutageTest(Rig):
    """The journal in PostgreSQL, which can be away itself."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = PostgresServer()
        cls.addClassCleanup(cls.postgres.cleanup)

    def new_state(self):
        name = f"journal{time.monotonic_ns()}"
        return f"{self.postgres.dsn()}?dpone_schema={name}"

    def test_a_commit_that_the_server_stored_and_did_not_answer_is_sent_again(self):
        self.assert_a_server_may_die_at("offset_unanswered")

    def assert_an_outage_of_the_database_is_passed(self, process):
        self.wait_until(lambda: self.read("runs") != "")
        self.postgres.stop("immediate")
        self.addCleanup(self.postgres.start)
        os.unlink(f"{self.directory}/hold")
        self.wait_until(lambda: "is away" in self.read("told"))
        self.postgres.start()
        self.wait_until(lambda: self.read("taken").count("\n") == len(self.journal))
        self.wait_until(lambda: self.offset("billing") == pipeline.ends(self.journal)[-1])
        self.stop_in_order(process)
        self.assertEqual(self.read("taken").removesuffix("\n").split("\n"), self.journal, "each batch once")
        self.assert_one_outage_told()

    def test_a_database_that_is_away_behind_its_server_is_waited_for(self):
        self.fill()
        self.assert_an_outage_of_the_database_is_passed(self.start_follow("billing", *self.hold_a_batch()))

    def test_a_database_that_is_away_is_waited_for_without_a_server(self):
        self.fill()
        process = self.start_on_state("billing", *self.hold_a_batch(), "--poll-ms", "20")
        self.assert_an_outage_of_the_database_is_passed(process)


if __name__ == "__main__":
    unittest.main()
