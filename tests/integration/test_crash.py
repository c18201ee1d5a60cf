"""kill -9 of `dpone cdc run` and of `dpone serve` at every named point and at random: the journal then holds every change
exactly once, in order, equal to what `dpone cdc decode` prints of the same file, and the offset was never ahead of it."""
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.crash_points import points  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")
OPTIONS = ["--batch-events", "9", "--offset-interval-ms", "0"]
LONG = os.environ.get("DPONE_LONG_TESTS") == "1"


class CrashTest(unittest.TestCase):
    options = OPTIONS
    nths = {"run": (1, 2, 5), "serve": (1, 3), "offset": (2,)}
    rounds = 8
    ends_in_order = True

    @classmethod
    def setUpClass(cls):
        cls.expected = pipeline.decode(CAPTURE)
        cls.expected_events = [json.loads(line) for line in cls.expected]

    def start_server(self, directory, crash_at=None):
        environment = {"DPONE_CRASH_AT": crash_at} if crash_at else {}
        server = DponeServer(state=f"sqlite:{directory}/journal.db", environment=environment)
        server.start()
        self.addCleanup(server.stop)
        return server

    def assert_offset_is_not_ahead(self, server):
        offset = pipeline.stored_offset(server.url)
        if offset is None:
            return
        held = set(pipeline.ends(pipeline.journal(server.url)))
        missing = [end for end in pipeline.ends(self.expected) if end <= offset and end not in held]
        self.assertEqual(missing, [], f"the offset {offset:X} has passed transactions that the journal does not hold")

    def assert_complete(self, server):
        self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], self.expected_events)
        self.assertEqual(pipeline.stored_offset(server.url), pipeline.ends(self.expected)[-1])

    def finish(self, server):
        code, _, errors = pipeline.run(server.url, CAPTURE, *self.options)
        self.assertEqual(code, 0, errors)
        self.assert_complete(server)

    def test_the_pipeline_is_killed_at_each_point(self):
        for point in points("run"):
            for nth in self.nths["run"] + ((3, 4, 7, 9) if LONG else ()):
                with self.subTest(point=point, nth=nth), DponeServer() as outer:
                    server = self.start_server(outer.directory)
                    code, _, errors = pipeline.run(server.url, CAPTURE, *self.options,
                                                   environment={"DPONE_CRASH_AT": f"{point}:{nth}"})
                    self.assertEqual(code, -signal.SIGKILL, errors)
                    self.assert_offset_is_not_ahead(server)
                    self.finish(server)
                    server.stop()

    def test_the_server_is_killed_at_each_point(self):
        for point, nths in [(point, self.nths[process]) for process in ("serve", "offset") for point in points(process)]:
            for nth in nths + ((2, 4, 5) if LONG else ()):
                with self.subTest(point=point, nth=nth), DponeServer() as outer:
                    server = self.start_server(outer.directory, crash_at=f"{point}:{nth}")
                    run = subprocess.Popen(pipeline.run_command(server.url, CAPTURE, *self.options, "--until-end"),
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    self.addCleanup(run.wait)
                    self.addCleanup(run.kill)
                    self.assertEqual(server.process.wait(60), -signal.SIGKILL)
                    # A run that ends in order tries to save its offset for seconds: one of each point is enough of that.
                    run.send_signal(signal.SIGTERM if nth == nths[0] and self.ends_in_order else signal.SIGKILL)
                    run.wait(60)
                    server = self.start_server(outer.directory)
                    self.assert_offset_is_not_ahead(server)
                    self.finish(server)
                    server.stop()

    def test_both_are_killed_at_random(self):
        chance = random.Random(20261121)
        with DponeServer() as outer:
            for _ in range(40 if LONG else self.rounds):
                server = self.start_server(outer.directory)
                run = subprocess.Popen(pipeline.run_command(server.url, CAPTURE, *self.options, "--until-end"),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(chance.uniform(0, 0.25))
                victims = [run, server.process]
                chance.shuffle(victims)
                for victim in victims[:chance.choice((1, 2))]:
                    victim.send_signal(signal.SIGKILL)
                if run.poll() is None:
                    run.send_signal(signal.SIGTERM)
                run.wait(30)
                server.stop()
                server = self.start_server(outer.directory)
                self.assert_offset_is_not_ahead(server)
                server.stop()
            server = self.start_server(outer.directory)
            self.finish(server)


class FourInFlightCrashTest(CrashTest):
    """The same with several batches on their way at once, which the server holds in order."""
    options = [*OPTIONS, "--batches-in-flight", "4"]
    nths = {"run": (3, 6), "serve": (2, 5), "offset": (3,)}
    ends_in_order = LONG


if __name__ == "__main__":
    unittest.main()
