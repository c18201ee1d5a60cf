"""Export, replay, quarantine, retention and consumers on a journal in PostgreSQL: the same commands, the same answers."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import artifact, pipeline  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")
ORDERS = os.path.join(os.environ["DPONE_SOURCE_DIR"], "examples", "captures", "orders.pgoutput.csv")


class PostgresJournalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = PostgresServer()
        cls.addClassCleanup(cls.postgres.cleanup)
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="dpone-replay-pg-"))
        cls.dsn = f"{cls.postgres.dsn()}?dpone_schema=journal"
        cls.server = cls.enterClassContext(DponeServer(state=cls.dsn))

    def run_dpone(self, *words, code=0):
        done = dpone(*words)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def test_a_window_leaves_is_replayed_followed_and_pruned(self):
        code, _, errors = pipeline.run(self.server.url, CAPTURE)
        self.assertEqual(code, 0, errors)
        journal = pipeline.journal(self.server.url)
        ids = [json.loads(line)["event_id"] for line in journal if '"event_id"' in line]
        ends = [json.loads(line)["end_position"] for line in journal if line.startswith('{"type"')]
        path = f"{self.directory}/artifact"
        self.run_dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", path)
        self.assertEqual([line.decode().rstrip("\n") for line in artifact.lines(path)], journal)
        self.run_dpone("cdc", "verify", "--artifact", path, "--state", self.dsn)
        with Downstream() as downstream:
            self.run_dpone("cdc", "replay", "--pipeline", "orders", "--state", self.dsn, "--endpoint", downstream.url,
                           "--replay-from", "0/0", "--allow-rewind", "--record", f"{self.directory}/record")
            self.assertEqual(downstream.event_ids(), ids)
        taken = self.run_dpone("cdc", "follow", "--pipeline", "orders", "--consumer", "slow", "--state", self.dsn,
                               "--until-end", "--batch-events", "50")
        self.assertEqual(taken.removesuffix("\n").split("\n"), journal)
        pruned = json.loads(self.run_dpone("state", "prune", "--state", self.dsn, "--pipeline", "orders", "--to", ends[30],
                                           "--step-events", "20"))
        self.assertEqual(pruned["transactions"], 31)
        kept = json.loads(self.run_dpone("state", "prune", "--state", self.dsn, "--pipeline", "orders", "--keep-events", "50"))
        self.assertGreater(kept["events"], 0)
        self.run_dpone("cdc", "verify", "--artifact", path, "--state", self.dsn, code=1)
        with Downstream() as downstream:
            self.run_dpone("cdc", "replay", "--pipeline", "orders", "--artifact-uri", path, "--endpoint", downstream.url,
                           "--replay-from", "0/0", "--record", f"{self.directory}/record")
            self.assertEqual(downstream.event_ids(), ids)
        actions = [row["action"] for row in self.server.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]]
        self.assertEqual(actions, ["prune.finished", "prune.started"] * 2 + ["replay.finished", "replay.started"])

    def test_quarantined_changes_are_resolved_all_or_none(self):
        code, summary, errors = pipeline.run(self.server.url, ORDERS, "--unique-key", "public.customers=nowhere",
                                             "--on-poison", "quarantine", pipeline="poisoned")
        self.assertEqual((code, summary["quarantined"]), (0, 3), errors)
        where = ["--pipeline", "poisoned", "--state", self.dsn]
        ids = [line.split()[0] for line in self.run_dpone("cdc", "quarantine", "list", *where).splitlines()]
        self.run_dpone("cdc", "quarantine", "discard", *where, "--id", ids[0], "--id", "999999", "--why", "x", code=1)
        self.run_dpone("cdc", "quarantine", "discard", *where, "--id", ids[0], "--why", "x")
        self.run_dpone("cdc", "quarantine", "replay", *where, "--endpoint", self.server.url, "--id", ids[1], "--why", "y")
        left = self.run_dpone("cdc", "quarantine", "list", *where).splitlines()
        self.assertEqual([line.split()[0] for line in left], [ids[2]])


if __name__ == "__main__":
    unittest.main()
