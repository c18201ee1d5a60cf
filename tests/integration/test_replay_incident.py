"""The incident of docs/replay.md, executed: a downstream loses a day, the operator plans (blocked, then allowed), replays from
the journal and, after another loss and with the journal pruned, from an artifact; the downstream ends equal to the source."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone import BINARY, SOURCE_DIR, clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")


class IncidentTest(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="dpone-incident-"))
        self.dsn = f"sqlite:{self.directory}/journal.db"
        self.server = self.enterContext(DponeServer(state=self.dsn))
        code, _, errors = pipeline.run(self.server.url, CAPTURE)
        self.assertEqual(code, 0, errors)
        lines = [json.loads(line) for line in pipeline.decode(CAPTURE)]
        self.source = [line["event_id"] for line in lines if "event_id" in line]
        ends = [line["end_position"] for line in lines if line.get("type") == "commit"]
        self.thursday, self.friday = ends[20], ends[70]

    def replay(self, downstream, *options, origin=None):
        where = ["--server", self.server.url] if origin is None else ["--artifact-uri", origin]
        return dpone("cdc", "replay", "--pipeline", "orders", *where, "--endpoint", downstream.url,
                     "--record", f"{self.directory}/record.jsonl", "--pause-check-ms", "10", *options)

    def test_the_day_comes_back_from_the_journal_and_again_from_an_artifact(self):
        window = ["--replay-from", self.thursday, "--replay-to", self.friday]
        with Downstream() as downstream:
            first = self.replay(downstream, "--replay-from", "0/0", "--allow-rewind", "--why", "first load")
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertEqual(downstream.event_ids(), self.source)

            lost = downstream.lose(self.thursday, self.friday)
            self.assertGreater(lost, 0)
            self.assertNotEqual(downstream.event_ids(), self.source)

            blocked = self.replay(downstream, *window, "--format", "json")
            self.assertEqual(blocked.returncode, 1)
            self.assertEqual(json.loads(blocked.stdout)["blockers"], ["replay.requires_allow_rewind"])

            dry = self.replay(downstream, *window, "--allow-rewind", "--dry-run")
            self.assertEqual(dry.returncode, 0, dry.stderr)
            self.assertEqual(json.loads(dry.stdout.strip().split("\n")[-1])["events"], lost)
            self.assertNotEqual(downstream.event_ids(), self.source)

            copy = f"{self.directory}/friday"
            export = dpone("cdc", "export", "--pipeline", "orders", "--server", self.server.url, "--from", self.thursday,
                           "--to", self.friday, "--output", copy, "--compression", "zstd")
            self.assertEqual(export.returncode, 0, export.stderr)
            self.assertEqual(dpone("cdc", "verify", "--artifact", copy).returncode, 0)

            done = self.replay(downstream, *window, "--allow-rewind", "--rate", "2000", "--why", "restored from backup")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["accepted"], lost)
            self.assertEqual(downstream.event_ids(), self.source)

            self.assertEqual(downstream.lose(self.thursday, self.friday), lost)
            self.prune()
            refused = self.replay(downstream, *window, "--allow-rewind", "--format", "json")
            self.assertEqual(refused.returncode, 1)
            self.assertEqual(json.loads(refused.stdout)["blockers"], ["replay.start_before_retention"])
            again = self.replay(downstream, "--replay-from", self.thursday, "--allow-rewind", origin=f"file:{copy}")
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(json.loads(again.stdout)["accepted"], lost)
            self.assertEqual(downstream.event_ids(), self.source)

    def test_the_page_can_be_typed_as_it_stands(self):
        """Every command of the incident in docs/replay.md, with the addresses of this test, in an empty folder."""
        with open(os.path.join(SOURCE_DIR, "docs", "replay.md"), encoding="utf-8") as page:
            incident = page.read().split("## An incident")[1].split("\n## ")[0]
        plan, keep, replay, from_artifact = re.findall(r"```sh\n(.*?)```", incident, re.DOTALL)
        os.symlink(BINARY, f"{self.directory}/dpone")
        environment = clean_environment(PATH=f"{self.directory}:{os.environ['PATH']}")
        begin, end = re.search(r"--replay-from (\S+) --replay-to (\S+)", plan).groups()

        with Downstream() as downstream:
            def type_in(text):
                text = text.replace("http://127.0.0.1:8000", self.server.url).replace("http://127.0.0.1:9000", downstream.url)
                return subprocess.run(["sh", "-ec", text], cwd=self.directory, env=environment, capture_output=True, text=True,
                                      timeout=120)

            self.assertEqual(self.replay(downstream, "--replay-from", "0/0", "--allow-rewind").returncode, 0)
            lost = downstream.lose(begin, end)
            self.assertGreater(lost, 50)
            self.assertEqual(type_in(plan).returncode, 1)
            dry = type_in(plan.rstrip() + " --allow-rewind --dry-run")
            self.assertEqual(json.loads(dry.stdout.strip().split("\n")[-1])["events"], lost, dry.stderr)
            kept = type_in(keep)
            self.assertEqual(kept.returncode, 0, kept.stderr)
            for command in (replay, from_artifact):
                done = type_in(command)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual((downstream.event_ids(), json.loads(done.stdout)["accepted"]), (self.source, lost))
                downstream.lose(begin, end)
                self.prune(end)

    def prune(self, end=None):
        done = dpone("state", "prune", "--state", self.dsn, "--pipeline", "orders", "--to", end or self.friday)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
